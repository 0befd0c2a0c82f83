// Memory calls. Device addresses are host addresses, so copies are memcpy once the range is known.
#include "emu/driver.h"

#include "emu/memory.h"

#include <inttypes.h>
#include <string.h>

CUresult fj_emu_cuMemAlloc_v2(CUdeviceptr *ret_memory, size_t bytes)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_unsafe_call("cuMemAlloc");
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_memory || bytes == 0)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuMemAlloc of %zu bytes", bytes);
    uint64_t capacity = (uint64_t)context->gpu->memory_bytes, addr;
    uint64_t used = atomic_fetch_add(&context->memory_used, bytes);
    if (bytes <= capacity && used <= capacity - bytes &&
        fj_emu_mem_alloc_for(bytes, context->device, context, &addr) == FAJIT_OK) {
        *ret_memory = addr;
        return CUDA_SUCCESS;
    }
    atomic_fetch_sub(&context->memory_used, bytes);
    return fj_emu_fail(CUDA_ERROR_OUT_OF_MEMORY,
                       "%zu bytes were asked for, %" PRIu64 " of the device's %" PRIu64 " are used",
                       bytes, used, capacity);
}

CUresult fj_emu_cuMemFree_v2(CUdeviceptr memory)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_unsafe_call("cuMemFree");
    if (result != CUDA_SUCCESS || memory == 0)
        return result;
    const struct fj_emu_block *block = fj_emu_mem_find(memory, 1);
    uint64_t bytes = block ? block->bytes : 0;
    CUcontext owner = block ? block->owner : NULL;
    if (!owner || fj_emu_mem_free(memory) != FAJIT_OK)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE,
                           "cuMemFree of 0x%llx, which is no allocation's start", memory);
    atomic_fetch_sub(&owner->memory_used, bytes);
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuMemGetInfo_v2(size_t *ret_free_bytes, size_t *ret_total_bytes)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_free_bytes || !ret_total_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_total_bytes = (size_t)context->gpu->memory_bytes;
    *ret_free_bytes = *ret_total_bytes - (size_t)atomic_load(&context->memory_used);
    return CUDA_SUCCESS;
}

static CUresult check_range(const char *call, CUdeviceptr memory, size_t bytes)
{
    char where[160];
    if (fj_emu_mem_find(memory, bytes))
        return CUDA_SUCCESS;
    fj_emu_mem_describe(memory, bytes, where, sizeof(where));
    return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "%s of %zu bytes at 0x%llx: %s", call, bytes,
                       memory, where);
}

static CUresult copy(const char *call, CUdeviceptr to, const void *from_host, void *to_host,
                     CUdeviceptr from, size_t bytes, CUstream stream)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_stream_check(context, stream);
    if (result != CUDA_SUCCESS || bytes == 0)
        return result;
    if (!from_host && !from)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "%s from a null pointer", call);
    if (!to_host)
        result = check_range(call, to, bytes);
    if (result == CUDA_SUCCESS && !from_host)
        result = check_range(call, from, bytes);
    if (result != CUDA_SUCCESS)
        return result;
    struct fj_emu_work work = {
        .kind = FJ_EMU_WORK_COPY,
        .to = to_host ? to_host : (void *)(uintptr_t)to,
        .from = from_host ? from_host : (const void *)(uintptr_t)from,
        .bytes = bytes,
        .to_device = !to_host,
    };
    return fj_emu_enqueue(context, stream, &work);
}

CUresult fj_emu_cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes)
{
    return copy("cuMemcpyHtoD", to, from, NULL, 0, bytes, NULL);
}

CUresult fj_emu_cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes)
{
    if (!to && bytes)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuMemcpyDtoH to a null pointer");
    return copy("cuMemcpyDtoH", 0, NULL, to, from, bytes, NULL);
}

CUresult fj_emu_cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    return copy("cuMemcpyDtoD", to, NULL, NULL, from, bytes, NULL);
}

CUresult fj_emu_cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                                     CUstream stream)
{
    return copy("cuMemcpyHtoDAsync", to, from, NULL, 0, bytes, stream);
}

CUresult fj_emu_cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    if (!to && bytes)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuMemcpyDtoHAsync to a null pointer");
    return copy("cuMemcpyDtoHAsync", 0, NULL, to, from, bytes, stream);
}

static CUresult set(const char *call, enum fj_emu_work_kind kind, CUdeviceptr at, uint32_t value,
                    size_t count, CUstream stream)
{
    CUcontext context;
    size_t size = kind == FJ_EMU_WORK_SET32 ? 4 : 1;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_stream_check(context, stream);
    if (result != CUDA_SUCCESS || count == 0)
        return result;
    if (at % size || count > SIZE_MAX / size)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "%s at 0x%llx is not aligned", call, at);
    result = check_range(call, at, count * size);
    if (result != CUDA_SUCCESS)
        return result;
    struct fj_emu_work work = {.kind = kind, .at = at, .value = value, .count = count};
    return fj_emu_enqueue(context, stream, &work);
}

CUresult fj_emu_cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t bytes)
{
    return set("cuMemsetD8", FJ_EMU_WORK_SET8, to, value, bytes, NULL);
}

CUresult fj_emu_cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream)
{
    return set("cuMemsetD8Async", FJ_EMU_WORK_SET8, to, value, bytes, stream);
}

CUresult fj_emu_cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t words, CUstream stream)
{
    return set("cuMemsetD32Async", FJ_EMU_WORK_SET32, to, value, words, stream);
}

CUresult fj_emu_cuPointerGetAttribute(void *ret_value, CUpointer_attribute attribute,
                                      CUdeviceptr memory)
{
    if (!fj_emu_ready())
        return fj_emu_fail(CUDA_ERROR_NOT_INITIALIZED, "cuInit was not called");
    const struct fj_emu_block *block = fj_emu_mem_find(memory, 1);
    if (!ret_value || !block)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not memory of the driver", memory);
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *(CUcontext *)ret_value = block->owner;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned *)ret_value = CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *(CUdeviceptr *)ret_value = memory;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)ret_value = block->device;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(CUdeviceptr *)ret_value = block->base;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)ret_value = (size_t)block->bytes;
        return CUDA_SUCCESS;
    }
    return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "pointer attribute %d is not emulated", attribute);
}
