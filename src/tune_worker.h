// Tuning in another process, which may hang, fault and be killed: this one lives on.
//
// The worker is `fajit-tune worker` (tools/tune_worker.c). It is talked to in lines, numbers whole:
//     set NAME VALUE             device, ordinal, gpu, check, arch, cache-dir, templates, nvrtc
//     open                       make a context; it answers `hello` or `failed`
//     tune N BUDGET_MS JOBS CANDIDATES FORCE EXHAUSTIVE PROBLEM
//     cancel N
// or, of a kernel of the host's own, with what its launch would have been:
//     memory N ADDRESS BYTES OFFSET  device memory that its arguments point into, and where its
//                                contents are in the file that the worker has as descriptor 3
//     launch N X Y Z ARG,ARG,..  a grid, and the arguments' bytes in hex ("-": none); in order
//     rehearse N kernel:TEMPLATE,NAME=VALUE,..  every value of it; makes these launches, on copies
// and it answers
//     hello VERSION GPU          the records' word for the GPU: both must see the same one
//     progress N PHASE CANDIDATES COMPILED TIMED LEFT BEST_NS DEFAULT_NS RUNNING BEST  ("-": none)
//     done N KERNEL CONFIG FAMILY VARIANT MEDIAN_NS P25_NS P75_NS DEFAULT_NS CANDIDATES COMPILED
//          TIMED POINTS FLAGS ELAPSED_MS
//     launching N  all is in place: whatever happens now is the kernel's doing
//     rehearsed N
//     failed N STATUS SENTENCE
// Results themselves are records in the cache directory that both use. The worker ends when its
// input does, or nothing is asked of it for ten seconds.
#ifndef FJ_TUNE_WORKER_H
#define FJ_TUNE_WORKER_H

#include "base/log.h"
#include "kernels/problem.h"

struct fj_worker;

// What fajit-tune is told to open is the same as what `params` (no field zero that has a value in
// the environment) opened. Starts nothing yet.
int fj_worker_create(const struct fajit_ctx_params *params, int ordinal, const char *cache_dir,
                     const char *gpu, const struct fj_log *log, struct fj_worker **ret_worker);
void fj_worker_destroy(struct fj_worker **worker); // NULL inside is fine

// One at a time. A candidate that hangs or faults is left out, by the record that its worker left,
// and another worker goes on. FAJIT_E_CONTEXT_LOST names the last one when that has no end.
// `ret_result` is filled as far as things went.
int fj_worker_tune(struct fj_worker *worker, const struct fj_problem *problem,
                   const struct fajit_tune_params *params, struct fajit_tune_result *ret_result);

#endif
