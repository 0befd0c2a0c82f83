// The pipeline against a driver and an NVRTC that exist only in this process.
#include "test.h"

#include <pthread.h>
#include <unistd.h>

#include "base/file.h"
#include "fake_cuda.h"
#include "fake_nvrtc.h"
#include "jit.h"
#include "jit_steps.h"

// --- A kernel class of the test's own ----------------------------------------------------------

static const char template_text[] = "//@const threads per CTA\n"
                                    "//@switch causal bool  a mask\n"
                                    "// Does nothing.\n"
                                    "//@prelude\n"
                                    "extern \"C\" __global__ void __launch_bounds__(kThreads)\n"
                                    "$kernel_name()\n"
                                    "{\n"
                                    "    //@if causal\n"
                                    "    mask();\n"
                                    "    //@end\n"
                                    "}\n";

static void params(const struct fj_choice *choice, struct fj_params *ret_params)
{
    fj_params_int(ret_params, "threads", 128);
    fj_params_int(ret_params, "causal", choice->problem.attn.causal != FAJIT_CAUSAL_NONE);
}

static void meaning(const struct fj_choice *choice, struct fj_buf *ret_text)
{
    fj_buf_puts(ret_text, choice->problem.attn.causal ? "nothing_causal" : "nothing");
}

static int threads(const struct fj_choice *choice)
{
    (void)choice;
    return 128;
}

static void cost(const struct fj_choice *choice, struct fj_cost *ret_cost)
{
    (void)choice;
    *ret_cost = (struct fj_cost){0};
}

static const struct fj_kernel_class class = {
    .name = "nothing",
    .template_name = "nothing.cu",
    .op = FAJIT_OP_ATTN_FWD,
    .family = FAJIT_FAMILY_SIMT,
    .params = params,
    .meaning = meaning,
    .summary = "nothing",
    .threads = threads,
    .smem_bytes = threads,
    .cost = cost,
};

// --- Set-up -----------------------------------------------------------------------------------

struct world {
    char dir[64], cache[96];
    struct fj_jit jit;
    struct fj_choice choice;
};

static void open_jit(struct world *w)
{
    struct fj_jit *jit = &w->jit;
    memset(jit, 0, sizeof(*jit));
    assert_int_equal(fj_device_open(fake_cuda(), NULL, 0, &jit->device), 0);
    jit->has_device = true;
    jit->gpu = jit->device.gpu;
    jit->template_dir = jit->dump_dir = w->dir;
    jit->mem = fj_mem_create();
    assert_non_null(jit->mem);
    assert_int_equal(fj_disk_open(&(struct fj_disk_params){.dir = w->cache}, &jit->disk), 0);
    atomic_store(&jit->nvrtc, fake_nvrtc());
}

static void drop(void *user, void *value)
{
    (void)value;
    ++*(int *)user;
}

