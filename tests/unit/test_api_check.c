// Checked launches, on the fake driver: its kernels do nothing, its memory has limits.
#include "api_fixture.h"

#define PLAN "attn:f32,d64,lse,seqlens,kernel=simt"

enum { SEQ = 8, BYTES = SEQ * 4 * 64 * 4 };

struct checked {
    struct world *w;
    struct fajit_ctx *ctx;
    struct fajit_plan *plan;
    char *memory[6]; // q k v o, lse, lengths
    struct fajit_attn_args args;
};

static void set_lengths(struct checked *c, int32_t q, int32_t k)
{
    const int32_t lengths[2] = {q, k};
    assert_int_equal(fajit_mem_upload(c->ctx, c->memory[5], lengths, sizeof(lengths)), FAJIT_OK);
}

static int setup(void **state)
{
    struct checked *c = calloc(1, sizeof(*c));
    if (!c || world_setup((void **)&c->w))
        return -1;
    struct fajit_ctx_params params = world_params(c->w);
    params.check = true;
    assert_int_equal(fj_ctx_create(fake_cuda(), &params, &c->ctx), FAJIT_OK);
    use_fake_nvrtc(c->ctx);
    c->plan = planned(c->ctx, PLAN);
    for (int i = 0; i < 6; i++) {
        size_t bytes = i < 4 ? BYTES : i == 4 ? 4 * SEQ * 4 : 8;
        assert_int_equal(fajit_mem_alloc(c->ctx, bytes, (void **)&c->memory[i]), FAJIT_OK);
    }
    c->args = (struct fajit_attn_args){
        .struct_size = sizeof(c->args),
        .q = fajit_tensor_4d(c->memory[0], FAJIT_F32, 1, SEQ, 4, 64),
        .k = fajit_tensor_4d(c->memory[1], FAJIT_F32, 1, SEQ, 4, 64),
        .v = fajit_tensor_4d(c->memory[2], FAJIT_F32, 1, SEQ, 4, 64),
        .o = fajit_tensor_4d(c->memory[3], FAJIT_F32, 1, SEQ, 4, 64),
        .lse = fajit_tensor_2d(c->memory[4], FAJIT_F32, 4, SEQ),
        .seqlens_q = (int32_t *)(void *)c->memory[5],
        .seqlens_k = (int32_t *)(void *)c->memory[5] + 1,
    };
    set_lengths(c, SEQ, 0);
    assert_int_equal(fajit_ctx_make_current(c->ctx), FAJIT_OK);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct checked *c = *state;
    struct world *w = c->w;
    for (int i = 0; i < 6; i++)
        fajit_mem_free(c->ctx, c->memory[i]);
    fajit_plan_destroy(&c->plan);
    fajit_ctx_destroy(&c->ctx);
    free(c);
    return world_teardown((void **)&w);
}

static void test_good_arguments(void **state)
{
    struct checked *c = *state;
    int launches = fake.n_launches, waits = fake_cuda_calls("cuStreamSynchronize");
    if (fajit_attn_launch(c->plan, &c->args, NULL))
        fail_msg("%s", fajit_last_error());
    assert_int_equal(fake.n_launches, launches + 1);
    assert_int_equal(fake_cuda_calls("cuStreamSynchronize"), waits + 2);
    c->args.q.shape[1] = c->args.o.shape[1] = c->args.lse.shape[1] = 0; // nothing to read
    set_lengths(c, 0, 0);
    assert_int_equal(fajit_attn_launch(c->plan, &c->args, NULL), FAJIT_OK);
}

static void test_bad_pointers(void **state)
{
    struct checked *c = *state;
    struct fajit_attn_args args = c->args;
    static _Alignas(64) char host[BYTES];
    void *freed;
    int launches = fake.n_launches;
    args.k.data = host;
    check_error(fajit_attn_launch(c->plan, &args, NULL), FAJIT_E_INVAL,
                "k at 0x"); // and what it may be
    assert_int_equal(fajit_mem_alloc(c->ctx, BYTES, &freed), FAJIT_OK);
    assert_int_equal(fajit_mem_free(c->ctx, freed), FAJIT_OK);
    args = c->args;
    args.o.data = freed;
    check_error(fajit_attn_launch(c->plan, &args, NULL), FAJIT_E_INVAL, "freed");
    args = c->args;
    args.v.data = c->memory[2] + 64;
    check_error(fajit_attn_launch(c->plan, &args, NULL), FAJIT_E_INVAL,
                "64 bytes past the end of its allocation");
    args = c->args;
    args.q.strides[1] += 4;
    check_error(fajit_attn_launch(c->plan, &args, NULL), FAJIT_E_INVAL, "q reaches from 0x");
    args = c->args;
    args.lse.data = c->memory[4] + 4;
    check_error(fajit_attn_launch(c->plan, &args, NULL), FAJIT_E_INVAL, "lse reaches");
    args = c->args;
    args.seqlens_k++;
    check_error(fajit_attn_launch(c->plan, &args, NULL), FAJIT_E_INVAL, "seqlens_k");
    assert_int_equal(fake.n_launches, launches);
}

