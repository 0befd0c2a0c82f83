// One maker per key, references that add up, and a hit that costs next to nothing.
#include "cache/mem.h"

#include "base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct fj_key key_of(uint64_t n)
{
    struct fj_key key = {{0}};
    memcpy(key.bytes, &n, sizeof(n));
    return key;
}

static void free_nothing(void *user, void *value)
{
    (void)value;
    ++*(int *)user;
}

static void test_life_of_a_key(void **state)
{
    (void)state;
    int freed = 0, value = 7;
    struct fj_mem *mem = fj_mem_create();
    struct fj_key key = key_of(1);
    assert_null(fj_mem_find(mem, &key));
    assert_null(fj_mem_acquire(mem, &key));
    assert_null(fj_mem_find(mem, &key)); // under way
    assert_true(fj_mem_fill(mem, &key, &value));
    assert_ptr_equal(fj_mem_acquire(mem, &key), &value);
    assert_ptr_equal(fj_mem_find(mem, &key), &value);
    assert_null(fj_mem_release(mem, &key));
    assert_null(fj_mem_release(mem, &key));
    assert_ptr_equal(fj_mem_release(mem, &key), &value);
    assert_null(fj_mem_release(mem, &key)); // already gone
    assert_null(fj_mem_acquire(mem, &key)); // absent again
    fj_mem_fail(mem, &key);
    assert_null(fj_mem_acquire(mem, &key));
    fj_mem_fill(mem, &key, &value);
    fj_mem_destroy(&mem, free_nothing, &freed);
    assert_null(mem);
    assert_int_equal(freed, 1);
    fj_mem_destroy(&mem, free_nothing, &freed);
}

static void count_value(void *user, const void *value)
{
    (void)value;
    ++*(int *)user;
}

static void test_trying(void **state)
{
    (void)state;
    int freed = 0, seen = 0, value = 7;
    bool busy = true;
    struct fj_mem *mem = fj_mem_create();
    struct fj_key key = key_of(1);
    assert_null(fj_mem_try(mem, &key, &busy));
    assert_false(busy); // the caller makes it
    assert_null(fj_mem_try(mem, &key, &busy));
    assert_true(busy);
    fj_mem_visit(mem, count_value, &seen);
    assert_int_equal(seen, 0);
    assert_true(fj_mem_fill(mem, &key, &value));
    assert_ptr_equal(fj_mem_try(mem, &key, &busy), &value);
    assert_false(busy);
    fj_mem_visit(mem, count_value, &seen);
    assert_int_equal(seen, 1);
    assert_null(fj_mem_release(mem, &key));
    assert_ptr_equal(fj_mem_release(mem, &key), &value);
    fj_mem_destroy(&mem, free_nothing, &freed);
    assert_int_equal(freed, 0);
}

static void test_many_keys(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static int values[COUNT];
    int freed = 0;
    struct fj_mem *mem = fj_mem_create();
    for (uint64_t i = 0; i < COUNT; i++) {
        struct fj_key key = key_of(i * 64); // all in one bucket until the table has grown
        assert_null(fj_mem_acquire(mem, &key));
        assert_true(fj_mem_fill(mem, &key, &values[i]));
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        struct fj_key key = key_of(i * 64);
        assert_ptr_equal(fj_mem_acquire(mem, &key), &values[i]);
        assert_null(fj_mem_release(mem, &key));
        if (i % 3 == 0)
            assert_ptr_equal(fj_mem_release(mem, &key), &values[i]);
    }
    fj_mem_destroy(&mem, free_nothing, &freed);
    assert_int_equal(freed, COUNT - COUNT / 3);
}

struct race {
    struct fj_mem *mem;
    struct fj_key key;
    atomic_int makers, failures, got_it;
    int value, must_fail;
};

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void *race_for(void *user)
{
    struct race *race = user;
    for (;;) {
        int *value = fj_mem_acquire(race->mem, &race->key);
        if (value) {
            atomic_fetch_add(&race->got_it, *value == 42);
            return NULL;
        }
        int turn = atomic_fetch_add(&race->makers, 1);
        sleep_ms(20); // time for the others to queue up
        if (turn < race->must_fail) {
            atomic_fetch_add(&race->failures, 1);
            fj_mem_fail(race->mem, &race->key);
            continue;
        }
        race->value = 42;
        fj_mem_fill(race->mem, &race->key, &race->value);
        atomic_fetch_add(&race->got_it, 1);
        return NULL;
    }
}

