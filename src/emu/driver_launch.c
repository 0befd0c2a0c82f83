// Launches: the driver's limits, packing of arguments, and what a fault does to the context.
#include "emu/driver.h"

#include "emu/memory.h"
#include "emu/tma_map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PARAM_ALIGN 128 // of the block: a tensor map in it is aligned as its parameter is
#define PORTABLE_CLUSTER 8
#define LARGEST_CLUSTER 16

static _Thread_local char report[sizeof(((struct fj_emu_fault *)0)->text)];

const char *fj_emu_report(void)
{
    return report;
}

void *fj_emu_params_new(uint32_t bytes)
{
    size_t size = ((size_t)bytes + PARAM_ALIGN) / PARAM_ALIGN * PARAM_ALIGN;
    void *params = aligned_alloc(PARAM_ALIGN, size);
    if (params)
        memset(params, 0, size);
    return params;
}

// Keys of `extra`, cuda.h: CU_LAUNCH_PARAM_*.
enum { EXTRA_END, EXTRA_BUFFER, EXTRA_SIZE };

static CUresult pack_extra(const struct fj_ptx_entry *entry, void **extra, void *ret_params)
{
    const void *buffer = NULL;
    size_t size = 0;
    for (size_t i = 0; (uintptr_t)extra[i] != EXTRA_END; i += 2) {
        if ((uintptr_t)extra[i] == EXTRA_BUFFER)
            buffer = extra[i + 1];
        else if ((uintptr_t)extra[i] == EXTRA_SIZE)
            size = *(const size_t *)extra[i + 1];
        else
            return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "unknown key in `extra`");
    }
    if (!buffer || size < entry->param_bytes)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "%s takes %" PRIu32 " bytes of parameters",
                           entry->name, entry->param_bytes);
    memcpy(ret_params, buffer, entry->param_bytes);
    return CUDA_SUCCESS;
}

static CUresult pack_args(const struct fj_ptx_entry *entry, void **args, void **extra,
                          void *ret_params)
{
    if (args && extra)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "both `args` and `extra` are given");
    if (extra)
        return pack_extra(entry, extra, ret_params);
    for (int i = 0; i < entry->n_params; i++) {
        const struct fj_ptx_param *param = &entry->params[i];
        if (!args || !args[i])
            return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "argument %d of %s is missing", i,
                               entry->name);
        memcpy((char *)ret_params + param->offset, args[i], param->bytes);
    }
    return CUDA_SUCCESS;
}

static CUresult check_grid(const struct fj_emu_launch *launch)
{
    static const uint32_t most[3] = {0x7fffffff, 65535, 65535};
    static const uint32_t most_threads[3] = {1024, 1024, 64};
    for (int i = 0; i < 3; i++) {
        if (launch->grid[i] < 1 || launch->grid[i] > most[i])
            return fj_emu_fail(CUDA_ERROR_INVALID_VALUE,
                               "a grid of %" PRIu32 " along axis %d: 1 to %" PRIu32 " are allowed",
                               launch->grid[i], i, most[i]);
        if (launch->block[i] < 1 || launch->block[i] > most_threads[i])
            return fj_emu_fail(CUDA_ERROR_INVALID_VALUE,
                               "a block of %" PRIu32 " along axis %d: 1 to %" PRIu32 " are allowed",
                               launch->block[i], i, most_threads[i]);
    }
    return CUDA_SUCCESS;
}

static CUresult check_threads(CUfunction function, const struct fj_emu_launch *launch)
{
    const uint32_t *required = function->entry->reqntid, *block = launch->block;
    uint32_t threads = block[0] * block[1] * block[2];
    if (threads > 1024)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "a block of %" PRIu32 " threads: at most 1024",
                           threads);
    if (threads > (uint32_t)function->max_threads)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE,
                           "%s is built for blocks of at most %d threads, not %" PRIu32,
                           function->entry->name, function->max_threads, threads);
    for (int i = 0; required[0] && i < 3; i++)
        if (block[i] != (required[i] ? required[i] : 1))
            return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "%s requires another block size",
                               function->entry->name);
    if ((int64_t)launch->smem_dynamic_bytes > function->smem_dynamic_limit)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE,
                           "%" PRIu32 " bytes of dynamic shared memory: %s may have %d "
                           "(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)",
                           launch->smem_dynamic_bytes, function->entry->name,
                           function->smem_dynamic_limit);
    return CUDA_SUCCESS;
}

