#include "record.h"

#include <stdio.h>
#include <string.h>

bool check_call(const struct device *device, CUresult result, const char *call, const char *name)
{
    const char *text = "?";
    if (result == CUDA_SUCCESS)
        return true;
    device->cuda->cuGetErrorString(result, &text);
    printf("%s: %s: %d, %s\n", name, call, (int)result, text);
    return false;
}

bool load_kernel(const struct device *device, const char *ptx, const char *name, unsigned smem,
                 struct loaded *ret)
{
    char log[2048] = "";
    CUjit_option keys[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof(log)};
    const struct fj_cuda *cuda = device->cuda;
    CUresult result = cuda->cuModuleLoadDataEx(&ret->module, ptx, 2, keys, values);
    if (result != CUDA_SUCCESS) {
        printf("%s: the module was refused: %d, %s\n", name, (int)result, log);
        return false;
    }
    return check_call(device, cuda->cuModuleGetFunction(&ret->function, ret->module, "run"),
                      "cuModuleGetFunction", name) &&
           (smem == 0 || check_call(device,
                                    cuda->cuFuncSetAttribute(
                                        ret->function,
                                        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)smem),
                                    "cuFuncSetAttribute", name));
}

bool selected(const struct run *run, const char *name)
{
    return !run->only || strncmp(run->only, name, strlen(run->only)) == 0;
}

// A fault ends the context: the next case gets a new one.
void renew_context(const struct device *device)
{
    CUcontext context;
    const struct fj_cuda *cuda = device->cuda;
    if (cuda->cuCtxSynchronize() == CUDA_SUCCESS)
        return;
    cuda->cuCtxSetCurrent(NULL);
    cuda->cuDevicePrimaryCtxRelease_v2(device->ordinal);
    if (cuda->cuDevicePrimaryCtxRetain(&context, device->ordinal) == CUDA_SUCCESS)
        cuda->cuCtxSetCurrent(context);
}

void report_case(struct run *run, const char *name, struct outcome *outcome, bool ok)
{
    if (ok && !outcome->payload.failed) {
        run->visit(run->user, name, outcome);
    } else {
        run->failures++;
        renew_context(run->device);
    }
    fj_buf_free(&outcome->payload);
    fj_buf_free(&outcome->magnitude);
}
