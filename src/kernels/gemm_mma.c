// templates/gemm_mma.cu: matrix product by mma.sync, from Turing on.
#include "kernels/gemm_common.h"

#define UNKNOWN_SIZE 4096 // stands for a size that is "any"
#define STAGES_MAX 8
#define SPLITS_MAX 32

static bool is_tf32(const struct fj_gemm *gemm)
{
    return gemm->dtype == FAJIT_F32;
}

static int element_bytes(const struct fj_choice *choice)
{
    return (int)fajit_dtype_bytes(choice->problem.gemm.dtype);
}

// --- Which problems ---------------------------------------------------------------------------

static int check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    const struct fj_gemm *gemm = &problem->gemm;
    if (gpu->cc < 75)
        return fj_err(FAJIT_E_UNSUPPORTED, "mma.sync exists from compute capability 7.5 on");
    if (gpu->cc < 80 && gemm->dtype != FAJIT_F16)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "tensor cores of compute capability 7.5 multiply fp16 only");
    if (is_tf32(gemm) && gemm->math == FAJIT_MATH_FMA)
        return fj_err(FAJIT_E_UNSUPPORTED, "tensor cores do not multiply fp32 exactly; ask for "
                                           "math=3xtf32 or math=tf32");
    return FAJIT_OK;
}

// --- Configuration ----------------------------------------------------------------------------

static int pitch(int along_k, int block_k, int block_other, bool tf32)
{
    return along_k ? block_k + (tf32 ? 4 : 8) : block_other + 8;
}

static int stage_bytes(const struct fj_choice *choice)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    const struct fj_config *config = &choice->config;
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), bk = FJ_CFG(config, bk);
    int a = (gemm->trans_a ? bk : bm) * pitch(!gemm->trans_a, bk, bm, is_tf32(gemm));
    int b = (gemm->trans_b ? bn : bk) * pitch(gemm->trans_b, bk, bn, is_tf32(gemm));
    return (a + b) * element_bytes(choice);
}

static int smem_bytes(const struct fj_choice *choice)
{
    return FJ_CFG(&choice->config, stages) * stage_bytes(choice);
}

static int threads(const struct fj_choice *choice)
{
    return 32 * FJ_CFG(&choice->config, warps);
}

// How warps divide a tile: into parts as square as can be.
static void divide(const struct fj_config *config, int *ret_m, int *ret_n)
{
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), warps = FJ_CFG(config, warps);
    int best = 0, best_sum = 0;
    for (int m = 1; m <= warps; m *= 2) {
        int n = warps / m;
        int sum = bm / m + bn / n;
        bool fits = m * n == warps && bm % (16 * m) == 0 && bn % (16 * n) == 0;
        if (fits && (best == 0 || sum < best_sum)) {
            best = m;
            best_sum = sum;
        }
    }
    *ret_m = best;
    *ret_n = best ? warps / best : 0;
}

// The threads share the copy of a box of rows by columns evenly.
static bool copies_evenly(int rows, int columns, int threads_of_cta, int element)
{
    int chunks = columns * element / 16;
    return threads_of_cta % chunks == 0 && rows % (threads_of_cta / chunks) == 0;
}

static bool power_of_two(int value)
{
    return value > 0 && (value & (value - 1)) == 0;
}

static int check_tile(const struct fj_choice *choice)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    const struct fj_config *config = &choice->config;
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), bk = FJ_CFG(config, bk);
    if (!power_of_two(bm) || bm < 16 || bm > 256)
        return fj_err(FAJIT_E_INVAL, "bm=%d: it may be 16, 32, 64, 128 or 256", bm);
    if (!power_of_two(bn) || bn < 16 || bn > 256)
        return fj_err(FAJIT_E_INVAL, "bn=%d: it may be 16, 32, 64, 128 or 256", bn);
    if ((bk != 16 || !is_tf32(gemm)) && bk != 32 && bk != 64)
        return fj_err(FAJIT_E_INVAL, "bk=%d: it may be 32 or 64, with fp32 also 16", bk);
    int across, beside;
    divide(config, &across, &beside);
    if (across == 0)
        return fj_err(FAJIT_E_INVAL,
                      "warps=%d: bm=%d by bn=%d is not divided into as many parts of 16 rows by 16 "
                      "columns or multiples of it",
                      FJ_CFG(config, warps), bm, bn);
    int element = element_bytes(choice), count = threads(choice);
    if (!copies_evenly(gemm->trans_a ? bk : bm, gemm->trans_a ? bm : bk, count, element) ||
        !copies_evenly(gemm->trans_b ? bn : bk, gemm->trans_b ? bk : bn, count, element))
        return fj_err(FAJIT_E_INVAL,
                      "%d threads do not share the copies of bm=%d, bn=%d, bk=%d evenly; take a "
                      "larger bk or fewer warps",
                      count, bm, bn, bk);
    if (bm / across * (bn / beside) > 64 * 64)
        return fj_err(
            FAJIT_E_INVAL,
            "bm=%d, bn=%d: a warp of %d keeps more than 64 x 64 sums, which its registers "
            "do not hold; take more warps",
            bm, bn, FJ_CFG(config, warps));
    return FAJIT_OK;
}

