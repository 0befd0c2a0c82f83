// Image to function: load, attributes, unload. And device facts and context handling.
#ifndef FJ_CUDA_MODULE_H
#define FJ_CUDA_MODULE_H

#include "base/gpu.h"
#include "cuda/loader.h"

struct fj_device {
    const struct fj_cuda *cuda;
    CUdevice device;
    CUcontext context; // made current around every call, the previous one restored
    bool retained;     // primary context to release
    struct fj_gpu gpu;
};

// Of the driver; FAJIT_E_NO_DEVICE when it sees none.
int fj_device_count(const struct fj_cuda *cuda, int *ret_count);

// `context` given, else the current one, else the primary context of `ordinal`.
int fj_device_open(const struct fj_cuda *cuda, CUcontext context, int ordinal,
                   struct fj_device *ret_device);
void fj_device_close(struct fj_device *device);
int fj_device_enter(const struct fj_device *device, CUcontext *ret_previous);
void fj_device_leave(const struct fj_device *device, CUcontext previous);

struct fj_module {
    CUmodule module;
    CUfunction function;
    int registers, local_bytes, smem_static_bytes, max_threads;
};

// Loads in full (no lazy loading left for the launch) and raises the dynamic shared memory limit.
int fj_module_load(const struct fj_device *device, const void *image, const char *kernel_name,
                   unsigned smem_dynamic_bytes, struct fj_module *ret_module);
void fj_module_unload(const struct fj_device *device, struct fj_module *module);

// Sizes of the kernel's parameters, in order. `ret_count` is -1 where the driver cannot tell
// (before CUDA 12.4); FAJIT_E_UNSUPPORTED when there are more than `max`.
int fj_module_params(const struct fj_device *device, const struct fj_module *module, int max,
                     size_t *ret_bytes, int *ret_count);

// CTAs of the kernel that fit on one SM, by registers, shared memory, threads and barriers; 0 when
// not even one does.
int fj_module_occupancy(const struct fj_device *device, const struct fj_module *module,
                        unsigned threads, unsigned smem_dynamic_bytes, int *ret_ctas_per_sm);

#endif
