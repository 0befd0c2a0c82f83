// The emulated device: a driver that executes PTX on the CPU, behind the same table as libcuda.
#ifndef FJ_EMU_EMU_H
#define FJ_EMU_EMU_H

#include "base/gpu.h"
#include "cuda/loader.h"

// The emulated driver, one per process. It has FJ_EMU_COPIES devices of every model of gpus.def.
const struct fj_cuda *fj_emu_driver(void);

// Ordinal of the first "h200", "a100", ..; -1 when unknown (fj_err lists the known).
int fj_emu_find_gpu(const char *name);

// The driver's ordinal of the device at `place` of a list "h200,h200,a100"; equal names are devices
// of their own. Negative with an error: a bad list, or no such place.
int fj_emu_find_device(const char *list, int place);
int fj_emu_count_devices(const char *list); // -1 with an error for a bad list

// Strict checks (uninitialised reads, races, async-proxy hazards) for launches of a context.
void fj_emu_set_check(CUcontext context, bool on);

// Counts of the calling thread's following launches are added to `counts`; `tracer` sees every
// instruction of theirs. NULL ends it.
// `threads` (0: all cores) and `budget` (warp instructions of one CTA, 0: the default) bound the
// launches of a context.
struct fj_emu_counts;
struct fj_emu_tracer;
void fj_emu_set_counts(CUcontext context, struct fj_emu_counts *counts);
void fj_emu_set_tracer(CUcontext context, const struct fj_emu_tracer *tracer);
void fj_emu_set_limits(CUcontext context, int threads, uint64_t budget);

// The report of the calling thread's latest faulting launch: kernel, CTA, warp, lane, PTX line,
// CUDA line, address. "" when there was none.
const char *fj_emu_report(void);

#endif
