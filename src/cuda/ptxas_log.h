// What ptxas -v says, as numbers.
#ifndef FJ_CUDA_PTXAS_LOG_H
#define FJ_CUDA_PTXAS_LOG_H

#include "cuda/nvrtc.h"

// Fills the numbers of `ret` from its log: registers and static shared memory of the entry, local
// memory (stack frame) of the entry, spills of the entry and every function it did not inline. -1
// where the log has no such line.
void fj_ptxas_log_read(const char *log, struct fj_compiled *ret);

#endif
