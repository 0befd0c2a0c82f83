// Attention cases: tensors in every storage, and the accuracy rule.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"

#define FULL_CHECK_FLOPS 50e9
#define SAMPLED_ROWS 64

// Dimensions of a (batch, heads, seq, dim) tensor in the order of the problem's layout.
static int layout_shape(enum fajit_layout layout, int64_t b, int64_t h, int64_t s, int64_t d,
                        int64_t ret_shape[4])
{
    const int64_t bshd[] = {b, s, h, d}, bhsd[] = {b, h, s, d}, nsd[] = {b * h, s, d, 0};
    const int64_t *from = layout == FAJIT_BSHD ? bshd : layout == FAJIT_BHSD ? bhsd : nsd;
    memcpy(ret_shape, from, 4 * sizeof(*from));
    return layout == FAJIT_NSD ? 3 : 4;
}

static int make_tensor(struct fcase *c, struct case_tensor *tensor, int64_t heads, int64_t seq,
                       int64_t dim)
{
    static const int order[] = {0, 1, 2, 3};
    const struct fajit_attn_desc *p = &c->problem.attn;
    int64_t shape[4];
    int ndim = layout_shape(p->layout, p->batch, heads, seq, dim, shape);
    return case_tensor_make(c, tensor, p->dtype, ndim, shape, order);
}

// One (batch, seq, heads_q + 2 heads_kv, dim) block as a QKV projection writes it.
static int make_packed(struct fcase *c)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    const int64_t heads = p->heads_q + 2 * p->heads_kv;
    const int64_t first[] = {0, p->heads_q, p->heads_q + p->heads_kv};
    const int64_t count[] = {p->heads_q, p->heads_kv, p->heads_kv};
    if (p->layout != FAJIT_BSHD || p->seq_q != p->seq_k ||
        (p->head_dim_v && p->head_dim_v != p->head_dim))
        return FAJIT_E_INVAL;
    struct case_tensor whole;
    int64_t shape[] = {p->batch, p->seq_q, heads, p->head_dim};
    static const int order[] = {0, 1, 2, 3};
    enum case_storage storage = c->options.storage;
    c->options.storage = CASE_COMPACT;
    int err = case_tensor_make(c, &whole, p->dtype, 4, shape, order);
    c->options.storage = storage;
    for (int i = 0; err == 0 && i < 3; i++) {
        size_t skip_bytes = (size_t)(first[i] * p->head_dim) * fajit_dtype_bytes(p->dtype);
        c->in[i] = whole;
        c->in[i].offset_bytes += skip_bytes;
        c->in[i].view.data = (char *)c->in[i].view.data + skip_bytes;
        c->in[i].view.shape[2] = count[i];
    }
    return err;
}

static int32_t pick_length(struct fcase *c, uint64_t *state, int64_t max, bool of_keys)
{
    switch (c->options.lengths) {
    case CASE_FULL_LENGTHS:
        return (int32_t)max;
    case CASE_ZERO_LENGTHS:
        return 0;
    case CASE_ONE_KEY:
        return of_keys && max > 0 ? 1 : (int32_t)max;
    case CASE_RANDOM_LENGTHS:
        break;
    }
    return (int32_t)(case_random(state) % (uint64_t)(max + 1));
}

static int make_lengths(struct fcase *c, uint64_t *state, int64_t max, bool of_keys,
                        int32_t **ret_host, const int32_t **ret_device)
{
    const int64_t batch = c->problem.attn.batch;
    int err;
    struct case_block *block = case_block_add(c, (size_t)batch * sizeof(int32_t), &err);
    *ret_host = calloc((size_t)batch, sizeof(int32_t));
    if (err || !*ret_host)
        return err ? err : FAJIT_E_NOMEM;
    for (int64_t b = 0; b < batch; b++)
        (*ret_host)[b] = pick_length(c, state, max, of_keys);
    memcpy(block->host, *ret_host, (size_t)batch * sizeof(int32_t));
    *ret_device = block->device;
    return FAJIT_OK;
}

// NaN and inf in the rows of K and V that seqlens_k hides.
static void dirty_tail(struct fcase *c, struct case_tensor *tensor)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    const bool bshd = p->layout == FAJIT_BSHD;
    const struct fajit_tensor *v = &tensor->view;
    if (!c->seqlens_k || p->layout == FAJIT_NSD)
        return;
    for (int64_t b = 0; b < v->shape[0]; b++)
        for (int64_t h = 0; h < v->shape[bshd ? 2 : 1]; h++)
            for (int64_t s = c->seqlens_k[b]; s < v->shape[bshd ? 1 : 2]; s++)
                for (int64_t d = 0; d < v->shape[3]; d++) {
                    int64_t at = b * v->strides[0] + h * v->strides[bshd ? 2 : 1] +
                                 s * v->strides[bshd ? 1 : 2] + d * v->strides[3];
                    float bad = (s + d) % 3 ? NAN : INFINITY;
                    fajit_convert_from_f32(
                        v->dtype, &bad,
                        (char *)case_host(tensor) + (size_t)at * fajit_dtype_bytes(v->dtype), 1);
                }
}

