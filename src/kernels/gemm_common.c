#include "kernels/gemm_common.h"

static const char *const dtype_words[] = {
    [FAJIT_F32] = "f32",
    [FAJIT_F16] = "f16",
    [FAJIT_BF16] = "bf16",
};

static const char *const act_words[] = {
    [FAJIT_ACT_NONE] = "none",
    [FAJIT_ACT_RELU] = "relu",
    [FAJIT_ACT_GELU] = "gelu",
    [FAJIT_ACT_SILU] = "silu",
};

static const char *const math_words[] = {
    [FAJIT_MATH_TF32] = "tf32",
    [FAJIT_MATH_3XTF32] = "3xtf32",
    [FAJIT_MATH_FMA] = "fma",
};

int fj_gemm_tile_given(const struct fj_config *config, bool *ret_given)
{
    int given = (FJ_CFG(config, bm) != 0) + (FJ_CFG(config, bn) != 0) + (FJ_CFG(config, bk) != 0);
    *ret_given = given == 3;
    if (given == 0 || given == 3)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "a tile is given by bm, bn and bk together; give all three, or none to have them "
                  "chosen");
}

struct fj_gemm_sizes fj_gemm_sizes(const struct fj_gemm *gemm, int64_t unknown)
{
    return (struct fj_gemm_sizes){
        .batch = gemm->batch ? gemm->batch : 1,
        .m = gemm->m ? gemm->m : unknown,
        .n = gemm->n ? gemm->n : unknown,
        .k = gemm->k ? gemm->k : unknown,
    };
}

void fj_gemm_params(const struct fj_choice *choice, struct fj_params *ret)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    const struct fj_config *config = &choice->config;
    fj_params_int(ret, "block_m", FJ_CFG(config, bm));
    fj_params_int(ret, "block_n", FJ_CFG(config, bn));
    fj_params_int(ret, "block_k", FJ_CFG(config, bk));
    fj_params_int(ret, "group", FJ_CFG(config, group));
    fj_params_int(ret, "threads", choice->kernel->threads(choice));
    fj_params_int(ret, "smem_bytes", choice->kernel->smem_bytes(choice));
    fj_params_word(ret, "dtype", dtype_words[gemm->dtype]);
    fj_params_word(ret, "out", dtype_words[gemm->out_dtype]);
    fj_params_int(ret, "trans_a", gemm->trans_a);
    fj_params_int(ret, "trans_b", gemm->trans_b);
    fj_params_int(ret, "bias", gemm->bias);
    fj_params_int(ret, "beta", gemm->beta);
    fj_params_word(ret, "act", act_words[gemm->act]);
    fj_params_int(ret, "align", gemm->align_bytes);
}

void fj_gemm_meaning(const struct fj_choice *choice, struct fj_buf *ret)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    fj_buf_printf(ret, "%s_%s_%c%c", choice->kernel->name, dtype_words[gemm->dtype],
                  gemm->trans_a ? 't' : 'n', gemm->trans_b ? 't' : 'n');
    if (gemm->math == FAJIT_MATH_TF32 || gemm->math == FAJIT_MATH_3XTF32)
        fj_buf_printf(ret, "_%s", math_words[gemm->math]);
    if (gemm->out_dtype != gemm->dtype)
        fj_buf_printf(ret, "_to_%s", dtype_words[gemm->out_dtype]);
    if (gemm->beta)
        fj_buf_puts(ret, "_beta");
    if (gemm->bias)
        fj_buf_puts(ret, "_bias");
    if (gemm->act != FAJIT_ACT_NONE)
        fj_buf_printf(ret, "_%s", act_words[gemm->act]);
    if (gemm->align_bytes < 16)
        fj_buf_printf(ret, "_align%d", gemm->align_bytes);
}

void fj_gemm_cost(const struct fj_choice *choice, struct fj_cost *ret)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    const struct fj_config *config = &choice->config;
    double bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), bk = FJ_CFG(config, bk);
    double element = (double)fajit_dtype_bytes(gemm->dtype);
    double out = (double)fajit_dtype_bytes(gemm->out_dtype) * (gemm->beta ? 2 : 1);
    double m = (double)gemm->m, n = (double)gemm->n, k = (double)gemm->k;
    double batch = (double)(gemm->batch ? gemm->batch : 1);
    ret->flops = 2 * batch * m * n * k;
    if (ret->flops != 0)
        ret->bytes = batch * (element * (m * k + k * n) + out * m * n);
    ret->block_flops = 2 * bm * bn * bk;
    ret->block_bytes = element * (bm + bn) * bk;
}

int fj_gemm_tiles_count(const struct fj_choice *choice, const struct fj_gemm_args *args, int high,
                        int wide, struct fj_gemm_tiles *ret_tiles)
{
    int64_t height = (int64_t)FJ_CFG(&choice->config, bm) * high;
    int64_t width = (int64_t)FJ_CFG(&choice->config, bn) * wide;
    int64_t rows = (args->c.shape[1] + height - 1) / height;
    int64_t columns = (args->c.shape[2] + width - 1) / width;
    int64_t total;
    // A kernel adds its grid to a tile's number before it compares: half the range is kept.
    if (__builtin_mul_overflow(rows * columns, args->c.shape[0], &total) || total > INT32_MAX / 2)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "the launch has %lld matrices of %lld tiles, over 2^30 in all: split it over "
                      "several launches",
                      (long long)args->c.shape[0], (long long)(rows * columns));
    *ret_tiles = (struct fj_gemm_tiles){(int32_t)rows, (int32_t)columns, (int32_t)total};
    return FAJIT_OK;
}

