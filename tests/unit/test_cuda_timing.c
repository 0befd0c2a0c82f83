#include "test.h"

#include "cuda/launch.h"
#include "cuda/timing.h"
#include "fake_cuda.h"

static struct fj_device device;
static struct fj_module module;

static int set_up(void **state)
{
    (void)state;
    fake_cuda_reset();
    return fj_device_open(fake_cuda(), NULL, 0, &device) ||
           fj_module_load(&device, "\177ELF", "kernel", 0, &module);
}

static int tear_down(void **state)
{
    (void)state;
    fj_module_unload(&device, &module);
    fj_device_close(&device);
    return fake_cuda_live() || fake.misuses;
}

static int launch(void *user, CUstream stream)
{
    (void)user;
    void *args[] = {NULL};
    struct fj_cuda_launch one = {.grid = {1, 1, 1}, .block = {32, 1, 1}, .args = args};
    return fj_cuda_launch(fake_cuda(), module.function, &one, stream);
}

static void check_near(double value, double want)
{
    if (value < want * (1 - 1e-5) || value > want * (1 + 1e-5))
        print_error("%g, wanted %g\n", value, want);
    assert_true(value >= want * (1 - 1e-5) && value <= want * (1 + 1e-5));
}

static void test_statistics(void **state)
{
    (void)state;
    double samples[5];
    struct fj_timing timing;
    struct fj_timing_params params = {.repeats = 5, .samples_us = samples};
    const double us[] = {50, 10, 40, 20, 30};
    memcpy(fake.kernel_us, us, sizeof(us));
    fake.n_kernel_us = 5;
    assert_int_equal(fj_time_launches(&device, launch, NULL, &params, &timing), FAJIT_OK);
    check_near(timing.median_us, 30);
    check_near(timing.p25_us, 20);
    check_near(timing.p75_us, 40);
    check_near(timing.min_us, 10);
    check_near(timing.max_us, 50);
    assert_int_equal(timing.repeats, 5);
    for (int i = 0; i < 5; i++)
        check_near(samples[i], 10 * (i + 1));
}

// More samples than one batch holds; warm-ups and the flush are not part of any sample.
static void test_batches_warmups_flush(void **state)
{
    (void)state;
    struct fj_timing timing;
    struct fj_timing_params params = {.repeats = 150, .warmups = 3, .flush_l2 = true};
    assert_int_equal(fj_time_launches(&device, launch, NULL, &params, &timing), FAJIT_OK);
    check_near(timing.min_us, 10);
    check_near(timing.max_us, 10);
    assert_int_equal(fake.n_launches, 153);
    assert_int_equal(fake_cuda_calls("cuMemsetD32Async"), 150);
    assert_int_equal(fake_cuda_calls("cuLaunchHostFunc"), 3);
    assert_int_equal(fake_cuda_calls("cuEventCreate"), 128);
}

static void test_driver_without_host_functions(void **state)
{
    (void)state;
    struct fj_timing timing;
    struct fj_timing_params params = {.repeats = 4};
    struct fj_cuda old = *fake_cuda();
    struct fj_device on_old = device;
    old.cuLaunchHostFunc = NULL;
    on_old.cuda = &old;
    assert_int_equal(fj_time_launches(&on_old, launch, NULL, &params, &timing), FAJIT_OK);
    check_near(timing.median_us, 10);
    assert_int_equal(fake_cuda_calls("cuMemAlloc_v2"), 0);
}

static void test_bad_params(void **state)
{
    (void)state;
    struct fj_timing timing;
    struct fj_timing_params params = {.repeats = 0};
    check_error(fj_time_launches(&device, launch, NULL, &params, &timing), FAJIT_E_INVAL,
                "0 repeats");
}

static void test_every_failure_leaves_nothing(void **state)
{
    (void)state;
    struct fj_timing_params params = {.repeats = 3, .warmups = 1, .flush_l2 = true};
    int succeeded = 0;
    for (int nth = 1;; nth++) {
        struct fj_timing timing = {.median_us = -1};
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int status = fj_time_launches(&device, launch, NULL, &params, &timing);
        bool failed = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        assert_int_equal(fake_cuda_live(), 2); // context and module
        assert_int_equal(fake.misuses, 0);
        assert_true((status == FAJIT_OK) == (timing.median_us >= 0));
        succeeded += failed && status == FAJIT_OK;
        if (!failed)
            break;
        fake_cuda()->cuCtxSetCurrent(NULL);
    }
    // Only what cannot matter any more may fail unnoticed: the gate, eight clean-ups, going back.
    assert_int_equal(succeeded, 1 + 8 + 1);
}

static void test_quantile(void **state)
{
    (void)state;
    const double samples[] = {1, 2, 4, 8};
    check_near(fj_quantile(samples, 4, 0), 1);
    check_near(fj_quantile(samples, 4, 1), 8);
    check_near(fj_quantile(samples, 4, 0.5), 3);
    check_near(fj_quantile(samples, 1, 0.25), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_statistics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_batches_warmups_flush, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_driver_without_host_functions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_params, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_failure_leaves_nothing, set_up, tear_down),
        cmocka_unit_test(test_quantile),
    };
    return cmocka_run_group_tests_name("cuda_timing", tests, NULL, NULL);
}