static int make_lse(struct fcase *c)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    static const int order[] = {0, 1, 2};
    int64_t shape[] = {p->batch, p->heads_q, p->seq_q};
    enum case_storage storage = c->options.storage;
    c->options.storage = CASE_COMPACT;
    int err = case_tensor_make(c, &c->lse, FAJIT_F32, 3, shape, order);
    c->options.storage = storage;
    return err;
}

static int make_inputs(struct fcase *c)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    if (c->options.storage == CASE_PACKED_QKV)
        return make_packed(c);
    int64_t dv = p->head_dim_v ? p->head_dim_v : p->head_dim;
    int err = make_tensor(c, &c->in[0], p->heads_q, p->seq_q, p->head_dim);
    if (err == 0)
        err = make_tensor(c, &c->in[1], p->heads_kv, p->seq_k, p->head_dim);
    if (err == 0)
        err = make_tensor(c, &c->in[2], p->heads_kv, p->seq_k, dv);
    return err;
}

int case_attn_make(struct fcase *c)
{
    struct fajit_attn_desc *p = &c->problem.attn;
    uint64_t state = c->options.seed;
    if (!p->heads_kv)
        p->heads_kv = p->heads_q;
    // Logits near 2.45e5 with fp16-safe inputs: q and k around sqrt(2.45e5 / sqrt(d)).
    double spread =
        c->options.values == CASE_EXTREME ? sqrt(2.45e5 / 4.0 / sqrt((double)p->head_dim)) : 1.0;
    int err = make_inputs(c);
    if (err == 0)
        err = make_tensor(c, &c->out, p->heads_q, p->seq_q,
                          p->head_dim_v ? p->head_dim_v : p->head_dim);
    if (err == 0 && p->lse)
        err = make_lse(c);
    if (err == 0 && p->seqlens_q)
        err = make_lengths(c, &state, p->seq_q, false, &c->seqlens_q, &c->attn.seqlens_q);
    if (err == 0 && p->seqlens_k)
        err = make_lengths(c, &state, p->seq_k, true, &c->seqlens_k, &c->attn.seqlens_k);
    if (err)
        return err;
    for (int i = 0; i < 3; i++)
        case_tensor_fill(c, &c->in[i], &state, i < 2 ? spread : 1.0);
    if (c->options.values == CASE_DIRTY_TAIL) {
        dirty_tail(c, &c->in[1]);
        dirty_tail(c, &c->in[2]);
    }
    c->attn.struct_size = sizeof(c->attn);
    c->attn.q = c->in[0].view;
    c->attn.k = c->in[1].view;
    c->attn.v = c->in[2].view;
    c->attn.o = c->out.view;
    c->attn.scale = c->options.scale;
    if (p->lse)
        c->attn.lse = c->lse.view;
    return FAJIT_OK;
}

// Rows to check: all of them, or the first, the last, those at mask and tile boundaries, and random
// ones. Sorted, without repeats. Returns their number.
static int64_t pick_rows(const struct fcase *c, int64_t *ret_rows)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    double full = c->options.full_flops > 0 ? c->options.full_flops : FULL_CHECK_FLOPS;
    double flops = 4.0 * (double)p->batch * (double)p->heads_q * (double)p->seq_q *
                   (double)p->seq_k * p->head_dim;
    int64_t count = 0;
    if (c->options.full || flops <= full || p->seq_q <= SAMPLED_ROWS) {
        for (; count < p->seq_q; count++)
            ret_rows[count] = count;
        return count;
    }
    uint64_t state = c->options.seed ^ 0x5eed;
    const int64_t fixed[] = {0,   1,   63,           64,           127,         128,
                             191, 192, p->seq_q / 2, p->seq_q - 2, p->seq_q - 1};
    bool *chosen = calloc((size_t)p->seq_q, 1);
    if (!chosen)
        return 0;
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        chosen[fixed[i] < p->seq_q ? fixed[i] : 0] = true;
    for (int i = 0; i < SAMPLED_ROWS; i++)
        chosen[case_random(&state) % (uint64_t)p->seq_q] = true;
    for (int64_t row = 0; row < p->seq_q; row++)
        if (chosen[row])
            ret_rows[count++] = row;
    free(chosen);
    return count;
}

// Distance of neighbouring numbers of the dtype at `magnitude`.
static double ulp(enum fajit_dtype dtype, double magnitude)
{
    const int bits = dtype == FAJIT_F32 ? 23 : dtype == FAJIT_F16 ? 10 : 7;
    return ldexp(1.0, ilogb(magnitude) - bits);
}

