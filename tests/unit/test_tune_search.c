// The search over made-up candidates: a clock that the candidates turn, faults, lies and limits.
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "autotune/search.h"

#define MAX 64

struct fake {
    double now_us; // advanced by timing
    double real_us[MAX];
    double noise[MAX]; // relative, uniform
    int compile_status[MAX], time_status[MAX], spill[MAX];
    bool wrong[MAX];
    int time_calls[MAX], checks[MAX], drops[MAX];
    atomic_int compiles;
    int cancel_after_calls; // 0: never
    int calls;
    bool can_recover;
    int recovered;
    double call_us; // what any timing call costs beside its samples
    uint64_t seed;
    int progress_calls, last_best;
    int first_check; // candidate + 1; 0: none yet
    bool slow_first; // candidate 0 is compiled after some others
    struct fj_search_progress last;
};

static double random_unit(struct fake *fake)
{
    fake->seed = fake->seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(fake->seed >> 11) * 0x1p-53;
}

static int fake_compile(void *user, int i, struct fj_search_facts *facts)
{
    struct fake *fake = user;
    while (fake->slow_first && i == 0 && atomic_load(&fake->compiles) < 3)
        usleep(1000);
    atomic_fetch_add(&fake->compiles, 1);
    *facts = (struct fj_search_facts){.registers = 100, .spill_bytes = fake->spill[i]};
    return fake->compile_status[i] ? fj_err(fake->compile_status[i], "candidate %d: no", i) : 0;
}

static int fake_time(void *user, int i, int samples, double *ret_us)
{
    struct fake *fake = user;
    fake->calls++;
    fake->time_calls[i]++;
    fake->now_us += fake->call_us;
    if (fake->time_status[i])
        return fj_err(fake->time_status[i], "candidate %d fell", i);
    for (int s = 0; s < samples; s++) {
        ret_us[s] = fake->real_us[i] * (1 + fake->noise[i] * (random_unit(fake) - 0.5));
        fake->now_us += ret_us[s];
    }
    return FAJIT_OK;
}

static int fake_check(void *user, int i)
{
    struct fake *fake = user;
    fake->checks[i]++;
    if (!fake->first_check)
        fake->first_check = i + 1;
    return fake->wrong[i] ? fj_err(FAJIT_E_INVAL, "row 3 is wrong") : FAJIT_OK;
}

static int fake_recover(void *user)
{
    struct fake *fake = user;
    fake->recovered++;
    return fake->can_recover ? FAJIT_OK : FAJIT_E_CONTEXT_LOST;
}

static void fake_drop(void *user, int i)
{
    ((struct fake *)user)->drops[i]++;
}

static bool fake_cancelled(void *user)
{
    struct fake *fake = user;
    return fake->cancel_after_calls && fake->calls >= fake->cancel_after_calls;
}

static void fake_progress(void *user, const struct fj_search_progress *progress)
{
    struct fake *fake = user;
    fake->progress_calls++;
    fake->last = *progress;
}

static double fake_now(void *user)
{
    return ((struct fake *)user)->now_us;
}

static const struct fj_search_ops ops = {fake_compile, fake_time,      fake_check,    fake_recover,
                                         fake_drop,    fake_cancelled, fake_progress, fake_now};

static struct fake make(int count)
{
    struct fake fake = {.seed = 7};
    for (int i = 0; i < count; i++)
        fake.real_us[i] = 100 + 10 * ((i * 7) % count);
    return fake;
}

static int search(struct fake *fake, int count, double budget_us, struct fj_search_result *result)
{
    const struct fj_search_params params = {.count = count, .jobs = 2, .budget_us = budget_us};
    return fj_search(&ops, fake, &params, result);
}

static void test_finds_the_fastest(void **state)
{
    (void)state;
    for (int count = 1; count <= 40; count++) {
        struct fake fake = make(count);
        struct fj_search_result result;
        for (int i = 0; i < count; i++) {
            fake.real_us[i] = 100 + 20.0 * i;
            fake.noise[i] = 0.02;
        }
        int fastest = (count * 5) % count == 0 ? count - 1 : count / 3;
        fake.real_us[fastest] = 50;
        assert_int_equal(search(&fake, count, 0, &result), FAJIT_OK);
        assert_int_equal(result.best, fastest);
        assert_true(result.finished);
        assert_int_equal(result.entries[fastest].verdict, FJ_VERDICT_BEST);
        assert_int_equal(fake.checks[fastest], 1);
        assert_int_equal(fake.last.phase, FJ_PHASE_DONE);
        fj_search_result_free(&result);
    }
}