static CUresult check_cluster(CUfunction function, const struct fj_emu_launch *launch)
{
    const uint32_t *cluster = launch->cluster, *fixed = function->entry->cluster;
    uint32_t size = cluster[0] * cluster[1] * cluster[2];
    uint32_t most = function->non_portable_cluster ? LARGEST_CLUSTER : PORTABLE_CLUSTER;
    for (int i = 0; i < 3; i++) {
        if (fixed[0] && cluster[i] != (fixed[i] ? fixed[i] : 1))
            return fj_emu_fail(CUDA_ERROR_INVALID_CLUSTER_SIZE,
                               "%s is built for another cluster size", function->entry->name);
        if (launch->grid[i] % cluster[i])
            return fj_emu_fail(CUDA_ERROR_INVALID_CLUSTER_SIZE,
                               "a grid of %" PRIu32 " is not whole clusters of %" PRIu32
                               " along axis %d",
                               launch->grid[i], cluster[i], i);
    }
    if (size == 1)
        return CUDA_SUCCESS;
    if (launch->gpu->cc < 90)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "clusters exist from sm_90 on; %s is sm_%d",
                           launch->gpu->name, launch->gpu->cc);
    if (size > most)
        return fj_emu_fail(CUDA_ERROR_INVALID_CLUSTER_SIZE,
                           "a cluster of %" PRIu32 " CTAs: at most %" PRIu32, size, most);
    return CUDA_SUCCESS;
}

static CUresult check_launch(CUfunction function, const struct fj_emu_launch *launch)
{
    CUresult result = check_grid(launch);
    if (result == CUDA_SUCCESS)
        result = check_threads(function, launch);
    return result == CUDA_SUCCESS ? check_cluster(function, launch) : result;
}

