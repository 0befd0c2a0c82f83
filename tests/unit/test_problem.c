#include "test.h"

#include <math.h>

#include "kernels/problem.h"

static struct fajit_problem parsed(const char *text)
{
    struct fajit_problem problem;
    if (fj_problem_parse(text, &problem) < 0)
        fail_msg("%s: %s", text, fj_err_text());
    return problem;
}

static struct fj_problem checked(const char *text)
{
    struct fajit_problem problem = parsed(text);
    struct fj_problem own;
    if (fj_problem_from_public(&problem, &own) < 0)
        fail_msg("%s: %s", text, fj_err_text());
    return own;
}

static void test_attn_words(void **state)
{
    (void)state;
    struct fajit_problem p = parsed("attn:f16,b1,h32/8,q1,k8192,d192/128,bhsd,causal=tl,lse,"
                                    "seqlens=k,scale=0.125,kernel=mma,variant=v2,align=8,bm=64");
    assert_int_equal(p.struct_size, sizeof(p));
    assert_int_equal(p.op, FAJIT_OP_ATTN_FWD);
    assert_int_equal(p.attn.dtype, FAJIT_F16);
    assert_int_equal(p.attn.batch, 1);
    assert_int_equal(p.attn.heads_q, 32);
    assert_int_equal(p.attn.heads_kv, 8);
    assert_int_equal(p.attn.seq_q, 1);
    assert_int_equal(p.attn.seq_k, 8192);
    assert_int_equal(p.attn.head_dim, 192);
    assert_int_equal(p.attn.head_dim_v, 128);
    assert_int_equal(p.attn.layout, FAJIT_BHSD);
    assert_int_equal(p.attn.causal, FAJIT_CAUSAL_TOP_LEFT);
    assert_true(p.attn.lse);
    assert_false(p.attn.seqlens_q);
    assert_true(p.attn.seqlens_k);
    assert_true(p.attn.scale == 0.125f);
    assert_int_equal(p.attn.family, FAJIT_FAMILY_MMA);
    assert_int_equal(p.attn.variant, FAJIT_VARIANT_V2);
    assert_int_equal(p.attn.align_bytes, 8);
    assert_string_equal(p.config, "bm=64");
}

static void test_gemm_words(void **state)
{
    (void)state;
    struct fajit_problem p =
        parsed("gemm:f32,b3,m4096,n512,k64,tn,out=f16,math=3xtf32,bias,beta,act=gelu,persistent");
    assert_int_equal(p.op, FAJIT_OP_GEMM);
    assert_int_equal(p.gemm.dtype, FAJIT_F32);
    assert_int_equal(p.gemm.out_dtype, FAJIT_F16);
    assert_int_equal(p.gemm.batch, 3);
    assert_int_equal(p.gemm.m, 4096);
    assert_int_equal(p.gemm.n, 512);
    assert_int_equal(p.gemm.k, 64);
    assert_true(p.gemm.trans_a);
    assert_false(p.gemm.trans_b);
    assert_true(p.gemm.bias);
    assert_true(p.gemm.beta);
    assert_int_equal(p.gemm.act, FAJIT_ACT_GELU);
    assert_int_equal(p.gemm.math, FAJIT_MATH_3XTF32);
    assert_int_equal(p.gemm.variant, FAJIT_VARIANT_PERSISTENT);
}

static void test_defaults(void **state)
{
    (void)state;
    struct fj_problem p = checked("attn:bf16,h16,d64");
    assert_int_equal(p.attn.heads_kv, 16);
    assert_int_equal(p.attn.head_dim_v, 64);
    assert_int_equal(p.attn.batch, 0);
    assert_int_equal(p.attn.layout, FAJIT_BSHD);
    assert_int_equal(p.attn.align_bytes, 16);
    assert_true(p.attn.scale == 0.125f);
    p = checked("gemm:bf16,math=tf32");
    assert_int_equal(p.gemm.out_dtype, FAJIT_BF16);
    assert_int_equal(p.gemm.math, FAJIT_MATH_FMA); // only fp32 operands have a choice
    assert_int_equal(p.gemm.align_bytes, 16);
}

