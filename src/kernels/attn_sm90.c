// templates/attn_fwd_sm90.cu: attention forward on Hopper, by TMA and wgmma.
#include <string.h>

#include "base/err.h"
#include "kernels/attn_sm90.h"

#define PANEL_COLUMNS 64 // of 16 bits: the width of the 128-byte swizzle
#define BARRIER_BYTES 8
#define TILE_BYTES 32

static int div_up(int a, int b)
{
    return (a + b - 1) / b;
}

static int panels(int columns)
{
    return div_up(columns, PANEL_COLUMNS);
}

// --- Which problems ---------------------------------------------------------------------------

static int check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    const struct fj_attn *attn = &problem->attn;
    if (gpu->cc != 90)
        return fj_err(FAJIT_E_UNSUPPORTED, "wgmma exists on compute capability 9.0 only");
    if (attn->dtype != FAJIT_F16 && attn->dtype != FAJIT_BF16)
        return fj_err(FAJIT_E_UNSUPPORTED, "it takes fp16 and bf16");
    if (problem->variant == FAJIT_VARIANT_V1)
        return fj_err(FAJIT_E_UNSUPPORTED, "variant v1 exists for simt and mma");
    if (attn->align_bytes < 16)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "TMA wants pointers and strides to be multiples of 16 "
                      "bytes, and only %d are promised",
                      attn->align_bytes);
    if (attn->head_dim > 256 || attn->head_dim_v > 256)
        return fj_err(FAJIT_E_UNSUPPORTED, "head dims may be up to 256");
    if (attn->scale < 0.0f)
        return fj_err(FAJIT_E_UNSUPPORTED, "it takes the maximum of unscaled scores, so scale must "
                                           "be positive");
    return FAJIT_OK;
}

// --- What the text bakes in -------------------------------------------------------------------

static int warpgroups(const struct fj_choice *choice)
{
    return FJ_CFG(&choice->config, bm) / FJ_WARPGROUP_ROWS;
}

static int pack_group(const struct fj_choice *choice)
{
    return FJ_CFG(&choice->config, packgqa);
}

// Tiles of one length are shared out beforehand; of others, each CTA takes the next when it can.
static bool is_dynamic(const struct fj_choice *choice)
{
    const struct fj_attn *attn = &choice->problem.attn;
    return choice->problem.variant == FAJIT_VARIANT_PERSISTENT &&
           (attn->causal != FAJIT_CAUSAL_NONE || attn->seqlens_q || attn->seqlens_k);
}

static const char *tiles_word(const struct fj_choice *choice)
{
    if (choice->problem.variant != FAJIT_VARIANT_PERSISTENT)
        return "one";
    return is_dynamic(choice) ? "dynamic" : "static";
}

static int threads(const struct fj_choice *choice)
{
    return 128 + 128 * warpgroups(choice);
}

int fj_attn_sm90_smem_bytes(const struct fj_choice *choice)
{
    const struct fj_attn *attn = &choice->problem.attn;
    const int row_bytes = PANEL_COLUMNS * 2;
    int stages = FJ_CFG(&choice->config, stages);
    int q = FJ_CFG(&choice->config, bm) * panels(attn->head_dim) * row_bytes;
    int kv = FJ_CFG(&choice->config, bn) * (panels(attn->head_dim) + panels(attn->head_dim_v)) *
             row_bytes;
    // Full and empty: per warpgroup for Q, per stage for K and V. One per stage for the tail of V.
    int barriers = 2 * warpgroups(choice) + 4 * stages;
    if (attn->seqlens_k)
        barriers += stages;
    // Full and empty for two slots with tiles, and the slots.
    if (choice->problem.variant == FAJIT_VARIANT_PERSISTENT)
        barriers += 2 * 2 + 2 * TILE_BYTES / BARRIER_BYTES;
    return q + stages * kv + barriers * BARRIER_BYTES;
}

