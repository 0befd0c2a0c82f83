// templates/attn_fwd_simt.cu and attn_fwd_simt_v1.cu: attention forward in fp32 arithmetic.
#include "kernels/attn_common.h"

#define THREADS 256 // a 16 x 16 grid
#define BLOCK_MAX 128

// --- Which problems ---------------------------------------------------------------------------

static int check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    (void)gpu;
    return fj_attn_variant_check(problem, false, "attn_fwd_simt_v1");
}

static int check_v1(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    (void)gpu;
    return fj_attn_variant_check(problem, true, "attn_fwd_simt_v1");
}

// --- Configuration ----------------------------------------------------------------------------

// Default tiles by the larger head dim; the first row that fits the GPU counts. The last row of a
// head dim fits into 64 KiB. The first row leaves registers for nothing but what is_plain allows.
static const struct tile {
    int head_dim; // up to
    int lengths;  // under seqlens up to here, or head_dim itself: others spill a few registers
    int bm, bn, ctas;
} tiles[] = {
    {64, 0, 128, 64, 2},   {64, 48, 64, 64, 2},   {64, 64, 64, 32, 2},
    {64, 64, 64, 32, 1},   {128, 96, 64, 32, 2},  {128, 128, 32, 32, 2},
    {128, 128, 32, 32, 1}, {256, 256, 32, 16, 2}, {256, 256, 16, 16, 1},
};

static int smem_of(const struct fj_attn *attn, int bm, int bn)
{
    int pitch_q = attn->head_dim + 4, pitch_v = fj_round_up(attn->head_dim_v, 16);
    int floats = (bm + bn) * pitch_q + bn * pitch_v + bm * (bn + 4);
    return floats * (int)sizeof(float);
}

static bool is_plain(const struct fj_attn *attn)
{
    return attn->head_dim == 64 && attn->head_dim_v == 64 && !attn->lse && !attn->seqlens_q &&
           !attn->seqlens_k;
}

static bool suits(const struct tile *tile, const struct fj_attn *attn, int ctas_max)
{
    int head_dim = attn->head_dim > attn->head_dim_v ? attn->head_dim : attn->head_dim_v;
    if (tile == tiles && (ctas_max == 1 || !is_plain(attn)))
        return false;
    bool lengths = attn->seqlens_q || attn->seqlens_k;
    return head_dim <= tile->head_dim &&
           (!lengths || head_dim <= tile->lengths || head_dim == tile->head_dim);
}

static void set_defaults(const struct fj_attn *attn, const struct fj_gpu *gpu, int ctas_max,
                         struct fj_config *config)
{
    const struct tile *last = tiles + sizeof(tiles) / sizeof(tiles[0]) - 1, *tile = tiles;
    struct fj_config tried = *config;
    for (; tile <= last; tile++) {
        if (!suits(tile, attn, ctas_max))
            continue;
        tried = *config;
        fj_config_default(&tried, FJ_KNOB_bm, tile->bm);
        fj_config_default(&tried, FJ_KNOB_bn, tile->bn);
        fj_config_default(&tried, FJ_KNOB_ctas, tile->ctas < ctas_max ? tile->ctas : ctas_max);
        int smem = smem_of(attn, FJ_CFG(&tried, bm), FJ_CFG(&tried, bn));
        if (fj_attn_smem_fits(gpu, smem, FJ_CFG(&tried, ctas)))
            break;
    }
    *config = tried;
}

static int check_config(const struct fj_config *config)
{
    static const enum fj_knob allowed[] = {FJ_KNOB_bm, FJ_KNOB_bn, FJ_KNOB_ctas, FJ_KNOB_COUNT};
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), ctas = FJ_CFG(config, ctas);
    int r = fj_config_knobs_check(config, allowed);
    if (r < 0)
        return r;
    if (bm % 16 != 0 || bm > BLOCK_MAX)
        return fj_err(FAJIT_E_INVAL, "bm=%d: it may be 16 to %d in steps of 16", bm, BLOCK_MAX);
    if (bn % 16 != 0 || bn > BLOCK_MAX)
        return fj_err(FAJIT_E_INVAL, "bn=%d: it may be 16 to %d in steps of 16", bn, BLOCK_MAX);
    if (ctas > 4)
        return fj_err(FAJIT_E_INVAL, "ctas=%d: it may be 1 to 4", ctas);
    return FAJIT_OK;
}

