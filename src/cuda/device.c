#include <string.h>

#include "cuda/module.h"

struct fact {
    CUdevice_attribute attribute;
    size_t offset; // of an int of struct fj_gpu
    bool optional; // 0 where the driver does not know it
    const char *name;
};

#define FACT(attribute, field, optional)                                                           \
    {                                                                                              \
        CU_DEVICE_ATTRIBUTE_##attribute, offsetof(struct fj_gpu, field), optional, #attribute      \
    }

static const struct fact facts[] = {
    FACT(MULTIPROCESSOR_COUNT, sm_count, false),
    FACT(MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, smem_per_block_bytes, false),
    FACT(MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, smem_per_sm_bytes, false),
    FACT(RESERVED_SHARED_MEMORY_PER_BLOCK, smem_reserved_bytes, true),
    FACT(MAX_REGISTERS_PER_MULTIPROCESSOR, regs_per_sm, false),
    FACT(MAX_THREADS_PER_MULTIPROCESSOR, threads_per_sm, false),
    FACT(MAX_BLOCKS_PER_MULTIPROCESSOR, blocks_per_sm, false),
    FACT(CLOCK_RATE, clock_khz, true),
    FACT(MEMORY_CLOCK_RATE, memory_clock_khz, true),
    FACT(GLOBAL_MEMORY_BUS_WIDTH, memory_bus_bits, true),
};

static int read_attribute(const struct fj_cuda *cuda, CUdevice device, CUdevice_attribute attribute,
                          const char *name, int *ret_value)
{
    CUresult result = cuda->cuDeviceGetAttribute(ret_value, attribute, device);
    int status = fj_cuda_check(cuda, result, "cuDeviceGetAttribute");
    return status == FAJIT_OK ? status : fj_err_context(status, "%s", name);
}

static int read_facts(const struct fj_cuda *cuda, CUdevice device, struct fj_gpu *ret_gpu)
{
    for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++) {
        const struct fact *fact = &facts[i];
        int value = 0;
        int status = read_attribute(cuda, device, fact->attribute, fact->name, &value);
        if (status != FAJIT_OK && !fact->optional)
            return status;
        memcpy((char *)ret_gpu + fact->offset, &(int){status == FAJIT_OK ? value : 0}, sizeof(int));
    }
    return FAJIT_OK;
}

static int read_gpu(const struct fj_cuda *cuda, CUdevice device, struct fj_gpu *ret_gpu)
{
    struct fj_gpu gpu = {0};
    size_t memory = 0;
    int major = 0, minor = 0, l2 = 0, status;
    if ((status = read_facts(cuda, device, &gpu)) != FAJIT_OK ||
        (status = read_attribute(cuda, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                 "compute capability", &major)) != FAJIT_OK ||
        (status = read_attribute(cuda, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                 "compute capability", &minor)) != FAJIT_OK ||
        (status = read_attribute(cuda, device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, "L2 size",
                                 &l2)) != FAJIT_OK ||
        (status = fj_cuda_check(cuda, cuda->cuDeviceTotalMem_v2(&memory, device),
                                "cuDeviceTotalMem")) != FAJIT_OK ||
        (status = fj_cuda_check(cuda, cuda->cuDriverGetVersion(&gpu.driver_version),
                                "cuDriverGetVersion")) != FAJIT_OK ||
        (status = fj_cuda_check(cuda, cuda->cuDeviceGetName(gpu.name, sizeof(gpu.name), device),
                                "cuDeviceGetName")) != FAJIT_OK)
        return status;
    gpu.cc = 10 * major + minor;
    gpu.l2_bytes = l2;
    gpu.memory_bytes = (int64_t)memory;
    *ret_gpu = gpu;
    return FAJIT_OK;
}

