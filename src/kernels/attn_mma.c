// templates/attn_fwd_mma.cu and attn_fwd_mma_v1.cu: attention forward by mma.sync.
#include "kernels/attn_common.h"

#define BLOCK_M_MAX 256
#define BLOCK_N_MAX 256
#define STAGES_MAX 4
#define WARPS_MAX 16
#define REGISTERS_MAX 255

// --- Which problems ---------------------------------------------------------------------------

static int check_common(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    enum fajit_dtype dtype = problem->attn.dtype;
    if (dtype != FAJIT_F16 && dtype != FAJIT_BF16)
        return fj_err(FAJIT_E_UNSUPPORTED, "it takes fp16 and bf16");
    if (gpu->cc < 75)
        return fj_err(FAJIT_E_UNSUPPORTED, "mma.sync needs compute capability 7.5 or later");
    if (gpu->cc < 80 && dtype == FAJIT_BF16)
        return fj_err(FAJIT_E_UNSUPPORTED, "bf16 products need compute capability 8.0 or later");
    return FAJIT_OK;
}

static int check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    int r = fj_attn_variant_check(problem, false, "attn_fwd_mma_v1");
    return r < 0 ? r : check_common(problem, gpu);
}

static int check_v1(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    int r = fj_attn_variant_check(problem, true, "attn_fwd_mma_v1");
    return r < 0 ? r : check_common(problem, gpu);
}

// --- Configuration ----------------------------------------------------------------------------

// Default tiles by the larger head dim; the first row of which `ctas` CTAs fit on an SM of the GPU
// counts. Found by sweeps on an H200; for other GPUs by their shared memory. The last row of a head
// dim fits into the 64 KiB of compute capability 7.5.
struct tile {
    int head_dim; // up to
    int bm, bn, warps, stages, qregs, ctas;
};
static const struct tile tiles_v2[] = {
    {64, 128, 64, 4, 2, 1, 2},
    {64, 128, 64, 4, 1, 1, 2},
    {64, 64, 64, 4, 1, 1, 2},
    {80, 128, 64, 4, 2, 1, 2},
    {80, 128, 64, 4, 1, 1, 2},
    {80, 64, 32, 4, 1, 1, 2},
    {96, 128, 80, 4, 1, 2, 2},
    {128, 128, 64, 4, 2, 2, 2},
    {128, 128, 64, 4, 1, 2, 2},
    {128, 64, 48, 4, 1, 1, 2},
    {128, 64, 64, 4, 1, 1, 1},
    {192, 64, 64, 4, 1, 1, 2},
    {192, 64, 32, 4, 1, 1, 1},
    {224, 64, 64, 4, 1, 1, 2},
    {256, 64, 64, 4, 1, 2, 2},
    {256, 64, 32, 4, 1, 2, 2},
    {256, 64, 32, 4, 1, 2, 1},
    {256, 64, 16, 4, 1, 2, 1},
    {0},
};
// State moves between registers and memory at every visit: fewer registers are left.
static const struct tile tiles_v1[] = {
    {64, 128, 64, 4, 1, 2, 1},
    {128, 128, 64, 8, 1, 2, 1},
    {128, 64, 64, 4, 1, 2, 1},
    {256, 128, 64, 8, 1, 2, 1},
    {256, 64, 32, 4, 1, 2, 1},
    {256, 64, 16, 4, 1, 2, 1},
    {0},
};

static int smem_of(const struct fj_attn *attn, const struct fj_config *config, bool v1)
{
    int pitch_q = fj_round_up(attn->head_dim, 16) + 8;
    int pitch_v = fj_round_up(attn->head_dim_v, 16) + 8;
    int bm = FJ_CFG(config, bm), kv = FJ_CFG(config, bn) * (pitch_q + pitch_v);
    int q = bm * pitch_q, o = bm * pitch_v;
    if (v1)
        return 2 * ((q > o ? q : o) + kv);
    int loop = q + FJ_CFG(config, stages) * kv;
    return 2 * (loop > o ? loop : o);
}

