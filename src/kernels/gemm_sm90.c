// templates/gemm_sm90.cu: matrix product on Hopper, by TMA and wgmma.
#include "kernels/gemm_common.h"
#include "kernels/gemm_sm90_model.h"

#define PANEL_ROW_BYTES 128 // of a row in a panel: 64 elements of 16 bits
#define PANEL_BYTES (64 * PANEL_ROW_BYTES)
#define BLOCK_K 64
#define STAGES_MAX 8
#define BUFFERS_C 2 // panels of C per warpgroup
#define BARRIER_BYTES 8
#define UNKNOWN_SIZE FJ_GEMM_SM90_UNKNOWN

// --- Which problems ---------------------------------------------------------------------------

// A tensor store writes whole 16 bytes: seen on an H200, where rows of C that end within 16 bytes
// spoiled what lies behind them.
static bool rows_are_whole(int64_t columns, enum fajit_dtype out)
{
    return columns * (int64_t)fajit_dtype_bytes(out) % 16 == 0;
}

static int check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    const struct fj_gemm *gemm = &problem->gemm;
    if (gpu->cc != 90)
        return fj_err(FAJIT_E_UNSUPPORTED, "wgmma exists on compute capability 9.0 only");
    if (gemm->dtype != FAJIT_F16 && gemm->dtype != FAJIT_BF16)
        return fj_err(FAJIT_E_UNSUPPORTED, "it takes fp16 and bf16");
    if (gemm->align_bytes < 16)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "TMA wants pointers and strides to be multiples of 16 bytes, and only %d are "
                      "promised",
                      gemm->align_bytes);
    return FAJIT_OK;
}

// --- Configuration ----------------------------------------------------------------------------

static bool one_of(int value, const int *list)
{
    while (*list != 0 && *list != value)
        list++;
    return *list != 0;
}

// C leaves through shared memory and TMA, rather than straight from registers.
static bool stores_by_tma(const struct fj_choice *choice)
{
    return choice->problem.gemm.out_dtype != FAJIT_F32 && FJ_CFG(&choice->config, splitk) == 1;
}

// Columns of C whose part of B is fetched: whole panels, where they run along n.
static int loaded_columns(const struct fj_choice *choice)
{
    int bn = FJ_CFG(&choice->config, bn);
    return choice->problem.gemm.trans_b ? bn : (bn + 63) / 64 * 64;
}

static int bytes_per_stage(const struct fj_choice *choice)
{
    return (FJ_CFG(&choice->config, bm) + loaded_columns(choice)) * PANEL_ROW_BYTES +
           2 * BARRIER_BYTES;
}

static int bytes_of_c(const struct fj_choice *choice)
{
    return stores_by_tma(choice) ? FJ_CFG(&choice->config, bm) / 64 * BUFFERS_C * PANEL_BYTES : 0;
}

static int smem_bytes(const struct fj_choice *choice)
{
    return FJ_CFG(&choice->config, stages) * bytes_per_stage(choice) + bytes_of_c(choice);
}

static int check_tile(const struct fj_config *config)
{
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn);
    if (!one_of(bm, (const int[]){64, 128, 192, 0}))
        return fj_err(FAJIT_E_INVAL, "bm=%d: it may be 64, 128 or 192", bm);
    if (bn < 64 || bn > 256 || bn % 16 != 0)
        return fj_err(FAJIT_E_INVAL, "bn=%d: it may be 64 to 256 in steps of 16", bn);
    if (bm == 192 && bn > 192)
        return fj_err(FAJIT_E_INVAL,
                      "bm=192 gives a thread 128 registers to begin with, too few for bn=%d; take "
                      "192 or less",
                      bn);
    if (FJ_CFG(config, bk) != BLOCK_K)
        return fj_err(FAJIT_E_INVAL, "bk=%d: it is %d, one row of the 128-byte swizzle",
                      FJ_CFG(config, bk), BLOCK_K);
    return FAJIT_OK;
}

