// The second half of fake_cuda.c: modules, launches, memory, streams, events, graphs.

// --- Modules and functions --------------------------------------------------------------------

static CUresult fake_cuModuleLoadDataEx(CUmodule *ret_module, const void *image, unsigned n_options,
                                        CUjit_option *options, void **values)
{
    CUresult injected = enter(FN_cuModuleLoadDataEx);
    for (unsigned i = 0; fake.load_log && injected != CUDA_SUCCESS && i + 1 < n_options; i++) {
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER) // the size is the next option
            strncpy(values[i], fake.load_log, (size_t)(uintptr_t)values[i + 1] - 1);
    }
    NEED(injected);
    NEED(outside_capture());
    if (!image)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_module = (CUmodule)create(MODULE);
    return CUDA_SUCCESS;
}

static CUresult fake_cuModuleUnload(CUmodule module)
{
    CUresult injected = enter(FN_cuModuleUnload);
    NEED(in_context());
    destroy_functions((struct object *)module);
    return destroy(module, MODULE, injected);
}

static CUresult fake_cuModuleGetFunction(CUfunction *ret_function, CUmodule module,
                                         const char *name)
{
    ENTER(cuModuleGetFunction);
    if (!find(module, MODULE))
        return CUDA_ERROR_INVALID_HANDLE;
    if (fake.kernel_name && strcmp(fake.kernel_name, name) != 0)
        return CUDA_ERROR_NOT_FOUND;
    struct object *function = create(FUNCTION);
    own(function, (struct object *)module);
    *ret_function = (CUfunction)function;
    return CUDA_SUCCESS;
}

static CUresult fake_cuFuncGetAttribute(int *ret_value, CUfunction_attribute attribute,
                                        CUfunction function)
{
    const int values[] = {
        [CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = fake.max_threads,
        [CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES] = fake.smem_static_bytes,
        [CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES] = fake.local_bytes,
        [CU_FUNC_ATTRIBUTE_NUM_REGS] = fake.registers,
    };
    ENTER(cuFuncGetAttribute);
    if (!find(function, FUNCTION))
        return CUDA_ERROR_INVALID_HANDLE;
    if ((unsigned)attribute >= sizeof(values) / sizeof(*values))
        return CUDA_ERROR_INVALID_VALUE;
    *ret_value = values[attribute];
    return CUDA_SUCCESS;
}

static CUresult fake_cuFuncGetParamInfo(CUfunction function, size_t index, size_t *ret_offset,
                                        size_t *ret_bytes)
{
    ENTER(cuFuncGetParamInfo);
    if (!find(function, FUNCTION))
        return CUDA_ERROR_INVALID_HANDLE;
    if (index >= (size_t)fake.n_params)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_offset = 8 * index;
    *ret_bytes = fake.param_bytes[index];
    return CUDA_SUCCESS;
}

static CUresult fake_cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute,
                                        int value)
{
    ENTER(cuFuncSetAttribute);
    if (!find(function, FUNCTION))
        return CUDA_ERROR_INVALID_HANDLE;
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        fake.smem_limit_bytes = (unsigned)value;
    return CUDA_SUCCESS;
}

static CUresult fake_cuFuncLoad(CUfunction function)
{
    ENTER(cuFuncLoad);
    return find(function, FUNCTION) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult fake_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *ret_blocks,
                                                                 CUfunction function, int threads,
                                                                 size_t smem_dynamic_bytes)
{
    ENTER(cuOccupancyMaxActiveBlocksPerMultiprocessor);
    NEED(in_context());
    if (!find(function, FUNCTION) || threads < 1)
        return CUDA_ERROR_INVALID_VALUE;
    bool fits = smem_dynamic_bytes <= (size_t)fake.gpu.smem_per_block_bytes;
    *ret_blocks = fits ? fake.ctas_per_sm : 0;
    return CUDA_SUCCESS;
}

// --- Launches ---------------------------------------------------------------------------------

