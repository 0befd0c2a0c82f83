// A search on a device: candidates of a problem, timed on a trial, recorded.
#ifndef FJ_AUTOTUNE_TUNER_H
#define FJ_AUTOTUNE_TUNER_H

#include "autotune/prune.h"
#include "autotune/search.h"
#include "autotune/tune.h"
#include "jit.h"

struct fj_tuner_params {
    double budget_us; // 0: 30 s
    int jobs;         // compiles at a time; 0: all cores
    int max_candidates;
    bool safe_only;  // see struct fj_space
    bool exhaustive; // every point of the spaces, in one wave
    // May be NULL. Non-zero cancels. `running` and `best` are NULL when there is none.
    int (*progress)(void *user, const struct fj_search_progress *progress,
                    const struct fj_choice *running, const struct fj_choice *best,
                    double default_us);
    void *user;
};

struct fj_tuner_result {
    struct fj_choice choice; // valid when `found`
    bool found, finished, cancelled, noisy;
    bool unsaved; // some record could not be written
    double median_us, p25_us, p75_us;
    double default_us; // of the configuration that runs without tuning; 0: it could not be timed
    int candidates, compiled, timed;
    int64_t points; // of the search spaces
    double elapsed_us;
};

// Every size of the problem must be set. Records every candidate's fate as it is known. On failure
// (FAJIT_E_CONTEXT_LOST names the candidate) `ret_result` holds what was found before, if anything.
int fj_tuner_run(struct fj_jit *jit, struct fj_tune *tune, const struct fj_problem *problem,
                 const struct fj_tuner_params *params, struct fj_tuner_result *ret_result);

// FAJIT_E_INVAL names a size that is missing.
int fj_tuner_check_sizes(const struct fj_problem *problem);

// Whether the caller left family, schedule and all knobs to the search.
bool fj_tuner_is_open(const struct fj_problem *problem);

#endif
