// Kernels of the caller's own on the fake driver: planning, launching, and everything refused.
#include "kernel_fixture.h"

#include "counters.h"

#define VALUES "dtype=f32,hidden=256"

// --- What a kernel tells ----------------------------------------------------------------------

static void test_looking_inside(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *kernel = kernel_of(w->ctx, VALUES);
    const char *source = fajit_kernel_source(kernel), *name = fajit_kernel_name(kernel);
    // bm=96 is listed first and refused by the rule.
    assert_string_equal(name, "scale_f32_hidden256__bm64_warps2");
    assert_non_null(strstr(source, "// Rendered from scale.cu."));
    assert_non_null(strstr(source, "kernel:scale,dtype=f32,hidden=256,bm=64,warps=2 --arch sm_90"));
    assert_non_null(strstr(source, "constexpr int kThreads = 64; // of a CTA"));
    assert_null(strstr(source, "//@"));
    struct fajit_plan_info info = info_of(kernel);
    assert_string_equal(info.template_name, "scale.cu");
    assert_string_equal(info.config, "bm=64,warps=2");
    assert_string_equal(info.config_from, "heuristic: the values that scale.cu lists first");
    assert_int_equal(info.threads, 64);
    assert_int_equal(info.smem_bytes, 256);
    assert_int_equal(info.origin, FAJIT_FROM_COMPILE);
    assert_int_equal(info.ctas_per_sm, fake.ctas_per_sm);
    assert_int_equal(fajit_kernel_const(kernel, "bm"), 64);
    assert_int_equal(fajit_kernel_const(kernel, "threads"), 64);
    assert_int_equal(fajit_kernel_const(kernel, "warps"), 2);
    assert_int_equal(fajit_kernel_const(kernel, "hidden"), 256);
    assert_int_equal(fajit_kernel_const(kernel, "dtype"), INT64_MIN);
    assert_int_equal(fajit_kernel_const(kernel, "bn"), INT64_MIN);

    void *image = NULL;
    size_t bytes = 0;
    char *ptx = NULL, *text = NULL, rendered[160];
    assert_int_equal(fajit_kernel_image(kernel, &image, &bytes), FAJIT_OK);
    assert_int_equal(bytes, info.image_bytes);
    assert_int_equal(fajit_kernel_ptx(kernel, &ptx), FAJIT_OK);
    struct fajit_kernel_params params = with(VALUES);
    int compiles = fake_nvrtc_state.compiles;
    assert_int_equal(fajit_kernel_render(w->ctx, "scale.cu", &params, &text, rendered, 160),
                     FAJIT_OK);
    assert_string_equal(text, source);
    assert_string_equal(rendered, name);
    assert_int_equal(fake_nvrtc_state.compiles, compiles);
    fajit_free(image);
    fajit_free(ptx);
    fajit_free(text);
    fajit_kernel_destroy(&kernel);
    assert_null(kernel);
}

// Given or chosen, the same values make the same text.
static void test_values_given(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *chosen = kernel_of(w->ctx, VALUES);
    struct fajit_kernel *given = kernel_of(w->ctx, "warps=2,hidden=256,bm=64,dtype=f32");
    assert_ptr_equal(fajit_kernel_source(chosen), fajit_kernel_source(given));
    assert_int_equal(info_of(given).origin, FAJIT_FROM_MEMORY);
    assert_string_equal(info_of(given).config, "");
    assert_string_equal(info_of(given).config_from, "fixed: parameters given by the caller");
    fajit_kernel_destroy(&given);
    given = kernel_of(w->ctx, VALUES ",warps=4");
    assert_string_equal(info_of(given).config, "bm=64");
    assert_int_equal(info_of(given).threads, 128);
    fajit_kernel_destroy(&given);
    fajit_kernel_destroy(&chosen);
}