// Compact rows of odd sizes cannot keep 16 bytes; sizes left open promise it.
static void test_gemm_align_follows_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int align;
    } cases[] = {
        {"gemm:f16,m33,n47,k61", 2},         {"gemm:f16,m33,n48,k64", 16},
        {"gemm:f32,m33,n47,k61", 4},         {"gemm:f16,m33,n64,k12", 8},
        {"gemm:f16,n36,k64,out=f32", 8},     {"gemm:f16,n36,k64,nt,out=f32", 16},
        {"gemm:f16,m33,n64,k61,tn", 2},      {"gemm:f16,m64,n64,k61,tn", 16},
        {"gemm:f16,m33,n47,k61,align=8", 8}, {"gemm:f16,align=1", 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(checked(cases[i].text).gemm.align_bytes, cases[i].align);
}

static void test_canonical_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } cases[] = {
        {"attn:causal,d128,k4096,q4096,h16/4,b2,bf16,bshd",
         "attn:bf16,b2,h16/4,q4096,k4096,d128,causal"},
        {"attn:bf16,h8/8,d64/64", "attn:bf16,h8,d64"},
        {"attn:d64,f32,persistent,kernel=auto,align=16", "attn:f32,d64,variant=persistent"},
        {"attn:f32,d64,scale=0.125", "attn:f32,d64"},
        {"attn:f32,d64,scale=1.250e-1", "attn:f32,d64"},
        {"attn:f32,d64,scale=-.5", "attn:f32,d64,scale=-0.5"},
        {"attn:f32,d64,variant=auto,seqlens,stages=2,bm=64", "attn:f32,d64,seqlens,bm=64,stages=2"},
        {"attn:f16,nsd,d00128", "attn:f16,d128,nsd"},
        {"gemm:k7,n5,m3,nn,f32,math=fma,out=f32", "gemm:f32,m3,n5,k7"},
        {"gemm:f32,nt,math=tf32,act=silu", "gemm:f32,nt,math=tf32,act=silu"},
        {"gemm:f16,m33,n47,k61,align=2", "gemm:f16,m33,n47,k61"},
        {"gemm:f16,m33,n47,k61,align=16", "gemm:f16,m33,n47,k61,align=16"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fajit_problem problem = parsed(cases[i].text);
        struct fj_buf text = {0};
        assert_int_equal(fj_problem_format(&problem, &text), FAJIT_OK);
        assert_string_equal(text.data, cases[i].canonical);
        fj_buf_free(&text);
    }
}

