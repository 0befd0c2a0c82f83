// Tuning and its records.
#include <fajit/fajit.h>

#include <stdio.h>
#include <string.h>

#include "autotune/tuner.h"
#include "base/file.h"
#include "ctx.h"

#define RECORDS_MAX_BYTES ((size_t)256 << 20)

// --- Searching --------------------------------------------------------------------------------

struct listener {
    int (*progress)(void *user, const struct fajit_tune_progress *progress);
    void *user;
};

static void config_text(const struct fj_choice *choice, char *ret_text, size_t size)
{
    struct fj_buf config = {0};
    ret_text[0] = '\0';
    if (!choice)
        return;
    fj_config_format(&choice->config, &config);
    snprintf(ret_text, size, "%s/%s/%s", fj_family_name(choice->kernel->family),
             fj_variant_name(choice->problem.variant), config.data ? config.data : "");
    fj_buf_free(&config);
}

static int pass_on(void *user, const struct fj_search_progress *from,
                   const struct fj_choice *running, const struct fj_choice *best, double default_us)
{
    static const char *const phases[] = {"screen", "rounds", "finals", "done"};
    const struct listener *listener = user;
    char running_text[FAJIT_CONFIG_MAX + 32], best_text[FAJIT_CONFIG_MAX + 32];
    config_text(running, running_text, sizeof(running_text));
    config_text(best, best_text, sizeof(best_text));
    const struct fajit_tune_progress progress = {
        .struct_size = sizeof(progress),
        .phase = phases[from->phase],
        .candidates = from->count,
        .compiled = from->compiled,
        .timed = from->timed,
        .left = from->left,
        .running = running_text,
        .best = best_text,
        .best_us = from->best_us,
        .default_us = default_us,
        .elapsed_s = from->elapsed_us / 1e6,
        .budget_s = from->budget_us / 1e6,
    };
    return listener->progress(listener->user, &progress);
}

static void give_choice(const struct fj_choice *choice, struct fajit_tune_result *result)
{
    struct fj_buf config = {0};
    fj_config_format(&choice->config, &config);
    snprintf(result->config, sizeof(result->config), "%s", config.data ? config.data : "");
    fj_buf_free(&config);
    snprintf(result->kernel, sizeof(result->kernel), "%s", choice->kernel->name);
    result->family = choice->kernel->family;
    result->variant = choice->problem.variant;
}

static int take_best(void *user, const struct fj_record *record, enum fj_lookup_step step,
                     double predicted_us)
{
    struct fajit_tune_result *result = user;
    (void)predicted_us;
    if (step != FJ_STEP_EXACT)
        return 0;
    result->median_us = record->median_us;
    result->p25_us = record->p25_us;
    result->p75_us = record->p75_us;
    return 1;
}

static int from_record(struct fajit_ctx *ctx, const struct fj_problem *problem, const char *nvrtc,
                       struct fajit_tune_result *result)
{
    struct fj_choice choice;
    struct fj_found found;
    int err = fj_tune_choose(ctx->tune, problem, nvrtc, &choice, &found);
    if (err)
        return err;
    give_choice(&choice, result);
    fj_tune_visit(ctx->tune, problem, nvrtc, take_best, result);
    result->from_record = result->finished = true;
    return FAJIT_OK;
}

static int run_here(struct fajit_ctx *ctx, const struct fj_problem *problem,
                    const struct fajit_tune_params *params, struct fajit_tune_result *result)
{
    struct listener listener = {params->progress, params->user};
    struct fj_tuner_result found;
    const struct fj_tuner_params own = {
        .budget_us = params->budget_s * 1e6,
        .jobs = params->jobs,
        .max_candidates = params->max_candidates,
        .safe_only = !params->try_all,
        .exhaustive = params->exhaustive,
        .progress = params->progress ? pass_on : NULL,
        .user = &listener,
    };
    int err = fj_tuner_run(&ctx->jit, ctx->tune, problem, &own, &found);
    if (found.found) {
        give_choice(&found.choice, result);
        result->median_us = found.median_us;
        result->p25_us = found.p25_us;
        result->p75_us = found.p75_us;
    }
    result->default_us = found.default_us;
    result->candidates = found.candidates;
    result->compiled = found.compiled;
    result->timed = found.timed;
    result->points = found.points;
    result->finished = found.finished;
    result->cancelled = found.cancelled;
    result->noisy = found.noisy;
    result->unsaved = found.unsaved;
    result->elapsed_s = found.elapsed_us / 1e6;
    return err;
}

