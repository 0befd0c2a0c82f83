// Contexts: parameters, environment, defaults, failures on the way.
#include "api_fixture.h"

#include <sys/stat.h>

#include "counters.h"

static const char *const variables[] = {"FAJIT_DEVICE",      "FAJIT_EMU",          "FAJIT_CACHE",
                                        "FAJIT_CACHE_DIR",   "FAJIT_TEMPLATE_DIR", "FAJIT_NVRTC",
                                        "FAJIT_NVRTC_MATCH", "FAJIT_NO_COMPILE",   "FAJIT_LOG",
                                        "FAJIT_DUMP",        "FAJIT_EMU_CHECK",    "FAJIT_RECORD",
                                        "FAJIT_TUNE"};

static int setup(void **state)
{
    for (size_t i = 0; i < COUNT(variables); i++)
        unsetenv(variables[i]);
    return world_setup(state);
}

static int teardown(void **state)
{
    for (size_t i = 0; i < COUNT(variables); i++)
        unsetenv(variables[i]);
    return world_teardown(state);
}

static struct fajit_ctx_params none(const char *arch)
{
    return (struct fajit_ctx_params){.struct_size = sizeof(struct fajit_ctx_params),
                                     .device = FAJIT_DEVICE_NONE,
                                     .cache_mode = FAJIT_CACHE_OFF,
                                     .arch = arch};
}

// --- Parameters -------------------------------------------------------------------------------

static void test_refused_params(void **state)
{
    (void)state;
    struct fajit_ctx *const before = (struct fajit_ctx *)&variables, *ctx = before;
    struct fajit_ctx_params params = none("sm_80");
    check_error(fajit_ctx_create(&params, NULL), FAJIT_E_INVAL, "ret_ctx");
    params.struct_size = 0;
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "struct_size");
    params = none(NULL);
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "needs `arch`");
    params = none("sm_8O");
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "sm_8O");
    params = none("sm_80");
    params.device = (enum fajit_device_kind)17;
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "device is 17");
    params = none("sm_80");
    params.cache_mode = (enum fajit_cache_mode) - 1;
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "cache_mode is -1");
    params = none("sm_80");
    params.log_level = (enum fajit_log_level)9;
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "log_level is 9");
    params = none("sm_80");
    params.tune_mode = (enum fajit_tune_mode)5;
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "tune_mode is 5");
    params = none("sm_100");
    params.device = FAJIT_DEVICE_EMULATED;
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "newer than the device");
    params.arch = NULL;
    params.emulated_gpu = "h2000";
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "h200");
    params.emulated_gpu = "h200";
    params.device_ordinal = 1;
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_NO_DEVICE, "device 1 does not exist");
    params.device_ordinal = -1;
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_NO_DEVICE, "device -1 does not exist");
    assert_ptr_equal(ctx, before);
}