static int configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    if (choice->problem.variant == FAJIT_VARIANT_AUTO)
        choice->problem.variant = FAJIT_VARIANT_V2;
    set_defaults(&choice->problem.attn, gpu, 2, &choice->config);
    return check_config(&choice->config);
}

// State moves between registers and memory at every visit, which takes registers: one CTA per SM.
static int configure_v1(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    set_defaults(&choice->problem.attn, gpu, 1, &choice->config);
    return check_config(&choice->config);
}

// --- What the text bakes in -------------------------------------------------------------------

static int threads(const struct fj_choice *choice)
{
    (void)choice;
    return THREADS;
}

static int smem_bytes(const struct fj_choice *choice)
{
    return smem_of(&choice->problem.attn, FJ_CFG(&choice->config, bm), FJ_CFG(&choice->config, bn));
}

static void params(const struct fj_choice *choice, struct fj_params *ret)
{
    fj_attn_params(choice, ret);
    fj_params_int(ret, "block_m", FJ_CFG(&choice->config, bm));
    fj_params_int(ret, "block_n", FJ_CFG(&choice->config, bn));
    fj_params_int(ret, "ctas", FJ_CFG(&choice->config, ctas));
}

static void cost(const struct fj_choice *choice, struct fj_cost *ret)
{
    const struct fj_attn *attn = &choice->problem.attn;
    double element = attn->dtype == FAJIT_F32 ? 4 : 2;
    fj_attn_cost(choice,
                 element * FJ_CFG(&choice->config, bn) * (attn->head_dim + attn->head_dim_v), ret);
}

// --- Launch -----------------------------------------------------------------------------------

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
    fj_launch_push_f32(ret, args->scale);
    return fj_attn_launch_finish(choice, fj_attn_grid(choice, gpu, ctas_per_sm, count.total), ret);
}

// O, m and l of every tile, as its threads hold them.
static size_t workspace_v1(const struct fj_choice *choice, const struct fj_gpu *gpu,
                           const void *any_args)
{
    (void)gpu;
    const struct fj_attn_args *args = any_args;
    struct fj_attn_tiles count;
    if (fj_attn_tiles_count(choice, args, &count) < 0)
        return 0; // bind refuses the launch
    size_t rows = (size_t)FJ_CFG(&choice->config, bm) / 16;
    size_t columns = (size_t)fj_round_up(choice->problem.attn.head_dim_v, 16) / 16;
    return (size_t)count.total * rows * (columns + 2) * THREADS * sizeof(float);
}

const struct fj_kernel_class fj_class_attn_fwd_simt = {
    .name = "attn_fwd_simt",
    .template_name = "attn_fwd_simt.cu",
    .op = FAJIT_OP_ATTN_FWD,
    .family = FAJIT_FAMILY_SIMT,
    .summary = "Attention forward in fp32 arithmetic, a CTA per tile of query rows.",
    .check = check,
    .configure = configure,
    .params = params,
    .meaning = fj_attn_meaning,
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = cost,
    .workspace_bytes = fj_attn_no_workspace,
    .bind = bind,
};

const struct fj_kernel_class fj_class_attn_fwd_simt_v1 = {
    .name = "attn_fwd_simt_v1",
    .template_name = "attn_fwd_simt_v1.cu",
    .op = FAJIT_OP_ATTN_FWD,
    .family = FAJIT_FAMILY_SIMT,
    .summary =
        "Attention forward in fp32 arithmetic, a CTA per head, keys outside, queries inside.",
    .check = check_v1,
    .configure = configure_v1,
    .params = params,
    .meaning = fj_attn_meaning,
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = cost,
    .workspace_bytes = workspace_v1,
    .bind = fj_attn_bind_v1,
};