static int check_config(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    const struct fj_config *config = &choice->config;
    int r = check_tile(choice);
    if (r < 0)
        return r;
    // Turing copies through registers: a ring would be of no use, and the text for one stage is
    // its.
    if (gpu->cc < 80 && FJ_CFG(config, stages) != 1)
        return fj_err(FAJIT_E_INVAL, "stages=%d: it is 1 on compute capability 7.5",
                      FJ_CFG(config, stages));
    if (gpu->cc >= 80 && (FJ_CFG(config, stages) < 2 || FJ_CFG(config, stages) > STAGES_MAX))
        return fj_err(FAJIT_E_INVAL, "stages=%d: it may be 2 to %d", FJ_CFG(config, stages),
                      STAGES_MAX);
    if (FJ_CFG(config, splitk) > SPLITS_MAX)
        return fj_err(FAJIT_E_INVAL, "splitk=%d: it may be 1 to %d", FJ_CFG(config, splitk),
                      SPLITS_MAX);
    return FAJIT_OK;
}

static const struct tile {
    int bm, bn, bk, warps;
} tiles_16[] = {{128, 256, 64, 8}, {128, 128, 32, 4}, {64, 128, 32, 4}, {64, 64, 32, 4}},
  tiles_32[] = {{128, 128, 16, 8}, {64, 128, 16, 4}, {64, 64, 16, 4}};

static int64_t div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

// The largest tile of which there are enough to occupy the GPU; the smallest when none.
static const struct tile *default_tile(const struct fj_gemm *gemm, const struct fj_gpu *gpu)
{
    struct fj_gemm_sizes s = fj_gemm_sizes(gemm, UNKNOWN_SIZE);
    const struct tile *tile = is_tf32(gemm) ? tiles_32 : tiles_16;
    // Before sm_80 a stage is copied through registers, and shared memory is small.
    if (gpu->cc < 80 || (!is_tf32(gemm) && gpu->smem_per_sm_bytes < 160 * 1024))
        tile++;
    while (tile->bm > 64 || tile->bn > 64) {
        int64_t count = div_up(s.m, tile->bm) * div_up(s.n, tile->bn) * s.batch;
        if (count * 10 >= (int64_t)gpu->sm_count * 9)
            break;
        tile++;
    }
    return tile;
}

static int default_splits(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    const struct fj_config *config = &choice->config;
    struct fj_gemm_sizes s = fj_gemm_sizes(&choice->problem.gemm, UNKNOWN_SIZE);
    int64_t tiles = div_up(s.m, FJ_CFG(config, bm)) * div_up(s.n, FJ_CFG(config, bn)) * s.batch;
    int64_t steps = div_up(s.k, FJ_CFG(config, bk)), splits = 1;
    while (tiles * splits * 2 <= gpu->sm_count && splits < SPLITS_MAX && steps / (splits * 2) >= 8)
        splits *= 2;
    return (int)splits;
}

static int default_stages(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    int wanted = gpu->cc < 80 ? 1 : FJ_CFG(&choice->config, bk) > 32 ? 3 : 4;
    int fit = gpu->smem_per_block_bytes / stage_bytes(choice);
    return fit < wanted ? fit : wanted;
}

static int configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    static const enum fj_knob allowed[] = {FJ_KNOB_bm,    FJ_KNOB_bn,     FJ_KNOB_bk,
                                           FJ_KNOB_warps, FJ_KNOB_stages, FJ_KNOB_splitk,
                                           FJ_KNOB_group, FJ_KNOB_ctas,   FJ_KNOB_COUNT};
    struct fj_config *config = &choice->config;
    bool given;
    int r = fj_gemm_knobs_check(config, allowed);
    if (r == FAJIT_OK)
        r = fj_gemm_tile_given(config, &given);
    if (r < 0)
        return r;
    const struct tile *tile = default_tile(&choice->problem.gemm, gpu);
    if (!given) {
        fj_gemm_default(config, FJ_KNOB_bm, tile->bm);
        fj_gemm_default(config, FJ_KNOB_bn, tile->bn);
        fj_gemm_default(config, FJ_KNOB_bk, tile->bk);
        fj_gemm_default(config, FJ_KNOB_warps, tile->warps);
    }
    int area = FJ_CFG(config, bm) * FJ_CFG(config, bn);
    fj_gemm_default(config, FJ_KNOB_warps, area > 128 * 128 ? 8 : 4);
    fj_gemm_default(config, FJ_KNOB_group,
                    2048 / FJ_CFG(config, bm) > 0 ? 2048 / FJ_CFG(config, bm) : 1);
    r = check_tile(choice);
    if (r < 0)
        return r;
    fj_gemm_default(config, FJ_KNOB_stages, default_stages(choice, gpu));
    fj_gemm_default(config, FJ_KNOB_splitk, default_splits(choice, gpu));
    fj_gemm_default(config, FJ_KNOB_ctas, 1);
    if (choice->problem.variant == FAJIT_VARIANT_AUTO)
        choice->problem.variant = FAJIT_VARIANT_V2;
    return check_config(choice, gpu);
}

