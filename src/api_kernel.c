// Kernels of the caller's own: template and values to kernel, launch, and what one may ask of them.
#include <fajit/fajit.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_check.h"
#include "autotune/custom.h"
#include "ctx.h"
#include "cuda/launch.h"

#define GRID_X_MAX 0x7fffffffu
#define GRID_YZ_MAX 65535u

// --- Planning ---------------------------------------------------------------------------------

static int take_params(const struct fajit_kernel_params *params, struct fajit_kernel_params *known)
{
    *known = (struct fajit_kernel_params){.struct_size = sizeof(*known)};
    int err = params ? fj_take_struct("fajit_kernel_params", params, known, sizeof(*known)) : 0;
    if (err)
        return err;
    if ((unsigned)known->effort > FAJIT_EFFORT_TUNE)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_plan: effort %d is unknown", (int)known->effort);
    if ((unsigned)known->wait > FAJIT_NO_WAIT)
        return fj_err(FAJIT_E_INVAL,
                      "fajit_kernel_plan: wait %d: FAJIT_WAIT and FAJIT_NO_WAIT are possible, "
                      "nothing can stand in for a kernel of your own",
                      (int)known->wait);
    if (known->effort == FAJIT_EFFORT_TUNE && !known->trial)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_plan: FAJIT_EFFORT_TUNE without a trial: only "
                                     "the host knows how to launch and judge its kernel");
    if (known->effort == FAJIT_EFFORT_TUNE && known->wait != FAJIT_WAIT)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_plan: tuning takes seconds on the device: plan "
                                     "with FAJIT_WAIT, or tune beforehand");
    return FAJIT_OK;
}

static int parse(struct fajit_ctx *ctx, const char *template_name,
                 const struct fajit_kernel_params *params, struct fj_custom *ret_custom)
{
    return fj_custom_parse(ctx->template_dir, template_name, params->values, ret_custom);
}

static int choose(struct fajit_ctx *ctx, struct fj_custom *custom, char ret_from[160])
{
    char nvrtc[16];
    fj_ctx_nvrtc(ctx, nvrtc);
    return fj_custom_choose(ctx->tune_mode == FAJIT_TUNE_OFF ? NULL : ctx->tune, &ctx->jit.gpu,
                            nvrtc, custom, ret_from);
}

// The conditions of wants_tuning in api_plan.c.
static bool wants_tuning(struct fajit_ctx *ctx, const struct fj_custom *custom,
                         const struct fajit_kernel_params *params, bool capturing)
{
    const bool force = ctx->tune_mode == FAJIT_TUNE_FORCE;
    const bool asked =
        force || ctx->tune_mode == FAJIT_TUNE_ON || params->effort == FAJIT_EFFORT_TUNE;
    struct fj_tune_key key;
    char nvrtc[16];
    if (!asked || !params->trial || capturing || params->wait != FAJIT_WAIT ||
        params->effort == FAJIT_EFFORT_CACHED_ONLY || params->no_load || !ctx->jit.has_device ||
        ctx->jit.no_compile || custom->knob_count == 0 || !fj_custom_key(custom, &key))
        return false;
    fj_ctx_nvrtc(ctx, nvrtc);
    if (!force && fj_custom_is_tuned(ctx->tune, &ctx->jit.gpu, nvrtc, custom, NULL))
        return false;
    // Without a worker little may be tried, and that is no search that ended: once is enough.
    return (!force && ctx->worker) || fj_tune_is_new_key(ctx->tune, &key);
}

// A search that fails leaves what is known already: only a lost context ends the plan too.
static int tune_first(struct fajit_ctx *ctx, const struct fj_custom *custom,
                      const struct fajit_kernel_params *params)
{
    const struct fajit_tune_params defaults = {.struct_size = sizeof(defaults)};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fajit_kernel_trial trial;
    int err = fj_kernel_take_trial(params, &trial);
    if (err)
        return err;
    err = fj_kernel_search(ctx, custom, &trial, &defaults, &result);
    if (err == FAJIT_E_CONTEXT_LOST)
        return err;
    if (err)
        fj_log(&ctx->jit.log, FAJIT_LOG_WARN, "not tuned: %s", fj_err_text());
    return FAJIT_OK;
}

static int check_fit(const struct fajit_kernel *kernel)
{
    const struct fj_kernel *k = kernel->kernel;
    if (!kernel->loaded || k->ctas_per_sm > 0)
        return FAJIT_OK;
    return fj_err(FAJIT_E_UNSUPPORTED,
                  "%s: not one CTA of %d threads with %d registers each and %d bytes of shared "
                  "memory fits on %s",
                  kernel->custom.template_name, k->threads, k->module.registers,
                  k->smem_dynamic_bytes + k->module.smem_static_bytes, kernel->ctx->jit.gpu.name);
}

int fj_kernel_read_params(struct fajit_kernel *kernel)
{
    kernel->param_count = -1;
    return kernel->loaded
               ? fj_module_params(&kernel->ctx->jit.device, &kernel->kernel->module,
                                  FAJIT_KERNEL_ARGS_MAX, kernel->param_bytes, &kernel->param_count)
               : FAJIT_OK;
}

