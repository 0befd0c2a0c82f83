// Kernels of the caller's own that run: on the emulated device. Skipped where no NVRTC is found.
#include "test.h"

#include <fajit/fajit.h>
#include <math.h>

#include "base/file.h"

// Reverses blocks of `bm` floats through dynamic shared memory.
static const char reverse_text[] =
    "//@const bm         floats of a CTA\n"
    "//@const threads    of a CTA\n"
    "//@const smem_bytes of a CTA\n"
    "//@let smem_bytes bm * 4\n"
    "//@tune bm 16384 1024\n"
    "//@tune threads 256 64\n"
    "// Reverses every block of bm floats.\n"
    "//@prelude\n"
    "extern \"C\" __global__ void __launch_bounds__(kThreads) $kernel_name(\n"
    "    float *data,\n"
    "    float factor)\n"
    "{\n"
    "    extern __shared__ float tile[];\n"
    "    float *block = data + blockIdx.x * kBm;\n"
    "    for (int i = threadIdx.x; i < kBm; i += kThreads)\n"
    "        tile[i] = block[i] * factor;\n"
    "    __syncthreads();\n"
    "    for (int i = threadIdx.x; i < kBm; i += kThreads)\n"
    "        block[i] = tile[kBm - 1 - i];\n"
    "}\n";

enum { COUNT_ALL = 32768, BYTES = COUNT_ALL * 4 };

struct world {
    char dir[64];
    struct fajit_ctx *ctx;
    float *data; // on the device
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    char path[96];
    if (!w)
        return -1;
    strcpy(w->dir, "/tmp/fajit-kernel-emu-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    snprintf(path, sizeof(path), "%s/reverse.cu", w->dir);
    const struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                            .device = FAJIT_DEVICE_EMULATED,
                                            .emulated_gpu = "a100",
                                            .emulated_check = true,
                                            .cache_mode = FAJIT_CACHE_OFF,
                                            .template_dir = w->dir};
    *state = w;
    return fj_file_publish(path, reverse_text, strlen(reverse_text), 0600) ||
           fajit_ctx_create(&params, &w->ctx) || fajit_ctx_make_current(w->ctx) ||
           fajit_mem_alloc(w->ctx, BYTES, (void **)&w->data);
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[96];
    fajit_mem_free(w->ctx, w->data);
    fajit_ctx_destroy(&w->ctx);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    int code = system(command);
    free(w);
    return code;
}

static void fill(const struct world *w)
{
    float *host = malloc(BYTES);
    assert_non_null(host);
    for (int i = 0; i < COUNT_ALL; i++)
        host[i] = (float)i;
    assert_int_equal(fajit_mem_upload(w->ctx, w->data, host, BYTES), FAJIT_OK);
    free(host);
}

static int launch(void *user, const struct fajit_kernel *kernel, void *stream)
{
    struct world *w = user;
    const float factor = 0.5f;
    const struct fajit_kernel_args args = {.struct_size = sizeof(args),
                                           .items = {FAJIT_ARG(w->data), FAJIT_ARG(factor)}};
    const unsigned ctas = COUNT_ALL / (unsigned)fajit_kernel_const(kernel, "bm");
    return fajit_kernel_launch(kernel, (struct fajit_grid){ctas, 0, 0}, &args, stream);
}

static int first_wrong(const struct world *w, int bm)
{
    float *host = malloc(BYTES);
    assert_non_null(host);
    assert_int_equal(fajit_mem_download(w->ctx, host, w->data, BYTES), FAJIT_OK);
    int at = 0;
    while (at < COUNT_ALL && host[at] == 0.5f * (float)(at / bm * bm + bm - 1 - at % bm))
        at++;
    free(host);
    return at < COUNT_ALL ? at : -1;
}

// The operation is in place: judging starts from known data with a launch of its own.
static int judge(void *user, const struct fajit_kernel *kernel, char *ret_why, size_t why_bytes)
{
    struct world *w = user;
    fill(w);
    int err = launch(w, kernel, NULL);
    err = err ? err : fajit_sync(w->ctx);
    int wrong = err ? -1 : first_wrong(w, (int)fajit_kernel_const(kernel, "bm"));
    if (wrong >= 0)
        snprintf(ret_why, why_bytes, "element %d", wrong);
    return err ? err : wrong >= 0;
}

// NULL where nothing can be compiled; the caller skips.
static struct fajit_kernel *planned(struct world *w, const char *values)
{
    const struct fajit_kernel_params params = {.struct_size = sizeof(params), .values = values};
    struct fajit_kernel *kernel = NULL;
    int err = fajit_kernel_plan(w->ctx, "reverse", &params, &kernel);
    if (err && err != FAJIT_E_NO_NVRTC)
        fail_msg("%s", fajit_last_error());
    return kernel;
}

// 64 KB of dynamic shared memory, which a launch gets only when it was asked for beforehand.
static void test_much_shared_memory(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *kernel = planned(w, NULL);
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    if (!kernel)
        skip();
    assert_int_equal(fajit_kernel_info(kernel, &info), FAJIT_OK);
    assert_int_equal(info.smem_bytes, 65536);
    assert_int_equal(info.ctas_per_sm, 2); // 164 KB of an A100's SM
    fill(w);
    if (launch(w, kernel, NULL) || fajit_sync(w->ctx))
        fail_msg("%s", fajit_last_error());
    assert_int_equal(first_wrong(w, 16384), -1);
    fajit_kernel_destroy(&kernel);
}

static void test_arguments_are_checked(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *kernel = planned(w, "bm=1024");
    if (!kernel)
        skip();
    const double factor = 0.5;
    const struct fajit_grid grid = {.x = 1};
    struct fajit_kernel_args args = {.struct_size = sizeof(args),
                                     .items = {FAJIT_ARG(w->data), FAJIT_ARG(factor)}};
    check_error(
        fajit_kernel_launch(kernel, grid, &args, NULL), FAJIT_E_INVAL,
        "argument 1 of reverse__bm1024_threads256 has 8 bytes, the kernel's parameter has 4");
    args.items[1] = (struct fajit_arg){0};
    check_error(fajit_kernel_launch(kernel, grid, &args, NULL), FAJIT_E_INVAL,
                "1 arguments were given");
    fajit_kernel_destroy(&kernel);
}

static void test_tuning(void **state)
{
    struct world *w = *state;
    const struct fajit_kernel_trial trial = {
        .struct_size = sizeof(trial), .launch = launch, .judge = judge, .user = w};
    const struct fajit_kernel_params params = {.struct_size = sizeof(params), .trial = &trial};
    const struct fajit_tune_params how = {.struct_size = sizeof(how), .try_all = true};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fajit_kernel *kernel = NULL;
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    fill(w); // reading what nobody wrote is an error here
    int err = fajit_kernel_tune(w->ctx, "reverse", &params, &how, &result);
    if (err == FAJIT_E_NO_NVRTC || (err && strstr(fajit_last_error(), "libnvrtc")))
        skip();
    if (err)
        fail_msg("%s", fajit_last_error());
    assert_int_equal(result.points, 4);
    assert_int_equal(result.timed, 4);
    assert_int_equal(fajit_kernel_plan(w->ctx, "reverse", &params, &kernel), FAJIT_OK);
    assert_int_equal(fajit_kernel_info(kernel, &info), FAJIT_OK);
    assert_string_equal(info.config, result.config);
    assert_memory_equal(info.config_from, "exact:", 6);
    fajit_kernel_destroy(&kernel);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_much_shared_memory),
        TEST(test_arguments_are_checked),
        TEST(test_tuning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