static void test_bad_lengths(void **state)
{
    struct checked *c = *state;
    int launches = fake.n_launches;
    set_lengths(c, SEQ + 1, 0);
    check_error(fajit_attn_launch(c->plan, &c->args, NULL), FAJIT_E_INVAL,
                "seqlens_q[0] is 9; 0 to 8");
    set_lengths(c, 0, -1);
    check_error(fajit_attn_launch(c->plan, &c->args, NULL), FAJIT_E_INVAL, "seqlens_k[0] is -1");
    assert_int_equal(fake.n_launches, launches);
}

static void test_whose_fault(void **state)
{
    struct checked *c = *state;
    fake_cuda_fail("cuStreamSynchronize", 1, CUDA_ERROR_ILLEGAL_ADDRESS);
    check_error(fajit_attn_launch(c->plan, &c->args, NULL), FAJIT_E_CONTEXT_LOST,
                "before fajit_attn_launch, of something enqueued earlier: ");
    fake_cuda_fail("cuStreamSynchronize", 2, CUDA_ERROR_ILLEGAL_ADDRESS);
    check_error(fajit_attn_launch(c->plan, &c->args, NULL), FAJIT_E_CONTEXT_LOST,
                "fajit_attn_launch: in attn_fwd_simt_f32_d64");
    assert_int_equal(fake_cuda()->cuCtxSetCurrent(NULL), CUDA_SUCCESS);
    check_error(fajit_attn_launch(c->plan, &c->args, NULL), FAJIT_E_INVAL, "current");
}

static void test_capture_waits_for_nothing(void **state)
{
    struct checked *c = *state;
    const struct fj_cuda *cuda = fake_cuda();
    CUstream stream;
    CUgraph graph;
    set_lengths(c, SEQ + 1, 0); // not read
    assert_int_equal(cuda->cuStreamCreate(&stream, 0), CUDA_SUCCESS);
    assert_int_equal(cuda->cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL),
                     CUDA_SUCCESS);
    int waits = fake_cuda_calls("cuStreamSynchronize");
    if (fajit_attn_launch(c->plan, &c->args, stream))
        fail_msg("%s", fajit_last_error());
    assert_int_equal(fake_cuda_calls("cuStreamSynchronize"), waits);
    assert_int_equal(cuda->cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
    assert_int_equal(cuda->cuGraphDestroy(graph), CUDA_SUCCESS);
    assert_int_equal(cuda->cuStreamDestroy_v2(stream), CUDA_SUCCESS);
}

static void test_matmul(void **state)
{
    struct checked *c = *state;
    struct fajit_plan *plan = planned(c->ctx, "gemm:f32,bias,kernel=simt");
    struct fajit_gemm_args args = {
        .struct_size = sizeof(args),
        .a = fajit_tensor_2d(c->memory[0], FAJIT_F32, 32, 64),
        .b = fajit_tensor_2d(c->memory[1], FAJIT_F32, 64, 32),
        .c = fajit_tensor_2d(c->memory[2], FAJIT_F32, 32, 32),
        .bias = c->memory[4],
    };
    if (fajit_gemm_launch(plan, &args, NULL))
        fail_msg("%s", fajit_last_error());
    args.bias = c->memory[4] + 16;
    check_error(fajit_gemm_launch(plan, &args, NULL), FAJIT_E_INVAL, "bias reaches");
    args.bias = c->memory[4];
    args.c.data = c->memory[2] + BYTES - 1024;
    check_error(fajit_gemm_launch(plan, &args, NULL), FAJIT_E_INVAL, "c reaches");
    fajit_plan_destroy(&plan);
}

static void test_environment(void **state)
{
    struct checked *c = *state;
    struct fajit_ctx_params params = world_params(c->w);
    struct fajit_ctx *ctx;
    setenv("FAJIT_CHECK", "1", 1);
    assert_int_equal(fj_ctx_create(fake_cuda(), &params, &ctx), FAJIT_OK);
    unsetenv("FAJIT_CHECK");
    assert_true(ctx->check);
    fajit_ctx_destroy(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_pointers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whose_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_capture_waits_for_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_matmul, setup, teardown),
        cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
