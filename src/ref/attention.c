#include "base/thread.h"
#include "ref/tile.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_ROWS = 16, // of Q at a time; a multiple of 4
    PACK_KEYS = 64,  // a multiple of both panels
    SUM_KEYS = 512,  // V of one panel and so many keys stays in the first-level caches
    MAX_DIM = 4096,
};

// A batch entry and KV head, and what is to be computed of it.
struct job {
    const struct fj_ref_attn *ref;
    double *ret_o, *ret_lse;
    int64_t batch, head_kv, group; // `group` query heads read this KV head
    int64_t d, dv, len_q, len_k;
    int64_t n_rows, blocks; // query rows asked for, and blocks of them
    atomic_bool *out_of_memory;
};

// BLOCK_ROWS query rows of one head.
struct block {
    int64_t head, first, rows;             // `first` counts within the rows asked for
    int64_t row[BLOCK_ROWS];               // of Q
    int64_t visible[BLOCK_ROWS];           // keys before this one are seen
    int64_t group_visible[BLOCK_ROWS / 4]; // by all rows of a group of four
    int64_t most_visible;
};

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t clamp64(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : min64(x, high);
}

static int64_t round_up(int64_t x, int64_t to)
{
    return (x + to - 1) / to * to;
}

static int64_t offset(const struct fj_ref_view *view, int64_t batch, int64_t head, int64_t row)
{
    return batch * view->stride[0] + head * view->stride[1] + row * view->stride[2];
}

// How many keys, from the first on, query row i sees.
static int64_t visible_keys(const struct job *job, int64_t i)
{
    if (i >= job->len_q)
        return 0;
    if (job->ref->causal == FAJIT_CAUSAL_NONE)
        return job->len_k;
    int64_t shift = job->ref->causal == FAJIT_CAUSAL_BOTTOM_RIGHT ? job->len_k - job->len_q : 0;
    return clamp64(i + shift + 1, 0, job->len_k);
}

static void set_block(const struct job *job, int64_t index, struct block *ret)
{
    *ret = (struct block){
        .head = job->head_kv * job->group + index / job->blocks,
        .first = index % job->blocks * BLOCK_ROWS,
    };
    ret->rows = min64(BLOCK_ROWS, job->n_rows - ret->first);
    for (int64_t r = 0; r < ret->rows; r++) {
        int64_t at = ret->first + r, visible;
        ret->row[r] = job->ref->rows ? job->ref->rows[at] : at;
        visible = ret->visible[r] = visible_keys(job, ret->row[r]);
        int64_t *shared = &ret->group_visible[r / 4];
        *shared = r % 4 == 0 ? visible : min64(*shared, visible);
        if (visible > ret->most_visible)
            ret->most_visible = visible;
    }
}

// The row's place in the compact outputs.
static int64_t out_row(const struct job *job, const struct block *block, int64_t r)
{
    int64_t heads = job->ref->q.shape[1];
    return (job->batch * heads + block->head) * job->n_rows + block->first + r;
}

#define REAL double
#define NAME(x) x##_f64
#define FN(fn) fn
#define PANEL FJ_REF_PANEL_F64
#include "ref/attention.inc"
#undef REAL
#undef NAME
#undef FN
#undef PANEL

#define REAL float
#define NAME(x) x##_f32
#define FN(fn) fn##f
#define PANEL FJ_REF_PANEL_F32
#include "ref/attention.inc"

static int check_lengths(const int32_t *lengths, int64_t batch, int64_t max, const char *what)
{
    for (int64_t b = 0; lengths && b < batch; b++) {
        if (lengths[b] < 0 || lengths[b] > max)
            return fj_err(FAJIT_E_INVAL,
                          "%s[%" PRId64 "] is %" PRId32 ": it must be from 0 to %" PRId64, what, b,
                          lengths[b], max);
    }
    return FAJIT_OK;
}

static int check_rows(const int64_t *rows, int64_t count, int64_t max)
{
    for (int64_t r = 0; rows && r < count; r++) {
        if (rows[r] < 0 || rows[r] >= max)
            return fj_err(FAJIT_E_INVAL, "row %" PRId64 " does not exist: there are %" PRId64,
                          rows[r], max);
    }
    return FAJIT_OK;
}

static int check(const struct fj_ref_attn *ref)
{
    const int64_t *q = ref->q.shape, *k = ref->k.shape, *v = ref->v.shape;
    if (!fj_ref_is_dtype(ref->q.dtype) || !fj_ref_is_dtype(ref->k.dtype) ||
        !fj_ref_is_dtype(ref->v.dtype) || (ref->round_to && !fj_ref_is_dtype(ref->round_to)))
        return fj_err(FAJIT_E_INVAL, "the reference takes fp32, fp16 and bf16");
    for (int i = 0; i < 4; i++) {
        if (q[i] < 0 || k[i] < 0 || v[i] < 0)
            return fj_err(FAJIT_E_INVAL, "dimension %d of Q, K or V is negative", i);
    }
    if (q[0] != k[0] || q[0] != v[0] || k[1] != v[1] || k[2] != v[2] || q[3] != k[3])
        return fj_err(FAJIT_E_INVAL, "shapes of Q, K and V do not agree: batch, KV heads, keys and "
                                     "the head dim of Q and K must be equal");
    if (k[1] < 1 || q[1] % k[1] != 0)
        return fj_err(FAJIT_E_INVAL,
                      "%" PRId64 " query heads are not a multiple of %" PRId64 " KV heads", q[1],
                      k[1]);
    if (q[3] > MAX_DIM || v[3] > MAX_DIM)
        return fj_err(FAJIT_E_INVAL, "a head dim is over the reference's limit of %d", MAX_DIM);
    int status = check_lengths(ref->seqlens_q, q[0], q[2], "seqlens_q");
    if (status == FAJIT_OK)
        status = check_lengths(ref->seqlens_k, q[0], k[2], "seqlens_k");
    return status == FAJIT_OK ? check_rows(ref->rows, ref->n_rows, q[2]) : status;
}

int fj_ref_attention(const struct fj_ref_attn *ref, double *ret_o, double *ret_lse)
{
    int status = check(ref);
    if (status != FAJIT_OK)
        return status;
    atomic_bool out_of_memory = false;
    int64_t heads_kv = ref->k.shape[1], n_rows = ref->rows ? ref->n_rows : ref->q.shape[2];
    struct job job = {
        .ref = ref,
        .ret_o = ret_o,
        .ret_lse = ret_lse,
        .group = ref->q.shape[1] / heads_kv,
        .d = ref->q.shape[3],
        .dv = ref->v.shape[3],
        .n_rows = n_rows,
        .blocks = round_up(n_rows, BLOCK_ROWS) / BLOCK_ROWS,
        .out_of_memory = &out_of_memory,
    };
    for (int64_t i = 0; i < ref->q.shape[0] * heads_kv && status == FAJIT_OK; i++) {
        job.batch = i / heads_kv;
        job.head_kv = i % heads_kv;
        job.len_q = ref->seqlens_q ? ref->seqlens_q[job.batch] : ref->q.shape[2];
        job.len_k = ref->seqlens_k ? ref->seqlens_k[job.batch] : ref->k.shape[2];
        status = ref->round_to ? attend_head_f32(&job) : attend_head_f64(&job);
    }
    if (status != FAJIT_OK)
        return fj_err(status, "no memory for the reference of %" PRId64 " keys", job.len_k);
    return FAJIT_OK;
}
