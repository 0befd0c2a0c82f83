// The references against long-double triple loops, tiny cases worked out by hand, and properties
// that any attention has.
#include "ref/compare.h"
#include "ref/ref.h"

#include "base/num.h"
#include "base/thread.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned seed = 271828;

static float uniform(void)
{
    return (float)(rand_r(&seed) % 20001 - 10000) / 5000.0f;
}

static int pick(int low, int high)
{
    return low + rand_r(&seed) % (high - low + 1);
}

// A compact tensor of random values in any dtype, in (batch, heads, seq, dim).
static struct fj_ref_view tensor(enum fajit_dtype dtype, int64_t b, int64_t h, int64_t s, int64_t d)
{
    struct fj_ref_view view = {
        .dtype = dtype, .shape = {b, h, s, d}, .stride = {h * s * d, s * d, d, 1}};
    int64_t count = b * h * s * d;
    float *wide = calloc((size_t)count + 1, sizeof(*wide));
    uint16_t *narrow = (uint16_t *)wide;
    assert_non_null(wide);
    for (int64_t i = 0; i < count; i++) {
        float value = uniform();
        if (dtype == FAJIT_F32)
            wide[i] = value;
        else
            narrow[i] = dtype == FAJIT_F16 ? fj_f32_to_f16(value) : fj_f32_to_bf16(value);
    }
    view.data = wide;
    return view;
}

static long double element(const struct fj_ref_view *view, int64_t b, int64_t h, int64_t s,
                           int64_t d)
{
    int64_t at =
        b * view->stride[0] + h * view->stride[1] + s * view->stride[2] + d * view->stride[3];
    if (view->dtype == FAJIT_F32)
        return ((const float *)view->data)[at];
    uint16_t bits = ((const uint16_t *)view->data)[at];
    return view->dtype == FAJIT_F16 ? fj_f16_to_f32(bits) : fj_bf16_to_f32(bits);
}

static void set(const struct fj_ref_view *view, int64_t b, int64_t h, int64_t s, int64_t d, float x)
{
    int64_t at =
        b * view->stride[0] + h * view->stride[1] + s * view->stride[2] + d * view->stride[3];
    if (view->dtype == FAJIT_F32)
        ((float *)view->data)[at] = x;
    else
        ((uint16_t *)view->data)[at] =
            view->dtype == FAJIT_F16 ? fj_f32_to_f16(x) : fj_f32_to_bf16(x);
}

static void drop(const struct fj_ref_view *view)
{
    free((void *)view->data);
}

static void drop_all(const struct fj_ref_attn *ref)
{
    drop(&ref->q);
    drop(&ref->k);
    drop(&ref->v);
}

static bool sees(const struct fj_ref_attn *ref, int64_t b, int64_t i, int64_t j)
{
    int64_t len_q = ref->seqlens_q ? ref->seqlens_q[b] : ref->q.shape[2];
    int64_t len_k = ref->seqlens_k ? ref->seqlens_k[b] : ref->k.shape[2];
    if (i >= len_q || j >= len_k)
        return false;
    if (ref->causal == FAJIT_CAUSAL_TOP_LEFT)
        return j <= i;
    return ref->causal == FAJIT_CAUSAL_NONE || j <= i + len_k - len_q;
}

// One row by the definition, in long double.
static void naive_row(const struct fj_ref_attn *ref, int64_t b, int64_t h, int64_t i,
                      long double *ret_o, long double *ret_lse)
{
    int64_t kv = h / (ref->q.shape[1] / ref->k.shape[1]), dv = ref->v.shape[3];
    long double sum = 0, max = -INFINITY;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t x = 0; pass && x < dv; x++)
            ret_o[x] = 0;
        for (int64_t j = 0; j < ref->k.shape[2]; j++) {
            if (!sees(ref, b, i, j))
                continue;
            long double s = 0;
            for (int64_t x = 0; x < ref->q.shape[3]; x++)
                s += element(&ref->q, b, h, i, x) * element(&ref->k, b, kv, j, x);
            s *= ref->scale;
            if (pass == 0) {
                max = s > max ? s : max;
                continue;
            }
            sum += expl(s - max);
            for (int64_t x = 0; x < dv; x++)
                ret_o[x] += expl(s - max) * element(&ref->v, b, kv, j, x);
        }
    }
    for (int64_t x = 0; x < dv; x++)
        ret_o[x] = sum > 0 ? ret_o[x] / sum : 0;
    *ret_lse = sum > 0 ? max + logl(sum) : -INFINITY;
}

