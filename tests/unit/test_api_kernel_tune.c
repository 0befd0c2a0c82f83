// Tuning kernels of the caller's own on the fake driver, whose launches take what a test says.
#include "kernel_fixture.h"

#include "counters.h"

#define VALUES "dtype=f32,hidden=256"

// A host: how long a candidate takes, and which ones it finds wrong.
struct host {
    struct world *w;
    int64_t wrong_bm; // its output is not right; 0: none, -1: all
    int64_t fails_bm; // its launch fails
    bool checks_poison;
    int launches, judged, poisoned;
    int64_t tried[16][2]; // bm and warps of those that were judged or launched, in order
    int tried_count;
    void *output;
};

static void note(struct host *host, int64_t bm, int64_t warps)
{
    for (int i = 0; i < host->tried_count; i++)
        if (host->tried[i][0] == bm && host->tried[i][1] == warps)
            return;
    assert_true(host->tried_count < 16);
    host->tried[host->tried_count][0] = bm;
    host->tried[host->tried_count++][1] = warps;
}

// 128 is the fastest bm, 4 the fastest number of warps.
static double time_of(int64_t bm, int64_t warps)
{
    return (bm == 64 ? 30 : bm == 128 ? 20 : 25) + (warps == 2 ? 5 : 0);
}

// Events measure in float milliseconds.
static bool is_near(double us, double want)
{
    return us > want * 0.9999 && us < want * 1.0001;
}

static int launch(void *user, const struct fajit_kernel *kernel, void *stream)
{
    struct host *host = user;
    const int64_t bm = fajit_kernel_const(kernel, "bm");
    float factor = 1;
    int n = 1;
    const struct fajit_kernel_args args = {
        .struct_size = sizeof(args),
        .items = {FAJIT_ARG(host->output), FAJIT_ARG(factor), FAJIT_ARG(n)},
    };
    host->launches++;
    note(host, bm, fajit_kernel_const(kernel, "warps"));
    fake.kernel_us[0] = time_of(bm, fajit_kernel_const(kernel, "warps"));
    if (bm == host->fails_bm)
        return FAJIT_E_UNSUPPORTED;
    if (host->output && *(unsigned char *)host->output == 0xff && !stream)
        host->poisoned++;
    int err =
        fajit_kernel_launch(kernel, (struct fajit_grid){(unsigned)(256 / bm), 0, 0}, &args, stream);
    if (host->output)
        memset(host->output, (int)bm, 16);
    return err;
}

static int judge(void *user, const struct fajit_kernel *kernel, char *ret_why, size_t why_bytes)
{
    struct host *host = user;
    const int64_t bm = fajit_kernel_const(kernel, "bm");
    host->judged++;
    assert_int_equal(bm * 4, info_of(kernel).smem_bytes);
    assert_non_null(strstr(fajit_kernel_source(kernel), fajit_kernel_name(kernel)));
    if (bm != host->wrong_bm && host->wrong_bm >= 0)
        return 0;
    snprintf(ret_why, why_bytes, "element 3 is off by one with bm %d", (int)bm);
    return 1;
}

static struct fajit_kernel_trial trial_of(struct host *host)
{
    return (struct fajit_kernel_trial){.struct_size = sizeof(struct fajit_kernel_trial),
                                       .launch = launch,
                                       .judge = judge,
                                       .user = host,
                                       .output = host->output,
                                       .output_bytes = host->output ? 16 : 0};
}

static int tune(struct host *host, const char *values, bool force, struct fajit_tune_result *result)
{
    const struct fajit_kernel_trial trial = trial_of(host);
    struct fajit_kernel_params params = with(values);
    const struct fajit_tune_params how = {
        .struct_size = sizeof(how), .force = force, .try_all = true, .jobs = 1, .budget_s = 600};
    params.trial = &trial;
    *result = (struct fajit_tune_result){.struct_size = sizeof(*result)};
    return fajit_kernel_tune(host->w->ctx, "scale", &params, &how, result);
}

static void reopen(struct world *w, enum fajit_tune_mode mode)
{
    fajit_ctx_destroy(&w->ctx);
    kernel_world_open_as(w, mode);
}

static void check_config(struct world *w, const char *values, const char *config, const char *from)
{
    struct fajit_kernel *kernel = kernel_of(w->ctx, values);
    struct fajit_plan_info info = info_of(kernel);
    assert_string_equal(info.config, config);
    if (strncmp(info.config_from, from, strlen(from)) != 0)
        fail_msg("%s: \"%s\", wanted \"%s\"", values, info.config_from, from);
    fajit_kernel_destroy(&kernel);
}