static void test_layers(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *first = kernel_of(w->ctx, VALUES), *second = kernel_of(w->ctx, VALUES);
    assert_int_equal(info_of(second).origin, FAJIT_FROM_MEMORY);
    fajit_kernel_destroy(&second);
    fajit_kernel_destroy(&first);
    first = kernel_of(w->ctx, VALUES);
    assert_int_equal(info_of(first).origin, FAJIT_FROM_DISK);
    assert_int_equal(info_of(first).threads, 64);
    fajit_kernel_destroy(&first);
    assert_int_equal(fake_nvrtc_state.compiles, 1);

    struct fajit_kernel_params params = with("dtype=f16,hidden=256");
    params.effort = FAJIT_EFFORT_CACHED_ONLY;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &first), FAJIT_E_NOT_CACHED,
                "scale_f16");
}

static void test_edited_template(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *before = kernel_of(w->ctx, VALUES);
    put(w, "scale.cu", SCALE_HEAD "// Scales faster.\n" SCALE_BODY);
    struct fajit_kernel *after = kernel_of(w->ctx, VALUES);
    assert_int_equal(info_of(after).origin, FAJIT_FROM_COMPILE);
    assert_string_not_equal(info_of(after).key, info_of(before).key);
    assert_null(strstr(fajit_kernel_source(before), "faster"));
    assert_non_null(strstr(fajit_kernel_source(after), "faster"));
    fajit_kernel_destroy(&before);
    fajit_kernel_destroy(&after);
}

static void test_subdirectory(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *kernel = NULL;
    struct fajit_kernel_params params = with("threads=32");
    put(w, "sub/3d-scan.v2.cu",
        "//@const threads\n//@prelude\nextern \"C\" __global__ void $kernel_name() {}\n");
    assert_int_equal(fajit_kernel_plan(w->ctx, "sub/3d-scan.v2", &params, &kernel), FAJIT_OK);
    assert_string_equal(fajit_kernel_name(kernel), "k3d_scan_v2_threads32");
    fake.n_params = 0;
    fajit_kernel_destroy(&kernel);
    assert_int_equal(fajit_kernel_plan(w->ctx, "sub/3d-scan.v2", &params, &kernel), FAJIT_OK);
    assert_int_equal(fajit_ctx_make_current(w->ctx), FAJIT_OK);
    assert_int_equal(fajit_kernel_launch(kernel, (struct fajit_grid){1, 0, 0}, NULL, NULL),
                     FAJIT_OK);
    fajit_kernel_destroy(&kernel);
}

// --- Refusals ---------------------------------------------------------------------------------

static void test_refused_values(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *values;
        int status;
        const char *part;
    } cases[] = {
        {"dtype=f32,hiden=256", FAJIT_E_INVAL, "no parameter \"hiden\"; the nearest is \"hidden\""},
        {"dtype=f32,hidden=256,", FAJIT_E_INVAL, "missing beside a comma"},
        {",dtype=f32", FAJIT_E_INVAL, "missing beside a comma"},
        {"dtype=f32,hidden=256,hidden=256", FAJIT_E_INVAL, "hidden is given twice"},
        {"dtype=f32,hidden=big", FAJIT_E_INVAL, "hidden takes a whole number, not \"big\""},
        {"dtype=f32,hidden=", FAJIT_E_INVAL, "hidden takes a whole number"},
        {"dtype=f32,hidden=99999999999999999999999", FAJIT_E_INVAL, "whole number"},
        {"dtype=fp32,hidden=256", FAJIT_E_INVAL, "only f32|f16 are allowed"},
        {"dtype=f32,hidden=256,threads=64", FAJIT_E_INVAL, "computes \"threads\""},
        {"dtype=f32,hidden=256,kernel_name=x", FAJIT_E_INVAL, "no parameter \"kernel_name\""},
        {"dtype=f32,hidden=256,sizes=0", FAJIT_E_INVAL, "sizes=\"0\""},
        {"dtype=f32,hidden=256,sizes=1/2/3/4/5", FAJIT_E_INVAL, "up to 4"},
        {"dtype=f32", FAJIT_E_TEMPLATE, "scale.cu:2: parameter hidden was not given"},
        {"hidden=256", FAJIT_E_TEMPLATE, "scale.cu:1: parameter dtype was not given"},
        {NULL, FAJIT_E_TEMPLATE, "was not given"},
        {"dtype=f32,hidden=100", FAJIT_E_TEMPLATE,
         "scale.cu:11: the template requires hidden % bm"},
        {"dtype=f32,hidden=256,warps=64", FAJIT_E_UNSUPPORTED,
         "threads is 2048; a CTA has 1 to 1024"},
        {"dtype=f32,hidden=256,warps=0", FAJIT_E_UNSUPPORTED, "threads is 0"},
        {"dtype=f32,hidden=256000,bm=64000", FAJIT_E_UNSUPPORTED, "smem_bytes is 256000"},
        {"dtype=f32,hidden=256,bm=-64", FAJIT_E_UNSUPPORTED, "smem_bytes is -256"},
    };
    struct fajit_kernel *const before = (struct fajit_kernel *)w, *kernel = before;
    int calls = fake_cuda_calls(NULL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fajit_kernel_params params = with(cases[i].values);
        check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), cases[i].status,
                    cases[i].part);
    }
    assert_ptr_equal(kernel, before);
    assert_int_equal(fake_cuda_calls(NULL), calls);
    assert_int_equal(fake_nvrtc_state.compiles, 0);
}