static int check_config(const struct fj_choice *choice)
{
    const struct fj_config *config = &choice->config;
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), splitk = FJ_CFG(config, splitk);
    int rows = FJ_CFG(config, cluster), columns = FJ_CFG(config, clustern);
    if (!one_of(rows, (const int[]){1, 2, 4, 0}) || !one_of(columns, (const int[]){1, 2, 4, 0}))
        return fj_err(FAJIT_E_INVAL, "cluster=%d, clustern=%d: they may be 1, 2 or 4", rows,
                      columns);
    if (!one_of(splitk, (const int[]){1, 2, 4, 8, 0}))
        return fj_err(FAJIT_E_INVAL, "splitk=%d: it may be 1, 2, 4 or 8", splitk);
    if (rows * columns > 1 && splitk > 1)
        return fj_err(FAJIT_E_INVAL,
                      "splitk=%d makes a cluster of its own: cluster and clustern must be 1",
                      splitk);
    if (rows * columns > 8)
        return fj_err(FAJIT_E_INVAL, "cluster=%d by clustern=%d: a cluster has at most 8 CTAs",
                      rows, columns);
    // Parts of a tile are whole groups of 8 rows in a panel, or whole panels.
    int unit_a = choice->problem.gemm.trans_a ? 64 : 8,
        unit_b = choice->problem.gemm.trans_b ? 8 : 64;
    if (loaded_columns(choice) % (unit_b * rows) != 0 || bm % (unit_a * columns) != 0)
        return fj_err(FAJIT_E_INVAL,
                      "cluster=%d, clustern=%d: each CTA fetches an equal part of bn=%d and bm=%d, "
                      "in units of %d and %d",
                      rows, columns, bn, bm, unit_b, unit_a);
    if (bn / 8 % splitk != 0)
        return fj_err(FAJIT_E_INVAL,
                      "splitk=%d: each CTA adds up an equal part of the columns, and bn=%d is no "
                      "multiple of %d",
                      splitk, bn, 8 * splitk);
    if (FJ_CFG(config, stages) < 2 || FJ_CFG(config, stages) > STAGES_MAX)
        return fj_err(FAJIT_E_INVAL, "stages=%d: it may be 2 to %d", FJ_CFG(config, stages),
                      STAGES_MAX);
    if (FJ_CFG(config, pingpong) > 2 || (FJ_CFG(config, pingpong) == 1 && bm != 128))
        return fj_err(FAJIT_E_INVAL, "pingpong=%d: it may be 2, or 1 with bm=128: two warpgroups",
                      FJ_CFG(config, pingpong));
    if (FJ_CFG(config, pingpong) == 1 && splitk > 1)
        return fj_err(
            FAJIT_E_INVAL,
            "splitk=%d with pingpong=1: the exchange of sums wants both warpgroups at the "
            "same tile; take pingpong=2",
            splitk);
    int sums = bm * bn * 4;
    if (splitk > 1 && sums > FJ_CFG(config, stages) * bytes_per_stage(choice))
        return fj_err(FAJIT_E_INVAL,
                      "splitk=%d: the stages hold the sums of the tile at its end, %d bytes; take "
                      "more stages",
                      splitk, sums);
    return FAJIT_OK;
}

static int64_t div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int stages_that_fit(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    int left = gpu->smem_per_block_bytes - bytes_of_c(choice);
    int stages = left / bytes_per_stage(choice);
    return stages < STAGES_MAX ? stages : STAGES_MAX;
}

// About 2048 rows: with 132 SMs, what runs at the same time is then as wide as high.
static int default_group(const struct fj_config *config)
{
    int group = 2048 / (FJ_CFG(config, bm) * FJ_CFG(config, cluster));
    return group > 0 ? group : 1;
}

static void choose_variant(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    if (choice->problem.variant != FAJIT_VARIANT_AUTO)
        return;
    const struct fj_config *config = &choice->config;
    struct fj_gemm_sizes s = fj_gemm_sizes(&choice->problem.gemm, UNKNOWN_SIZE);
    int64_t tiles = div_up(s.m, FJ_CFG(config, bm)) * div_up(s.n, FJ_CFG(config, bn)) * s.batch;
    bool several = tiles * FJ_CFG(config, splitk) > gpu->sm_count;
    choice->problem.variant = several ? FAJIT_VARIANT_PERSISTENT : FAJIT_VARIANT_V2;
}

// Staggered warpgroups pay when a CTA has several tiles: a lone tile only ends later.
static int default_pingpong(const struct fj_choice *choice)
{
    bool several = choice->problem.variant == FAJIT_VARIANT_PERSISTENT;
    return several && FJ_CFG(&choice->config, bm) == 128 && FJ_CFG(&choice->config, splitk) == 1
               ? 1
               : 2;
}

