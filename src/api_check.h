// FAJIT_CHECK: what a launch does not look at because looking would cost more than the launch.
#ifndef FJ_API_CHECK_H
#define FJ_API_CHECK_H

#include "ctx.h"

// Before a launch: the context is current, every tensor lies in memory that its kernels can reach,
// from the first element to the last, and lengths on the device are within theirs. `own` is struct
// fj_attn_args or fj_gemm_args; NULL: a kernel of the caller's, whose arguments are its own affair.
// Waits for the stream unless it captures.
int fj_check_before(const struct fj_jit *jit, const char *call, const struct fj_problem *problem,
                    const void *own, void *stream);

// After it: waits, and says whose fault it was. While the stream captures there is nothing to wait
// for.
int fj_check_after(const struct fj_jit *jit, const char *call, const char *kernel_name,
                   void *stream);

#endif
