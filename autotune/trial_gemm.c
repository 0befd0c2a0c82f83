// Matrix products on a trial: tensors, and the reference on sampled rows and columns.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/trial.h"
#include "ref/compare.h"
#include "ref/ref.h"

#define COLUMNS_SAMPLED 128
#define BATCHES_SAMPLED 2

#define ALPHA 1.0f
#define BETA 0.5f

static int64_t batches(const struct fj_gemm *p)
{
    return p->batch > 0 ? p->batch : 1;
}

int fj_trial_gemm_make(struct fj_trial *trial)
{
    static const int order[] = {3, 0, 1, 2};
    const struct fj_gemm *p = &trial->problem.gemm;
    const int64_t a[] = {batches(p), p->trans_a ? p->k : p->m, p->trans_a ? p->m : p->k, 1};
    const int64_t b[] = {batches(p), p->trans_b ? p->n : p->k, p->trans_b ? p->k : p->n, 1};
    const int64_t c[] = {batches(p), p->m, p->n, 1}, bias[] = {1, 1, p->n, 1};
    struct fj_gemm_args *args = &trial->args.gemm;
    const double m = (double)p->m, n = (double)p->n, k = (double)p->k;
    fj_trial_choose_sets(trial, (double)batches(p) *
                                    ((m * k + k * n) * (double)fajit_dtype_bytes(p->dtype) +
                                     m * n * (double)fajit_dtype_bytes(p->out_dtype)));
    int err = fj_trial_tensor_make(trial, &trial->in[0], p->dtype, a, order, true);
    if (err == 0)
        err = fj_trial_tensor_make(trial, &trial->in[1], p->dtype, b, order, true);
    if (err == 0)
        err = fj_trial_tensor_make(trial, &trial->out, p->out_dtype, c, order, p->beta);
    if (err == 0 && p->bias)
        err = fj_trial_tensor_make(trial, &trial->bias, p->out_dtype, bias, order, true);
    if (err)
        return err;
    args->a = trial->in[0].view;
    args->b = trial->in[1].view;
    args->c = trial->out.view;
    args->a.stride[2] = args->b.stride[2] = args->c.stride[2] = 1;
    args->bias = trial->bias.view.data;
    args->alpha = ALPHA;
    args->beta = p->beta ? BETA : 0;
    return FAJIT_OK;
}

// What the reference is computed from: rows of A (rows, k), columns of B (k, columns), C.
struct operands {
    char *a, *b, *c, *bias;
};

static void take(const struct fj_trial_tensor *tensor, int64_t batch, int64_t row, int64_t column,
                 char *to, int64_t index)
{
    fj_trial_value(tensor, fj_trial_offset(tensor, batch, row, column, 0),
                   to + (size_t)index * fajit_dtype_bytes(tensor->dtype));
}

static void gather(const struct fj_trial *trial, const struct fj_trial_sample *s,
                   const struct operands *o)
{
    const struct fj_gemm *p = &trial->problem.gemm;
    for (int i = 0; i < s->n_rows; i++)
        for (int64_t k = 0; k < p->k; k++)
            take(&trial->in[0], s->batch, p->trans_a ? k : s->rows[i], p->trans_a ? s->rows[i] : k,
                 o->a, i * p->k + k);
    for (int64_t k = 0; k < p->k; k++)
        for (int j = 0; j < s->n_columns; j++)
            take(&trial->in[1], s->batch, p->trans_b ? s->columns[j] : k,
                 p->trans_b ? k : s->columns[j], o->b, k * s->n_columns + j);
    for (int j = 0; p->bias && j < s->n_columns; j++)
        take(&trial->bias, 0, 0, s->columns[j], o->bias, j);
    for (int i = 0; p->beta && i < s->n_rows; i++)
        for (int j = 0; j < s->n_columns; j++)
            take(&trial->out, s->batch, s->rows[i], s->columns[j], o->c,
                 (int64_t)i * s->n_columns + j);
}

static struct fj_ref_view view(const void *data, enum fajit_dtype dtype, int64_t rows,
                               int64_t columns)
{
    return (struct fj_ref_view){
        .data = data, .dtype = dtype, .shape = {1, 1, rows, columns}, .stride = {0, 0, columns, 1}};
}