int fj_device_count(const struct fj_cuda *cuda, int *ret_count)
{
    int status = fj_cuda_check(cuda, cuda->cuInit(0), "cuInit");
    if (status == FAJIT_OK)
        status = fj_cuda_check(cuda, cuda->cuDeviceGetCount(ret_count), "cuDeviceGetCount");
    if (status == FAJIT_OK && *ret_count == 0)
        return fj_err(FAJIT_E_NO_DEVICE, "the CUDA driver sees no GPU: check nvidia-smi and "
                                         "CUDA_VISIBLE_DEVICES, or ask for FAJIT_DEVICE=emu");
    return status;
}

static int find_device(const struct fj_cuda *cuda, int ordinal, CUdevice *ret_device)
{
    int count = 0;
    int status = fj_device_count(cuda, &count);
    if (status != FAJIT_OK)
        return status;
    if (ordinal < 0 || ordinal >= count)
        return fj_err(FAJIT_E_NO_DEVICE, "device %d does not exist: the driver has 0 to %d",
                      ordinal, count - 1);
    return fj_cuda_check(cuda, cuda->cuDeviceGet(ret_device, ordinal), "cuDeviceGet");
}

// The device a context belongs to: the driver tells it for the current context only.
static int device_of(const struct fj_cuda *cuda, struct fj_device *device)
{
    CUcontext previous;
    int status = fj_device_enter(device, &previous);
    if (status != FAJIT_OK)
        return status;
    status = fj_cuda_check(cuda, cuda->cuCtxGetDevice(&device->device), "cuCtxGetDevice");
    fj_device_leave(device, previous);
    return status;
}

// The thread's context; NULL also when it is a primary one that was released meanwhile, which the
// driver leaves current.
static int current_context(const struct fj_cuda *cuda, CUcontext *ret_context)
{
    CUdevice device;
    CUresult result = cuda->cuCtxGetCurrent(ret_context);
    if (result == CUDA_SUCCESS && *ret_context &&
        cuda->cuCtxGetDevice(&device) == CUDA_ERROR_CONTEXT_IS_DESTROYED)
        *ret_context = NULL;
    return fj_cuda_check(cuda, result, "cuCtxGetCurrent");
}

int fj_device_open(const struct fj_cuda *cuda, CUcontext context, int ordinal,
                   struct fj_device *ret_device)
{
    struct fj_device device = {.cuda = cuda, .context = context};
    int status = fj_cuda_check(cuda, cuda->cuInit(0), "cuInit");
    if (status == FAJIT_OK && !context)
        status = current_context(cuda, &device.context);
    if (status != FAJIT_OK)
        return status;
    if (device.context) {
        status = device_of(cuda, &device);
    } else {
        status = find_device(cuda, ordinal, &device.device);
        if (status == FAJIT_OK)
            status =
                fj_cuda_check(cuda, cuda->cuDevicePrimaryCtxRetain(&device.context, device.device),
                              "cuDevicePrimaryCtxRetain");
        device.retained = status == FAJIT_OK;
    }
    if (status == FAJIT_OK)
        status = read_gpu(cuda, device.device, &device.gpu);
    if (status != FAJIT_OK) {
        fj_device_close(&device);
        return status;
    }
    *ret_device = device;
    return FAJIT_OK;
}

void fj_device_close(struct fj_device *device)
{
    if (device->retained)
        device->cuda->cuDevicePrimaryCtxRelease_v2(device->device);
    *device = (struct fj_device){0};
}

int fj_device_enter(const struct fj_device *device, CUcontext *ret_previous)
{
    const struct fj_cuda *cuda = device->cuda;
    int status = fj_cuda_check(cuda, cuda->cuCtxGetCurrent(ret_previous), "cuCtxGetCurrent");
    if (status != FAJIT_OK || *ret_previous == device->context)
        return status;
    return fj_cuda_check(cuda, cuda->cuCtxSetCurrent(device->context), "cuCtxSetCurrent");
}

void fj_device_leave(const struct fj_device *device, CUcontext previous)
{
    if (previous != device->context)
        device->cuda->cuCtxSetCurrent(previous);
}
