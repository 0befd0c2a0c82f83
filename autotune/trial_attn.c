// Attention on a trial: tensors, and the reference on sampled rows.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/trial.h"
#include "ref/compare.h"
#include "ref/ref.h"

#define PAIRS_SAMPLED 4 // (batch entry, head)

// The last batch entry is shorter than the rest, so that lengths are looked at.
static int make_lengths(struct fj_trial *trial, int64_t length, int32_t **ret_host,
                        const int32_t **ret_device)
{
    const int64_t batch = trial->problem.attn.batch;
    int32_t *host = calloc((size_t)batch, sizeof(*host));
    void *device = fj_trial_alloc(trial, (size_t)batch * sizeof(*host));
    *ret_host = host;
    *ret_device = device;
    if (!host || !device)
        return fj_err(FAJIT_E_NOMEM, "no memory for lengths to tune on");
    for (int64_t b = 0; b < batch; b++)
        host[b] = (int32_t)(batch > 1 && b == batch - 1 ? length - length / 8 : length);
    return fj_trial_upload(trial, device, host, (size_t)batch * sizeof(*host));
}

int fj_trial_attn_make(struct fj_trial *trial)
{
    static const int by_head[] = {0, 1, 2, 3}, by_row[] = {0, 2, 1, 3};
    const struct fj_attn *p = &trial->problem.attn;
    const int *order = p->layout == FAJIT_BSHD ? by_row : by_head;
    const int64_t q[] = {p->batch, p->heads_q, p->seq_q, p->head_dim};
    const int64_t k[] = {p->batch, p->heads_kv, p->seq_k, p->head_dim};
    const int64_t v[] = {p->batch, p->heads_kv, p->seq_k, p->head_dim_v};
    const int64_t o[] = {p->batch, p->heads_q, p->seq_q, p->head_dim_v};
    const int64_t lse[] = {p->batch, p->heads_q, p->seq_q, 1};
    const double heads =
        (double)p->heads_q * (double)p->seq_q + (double)p->heads_kv * (double)p->seq_k;
    fj_trial_choose_sets(trial, (double)p->batch * heads * (p->head_dim + p->head_dim_v) *
                                    (double)fajit_dtype_bytes(p->dtype));
    struct fj_attn_args *args = &trial->args.attn;
    int err = fj_trial_tensor_make(trial, &trial->in[0], p->dtype, q, order, true);
    if (err == 0)
        err = fj_trial_tensor_make(trial, &trial->in[1], p->dtype, k, order, true);
    if (err == 0)
        err = fj_trial_tensor_make(trial, &trial->in[2], p->dtype, v, order, true);
    if (err == 0)
        err = fj_trial_tensor_make(trial, &trial->out, p->dtype, o, order, false);
    if (err == 0 && p->lse)
        err = fj_trial_tensor_make(trial, &trial->lse, FAJIT_F32, lse, by_head, false);
    if (err == 0 && p->seqlens_q)
        err = make_lengths(trial, p->seq_q, &trial->lengths_q, &args->seqlens_q);
    if (err == 0 && p->seqlens_k)
        err = make_lengths(trial, p->seq_k, &trial->lengths_k, &args->seqlens_k);
    if (err)
        return err;
    args->q = trial->in[0].view;
    args->k = trial->in[1].view;
    args->v = trial->in[2].view;
    args->o = trial->out.view;
    args->lse = trial->lse.view;
    args->q.stride[3] = args->k.stride[3] = args->v.stride[3] = args->o.stride[3] = 1;
    if (p->lse)
        args->lse.stride[2] = 1;
    args->scale = p->scale;
    return FAJIT_OK;
}

// A host copy of one head of one batch entry, compact.
static void *copy_head(const struct fj_trial_tensor *tensor, int64_t batch, int64_t head)
{
    const int64_t rows = tensor->view.shape[2], dim = tensor->view.shape[3];
    const size_t bytes = fajit_dtype_bytes(tensor->dtype);
    char *copy = malloc((size_t)(rows * dim) * bytes + 1);
    for (int64_t i = 0; copy && i < rows * dim; i++)
        fj_trial_value(tensor, fj_trial_offset(tensor, batch, head, i / dim, i % dim),
                       copy + (size_t)i * bytes);
    return copy;
}

