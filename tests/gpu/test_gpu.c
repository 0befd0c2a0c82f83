// What only a real device shows: bitwise repeats, schedules that must agree, offsets beyond 2^31
// elements, stream capture. Exit code 77: no device, or no NVRTC. Some checks also run on the
// emulated device.
//
//     test_gpu [--device N|emu] [--repeats N]
#include <dlfcn.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "case.h"
#include "skip.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static int passed, failed, skipped;

static void note(bool ok, const char *test, const char *what, const char *message)
{
    passed += ok;
    failed += !ok;
    if (!ok)
        printf("FAIL %s %s: %s\n", test, what, message);
}

static bool parse(const char *text, struct fajit_problem *ret_problem)
{
    if (fajit_problem_parse(text, ret_problem) == 0)
        return true;
    note(false, "parse", text, fajit_last_error());
    return false;
}

// A copy of the output's block after one launch on poisoned memory; NULL on failure.
static unsigned char *launch_output(struct fcase *c)
{
    if (case_poison(c) || case_launch(c) || case_fetch(c))
        return NULL;
    unsigned char *copy = malloc(c->out.block->bytes);
    if (copy)
        memcpy(copy, c->out.block->host, c->out.block->bytes);
    return copy;
}

// --- The same bits every time -----------------------------------------------------------------

static void test_repeats(struct fajit_ctx *ctx, const char *text, int repeats)
{
    struct fajit_problem problem;
    struct case_options options = {.seed = 7};
    struct fcase c;
    if (!parse(text, &problem))
        return;
    if (fajit_problem_check(ctx, &problem) == FAJIT_E_UNSUPPORTED) {
        skipped++;
        return;
    }
    if (case_create(ctx, &problem, &options, &c)) {
        note(false, "repeats", text, fajit_last_error());
        return;
    }
    unsigned char *first = launch_output(&c);
    bool same = first != NULL;
    for (int i = 1; same && i < repeats; i++) {
        unsigned char *again = launch_output(&c);
        same = again && memcmp(first, again, c.out.block->bytes) == 0;
        free(again);
    }
    note(same, "repeats", text, "the output's bits change from launch to launch");
    free(first);
    case_destroy(&c);
}

// --- persistent = v2 --------------------------------------------------------------------------

static unsigned char *output_of(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                                char ret_config[FAJIT_CONFIG_MAX], size_t *ret_bytes)
{
    struct case_options options = {.seed = 11};
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fcase c;
    if (case_create(ctx, problem, &options, &c))
        return NULL;
    unsigned char *output = launch_output(&c);
    *ret_bytes = c.out.block->bytes;
    if (fajit_plan_info(c.plan, &info) == 0)
        memcpy(ret_config, info.config, sizeof(info.config));
    case_destroy(&c);
    return output;
}

static void test_schedules_agree(struct fajit_ctx *ctx, const char *text)
{
    struct fajit_problem problem;
    char config[FAJIT_CONFIG_MAX] = "", same_config[FAJIT_CONFIG_MAX] = "";
    size_t bytes = 0;
    if (!parse(text, &problem))
        return;
    problem.attn.variant = problem.gemm.variant = FAJIT_VARIANT_V2;
    if (fajit_problem_check(ctx, &problem) == FAJIT_E_UNSUPPORTED) {
        skipped++;
        return;
    }
    unsigned char *v2 = output_of(ctx, &problem, config, &bytes);
    problem.attn.variant = problem.gemm.variant = FAJIT_VARIANT_PERSISTENT;
    memcpy(problem.config, config, sizeof(config));
    unsigned char *persistent = output_of(ctx, &problem, same_config, &bytes);
    bool same = v2 && persistent && memcmp(v2, persistent, bytes) == 0;
    note(same, "persistent = v2", text, v2 && persistent ? "bits differ" : fajit_last_error());
    free(v2);
    free(persistent);
}

// --- Offsets beyond 2^31 elements -------------------------------------------------------------

