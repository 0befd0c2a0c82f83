// What the parts of gemm_sm90 share.
#ifndef FJ_KERNELS_GEMM_SM90_H
#define FJ_KERNELS_GEMM_SM90_H

#include "kernels/gemm_common.h"

#define FJ_GEMM_SM90_BLOCK_K 64
#define FJ_GEMM_SM90_ROW_BYTES 128 // of a row in a panel: 64 elements of 16 bits
#define FJ_GEMM_SM90_UNKNOWN 4096  // of a size the problem leaves open

static inline int64_t fj_gemm_sm90_div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

// The problem that the kernel solves: where the roles of A and B are swapped, C' = B' A',
// transposed matrices all three. The functions below take it, and speak of its rows and columns.
struct fj_choice fj_gemm_sm90_computed(const struct fj_choice *choice);

// C leaves through shared memory and TMA, rather than straight from registers.
bool fj_gemm_sm90_stores_by_tma(const struct fj_choice *computed);

// Columns of C whose part of B is fetched: whole panels, where they run along n.
int fj_gemm_sm90_loaded_columns(const struct fj_choice *computed);

int fj_gemm_sm90_smem(const struct fj_choice *computed);

// A tensor store writes whole 16 bytes: seen on an H200, where rows of C that end within 16 bytes
// spoiled what lies behind them.
bool fj_gemm_sm90_rows_are_whole(int64_t columns, enum fajit_dtype out);

// The class's configure. `choice` is the problem as asked for.
int fj_gemm_sm90_configure(const struct fj_gpu *gpu, struct fj_choice *choice);

#endif