// Element of a tensor of `heads` heads, whatever the order of its dimensions.
static double element_at(const struct fcase *c, const struct case_tensor *tensor, int64_t heads,
                         int64_t b, int64_t h, int64_t row, int64_t d)
{
    const enum fajit_layout layout = c->problem.attn.layout;
    const int64_t bshd[] = {b, row, h, d}, bhsd[] = {b, h, row, d},
                  nsd[] = {b * heads + h, row, d, 0};
    return case_element(tensor, layout == FAJIT_BSHD ? bshd : layout == FAJIT_BHSD ? bhsd : nsd);
}

static double output_at(const struct fcase *c, int64_t b, int64_t h, int64_t row, int64_t d)
{
    return element_at(c, &c->out, c->problem.attn.heads_q, b, h, row, d);
}

struct references {
    int64_t *rows, n_rows, dv;
    double *o, *plain, *lse;
};

static int compute_references(struct fcase *c, struct references *r)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    r->dv = p->head_dim_v ? p->head_dim_v : p->head_dim;
    r->rows = calloc((size_t)p->seq_q + 1, sizeof(*r->rows));
    r->n_rows = r->rows ? pick_rows(c, r->rows) : 0;
    size_t heads = (size_t)(p->batch * p->heads_q * r->n_rows);
    r->o = calloc(heads * (size_t)r->dv + 1, sizeof(double));
    r->plain = calloc(heads * (size_t)r->dv + 1, sizeof(double));
    r->lse = calloc(heads + 1, sizeof(double));
    if (!r->rows || !r->o || !r->plain || !r->lse)
        return FAJIT_E_NOMEM;

    struct fajit_attn_args args = c->attn;
    args.q = case_host_view(&c->in[0]);
    args.k = case_host_view(&c->in[1]);
    args.v = case_host_view(&c->in[2]);
    args.o = case_host_view(&c->out);
    if (p->lse)
        args.lse = case_host_view(&c->lse);
    args.seqlens_q = c->seqlens_q;
    args.seqlens_k = c->seqlens_k;
    struct fajit_problem problem = c->problem;
    problem.attn.align_bytes = (int)fajit_dtype_bytes(p->dtype); // host memory promises less
    struct fajit_reference_params params = {
        .struct_size = sizeof(params), .rows = r->rows, .n_rows = r->n_rows};
    int err = fajit_reference_attention(&problem, &args, &params, r->o, r->lse);
    params.round_to = p->dtype;
    return err ? err : fajit_reference_attention(&problem, &args, &params, r->plain, NULL);
}

static void free_references(struct references *r)
{
    free(r->rows);
    free(r->o);
    free(r->plain);
    free(r->lse);
}

// --- Extreme logits ---------------------------------------------------------------------------

// Scores summed from products of 2.45e5 are known to a few units in the last place of those.
#define EXTREME_SCORE_ERROR (2.45e5 * 0x1p-22)

static int64_t visible_keys(const struct fcase *c, int64_t b, int64_t row)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    int64_t len_q = c->seqlens_q ? c->seqlens_q[b] : p->seq_q;
    int64_t len_k = c->seqlens_k ? c->seqlens_k[b] : p->seq_k;
    if (p->causal == FAJIT_CAUSAL_NONE)
        return len_k;
    int64_t seen = row + 1 + (p->causal == FAJIT_CAUSAL_BOTTOM_RIGHT ? len_k - len_q : 0);
    return seen < 0 ? 0 : seen < len_k ? seen : len_k;
}

// What the errors of the scores may move a row of O by. An error e of each score moves it by at
// most the sum over i of p_i e |v_i - O|, and p_i |v_i - O| <= 2 max|V| p_i (1 - p_i); the running
// maximum is rounded like a score. Nothing where one key takes all, a lot where two contend.
static double extreme_slack(const struct fcase *c, int64_t b, int64_t h, int64_t row, double lse)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    const int64_t kv = h / (p->heads_q / p->heads_kv),
                  dv = p->head_dim_v ? p->head_dim_v : p->head_dim;
    const double given = c->options.scale != 0 ? c->options.scale : p->scale;
    const double scale = given != 0 ? given : 1 / sqrt(p->head_dim);
    double squares = 0, largest = 0;
    for (int64_t j = 0; j < visible_keys(c, b, row); j++) {
        double score = 0;
        for (int64_t d = 0; d < p->head_dim; d++)
            score += element_at(c, &c->in[0], p->heads_q, b, h, row, d) *
                     element_at(c, &c->in[1], p->heads_kv, b, kv, j, d);
        double weight = exp(score * scale - lse);
        squares += weight * weight;
        for (int64_t d = 0; d < dv; d++)
            largest = fmax(largest, fabs(element_at(c, &c->in[2], p->heads_kv, b, kv, j, d)));
    }
    return 2 * EXTREME_SCORE_ERROR * 2 * largest * fmax(1 - squares, 0);
}