static double *doubles(int64_t count)
{
    double *values = malloc(((size_t)count + 1) * sizeof(*values));
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = NAN;
    return values;
}

static void compare_with_naive(const struct fj_ref_attn *ref)
{
    int64_t batch = ref->q.shape[0], heads = ref->q.shape[1], dv = ref->v.shape[3];
    int64_t rows = ref->rows ? ref->n_rows : ref->q.shape[2];
    double *o = doubles(batch * heads * rows * dv), *lse = doubles(batch * heads * rows);
    long double *want = malloc(((size_t)dv + 1) * sizeof(*want)), want_lse;
    assert_int_equal(fj_ref_attention(ref, o, lse), FAJIT_OK);
    for (int64_t at = 0; at < batch * heads * rows; at++) {
        int64_t r = at % rows, h = at / rows % heads, b = at / rows / heads;
        naive_row(ref, b, h, ref->rows ? ref->rows[r] : r, want, &want_lse);
        if (isinf(want_lse))
            assert_true(lse[at] == -INFINITY);
        else
            assert_true(fabsl(lse[at] - want_lse) <= 1e-12L * (1 + fabsl(want_lse)));
        for (int64_t x = 0; x < dv; x++)
            assert_true(fabsl(o[at * dv + x] - want[x]) <= 1e-12L);
    }
    free(want);
    free(o);
    free(lse);
}

static struct fj_ref_attn random_problem(int64_t b, int64_t hk, int64_t group, int64_t sq,
                                         int64_t sk, int64_t d, int64_t dv)
{
    enum fajit_dtype dtype = (enum fajit_dtype)pick(FAJIT_F32, FAJIT_BF16);
    return (struct fj_ref_attn){
        .q = tensor(dtype, b, hk * group, sq, d),
        .k = tensor(dtype, b, hk, sk, d),
        .v = tensor(dtype, b, hk, sk, dv),
        .scale = 1 / sqrt((double)d),
        .causal = (enum fajit_causal)pick(0, 2),
        .threads = 2,
    };
}

// --- Attention --------------------------------------------------------------------------------

static void test_random_problems(void **state)
{
    (void)state;
    static const double scales[] = {0.25, 1, 0, -0.7};
    print_message("seed %u\n", seed);
    for (int round = 0; round < 120; round++) {
        int64_t b = pick(1, 3), sq = pick(1, 70), sk = pick(1, 90);
        struct fj_ref_attn ref =
            random_problem(b, pick(1, 2), pick(1, 3), sq, sk, pick(1, 40), pick(1, 40));
        int32_t lens_q[3], lens_k[3];
        int64_t rows[8];
        for (int i = 0; i < 3; i++) {
            lens_q[i] = pick(0, (int)sq);
            lens_k[i] = pick(0, (int)sk);
        }
        for (int i = 0; i < 8; i++)
            rows[i] = pick(0, (int)sq - 1);
        ref.seqlens_q = round & 1 ? lens_q : NULL;
        ref.seqlens_k = round & 2 ? lens_k : NULL;
        ref.rows = round & 4 ? rows : NULL;
        ref.n_rows = pick(0, 8);
        ref.scale = scales[round / 8 % 4];
        compare_with_naive(&ref);
        drop_all(&ref);
    }
}

