// Plans: problem to kernel, and everything one may ask of them.
#include <fajit/fajit.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/tuner.h"
#include "ctx.h"

int fj_stream_is_capturing(const struct fj_jit *jit, void *stream, bool *ret_capturing)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    *ret_capturing = false;
    if (!jit->has_device || !stream)
        return FAJIT_OK;
    const struct fj_cuda *cuda = jit->device.cuda;
    int err =
        fj_cuda_check(cuda, cuda->cuStreamIsCapturing(stream, &status), "cuStreamIsCapturing");
    *ret_capturing = status != CU_STREAM_CAPTURE_STATUS_NONE;
    return err;
}

static bool has_fixed_knobs(const struct fj_problem *problem)
{
    for (int i = 0; i < FJ_KNOB_COUNT; i++)
        if (problem->fixed.v[i])
            return true;
    return false;
}

// Whether planning is to measure first: asked for by the call or the context, possible, and not
// done before.
static bool wants_tuning(struct fajit_ctx *ctx, const struct fj_problem *problem,
                         const struct fajit_plan_params *params, bool capturing, const char *nvrtc)
{
    const bool force = ctx->tune_mode == FAJIT_TUNE_FORCE;
    const bool asked =
        force || ctx->tune_mode == FAJIT_TUNE_ON || params->effort == FAJIT_EFFORT_TUNE;
    if (!asked || capturing || params->wait != FAJIT_WAIT ||
        params->effort == FAJIT_EFFORT_CACHED_ONLY || params->no_load || !ctx->jit.has_device ||
        ctx->jit.no_compile || has_fixed_knobs(problem) || fj_tuner_check_sizes(problem))
        return false;
    return force ? fj_tune_is_new(ctx->tune, problem)
                 : !fj_tune_is_tuned(ctx->tune, problem, nvrtc, !ctx->worker);
}

// A search that fails leaves what is known already: only a lost context ends the plan too.
static int tune_first(struct fajit_ctx *ctx, const struct fj_problem *problem, double budget_s)
{
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    int err = fj_ctx_tune(ctx, problem, &(struct fajit_tune_params){.budget_s = budget_s}, &result);
    if (err == FAJIT_E_CONTEXT_LOST)
        return err;
    if (err)
        fj_log(&ctx->jit.log, FAJIT_LOG_WARN, "not tuned: %s", fj_err_text());
    return FAJIT_OK;
}

static int choose(struct fajit_ctx *ctx, const struct fj_problem *problem,
                  struct fj_choice *ret_choice, struct fj_found *ret_found)
{
    char nvrtc[16];
    fj_ctx_nvrtc(ctx, nvrtc);
    return fj_tune_choose(ctx->tune, problem, nvrtc, ret_choice, ret_found);
}

static int find_kernel(struct fajit_plan *plan, const struct fj_problem *problem,
                       const struct fajit_plan_params *params, bool capturing, bool *ret_hit)
{
    const struct fj_choice wanted = plan->choice;
    const struct fj_jit_request request = {
        .choice = &wanted,
        .cached_only = params->effort == FAJIT_EFFORT_CACHED_ONLY,
        .capturing = capturing,
        .no_wait = params->wait != FAJIT_WAIT,
        .no_load = params->no_load,
        .watches = params->watches,
    };
    int err = fj_jit_kernel(&plan->ctx->jit, &request, &plan->kernel, ret_hit);
    const bool not_ready =
        err == FAJIT_E_BUSY || err == FAJIT_E_CAPTURE || err == FAJIT_E_NOT_CACHED;
    if (not_ready && params->wait == FAJIT_FALLBACK)
        err = fj_plan_fall_back(plan, problem, &request, err, ret_hit);
    return err;
}