static const struct {
    const char *text, *says;
} bad_texts[] = {
    {"", "no operation at column 1"},
    {"attn", "no operation at column 1"},
    {"bf16,d128", "no operation at column 1"},
    {"kernel:rmsnorm,hidden=64", "\"kernel:\" is a template of one's own"},
    {":", "unknown operation \"\" at column 1"},
    {"atn:bf16,d128", "unknown operation \"atn\" at column 1; the nearest is \"attn:\""},
    {"gem:f16", "unknown operation \"gem\" at column 1; the nearest is \"gemm:\""},
    {" attn:bf16,d128", "unknown operation \" attn\" at column 1; the nearest is \"attn:\""},
    {"attn:", "nothing after \"attn:\""},
    {"gemm:", "nothing after \"gemm:\""},
    {"attn:bf16", "no head dim"},
    {"attn:d128", "no dtype"},
    {"gemm:m64", "no dtype"},
    {"attn:bf16,,d128", "a word is missing at column 11"},
    {"attn:,bf16,d128", "a word is missing at column 6"},
    {"attn:bf16,d128,", "a word is missing at column 16"},
    {"attn:bf16,d128,casual", "unknown word \"casual\" at column 16; the nearest word of attn "
                              "problems is \"causal\""},
    {"attn:bf61,d128", "\"bf61\" at column 6; the nearest word of attn problems is \"bf16\""},
    {"attn:bf16, d128", "unknown word \" d128\" at column 11; the nearest word of attn "
                        "problems is \"dN\""},
    {"attn:bf16,d128 ", "\"d128 \" at column 11 has no valid number"},
    {"attn:bf16,dd128", "\"dd128\" at column 11; the nearest word of attn problems is \"dN\""},
    {"attn:bf16,d128,stage=2", "at column 16; the nearest word of attn problems is "
                               "\"stages=N\""},
    {"attn:bf16,d128,CAUSAL", "unknown word \"CAUSAL\" at column 16"},
    {"attn:bf16,d128,b", "\"b\" at column 16 is incomplete or has a wrong value; allowed: a "
                         "number, as in \"b2\""},
    {"attn:bf16,d", "allowed: a number or two, as in \"d128\" or \"d192/128\""},
    {"attn:bf16,d128,bm", "allowed: a value, as in \"bm=64\""},
    {"attn:bf16,d128,scale", "allowed: a value, as in \"scale=0.125\""},
    {"attn:bf16,d128,kernel=fast", "\"kernel=fast\" at column 16 is incomplete or has a wrong "
                                   "value; allowed: \"kernel=auto\", \"kernel=simt\", "
                                   "\"kernel=mma\", \"kernel=sm90\""},
    {"attn:bf16,d128,kernel", "allowed: \"kernel=auto\""},
    {"attn:bf16,d128,causal=br", "allowed: \"causal\", \"causal=tl\""},
    {"attn:bf16,d128,bshd=1", "allowed: \"bshd\""},
    {"attn:bf16,d128,lse=", "allowed: \"lse\""},
    {"gemm:f16,variant=v1", "allowed: \"variant=auto\", \"variant=v2\", \"variant=persistent\""},
    {"gemm:f16,seqlens=q", "is a word of attn problems, not of gemm problems"},
    {"attn:bf16,d128,m64", "\"m64\" at column 16 is a word of gemm problems"},
    {"gemm:f16,lse", "\"lse\" at column 10 is a word of attn problems"},
    {"gemm:f16,bias=2", "allowed: \"bias\""},
    {"attn:bf16,d128,causal,causal", "\"causal\" at column 23 sets what \"causal\" at column "
                                     "16 already set"},
    {"attn:bf16,f16,d128", "\"f16\" at column 11 sets what \"bf16\" at column 6 already set"},
    {"attn:bf16,d128,causal,causal=tl", "at column 23 sets what \"causal\" at column 16"},
    {"attn:bf16,d128,seqlens=q,seqlens=k", "\"seqlens=k\" at column 26 sets what"},
    {"attn:bf16,d128,persistent,variant=v2", "\"variant=v2\" at column 27 sets what "
                                             "\"persistent\" at column 16"},
    {"attn:bf16,d128,bm=64,bm=32", "\"bm=32\" at column 22 sets what \"bm=64\" at column 16"},
    {"attn:bf16,d128,b2,b2", "\"b2\" at column 19 sets what \"b2\" at column 16"},
    {"attn:bf16,d128,b0", "\"b0\" at column 16 has no valid number; it is written as bN, with "
                          "whole numbers from 1 to 2147483647"},
    {"attn:bf16,d128,q2147483648", "\"q2147483648\" at column 16 has no valid number"},
    {"attn:bf16,d128,q99999999999999999999999999", "at column 16 has no valid number"},
    {"attn:bf16,d128,h16/", "written as hN or hN/N"},
    {"attn:bf16,d128,h16/4/2", "written as hN or hN/N"},
    {"attn:bf16,d128,h16x4", "written as hN or hN/N"},
    {"attn:bf16,d128,b2/2", "written as bN,"},
    {"attn:bf16,d128,bm=0", "written as bm=N, with whole numbers from 1 to 1024"},
    {"attn:bf16,d128,bm=1025", "from 1 to 1024"},
    {"attn:bf16,d128,bm=", "\"bm=\" at column 16 has no valid number"},
    {"attn:bf16,d128,align=512", "from 1 to 256"},
    {"attn:bf16,d128,align=12", "align_bytes is 12; it may be a power of two"},
    {"attn:bf16,d128,scale=nan", "finite decimal"},
    {"attn:bf16,d128,scale=inf", "finite decimal"},
    {"attn:bf16,d128,scale=1e99", "finite decimal"},
    {"attn:bf16,d128,scale=0", "other than 0"},
    {"attn:bf16,d128,scale=1e-99", "other than 0"},
    {"attn:bf16,d128,scale=0x1p3", "finite decimal"},
    {"attn:bf16,d128,scale=1e", "finite decimal"},
    {"attn:bf16,d128,scale=.", "finite decimal"},
    {"attn:bf16,d128,scale=1.5.2", "finite decimal"},
    {"attn:bf16,d20", "head_dim is 20; it may be 8 to 256 in steps of 8"},
    {"attn:bf16,d512", "head_dim is 512"},
    {"attn:bf16,d128/4", "head_dim_v is 4"},
    {"attn:bf16,d128,h16/3", "heads_q is 16, which is no multiple of heads_kv, 3"},
    {"attn:bf16,d128,h4/16", "heads_q is 4, which is no multiple of heads_kv, 16"},
    {"attn:bf16,d256,b2147483647,h2147483647,q2147483647", "the bytes of Q overflow"},
    {"gemm:f32,b2147483647,m2147483647,n2147483647", "the bytes of A overflow"},
    {"attn:bf16,d128,\x01\xff", "unknown word \"??\" at column 16"},
    {"attn:bf16,d128,a_word_that_goes_on_and_on_and_on_and_on_and_on_and_on",
     "unknown word \"a_word_that_goes_on_and_on_and_on_and_on_a...\" at column 16"},
};