static void test_edge_lengths(void **state)
{
    (void)state;
    static const int64_t pairs[][2] = {{1, 1},   {1, 147}, {3, 799},   {64, 128}, {113, 203},
                                       {239, 1}, {16, 17}, {127, 513}, {0, 5},    {5, 0}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        for (int causal = 0; causal < 3; causal++) {
            struct fj_ref_attn ref = random_problem(1, 1, 2, pairs[i][0], pairs[i][1], 16, 24);
            ref.causal = (enum fajit_causal)causal;
            compare_with_naive(&ref);
            drop_all(&ref);
        }
    }
}

// (batch, seq, heads, dim) storage with a padded row, and a broadcast K.
static void test_strides(void **state)
{
    (void)state;
    struct fj_ref_attn ref = random_problem(2, 2, 2, 10, 20, 8, 8);
    struct fj_ref_view wide = tensor(FAJIT_F16, 2, 10, 4, 12); // (b, s, h, d + 4)
    drop(&ref.q);
    ref.q = (struct fj_ref_view){
        .data = wide.data, .dtype = FAJIT_F16, .shape = {2, 4, 10, 8}, .stride = {480, 12, 48, 1}};
    ref.k.stride[0] = ref.k.stride[1] = 0;
    ref.v.stride[2] = 0;
    compare_with_naive(&ref);
    drop_all(&ref);
}

static void test_by_hand(void **state)
{
    (void)state;
    // Scores 0 and ln 3: weights 1/4 and 3/4.
    float q[] = {1}, k[] = {0, 1.0986123f}, v[] = {4, 8};
    struct fj_ref_attn ref = {
        .q = {q, FAJIT_F32, {1, 1, 1, 1}, {1, 1, 1, 1}},
        .k = {k, FAJIT_F32, {1, 1, 2, 1}, {2, 2, 1, 1}},
        .v = {v, FAJIT_F32, {1, 1, 2, 1}, {2, 2, 1, 1}},
        .scale = 1,
    };
    double o, lse;
    assert_int_equal(fj_ref_attention(&ref, &o, &lse), FAJIT_OK);
    assert_true(fabs(o - 7) < 1e-6);
    assert_true(fabs(lse - log(4)) < 1e-7);
    ref.causal = FAJIT_CAUSAL_TOP_LEFT; // sees key 0 only
    assert_int_equal(fj_ref_attention(&ref, &o, &lse), FAJIT_OK);
    assert_true(o == 4 && lse == 0);
    ref.causal = FAJIT_CAUSAL_BOTTOM_RIGHT; // the last query sees all
    assert_int_equal(fj_ref_attention(&ref, &o, &lse), FAJIT_OK);
    assert_true(fabs(o - 7) < 1e-6);
    assert_int_equal(fj_ref_attention(&ref, NULL, &lse), FAJIT_OK);
    assert_int_equal(fj_ref_attention(&ref, &o, NULL), FAJIT_OK);
}

static void test_what_is_unseen_does_not_matter(void **state)
{
    (void)state;
    struct fj_ref_attn ref = random_problem(2, 1, 2, 37, 41, 8, 8);
    int32_t lens_q[] = {30, 0}, lens_k[] = {33, 20};
    ref.seqlens_q = lens_q;
    ref.seqlens_k = lens_k;
    ref.causal = FAJIT_CAUSAL_TOP_LEFT;
    double *before = doubles(2 * 2 * 37 * 8), *after = doubles(2 * 2 * 37 * 8);
    assert_int_equal(fj_ref_attention(&ref, before, NULL), FAJIT_OK);
    for (int64_t b = 0; b < 2; b++) {
        for (int64_t x = 0; x < 8; x++) {
            for (int64_t j = lens_k[b]; j < 41; j++) {
                set(&ref.k, b, 0, j, x, NAN);
                set(&ref.v, b, 0, j, x, NAN);
            }
            for (int64_t i = lens_q[b]; i < 37; i++)
                set(&ref.q, b, 1, i, x, NAN);
            set(&ref.v, b, 0, 18, x, INFINITY); // in the future of rows up to 17
        }
    }
    assert_int_equal(fj_ref_attention(&ref, after, NULL), FAJIT_OK);
    for (int64_t at = 0; at < 2 * 2 * 37 * 8; at++) {
        int64_t i = at / 8 % 37, b = at / 8 / 37 / 2;
        if (i < 18 || i >= lens_q[b])
            assert_true(before[at] == after[at]);
        else
            assert_true(isinf(after[at]));
        assert_true(i < lens_q[b] || after[at] == 0);
    }
    free(before);
    free(after);
    drop_all(&ref);
}