static int fill_plan(struct fajit_plan *plan, const struct fajit_problem *problem,
                     const struct fajit_plan_params *params)
{
    struct fj_jit *jit = &plan->ctx->jit;
    struct fj_problem own;
    bool capturing, hit;
    char nvrtc[16];
    int err = fj_problem_from_public(problem, &own);
    if (err == 0)
        err = fj_stream_is_capturing(jit, params->stream, &capturing);
    fj_ctx_nvrtc(plan->ctx, nvrtc);
    if (err == 0 && wants_tuning(plan->ctx, &own, params, capturing, nvrtc))
        err = tune_first(plan->ctx, &own, params->tune_budget_s);
    if (err == 0)
        err = choose(plan->ctx, &own, &plan->choice, &plan->found);
    if (err == 0)
        err = find_kernel(plan, &own, params, capturing, &hit);
    if (err == 0 || err == FAJIT_E_BUSY)
        fj_ctx_note_problem(plan->ctx, &own);
    if (err)
        return err;
    plan->loaded = jit->has_device && !params->no_load;
    plan->origin = hit ? FAJIT_FROM_MEMORY : plan->kernel->origin;
    if (!hit)
        plan->times = plan->kernel->times;
    return FAJIT_OK;
}

int fajit_plan_create(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                      const struct fajit_plan_params *params, struct fajit_plan **ret_plan)
{
    struct fajit_plan_params known = {.struct_size = sizeof(known)};
    if (!ctx || !problem || !ret_plan)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_create: an argument is NULL");
    int err = params ? fj_take_struct("fajit_plan_params", params, &known, sizeof(known)) : 0;
    if (err)
        return err;
    if ((unsigned)known.effort > FAJIT_EFFORT_TUNE)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_create: effort %d is unknown", (int)known.effort);

    if ((unsigned)known.wait > FAJIT_FALLBACK)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_create: wait %d is unknown", (int)known.wait);
    if (known.wait != FAJIT_WAIT && known.effort == FAJIT_EFFORT_TUNE)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_create: tuning takes seconds on the device: plan "
                                     "with FAJIT_WAIT, or tune beforehand");
    if (known.effort == FAJIT_EFFORT_TUNE && !ctx->jit.has_device)
        return fj_err(FAJIT_E_NO_DEVICE,
                      "fajit_plan_create: tuning measures on a device, and this context, which "
                      "compiles for %s, has none: plan with FAJIT_EFFORT_DEFAULT",
                      ctx->jit.gpu.name);

    struct fajit_plan *plan = calloc(1, sizeof(*plan));
    if (!plan)
        return fj_err(FAJIT_E_NOMEM, "no memory for a plan");
    plan->ctx = ctx;
    err = fill_plan(plan, problem, &known);
    if (err) {
        free(plan);
        return err;
    }
    *ret_plan = plan;
    return FAJIT_OK;
}

int fajit_render(struct fajit_ctx *ctx, const struct fajit_problem *problem, bool watches,
                 char **ret_source, char *ret_name, size_t name_bytes)
{
    struct fj_problem own;
    struct fj_choice choice;
    struct fj_found found;
    struct fj_rendering rendering = {0};
    char name[160];
    if (!ctx || !problem || !ret_source)
        return fj_err(FAJIT_E_INVAL, "fajit_render: an argument is NULL");
    int err = fj_problem_from_public(problem, &own);
    if (err == 0)
        err = choose(ctx, &own, &choice, &found);
    if (err == 0)
        err = fj_jit_render(&ctx->jit, &choice, watches, name, &rendering);
    if (err == 0) {
        char *source = fj_buf_steal(&rendering.text);
        if (source)
            *ret_source = source;
        else
            err = fj_err(FAJIT_E_NOMEM, "no memory for the source");
    }
    if (err == 0 && ret_name)
        snprintf(ret_name, name_bytes, "%s", name);
    fj_rendering_free(&rendering);
    return err;
}

void fajit_plan_destroy(struct fajit_plan **plan)
{
    if (!plan || !*plan)
        return;
    fj_jit_release(&(*plan)->ctx->jit, (*plan)->kernel);
    free(*plan);
    *plan = NULL;
}

