// The emulated devices: one per line of base/gpus.def.
#include "emu/driver.h"

#include <stdio.h>
#include <string.h>

#define DRIVER_VERSION 13000

static const struct {
    const char *key;
    struct fj_gpu gpu;
} models[] = {
#define FJ_GPU(key_, name_, cc_, sms, smem_block, smem_sm, smem_reserved, regs, threads, blocks,   \
               l2, memory, clock, memory_clock, bus)                                               \
    {#key_,                                                                                        \
     {.name = name_,                                                                               \
      .cc = cc_,                                                                                   \
      .sm_count = sms,                                                                             \
      .smem_per_block_bytes = smem_block,                                                          \
      .smem_per_sm_bytes = smem_sm,                                                                \
      .smem_reserved_bytes = smem_reserved,                                                        \
      .regs_per_sm = regs,                                                                         \
      .threads_per_sm = threads,                                                                   \
      .blocks_per_sm = blocks,                                                                     \
      .l2_bytes = l2,                                                                              \
      .memory_bytes = memory,                                                                      \
      .clock_khz = clock,                                                                          \
      .memory_clock_khz = memory_clock,                                                            \
      .memory_bus_bits = bus,                                                                      \
      .driver_version = DRIVER_VERSION}},
#include "base/gpus.def"
#undef FJ_GPU
};

#define MODEL_COUNT (int)(sizeof(models) / sizeof(models[0]))
_Static_assert(FJ_EMU_COPIES * sizeof(models) / sizeof(models[0]) <= FJ_EMU_MAX_DEVICES,
               "one context for each");

int fj_emu_device_count(void)
{
    return FJ_EMU_COPIES * MODEL_COUNT;
}

const struct fj_gpu *fj_emu_device(int ordinal)
{
    return ordinal >= 0 && ordinal < fj_emu_device_count() ? &models[ordinal % MODEL_COUNT].gpu
                                                           : NULL;
}

static int find_model(const char *name, size_t len)
{
    char known[512] = "";
    size_t used = 0;
    for (int i = 0; i < MODEL_COUNT; i++) {
        if (strlen(models[i].key) == len && memcmp(models[i].key, name, len) == 0)
            return i;
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
                                 models[i].key);
    }
    fj_err(FAJIT_E_NO_DEVICE, "no emulated GPU is called \"%.*s\": there are %s", (int)len, name,
           known);
    return -1;
}

int fj_emu_find_gpu(const char *name)
{
    return find_model(name, strlen(name));
}

// The ordinal of the device at `place`, -1 where the list is shorter; -2 for a bad list. The whole
// list is read: a bad name is bad wherever it stands.
static int walk_list(const char *list, int place, int *ret_count)
{
    int copies[MODEL_COUNT] = {0}, found = -1, count = 0;
    for (const char *name = list;; name++) {
        size_t len = strcspn(name, ",");
        int model = find_model(name, len);
        if (model < 0)
            return -2;
        if (copies[model] == FJ_EMU_COPIES) {
            fj_err(FAJIT_E_NO_DEVICE, "more than %d emulated GPUs are called %s", FJ_EMU_COPIES,
                   models[model].key);
            return -2;
        }
        int ordinal = copies[model]++ * MODEL_COUNT + model;
        if (count++ == place)
            found = ordinal;
        name += len;
        if (!*name)
            break;
    }
    *ret_count = count;
    return found;
}

int fj_emu_count_devices(const char *list)
{
    int count;
    return walk_list(list, -1, &count) == -2 ? -1 : count;
}

int fj_emu_find_device(const char *list, int place)
{
    int count;
    int ordinal = walk_list(list, place, &count);
    if (ordinal == -1 && count == 1)
        fj_err(FAJIT_E_NO_DEVICE,
               "emulated device %d does not exist: \"%s\" is one GPU, device 0; FAJIT_EMU takes a "
               "list, \"%s,%s\"",
               place, list, list, list);
    else if (ordinal == -1)
        fj_err(FAJIT_E_NO_DEVICE, "emulated device %d does not exist: \"%s\" are 0 to %d", place,
               list, count - 1);
    return ordinal;
}