static void test_refused_templates(void **state)
{
    struct world *w = *state;
    static const char kernel_text[] = "extern \"C\" __global__ void $kernel_name() {}\n";
    static const struct {
        const char *head, *body, *part;
    } cases[] = {
        {"//@const smem_bytes\n", kernel_text, "own.cu:1: no //@const threads"},
        {"//@const threads\n", "__global__ void f() {}\n", "own.cu:1: no $kernel_name"},
        {"//@const threads\n//@const sizes\n", kernel_text, "may be called sizes"},
        {"//@const threads\n//@tune warps 1\n", kernel_text, "own.cu:2: //@tune of warps"},
        {"//@const threads\n//@cost threads\n", kernel_text, "own.cu:2: unknown directive"},
        {"//@const threads\n", "int $x;\n", "own.cu:3: unknown name in hole $x"},
    };
    struct fajit_kernel *kernel = NULL;
    struct fajit_kernel_params params = with("threads=32");
    char text[400];
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof(text), "%s//@prelude\n%s", cases[i].head, cases[i].body);
        put(w, "own.cu", text);
        params.values = i == 0 ? "smem_bytes=0" : "threads=32";
        check_error(fajit_kernel_plan(w->ctx, "own", &params, &kernel), FAJIT_E_TEMPLATE,
                    cases[i].part);
    }
    static const char *const names[] = {"absent", "../scale", "/etc/passwd", "sub/../../scale",
                                        "",       "sub",      "s cale",      "scale.cu/"};
    for (size_t i = 0; i < COUNT(names); i++)
        check_error(fajit_kernel_plan(w->ctx, names[i], &params, &kernel), FAJIT_E_TEMPLATE,
                    "template");
    char name[300];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    check_error(fajit_kernel_plan(w->ctx, name, &params, &kernel), FAJIT_E_TEMPLATE, "characters");
    assert_null(kernel);
}

static void test_refused_calls(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *kernel = NULL;
    struct fajit_kernel_params params = with(VALUES);
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    char *text;
    check_error(fajit_kernel_plan(NULL, "scale", &params, &kernel), FAJIT_E_INVAL, "NULL");
    check_error(fajit_kernel_plan(w->ctx, NULL, &params, &kernel), FAJIT_E_INVAL, "NULL");
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_kernel_render(w->ctx, "scale", &params, NULL, NULL, 0), FAJIT_E_INVAL,
                "NULL");
    check_error(fajit_kernel_info(NULL, &info), FAJIT_E_INVAL, "NULL");
    check_error(fajit_kernel_ptx(NULL, &text), FAJIT_E_INVAL, "NULL");
    check_error(fajit_kernel_image(NULL, NULL, NULL), FAJIT_E_INVAL, "NULL");
    assert_string_equal(fajit_kernel_name(NULL), "");
    assert_string_equal(fajit_kernel_source(NULL), "");
    assert_int_equal(fajit_kernel_const(NULL, "bm"), INT64_MIN);
    params.effort = (enum fajit_effort)9;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_E_INVAL, "effort 9");
    params.effort = FAJIT_EFFORT_TUNE;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_E_INVAL, "trial");
    params = with(VALUES);
    params.wait = FAJIT_FALLBACK;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_E_INVAL, "wait 2");
    params.struct_size = 3;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_E_INVAL, "struct_size");
    params = with(VALUES);
    fake.ctas_per_sm = 0;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_E_UNSUPPORTED,
                "not one CTA of 64 threads");
    assert_null(kernel);
}

