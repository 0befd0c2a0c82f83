#include "base/thread.h"
#include "ref/tile.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    BLOCK_ROWS = 32, // of C at a time; a multiple of 4
    SUM_K = 512,     // of one panel of B stays in the first-level caches
};

// One batch entry.
struct job {
    const struct fj_ref_gemm *ref;
    double *ret_c;
    int64_t batch, n, k, n_rows;
    atomic_bool *out_of_memory;
};

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t round_up(int64_t x, int64_t to)
{
    return (x + to - 1) / to * to;
}

static int64_t job_row(const struct job *job, int64_t at)
{
    return job->ref->rows ? job->ref->rows[at] : at;
}

#define REAL double
#define NAME(x) x##_f64
#define FN(fn) fn
#define PANEL FJ_REF_PANEL_F64
#include "ref/gemm.inc"
#undef REAL
#undef NAME
#undef FN
#undef PANEL

#define REAL float
#define NAME(x) x##_f32
#define FN(fn) fn##f
#define PANEL FJ_REF_PANEL_F32
#include "ref/gemm.inc"

static int check(const struct fj_ref_gemm *ref, int64_t m, int64_t n, int64_t k)
{
    const int64_t *a = ref->a.shape, *b = ref->b.shape, *c = ref->c.shape;
    if (!fj_ref_is_dtype(ref->a.dtype) || !fj_ref_is_dtype(ref->b.dtype) ||
        (ref->c.data && !fj_ref_is_dtype(ref->c.dtype)) ||
        (ref->bias && !fj_ref_is_dtype(ref->bias_dtype)) ||
        (ref->round_to && !fj_ref_is_dtype(ref->round_to)))
        return fj_err(FAJIT_E_INVAL, "the reference takes fp32, fp16 and bf16");
    if (m < 0 || n < 0 || k < 0 || a[1] < 0)
        return fj_err(FAJIT_E_INVAL, "a dimension of A or B is negative");
    if (k != b[ref->trans_b ? 3 : 2] || a[1] != b[1])
        return fj_err(FAJIT_E_INVAL,
                      "shapes of A and B do not agree: A is %" PRId64 " x %" PRId64
                      ", B has %" PRId64 " rows to sum over",
                      m, k, b[ref->trans_b ? 3 : 2]);
    if (ref->c.data && (c[1] != a[1] || c[2] != m || c[3] != n))
        return fj_err(FAJIT_E_INVAL, "C must be %" PRId64 " x %" PRId64 " in %" PRId64 " batches",
                      m, n, a[1]);
    for (int64_t r = 0; ref->rows && r < ref->n_rows; r++) {
        if (ref->rows[r] < 0 || ref->rows[r] >= m)
            return fj_err(FAJIT_E_INVAL, "row %" PRId64 " does not exist: there are %" PRId64,
                          ref->rows[r], m);
    }
    return FAJIT_OK;
}

int fj_ref_gemm(const struct fj_ref_gemm *ref, double *ret_c)
{
    int64_t m = ref->a.shape[ref->trans_a ? 3 : 2], k = ref->a.shape[ref->trans_a ? 2 : 3];
    int64_t n = ref->b.shape[ref->trans_b ? 2 : 3];
    int status = check(ref, m, n, k);
    if (status != FAJIT_OK)
        return status;
    atomic_bool out_of_memory = false;
    struct job job = {
        .ref = ref,
        .ret_c = ret_c,
        .n = n,
        .k = k,
        .n_rows = ref->rows ? ref->n_rows : m,
        .out_of_memory = &out_of_memory,
    };
    for (; job.batch < ref->a.shape[1] && status == FAJIT_OK; job.batch++)
        status = ref->round_to ? multiply_f32(&job) : multiply_f64(&job);
    if (status != FAJIT_OK)
        return fj_err(status, "no memory for the reference of a %" PRId64 " x %" PRId64 " matrix",
                      k, n);
    return FAJIT_OK;
}