static void params(const struct fj_choice *choice, struct fj_params *ret)
{
    const struct fj_config *config = &choice->config;
    struct fj_sm90_registers registers = fj_attn_sm90_registers(config);
    fj_attn_params(choice, ret);
    fj_params_int(ret, "block_m", FJ_CFG(config, bm));
    fj_params_int(ret, "block_n", FJ_CFG(config, bn));
    fj_params_int(ret, "stages", FJ_CFG(config, stages));
    fj_params_int(ret, "ctas", FJ_CFG(config, ctas));
    fj_params_int(ret, "load_registers", registers.load);
    fj_params_int(ret, "math_registers", registers.math);
    fj_params_word(ret, "tiles", tiles_word(choice));
    fj_params_int(ret, "pack_group", pack_group(choice));
    fj_params_int(ret, "pingpong", FJ_CFG(config, pingpong) == 1);
    fj_params_int(ret, "overlap", FJ_CFG(config, overlap) == 1);
    fj_params_int(ret, "lazy", FJ_CFG(config, lazy) == 1);
    fj_params_word(ret, "rescale", FJ_CFG(config, rescale) == 1 ? "late" : "early");
    fj_params_int(ret, "poly", FJ_CFG(config, poly));
    fj_params_int(ret, "cluster", FJ_CFG(config, cluster));
}

static void meaning(const struct fj_choice *choice, struct fj_buf *ret)
{
    fj_attn_meaning(choice, ret);
    if (choice->problem.variant == FAJIT_VARIANT_PERSISTENT)
        fj_buf_puts(ret, "_persistent");
}

static void cost(const struct fj_choice *choice, struct fj_cost *ret)
{
    const struct fj_attn *attn = &choice->problem.attn;
    const struct fj_config *config = &choice->config;
    double keys = (double)FJ_CFG(config, bn) / FJ_CFG(config, cluster); // that one CTA fetches
    fj_attn_cost(choice, 2.0 * keys * (attn->head_dim + attn->head_dim_v), ret);
}

// --- Launch -----------------------------------------------------------------------------------

static size_t workspace_bytes(const struct fj_choice *choice, const struct fj_gpu *gpu,
                              const void *args)
{
    (void)gpu, (void)args;
    return is_dynamic(choice) ? sizeof(int32_t) : 0; // the count of tiles taken
}

// Strides of sizes of 1 are free, and 0 in a view; TMA wants something valid.
static uint64_t map_stride(const struct fj_view *view, int dim)
{
    return (uint64_t)(view->shape[dim] > 1 ? view->stride[dim] * 2 : 16);
}

// (dim, seq, heads, batch), a box of `rows` rows in one panel. A tensor without keys has no
// address to describe: any readable one does, its rows are masked.
static struct fj_tensor_map map_kv(const struct fj_view *view, const struct fj_view *stand_in,
                                   enum fajit_dtype dtype, int rows)
{
    bool empty = view->shape[2] == 0;
    return (struct fj_tensor_map){
        .dtype = dtype,
        .rank = 4,
        .data = empty ? stand_in->data : view->data,
        .dims = {empty ? 8 : (uint64_t)view->shape[3], empty ? 1 : (uint64_t)view->shape[2],
                 empty ? 1 : (uint64_t)view->shape[1], empty ? 1 : (uint64_t)view->shape[0]},
        .stride_bytes = {map_stride(view, 2), map_stride(view, 1), map_stride(view, 0)},
        .box = {PANEL_COLUMNS, (uint32_t)rows, 1, 1},
        .swizzle_bytes = 128,
    };
}