static void test_without_a_device(void **state)
{
    struct world *w = *state;
    struct fajit_ctx *ctx = NULL;
    char dir[96];
    templates_dir(w, dir);
    struct fajit_ctx_params none = {.struct_size = sizeof(none),
                                    .device = FAJIT_DEVICE_NONE,
                                    .arch = "sm_80",
                                    .template_dir = dir,
                                    .cache_mode = FAJIT_CACHE_OFF};
    assert_int_equal(fj_ctx_create(NULL, &none, &ctx), FAJIT_OK);
    use_fake_nvrtc(ctx);
    struct fajit_kernel *kernel = kernel_of(ctx, VALUES);
    check_error(fajit_kernel_launch(kernel, (struct fajit_grid){1, 1, 1}, NULL, NULL),
                FAJIT_E_NO_DEVICE, "cannot be launched");
    fajit_kernel_destroy(&kernel);
    struct fajit_kernel_params params = with(VALUES);
    const struct fajit_kernel_trial trial = {.struct_size = sizeof(trial)};
    params.effort = FAJIT_EFFORT_TUNE;
    params.trial = &trial;
    check_error(fajit_kernel_plan(ctx, "scale", &params, &kernel), FAJIT_E_NO_DEVICE, "has none");
    fajit_ctx_destroy(&ctx);
    params = with(VALUES);
    none.template_dir = NULL;
    assert_int_equal(fj_ctx_create(NULL, &none, &ctx), FAJIT_OK);
    check_error(fajit_kernel_plan(ctx, "scale", &params, &kernel), FAJIT_E_TEMPLATE,
                "no template directory is set");
    fajit_ctx_destroy(&ctx);
}

// --- Launching --------------------------------------------------------------------------------

static struct {
    float factor;
    int n;
} launched;

static void see_launch(const struct fake_launch *launch, void **args)
{
    (void)launch;
    memcpy(&launched.factor, args[1], sizeof(launched.factor));
    memcpy(&launched.n, args[2], sizeof(launched.n));
}

static void test_launch(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *kernel = kernel_of(w->ctx, VALUES ",warps=4");
    void *data = (void *)(uintptr_t)0x1234;
    float factor = 2.5f;
    int n = 77;
    struct fajit_kernel_args args = {
        .struct_size = sizeof(args),
        .items = {FAJIT_ARG(data), FAJIT_ARG(factor), FAJIT_ARG(n)},
    };
    fake.on_launch = see_launch;
    assert_int_equal(fajit_ctx_make_current(w->ctx), FAJIT_OK);
    int before = atomic_load(&allocations), locked = atomic_load(&locks);
    assert_int_equal(fajit_kernel_launch(kernel, (struct fajit_grid){.x = 4}, &args, NULL),
                     FAJIT_OK);
    assert_int_equal(atomic_load(&allocations), before);
    assert_int_equal(atomic_load(&locks), locked);
    assert_int_equal(fake.n_launches, 1);
    assert_true(fake.last.grid[0] == 4 && fake.last.grid[1] == 1 && fake.last.grid[2] == 1);
    assert_true(fake.last.block[0] == 128 && fake.last.block[1] == 1);
    assert_int_equal(fake.last.smem_bytes, 256);
    assert_ptr_equal(fake.last.args0, data);
    assert_true(launched.factor == 2.5f && launched.n == 77);

    const struct fajit_grid bad_grids[] = {
        {0, 1, 1}, {1, 65536, 1}, {1, 1, 65536}, {1u << 31, 1, 1}};
    for (size_t i = 0; i < COUNT(bad_grids); i++)
        check_error(fajit_kernel_launch(kernel, bad_grids[i], &args, NULL), FAJIT_E_INVAL, "grid");
    check_error(fajit_kernel_launch(NULL, (struct fajit_grid){1, 1, 1}, &args, NULL), FAJIT_E_INVAL,
                "NULL");
    const struct fajit_grid one = {1, 1, 1};
    check_error(fajit_kernel_launch(kernel, one, NULL, NULL), FAJIT_E_INVAL,
                "0 arguments were given, scale_f32_hidden256__bm64_warps4 has 3 parameters");
    args.items[2] = (struct fajit_arg){0};
    check_error(fajit_kernel_launch(kernel, one, &args, NULL), FAJIT_E_INVAL, "2 arguments");
    args.items[2] = args.items[3] = (struct fajit_arg)FAJIT_ARG(n);
    check_error(fajit_kernel_launch(kernel, one, &args, NULL), FAJIT_E_INVAL, "4 arguments");
    args.items[3] = (struct fajit_arg){0};
    args.items[1] = (struct fajit_arg)FAJIT_ARG(data);
    check_error(fajit_kernel_launch(kernel, one, &args, NULL), FAJIT_E_INVAL,
                "argument 1 of scale_f32_hidden256__bm64_warps4 has 8 bytes, the kernel's "
                "parameter has 4");
    args.struct_size = 1;
    check_error(fajit_kernel_launch(kernel, one, &args, NULL), FAJIT_E_INVAL, "struct_size");
    assert_int_equal(fake.n_launches, 1);
    fajit_kernel_destroy(&kernel);
}

