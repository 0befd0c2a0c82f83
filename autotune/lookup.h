// From a problem to a configuration without measuring anything: records first, rules after.
#ifndef FJ_AUTOTUNE_LOOKUP_H
#define FJ_AUTOTUNE_LOOKUP_H

#include "autotune/records.h"
#include "kernels/kernel.h"

#define FJ_THOROUGH_SAMPLES 16 // what a candidate has that reached the end of a search

// In the order they are tried.
enum fj_lookup_step {
    FJ_STEP_FIXED,     // the problem fixes knobs itself
    FJ_STEP_EXACT,     // a record of this problem on this GPU
    FJ_STEP_BUCKET,    // of a problem in the same bucket
    FJ_STEP_NEAREST,   // of a problem with every size within a factor of four
    FJ_STEP_STALE,     // of one of these, made with another template or NVRTC
    FJ_STEP_OTHER_GPU, // of one of these, made on another GPU of the same compute capability
    FJ_STEP_ARCH,      // a row of autotune/arch/*.def
    FJ_STEP_HEURISTIC, // the kernel's own rules
};

struct fj_lookup {
    const struct fj_records *records;             // sorted; NULL: none
    const struct fj_kernel_class *const *classes; // NULL-terminated, best first
    const struct fj_gpu *gpu;
    const char *nvrtc; // "13.0"; "" while unknown
    // The template's digest as records have it; "" when there is none.
    const char *(*digest)(void *user, const struct fj_kernel_class *kernel);
    void *user;
};

struct fj_found {
    enum fj_lookup_step step;
    const struct fj_record *record; // NULL from FJ_STEP_ARCH on
    char from[160];                 // "bucket: record of attn:..., 412.3 us"
};

const char *fj_step_name(enum fj_lookup_step step);

// Fails only when no kernel can run the problem.
int fj_lookup_choose(const struct fj_lookup *lookup, const struct fj_problem *problem,
                     struct fj_choice *ret_choice, struct fj_found *ret_found);

// Every record that has a say about the problem, best first; the caller frees the list alone.
const struct fj_record **fj_lookup_candidates(const struct fj_lookup *lookup,
                                              const struct fj_problem *problem, int *ret_count);

// What else was tried for this very problem and is never served: dropped early, wrong, faulting,
// spilling. In the order of those words' verdicts, then by time; the caller frees the list alone.
const struct fj_record **fj_lookup_others(const struct fj_lookup *lookup,
                                          const struct fj_problem *problem, int *ret_count);

// Which step such a record would answer at.
enum fj_lookup_step fj_lookup_step_of(const struct fj_lookup *lookup,
                                      const struct fj_problem *problem,
                                      const struct fj_record *record);

// The choice a record describes, for this problem; FAJIT_E_UNSUPPORTED when it cannot serve it.
int fj_lookup_apply(const struct fj_lookup *lookup, const struct fj_problem *problem,
                    const struct fj_record *record, struct fj_choice *ret_choice);

#endif
