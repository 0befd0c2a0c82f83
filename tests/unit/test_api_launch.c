// Launches, device memory and timing on the fake driver: what is enqueued, what is refused before
// anything is, and that a launch allocates, locks and asks nothing.
#include "api_fixture.h"

#include <pthread.h>

#include "counters.h"

#define SIMT "attn:f32,d64,kernel=simt"

// Never read: nothing runs. Far enough apart for any tensor here.
#define MEMORY(i) (unsigned char *)(uintptr_t)(UINT64_C(i) << 44)
static unsigned char *const memory[5] = {MEMORY(1), MEMORY(2), MEMORY(3), MEMORY(4), MEMORY(5)};

static struct fajit_attn_args attn_args(enum fajit_dtype dtype, int64_t batch, int64_t seq)
{
    return (struct fajit_attn_args){
        .struct_size = sizeof(struct fajit_attn_args),
        .q = fajit_tensor_4d(memory[0], dtype, batch, seq, 4, 64),
        .k = fajit_tensor_4d(memory[1], dtype, batch, seq, 2, 64),
        .v = fajit_tensor_4d(memory[2], dtype, batch, seq, 2, 64),
        .o = fajit_tensor_4d(memory[3], dtype, batch, seq, 4, 64),
    };
}

static void make_current(struct world *w)
{
    assert_int_equal(fake_cuda()->cuCtxSetCurrent(w->ctx->jit.device.context), CUDA_SUCCESS);
}

// --- What is enqueued -------------------------------------------------------------------------

static void test_a_launch_is_a_launch_and_nothing_else(void **state)
{
    struct world *w = *state;
    const struct {
        const char *text;
        enum fajit_dtype dtype;
        int maps;
    } cases[] = {
        {SIMT, FAJIT_F32, 0},
        {"attn:bf16,d64,causal,kernel=mma", FAJIT_BF16, 0},
        {"attn:bf16,d64,kernel=sm90", FAJIT_BF16, 3},
    };
    make_current(w);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fajit_plan *plan = planned(w->ctx, cases[i].text);
        struct fajit_plan_info info = {.struct_size = sizeof(info)};
        assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
        struct fajit_attn_args args = attn_args(cases[i].dtype, 2, 100);
        size_t workspace = 1;
        int calls = fake_cuda_calls(NULL), launches = fake.n_launches;
        int encoded = fake_cuda_calls("cuTensorMapEncodeTiled");
        int allocated = atomic_load(&allocations), locked = atomic_load(&locks);
        assert_int_equal(fajit_plan_workspace_bytes(plan, &args, &workspace), FAJIT_OK);
        assert_int_equal(workspace, 0);
        assert_int_equal(fajit_attn_launch(plan, &args, NULL), FAJIT_OK);
        assert_int_equal(fake.n_launches, launches + 1);
        encoded = fake_cuda_calls("cuTensorMapEncodeTiled") - encoded;
        assert_true(encoded >= cases[i].maps && encoded <= 4);
        assert_int_equal(cases[i].maps > 0, encoded > 0);
        assert_int_equal(fake_cuda_calls(NULL), calls + 1 + encoded);
        assert_int_equal(atomic_load(&allocations), allocated);
        assert_int_equal(atomic_load(&locks), locked);
        assert_int_equal(fake.last.block[0], info.threads);
        assert_true(fake.last.grid[0] >= 1);
        fajit_plan_destroy(&plan);
    }
}

static void test_the_grid_follows_the_tensors(void **state)
{
    struct world *w = *state;
    const struct fj_cuda *cuda = fake_cuda();
    CUstream stream;
    make_current(w);
    assert_int_equal(cuda->cuStreamCreate(&stream, 0), CUDA_SUCCESS);
    struct fajit_plan *plan = planned(w->ctx, SIMT ",b1,h4/2,q16,k16,variant=v2");
    double ctas[2];
    for (int i = 0; i < 2; i++) {
        struct fajit_attn_args args = attn_args(FAJIT_F32, 1 + 2 * i, 1024);
        assert_int_equal(fajit_attn_launch(plan, &args, stream), FAJIT_OK);
        assert_ptr_equal(fake.last.stream, stream);
        ctas[i] = (double)fake.last.grid[0] * fake.last.grid[1] * fake.last.grid[2];
    }
    assert_true(ctas[1] == 3 * ctas[0]);
    fajit_plan_destroy(&plan);
    assert_int_equal(cuda->cuStreamDestroy_v2(stream), CUDA_SUCCESS);
}

