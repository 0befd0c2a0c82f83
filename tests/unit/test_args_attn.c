#include "views.h"

#include <math.h>
#include <time.h>

static struct fj_attn plan(void)
{
    return (struct fj_attn){
        .dtype = FAJIT_BF16,
        .head_dim = 64,
        .head_dim_v = 64,
        .layout = FAJIT_BSHD,
        .scale = 0.125f,
        .align_bytes = 16,
    };
}

// Batch 2, 8 query heads on 4 KV heads, 100 queries, 200 keys.
static struct fajit_attn_args args_bshd(void)
{
    return (struct fajit_attn_args){
        .struct_size = sizeof(struct fajit_attn_args),
        .q = tensor(memory[0], FAJIT_BF16, 4, 2, 100, 8, 64),
        .k = tensor(memory[1], FAJIT_BF16, 4, 2, 200, 4, 64),
        .v = tensor(memory[2], FAJIT_BF16, 4, 2, 200, 4, 64),
        .o = tensor(memory[3], FAJIT_BF16, 4, 2, 100, 8, 64),
    };
}

static struct fj_attn_args accepted(const struct fj_attn *fixed, const struct fajit_attn_args *from)
{
    struct fj_attn_args args;
    if (fj_attn_args_check(fixed, from, &args) < 0)
        fail_msg("%s", fj_err_text());
    return args;
}

// --- What attention arguments become ----------------------------------------------------------

static void test_bshd(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    struct fj_attn_args args = accepted(&fixed, &from);
    VIEW(&args.q, 2, 8, 100, 64, 51200, 64, 512, 1);
    VIEW(&args.k, 2, 4, 200, 64, 51200, 64, 256, 1);
    VIEW(&args.v, 2, 4, 200, 64, 51200, 64, 256, 1);
    VIEW(&args.o, 2, 8, 100, 64, 51200, 64, 512, 1);
    assert_ptr_equal(args.o.data, memory[3]);
    assert_null(args.lse.data);
    assert_true(args.scale == 0.125f);
    from.scale = 2;
    assert_true(accepted(&fixed, &from).scale == 2);
}

static void test_bhsd(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    fixed.layout = FAJIT_BHSD;
    fixed.head_dim_v = 32;
    from.q = tensor(memory[0], FAJIT_BF16, 4, 2, 8, 100, 64);
    from.k = tensor(memory[1], FAJIT_BF16, 4, 2, 4, 200, 64);
    from.v = tensor(memory[2], FAJIT_BF16, 4, 2, 4, 200, 32);
    from.o = tensor(memory[3], FAJIT_BF16, 4, 2, 8, 100, 32);
    struct fj_attn_args args = accepted(&fixed, &from);
    VIEW(&args.q, 2, 8, 100, 64, 51200, 6400, 64, 1);
    VIEW(&args.v, 2, 4, 200, 32, 25600, 6400, 32, 1);
    VIEW(&args.o, 2, 8, 100, 32, 25600, 3200, 32, 1);
}

static void test_nsd(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    fixed.layout = FAJIT_NSD;
    fixed.heads_q = 8;
    fixed.heads_kv = 4;
    from.q = tensor(memory[0], FAJIT_BF16, 3, 16, 100, 64, 0);
    from.k = tensor(memory[1], FAJIT_BF16, 3, 8, 200, 64, 0);
    from.v = from.k;
    from.o = tensor(memory[3], FAJIT_BF16, 3, 16, 100, 64, 0);
    struct fj_attn_args args = accepted(&fixed, &from);
    VIEW(&args.q, 2, 8, 100, 64, 51200, 6400, 64, 1);
    VIEW(&args.k, 2, 4, 200, 64, 51200, 12800, 64, 1);

    fixed.heads_q = fixed.heads_kv = 0; // one head per entry
    struct fj_attn_args out;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "k has batch 8; q has 16");
    from.k = from.v = tensor(memory[1], FAJIT_BF16, 3, 16, 200, 64, 0);
    args = accepted(&fixed, &from);
    VIEW(&args.q, 16, 1, 100, 64, 6400, 0, 64, 1);

    fixed.heads_q = fixed.heads_kv = 5;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL,
                "q: its first dimension is 16, batch times heads; the plan has 5 heads");
    from.q.ndim = 4;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL,
                "q has 4 dimensions; the plan's layout has 3");
}

