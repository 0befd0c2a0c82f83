// Plans on the fake driver: what they tell, where kernels come from, and every failure on the way.
#include "api_fixture.h"

#include <pthread.h>

#include "counters.h"

#define SIMT "attn:f32,d64,kernel=simt"

// --- What a plan tells ------------------------------------------------------------------------

static void test_looking_inside(void **state)
{
    struct world *w = *state;
    fake_nvrtc_state.ptxas_log = "ptxas info    : Used 40 registers, used 1 barriers\n"
                                 "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n";
    struct fajit_plan *plan = planned(w->ctx, "attn:f32,b2,h3,q40,k50,d64,kernel=simt");
    const char *source = fajit_plan_source(plan), *name = fajit_plan_name(plan);
    assert_ptr_equal(strstr(name, "attn_fwd_simt_f32_d64"), name);
    assert_non_null(strstr(name, "__"));
    assert_non_null(strstr(source, name));
    assert_null(strstr(source, "//@"));
    assert_null(strchr(source, '$'));
    assert_null(strstr(source, "#include"));

    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    assert_string_equal(info.template_name, "attn_fwd_simt.cu");
    assert_string_equal(info.arch, "sm_90a");
    assert_int_equal(strlen(info.key), 64);
    assert_int_equal(info.origin, FAJIT_FROM_COMPILE);
    assert_int_equal(info.family, FAJIT_FAMILY_SIMT);
    assert_true(info.variant != FAJIT_VARIANT_AUTO);
    assert_int_equal(info.registers, fake.registers); // the driver's word beats the log's
    assert_int_equal(info.spill_bytes, 0);
    assert_int_equal(info.ctas_per_sm, fake.ctas_per_sm);
    assert_true(info.threads >= 32 && info.smem_bytes > 0 && *info.config);
    // 2 products of 2 FLOP each, one exponential per score; every tensor once.
    assert_true(info.flops == 4.0 * 2 * 3 * 40 * 50 * 64);
    assert_true(info.exps == 2.0 * 3 * 40 * 50);
    assert_true(info.bytes == 4.0 * 2 * 3 * (2 * 40 + 2 * 50) * 64);
    assert_true(info.compile_us > 0 && info.render_us > 0);

    void *image = NULL;
    size_t bytes = 0;
    char *ptx = NULL;
    assert_int_equal(fajit_plan_image(plan, &image, &bytes), FAJIT_OK);
    assert_int_equal(bytes, info.image_bytes);
    assert_string_equal(image, source); // what the fake makes of a source
    assert_int_equal(fajit_plan_ptx(plan, &ptx), FAJIT_OK);
    assert_string_equal(ptx, source);
    fajit_free(image);
    fajit_free(ptx);
    fajit_plan_destroy(&plan);
    assert_null(plan);
}