// A worker that found no end may have found something.
static int best_so_far(struct fajit_ctx *ctx, const struct fj_problem *problem, int status,
                       struct fajit_tune_result *result)
{
    struct fajit_tune_result known = *result;
    char nvrtc[16], why[1024];
    snprintf(why, sizeof(why), "%s", fj_err_text());
    fj_ctx_nvrtc(ctx, nvrtc);
    if (from_record(ctx, problem, nvrtc, &known) || known.median_us <= 0)
        return status ? fj_err(status, "%s", why) : FAJIT_OK;
    known.from_record = known.finished = false;
    if (status)
        fj_log(&ctx->jit.log, FAJIT_LOG_WARN, "%s; best so far: %s", why, known.config);
    *result = known;
    return FAJIT_OK;
}

static void read_records(struct fajit_ctx *ctx, struct fj_buf *ret_text)
{
    const char *path = fj_tune_path(ctx->tune);
    fj_buf_clear(ret_text);
    if (*path && fj_file_exists(path) && fj_file_read(path, RECORDS_MAX_BYTES, ret_text))
        fj_buf_clear(ret_text);
}

static int run_in_worker(struct fajit_ctx *ctx, const struct fj_problem *problem,
                         const struct fajit_tune_params *params, struct fajit_tune_result *result)
{
    if (!fj_disk_writable(ctx->jit.disk))
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "tuning in a worker needs a cache directory that can be written: results "
                      "reach this process through it");
    struct fj_buf text = {0};
    fj_tune_enter(ctx->tune);
    read_records(ctx, &text);
    size_t before = text.len;
    int err = fj_worker_tune(ctx->worker, problem, params, result);
    read_records(ctx, &text);
    if (text.len > before) { // the file only grows
        fj_tune_add_text(ctx->tune, fj_tune_path(ctx->tune), text.data + before, text.len - before);
        fj_store_add_records(&ctx->jit.store, text.data + before, text.len - before);
    }
    fj_tune_leave(ctx->tune);
    fj_buf_free(&text);
    if (err == FAJIT_E_CONTEXT_LOST || (err == FAJIT_OK && !*result->config))
        err = best_so_far(ctx, problem, err, result);
    return err;
}

int fj_ctx_tune(struct fajit_ctx *ctx, const struct fj_problem *problem,
                const struct fajit_tune_params *params, struct fajit_tune_result *ret_result)
{
    return ctx->worker ? run_in_worker(ctx, problem, params, ret_result)
                       : run_here(ctx, problem, params, ret_result);
}

int fajit_tune(struct fajit_ctx *ctx, const struct fajit_problem *problem,
               const struct fajit_tune_params *params, struct fajit_tune_result *ret_result)
{
    struct fajit_tune_params known = {.struct_size = sizeof(known)};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fj_problem own;
    char nvrtc[16];
    if (!ctx || !problem || !ret_result)
        return fj_err(FAJIT_E_INVAL, "fajit_tune: an argument is NULL");
    int err = params ? fj_take_struct("fajit_tune_params", params, &known, sizeof(known)) : 0;
    if (err == 0)
        err = fj_problem_from_public(problem, &own);
    if (err == 0)
        err = fj_tuner_check_sizes(&own);
    if (err)
        return err;
    fj_ctx_nvrtc(ctx, nvrtc);
    const bool safe_only = !ctx->worker && !known.try_all;
    if (!known.force && fj_tune_is_tuned(ctx->tune, &own, nvrtc, safe_only))
        err = from_record(ctx, &own, nvrtc, &result);
    else
        err = fj_ctx_tune(ctx, &own, &known, &result);
    return err ? err : fj_give_struct("fajit_tune_result", &result, sizeof(result), ret_result);
}