const char *fajit_plan_name(const struct fajit_plan *plan)
{
    return plan ? plan->kernel->name : "";
}

const char *fajit_plan_source(const struct fajit_plan *plan)
{
    return plan ? plan->kernel->rendering.text.data : "";
}

static void info_of_choice(const struct fj_choice *choice, struct fajit_plan_info *info)
{
    struct fj_cost cost = {0};
    struct fj_buf config = {0};
    choice->kernel->cost(choice, &cost);
    fj_config_format(&choice->config, &config);
    snprintf(info->config, sizeof(info->config), "%s", config.data ? config.data : "");
    fj_buf_free(&config);
    snprintf(info->template_name, sizeof(info->template_name), "%s", choice->kernel->template_name);
    info->family = choice->kernel->family;
    info->variant = choice->problem.variant;
    info->flops = cost.flops;
    info->bytes = cost.bytes;
    info->exps = cost.exps;
    info->block_flops = cost.block_flops;
    info->block_bytes = cost.block_bytes;
    info->block_exps = cost.block_exps;
}

// Another plan may be loading the kernel of one that does not.
void fj_info_of_kernel(const struct fj_kernel *kernel, bool loaded, struct fajit_plan_info *info)
{
    snprintf(info->arch, sizeof(info->arch), "%s", kernel->target.name);
    fj_key_hex(&kernel->key, info->key);
    info->registers = loaded ? kernel->module.registers : kernel->registers;
    info->spill_bytes = kernel->spill_bytes;
    info->smem_bytes = kernel->smem_dynamic_bytes +
                       (kernel->smem_static_bytes > 0 ? kernel->smem_static_bytes : 0);
    info->threads = kernel->threads;
    info->ctas_per_sm = loaded ? kernel->ctas_per_sm : 0;
    info->image_bytes = kernel->image_bytes;
}

void fj_info_of_times(const struct fj_times *times, struct fajit_plan_info *info)
{
    info->render_us = times->render_us;
    info->key_us = times->key_us;
    info->disk_us = times->disk_us;
    info->compile_us = times->compile_us;
    info->load_us = times->load_us;
    info->publish_us = times->publish_us;
}

int fajit_plan_info(const struct fajit_plan *plan, struct fajit_plan_info *ret_info)
{
    if (!plan || !ret_info)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_info: an argument is NULL");
    struct fajit_plan_info info = {.origin = plan->origin, .fallback = plan->fallback};
    snprintf(info.config_from, sizeof(info.config_from), "%s", plan->found.from);
    info_of_choice(&plan->choice, &info);
    fj_info_of_times(&plan->times, &info);
    fj_info_of_kernel(plan->kernel, plan->loaded, &info);
    return fj_give_struct("fajit_plan_info", &info, sizeof(info), ret_info);
}

int fajit_plan_ptx(struct fajit_plan *plan, char **ret_ptx)
{
    if (!plan || !ret_ptx)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_ptx: an argument is NULL");
    return fj_jit_ptx(&plan->ctx->jit, plan->kernel, ret_ptx);
}

int fajit_plan_image(struct fajit_plan *plan, void **ret_image, size_t *ret_bytes)
{
    if (!plan || !ret_image || !ret_bytes)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_image: an argument is NULL");
    return fj_copy_image(plan->kernel, ret_image, ret_bytes);
}

int fj_copy_image(const struct fj_kernel *kernel, void **ret_image, size_t *ret_bytes)
{
    void *copy = malloc(kernel->image_bytes + 1);
    if (!copy)
        return fj_err(FAJIT_E_NOMEM, "no memory for %zu bytes of image", kernel->image_bytes);
    memcpy(copy, kernel->image, kernel->image_bytes);
    ((char *)copy)[kernel->image_bytes] = '\0';
    *ret_image = copy;
    *ret_bytes = kernel->image_bytes;
    return FAJIT_OK;
}