// Each place of the list is a device with memory of its own.
static void test_emulated_devices(void **state)
{
    (void)state;
    static const char *const names[] = {"NVIDIA H200 (emulated)", "NVIDIA H200 (emulated)",
                                        "NVIDIA A100-SXM4-80GB (emulated)"};
    struct fajit_ctx_params params = none(NULL);
    struct fajit_ctx *ctx[3] = {NULL};
    void *memory;
    enum fajit_device_kind kind;
    int count;
    params.device = FAJIT_DEVICE_EMULATED;
    params.emulated_gpu = "h200,h200,a100";
    assert_int_equal(fajit_device_count(&params, &kind, &count), FAJIT_OK);
    assert_int_equal(count, 3);
    assert_int_equal(kind, FAJIT_DEVICE_EMULATED);
    for (int i = 0; i < 3; i++) {
        struct fajit_device_info info = {.struct_size = sizeof(info)};
        params.device_ordinal = i;
        assert_int_equal(fajit_ctx_create(&params, &ctx[i]), FAJIT_OK);
        assert_int_equal(fajit_ctx_device(ctx[i], &info), FAJIT_OK);
        assert_string_equal(info.name, names[i]);
        assert_int_equal(info.ordinal, i);
    }
    assert_ptr_not_equal(ctx[0]->jit.device.context, ctx[1]->jit.device.context);
    assert_int_equal(fajit_mem_alloc(ctx[0], 256, &memory), FAJIT_OK);
    assert_int_equal(fajit_mem_free(ctx[0], memory), FAJIT_OK);
    for (int i = 0; i < 3; i++)
        fajit_ctx_destroy(&ctx[i]);
    params.emulated_gpu = "h200,voodoo2";
    check_error(fajit_device_count(&params, NULL, &count), FAJIT_E_INVAL, "voodoo2");
    params.device = FAJIT_DEVICE_NONE;
    assert_int_equal(fajit_device_count(&params, &kind, &count), FAJIT_OK);
    assert_int_equal(count, 0);
    setenv("FAJIT_DEVICE", "emu:1", 1);
    setenv("FAJIT_EMU", "t4,a100", 1);
    assert_int_equal(fajit_device_count(NULL, &kind, &count), FAJIT_OK);
    assert_int_equal(count, 2);
    assert_int_equal(kind, FAJIT_DEVICE_EMULATED);
    struct fajit_device_info info = {.struct_size = sizeof(info)};
    assert_int_equal(fajit_ctx_create(NULL, &ctx[0]), FAJIT_OK);
    assert_int_equal(fajit_ctx_device(ctx[0], &info), FAJIT_OK);
    assert_int_equal(info.ordinal, 1);
    assert_int_equal(info.compute_capability, 80);
    fajit_ctx_destroy(&ctx[0]);
    unsetenv("FAJIT_DEVICE");
    unsetenv("FAJIT_EMU");
}

static void test_destroy_accepts_null(void **state)
{
    (void)state;
    struct fajit_ctx *ctx = NULL;
    struct fajit_plan *plan = NULL;
    fajit_ctx_destroy(NULL);
    fajit_ctx_destroy(&ctx);
    fajit_plan_destroy(NULL);
    fajit_plan_destroy(&plan);
    fajit_free(NULL);
}

static void test_device_facts(void **state)
{
    struct world *w = *state;
    struct fajit_device_info info = {.struct_size = sizeof(info)};
    assert_int_equal(fajit_ctx_device(w->ctx, &info), FAJIT_OK);
    assert_string_equal(info.name, "Fake GPU");
    assert_string_equal(info.arch, "sm_90a");
    assert_int_equal(info.compute_capability, 90);
    assert_int_equal(info.sm_count, 4);
    assert_int_equal(info.driver_version, 13000);
    assert_string_equal(info.nvrtc_version, "13.0");
    assert_false(info.emulated);
    check_error(fajit_ctx_device(NULL, &info), FAJIT_E_INVAL, "NULL");
    check_error(fajit_ctx_device(w->ctx, NULL), FAJIT_E_INVAL, "NULL");
    info.struct_size = 0;
    check_error(fajit_ctx_device(w->ctx, &info), FAJIT_E_INVAL, "struct_size");

    struct fajit_ctx_params params = none("sm_86");
    struct fajit_ctx *ctx = NULL;
    assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
    info = (struct fajit_device_info){.struct_size = sizeof(info)};
    assert_int_equal(fajit_ctx_device(ctx, &info), FAJIT_OK);
    assert_string_equal(info.arch, "sm_86");
    assert_string_equal(info.nvrtc_version, "");
    assert_int_equal(info.driver_version, 0);
    fajit_ctx_destroy(&ctx);
}

static void test_strings_are_copied(void **state)
{
    struct world *w = *state;
    char cache[96], path[192];
    struct stat what;
    snprintf(cache, sizeof(cache), "%s/copied", w->dir);
    snprintf(path, sizeof(path), "%s", cache);
    struct fajit_ctx_params params = none("sm_80");
    params.cache_mode = FAJIT_CACHE_RW;
    params.cache_dir = cache;
    struct fajit_ctx *ctx = NULL;
    assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
    memset(cache, 'x', sizeof(cache) - 1);
    use_fake_nvrtc(ctx);
    struct fajit_plan *plan = planned(ctx, "attn:f32,d64,kernel=simt");
    assert_int_equal(stat(path, &what), 0);
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&ctx);
}

