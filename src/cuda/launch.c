#include "cuda/launch.h"

static bool has_cluster(const struct fj_cuda_launch *launch)
{
    return launch->cluster[0] > 1 || launch->cluster[1] > 1 || launch->cluster[2] > 1;
}

static unsigned at_least_one(unsigned value)
{
    return value ? value : 1;
}

static int launch_cluster(const struct fj_cuda *cuda, CUfunction function,
                          const struct fj_cuda_launch *launch, CUstream stream)
{
    if (!cuda->cuLaunchKernelEx)
        return fj_err(FAJIT_E_UNSUPPORTED, "a launch in clusters needs a driver of CUDA 11.8 or "
                                           "later: update it, or choose cluster=1");
    CUlaunchAttribute attribute = {
        .id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
        .value.clusterDim = {at_least_one(launch->cluster[0]), at_least_one(launch->cluster[1]),
                             at_least_one(launch->cluster[2])},
    };
    CUlaunchConfig config = {
        .gridDimX = launch->grid[0],
        .gridDimY = launch->grid[1],
        .gridDimZ = launch->grid[2],
        .blockDimX = launch->block[0],
        .blockDimY = launch->block[1],
        .blockDimZ = launch->block[2],
        .sharedMemBytes = launch->smem_bytes,
        .hStream = stream,
        .attrs = &attribute,
        .numAttrs = 1,
    };
    return fj_cuda_check(cuda, cuda->cuLaunchKernelEx(&config, function, launch->args, NULL),
                         "cuLaunchKernelEx");
}

int fj_cuda_launch(const struct fj_cuda *cuda, CUfunction function,
                   const struct fj_cuda_launch *launch, CUstream stream)
{
    if (has_cluster(launch))
        return launch_cluster(cuda, function, launch, stream);
    CUresult result = cuda->cuLaunchKernel(
        function, launch->grid[0], launch->grid[1], launch->grid[2], launch->block[0],
        launch->block[1], launch->block[2], launch->smem_bytes, stream, launch->args, NULL);
    return fj_cuda_check(cuda, result, "cuLaunchKernel");
}
