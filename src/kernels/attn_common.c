#include "kernels/attn_common.h"

static const char *const dtype_words[] = {
    [FAJIT_F32] = "f32",
    [FAJIT_F16] = "f16",
    [FAJIT_BF16] = "bf16",
};

static const char *const causal_words[] = {
    [FAJIT_CAUSAL_NONE] = "none",
    [FAJIT_CAUSAL_BOTTOM_RIGHT] = "bottom_right",
    [FAJIT_CAUSAL_TOP_LEFT] = "top_left",
};

int fj_round_up(int value, int step)
{
    return (value + step - 1) / step * step;
}

void fj_attn_params(const struct fj_choice *choice, struct fj_params *ret)
{
    const struct fj_attn *attn = &choice->problem.attn;
    fj_params_int(ret, "head_dim", attn->head_dim);
    fj_params_int(ret, "head_dim_v", attn->head_dim_v);
    fj_params_word(ret, "dtype", dtype_words[attn->dtype]);
    fj_params_word(ret, "causal", causal_words[attn->causal]);
    fj_params_int(ret, "lse", attn->lse);
    fj_params_int(ret, "seqlens_q", attn->seqlens_q);
    fj_params_int(ret, "seqlens_k", attn->seqlens_k);
    fj_params_int(ret, "threads", choice->kernel->threads(choice));
    fj_params_int(ret, "smem_bytes", choice->kernel->smem_bytes(choice));
}

void fj_attn_meaning(const struct fj_choice *choice, struct fj_buf *ret)
{
    const struct fj_attn *attn = &choice->problem.attn;
    fj_buf_printf(ret, "%s_%s_d%d", choice->kernel->name, dtype_words[attn->dtype], attn->head_dim);
    if (attn->head_dim_v != attn->head_dim)
        fj_buf_printf(ret, "_dv%d", attn->head_dim_v);
    if (attn->causal != FAJIT_CAUSAL_NONE)
        fj_buf_puts(ret, attn->causal == FAJIT_CAUSAL_TOP_LEFT ? "_causaltl" : "_causal");
    if (attn->seqlens_q && attn->seqlens_k)
        fj_buf_puts(ret, "_seqlens");
    else if (attn->seqlens_q || attn->seqlens_k)
        fj_buf_puts(ret, attn->seqlens_q ? "_seqlensq" : "_seqlensk");
    if (attn->lse)
        fj_buf_puts(ret, "_lse");
}

// Pairs of a query and a key it sees, of one head.
static double visible_pairs(const struct fj_attn *attn)
{
    double q = (double)attn->seq_q, k = (double)attn->seq_k;
    switch (attn->causal) {
    case FAJIT_CAUSAL_BOTTOM_RIGHT:
        return q <= k ? q * k - q * (q - 1) / 2 : k * (k + 1) / 2;
    case FAJIT_CAUSAL_TOP_LEFT:
        return q <= k ? q * (q + 1) / 2 : q * k - k * (k - 1) / 2;
    default:
        return q * k;
    }
}

void fj_attn_cost(const struct fj_choice *choice, double streamed_bytes, struct fj_cost *ret)
{
    const struct fj_attn *attn = &choice->problem.attn;
    double scores = (double)FJ_CFG(&choice->config, bm) * FJ_CFG(&choice->config, bn);
    double dims = attn->head_dim + attn->head_dim_v;
    double element = attn->dtype == FAJIT_F32 ? 4 : 2; // bytes
    double heads = (double)(attn->batch * attn->heads_q);
    double heads_kv = (double)(attn->batch * attn->heads_kv);
    ret->block_flops = 2 * scores * dims; // Q K^T and P V, a multiplication and an addition each
    ret->block_bytes = streamed_bytes;
    ret->block_exps = scores;
    ret->flops = 2 * heads * visible_pairs(attn) * dims;
    ret->exps = heads * visible_pairs(attn);
    ret->bytes = element * dims * (heads * (double)attn->seq_q + heads_kv * (double)attn->seq_k);
}

bool fj_attn_smem_fits(const struct fj_gpu *gpu, int smem_bytes, int ctas)
{
    return smem_bytes <= gpu->smem_per_block_bytes &&
           ctas * (smem_bytes + gpu->smem_reserved_bytes) <= gpu->smem_per_sm_bytes;
}

