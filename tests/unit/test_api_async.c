// Plans that do not wait, fallbacks, and many plans at once, on the fake driver and NVRTC.
#include "api_fixture.h"

#include <pthread.h>
#include <unistd.h>

#define SIMT "attn:f32,d64,kernel=simt"

static void hold_compiles(bool hold)
{
    __atomic_store_n(&fake_nvrtc_state.holds, hold, __ATOMIC_RELEASE);
}

static int compiles(void)
{
    return __atomic_load_n(&fake_nvrtc_state.compiles, __ATOMIC_ACQUIRE);
}

static int plan_as(struct fajit_ctx *ctx, const char *text, enum fajit_wait wait,
                   struct fajit_plan **ret_plan)
{
    const struct fajit_problem problem = parsed(text);
    const struct fajit_plan_params params = {.struct_size = sizeof(params), .wait = wait};
    return fajit_plan_create(ctx, &problem, &params, ret_plan);
}

// Asks until the answer is another than FAJIT_E_BUSY.
static int poll_as(struct fajit_ctx *ctx, const char *text, enum fajit_wait wait,
                   struct fajit_plan **ret_plan)
{
    for (int i = 0; i < 10000; i++) {
        int err = plan_as(ctx, text, wait, ret_plan);
        if (err != FAJIT_E_BUSY)
            return err;
        usleep(500);
    }
    fail_msg("%s stays busy", text);
    return FAJIT_E_BUSY;
}

static void wait_for_compiles(int count)
{
    for (int i = 0; i < 10000 && compiles() < count; i++)
        usleep(500);
    assert_int_equal(compiles(), count);
}

static struct fajit_plan_info info_of(const struct fajit_plan *plan)
{
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    return info;
}

// --- Not waiting ------------------------------------------------------------------------------

static void test_busy_then_ready(void **state)
{
    struct world *w = *state;
    struct fajit_plan *plan = NULL, *again;
    hold_compiles(true);
    for (int i = 0; i < 3; i++) {
        check_error(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_E_BUSY, "being compiled");
        assert_null(plan);
    }
    wait_for_compiles(1);
    int calls = fake_cuda_calls(NULL);
    hold_compiles(false);
    // Done when the entry is published; no thread of the context's own has called the driver.
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    for (int i = 0; i < 10000 && stats.compiles == 0; i++) {
        usleep(500);
        assert_int_equal(fajit_cache_stats(w->ctx, &stats), FAJIT_OK);
    }
    assert_int_equal(stats.compiles, 1);
    assert_int_equal(fake_cuda_calls(NULL), calls);
    assert_int_equal(poll_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_OK);
    assert_int_equal(info_of(plan).origin, FAJIT_FROM_COMPILE);
    assert_true(info_of(plan).compile_us > 0);
    assert_false(info_of(plan).fallback);
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &again), FAJIT_OK);
    assert_int_equal(info_of(again).origin, FAJIT_FROM_MEMORY);
    assert_int_equal(compiles(), 1);
    fajit_plan_destroy(&plan);
    assert_int_equal(fake_cuda_calls("cuModuleUnload"), 0);
    fajit_plan_destroy(&again); // the last one unloads: the job holds on to nothing
    assert_int_equal(fake_cuda_calls("cuModuleUnload"), 1);
}

static void test_cached_is_ready(void **state)
{
    struct world *w = *state;
    struct fajit_plan *plan = planned(w->ctx, SIMT);
    fajit_plan_destroy(&plan);
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_OK);
    assert_int_equal(info_of(plan).origin, FAJIT_FROM_DISK);
    fajit_plan_destroy(&plan);
}

struct caller {
    struct fajit_ctx *ctx;
    struct fajit_plan *plan;
    int err;
};

static void *wait_for_plan(void *user)
{
    struct caller *caller = user;
    caller->err = plan_as(caller->ctx, SIMT, FAJIT_WAIT, &caller->plan);
    return NULL;
}

static void test_waiting_joins(void **state)
{
    struct world *w = *state;
    struct caller callers[3];
    pthread_t threads[COUNT(callers)];
    struct fajit_plan *plan = NULL;
    hold_compiles(true);
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_E_BUSY);
    for (size_t i = 0; i < COUNT(callers); i++) {
        callers[i] = (struct caller){.ctx = w->ctx};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_plan, &callers[i]), 0);
    }
    wait_for_compiles(1);
    usleep(20000);
    hold_compiles(false);
    for (size_t i = 0; i < COUNT(callers); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(callers[i].err, FAJIT_OK);
    }
    assert_int_equal(compiles(), 1);
    assert_int_equal(fake_cuda_calls("cuModuleLoadDataEx"), 1); // whoever came first
    for (size_t i = 0; i < COUNT(callers); i++)
        fajit_plan_destroy(&callers[i].plan);
    assert_int_equal(fake_cuda_calls("cuModuleUnload"), 1);
}

