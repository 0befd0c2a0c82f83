// What a search writes down.
#include <stdio.h>
#include <string.h>

#include "autotune/tuner_internal.h"

static void nvrtc_text(const struct fj_kernel *kernel, char ret[16])
{
    ret[0] = '\0';
    if (kernel)
        snprintf(ret, 16, "%.*s", (int)strcspn(kernel->nvrtc, " "), kernel->nvrtc);
}

static void keep(struct fj_tuner *t, const struct fj_record *made)
{
    if (fj_tune_keep(t->tune, made, 1) == FAJIT_OK || t->unsaved)
        return;
    t->unsaved = true; // said once
    fj_log(&t->jit->log, FAJIT_LOG_WARN, "tuning results are not saved: %s", fj_err_text());
}

void fj_tuner_announce(struct fj_tuner *t, int i, enum fj_verdict verdict, double us)
{
    struct fj_record made;
    char nvrtc[16];
    if (t->candidates.items[i].ran)
        return;
    nvrtc_text(t->contenders[i].kernel, nvrtc);
    fj_tune_stamp(t->tune, &t->candidates.items[i].choice, nvrtc, &made);
    made.verdict = verdict;
    made.median_us = made.p25_us = made.p75_us = us;
    made.samples = us > 0;
    keep(t, &made);
}

static void fill_record(struct fj_tuner *t, int i, struct fj_record *ret)
{
    const struct fj_search_entry *entry = &t->search.entries[i];
    char nvrtc[16];
    nvrtc_text(t->contenders[i].kernel, nvrtc);
    fj_tune_stamp(t->tune, &t->candidates.items[i].choice, nvrtc, ret);
    const bool unchecked = entry->verdict == FJ_VERDICT_TIMED && !entry->checked;
    ret->verdict = unchecked ? FJ_VERDICT_UNCHECKED : entry->verdict;
    ret->median_us = entry->median_us;
    ret->p25_us = entry->p25_us;
    ret->p75_us = entry->p75_us;
    ret->samples = entry->timed ? entry->samples : 0;
}

void fj_tuner_record(struct fj_tuner *t, int i)
{
    const struct fj_search_entry *entry = &t->search.entries[i];
    struct fj_record made;
    if (!entry->timed && entry->verdict <= FJ_VERDICT_TIMED)
        return; // never tried: nothing is known
    fill_record(t, i, &made);
    t->contenders[i].recorded = true;
    keep(t, &made);
}

// Whoever won this wave is called best only when all waves are over.
void fj_tuner_record_wave(struct fj_tuner *t)
{
    for (int i = 0; t->search.entries && i < t->candidates.count; i++) {
        struct fj_search_entry *entry = &t->search.entries[i];
        if (entry->verdict == FJ_VERDICT_BEST)
            entry->verdict = FJ_VERDICT_TIMED;
        if (!t->contenders[i].recorded)
            fj_tuner_record(t, i);
    }
}

void fj_tuner_record_best(struct fj_tuner *t, const struct fj_problem *problem,
                          const struct fj_tuner_result *result)
{
    const struct fj_nvrtc *nvrtc = atomic_load(&t->jit->nvrtc);
    struct fj_record made;
    char version[16] = "";
    if (!result->found || !result->finished || !fj_tuner_is_open(problem))
        return;
    if (nvrtc)
        snprintf(version, sizeof(version), "%d.%d", nvrtc->major, nvrtc->minor);
    fj_tune_stamp(t->tune, &result->choice, version, &made);
    made.verdict = FJ_VERDICT_BEST;
    made.median_us = result->median_us;
    made.p25_us = result->p25_us;
    made.p75_us = result->p75_us;
    made.samples = FJ_THOROUGH_SAMPLES;
    keep(t, &made);
}