static CUresult check_handles(CUfunction function, CUstream stream, CUcontext *ret_context)
{
    CUresult result = fj_emu_enter(ret_context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_stream_check(*ret_context, stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (!function || function->magic != FJ_EMU_MAGIC_FUNCTION)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no function");
    if (function->module->context != *ret_context)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the kernel belongs to another context");
    return CUDA_SUCCESS;
}

// `launch` has its shape; the rest is filled here.
static CUresult launch(CUfunction function, struct fj_emu_launch *launch, CUstream stream,
                       void **args, void **extra)
{
    CUcontext context;
    CUresult result = check_handles(function, stream, &context);
    if (result != CUDA_SUCCESS)
        return result;
    for (int i = 0; i < 3; i++)
        if (launch->cluster[i] == 0)
            launch->cluster[i] = function->cluster[i] ? function->cluster[i] : 1;
    launch->gpu = context->gpu;
    result = check_launch(function, launch);
    if (result != CUDA_SUCCESS)
        return result;
    void *params = fj_emu_params_new(function->entry->param_bytes);
    if (!params)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = pack_args(function->entry, args, extra, params);
    if (result != CUDA_SUCCESS) {
        free(params);
        return result;
    }
    launch->params = params;
    launch->param_bytes = function->entry->param_bytes;
    struct fj_emu_work work = {.kind = FJ_EMU_WORK_LAUNCH, .function = function, .launch = *launch};
    return fj_emu_enqueue(context, stream, &work);
}

static CUresult fault_code(enum fj_emu_fault_kind kind)
{
    switch (kind) {
    case FJ_EMU_FAULT_ADDRESS:
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    case FJ_EMU_FAULT_MISALIGNED:
        return CUDA_ERROR_MISALIGNED_ADDRESS;
    case FJ_EMU_FAULT_DEADLOCK:
    case FJ_EMU_FAULT_BUDGET:
        return CUDA_ERROR_LAUNCH_TIMEOUT;
    case FJ_EMU_FAULT_OPERAND:
        return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    default:
        return CUDA_ERROR_LAUNCH_FAILED;
    }
}

CUresult fj_emu_launch_run(CUcontext context, CUfunction function,
                           const struct fj_emu_launch *recorded)
{
    struct fj_emu_launch launch = *recorded;
    struct fj_emu_fault fault = {0};
    if (function->magic != FJ_EMU_MAGIC_FUNCTION)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the kernel of a graph was unloaded");
    launch.check = context->settings.check;
    launch.budget = context->settings.budget;
    launch.threads = context->settings.threads;
    fj_emu_observers(context, &launch.counts, &launch.tracer);
    report[0] = '\0';
    if (!launch.check)
        fj_emu_mem_forget(context->device);
    fj_emu_mem_begin_launch();
    int status = fj_emu_execute(function->code, &launch, &fault);
    fj_emu_mem_end_launch();
    if (status == FAJIT_OK)
        return CUDA_SUCCESS;
    if (fault.kind == FJ_EMU_FAULT_NONE)
        return fj_emu_fail(status == FAJIT_E_NOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_UNKNOWN,
                           "%s", fj_err_text());
    memcpy(report, fault.text, sizeof(report));
    report[sizeof(report) - 1] = '\0';
    if (fault.kind == FJ_EMU_FAULT_LAUNCH) // refused before it began
        return fj_emu_fail(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "%s", report);
    CUresult code = fault_code(fault.kind);
    atomic_store(&context->broken, code);
    return fj_emu_fail(code, "%s", report);
}

CUresult fj_emu_cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                               unsigned grid_z, unsigned block_x, unsigned block_y,
                               unsigned block_z, unsigned smem_dynamic_bytes, CUstream stream,
                               void **args, void **extra)
{
    struct fj_emu_launch shape = {
        .grid = {grid_x, grid_y, grid_z},
        .block = {block_x, block_y, block_z},
        .smem_dynamic_bytes = smem_dynamic_bytes,
    };
    CUcontext context;
    CUresult result = check_handles(function, stream, &context);
    if (result == CUDA_SUCCESS && function->entry->explicit_cluster && !function->cluster[0])
        return fj_emu_fail(CUDA_ERROR_INVALID_CLUSTER_SIZE, "%s needs a cluster size",
                           function->entry->name);
    return result == CUDA_SUCCESS ? launch(function, &shape, stream, args, extra) : result;
}

static CUresult read_attribute(const CUlaunchAttribute *attribute, struct fj_emu_launch *launch)
{
    const CUlaunchAttributeValue *value = &attribute->value;
    switch (attribute->id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: // kernels do not overlap here
        return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
        if (!value->cooperative)
            return CUDA_SUCCESS;
        return fj_emu_fail(CUDA_ERROR_NOT_SUPPORTED, "cooperative launches are not emulated");
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        launch->cluster[0] = value->clusterDim.x;
        launch->cluster[1] = value->clusterDim.y;
        launch->cluster[2] = value->clusterDim.z;
        if (launch->cluster[0] && launch->cluster[1] && launch->cluster[2])
            return CUDA_SUCCESS;
        return fj_emu_fail(CUDA_ERROR_INVALID_CLUSTER_SIZE, "a cluster dimension is zero");
    }
    return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "launch attribute %d is not emulated",
                       attribute->id);
}

CUresult fj_emu_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **args,
                                 void **extra)
{
    if (!config || (config->numAttrs && !config->attrs))
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuLaunchKernelEx without a configuration");
    struct fj_emu_launch shape = {
        .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
        .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
        .smem_dynamic_bytes = config->sharedMemBytes,
    };
    for (unsigned i = 0; i < config->numAttrs; i++) {
        CUresult result = read_attribute(&config->attrs[i], &shape);
        if (result != CUDA_SUCCESS)
            return result;
    }
    return launch(function, &shape, config->hStream, args, extra);
}

CUresult fj_emu_cuTensorMapEncodeTiled(CUtensorMap *ret_map, CUtensorMapDataType type,
                                       cuuint32_t rank, void *address, const cuuint64_t *dims,
                                       const cuuint64_t *strides_bytes, const cuuint32_t *box,
                                       const cuuint32_t *element_strides,
                                       CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                       CUtensorMapL2promotion promotion,
                                       CUtensorMapFloatOOBfill fill)
{
    if (!fj_emu_ready())
        return fj_emu_fail(CUDA_ERROR_NOT_INITIALIZED, "cuInit was not called");
    CUresult result = fj_emu_tma_encode(ret_map, type, rank, address, dims, strides_bytes, box,
                                        element_strides, interleave, swizzle, promotion, fill);
    return result == CUDA_SUCCESS ? result : fj_emu_fail(result, "%s", fj_err_text());
}
