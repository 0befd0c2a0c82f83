#include <math.h>

#include "kernels/abi.h"
#include "kernels/tensor.h"

#define WORKSPACE_ALIGN 16

// Where a tensor's dimensions come from in (batch, heads, seq, dim) order, for the 4-D layouts.
static const signed char dims_of[][4] = {
    [FAJIT_BSHD] = {0, 2, 1, 3},
    [FAJIT_BHSD] = {0, 1, 2, 3},
};

static const char *const dim_names[4] = {"batch", "head count", "length", "head dim"};

// What is looked at: everything on the device; on the host only what is read.
enum scope { SCOPE_LAUNCH, SCOPE_INPUTS };

static int check_ndim(const struct fajit_tensor *tensor, const char *name, int ndim)
{
    if (tensor->ndim == ndim)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL, "%s has %d dimensions; the plan's layout has %d", name,
                  tensor->ndim, ndim);
}

// Stride of the batch when heads and batch share a dimension. Unsigned, for a tensor without
// elements may have any stride.
static int64_t batch_stride(int64_t batch, int64_t heads, int64_t head_stride)
{
    return batch > 1 ? (int64_t)((uint64_t)heads * (uint64_t)head_stride) : 0;
}

// (batch * heads, seq, dim). `heads` 0: unknown, so that all of the first dimension is batch.
static int view_3d(const struct fajit_tensor *tensor, const char *name, int64_t heads,
                   struct fj_view *ret_view)
{
    int64_t n = tensor->shape[0], stride = tensor->strides[0];
    if (heads == 0)
        heads = 1;
    if (n % heads != 0) {
        return fj_err(
            FAJIT_E_INVAL,
            "%s: its first dimension is %lld, batch times heads; the plan has %lld heads, "
            "which do not divide it",
            name, (long long)n, (long long)heads);
    }
    fj_view_dim(ret_view, 0, n / heads, batch_stride(n / heads, heads, stride));
    fj_view_dim(ret_view, 1, heads, stride);
    fj_view_dim(ret_view, 2, tensor->shape[1], tensor->strides[1]);
    fj_view_dim(ret_view, 3, tensor->shape[2], 1);
    return FAJIT_OK;
}

// One of Q, K, V, O as (batch, heads, seq, dim).
static int take_tensor(const struct fj_attn *fixed, const struct fajit_tensor *tensor,
                       const struct fj_tensor_rule *rule, int64_t heads, struct fj_view *ret_view)
{
    bool flat = fixed->layout == FAJIT_NSD;
    int r = check_ndim(tensor, rule->name, flat ? 3 : 4);
    if (r == FAJIT_OK)
        r = fj_tensor_check(tensor, rule);
    if (r < 0)
        return r;
    ret_view->data = tensor->data;
    if (flat) {
        r = view_3d(tensor, rule->name, heads, ret_view);
    } else {
        for (int i = 0; i < 4; i++) {
            int from = dims_of[fixed->layout][i];
            fj_view_dim(ret_view, i, tensor->shape[from], tensor->strides[from]);
        }
    }
    ret_view->stride[3] = 1;
    return r;
}

// Dimension `dim` of `name` equals the one of `other`.
static int agree(const struct fj_view *view, const char *name, int dim, int64_t size,
                 const char *other)
{
    if (view->shape[dim] == size)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL, "%s has %s %lld; %s has %lld", name, dim_names[dim],
                  (long long)view->shape[dim], other, (long long)size);
}

// All of batch, heads, seq of `view` equal those of `other`, and its dim is the plan's.
static int agree_all(const struct fj_view *view, const char *name, const struct fj_view *other,
                     const char *other_name, int head_dim)
{
    for (int dim = 0; dim < 3; dim++) {
        int r = agree(view, name, dim, other->shape[dim], other_name);
        if (r < 0)
            return r;
    }
    return agree(view, name, 3, head_dim, "the plan");
}