// A time is the same here and in its record, whatever it is printed with.
static void test_times_are_whole_nanoseconds(void **state)
{
    (void)state;
    struct fj_search_result result = {0};
    struct fake fake = make(3);
    for (int i = 0; i < 3; i++)
        fake.real_us[i] = 527.37496 + i / 3.0;
    assert_int_equal(search(&fake, 3, 0, &result), FAJIT_OK);
    for (int i = 0; i < 3; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%.3f", result.entries[i].median_us);
        assert_true(strtod(text, NULL) == result.entries[i].median_us);
    }
    assert_true(result.entries[0].median_us == 527.375);
    fj_search_result_free(&result);
}

static void test_slow_ones_are_not_timed_again(void **state)
{
    (void)state;
    struct fake fake = make(20);
    struct fj_search_result result;
    for (int i = 0; i < 20; i++)
        fake.real_us[i] = i < 4 ? 100 + i : 1000;
    assert_int_equal(search(&fake, 20, 0, &result), FAJIT_OK);
    for (int i = 4; i < 20; i++)
        assert_true(fake.time_calls[i] <= 2);
    assert_true(result.entries[0].samples >= 20);
    fj_search_result_free(&result);
}

static void test_ties_go_to_the_earlier(void **state)
{
    (void)state;
    struct fake fake = make(8);
    struct fj_search_result result;
    for (int i = 0; i < 8; i++) {
        fake.real_us[i] = i == 5 ? 99.9 : 100;
        fake.noise[i] = 0.01;
    }
    assert_int_equal(search(&fake, 8, 0, &result), FAJIT_OK);
    assert_int_equal(result.best, 0);
    fj_search_result_free(&result);
}

static void test_wrong_ones_never_win(void **state)
{
    (void)state;
    struct fake fake = make(10);
    struct fj_search_result result;
    for (int i = 0; i < 10; i++)
        fake.real_us[i] = 200 - 10 * i;
    fake.wrong[9] = fake.wrong[8] = true;
    assert_int_equal(search(&fake, 10, 0, &result), FAJIT_OK);
    assert_int_equal(result.best, 7);
    assert_int_equal(result.entries[9].verdict, FJ_VERDICT_WRONG);
    assert_string_equal(result.entries[9].why, "row 3 is wrong");
    assert_true(result.entries[7].checked);
    fj_search_result_free(&result);
}

// What runs without tuning is what the others are compared with, whoever is ready first.
static void test_the_default_is_checked_first(void **state)
{
    (void)state;
    struct fake fake = make(10);
    struct fj_search_result result;
    fake.slow_first = true;
    for (int i = 0; i < 10; i++)
        fake.real_us[i] = 200 - 10 * i;
    assert_int_equal(search(&fake, 10, 0, &result), FAJIT_OK);
    assert_int_equal(fake.first_check, 1);
    assert_int_equal(result.best, 9);
    fj_search_result_free(&result);
}

static void test_spills_and_failures_are_dropped(void **state)
{
    (void)state;
    struct fake fake = make(6);
    struct fj_search_result result;
    fake.spill[0] = 8; // what runs without tuning is timed all the same
    fake.spill[1] = 8;
    fake.compile_status[2] = FAJIT_E_COMPILE;
    fake.time_status[3] = FAJIT_E_CUDA;
    assert_int_equal(search(&fake, 6, 0, &result), FAJIT_OK);
    assert_true(fake.time_calls[0] > 0);
    assert_int_equal(fake.time_calls[1], 0);
    assert_int_equal(result.entries[1].verdict, FJ_VERDICT_SPILL);
    assert_int_equal(result.entries[2].verdict, FJ_VERDICT_FAILED);
    assert_string_equal(result.entries[2].why, "candidate 2: no");
    assert_int_equal(result.entries[3].verdict, FJ_VERDICT_FAILED);
    fj_search_result_free(&result);
}

static void test_a_fault_ends_it_and_names_the_candidate(void **state)
{
    (void)state;
    struct fake fake = make(6);
    struct fj_search_result result;
    fake.time_status[3] = FAJIT_E_CONTEXT_LOST;
    check_error(search(&fake, 6, 0, &result), FAJIT_E_CONTEXT_LOST, "candidate 3");
    assert_int_equal(result.lost, 3);
    assert_int_equal(result.entries[3].verdict, FJ_VERDICT_FAULT);
    fj_search_result_free(&result);
}

// A GPU taken away in the middle: nobody is blamed, and what was found before stands.
static void test_the_device_goes_away(void **state)
{
    (void)state;
    struct fake fake = make(6);
    struct fj_search_result result;
    fake.time_status[3] = fake.time_status[4] = fake.time_status[5] = FAJIT_E_NO_DEVICE;
    fake.can_recover = true;
    check_error(search(&fake, 6, 0, &result), FAJIT_E_NO_DEVICE, "fell");
    assert_int_equal(result.lost, -1);
    assert_int_equal(fake.time_calls[3] + fake.time_calls[4] + fake.time_calls[5], 1);
    for (int i = 0; i < 6; i++)
        assert_true(result.entries[i].verdict < FJ_VERDICT_FAILED);
    fj_search_result_free(&result);
}