// --- Searching --------------------------------------------------------------------------------

static void test_finds_the_fastest(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    if (tune(&host, VALUES, false, &result))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result.kernel, "scale");
    assert_string_equal(result.config, "bm=128,warps=4");
    assert_true(is_near(result.median_us, 20) && is_near(result.default_us, 35));
    assert_true(result.finished && !result.from_record && !result.cancelled);
    assert_int_equal(result.points, 8);
    assert_int_equal(result.candidates, 6); // bm=96 is refused by the rule
    assert_int_equal(host.tried_count, 6);
    assert_true(host.judged >= 2);
    check_config(w, VALUES, "bm=128,warps=4", "exact: tuned record of kernel:scale,dtype=f32");

    int launches = host.launches;
    assert_int_equal(tune(&host, VALUES, false, &result), FAJIT_OK);
    assert_true(result.from_record && is_near(result.median_us, 20));
    assert_string_equal(result.config, "bm=128,warps=4");
    assert_int_equal(host.launches, launches);
    assert_int_equal(tune(&host, VALUES, true, &result), FAJIT_OK);
    assert_true(!result.from_record && host.launches > launches);

    reopen(w, FAJIT_TUNE_LOAD); // from the file
    check_config(w, VALUES, "bm=128,warps=4", "exact:");
    check_config(w, "dtype=f16,hidden=256", "bm=64,warps=2", "heuristic:");
    check_config(w, VALUES ",warps=2", "bm=64", "heuristic:");
    reopen(w, FAJIT_TUNE_OFF);
    check_config(w, VALUES, "bm=64,warps=2", "heuristic:");
}

static void test_sizes(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    assert_int_equal(tune(&host, VALUES ",sizes=1000/3", false, &result), FAJIT_OK);
    check_config(w, VALUES ",sizes=1000/3", "bm=128,warps=4", "exact:");
    check_config(w, VALUES ",sizes=800/3", "bm=128,warps=4", "bucket:");
    check_config(w, VALUES ",sizes=2000/3", "bm=128,warps=4", "nearest:");
    check_config(w, VALUES ",sizes=5000/3", "bm=64,warps=2", "heuristic:");
    check_config(w, VALUES, "bm=128,warps=4", "nearest:");
}

static void test_edited_template(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    assert_int_equal(tune(&host, VALUES, false, &result), FAJIT_OK);
    put(w, "scale.cu", SCALE_HEAD "// Comments do not count.\n" SCALE_BODY);
    check_config(w, VALUES, "bm=128,warps=4", "exact:");
    put(w, "scale.cu", SCALE_HEAD "//@require hidden > 0\n" SCALE_BODY);
    check_config(w, VALUES, "bm=128,warps=4", "stale:");
    put(w, "scale.cu", SCALE_HEAD "//@require bm < 128\n" SCALE_BODY);
    check_config(w, VALUES, "bm=64,warps=4", "stale:"); // the next best that the rule allows
}

// --- Judging ----------------------------------------------------------------------------------

static int count_verdict(void *user, const struct fajit_tune_record *record)
{
    const char *wanted = user;
    return strcmp(record->verdict, wanted) == 0 && strstr(record->config, "bm=128,warps=4");
}

static void test_wrong_output_does_not_win(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w, .wrong_bm = 128};
    struct fajit_tune_result result;
    assert_int_equal(tune(&host, VALUES, false, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=256,warps=4");
    assert_int_equal(fajit_tune_visit(w->ctx, NULL, count_verdict, "wrong"), 1);
    assert_int_equal(fajit_tune_visit(w->ctx, NULL, count_verdict, "best"), 0);
    check_config(w, VALUES, "bm=256,warps=4", "exact:");
}

static void test_all_refused(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w, .wrong_bm = -1};
    struct fajit_tune_result result;
    check_error(tune(&host, VALUES, false, &result), FAJIT_E_UNSUPPORTED,
                "judged wrong: element 3 is off by one with bm 64");
    check_config(w, VALUES, "bm=64,warps=2", "heuristic:");
}