static CUresult no_device(int ordinal)
{
    return fj_emu_fail(CUDA_ERROR_INVALID_DEVICE, "device %d does not exist: there are 0 to %d",
                       ordinal, fj_emu_device_count() - 1);
}

static CUresult not_ready(void)
{
    return fj_emu_fail(CUDA_ERROR_NOT_INITIALIZED, "cuInit was not called");
}

CUresult fj_emu_cuDriverGetVersion(int *ret_version)
{
    if (!ret_version)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_version = fj_emu_device(0)->driver_version;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuDeviceGetCount(int *ret_count)
{
    if (!fj_emu_ready())
        return not_ready();
    if (!ret_count)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_count = fj_emu_device_count();
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuDeviceGet(CUdevice *ret_device, int ordinal)
{
    if (!fj_emu_ready())
        return not_ready();
    if (!ret_device)
        return CUDA_ERROR_INVALID_VALUE;
    if (!fj_emu_device(ordinal))
        return no_device(ordinal);
    *ret_device = ordinal;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuDeviceGetName(char *ret_name, int len, CUdevice device)
{
    const struct fj_gpu *gpu = fj_emu_device(device);
    if (!gpu)
        return no_device(device);
    if (!ret_name || len < 1)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(ret_name, (size_t)len, "%s (emulated)", gpu->name);
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuDeviceTotalMem_v2(size_t *ret_bytes, CUdevice device)
{
    const struct fj_gpu *gpu = fj_emu_device(device);
    if (!gpu)
        return no_device(device);
    if (!ret_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_bytes = (size_t)gpu->memory_bytes;
    return CUDA_SUCCESS;
}

// Attributes that are the same on every GPU from sm_75 to sm_121.
static const struct {
    CUdevice_attribute attribute;
    int value;
} constants[] = {
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 0x7fffffff},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
    {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536},
    {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_MODE, 0},
    {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
    {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
    {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
};

static bool find_constant(CUdevice_attribute attribute, int *ret_value)
{
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
        if (constants[i].attribute == attribute) {
            *ret_value = constants[i].value;
            return true;
        }
    return false;
}

static bool find_fact(CUdevice_attribute attribute, const struct fj_gpu *gpu, int *ret_value)
{
    const struct {
        CUdevice_attribute attribute;
        int64_t value;
    } facts[] = {
        {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, gpu->clock_khz},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, gpu->sm_count},
        {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, gpu->memory_clock_khz},
        {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, gpu->memory_bus_bits},
        {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, gpu->l2_bytes},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, gpu->threads_per_sm},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, gpu->cc / 10},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, gpu->cc % 10},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, gpu->smem_per_sm_bytes},
        {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, gpu->regs_per_sm},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, gpu->smem_per_block_bytes},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, gpu->blocks_per_sm},
        {CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, gpu->smem_reserved_bytes},
        {CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, gpu->cc >= 90},
        {CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED, gpu->cc >= 90},
    };
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
        if (facts[i].attribute == attribute) {
            *ret_value = (int)facts[i].value;
            return true;
        }
    return false;
}

CUresult fj_emu_cuDeviceGetAttribute(int *ret_value, CUdevice_attribute attribute, CUdevice device)
{
    if (!fj_emu_ready())
        return not_ready();
    const struct fj_gpu *gpu = fj_emu_device(device);
    if (!gpu)
        return no_device(device);
    if (!ret_value)
        return CUDA_ERROR_INVALID_VALUE;
    if (find_constant(attribute, ret_value) || find_fact(attribute, gpu, ret_value))
        return CUDA_SUCCESS;
    return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "device attribute %d is not emulated", attribute);
}