// Two batch entries far apart, the second read and written 2^31 elements past the first.
static void test_far_offsets(struct fajit_ctx *ctx, const char *text)
{
    const int64_t far = (INT64_C(1) << 31) + 4096;
    struct fajit_problem problem;
    struct case_options options = {.seed = 5};
    struct case_result result;
    struct fcase c;
    void *arena = NULL;
    if (!parse(text, &problem))
        return;
    if (fajit_problem_check(ctx, &problem) == FAJIT_E_UNSUPPORTED) {
        skipped++;
        return;
    }
    if (case_create(ctx, &problem, &options, &c)) {
        note(false, "far offsets", text, fajit_last_error());
        return;
    }
    size_t entry_bytes = (size_t)c.attn.q.strides[0] * 2;
    int err = fajit_mem_alloc(ctx, (size_t)far * 2 + 64 * entry_bytes, &arena);
    struct fajit_tensor *views[] = {&c.attn.q, &c.attn.k, &c.attn.v, &c.attn.o};
    struct case_tensor *tensors[] = {&c.in[0], &c.in[1], &c.in[2], &c.out};
    for (int i = 0; err == 0 && i < 4; i++) {
        char *place = (char *)arena + (size_t)(4 * i) * entry_bytes;
        size_t near_bytes = (size_t)views[i]->strides[0] * 2;
        for (int b = 0; err == 0 && b < 2; b++)
            err = fajit_mem_upload(ctx, place + (size_t)b * (size_t)far * 2,
                                   (char *)case_host(tensors[i]) + (size_t)b * near_bytes,
                                   near_bytes);
        views[i]->data = place;
        views[i]->strides[0] = far;
    }
    if (err == 0)
        err = case_launch(&c);
    size_t out_bytes = (size_t)tensors[3]->view.strides[0] * 2;
    for (int b = 0; err == 0 && b < 2; b++)
        err = fajit_mem_download(ctx, (char *)case_host(&c.out) + (size_t)b * out_bytes,
                                 (char *)c.attn.o.data + (size_t)b * (size_t)far * 2, out_bytes);
    // The comparison reads the case's own tensors: put the result where it looks.
    if (err == 0)
        err = fajit_mem_upload(ctx, c.out.block->device, c.out.block->host, c.out.block->bytes);
    for (int i = 0; i < 4; i++)
        *views[i] = tensors[i]->view;
    memset(&result, 0, sizeof(result));
    if (err == 0)
        err = case_attn_compare(&c, &result);
    note(err == 0 && result.ok, "far offsets", text, err ? fajit_last_error() : result.message);
    fajit_mem_free(ctx, arena);
    case_destroy(&c);
}

// --- Stream capture ---------------------------------------------------------------------------

struct driver {
    int (*cuStreamCreate)(void **stream, unsigned flags);
    int (*cuStreamBeginCapture_v2)(void *stream, int mode);
    int (*cuStreamEndCapture)(void *stream, void **graph);
    int (*cuGraphInstantiateWithFlags)(void **exec, void *graph, unsigned long long flags);
    int (*cuGraphLaunch)(void *exec, void *stream);
    int (*cuStreamSynchronize)(void *stream);
};

static bool load_driver(struct driver *ret)
{
    void *handle = dlopen("libcuda.so.1", RTLD_NOW);
    const char *const names[] = {"cuStreamCreate",     "cuStreamBeginCapture_v2",
                                 "cuStreamEndCapture", "cuGraphInstantiateWithFlags",
                                 "cuGraphLaunch",      "cuStreamSynchronize"};
    for (int i = 0; handle && i < COUNT(names); i++) {
        void *symbol = dlsym(handle, names[i]);
        if (!symbol)
            return false;
        memcpy((char *)ret + (size_t)i * sizeof(symbol), &symbol, sizeof(symbol));
    }
    return handle != NULL;
}

static const char *capture_once(struct fajit_ctx *ctx, struct fcase *c, const struct driver *cu)
{
    void *stream, *graph, *exec;
    struct fajit_plan *plan = NULL;
    struct fajit_problem cold = c->problem;
    if (cu->cuStreamCreate(&stream, 1) || cu->cuStreamBeginCapture_v2(stream, 2))
        return "the stream does not capture";
    // Something no one planned before must be refused while the stream captures, a ready kernel
    // served.
    struct fajit_plan_params params = {.struct_size = sizeof(params), .stream = stream};
    cold.attn.head_dim = cold.attn.head_dim_v = 104;
    if (fajit_plan_create(ctx, &cold, &params, &plan) != FAJIT_E_CAPTURE)
        return "a cold plan was not refused";
    if (fajit_plan_create(ctx, &c->problem, &params, &plan))
        return fajit_last_error();
    if (fajit_attn_launch(plan, &c->attn, stream))
        return fajit_last_error();
    if (cu->cuStreamEndCapture(stream, &graph) ||
        cu->cuGraphInstantiateWithFlags(&exec, graph, 0) || case_poison(c) ||
        cu->cuGraphLaunch(exec, stream) || cu->cuStreamSynchronize(stream))
        return "the graph does not run";
    fajit_plan_destroy(&plan);
    return NULL;
}