static CUresult launch(CUfunction function, const struct fake_launch *what, void **args)
{
    NEED(in_context());
    if (!find(function, FUNCTION) || (what->stream && !find(what->stream, STREAM)))
        return CUDA_ERROR_INVALID_HANDLE;
    for (int i = 0; i < 3; i++) {
        if (!what->grid[i] || !what->block[i])
            return CUDA_ERROR_INVALID_VALUE;
    }
    pthread_mutex_lock(&lock);
    if (!capturing)
        clock_us += fake.kernel_us[fake.n_launches % fake.n_kernel_us];
    fake.last = *what;
    if (args && args[0])
        memcpy(&fake.last.args0, args[0], sizeof(void *));
    fake.n_launches++;
    pthread_mutex_unlock(&lock);
    if (fake.on_launch)
        fake.on_launch(&fake.last, args);
    return CUDA_SUCCESS;
}

static CUresult fake_cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                    unsigned grid_z, unsigned block_x, unsigned block_y,
                                    unsigned block_z, unsigned smem_dynamic_bytes, CUstream stream,
                                    void **args, void **extra)
{
    (void)extra;
    ENTER(cuLaunchKernel);
    struct fake_launch what = {.grid = {grid_x, grid_y, grid_z},
                               .block = {block_x, block_y, block_z},
                               .smem_bytes = smem_dynamic_bytes,
                               .stream = stream};
    return launch(function, &what, args);
}

static CUresult fake_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function,
                                      void **args, void **extra)
{
    (void)extra;
    ENTER(cuLaunchKernelEx);
    struct fake_launch what = {
        .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
        .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
        .smem_bytes = config->sharedMemBytes,
        .stream = config->hStream,
    };
    for (unsigned i = 0; i < config->numAttrs; i++) {
        const CUlaunchAttribute *attribute = &config->attrs[i];
        if (attribute->id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
            continue;
        what.cluster[0] = attribute->value.clusterDim.x;
        what.cluster[1] = attribute->value.clusterDim.y;
        what.cluster[2] = attribute->value.clusterDim.z;
    }
    return launch(function, &what, args);
}

// The arguments in place of NVIDIA's encoding, for tests to read back: type, rank, swizzle,
// address, dims, strides, box.
static CUresult fake_cuTensorMapEncodeTiled(
    CUtensorMap *ret_map, CUtensorMapDataType type, cuuint32_t rank, void *address,
    const cuuint64_t *dims, const cuuint64_t *strides_bytes, const cuuint32_t *box,
    const cuuint32_t *element_strides, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
    CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
    (void)interleave, (void)promotion, (void)fill;
    ENTER(cuTensorMapEncodeTiled);
    if ((uintptr_t)ret_map % 64 || rank > 5)
        return CUDA_ERROR_INVALID_VALUE;
    cuuint64_t *out = ret_map->opaque;
    *out++ = (cuuint64_t)type | (cuuint64_t)rank << 16 | (cuuint64_t)swizzle << 32;
    *out++ = (uintptr_t)address;
    for (cuuint32_t i = 0; i < rank; i++) {
        if (element_strides[i] != 1)
            return CUDA_ERROR_INVALID_VALUE;
        *out++ = dims[i] | (cuuint64_t)box[i] << 40;
    }
    for (cuuint32_t i = 0; i + 1 < rank; i++)
        *out++ = strides_bytes[i];
    return CUDA_SUCCESS;
}

// --- Memory -----------------------------------------------------------------------------------

static CUresult fake_cuMemAlloc_v2(CUdeviceptr *ret_memory, size_t bytes)
{
    ENTER(cuMemAlloc_v2);
    NEED(outside_capture());
    if (bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > (size_t)fake.gpu.memory_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    struct object *memory = create(MEMORY);
    memory->bytes = bytes;
    memory->memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!memory->memory)
        abort();
    memset(memory->memory, 0xa5, bytes); // device memory starts with whatever was there
    *ret_memory = (uintptr_t)memory->memory;
    return CUDA_SUCCESS;
}

static CUresult fake_cuMemFree_v2(CUdeviceptr memory)
{
    CUresult injected = enter(FN_cuMemFree_v2);
    NEED(outside_capture());
    if (!memory)
        return injected;
    struct object *object = find_memory(memory, 0);
    if (!object || (uintptr_t)object->memory != memory)
        return CUDA_ERROR_INVALID_VALUE;
    free(object->memory);
    object->memory = NULL;
    object->kind = DEAD;
    return injected;
}

static CUresult fake_cuMemGetInfo_v2(size_t *ret_free_bytes, size_t *ret_total_bytes)
{
    ENTER(cuMemGetInfo_v2);
    *ret_free_bytes = *ret_total_bytes = (size_t)fake.gpu.memory_bytes;
    return CUDA_SUCCESS;
}

static CUresult copy(void *to, const void *from, size_t bytes, CUdeviceptr device_a,
                     CUdeviceptr device_b)
{
    NEED(in_context());
    if (!bytes)
        return CUDA_SUCCESS;
    if (!find_memory(device_a, bytes) || (device_b && !find_memory(device_b, bytes)))
        return CUDA_ERROR_INVALID_VALUE;
    memmove(to, from, bytes);
    return CUDA_SUCCESS;
}

static CUresult fake_cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes)
{
    ENTER(cuMemcpyHtoD_v2);
    return copy((void *)(uintptr_t)to, from, bytes, to, 0);
}

