// Many plans at once.
#include <fajit/fajit.h>

#include <stdlib.h>
#include <string.h>

#include "ctx.h"

struct batch {
    struct fajit_ctx *ctx;
    const struct fajit_problem *const *problems;
    int count;
    struct fajit_plan **plans;
    int *statuses;
    int first_failed; // -1: none
    char *sentence;   // of it
};

static void note_failure(struct batch *batch, int i)
{
    if (batch->first_failed >= 0 && batch->first_failed < i)
        return;
    batch->first_failed = i;
    free(batch->sentence);
    batch->sentence = strdup(fj_err_text());
}

// Starts every compile, then waits for each.
static void plan_all(struct batch *batch, const struct fajit_plan_params *params)
{
    struct fajit_plan_params first = *params;
    // Tuning has the device to itself: one problem after the other.
    if (params->effort != FAJIT_EFFORT_TUNE)
        first.wait = FAJIT_NO_WAIT;
    for (int pass = 0; pass < 2; pass++) {
        const struct fajit_plan_params *now = pass == 0 ? &first : params;
        for (int i = 0; i < batch->count; i++) {
            if (pass > 0 && batch->statuses[i] != FAJIT_E_BUSY)
                continue;
            batch->statuses[i] =
                fajit_plan_create(batch->ctx, batch->problems[i], now, &batch->plans[i]);
            if (batch->statuses[i] && batch->statuses[i] != FAJIT_E_BUSY)
                note_failure(batch, i);
        }
    }
}

static int run(struct batch *batch, const struct fajit_plan_params *params)
{
    char text[512] = "";
    plan_all(batch, params);
    if (batch->first_failed < 0)
        return FAJIT_OK;
    fajit_problem_format(batch->problems[batch->first_failed], text, sizeof(text));
    return fj_err(batch->statuses[batch->first_failed], "problem %d, %s: %s", batch->first_failed,
                  text, batch->sentence ? batch->sentence : "out of memory");
}

static int check(const struct fajit_ctx *ctx, const struct fajit_problem *const *problems,
                 int count, const struct fajit_plan_params *params)
{
    if (!ctx || (!problems && count > 0))
        return fj_err(FAJIT_E_INVAL, "fajit_prepare: an argument is NULL");
    if (count < 0)
        return fj_err(FAJIT_E_INVAL, "fajit_prepare: count is %d", count);
    for (int i = 0; i < count; i++)
        if (!problems[i])
            return fj_err(FAJIT_E_INVAL, "fajit_prepare: problem %d is NULL", i);
    if (params->wait != FAJIT_WAIT)
        return fj_err(FAJIT_E_INVAL, "fajit_prepare: it waits; `wait` is for fajit_plan_create");
    return FAJIT_OK;
}

int fajit_prepare(struct fajit_ctx *ctx, const struct fajit_problem *const *problems, int count,
                  const struct fajit_plan_params *params, struct fajit_plan **ret_plans,
                  int *ret_statuses)
{
    struct fajit_plan_params known = {.struct_size = sizeof(known)};
    struct batch batch = {ctx, problems, count, .first_failed = -1};
    int err = params ? fj_take_struct("fajit_plan_params", params, &known, sizeof(known)) : 0;
    if (err == 0)
        err = check(ctx, problems, count, &known);
    if (err || count == 0)
        return err;
    batch.plans = calloc((size_t)count, sizeof(struct fajit_plan *));
    batch.statuses = calloc((size_t)count, sizeof(*batch.statuses));
    if (!batch.plans || !batch.statuses) {
        err = fj_err(FAJIT_E_NOMEM, "no memory to plan %d problems", count);
        goto out;
    }
    known.no_load |= !ret_plans;
    err = run(&batch, &known);
    if (ret_statuses)
        memcpy(ret_statuses, batch.statuses, (size_t)count * sizeof(*batch.statuses));
    if (ret_plans)
        memcpy(ret_plans, batch.plans, (size_t)count * sizeof(struct fajit_plan *));
    for (int i = 0; !ret_plans && i < count; i++)
        fajit_plan_destroy(&batch.plans[i]);
out:
    free(batch.plans);
    free(batch.statuses);
    free(batch.sentence);
    return err;
}
