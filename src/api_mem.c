// Device memory and timing for hosts without CUDA code of their own.
#include <fajit/fajit.h>

#include <stdint.h>

#include "ctx.h"
#include "cuda/timing.h"

// The context's CUDA context made current; leave() restores the caller's.
struct scope {
    const struct fj_device *device;
    const struct fj_cuda *cuda;
    CUcontext previous;
};

static int enter(struct fajit_ctx *ctx, const char *call, struct scope *ret_scope)
{
    if (!ctx)
        return fj_err(FAJIT_E_INVAL, "%s: ctx is NULL", call);
    if (!ctx->jit.has_device)
        return fj_err(FAJIT_E_NO_DEVICE, "%s: this context has no device", call);
    ret_scope->device = &ctx->jit.device;
    ret_scope->cuda = ctx->jit.device.cuda;
    return fj_device_enter(ret_scope->device, &ret_scope->previous);
}

// Restores the caller's context; passes the driver's answer on as a status.
static int leave(const struct scope *scope, CUresult result, const char *call)
{
    int err = fj_cuda_check(scope->cuda, result, call);
    fj_device_leave(scope->device, scope->previous);
    return err;
}

int fajit_ctx_make_current(struct fajit_ctx *ctx)
{
    struct scope scope;
    int err = enter(ctx, "fajit_ctx_make_current", &scope);
    if (err)
        return err;
    CUresult result = scope.cuda->cuCtxSetCurrent(scope.device->context);
    if (result == CUDA_SUCCESS)
        atomic_store(&ctx->made_current, true);
    return fj_cuda_check(scope.cuda, result, "cuCtxSetCurrent");
}

static CUdeviceptr address(const void *memory)
{
    return (CUdeviceptr)(uintptr_t)memory;
}

static int need(const void *pointer, const char *call, const char *name)
{
    return pointer ? FAJIT_OK : fj_err(FAJIT_E_INVAL, "%s: %s is NULL", call, name);
}

int fajit_mem_alloc(struct fajit_ctx *ctx, size_t bytes, void **ret_memory)
{
    struct scope scope;
    CUdeviceptr memory = 0;
    int err = need(ret_memory, "fajit_mem_alloc", "ret_memory");
    if (err == 0 && bytes == 0)
        err = fj_err(FAJIT_E_INVAL, "fajit_mem_alloc: 0 bytes asked for");
    if (err == 0)
        err = enter(ctx, "fajit_mem_alloc", &scope);
    if (err)
        return err;
    err = leave(&scope, scope.cuda->cuMemAlloc_v2(&memory, bytes), "cuMemAlloc");
    if (err == 0)
        *ret_memory = (void *)(uintptr_t)memory;
    return err;
}

int fajit_mem_free(struct fajit_ctx *ctx, void *memory)
{
    struct scope scope;
    int err = enter(ctx, "fajit_mem_free", &scope);
    if (err)
        return err;
    CUresult result = memory ? scope.cuda->cuMemFree_v2(address(memory)) : CUDA_SUCCESS;
    return leave(&scope, result, "cuMemFree");
}

int fajit_mem_upload(struct fajit_ctx *ctx, void *device, const void *host, size_t bytes)
{
    struct scope scope;
    int err = need(device, "fajit_mem_upload", "device");
    if (err == 0)
        err = need(host, "fajit_mem_upload", "host");
    if (err == 0)
        err = enter(ctx, "fajit_mem_upload", &scope);
    if (err)
        return err;
    CUresult result =
        bytes ? scope.cuda->cuMemcpyHtoD_v2(address(device), host, bytes) : CUDA_SUCCESS;
    return leave(&scope, result, "cuMemcpyHtoD");
}

int fajit_mem_download(struct fajit_ctx *ctx, void *host, const void *device, size_t bytes)
{
    struct scope scope;
    int err = need(device, "fajit_mem_download", "device");
    if (err == 0)
        err = need(host, "fajit_mem_download", "host");
    if (err == 0)
        err = enter(ctx, "fajit_mem_download", &scope);
    if (err)
        return err;
    CUresult result =
        bytes ? scope.cuda->cuMemcpyDtoH_v2(host, address(device), bytes) : CUDA_SUCCESS;
    return leave(&scope, result, "cuMemcpyDtoH");
}

int fajit_mem_fill(struct fajit_ctx *ctx, void *device, uint8_t value, size_t bytes)
{
    struct scope scope;
    int err = need(device, "fajit_mem_fill", "device");
    if (err == 0)
        err = enter(ctx, "fajit_mem_fill", &scope);
    if (err)
        return err;
    CUresult result =
        bytes ? scope.cuda->cuMemsetD8_v2(address(device), value, bytes) : CUDA_SUCCESS;
    return leave(&scope, result, "cuMemsetD8");
}

int fajit_sync(struct fajit_ctx *ctx)
{
    struct scope scope;
    int err = enter(ctx, "fajit_sync", &scope);
    return err ? err : leave(&scope, scope.cuda->cuCtxSynchronize(), "cuCtxSynchronize");
}

struct timed_launch {
    const struct fajit_plan *plan;
    const void *args;
};

static int launch_once(void *user, CUstream stream)
{
    const struct timed_launch *timed = user;
    if (timed->plan->choice.problem.op == FAJIT_OP_GEMM)
        return fajit_gemm_launch(timed->plan, timed->args, stream);
    return fajit_attn_launch(timed->plan, timed->args, stream);
}

int fajit_plan_time(struct fajit_plan *plan, const void *args,
                    const struct fajit_time_params *params, struct fajit_time *ret_time)
{
    struct fajit_time_params known = {.struct_size = sizeof(known)};
    struct scope scope;
    if (!plan || !args || !ret_time)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_time: an argument is NULL");
    int err = params ? fj_take_struct("fajit_time_params", params, &known, sizeof(known)) : 0;
    if (err == 0)
        err = enter(plan->ctx, "fajit_plan_time", &scope);
    if (err)
        return err;
    struct timed_launch timed = {plan, args};
    const struct fj_timing_params timing = {
        .repeats = known.repeats > 0 ? known.repeats : 20,
        .warmups = known.warmups > 0 ? known.warmups : 3,
        .flush_l2 = !known.keep_l2,
    };
    struct fj_timing result;
    err = fj_time_launches(scope.device, launch_once, &timed, &timing, &result);
    fj_device_leave(scope.device, scope.previous);
    if (err)
        return err;
    const struct fajit_time time = {
        .median_us = result.median_us,
        .p25_us = result.p25_us,
        .p75_us = result.p75_us,
        .min_us = result.min_us,
        .repeats = result.repeats,
    };
    return fj_give_struct("fajit_time", &time, sizeof(time), ret_time);
}