static CUresult fake_cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes)
{
    ENTER(cuMemcpyDtoH_v2);
    return copy(to, (void *)(uintptr_t)from, bytes, from, 0);
}

static CUresult fake_cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    ENTER(cuMemcpyDtoD_v2);
    return copy((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes, from, to);
}

static CUresult fake_cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                                          CUstream stream)
{
    (void)stream;
    ENTER(cuMemcpyHtoDAsync_v2);
    return copy((void *)(uintptr_t)to, from, bytes, to, 0);
}

static CUresult fake_cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    (void)stream;
    ENTER(cuMemcpyDtoHAsync_v2);
    return copy(to, (void *)(uintptr_t)from, bytes, from, 0);
}

static CUresult fill_bytes(CUdeviceptr to, unsigned char value, size_t bytes)
{
    NEED(in_context());
    if (!find_memory(to, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    memset((void *)(uintptr_t)to, value, bytes);
    return CUDA_SUCCESS;
}

static CUresult fake_cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t bytes)
{
    ENTER(cuMemsetD8_v2);
    return fill_bytes(to, value, bytes);
}

static CUresult fake_cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes,
                                     CUstream stream)
{
    (void)stream;
    ENTER(cuMemsetD8Async);
    clock_us += fake.memset_us;
    return fill_bytes(to, value, bytes);
}

static CUresult fake_cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t words, CUstream stream)
{
    (void)stream;
    ENTER(cuMemsetD32Async);
    NEED(in_context());
    if (!find_memory(to, 4 * words))
        return CUDA_ERROR_INVALID_VALUE;
    clock_us += fake.memset_us;
    for (size_t i = 0; i < words; i++)
        memcpy((char *)(uintptr_t)to + 4 * i, &value, 4);
    return CUDA_SUCCESS;
}

static CUresult fake_cuPointerGetAttribute(void *ret_value, CUpointer_attribute attribute,
                                           CUdeviceptr memory)
{
    ENTER(cuPointerGetAttribute);
    const struct object *object = look_for_memory(memory, 0); // to ask is no misuse
    if (!object)
        return CUDA_ERROR_INVALID_VALUE;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned *)ret_value = CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *(CUdeviceptr *)ret_value = memory;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(CUdeviceptr *)ret_value = (uintptr_t)object->memory;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)ret_value = object->bytes;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

// --- Streams, events, graphs ------------------------------------------------------------------

static CUresult fake_cuStreamCreate(CUstream *ret_stream, unsigned flags)
{
    (void)flags;
    ENTER(cuStreamCreate);
    NEED(in_context());
    *ret_stream = (CUstream)create(STREAM);
    return CUDA_SUCCESS;
}

static CUresult fake_cuStreamDestroy_v2(CUstream stream)
{
    CUresult injected = enter(FN_cuStreamDestroy_v2);
    run_pending();
    return destroy(stream, STREAM, injected);
}

