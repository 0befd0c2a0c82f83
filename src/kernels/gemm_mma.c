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

// Where each warp collects 16 rows of C (lib/mma_store.cuh).
static int strip_bytes(const struct fj_config *config)
{
    int across, beside;
    divide(config, &across, &beside);
    return beside == 0 ? 0 : 16 * (FJ_CFG(config, bn) / beside + 8) * (int)sizeof(float);
}

static int smem_bytes(const struct fj_choice *choice)
{
    int stages = FJ_CFG(&choice->config, stages) * stage_bytes(choice);
    int strips = FJ_CFG(&choice->config, warps) * strip_bytes(&choice->config);
    return stages > strips ? stages : strips;
}

// The threads share the copy of a box of rows by columns evenly.
static bool copies_evenly(int rows, int columns, int threads_of_cta, int element)
{
    int chunks = columns * element / 16;
    return threads_of_cta % chunks == 0 && rows % (threads_of_cta / chunks) == 0;
}

static bool shares_copies(const struct fj_choice *choice)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    const struct fj_config *config = &choice->config;
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), bk = FJ_CFG(config, bk);
    int element = element_bytes(choice), count = threads(choice);
    return copies_evenly(gemm->trans_a ? bk : bm, gemm->trans_a ? bm : bk, count, element) &&
           copies_evenly(gemm->trans_b ? bn : bk, gemm->trans_b ? bk : bn, count, element);
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
    if (!shares_copies(choice))
        return fj_err(FAJIT_E_INVAL,
                      "%d threads do not share the copies of bm=%d, bn=%d, bk=%d evenly; take a "
                      "larger bk or fewer warps",
                      threads(choice), bm, bn, bk);
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

// --- Default tile -----------------------------------------------------------------------------

// Tiles, and how long an SM of an H200 takes for a block of 128 bytes of k, for one CTA alone and
// for two at a time: fitted to timings of bf16 products, where every choice could be compared with
// the best one measured (tests/notes/gemm_mma.md). Of other GPUs only the ratios are used.
static const struct tile {
    int bm, bn, warps;
    int alone, pair; // ns
    int fixed;       // ns beside the blocks: launch, first copies, C
} tiles[] = {
    {128, 256, 8, 1032, 2064, 7700}, {128, 128, 8, 686, 1372, 5400}, {128, 64, 4, 470, 1094, 5050},
    {64, 128, 4, 437, 1096, 5400},   {64, 64, 4, 336, 726, 4200},    {32, 128, 4, 391, 884, 4900},
    {16, 128, 4, 376, 786, 4300},    {16, 64, 4, 267, 465, 4300},
};
// Before sm_80 a stage is copied through registers.
static const struct tile tiles_75[] = {
    {128, 128, 4, 700, 1400, 5400}, {64, 128, 4, 437, 1096, 5400}, {64, 64, 4, 336, 726, 4200}};

#define SPLIT_FIXED 6200 // ns: the sums go to memory and come back
#define SPLIT_EACH 29    // ns per split and 1024 elements of the tile

static int64_t div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int resident(const struct tile *tile)
{
    return tile->warps > 4 ? 1 : 2; // CTAs per SM
}

// A block of fp32 is as long, but is not loaded by ldmatrix. With three products the tensor cores
// are the bound, and converting what a warp loads.
static int64_t block_time(const struct fj_gemm *gemm, const struct tile *tile, bool alone)
{
    int64_t time = alone ? tile->alone : tile->pair;
    if (!is_tf32(gemm))
        return time;
    int64_t products = (tile->bm * tile->bn + 16 * (tile->bm + tile->bn)) * (alone ? 1 : 2) / 9;
    time += time * 2 / 5;
    return gemm->math == FAJIT_MATH_3XTF32 && products > time ? products : time;
}

// Estimated nanoseconds of the whole product.
static int64_t estimate(const struct fj_gemm *gemm, const struct fj_gpu *gpu,
                        const struct tile *tile, int splits)
{
    struct fj_gemm_sizes s = fj_gemm_sizes(gemm, UNKNOWN_SIZE);
    int64_t blocks = div_up(div_up(s.k, is_tf32(gemm) ? 32 : 64), splits);
    int64_t ctas = div_up(s.m, tile->bm) * div_up(s.n, tile->bn) * s.batch * splits;
    int64_t wave = (int64_t)gpu->sm_count * resident(tile);
    int64_t full = ctas / wave, rest = ctas % wave;
    int64_t time = full * (blocks * block_time(gemm, tile, resident(tile) == 1) + tile->fixed);
    if (rest > 0)
        time += blocks * block_time(gemm, tile, rest <= gpu->sm_count) + tile->fixed;
    if (splits > 1)
        time += SPLIT_FIXED + (int64_t)SPLIT_EACH * splits * tile->bm * tile->bn / 1024;
    return time;
}

// Splits of a tile that take the least time. Large tiles have no registers left for them; of many
// tiles the workspace would be large; and every part should be worth a CTA.
static int best_splits(const struct fj_gemm *gemm, const struct fj_gpu *gpu,
                       const struct tile *tile)
{
    struct fj_gemm_sizes s = fj_gemm_sizes(gemm, UNKNOWN_SIZE);
    int64_t blocks = div_up(s.k, is_tf32(gemm) ? 32 : 64);
    int64_t count = div_up(s.m, tile->bm) * div_up(s.n, tile->bn) * s.batch;
    int best = 1, most = tile->bm * tile->bn <= 128 * 128 ? SPLITS_MAX : 1;
    for (int splits = 2; splits <= most; splits *= 2)
        if (blocks / splits >= 4 && count * splits <= 2 * gpu->sm_count &&
            estimate(gemm, gpu, tile, splits) < estimate(gemm, gpu, tile, best))
            best = splits;
    return best;
}

