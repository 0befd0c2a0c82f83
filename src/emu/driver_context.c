// Primary contexts, and each thread's stack of current ones.
#include "emu/driver.h"

#include "emu/memory.h"

#define STACK_DEPTH 64

static fj_mutex lock = FJ_MUTEX_INIT;
static struct CUctx_st primary[FJ_EMU_MAX_DEVICES];

static _Thread_local struct {
    CUcontext at[STACK_DEPTH];
    int depth;
} stack;

static CUcontext current(void)
{
    return stack.depth ? stack.at[stack.depth - 1] : NULL;
}

static CUresult check(CUcontext context)
{
    if (!fj_emu_ready())
        return fj_emu_fail(CUDA_ERROR_NOT_INITIALIZED, "cuInit was not called");
    if (!context)
        return fj_emu_fail(CUDA_ERROR_INVALID_CONTEXT, "the thread has no current context");
    if (context->magic != FJ_EMU_MAGIC_CONTEXT)
        return fj_emu_fail(CUDA_ERROR_INVALID_CONTEXT, "the handle is no context");
    if (__atomic_load_n(&context->references, __ATOMIC_ACQUIRE) == 0)
        return fj_emu_fail(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the primary context was released");
    return CUDA_SUCCESS;
}

CUresult fj_emu_enter(CUcontext *ret_context)
{
    CUcontext context = current();
    CUresult result = check(context);
    if (result != CUDA_SUCCESS)
        return result;
    *ret_context = context;
    // As on hardware a fault ends the context: every later call reports it.
    return atomic_load(&context->broken);
}

CUresult fj_emu_cuDevicePrimaryCtxRetain(CUcontext *ret_context, CUdevice device)
{
    const struct fj_gpu *gpu = fj_emu_device(device);
    if (!fj_emu_ready())
        return fj_emu_fail(CUDA_ERROR_NOT_INITIALIZED, "cuInit was not called");
    if (!gpu || device >= FJ_EMU_MAX_DEVICES)
        return fj_emu_fail(CUDA_ERROR_INVALID_DEVICE, "device %d does not exist", device);
    if (!ret_context)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    struct CUctx_st *context = &primary[device];
    if (context->references == 0) {
        context->magic = FJ_EMU_MAGIC_CONTEXT;
        context->device = device;
        context->gpu = gpu;
        context->settings = (struct fj_emu_settings){0};
        atomic_store(&context->broken, CUDA_SUCCESS);
    }
    __atomic_add_fetch(&context->references, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    *ret_context = context;
    return CUDA_SUCCESS;
}

static void tear_down(struct CUctx_st *context)
{
    while (context->modules) {
        CUmodule module = context->modules;
        context->modules = module->next;
        fj_emu_module_destroy(module);
    }
    fj_emu_mem_free_all(context);
    atomic_store(&context->memory_used, 0);
}

CUresult fj_emu_cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    if (!fj_emu_device(device) || device >= FJ_EMU_MAX_DEVICES)
        return fj_emu_fail(CUDA_ERROR_INVALID_DEVICE, "device %d does not exist", device);
    pthread_mutex_lock(&lock);
    struct CUctx_st *context = &primary[device];
    CUresult result = CUDA_SUCCESS;
    if (context->references == 0)
        result = fj_emu_fail(CUDA_ERROR_INVALID_CONTEXT, "the primary context is not retained");
    else if (__atomic_sub_fetch(&context->references, 1, __ATOMIC_RELEASE) == 0)
        tear_down(context);
    pthread_mutex_unlock(&lock);
    return result;
}

void fj_emu_context_own(CUcontext context, CUmodule module)
{
    pthread_mutex_lock(&lock);
    module->next = context->modules;
    context->modules = module;
    pthread_mutex_unlock(&lock);
}

bool fj_emu_context_disown(CUcontext context, CUmodule module)
{
    pthread_mutex_lock(&lock);
    struct CUmod_st **at = &context->modules;
    while (*at && *at != module)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found)
        *at = module->next;
    pthread_mutex_unlock(&lock);
    return found;
}

CUresult fj_emu_cuCtxGetCurrent(CUcontext *ret_context)
{
    if (!ret_context)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_context = current();
    return CUDA_SUCCESS;
}

// Replaces the top of the stack; NULL takes it away.
CUresult fj_emu_cuCtxSetCurrent(CUcontext context)
{
    if (!context) {
        stack.depth -= stack.depth > 0;
        return CUDA_SUCCESS;
    }
    CUresult result = check(context);
    if (result != CUDA_SUCCESS)
        return result;
    if (stack.depth == 0)
        stack.depth = 1;
    stack.at[stack.depth - 1] = context;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuCtxPushCurrent_v2(CUcontext context)
{
    CUresult result = check(context);
    if (result != CUDA_SUCCESS)
        return result;
    if (stack.depth == STACK_DEPTH)
        return fj_emu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%d contexts are pushed", STACK_DEPTH);
    stack.at[stack.depth++] = context;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuCtxPopCurrent_v2(CUcontext *ret_context)
{
    if (stack.depth == 0)
        return fj_emu_fail(CUDA_ERROR_INVALID_CONTEXT, "the thread has no current context");
    stack.depth--;
    if (ret_context)
        *ret_context = stack.at[stack.depth];
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuCtxGetDevice(CUdevice *ret_device)
{
    CUresult result = check(current());
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_device)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_device = current()->device;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuCtxSynchronize(void)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    return result == CUDA_SUCCESS ? fj_emu_unsafe_call("cuCtxSynchronize") : result;
}

// Settings of the host.

static struct fj_emu_settings *settings(CUcontext context)
{
    static struct fj_emu_settings nobody;
    return context && context->magic == FJ_EMU_MAGIC_CONTEXT ? &context->settings : &nobody;
}

void fj_emu_set_check(CUcontext context, bool on)
{
    bool any = false;
    settings(context)->check = on;
    for (int i = 0; i < FJ_EMU_MAX_DEVICES; i++)
        any = any || (primary[i].references && primary[i].settings.check);
    fj_emu_mem_track(any);
}

// Of one thread: launches of others go on unseen, and none outlives what it points to.
static _Thread_local struct {
    CUcontext context;
    struct fj_emu_counts *counts;
    const struct fj_emu_tracer *tracer;
} observers;

static void observe(CUcontext context)
{
    if (observers.context == context)
        return;
    observers.context = context;
    observers.counts = NULL;
    observers.tracer = NULL;
}

void fj_emu_set_counts(CUcontext context, struct fj_emu_counts *counts)
{
    observe(context);
    observers.counts = counts;
}

void fj_emu_set_tracer(CUcontext context, const struct fj_emu_tracer *tracer)
{
    observe(context);
    observers.tracer = tracer;
}

void fj_emu_observers(CUcontext context, struct fj_emu_counts **ret_counts,
                      const struct fj_emu_tracer **ret_tracer)
{
    const bool here = observers.context == context;
    *ret_counts = here ? observers.counts : NULL;
    *ret_tracer = here ? observers.tracer : NULL;
}

void fj_emu_set_limits(CUcontext context, int threads, uint64_t budget)
{
    settings(context)->threads = threads;
    settings(context)->budget = budget;
}
