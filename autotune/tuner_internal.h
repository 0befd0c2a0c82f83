// What tuner.c and tuner_records.c share.
#ifndef FJ_AUTOTUNE_TUNER_INTERNAL_H
#define FJ_AUTOTUNE_TUNER_INTERNAL_H

#include "autotune/trial.h"
#include "autotune/tuner.h"

// A candidate on its way: compiled by a pool thread, then loaded and bound by the searching one.
struct fj_contender {
    struct fj_kernel *kernel;
    struct fj_launch *launches; // one per set of the trial; NULL until it is loaded
    bool recorded;
};

struct fj_tuner {
    struct fj_jit *jit;
    struct fj_tune *tune;
    const struct fj_tuner_params *params;
    struct fj_candidates candidates;
    struct fj_contender *contenders;
    struct fj_trial *trial;
    struct fj_search_result search;
    bool cancelled, unsaved;
    bool left_out; // what might hang
    double start_us, default_us;
    struct fj_choice rules;  // what runs without tuning
    struct fj_choice *tried; // in earlier waves
    int tried_count;
};

// Should the kernel hang, the process is killed, and the next search must know what over: a line
// before the first launch, FJ_VERDICT_TRYING, and one after it.
void fj_tuner_announce(struct fj_tuner *t, int i, enum fj_verdict verdict, double us);
// The fate of a candidate, as soon as it is known; and of those left when a wave ends.
void fj_tuner_record(struct fj_tuner *t, int i);
void fj_tuner_record_wave(struct fj_tuner *t);
// The search was allowed to end, and everything was allowed to win.
void fj_tuner_record_best(struct fj_tuner *t, const struct fj_problem *problem,
                          const struct fj_tuner_result *result);

#endif
