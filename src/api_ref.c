// Host-side references and conversions.
#include <fajit/fajit.h>

#include <string.h>

#include "base/num.h"
#include "ctx.h"
#include "kernels/args.h"
#include "ref/ref.h"

static int check_convert(const char *call, enum fajit_dtype dtype, const void *from, const void *to,
                         size_t count)
{
    if (!fajit_dtype_bytes(dtype))
        return fj_err(FAJIT_E_INVAL, "%s: dtype %d is unknown", call, (int)dtype);
    if (count && (!from || !to))
        return fj_err(FAJIT_E_INVAL, "%s: an argument is NULL", call);
    return FAJIT_OK;
}

int fajit_convert_from_f32(enum fajit_dtype dtype, const float *from, void *ret_to, size_t count)
{
    int err = check_convert("fajit_convert_from_f32", dtype, from, ret_to, count);
    if (err)
        return err;
    if (dtype == FAJIT_F32) {
        memmove(ret_to, from, count * sizeof(float));
        return FAJIT_OK;
    }
    uint16_t *to = ret_to;
    for (size_t i = 0; i < count; i++)
        to[i] = dtype == FAJIT_F16 ? fj_f32_to_f16(from[i]) : fj_f32_to_bf16(from[i]);
    return FAJIT_OK;
}

int fajit_convert_to_f32(enum fajit_dtype dtype, const void *from, float *ret_to, size_t count)
{
    int err = check_convert("fajit_convert_to_f32", dtype, from, ret_to, count);
    if (err)
        return err;
    if (dtype == FAJIT_F32) {
        memmove(ret_to, from, count * sizeof(float));
        return FAJIT_OK;
    }
    const uint16_t *bits = from;
    for (size_t i = 0; i < count; i++)
        ret_to[i] = dtype == FAJIT_F16 ? fj_f16_to_f32(bits[i]) : fj_bf16_to_f32(bits[i]);
    return FAJIT_OK;
}

static struct fj_ref_view ref_view(const struct fj_view *view, enum fajit_dtype dtype)
{
    struct fj_ref_view ref = {.data = view->data, .dtype = dtype};
    memcpy(ref.shape, view->shape, sizeof(ref.shape));
    memcpy(ref.stride, view->stride, sizeof(ref.stride));
    return ref;
}

// A matmul view is (batch, rows, columns, 1), the reference's (1, batch, rows, columns).
static struct fj_ref_view ref_matrix(const struct fj_view *view, enum fajit_dtype dtype)
{
    struct fj_ref_view ref = {.data = view->data, .dtype = dtype, .shape = {1}};
    memcpy(ref.shape + 1, view->shape, 3 * sizeof(*ref.shape));
    memcpy(ref.stride + 1, view->stride, 3 * sizeof(*ref.stride));
    return ref;
}

static int take_reference(const struct fajit_problem *problem, enum fajit_op op,
                          const struct fajit_reference_params *params,
                          struct fj_problem *ret_problem, struct fajit_reference_params *ret_params)
{
    *ret_params = (struct fajit_reference_params){.struct_size = sizeof(*ret_params)};
    int err = fj_problem_from_public(problem, ret_problem);
    if (err == 0 && ret_problem->op != op)
        err = fj_err(FAJIT_E_INVAL, "the problem is not one this reference computes");
    if (err == 0 && params)
        err = fj_take_struct("fajit_reference_params", params, ret_params, sizeof(*ret_params));
    return err;
}

int fajit_reference_attention(const struct fajit_problem *problem,
                              const struct fajit_attn_args *args,
                              const struct fajit_reference_params *params, double *ret_o,
                              double *ret_lse)
{
    struct fj_problem own;
    struct fajit_reference_params known;
    struct fj_attn_args checked;
    if (!problem || !args)
        return fj_err(FAJIT_E_INVAL, "fajit_reference_attention: an argument is NULL");
    int err = take_reference(problem, FAJIT_OP_ATTN_FWD, params, &own, &known);
    if (err == 0)
        err = fj_attn_inputs_check(&own.attn, args, &checked);
    if (err)
        return err;
    const struct fj_ref_attn ref = {
        .q = ref_view(&checked.q, own.attn.dtype),
        .k = ref_view(&checked.k, own.attn.dtype),
        .v = ref_view(&checked.v, own.attn.dtype),
        .seqlens_q = checked.seqlens_q,
        .seqlens_k = checked.seqlens_k,
        .scale = (double)checked.scale,
        .causal = own.attn.causal,
        .round_to = known.round_to,
        .rows = known.rows,
        .n_rows = known.n_rows,
        .threads = known.threads,
    };
    return fj_ref_attention(&ref, ret_o, ret_lse);
}

int fajit_reference_gemm(const struct fajit_problem *problem, const struct fajit_gemm_args *args,
                         const struct fajit_reference_params *params, double *ret_c)
{
    struct fj_problem own;
    struct fajit_reference_params known;
    struct fj_gemm_args checked;
    if (!problem || !args)
        return fj_err(FAJIT_E_INVAL, "fajit_reference_gemm: an argument is NULL");
    if (!ret_c)
        return fj_err(FAJIT_E_INVAL, "fajit_reference_gemm: ret_c is NULL");
    int err = take_reference(problem, FAJIT_OP_GEMM, params, &own, &known);
    if (err == 0)
        err = fj_gemm_inputs_check(&own.gemm, args, &checked);
    if (err)
        return err;
    struct fj_ref_gemm ref = {
        .a = ref_matrix(&checked.a, own.gemm.dtype),
        .b = ref_matrix(&checked.b, own.gemm.dtype),
        .trans_a = own.gemm.trans_a,
        .trans_b = own.gemm.trans_b,
        .bias = checked.bias,
        .bias_dtype = own.gemm.out_dtype,
        .alpha = (double)checked.alpha,
        .beta = (double)checked.beta,
        .act = own.gemm.act,
        .round_to = known.round_to,
        .rows = known.rows,
        .n_rows = known.n_rows,
        .threads = known.threads,
    };
    if (own.gemm.beta)
        ref.c = ref_matrix(&checked.c, own.gemm.out_dtype);
    return fj_ref_gemm(&ref, ret_c);
}