// (dim, group, seq, KV heads, batch): a box has 64 rows, of one head or of a whole group.
static struct fj_tensor_map map_q(const struct fj_view *view, enum fajit_dtype dtype, int64_t group,
                                  int pack)
{
    uint64_t head = map_stride(view, 1);
    return (struct fj_tensor_map){
        .dtype = dtype,
        .rank = 5,
        .data = view->data,
        .dims = {(uint64_t)view->shape[3], (uint64_t)group, (uint64_t)view->shape[2],
                 (uint64_t)(view->shape[1] / group), (uint64_t)view->shape[0]},
        .stride_bytes = {head, map_stride(view, 2), head * (uint64_t)group, map_stride(view, 0)},
        .box = {PANEL_COLUMNS, (uint32_t)pack, (uint32_t)(FJ_WARPGROUP_ROWS / pack), 1, 1},
        .swizzle_bytes = 128,
    };
}

// A tensor map's strides have 40 bits.
static bool fits_map(const struct fj_view *view)
{
    for (int i = 0; i < 3; i++) {
        if (view->shape[i] > 1 && (view->stride[i] < 0 || view->stride[i] * 2 >= INT64_C(1) << 40))
            return false;
    }
    return true;
}

// struct Outputs of the template, in its order.
struct outputs {
    void *o;
    int64_t o_strides[3];
    void *lse;
    int64_t lse_strides[3];
};

static void push_outputs(const struct fj_attn_args *args, bool lse, struct fj_launch *launch)
{
    struct outputs out = {.o = args->o.data, .lse = args->lse.data};
    memcpy(out.o_strides, args->o.stride, sizeof(out.o_strides));
    memcpy(out.lse_strides, args->lse.stride, sizeof(out.lse_strides));
    fj_launch_push(launch, &out, lse ? sizeof(out) : offsetof(struct outputs, lse));
}

// Numbers of struct Shape in templates/lib/attn_tiles.cuh, in its order, after the pointers it has.
struct sizes {
    int32_t seq_q, seq_k, heads, group, section, tiles_m, tiles;
    float scale;
};

// K and V of the heads that are walked together, times the CTAs that read them at different
// places, should stay in L2: a bit more than half of it.
static int64_t section_of(const struct fj_choice *choice, const struct fj_gpu *gpu,
                          const struct fj_attn_args *args, int64_t group, int64_t heads_all)
{
    if (choice->problem.attn.causal == FAJIT_CAUSAL_NONE)
        return 1; // tiles of one head, one after the other
    int64_t bytes = args->k.shape[2] * (args->k.shape[3] + args->v.shape[3]) * 2;
    int64_t heads = gpu->l2_bytes * 5 / 8 / (bytes > 0 ? bytes : 1);
    heads = (heads < 1 ? 1 : heads) * group;
    return heads < heads_all ? heads : heads_all;
}

static int count_tiles(const struct fj_choice *choice, const struct fj_gpu *gpu,
                       const struct fj_attn_args *args, struct sizes *ret)
{
    int64_t pack = pack_group(choice), heads = args->q.shape[1] / pack;
    int64_t group = args->q.shape[1] / args->k.shape[1] / pack;
    int64_t heads_all = args->q.shape[0] * heads;
    // Of a whole cluster, which is handed its tiles together.
    int rows = FJ_CFG(&choice->config, bm) * FJ_CFG(&choice->config, cluster);
    int64_t tiles_m = (args->q.shape[2] * pack + rows - 1) / rows;
    if (heads_all > INT32_MAX / 2 / (tiles_m ? tiles_m : 1) ||
        args->q.shape[2] * pack > INT32_MAX / 2)
        return fj_err(FAJIT_E_UNSUPPORTED, "the launch has more than 2^30 tiles: split the batch "
                                           "over several launches");
    *ret = (struct sizes){
        .seq_q = (int32_t)args->q.shape[2],
        .seq_k = (int32_t)args->k.shape[2],
        .heads = (int32_t)heads,
        .group = (int32_t)group,
        .section = (int32_t)section_of(choice, gpu, args, group, heads_all),
        .tiles_m = (int32_t)tiles_m,
        .tiles = (int32_t)(heads_all * tiles_m),
        .scale = args->scale,
    };
    return FAJIT_OK;
}

