// Tuning kernels of the caller's own: the host launches and judges, the library times and records.
#include <fajit/fajit.h>

#include <stdio.h>
#include <string.h>

#include "autotune/custom.h"
#include "base/thread.h"
#include "ctx.h"

struct host {
    struct fajit_ctx *ctx;
    const struct fajit_kernel_trial *trial;
    const struct fajit_tune_params *params;
    struct fajit_kernel shown; // the candidate, as the host sees it
    struct fj_rehearsal rehearsal;
    struct fajit_tune_progress last; // what the host was told, for saying it again
    char running[FAJIT_CONFIG_MAX], best[FAJIT_CONFIG_MAX];
    double told_us;
};

int fj_kernel_take_trial(const struct fajit_kernel_params *params,
                         struct fajit_kernel_trial *ret_trial)
{
    if (!params->trial)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_tune: no trial: only the host knows how to "
                                     "launch and judge its kernel");
    int err = fj_take_struct("fajit_kernel_trial", params->trial, ret_trial, sizeof(*ret_trial));
    if (err == 0 && (!ret_trial->launch || !ret_trial->judge))
        err = fj_err(FAJIT_E_INVAL, "fajit_kernel_trial: `%s` is NULL; both callbacks are needed",
                     ret_trial->launch ? "judge" : "launch");
    return err;
}

// --- The host's callbacks ---------------------------------------------------------------------

static int show(struct host *host, const struct fj_custom *custom, struct fj_kernel *kernel)
{
    // An address alone may be that of a candidate that is gone.
    if (host->shown.kernel == kernel && strcmp(host->shown.custom.name, custom->name) == 0)
        return FAJIT_OK;
    host->shown.ctx = host->ctx;
    host->shown.kernel = kernel;
    host->shown.custom = *custom;
    host->shown.loaded = true;
    host->shown.origin = kernel->origin;
    return fj_kernel_read_params(&host->shown);
}

static int launch(void *user, const struct fj_custom *custom, struct fj_kernel *kernel,
                  CUstream stream)
{
    struct host *host = user;
    int err = show(host, custom, kernel);
    if (err)
        return err;
    err = host->trial->launch(host->trial->user, &host->shown, stream);
    return err > 0 ? fj_err(FAJIT_E_INVAL, "the host's launch returned %d", err) : err;
}

static int judge(void *user, const struct fj_custom *custom, struct fj_kernel *kernel)
{
    struct host *host = user;
    char why[160] = "";
    int err = show(host, custom, kernel);
    if (err)
        return err;
    err = host->trial->judge(host->trial->user, &host->shown, why, sizeof(why));
    why[sizeof(why) - 1] = '\0';
    if (err == 0 || (err < 0 && !*why)) // it cannot tell: the sentence is that of what failed
        return err;
    return fj_err(FAJIT_E_INVAL, "judged wrong%s%s", *why ? ": " : "", why);
}

static int pass_on(void *user, const struct fj_search_progress *from, const char *running,
                   const char *best, double default_us)
{
    static const char *const phases[] = {"screen", "rounds", "finals", "done"};
    struct host *host = user;
    snprintf(host->running, sizeof(host->running), "%s", running);
    snprintf(host->best, sizeof(host->best), "%s", best);
    host->told_us = fj_now_us();
    host->last = (struct fajit_tune_progress){
        .struct_size = sizeof(host->last),
        .phase = phases[from->phase],
        .candidates = from->count,
        .compiled = from->compiled,
        .timed = from->timed,
        .left = from->left,
        .running = host->running,
        .best = host->best,
        .best_us = from->best_us,
        .default_us = default_us,
        .elapsed_s = from->elapsed_us / 1e6,
        .budget_s = from->budget_us / 1e6,
    };
    return host->params->progress(host->params->user, &host->last);
}

// --- Rehearsing -------------------------------------------------------------------------------

// While the worker is busy the host hears the same again, at a later time.
static bool is_cancelled(void *user)
{
    struct host *host = user;
    if (!host->params->progress || host->told_us <= 0)
        return false;
    const double now_us = fj_now_us();
    host->last.elapsed_s += (now_us - host->told_us) / 1e6;
    host->told_us = now_us;
    return host->params->progress(host->params->user, &host->last) != 0;
}

