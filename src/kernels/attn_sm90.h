// What the two halves of the Hopper attention class share.
#ifndef FJ_KERNELS_ATTN_SM90_H
#define FJ_KERNELS_ATTN_SM90_H

#include "kernels/attn_common.h"

#define FJ_WARPGROUP_ROWS 64 // rows of one wgmma

// What setmaxnreg makes of the 64 K registers of an SM, by consumer warpgroups: registers of a
// thread of the loading warpgroup and of the others, and how many of the latter S, P and O may take
// before ptxas spills.
struct fj_sm90_registers {
    int load, math, tiles;
};
struct fj_sm90_registers fj_attn_sm90_registers(const struct fj_config *config);

// See struct fj_kernel_class.
int fj_attn_sm90_smem_bytes(const struct fj_choice *choice);
int fj_attn_sm90_configure(const struct fj_gpu *gpu, struct fj_choice *choice);

#endif
