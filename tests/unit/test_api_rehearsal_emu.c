// Kernels of the caller's own that hang and fault, tried in fajit-tune itself before this process
// launches them: on the emulated device. Skipped without NVRTC.
#include "rehearsal_fixture.h"

#include <dirent.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/process.h"

// What goes wrong, by `mode`: 1 waits for a flag that nobody sets, 2 reads out of bounds, 3 is
// wrong. The indices are offset: zeros, or what another launch left, lead nowhere. `state` is 7
// whenever the host launches.
static const char gather_text[] =
    "//@const threads\n"
    "//@const mode\n"
    "//@tune mode 0 3 1 2\n"
    "// y[i] = x[index[i] - 1000000].\n"
    "//@prelude\n"
    "struct View {\n"
    "    const int *index;\n"
    "    const float *x;\n"
    "    int n;\n"
    "};\n"
    "extern \"C\" __global__ void __launch_bounds__(kThreads) $kernel_name(\n"
    "    View view,\n"
    "    float *y,\n"
    "    int *state)\n"
    "{\n"
    "    const int i = blockIdx.x * kThreads + threadIdx.x;\n"
    "    if (kMode == 1)\n"
    "        while (*(volatile int *)state == 7) {}\n"
    "    if (state[blockIdx.x + 1] != 7)\n"
    "        y = nullptr;\n"
    "    __syncthreads();\n"
    "    const int from = view.index[i] - 1000000;\n"
    "    y[i] = view.x[kMode == 2 ? from + 100000 : from] + (kMode == 3);\n"
    "    if (threadIdx.x == 0)\n"
    "        state[blockIdx.x + 1] = 8;\n"
    "}\n";

enum { N = 256, THREADS = 64, CTAS = N / THREADS };

// One allocation: 64 bytes, indices, 64 bytes, x. `y` and `state` have their own.
struct emulated {
    char dir[64], cache[96];
    struct fajit_ctx *ctx;
    char *inputs;
    float *y;
    int *state;
    int calls[4];  // of `launch`, by mode
    int strangers; // files in the cache directory that are neither kernels nor records
    int kernels;   // files of the cache
    int looked;    // while a kernel was hanging
};

#define INDEX_AT 64
#define X_AT (64 + N * 4 + 64)

struct view {
    const int *index;
    const float *x;
    int n;
};

static int gather(void *user, const struct fajit_kernel *kernel, void *stream)
{
    struct emulated *e = user;
    const struct view view = {(const int *)(e->inputs + INDEX_AT),
                              (const float *)(e->inputs + X_AT), N};
    int state[CTAS + 1];
    for (int i = 0; i <= CTAS; i++)
        state[i] = 7;
    const struct fajit_kernel_args args = {
        .struct_size = sizeof(args),
        .items = {FAJIT_ARG(view), FAJIT_ARG(e->y), FAJIT_ARG(e->state)}};
    e->calls[fajit_kernel_const(kernel, "mode")]++;
    int err = fajit_mem_upload(e->ctx, e->state, state, sizeof(state));
    return err ? err : fajit_kernel_launch(kernel, (struct fajit_grid){CTAS, 0, 0}, &args, stream);
}

static int judge_gather(void *user, const struct fajit_kernel *kernel, char *ret_why, size_t size)
{
    struct emulated *e = user;
    float y[N];
    (void)kernel;
    int err = fajit_mem_download(e->ctx, y, e->y, sizeof(y));
    for (int i = 0; i < N && err == 0; i++)
        if (y[i] != (float)(N - 1 - i))
            err = snprintf(ret_why, size, "element %d is %g", i, (double)y[i]);
    return err;
}

// The copies have no name: a host that is killed leaves nothing behind.
static void look_around(struct emulated *e)
{
    DIR *dir = opendir(e->cache);
    assert_non_null(dir);
    e->kernels = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const size_t len = strlen(entry->d_name);
        const bool is_kernel = len > 4 && strcmp(entry->d_name + len - 4, ".fjc") == 0;
        e->kernels += is_kernel;
        e->strangers += !is_kernel && strcmp(entry->d_name, ".") != 0 &&
                        strcmp(entry->d_name, "..") != 0 &&
                        strcmp(entry->d_name, "tuning.txt") != 0;
    }
    closedir(dir);
}

static int look_on(void *user, const struct fajit_tune_progress *progress)
{
    struct emulated *e = user;
    if (strcmp(progress->running, "mode=1") == 0) {
        e->looked++;
        look_around(e);
    }
    return 0;
}

