#include "test.h"

#include <float.h>
#include <locale.h>
#include <math.h>

#include "kernels/problem.h"
#include "kernels/words.h"

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % limit;
}

static int64_t random_size(void)
{
    return random_below(3) ? (int64_t)(random_below(UINT64_C(1) << random_below(16)) + 1) : 0;
}

static float random_scale(void)
{
    uint32_t bits = (uint32_t)(random_below(65536) << 16 | random_below(65536));
    float value;
    memcpy(&value, &bits, sizeof(value));
    return isfinite(value) ? value : 0;
}

static void random_attn(struct fajit_attn_desc *attn)
{
    attn->dtype = (enum fajit_dtype)(1 + random_below(3));
    attn->batch = random_size();
    attn->heads_kv = random_below(2) ? 0 : (int64_t)random_below(9);
    attn->heads_q = attn->heads_kv ? attn->heads_kv * (int64_t)(1 + random_below(8))
                                   : (int64_t)random_below(65);
    attn->seq_q = random_size();
    attn->seq_k = random_size();
    attn->head_dim = 8 * (int)(1 + random_below(32));
    attn->head_dim_v = 8 * (int)random_below(33);
    attn->layout = (enum fajit_layout)random_below(3);
    attn->causal = (enum fajit_causal)random_below(3);
    attn->lse = random_below(2);
    attn->seqlens_q = random_below(2);
    attn->seqlens_k = random_below(2);
    attn->scale = random_below(2) ? random_scale() : 0;
    attn->align_bytes = random_below(2) ? 1 << random_below(9) : 0;
    attn->family = (enum fajit_family)random_below(4);
    attn->variant = (enum fajit_variant)random_below(4);
}

static void random_gemm(struct fajit_gemm_desc *gemm)
{
    gemm->dtype = (enum fajit_dtype)(1 + random_below(3));
    gemm->out_dtype = (enum fajit_dtype)random_below(4);
    gemm->batch = random_size();
    gemm->m = random_size();
    gemm->n = random_size();
    gemm->k = random_size();
    gemm->trans_a = random_below(2);
    gemm->trans_b = random_below(2);
    gemm->bias = random_below(2);
    gemm->beta = random_below(2);
    gemm->act = (enum fajit_act)random_below(4);
    gemm->math = (enum fajit_math)random_below(4);
    gemm->align_bytes = random_below(2) ? 1 << random_below(9) : 0;
    gemm->family = (enum fajit_family)random_below(4);
    gemm->variant = random_below(2) ? FAJIT_VARIANT_AUTO : FAJIT_VARIANT_PERSISTENT;
}

static struct fajit_problem random_problem(void)
{
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    struct fj_config config = {0};
    struct fj_buf text = {0};
    if (random_below(2)) {
        problem.op = FAJIT_OP_ATTN_FWD;
        random_attn(&problem.attn);
    } else {
        problem.op = FAJIT_OP_GEMM;
        random_gemm(&problem.gemm);
    }
    for (int i = 0; i < 4; i++)
        config.v[random_below(FJ_KNOB_COUNT)] = (int16_t)random_below(FJ_KNOB_MAX + 1);
    fj_config_format(&config, &text);
    if (text.len > 0)
        memcpy(problem.config, text.data, text.len + 1);
    fj_buf_free(&text);
    return problem;
}

static void assert_same_problem(const struct fj_problem *a, const struct fj_problem *b)
{
    struct fj_buf ta = {0}, tb = {0};
    fj_problem_print(a, &ta);
    fj_problem_print(b, &tb);
    assert_string_equal(ta.data, tb.data);
    fj_buf_free(&ta);
    fj_buf_free(&tb);
    // Not memcmp: padding. Every field that has a word is in the text; these have defaults there.
    assert_int_equal(a->op, b->op);
    if (a->op == FAJIT_OP_ATTN_FWD) {
        assert_true(a->attn.scale == b->attn.scale);
        assert_int_equal(a->attn.align_bytes, b->attn.align_bytes);
        assert_int_equal(a->attn.heads_kv, b->attn.heads_kv);
        assert_int_equal(a->attn.head_dim_v, b->attn.head_dim_v);
        assert_int_equal(a->attn.layout, b->attn.layout);
    } else {
        assert_int_equal(a->gemm.math, b->gemm.math);
        assert_int_equal(a->gemm.align_bytes, b->gemm.align_bytes);
        assert_int_equal(a->gemm.out_dtype, b->gemm.out_dtype);
    }
    assert_memory_equal(&a->fixed, &b->fixed, sizeof(a->fixed));
}

static void test_format_then_parse(void **state)
{
    (void)state;
    const uint64_t seed = 20240607;
    print_message("seed %llu\n", (unsigned long long)seed);
    random_state = seed;
    for (int i = 0; i < 20000; i++) {
        struct fajit_problem problem = random_problem(), back;
        struct fj_problem own, own_back;
        struct fj_buf text = {0}, again = {0};
        if (fj_problem_format(&problem, &text) < 0)
            fail_msg("problem %d: %s", i, fj_err_text());
        if (fj_problem_parse(text.data, &back) < 0)
            fail_msg("problem %d, %s: %s", i, text.data, fj_err_text());
        assert_int_equal(fj_problem_format(&back, &again), FAJIT_OK);
        assert_string_equal(text.data, again.data);
        assert_int_equal(fj_problem_from_public(&problem, &own), FAJIT_OK);
        assert_int_equal(fj_problem_from_public(&back, &own_back), FAJIT_OK);
        assert_same_problem(&own, &own_back);
        fj_buf_free(&text);
        fj_buf_free(&again);
    }
}

static void test_floats_survive(void **state)
{
    (void)state;
    static const float edges[] = {FLT_MAX,  -FLT_MAX, FLT_MIN,  FLT_TRUE_MIN,        0.1f,
                                  1.0f / 3, 1e10f,    16777216, 0.08838834764831845f};
    char text[FJ_FLOAT_TEXT_MAX];
    float back;
    random_state = 7;
    for (size_t i = 0; i < 200000; i++) {
        const size_t n = sizeof(edges) / sizeof(edges[0]);
        float value = i < n ? edges[i] : random_scale();
        fj_format_float(value, text);
        if (!fj_parse_float(text, strlen(text), &back) || back != value)
            fail_msg("%a became %s, then %a", (double)value, text, (double)back);
    }
    assert_string_equal(fj_format_float(0.1f, text), "0.1");
    assert_true(fj_parse_float("0.000000000000000000000000000000000000000000001e45", 50, &back));
    assert_true(back == 1);
    assert_true(fj_parse_float("123456789012345678901234567890e-29", 34, &back));
    assert_true(back == 1.23456789f);
}

static void test_locale_does_not_matter(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !found; i++)
        found = setlocale(LC_ALL, names[i]) != NULL;
    if (!found)
        skip(); // no locale with a decimal comma is installed
    struct fajit_problem problem;
    struct fj_buf text = {0};
    assert_int_equal(fj_problem_parse("attn:bf16,d128,scale=0.3", &problem), FAJIT_OK);
    assert_int_equal(fj_problem_format(&problem, &text), FAJIT_OK);
    setlocale(LC_ALL, "C");
    assert_string_equal(text.data, "attn:bf16,d128,scale=0.3");
    fj_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_then_parse),
        cmocka_unit_test(test_floats_survive),
        cmocka_unit_test(test_locale_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