static void test_capture(struct fajit_ctx *ctx, const char *text)
{
    struct fajit_problem problem;
    struct case_options options = {.seed = 3};
    struct driver cu;
    struct fcase c;
    if (!parse(text, &problem))
        return;
    if (!load_driver(&cu) || fajit_problem_check(ctx, &problem) == FAJIT_E_UNSUPPORTED) {
        skipped++;
        return;
    }
    if (case_create(ctx, &problem, &options, &c)) {
        note(false, "capture", text, fajit_last_error());
        return;
    }
    unsigned char *direct = launch_output(&c);
    const char *message = capture_once(ctx, &c, &cu);
    bool same = !message && direct && case_fetch(&c) == 0 &&
                memcmp(direct, c.out.block->host, c.out.block->bytes) == 0;
    note(same, "capture", text, message ? message : "the graph's output differs");
    free(direct);
    case_destroy(&c);
}

// --- Host cost of a launch --------------------------------------------------------------------

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

// Printed, not judged: timings are for benchmarks.
static void show_host_cost(struct fajit_ctx *ctx, const char *text)
{
    enum { LAUNCHES = 2000 };
    struct fajit_problem problem;
    struct case_options options = {.seed = 3};
    struct fajit_plan *plan;
    struct fcase c;
    if (!parse(text, &problem) || fajit_problem_check(ctx, &problem) ||
        case_create(ctx, &problem, &options, &c))
        return;
    double start = now_us();
    for (int i = 0; i < LAUNCHES; i++)
        fajit_attn_launch(c.plan, &c.attn, NULL);
    double launch_us = (now_us() - start) / LAUNCHES;
    fajit_sync(ctx);
    start = now_us();
    for (int i = 0; i < LAUNCHES; i++) {
        if (fajit_plan_create(ctx, &problem, NULL, &plan))
            break;
        fajit_plan_destroy(&plan);
    }
    printf("%s: %.2f us per launch, %.2f us per plan from memory\n", text, launch_us,
           (now_us() - start) / LAUNCHES);
    case_destroy(&c);
}

// --- Compiling behind -------------------------------------------------------------------------

static int plan_as(struct fajit_ctx *ctx, const struct fajit_problem *problem, enum fajit_wait wait,
                   struct fajit_plan **ret_plan)
{
    const struct fajit_plan_params params = {.struct_size = sizeof(params), .wait = wait};
    return fajit_plan_create(ctx, problem, &params, ret_plan);
}

// What stands in for a kernel is as right as the kernel. `other` fixes knobs that `text` leaves
// open.
static const char *fall_back(struct fajit_ctx *ctx, const char *text, const char *other)
{
    struct fajit_problem problem, ready;
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct case_options options = {.seed = 5};
    struct case_result result = {0};
    struct fajit_plan *first, *stand_in, *wanted;
    struct fcase c;
    if (!parse(text, &problem) || !parse(other, &ready))
        return "";
    if (plan_as(ctx, &ready, FAJIT_WAIT, &first) ||
        plan_as(ctx, &problem, FAJIT_FALLBACK, &stand_in))
        return fajit_last_error();
    if (fajit_plan_info(stand_in, &info) || !info.fallback)
        return "the wanted kernel was ready, without a cache";
    if (case_create(ctx, &problem, &options, &c)) // waits for the wanted kernel
        return fajit_last_error();
    wanted = c.plan;
    c.plan = stand_in;
    int err = case_check(&c, &result);
    c.plan = wanted;
    case_destroy(&c);
    fajit_plan_destroy(&stand_in);
    fajit_plan_destroy(&first);
    return err ? fajit_last_error() : result.ok ? NULL : "its output is wrong";
}