static int check_inputs_agree(const struct fj_attn *fixed, const struct fj_attn_args *args)
{
    int64_t heads_q = args->q.shape[1], heads_kv = args->k.shape[1];
    int r = agree(&args->q, "q", 3, fixed->head_dim, "the plan");
    if (r == FAJIT_OK)
        r = agree(&args->k, "k", 3, fixed->head_dim, "the plan");
    if (r == FAJIT_OK)
        r = agree(&args->k, "k", 0, args->q.shape[0], "q");
    if (r == FAJIT_OK)
        r = agree_all(&args->v, "v", &args->k, "k", fixed->head_dim_v);
    if (r < 0)
        return r;
    if (heads_q < 1 || heads_kv < 1 || heads_q % heads_kv != 0) {
        return fj_err(
            FAJIT_E_INVAL,
            "q has %lld heads, k has %lld; both have to be at least 1, and q's a multiple "
            "of k's",
            (long long)heads_q, (long long)heads_kv);
    }
    // Kernels number (batch, head) pairs in int32.
    if (args->q.shape[0] > FJ_DIM_MAX / heads_q) {
        return fj_err(FAJIT_E_INVAL, "batch %lld times %lld heads is past %lld",
                      (long long)args->q.shape[0], (long long)heads_q, (long long)FJ_DIM_MAX);
    }
    return FAJIT_OK;
}

static int take_inputs(const struct fj_attn *fixed, const struct fajit_attn_args *from, int align,
                       struct fj_attn_args *args)
{
    const struct fj_tensor_rule q = {"q", fixed->dtype, align, false};
    const struct fj_tensor_rule k = {"k", fixed->dtype, align, false};
    const struct fj_tensor_rule v = {"v", fixed->dtype, align, false};
    int r = take_tensor(fixed, &from->q, &q, fixed->heads_q, &args->q);
    if (r == FAJIT_OK)
        r = take_tensor(fixed, &from->k, &k, fixed->heads_kv, &args->k);
    if (r == FAJIT_OK)
        r = take_tensor(fixed, &from->v, &v, fixed->heads_kv, &args->v);
    if (r == FAJIT_OK)
        r = check_inputs_agree(fixed, args);
    return r;
}

static int take_lengths(const struct fj_attn *fixed, const struct fajit_attn_args *from,
                        struct fj_attn_args *args)
{
    bool no_batch = args->q.shape[0] == 0;
    int r = fj_pointer_check("seqlens_q", "seqlens=q", from->seqlens_q, fixed->seqlens_q, no_batch,
                             (int)sizeof(int32_t));
    if (r == FAJIT_OK) {
        r = fj_pointer_check("seqlens_k", "seqlens=k", from->seqlens_k, fixed->seqlens_k, no_batch,
                             (int)sizeof(int32_t));
    }
    args->seqlens_q = from->seqlens_q;
    args->seqlens_k = from->seqlens_k;
    return r;
}

static int take_scale(const struct fj_attn *fixed, float scale, struct fj_attn_args *args)
{
    if (!isfinite(scale))
        return fj_err(FAJIT_E_INVAL, "scale is not finite; 0 means the plan's");
    args->scale = scale != 0 ? scale : fixed->scale;
    return FAJIT_OK;
}

static int refuse_overlap(const struct fajit_tensor *output, const char *name,
                          const struct fajit_attn_args *from)
{
    const struct fajit_tensor *const inputs[] = {&from->q, &from->k, &from->v};
    for (int i = 0; i < 3; i++) {
        if (fj_tensor_overlap(output, inputs[i]))
            return fj_err(FAJIT_E_INVAL,
                          "%s overlaps %c; kernels read inputs after they have begun to write: "
                          "give %s memory of its own",
                          name, "qkv"[i], name);
    }
    return FAJIT_OK;
}

static int take_output(const struct fj_attn *fixed, const struct fajit_attn_args *from,
                       struct fj_attn_args *args)
{
    const struct fj_tensor_rule rule = {"o", fixed->dtype, fixed->align_bytes, true};
    int r = take_tensor(fixed, &from->o, &rule, fixed->heads_q, &args->o);
    if (r == FAJIT_OK)
        r = agree_all(&args->o, "o", &args->q, "q", fixed->head_dim_v);
    if (r < 0)
        return r;
    return refuse_overlap(&from->o, "o", from);
}

// (batch, heads, seq), or (batch * heads, seq).
static int view_lse(const struct fajit_tensor *tensor, const struct fj_view *q,
                    struct fj_view *ret_view)
{
    const int64_t batch = q->shape[0], heads = q->shape[1], length = q->shape[2];
    const int64_t *shape = tensor->shape, *stride = tensor->strides;
    bool fits = tensor->ndim == 3 ? shape[0] == batch && shape[1] == heads && shape[2] == length
                                  : shape[0] == batch * heads && shape[1] == length;
    if (!fits) {
        return fj_err(FAJIT_E_INVAL,
                      "lse: its sizes are not q's; it is (%lld, %lld, %lld), or (%lld, %lld)",
                      (long long)batch, (long long)heads, (long long)length,
                      (long long)(batch * heads), (long long)length);
    }
    int64_t head_stride = stride[tensor->ndim - 2];
    bool flat = tensor->ndim == 2;
    fj_view_dim(ret_view, 0, batch, flat ? batch_stride(batch, heads, head_stride) : stride[0]);
    fj_view_dim(ret_view, 1, heads, head_stride);
    fj_view_dim(ret_view, 2, length, 1);
    fj_view_dim(ret_view, 3, 1, 0);
    ret_view->stride[2] = 1;
    ret_view->data = tensor->data;
    return FAJIT_OK;
}