static void test_failing_launch(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w, .fails_bm = 128};
    struct fajit_tune_result result;
    assert_int_equal(tune(&host, VALUES, false, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=256,warps=4");
    assert_int_equal(fajit_tune_visit(w->ctx, NULL, count_verdict, "failed"), 1);
}

static int cannot_tell(void *user, const struct fajit_kernel *kernel, char *ret_why, size_t size)
{
    struct host *host = user;
    void *memory;
    (void)kernel, (void)ret_why, (void)size;
    return fajit_mem_alloc(host->w->ctx, SIZE_MAX / 2, &memory);
}

static void test_judge_that_cannot_tell(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_kernel_trial trial = trial_of(&host);
    struct fajit_kernel_params params = with(VALUES);
    const struct fajit_tune_params how = {.struct_size = sizeof(how), .try_all = true};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    params.trial = &trial;
    trial.judge = cannot_tell;
    check_error(fajit_kernel_tune(w->ctx, "scale", &params, &how, &result), FAJIT_E_UNSUPPORTED,
                "no candidate of 6 is usable; the first: cuMemAlloc");
}

// The GPU goes away: the search ends, and no candidate is left as the one somebody died over.
static void test_device_taken_away(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    fake_cuda_fail("cuStreamSynchronize", 3, CUDA_ERROR_DEVICE_UNAVAILABLE);
    check_error(tune(&host, VALUES, false, &result), FAJIT_E_NO_DEVICE, "ended with its device");
    fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
    assert_int_equal(tune(&host, VALUES, false, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=128,warps=4");
    assert_false(result.unsaved);
}

static void test_records_that_cannot_be_written(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    char path[128];
    snprintf(path, sizeof(path), "%s/tuning.txt", w->cache);
    assert_int_equal(mkdir(path, 0700), 0); // no file can be there
    assert_int_equal(tune(&host, VALUES, false, &result), FAJIT_OK);
    assert_true(result.unsaved);
    check_config(w, VALUES, "bm=128,warps=4", "exact:"); // known to this context all the same
}

static void test_poisoned_output(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    assert_int_equal(fajit_mem_alloc(w->ctx, 16, &host.output), FAJIT_OK);
    assert_int_equal(tune(&host, VALUES, false, &result), FAJIT_OK);
    assert_true(host.judged >= 2);
    assert_int_equal(host.poisoned, host.judged);
    assert_int_equal(fajit_mem_free(w->ctx, host.output), FAJIT_OK);
}

static void test_lost_context(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    fake_cuda_fail("cuStreamSynchronize", 3, CUDA_ERROR_ILLEGAL_ADDRESS);
    check_error(tune(&host, VALUES, false, &result), FAJIT_E_CONTEXT_LOST, "scale.cu with bm=");
    fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
    // It is left alone from now on.
    int64_t bm = host.tried[host.tried_count - 1][0], warps = host.tried[host.tried_count - 1][1];
    host.tried_count = 0;
    int err = tune(&host, VALUES, false, &result);
    if (bm == 64 && warps == 2) { // what runs without tuning
        check_error(err, FAJIT_E_UNSUPPORTED, "a search died over the values that scale.cu lists");
        return;
    }
    assert_int_equal(err, FAJIT_OK);
    for (int i = 0; i < host.tried_count; i++)
        assert_false(host.tried[i][0] == bm && host.tried[i][1] == warps);
}

// --- Arguments --------------------------------------------------------------------------------

static void test_refused_calls(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fajit_kernel_trial trial = trial_of(&host);
    struct fajit_kernel_params params = with(VALUES);
    check_error(fajit_kernel_tune(w->ctx, "scale", &params, NULL, &result), FAJIT_E_INVAL,
                "no trial");
    check_error(fajit_kernel_tune(w->ctx, "scale", NULL, NULL, &result), FAJIT_E_INVAL, "NULL");
    params.trial = &trial;
    trial.judge = NULL;
    check_error(fajit_kernel_tune(w->ctx, "scale", &params, NULL, &result), FAJIT_E_INVAL,
                "`judge` is NULL");
    trial.launch = NULL;
    check_error(fajit_kernel_tune(w->ctx, "scale", &params, NULL, &result), FAJIT_E_INVAL,
                "`launch` is NULL");
    check_error(tune(&host, VALUES ",bm=64,warps=2", false, &result), FAJIT_E_INVAL,
                "nothing to tune");
    check_error(tune(&host, "dtype=f32,hidden=100", false, &result), FAJIT_E_TEMPLATE,
                "requires hidden % bm");
    check_error(tune(&host, "dtype=f32", false, &result), FAJIT_E_TEMPLATE, "hidden was not given");
    assert_int_equal(host.launches, 0);
}

// --- While planning ---------------------------------------------------------------------------

static void plan_with(struct host *host, enum fajit_effort effort, bool with_trial,
                      const char *config)
{
    const struct fajit_kernel_trial trial = trial_of(host);
    struct fajit_kernel_params params = with(VALUES);
    struct fajit_kernel *kernel = NULL;
    params.effort = effort;
    params.trial = with_trial ? &trial : NULL;
    if (fajit_kernel_plan(host->w->ctx, "scale", &params, &kernel))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(info_of(kernel).config, config);
    fajit_kernel_destroy(&kernel);
}

static void test_tuning_while_planning(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    plan_with(&host, FAJIT_EFFORT_DEFAULT, true, "bm=64,warps=2");
    reopen(w, FAJIT_TUNE_ON);
    plan_with(&host, FAJIT_EFFORT_DEFAULT, false, "bm=64,warps=2");
    assert_int_equal(host.launches, 0);
    // Nothing has run yet, and nobody else can try it: what would run anyway is timed, once.
    plan_with(&host, FAJIT_EFFORT_DEFAULT, true, "bm=64,warps=2");
    int launches = host.launches;
    assert_true(launches > 0);
    assert_int_equal(host.tried_count, 1);
    plan_with(&host, FAJIT_EFFORT_TUNE, true, "bm=64,warps=2");
    assert_int_equal(host.launches, launches);
    struct fajit_tune_result result;
    assert_int_equal(tune(&host, VALUES, false, &result), FAJIT_OK);
    launches = host.launches;
    plan_with(&host, FAJIT_EFFORT_TUNE, true, "bm=128,warps=4"); // has its record
    assert_int_equal(host.launches, launches);
    reopen(w, FAJIT_TUNE_FORCE);
    plan_with(&host, FAJIT_EFFORT_DEFAULT, true, "bm=128,warps=4");
    assert_true(host.launches > launches);
    launches = host.launches;
    plan_with(&host, FAJIT_EFFORT_DEFAULT, true, "bm=128,warps=4"); // once per context
    assert_int_equal(host.launches, launches);
}

// --- Large spaces -----------------------------------------------------------------------------

static int launch_large(void *user, const struct fajit_kernel *kernel, void *stream)
{
    static const char *const names[] = {"a", "b", "c"};
    int *launches = user;
    double us = 10;
    for (int i = 0; i < 3; i++) { // (12, 5, 9) is the fastest
        const int64_t best[] = {12, 5, 9};
        int64_t off = fajit_kernel_const(kernel, names[i]) - best[i];
        us += (double)(off * off);
    }
    ++*launches;
    fake.kernel_us[0] = us;
    return fajit_kernel_launch(kernel, (struct fajit_grid){1, 1, 1}, NULL, stream);
}

static int judge_large(void *user, const struct fajit_kernel *kernel, char *ret_why, size_t size)
{
    (void)user, (void)kernel, (void)ret_why, (void)size;
    return 0;
}

// 16 * 16 * 16 points, of which some dozens are compiled.
static void test_large_space(void **state)
{
    struct world *w = *state;
    static const char list[] = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
    char text[1000];
    int launches = 0;
    snprintf(text, sizeof(text),
             "//@const threads\n//@const a\n//@const b\n//@const c\n//@tune a %s//@tune b %s"
             "//@tune c %s//@prelude\nextern \"C\" __global__ void $kernel_name() {}\n",
             list, list, list);
    put(w, "large.cu", text);
    fake.n_params = 0;
    const struct fajit_kernel_trial trial = {.struct_size = sizeof(trial),
                                             .launch = launch_large,
                                             .judge = judge_large,
                                             .user = &launches};
    struct fajit_kernel_params params = with("threads=32");
    const struct fajit_tune_params how = {.struct_size = sizeof(how),
                                          .try_all = true,
                                          .max_candidates = 60,
                                          .budget_s = 600,
                                          .jobs = 1};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    params.trial = &trial;
    if (fajit_kernel_tune(w->ctx, "large", &params, &how, &result))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result.config, "a=12,b=5,c=9");
    assert_int_equal(result.points, 4096);
    assert_true(result.compiled < 300);
    assert_true(is_near(result.default_us, 10 + 121 + 16 + 64));
}

// --- Texts that records are filed under -------------------------------------------------------

static int launch_plain(void *user, const struct fajit_kernel *kernel, void *stream)
{
    (void)user;
    return fajit_kernel_launch(kernel, (struct fajit_grid){1, 1, 1}, NULL, stream);
}

static int tune_named(struct world *w, const char *name, const char *values)
{
    const struct fajit_kernel_trial trial = {
        .struct_size = sizeof(trial), .launch = launch_plain, .judge = judge_large};
    struct fajit_kernel_params params = with(values);
    const struct fajit_tune_params how = {
        .struct_size = sizeof(how), .try_all = true, .budget_s = 600};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    params.trial = &trial;
    return fajit_kernel_tune(w->ctx, name, &params, &how, &result);
}

static void check_named(struct world *w, const char *name, const char *values, const char *from)
{
    struct fajit_tune_result choice = {.struct_size = sizeof(choice)};
    const struct fajit_kernel_params params = with(values);
    char text[160];
    assert_int_equal(fajit_kernel_why(w->ctx, name, &params, &choice, text, sizeof(text)),
                     FAJIT_OK);
    if (strncmp(text, from, strlen(from)) != 0)
        fail_msg("%s,%s: \"%s\", wanted \"%s\"", name, values, text, from);
}

// Parameters named like the sizes of the library's own problems are no sizes.
static void test_awkward_names(void **state)
{
    struct world *w = *state;
    fake.n_params = 0;
    put(w, "sub/b2.cu",
        "//@const threads\n//@const b2\n//@switch h16 bool\n//@const q\n//@tune q 1 2\n"
        "//@prelude\nextern \"C\" __global__ void $kernel_name() {}\n");
    if (tune_named(w, "sub/b2", "threads=32,b2=5,h16,sizes=4"))
        fail_msg("%s", fajit_last_error());
    reopen(w, FAJIT_TUNE_LOAD);
    check_named(w, "sub/b2.cu", "h16=1,sizes=4,b2=5,threads=32", "exact:");
    check_named(w, "sub/b2", "threads=32,b2=5,h16=0,sizes=4", "heuristic:");
    check_named(w, "sub/b2", "threads=32,b2=6,h16,sizes=4", "heuristic:");
}

static void test_text_too_long_to_file(void **state)
{
    struct world *w = *state;
    char text[600], values[400] = "threads=32";
    fake.n_params = 0;
    strcpy(text, "//@const threads\n//@const q\n//@tune q 1 2\n");
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof(name), "a_parameter_of_some_length_%d", i);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "//@const %s\n", name);
        snprintf(values + strlen(values), sizeof(values) - strlen(values), ",%s=1", name);
    }
    strcat(text, "//@prelude\nextern \"C\" __global__ void $kernel_name() {}\n");
    put(w, "long.cu", text);
    check_error(tune_named(w, "long", values), FAJIT_E_INVAL, "cannot be filed");
    check_named(w, "long", values, "heuristic:");
    struct fajit_kernel *kernel = NULL;
    struct fajit_kernel_params params = with(values);
    assert_int_equal(fajit_kernel_plan(w->ctx, "long", &params, &kernel), FAJIT_OK);
    assert_true(strlen(fajit_kernel_name(kernel)) < 160);
    fajit_kernel_destroy(&kernel);
}

