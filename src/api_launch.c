// The launch path: check, bind, encode tensor maps, enqueue. No allocation, lock, query or hash.
#include <fajit/fajit.h>

#include <stdio.h>
#include <string.h>

#include "api_check.h"
#include "ctx.h"
#include "kernels/args.h"

struct fajit_tensor fajit_tensor_4d(void *data, enum fajit_dtype dtype, int64_t dim0, int64_t dim1,
                                    int64_t dim2, int64_t dim3)
{
    return (struct fajit_tensor){
        .data = data,
        .dtype = dtype,
        .ndim = 4,
        .shape = {dim0, dim1, dim2, dim3},
        .strides = {dim1 * dim2 * dim3, dim2 * dim3, dim3, 1},
    };
}

struct fajit_tensor fajit_tensor_2d(void *data, enum fajit_dtype dtype, int64_t rows, int64_t cols)
{
    return (struct fajit_tensor){
        .data = data, .dtype = dtype, .ndim = 2, .shape = {rows, cols}, .strides = {cols, 1}};
}

// DLTensor of dlpack.h 1.x: the layout is part of its ABI.
struct dl_tensor {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};

static enum fajit_dtype dl_dtype(uint8_t code, uint8_t bits, uint16_t lanes)
{
    enum { DL_FLOAT = 2, DL_BFLOAT = 4 };
    if (lanes != 1)
        return FAJIT_DTYPE_NONE;
    if (code == DL_FLOAT)
        return bits == 32 ? FAJIT_F32 : bits == 16 ? FAJIT_F16 : FAJIT_DTYPE_NONE;
    return code == DL_BFLOAT && bits == 16 ? FAJIT_BF16 : FAJIT_DTYPE_NONE;
}

int fajit_tensor_from_dlpack(const void *dl_tensor, struct fajit_tensor *ret_tensor)
{
    const struct dl_tensor *from = dl_tensor;
    if (!from || !ret_tensor)
        return fj_err(FAJIT_E_INVAL, "fajit_tensor_from_dlpack: an argument is NULL");
    if (from->ndim < 1 || from->ndim > FAJIT_MAX_DIMS)
        return fj_err(FAJIT_E_INVAL, "DLPack tensor has %d dimensions; 1 to %d are possible",
                      from->ndim, FAJIT_MAX_DIMS);
    if (!from->shape)
        return fj_err(FAJIT_E_INVAL, "DLPack tensor: its shape is NULL");
    struct fajit_tensor tensor = {
        .data = (char *)from->data + from->byte_offset,
        .dtype = dl_dtype(from->dtype.code, from->dtype.bits, from->dtype.lanes),
        .ndim = from->ndim,
    };
    if (!tensor.dtype)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "DLPack dtype code %d, %d bits, %d lanes: float32, float16 and bfloat16 of "
                      "one lane are possible",
                      from->dtype.code, from->dtype.bits, from->dtype.lanes);
    int64_t stride = 1;
    for (int i = from->ndim - 1; i >= 0; i--) {
        tensor.shape[i] = from->shape[i];
        tensor.strides[i] = from->strides ? from->strides[i] : stride;
        if (from->shape[i] < 0)
            return fj_err(FAJIT_E_INVAL, "DLPack tensor: dimension %d is %lld", i,
                          (long long)from->shape[i]);
        if (__builtin_mul_overflow(stride, from->shape[i], &stride))
            return fj_err(FAJIT_E_INVAL, "DLPack tensor: its element count overflows 63 bits");
    }
    *ret_tensor = tensor;
    return FAJIT_OK;
}

static int check_plan(const struct fajit_plan *plan, enum fajit_op op, const char *call)
{
    if (!plan)
        return fj_err(FAJIT_E_INVAL, "%s: plan is NULL", call);
    if (plan->choice.problem.op != op)
        return fj_err(FAJIT_E_INVAL, "%s: the plan is for another operation", call);
    return FAJIT_OK;
}