static void test_a_worker_outlives_faults(void **state)
{
    (void)state;
    struct fake fake = make(6);
    struct fj_search_result result;
    fake.can_recover = true;
    fake.time_status[3] = fake.time_status[4] = FAJIT_E_CONTEXT_LOST;
    fake.real_us[5] = 10;
    assert_int_equal(search(&fake, 6, 0, &result), FAJIT_OK);
    assert_int_equal(result.best, 5);
    assert_int_equal(fake.recovered, 2);
    assert_int_equal(result.entries[3].verdict, FJ_VERDICT_FAULT);
    fj_search_result_free(&result);
}

// The budget counts from the start; the first candidate is always seen through.
static void test_budget(void **state)
{
    (void)state;
    struct fake fake = make(40);
    struct fj_search_result result;
    fake.call_us = 1000;
    assert_int_equal(search(&fake, 40, 20000, &result), FAJIT_OK);
    assert_true(result.best >= 0);
    assert_false(result.finished);
    assert_true(result.entries[result.best].checked);
    assert_true(fake.now_us < 20000 + 3000);
    fj_search_result_free(&result);

    fake = make(40);
    fake.call_us = 1e6;
    assert_int_equal(search(&fake, 40, 1, &result), FAJIT_OK);
    assert_true(result.best >= 0);
    assert_true(fake.calls <= 3);
    fj_search_result_free(&result);
}

static void test_cancel_keeps_the_best_so_far(void **state)
{
    (void)state;
    for (int after = 1; after < 60; after += 3) {
        struct fake fake = make(16);
        struct fj_search_result result;
        fake.cancel_after_calls = after;
        assert_int_equal(search(&fake, 16, 0, &result), FAJIT_OK);
        assert_true(fake.calls <= after + 1);
        if (result.cancelled && result.best >= 0)
            assert_true(result.entries[result.best].checked);
        fj_search_result_free(&result);
    }
}

static void test_nothing_usable(void **state)
{
    (void)state;
    struct fake fake = make(3);
    struct fj_search_result result;
    for (int i = 0; i < 3; i++)
        fake.compile_status[i] = FAJIT_E_COMPILE;
    check_error(search(&fake, 3, 0, &result), FAJIT_E_UNSUPPORTED, "the first: candidate 0: no");
    assert_int_equal(result.best, -1);
    fj_search_result_free(&result);
}

static void test_noise_is_told(void **state)
{
    (void)state;
    struct fake fake = make(1);
    struct fj_search_result result;
    fake.noise[0] = 0.5;
    assert_int_equal(search(&fake, 1, 0, &result), FAJIT_OK);
    assert_true(result.noisy);
    fj_search_result_free(&result);
}

// Whatever the noise, what is chosen is about as fast as the fastest.
static void test_random_searches(void **state)
{
    (void)state;
    uint64_t seed = (uint64_t)getpid();
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 300; round++) {
        struct fake fake = {.seed = seed + (unsigned)round};
        struct fj_search_result result;
        int count = 1 + (int)(random_unit(&fake) * (MAX - 1));
        double fastest = 1e9;
        for (int i = 0; i < count; i++) {
            fake.real_us[i] = 100 * (1 + 3 * random_unit(&fake));
            fake.noise[i] = 0.04 * random_unit(&fake);
            fake.wrong[i] = i > 0 && random_unit(&fake) < 0.1;
            fake.spill[i] = random_unit(&fake) < 0.1;
            if (!fake.wrong[i] && (i == 0 || !fake.spill[i]) && fake.real_us[i] < fastest)
                fastest = fake.real_us[i];
        }
        assert_int_equal(search(&fake, count, 0, &result), FAJIT_OK);
        assert_false(fake.wrong[result.best]);
        if (fake.real_us[result.best] > 1.04 * fastest)
            print_error("round %d: %f against %f\n", round, fake.real_us[result.best], fastest);
        assert_true(fake.real_us[result.best] <= 1.04 * fastest);
        fj_search_result_free(&result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_fastest),
        cmocka_unit_test(test_times_are_whole_nanoseconds),
        cmocka_unit_test(test_slow_ones_are_not_timed_again),
        cmocka_unit_test(test_ties_go_to_the_earlier),
        cmocka_unit_test(test_wrong_ones_never_win),
        cmocka_unit_test(test_the_default_is_checked_first),
        cmocka_unit_test(test_spills_and_failures_are_dropped),
        cmocka_unit_test(test_a_fault_ends_it_and_names_the_candidate),
        cmocka_unit_test(test_the_device_goes_away),
        cmocka_unit_test(test_a_worker_outlives_faults),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_cancel_keeps_the_best_so_far),
        cmocka_unit_test(test_nothing_usable),
        cmocka_unit_test(test_noise_is_told),
        cmocka_unit_test(test_random_searches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