static void test_null_arguments(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parsed(SIMT);
    struct fajit_plan *plan = planned(w->ctx, SIMT), *other;
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    void *image;
    size_t bytes;
    char *text;
    assert_string_equal(fajit_plan_name(NULL), "");
    assert_string_equal(fajit_plan_source(NULL), "");
    check_error(fajit_plan_create(NULL, &problem, NULL, &other), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_create(w->ctx, NULL, NULL, &other), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_create(w->ctx, &problem, NULL, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_info(NULL, &info), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_info(plan, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_image(plan, NULL, &bytes), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_image(plan, &image, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_ptx(plan, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_plan_ptx(NULL, &text), FAJIT_E_INVAL, "NULL");
    check_error(fajit_render(NULL, &problem, false, &text, NULL, 0), FAJIT_E_INVAL, "NULL");
    check_error(fajit_render(w->ctx, &problem, false, NULL, NULL, 0), FAJIT_E_INVAL, "NULL");
    check_error(fajit_problem_check(NULL, &problem), FAJIT_E_INVAL, "NULL");
    check_error(fajit_problem_check(w->ctx, NULL), FAJIT_E_INVAL, "NULL");
    fajit_plan_destroy(&plan);
}

static void test_render_is_the_plans_source(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parsed(SIMT);
    struct fajit_plan *plan = planned(w->ctx, SIMT);
    char *source = NULL, name[200], cut[5];
    int compiles = fake_nvrtc_state.compiles;
    assert_int_equal(fajit_render(w->ctx, &problem, false, &source, name, sizeof(name)), FAJIT_OK);
    assert_string_equal(source, fajit_plan_source(plan));
    assert_string_equal(name, fajit_plan_name(plan));
    fajit_free(source);
    assert_int_equal(fajit_render(w->ctx, &problem, false, &source, cut, sizeof(cut)), FAJIT_OK);
    assert_string_equal(cut, "attn");
    fajit_free(source);
    assert_int_equal(fake_nvrtc_state.compiles, compiles);
    fajit_plan_destroy(&plan);
}

// --- Refusals ---------------------------------------------------------------------------------

static void test_refused_problems(void **state)
{
    struct world *w = *state;
    struct fajit_plan *const before = (struct fajit_plan *)w, *plan = before;
    struct fajit_plan_params params = {.struct_size = sizeof(params)};
    struct fajit_problem problem = parsed("attn:f32,d64");
    int calls = fake_cuda_calls(NULL);

    problem.attn.family = FAJIT_FAMILY_SM90; // no fp32 there
    check_error(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_E_UNSUPPORTED, "fp16");
    check_error(fajit_problem_check(w->ctx, &problem), FAJIT_E_UNSUPPORTED, "fp16");
    problem = parsed("attn:f32,d64");
    assert_int_equal(fajit_problem_check(w->ctx, &problem), FAJIT_OK);
    problem.attn.head_dim = 12;
    check_error(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_E_INVAL, "head_dim is 12");
    problem = parsed("attn:f32,d64");
    problem.attn.dtype = (enum fajit_dtype)9;
    check_error(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_E_INVAL, "dtype 9");
    problem = parsed("attn:f32,d64");
    problem.op = (enum fajit_op)9;
    check_error(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_E_INVAL, "op");
    problem = parsed("attn:f32,d64");
    strcpy(problem.config, "bm=64,bq=3");
    check_error(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_E_INVAL, "\"bq\"");
    problem = parsed("attn:f32,d64");
    problem.struct_size = 0;
    check_error(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_E_INVAL, "struct_size");
    problem = parsed("attn:f32,d64");
    params.effort = (enum fajit_effort)77;
    check_error(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_E_INVAL, "effort 77");
    params.struct_size = 1;
    check_error(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_E_INVAL, "struct_size");
    assert_ptr_equal(plan, before);
    assert_int_equal(fake_cuda_calls(NULL), calls);
    assert_int_equal(fake_nvrtc_state.compiles, 0);
}

static void test_without_a_device(void **state)
{
    struct world *w = *state;
    struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                      .device = FAJIT_DEVICE_NONE,
                                      .arch = "sm_80",
                                      .cache_mode = FAJIT_CACHE_OFF};
    struct fajit_plan_params no_load = {.struct_size = sizeof(no_load), .no_load = true};
    struct fajit_attn_args args = {.struct_size = sizeof(args)};
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fajit_ctx *ctx = NULL;
    void *memory = &memory;
    assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
    use_fake_nvrtc(ctx);
    struct fajit_plan *plan = planned(ctx, SIMT);
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    assert_string_equal(info.arch, "sm_80");
    assert_int_equal(info.ctas_per_sm, 0);
    check_error(fajit_attn_launch(plan, &args, NULL), FAJIT_E_NO_DEVICE, "cannot be launched");
    const struct fajit_plan_params tune = {.struct_size = sizeof(tune),
                                           .effort = FAJIT_EFFORT_TUNE};
    struct fajit_problem problem = parsed(SIMT);
    struct fajit_plan *tuned = NULL;
    check_error(fajit_plan_create(ctx, &problem, &tune, &tuned), FAJIT_E_NO_DEVICE, "has none");
    assert_null(tuned);
    check_error(fajit_mem_alloc(ctx, 4, &memory), FAJIT_E_NO_DEVICE, "no device");
    assert_ptr_equal(memory, &memory);
    check_error(fajit_mem_fill(ctx, memory, 0, 4), FAJIT_E_NO_DEVICE, "no device");
    check_error(fajit_sync(ctx), FAJIT_E_NO_DEVICE, "no device");
    struct fajit_time time = {.struct_size = sizeof(time)};
    check_error(fajit_plan_time(plan, &args, NULL, &time), FAJIT_E_NO_DEVICE, "no device");
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&ctx);

    int loads = fake_cuda_calls("cuModuleLoadDataEx");
    assert_int_equal(fajit_plan_create(w->ctx, &problem, &no_load, &plan), FAJIT_OK);
    assert_int_equal(fake_cuda_calls("cuModuleLoadDataEx"), loads);
    check_error(fajit_attn_launch(plan, &args, NULL), FAJIT_E_NO_DEVICE, "no_load");
    struct fajit_plan *loaded = planned(w->ctx, SIMT); // not confused with the one not loaded
    assert_int_equal(fake_cuda_calls("cuModuleLoadDataEx"), loads + 1);
    fajit_plan_destroy(&loaded);
    fajit_plan_destroy(&plan);
}

// --- Where kernels come from ------------------------------------------------------------------

static enum fajit_origin origin_of(const struct fajit_plan *plan)
{
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    return info.origin;
}

static void test_origins(void **state)
{
    struct world *w = *state;
    struct fajit_plan *first = planned(w->ctx, SIMT), *second = planned(w->ctx, SIMT ",q7,k9,b3");
    assert_int_equal(origin_of(first), FAJIT_FROM_COMPILE);
    assert_int_equal(origin_of(second), FAJIT_FROM_MEMORY);
    assert_string_equal(fajit_plan_source(first), fajit_plan_source(second));
    fajit_plan_destroy(&first);
    assert_int_equal(fake_cuda_calls("cuModuleUnload"), 0);
    fajit_plan_destroy(&second); // the last one unloads
    assert_int_equal(fake_cuda_calls("cuModuleUnload"), 1);

    struct fajit_plan_params cached = {.struct_size = sizeof(cached),
                                       .effort = FAJIT_EFFORT_CACHED_ONLY};
    struct fajit_problem problem = parsed(SIMT), unknown = parsed(SIMT ",causal");
    assert_int_equal(fajit_plan_create(w->ctx, &problem, &cached, &first), FAJIT_OK);
    assert_int_equal(origin_of(first), FAJIT_FROM_DISK);
    fajit_plan_destroy(&first);
    check_error(fajit_plan_create(w->ctx, &unknown, &cached, &first), FAJIT_E_NOT_CACHED,
                "fajit-tune");
    assert_int_equal(fake_nvrtc_state.compiles, 1);

    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(fajit_cache_stats(w->ctx, &stats), FAJIT_OK);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.compiles, 1);
    assert_int_equal(stats.memory_hits, 1);
    assert_int_equal(stats.disk_hits, 1);
}

static int count_entries(void *user, const struct fajit_cache_entry *entry)
{
    assert_int_equal(strlen(entry->key), 64);
    assert_string_equal(entry->arch, "sm_90a");
    assert_ptr_equal(strstr(entry->name, "attn_fwd_simt"), entry->name);
    assert_ptr_equal(strstr(entry->nvrtc, "13.0"), entry->nvrtc);
    assert_true(entry->bytes > 0 && entry->used_s > 0);
    return ++*(int *)user == 2 ? 123 : 0;
}

static void test_cache_visit(void **state)
{
    struct world *w = *state;
    const char *const texts[] = {SIMT, SIMT ",causal", SIMT ",lse"};
    int seen = 0;
    assert_int_equal(fajit_cache_visit(w->ctx, count_entries, &seen), 0);
    assert_int_equal(seen, 0);
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fajit_plan *plan = planned(w->ctx, texts[i]);
        fajit_plan_destroy(&plan);
    }
    assert_int_equal(fajit_cache_visit(w->ctx, count_entries, &seen), 123); // what visit returned
    assert_int_equal(seen, 2);
}

