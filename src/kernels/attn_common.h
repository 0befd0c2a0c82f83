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

// Sets a knob that is still unset.
void fj_attn_default(struct fj_config *config, enum fj_knob knob, int value);

// FAJIT_E_INVAL unless every set knob is among `allowed`, a list that ends in FJ_KNOB_COUNT.
int fj_attn_knobs_check(const struct fj_config *config, const enum fj_knob *allowed);

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

#endif
