// Matmul cases.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"

#define FULL_CHECK_FLOPS 50e9
#define SAMPLED_ROWS 64

static int make_matrix(struct fcase *c, struct case_tensor *tensor, enum fajit_dtype dtype,
                       int64_t rows, int64_t cols, bool transposed)
{
    const int64_t batch = c->problem.gemm.batch;
    const int64_t r = transposed ? cols : rows, k = transposed ? rows : cols;
    static const int order[] = {0, 1, 2};
    if (batch > 1)
        return case_tensor_make(c, tensor, dtype, 3, (int64_t[]){batch, r, k}, order);
    return case_tensor_make(c, tensor, dtype, 2, (int64_t[]){r, k}, order);
}

static int make_bias(struct fcase *c, uint64_t *state, enum fajit_dtype out)
{
    static const int order[] = {0};
    int err = case_tensor_make(c, &c->bias, out, 1, &c->problem.gemm.n, order);
    if (err == 0)
        case_tensor_fill(c, &c->bias, state, 1.0);
    c->gemm.bias = c->bias.view.data;
    return err;
}

int case_gemm_make(struct fcase *c)
{
    struct fajit_gemm_desc *p = &c->problem.gemm;
    const enum fajit_dtype out = p->out_dtype ? p->out_dtype : p->dtype;
    uint64_t state = c->options.seed;
    if (!p->batch)
        p->batch = 1;
    int err = make_matrix(c, &c->in[0], p->dtype, p->m, p->k, p->trans_a);
    if (err == 0)
        err = make_matrix(c, &c->in[1], p->dtype, p->k, p->n, p->trans_b);
    if (err == 0)
        err = make_matrix(c, &c->out, out, p->m, p->n, false);
    if (err == 0 && p->bias)
        err = make_bias(c, &state, out);
    if (err)
        return err;
    case_tensor_fill(c, &c->in[0], &state, 1.0);
    case_tensor_fill(c, &c->in[1], &state, 1.0);
    if (p->beta)
        case_tensor_fill(c, &c->out, &state, 1.0);
    c->gemm.struct_size = sizeof(c->gemm);
    c->gemm.a = c->in[0].view;
    c->gemm.b = c->in[1].view;
    c->gemm.c = c->out.view;
    c->gemm.alpha = p->beta ? 0.75f : 0;
    c->gemm.beta = p->beta ? 0.5f : 0;
    return FAJIT_OK;
}

static int64_t pick_rows(const struct fcase *c, int64_t *ret_rows)
{
    const struct fajit_gemm_desc *p = &c->problem.gemm;
    double full = c->options.full_flops > 0 ? c->options.full_flops : FULL_CHECK_FLOPS;
    double flops = 2.0 * (double)p->batch * (double)p->m * (double)p->n * (double)p->k;
    uint64_t state = c->options.seed ^ 0x5eed;
    int64_t count = 0;
    bool all = c->options.full || flops <= full || p->m <= SAMPLED_ROWS;
    for (int64_t row = 0; row < p->m; row++) {
        bool edge = row < 2 || row >= p->m - 2;
        bool drawn = case_random(&state) % (uint64_t)p->m < SAMPLED_ROWS;
        if (all || edge || drawn)
            ret_rows[count++] = row;
    }
    return count;
}

struct references {
    int64_t *rows, n_rows;
    double *c, *plain;
};

static int compute_references(struct fcase *c, struct references *r)
{
    const struct fajit_gemm_desc *p = &c->problem.gemm;
    r->rows = calloc((size_t)p->m + 1, sizeof(*r->rows));
    r->n_rows = r->rows ? pick_rows(c, r->rows) : 0;
    size_t elements = (size_t)(p->batch * r->n_rows * p->n);
    r->c = calloc(elements + 1, sizeof(double));
    r->plain = calloc(elements + 1, sizeof(double));
    if (!r->rows || !r->c || !r->plain)
        return FAJIT_E_NOMEM;
    struct fajit_gemm_args args = c->gemm;
    args.a = case_host_view(&c->in[0]);
    args.b = case_host_view(&c->in[1]);
    args.c = case_host_view(&c->out); // still the uploaded values: the output is fetched later
    if (p->bias)
        args.bias = case_host(&c->bias);
    struct fajit_problem problem = c->problem;
    problem.gemm.align_bytes = (int)fajit_dtype_bytes(p->dtype);
    struct fajit_reference_params params = {
        .struct_size = sizeof(params), .rows = r->rows, .n_rows = r->n_rows};
    int err = fajit_reference_gemm(&problem, &args, &params, r->c);
    params.round_to = p->out_dtype ? p->out_dtype : p->dtype;
    return err ? err : fajit_reference_gemm(&problem, &args, &params, r->plain);
}

// What fp32 accumulation in any order may cost, relative to sum |a b| (about sqrt(k) each for
// standard normal inputs): k rounding errors of 2^-24, plus the operand rounding of tf32.
static double accumulation_bound(const struct fajit_gemm_desc *p)
{
    double k = (double)p->k, magnitude = 0.64 * k + 4;
    double operand = p->dtype == FAJIT_F32 && p->math == FAJIT_MATH_TF32     ? 0x1p-10
                     : p->dtype == FAJIT_F32 && p->math == FAJIT_MATH_3XTF32 ? 0x1p-20
                                                                             : 0;
    return sqrt(k + 1) * 0x1p-22 * magnitude + operand * (4 * sqrt(k) + 4);
}

static void compare(const struct fcase *c, const struct references *r, struct case_result *result,
                    int64_t ret_worst[3])
{
    const struct fajit_gemm_desc *p = &c->problem.gemm;
    const bool batched = c->out.view.ndim == 3;
    int64_t i = 0;
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t n = 0; n < r->n_rows; n++)
            for (int64_t col = 0; col < p->n; col++, i++) {
                const int64_t at3[] = {b, r->rows[n], col}, at2[] = {r->rows[n], col};
                double got = case_element(&c->out, batched ? at3 : at2);
                double error = fabs(got - r->c[i]);
                result->plain_error = fmax(result->plain_error, fabs(r->plain[i] - r->c[i]));
                result->nan_count += isnan(got) != 0;
                if (error > result->max_error) {
                    result->max_error = error;
                    memcpy(ret_worst, at3, sizeof(at3));
                }
            }
    result->checked = i;
    result->bound = 2 * result->plain_error + accumulation_bound(p);
}

int case_gemm_compare(struct fcase *c, struct case_result *result)
{
    struct references r = {0};
    int64_t worst[3] = {0};
    int err = compute_references(c, &r);
    if (err == 0)
        err = case_fetch(c);
    if (err)
        goto out;
    compare(c, &r, result, worst);
    bool guards = case_guards_intact(&c->out);
    result->ok = result->nan_count == 0 && result->max_error <= result->bound && guards;
    if (!result->ok)
        snprintf(result->message, sizeof(result->message),
                 "error %.3g at (batch %lld, row %lld, column %lld), allowed %.3g; %lld NaN%s",
                 result->max_error, (long long)worst[0], (long long)worst[1], (long long)worst[2],
                 result->bound, (long long)result->nan_count,
                 guards ? "" : "; bytes outside the output were written");
out:
    free(r.rows);
    free(r.c);
    free(r.plain);
    return err;
}