static void test_size_one_dims_may_have_any_stride(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    struct fajit_tensor *const all[] = {&from.q, &from.k, &from.v, &from.o};
    for (size_t i = 0; i < COUNT(all); i++) {
        *all[i] = tensor(all[i]->data, FAJIT_BF16, 4, 1, i % 3 ? 200 : 1, 1, 64);
        all[i]->strides[0] = INT64_MIN;
        all[i]->strides[2] = INT64_MAX;
    }
    from.o = from.q;
    from.o.data = memory[3];
    from.q.strides[1] = -7;
    struct fj_attn_args args = accepted(&fixed, &from);
    VIEW(&args.q, 1, 1, 1, 64, 0, 0, 0, 1);
    VIEW(&args.k, 1, 1, 200, 64, 0, 0, 64, 1);
}

static void test_packed_qkv(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    // (batch, seq, 3, heads, 64) seen three times; inputs may share memory and interleave.
    struct fajit_tensor *const all[] = {&from.q, &from.k, &from.v};
    for (size_t i = 0; i < COUNT(all); i++) {
        *all[i] = tensor(memory[i], FAJIT_BF16, 4, 2, 100, 8, 64);
        all[i]->strides[0] = 100 * 1536;
        all[i]->strides[1] = 1536;
    }
    struct fj_attn_args args = accepted(&fixed, &from);
    VIEW(&args.k, 2, 8, 100, 64, 153600, 64, 1536, 1);
    from.k.strides[0] = 0; // one K for every batch entry
    args = accepted(&fixed, &from);
    assert_int_equal(args.k.stride[0], 0);
}

static void test_lse(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    struct fj_attn_args out;
    fixed.lse = true;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "lse is NULL");
    from.lse = tensor(memory[4], FAJIT_F32, 3, 2, 8, 100, 0);
    struct fj_attn_args args = accepted(&fixed, &from);
    VIEW(&args.lse, 2, 8, 100, 1, 800, 100, 1, 0);
    from.lse = tensor(memory[4], FAJIT_F32, 2, 16, 100, 0, 0);
    args = accepted(&fixed, &from);
    VIEW(&args.lse, 2, 8, 100, 1, 800, 100, 1, 0);
    from.lse.data = memory[4] + 4; // only its own element size counts
    accepted(&fixed, &from);
    from.lse.shape[0] = 15;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL,
                "it is (2, 8, 100), or (16, 100)");
    from.lse = tensor(memory[4], FAJIT_BF16, 3, 2, 8, 100, 0);
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL,
                "lse: dtype is bf16; the plan has f32");
    from.lse = tensor(memory[4], FAJIT_F32, 3, 2, 8, 100, 0);
    from.lse.strides[2] = 2;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "lse: its last dimension");
    from.lse = tensor(memory[4], FAJIT_F32, 3, 2, 8, 100, 0);
    from.lse.strides[1] = 50;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "overlaps itself");
    from.lse.ndim = 1;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "lse has 1 dimensions");
    from.lse = tensor(memory[3], FAJIT_F32, 3, 2, 8, 100, 0);
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "lse overlaps o");
    fixed.lse = false;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL,
                "lse is given, but the plan is not for it; plan with lse");
}

static void test_seqlens(void **state)
{
    (void)state;
    static const int32_t lengths[2] = {1, 2};
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    struct fj_attn_args out;
    from.seqlens_k = lengths;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL,
                "seqlens_k is given, but the plan is not for it; plan with seqlens=k");
    fixed.seqlens_k = true;
    assert_ptr_equal(accepted(&fixed, &from).seqlens_k, lengths);
    fixed.seqlens_q = true;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "seqlens_q is NULL");
    from.seqlens_q = (const int32_t *)(const void *)((const char *)lengths + 2);
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "no multiple of 4 bytes");
}

static void test_empty_tensors(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    from.k = from.v = tensor(NULL, FAJIT_BF16, 4, 2, 0, 4, 64);
    struct fj_attn_args args = accepted(&fixed, &from); // every row is 0
    assert_int_equal(args.k.shape[2], 0);
    assert_null(args.k.data);

    from = args_bshd();
    fixed.lse = true;
    from.q = from.o = tensor(NULL, FAJIT_BF16, 4, 2, 0, 8, 64);
    args = accepted(&fixed, &from); // nothing to write, LSE neither
    assert_int_equal(args.o.shape[2], 0);

    from = args_bshd();
    fixed.seqlens_k = true;
    from.q = from.o = from.k = from.v = tensor(NULL, FAJIT_BF16, 4, 0, 100, 8, 64);
    args = accepted(&fixed, &from);
    assert_int_equal(args.q.shape[0], 0);

    from.q = from.o = from.k = from.v = tensor(NULL, FAJIT_BF16, 4, 2, 100, 0, 64);
    struct fj_attn_args out;
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL,
                "q has 0 heads, k has 0; both have to be at least 1");
}

// --- What is refused --------------------------------------------------------------------------

