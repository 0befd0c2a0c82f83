// What the matmul kernels have in common: rules of tile sizes, parameters, names, cost, arguments.
#ifndef FJ_KERNELS_GEMM_COMMON_H
#define FJ_KERNELS_GEMM_COMMON_H

#include "kernels/kernel.h"

// bm, bn and bk are given all three or not at all: FAJIT_E_INVAL otherwise. `ret_given` tells
// which.
int fj_gemm_tile_given(const struct fj_config *config, bool *ret_given);

// Sizes of the problem; unknown ones become `unknown`, an unknown batch 1.
struct fj_gemm_sizes {
    int64_t batch, m, n, k;
};
struct fj_gemm_sizes fj_gemm_sizes(const struct fj_gemm *gemm, int64_t unknown);

// The constants and switches that every matmul template has: block_m, block_n, block_k, group,
// threads, smem_bytes; dtype, out, trans_a, trans_b, bias, beta, act, align.
void fj_gemm_params(const struct fj_choice *choice, struct fj_params *ret_params);

// "gemm_mma_bf16_nt_f32_bias_gelu".
void fj_gemm_meaning(const struct fj_choice *choice, struct fj_buf *ret_text);

void fj_gemm_cost(const struct fj_choice *choice, struct fj_cost *ret_cost);

// Tiles of bm by bn elements, or blocks of `high` by `wide` tiles that belong together.
struct fj_gemm_tiles {
    int32_t rows, columns, total; // total: of all batch entries
};
// FAJIT_E_UNSUPPORTED when there are too many to count in 31 bits.
int fj_gemm_tiles_count(const struct fj_choice *choice, const struct fj_gemm_args *args, int high,
                        int wide, struct fj_gemm_tiles *ret_tiles);

int64_t fj_gemm_depth(const struct fj_choice *choice, const struct fj_gemm_args *args); // k

// Pushes pointer, batch stride and row stride of a matrix, as one struct.
void fj_gemm_push_matrix(const struct fj_view *view, struct fj_launch *launch);
// struct Epilogue of templates/lib/epilogue.cuh.
void fj_gemm_push_epilogue(const struct fj_choice *choice, const struct fj_gemm_args *args,
                           struct fj_launch *launch);

// struct Shape of the templates that take plain pointers: m, n, k and the counts of tiles.
void fj_gemm_push_shape(const struct fj_choice *choice, const struct fj_gemm_args *args,
                        const struct fj_gemm_tiles *tiles, struct fj_launch *launch);

// Workspace and launch of the templates that take plain pointers. With splitk, a tile's depth is
// shared by as many CTAs (templates/lib/split_sum.cuh), and the variant makes no difference: there
// are few tiles.
size_t fj_gemm_workspace_bytes(const struct fj_choice *choice, const struct fj_gpu *gpu,
                               const void *args);
int fj_gemm_bind(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                 const void *args, struct fj_launch *ret_launch);

#endif