static int emulated_setup(void **state)
{
    struct emulated *e = calloc(1, sizeof(*e));
    char path[96], inputs[X_AT + N * 4] = {0};
    if (!e)
        return -1;
    strcpy(e->dir, "/tmp/fajit-rehearsal-XXXXXX");
    if (!mkdtemp(e->dir))
        return -1;
    snprintf(e->cache, sizeof(e->cache), "%s/cache", e->dir);
    snprintf(path, sizeof(path), "%s/gather.cu", e->dir);
    the_log.text[0] = '\0';
    const struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                            .device = FAJIT_DEVICE_EMULATED,
                                            .emulated_gpu = "a100",
                                            .cache_mode = FAJIT_CACHE_RW,
                                            .cache_dir = e->cache,
                                            .template_dir = e->dir,
                                            .tune_worker = FAJIT_TUNE,
                                            .log = take_log,
                                            .log_user = &the_log};
    for (int i = 0; i < N; i++) {
        const int index = 1000000 + N - 1 - i;
        const float x = (float)i;
        memcpy(inputs + INDEX_AT + i * 4, &index, 4);
        memcpy(inputs + X_AT + i * 4, &x, 4);
    }
    *state = e;
    return fj_file_publish(path, gather_text, strlen(gather_text), 0600) ||
           fajit_ctx_create(&params, &e->ctx) || fajit_ctx_make_current(e->ctx) ||
           fajit_mem_alloc(e->ctx, sizeof(inputs), (void **)&e->inputs) ||
           fajit_mem_alloc(e->ctx, N * 4, (void **)&e->y) ||
           fajit_mem_alloc(e->ctx, (CTAS + 1) * 4, (void **)&e->state) ||
           fajit_mem_upload(e->ctx, e->inputs, inputs, sizeof(inputs));
}

static int emulated_teardown(void **state)
{
    struct emulated *e = *state;
    char command[96];
    fajit_mem_free(e->ctx, e->inputs);
    fajit_mem_free(e->ctx, e->y);
    fajit_mem_free(e->ctx, e->state);
    fajit_ctx_destroy(&e->ctx);
    snprintf(command, sizeof(command), "rm -rf %s", e->dir);
    int code = system(command);
    free(e);
    return code;
}

static int tune_gather(struct emulated *e, enum fajit_effort effort,
                       struct fajit_tune_result *result)
{
    const struct fajit_kernel_trial trial = {.struct_size = sizeof(trial),
                                             .launch = gather,
                                             .judge = judge_gather,
                                             .user = e,
                                             .output = e->y,
                                             .output_bytes = N * 4};
    const struct fajit_kernel_params params = {.struct_size = sizeof(params),
                                               .values = "threads=64,sizes=256",
                                               .effort = effort,
                                               .trial = &trial};
    const struct fajit_tune_params how = {.struct_size = sizeof(how),
                                          .force = true,
                                          .budget_s = 90,
                                          .silence_s = 3,
                                          .jobs = 1,
                                          .progress = look_on,
                                          .user = e};
    struct fajit_kernel *kernel = NULL;
    *result = (struct fajit_tune_result){.struct_size = sizeof(*result)};
    memset(e->calls, 0, sizeof(e->calls));
    if (effort == FAJIT_EFFORT_DEFAULT)
        return fajit_kernel_tune(e->ctx, "gather", &params, &how, result);
    int err = fajit_kernel_plan(e->ctx, "gather", &params, &kernel);
    if (err == 0)
        snprintf(result->config, sizeof(result->config), "%s", info_of(kernel).config);
    fajit_kernel_destroy(&kernel);
    return err;
}

static bool gather_verdict(struct emulated *e, const char *verdict, const char *config)
{
    struct verdict wanted = {verdict, config};
    return fajit_tune_visit(e->ctx, NULL, is_verdict, &wanted);
}

static void test_the_host_outlives_its_kernels(void **state)
{
    struct emulated *e = *state;
    struct fajit_tune_result result;
    int err = tune_gather(e, FAJIT_EFFORT_DEFAULT, &result);
    if (err && strstr(fajit_last_error(), "libnvrtc"))
        skip();
    if (err)
        fail_msg("%s\n%s", fajit_last_error(), the_log.text);
    assert_string_equal(result.config, "mode=0");
    assert_true(result.finished && result.median_us > 0);
    check_log("gather.cu with mode=1 hung in the tuning worker; it is left out", 1);
    check_log("gather.cu with mode=2 faulted in the tuning worker; it is left out", 1);
    check_log("in the tuning worker", 2);
    check_log("could not be tried", 0);
    look_around(e);
    assert_int_equal(e->kernels, 4); // the worker compiled none of its own
    assert_true(e->looked > 3);      // several times a second
    assert_int_equal(e->strangers, 0);
    assert_int_equal(e->calls[1], 1); // what launches it would make
    assert_int_equal(e->calls[2], 1);
    assert_true(e->calls[0] > 2);
    assert_true(gather_verdict(e, "trying", "mode=1"));
    assert_true(gather_verdict(e, "fault", "mode=2"));
    assert_false(gather_verdict(e, "timed", "mode=3"));
    assert_true(gather_verdict(e, "best", "mode=0"));

    // What the worker died of is left alone; this context is as good as new.
    the_log.text[0] = '\0';
    if (tune_gather(e, FAJIT_EFFORT_DEFAULT, &result))
        fail_msg("%s\n%s", fajit_last_error(), the_log.text);
    assert_string_equal(result.config, "mode=0");
    assert_int_equal(e->calls[1], 0);
    assert_int_equal(e->calls[2], 0);
    check_log("in the tuning worker", 0);
}