// Arguments in the library's terms; `ret_own` has room for either kind.
union own_args {
    struct fj_attn_args attn;
    struct fj_gemm_args gemm;
};

static int take_args(const struct fajit_plan *plan, const void *args, union own_args *ret_own)
{
    const struct fj_problem *problem = &plan->choice.problem;
    if (problem->op == FAJIT_OP_ATTN_FWD)
        return fj_attn_args_check(&problem->attn, args, &ret_own->attn);
    return fj_gemm_args_check(&problem->gemm, args, &ret_own->gemm);
}

static int check_workspace(const struct fajit_plan *plan, const char *call,
                           const union own_args *own)
{
    bool gemm = plan->choice.problem.op == FAJIT_OP_GEMM;
    size_t need = plan->choice.kernel->workspace_bytes(&plan->choice, &plan->ctx->jit.gpu, own);
    size_t given = gemm ? own->gemm.workspace_bytes : own->attn.workspace_bytes;
    const void *workspace = gemm ? own->gemm.workspace : own->attn.workspace;
    if (need == 0 || (workspace && given >= need))
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "%s: %s needs %zu bytes of workspace, %zu were given: ask "
                  "fajit_plan_workspace_bytes",
                  call, plan->kernel->name, need, workspace ? given : 0);
}

static int launch_plan(const struct fajit_plan *plan, enum fajit_op op, const char *call,
                       const void *args, void *stream)
{
    union own_args own;
    struct fj_launch launch;
    int err = check_plan(plan, op, call);
    if (err)
        return err;
    if (!plan->loaded)
        return fj_err(FAJIT_E_NO_DEVICE,
                      "%s: the plan was made to look at or compile (no device, or no_load): it "
                      "cannot be launched",
                      call);
    if (!args)
        return fj_err(FAJIT_E_INVAL, "%s: args is NULL", call);
    err = take_args(plan, args, &own);
    if (err)
        return err;
    const struct fj_jit *jit = &plan->ctx->jit;
    err = check_workspace(plan, call, &own);
    if (err)
        return err;
    // The argument bytes are written where they are used; only the head needs clearing.
    memset(&launch, 0, offsetof(struct fj_launch, args));
    err = plan->choice.kernel->bind(&plan->choice, &jit->gpu, plan->kernel->ctas_per_sm, &own,
                                    &launch);
    if (err == 0 && launch.overflow)
        err = fj_err(FAJIT_E_UNSUPPORTED, "%s: the kernel takes more arguments than a launch holds",
                     call);
    if (err == 0 && plan->ctx->check)
        err = fj_check_before(jit, call, &plan->choice.problem, &own, stream);
    if (err == 0)
        err = fj_jit_launch(jit, plan->kernel, &launch, stream);
    if (err == 0 && plan->ctx->check)
        err = fj_check_after(jit, call, plan->kernel->name, stream);
    return err;
}

int fajit_attn_launch(const struct fajit_plan *plan, const struct fajit_attn_args *args,
                      void *stream)
{
    return launch_plan(plan, FAJIT_OP_ATTN_FWD, "fajit_attn_launch", args, stream);
}

int fajit_gemm_launch(const struct fajit_plan *plan, const struct fajit_gemm_args *args,
                      void *stream)
{
    return launch_plan(plan, FAJIT_OP_GEMM, "fajit_gemm_launch", args, stream);
}

int fajit_plan_workspace_bytes(const struct fajit_plan *plan, const void *args, size_t *ret_bytes)
{
    union own_args own;
    if (!plan || !args || !ret_bytes)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_workspace_bytes: an argument is NULL");
    int err = take_args(plan, args, &own);
    if (err)
        return err;
    *ret_bytes = plan->choice.kernel->workspace_bytes(&plan->choice, &plan->ctx->jit.gpu, &own);
    return FAJIT_OK;
}
