#include "autotune/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/search_internal.h"
#include "base/thread.h"
#include "cuda/timing.h"

#define SCREEN_SAMPLES 3
#define ROUND_SAMPLES 5
#define FINALISTS 4
#define FINAL_SAMPLES 20
// A first sample this many times the best median is enough to know.
#define HOPELESS 3.0
// What the first rounds drop whatever their rank.
#define ROUND_MARGIN 1.5
// Timers and clocks wander by as much from one moment to the next.
#define NOISE 0.005
#define NOISY 0.05
// Share of the budget after which nothing new is tried: the rest is for rounds and finals.
#define SCREEN_SHARE 0.7
#define HEARTBEAT_US 5e5

bool fj_search_out_of_time(struct fj_search_run *run, double share)
{
    if (run->ops->cancelled && run->ops->cancelled(run->user))
        run->result->cancelled = true;
    return run->result->cancelled || run->lost ||
           (run->params->budget_us > 0 &&
            run->ops->now_us(run->user) - run->start_us > share * run->params->budget_us);
}

static void report(struct fj_search_run *run, enum fj_search_phase phase, int running)
{
    struct fj_search_progress progress = {.phase = phase,
                                          .count = run->params->count,
                                          .running = running,
                                          .best = run->result->best,
                                          .budget_us = run->params->budget_us};
    run->heard_us = run->ops->now_us(run->user);
    if (!run->ops->progress)
        return;
    for (int i = 0; i < progress.count; i++) {
        const struct fj_search_entry *entry = &run->result->entries[i];
        progress.compiled += entry->compiled;
        progress.timed += entry->timed;
        progress.left += run->in_race[i];
    }
    if (progress.best >= 0)
        progress.best_us = run->result->entries[progress.best].median_us;
    progress.elapsed_us = run->ops->now_us(run->user) - run->start_us;
    run->ops->progress(run->user, &progress);
}

void fj_search_heartbeat(struct fj_search_run *run)
{
    if (run->ops->now_us(run->user) - run->heard_us > HEARTBEAT_US)
        report(run, FJ_PHASE_SCREEN, -1);
}

// --- One candidate ----------------------------------------------------------------------------

static void drop(struct fj_search_run *run, int i)
{
    run->in_race[i] = false;
    if (run->ops->drop)
        run->ops->drop(run->user, i);
}

static void fail(struct fj_search_run *run, int i, enum fj_verdict verdict, const char *why)
{
    struct fj_search_entry *entry = &run->result->entries[i];
    entry->verdict = verdict;
    snprintf(entry->why, sizeof(entry->why), "%s", why);
    drop(run, i);
    if (run->result->best == i)
        run->result->best = -1;
}

