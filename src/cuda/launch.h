// Onto the stream: a kernel launch, and the tensor maps it may carry. Everything here is safe while
// the stream captures: no allocation, no lock, no query.
#ifndef FJ_CUDA_LAUNCH_H
#define FJ_CUDA_LAUNCH_H

#include "cuda/loader.h"

struct fj_cuda_launch {
    unsigned grid[3], block[3]; // in CTAs, in threads; no factor may be 0
    unsigned cluster[3];        // in CTAs; all 0 or 1: no cluster
    unsigned smem_bytes;        // dynamic
    void **args;                // one address per kernel parameter, in order
};

// The context of `function` must be current. FAJIT_E_UNSUPPORTED: a cluster on a driver before
// CUDA 11.8.
int fj_cuda_launch(const struct fj_cuda *cuda, CUfunction function,
                   const struct fj_cuda_launch *launch, CUstream stream);

// A tile of a strided tensor, as TMA copies it: dims, strides and box run from the unit-stride
// dimension outwards. What lies outside the tensor reads as zero and is not written.
struct fj_tma_params {
    enum fajit_dtype dtype;
    int rank; // 1 to 5
    const void *data;
    uint64_t dims[5];         // elements
    uint64_t stride_bytes[4]; // of dims 1..rank-1
    uint32_t box[5];          // elements
    int swizzle_bytes;        // 0, 32, 64, 128
};

// Writes a CUtensorMap to `ret_map`, which is aligned to 64 bytes. FAJIT_E_INVAL says which rule of
// the hardware is broken.
int fj_tma_encode(const struct fj_cuda *cuda, const struct fj_tma_params *params, void *ret_map);

#endif