// --- What the text bakes in -------------------------------------------------------------------

static void params(const struct fj_choice *choice, struct fj_params *ret)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    const struct fj_config *config = &choice->config;
    const char *math = !is_tf32(gemm) ? "none" : gemm->math == FAJIT_MATH_TF32 ? "tf32" : "tf32x3";
    int across, beside;
    divide(config, &across, &beside);
    fj_gemm_params(choice, ret);
    fj_params_int(ret, "stages", FJ_CFG(config, stages));
    fj_params_int(ret, "warps_m", across);
    fj_params_int(ret, "warps_n", beside);
    fj_params_int(ret, "splits", FJ_CFG(config, splitk));
    fj_params_int(ret, "ctas", FJ_CFG(config, ctas));
    fj_params_word(ret, "math", math);
}

// --- Launch -----------------------------------------------------------------------------------

// Sums of every split of every tile, then a counter per tile.
static int workspace_layout(const struct fj_choice *choice, const struct fj_gemm_args *args,
                            struct fj_gemm_tiles *ret_tiles, size_t *ret_sums, size_t *ret_counters)
{
    const struct fj_config *config = &choice->config;
    size_t splits = (size_t)FJ_CFG(config, splitk);
    int r = fj_gemm_tiles_count(choice, args, 1, 1, ret_tiles);
    if (r < 0)
        return r;
    size_t tile_bytes = (size_t)FJ_CFG(config, bm) * (size_t)FJ_CFG(config, bn) * sizeof(float);
    *ret_sums = splits > 1 ? (size_t)ret_tiles->total * splits * tile_bytes : 0;
    *ret_counters = splits > 1 ? (size_t)ret_tiles->total * sizeof(uint32_t) : 0;
    return FAJIT_OK;
}

static size_t workspace_bytes(const struct fj_choice *choice, const struct fj_gpu *gpu,
                              const void *args)
{
    struct fj_gemm_tiles tiles;
    size_t sums, counters;
    (void)gpu;
    return workspace_layout(choice, args, &tiles, &sums, &counters) == FAJIT_OK ? sums + counters
                                                                                : 0;
}

static int bind(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                const void *opaque, struct fj_launch *ret)
{
    const struct fj_gemm_args *args = opaque;
    int64_t splits = FJ_CFG(&choice->config, splitk);
    struct fj_gemm_tiles tiles;
    size_t sums, counters;
    fj_launch_init(ret);
    int r = workspace_layout(choice, args, &tiles, &sums, &counters);
    if (r < 0)
        return r;
    if (args->workspace_bytes < sums + counters)
        return fj_err(FAJIT_E_INVAL, "the workspace has %zu bytes, the launch needs %zu",
                      args->workspace_bytes, sums + counters);
    int64_t resident = (int64_t)gpu->sm_count * ctas_per_sm / splits, teams = tiles.total;
    if (choice->problem.variant == FAJIT_VARIANT_PERSISTENT && teams > resident && resident > 0)
        teams = resident;
    r = fj_launch_grid(ret, teams * splits, 1, 1);
    if (r < 0 || ret->empty)
        return r;
    ret->block = (unsigned)threads(choice);
    ret->smem_bytes = (unsigned)smem_bytes(choice);
    fj_gemm_push_matrix(&args->a, ret);
    fj_gemm_push_matrix(&args->b, ret);
    fj_gemm_push_matrix(&args->c, ret);
    fj_gemm_push_epilogue(choice, args, ret);
    if (splits > 1) {
        ret->clear = (char *)args->workspace + sums;
        ret->clear_bytes = counters;
        fj_launch_push_ptr(ret, args->workspace);
        fj_launch_push_ptr(ret, ret->clear);
    }
    fj_gemm_push_shape(choice, args, &tiles, ret);
    return FAJIT_OK;
}

const struct fj_kernel_class fj_class_gemm_mma = {
    .name = "gemm_mma",
    .template_name = "gemm_mma.cu",
    .op = FAJIT_OP_GEMM,
    .family = FAJIT_FAMILY_MMA,
    .check = check,
    .configure = configure,
    .params = params,
    .meaning = fj_gemm_meaning,
    .summary = "Matrix product C = act(alpha A B + beta C + bias), tensor cores through mma.sync.",
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = fj_gemm_cost,
    .workspace_bytes = workspace_bytes,
    .bind = bind,
};