static void test_nothing_to_do(void **state)
{
    struct world *w = *state;
    make_current(w);
    struct fajit_plan *plan = planned(w->ctx, SIMT);
    const int64_t sizes[][2] = {{0, 100}, {2, 0}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct fajit_attn_args args = attn_args(FAJIT_F32, sizes[i][0], sizes[i][1]);
        args.q.data = args.k.data = args.v.data = args.o.data = NULL;
        int calls = fake_cuda_calls(NULL);
        if (fajit_attn_launch(plan, &args, NULL))
            fail_msg("%s", fajit_last_error());
        assert_int_equal(fake_cuda_calls(NULL), calls);
    }
    // No keys, but rows to write: zeros and -inf are the kernel's work.
    struct fajit_attn_args args = attn_args(FAJIT_F32, 2, 100);
    args.k.shape[1] = args.v.shape[1] = 0;
    args.k.data = args.v.data = NULL;
    if (fajit_attn_launch(plan, &args, NULL))
        fail_msg("%s", fajit_last_error());
    assert_int_equal(fake.n_launches, 1);
    fajit_plan_destroy(&plan);
}

// --- Refusals ---------------------------------------------------------------------------------

static void test_refused_arguments(void **state)
{
    struct world *w = *state;
    make_current(w);
    struct fajit_plan *plan = planned(w->ctx, SIMT);
    const struct fajit_attn_args good = attn_args(FAJIT_F32, 2, 100);
    struct fajit_attn_args args = good;
    struct fajit_gemm_args gemm = {.struct_size = sizeof(gemm)};
    size_t bytes = 77;
    int calls = fake_cuda_calls(NULL);

#define REFUSED(change, sentence)                                                                  \
    do {                                                                                           \
        args = good;                                                                               \
        change;                                                                                    \
        check_error(fajit_attn_launch(plan, &args, NULL), FAJIT_E_INVAL, sentence);                \
        check_error(fajit_plan_workspace_bytes(plan, &args, &bytes), FAJIT_E_INVAL, sentence);     \
    } while (0)
    REFUSED(args.struct_size = 0, "struct_size");
    REFUSED(args.struct_size = (size_t)-1, "struct_size");
    REFUSED(args.q.data = NULL, "q");
    REFUSED(args.o.data = NULL, "o");
    REFUSED(args.q.data = memory[0] + 4, "q");
    REFUSED(args.k.dtype = FAJIT_F16, "k");
    REFUSED(args.v.ndim = 3, "v");
    REFUSED(args.q.shape[3] = 32, "head dim");
    REFUSED(args.k.shape[0] = 3, "batch");
    REFUSED(args.v.shape[1] = 99, "length");
    REFUSED(args.k.shape[2] = 3, "k");
    REFUSED(args.q.shape[1] = -1, "q");
    REFUSED(args.q.shape[1] = INT64_C(1) << 33, "q");
    REFUSED(args.q.strides[3] = 2, "q");
    REFUSED(args.q.strides[1] = 66, "q"); // 264 bytes: not the promised 16
    REFUSED(args.o.strides[1] = 0, "o");  // rows would overwrite each other
    REFUSED(args.o.data = args.q.data, "o");
    REFUSED(args.k.strides[0] = INT64_MAX / 2, "k");
    REFUSED(args.scale = 0.0f / 0.0f, "scale");
    check_error(fajit_attn_launch(NULL, &good, NULL), FAJIT_E_INVAL, "plan is NULL");
    check_error(fajit_attn_launch(plan, NULL, NULL), FAJIT_E_INVAL, "args is NULL");
    check_error(fajit_gemm_launch(plan, &gemm, NULL), FAJIT_E_INVAL, "another operation");
    check_error(fajit_plan_workspace_bytes(plan, NULL, &bytes), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_workspace_bytes(NULL, &good, &bytes), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_workspace_bytes(plan, &good, NULL), FAJIT_E_INVAL, "NULL");
    assert_int_equal(bytes, 77);
    assert_int_equal(fake_cuda_calls(NULL), calls);
    fajit_plan_destroy(&plan);

    struct fajit_plan *with_lse = planned(w->ctx, SIMT ",lse,seqlens");
    args = good;
    check_error(fajit_attn_launch(with_lse, &args, NULL), FAJIT_E_INVAL, "");
    args.lse = fajit_tensor_2d(memory[4], FAJIT_F32, 8, 100);
    check_error(fajit_attn_launch(with_lse, &args, NULL), FAJIT_E_INVAL, "seqlens_q");
    args.seqlens_q = args.seqlens_k = (const int32_t *)(memory[4] + 1);
    check_error(fajit_attn_launch(with_lse, &args, NULL), FAJIT_E_INVAL, "seqlens_q");
    args.seqlens_q = args.seqlens_k = (const int32_t *)memory[4];
    assert_int_equal(fajit_attn_launch(with_lse, &args, NULL), FAJIT_OK);
    fajit_plan_destroy(&with_lse);
}

