// What the attention kernels that take plain pointers and strides have in common: names, cost,
// arguments.
#ifndef FJ_KERNELS_ATTN_COMMON_H
#define FJ_KERNELS_ATTN_COMMON_H

#include "kernels/kernel.h"

// The switches and constants every attention template has: head_dim, head_dim_v, dtype, causal,
// lse, seqlens_q, seqlens_k; then the sizes of a CTA: threads, smem_bytes.
void fj_attn_params(const struct fj_choice *choice, struct fj_params *ret_params);

// "attn_fwd_mma_bf16_d128_causal".
void fj_attn_meaning(const struct fj_choice *choice, struct fj_buf *ret_text);

// `streamed_bytes`: what one CTA reads for one block of bn keys.
void fj_attn_cost(const struct fj_choice *choice, double streamed_bytes, struct fj_cost *ret_cost);

// FAJIT_E_UNSUPPORTED unless the variant asked for is that of a class for v1, or of the class
// beside it, whose v1 has that name.
int fj_attn_variant_check(const struct fj_problem *problem, bool v1, const char *v1_name);

int fj_round_up(int value, int step);

// Whether `ctas` CTAs with that much shared memory are resident on an SM at a time.
bool fj_attn_smem_fits(const struct fj_gpu *gpu, int smem_bytes, int ctas);

// A launch over tiles of `bm` query rows.
struct fj_attn_tiles {
    int32_t per_head, total;
};
// FAJIT_E_UNSUPPORTED when there are too many to count in 31 bits.
int fj_attn_tiles_count(const struct fj_choice *choice, const struct fj_attn_args *args,
                        struct fj_attn_tiles *ret_tiles);

// Begins a launch; `empty` when there are no tiles, then it is complete.
int fj_attn_launch_begin(const struct fj_choice *choice, const struct fj_attn_args *args,
                         struct fj_attn_tiles *ret_tiles, struct fj_launch *ret_launch);

// Pushes the arguments all templates begin with: pointers and strides of Q, K, V and O, LSE and
// lengths where the text has them.
void fj_attn_push_tensors(const struct fj_choice *choice, const struct fj_attn_args *args,
                          struct fj_launch *launch);
// seq_q, seq_k, heads, group.
void fj_attn_push_sizes(const struct fj_attn_args *args, struct fj_launch *launch);

// Block, shared memory, and a grid of `ctas` CTAs; an error when an argument did not fit.
int fj_attn_launch_finish(const struct fj_choice *choice, int64_t ctas, struct fj_launch *launch);
// One CTA per tile, or as many as are resident when the variant is persistent and tiles abound.
int64_t fj_attn_grid(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                     int64_t tiles);

// The launch of variant v1, a CTA per head; and no workspace.
int fj_attn_bind_v1(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                    const void *args, struct fj_launch *ret_launch);
size_t fj_attn_no_workspace(const struct fj_choice *choice, const struct fj_gpu *gpu,
                            const void *args);

#endif