static void test_nan_that_is_seen_shows(void **state)
{
    (void)state;
    struct fj_ref_attn ref = random_problem(1, 1, 1, 3, 9, 4, 4);
    double o[12], lse[3];
    ref.causal = FAJIT_CAUSAL_NONE;
    set(&ref.k, 0, 0, 8, 2, NAN);
    assert_int_equal(fj_ref_attention(&ref, o, lse), FAJIT_OK);
    for (int i = 0; i < 12; i++)
        assert_true(isnan(o[i]));
    assert_true(isnan(lse[0]));
    drop_all(&ref);
}

static void test_order_of_keys_does_not_matter(void **state)
{
    (void)state;
    enum { KEYS = 53, D = 8 };
    struct fj_ref_attn ref = random_problem(1, 1, 1, 20, KEYS, D, D), mixed = ref;
    double o[20 * D], other[20 * D];
    ref.causal = mixed.causal = FAJIT_CAUSAL_NONE;
    mixed.k = tensor(ref.k.dtype, 1, 1, KEYS, D);
    mixed.v = tensor(ref.v.dtype, 1, 1, KEYS, D);
    for (int64_t j = 0; j < KEYS; j++) {
        for (int64_t x = 0; x < D; x++) { // 10 and 53 have no common factor
            set(&mixed.k, 0, 0, j * 10 % KEYS, x, (float)element(&ref.k, 0, 0, j, x));
            set(&mixed.v, 0, 0, j * 10 % KEYS, x, (float)element(&ref.v, 0, 0, j, x));
        }
    }
    assert_int_equal(fj_ref_attention(&ref, o, NULL), FAJIT_OK);
    assert_int_equal(fj_ref_attention(&mixed, other, NULL), FAJIT_OK);
    for (int i = 0; i < 20 * D; i++)
        assert_true(fabs(o[i] - other[i]) < 1e-13);
    drop(&mixed.k);
    drop(&mixed.v);
    drop_all(&ref);
}

static void test_weights_sum_to_one(void **state)
{
    (void)state;
    struct fj_ref_attn ref = random_problem(1, 2, 2, 33, 65, 16, 3);
    double *o = doubles(4 * 33 * 3);
    for (int64_t at = 0; at < 2 * 65 * 3; at++)
        set(&ref.v, 0, at / 195, at / 3 % 65, at % 3, 1);
    ref.causal = FAJIT_CAUSAL_BOTTOM_RIGHT;
    assert_int_equal(fj_ref_attention(&ref, o, NULL), FAJIT_OK);
    for (int i = 0; i < 4 * 33 * 3; i++)
        assert_true(fabs(o[i] - 1) < 1e-14);
    free(o);
    drop_all(&ref);
}

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    struct fj_ref_attn ref = random_problem(2, 2, 2, 65, 130, 32, 32);
    int64_t count = 2 * 4 * 65 * 32;
    double *one = doubles(count), *many = doubles(count);
    for (int round = 0; round < 2; round++) {
        ref.round_to = round ? FAJIT_BF16 : FAJIT_DTYPE_NONE;
        ref.threads = 1;
        assert_int_equal(fj_ref_attention(&ref, one, NULL), FAJIT_OK);
        ref.threads = 5;
        assert_int_equal(fj_ref_attention(&ref, many, NULL), FAJIT_OK);
        assert_memory_equal(one, many, (size_t)count * sizeof(*one));
    }
    free(one);
    free(many);
    drop_all(&ref);
}

