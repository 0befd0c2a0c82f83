// The search among the values that a template's //@tune lines list.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/custom_run.h"
#include "base/thread.h"

#define MAX_CANDIDATES 24
#define EXHAUSTIVE_MAX 4096

static bool same(const struct fj_custom_run *t, const int64_t *a, const int64_t *b)
{
    return memcmp(a, b, (size_t)t->base->knob_count * sizeof(*a)) == 0;
}

bool fj_custom_is_first(const struct fj_custom_run *t, const int64_t *values)
{
    return same(t, values, t->first);
}

// --- Candidates -------------------------------------------------------------------------------

static int wave_max(const struct fj_custom_run *t)
{
    int wanted = t->params->max_candidates;
    return wanted > 0 ? wanted : t->params->exhaustive ? EXHAUSTIVE_MAX : MAX_CANDIDATES;
}

static bool was_tried(const struct fj_custom_run *t, const int64_t *values)
{
    for (int i = 0; i < t->tried_count; i++)
        if (same(t, t->tried[i], values))
            return true;
    return false;
}

// Rules refuse without a compile; what somebody died over is left alone, and so is what nobody has
// seen run where nothing can be rehearsed.
static bool is_worth_trying(struct fj_custom_run *t, const int64_t *values)
{
    struct fj_custom custom = *t->base;
    if (was_tried(t, values) || fj_custom_set(&custom, &t->jit->gpu, values))
        return false;
    const enum fj_past past = fj_custom_past(t->tune, &t->jit->gpu, &custom);
    if (past == FJ_PAST_UNKNOWN && t->params->safe_only && !t->trial->rehearse &&
        !fj_custom_is_first(t, values)) {
        t->left_out = true;
        return false;
    }
    return past != FJ_PAST_BAD;
}

static int add(struct fj_custom_run *t, const int64_t *values)
{
    size_t bytes = (size_t)(t->tried_count + 1) * sizeof(*t->tried);
    void *tried = realloc(t->tried, bytes);
    if (!tried)
        return fj_err(FAJIT_E_NOMEM, "no memory for %d candidates", t->tried_count + 1);
    t->tried = tried;
    memcpy(t->tried[t->tried_count++], values, sizeof(*t->tried));
    memcpy(t->contenders[t->count++].values, values, sizeof(t->contenders[0].values));
    return FAJIT_OK;
}

static int add_if_new(struct fj_custom_run *t, const int64_t *values)
{
    return t->count < wave_max(t) && is_worth_trying(t, values) ? add(t, values) : FAJIT_OK;
}

static int add_all(struct fj_custom_run *t)
{
    int64_t values[FJ_CUSTOM_KNOBS_MAX] = {0}, points = fj_custom_points(t->base);
    int err = FAJIT_OK;
    for (int64_t i = 0; i < points && t->count < wave_max(t) && err == 0; i++) {
        fj_custom_point(t->base, i, values);
        err = add_if_new(t, values);
    }
    return err;
}

static int position(const struct fj_custom_knob *knob, int64_t value)
{
    int at = 0;
    while (at < knob->count && knob->values[at] != value)
        at++;
    return at;
}

// What differs from the centre in one knob, next values in its list first.
static int add_star(struct fj_custom_run *t, const int64_t *centre)
{
    int err = FAJIT_OK;
    for (int step = 1; step < 16; step++)
        for (int k = 0; k < t->base->knob_count; k++) {
            const struct fj_custom_knob *knob = &t->base->knobs[k];
            const int at = position(knob, centre[k]);
            for (int side = 1; side >= -1 && err == 0; side -= 2) {
                int64_t values[FJ_CUSTOM_KNOBS_MAX];
                int to = at + side * step;
                if (to < 0 || to >= knob->count)
                    continue;
                memcpy(values, centre, sizeof(values));
                values[k] = knob->values[to];
                err = add_if_new(t, values);
            }
        }
    return err;
}

// Candidate 0 is the centre. A space that fits is tried whole, else what is around the centre.
static int make_wave(struct fj_custom_run *t, const int64_t *centre)
{
    t->count = 0;
    t->contenders = calloc((size_t)wave_max(t), sizeof(*t->contenders));
    if (!t->contenders)
        return fj_err(FAJIT_E_NOMEM, "no memory for %d candidates", wave_max(t));
    int err = add(t, centre);
    if (err)
        return err;
    bool whole = t->params->exhaustive || fj_custom_points(t->base) <= wave_max(t);
    return whole ? add_all(t) : add_star(t, centre);
}

// --- Waves ------------------------------------------------------------------------------------

static void take_result(struct fj_custom_run *t, struct fj_custom_result *ret)
{
    const struct fj_search_result *s = &t->search;
    ret->candidates += t->count;
    ret->finished = s->finished;
    ret->cancelled = s->cancelled;
    for (int i = 0; s->entries && i < t->count; i++) {
        ret->compiled += s->entries[i].compiled;
        ret->timed += s->entries[i].timed;
        if (s->entries[i].timed && same(t, t->contenders[i].values, t->first))
            t->default_us = s->entries[i].median_us;
    }
    if (!s->entries || s->best < 0)
        return;
    ret->found = true;
    ret->noisy = s->noisy;
    memcpy(ret->values, t->contenders[s->best].values, sizeof(ret->values));
    ret->median_us = s->entries[s->best].median_us;
    ret->p25_us = s->entries[s->best].p25_us;
    ret->p75_us = s->entries[s->best].p75_us;
}