#define REFUSED(change, says)                                                                      \
    do {                                                                                           \
        struct fj_attn fixed = plan();                                                             \
        struct fajit_attn_args a = args_bshd();                                                    \
        struct fj_attn_args out, before;                                                           \
        memset(&out, 0x5a, sizeof(out));                                                           \
        before = out;                                                                              \
        change;                                                                                    \
        check_error(fj_attn_args_check(&fixed, &a, &out), FAJIT_E_INVAL, says);                    \
        assert_memory_equal(&out, &before, sizeof(out));                                           \
    } while (0)

static void test_tensor_rules(void **state)
{
    (void)state;
    REFUSED(a.q.dtype = FAJIT_F16, "q: dtype is f16; the plan has bf16");
    REFUSED(a.q.dtype = FAJIT_DTYPE_NONE, "q: dtype is none");
    REFUSED(a.v.ndim = 3, "v has 3 dimensions; the plan's layout has 4");
    REFUSED(a.v.ndim = -1, "v has -1 dimensions");
    REFUSED(a.k.shape[1] = -1, "k: dimension 1 has size -1");
    REFUSED(a.k.shape[1] = INT64_C(0x7fffffff), "k: dimension 1 has size 2147483647; it may be 0");
    REFUSED(a.k.strides[1] = -256, "k: dimension 1 has stride -256; negative");
    REFUSED(a.k.strides[3] = 2, "k: its last dimension has stride 2");
    REFUSED(a.k.strides[3] = 0, "k: its last dimension has stride 0");
    REFUSED(a.k.strides[0] = INT64_MAX / 2 + 1, "k: its strides reach past 63 bits");
    REFUSED((a.k.strides[0] = INT64_MAX / 2, a.k.strides[1] = INT64_MAX / 200), "past 63 bits");
    REFUSED(a.q.data = NULL, "q: the pointer is NULL");
    REFUSED(a.o.data = NULL, "o: the pointer is NULL");
    REFUSED(a.q.data = memory[0] + 8, "no multiple of 16 bytes, which the plan promises; plan with "
                                      "align_bytes 8");
    REFUSED((fixed.align_bytes = 64, a.o.data = memory[3] + 32), "align_bytes 32");
    REFUSED(a.q.strides[1] = 516, "q: dimension 1 has a stride of 516 elements, 1032 bytes, no "
                                  "multiple of the 16 bytes the plan promises; plan with "
                                  "align_bytes 8");
    REFUSED(a.workspace = memory[5] + 8, "workspace: the pointer");
    REFUSED(a.scale = NAN, "scale is not finite");
    REFUSED(a.scale = INFINITY, "scale is not finite");
}

static void test_shapes_agree(void **state)
{
    (void)state;
    REFUSED(a.q = tensor(memory[0], FAJIT_BF16, 4, 2, 100, 8, 128),
            "q has head dim 128; the plan has 64");
    REFUSED(a.k = tensor(memory[1], FAJIT_BF16, 4, 2, 200, 4, 32),
            "k has head dim 32; the plan has 64");
    REFUSED(a.v = tensor(memory[1], FAJIT_BF16, 4, 2, 200, 4, 32),
            "v has head dim 32; the plan has 64");
    REFUSED(a.k = tensor(memory[1], FAJIT_BF16, 4, 3, 200, 4, 64), "k has batch 3; q has 2");
    REFUSED(a.v = tensor(memory[1], FAJIT_BF16, 4, 2, 201, 4, 64), "v has length 201; k has 200");
    REFUSED(a.v = tensor(memory[1], FAJIT_BF16, 4, 2, 200, 8, 64), "v has head count 8; k has 4");
    REFUSED(a.o = tensor(memory[3], FAJIT_BF16, 4, 2, 101, 8, 64), "o has length 101; q has 100");
    REFUSED(a.o = tensor(memory[3], FAJIT_BF16, 4, 1, 100, 8, 64), "o has batch 1; q has 2");
    REFUSED(a.o = tensor(memory[3], FAJIT_BF16, 4, 2, 100, 8, 32),
            "o has head dim 32; the plan has 64");
    REFUSED(a.k = a.v = tensor(memory[1], FAJIT_BF16, 4, 2, 200, 3, 64),
            "q has 8 heads, k has 3; both have to be at least 1, and q's a multiple");
}

static void test_too_many_heads(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    struct fj_attn_args out;
    from.q = from.o = tensor(memory[0], FAJIT_BF16, 4, 1 << 20, 1, 1 << 12, 64);
    from.k = from.v = tensor(memory[1], FAJIT_BF16, 4, 1 << 20, 1, 1 << 12, 64);
    check_error(fj_attn_args_check(&fixed, &from, &out), FAJIT_E_INVAL, "past 1073737728");
}