static int configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    static const enum fj_knob allowed[] = {
        FJ_KNOB_bm,       FJ_KNOB_bn,     FJ_KNOB_bk,    FJ_KNOB_stages,   FJ_KNOB_cluster,
        FJ_KNOB_clustern, FJ_KNOB_splitk, FJ_KNOB_group, FJ_KNOB_pingpong, FJ_KNOB_COUNT};
    struct fj_config *config = &choice->config;
    bool given;
    int r = fj_gemm_knobs_check(config, allowed);
    if (r == FAJIT_OK)
        r = fj_gemm_tile_given(config, &given);
    if (r < 0)
        return r;
    if (!given)
        fj_gemm_sm90_choose_tile(gpu, choice);
    fj_gemm_default(config, FJ_KNOB_cluster, 1);
    fj_gemm_default(config, FJ_KNOB_clustern, 1);
    fj_gemm_default(config, FJ_KNOB_splitk, 1);
    fj_gemm_default(config, FJ_KNOB_group, default_group(config));
    r = check_tile(config);
    if (r < 0)
        return r;
    fj_gemm_default(config, FJ_KNOB_stages, stages_that_fit(choice, gpu));
    choose_variant(gpu, choice);
    fj_gemm_default(config, FJ_KNOB_pingpong, default_pingpong(choice));
    const struct fj_gemm *gemm = &choice->problem.gemm;
    if (stores_by_tma(choice) && !rows_are_whole(gemm->n, gemm->out_dtype))
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "a row of C has %lld elements, and tensor stores write whole 16 bytes",
                      (long long)gemm->n);
    return check_config(choice);
}

// --- What the text bakes in -------------------------------------------------------------------

static int threads(const struct fj_choice *choice)
{
    return 128 + 2 * FJ_CFG(&choice->config, bm);
}

static int cluster_size(const struct fj_choice *choice)
{
    const struct fj_config *config = &choice->config;
    return FJ_CFG(config, cluster) * FJ_CFG(config, clustern) * FJ_CFG(config, splitk);
}

static void params(const struct fj_choice *choice, struct fj_params *ret)
{
    // Of a thread, by computing warpgroups: what setmaxnreg makes of the 64 K of an SM. One alone
    // and the producer have 256 each from the beginning.
    static const struct {
        int load, math;
    } registers[] = {{0, 0}, {256, 256}, {24, 240}, {32, 160}};
    int warpgroups = FJ_CFG(&choice->config, bm) / 64;
    fj_gemm_params(choice, ret);
    fj_params_int(ret, "stages", FJ_CFG(&choice->config, stages));
    fj_params_int(ret, "load_registers", registers[warpgroups].load);
    fj_params_int(ret, "math_registers", registers[warpgroups].math);
    fj_params_int(ret, "cluster", cluster_size(choice));
    fj_params_int(ret, "cluster_m", FJ_CFG(&choice->config, cluster));
    fj_params_int(ret, "cluster_n", FJ_CFG(&choice->config, clustern));
    fj_params_int(ret, "cluster_size", cluster_size(choice));
    fj_params_int(ret, "splitk", FJ_CFG(&choice->config, splitk) > 1);
    fj_params_int(ret, "stagger", FJ_CFG(&choice->config, pingpong) == 1);
}

// --- Launch -----------------------------------------------------------------------------------

static size_t workspace_bytes(const struct fj_choice *choice, const struct fj_gpu *gpu,
                              const void *args)
{
    (void)choice, (void)gpu, (void)args;
    return 0;
}

