// From a described launch to the stream. No allocation, lock, query or hash.
#include <string.h>

#include "cuda/launch.h"
#include "jit.h"

static int encode_maps(const struct fj_cuda *cuda, struct fj_launch *launch)
{
    for (int i = 0; i < launch->n_maps; i++) {
        const struct fj_tensor_map *map = &launch->maps[i];
        struct fj_tma_params params = {.dtype = map->dtype,
                                       .rank = map->rank,
                                       .data = map->data,
                                       .swizzle_bytes = map->swizzle_bytes};
        memcpy(params.dims, map->dims, sizeof(params.dims));
        memcpy(params.stride_bytes, map->stride_bytes, sizeof(params.stride_bytes));
        memcpy(params.box, map->box, sizeof(params.box));
        int err = fj_tma_encode(cuda, &params, launch->map_slots[i]);
        if (err)
            return err;
    }
    return FAJIT_OK;
}

int fj_jit_launch(const struct fj_jit *jit, const struct fj_kernel *kernel,
                  struct fj_launch *launch, CUstream stream)
{
    const struct fj_cuda *cuda = jit->device.cuda;
    if (launch->empty)
        return FAJIT_OK;
    int err = encode_maps(cuda, launch);
    if (err == 0 && launch->clear_bytes) {
        CUdeviceptr clear = (CUdeviceptr)(uintptr_t)launch->clear;
        err = fj_cuda_check(cuda, cuda->cuMemsetD8Async(clear, 0, launch->clear_bytes, stream),
                            "cuMemsetD8Async");
    }
    if (err)
        return err;
    return fj_cuda_launch(cuda, kernel->module.function,
                          &(struct fj_cuda_launch){
                              .grid = {launch->grid[0], launch->grid[1], launch->grid[2]},
                              .block = {launch->block, 1, 1},
                              .cluster = {launch->cluster ? launch->cluster : 1, 1, 1},
                              .smem_bytes = launch->smem_bytes,
                              .args = launch->args,
                          },
                          stream);
}