int fj_attn_tiles_count(const struct fj_choice *choice, const struct fj_attn_args *args,
                        struct fj_attn_tiles *ret_tiles)
{
    int64_t bm = FJ_CFG(&choice->config, bm), heads = args->q.shape[0] * args->q.shape[1];
    int64_t per_head = (args->q.shape[2] + bm - 1) / bm;
    // The kernel adds its grid to a tile's number before it compares: half the range is kept.
    if (per_head > 0 && heads > INT32_MAX / 2 / per_head)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "the launch has %lld heads of %lld tiles, over 2^30 in all: split the batch "
                      "over several launches",
                      (long long)heads, (long long)per_head);
    *ret_tiles = (struct fj_attn_tiles){(int32_t)per_head, (int32_t)(heads * per_head)};
    return FAJIT_OK;
}

// struct Strides of templates/lib/base.cuh.
static void push_strides(const struct fj_view *view, struct fj_launch *launch)
{
    int64_t strides[3] = {view->stride[0], view->stride[1], view->stride[2]};
    fj_launch_push(launch, strides, sizeof(strides));
}

void fj_attn_push_tensors(const struct fj_choice *choice, const struct fj_attn_args *args,
                          struct fj_launch *launch)
{
    const struct fj_attn *attn = &choice->problem.attn;
    const struct fj_view *views[] = {&args->q, &args->k, &args->v, &args->o};
    for (int i = 0; i < 4; i++)
        fj_launch_push_ptr(launch, views[i]->data);
    for (int i = 0; i < 4; i++)
        push_strides(views[i], launch);
    if (attn->lse) {
        fj_launch_push_ptr(launch, args->lse.data);
        push_strides(&args->lse, launch);
    }
    if (attn->seqlens_q)
        fj_launch_push_ptr(launch, args->seqlens_q);
    if (attn->seqlens_k)
        fj_launch_push_ptr(launch, args->seqlens_k);
}

void fj_attn_push_sizes(const struct fj_attn_args *args, struct fj_launch *launch)
{
    fj_launch_push_i32(launch, (int32_t)args->q.shape[2]);
    fj_launch_push_i32(launch, (int32_t)args->k.shape[2]);
    fj_launch_push_i32(launch, (int32_t)args->q.shape[1]);
    fj_launch_push_i32(launch, (int32_t)(args->q.shape[1] / args->k.shape[1]));
}

int64_t fj_attn_grid(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                     int64_t tiles)
{
    int64_t resident = (int64_t)gpu->sm_count * ctas_per_sm;
    bool stays = choice->problem.variant == FAJIT_VARIANT_PERSISTENT && resident < tiles;
    return stays ? resident : tiles;
}

int fj_attn_launch_begin(const struct fj_choice *choice, const struct fj_attn_args *args,
                         struct fj_attn_tiles *ret_tiles, struct fj_launch *ret)
{
    fj_launch_init(ret);
    *ret_tiles = (struct fj_attn_tiles){0};
    int r = fj_attn_tiles_count(choice, args, ret_tiles);
    if (r < 0 || ret_tiles->total > 0)
        return r;
    return fj_launch_grid(ret, 0, 1, 1);
}

int fj_attn_launch_finish(const struct fj_choice *choice, int64_t ctas, struct fj_launch *launch)
{
    launch->block = (unsigned)choice->kernel->threads(choice);
    launch->smem_bytes = (unsigned)choice->kernel->smem_bytes(choice);
    return fj_launch_grid(launch, ctas, 1, 1);
}

int fj_attn_bind_v1(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                    const void *any_args, struct fj_launch *ret)
{
    (void)gpu, (void)ctas_per_sm;
    const struct fj_attn_args *args = any_args;
    struct fj_attn_tiles count;
    int r = fj_attn_launch_begin(choice, args, &count, ret);
    if (r < 0 || ret->empty)
        return r;
    fj_attn_push_tensors(choice, args, ret);
    fj_launch_push_ptr(ret, args->workspace);
    fj_attn_push_sizes(args, ret);
    fj_launch_push_f32(ret, args->scale);
    return fj_attn_launch_finish(choice, args->q.shape[0] * args->q.shape[1], ret);
}

size_t fj_attn_no_workspace(const struct fj_choice *choice, const struct fj_gpu *gpu,
                            const void *args)
{
    (void)choice, (void)gpu, (void)args;
    return 0;
}

int fj_attn_variant_check(const struct fj_problem *problem, bool v1, const char *v1_name)
{
    if (v1 && problem->variant != FAJIT_VARIANT_V1)
        return fj_err(FAJIT_E_UNSUPPORTED, "it is variant v1 only");
    if (!v1 && problem->variant == FAJIT_VARIANT_V1)
        return fj_err(FAJIT_E_UNSUPPORTED, "variant v1 is %s's", v1_name);
    return FAJIT_OK;
}