// After a failure while candidate `i` was on the device.
static void fail_on_device(struct fj_search_run *run, int i, int status)
{
    const bool lost = status == FAJIT_E_CONTEXT_LOST;
    if (status == FAJIT_E_NO_DEVICE) { // whoever runs: none of the candidates is to blame
        run->gone = run->lost = true;
        snprintf(run->gone_why, sizeof(run->gone_why), "%s", fj_err_text());
        drop(run, i);
        return;
    }
    fail(run, i, lost ? FJ_VERDICT_FAULT : FJ_VERDICT_FAILED, fj_err_text());
    if (!lost)
        return;
    run->result->lost = i;
    run->lost = !run->ops->recover || run->ops->recover(run->user) != FAJIT_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// As records keep times: what a search returns is what later plans read.
static double whole_ns(double us)
{
    return rint(us * 1e3) / 1e3;
}

static void summarise(struct fj_search_entry *entry)
{
    double sorted[FJ_SEARCH_SAMPLES];
    memcpy(sorted, entry->samples_us, (size_t)entry->samples * sizeof(*sorted));
    qsort(sorted, (size_t)entry->samples, sizeof(*sorted), compare_doubles);
    entry->median_us = whole_ns(fj_quantile(sorted, entry->samples, 0.5));
    entry->p25_us = whole_ns(fj_quantile(sorted, entry->samples, 0.25));
    entry->p75_us = whole_ns(fj_quantile(sorted, entry->samples, 0.75));
}

// Adds up to `count` samples; false when the candidate fell out.
static bool take_samples(struct fj_search_run *run, int i, int count)
{
    struct fj_search_entry *entry = &run->result->entries[i];
    if (count > FJ_SEARCH_SAMPLES - entry->samples)
        count = FJ_SEARCH_SAMPLES - entry->samples;
    if (count <= 0)
        return true;
    int err = run->ops->time(run->user, i, count, entry->samples_us + entry->samples);
    if (err) {
        fail_on_device(run, i, err);
        return false;
    }
    entry->samples += count;
    entry->timed = true;
    summarise(entry);
    return true;
}

// The output is right, or the candidate falls out.
static bool check(struct fj_search_run *run, int i)
{
    struct fj_search_entry *entry = &run->result->entries[i];
    if (entry->checked)
        return true;
    int err = run->ops->check(run->user, i);
    if (err == FAJIT_OK)
        entry->checked = true;
    else if (err == FAJIT_E_INVAL)
        fail(run, i, FJ_VERDICT_WRONG, fj_err_text());
    else
        fail_on_device(run, i, err);
    return err == FAJIT_OK;
}

// What two medians may differ by without saying anything.
static double noise_us(const struct fj_search_entry *a, const struct fj_search_entry *b)
{
    double spread = ((a->p75_us - a->p25_us) + (b->p75_us - b->p25_us)) / 4;
    double least = NOISE * a->median_us;
    return spread > least ? spread : least;
}

static void offer(struct fj_search_run *run, int i)
{
    struct fj_search_entry *entry = &run->result->entries[i];
    int best = run->result->best;
    if (best >= 0 && entry->median_us >= run->result->entries[best].median_us)
        return;
    if (check(run, i))
        run->result->best = i;
}

static void screen(struct fj_search_run *run, int i)
{
    struct fj_search_entry *entry = &run->result->entries[i];
    int best = run->result->best;
    report(run, FJ_PHASE_SCREEN, i);
    run->in_race[i] = true;
    if (!take_samples(run, i, 1))
        return;
    if (best >= 0 && entry->median_us > HOPELESS * run->result->entries[best].median_us) {
        drop(run, i);
        return;
    }
    // The first sample found cold caches and clocks.
    entry->samples = 0;
    if (take_samples(run, i, SCREEN_SAMPLES))
        offer(run, i);
}

static void take_compiled(struct fj_search_run *run, int i, int status, const char *why)
{
    struct fj_search_entry *entry = &run->result->entries[i];
    entry->compiled = true;
    if (status)
        fail(run, i, FJ_VERDICT_FAILED, why);
    else if (entry->facts.spill_bytes > 0 && i > 0) // what runs without tuning is always timed
        fail(run, i, FJ_VERDICT_SPILL, "it spills registers");
    else if (run->lost)
        drop(run, i);
    else
        screen(run, i);
}

// --- Rounds -----------------------------------------------------------------------------------

static int by_median(const struct fj_search_run *run, int a, int b)
{
    double x = run->result->entries[a].median_us, y = run->result->entries[b].median_us;
    return x < y ? -1 : x > y ? 1 : a - b;
}

// Candidates in the race, fastest first.
static int rank(const struct fj_search_run *run, int *order)
{
    int count = 0;
    for (int i = 0; i < run->params->count; i++) {
        if (!run->in_race[i])
            continue;
        int at = count++;
        for (; at > 0 && by_median(run, i, order[at - 1]) < 0; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return count;
}

// Keeps the better half, at least FINALISTS, and what runs without tuning while it is near.
static int halve(struct fj_search_run *run, int *order, int count)
{
    int keep = count / 2 > FINALISTS ? count / 2 : FINALISTS;
    double limit = ROUND_MARGIN * run->result->entries[order[0]].median_us;
    for (int at = 0; at < count; at++) {
        int i = order[at];
        bool near = run->result->entries[i].median_us <= limit;
        if ((at >= keep && i != 0) || !near)
            drop(run, i);
    }
    return rank(run, order);
}

static void run_rounds(struct fj_search_run *run, int *order)
{
    int count = rank(run, order);
    while (count > FINALISTS + 1) {
        count = halve(run, order, count);
        if (count <= FINALISTS + 1)
            return;
        for (int at = 0; at < count; at++) {
            if (fj_search_out_of_time(run, 1))
                return;
            report(run, FJ_PHASE_ROUNDS, order[at]);
            if (take_samples(run, order[at], ROUND_SAMPLES))
                offer(run, order[at]);
        }
        count = rank(run, order);
    }
    halve(run, order, count);
}

// Finalists take turns, so that whatever the clocks do, they do to all of them. Samples of earlier
// rounds do not count: they were taken at other moments.
static void run_finals(struct fj_search_run *run, int *order)
{
    int count = rank(run, order);
    int target = run->params->final_samples > 0 ? run->params->final_samples : FINAL_SAMPLES;
    if (target > FJ_SEARCH_SAMPLES)
        target = FJ_SEARCH_SAMPLES;
    for (int at = 0; at < count; at++)
        if (!check(run, order[at]))
            order[at--] = order[--count];
    if (count == 1 && run->result->entries[order[0]].samples >= target)
        return;
    for (int turn = 0; turn < target; turn += 2) {
        for (int at = 0; at < count; at++) {
            if (fj_search_out_of_time(run, 1))
                return;
            if (!run->in_race[order[at]])
                continue;
            report(run, FJ_PHASE_FINALS, order[at]);
            if (turn == 0)
                run->result->entries[order[at]].samples = 0;
            take_samples(run, order[at], target - turn < 2 ? 1 : 2);
        }
    }
}

// The fastest checked candidate; within noise, the earliest of those as fast.
static int elect(const struct fj_search_run *run)
{
    const struct fj_search_entry *entries = run->result->entries;
    int fastest = -1;
    for (int i = 0; i < run->params->count; i++)
        if (run->in_race[i] && entries[i].checked &&
            (fastest < 0 || entries[i].median_us < entries[fastest].median_us))
            fastest = i;
    for (int i = 0; i < fastest; i++)
        if (run->in_race[i] && entries[i].checked &&
            entries[i].median_us - entries[fastest].median_us <=
                noise_us(&entries[fastest], &entries[i]))
            return i;
    return fastest;
}

static int conclude(struct fj_search_run *run)
{
    struct fj_search_result *result = run->result;
    const struct fj_search_entry *first = &result->entries[0];
    int best = elect(run);
    if (best >= 0)
        result->best = best;
    result->finished = !fj_search_out_of_time(run, 1);
    result->elapsed_us = run->ops->now_us(run->user) - run->start_us;
    report(run, FJ_PHASE_DONE, -1);
    if (result->best >= 0) {
        struct fj_search_entry *entry = &result->entries[result->best];
        entry->verdict = FJ_VERDICT_BEST;
        result->noisy = entry->p75_us - entry->p25_us > NOISY * entry->median_us;
    }
    if (run->gone)
        return fj_err(FAJIT_E_NO_DEVICE, "the search ended with its device: %s", run->gone_why);
    if (run->lost)
        return fj_err(FAJIT_E_CONTEXT_LOST, "candidate %d took the CUDA context with it: %s",
                      result->lost, result->entries[result->lost].why);
    if (result->best >= 0 || result->cancelled || !result->finished)
        return FAJIT_OK;
    return fj_err(FAJIT_E_UNSUPPORTED, "no candidate of %d is usable; the first: %s",
                  run->params->count, *first->why ? first->why : "not tried");
}

int fj_search(const struct fj_search_ops *ops, void *user, const struct fj_search_params *params,
              struct fj_search_result *ret_result)
{
    struct fj_search_run run = {.ops = ops, .user = user, .params = params, .result = ret_result};
    size_t count = (size_t)params->count;
    *ret_result = (struct fj_search_result){.best = -1, .lost = -1};
    ret_result->entries = calloc(count, sizeof(*ret_result->entries));
    run.in_race = calloc(count, sizeof(*run.in_race));
    int *order = calloc(count, sizeof(*order));
    int err = ret_result->entries && run.in_race && order
                  ? FAJIT_OK
                  : fj_err(FAJIT_E_NOMEM, "no memory for a search among %d", params->count);
    for (size_t i = 0; err == 0 && i < count; i++)
        ret_result->entries[i].verdict = FJ_VERDICT_TIMED;
    run.start_us = ops->now_us(user);
    if (err == 0)
        err = fj_search_compile(&run, take_compiled, SCREEN_SHARE);
    if (err == 0 && !run.lost) {
        run_rounds(&run, order);
        run_finals(&run, order);
    }
    if (err == 0)
        err = conclude(&run);
    free(run.in_race);
    free(order);
    return err;
}

void fj_search_result_free(struct fj_search_result *result)
{
    free(result->entries);
    result->entries = NULL;
}