// A matrix of a batch, innermost dimension first. A dimension of size 1 has no stride of its own.
// An empty matrix (K = 0) cannot be mapped, nor need its strides be whole 16 bytes: one element
// stands in, which the kernel does not read.
static struct fj_tensor_map map_of(const struct fj_view *view, enum fajit_dtype dtype, void *data,
                                   int box_rows)
{
    uint64_t element = fajit_dtype_bytes(dtype);
    bool empty = !view->shape[1] || !view->shape[2];
    uint64_t columns = empty ? 1 : (uint64_t)view->shape[2];
    uint64_t rows = empty ? 1 : (uint64_t)view->shape[1];
    uint64_t row_bytes = (columns * element + 15) / 16 * 16;
    if (view->stride[1] && !empty)
        row_bytes = (uint64_t)view->stride[1] * element;
    uint64_t matrix_bytes =
        view->stride[0] && !empty ? (uint64_t)view->stride[0] * element : row_bytes;
    return (struct fj_tensor_map){
        .dtype = dtype,
        .rank = 3,
        .data = view->data ? view->data : data,
        .dims = {columns, rows, (uint64_t)view->shape[0]},
        .stride_bytes = {row_bytes, matrix_bytes},
        .box = {64, (uint32_t)box_rows, 1},
        .swizzle_bytes = 128,
    };
}

static void push_maps(const struct fj_choice *choice, const struct fj_gemm_args *args,
                      struct fj_launch *ret)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    const struct fj_config *config = &choice->config;
    int rows_a = FJ_CFG(config, bm) / FJ_CFG(config, clustern);
    int rows_b = loaded_columns(choice) / FJ_CFG(config, cluster);
    struct fj_tensor_map a =
        map_of(&args->a, gemm->dtype, args->c.data, gemm->trans_a ? BLOCK_K : rows_a);
    struct fj_tensor_map b =
        map_of(&args->b, gemm->dtype, args->c.data, gemm->trans_b ? rows_b : BLOCK_K);
    struct fj_tensor_map c = map_of(&args->c, gemm->out_dtype, args->c.data, 64);
    fj_launch_push_map(ret, &a);
    fj_launch_push_map(ret, &b);
    if (stores_by_tma(choice))
        fj_launch_push_map(ret, &c);
}

static int bind(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                const void *opaque, struct fj_launch *ret)
{
    const struct fj_gemm_args *args = opaque;
    const struct fj_gemm *gemm = &choice->problem.gemm;
    int size = cluster_size(choice);
    struct fj_gemm_tiles tiles;
    fj_launch_init(ret);
    if (stores_by_tma(choice) && !rows_are_whole(args->c.shape[2], gemm->out_dtype))
        return fj_err(
            FAJIT_E_INVAL,
            "C has %lld columns, and this kernel writes whole 16 bytes of a row: plan with "
            "n set, or with kernel=mma",
            (long long)args->c.shape[2]);
    int r = fj_gemm_tiles_count(choice, args, FJ_CFG(&choice->config, cluster),
                                FJ_CFG(&choice->config, clustern), &tiles);
    if (r < 0)
        return r;
    int64_t clusters = tiles.total;
    int64_t resident = (int64_t)gpu->sm_count * ctas_per_sm / size;
    if (choice->problem.variant == FAJIT_VARIANT_PERSISTENT && clusters > resident && resident > 0)
        clusters = resident;
    r = fj_launch_grid(ret, clusters * size, 1, 1);
    if (r < 0 || ret->empty)
        return r;
    ret->block = (unsigned)threads(choice);
    ret->cluster = (unsigned)size;
    ret->smem_bytes = (unsigned)smem_bytes(choice);
    push_maps(choice, args, ret);
    if (!stores_by_tma(choice) || gemm->beta || gemm->bias || FJ_CFG(&choice->config, bn) % 64 != 0)
        fj_gemm_push_matrix(&args->c, ret);
    fj_gemm_push_epilogue(choice, args, ret);
    // struct Shape of the template.
    int32_t shape[] = {(int32_t)args->c.shape[1],
                       (int32_t)args->c.shape[2],
                       (int32_t)div_up(fj_gemm_depth(choice, args), BLOCK_K),
                       tiles.rows,
                       tiles.columns,
                       tiles.total};
    fj_launch_push(ret, shape, sizeof(shape));
    return FAJIT_OK;
}

const struct fj_kernel_class fj_class_gemm_sm90 = {
    .name = "gemm_sm90",
    .template_name = "gemm_sm90.cu",
    .op = FAJIT_OP_GEMM,
    .family = FAJIT_FAMILY_SM90,
    .check = check,
    .configure = configure,
    .params = params,
    .meaning = fj_gemm_meaning,
    .summary = "Matrix product C = act(alpha A B + beta C + bias), TMA and wgmma.",
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = fj_gemm_cost,
    .workspace_bytes = workspace_bytes,
    .bind = bind,
};