static int compute(const struct fj_trial *trial, struct fj_trial_sample *s,
                   const struct operands *o)
{
    const struct fj_gemm *p = &trial->problem.gemm;
    struct fj_ref_gemm ref = {
        .a = view(o->a, p->dtype, s->n_rows, p->k),
        .b = view(o->b, p->dtype, p->k, s->n_columns),
        .c = view(p->beta ? o->c : NULL, p->out_dtype, s->n_rows, s->n_columns),
        .bias = p->bias ? o->bias : NULL,
        .bias_dtype = p->out_dtype,
        .alpha = (double)ALPHA,
        .beta = p->beta ? (double)BETA : 0,
        .act = p->act,
    };
    int err = fj_ref_gemm(&ref, s->want);
    // What a kernel may round its operands to before it multiplies.
    ref.round_to = p->out_dtype;
    return err ? err : fj_ref_gemm(&ref, s->plain);
}

// What fp32 accumulation in any order may cost, relative to sum |a b| (0.64 each for standard
// normal inputs): k rounding errors of 2^-24, plus the operand rounding of tf32.
static double accumulation_bound(const struct fj_gemm *p)
{
    double k = (double)p->k;
    double operand = p->math == FAJIT_MATH_TF32     ? 0x1p-10
                     : p->math == FAJIT_MATH_3XTF32 ? 0x1p-20
                                                    : 0;
    return sqrt(k + 1) * 0x1p-22 * (0.64 * k + 4) + operand * (4 * sqrt(k) + 4);
}

int fj_trial_gemm_judge(const struct fj_trial *trial, const struct fj_trial_sample *s,
                        const double *got)
{
    const struct fj_gemm *p = &trial->problem.gemm;
    struct fj_ref_verdict verdict;
    fj_ref_judge(got, s->want, s->plain, (int64_t)s->n_rows * s->n_columns, p->out_dtype, &verdict);
    double bound = 2 * verdict.plain.max_abs + accumulation_bound(p);
    if (verdict.kernel.nan_count == 0 && verdict.kernel.max_abs <= bound)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "C at batch %lld, row %lld, column %lld is off by %.3g, %.3g allowed, %lld NaN",
                  (long long)s->batch, (long long)s->rows[verdict.kernel.worst / s->n_columns],
                  (long long)s->columns[verdict.kernel.worst % s->n_columns],
                  verdict.kernel.max_abs, bound, (long long)verdict.kernel.nan_count);
}

static int make_sample(struct fj_trial *trial, struct fj_trial_sample *s)
{
    const struct fj_gemm *p = &trial->problem.gemm;
    const size_t count = (size_t)FJ_TRIAL_ROWS * COLUMNS_SAMPLED;
    struct operands o = {
        .a = malloc((size_t)(FJ_TRIAL_ROWS * p->k) * 4),
        .b = malloc((size_t)(COLUMNS_SAMPLED * p->k) * 4),
        .c = malloc(count * 4),
        .bias = malloc(count * 4),
    };
    int err = o.a && o.b && o.c && o.bias ? FAJIT_OK
                                          : fj_err(FAJIT_E_NOMEM, "no memory for the reference");
    if (err == 0) {
        s->n_rows = fj_trial_rows(p->m, NULL, 0, FJ_TRIAL_ROWS, s->rows);
        s->n_columns = fj_trial_rows(p->n, NULL, 0, COLUMNS_SAMPLED, s->columns);
        gather(trial, s, &o);
        err = compute(trial, s, &o);
    }
    free(o.a);
    free(o.b);
    free(o.c);
    free(o.bias);
    return err;
}

int fj_trial_gemm_samples(struct fj_trial *trial)
{
    const int64_t count = batches(&trial->problem.gemm);
    const int sampled = count < BATCHES_SAMPLED ? (int)count : BATCHES_SAMPLED;
    int err = fj_trial_samples_alloc(trial, sampled, COLUMNS_SAMPLED, false);
    for (int i = 0; i < sampled && err == 0; i++) {
        trial->samples[i].batch = i * (count - 1);
        err = make_sample(trial, &trial->samples[i]);
    }
    return err;
}
