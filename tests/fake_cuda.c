#include "fake_cuda.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct fake_state fake;

enum function {
#define FJ_CUDA_FN(name, args) FN_##name,
#define FJ_CUDA_FN_OPTIONAL(name, args) FN_##name,
#define FJ_NVRTC_FN(name, args)
#define FJ_NVRTC_FN_OPTIONAL(name, args)
#include "cuda/symbols.def"
    FN_COUNT
};

static const char *const names[FN_COUNT] = {
#define FJ_CUDA_FN(name, args) #name,
#define FJ_CUDA_FN_OPTIONAL(name, args) #name,
#define FJ_NVRTC_FN(name, args)
#define FJ_NVRTC_FN_OPTIONAL(name, args)
#include "cuda/symbols.def"
};

#define FJ_CUDA_FN(name, args) static CUresult fake_##name args;
#define FJ_CUDA_FN_OPTIONAL(name, args) static CUresult fake_##name args;
#define FJ_NVRTC_FN(name, args)
#define FJ_NVRTC_FN_OPTIONAL(name, args)
#include "cuda/symbols.def"

static const struct fj_cuda table = {
#define FJ_CUDA_FN(name, args) .name = fake_##name,
#define FJ_CUDA_FN_OPTIONAL(name, args) .name = fake_##name,
#define FJ_NVRTC_FN(name, args)
#define FJ_NVRTC_FN_OPTIONAL(name, args)
#include "cuda/symbols.def"
};

const struct fj_cuda *fake_cuda(void)
{
    return &table;
}

// --- Counts and failures ----------------------------------------------------------------------

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // over everything static below

static int calls[FN_COUNT];
static struct {
    const char *function;
    int left; // calls until it strikes; 0: disarmed
    CUresult result;
    bool struck;
} failure;