// The host launches as ever; what it launches is written down.
static int note_launches(struct host *host, const struct fj_custom *custom,
                         struct fj_kernel *kernel, struct fj_launches *ret_launches)
{
    host->shown.noted = ret_launches;
    int err = launch(host, custom, kernel, NULL);
    host->shown.noted = NULL;
    return err;
}

static enum fj_rehearsed rehearse(void *user, const struct fj_custom *custom,
                                  struct fj_kernel *kernel, int *ret_status)
{
    struct host *host = user;
    struct fj_launches launches = {0};
    enum fj_rehearsed outcome = FJ_REHEARSED_FAILED;
    CUcontext previous;
    *ret_status = fj_device_enter(&host->ctx->jit.device, &previous);
    if (*ret_status)
        return outcome;
    *ret_status = note_launches(host, custom, kernel, &launches);
    if (*ret_status == FAJIT_OK)
        outcome = fj_rehearse(&host->rehearsal, custom, &launches, ret_status);
    fj_device_leave(&host->ctx->jit.device, previous);
    fj_launches_free(&launches);
    return outcome;
}

static void end_rehearsals(void *user)
{
    fj_rehearsal_end(&((struct host *)user)->rehearsal);
}

// Kernels and the copies of memory reach the worker through the cache directory.
static bool can_rehearse(struct fajit_ctx *ctx)
{
    if (ctx->worker && !fj_disk_writable(ctx->jit.disk))
        fj_log(&ctx->jit.log, FAJIT_LOG_WARN,
               "candidates cannot be tried in the tuning worker first: that needs a cache "
               "directory that can be written");
    return ctx->worker && fj_disk_writable(ctx->jit.disk);
}

// --- The search -------------------------------------------------------------------------------

static void give_config(const struct fj_custom *custom, struct fajit_tune_result *result)
{
    struct fj_buf config = {0};
    fj_custom_config_print(custom, &config);
    snprintf(result->config, sizeof(result->config), "%s", config.data ? config.data : "");
    fj_buf_free(&config);
    struct fj_custom_stem stem = fj_custom_stem(custom);
    snprintf(result->kernel, sizeof(result->kernel), "%.63s", stem.text);
}

static void give_found(struct fj_custom *custom, const struct fj_gpu *gpu,
                       const struct fj_custom_result *found, struct fajit_tune_result *result)
{
    if (found->found && fj_custom_set(custom, gpu, found->values) == FAJIT_OK) {
        give_config(custom, result);
        result->median_us = found->median_us;
        result->p25_us = found->p25_us;
        result->p75_us = found->p75_us;
    }
    result->default_us = found->default_us;
    result->candidates = found->candidates;
    result->compiled = found->compiled;
    result->timed = found->timed;
    result->points = found->points;
    result->finished = found->finished;
    result->cancelled = found->cancelled;
    result->noisy = found->noisy;
    result->unsaved = found->unsaved;
    result->elapsed_s = found->elapsed_us / 1e6;
}

int fj_kernel_search(struct fajit_ctx *ctx, const struct fj_custom *custom,
                     const struct fajit_kernel_trial *trial, const struct fajit_tune_params *params,
                     struct fajit_tune_result *result)
{
    struct host host = {.ctx = ctx, .trial = trial, .params = params};
    struct fj_custom chosen = *custom;
    struct fj_custom_result found;
    const struct fj_rehearsal_params rehearsals = {
        .worker = ctx->worker,
        .device = &ctx->jit.device,
        .dir = fj_disk_dir(ctx->jit.disk),
        .silence_s = params->silence_s,
        .cancelled = is_cancelled,
        .user = &host,
    };
    const bool rehearsed = can_rehearse(ctx);
    const struct fj_custom_trial own = {
        .rehearse = rehearsed ? rehearse : NULL,
        .end_rehearsals = rehearsed ? end_rehearsals : NULL,
        .launch = launch,
        .judge = judge,
        .user = &host,
        .output = trial->output,
        .output_bytes = trial->output_bytes,
    };
    const struct fj_custom_search search = {
        .budget_us = params->budget_s * 1e6,
        .jobs = params->jobs,
        .max_candidates = params->max_candidates,
        .exhaustive = params->exhaustive,
        .safe_only = !params->try_all,
        .progress = params->progress ? pass_on : NULL,
        .user = &host,
    };
    fj_rehearsal_begin(&rehearsals, &host.rehearsal);
    int err = fj_custom_tune(&ctx->jit, ctx->tune, custom, &own, &search, &found);
    give_found(&chosen, &ctx->jit.gpu, &found, result);
    return err;
}