static float rounded(enum fajit_dtype dtype, float x)
{
    if (dtype == FAJIT_F16)
        return fj_f16_to_f32(fj_f32_to_f16(x));
    return dtype == FAJIT_BF16 ? fj_bf16_to_f32(fj_f32_to_bf16(x)) : x;
}

// The plain evaluation, step by step. Fused and separate multiply-adds may part by a rounding, so
// a step of the format is allowed.
static void test_plain_evaluation(void **state)
{
    (void)state;
    enum { KEYS = 40, D = 16 };
    for (int type = FAJIT_F32; type <= FAJIT_BF16; type++) {
        enum fajit_dtype dtype = (enum fajit_dtype)type;
        struct fj_ref_attn ref = random_problem(1, 1, 1, 1, KEYS, D, D);
        double o[D], exact[D], lse;
        float p[KEYS], max = -INFINITY, sum = 0;
        double step = dtype == FAJIT_F32 ? 1e-6 : dtype == FAJIT_F16 ? 0x1p-10 : 0x1p-7;
        bool differs = false;
        ref.causal = FAJIT_CAUSAL_NONE;
        assert_int_equal(fj_ref_attention(&ref, exact, NULL), FAJIT_OK);
        ref.round_to = dtype;
        assert_int_equal(fj_ref_attention(&ref, o, &lse), FAJIT_OK);
        for (int j = 0; j < KEYS; j++) {
            float s = 0;
            for (int x = 0; x < D; x++)
                s += (float)element(&ref.q, 0, 0, 0, x) * (float)element(&ref.k, 0, 0, j, x);
            p[j] = rounded(dtype, s) * (float)ref.scale;
            max = fmaxf(max, p[j]);
        }
        for (int j = 0; j < KEYS; j++)
            sum += p[j] = expf(p[j] - max);
        assert_true(fabs(lse - (max + logf(sum))) < 1e-2 * step + 1e-5);
        for (int x = 0; x < D; x++) {
            float acc = 0;
            for (int j = 0; j < KEYS; j++)
                acc += rounded(dtype, p[j] / sum) * (float)element(&ref.v, 0, 0, j, x);
            assert_true(fabs(o[x] - rounded(dtype, acc)) <= step);
            assert_true(o[x] == rounded(dtype, (float)o[x]));
            assert_true(fabs(o[x] - exact[x]) < 40 * step);
            differs = differs || o[x] != exact[x];
        }
        assert_true(differs);
        drop_all(&ref);
    }
}

static void test_attention_refuses(void **state)
{
    (void)state;
    struct fj_ref_attn good = random_problem(1, 2, 2, 4, 5, 8, 8), bad;
    double *o = doubles(1000);
    int32_t len = 6;
    int64_t row = 4;
    bad = good;
    bad.seqlens_k = &len;
    assert_int_equal(fj_ref_attention(&bad, o, NULL), FAJIT_E_INVAL);
    bad = good;
    bad.rows = &row;
    bad.n_rows = 1;
    assert_int_equal(fj_ref_attention(&bad, o, NULL), FAJIT_E_INVAL);
    bad = good;
    bad.k.shape[3] = 7;
    assert_int_equal(fj_ref_attention(&bad, o, NULL), FAJIT_E_INVAL);
    bad = good;
    bad.q.shape[1] = 3;
    assert_int_equal(fj_ref_attention(&bad, o, NULL), FAJIT_E_INVAL);
    bad = good;
    bad.q.dtype = FAJIT_DTYPE_NONE;
    assert_int_equal(fj_ref_attention(&bad, o, NULL), FAJIT_E_INVAL);
    assert_true(isnan(o[0])); // untouched
    free(o);
    drop_all(&good);
}

// --- Matrix products --------------------------------------------------------------------------

