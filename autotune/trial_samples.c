// Rows of the output against the reference, which is computed once for all candidates.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/trial.h"
#include "base/num.h"

int fj_trial_samples_alloc(struct fj_trial *trial, int count, int n_columns, bool lse)
{
    const size_t room = (size_t)FJ_TRIAL_ROWS * (size_t)n_columns;
    trial->samples = calloc((size_t)count, sizeof(*trial->samples));
    trial->sample_count = trial->samples ? count : 0;
    for (int i = 0; i < trial->sample_count; i++) {
        struct fj_trial_sample *s = &trial->samples[i];
        s->n_columns = n_columns;
        s->want = calloc(2 * room + FJ_TRIAL_ROWS, sizeof(double));
        if (!s->want)
            return fj_err(FAJIT_E_NOMEM, "no memory for the reference");
        s->plain = s->want + room;
        s->lse = lse ? s->plain + room : NULL;
    }
    return trial->samples ? FAJIT_OK : fj_err(FAJIT_E_NOMEM, "no memory for the reference");
}

void fj_trial_samples_free(struct fj_trial *trial)
{
    for (int i = 0; i < trial->sample_count; i++)
        free(trial->samples[i].want);
    free(trial->samples);
    trial->samples = NULL;
    trial->sample_count = 0;
}

static void measure(struct fj_trial *trial)
{
    double squares = 0, count = 0;
    for (int i = 0; i < trial->sample_count; i++) {
        const struct fj_trial_sample *s = &trial->samples[i];
        for (int j = 0; j < s->n_rows * s->n_columns; j++)
            squares += s->want[j] * s->want[j];
        count += s->n_rows * s->n_columns;
    }
    trial->size = count > 0 ? sqrt(squares / count) : 0;
}

static int make(struct fj_trial *trial)
{
    int err = trial->problem.op == FAJIT_OP_GEMM ? fj_trial_gemm_samples(trial)
                                                 : fj_trial_attn_samples(trial);
    if (err)
        fj_trial_samples_free(trial);
    else
        measure(trial);
    return err;
}

static int64_t place(const struct fj_trial *trial, const struct fj_trial_sample *s, int64_t row,
                     int64_t column)
{
    return trial->problem.op == FAJIT_OP_GEMM
               ? fj_trial_offset(&trial->out, s->batch, row, column, 0)
               : fj_trial_offset(&trial->out, s->batch, s->head, row, column);
}

static double value(enum fajit_dtype dtype, const void *host, int64_t element)
{
    const uint16_t *half = host;
    if (dtype == FAJIT_F32)
        return (double)((const float *)host)[element];
    return (double)(dtype == FAJIT_F16 ? fj_f16_to_f32(half[element])
                                       : fj_bf16_to_f32(half[element]));
}

// Columns are next to each other in memory, ascending: one copy brings those of a row.
static int fetch_row(struct fj_trial *trial, const struct fj_trial_sample *s, int i, double *ret)
{
    const enum fajit_dtype dtype = trial->out.dtype;
    const size_t bytes = fajit_dtype_bytes(dtype);
    const int64_t from = place(trial, s, s->rows[i], s->columns[0]);
    const int64_t span = s->columns[s->n_columns - 1] - s->columns[0] + 1;
    void *host = malloc((size_t)span * bytes);
    int err = host ? fj_trial_download(trial, host,
                                       (const char *)trial->out.view.data + (size_t)from * bytes,
                                       (size_t)span * bytes)
                   : fj_err(FAJIT_E_NOMEM, "no memory for a row of the output");
    for (int j = 0; err == 0 && j < s->n_columns; j++)
        ret[j] = value(dtype, host, s->columns[j] - s->columns[0]);
    free(host);
    return err;
}

static int judge_lse(struct fj_trial *trial, const struct fj_trial_sample *s)
{
    for (int i = 0; s->lse && i < s->n_rows; i++) {
        const float *lse = trial->lse.view.data;
        float got;
        int err = fj_trial_download(
            trial, &got, lse + fj_trial_offset(&trial->lse, s->batch, s->head, s->rows[i], 0),
            sizeof(got));
        if (err)
            return err;
        double want = s->lse[i];
        if ((double)got == want || fabs((double)got - want) <= 1e-3 + 1e-5 * fabs(want))
            continue;
        return fj_err(
            FAJIT_E_INVAL, "LSE of batch %lld, head %lld, row %lld is %.6g, the reference %.6g",
            (long long)s->batch, (long long)s->head, (long long)s->rows[i], (double)got, want);
    }
    return FAJIT_OK;
}

static int judge(struct fj_trial *trial, const struct fj_trial_sample *s)
{
    double *got = calloc((size_t)s->n_rows * (size_t)s->n_columns, sizeof(*got));
    int err = got ? FAJIT_OK : fj_err(FAJIT_E_NOMEM, "no memory for rows of the output");
    for (int i = 0; err == 0 && i < s->n_rows; i++)
        err = fetch_row(trial, s, i, got + (size_t)i * (size_t)s->n_columns);
    if (err == 0)
        err = trial->problem.op == FAJIT_OP_GEMM ? fj_trial_gemm_judge(trial, s, got)
                                                 : fj_trial_attn_judge(trial, s, got);
    free(got);
    return err ? err : judge_lse(trial, s);
}

int fj_trial_samples_judge(struct fj_trial *trial)
{
    int err = trial->samples ? FAJIT_OK : make(trial);
    for (int i = 0; err == 0 && i < trial->sample_count; i++)
        err = judge(trial, &trial->samples[i]);
    return err;
}