static void test_workspace(void **state)
{
    struct world *w = *state;
    make_current(w);
    struct fajit_plan *plan = planned(w->ctx, SIMT ",variant=v1");
    struct fajit_attn_args args = attn_args(FAJIT_F32, 2, 100), more = attn_args(FAJIT_F32, 4, 100);
    size_t bytes = 0, more_bytes = 0;
    assert_int_equal(fajit_plan_workspace_bytes(plan, &args, &bytes), FAJIT_OK);
    assert_int_equal(fajit_plan_workspace_bytes(plan, &more, &more_bytes), FAJIT_OK);
    assert_true(bytes > 0 && more_bytes > bytes);
    int calls = fake_cuda_calls(NULL);
    check_error(fajit_attn_launch(plan, &args, NULL), FAJIT_E_INVAL, "fajit_plan_workspace_bytes");
    args.workspace = memory[4];
    args.workspace_bytes = bytes - 1;
    check_error(fajit_attn_launch(plan, &args, NULL), FAJIT_E_INVAL, "bytes of workspace");
    args.workspace = NULL;
    args.workspace_bytes = bytes;
    check_error(fajit_attn_launch(plan, &args, NULL), FAJIT_E_INVAL, "0 were given");
    args.workspace = memory[4] + 1;
    check_error(fajit_attn_launch(plan, &args, NULL), FAJIT_E_INVAL, "workspace");
    assert_int_equal(fake_cuda_calls(NULL), calls);
    args.workspace = memory[4];
    assert_int_equal(fajit_attn_launch(plan, &args, NULL), FAJIT_OK);
    fajit_plan_destroy(&plan);
}

static void test_driver_failures_of_a_launch(void **state)
{
    struct world *w = *state;
    make_current(w);
    struct fajit_plan *plan = planned(w->ctx, "attn:bf16,d64,kernel=sm90");
    struct fajit_attn_args args = attn_args(FAJIT_BF16, 2, 100);
    for (int nth = 1;; nth++) {
        fake_cuda_fail(NULL, nth, CUDA_ERROR_LAUNCH_FAILED);
        int err = fajit_attn_launch(plan, &args, NULL);
        bool reached = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_true(nth > 3);
            break;
        }
        check_error(err, FAJIT_E_CONTEXT_LOST, "context is unusable");
    }
    assert_int_equal(fake.n_launches, 1);
    fajit_plan_destroy(&plan);
}

// --- Device memory ----------------------------------------------------------------------------