static CUresult fake_cuStreamSynchronize(CUstream stream)
{
    ENTER(cuStreamSynchronize);
    NEED(outside_capture());
    if (stream && !find(stream, STREAM))
        return CUDA_ERROR_INVALID_HANDLE;
    run_pending();
    return CUDA_SUCCESS;
}

static CUresult fake_cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    (void)flags;
    ENTER(cuStreamWaitEvent);
    return (!stream || find(stream, STREAM)) && find(event, EVENT) ? CUDA_SUCCESS
                                                                   : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult fake_cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *ret_status)
{
    ENTER(cuStreamIsCapturing);
    struct object *object = stream ? find(stream, STREAM) : NULL;
    if (stream && !object)
        return CUDA_ERROR_INVALID_HANDLE;
    *ret_status = object && object->capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                              : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

static CUresult fake_cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
    (void)mode;
    ENTER(cuStreamBeginCapture_v2);
    struct object *object = find(stream, STREAM);
    if (!object || capturing)
        return CUDA_ERROR_ILLEGAL_STATE;
    capturing = object->capturing = true;
    return CUDA_SUCCESS;
}

static CUresult fake_cuStreamEndCapture(CUstream stream, CUgraph *ret_graph)
{
    ENTER(cuStreamEndCapture);
    struct object *object = find(stream, STREAM);
    if (!object || !object->capturing)
        return CUDA_ERROR_ILLEGAL_STATE;
    capturing = object->capturing = false;
    *ret_graph = (CUgraph)create(GRAPH);
    return CUDA_SUCCESS;
}

static CUresult fake_cuGraphInstantiateWithFlags(CUgraphExec *ret_exec, CUgraph graph,
                                                 unsigned long long flags)
{
    (void)flags;
    ENTER(cuGraphInstantiateWithFlags);
    if (!find(graph, GRAPH))
        return CUDA_ERROR_INVALID_HANDLE;
    *ret_exec = (CUgraphExec)create(GRAPH_EXEC);
    return CUDA_SUCCESS;
}

static CUresult fake_cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
    ENTER(cuGraphLaunch);
    return find(exec, GRAPH_EXEC) && (!stream || find(stream, STREAM)) ? CUDA_SUCCESS
                                                                       : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult fake_cuGraphExecDestroy(CUgraphExec exec)
{
    return destroy(exec, GRAPH_EXEC, enter(FN_cuGraphExecDestroy));
}

static CUresult fake_cuGraphDestroy(CUgraph graph)
{
    return destroy(graph, GRAPH, enter(FN_cuGraphDestroy));
}

static CUresult fake_cuEventCreate(CUevent *ret_event, unsigned flags)
{
    (void)flags;
    ENTER(cuEventCreate);
    NEED(in_context());
    struct object *event = create(EVENT);
    event->time_us = -1;
    *ret_event = (CUevent)event;
    return CUDA_SUCCESS;
}

static CUresult fake_cuEventDestroy_v2(CUevent event)
{
    return destroy(event, EVENT, enter(FN_cuEventDestroy_v2));
}

static CUresult fake_cuEventRecord(CUevent event, CUstream stream)
{
    ENTER(cuEventRecord);
    struct object *object = find(event, EVENT);
    if (!object || (stream && !find(stream, STREAM)))
        return CUDA_ERROR_INVALID_HANDLE;
    object->time_us = clock_us;
    return CUDA_SUCCESS;
}

static CUresult fake_cuEventQuery(CUevent event)
{
    ENTER(cuEventQuery);
    return find(event, EVENT) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult fake_cuEventSynchronize(CUevent event)
{
    ENTER(cuEventSynchronize);
    run_pending();
    return find(event, EVENT) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult fake_cuEventElapsedTime(float *ret_ms, CUevent start, CUevent end)
{
    ENTER(cuEventElapsedTime);
    struct object *a = find(start, EVENT), *b = find(end, EVENT);
    if (!a || !b || a->time_us < 0 || b->time_us < 0)
        return CUDA_ERROR_INVALID_HANDLE;
    if (n_pending)
        return CUDA_ERROR_NOT_READY; // nobody waited for the stream
    *ret_ms = (float)((b->time_us - a->time_us) / 1e3);
    return CUDA_SUCCESS;
}