// --- Environment ------------------------------------------------------------------------------

static void test_environment_fills_what_is_zero(void **state)
{
    struct world *w = *state;
    struct fajit_ctx_params params = none("sm_80");
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    struct fajit_ctx *ctx = NULL;
    setenv("FAJIT_CACHE_DIR", w->cache, 1);
    setenv("FAJIT_CACHE", "off", 1);
    params.cache_mode = FAJIT_CACHE_DEFAULT;
    assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
    assert_int_equal(fajit_cache_stats(ctx, &stats), FAJIT_OK);
    assert_string_equal(stats.dir, "");
    fajit_ctx_destroy(&ctx);
    params.cache_mode = FAJIT_CACHE_RW; // a parameter wins
    assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
    assert_int_equal(fajit_cache_stats(ctx, &stats), FAJIT_OK);
    assert_string_equal(stats.dir, w->cache);

    // Read once: what changes afterwards changes nothing.
    setenv("FAJIT_NO_COMPILE", "1", 1);
    use_fake_nvrtc(ctx);
    struct fajit_problem problem = parsed("attn:f32,d64,kernel=simt");
    struct fajit_plan *plan = planned(ctx, "attn:f32,d64,kernel=simt");
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&ctx);
    params.cache_mode = FAJIT_CACHE_OFF;
    assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
    check_error(fajit_plan_create(ctx, &problem, NULL, &plan), FAJIT_E_NOT_CACHED, "cache");
    fajit_ctx_destroy(&ctx);
    setenv("FAJIT_NO_COMPILE", "0", 1);
    assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
    use_fake_nvrtc(ctx);
    plan = planned(ctx, "attn:f32,d64,kernel=simt");
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&ctx);
}