int fajit_tune_why(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                   struct fajit_tune_result *ret_choice, char *ret_from, size_t from_bytes)
{
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fj_problem own;
    struct fj_choice choice;
    struct fj_found found;
    char nvrtc[16];
    if (!ctx || !problem || !ret_choice || (!ret_from && from_bytes))
        return fj_err(FAJIT_E_INVAL, "fajit_tune_why: an argument is NULL");
    fj_ctx_nvrtc(ctx, nvrtc);
    int err = fj_problem_from_public(problem, &own);
    if (err == 0)
        err = fj_tune_choose(ctx->tune, &own, nvrtc, &choice, &found);
    if (err)
        return err;
    give_choice(&choice, &result);
    snprintf(ret_from, from_bytes, "%s", found.from);
    return fj_give_struct("fajit_tune_result", &result, sizeof(result), ret_choice);
}

// --- Records ----------------------------------------------------------------------------------

struct visitor {
    int (*visit)(void *user, const struct fajit_tune_record *record);
    void *user;
};

static int visit_record(void *user, const struct fj_record *from, enum fj_lookup_step step,
                        double predicted_us)
{
    const struct visitor *visitor = user;
    const struct fajit_tune_record record = {
        .problem = from->key.problem,
        .gpu = from->gpu,
        .kernel = from->kernel,
        .variant = from->variant,
        .config = from->config,
        .verdict = fj_verdict_name(from->verdict),
        .step = fj_step_name(step),
        .digest = from->digest,
        .nvrtc = from->nvrtc,
        .origin = from->origin,
        .median_us = from->median_us,
        .p25_us = from->p25_us,
        .p75_us = from->p75_us,
        .samples = from->samples,
        .time_s = from->time_s,
        .predicted_us = predicted_us,
    };
    return visitor->visit(visitor->user, &record);
}

int fajit_tune_visit(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                     int (*visit)(void *user, const struct fajit_tune_record *record), void *user)
{
    struct visitor visitor = {visit, user};
    struct fj_problem own;
    char nvrtc[16];
    if (!ctx || !visit)
        return fj_err(FAJIT_E_INVAL, "fajit_tune_visit: an argument is NULL");
    int err = problem ? fj_problem_from_public(problem, &own) : FAJIT_OK;
    if (err)
        return err;
    fj_ctx_nvrtc(ctx, nvrtc);
    return fj_tune_visit(ctx->tune, problem ? &own : NULL, nvrtc, visit_record, &visitor);
}

int fajit_tune_merge_files(const char *const *paths, int count, bool vote, const char *to,
                           struct fajit_tune_merge *ret_merge)
{
    struct fj_records records = {0};
    struct fajit_tune_merge merge = {.struct_size = sizeof(merge)};
    int err = FAJIT_OK;
    if (!paths || count < 1 || !to || !ret_merge)
        return fj_err(FAJIT_E_INVAL, "fajit_tune_merge_files: an argument is NULL, or no file");
    for (int i = 0; i < count && err == 0; i++) {
        int before = records.count;
        err = fj_records_load(&records, paths[i], NULL, NULL);
        if (err == 0 && records.count == before && !fj_file_exists(paths[i]))
            err = fj_err(FAJIT_E_IO, "%s does not exist", paths[i]);
    }
    if (err == 0 && vote)
        merge.disagreements = fj_records_vote(&records);
    fj_records_sort(&records);
    merge.records = records.count;
    merge.bad_lines = records.bad_lines;
    snprintf(merge.first_bad, sizeof(merge.first_bad), "%s", records.first_bad);
    if (err == 0)
        err = fj_records_write(to, &records);
    fj_records_free(&records);
    return err ? err : fj_give_struct("fajit_tune_merge", &merge, sizeof(merge), ret_merge);
}
