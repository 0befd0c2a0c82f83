// What custom_tune.c and custom_trial.c share.
#ifndef FJ_AUTOTUNE_CUSTOM_RUN_H
#define FJ_AUTOTUNE_CUSTOM_RUN_H

#include "autotune/custom.h"

struct fj_contender {
    int64_t values[FJ_CUSTOM_KNOBS_MAX];
    struct fj_custom *custom; // with these; NULL until it is compiled, and after it is dropped
    struct fj_kernel *kernel;
    bool loaded, recorded;
};

struct fj_custom_run {
    struct fj_jit *jit;
    struct fj_tune *tune;
    const struct fj_custom *base;
    const struct fj_custom_trial *trial;
    const struct fj_custom_search *params;
    struct fj_contender *contenders; // of this wave
    int count;
    int64_t (*tried)[FJ_CUSTOM_KNOBS_MAX]; // in this wave and those before
    int tried_count;
    int64_t first[FJ_CUSTOM_KNOBS_MAX]; // what runs without tuning
    struct fj_search_result search;
    bool cancelled, unsaved;
    bool left_out;  // something that may be harmless, and that nobody has seen run
    bool spared;    // the latest loss was another process's
    bool said_once; // that there are no rehearsals
    double start_us, default_us;
};

extern const struct fj_search_ops fj_custom_ops; // their user is a struct fj_custom_run

bool fj_custom_is_first(const struct fj_custom_run *t, const int64_t *values);
void fj_custom_record(struct fj_custom_run *t, int i); // a contender's fate
void fj_custom_keep(struct fj_custom_run *t, const struct fj_record *made);
void fj_custom_forget(struct fj_custom_run *t, struct fj_contender *c);
double fj_custom_budget_us(const struct fj_custom_run *t);
void fj_custom_config_text(const struct fj_custom_run *t, const int64_t *values,
                           char ret[FAJIT_CONFIG_MAX]);

#endif
