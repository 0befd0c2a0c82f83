// fp64 references on the CPU: the definitions every kernel is judged by.
//
// Attention: O = softmax(scale * Q K^T + mask) V and LSE = ln(sum exp(scale * S)) per query row.
// - Query head h reads KV head h / (heads_q / heads_kv).
// - Causal bottom-right: key j is visible to query i when j <= i + len_k - len_q, top-left: when
//   j <= i; len_q and len_k are the batch entry's own lengths.
// - Rows from seqlens_q on, and rows that see nothing (or only scores of -inf), give O = 0 and
//   LSE = -inf. What a row does not see takes no part in its result, NaN included; keys from
//   seqlens_k on, and queries that see nothing, are never read.
// - `round_to` names the plain low-precision evaluation (P of compare.h): S accumulated in fp32 and
//   rounded to the dtype, softmax of scale * S in fp32, its weights rounded to the dtype, O
//   accumulated in fp32 and rounded to the dtype; LSE in fp32. FAJIT_F32: all in fp32.
//
// Matrix product: C = act(alpha * A B + beta * C + bias). With beta 0, C is not read; alpha 0 times
// infinity is NaN, as in a kernel. gelu is x * (1 + erf(x / sqrt 2)) / 2, the exact form, silu is
// x / (1 + exp(-x)). `round_to`: all of it in fp32, the result rounded once to the dtype.
//
// Sums run over keys (k) in order. Results do not depend on the number of threads.
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
    enum fajit_dtype round_to; // NONE: fp64
    const int64_t *rows;       // of Q, of every batch entry and head; NULL: all
    int64_t n_rows;
    int threads; // 0: all cores
};
// `ret_o` is (batch, heads_q, rows, dv), `ret_lse` (batch, heads_q, rows), compact; either may be
// NULL.
int fj_ref_attention(const struct fj_ref_attn *ref, double *ret_o, double *ret_lse);

struct fj_ref_gemm {
    struct fj_ref_view a, b, c; // (1, batch, rows, columns) as stored; c.data may be NULL
    bool trans_a, trans_b;
    const void *bias; // may be NULL
    enum fajit_dtype bias_dtype;
    double alpha, beta;
    enum fajit_act act;
    enum fajit_dtype round_to; // NONE: fp64
    const int64_t *rows;       // of C, of every batch entry; NULL: all
    int64_t n_rows;
    int threads;
};
// `ret_c` is (batch, rows, n), compact.
int fj_ref_gemm(const struct fj_ref_gemm *ref, double *ret_c);

#endif
