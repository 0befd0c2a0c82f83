// The default tile of gemm_sm90.
#ifndef FJ_KERNELS_GEMM_SM90_MODEL_H
#define FJ_KERNELS_GEMM_SM90_MODEL_H

#include "kernels/kernel.h"

// Sets bm, bn, bk, cluster, clustern, splitk, streamk and swap, where they are unset.
void fj_gemm_sm90_choose_tile(const struct fj_gpu *gpu, struct fj_choice *choice);

// The class's predict_us.
double fj_gemm_sm90_predict_us(const struct fj_choice *choice, const struct fj_gpu *gpu);

#endif
