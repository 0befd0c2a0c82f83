// Candidates of a search: every configuration worth compiling, likeliest first.
#ifndef FJ_AUTOTUNE_PRUNE_H
#define FJ_AUTOTUNE_PRUNE_H

#include "autotune/model.h"
#include "autotune/space.h"
#include "autotune/tune.h"

struct fj_candidate {
    struct fj_choice choice;
    double predicted_us;
    bool ran; // on this GPU before, as records say
};

struct fj_candidates {
    struct fj_candidate *items;
    int count;
    int64_t points;   // of the spaces
    int64_t refused;  // by the kernels' rules and the GPU's limits
    int64_t useless;  // tiles larger than the problem, or the same configuration again
    int64_t unlikely; // too far down the ranking
    bool unsafe;      // some were refused for being that
};

struct fj_prune_params {
    const struct fj_kernel_class *const *classes; // NULL-terminated
    const struct fj_gpu *gpu;
    const struct fj_choice *first; // becomes candidate 0 whatever the model says of it
    bool exhaustive;               // every point, else tiles alone; see fj_space_tiles
    int max_candidates;            // 0: 24
    bool safe_only; // only what cannot hang: `first`, safe spaces, and what has run before
    enum fj_past (*past)(void *user, const struct fj_choice *choice); // NULL: nothing is known
    void *user;
};

// Compiles nothing. Knobs the problem fixes stay fixed. Free with fj_candidates_free.
int fj_prune(const struct fj_prune_params *params, const struct fj_problem *problem,
             struct fj_candidates *ret_candidates);

// What differs from `params->first` in one knob or in the schedule, less what is among `known`;
// before these `first` itself, and `rival`, which may be the same.
int fj_prune_around(const struct fj_prune_params *params, const struct fj_problem *problem,
                    const struct fj_choice *rival, const struct fj_choice *known, int known_count,
                    struct fj_candidates *ret_candidates);

bool fj_prune_same(const struct fj_choice *a, const struct fj_choice *b);

void fj_candidates_free(struct fj_candidates *candidates);

#endif
