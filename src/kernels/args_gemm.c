#include <math.h>

#include "kernels/abi.h"
#include "kernels/tensor.h"

#define WORKSPACE_ALIGN 16

enum scope { SCOPE_LAUNCH, SCOPE_INPUTS };

static int natural_align(enum fajit_dtype dtype)
{
    return dtype == FAJIT_F32 ? 4 : 2;
}

// A matrix, or a batch of them, as (batch, rows, columns, 1).
static int take_matrix(const struct fajit_tensor *tensor, const struct fj_tensor_rule *rule,
                       struct fj_view *ret_view)
{
    if (tensor->ndim != 2 && tensor->ndim != 3) {
        return fj_err(FAJIT_E_INVAL,
                      "%s has %d dimensions; it is (rows, columns) or (batch, rows, columns)",
                      rule->name, tensor->ndim);
    }
    int r = fj_tensor_check(tensor, rule);
    if (r < 0)
        return r;
    int row = tensor->ndim - 2;
    fj_view_dim(ret_view, 0, row ? tensor->shape[0] : 1, row ? tensor->strides[0] : 0);
    fj_view_dim(ret_view, 1, tensor->shape[row], tensor->strides[row]);
    fj_view_dim(ret_view, 2, tensor->shape[row + 1], 1);
    fj_view_dim(ret_view, 3, 1, 0);
    ret_view->stride[2] = 1;
    ret_view->data = tensor->data;
    return FAJIT_OK;
}

static int agree(const char *what, int64_t size, const char *name, int64_t other,
                 const char *other_name)
{
    if (size == other)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL, "%s is %lld by %s and %lld by %s", what, (long long)size, name,
                  (long long)other, other_name);
}

static int take_inputs(const struct fj_gemm *fixed, const struct fajit_gemm_args *from, int align,
                       struct fj_gemm_args *args)
{
    const struct fj_tensor_rule a = {"a", fixed->dtype, align, false};
    const struct fj_tensor_rule b = {"b", fixed->dtype, align, false};
    int r = take_matrix(&from->a, &a, &args->a);
    if (r == FAJIT_OK)
        r = take_matrix(&from->b, &b, &args->b);
    if (r == FAJIT_OK)
        r = agree("batch", args->a.shape[0], "a", args->b.shape[0], "b");
    if (r == FAJIT_OK) {
        r = agree("k", args->a.shape[fixed->trans_a ? 1 : 2], "a",
                  args->b.shape[fixed->trans_b ? 2 : 1], "b");
    }
    return r;
}

static int take_c(const struct fj_gemm *fixed, const struct fajit_gemm_args *from, int align,
                  struct fj_gemm_args *args)
{
    const struct fj_tensor_rule rule = {"c", fixed->out_dtype, align, true};
    int r = take_matrix(&from->c, &rule, &args->c);
    if (r == FAJIT_OK)
        r = agree("batch", args->c.shape[0], "c", args->a.shape[0], "a");
    if (r == FAJIT_OK)
        r = agree("m", args->c.shape[1], "c", args->a.shape[fixed->trans_a ? 2 : 1], "a");
    if (r == FAJIT_OK)
        r = agree("n", args->c.shape[2], "c", args->b.shape[fixed->trans_b ? 1 : 2], "b");
    if (r < 0)
        return r;
    bool a = fj_tensor_overlap(&from->c, &from->a);
    if (!a && !fj_tensor_overlap(&from->c, &from->b))
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "c overlaps %s; kernels read inputs after they have begun to write: give c "
                  "memory of its own",
                  a ? "a" : "b");
}

// alpha, beta and the bias vector.
static int take_epilogue(const struct fj_gemm *fixed, const struct fajit_gemm_args *from, int align,
                         struct fj_gemm_args *args)
{
    args->alpha = from->alpha == 0 && !from->use_alpha ? 1 : from->alpha;
    args->beta = from->beta;
    args->bias = from->bias;
    if (!isfinite(args->alpha) || !isfinite(args->beta))
        return fj_err(FAJIT_E_INVAL, "alpha or beta is not finite");
    if (args->beta != 0 && !fixed->beta)
        return fj_err(FAJIT_E_INVAL, "beta is not 0, and the plan does not read c; plan with beta");
    bool no_columns = args->b.shape[fixed->trans_b ? 1 : 2] == 0;
    return fj_pointer_check("bias", "bias", from->bias, fixed->bias, no_columns, align);
}

static int take_launch(const struct fj_gemm *fixed, const struct fajit_gemm_args *from,
                       struct fj_gemm_args *args)
{
    int natural = natural_align(fixed->out_dtype);
    int align = fixed->align_bytes > natural ? fixed->align_bytes : natural;
    int r = take_inputs(fixed, from, fixed->align_bytes, args);
    if (r == FAJIT_OK)
        r = take_c(fixed, from, align, args);
    if (r == FAJIT_OK)
        r = take_epilogue(fixed, from, align, args);
    if (r < 0)
        return r;
    args->workspace = from->workspace;
    args->workspace_bytes = from->workspace_bytes;
    return fj_pointer_check("workspace", "a workspace", from->workspace, true, true,
                            WORKSPACE_ALIGN);
}

static int take_host(const struct fj_gemm *fixed, const struct fajit_gemm_args *from,
                     struct fj_gemm_args *args)
{
    int natural = natural_align(fixed->out_dtype);
    int r = take_inputs(fixed, from, natural_align(fixed->dtype), args);
    if (r == FAJIT_OK && fixed->beta)
        r = take_c(fixed, from, natural, args);
    return r == FAJIT_OK ? take_epilogue(fixed, from, natural, args) : r;
}

static int check(const struct fj_gemm *fixed, const struct fajit_gemm_args *from, enum scope scope,
                 struct fj_gemm_args *ret_args)
{
    struct fajit_gemm_args read;
    struct fj_gemm_args args = {0};
    if (!from)
        return fj_err(FAJIT_E_INVAL, "the matmul arguments are NULL");
    if (from->struct_size != sizeof(*from)) {
        if (from->struct_size < offsetof(struct fajit_gemm_args, bias) ||
            from->struct_size > 65536) {
            return fj_err(FAJIT_E_INVAL,
                          "struct_size of the matmul arguments is %zu; set it to sizeof(struct "
                          "fajit_gemm_args), %zu",
                          from->struct_size, sizeof(*from));
        }
        int r = fj_abi_read("fajit_gemm_args", from, from->struct_size, sizeof(read), &read);
        if (r < 0)
            return r;
        from = &read;
    }
    int r = scope == SCOPE_LAUNCH ? take_launch(fixed, from, &args) : take_host(fixed, from, &args);
    if (r == FAJIT_OK)
        *ret_args = args;
    return r;
}

int fj_gemm_args_check(const struct fj_gemm *fixed, const struct fajit_gemm_args *from,
                       struct fj_gemm_args *ret_args)
{
    return check(fixed, from, SCOPE_LAUNCH, ret_args);
}

int fj_gemm_inputs_check(const struct fj_gemm *fixed, const struct fajit_gemm_args *from,
                         struct fj_gemm_args *ret_args)
{
    return check(fixed, from, SCOPE_INPUTS, ret_args);
}