static void test_bad_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++) {
        struct fajit_problem problem, before;
        memset(&problem, 0x5a, sizeof(problem));
        before = problem;
        int r = fj_problem_parse(bad_texts[i].text, &problem);
        if (r != FAJIT_E_INVAL || !strstr(fj_err_text(), bad_texts[i].says))
            fail_msg("%s: %d, \"%s\" lacks \"%s\"", bad_texts[i].text, r, fj_err_text(),
                     bad_texts[i].says);
        assert_memory_equal(&problem, &before, sizeof(before));
    }
    struct fajit_problem problem;
    assert_int_equal(fj_problem_parse(NULL, &problem), FAJIT_E_INVAL);
    static char longest[2048];
    memset(longest, 'a', sizeof(longest) - 1);
    assert_int_equal(fj_problem_parse(longest, &problem), FAJIT_E_INVAL);
    assert_non_null(strstr(fj_err_text(), "longer than 1023 bytes"));
}

static void test_reserved_words(void **state)
{
    (void)state;
    static const char *const words[] = {
        "varlen", "paged=16", "splits=4", "bwd",       "e4m3",       "mask=x",     "bias=bh",
        "bias",   "alibi",    "sink",     "dropout=1", "window=8:0", "softcap=30", "strides=1:2",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char text[64] = "attn:bf16,d128,";
        struct fajit_problem problem;
        strcat(text, words[i]);
        assert_int_equal(fj_problem_parse(text, &problem), FAJIT_E_UNSUPPORTED);
        assert_non_null(strstr(fj_err_text(), "at column 16 is not yet supported"));
        assert_non_null(strstr(fj_err_text(), words[i]));
    }
}

// --- Structs from hosts -----------------------------------------------------------------------

static struct fajit_problem host_attn(void)
{
    return (struct fajit_problem){
        .struct_size = sizeof(struct fajit_problem),
        .op = FAJIT_OP_ATTN_FWD,
        .attn = {.struct_size = sizeof(struct fajit_attn_desc),
                 .dtype = FAJIT_BF16,
                 .head_dim = 64},
    };
}

static void assert_refused(const struct fajit_problem *problem, int status, const char *says)
{
    struct fj_problem own;
    memset(&own, 0x5a, sizeof(own));
    struct fj_problem before = own;
    int r = fj_problem_from_public(problem, &own);
    if (r != status || !strstr(fj_err_text(), says))
        fail_msg("%d, \"%s\" lacks \"%s\"", r, fj_err_text(), says);
    assert_memory_equal(&own, &before, sizeof(own));
}

