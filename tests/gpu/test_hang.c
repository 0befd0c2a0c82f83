// A kernel of one's own that hangs and one that faults, met by a search on a real device: the
// tuning worker is killed, the host lives on. Exit code 77: no device, or no NVRTC.
//
//     test_hang --worker PATH/fajit-tune [--device N|emu]
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fajit/fajit.h>

#include "skip.h"

enum { N = 4096, THREADS = 128 };

// By `mode`: 1 waits for a flag that nobody sets, 2 reads out of bounds, 3 is wrong, 4 is slow.
static const char template_text[] =
    "//@const threads\n"
    "//@const mode\n"
    "//@tune mode 4 1 2 3 0\n"
    "// y = 2 x, [gridDim.x * threads].\n"
    "//@prelude\n"
    "extern \"C\" __global__ void __launch_bounds__(kThreads) $kernel_name(\n"
    "    const float *x,\n"
    "    float *y,\n"
    "    const int *flag)\n"
    "{\n"
    "    const long long i = blockIdx.x * kThreads + threadIdx.x;\n"
    "    if (kMode == 1)\n"
    "        while (*(volatile const int *)flag == 7) {}\n"
    "    float sum = 0;\n"
    "    for (int k = 0; kMode == 4 && k < 2000; ++k)\n"
    "        sum = __cosf(sum + x[i]);\n"
    "    y[i] = 2 * x[kMode == 2 ? i + (1LL << 40) : i] + (kMode == 3) + 0 * sum;\n"
    "}\n";

struct host {
    struct fajit_ctx *ctx;
    float *x, *y;
    int *flag;
    int launches[5]; // by mode
};

static int launch(void *user, const struct fajit_kernel *kernel, void *stream)
{
    struct host *host = user;
    const struct fajit_kernel_args args = {
        .struct_size = sizeof(args),
        .items = {FAJIT_ARG(host->x), FAJIT_ARG(host->y), FAJIT_ARG(host->flag)},
    };
    host->launches[fajit_kernel_const(kernel, "mode")]++;
    return fajit_kernel_launch(kernel, (struct fajit_grid){.x = N / THREADS}, &args, stream);
}

static int judge(void *user, const struct fajit_kernel *kernel, char *ret_why, size_t why_bytes)
{
    struct host *host = user;
    static float y[N];
    (void)kernel;
    int err = fajit_mem_download(host->ctx, y, host->y, sizeof(y));
    for (int i = 0; i < N && err == 0; i++)
        if (y[i] != 2.0f * (float)i)
            err = snprintf(ret_why, why_bytes, "element %d is %g", i, (double)y[i]);
    return err;
}

static int passed, failed;

static void note(bool ok, const char *what)
{
    passed += ok;
    failed += !ok;
    if (!ok)
        printf("FAIL %s: %s\n", what, fajit_last_error());
}

static int open_host(struct host *host, const char *device, const char *worker, const char *dir)
{
    static float x[N];
    const int seven = 7;
    const bool emulated = strcmp(device, "emu") == 0;
    const struct fajit_ctx_params params = {
        .struct_size = sizeof(params),
        .device = emulated ? FAJIT_DEVICE_EMULATED : FAJIT_DEVICE_CUDA,
        .device_ordinal = emulated ? 0 : atoi(device),
        .cache_dir = dir,
        .template_dir = dir,
        .tune_worker = worker,
    };
    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    int err = fajit_ctx_create(&params, &host->ctx);
    err = err ? err : fajit_mem_alloc(host->ctx, sizeof(x), (void **)&host->x);
    err = err ? err : fajit_mem_alloc(host->ctx, sizeof(x), (void **)&host->y);
    err = err ? err : fajit_mem_alloc(host->ctx, sizeof(seven), (void **)&host->flag);
    err = err ? err : fajit_mem_upload(host->ctx, host->x, x, sizeof(x));
    return err ? err : fajit_mem_upload(host->ctx, host->flag, &seven, sizeof(seven));
}

static int search(struct host *host, bool force, struct fajit_tune_result *result)
{
    const struct fajit_kernel_trial trial = {sizeof(trial), launch,  judge,
                                             host,          host->y, N * sizeof(float)};
    const struct fajit_kernel_params params = {
        .struct_size = sizeof(params), .values = "threads=128", .trial = &trial};
    const struct fajit_tune_params how = {
        .struct_size = sizeof(how), .force = force, .silence_s = 3, .budget_s = 60};
    memset(host->launches, 0, sizeof(host->launches));
    *result = (struct fajit_tune_result){.struct_size = sizeof(*result)};
    return fajit_kernel_tune(host->ctx, "twice", &params, &how, result);
}

static void check_search(struct host *host, bool again)
{
    struct fajit_tune_result result;
    note(search(host, again, &result) == FAJIT_OK && result.finished, "the search ends");
    note(strcmp(result.config, "mode=0") == 0, "the fastest right one wins");
    // Once each, and only to hear how they would be launched; never again.
    note(host->launches[1] == (again ? 0 : 1), "what hangs is not launched here");
    note(host->launches[2] == (again ? 0 : 1), "what faults is not launched here");
    note(host->launches[0] > 2 && host->launches[4] > 1, "what runs is timed here");
    note(fajit_sync(host->ctx) == FAJIT_OK, "the context lives on");
    printf("%s: %s, %.2f us in %.1f s\n", again ? "again" : "first", result.config,
           result.median_us, result.elapsed_s);
}

static int write_template(const char *dir)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/twice.cu", dir);
    FILE *file = fopen(path, "w");
    return !file || fputs(template_text, file) < 0 || fclose(file);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"device", required_argument, NULL, 'd'}, {"worker", required_argument, NULL, 'w'}, {0}};
    const char *device = "0", *worker = NULL;
    char dir[] = "/tmp/fajit-hang-XXXXXX", command[64];
    struct host host = {0};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        device = c == 'd' ? optarg : device;
        worker = c == 'w' ? optarg : worker;
    }
    if (!worker || !mkdtemp(dir) || write_template(dir)) {
        fprintf(stderr, "usage: test_hang --worker PATH/fajit-tune [--device N|emu]\n");
        return 2;
    }
    int err = open_host(&host, device, worker, dir);
    if (err && err != FAJIT_E_NO_DEVICE)
        note(false, "open");
    if (err == FAJIT_OK && !lacks_nvrtc(host.ctx)) {
        check_search(&host, false);
        check_search(&host, true);
    }
    fajit_ctx_destroy(&host.ctx);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    failed += system(command) != 0;
    if (passed + failed == 0)
        return SKIP;
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
