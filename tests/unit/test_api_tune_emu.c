// Searches that a host ends: by the clock, from the callback, from another thread. On the emulated
// device, so that what is found so far is the output of kernels that run. Skipped without NVRTC.
#include "test.h"

#include <fajit/fajit.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define PROBLEM "attn:f32,b1,h1,q32,k32,d32,kernel=simt"

struct world {
    char dir[64];
    struct fajit_ctx *ctx;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    if (!w)
        return -1;
    strcpy(w->dir, "/tmp/fajit-tune-emu-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    const struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                            .device = FAJIT_DEVICE_EMULATED,
                                            .emulated_gpu = "a100",
                                            .cache_mode = FAJIT_CACHE_RW,
                                            .cache_dir = w->dir};
    *state = w;
    return fajit_ctx_create(&params, &w->ctx);
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[96];
    fajit_ctx_destroy(&w->ctx);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    int code = system(command);
    free(w);
    return code;
}

struct host {
    atomic_int calls;
    atomic_bool cancel, found; // found: there is something to be kept
    bool cancel_when_found;
    double budget_s, elapsed_s;
};

static int see(void *user, const struct fajit_tune_progress *p)
{
    struct host *host = user;
    atomic_fetch_add(&host->calls, 1);
    assert_int_equal(p->struct_size, sizeof(*p));
    assert_true(strcmp(p->phase, "screen") == 0 || strcmp(p->phase, "rounds") == 0 ||
                strcmp(p->phase, "finals") == 0 || strcmp(p->phase, "done") == 0);
    assert_true(p->compiled <= p->candidates && p->timed <= p->compiled && p->left <= p->timed + 1);
    assert_true(p->elapsed_s >= host->elapsed_s && p->budget_s > 0);
    assert_int_equal(*p->best != '\0', p->best_us > 0);
    host->elapsed_s = p->elapsed_s;
    host->budget_s = p->budget_s;
    if (*p->best)
        atomic_store(&host->found, true);
    return atomic_load(&host->cancel) || (host->cancel_when_found && *p->best);
}

static int tune(struct world *w, struct host *host, double budget_s, int candidates, int jobs,
                struct fajit_tune_result *ret)
{
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    const struct fajit_tune_params params = {.struct_size = sizeof(params),
                                             .budget_s = budget_s,
                                             .max_candidates = candidates,
                                             .jobs = jobs,
                                             .progress = see,
                                             .user = host};
    assert_int_equal(fajit_problem_parse(PROBLEM, &problem), FAJIT_OK);
    *ret = (struct fajit_tune_result){.struct_size = sizeof(*ret)};
    int err = fajit_tune(w->ctx, &problem, &params, ret);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    return err;
}

// What was found before the end is what planning gives, as it would in another process.
static void check_best_so_far(const struct world *w, const struct fajit_tune_result *result)
{
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fajit_plan *plan;
    assert_int_equal(fajit_problem_parse(PROBLEM, &problem), FAJIT_OK);
    assert_false(result->finished);
    assert_true(*result->config && result->median_us > 0);
    if (fajit_plan_create(w->ctx, &problem, NULL, &plan))
        fail_msg("%s", fajit_last_error());
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    assert_memory_equal(info.config_from, "exact:", 6);
    fajit_plan_destroy(&plan);
}

static void test_cancel_from_the_callback(void **state)
{
    struct world *w = *state;
    struct host host = {.cancel_when_found = true};
    struct fajit_tune_result result;
    if (tune(w, &host, 60, 8, 0, &result))
        fail_msg("%s", fajit_last_error());
    assert_true(result.cancelled);
    assert_true(result.timed < result.candidates);
    check_best_so_far(w, &result);
    // The next search is none the worse for it, and says when it is done.
    host = (struct host){0};
    if (tune(w, &host, 60, 2, 0, &result))
        fail_msg("%s", fajit_last_error());
    assert_true(result.finished && !result.cancelled && !result.from_record);
    assert_true(host.budget_s == 60);
}

