// templates/gemm_sm90.cu: matrix product on Hopper, by TMA and wgmma.
#include "kernels/gemm_sm90.h"
#include "kernels/gemm_sm90_model.h"

#define BLOCK_K FJ_GEMM_SM90_BLOCK_K
// Clusters that share one tile along k under streamk, at most: one adds up what the others leave.
#define SHARES_MAX 8
#define BOX_ROWS_MAX 256

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

// --- What the text bakes in -------------------------------------------------------------------

static int threads(const struct fj_choice *choice)
{
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    return 128 + 2 * FJ_CFG(&computed.config, bm);
}

static int smem_bytes(const struct fj_choice *choice)
{
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    return fj_gemm_sm90_smem(&computed);
}

static int cluster_size(const struct fj_config *config)
{
    return FJ_CFG(config, cluster) * FJ_CFG(config, clustern) * FJ_CFG(config, splitk);
}

static bool is_turned(const struct fj_choice *choice)
{
    return FJ_CFG(&choice->config, swap) == 1;
}

// Rows of C in a panel that leaves by TMA. Where C is turned they run along the tile's columns; the
// last panel then overlaps the one before, but not where C is read too.
static int panel_rows(const struct fj_choice *choice, const struct fj_choice *computed)
{
    int bn = FJ_CFG(&computed->config, bn);
    if (!is_turned(choice))
        return 64;
    if (bn <= 64)
        return bn;
    int rows = 64;
    while (choice->problem.gemm.beta && bn % rows != 0)
        rows /= 2;
    return rows;
}

static void params(const struct fj_choice *choice, struct fj_params *ret)
{
    // Of a thread, by computing warpgroups: what setmaxnreg makes of the 64 K of an SM. One alone
    // and the producer have 256 each from the beginning.
    static const struct {
        int load, math;
    } registers[] = {{0, 0}, {256, 256}, {40, 232}, {56, 152}};
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    const struct fj_config *config = &computed.config;
    int warpgroups = FJ_CFG(config, bm) / 64;
    fj_gemm_params(&computed, ret);
    fj_params_int(ret, "stages", FJ_CFG(config, stages));
    fj_params_int(ret, "load_registers", registers[warpgroups].load);
    fj_params_int(ret, "math_registers", registers[warpgroups].math);
    fj_params_int(ret, "cluster", cluster_size(config));
    fj_params_int(ret, "cluster_m", FJ_CFG(config, cluster));
    fj_params_int(ret, "cluster_n", FJ_CFG(config, clustern));
    fj_params_int(ret, "cluster_size", cluster_size(config));
    fj_params_int(ret, "panel_rows", panel_rows(choice, &computed));
    fj_params_int(ret, "splitk", FJ_CFG(config, splitk) > 1);
    fj_params_int(ret, "streamk", FJ_CFG(config, streamk) == 1);
    fj_params_int(ret, "turned", is_turned(choice));
    fj_params_int(ret, "stagger", FJ_CFG(config, pingpong) == 1);
}

// --- Work -------------------------------------------------------------------------------------

// The arguments of the product that is computed; its C has no strides to rely on.
static struct fj_gemm_args args_computed(const struct fj_choice *choice,
                                         const struct fj_gemm_args *args)
{
    struct fj_gemm_args computed = *args;
    if (is_turned(choice)) {
        computed.a = args->b;
        computed.b = args->a;
        computed.c.shape[1] = args->c.shape[2];
        computed.c.shape[2] = args->c.shape[1];
    }
    return computed;
}

struct work {
    struct fj_gemm_tiles tiles; // of clusters
    int32_t steps;              // of each, along k
    int64_t clusters;           // of the launch
    int32_t whole;              // tiles that are not shared
};

// Stream-K: whole waves are worked off tile by tile, and the rest is shared. Where that is less
// than half a wave, the last whole one is shared too: few tiles have more than two parts then.
static void share_out(const struct fj_gpu *gpu, int size, struct work *work)
{
    int64_t total = work->tiles.total, clusters = gpu->sm_count / size;
    if (clusters > total * SHARES_MAX)
        clusters = total * SHARES_MAX;
    if (clusters < 1)
        clusters = 1;
    int64_t rest = total % clusters, whole = total - rest;
    if (rest > 0 && 2 * rest < clusters && whole > 0)
        whole -= clusters;
    if (work->steps == 0 || (total - whole) * work->steps > INT32_MAX)
        whole = total;
    work->whole = (int32_t)whole;
    work->clusters = whole == total && total < clusters ? total : clusters;
}

static int find_work(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                     const struct fj_gemm_args *args, struct work *ret_work)
{
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    struct fj_gemm_args seen = args_computed(choice, args);
    const struct fj_config *config = &computed.config;
    int size = cluster_size(config);
    int r = fj_gemm_tiles_count(&computed, &seen, FJ_CFG(config, cluster), FJ_CFG(config, clustern),
                                &ret_work->tiles);
    if (r < 0)
        return r;
    ret_work->steps = (int32_t)fj_gemm_sm90_div_up(fj_gemm_depth(&computed, &seen), BLOCK_K);
    ret_work->clusters = ret_work->whole = ret_work->tiles.total;
    int64_t resident = (int64_t)gpu->sm_count * ctas_per_sm / size;
    if (FJ_CFG(config, streamk) == 1)
        share_out(gpu, size, ret_work);
    else if (choice->problem.variant == FAJIT_VARIANT_PERSISTENT && resident > 0 &&
             ret_work->clusters > resident)
        ret_work->clusters = resident;
    return FAJIT_OK;
}

// struct Handover of the template: sums of every CTA, then a word for each of its warpgroups.
static size_t sums_bytes(const struct fj_config *config, const struct work *work)
{
    size_t ctas = (size_t)work->clusters * (size_t)cluster_size(config);
    return ctas * (size_t)FJ_CFG(config, bm) * (size_t)FJ_CFG(config, bn) * sizeof(float);
}