static void test_planning_that_tunes(void **state)
{
    struct emulated *e = *state;
    struct fajit_tune_result result;
    char text[400];
    // Without what hangs, which the default silence would wait long for.
    snprintf(text, sizeof(text), "sed -i 's/mode 0 3 1 2/mode 0 2 3/' %s/gather.cu", e->dir);
    assert_int_equal(system(text), 0);
    int err = tune_gather(e, FAJIT_EFFORT_TUNE, &result);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    if (err)
        fail_msg("%s\n%s", fajit_last_error(), the_log.text);
    assert_string_equal(result.config, "mode=0");
    check_log("gather.cu with mode=2 faulted in the tuning worker", 1);
    assert_int_equal(e->calls[2], 1);
}

// The end of one block is the beginning of the next, here as there.
static void test_neighbours(void **state)
{
    struct emulated *e = *state;
    static const char text[] = "//@const threads\n//@prelude\n"
                               "extern \"C\" __global__ void $kernel_name(\n"
                               "    const char *begin, const char *end)\n"
                               "{\n"
                               "    if (end - begin != kThreads)\n"
                               "        *(volatile int *)8 = 1;\n"
                               "}\n";
    static const char *const args[] = {"worker", NULL}, *const env[] = {NULL};
    struct fj_process *process = NULL;
    struct fj_buf lines = {0};
    char path[96], line[400];
    int fd;
    snprintf(path, sizeof(path), "%s/ends.cu", e->dir);
    assert_int_equal(fj_file_publish(path, text, strlen(text), 0600), FAJIT_OK);
    assert_int_equal(fj_file_nameless(e->dir, &fd), FAJIT_OK);
    memset(line, 0, sizeof(line));
    assert_int_equal(fj_file_write_at(fd, 0, line, 160), FAJIT_OK);
    assert_int_equal(fj_process_start(FAJIT_TUNE, args, env, fd, &process), FAJIT_OK);
    // At 0x10000 and 0x10060; another, apart from both, and of an argument less than a word.
    fj_buf_printf(&lines,
                  "set device emu\nset gpu a100\nset cache-dir %s\nset templates %s\nopen\n"
                  "memory 7 65632 64 96\nmemory 7 65536 96 0\n"
                  "launch 7 1 1 1 0000010000000000,6000010000000000\n"
                  "rehearse 7 kernel:ends,threads=96\n"
                  "memory 8 65536 96 0\n"
                  "launch 8 1 1 1 0000010000000000,6000010000000000\n"
                  "rehearse 8 kernel:ends,threads=96\n"
                  "launch 9 1 1 1 00000100000000,6000010000000000\n"
                  "rehearse 9 kernel:ends,threads=96\n"
                  "memory 10 65536 96 1000\nlaunch 10 1 1 1 -\n"
                  "rehearse 10 kernel:ends,threads=96\n"
                  "launch 11 1 1 1 0000zz\nrehearse 11 kernel:ends,threads=96\n"
                  "rehearse 12 kernel:nothing,threads=96\n"
                  "launch 13 1 1 1 0000010000000000,6100010000000000\n"
                  "rehearse 13 kernel:ends,threads=96\n",
                  e->cache, e->dir);
    assert_true(fj_process_write(process, lines.data, lines.len));
    const char *const wanted[] = {"hello ",        "launching 7",   "rehearsed 7",
                                  "launching 8",   "rehearsed 8",   "launching 9",
                                  "failed 9 -1 ",  "failed 10 -7 ", "failed 11 -2 ",
                                  "failed 12 -4 ", "launching 13",  "failed 13 -12 "};
    for (size_t i = 0; i < COUNT(wanted); i++) {
        assert_int_equal(fj_process_read(process, 30e6, line, sizeof(line)), FJ_PROCESS_LINE);
        if (i == 1 && strstr(line, "libnvrtc"))
            break;
        if (strncmp(line, wanted[i], strlen(wanted[i])) != 0)
            fail_msg("\"%s\", wanted \"%s\"", line, wanted[i]);
    }
    fj_process_end(&process, 5e6);
    fj_fs_close(fd);
    fj_buf_free(&lines);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, emulated_setup, emulated_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_host_outlives_its_kernels),
        TEST(test_planning_that_tunes),
        TEST(test_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