static void test_misspelt_environment(void **state)
{
    (void)state;
    const struct {
        const char *name, *value, *sentence;
    } cases[] = {
        {"FAJIT_CACHE", "on", "FAJIT_CACHE=on is not one of: rw ro off"},
        {"FAJIT_LOG", "verbose", "FAJIT_LOG=verbose is not one of: none error warn info debug"},
        {"FAJIT_DEVICE", "gpu", "neither a device ordinal nor 'emu'"},
        {"FAJIT_DEVICE", "-1", "neither a device ordinal nor 'emu'"},
        {"FAJIT_DEVICE", "0x", "neither a device ordinal nor 'emu'"},
        {"FAJIT_DEVICE", "99999999999999999999", "neither a device ordinal nor 'emu'"},
        {"FAJIT_DEVICE", "emu:", "neither a device ordinal nor 'emu'"},
        {"FAJIT_DEVICE", "emu:1x", "neither a device ordinal nor 'emu'"},
        {"FAJIT_DEVICE", "emulated", "neither a device ordinal nor 'emu'"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fajit_ctx_params params = {.struct_size = sizeof(params)};
        struct fajit_ctx *ctx = NULL;
        setenv(cases[i].name, cases[i].value, 1);
        check_error(fj_ctx_create(fake_cuda(), &params, &ctx), FAJIT_E_INVAL, cases[i].sentence);
        assert_null(ctx);
        unsetenv(cases[i].name);
    }
    // Selects nothing on its own.
    struct fajit_ctx *ctx = NULL;
    struct fajit_device_info info = {.struct_size = sizeof(info)};
    setenv("FAJIT_EMU", "t4", 1);
    assert_int_equal(fj_ctx_create(fake_cuda(), NULL, &ctx), FAJIT_OK);
    assert_int_equal(fajit_ctx_device(ctx, &info), FAJIT_OK);
    assert_string_equal(info.name, "Fake GPU");
    fajit_ctx_destroy(&ctx);
    setenv("FAJIT_DEVICE", "emu", 1);
    assert_int_equal(fajit_ctx_create(NULL, &ctx), FAJIT_OK);
    assert_int_equal(fajit_ctx_device(ctx, &info), FAJIT_OK);
    assert_int_equal(info.compute_capability, 75);
    assert_true(info.emulated);
    fajit_ctx_destroy(&ctx);
    setenv("FAJIT_DEVICE", "3", 1);
    check_error(fj_ctx_create(fake_cuda(), NULL, &ctx), FAJIT_E_NO_DEVICE, "device 3");
    const struct fajit_ctx_params given = {.struct_size = sizeof(given), .device_ordinal = 7};
    check_error(fj_ctx_create(fake_cuda(), &given, &ctx), FAJIT_E_NO_DEVICE, "device 7");
}

// --- Log --------------------------------------------------------------------------------------

struct heard {
    int lines, worst;
    char text[4096];
};

static void listen(void *user, enum fajit_log_level level, const char *text)
{
    struct heard *heard = user;
    heard->lines++;
    heard->worst = (int)level > heard->worst ? (int)level : heard->worst;
    snprintf(heard->text, sizeof(heard->text), "%s", text);
}

static void test_log_levels(void **state)
{
    (void)state;
    const char *const words[] = {NULL, "debug", "none", "error"};
    const int most[] = {FAJIT_LOG_WARN, FAJIT_LOG_DEBUG, FAJIT_LOG_NONE, FAJIT_LOG_ERROR};
    for (size_t i = 0; i < COUNT(words); i++) {
        struct heard heard = {0};
        struct fajit_ctx_params params = none("sm_80");
        struct fajit_ctx *ctx = NULL;
        if (words[i])
            setenv("FAJIT_LOG", words[i], 1);
        params.log = listen;
        params.log_user = &heard;
        assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
        use_fake_nvrtc(ctx);
        struct fajit_plan *plan = planned(ctx, "attn:f32,d64,kernel=simt");
        fajit_plan_destroy(&plan);
        fajit_ctx_destroy(&ctx);
        assert_true(heard.worst <= most[i]);
        assert_int_equal(heard.lines > 0, most[i] == FAJIT_LOG_DEBUG);
    }
}

// A misspelt directory is no error: it may come to be before a template is wanted.
static void test_missing_template_dir(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct fajit_ctx_params params = none("sm_80");
    struct fajit_ctx *ctx = NULL;
    params.log = listen;
    params.log_user = &heard;
    setenv("FAJIT_TEMPLATE_DIR", "/nowhere/templates", 1);
    assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
    fajit_ctx_destroy(&ctx);
    assert_int_equal(heard.worst, FAJIT_LOG_WARN);
    assert_non_null(strstr(heard.text, "/nowhere/templates does not exist"));
}

// --- The caller's CUDA context ----------------------------------------------------------------

static void test_current_context_is_left_as_found(void **state)
{
    struct world *w = *state;
    struct fajit_ctx *ctx = NULL;
    struct fajit_ctx_params params = world_params(w);
    CUcontext host = fake_cuda_host_context(), now;
    const struct fj_cuda *cuda = fake_cuda();
    int retained = fake_cuda_calls("cuDevicePrimaryCtxRetain");
    assert_int_equal(cuda->cuCtxSetCurrent(host), CUDA_SUCCESS);
    assert_int_equal(fj_ctx_create(cuda, &params, &ctx), FAJIT_OK); // the current one is used
    assert_int_equal(fake_cuda_calls("cuDevicePrimaryCtxRetain"), retained);
    assert_ptr_equal(ctx->jit.device.context, host);
    // Another context of ours works with the primary one, and puts the host's back.
    void *memory = NULL;
    assert_int_equal(fajit_mem_alloc(w->ctx, 64, &memory), FAJIT_OK);
    assert_int_equal(cuda->cuCtxGetCurrent(&now), CUDA_SUCCESS);
    assert_ptr_equal(now, host);
    assert_int_equal(fajit_mem_free(w->ctx, memory), FAJIT_OK);
    fajit_ctx_destroy(&ctx);
    assert_int_equal(cuda->cuCtxGetCurrent(&now), CUDA_SUCCESS);
    assert_ptr_equal(now, host);
    assert_int_equal(cuda->cuCtxSetCurrent(NULL), CUDA_SUCCESS);
    params.cu_context = host; // given, with none current
    assert_int_equal(fj_ctx_create(cuda, &params, &ctx), FAJIT_OK);
    assert_ptr_equal(ctx->jit.device.context, host);
    fajit_ctx_destroy(&ctx);
}

// --- Failures on the way ----------------------------------------------------------------------

static void test_every_driver_failure(void **state)
{
    struct world *w = *state;
    struct fajit_ctx_params params = world_params(w);
    int refused = 0;
    for (int nth = 1; nth < 200; nth++) {
        struct fajit_ctx *ctx = NULL;
        int live = fake_cuda_live();
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int err = fj_ctx_create(fake_cuda(), &params, &ctx);
        bool reached = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        refused += err != 0;
        assert_int_equal(err == 0, ctx != NULL);
        fajit_ctx_destroy(&ctx);
        assert_int_equal(fake_cuda_live(), live);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_true(refused > 10);
            return;
        }
    }
    fail_msg("creating a context makes more than 200 driver calls");
}