static void test_output_overlap(void **state)
{
    (void)state;
    REFUSED(a.o.strides[0] = 0, "o: the output overlaps itself: dimension 0 has stride 0");
    REFUSED(a.o.strides[2] = 32, "o: the output overlaps itself: dimension 2 has stride 32, and "
                                 "the dimensions below it reach 64 elements");
    REFUSED(a.o.strides[0] = 51192, "o: the output overlaps itself: dimension 0");
    REFUSED(a.o.data = a.q.data, "o overlaps q; kernels read inputs after");
    REFUSED(a.o.data = a.v.data, "o overlaps v");
    REFUSED(a.o.data = (char *)a.k.data + 64, "o overlaps k");
    REFUSED(a.q.data = (char *)a.o.data + 2 * 8 * 100 * 2 * 64 - 16, "o overlaps q");
    // Padding, and dimensions in an order of their own, are fine.
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    from.o.strides[2] = 100 * 72;
    from.o.strides[1] = 72;
    from.o.strides[0] = 8 * 100 * 72;
    accepted(&fixed, &from);
    from.o.strides[0] = 64; // batch between the head dim and the rest
    from.o.strides[2] = 128;
    from.o.strides[1] = 1024;
    accepted(&fixed, &from);
    // In the gaps of an input, as in a packed buffer: rows of Q (8 heads) and O (8 heads).
    from = args_bshd();
    from.q.strides[1] = from.o.strides[1] = 2 * 8 * 64;
    from.q.strides[0] = from.o.strides[0] = 100 * 2 * 8 * 64;
    from.o.data = (char *)from.q.data + 2 * 8 * 64;
    accepted(&fixed, &from);
}

static void test_struct_sizes(void **state)
{
    (void)state;
    REFUSED(a.struct_size = 0, "struct_size of the attention arguments is 0; set it to sizeof");
    struct fj_attn fixed = plan();
    struct fj_attn_args out;
    struct {
        struct fajit_attn_args args;
        unsigned char more[16];
    } newer = {.args = args_bshd()};
    newer.args.struct_size = sizeof(newer);
    accepted(&fixed, &newer.args);
    newer.more[3] = 1;
    check_error(fj_attn_args_check(&fixed, &newer.args, &out), FAJIT_E_UNSUPPORTED, "newer fajit");
    check_error(fj_attn_args_check(&fixed, NULL, &out), FAJIT_E_INVAL, "NULL");
    struct fajit_attn_args older = args_bshd();
    older.struct_size = offsetof(struct fajit_attn_args, scale);
    older.scale = NAN;
    assert_true(accepted(&fixed, &older).scale == 0.125f);
}

// On the host nothing is written and nothing is promised about addresses.
static void test_host_inputs(void **state)
{
    (void)state;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    struct fj_attn_args args, out;
    fixed.lse = true;
    from.o = (struct fajit_tensor){0};
    from.q.data = memory[0] + 2;
    from.k.strides[0] += 1;
    assert_int_equal(fj_attn_inputs_check(&fixed, &from, &args), FAJIT_OK);
    assert_ptr_equal(args.q.data, memory[0] + 2);
    from.q.data = memory[0] + 1;
    check_error(fj_attn_inputs_check(&fixed, &from, &out), FAJIT_E_INVAL, "no multiple of 2 bytes");
}

// --- The launch path --------------------------------------------------------------------------

static void test_time(void **state)
{
    (void)state;
    const int count = 100000;
    struct fj_attn fixed = plan();
    struct fajit_attn_args from = args_bshd();
    struct fj_attn_args args;
    struct timespec start, end;
    fixed.lse = true;
    from.lse = tensor(memory[4], FAJIT_F32, 3, 2, 8, 100, 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < count; i++)
        assert_int_equal(fj_attn_args_check(&fixed, &from, &args), FAJIT_OK);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double ns = ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec));
    print_message("attention arguments: %.0f ns\n", ns / count);
    assert_true(ns / count < 20000); // a bound that even sanitizers on a busy machine keep
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bshd),
        cmocka_unit_test(test_bhsd),
        cmocka_unit_test(test_nsd),
        cmocka_unit_test(test_size_one_dims_may_have_any_stride),
        cmocka_unit_test(test_packed_qkv),
        cmocka_unit_test(test_lse),
        cmocka_unit_test(test_seqlens),
        cmocka_unit_test(test_empty_tensors),
        cmocka_unit_test(test_tensor_rules),
        cmocka_unit_test(test_shapes_agree),
        cmocka_unit_test(test_too_many_heads),
        cmocka_unit_test(test_output_overlap),
        cmocka_unit_test(test_struct_sizes),
        cmocka_unit_test(test_host_inputs),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