// Accumulators S and O, Q where it stays, and what little addresses and maxima can do with.
static int registers_needed(const struct fj_attn *attn, const struct fj_config *config)
{
    int tiles = FJ_CFG(config, bm) / (16 * FJ_CFG(config, warps));
    int q = FJ_CFG(config, qregs) == 1 ? fj_round_up(attn->head_dim, 16) / 4 : 0;
    return tiles * (FJ_CFG(config, bn) / 2 + fj_round_up(attn->head_dim_v, 16) / 2 + q) + 24;
}

// Copies by narrow or plain loads take registers of their own: tiles that leave fewer would spill.
#define REGISTERS_BESIDE_COPIES 180

static bool copies_take_registers(const struct fj_attn *attn, const struct fj_config *config)
{
    return attn->align_bytes < 16 || FJ_CFG(config, bk) == 8;
}

// Whether a row of the table does on that GPU.
static bool is_suitable(const struct fj_attn *attn, const struct fj_gpu *gpu, bool v1,
                        const struct fj_config *config)
{
    if (copies_take_registers(attn, config) &&
        registers_needed(attn, config) > REGISTERS_BESIDE_COPIES)
        return false;
    return fj_attn_smem_fits(gpu, smem_of(attn, config, v1), FJ_CFG(config, ctas));
}

static void set_tile(const struct tile *tile, bool v1, struct fj_config *config)
{
    fj_config_default(config, FJ_KNOB_bm, tile->bm);
    fj_config_default(config, FJ_KNOB_bn, tile->bn);
    // A warp has at least 16 rows; a bm below that is check_tile's to refuse.
    int warps_max = FJ_CFG(config, bm) < 16 ? 1 : FJ_CFG(config, bm) / 16;
    fj_config_default(config, FJ_KNOB_warps, tile->warps < warps_max ? tile->warps : warps_max);
    if (!v1)
        fj_config_default(config, FJ_KNOB_stages, tile->stages);
    fj_config_default(config, FJ_KNOB_qregs, tile->qregs);
    fj_config_default(config, FJ_KNOB_ctas, tile->ctas);
}

static void set_defaults(const struct fj_attn *attn, const struct fj_gpu *gpu, bool v1,
                         struct fj_config *config)
{
    int head_dim = attn->head_dim > attn->head_dim_v ? attn->head_dim : attn->head_dim_v;
    struct fj_config tried = *config;
    fj_config_default(config, FJ_KNOB_bk, gpu->cc < 80 ? 8 : 16);
    fj_config_default(config, FJ_KNOB_lazy, 1);
    for (const struct tile *tile = v1 ? tiles_v1 : tiles_v2; tile->head_dim; tile++) {
        if (tile->head_dim < head_dim)
            continue;
        tried = *config;
        set_tile(tile, v1, &tried);
        if (is_suitable(attn, gpu, v1, &tried))
            break;
    }
    *config = tried;
}

static int check_tile(const struct fj_config *config)
{
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), warps = FJ_CFG(config, warps);
    if (warps > WARPS_MAX)
        return fj_err(FAJIT_E_INVAL, "warps=%d: it may be 1 to %d", warps, WARPS_MAX);
    if (bm % (16 * warps) != 0 || bm > BLOCK_M_MAX)
        return fj_err(FAJIT_E_INVAL, "bm=%d: with warps=%d it may be %d to %d in steps of %d", bm,
                      warps, 16 * warps, BLOCK_M_MAX, 16 * warps);
    if (bn % 16 != 0 || bn > BLOCK_N_MAX)
        return fj_err(FAJIT_E_INVAL, "bn=%d: it may be 16 to %d in steps of 16", bn, BLOCK_N_MAX);
    if (FJ_CFG(config, stages) > STAGES_MAX)
        return fj_err(FAJIT_E_INVAL, "stages=%d: it may be 1 to %d", FJ_CFG(config, stages),
                      STAGES_MAX);
    return FAJIT_OK;
}

static int check_instructions(const struct fj_attn *attn, const struct fj_gpu *gpu,
                              const struct fj_config *config)
{
    int bk = FJ_CFG(config, bk);
    if (bk != 8 && bk != 16)
        return fj_err(FAJIT_E_INVAL, "bk=%d: one mma is 8 or 16 deep", bk);
    if (bk == 8 && attn->dtype != FAJIT_F16)
        return fj_err(FAJIT_E_UNSUPPORTED, "bk=8 is the form for compute capability 7.5, which "
                                           "has fp16 products only");
    if (bk == 16 && gpu->cc < 80)
        return fj_err(FAJIT_E_UNSUPPORTED, "bk=16 needs compute capability 8.0 or later");
    return FAJIT_OK;
}