static int fill_kernel(struct fajit_kernel *kernel, const char *template_name,
                       const struct fajit_kernel_params *params)
{
    struct fajit_ctx *ctx = kernel->ctx;
    struct fj_jit_request request = {
        .custom = &kernel->custom,
        .cached_only = params->effort == FAJIT_EFFORT_CACHED_ONLY,
        .no_wait = params->wait == FAJIT_NO_WAIT,
        .no_load = params->no_load,
    };
    bool hit;
    int err = parse(ctx, template_name, params, &kernel->custom);
    if (err == 0)
        err = fj_stream_is_capturing(&ctx->jit, params->stream, &request.capturing);
    if (err == 0 && wants_tuning(ctx, &kernel->custom, params, request.capturing))
        err = tune_first(ctx, &kernel->custom, params);
    if (err == 0)
        err = choose(ctx, &kernel->custom, kernel->from);
    if (err == 0)
        err = fj_jit_kernel(&ctx->jit, &request, &kernel->kernel, &hit);
    if (err == 0 || err == FAJIT_E_BUSY)
        fj_ctx_note_custom(ctx, &kernel->custom);
    if (err)
        return err;
    kernel->loaded = ctx->jit.has_device && !params->no_load;
    kernel->origin = hit ? FAJIT_FROM_MEMORY : kernel->kernel->origin;
    if (!hit)
        kernel->times = kernel->kernel->times;
    err = check_fit(kernel);
    return err ? err : fj_kernel_read_params(kernel);
}

int fajit_kernel_plan(struct fajit_ctx *ctx, const char *template_name,
                      const struct fajit_kernel_params *params, struct fajit_kernel **ret_kernel)
{
    struct fajit_kernel_params known;
    if (!ctx || !template_name || !ret_kernel)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_plan: an argument is NULL");
    int err = take_params(params, &known);
    if (err == 0 && known.effort == FAJIT_EFFORT_TUNE && !ctx->jit.has_device)
        err = fj_err(FAJIT_E_NO_DEVICE,
                     "fajit_kernel_plan: tuning measures on a device, and this context, which "
                     "compiles for %s, has none: plan with FAJIT_EFFORT_DEFAULT",
                     ctx->jit.gpu.name);
    if (err)
        return err;
    struct fajit_kernel *kernel = calloc(1, sizeof(*kernel));
    if (!kernel)
        return fj_err(FAJIT_E_NOMEM, "no memory for a kernel");
    kernel->ctx = ctx;
    err = fill_kernel(kernel, template_name, &known);
    if (err) {
        fajit_kernel_destroy(&kernel);
        return err;
    }
    *ret_kernel = kernel;
    return FAJIT_OK;
}

void fajit_kernel_destroy(struct fajit_kernel **kernel)
{
    if (!kernel || !*kernel)
        return;
    fj_jit_release(&(*kernel)->ctx->jit, (*kernel)->kernel);
    free(*kernel);
    *kernel = NULL;
}

int fajit_kernel_render(struct fajit_ctx *ctx, const char *template_name,
                        const struct fajit_kernel_params *params, char **ret_source, char *ret_name,
                        size_t name_bytes)
{
    struct fajit_kernel_params known;
    struct fj_custom custom;
    struct fj_rendering rendering = {0};
    char from[160];
    if (!ctx || !template_name || !ret_source)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_render: an argument is NULL");
    int err = take_params(params, &known);
    if (err == 0)
        err = parse(ctx, template_name, &known, &custom);
    if (err == 0)
        err = choose(ctx, &custom, from);
    if (err == 0)
        err = fj_jit_render_custom(&ctx->jit, &custom, false, &rendering);
    if (err)
        return err;
    char *source = fj_buf_steal(&rendering.text);
    fj_rendering_free(&rendering);
    if (!source)
        return fj_err(FAJIT_E_NOMEM, "no memory for the source");
    if (ret_name)
        snprintf(ret_name, name_bytes, "%s", custom.name);
    *ret_source = source;
    return FAJIT_OK;
}

// --- Launching --------------------------------------------------------------------------------

static int take_grid(const struct fajit_kernel *kernel, struct fajit_grid grid, unsigned ret[3])
{
    ret[0] = grid.x;
    ret[1] = grid.y ? grid.y : 1;
    ret[2] = grid.z ? grid.z : 1;
    if (grid.x == 0)
        return fj_err(FAJIT_E_INVAL,
                      "fajit_kernel_launch: the grid of %s is empty: where there is nothing to do, "
                      "do not launch",
                      kernel->kernel->name);
    if (grid.x > GRID_X_MAX || grid.y > GRID_YZ_MAX || grid.z > GRID_YZ_MAX)
        return fj_err(FAJIT_E_INVAL,
                      "fajit_kernel_launch: a grid of %u x %u x %u CTAs; up to %u x %u x %u are "
                      "possible",
                      ret[0], ret[1], ret[2], GRID_X_MAX, GRID_YZ_MAX, GRID_YZ_MAX);
    return FAJIT_OK;
}