static void run_race(int must_fail)
{
    enum { THREADS = 16 };
    pthread_t threads[THREADS];
    struct race race = {.mem = fj_mem_create(), .key = key_of(9), .must_fail = must_fail};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race_for, &race), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(race.makers, must_fail + 1);
    assert_int_equal(race.failures, must_fail);
    assert_int_equal(race.got_it, THREADS);
    for (int i = 0; i < THREADS - 1; i++)
        assert_null(fj_mem_release(race.mem, &race.key));
    assert_ptr_equal(fj_mem_release(race.mem, &race.key), &race.value);
    fj_mem_destroy(&race.mem, NULL, NULL);
}

static void test_one_maker(void **state)
{
    (void)state;
    run_race(0);
}

static void test_failure_passes_the_turn_on(void **state)
{
    (void)state;
    run_race(3);
}

struct churn {
    struct fj_mem *mem;
    atomic_int made, freed, wrong;
};

struct churner {
    struct churn *churn;
    unsigned seed;
};

static void make_or_fail(struct churner *me, const struct fj_key *key, int number)
{
    if (rand_r(&me->seed) % 4 == 0) {
        fj_mem_fail(me->churn->mem, key);
        return;
    }
    int *value = malloc(sizeof(*value));
    *value = number;
    atomic_fetch_add(&me->churn->made, 1);
    fj_mem_fill(me->churn->mem, key, value);
    value = fj_mem_release(me->churn->mem, key);
    atomic_fetch_add(&me->churn->freed, value != NULL);
    free(value);
}

// Takes and drops a few keys as fast as it can; a value freed too early or twice is for the
// sanitizers to find.
static void *churn(void *user)
{
    struct churner *me = user;
    for (int i = 0; i < 3000; i++) {
        int number = rand_r(&me->seed) % 8;
        struct fj_key key = key_of((uint64_t)number);
        int *value =
            i % 5 ? fj_mem_acquire(me->churn->mem, &key) : fj_mem_find(me->churn->mem, &key);
        if (!value && i % 5 == 0)
            continue;
        if (!value) {
            make_or_fail(me, &key, number);
            continue;
        }
        atomic_fetch_add(&me->churn->wrong, *value != number);
        value = fj_mem_release(me->churn->mem, &key);
        atomic_fetch_add(&me->churn->freed, value != NULL);
        free(value);
    }
    return NULL;
}

static void test_churn(void **state)
{
    (void)state;
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    struct churner churners[THREADS];
    struct churn all = {.mem = fj_mem_create()};
    int left = 0;
    print_message("seeds 100 to %d\n", 100 + THREADS - 1);
    for (int i = 0; i < THREADS; i++) {
        churners[i] = (struct churner){&all, 100 + (unsigned)i};
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churners[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    fj_mem_destroy(&all.mem, free_nothing, &left);
    assert_int_equal(all.wrong, 0);
    assert_true(all.made > 0);
    assert_int_equal(all.made, all.freed);
    assert_int_equal(left, 0);
}

static void test_a_hit_is_quick(void **state)
{
    (void)state;
    enum { KEYS = 500, ROUNDS = 200 };
    int value = 0;
    double best_us = 1e9;
    struct fj_mem *mem = fj_mem_create();
    for (uint64_t i = 0; i < KEYS; i++) {
        struct fj_key key = key_of(i * UINT64_C(0x9e3779b97f4a7c15));
        fj_mem_acquire(mem, &key);
        fj_mem_fill(mem, &key, &value);
    }
    for (int round = 0; round < ROUNDS; round++) {
        double start_us = fj_now_us();
        for (uint64_t i = 0; i < KEYS; i++) {
            struct fj_key key = key_of(i * UINT64_C(0x9e3779b97f4a7c15));
            assert_true(fj_mem_acquire(mem, &key) == &value);
        }
        double us = (fj_now_us() - start_us) / KEYS;
        best_us = us < best_us ? us : best_us;
    }
    print_message("a hit takes %.3f us\n", best_us);
    assert_true(best_us < 20); // 0.05 on an idle core; room for valgrind
    fj_mem_destroy(&mem, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_key),
        cmocka_unit_test(test_trying),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_one_maker),
        cmocka_unit_test(test_failure_passes_the_turn_on),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_a_hit_is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