// A strict capture, which any unsafe call of any thread would spoil, while kernels are compiled.
static const char *capture_meanwhile(struct fajit_ctx *ctx, struct fcase *c,
                                     const struct driver *cu)
{
    void *stream, *graph, *exec;
    struct fajit_problem cold[2] = {c->problem, c->problem};
    struct fajit_plan *plans[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        cold[i].attn.head_dim = cold[i].attn.head_dim_v = 104 + 8 * i;
        if (plan_as(ctx, &cold[i], FAJIT_NO_WAIT, &plans[i]) != FAJIT_E_BUSY)
            return "a cold plan is not busy";
    }
    if (cu->cuStreamCreate(&stream, 1) || cu->cuStreamBeginCapture_v2(stream, 0))
        return "the stream does not capture";
    if (fajit_attn_launch(c->plan, &c->attn, stream))
        return fajit_last_error();
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL); // the compiles end meanwhile
    if (cu->cuStreamEndCapture(stream, &graph) ||
        cu->cuGraphInstantiateWithFlags(&exec, graph, 0) || case_poison(c) ||
        cu->cuGraphLaunch(exec, stream) || cu->cuStreamSynchronize(stream))
        return "the graph does not run";
    for (int i = 0; i < 2; i++) {
        if (plan_as(ctx, &cold[i], FAJIT_WAIT, &plans[i]))
            return fajit_last_error();
        fajit_plan_destroy(&plans[i]);
    }
    return NULL;
}

static void test_behind(const struct fajit_ctx_params *params, bool real)
{
    struct fajit_ctx_params uncached = *params;
    struct fajit_problem problem;
    struct case_options options = {.seed = 3};
    struct fajit_ctx *ctx;
    struct driver cu;
    struct fcase c;
    uncached.cache_mode = FAJIT_CACHE_OFF;
    if (fajit_ctx_create(&uncached, &ctx)) {
        note(false, "behind", "context", fajit_last_error());
        return;
    }
    const char *message = fall_back(ctx, "attn:f32,b1,h2,q70,k90,d32,bshd,causal,kernel=simt",
                                    "attn:f32,d32,bshd,causal,kernel=simt,bm=32,bn=32");
    note(!message, "behind", "fallback", message);
    if (real && load_driver(&cu) &&
        parse("attn:bf16,b2,h2,q256,k256,d64,bshd,causal,kernel=mma", &problem) &&
        case_create(ctx, &problem, &options, &c) == 0) {
        message = capture_meanwhile(ctx, &c, &cu);
        note(!message, "behind", "capture", message);
        case_destroy(&c);
    }
    fajit_ctx_destroy(&ctx);
}

// --- Checked launches -------------------------------------------------------------------------

static bool refuses(struct fcase *c, const struct fajit_attn_args *args, const char *part)
{
    return fajit_attn_launch(c->plan, args, NULL) == FAJIT_E_INVAL &&
           strstr(fajit_last_error(), part);
}

static void test_checked(const struct fajit_ctx_params *params, const char *text)
{
    struct fajit_ctx_params checking = *params;
    struct fajit_problem problem;
    struct case_options options = {.seed = 3};
    struct fajit_ctx *ctx;
    struct fcase c;
    checking.check = true;
    if (!parse(text, &problem))
        return;
    if (fajit_ctx_create(&checking, &ctx) || case_create(ctx, &problem, &options, &c)) {
        note(false, "checked", text, fajit_last_error());
        return;
    }
    note(case_launch(&c) == 0, "checked", text, fajit_last_error());
    struct fajit_attn_args wrong = c.attn;
    // Some systems let a GPU reach all of the host's memory.
    if (params->device == FAJIT_DEVICE_EMULATED) {
        wrong.k.data = aligned_alloc(256, 1 << 20);
        note(refuses(&c, &wrong, "k at 0x"), "checked", "host pointer", fajit_last_error());
        free(wrong.k.data);
    }
    wrong = c.attn;
    wrong.v.strides[0] = (int64_t)1 << 40;
    note(refuses(&c, &wrong, "v reaches"), "checked", "past the end", fajit_last_error());
    note(case_launch(&c) == 0, "checked", "and again", fajit_last_error());
    case_destroy(&c);
    fajit_ctx_destroy(&ctx);
}

