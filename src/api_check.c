#include "api_check.h"

#include <stdlib.h>

struct checker {
    const struct fj_cuda *cuda;
    const char *call;
};

// --- Waiting ----------------------------------------------------------------------------------

// False also when another stream's capture forbids to ask.
static bool may_wait(const struct fj_cuda *cuda, CUstream stream)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    return cuda->cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS &&
           status == CU_STREAM_CAPTURE_STATUS_NONE;
}

static int wait_for(const struct fj_cuda *cuda, CUstream stream)
{
    return fj_cuda_check(cuda, cuda->cuStreamSynchronize(stream), "cuStreamSynchronize");
}

// --- Memory -----------------------------------------------------------------------------------

// The driver's word on whose memory it is; drivers of before 11.1 know no ranges.
static int check_bytes(const struct checker *c, const char *name, uintptr_t first, uintptr_t end)
{
    CUdeviceptr reached = 0, start = 0;
    size_t size = 0;
    if (!c->cuda->cuPointerGetAttribute || end == first)
        return FAJIT_OK;
    if (c->cuda->cuPointerGetAttribute(&reached, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, first))
        return fj_err(FAJIT_E_INVAL,
                      "%s: %s at 0x%llx is no memory that this device can reach: a host pointer, "
                      "another device's, or freed",
                      c->call, name, (unsigned long long)first);
    if (c->cuda->cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, first) ||
        c->cuda->cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, first))
        return FAJIT_OK;
    if (end - start <= size)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "%s: %s reaches from 0x%llx to 0x%llx, %llu bytes past the end of its "
                  "allocation (0x%llx, %zu bytes)",
                  c->call, name, (unsigned long long)first, (unsigned long long)end,
                  (unsigned long long)(end - start - size), (unsigned long long)start, size);
}

// From the lowest to the highest element that the shape and the strides reach.
static int check_view(const struct checker *c, const char *name, const struct fj_view *view,
                      size_t element_bytes)
{
    int64_t low = 0, high = 1;
    for (int i = 0; i < 4; i++) {
        if (view->shape[i] == 0)
            return FAJIT_OK;
        int64_t reach = (view->shape[i] - 1) * view->stride[i];
        if (reach < 0)
            low += reach;
        else
            high += reach;
    }
    uintptr_t data = (uintptr_t)view->data;
    return check_bytes(c, name, data + (uintptr_t)(low * (int64_t)element_bytes),
                       data + (uintptr_t)(high * (int64_t)element_bytes));
}

static int check_block(const struct checker *c, const char *name, const void *memory, size_t bytes)
{
    uintptr_t first = (uintptr_t)memory;
    return memory ? check_bytes(c, name, first, first + bytes) : FAJIT_OK;
}

// --- Lengths ----------------------------------------------------------------------------------

static int check_values(const struct checker *c, const char *name, const int32_t *lengths,
                        int64_t count, int64_t limit)
{
    for (int64_t i = 0; i < count; i++)
        if (lengths[i] < 0 || lengths[i] > limit)
            return fj_err(FAJIT_E_INVAL, "%s: %s[%lld] is %d; 0 to %lld are possible", c->call,
                          name, (long long)i, (int)lengths[i], (long long)limit);
    return FAJIT_OK;
}

static int check_lengths(const struct checker *c, const char *name, const int32_t *lengths,
                         int64_t count, int64_t limit, bool may_read)
{
    const size_t bytes = (size_t)count * sizeof(*lengths);
    if (!lengths || count <= 0)
        return FAJIT_OK;
    int err = check_block(c, name, lengths, bytes);
    if (err || !may_read)
        return err;
    int32_t *copy = malloc(bytes);
    if (!copy)
        return fj_err(FAJIT_E_NOMEM, "%s: no memory to look at %s", c->call, name);
    err = fj_cuda_check(c->cuda,
                        c->cuda->cuMemcpyDtoH_v2(copy, (CUdeviceptr)(uintptr_t)lengths, bytes),
                        "cuMemcpyDtoH");
    if (err == 0)
        err = check_values(c, name, copy, count, limit);
    free(copy);
    return err;
}

// --- Operations -------------------------------------------------------------------------------

static int check_attn(const struct checker *c, const struct fj_attn *fixed,
                      const struct fj_attn_args *args, bool may_read)
{
    const size_t bytes = fajit_dtype_bytes(fixed->dtype);
    int err = check_view(c, "q", &args->q, bytes);
    if (err == 0)
        err = check_view(c, "k", &args->k, bytes);
    if (err == 0)
        err = check_view(c, "v", &args->v, bytes);
    if (err == 0)
        err = check_view(c, "o", &args->o, bytes);
    if (err == 0 && fixed->lse)
        err = check_view(c, "lse", &args->lse, sizeof(float));
    if (err == 0)
        err = check_lengths(c, "seqlens_q", args->seqlens_q, args->q.shape[0], args->q.shape[2],
                            may_read);
    if (err == 0)
        err = check_lengths(c, "seqlens_k", args->seqlens_k, args->q.shape[0], args->k.shape[2],
                            may_read);
    return err ? err : check_block(c, "workspace", args->workspace, args->workspace_bytes);
}

static int check_gemm(const struct checker *c, const struct fj_gemm *fixed,
                      const struct fj_gemm_args *args)
{
    const size_t bytes = fajit_dtype_bytes(fixed->dtype);
    const size_t out_bytes = fajit_dtype_bytes(fixed->out_dtype);
    int err = check_view(c, "a", &args->a, bytes);
    if (err == 0)
        err = check_view(c, "b", &args->b, bytes);
    if (err == 0)
        err = check_view(c, "c", &args->c, out_bytes);
    if (err == 0)
        err = check_block(c, "bias", args->bias, (size_t)args->c.shape[2] * out_bytes);
    return err ? err : check_block(c, "workspace", args->workspace, args->workspace_bytes);
}

int fj_check_before(const struct fj_jit *jit, const char *call, const struct fj_problem *problem,
                    const void *own, void *stream)
{
    const struct fj_cuda *cuda = jit->device.cuda;
    const struct checker checker = {cuda, call};
    const bool may_read = may_wait(cuda, stream);
    CUcontext current = NULL;
    if (cuda->cuCtxGetCurrent(&current) != CUDA_SUCCESS || current != jit->device.context)
        return fj_err(FAJIT_E_INVAL,
                      "%s: the plan's CUDA context is not the calling thread's "
                      "current one",
                      call);
    int err = may_read ? wait_for(cuda, stream) : FAJIT_OK;
    if (err)
        return fj_err_context(err, "before %s, of something enqueued earlier", call);
    if (!own)
        return FAJIT_OK;
    return problem->op == FAJIT_OP_GEMM ? check_gemm(&checker, &problem->gemm, own)
                                        : check_attn(&checker, &problem->attn, own, may_read);
}

int fj_check_after(const struct fj_jit *jit, const char *call, const char *kernel_name,
                   void *stream)
{
    const struct fj_cuda *cuda = jit->device.cuda;
    int err = may_wait(cuda, stream) ? wait_for(cuda, stream) : FAJIT_OK;
    return err ? fj_err_context(err, "%s: in %s", call, kernel_name) : FAJIT_OK;
}
