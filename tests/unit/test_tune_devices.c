// Who tunes what when devices fail: tools/tune_devices.c.
#include "test.h"

#include "tune_devices.h"

#define PROBLEMS 8

static const volatile sig_atomic_t go_on;

// `count` devices of one model, without contexts: nothing is opened or tuned.
static void make(struct tune_devices *devices, int count)
{
    static struct tune_turn turns[PROBLEMS];
    memset(turns, 0, sizeof(turns));
    *devices = (struct tune_devices){.count = count, .model_count = 1, .problems = PROBLEMS};
    devices->models[0] = (struct tune_model){.devices = count, .turns = turns};
    pthread_mutex_init(&devices->mutex, NULL);
    pthread_cond_init(&devices->changed, NULL);
    for (int i = 0; i < count; i++)
        devices->items[i] = (struct tune_device){.ordinal = i, .model = &devices->models[0]};
}

static int take(struct tune_devices *devices, int device)
{
    return tune_devices_take(devices, &devices->items[device], &go_on);
}

static bool end(struct tune_devices *devices, int device, int problem, int status)
{
    return tune_devices_end(devices, &devices->items[device], problem, status);
}

static void test_each_problem_once(void **state)
{
    (void)state;
    struct tune_devices devices;
    make(&devices, 2);
    for (int i = 0; i < PROBLEMS; i++) {
        assert_int_equal(take(&devices, i % 2), i);
        assert_false(end(&devices, i % 2, i, FAJIT_OK));
    }
    assert_int_equal(take(&devices, 0), -1);
    assert_int_equal(take(&devices, 1), -1);
}

// What device 0 fails at is done by device 1, and device 0 is left out in the end.
static void test_a_broken_device_costs_nothing(void **state)
{
    (void)state;
    struct tune_devices devices;
    int done = 0;
    make(&devices, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(&devices, 0), i);
        assert_true(end(&devices, 0, i, FAJIT_E_CUDA));
    }
    assert_int_equal(take(&devices, 0), -1);
    for (int i; (i = take(&devices, 1)) >= 0; done++)
        assert_false(end(&devices, 1, i, FAJIT_OK));
    assert_int_equal(done, PROBLEMS);
}

// A problem that takes every device with it is tried on two, and the list goes on.
static void test_a_bad_problem_costs_no_device(void **state)
{
    (void)state;
    struct tune_devices devices;
    make(&devices, 2);
    assert_int_equal(take(&devices, 0), 0);
    assert_true(end(&devices, 0, 0, FAJIT_E_CONTEXT_LOST));
    assert_int_equal(take(&devices, 0), 1);
    assert_int_equal(take(&devices, 1), 0);
    assert_false(end(&devices, 1, 0, FAJIT_E_CONTEXT_LOST));
    assert_false(end(&devices, 0, 1, FAJIT_OK));
    for (int i = 2; i < PROBLEMS; i++) {
        assert_int_equal(take(&devices, i % 2), i);
        assert_false(end(&devices, i % 2, i, FAJIT_OK));
    }
    assert_int_equal(take(&devices, 0), -1);
}

// The only device goes through the list whatever fails.
static void test_the_only_device_goes_on(void **state)
{
    (void)state;
    struct tune_devices devices;
    make(&devices, 1);
    for (int i = 0; i < PROBLEMS; i++) {
        assert_int_equal(take(&devices, 0), i);
        assert_false(end(&devices, 0, i, FAJIT_E_CONTEXT_LOST));
    }
    assert_int_equal(take(&devices, 0), -1);
}

// A text that nobody can tune says nothing about the device.
static void test_bad_texts_are_no_strikes(void **state)
{
    (void)state;
    struct tune_devices devices;
    make(&devices, 2);
    for (int i = 0; i < PROBLEMS; i++) {
        assert_int_equal(take(&devices, 0), i);
        assert_false(end(&devices, 0, i, FAJIT_E_INVAL));
    }
    assert_int_equal(devices.models[0].devices, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_problem_once),
        cmocka_unit_test(test_a_broken_device_costs_nothing),
        cmocka_unit_test(test_a_bad_problem_costs_no_device),
        cmocka_unit_test(test_the_only_device_goes_on),
        cmocka_unit_test(test_bad_texts_are_no_strikes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