static void run_all(struct fajit_ctx *ctx, bool real, int repeats)
{
    static const char *const repeated[] = {
        "attn:f32,b2,h4/2,q300,k400,d64,bshd,causal,kernel=simt",
        "attn:bf16,b2,h4/2,q500,k700,d128,bshd,causal,lse,kernel=mma",
        "attn:f16,b2,h4/2,q500,k700,d64,bshd,kernel=mma,variant=v1",
        "attn:bf16,b2,h4/2,q500,k700,d128,bshd,causal,lse,kernel=sm90,variant=v2",
        "attn:bf16,b2,h4/2,q500,k700,d128,bshd,causal,lse,kernel=sm90,variant=persistent",
        "attn:f16,b2,h4/2,q500,k700,d64,bshd,seqlens,kernel=sm90",
        "attn:bf16,b1,h2,q300,k300,d256,bshd,causal,kernel=sm90",
        "gemm:bf16,m500,n300,k1000,nn,kernel=sm90",
        "gemm:bf16,m16,n512,k4096,nn",
        "gemm:f16,m500,n300,k1000,tn,kernel=mma"};
    static const char *const twins[] = {
        "attn:f32,b2,h4,q300,k300,d64,bshd,causal,kernel=simt",
        "attn:bf16,b3,h8/2,q700,k700,d128,bshd,causal,kernel=mma",
        "attn:f16,b3,h8/2,q700,k500,d72/40,bshd,kernel=mma",
        "attn:bf16,b3,h8/2,q1500,k1500,d128,bshd,causal,kernel=sm90",
        "attn:f16,b3,h8/2,q1500,k1000,d64,bshd,seqlens,kernel=sm90",
        "gemm:bf16,m1500,n1000,k500,nn,kernel=sm90",
        "gemm:f16,m700,n500,k300,nt,kernel=mma"};
    for (int i = 0; i < COUNT(repeated); i++)
        test_repeats(ctx, repeated[i], repeats);
    for (int i = 0; i < COUNT(twins); i++)
        test_schedules_agree(ctx, twins[i]);
    if (!real)
        return;
    test_far_offsets(ctx, "attn:bf16,b2,h2,q256,k256,d64,bhsd,causal,kernel=simt");
    test_far_offsets(ctx, "attn:bf16,b2,h2,q256,k256,d64,bhsd,causal,kernel=mma");
    test_far_offsets(ctx, "attn:bf16,b2,h2,q256,k256,d64,bhsd,causal,kernel=sm90");
    test_capture(ctx, "attn:bf16,b2,h2,q256,k256,d64,bshd,causal,kernel=mma");
    test_capture(ctx, "attn:bf16,b2,h2,q256,k256,d64,bshd,causal,kernel=sm90");
    show_host_cost(ctx, "attn:bf16,b1,h1,q64,k64,d64,bshd,causal,kernel=mma");
    show_host_cost(ctx, "attn:bf16,b1,h1,q64,k64,d64,bshd,causal,kernel=sm90");
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"device", required_argument, NULL, 'd'}, {"repeats", required_argument, NULL, 'r'}, {0}};
    struct fajit_ctx_params params = {.struct_size = sizeof(params), .device = FAJIT_DEVICE_CUDA};
    struct fajit_ctx *ctx = NULL;
    int repeats = 1000;
    for (int opt; (opt = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (opt == 'd' && strcmp(optarg, "emu") == 0)
            params.device = FAJIT_DEVICE_EMULATED;
        else if (opt == 'd')
            params.device_ordinal = atoi(optarg);
        else if (opt == 'r')
            repeats = atoi(optarg);
        else
            return 2;
    }
    int err = fajit_ctx_create(&params, &ctx);
    if (err) {
        printf("%s: %s\n", err == FAJIT_E_NO_DEVICE ? "skipped" : "FAIL", fajit_last_error());
        return err == FAJIT_E_NO_DEVICE ? SKIP : 1;
    }
    if (lacks_nvrtc(ctx)) {
        fajit_ctx_destroy(&ctx);
        return SKIP;
    }
    const bool real = params.device == FAJIT_DEVICE_CUDA;
    run_all(ctx, real, repeats);
    fajit_ctx_destroy(&ctx);
    test_behind(&params, real);
    test_checked(&params, "attn:f32,b2,h2,q64,k64,d32,bshd,lse,seqlens,kernel=simt");
    if (real)
        test_checked(&params, "attn:bf16,b2,h2,q256,k256,d64,bshd,causal,kernel=mma");
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed != 0;
}