static void close_jit(struct world *w)
{
    int left = 0;
    fj_mem_destroy(&w->jit.mem, drop, &left);
    assert_int_equal(left, 0);
    fj_disk_close(&w->jit.disk);
    fj_device_close(&w->jit.device);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    fake_cuda_reset();
    fake_nvrtc_reset();
    strcpy(w->dir, "/tmp/fajit-jit-XXXXXX");
    if (!w || !mkdtemp(w->dir))
        return -1;
    snprintf(w->cache, sizeof(w->cache), "%s/cache", w->dir);
    char path[96];
    snprintf(path, sizeof(path), "%s/nothing.cu", w->dir);
    if (fj_file_publish(path, template_text, strlen(template_text), 0600))
        return -1;
    w->choice = (struct fj_choice){.kernel = &class,
                                   .problem = {.op = FAJIT_OP_ATTN_FWD,
                                               .family = FAJIT_FAMILY_SIMT,
                                               .variant = FAJIT_VARIANT_V2,
                                               .attn = {.dtype = FAJIT_F32,
                                                        .head_dim = 64,
                                                        .head_dim_v = 64,
                                                        .scale = 0.125f,
                                                        .align_bytes = 16}}};
    open_jit(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    close_jit(w);
    assert_int_equal(fake_cuda_live(), 0);
    assert_int_equal(fake.misuses, 0);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    int code = system(command);
    free(w);
    return code;
}

static int get(struct world *w, const struct fj_jit_request *request, struct fj_kernel **ret)
{
    struct fj_jit_request own = *request;
    own.choice = &w->choice;
    return fj_jit_kernel(&w->jit, &own, ret, NULL);
}

static const struct fj_jit_request plain = {0};

// --- Tests ------------------------------------------------------------------------------------

static void test_compile_then_memory_then_disk(void **state)
{
    struct world *w = *state;
    struct fj_kernel *first, *again;
    assert_int_equal(get(w, &plain, &first), 0);
    assert_int_equal(first->origin, FAJIT_FROM_COMPILE);
    int calls = fake_cuda_calls(NULL);
    assert_int_equal(get(w, &plain, &again), 0);
    assert_ptr_equal(first, again);
    assert_int_equal(fake_cuda_calls(NULL), calls); // a memory hit asks the driver nothing
    fj_jit_release(&w->jit, first);
    fj_jit_release(&w->jit, again);
    assert_int_equal(fake_cuda_calls("cuModuleUnload"), 1); // with the last reference

    close_jit(w);
    open_jit(w);
    atomic_store(&w->jit.nvrtc, NULL);
    w->jit.nvrtc_path = "/nowhere"; // a hit must not look for NVRTC
    assert_int_equal(get(w, &plain, &first), 0);
    assert_int_equal(first->origin, FAJIT_FROM_DISK);
    assert_int_equal(fake_nvrtc_state.compiles, 1);
    fj_jit_release(&w->jit, first);
}

static void test_lengths_share_one_key(void **state)
{
    struct world *w = *state;
    struct fj_kernel *kernels[20];
    for (int i = 0; i < 20; i++) {
        w->choice.problem.attn.seq_q = w->choice.problem.attn.seq_k = 128 << (i % 8);
        w->choice.problem.attn.batch = i + 1;
        w->choice.problem.attn.scale = 0.1f * (float)(i + 1);
        assert_int_equal(get(w, &plain, &kernels[i]), 0);
        assert_ptr_equal(kernels[i], kernels[0]);
    }
    assert_int_equal(fake_nvrtc_state.compiles, 1);
    struct fj_kernel *causal;
    w->choice.problem.attn.causal = FAJIT_CAUSAL_BOTTOM_RIGHT;
    assert_int_equal(get(w, &plain, &causal), 0);
    assert_ptr_not_equal(causal, kernels[0]);
    assert_false(fj_key_equal(&causal->key, &kernels[0]->key));
    fj_jit_release(&w->jit, causal);
    for (int i = 0; i < 20; i++)
        fj_jit_release(&w->jit, kernels[i]);
}

static void test_ruled_out_compiles(void **state)
{
    struct world *w = *state;
    struct fj_kernel *kernel;
    int err = get(w, &(struct fj_jit_request){.cached_only = true}, &kernel);
    check_error(err, FAJIT_E_NOT_CACHED, "fajit-tune");
    err = get(w, &(struct fj_jit_request){.capturing = true}, &kernel);
    check_error(err, FAJIT_E_CAPTURE, "before the capture");
    w->jit.no_compile = true;
    check_error(get(w, &plain, &kernel), FAJIT_E_NOT_CACHED, "not in the cache");
    assert_int_equal(fake_nvrtc_state.compiles, 0);

    w->jit.no_compile = false;
    assert_int_equal(get(w, &plain, &kernel), 0);
    struct fj_kernel *ready;
    assert_int_equal(get(w, &(struct fj_jit_request){.capturing = true}, &ready), 0);
    fj_jit_release(&w->jit, ready);
    fj_jit_release(&w->jit, kernel);
}

static void test_compile_error_names_both_lines(void **state)
{
    struct world *w = *state;
    struct fj_kernel *kernel;
    fake_nvrtc_state.fails = true;
    int err = get(w, &plain, &kernel);
    char both[80];
    snprintf(both, sizeof(both), "line %d (from nothing.cu:11)", fake_nvrtc_state.error_line);
    check_error(err, FAJIT_E_COMPILE, both);
    check_error(err, FAJIT_E_COMPILE, w->dir); // where the source was saved
    check_error(err, FAJIT_E_COMPILE, "identifier \"mask\" is undefined");
    fake_nvrtc_state.fails = false;
    assert_int_equal(get(w, &plain, &kernel), 0); // a failure is not remembered
    fj_jit_release(&w->jit, kernel);
}

// Every driver call fails once: the request fails or succeeds, and nothing is left behind.
static void test_every_driver_failure(void **state)
{
    struct world *w = *state;
    struct fj_kernel *kernel;
    for (int nth = 1; nth < 200; nth++) {
        fake_cuda_fail(NULL, nth, CUDA_ERROR_OUT_OF_MEMORY);
        int live = fake_cuda_live();
        int err = get(w, &plain, &kernel);
        bool reached = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        if (err == 0)
            fj_jit_release(&w->jit, kernel);
        assert_int_equal(fake_cuda_live(), live);
        if (!reached) {
            assert_int_equal(err, 0);
            assert_true(nth > 3); // loading takes several calls, or nothing was tested
            return;
        }
    }
    fail_msg("a request makes more than 200 driver calls");
}

static void *get_in_thread(void *user)
{
    struct fj_kernel *kernel = NULL;
    get(user, &plain, &kernel);
    return kernel;
}

static void test_threads_compile_once(void **state)
{
    struct world *w = *state;
    enum { THREADS = 16 };
    pthread_t ids[THREADS];
    void *kernels[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, get_in_thread, w), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], &kernels[i]);
    assert_int_equal(fake_nvrtc_state.compiles, 1);
    for (int i = 0; i < THREADS; i++) {
        assert_non_null(kernels[i]);
        assert_ptr_equal(kernels[i], kernels[0]);
        fj_jit_release(&w->jit, kernels[i]);
    }
}

static void test_unusable_cache_is_soft(void **state)
{
    struct world *w = *state;
    struct fj_kernel *kernel;
    fj_disk_close(&w->jit.disk);
    assert_int_equal(fj_disk_open(&(struct fj_disk_params){.dir = "/proc/nowhere"}, &w->jit.disk),
                     0);
    assert_int_equal(get(w, &plain, &kernel), 0);
    assert_int_equal(kernel->origin, FAJIT_FROM_COMPILE);
    fj_jit_release(&w->jit, kernel);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_compile_then_memory_then_disk),
        TEST(test_lengths_share_one_key),
        TEST(test_ruled_out_compiles),
        TEST(test_compile_error_names_both_lines),
        TEST(test_every_driver_failure),
        TEST(test_threads_compile_once),
        TEST(test_unusable_cache_is_soft),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
