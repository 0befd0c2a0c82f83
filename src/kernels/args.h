// Launch arguments: the checks every family shares, once, on the launch path. Allocates nothing and
// takes no lock.
#ifndef FJ_KERNELS_ARGS_H
#define FJ_KERNELS_ARGS_H

#include "kernels/kernel.h"

// Longest dimension a launch may have: kernels add two of them, one rounded up to a tile, in int32.
#define FJ_DIM_MAX (INT64_C(0x40000000) - 4096)

// Normal form of a launch against what its plan fixed, or FAJIT_E_INVAL with the broken rule.
//
// Dimensions come out as kernel.h's views have them, whatever the layout. Dimensions of size 1 get
// stride 0; the last dimension has stride 1 (LSE: the query dimension; its view's last is 0).
// Lengths may be 0: with batch, seq_q or dim 0 there is nothing to write; with seq_k 0 every row is
// 0 and its LSE -inf. An input without elements may have a NULL pointer, which stays NULL.
//
// FAJIT_NSD: with heads_q known, dimension 0 is (batch, heads) and heads_kv follows the problem;
// unknown, it is all batch (heads 1), and Q, K and V must agree in it.
int fj_attn_args_check(const struct fj_attn *fixed, const struct fajit_attn_args *from,
                       struct fj_attn_args *ret_args);

// The same for a computation on the host: Q, K, V, lengths and scale only. O, LSE, workspace and
// the promised alignment are not looked at.
int fj_attn_inputs_check(const struct fj_attn *fixed, const struct fajit_attn_args *from,
                         struct fj_attn_args *ret_args);

// Views are (batch, rows, columns, 1) as stored; 2-D tensors have batch 1.
int fj_gemm_args_check(const struct fj_gemm *fixed, const struct fajit_gemm_args *from,
                       struct fj_gemm_args *ret_args);

// The same on the host: C only when the problem has `beta`, no workspace and no alignment.
int fj_gemm_inputs_check(const struct fj_gemm *fixed, const struct fajit_gemm_args *from,
                         struct fj_gemm_args *ret_args);

#endif