// --- Comparison -------------------------------------------------------------------------------

// The rule of FlashAttention's own tests: the error may be twice that of a plain low-precision
// evaluation, plus twice what adding and subtracting 0.3 costs in the output's dtype. What that
// costs for the given numbers is luck; taken here is the most it can cost, half a unit in the last
// place of the largest.
//
// At logits of 2e5 one unit in the last place of fp32 is a percent of p. It rules both evaluations,
// and over few rows the ratio of two such maxima is luck; where one key takes all, the plain p is
// exactly 1 and the kernel's is rounded once more than the sum that divides it. (In fp16 the plain
// scores overflow, and rows of NaN say nothing.)
static void find_bound(const struct fcase *c, const struct references *r,
                       struct case_result *result)
{
    double largest = 0;
    for (int64_t i = 0; i < result->checked; i++) {
        largest = fmax(largest, fabs(r->o[i]));
        result->plain_error = fmax(result->plain_error, fabs(r->plain[i] - r->o[i]));
    }
    const bool extreme = c->options.values == CASE_EXTREME;
    double slack = ulp(c->problem.attn.dtype, largest + 0.3);
    result->bound = extreme ? 3 * result->plain_error + 2 * slack : 2 * result->plain_error + slack;
}

static void compare_output(const struct fcase *c, const struct references *r,
                           struct case_result *result, int64_t ret_worst[4])
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    int64_t i = 0;
    result->checked = p->batch * p->heads_q * r->n_rows * r->dv;
    find_bound(c, r, result);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < p->heads_q; h++)
            for (int64_t n = 0; n < r->n_rows; n++)
                for (int64_t d = 0; d < r->dv; d++, i++) {
                    double got = output_at(c, b, h, r->rows[n], d), want = r->o[i];
                    double lse = r->lse[i / r->dv];
                    result->nan_count += isnan(got) != 0;
                    // A row that sees nothing has exact zeros, not small numbers.
                    double error =
                        want == 0 && lse == -INFINITY && got != 0 ? INFINITY : fabs(got - want);
                    if (error > result->bound && c->options.values == CASE_EXTREME)
                        error -= extreme_slack(c, b, h, r->rows[n], lse);
                    if (error > result->max_error) {
                        result->max_error = error;
                        memcpy(ret_worst, (int64_t[]){b, h, r->rows[n], d}, 4 * sizeof(int64_t));
                    }
                }
}

static bool compare_lse(const struct fcase *c, const struct references *r,
                        struct case_result *result)
{
    const struct fajit_attn_desc *p = &c->problem.attn;
    const double product_error = c->options.values == CASE_EXTREME ? EXTREME_SCORE_ERROR : 0;
    bool ok = true;
    int64_t i = 0;
    for (int64_t b = 0; p->lse && b < p->batch; b++)
        for (int64_t h = 0; h < p->heads_q; h++)
            for (int64_t n = 0; n < r->n_rows; n++, i++) {
                double got = case_element(&c->lse, (int64_t[]){b, h, r->rows[n], 0});
                double want = r->lse[i];
                if (isinf(want) || isinf(got) || isnan(got)) {
                    ok &= got == want;
                    continue;
                }
                result->max_lse_error = fmax(result->max_lse_error, fabs(got - want));
                ok &= fabs(got - want) <= 1e-3 + 1e-5 * fabs(want) + product_error;
            }
    return ok;
}

int case_attn_compare(struct fcase *c, struct case_result *result)
{
    struct references r = {0};
    int64_t worst[4] = {0};
    int err = case_fetch(c);
    if (err == 0)
        err = compute_references(c, &r);
    if (err)
        goto out;
    compare_output(c, &r, result, worst);
    bool lse_ok = compare_lse(c, &r, result);
    bool guards =
        case_guards_intact(&c->out) && (!c->problem.attn.lse || case_guards_intact(&c->lse));
    result->ok = result->nan_count == 0 && result->max_error <= result->bound && lse_ok && guards;
    if (!result->ok)
        snprintf(
            result->message, sizeof(result->message),
            "error %.3g at (batch %lld, head %lld, row %lld, dim %lld), allowed %.3g; %lld NaN; "
            "LSE error %.3g%s%s",
            result->max_error, (long long)worst[0], (long long)worst[1], (long long)worst[2],
            (long long)worst[3], result->bound, (long long)result->nan_count, result->max_lse_error,
            lse_ok ? "" : " (too large)", guards ? "" : "; bytes outside the output were written");
out:
    free_references(&r);
    return err;
}