static int check_arg(const struct fajit_kernel *kernel, const struct fajit_arg *arg, int i)
{
    if (arg->bytes == kernel->param_bytes[i])
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "fajit_kernel_launch: argument %d of %s has %zu bytes, the kernel's parameter "
                  "has %zu",
                  i, kernel->kernel->name, arg->bytes, kernel->param_bytes[i]);
}

static int take_args(const struct fajit_kernel *kernel, const struct fajit_kernel_args *args,
                     void *ret_values[FAJIT_KERNEL_ARGS_MAX], int *ret_count)
{
    int count = 0;
    for (; count < FAJIT_KERNEL_ARGS_MAX && args->items[count].value; count++) {
        int err = count < kernel->param_count ? check_arg(kernel, &args->items[count], count) : 0;
        if (err)
            return err;
        ret_values[count] = (void *)(uintptr_t)args->items[count].value;
    }
    *ret_count = count;
    if (kernel->param_count < 0 || count == kernel->param_count)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "fajit_kernel_launch: %d arguments were given, %s has %d parameters", count,
                  kernel->kernel->name, kernel->param_count);
}

int fajit_kernel_launch(const struct fajit_kernel *kernel, struct fajit_grid grid,
                        const struct fajit_kernel_args *args, void *stream)
{
    struct fajit_kernel_args known = {.struct_size = sizeof(known)};
    void *values[FAJIT_KERNEL_ARGS_MAX] = {NULL};
    unsigned ctas[3];
    int count = 0;
    if (!kernel)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_launch: kernel is NULL");
    if (!kernel->loaded)
        return fj_err(FAJIT_E_NO_DEVICE, "fajit_kernel_launch: the kernel was made to look at or "
                                         "compile (no device, or no_load): it cannot be launched");
    int err = args ? fj_take_struct("fajit_kernel_args", args, &known, sizeof(known)) : 0;
    if (err == 0)
        err = take_grid(kernel, grid, ctas);
    if (err == 0)
        err = take_args(kernel, &known, values, &count);
    if (err == 0 && kernel->ctx->check)
        err = fj_check_before(&kernel->ctx->jit, "fajit_kernel_launch", NULL, NULL, stream);
    if (err)
        return err;
    if (kernel->noted)
        return fj_launches_note(kernel->noted, ctas, known.items, count);
    err = fj_cuda_launch(kernel->ctx->jit.device.cuda, kernel->kernel->module.function,
                         &(struct fj_cuda_launch){
                             .grid = {ctas[0], ctas[1], ctas[2]},
                             .block = {(unsigned)kernel->kernel->threads, 1, 1},
                             .smem_bytes = (unsigned)kernel->kernel->smem_dynamic_bytes,
                             .args = values,
                         },
                         stream);
    if (err == 0 && kernel->ctx->check)
        err =
            fj_check_after(&kernel->ctx->jit, "fajit_kernel_launch", kernel->kernel->name, stream);
    return err;
}

// --- Looking inside ---------------------------------------------------------------------------

int64_t fajit_kernel_const(const struct fajit_kernel *kernel, const char *name)
{
    int64_t value;
    return kernel && name && fj_custom_value(&kernel->custom, name, &value) ? value : INT64_MIN;
}

const char *fajit_kernel_name(const struct fajit_kernel *kernel)
{
    return kernel ? kernel->kernel->name : "";
}

const char *fajit_kernel_source(const struct fajit_kernel *kernel)
{
    return kernel ? kernel->kernel->rendering.text.data : "";
}

int fajit_kernel_info(const struct fajit_kernel *kernel, struct fajit_plan_info *ret_info)
{
    if (!kernel || !ret_info)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_info: an argument is NULL");
    struct fajit_plan_info info = {.origin = kernel->origin};
    struct fj_buf config = {0};
    fj_custom_config_print(&kernel->custom, &config);
    snprintf(info.config, sizeof(info.config), "%s", config.data ? config.data : "");
    fj_buf_free(&config);
    snprintf(info.template_name, sizeof(info.template_name), "%s", kernel->custom.template_name);
    snprintf(info.config_from, sizeof(info.config_from), "%s", kernel->from);
    fj_info_of_times(&kernel->times, &info);
    fj_info_of_kernel(kernel->kernel, kernel->loaded, &info);
    return fj_give_struct("fajit_plan_info", &info, sizeof(info), ret_info);
}

int fajit_kernel_ptx(const struct fajit_kernel *kernel, char **ret_ptx)
{
    if (!kernel || !ret_ptx)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_ptx: an argument is NULL");
    return fj_jit_ptx(&kernel->ctx->jit, kernel->kernel, ret_ptx);
}

int fajit_kernel_image(const struct fajit_kernel *kernel, void **ret_image, size_t *ret_bytes)
{
    if (!kernel || !ret_image || !ret_bytes)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_image: an argument is NULL");
    return fj_copy_image(kernel->kernel, ret_image, ret_bytes);
}