static void test_capturing_stream(void **state)
{
    struct world *w = *state;
    const struct fj_cuda *cuda = fake_cuda();
    struct fajit_problem problem = parsed(SIMT);
    struct fajit_plan *plan = NULL, *ready;
    CUgraph graph;
    CUstream stream;
    assert_int_equal(cuda->cuCtxSetCurrent(w->ctx->jit.device.context), CUDA_SUCCESS);
    assert_int_equal(cuda->cuStreamCreate(&stream, 0), CUDA_SUCCESS);
    struct fajit_plan_params params = {.struct_size = sizeof(params), .stream = stream};
    assert_int_equal(cuda->cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL),
                     CUDA_SUCCESS);
    check_error(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_E_CAPTURE, "capturing");
    assert_null(plan);
    assert_int_equal(cuda->cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
    assert_int_equal(cuda->cuGraphDestroy(graph), CUDA_SUCCESS);

    assert_int_equal(fajit_plan_create(w->ctx, &problem, &params, &ready), FAJIT_OK);
    assert_int_equal(cuda->cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL),
                     CUDA_SUCCESS);
    assert_int_equal(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_OK);
    fajit_plan_destroy(&plan);
    assert_int_equal(cuda->cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
    assert_int_equal(cuda->cuGraphDestroy(graph), CUDA_SUCCESS);
    fajit_plan_destroy(&ready);
    assert_int_equal(cuda->cuStreamDestroy_v2(stream), CUDA_SUCCESS);
    assert_int_equal(cuda->cuCtxSetCurrent(NULL), CUDA_SUCCESS);
}

// --- Failures ---------------------------------------------------------------------------------

static void test_compile_error(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parsed(SIMT);
    struct fajit_plan *plan = NULL;
    fake_nvrtc_state.fails = true;
    int err = fajit_plan_create(w->ctx, &problem, NULL, &plan);
    check_error(err, FAJIT_E_COMPILE, "attn_fwd_simt.cu:"); // the template's line
    check_error(err, FAJIT_E_COMPILE, "identifier \"mask\" is undefined");
    assert_null(strchr(fajit_last_error(), '\n')); // a sentence
    assert_null(plan);
    char path[256];
    snprintf(path, sizeof(path), "%s/failed/attn_fwd_simt", w->cache);
    check_error(err, FAJIT_E_COMPILE, path); // saved in a directory of the user's own
    fake_nvrtc_state.fails = false;
    assert_int_equal(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_OK);
    fajit_plan_destroy(&plan);
}

