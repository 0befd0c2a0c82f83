// The search itself: what is compiled, timed, checked and dropped, and when it ends. It knows
// neither kernels nor devices; everything it does goes through the operations it is given.
//
// Candidates are numbered by likelihood, 0 being what would run without tuning. Each one is
// compiled (several at a time), then timed a few times as soon as it is ready. The better half is
// timed again, and its better half, until few are left; these take turns until each has enough
// samples. Before a candidate is called best, its output is checked.
#ifndef FJ_AUTOTUNE_SEARCH_H
#define FJ_AUTOTUNE_SEARCH_H

#include "autotune/records.h"

#define FJ_SEARCH_SAMPLES 32 // kept per candidate, and taken at the end

struct fj_search_facts {
    int registers, spill_bytes; // -1 when not known
    double compile_us;
};

struct fj_search_entry {
    enum fj_verdict verdict;
    bool compiled, timed, checked;
    struct fj_search_facts facts;
    int samples;
    double samples_us[FJ_SEARCH_SAMPLES];
    double median_us, p25_us, p75_us; // of samples_us
    char why[200];                    // when it was dropped for a fault of its own
};

enum fj_search_phase { FJ_PHASE_SCREEN, FJ_PHASE_ROUNDS, FJ_PHASE_FINALS, FJ_PHASE_DONE };

struct fj_search_progress {
    enum fj_search_phase phase;
    int count, compiled, timed, left; // left: still in the race
    int running;                      // candidate at work; -1: waiting for a compile
    int best;                         // -1: none yet
    double best_us, elapsed_us, budget_us;
};

// All return FAJIT_OK or a status with its sentence recorded. FAJIT_E_CONTEXT_LOST: nothing can be
// timed any more, unless `recover` says otherwise. FAJIT_E_NO_DEVICE: the device is gone, and no
// candidate is to blame.
struct fj_search_ops {
    // On several threads at the same time.
    int (*compile)(void *user, int candidate, struct fj_search_facts *ret_facts);
    // The rest on the searching thread alone. `time` is given at least one sample to take.
    int (*time)(void *user, int candidate, int samples, double *ret_us);
    int (*check)(void *user, int candidate);
    int (*recover)(void *user);                                              // may be NULL
    void (*drop)(void *user, int candidate);                                 // may be NULL
    bool (*cancelled)(void *user);                                           // may be NULL
    void (*progress)(void *user, const struct fj_search_progress *progress); // may be NULL
    double (*now_us)(void *user);
};

struct fj_search_params {
    int count;         // candidates, at least 1
    int jobs;          // compiles at a time; 0: as many as there are cores
    double budget_us;  // after it, nothing new begins; 0: no limit
    int final_samples; // per candidate at the end, up to FJ_SEARCH_SAMPLES; 0: 20
};

struct fj_search_result {
    int best; // -1: no candidate could be timed and passed its check
    struct fj_search_entry *entries;
    bool finished;  // false: the budget or the caller ended it early
    bool cancelled; // by the caller
    bool noisy;     // the winner's quartiles lie more than 5 % of its median apart
    int lost;       // candidate that took the context with it; -1: none
    double elapsed_us;
};

// FAJIT_OK also when the budget ran out. A failure (FAJIT_E_CONTEXT_LOST, FAJIT_E_NO_DEVICE,
// FAJIT_E_NOMEM, or none of the candidates being usable: the first one's reason) still fills
// `ret_result`.
int fj_search(const struct fj_search_ops *ops, void *user, const struct fj_search_params *params,
              struct fj_search_result *ret_result);
void fj_search_result_free(struct fj_search_result *result);

#endif