static void test_error_once(void **state)
{
    struct world *w = *state;
    struct fajit_plan *plan = NULL;
    fake_nvrtc_state.fails = true;
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_E_BUSY);
    check_error(poll_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_E_COMPILE,
                "identifier \"mask\" is undefined");
    assert_null(plan);
    fake_nvrtc_state.fails = false;
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_E_BUSY); // once
    assert_int_equal(poll_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_OK);
    assert_int_equal(compiles(), 2);
    fajit_plan_destroy(&plan);
}

// One who waits gets the error of the compile it waited for, without a second one.
static void test_error_of_the_joined(void **state)
{
    struct world *w = *state;
    struct caller caller = {.ctx = w->ctx};
    pthread_t thread;
    fake_nvrtc_state.fails = true;
    hold_compiles(true);
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &caller.plan), FAJIT_E_BUSY);
    wait_for_compiles(1);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_plan, &caller), 0);
    usleep(20000);
    hold_compiles(false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(caller.err, FAJIT_E_COMPILE);
    assert_int_equal(compiles(), 1);
}

static void test_refused_params(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parsed(SIMT);
    struct fajit_plan *plan = NULL;
    struct fajit_plan_params params = {
        .struct_size = sizeof(params), .wait = FAJIT_NO_WAIT, .effort = FAJIT_EFFORT_CACHED_ONLY};
    check_error(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_E_NOT_CACHED, "cache");
    params.effort = FAJIT_EFFORT_TUNE;
    check_error(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_E_INVAL, "FAJIT_WAIT");
    params.wait = (enum fajit_wait)77;
    check_error(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_E_INVAL, "wait 77");
    assert_int_equal(compiles(), 0);
}

// --- The end of a context ---------------------------------------------------------------------

static void test_destroy_with_a_kernel_nobody_took(void **state)
{
    struct world *w = *state;
    struct fajit_plan *plan;
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_E_BUSY);
    wait_for_compiles(1);
    fajit_ctx_destroy(&w->ctx);
    world_open(w);
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &plan), FAJIT_OK); // it was published
    fajit_plan_destroy(&plan);
}

static void *release_later(void *user)
{
    usleep(50000);
    hold_compiles(false);
    return user;
}

static void test_destroy_forgets_what_has_not_begun(void **state)
{
    struct world *w = *state;
    static const char *const texts[] = {SIMT, SIMT ",causal", SIMT ",lse", "attn:f32,d32"};
    struct fajit_ctx_params params = world_params(w);
    struct fajit_plan *plan;
    struct fajit_ctx *ctx;
    pthread_t thread;
    params.compile_threads = 1;
    assert_int_equal(fj_ctx_create(fake_cuda(), &params, &ctx), FAJIT_OK);
    use_fake_nvrtc(ctx);
    hold_compiles(true);
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_int_equal(plan_as(ctx, texts[i], FAJIT_NO_WAIT, &plan), FAJIT_E_BUSY);
    wait_for_compiles(1);
    assert_int_equal(pthread_create(&thread, NULL, release_later, NULL), 0);
    fajit_ctx_destroy(&ctx);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(compiles(), 1);
    assert_int_equal(fake_nvrtc_state.programs, 0);
}

// --- Fallback ---------------------------------------------------------------------------------

static void test_fallback_to_another_configuration(void **state)
{
    struct world *w = *state;
    struct fajit_plan *other = planned(w->ctx, SIMT ",bm=32,bn=32"), *plan = NULL, *wanted = NULL;
    hold_compiles(true);
    if (plan_as(w->ctx, SIMT, FAJIT_FALLBACK, &plan))
        fail_msg("%s", fajit_last_error());
    assert_true(info_of(plan).fallback);
    assert_string_equal(info_of(plan).config, info_of(other).config);
    assert_string_equal(fajit_plan_source(plan), fajit_plan_source(other));
    assert_memory_equal(info_of(plan).config_from, "heuristic:", 10); // of what is on its way
    hold_compiles(false);
    for (int i = 0; i < 10000 && (!wanted || info_of(wanted).fallback); i++) {
        fajit_plan_destroy(&wanted);
        usleep(500);
        assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_FALLBACK, &wanted), FAJIT_OK);
    }
    assert_false(info_of(wanted).fallback);
    assert_string_not_equal(info_of(wanted).config, info_of(other).config);
    assert_int_equal(compiles(), 2);
    fajit_plan_destroy(&wanted);
    fajit_plan_destroy(&plan);
    fajit_plan_destroy(&other);
}