static void push_shape(const struct fj_choice *choice, const struct fj_attn_args *args,
                       const struct sizes *sizes, struct fj_launch *launch)
{
    unsigned char bytes[3 * sizeof(void *) + sizeof(*sizes) + 4] = {0};
    size_t used = 0;
    const void *pointers[] = {args->workspace, args->seqlens_q, args->seqlens_k};
    bool present[] = {is_dynamic(choice), choice->problem.attn.seqlens_q,
                      choice->problem.attn.seqlens_k};
    for (int i = 0; i < 3; i++) {
        if (!present[i])
            continue;
        memcpy(bytes + used, &pointers[i], sizeof(pointers[i]));
        used += sizeof(pointers[i]);
    }
    memcpy(bytes + used, sizes, sizeof(*sizes));
    size_t end = used + sizeof(*sizes);
    fj_launch_push(launch, bytes, used ? (end + 7) / 8 * 8 : end);
}

static int bind(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                const void *any_args, struct fj_launch *ret)
{
    const struct fj_attn_args *args = any_args;
    const struct fj_attn *attn = &choice->problem.attn;
    if (!(args->scale > 0.0f))
        return fj_err(FAJIT_E_INVAL,
                      "scale is %g: this kernel takes positive ones; plan with "
                      "kernel=mma or kernel=simt for others",
                      (double)args->scale);
    if (!fits_map(&args->q) || !fits_map(&args->k) || !fits_map(&args->v))
        return fj_err(FAJIT_E_UNSUPPORTED, "strides of Q, K and V may be up to 2^39 elements and "
                                           "not negative: TMA cannot go further");
    if (pack_group(choice) > 1 && args->q.shape[1] != args->k.shape[1] * pack_group(choice))
        return fj_err(FAJIT_E_INVAL,
                      "the plan packs %d query heads of one KV head, the tensors "
                      "have another ratio",
                      pack_group(choice));
    struct sizes sizes = {0};
    fj_launch_init(ret);
    int64_t elements = args->q.shape[0] * args->q.shape[1] * args->q.shape[2];
    if (elements == 0)
        return fj_launch_grid(ret, 0, 1, 1);
    int r = count_tiles(choice, gpu, args, &sizes);
    if (r < 0)
        return r;
    int cluster = FJ_CFG(&choice->config, cluster);
    int keys = FJ_CFG(&choice->config, bn) / cluster; // that one CTA fetches of a block
    struct fj_tensor_map q =
        map_q(&args->q, attn->dtype, args->q.shape[1] / args->k.shape[1], pack_group(choice));
    struct fj_tensor_map k = map_kv(&args->k, &args->q, attn->dtype, keys);
    struct fj_tensor_map v = map_kv(&args->v, &args->q, attn->dtype, keys);
    fj_launch_push_map(ret, &q);
    fj_launch_push_map(ret, &k);
    fj_launch_push_map(ret, &v);
    push_outputs(args, attn->lse, ret);
    push_shape(choice, args, &sizes, ret);
    if (is_dynamic(choice)) {
        ret->clear = args->workspace;
        ret->clear_bytes = sizeof(int32_t);
    }
    ret->cluster = (unsigned)cluster;
    int64_t ctas = fj_attn_grid(choice, gpu, ctas_per_sm, (int64_t)sizes.tiles * cluster);
    return fj_attn_launch_finish(choice, ctas / cluster * cluster, ret);
}

const struct fj_kernel_class fj_class_attn_fwd_sm90 = {
    .name = "attn_fwd_sm90",
    .template_name = "attn_fwd_sm90.cu",
    .op = FAJIT_OP_ATTN_FWD,
    .family = FAJIT_FAMILY_SM90,
    .summary = "Attention forward on Hopper: TMA feeds warpgroups that multiply with wgmma.",
    .check = check,
    .configure = fj_attn_sm90_configure,
    .params = params,
    .meaning = meaning,
    .threads = threads,
    .smem_bytes = fj_attn_sm90_smem_bytes,
    .cost = cost,
    .workspace_bytes = workspace_bytes,
    .bind = bind,
};