// Whoever won this wave is called best only when all waves are over.
static void end_wave(struct fj_custom_run *t)
{
    for (int i = 0; i < t->count; i++) {
        if (t->search.entries && t->search.entries[i].verdict == FJ_VERDICT_BEST)
            t->search.entries[i].verdict = FJ_VERDICT_TIMED;
        if (t->search.entries && !t->contenders[i].recorded)
            fj_custom_record(t, i);
        fj_custom_forget(t, &t->contenders[i]);
    }
    free(t->contenders);
    t->contenders = NULL;
    t->count = 0;
    fj_search_result_free(&t->search);
}

// Puts the configuration that took the context with it into the sentence.
static int name_culprit(const struct fj_custom_run *t, int err)
{
    char config[FAJIT_CONFIG_MAX];
    if (err != FAJIT_E_CONTEXT_LOST || t->search.lost < 0)
        return err;
    fj_custom_config_text(t, t->contenders[t->search.lost].values, config);
    return fj_err_context(err, "%s with %s", t->base->template_name, config);
}

static int run_wave(struct fj_custom_run *t, struct fj_custom_result *result)
{
    double left_us = fj_custom_budget_us(t) - (fj_now_us() - t->start_us);
    const struct fj_search_params params = {
        .count = t->count,
        .jobs = t->params->jobs,
        .budget_us = left_us > 1 ? left_us : 1,
    };
    int err = fj_search(&fj_custom_ops, t, &params, &t->search);
    take_result(t, result);
    return name_culprit(t, err);
}

// The values listed first, then what is next to the winner, as long as that wins.
static int run(struct fj_custom_run *t, struct fj_custom_result *result)
{
    int64_t centre[FJ_CUSTOM_KNOBS_MAX];
    // A wave moves one knob: each may move twice, and one wave more sees that nothing is better.
    const int waves = 2 * t->base->knob_count + 1;
    memcpy(centre, t->first, sizeof(centre));
    for (int wave = 0; wave < waves; wave++) {
        int err = make_wave(t, centre);
        if (err == 0 && (wave == 0 || t->count > 1))
            err = run_wave(t, result);
        bool last = err || t->count < 2 || !result->found || !result->finished ||
                    same(t, centre, result->values);
        end_wave(t);
        if (last)
            return err;
        memcpy(centre, result->values, sizeof(centre));
    }
    return FAJIT_OK;
}

// --- The whole --------------------------------------------------------------------------------

static void record_best(struct fj_custom_run *t, const struct fj_custom_result *result)
{
    struct fj_custom custom = *t->base;
    const struct fj_nvrtc *nvrtc = atomic_load(&t->jit->nvrtc);
    struct fj_record made;
    char version[16] = "";
    if (!result->found || !result->finished)
        return;
    if (nvrtc)
        snprintf(version, sizeof(version), "%d.%d", nvrtc->major, nvrtc->minor);
    if (fj_custom_set(&custom, &t->jit->gpu, result->values) ||
        fj_custom_stamp(&t->jit->gpu, version, &custom, &made))
        return;
    made.verdict = FJ_VERDICT_BEST;
    made.median_us = result->median_us;
    made.p25_us = result->p25_us;
    made.p75_us = result->p75_us;
    made.samples = FJ_THOROUGH_SAMPLES;
    fj_custom_keep(t, &made);
}

// Everything a search needs to know before its first candidate.
static int prepare(struct fj_custom_run *t)
{
    struct fj_custom first = *t->base;
    struct fj_record record;
    int err = fj_custom_set_default(&first, &t->jit->gpu);
    if (err == 0)
        err = fj_custom_stamp(&t->jit->gpu, "", &first, &record);
    if (err == 0 && fj_custom_past(t->tune, &t->jit->gpu, &first) == FJ_PAST_BAD)
        err = fj_err(FAJIT_E_UNSUPPORTED,
                     "a search died over the values that %s lists first: give one of them, or take "
                     "the \"fault\" or \"trying\" line out of %s",
                     first.template_name, fj_tune_path(t->tune));
    fj_custom_knob_values(&first, t->first);
    return err;
}

int fj_custom_tune(struct fj_jit *jit, struct fj_tune *tune, const struct fj_custom *custom,
                   const struct fj_custom_trial *trial, const struct fj_custom_search *params,
                   struct fj_custom_result *ret_result)
{
    struct fj_custom_run t = {.jit = jit,
                              .tune = tune,
                              .base = custom,
                              .trial = trial,
                              .params = params,
                              .start_us = fj_now_us()};
    *ret_result = (struct fj_custom_result){.points = fj_custom_points(custom)};
    if (!jit->has_device)
        return fj_err(FAJIT_E_NO_DEVICE, "tuning measures: this context has no device");
    fj_tune_enter(tune);
    int err = prepare(&t);
    if (err == 0)
        err = run(&t, ret_result);
    ret_result->finished = ret_result->finished && !t.left_out;
    record_best(&t, ret_result);
    ret_result->unsaved = t.unsaved;
    ret_result->default_us = t.default_us;
    ret_result->elapsed_us = fj_now_us() - t.start_us;
    free(t.tried);
    if (trial->end_rehearsals)
        trial->end_rehearsals(trial->user);
    fj_tune_leave(tune);
    return err;
}