static void test_fallback_to_the_default_on_disk(void **state)
{
    struct world *w = *state;
    struct fajit_plan *plan = planned(w->ctx, "attn:f16,d64,kernel=mma");
    fajit_plan_destroy(&plan);
    hold_compiles(true);
    assert_int_equal(plan_as(w->ctx, "attn:f16,d64", FAJIT_FALLBACK, &plan), FAJIT_OK);
    assert_true(info_of(plan).fallback);
    assert_int_equal(info_of(plan).family, FAJIT_FAMILY_MMA);
    assert_int_equal(info_of(plan).origin, FAJIT_FROM_DISK);
    hold_compiles(false);
    fajit_plan_destroy(&plan);
    assert_int_equal(plan_as(w->ctx, "attn:f16,d64", FAJIT_WAIT, &plan), FAJIT_OK); // joins
    assert_int_equal(info_of(plan).family, FAJIT_FAMILY_SM90);
    assert_int_equal(compiles(), 2);
    fajit_plan_destroy(&plan);
}

static void keep_record(struct fajit_ctx *ctx, const char *text, enum fj_verdict verdict, double us)
{
    struct fajit_problem problem = parsed(text);
    struct fj_problem own;
    struct fj_choice choice;
    struct fj_found found;
    struct fj_record record;
    assert_int_equal(fj_problem_from_public(&problem, &own), FAJIT_OK);
    assert_int_equal(fj_tune_choose_by_rules(ctx->tune, &own, &choice, &found), FAJIT_OK);
    fj_tune_stamp(ctx->tune, &choice, "13.0", &record);
    record.verdict = verdict;
    record.median_us = record.p25_us = record.p75_us = us;
    record.samples = 20;
    assert_int_equal(fj_tune_keep(ctx->tune, &record, 1), FAJIT_OK);
}

static void test_fallback_to_a_recorded_configuration(void **state)
{
    struct world *w = *state;
    static const char sizes[] = "attn:f32,b1,h1,q64,k64,d64,kernel=simt,variant=v2";
    char best[96], second[96];
    snprintf(best, sizeof(best), "%s,bm=64,bn=16", sizes);
    snprintf(second, sizeof(second), "%s,bm=32,bn=16", sizes);
    struct fajit_plan *plan = planned(w->ctx, second);
    struct fajit_plan_info info = info_of(plan), stand_in;
    fajit_plan_destroy(&plan);
    keep_record(w->ctx, best, FJ_VERDICT_BEST, 10);
    hold_compiles(true);
    check_error(plan_as(w->ctx, sizes, FAJIT_FALLBACK, &plan), FAJIT_E_BUSY, "nothing else");
    keep_record(w->ctx, second, FJ_VERDICT_UNCHECKED, 11); // never served
    check_error(plan_as(w->ctx, sizes, FAJIT_FALLBACK, &plan), FAJIT_E_BUSY, "nothing else");
    keep_record(w->ctx, second, FJ_VERDICT_TIMED, 11);
    if (plan_as(w->ctx, sizes, FAJIT_FALLBACK, &plan))
        fail_msg("%s", fajit_last_error());
    stand_in = info_of(plan);
    assert_true(stand_in.fallback);
    assert_string_equal(stand_in.config, info.config);
    assert_int_equal(stand_in.origin, FAJIT_FROM_DISK);
    assert_memory_equal(stand_in.config_from, "exact:", 6);
    hold_compiles(false);
    fajit_plan_destroy(&plan);
}

// A family, a schedule or knobs that the host fixed are not up to the library.
static void test_fallback_keeps_what_is_fixed(void **state)
{
    struct world *w = *state;
    struct fajit_plan *mma = planned(w->ctx, "attn:f16,d64,kernel=mma,variant=v2,bn=32"), *plan;
    hold_compiles(true);
    check_error(plan_as(w->ctx, "attn:f16,d64,kernel=sm90", FAJIT_FALLBACK, &plan), FAJIT_E_BUSY,
                "nothing else");
    check_error(plan_as(w->ctx, "attn:f16,d64,kernel=mma,bn=64", FAJIT_FALLBACK, &plan),
                FAJIT_E_BUSY, "nothing else");
    check_error(plan_as(w->ctx, "attn:f16,d64,kernel=mma,variant=v1", FAJIT_FALLBACK, &plan),
                FAJIT_E_BUSY, "nothing else");
    // Nor another meaning.
    check_error(plan_as(w->ctx, "attn:f16,d64,kernel=mma,causal", FAJIT_FALLBACK, &plan),
                FAJIT_E_BUSY, "nothing else");
    hold_compiles(false);
    fajit_plan_destroy(&mma);
}