static long double act_of(enum fajit_act act, long double x)
{
    if (act == FAJIT_ACT_RELU)
        return x > 0 ? x : 0;
    if (act == FAJIT_ACT_GELU)
        return x * (1 + erfl(x / sqrtl(2))) / 2;
    return act == FAJIT_ACT_SILU ? x / (1 + expl(-x)) : x;
}

static long double naive_element(const struct fj_ref_gemm *ref, int64_t b, int64_t m, int64_t n)
{
    int64_t k = ref->a.shape[ref->trans_a ? 2 : 3];
    struct fj_ref_view bias = {ref->bias, ref->bias_dtype, {1, 1, 1, 1}, {0, 0, 0, 1}};
    long double sum = 0;
    for (int64_t i = 0; i < k; i++)
        sum += (ref->trans_a ? element(&ref->a, 0, b, i, m) : element(&ref->a, 0, b, m, i)) *
               (ref->trans_b ? element(&ref->b, 0, b, n, i) : element(&ref->b, 0, b, i, n));
    sum *= ref->alpha;
    sum += ref->c.data && ref->beta != 0 ? ref->beta * element(&ref->c, 0, b, m, n) : 0;
    sum += ref->bias ? element(&bias, 0, 0, 0, n) : 0;
    return act_of(ref->act, sum);
}

static void test_random_products(void **state)
{
    (void)state;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 64; round++) {
        int64_t batch = pick(1, 3), m = pick(1, 70), n = pick(1, 50), k = pick(0, 60);
        enum fajit_dtype dtype = (enum fajit_dtype)pick(FAJIT_F32, FAJIT_BF16);
        bool ta = round & 1, tb = round & 2;
        struct fj_ref_view bias = tensor(dtype, 1, 1, 1, n);
        int64_t rows[] = {m - 1, 0, m / 2};
        struct fj_ref_gemm ref = {
            .a = ta ? tensor(dtype, 1, batch, k, m) : tensor(dtype, 1, batch, m, k),
            .b = tb ? tensor(dtype, 1, batch, n, k) : tensor(dtype, 1, batch, k, n),
            .c = tensor(dtype, 1, batch, m, n),
            .trans_a = ta,
            .trans_b = tb,
            .bias = round & 4 ? bias.data : NULL,
            .bias_dtype = dtype,
            .alpha = 0.75,
            .beta = round & 8 ? -0.5 : 0,
            .act = (enum fajit_act)(round / 16),
            .rows = round % 3 ? NULL : rows,
            .n_rows = 3,
            .threads = 2,
        };
        int64_t n_rows = ref.rows ? 3 : m;
        double *c = doubles(batch * n_rows * n), *plain = doubles(batch * n_rows * n);
        assert_int_equal(fj_ref_gemm(&ref, c), FAJIT_OK);
        ref.round_to = dtype;
        assert_int_equal(fj_ref_gemm(&ref, plain), FAJIT_OK);
        double grain = dtype == FAJIT_F32 ? 1e-5 : dtype == FAJIT_F16 ? 0x1p-10 : 0x1p-7;
        for (int64_t at = 0; at < batch * n_rows * n; at++) {
            int64_t r = at / n % n_rows;
            long double want = naive_element(&ref, at / n / n_rows, ref.rows ? rows[r] : r, at % n);
            assert_true(fabsl(c[at] - want) <= 1e-12L * (1 + fabsl(want)));
            assert_true(fabsl(plain[at] - want) <= grain * (1 + fabsl(want)));
            assert_true(plain[at] == rounded(dtype, (float)plain[at]));
        }
        free(c);
        free(plain);
        drop(&bias);
        drop(&ref.a);
        drop(&ref.b);
        drop(&ref.c);
    }
}

