// What search.c and pool.c share.
#ifndef FJ_AUTOTUNE_SEARCH_INTERNAL_H
#define FJ_AUTOTUNE_SEARCH_INTERNAL_H

#include "autotune/search.h"

struct fj_search_run {
    const struct fj_search_ops *ops;
    void *user;
    const struct fj_search_params *params;
    struct fj_search_result *result;
    bool *in_race; // timed, not dropped
    bool lost;     // nothing can be timed any more,
    bool gone;     // for the device is not there
    char gone_why[200];
    double start_us, heard_us; // heard_us: when progress was last reported
};

// The caller cancelled, the context is lost, or `share` of the budget is spent.
bool fj_search_out_of_time(struct fj_search_run *run, double share);

// Tells the caller that the search is alive, twice a second, while it waits for a compile.
void fj_search_heartbeat(struct fj_search_run *run);

// Compiles the candidates on threads of its own and hands each one to `take` on the caller's
// thread, candidate 0 first, the others in the order they get ready, while more are compiled.
// Compiles that have begun when `share` of the budget is spent are waited for, and not handed on;
// no other begins.
int fj_search_compile(struct fj_search_run *run,
                      void (*take)(struct fj_search_run *run, int candidate, int status,
                                   const char *why),
                      double share);

#endif