static size_t handover_bytes(const struct fj_choice *choice, const struct work *work)
{
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    const struct fj_config *config = &computed.config;
    if (work->whole == work->tiles.total)
        return 0;
    size_t warpgroups = (size_t)FJ_CFG(config, bm) / 64;
    return sums_bytes(config, work) +
           (size_t)work->clusters * (size_t)cluster_size(config) * warpgroups * sizeof(uint64_t);
}

static size_t workspace_bytes(const struct fj_choice *choice, const struct fj_gpu *gpu,
                              const void *args)
{
    struct work work;
    return find_work(choice, gpu, 1, args, &work) == FAJIT_OK ? handover_bytes(choice, &work) : 0;
}

// --- Launch -----------------------------------------------------------------------------------

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

// Rows of what one CTA fetches of a tile at a time, as load_part of the template divides it.
static int box_rows(bool along_k, int rows, int parts)
{
    int unit = along_k ? 8 : 64;
    if (!along_k)
        return BLOCK_K;
    int fetched = rows % (unit * parts) == 0 ? rows / parts : rows;
    return fetched > BOX_ROWS_MAX ? fetched / 2 : fetched;
}

static void push_maps(const struct fj_choice *choice, const struct fj_choice *computed,
                      const struct fj_gemm_args *args, struct fj_launch *ret)
{
    const struct fj_gemm *gemm = &computed->problem.gemm;
    const struct fj_config *config = &computed->config;
    struct fj_gemm_args seen = args_computed(choice, args);
    int rows_a = box_rows(!gemm->trans_a, FJ_CFG(config, bm), FJ_CFG(config, clustern));
    int rows_b =
        box_rows(gemm->trans_b, fj_gemm_sm90_loaded_columns(computed), FJ_CFG(config, cluster));
    struct fj_tensor_map a = map_of(&seen.a, gemm->dtype, args->c.data, rows_a);
    struct fj_tensor_map b = map_of(&seen.b, gemm->dtype, args->c.data, rows_b);
    struct fj_tensor_map c =
        map_of(&args->c, gemm->out_dtype, args->c.data, panel_rows(choice, computed));
    fj_launch_push_map(ret, &a);
    fj_launch_push_map(ret, &b);
    if (fj_gemm_sm90_stores_by_tma(computed))
        fj_launch_push_map(ret, &c);
    bool uneven = !is_turned(choice) && FJ_CFG(config, bn) % 64 != 0;
    if (!fj_gemm_sm90_stores_by_tma(computed) || gemm->beta || gemm->bias || uneven)
        fj_gemm_push_matrix(&args->c, ret);
}

static void push_work(const struct fj_choice *choice, const struct fj_choice *computed,
                      const struct fj_gemm_args *args, const struct work *work,
                      struct fj_launch *ret)
{
    struct fj_gemm_args seen = args_computed(choice, args);
    bool shares = FJ_CFG(&computed->config, streamk) == 1;
    if (shares) {
        void *handover[] = {args->workspace,
                            (char *)args->workspace + sums_bytes(&computed->config, work)};
        fj_launch_push(ret, handover, sizeof(handover));
    }
    // struct Shape of the template.
    int32_t shape[] = {
        (int32_t)seen.c.shape[1], (int32_t)seen.c.shape[2], work->steps, work->tiles.rows,
        work->tiles.columns,      work->tiles.total,        work->whole};
    fj_launch_push(ret, shape, shares ? sizeof(shape) : sizeof(shape) - sizeof(shape[0]));
}

static int bind(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                const void *opaque, struct fj_launch *ret)
{
    const struct fj_gemm_args *args = opaque;
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    int size = cluster_size(&computed.config);
    struct work work;
    fj_launch_init(ret);
    if (fj_gemm_sm90_stores_by_tma(&computed) &&
        !fj_gemm_sm90_rows_are_whole(args->c.shape[2], choice->problem.gemm.out_dtype))
        return fj_err(
            FAJIT_E_INVAL,
            "C has %lld columns, and this kernel writes whole 16 bytes of a row: plan with "
            "n set, or with kernel=mma",
            (long long)args->c.shape[2]);
    int r = find_work(choice, gpu, ctas_per_sm, args, &work);
    if (r < 0)
        return r;
    if (args->workspace_bytes < handover_bytes(choice, &work))
        return fj_err(FAJIT_E_INVAL, "the workspace has %zu bytes, the launch needs %zu",
                      args->workspace_bytes, handover_bytes(choice, &work));
    r = fj_launch_grid(ret, work.clusters * size, 1, 1);
    if (r < 0 || ret->empty)
        return r;
    ret->block = (unsigned)threads(choice);
    ret->cluster = (unsigned)size;
    ret->smem_bytes = (unsigned)fj_gemm_sm90_smem(&computed);
    push_maps(choice, &computed, args, ret);
    fj_gemm_push_epilogue(choice, args, ret);
    push_work(choice, &computed, args, &work, ret);
    return FAJIT_OK;
}

const struct fj_kernel_class fj_class_gemm_sm90 = {
    .name = "gemm_sm90",
    .template_name = "gemm_sm90.cu",
    .op = FAJIT_OP_GEMM,
    .family = FAJIT_FAMILY_SM90,
    .check = check,
    .configure = fj_gemm_sm90_configure,
    .params = params,
    .meaning = fj_gemm_meaning,
    .summary = "Matrix product C = act(alpha A B + beta C + bias), TMA and wgmma.",
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = fj_gemm_cost,
    .workspace_bytes = workspace_bytes,
    .bind = bind,
    .predict_us = fj_gemm_sm90_predict_us,
};