static void test_memory(void **state)
{
    struct world *w = *state;
    char host[] = "sixteen bytes..", back[16] = {0};
    void *device = NULL, *const untouched = &device;
    assert_int_equal(fajit_mem_alloc(w->ctx, 16, &device), FAJIT_OK);
    assert_int_equal(fajit_mem_upload(w->ctx, device, host, 16), FAJIT_OK);
    assert_int_equal(fajit_mem_download(w->ctx, back, device, 16), FAJIT_OK);
    assert_string_equal(back, host);
    assert_int_equal(fajit_mem_fill(w->ctx, (char *)device + 1, 'x', 2), FAJIT_OK);
    assert_int_equal(fajit_mem_download(w->ctx, back, device, 16), FAJIT_OK);
    assert_string_equal(back, "sxxteen bytes..");
    assert_int_equal(fajit_mem_upload(w->ctx, device, host, 0), FAJIT_OK);
    assert_int_equal(fajit_sync(w->ctx), FAJIT_OK);
    assert_int_equal(fajit_mem_free(w->ctx, device), FAJIT_OK);
    assert_int_equal(fajit_mem_free(w->ctx, NULL), FAJIT_OK);

    device = untouched;
    check_error(fajit_mem_alloc(w->ctx, 0, &device), FAJIT_E_INVAL, "0 bytes");
    check_error(fajit_mem_alloc(w->ctx, (size_t)1 << 40, &device), FAJIT_E_NOMEM, "memory");
    check_error(fajit_mem_alloc(NULL, 1, &device), FAJIT_E_INVAL, "ctx is NULL");
    check_error(fajit_mem_alloc(w->ctx, 1, NULL), FAJIT_E_INVAL, "ret_memory is NULL");
    assert_ptr_equal(device, untouched);
    check_error(fajit_mem_upload(w->ctx, NULL, host, 1), FAJIT_E_INVAL, "device is NULL");
    check_error(fajit_mem_upload(w->ctx, host, NULL, 1), FAJIT_E_INVAL, "host is NULL");
    check_error(fajit_mem_download(w->ctx, NULL, host, 1), FAJIT_E_INVAL, "host is NULL");
    check_error(fajit_mem_download(w->ctx, back, NULL, 1), FAJIT_E_INVAL, "device is NULL");
    check_error(fajit_mem_fill(w->ctx, NULL, 0, 1), FAJIT_E_INVAL, "device is NULL");
    check_error(fajit_mem_free(NULL, NULL), FAJIT_E_INVAL, "ctx is NULL");
}

static void test_making_current(void **state)
{
    struct world *w = *state;
    struct fajit_ctx_params params = world_params(w);
    struct fajit_ctx *ctx = NULL;
    CUcontext now = NULL;
    check_error(fajit_ctx_make_current(NULL), FAJIT_E_INVAL, "ctx is NULL");
    assert_int_equal(fj_ctx_create(fake_cuda(), &params, &ctx), FAJIT_OK);
    assert_int_equal(fajit_ctx_make_current(ctx), FAJIT_OK);
    assert_int_equal(fake_cuda()->cuCtxGetCurrent(&now), CUDA_SUCCESS);
    assert_ptr_equal(now, ctx->jit.device.context);
    // Its context goes with it, so the next one made here must not find it current.
    fajit_ctx_destroy(&ctx);
    assert_int_equal(fake_cuda()->cuCtxGetCurrent(&now), CUDA_SUCCESS);
    assert_null(now);
}

static int use_memory(struct fajit_ctx *ctx)
{
    char host[16] = {0};
    void *device = NULL;
    int live = fake_cuda_live(), err = fajit_mem_alloc(ctx, sizeof(host), &device);
    if (err) {
        assert_int_equal(fake_cuda_live(), live);
        return err;
    }
    err = fajit_mem_upload(ctx, device, host, sizeof(host));
    if (err == 0)
        err = fajit_mem_fill(ctx, device, 1, sizeof(host));
    if (err == 0)
        err = fajit_sync(ctx);
    if (err == 0)
        err = fajit_mem_download(ctx, host, device, sizeof(host));
    int free_err = fajit_mem_free(ctx, device);
    if (fake_cuda_live() > live) // it failed before it reached the driver's own function
        assert_int_equal(fajit_mem_free(ctx, device), FAJIT_OK);
    assert_int_equal(fake_cuda_live(), live);
    return err ? err : free_err;
}