static void test_capture(void **state)
{
    struct world *w = *state;
    const struct fj_cuda *cuda = fake_cuda();
    struct fajit_kernel *kernel = NULL, *again = NULL;
    struct fajit_kernel_params params = with(VALUES);
    CUstream stream;
    CUgraph graph;
    assert_int_equal(fajit_ctx_make_current(w->ctx), FAJIT_OK);
    assert_int_equal(cuda->cuStreamCreate(&stream, 0), CUDA_SUCCESS);
    assert_int_equal(cuda->cuStreamBeginCapture_v2(stream, 0), CUDA_SUCCESS);
    params.stream = stream;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_E_CAPTURE, "capturing");
    assert_int_equal(cuda->cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
    cuda->cuGraphDestroy(graph);

    kernel = kernel_of(w->ctx, VALUES);
    assert_int_equal(cuda->cuStreamBeginCapture_v2(stream, 0), CUDA_SUCCESS);
    assert_int_equal(fajit_kernel_plan(w->ctx, "scale", &params, &again), FAJIT_OK);
    void *data = NULL;
    float factor = 1;
    int n = 1;
    struct fajit_kernel_args args = {
        .struct_size = sizeof(args),
        .items = {FAJIT_ARG(data), FAJIT_ARG(factor), FAJIT_ARG(n)},
    };
    assert_int_equal(fajit_kernel_launch(again, (struct fajit_grid){.x = 4}, &args, stream),
                     FAJIT_OK);
    assert_ptr_equal(fake.last.stream, stream);
    assert_int_equal(cuda->cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
    cuda->cuGraphDestroy(graph);
    cuda->cuStreamDestroy_v2(stream);
    fajit_kernel_destroy(&again);
    fajit_kernel_destroy(&kernel);
}

// Older drivers cannot tell the parameters: then the caller is believed.
static void test_driver_that_cannot_tell(void **state)
{
    struct world *w = *state;
    struct fj_cuda old = *fake_cuda();
    old.cuFuncGetParamInfo = NULL;
    struct fajit_ctx_params params = world_params(w);
    struct fajit_ctx *ctx = NULL;
    char dir[96];
    templates_dir(w, dir);
    params.template_dir = dir;
    assert_int_equal(fj_ctx_create(&old, &params, &ctx), FAJIT_OK);
    use_fake_nvrtc(ctx);
    struct fajit_kernel *kernel = kernel_of(ctx, VALUES);
    int64_t one = 1;
    struct fajit_kernel_args args = {.struct_size = sizeof(args), .items = {FAJIT_ARG(one)}};
    assert_int_equal(fajit_ctx_make_current(ctx), FAJIT_OK);
    assert_int_equal(fajit_kernel_launch(kernel, (struct fajit_grid){1, 1, 1}, &args, NULL),
                     FAJIT_OK);
    fajit_kernel_destroy(&kernel);
    fajit_ctx_destroy(&ctx);
}

// --- Without waiting, and from threads --------------------------------------------------------

static void test_no_wait(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *kernel = NULL;
    struct fajit_kernel_params params = with(VALUES);
    params.wait = FAJIT_NO_WAIT;
    fake_nvrtc_state.compile_us = 20000;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_E_BUSY,
                "scale_f32_hidden256__bm64_warps2");
    assert_null(kernel);
    params.wait = FAJIT_WAIT; // joins the compile behind
    assert_int_equal(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_OK);
    assert_int_equal(fake_nvrtc_state.compiles, 1);
    assert_int_equal(info_of(kernel).threads, 64);
    fajit_kernel_destroy(&kernel);
}