int64_t fj_gemm_depth(const struct fj_choice *choice, const struct fj_gemm_args *args)
{
    return args->a.shape[choice->problem.gemm.trans_a ? 1 : 2];
}

void fj_gemm_push_matrix(const struct fj_view *view, struct fj_launch *launch)
{
    struct {
        void *data;
        int64_t batch, row;
    } matrix = {view->data, view->stride[0], view->stride[1]};
    fj_launch_push(launch, &matrix, sizeof(matrix));
}

void fj_gemm_push_epilogue(const struct fj_choice *choice, const struct fj_gemm_args *args,
                           struct fj_launch *launch)
{
    // Fields that the text leaves out are at the end, or padding before the pointer.
    struct {
        float alpha, beta;
        const void *bias;
    } epilogue = {args->alpha, args->beta, args->bias};
    size_t size = choice->problem.gemm.bias   ? sizeof(epilogue)
                  : choice->problem.gemm.beta ? 2 * sizeof(float)
                                              : sizeof(float);
    fj_launch_push(launch, &epilogue, size);
}

void fj_gemm_push_shape(const struct fj_choice *choice, const struct fj_gemm_args *args,
                        const struct fj_gemm_tiles *tiles, struct fj_launch *launch)
{
    int32_t shape[] = {(int32_t)args->c.shape[1],
                       (int32_t)args->c.shape[2],
                       (int32_t)fj_gemm_depth(choice, args),
                       tiles->rows,
                       tiles->columns,
                       tiles->total};
    fj_launch_push(launch, shape, sizeof(shape));
}

// Sums of every split of every tile, then a counter per tile.
struct workspace {
    size_t sums, counters; // bytes
};

static int workspace_of(const struct fj_choice *choice, const struct fj_gemm_args *args,
                        struct fj_gemm_tiles *ret_tiles, struct workspace *ret)
{
    const struct fj_config *config = &choice->config;
    size_t splits = (size_t)FJ_CFG(config, splitk), bytes = sizeof(float);
    int r = fj_gemm_tiles_count(choice, args, 1, 1, ret_tiles);
    if (r < 0)
        return r;
    size_t total = (size_t)ret_tiles->total;
    bytes *= (size_t)FJ_CFG(config, bm) * (size_t)FJ_CFG(config, bn) * splits;
    *ret = splits > 1 ? (struct workspace){total * bytes, total * sizeof(uint32_t)}
                      : (struct workspace){0, 0};
    return FAJIT_OK;
}

size_t fj_gemm_workspace_bytes(const struct fj_choice *choice, const struct fj_gpu *gpu,
                               const void *args)
{
    struct fj_gemm_tiles tiles = {0};
    struct workspace workspace;
    (void)gpu;
    int r = workspace_of(choice, args, &tiles, &workspace);
    return r == FAJIT_OK ? workspace.sums + workspace.counters : 0;
}

int fj_gemm_bind(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                 const void *opaque, struct fj_launch *ret)
{
    const struct fj_gemm_args *args = opaque;
    int64_t splits = FJ_CFG(&choice->config, splitk);
    struct fj_gemm_tiles tiles = {0};
    struct workspace workspace;
    fj_launch_init(ret);
    int r = workspace_of(choice, args, &tiles, &workspace);
    if (r < 0)
        return r;
    size_t bytes = workspace.sums + workspace.counters;
    if (args->workspace_bytes < bytes)
        return fj_err(FAJIT_E_INVAL, "the workspace has %zu bytes, the launch needs %zu",
                      args->workspace_bytes, bytes);
    int64_t ctas = tiles.total * splits, resident = (int64_t)gpu->sm_count * ctas_per_sm;
    if (choice->problem.variant == FAJIT_VARIANT_PERSISTENT && splits == 1 && ctas > resident)
        ctas = resident;
    r = fj_launch_grid(ret, ctas, 1, 1);
    if (r < 0 || ret->empty)
        return r;
    ret->block = (unsigned)choice->kernel->threads(choice);
    ret->smem_bytes = (unsigned)choice->kernel->smem_bytes(choice);
    fj_gemm_push_matrix(&args->a, ret);
    fj_gemm_push_matrix(&args->b, ret);
    fj_gemm_push_matrix(&args->c, ret);
    fj_gemm_push_epilogue(choice, args, ret);
    if (splits > 1) {
        ret->clear = (char *)args->workspace + workspace.sums;
        ret->clear_bytes = workspace.counters;
        fj_launch_push_ptr(ret, args->workspace);
        fj_launch_push_ptr(ret, ret->clear);
    }
    fj_gemm_push_shape(choice, args, &tiles, ret);
    return FAJIT_OK;
}
