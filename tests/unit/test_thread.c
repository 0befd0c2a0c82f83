#include "test.h"

#include <sched.h>

#include "base/thread.h"

static void count_is_sane(void **state)
{
    (void)state;
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    assert_in_range(fj_cpu_count(), 1, CPU_COUNT(&set));
    assert_int_equal(fj_cpu_count(), fj_cpu_count());
}

struct tally {
    int visits[1000];
    int64_t last; // highest index handed out so far, when one thread works
    int disorder;
};

static void visit(void *user, int64_t i)
{
    struct tally *tally = user;
    __atomic_fetch_add(&tally->visits[i], 1, __ATOMIC_RELAXED);
}

static void visit_in_order(void *user, int64_t i)
{
    struct tally *tally = user;
    tally->disorder += i != tally->last + 1;
    tally->last = i;
    tally->visits[i]++;
}

static void every_index_once(void **state)
{
    (void)state;
    static const int threads[] = {0, 1, 2, 7, 300};
    static const int64_t counts[] = {0, 1, 2, 1000};
    for (size_t t = 0; t < COUNT(threads); t++) {
        for (size_t c = 0; c < COUNT(counts); c++) {
            struct tally tally = {0};
            fj_parallel_for(threads[t], counts[c], visit, &tally);
            for (int64_t i = 0; i < 1000; i++)
                assert_int_equal(tally.visits[i], i < counts[c]);
        }
    }
}

static void one_thread_keeps_order(void **state)
{
    (void)state;
    struct tally tally = {.last = -1};
    fj_parallel_for(1, 1000, visit_in_order, &tally);
    assert_int_equal(tally.disorder, 0);
    assert_int_equal(tally.last, 999);
}

struct meeting {
    pthread_barrier_t barrier;
};

static void meet(void *user, int64_t i)
{
    (void)i;
    struct meeting *meeting = user;
    pthread_barrier_wait(&meeting->barrier); // hangs unless three threads come
}

static void threads_do_run_together(void **state)
{
    (void)state;
    struct meeting meeting;
    pthread_barrier_init(&meeting.barrier, NULL, 3);
    fj_parallel_for(3, 3, meet, &meeting);
    pthread_barrier_destroy(&meeting.barrier);
}

// Touches 6 MB of stack, more than many a thread has.
static void use_stack(void *user)
{
    volatile char block[6 << 20];
    for (size_t i = 0; i < sizeof(block); i += 4096)
        block[i] = 1;
    *(int *)user = block[0] + block[4096];
}

static void runs_on_a_large_stack(void **state)
{
    (void)state;
    int got = 0;
    assert_int_equal(fj_run_with_stack(8 << 20, use_stack, &got), FAJIT_OK);
    assert_int_equal(got, 2);
    check_error(fj_run_with_stack(1, use_stack, &got), FAJIT_E_NOMEM, "stack of 1 bytes");
}

static void clocks_go_forward(void **state)
{
    (void)state;
    double start = fj_now_us();
    struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
    assert_true(fj_now_us() - start >= 2000);
    assert_true(fj_time_s() > 1700000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(count_is_sane),          cmocka_unit_test(every_index_once),
        cmocka_unit_test(one_thread_keeps_order), cmocka_unit_test(threads_do_run_together),
        cmocka_unit_test(runs_on_a_large_stack),  cmocka_unit_test(clocks_go_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