// Leaks show under valgrind and the sanitizers; here it is the statuses and that nothing crashes.
static void test_every_failed_allocation(void **state)
{
    struct world *w = *state;
    char dump[96];
    snprintf(dump, sizeof(dump), "%s/dump", w->dir);
    struct fajit_ctx_params params = world_params(w);
    params.template_dir = params.dump_dir = dump;
    params.nvrtc_path = "/nowhere";
    int refused = 0;
    for (int nth = 1; nth < 500; nth++) {
        struct fajit_ctx *ctx = NULL;
        int live = fake_cuda_live();
        fail_allocation(nth);
        int err = fj_ctx_create(fake_cuda(), &params, &ctx);
        bool reached = atomic_load(&allocations_left) == 0;
        fail_allocation(0);
        if (err)
            assert_int_equal(err, FAJIT_E_NOMEM);
        refused += err != 0;
        assert_int_equal(err == 0, ctx != NULL);
        fajit_ctx_destroy(&ctx);
        assert_int_equal(fake_cuda_live(), live);
        if (!reached) {
            assert_true(refused >= 5); // the context and its four strings
            return;
        }
    }
    fail_msg("creating a context allocates more than 500 times");
}

// --- Report and statistics --------------------------------------------------------------------

static void test_report(void **state)
{
    struct world *w = *state;
    char *text = NULL;
    assert_int_equal(fajit_ctx_report(w->ctx, &text), FAJIT_OK);
    assert_non_null(strstr(text, "Fake GPU, compute capability 9.0"));
    assert_non_null(strstr(text, w->cache));
    assert_non_null(strstr(text, "nvrtc"));
    fajit_free(text);
    check_error(fajit_ctx_report(w->ctx, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_ctx_report(NULL, &text), FAJIT_E_INVAL, "NULL");
    check_error(fajit_cache_stats(NULL, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_cache_visit(w->ctx, NULL, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_sync(NULL), FAJIT_E_INVAL, "ctx is NULL");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_refused_params),
        TEST(test_emulated_devices),
        TEST(test_destroy_accepts_null),
        TEST(test_device_facts),
        TEST(test_strings_are_copied),
        TEST(test_environment_fills_what_is_zero),
        TEST(test_misspelt_environment),
        TEST(test_log_levels),
        TEST(test_missing_template_dir),
        TEST(test_current_context_is_left_as_found),
        TEST(test_every_driver_failure),
        TEST(test_every_failed_allocation),
        TEST(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