static CUresult enter(enum function function)
{
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    calls[function]++;
    if (failure.left > 0 && (!failure.function || !strcmp(failure.function, names[function])) &&
        --failure.left == 0) {
        failure.struck = true;
        result = failure.result;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

#define ENTER(name)                                                                                \
    do {                                                                                           \
        CUresult injected = enter(FN_##name);                                                      \
        if (injected != CUDA_SUCCESS)                                                              \
            return injected;                                                                       \
    } while (0)

void fake_cuda_fail(const char *function, int nth, CUresult result)
{
    failure.function = function;
    failure.left = nth;
    failure.result = result;
    failure.struck = false;
}

bool fake_cuda_failed(void)
{
    return failure.struck;
}

int fake_cuda_calls(const char *function)
{
    int sum = 0;
    for (int i = 0; i < FN_COUNT; i++) {
        if (!function || !strcmp(function, names[i]))
            sum += calls[i];
    }
    return sum;
}

// --- Objects ----------------------------------------------------------------------------------

enum kind { DEAD, CONTEXT, MODULE, FUNCTION, MEMORY, STREAM, EVENT, GRAPH, GRAPH_EXEC };

struct object {
    enum kind kind;
    bool counted; // a leak unless destroyed
    bool capturing;
    double time_us;       // of an event
    struct object *owner; // of a function: its module
    size_t bytes;
    unsigned char *memory;
    struct object *next;
};

static struct object *objects; // the dead stay until reset, so that no handle comes back
static double clock_us;
static struct object *primary, *host;
static int primary_retained;
static bool capturing;

static struct object *create(enum kind kind)
{
    struct object *object = calloc(1, sizeof(*object));
    if (!object)
        abort();
    object->kind = kind;
    object->counted = true;
    pthread_mutex_lock(&lock);
    object->next = objects;
    objects = object;
    pthread_mutex_unlock(&lock);
    return object;
}

static struct object *find(const void *handle, enum kind kind)
{
    pthread_mutex_lock(&lock);
    struct object *object = objects;
    while (object && !(object == handle && object->kind == kind))
        object = object->next;
    fake.misuses += !object;
    pthread_mutex_unlock(&lock);
    return object;
}

static CUresult destroy(const void *handle, enum kind kind, CUresult injected)
{
    struct object *object = find(handle, kind);
    if (!object)
        return CUDA_ERROR_INVALID_HANDLE;
    pthread_mutex_lock(&lock);
    object->kind = DEAD;
    pthread_mutex_unlock(&lock);
    return injected;
}

// A function goes with its module.
static void own(struct object *function, struct object *module)
{
    pthread_mutex_lock(&lock);
    function->counted = false;
    function->owner = module;
    pthread_mutex_unlock(&lock);
}

static void destroy_functions(const struct object *module)
{
    pthread_mutex_lock(&lock);
    for (struct object *object = objects; object; object = object->next) {
        if (object->kind == FUNCTION && object->owner == module)
            object->kind = DEAD;
    }
    pthread_mutex_unlock(&lock);
}

static struct object *look_for_memory(CUdeviceptr address, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)(uintptr_t)address;
    bytes += bytes == 0; // one block's end may be another's beginning
    pthread_mutex_lock(&lock);
    struct object *object = objects;
    while (object && !(object->kind == MEMORY && at >= object->memory &&
                       at + bytes <= object->memory + object->bytes))
        object = object->next;
    pthread_mutex_unlock(&lock);
    return object;
}

static struct object *find_memory(CUdeviceptr address, size_t bytes)
{
    struct object *object = look_for_memory(address, bytes);
    pthread_mutex_lock(&lock);
    fake.misuses += !object;
    pthread_mutex_unlock(&lock);
    return object;
}

int fake_cuda_live(void)
{
    int live = primary_retained;
    for (struct object *object = objects; object; object = object->next)
        live += object->kind != DEAD && object->counted;
    return live;
}

// --- Host functions wait in the stream until somebody synchronises ----------------------------

static struct {
    CUhostFn fn;
    void *user;
} pending[64];
static int n_pending;

static void run_pending(void)
{
    for (int i = 0; i < n_pending; i++)
        pending[i].fn(pending[i].user);
    n_pending = 0;
}

static CUresult fake_cuLaunchHostFunc(CUstream stream, CUhostFn fn, void *user)
{
    ENTER(cuLaunchHostFunc);
    if (!find(stream, STREAM) || n_pending == 64)
        return CUDA_ERROR_INVALID_HANDLE;
    pending[n_pending].fn = fn;
    pending[n_pending++].user = user;
    return CUDA_SUCCESS;
}

// --- Contexts ---------------------------------------------------------------------------------

static _Thread_local CUcontext stack[8]; // the current one last
static _Thread_local int depth;

CUcontext fake_cuda_host_context(void)
{
    if (!host) {
        host = create(CONTEXT);
        host->counted = false;
    }
    return (CUcontext)host;
}

void fake_cuda_reset(void)
{
    run_pending();
    while (objects) {
        struct object *next = objects->next;
        free(objects->memory);
        free(objects);
        objects = next;
    }
    memset(calls, 0, sizeof(calls));
    fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
    primary = host = NULL;
    primary_retained = depth = 0;
    capturing = false;
    clock_us = 0;
    fake = (struct fake_state){
        .gpu = {.name = "Fake GPU",
                .cc = 90,
                .sm_count = 4,
                .smem_per_block_bytes = 232448,
                .smem_per_sm_bytes = 233472,
                .smem_reserved_bytes = 1024,
                .regs_per_sm = 65536,
                .threads_per_sm = 2048,
                .blocks_per_sm = 32,
                .l2_bytes = 1 << 20,
                .memory_bytes = 1 << 30,
                .clock_khz = 1000000,
                .memory_clock_khz = 2000000,
                .memory_bus_bits = 512,
                .driver_version = 13000},
        .devices = 1,
        .registers = 64,
        .max_threads = 1024,
        .ctas_per_sm = 2,
        .kernel_us = {10},
        .n_kernel_us = 1,
        .memset_us = 100,
    };
}

static CUresult fake_cuInit(unsigned flags)
{
    (void)flags;
    ENTER(cuInit);
    return CUDA_SUCCESS;
}

static CUresult fake_cuDriverGetVersion(int *ret_version)
{
    ENTER(cuDriverGetVersion);
    *ret_version = fake.gpu.driver_version;
    return CUDA_SUCCESS;
}

static CUresult fake_cuGetErrorName(CUresult result, const char **ret_name)
{
    *ret_name = result == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
    return CUDA_SUCCESS;
}

static CUresult fake_cuGetErrorString(CUresult result, const char **ret_text)
{
    *ret_text = result == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "made up by a test";
    return CUDA_SUCCESS;
}

static CUresult fake_cuDeviceGetCount(int *ret_count)
{
    ENTER(cuDeviceGetCount);
    *ret_count = fake.devices;
    return CUDA_SUCCESS;
}

static CUresult fake_cuDeviceGet(CUdevice *ret_device, int ordinal)
{
    ENTER(cuDeviceGet);
    if (ordinal < 0 || ordinal >= fake.devices)
        return CUDA_ERROR_INVALID_DEVICE;
    *ret_device = ordinal;
    return CUDA_SUCCESS;
}

static CUresult fake_cuDeviceGetName(char *ret_name, int len, CUdevice device)
{
    (void)device;
    ENTER(cuDeviceGetName);
    strncpy(ret_name, fake.gpu.name, (size_t)len - 1);
    ret_name[len - 1] = '\0';
    return CUDA_SUCCESS;
}

static CUresult fake_cuDeviceGetAttribute(int *ret_value, CUdevice_attribute attribute,
                                          CUdevice device)
{
    const struct fj_gpu *gpu = &fake.gpu;
    const struct {
        CUdevice_attribute attribute;
        int value;
    } values[] = {
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, gpu->sm_count},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, gpu->smem_per_block_bytes},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, gpu->smem_per_sm_bytes},
        {CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, gpu->smem_reserved_bytes},
        {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, gpu->regs_per_sm},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, gpu->threads_per_sm},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, gpu->blocks_per_sm},
        {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, (int)gpu->l2_bytes},
        {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, gpu->clock_khz},
        {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, gpu->memory_clock_khz},
        {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, gpu->memory_bus_bits},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, gpu->cc / 10},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, gpu->cc % 10},
    };
    (void)device;
    ENTER(cuDeviceGetAttribute);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        if (values[i].attribute == attribute) {
            *ret_value = values[i].value;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_INVALID_VALUE;
}