// The largest tile takes all registers: nothing is left for narrow copies or for fp32 in two parts.
static bool has_registers(const struct fj_gemm *gemm, const struct tile *tile)
{
    return tile->bm * tile->bn <= 128 * 128 ||
           (gemm->align_bytes >= 16 && gemm->math != FAJIT_MATH_3XTF32);
}

static const struct tile *default_tile(const struct fj_gemm *gemm, const struct fj_gpu *gpu)
{
    const struct tile *tile = gpu->cc < 80 ? tiles_75 : tiles, *best = NULL;
    size_t count = gpu->cc < 80 ? sizeof(tiles_75) / sizeof(*tile) : sizeof(tiles) / sizeof(*tile);
    int64_t best_time = 0;
    for (; count > 0; count--, tile++) {
        if (!has_registers(gemm, tile))
            continue;
        int64_t time = estimate(gemm, gpu, tile, best_splits(gemm, gpu, tile));
        if (!best || time < best_time) {
            best = tile;
            best_time = time;
        }
    }
    return best;
}

// The depth of a stage: 128 bytes, or half as much where three stages would not fit, or where fp32
// fragments leave few registers; unless the threads could not share the copies then.
static int default_depth(const struct fj_choice *choice, const struct fj_gpu *gpu,
                         const struct tile *tile)
{
    struct fj_choice tried = *choice;
    bool tf32 = is_tf32(&choice->problem.gemm);
    int deep = tf32 ? 32 : 64;
    FJ_CFG(&tried.config, bm) = (int16_t)tile->bm;
    FJ_CFG(&tried.config, bn) = (int16_t)tile->bn;
    FJ_CFG(&tried.config, bk) = (int16_t)deep;
    FJ_CFG(&tried.config, warps) = (int16_t)tile->warps;
    int room = gpu->smem_per_sm_bytes / resident(tile) - gpu->smem_reserved_bytes;
    if (room > gpu->smem_per_block_bytes)
        room = gpu->smem_per_block_bytes;
    bool registers = !tf32 || tile->bm * tile->bn <= 128 * 128;
    if (gpu->cc >= 80 && registers && 3 * stage_bytes(&tried) <= room)
        return deep;
    FJ_CFG(&tried.config, bk) = (int16_t)(deep / 2);
    return shares_copies(&tried) ? deep / 2 : deep;
}

static int default_stages(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    int area = FJ_CFG(&choice->config, bm) * FJ_CFG(&choice->config, bn);
    int deep = FJ_CFG(&choice->config, bk) * element_bytes(choice) >= 128;
    int wanted = area > 128 * 128 ? 4 - deep : area >= 64 * 128 ? 4 : 6;
    int fit = gpu->smem_per_block_bytes / stage_bytes(choice);
    return gpu->cc < 80 ? 1 : fit < wanted ? fit : wanted;
}

// Of a tile that the user gave: as many splits as occupy the GPU.
static int default_splits(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    const struct fj_config *config = &choice->config;
    struct fj_gemm_sizes s = fj_gemm_sizes(&choice->problem.gemm, UNKNOWN_SIZE);
    int64_t tiles_all = div_up(s.m, FJ_CFG(config, bm)) * div_up(s.n, FJ_CFG(config, bn)) * s.batch;
    int64_t blocks = div_up(s.k, FJ_CFG(config, bk)), splits = 1;
    while (tiles_all * splits * 2 <= gpu->sm_count && splits < SPLITS_MAX &&
           blocks / (splits * 2) >= 8)
        splits *= 2;
    return (int)splits;
}

static int configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    static const enum fj_knob allowed[] = {FJ_KNOB_bm,    FJ_KNOB_bn,     FJ_KNOB_bk,
                                           FJ_KNOB_warps, FJ_KNOB_stages, FJ_KNOB_splitk,
                                           FJ_KNOB_group, FJ_KNOB_ctas,   FJ_KNOB_COUNT};
    struct fj_config *config = &choice->config;
    bool given;
    int r = fj_config_knobs_check(config, allowed);
    if (r == FAJIT_OK)
        r = fj_gemm_tile_given(config, &given);
    if (r < 0)
        return r;
    const struct tile *tile = default_tile(&choice->problem.gemm, gpu);
    if (!given) {
        fj_config_default(config, FJ_KNOB_bk, default_depth(choice, gpu, tile));
        fj_config_default(config, FJ_KNOB_bm, tile->bm);
        fj_config_default(config, FJ_KNOB_bn, tile->bn);
        fj_config_default(config, FJ_KNOB_warps, tile->warps);
        fj_config_default(config, FJ_KNOB_splitk, best_splits(&choice->problem.gemm, gpu, tile));
    }
    int area = FJ_CFG(config, bm) * FJ_CFG(config, bn);
    fj_config_default(config, FJ_KNOB_warps, area > 128 * 128 ? 8 : 4);
    fj_config_default(config, FJ_KNOB_group,
                      FJ_CFG(config, bm) < 128 ? 1024 / FJ_CFG(config, bm) : 8);
    r = check_tile(choice);
    if (r < 0)
        return r;
    fj_config_default(config, FJ_KNOB_stages, default_stages(choice, gpu));
    fj_config_default(config, FJ_KNOB_splitk, default_splits(choice, gpu));
    fj_config_default(config, FJ_KNOB_ctas, 1);
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
    .workspace_bytes = fj_gemm_workspace_bytes,
    .bind = fj_gemm_bind,
};