static void test_struct_rules(void **state)
{
    (void)state;
#define REFUSED(change, says)                                                                      \
    do {                                                                                           \
        struct fajit_problem p = host_attn();                                                      \
        change;                                                                                    \
        assert_refused(&p, FAJIT_E_INVAL, says);                                                   \
    } while (0)
    struct fj_problem own;
    struct fajit_problem good = host_attn();
    assert_int_equal(fj_problem_from_public(&good, &own), FAJIT_OK);
    assert_refused(NULL, FAJIT_E_INVAL, "NULL");
    REFUSED(p.op = FAJIT_OP_NONE, "op is 0");
    REFUSED(p.op = (enum fajit_op)77, "op is 77");
    REFUSED(p.attn.dtype = FAJIT_DTYPE_NONE, "no dtype");
    REFUSED(p.attn.dtype = (enum fajit_dtype)9, "dtype 9 does not exist");
    REFUSED(p.attn.head_dim = 0, "no head dim");
    REFUSED(p.attn.head_dim = -8, "head_dim is -8");
    REFUSED(p.attn.head_dim = 264, "head_dim is 264; it may be 8 to 256 in steps of 8");
    REFUSED(p.attn.head_dim_v = 12, "head_dim_v is 12; it may be 8 to 256 in steps of 8");
    REFUSED(p.attn.batch = -1, "batch is -1; it may be 0 to 2147483647");
    REFUSED(p.attn.seq_q = INT64_MIN, "seq_q is -9223372036854775808");
    REFUSED(p.attn.seq_k = INT64_C(1) << 31, "seq_k is 2147483648");
    REFUSED(p.attn.heads_kv = 4, "heads_kv is 4 while heads_q is any");
    REFUSED((p.attn.heads_q = 6, p.attn.heads_kv = 4), "no multiple");
    REFUSED(p.attn.layout = (enum fajit_layout)3, "layout is 3; it may be 0 to 2");
    REFUSED(p.attn.causal = (enum fajit_causal) - 1, "causal is 4294967295");
    REFUSED(p.attn.scale = INFINITY, "not finite");
    REFUSED(p.attn.scale = NAN, "not finite");
    REFUSED(p.attn.align_bytes = -16, "align_bytes is -16");
    REFUSED(p.attn.align_bytes = 24, "align_bytes is 24");
    REFUSED(p.attn.align_bytes = 512, "align_bytes is 512");
    REFUSED(p.attn.family = (enum fajit_family)4, "family is 4");
    REFUSED(p.attn.variant = (enum fajit_variant)4, "variant is 4");
    REFUSED(strcpy(p.config, "bmx=4"), "the nearest is \"bm\"");
    REFUSED(memset(p.config, 'b', sizeof(p.config)), "config has no end");
    REFUSED((p.op = FAJIT_OP_GEMM, p.gemm.dtype = FAJIT_F16, p.gemm.variant = FAJIT_VARIANT_V1),
            "v1 is an attention schedule");
    REFUSED(
        (p.op = FAJIT_OP_GEMM, p.gemm.dtype = FAJIT_F16, p.gemm.out_dtype = (enum fajit_dtype)5),
        "out_dtype");
    REFUSED((p.op = FAJIT_OP_GEMM, p.gemm.dtype = FAJIT_F16, p.gemm.act = (enum fajit_act)5),
            "act is 5");
#undef REFUSED
}

static void test_struct_sizes(void **state)
{
    (void)state;
    struct fj_problem own;
    struct fajit_problem p = host_attn();
    p.struct_size = 0;
    assert_refused(&p, FAJIT_E_INVAL, "struct_size is 0; set it to sizeof");
    p = host_attn(); // an older host: no `config` yet, and what lies there is not ours
    strcpy(p.config, "nonsense");
    p.struct_size = offsetof(struct fajit_problem, config);
    assert_int_equal(fj_problem_from_public(&p, &own), FAJIT_OK);
    p = host_attn(); // an older inner struct, its `family` unknown
    p.attn.family = (enum fajit_family)99;
    p.attn.struct_size = offsetof(struct fajit_attn_desc, family);
    assert_int_equal(fj_problem_from_public(&p, &own), FAJIT_OK);
    assert_int_equal(own.family, FAJIT_FAMILY_AUTO);
    p.attn.struct_size = sizeof(p.attn) + 8;
    assert_refused(&p, FAJIT_E_INVAL, "struct_size of its attn");
    p.attn.struct_size = 4;
    assert_refused(&p, FAJIT_E_INVAL, "struct_size of its attn");

    struct {
        struct fajit_problem problem;
        unsigned char more[16];
    } newer = {.problem = host_attn()};
    newer.problem.struct_size = sizeof(newer);
    assert_int_equal(fj_problem_from_public(&newer.problem, &own), FAJIT_OK);
    newer.more[15] = 1;
    assert_refused(&newer.problem, FAJIT_E_UNSUPPORTED, "built for a newer fajit");
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(fj_dtype_name(FAJIT_BF16), "bf16");
    assert_string_equal(fj_family_name(FAJIT_FAMILY_SM90), "sm90");
    assert_string_equal(fj_family_name(FAJIT_FAMILY_AUTO), "auto");
    assert_string_equal(fj_variant_name(FAJIT_VARIANT_PERSISTENT), "persistent");
    assert_string_equal(fj_variant_name(FAJIT_VARIANT_V1), "v1");
    assert_string_equal(fj_dtype_name((enum fajit_dtype)44), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attn_words),     cmocka_unit_test(test_gemm_words),
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_gemm_align_follows_sizes),
        cmocka_unit_test(test_canonical_text), cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_reserved_words), cmocka_unit_test(test_struct_rules),
        cmocka_unit_test(test_struct_sizes),   cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
