#include "cuda/loader.h"

struct meaning {
    CUresult result;
    int status;
    const char *advice; // may be ""
};

// After one of the CONTEXT_LOST results every call on the context fails: the driver calls them
// sticky (cuda.h: "the process must be terminated and relaunched").
static const struct meaning meanings[] = {
    {CUDA_ERROR_OUT_OF_MEMORY, FAJIT_E_NOMEM, "; free device memory or use a smaller problem"},
    {CUDA_ERROR_DEVICE_UNAVAILABLE, FAJIT_E_NO_DEVICE,
     "; the GPU was taken away, or is held by another process alone"},
    {CUDA_ERROR_NO_DEVICE, FAJIT_E_NO_DEVICE,
     "; check nvidia-smi and CUDA_VISIBLE_DEVICES, or ask for FAJIT_DEVICE=emu"},
    {CUDA_ERROR_INVALID_DEVICE, FAJIT_E_NO_DEVICE, "; the ordinal is not a GPU of this machine"},
    {CUDA_ERROR_STUB_LIBRARY, FAJIT_E_NO_DEVICE,
     "; the toolkit's stub was loaded: take its stubs directory off LD_LIBRARY_PATH"},
    {CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, FAJIT_E_NO_DEVICE,
     "; libcuda and the kernel module differ: reboot, or reinstall the driver"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, FAJIT_E_CUDA, "; the kernel was compiled for another GPU"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, FAJIT_E_CAPTURE, "; end the stream capture first"},
    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, FAJIT_E_CAPTURE, "; end the stream capture first"},
    {CUDA_ERROR_ECC_UNCORRECTABLE, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_CONTAINED, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_ILLEGAL_ADDRESS, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_LAUNCH_TIMEOUT, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_CONTEXT_IS_DESTROYED, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_ASSERT, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_HARDWARE_STACK_ERROR, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_ILLEGAL_INSTRUCTION, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_MISALIGNED_ADDRESS, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_INVALID_ADDRESS_SPACE, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_INVALID_PC, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_LAUNCH_FAILED, FAJIT_E_CONTEXT_LOST, ""},
    {CUDA_ERROR_TENSOR_MEMORY_LEAK, FAJIT_E_CONTEXT_LOST, ""},
};

int fj_cuda_check(const struct fj_cuda *cuda, CUresult result, const char *call)
{
    if (result == CUDA_SUCCESS)
        return FAJIT_OK;
    const char *name = NULL, *text = NULL;
    if (cuda->cuGetErrorName(result, &name) != CUDA_SUCCESS || !name)
        name = "an error this driver has no name for";
    if (cuda->cuGetErrorString(result, &text) != CUDA_SUCCESS || !text)
        text = "no description";
    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++) {
        const struct meaning *meaning = &meanings[i];
        if (meaning->result != result)
            continue;
        const char *advice = meaning->status == FAJIT_E_CONTEXT_LOST
                                 ? "; the CUDA context is unusable from here on, destroy it"
                                 : meaning->advice;
        return fj_err(meaning->status, "%s: %s (%d): %s%s", call, name, (int)result, text, advice);
    }
    return fj_err(FAJIT_E_CUDA, "%s: %s (%d): %s", call, name, (int)result, text);
}