static struct fj_ref_view view_of(const struct fj_trial_tensor *tensor, const void *copy)
{
    const int64_t rows = tensor->view.shape[2], dim = tensor->view.shape[3];
    return (struct fj_ref_view){
        .data = copy, .dtype = tensor->dtype, .shape = {1, 1, rows, dim}, .stride = {0, 0, dim, 1}};
}

static int compute(const struct fj_trial *trial, struct fj_trial_sample *s)
{
    const struct fj_attn *p = &trial->problem.attn;
    const int64_t head_kv = s->head / (p->heads_q / p->heads_kv);
    void *q = copy_head(&trial->in[0], s->batch, s->head);
    void *k = copy_head(&trial->in[1], s->batch, head_kv);
    void *v = copy_head(&trial->in[2], s->batch, head_kv);
    struct fj_ref_attn ref = {
        .q = view_of(&trial->in[0], q),
        .k = view_of(&trial->in[1], k),
        .v = view_of(&trial->in[2], v),
        .seqlens_q = trial->lengths_q ? trial->lengths_q + s->batch : NULL,
        .seqlens_k = trial->lengths_k ? trial->lengths_k + s->batch : NULL,
        .scale = (double)p->scale,
        .causal = p->causal,
        .rows = s->rows,
        .n_rows = s->n_rows,
    };
    int err = q && k && v ? fj_ref_attention(&ref, s->want, s->lse)
                          : fj_err(FAJIT_E_NOMEM, "no memory for the reference");
    ref.round_to = p->dtype;
    if (err == 0)
        err = fj_ref_attention(&ref, s->plain, NULL);
    free(q);
    free(k);
    free(v);
    return err;
}

// Where rows begin to be empty, and where they begin to see something.
static void choose_rows(const struct fj_trial *trial, int rows, struct fj_trial_sample *s)
{
    const struct fj_attn *p = &trial->problem.attn;
    const int64_t len_q = trial->lengths_q ? trial->lengths_q[s->batch] : p->seq_q;
    const int64_t len_k = trial->lengths_k ? trial->lengths_k[s->batch] : p->seq_k;
    const int64_t boundaries[] = {len_q, len_q - len_k, len_k};
    s->n_rows = fj_trial_rows(p->seq_q, boundaries, 3, rows, s->rows);
    for (int i = 0; i < s->n_columns; i++)
        s->columns[i] = i;
}

int fj_trial_attn_samples(struct fj_trial *trial)
{
    const struct fj_attn *p = &trial->problem.attn;
    const int64_t pairs = p->batch * p->heads_q;
    const int sampled = pairs < PAIRS_SAMPLED ? (int)pairs : PAIRS_SAMPLED;
    int err = fj_trial_samples_alloc(trial, sampled, p->head_dim_v, p->lse);
    for (int i = 0; i < sampled && err == 0; i++) {
        struct fj_trial_sample *s = &trial->samples[i];
        int64_t pair = sampled > 1 ? i * (pairs - 1) / (sampled - 1) : 0;
        s->batch = pair / p->heads_q;
        s->head = pair % p->heads_q;
        choose_rows(trial, (FJ_TRIAL_ROWS + sampled - 1) / sampled, s);
        err = compute(trial, s);
    }
    return err;
}

int fj_trial_attn_judge(const struct fj_trial *trial, const struct fj_trial_sample *s,
                        const double *got)
{
    struct fj_ref_verdict verdict;
    fj_ref_judge(got, s->want, s->plain, (int64_t)s->n_rows * s->n_columns,
                 trial->problem.attn.dtype, &verdict);
    if (verdict.pass)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "O at batch %lld, head %lld, row %lld is off by %.3g, %.3g allowed, %lld NaN",
                  (long long)s->batch, (long long)s->head,
                  (long long)s->rows[verdict.kernel.worst / s->n_columns], verdict.kernel.max_abs,
                  verdict.bound, (long long)verdict.kernel.nan_count);
}