static void test_fallback_reports_the_error(void **state)
{
    struct world *w = *state;
    struct fajit_plan *other = planned(w->ctx, SIMT ",bm=32,bn=32"), *plan = NULL;
    fake_nvrtc_state.fails = true;
    int err = FAJIT_OK;
    for (int i = 0; i < 10000 && err == FAJIT_OK; i++) {
        err = plan_as(w->ctx, SIMT, FAJIT_FALLBACK, &plan);
        if (err == FAJIT_OK)
            fajit_plan_destroy(&plan);
        usleep(500);
    }
    check_error(err, FAJIT_E_COMPILE, "mask");
    fajit_plan_destroy(&other);
}

static void begin_capture(struct world *w, CUstream *ret_stream)
{
    const struct fj_cuda *cuda = fake_cuda();
    assert_int_equal(cuda->cuCtxSetCurrent(w->ctx->jit.device.context), CUDA_SUCCESS);
    assert_int_equal(cuda->cuStreamCreate(ret_stream, 0), CUDA_SUCCESS);
    assert_int_equal(cuda->cuStreamBeginCapture_v2(*ret_stream, CU_STREAM_CAPTURE_MODE_GLOBAL),
                     CUDA_SUCCESS);
}

static void end_capture(CUstream stream)
{
    const struct fj_cuda *cuda = fake_cuda();
    CUgraph graph;
    assert_int_equal(cuda->cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
    assert_int_equal(cuda->cuGraphDestroy(graph), CUDA_SUCCESS);
    assert_int_equal(cuda->cuStreamDestroy_v2(stream), CUDA_SUCCESS);
    assert_int_equal(cuda->cuCtxSetCurrent(NULL), CUDA_SUCCESS);
}

static void test_capture_uses_what_is_loaded(void **state)
{
    struct world *w = *state;
    struct fajit_plan *other = planned(w->ctx, SIMT ",bm=32,bn=32"), *plan = NULL, *compiled;
    const struct fajit_problem problem = parsed(SIMT), causal = parsed(SIMT ",causal");
    CUstream stream;
    assert_int_equal(plan_as(w->ctx, SIMT, FAJIT_NO_WAIT, &compiled), FAJIT_E_BUSY);
    wait_for_compiles(2);
    usleep(20000); // and in memory, most likely, not loaded
    begin_capture(w, &stream);
    struct fajit_plan_params params = {.struct_size = sizeof(params), .stream = stream};
    int loads = fake_cuda_calls("cuModuleLoadDataEx");
    params.wait = FAJIT_NO_WAIT;
    check_error(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_E_CAPTURE, "capturing");
    check_error(fajit_plan_create(w->ctx, &causal, &params, &plan), FAJIT_E_CAPTURE, "capturing");
    params.wait = FAJIT_FALLBACK;
    check_error(fajit_plan_create(w->ctx, &causal, &params, &plan), FAJIT_E_CAPTURE, "nothing");
    assert_int_equal(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_OK);
    assert_true(info_of(plan).fallback);
    assert_int_equal(compiles(), 2); // none has begun
    assert_int_equal(fake_cuda_calls("cuModuleLoadDataEx"), loads);
    end_capture(stream);
    assert_int_equal(poll_as(w->ctx, SIMT, FAJIT_NO_WAIT, &compiled), FAJIT_OK);
    fajit_plan_destroy(&compiled);
    fajit_plan_destroy(&plan);
    fajit_plan_destroy(&other);
}

// --- Many at once -----------------------------------------------------------------------------

static void test_prepare(void **state)
{
    struct world *w = *state;
    static const char *const texts[] = {SIMT, SIMT ",causal", SIMT, "gemm:f32", SIMT ",lse"};
    struct fajit_problem problems[COUNT(texts)];
    const struct fajit_problem *list[COUNT(texts)];
    struct fajit_plan *plans[COUNT(texts)];
    int statuses[COUNT(texts)];
    for (size_t i = 0; i < COUNT(texts); i++) {
        problems[i] = parsed(texts[i]);
        list[i] = &problems[i];
    }
    assert_int_equal(fajit_prepare(w->ctx, list, COUNT(texts), NULL, plans, statuses), FAJIT_OK);
    assert_int_equal(compiles(), 4);
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(statuses[i], FAJIT_OK);
        assert_non_null(plans[i]);
        fajit_plan_destroy(&plans[i]);
    }
    problems[1].attn.head_dim = 12;
    problems[3].gemm.dtype = (enum fajit_dtype)9;
    check_error(fajit_prepare(w->ctx, list, COUNT(texts), NULL, plans, statuses), FAJIT_E_INVAL,
                "problem 1, ");
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(statuses[i], i == 1 || i == 3 ? FAJIT_E_INVAL : FAJIT_OK);
        assert_int_equal(plans[i] == NULL, i == 1 || i == 3);
        fajit_plan_destroy(&plans[i]);
    }
    struct fajit_plan_params params = {.struct_size = sizeof(params), .wait = FAJIT_NO_WAIT};
    check_error(fajit_prepare(w->ctx, list, 1, &params, plans, NULL), FAJIT_E_INVAL, "waits");
    check_error(fajit_prepare(w->ctx, NULL, 1, NULL, plans, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_prepare(w->ctx, list, -1, NULL, plans, NULL), FAJIT_E_INVAL, "-1");
    assert_int_equal(fajit_prepare(w->ctx, list, 0, NULL, NULL, NULL), FAJIT_OK);
}

