// templates/gemm_simt.cu: matrix product with fp32 multiply-adds, on any GPU.
#include "kernels/gemm_common.h"

#define UNKNOWN_SIZE 4096 // stands for a size that is "any"
#define PART 8            // rows and columns of C of one thread
#define PAD 4             // floats after each row in shared memory
#define SPLITS_MAX 32

static int check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    (void)gpu;
    if (problem->gemm.dtype == FAJIT_F32 && problem->gemm.math != FAJIT_MATH_FMA)
        return fj_err(FAJIT_E_UNSUPPORTED, "it multiplies fp32 exactly; leave out math=tf32 and "
                                           "math=3xtf32, or take family mma");
    return FAJIT_OK;
}

static int threads(const struct fj_choice *choice)
{
    const struct fj_config *config = &choice->config;
    return FJ_CFG(config, bm) * FJ_CFG(config, bn) / (PART * PART);
}

static int smem_bytes(const struct fj_choice *choice)
{
    const struct fj_config *config = &choice->config;
    int strips = FJ_CFG(config, bk) * (FJ_CFG(config, bm) + FJ_CFG(config, bn) + 2 * PAD);
    return 2 * strips * (int)sizeof(float);
}

static int check_tile(const struct fj_choice *choice)
{
    const struct fj_config *config = &choice->config;
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), bk = FJ_CFG(config, bk);
    if (bm % 16 != 0 || bm > 256)
        return fj_err(FAJIT_E_INVAL, "bm=%d: it may be 16 to 256 in steps of 16", bm);
    if (bn % 16 != 0 || bn > 256)
        return fj_err(FAJIT_E_INVAL, "bn=%d: it may be 16 to 256 in steps of 16", bn);
    int count = threads(choice);
    if (count < 32 || count > 256)
        return fj_err(FAJIT_E_INVAL,
                      "bm=%d by bn=%d makes %d threads of 8 x 8 elements; it may be 32 to 256", bm,
                      bn, count);
    if (FJ_CFG(config, splitk) > SPLITS_MAX)
        return fj_err(FAJIT_E_INVAL, "splitk=%d: it may be 1 to %d", FJ_CFG(config, splitk),
                      SPLITS_MAX);
    if (bk > 64 || bm * bk % count != 0 || bn * bk % count != 0)
        return fj_err(FAJIT_E_INVAL,
                      "bk=%d: it may be up to 64, and the %d threads must share bm=%d and bn=%d "
                      "times bk elements evenly",
                      bk, count, bm, bn);
    return FAJIT_OK;
}

// Large tiles read less, but there must be enough of them for all SMs.
static int default_block(const struct fj_gemm *gemm, const struct fj_gpu *gpu)
{
    struct fj_gemm_sizes s = fj_gemm_sizes(gemm, UNKNOWN_SIZE);
    int64_t tiles = (s.m + 127) / 128 * ((s.n + 127) / 128) * s.batch;
    return tiles >= gpu->sm_count ? 128 : 64;
}

// As many as give every SM four CTAs, while each part is worth one.
static int default_splits(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    const struct fj_config *config = &choice->config;
    struct fj_gemm_sizes s = fj_gemm_sizes(&choice->problem.gemm, UNKNOWN_SIZE);
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), bk = FJ_CFG(config, bk), splits = 1;
    int64_t tiles = (s.m + bm - 1) / bm * ((s.n + bn - 1) / bn) * s.batch;
    while (tiles * splits * 2 <= gpu->sm_count * 4 && splits < SPLITS_MAX &&
           s.k / (splits * 2) >= 16 * bk)
        splits *= 2;
    return splits;
}

static int configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    static const enum fj_knob allowed[] = {FJ_KNOB_bm,     FJ_KNOB_bn,    FJ_KNOB_bk,
                                           FJ_KNOB_splitk, FJ_KNOB_group, FJ_KNOB_COUNT};
    struct fj_config *config = &choice->config;
    bool given;
    int r = fj_config_knobs_check(config, allowed);
    if (r == FAJIT_OK)
        r = fj_gemm_tile_given(config, &given);
    if (r < 0)
        return r;
    int block = default_block(&choice->problem.gemm, gpu);
    fj_config_default(config, FJ_KNOB_bm, block);
    fj_config_default(config, FJ_KNOB_bn, block);
    // Elements on their way take block_k * block / threads registers.
    fj_config_default(config, FJ_KNOB_bk, FJ_CFG(config, bm) > 64 ? 16 : 8);
    fj_config_default(config, FJ_KNOB_group, 8);
    fj_config_default(config, FJ_KNOB_splitk, default_splits(choice, gpu));
    if (choice->problem.variant == FAJIT_VARIANT_AUTO)
        choice->problem.variant = FAJIT_VARIANT_V2;
    return check_tile(choice);
}

static void params(const struct fj_choice *choice, struct fj_params *ret)
{
    fj_gemm_params(choice, ret);
    fj_params_int(ret, "splits", FJ_CFG(&choice->config, splitk));
}

const struct fj_kernel_class fj_class_gemm_simt = {
    .name = "gemm_simt",
    .template_name = "gemm_simt.cu",
    .op = FAJIT_OP_GEMM,
    .family = FAJIT_FAMILY_SIMT,
    .check = check,
    .configure = configure,
    .params = params,
    .meaning = fj_gemm_meaning,
    .summary = "Matrix product C = act(alpha A B + beta C + bias), fp32 multiply-adds.",
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = fj_gemm_cost,
    .workspace_bytes = fj_gemm_workspace_bytes,
    .bind = fj_gemm_bind,
};