static int check_config(const struct fj_attn *attn, const struct fj_gpu *gpu,
                        const struct fj_config *config)
{
    static const enum fj_knob allowed[] = {FJ_KNOB_bm,     FJ_KNOB_bn,    FJ_KNOB_bk,
                                           FJ_KNOB_warps,  FJ_KNOB_qregs, FJ_KNOB_lazy,
                                           FJ_KNOB_stages, FJ_KNOB_ctas,  FJ_KNOB_COUNT};
    int r = fj_config_knobs_check(config, allowed);
    if (r == FAJIT_OK)
        r = check_tile(config);
    if (r == FAJIT_OK)
        r = check_instructions(attn, gpu, config);
    if (r < 0)
        return r;
    int available = gpu->regs_per_sm / (32 * FJ_CFG(config, warps) * FJ_CFG(config, ctas));
    if (available > REGISTERS_MAX)
        available = REGISTERS_MAX;
    if (registers_needed(attn, config) > available)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "a thread may have %d registers, and S, P, O and Q need %d: ask for a "
                      "smaller bn or bm, more warps, fewer ctas, or qregs=2",
                      available, registers_needed(attn, config));
    return FAJIT_OK;
}

static int configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    struct fj_problem *problem = &choice->problem;
    if (problem->variant == FAJIT_VARIANT_AUTO)
        problem->variant = FAJIT_VARIANT_V2;
    set_defaults(&problem->attn, gpu, false, &choice->config);
    return check_config(&problem->attn, gpu, &choice->config);
}

static int configure_v1(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    if (FJ_CFG(&choice->config, stages) != 0)
        return fj_err(FAJIT_E_INVAL, "it has no knob stages; leave it out");
    set_defaults(&choice->problem.attn, gpu, true, &choice->config);
    return check_config(&choice->problem.attn, gpu, &choice->config);
}

// --- What the text bakes in -------------------------------------------------------------------

static bool is_v1(const struct fj_choice *choice)
{
    return choice->problem.variant == FAJIT_VARIANT_V1;
}

static int threads(const struct fj_choice *choice)
{
    return 32 * FJ_CFG(&choice->config, warps);
}

static int smem_bytes(const struct fj_choice *choice)
{
    return smem_of(&choice->problem.attn, &choice->config, is_v1(choice));
}

// Steps of Q K^T to unroll when Q is read again per block. More hide the latency of ldmatrix; where
// rows do not divide evenly among the copying threads, the registers for it are missing.
static int qk_unroll(const struct fj_attn *attn)
{
    return attn->head_dim % 64 == 0 && attn->head_dim_v % 64 == 0 ? 4 : 1;
}

// Widest copies that the promised alignment allows.
static int copy_bytes(int align_bytes)
{
    return align_bytes < 16 ? align_bytes : 16;
}

static void params(const struct fj_choice *choice, struct fj_params *ret)
{
    const struct fj_attn *attn = &choice->problem.attn;
    const struct fj_config *config = &choice->config;
    fj_attn_params(choice, ret);
    fj_params_int(ret, "block_m", FJ_CFG(config, bm));
    fj_params_int(ret, "block_n", FJ_CFG(config, bn));
    fj_params_int(ret, "warps", FJ_CFG(config, warps));
    if (!is_v1(choice))
        fj_params_int(ret, "stages", FJ_CFG(config, stages));
    fj_params_int(ret, "ctas", FJ_CFG(config, ctas));
    fj_params_int(ret, "align", copy_bytes(attn->align_bytes));
    fj_params_int(ret, "mma_k", FJ_CFG(config, bk));
    fj_params_int(ret, "qregs", FJ_CFG(config, qregs) == 1);
    fj_params_int(ret, "qk_unroll", qk_unroll(attn));
    fj_params_int(ret, "lazy", FJ_CFG(config, lazy) == 1);
}