static void test_prepare_fills_the_cache(void **state)
{
    struct world *w = *state;
    struct fajit_problem a = parsed(SIMT), b = parsed(SIMT ",causal");
    const struct fajit_problem *list[] = {&a, &b};
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(fajit_prepare(w->ctx, list, 2, NULL, NULL, NULL), FAJIT_OK);
    assert_int_equal(fake_cuda_calls("cuModuleLoadDataEx"), 0);
    assert_int_equal(fajit_cache_stats(w->ctx, &stats), FAJIT_OK);
    assert_int_equal(stats.entries, 2);
    fake_nvrtc_state.fails = true;
    a = parsed(SIMT ",lse");
    check_error(fajit_prepare(w->ctx, list, 2, NULL, NULL, NULL), FAJIT_E_COMPILE, "problem 0, ");
    assert_int_equal(compiles(), 3); // its error was heard, not compiled again
}

// --- Threads ----------------------------------------------------------------------------------

enum { THREADS = 6, ROUNDS = 12 };

static void *plan_in_every_way(void *user)
{
    static const char *const texts[] = {SIMT, SIMT ",causal", SIMT ",bm=32,bn=32"};
    struct fajit_ctx *ctx = user;
    for (int i = 0; i < ROUNDS; i++) {
        for (int wait = FAJIT_WAIT; wait <= FAJIT_FALLBACK; wait++) {
            struct fajit_plan_info info = {.struct_size = sizeof(info)};
            struct fajit_plan *plan = NULL;
            int err = plan_as(ctx, texts[(i + wait) % 3], (enum fajit_wait)wait, &plan);
            if (err == FAJIT_E_BUSY && wait != FAJIT_WAIT)
                continue;
            if (err || fajit_plan_info(plan, &info) ||
                !strstr(fajit_plan_source(plan), "__global__"))
                return (void *)fajit_last_error();
            fajit_plan_destroy(&plan);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct world *w = *state;
    struct fajit_ctx_params params = world_params(w);
    struct fajit_ctx *ctx;
    pthread_t threads[THREADS];
    params.cache_mode = FAJIT_CACHE_OFF; // so that kernels are made again and again
    fake_nvrtc_state.compile_us = 1000;
    assert_int_equal(fj_ctx_create(fake_cuda(), &params, &ctx), FAJIT_OK);
    use_fake_nvrtc(ctx);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, plan_in_every_way, ctx), 0);
    for (int i = 0; i < THREADS; i++) {
        void *why;
        assert_int_equal(pthread_join(threads[i], &why), 0);
        if (why)
            fail_msg("%s", (const char *)why);
    }
    fajit_ctx_destroy(&ctx);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_busy_then_ready),
        TEST(test_cached_is_ready),
        TEST(test_waiting_joins),
        TEST(test_error_once),
        TEST(test_error_of_the_joined),
        TEST(test_refused_params),
        TEST(test_destroy_with_a_kernel_nobody_took),
        TEST(test_destroy_forgets_what_has_not_begun),
        TEST(test_fallback_to_another_configuration),
        TEST(test_fallback_to_the_default_on_disk),
        TEST(test_fallback_to_a_recorded_configuration),
        TEST(test_fallback_keeps_what_is_fixed),
        TEST(test_fallback_reports_the_error),
        TEST(test_capture_uses_what_is_loaded),
        TEST(test_prepare),
        TEST(test_prepare_fills_the_cache),
        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
