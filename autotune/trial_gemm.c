// Matrix products on a trial: tensors, and the reference on sampled rows and columns.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/trial.h"
#include "ref/compare.h"
#include "ref/ref.h"

#define ROWS_SAMPLED 64
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

struct sample {
    int64_t batch, rows[ROWS_SAMPLED], columns[COLUMNS_SAMPLED];
    int n_rows, n_columns;
    char *a, *b, *c, *bias; // rows of A (rows, k), columns of B (k, columns), C (rows, columns)
    double *got, *want, *plain;
};

static void take(const struct fj_trial_tensor *tensor, int64_t batch, int64_t row, int64_t column,
                 char *to, int64_t index)
{
    fj_trial_value(tensor, fj_trial_offset(tensor, batch, row, column, 0),
                   to + (size_t)index * fajit_dtype_bytes(tensor->dtype));
}

static void gather(const struct fj_trial *trial, struct sample *s)
{
    const struct fj_gemm *p = &trial->problem.gemm;
    for (int i = 0; i < s->n_rows; i++)
        for (int64_t k = 0; k < p->k; k++)
            take(&trial->in[0], s->batch, p->trans_a ? k : s->rows[i], p->trans_a ? s->rows[i] : k,
                 s->a, i * p->k + k);
    for (int64_t k = 0; k < p->k; k++)
        for (int j = 0; j < s->n_columns; j++)
            take(&trial->in[1], s->batch, p->trans_b ? s->columns[j] : k,
                 p->trans_b ? k : s->columns[j], s->b, k * s->n_columns + j);
    for (int j = 0; p->bias && j < s->n_columns; j++)
        take(&trial->bias, 0, 0, s->columns[j], s->bias, j);
    for (int i = 0; p->beta && i < s->n_rows; i++)
        for (int j = 0; j < s->n_columns; j++)
            take(&trial->out, s->batch, s->rows[i], s->columns[j], s->c,
                 (int64_t)i * s->n_columns + j);
}

static struct fj_ref_view view(const void *data, enum fajit_dtype dtype, int64_t rows,
                               int64_t columns)
{
    return (struct fj_ref_view){
        .data = data, .dtype = dtype, .shape = {1, 1, rows, columns}, .stride = {0, 0, columns, 1}};
}

static int compute(const struct fj_trial *trial, struct sample *s)
{
    const struct fj_gemm *p = &trial->problem.gemm;
    struct fj_ref_gemm ref = {
        .a = view(s->a, p->dtype, s->n_rows, p->k),
        .b = view(s->b, p->dtype, p->k, s->n_columns),
        .c = view(p->beta ? s->c : NULL, p->out_dtype, s->n_rows, s->n_columns),
        .bias = p->bias ? s->bias : NULL,
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

static int judge(const struct fj_trial *trial, const struct sample *s, const void *host)
{
    const struct fj_gemm *p = &trial->problem.gemm;
    struct fj_ref_verdict verdict;
    for (int i = 0; i < s->n_rows; i++)
        for (int j = 0; j < s->n_columns; j++)
            s->got[i * s->n_columns + j] =
                fj_trial_read(&trial->out, host,
                              fj_trial_offset(&trial->out, s->batch, s->rows[i], s->columns[j], 0));
    fj_ref_judge(s->got, s->want, s->plain, (int64_t)s->n_rows * s->n_columns, p->out_dtype,
                 &verdict);
    double bound = 2 * verdict.plain.max_abs + accumulation_bound(p);
    if (verdict.kernel.nan_count == 0 && verdict.kernel.max_abs <= bound)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "C at batch %lld, row %lld, column %lld is off by %.3g, %.3g allowed, %lld NaN",
                  (long long)s->batch, (long long)s->rows[verdict.kernel.worst / s->n_columns],
                  (long long)s->columns[verdict.kernel.worst % s->n_columns],
                  verdict.kernel.max_abs, bound, (long long)verdict.kernel.nan_count);
}

static int compare_batch(struct fj_trial *trial, int64_t batch, const void *host)
{
    const struct fj_gemm *p = &trial->problem.gemm;
    const size_t count = (size_t)ROWS_SAMPLED * COLUMNS_SAMPLED;
    struct sample s = {.batch = batch};
    s.n_rows = fj_trial_rows(p->m, 0, ROWS_SAMPLED, s.rows);
    s.n_columns = fj_trial_rows(p->n, 0, COLUMNS_SAMPLED, s.columns);
    s.a = malloc((size_t)(s.n_rows * p->k) * 4 + 4);
    s.b = malloc((size_t)(s.n_columns * p->k) * 4 + 4);
    s.c = malloc(count * 4);
    s.bias = malloc(count * 4);
    s.got = calloc(3 * count, sizeof(double));
    int err = s.a && s.b && s.c && s.bias && s.got
                  ? FAJIT_OK
                  : fj_err(FAJIT_E_NOMEM, "no memory for the reference");
    if (err == 0) {
        s.want = s.got + count;
        s.plain = s.want + count;
        gather(trial, &s);
        err = compute(trial, &s);
    }
    if (err == 0)
        err = judge(trial, &s, host);
    free(s.a);
    free(s.b);
    free(s.c);
    free(s.bias);
    free(s.got);
    return err;
}

int fj_trial_gemm_compare(struct fj_trial *trial, const void *host)
{
    const int64_t count = batches(&trial->problem.gemm);
    const int64_t sampled = count < BATCHES_SAMPLED ? count : BATCHES_SAMPLED;
    int err = FAJIT_OK;
    for (int64_t i = 0; i < sampled && err == 0; i++)
        err = compare_batch(trial, i * (count - 1), host);
    return err;
}