static void cost(const struct fj_choice *choice, struct fj_cost *ret)
{
    const struct fj_attn *attn = &choice->problem.attn;
    fj_attn_cost(choice, 2.0 * FJ_CFG(&choice->config, bn) * (attn->head_dim + attn->head_dim_v),
                 ret);
}

// --- Launch -----------------------------------------------------------------------------------

// Heads walked together, see place_tile in templates/lib/tile_order.cuh. Under a causal mask the
// tiles of one head take different times, so those of several heads are sorted by length, as many
// as leave their K and V in L2; else the tiles of a head follow each other.
static int32_t section(const struct fj_choice *choice, const struct fj_gpu *gpu,
                       const struct fj_attn_args *args)
{
    if (choice->problem.attn.causal == FAJIT_CAUSAL_NONE)
        return 1;
    int64_t group = args->q.shape[1] / args->k.shape[1];
    int64_t heads = args->q.shape[0] * args->q.shape[1];
    int64_t bytes = 2 * args->k.shape[2] * (args->k.shape[3] + args->v.shape[3]);
    int64_t fit = gpu->l2_bytes / 2 / (bytes > 0 ? bytes : 1);
    fit = (fit < 1 ? 1 : fit) * group;
    return (int32_t)(fit < heads ? fit : heads);
}

static int bind(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                const void *any_args, struct fj_launch *ret)
{
    const struct fj_attn_args *args = any_args;
    struct fj_attn_tiles count;
    int r = fj_attn_launch_begin(choice, args, &count, ret);
    if (r < 0 || ret->empty)
        return r;
    fj_attn_push_tensors(choice, args, ret);
    fj_attn_push_sizes(args, ret);
    fj_launch_push_i32(ret, count.per_head);
    fj_launch_push_i32(ret, count.total);
    fj_launch_push_i32(ret, section(choice, gpu, args));
    fj_launch_push_f32(ret, args->scale);
    return fj_attn_launch_finish(choice, fj_attn_grid(choice, gpu, ctas_per_sm, count.total), ret);
}

// O, m and l of every tile, as its threads hold them: four floats at a time.
static size_t workspace_v1(const struct fj_choice *choice, const struct fj_gpu *gpu,
                           const void *any_args)
{
    (void)gpu;
    struct fj_attn_tiles count;
    if (fj_attn_tiles_count(choice, any_args, &count) < 0)
        return 0;                                            // bind refuses the launch
    size_t tiles = (size_t)FJ_CFG(&choice->config, bm) / 16; // of 16 rows, 32 threads each
    size_t columns = (size_t)fj_round_up(choice->problem.attn.head_dim_v, 16) / 8;
    return (size_t)count.total * tiles * 32 * (columns + 1) * 4 * sizeof(float);
}

static void meaning(const struct fj_choice *choice, struct fj_buf *ret)
{
    fj_attn_meaning(choice, ret);
    if (choice->problem.attn.align_bytes < 16)
        fj_buf_printf(ret, "_align%d", choice->problem.attn.align_bytes);
}

const struct fj_kernel_class fj_class_attn_fwd_mma = {
    .name = "attn_fwd_mma",
    .template_name = "attn_fwd_mma.cu",
    .op = FAJIT_OP_ATTN_FWD,
    .family = FAJIT_FAMILY_MMA,
    .summary = "Attention forward on tensor cores by mma.sync, a CTA per tile of query rows.",
    .check = check,
    .configure = configure,
    .params = params,
    .meaning = meaning,
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = cost,
    .workspace_bytes = fj_attn_no_workspace,
    .bind = bind,
};

const struct fj_kernel_class fj_class_attn_fwd_mma_v1 = {
    .name = "attn_fwd_mma_v1",
    .template_name = "attn_fwd_mma_v1.cu",
    .op = FAJIT_OP_ATTN_FWD,
    .family = FAJIT_FAMILY_MMA,
    .summary = "Attention forward on tensor cores by mma.sync, a CTA per head, keys outside, "
               "queries inside.",
    .check = check_v1,
    .configure = configure_v1,
    .params = params,
    .meaning = meaning,
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = cost,
    .workspace_bytes = workspace_v1,
    .bind = fj_attn_bind_v1,
};
