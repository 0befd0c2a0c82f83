// What fajit_plan_trace and fajit_plan_count share.
#ifndef FJ_TRACE_H
#define FJ_TRACE_H

#include "ctx.h"

// The checks of an emulated launch on behalf of `call`.
int fj_trace_check(const struct fajit_plan *plan, const void *args, const char *call);

// Launches on the default stream, in the plan's CUDA context, and waits.
int fj_trace_launch(const struct fajit_plan *plan, const void *args);

#endif
