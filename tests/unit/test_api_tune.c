// Tuning through the public interface, on a driver whose kernels compute nothing.
#include "api_fixture.h"

#include <unistd.h>

#define PROBLEM "attn:f32,b1,h1,q64,k64,d32,kernel=simt"

static struct fajit_problem parse(const char *text)
{
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    if (fajit_problem_parse(text, &problem))
        fail_msg("%s", fajit_last_error());
    return problem;
}

static void test_arguments(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parse(PROBLEM);
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fajit_tune_params params = {0};
    check_error(fajit_tune(NULL, &problem, NULL, &result), FAJIT_E_INVAL, "NULL");
    check_error(fajit_tune(w->ctx, &problem, NULL, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_tune(w->ctx, &problem, &params, &result), FAJIT_E_INVAL, "struct_size");
    problem = parse("attn:f32,b1,h1,q64,d32");
    check_error(fajit_tune(w->ctx, &problem, NULL, &result), FAJIT_E_INVAL, "'k' is open");
    problem = parse("gemm:f32,m64,k64");
    check_error(fajit_tune(w->ctx, &problem, NULL, &result), FAJIT_E_INVAL, "'n' is open");
}

static int count_calls(void *user, const struct fajit_tune_progress *progress)
{
    assert_non_null(progress->phase);
    ++*(int *)user;
    return 0;
}

// A kernel that writes nothing is wrong, however fast: nothing may win, and planning goes on.
static void test_wrong_output_never_wins(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parse(PROBLEM);
    struct fajit_tune_result result = {.struct_size = sizeof(result), .candidates = -1};
    int calls = 0;
    const struct fajit_tune_params params = {.struct_size = sizeof(params),
                                             .max_candidates = 3,
                                             .budget_s = 20,
                                             .progress = count_calls,
                                             .user = &calls};
    check_error(fajit_tune(w->ctx, &problem, &params, &result), FAJIT_E_UNSUPPORTED,
                "no candidate of 3 is usable");
    assert_int_equal(result.candidates, -1);
    assert_true(calls > 0);
    struct fajit_plan *plan;
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    assert_int_equal(fajit_plan_create(w->ctx, &problem, NULL, &plan), FAJIT_OK);
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    assert_memory_equal(info.config_from, "heuristic:", 10);
    fajit_plan_destroy(&plan);
}

static int find_verdict(void *user, const struct fajit_tune_record *record)
{
    return strcmp(record->verdict, user) == 0 && strcmp(record->origin, "bundled") != 0;
}

static void test_fates_are_recorded(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parse(PROBLEM);
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    const struct fajit_tune_params params = {.struct_size = sizeof(params), .max_candidates = 2};
    assert_int_not_equal(fajit_tune(w->ctx, &problem, &params, &result), FAJIT_OK);
    assert_int_equal(fajit_tune_visit(w->ctx, NULL, find_verdict, "wrong"), 1);
    assert_int_equal(fajit_tune_visit(w->ctx, NULL, find_verdict, "best"), 0);
}

static int launches_before_the_end;

static void take_device_away(const struct fake_launch *launch, void **args)
{
    (void)launch;
    (void)args;
    if (launches_before_the_end-- <= 0)
        fake_cuda_fail("cuStreamSynchronize", 1, CUDA_ERROR_DEVICE_UNAVAILABLE);
}

// The search ends at once, says why, and holds it against no configuration.
static void test_device_taken_away(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parse(PROBLEM);
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    launches_before_the_end = 0;
    fake.on_launch = take_device_away;
    check_error(fajit_tune(w->ctx, &problem, NULL, &result), FAJIT_E_NO_DEVICE,
                "the search ended with its device: cuStreamSynchronize");
    assert_true(fake.n_launches < 5);
    static char bad[][8] = {"fault", "trying", "failed", "wrong"};
    for (int i = 0; i < 4; i++)
        assert_int_equal(fajit_tune_visit(w->ctx, NULL, find_verdict, bad[i]), 0);
    fake.on_launch = NULL;
    fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
}

// The effort asks for tuning, which fails; the plan does not.
static void test_plan_with_tuning_effort(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parse(PROBLEM);
    struct fajit_plan *plan;
    struct fajit_plan_params params = {.struct_size = sizeof(params), .effort = FAJIT_EFFORT_TUNE};
    assert_int_equal(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_OK);
    fajit_plan_destroy(&plan);
    params.effort = (enum fajit_effort)99;
    check_error(fajit_plan_create(w->ctx, &problem, &params, &plan), FAJIT_E_INVAL, "effort 99");
}

static void test_fixed_knobs_are_kept(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parse(PROBLEM ",bm=32,bn=32");
    struct fajit_tune_result choice = {.struct_size = sizeof(choice)};
    char from[160];
    assert_int_equal(fajit_tune_why(w->ctx, &problem, &choice, from, sizeof(from)), FAJIT_OK);
    assert_memory_equal(from, "fixed:", 6);
    assert_non_null(strstr(choice.config, "bm=32,bn=32"));
}

static void test_why_does_not_compile(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = parse(PROBLEM);
    struct fajit_tune_result choice = {.struct_size = sizeof(choice)};
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    char from[160];
    assert_int_equal(fajit_tune_why(w->ctx, &problem, &choice, from, sizeof(from)), FAJIT_OK);
    assert_string_equal(choice.kernel, "attn_fwd_simt");
    assert_int_equal(fajit_cache_stats(w->ctx, &stats), FAJIT_OK);
    assert_int_equal(stats.compiles, 0);
}

static void test_unknown_mode_of_the_environment(void **state)
{
    (void)state;
    struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                      .device = FAJIT_DEVICE_NONE,
                                      .arch = "sm_90",
                                      .cache_mode = FAJIT_CACHE_OFF};
    struct fajit_ctx *ctx;
    setenv("FAJIT_TUNE", "always", 1);
    check_error(fajit_ctx_create(&params, &ctx), FAJIT_E_INVAL, "load off on force");
    unsetenv("FAJIT_TUNE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arguments, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_wrong_output_never_wins, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_fates_are_recorded, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_device_taken_away, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_plan_with_tuning_effort, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_fixed_knobs_are_kept, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_why_does_not_compile, world_setup, world_teardown),
        cmocka_unit_test(test_unknown_mode_of_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