static void test_cancel_before_anything(void **state)
{
    struct world *w = *state;
    struct host host = {.cancel = true};
    struct fajit_tune_result result;
    if (tune(w, &host, 60, 8, 0, &result))
        fail_msg("%s", fajit_last_error());
    assert_true(result.cancelled && !result.finished);
}

static void *cancel_once_found(void *user)
{
    struct host *host = user;
    for (int i = 0; i < 60000 && !atomic_load(&host->found); i++)
        usleep(1000);
    atomic_store(&host->cancel, true);
    return NULL;
}

static void test_cancel_from_another_thread(void **state)
{
    struct world *w = *state;
    struct host host = {0};
    struct fajit_tune_result result;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_once_found, &host), 0);
    int err = tune(w, &host, 60, 16, 0, &result);
    atomic_store(&host.found, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(err, FAJIT_OK);
    assert_true(result.cancelled);
    check_best_so_far(w, &result);
}

static void test_budget(void **state)
{
    struct world *w = *state;
    struct host host = {0};
    struct fajit_tune_result result;
    if (tune(w, &host, 0.5, 200, 1, &result))
        fail_msg("%s", fajit_last_error());
    assert_false(result.cancelled);
    assert_true(result.timed >= 1 && result.timed < result.candidates);
    assert_true(result.elapsed_s < 20); // what had begun was seen through, on a busy machine
    assert_true(atomic_load(&host.calls) > 0);
    check_best_so_far(w, &result);
}

static void test_planning_keeps_a_budget(void **state)
{
    struct world *w = *state;
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    const struct fajit_plan_params params = {
        .struct_size = sizeof(params), .effort = FAJIT_EFFORT_TUNE, .tune_budget_s = 0.2};
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fajit_plan *plan;
    assert_int_equal(fajit_problem_parse(PROBLEM, &problem), FAJIT_OK);
    int err = fajit_plan_create(w->ctx, &problem, &params, &plan);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    assert_int_equal(err, FAJIT_OK);
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    assert_memory_equal(info.config_from, "exact:", 6);
    fajit_plan_destroy(&plan);
}

static int setup_hopper(void **state)
{
    int err = setup(state);
    struct world *w = *state;
    const struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                            .device = FAJIT_DEVICE_EMULATED,
                                            .emulated_gpu = "h200",
                                            .cache_mode = FAJIT_CACHE_RW,
                                            .cache_dir = w->dir};
    fajit_ctx_destroy(&w->ctx);
    return err ? err : fajit_ctx_create(&params, &w->ctx);
}

static void search_hopper(struct world *w, bool try_all, struct fajit_tune_result *ret)
{
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    const struct fajit_tune_params params = {
        .struct_size = sizeof(params), .budget_s = 600, .max_candidates = 3, .try_all = try_all};
    assert_int_equal(fajit_problem_parse("attn:bf16,b1,h1,q64,k64,d64", &problem), FAJIT_OK);
    *ret = (struct fajit_tune_result){.struct_size = sizeof(*ret)};
    int err = fajit_tune(w->ctx, &problem, &params, ret);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    if (err)
        fail_msg("%s", fajit_last_error());
}

// What a search without a worker may not try is no reason for a fuller one not to look.
static void test_a_safe_search_is_not_the_last(void **state)
{
    struct world *w = *state;
    struct fajit_tune_result result;
    search_hopper(w, false, &result);
    assert_true(result.timed > 0 && !result.finished && !result.from_record);
    search_hopper(w, false, &result); // but one like it would find nothing else
    assert_true(result.from_record);
    search_hopper(w, true, &result);
    assert_true(result.timed > 0 && result.finished && !result.from_record);
    search_hopper(w, true, &result);
    assert_true(result.from_record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cancel_from_the_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_before_anything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_from_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_planning_keeps_a_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_safe_search_is_not_the_last, setup_hopper, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