static int take_lse(const struct fj_attn *fixed, const struct fajit_attn_args *from,
                    struct fj_attn_args *args)
{
    const struct fj_tensor_rule rule = {"lse", FAJIT_F32, (int)sizeof(float), true};
    const struct fajit_tensor *lse = &from->lse;
    int r = fj_pointer_check("lse", "lse", lse->data, fixed->lse, fj_tensor_is_empty(&from->q),
                             rule.align_bytes);
    if (r < 0 || !lse->data)
        return r;
    if (lse->ndim != 2 && lse->ndim != 3) {
        return fj_err(FAJIT_E_INVAL,
                      "lse has %d dimensions; it is (batch, heads_q, seq_q) or (batch * heads_q, "
                      "seq_q)",
                      lse->ndim);
    }
    r = fj_tensor_check(lse, &rule);
    if (r == FAJIT_OK)
        r = view_lse(lse, &args->q, &args->lse);
    if (r == FAJIT_OK && fj_tensor_overlap(lse, &from->o))
        r = fj_err(FAJIT_E_INVAL, "lse overlaps o; give it memory of its own");
    return r == FAJIT_OK ? refuse_overlap(lse, "lse", from) : r;
}

static int take_workspace(const struct fajit_attn_args *from, struct fj_attn_args *args)
{
    args->workspace = from->workspace;
    args->workspace_bytes = from->workspace_bytes;
    return fj_pointer_check("workspace", "a workspace", from->workspace, true, true,
                            WORKSPACE_ALIGN);
}

static int take_args(const struct fj_attn *fixed, const struct fajit_attn_args *from,
                     enum scope scope, struct fj_attn_args *ret_args)
{
    struct fj_attn_args args = {0};
    int natural = fixed->dtype == FAJIT_F32 ? 4 : 2;
    int r = take_inputs(fixed, from, scope == SCOPE_LAUNCH ? fixed->align_bytes : natural, &args);
    if (r == FAJIT_OK)
        r = take_lengths(fixed, from, &args);
    if (r == FAJIT_OK)
        r = take_scale(fixed, from->scale, &args);
    if (r == FAJIT_OK && scope == SCOPE_LAUNCH)
        r = take_output(fixed, from, &args);
    if (r == FAJIT_OK && scope == SCOPE_LAUNCH)
        r = take_lse(fixed, from, &args);
    if (r == FAJIT_OK && scope == SCOPE_LAUNCH)
        r = take_workspace(from, &args);
    if (r == FAJIT_OK)
        *ret_args = args;
    return r;
}

// Structs of this library's size, which all but old hosts have, are not copied.
static int check(const struct fj_attn *fixed, const struct fajit_attn_args *from, enum scope scope,
                 struct fj_attn_args *ret_args)
{
    if (!from)
        return fj_err(FAJIT_E_INVAL, "the attention arguments are NULL");
    if (from->struct_size == sizeof(*from))
        return take_args(fixed, from, scope, ret_args);
    struct fajit_attn_args read;
    if (from->struct_size < offsetof(struct fajit_attn_args, lse) || from->struct_size > 65536) {
        return fj_err(FAJIT_E_INVAL,
                      "struct_size of the attention arguments is %zu; set it to sizeof(struct "
                      "fajit_attn_args), %zu",
                      from->struct_size, sizeof(*from));
    }
    int r = fj_abi_read("fajit_attn_args", from, from->struct_size, sizeof(read), &read);
    return r == FAJIT_OK ? take_args(fixed, &read, scope, ret_args) : r;
}

int fj_attn_args_check(const struct fj_attn *fixed, const struct fajit_attn_args *from,
                       struct fj_attn_args *ret_args)
{
    return check(fixed, from, SCOPE_LAUNCH, ret_args);
}

int fj_attn_inputs_check(const struct fj_attn *fixed, const struct fajit_attn_args *from,
                         struct fj_attn_args *ret_args)
{
    return check(fixed, from, SCOPE_INPUTS, ret_args);
}