// --- Failures on the way ----------------------------------------------------------------------

// The nth driver call of a search fails, for some of the n: no object is left, and a result comes
// only with success.
static void test_driver_failures(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    for (int nth = 1; nth < 20000; nth += nth < 150 ? 1 : 97) {
        int live = fake_cuda_live();
        host.tried_count = 0;
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int err = tune(&host, VALUES, true, &result);
        bool reached = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        fake_cuda()->cuCtxSetCurrent(NULL); // a failed pop leaves it
        assert_int_equal(err == FAJIT_OK, result.config[0] != '\0');
        assert_int_equal(fake_cuda_live(), live);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_string_equal(result.config, "bm=128,warps=4");
            return;
        }
    }
    fail_msg("a search makes more than 20000 driver calls");
}

static void test_failed_allocations(void **state)
{
    struct world *w = *state;
    struct host host = {.w = w};
    struct fajit_tune_result result;
    assert_int_equal(tune(&host, VALUES, true, &result), FAJIT_OK);
    for (int nth = 1; nth < 100000; nth += nth < 60 ? 1 : 61) {
        host.tried_count = 0;
        fail_allocation(nth);
        int err = tune(&host, VALUES, true, &result);
        bool reached = atomic_load(&allocations_left) == 0;
        fail_allocation(0);
        assert_int_equal(fake_nvrtc_state.programs, 0);
        if (!reached) {
            assert_int_equal(err, FAJIT_OK);
            assert_string_equal(result.config, "bm=128,warps=4");
            return;
        }
    }
    fail_msg("a search allocates more than 100000 times");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, kernel_world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_finds_the_fastest),
        TEST(test_sizes),
        TEST(test_edited_template),
        TEST(test_wrong_output_does_not_win),
        TEST(test_all_refused),
        TEST(test_failing_launch),
        TEST(test_judge_that_cannot_tell),
        TEST(test_device_taken_away),
        TEST(test_records_that_cannot_be_written),
        TEST(test_poisoned_output),
        TEST(test_lost_context),
        TEST(test_refused_calls),
        TEST(test_tuning_while_planning),
        TEST(test_large_space),
        TEST(test_awkward_names),
        TEST(test_text_too_long_to_file),
        TEST(test_driver_failures),
        TEST(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