enum { THREADS = 8 };

static void *plan_and_destroy(void *user)
{
    struct world *w = user;
    for (int i = 0; i < 6; i++) {
        struct fajit_kernel_params params = with(i % 2 ? VALUES : VALUES ",bm=128");
        struct fajit_kernel *kernel = NULL;
        if (fajit_kernel_plan(w->ctx, "scale", &params, &kernel) ||
            fajit_kernel_const(kernel, "bm") != (i % 2 ? 64 : 128))
            return (void *)fajit_last_error();
        fajit_kernel_destroy(&kernel);
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
        assert_int_equal(pthread_create(&threads[i], NULL, plan_and_destroy, w), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &failure);
        assert_null(failure);
    }
    assert_int_equal(fake_nvrtc_state.compiles, 2);
}

// --- Failures on the way ----------------------------------------------------------------------

static void test_compile_error(void **state)
{
    struct world *w = *state;
    struct fajit_kernel *kernel = NULL;
    struct fajit_kernel_params params = with(VALUES);
    fake_nvrtc_state.fails = true;
    check_error(fajit_kernel_plan(w->ctx, "scale", &params, &kernel), FAJIT_E_COMPILE,
                "(from scale.cu:25)");
    assert_null(kernel);
}

static void test_every_driver_failure(void **state)
{
    struct world *w = *state;
    struct fajit_kernel_params params = with(VALUES);
    int refused = 0;
    for (int nth = 1; nth < 200; nth++) {
        struct fajit_kernel *kernel = NULL;
        int live = fake_cuda_live();
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int err = fajit_kernel_plan(w->ctx, "scale", &params, &kernel);
        bool reached = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        refused += err != 0;
        assert_int_equal(err == 0, kernel != NULL);
        fajit_kernel_destroy(&kernel);
        assert_int_equal(fake_cuda_live(), live);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_true(refused > 5);
            return;
        }
    }
    fail_msg("planning makes more than 200 driver calls");
}

static void test_every_failed_allocation(void **state)
{
    struct world *w = *state;
    struct fajit_kernel_params params = with(VALUES);
    struct fajit_kernel *kernel = kernel_of(w->ctx, VALUES); // parsed once per process
    fajit_kernel_destroy(&kernel);
    for (int nth = 1; nth < 3000; nth++) {
        int live = fake_cuda_live();
        fail_allocation(nth);
        int err = fajit_kernel_plan(w->ctx, "scale", &params, &kernel);
        bool reached = atomic_load(&allocations_left) == 0;
        fail_allocation(0);
        // A template file that cannot be read again for want of memory is said to be missing.
        if (err && err != FAJIT_E_NOMEM && err != FAJIT_E_TEMPLATE)
            fail_msg("allocation %d: status %d, \"%s\"", nth, err, fajit_last_error());
        assert_int_equal(err == 0, kernel != NULL);
        fajit_kernel_destroy(&kernel);
        assert_int_equal(fake_cuda_live(), live);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_true(nth > 5);
            return;
        }
    }
    fail_msg("a kernel allocates more than 3000 times");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, kernel_world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_looking_inside),
        TEST(test_values_given),
        TEST(test_layers),
        TEST(test_edited_template),
        TEST(test_subdirectory),
        TEST(test_refused_values),
        TEST(test_refused_templates),
        TEST(test_refused_calls),
        TEST(test_without_a_device),
        TEST(test_launch),
        TEST(test_capture),
        TEST(test_driver_that_cannot_tell),
        TEST(test_no_wait),
        TEST(test_planning_from_threads),
        TEST(test_compile_error),
        TEST(test_every_driver_failure),
        TEST(test_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