static void test_beta_zero_does_not_read_c(void **state)
{
    (void)state;
    float a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8}, c[] = {NAN, NAN, NAN, NAN}, bias[] = {1, -100};
    static const double want[] = {20, -78, 44, -50}, relu[] = {20, 0, 44, 0};
    struct fj_ref_view shape = {a, FAJIT_F32, {1, 1, 2, 2}, {4, 4, 2, 1}};
    struct fj_ref_gemm ref = {
        .a = shape, .b = shape, .c = shape, .bias = bias, .bias_dtype = FAJIT_F32, .alpha = 1};
    double got[4];
    ref.b.data = b;
    ref.c.data = c;
    assert_int_equal(fj_ref_gemm(&ref, got), FAJIT_OK);
    assert_memory_equal(got, want, sizeof(want));
    ref.act = FAJIT_ACT_RELU;
    assert_int_equal(fj_ref_gemm(&ref, got), FAJIT_OK);
    for (int i = 0; i < 4; i++)
        assert_true(got[i] == relu[i]);
    ref.b.shape[2] = 3;
    assert_int_equal(fj_ref_gemm(&ref, got), FAJIT_E_INVAL);
}

// --- Comparison -------------------------------------------------------------------------------

static void test_compare(void **state)
{
    (void)state;
    double want[] = {1, -2, 0, -INFINITY, 4}, got[] = {1, -2.5, 0.25, -INFINITY, 4};
    struct fj_ref_error error;
    fj_ref_compare(got, want, 5, &error);
    assert_true(error.max_abs == 0.5 && error.max_rel == 0.25 && error.worst == 1);
    assert_true(fabs(error.mean_abs - 0.15) < 1e-15);
    assert_int_equal(error.nan_count, 0);
    got[4] = NAN;
    fj_ref_compare(got, want, 5, &error);
    assert_int_equal(error.nan_count, 1);
    assert_int_equal(error.worst, 4);
    got[4] = INFINITY;
    fj_ref_compare(got, want, 5, &error);
    assert_true(isinf(error.max_abs) && error.worst == 4);
    fj_ref_compare(got, want, 0, &error);
    assert_int_equal(error.worst, -1);
}

static void test_judge(void **state)
{
    (void)state;
    // Near 1, bf16 has steps of 2^-7 (2^-8 below): 1 + 0.3 = 1.296875, minus 0.3 = 0.99609375.
    double reference[] = {1, 2}, plain[] = {1, 2}, kernel[] = {1, 2};
    struct fj_ref_verdict verdict;
    fj_ref_judge(kernel, reference, plain, 2, FAJIT_BF16, &verdict);
    assert_true(verdict.pass);
    assert_true(verdict.atol > 0 && verdict.atol <= 4 * 0x1p-6);
    kernel[1] = 2 + verdict.bound * 1.01;
    fj_ref_judge(kernel, reference, plain, 2, FAJIT_BF16, &verdict);
    assert_false(verdict.pass);
    plain[0] = 1 + verdict.bound; // a worse plain evaluation allows more
    fj_ref_judge(kernel, reference, plain, 2, FAJIT_BF16, &verdict);
    assert_true(verdict.pass);
    kernel[0] = NAN;
    fj_ref_judge(kernel, reference, plain, 2, FAJIT_BF16, &verdict);
    assert_false(verdict.pass);
    // Overflow shared with the plain evaluation passes; any other infinity does not.
    reference[0] = 70000;
    plain[0] = kernel[0] = INFINITY;
    kernel[1] = 2;
    fj_ref_judge(kernel, reference, plain, 2, FAJIT_F16, &verdict);
    assert_true(verdict.pass);
    kernel[1] = INFINITY;
    fj_ref_judge(kernel, reference, plain, 2, FAJIT_F16, &verdict);
    assert_false(verdict.pass);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_problems),
        cmocka_unit_test(test_edge_lengths),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_what_is_unseen_does_not_matter),
        cmocka_unit_test(test_nan_that_is_seen_shows),
        cmocka_unit_test(test_order_of_keys_does_not_matter),
        cmocka_unit_test(test_weights_sum_to_one),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_plain_evaluation),
        cmocka_unit_test(test_attention_refuses),
        cmocka_unit_test(test_random_products),
        cmocka_unit_test(test_beta_zero_does_not_read_c),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_judge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
