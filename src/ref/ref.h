// fp64 references on the CPU: the definitions every kernel is judged by.
#ifndef FJ_REF_REF_H
#define FJ_REF_REF_H

#include "base/err.h"

// Views are (batch, heads, seq, dim), strides in elements, host memory.
struct fj_ref_view {
    const void *data;
    enum fajit_dtype dtype;
    int64_t shape[4], stride[4];
};

struct fj_ref_attn {
    struct fj_ref_view q, k, v;
    const int32_t *seqlens_q, *seqlens_k; // host, may be NULL
    double scale;
    enum fajit_causal causal;
    enum fajit_dtype round_to;            // NONE: fp64; else S and P are rounded to it
    const int64_t *rows;                  // NULL: all query rows
    int64_t n_rows;
    int threads;
};
int fj_ref_attention(const struct fj_ref_attn *ref, double *ret_o, double *ret_lse);

struct fj_ref_gemm {
    struct fj_ref_view a, b, c;           // (1, batch, rows, columns) as stored; c.data may be NULL
    bool trans_a, trans_b;
    const void *bias;                     // may be NULL
    enum fajit_dtype bias_dtype;
    double alpha, beta;
    enum fajit_act act;
    enum fajit_dtype round_to;            // NONE: fp64; else the result is rounded to it
    const int64_t *rows;
    int64_t n_rows;
    int threads;
};
int fj_ref_gemm(const struct fj_ref_gemm *ref, double *ret_c);

#endif