static void test_lost_context(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parsed(SIMT);
    struct fajit_plan *plan = NULL;
    fake_cuda_fail("cuModuleLoadDataEx", 1, CUDA_ERROR_ILLEGAL_ADDRESS);
    check_error(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_E_CONTEXT_LOST,
                "context is unusable");
    assert_null(plan);
}

static void test_every_driver_failure(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parsed(SIMT);
    int refused = 0;
    for (int nth = 1; nth < 200; nth++) {
        struct fajit_plan *plan = NULL;
        int live = fake_cuda_live();
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int err = fajit_plan_create(w->ctx, &problem, NULL, &plan);
        bool reached = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        refused += err != 0;
        assert_int_equal(err == 0, plan != NULL);
        fajit_plan_destroy(&plan);
        assert_int_equal(fake_cuda_live(), live);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_true(refused > 5);
            return;
        }
    }
    fail_msg("planning makes more than 200 driver calls");
}

static int remove_cache(const struct world *w)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", w->cache);
    return system(command);
}

// The nth allocation of a cold plan fails, for every n, with and without a cache entry to read.
static void fail_allocations_of_plans(struct world *w, bool cached)
{
    struct fajit_problem problem = parsed(SIMT);
    for (int nth = 1; nth < 3000; nth++) {
        struct fajit_plan *plan = NULL;
        fajit_ctx_destroy(&w->ctx);
        if (!cached)
            assert_int_equal(remove_cache(w), 0);
        world_open(w);
        int live = fake_cuda_live();
        fail_allocation(nth);
        int err = fajit_plan_create(w->ctx, &problem, NULL, &plan);
        bool reached = atomic_load(&allocations_left) == 0;
        fail_allocation(0);
        if (err && err != FAJIT_E_NOMEM)
            fail_msg("allocation %d: status %d, \"%s\"", nth, err, fajit_last_error());
        assert_int_equal(err == 0, plan != NULL);
        fajit_plan_destroy(&plan);
        assert_int_equal(fake_cuda_live(), live);
        assert_int_equal(fake_nvrtc_state.programs, 0);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_true(nth > 5);
            return;
        }
    }
    fail_msg("a plan allocates more than 3000 times");
}

static void test_every_failed_allocation(void **state)
{
    struct world *w = *state;
    // Parsed once per process; its own failures are the template tests' business.
    struct fajit_plan *plan = planned(w->ctx, SIMT);
    fajit_plan_destroy(&plan);
    fail_allocations_of_plans(w, false);
    fail_allocations_of_plans(w, true);
}

// --- Threads ----------------------------------------------------------------------------------

enum { THREADS = 8, ROUNDS = 6 };
static const char *const thread_texts[] = {SIMT, SIMT ",causal", SIMT ",lse"};

static void *plan_and_destroy(void *user)
{
    struct fajit_ctx *ctx = user;
    for (int i = 0; i < ROUNDS; i++) {
        for (size_t t = 0; t < COUNT(thread_texts); t++) {
            struct fajit_problem problem;
            struct fajit_plan *plan = NULL;
            struct fajit_plan_info info = {.struct_size = sizeof(info)};
            struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
            if (fajit_problem_parse(thread_texts[t], &problem) ||
                fajit_plan_create(ctx, &problem, NULL, &plan) || fajit_plan_info(plan, &info) ||
                fajit_cache_stats(ctx, &stats) || !strstr(fajit_plan_source(plan), "__global__"))
                return (void *)fajit_last_error();
            fajit_plan_destroy(&plan);
        }
    }
    return NULL;
}

static void test_planning_from_threads(void **state)
{
    struct world *w = *state;
    pthread_t threads[THREADS];
    void *failure;
    fake_nvrtc_state.compile_us = 2000; // long enough for the others to come and wait
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, plan_and_destroy, w->ctx), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &failure);
        assert_null(failure);
    }
    assert_int_equal(fake_nvrtc_state.compiles, COUNT(thread_texts));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_looking_inside),
        TEST(test_null_arguments),
        TEST(test_render_is_the_plans_source),
        TEST(test_refused_problems),
        TEST(test_without_a_device),
        TEST(test_origins),
        TEST(test_cache_visit),
        TEST(test_capturing_stream),
        TEST(test_compile_error),
        TEST(test_lost_context),
        TEST(test_every_driver_failure),
        TEST(test_every_failed_allocation),
        TEST(test_planning_from_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