static bool from_record(struct fajit_ctx *ctx, struct fj_custom *custom,
                        struct fajit_tune_result *result)
{
    struct fj_record best;
    int64_t values[FJ_CUSTOM_KNOBS_MAX];
    char nvrtc[16];
    fj_ctx_nvrtc(ctx, nvrtc);
    if (!fj_custom_is_tuned(ctx->tune, &ctx->jit.gpu, nvrtc, custom, &best) ||
        !fj_custom_config_parse(custom, best.config, values) ||
        fj_custom_set(custom, &ctx->jit.gpu, values))
        return false;
    give_config(custom, result);
    result->median_us = best.median_us;
    result->p25_us = best.p25_us;
    result->p75_us = best.p75_us;
    result->from_record = result->finished = true;
    return true;
}

int fajit_kernel_tune(struct fajit_ctx *ctx, const char *template_name,
                      const struct fajit_kernel_params *params,
                      const struct fajit_tune_params *tune_params,
                      struct fajit_tune_result *ret_result)
{
    struct fajit_kernel_params known = {.struct_size = sizeof(known)};
    struct fajit_tune_params search = {.struct_size = sizeof(search)};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fajit_kernel_trial trial;
    struct fj_custom custom;
    if (!ctx || !template_name || !params || !ret_result)
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_tune: an argument is NULL");
    int err = fj_take_struct("fajit_kernel_params", params, &known, sizeof(known));
    if (err == 0 && tune_params)
        err = fj_take_struct("fajit_tune_params", tune_params, &search, sizeof(search));
    if (err == 0)
        err = fj_kernel_take_trial(&known, &trial);
    if (err == 0)
        err = fj_custom_parse(ctx->template_dir, template_name, known.values, &custom);
    if (err == 0 && custom.knob_count == 0)
        err = fj_err(FAJIT_E_INVAL,
                     "%s has nothing to tune: no //@tune line is left open by the values given",
                     custom.template_name);
    if (err)
        return err;
    if (search.force || !from_record(ctx, &custom, &result))
        err = fj_kernel_search(ctx, &custom, &trial, &search, &result);
    return err ? err : fj_give_struct("fajit_tune_result", &result, sizeof(result), ret_result);
}

int fajit_kernel_why(struct fajit_ctx *ctx, const char *template_name,
                     const struct fajit_kernel_params *params, struct fajit_tune_result *ret_choice,
                     char *ret_from, size_t from_bytes)
{
    struct fajit_kernel_params known = {.struct_size = sizeof(known)};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fj_custom custom;
    char nvrtc[16], from[160];
    if (!ctx || !template_name || !ret_choice || (!ret_from && from_bytes))
        return fj_err(FAJIT_E_INVAL, "fajit_kernel_why: an argument is NULL");
    int err = params ? fj_take_struct("fajit_kernel_params", params, &known, sizeof(known)) : 0;
    if (err == 0)
        err = fj_custom_parse(ctx->template_dir, template_name, known.values, &custom);
    fj_ctx_nvrtc(ctx, nvrtc);
    if (err == 0)
        err = fj_custom_choose(ctx->tune_mode == FAJIT_TUNE_OFF ? NULL : ctx->tune, &ctx->jit.gpu,
                               nvrtc, &custom, from);
    if (err)
        return err;
    give_config(&custom, &result);
    snprintf(ret_from, from_bytes, "%s", from);
    return fj_give_struct("fajit_tune_result", &result, sizeof(result), ret_choice);
}