static void test_driver_failures_of_memory(void **state)
{
    struct world *w = *state;
    const struct fj_cuda *cuda = fake_cuda();
    CUcontext host = fake_cuda_host_context(), now;
    assert_int_equal(cuda->cuCtxSetCurrent(host), CUDA_SUCCESS);
    for (int nth = 1; nth < 100; nth++) {
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int err = use_memory(w->ctx);
        bool reached = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_true(nth > 10);
            break;
        }
    }
    assert_int_equal(cuda->cuCtxSetCurrent(host), CUDA_SUCCESS);
    assert_int_equal(use_memory(w->ctx), FAJIT_OK);
    assert_int_equal(cuda->cuCtxGetCurrent(&now), CUDA_SUCCESS);
    assert_ptr_equal(now, host);
}

// --- Timing -----------------------------------------------------------------------------------

static void test_timing(void **state)
{
    struct world *w = *state;
    struct fajit_plan *plan = planned(w->ctx, SIMT);
    struct fajit_attn_args args = attn_args(FAJIT_F32, 2, 100);
    struct fajit_time time = {.struct_size = sizeof(time)};
    struct fajit_time_params params = {.struct_size = sizeof(params), .repeats = 5, .warmups = 1};
    const double us[] = {1000, 40, 10, 30, 20, 50}; // the first is the warm-up's
    memcpy(fake.kernel_us, us, sizeof(us));
    fake.n_kernel_us = COUNT(us);
    assert_int_equal(fajit_plan_time(plan, &args, &params, &time), FAJIT_OK);
    assert_int_equal(time.repeats, 5);
    assert_float_equal(time.median_us, 30, 1e-3);
    assert_float_equal(time.min_us, 10, 1e-3);
    assert_float_equal(time.p25_us, 20, 1e-3);
    assert_float_equal(time.p75_us, 40, 1e-3);

    const struct fajit_time before = time;
    check_error(fajit_plan_time(NULL, &args, NULL, &time), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_time(plan, NULL, NULL, &time), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_time(plan, &args, NULL, NULL), FAJIT_E_INVAL, "NULL");
    args.q.ndim = 2;
    check_error(fajit_plan_time(plan, &args, NULL, &time), FAJIT_E_INVAL, "2 dimensions");
    args = attn_args(FAJIT_F32, 2, 100);
    for (int nth = 1; nth < 400; nth++) {
        int live = fake_cuda_live();
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int err = fajit_plan_time(plan, &args, &params, &time);
        bool reached = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        assert_int_equal(fake_cuda_live(), live);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_true(nth > 20);
            break;
        }
        if (err)
            assert_memory_equal(&time, &before, sizeof(time));
        time = before;
    }
    fajit_plan_destroy(&plan);
}

// --- Threads ----------------------------------------------------------------------------------

struct launcher {
    struct world *w;
    struct fajit_plan *plan;
};

static void *launch_many(void *user)
{
    struct launcher *launcher = user;
    struct fajit_attn_args args = attn_args(FAJIT_F32, 2, 100);
    make_current(launcher->w);
    for (int i = 0; i < 50; i++)
        if (fajit_attn_launch(launcher->plan, &args, NULL))
            return (void *)fajit_last_error();
    return NULL;
}

static void test_one_plan_launched_from_threads(void **state)
{
    struct world *w = *state;
    struct launcher launcher = {w, planned(w->ctx, SIMT)};
    pthread_t threads[4];
    void *failure;
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, launch_many, &launcher), 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i], &failure);
        assert_null(failure);
    }
    assert_int_equal(fake_cuda_calls("cuLaunchKernel"), 200);
    fajit_plan_destroy(&launcher.plan);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_launch_is_a_launch_and_nothing_else),
        TEST(test_the_grid_follows_the_tensors),
        TEST(test_nothing_to_do),
        TEST(test_refused_arguments),
        TEST(test_workspace),
        TEST(test_driver_failures_of_a_launch),
        TEST(test_memory),
        TEST(test_making_current),
        TEST(test_driver_failures_of_memory),
        TEST(test_timing),
        TEST(test_one_plan_launched_from_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