static CUresult fake_cuDeviceTotalMem_v2(size_t *ret_bytes, CUdevice device)
{
    (void)device;
    ENTER(cuDeviceTotalMem_v2);
    *ret_bytes = (size_t)fake.gpu.memory_bytes;
    return CUDA_SUCCESS;
}

static CUresult fake_cuDevicePrimaryCtxRetain(CUcontext *ret_context, CUdevice device)
{
    (void)device;
    ENTER(cuDevicePrimaryCtxRetain);
    if (!primary) {
        primary = create(CONTEXT);
        primary->counted = false;
    }
    primary_retained++;
    *ret_context = (CUcontext)primary;
    return CUDA_SUCCESS;
}

static CUresult fake_cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    CUresult injected = enter(FN_cuDevicePrimaryCtxRelease_v2);
    (void)device;
    if (primary_retained == 0)
        fake.misuses++;
    else
        primary_retained--;
    return injected;
}

static CUresult fake_cuCtxGetCurrent(CUcontext *ret_context)
{
    ENTER(cuCtxGetCurrent);
    *ret_context = depth ? stack[depth - 1] : NULL;
    return CUDA_SUCCESS;
}

static CUresult fake_cuCtxSetCurrent(CUcontext context)
{
    ENTER(cuCtxSetCurrent);
    if (context && !find(context, CONTEXT))
        return CUDA_ERROR_INVALID_CONTEXT;
    depth -= depth > 0;
    if (context)
        stack[depth++] = context;
    return CUDA_SUCCESS;
}

static CUresult fake_cuCtxPushCurrent_v2(CUcontext context)
{
    ENTER(cuCtxPushCurrent_v2);
    if (!find(context, CONTEXT) || depth == 8)
        return CUDA_ERROR_INVALID_CONTEXT;
    stack[depth++] = context;
    return CUDA_SUCCESS;
}

static CUresult fake_cuCtxPopCurrent_v2(CUcontext *ret_context)
{
    ENTER(cuCtxPopCurrent_v2);
    if (!depth)
        return CUDA_ERROR_INVALID_CONTEXT;
    *ret_context = stack[--depth];
    return CUDA_SUCCESS;
}

static CUresult in_context(void)
{
    return depth ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

// What CUDA forbids while a stream captures in global mode.
static CUresult outside_capture(void)
{
    return capturing ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : in_context();
}

#define NEED(condition)                                                                            \
    do {                                                                                           \
        CUresult refused = (condition);                                                            \
        if (refused != CUDA_SUCCESS)                                                               \
            return refused;                                                                        \
    } while (0)

static CUresult fake_cuCtxGetDevice(CUdevice *ret_device)
{
    ENTER(cuCtxGetDevice);
    NEED(in_context());
    *ret_device = 0;
    return CUDA_SUCCESS;
}

static CUresult fake_cuCtxSynchronize(void)
{
    ENTER(cuCtxSynchronize);
    NEED(outside_capture());
    run_pending();
    return CUDA_SUCCESS;
}

#include "fake_cuda_work.h"
