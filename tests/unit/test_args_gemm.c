#include "views.h"

#include <math.h>

static struct fj_gemm gemm_plan(void)
{
    return (struct fj_gemm){
        .dtype = FAJIT_F16, .out_dtype = FAJIT_F32, .math = FAJIT_MATH_FMA, .align_bytes = 16};
}

// m 48, n 32, k 64.
static struct fajit_gemm_args gemm_args(void)
{
    return (struct fajit_gemm_args){
        .struct_size = sizeof(struct fajit_gemm_args),
        .a = tensor(memory[0], FAJIT_F16, 2, 48, 64, 0, 0),
        .b = tensor(memory[1], FAJIT_F16, 2, 64, 32, 0, 0),
        .c = tensor(memory[2], FAJIT_F32, 2, 48, 32, 0, 0),
    };
}

static void test_gemm_views(void **state)
{
    (void)state;
    struct fj_gemm fixed = gemm_plan();
    struct fajit_gemm_args from = gemm_args();
    struct fj_gemm_args args;
    assert_int_equal(fj_gemm_args_check(&fixed, &from, &args), FAJIT_OK);
    VIEW(&args.a, 1, 48, 64, 1, 0, 64, 1, 0);
    VIEW(&args.b, 1, 64, 32, 1, 0, 32, 1, 0);
    VIEW(&args.c, 1, 48, 32, 1, 0, 32, 1, 0);
    assert_true(args.alpha == 1 && args.beta == 0);
    from.use_alpha = true;
    assert_int_equal(fj_gemm_args_check(&fixed, &from, &args), FAJIT_OK);
    assert_true(args.alpha == 0);

    fixed.trans_a = fixed.trans_b = true;
    from.a = tensor(memory[0], FAJIT_F16, 3, 5, 64, 48, 0);
    from.b = tensor(memory[1], FAJIT_F16, 3, 5, 32, 64, 0);
    from.b.strides[0] = 0; // one B for the whole batch
    from.c = tensor(memory[2], FAJIT_F32, 3, 5, 48, 32, 0);
    assert_int_equal(fj_gemm_args_check(&fixed, &from, &args), FAJIT_OK);
    VIEW(&args.a, 5, 64, 48, 1, 3072, 48, 1, 0);
    VIEW(&args.b, 5, 32, 64, 1, 0, 64, 1, 0);
    VIEW(&args.c, 5, 48, 32, 1, 1536, 32, 1, 0);
}

static void test_gemm_empty(void **state)
{
    (void)state;
    struct fj_gemm fixed = gemm_plan();
    struct fajit_gemm_args from = gemm_args();
    struct fj_gemm_args args;
    from.a = tensor(NULL, FAJIT_F16, 2, 48, 0, 0, 0); // k = 0: beta * C
    from.b = tensor(NULL, FAJIT_F16, 2, 0, 32, 0, 0);
    assert_int_equal(fj_gemm_args_check(&fixed, &from, &args), FAJIT_OK);
    assert_int_equal(args.a.shape[2], 0);
    from = gemm_args();
    fixed.bias = true;
    from.b = tensor(NULL, FAJIT_F16, 2, 64, 0, 0, 0);
    from.c = tensor(NULL, FAJIT_F32, 2, 48, 0, 0, 0);
    assert_int_equal(fj_gemm_args_check(&fixed, &from, &args), FAJIT_OK);
}

static void test_gemm_rules(void **state)
{
    (void)state;
#define GEMM_REFUSED(change, says)                                                                 \
    do {                                                                                           \
        struct fj_gemm fixed = gemm_plan();                                                        \
        struct fajit_gemm_args a = gemm_args();                                                    \
        struct fj_gemm_args out, before;                                                           \
        memset(&out, 0x5a, sizeof(out));                                                           \
        before = out;                                                                              \
        change;                                                                                    \
        check_error(fj_gemm_args_check(&fixed, &a, &out), FAJIT_E_INVAL, says);                    \
        assert_memory_equal(&out, &before, sizeof(out));                                           \
    } while (0)
    GEMM_REFUSED(a.struct_size = 8, "struct_size of the matmul arguments is 8");
    GEMM_REFUSED(a.a.ndim = 4, "a has 4 dimensions; it is (rows, columns) or (batch, rows");
    GEMM_REFUSED(a.a.dtype = FAJIT_F32, "a: dtype is f32; the plan has f16");
    GEMM_REFUSED(a.c.dtype = FAJIT_F16, "c: dtype is f16; the plan has f32");
    GEMM_REFUSED(a.b = tensor(memory[1], FAJIT_F16, 2, 56, 32, 0, 0), "k is 64 by a and 56 by b");
    GEMM_REFUSED(fixed.trans_b = true, "k is 64 by a and 32 by b");
    GEMM_REFUSED(a.c = tensor(memory[2], FAJIT_F32, 2, 40, 32, 0, 0), "m is 40 by c and 48 by a");
    GEMM_REFUSED(a.c = tensor(memory[2], FAJIT_F32, 2, 48, 40, 0, 0), "n is 40 by c and 32 by b");
    GEMM_REFUSED(a.b = tensor(memory[1], FAJIT_F16, 3, 2, 64, 32, 0), "batch is 1 by a and 2 by b");
    GEMM_REFUSED(a.c = tensor(memory[1], FAJIT_F32, 3, 2, 48, 32, 0), "batch is 2 by c and 1 by a");
    GEMM_REFUSED(a.c.strides[0] = 16, "c: the output overlaps itself");
    GEMM_REFUSED(a.c.data = a.a.data, "c overlaps a; kernels read inputs after");
    GEMM_REFUSED(a.c.data = (char *)a.b.data + 256, "c overlaps b");
    GEMM_REFUSED(a.a.data = (char *)a.a.data + 1, "a: the pointer");
    GEMM_REFUSED(a.a.shape[0] = a.c.shape[0] = INT64_C(1) << 30, "it may be 0 to 1073737728");
    GEMM_REFUSED(a.a.strides[0] = 65, "a: dimension 0 has a stride of 65 elements, 130 bytes");
    GEMM_REFUSED(a.beta = 1, "beta is not 0, and the plan does not read c; plan with beta");
    GEMM_REFUSED(a.alpha = NAN, "alpha or beta is not finite");
    GEMM_REFUSED(fixed.bias = true, "bias is NULL, and the plan needs it");
    GEMM_REFUSED(a.bias = memory[4], "bias is given, but the plan is not for it; plan with bias");
    GEMM_REFUSED((fixed.bias = true, a.bias = memory[4] + 8), "bias: the pointer");
#undef GEMM_REFUSED
}

static void test_gemm_host_inputs(void **state)
{
    (void)state;
    struct fj_gemm fixed = gemm_plan();
    struct fajit_gemm_args from = gemm_args();
    struct fj_gemm_args args;
    from.c = (struct fajit_tensor){0};
    from.a.data = memory[0] + 2;
    assert_int_equal(fj_gemm_inputs_check(&fixed, &from, &args), FAJIT_OK);
    fixed.beta = true;
    check_error(fj_gemm_inputs_check(&fixed, &from, &args), FAJIT_E_INVAL, "c has 0 dimensions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm_views),
        cmocka_unit_test(test_gemm_empty),
        cmocka_unit_test(test_gemm_rules),
        cmocka_unit_test(test_gemm_host_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
