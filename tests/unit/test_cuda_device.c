#include "test.h"

#include "cuda/module.h"
#include "fake_cuda.h"

static int set_up(void **state)
{
    (void)state;
    fake_cuda_reset();
    return 0;
}

static void test_primary_context(void **state)
{
    (void)state;
    struct fj_device device;
    CUcontext current = NULL;
    assert_int_equal(fj_device_open(fake_cuda(), NULL, 0, &device), FAJIT_OK);
    assert_true(device.retained);
    assert_int_equal(fake_cuda_live(), 1);
    fake_cuda()->cuCtxGetCurrent(&current);
    assert_null(current); // opening does not make it current
    assert_string_equal(device.gpu.name, "Fake GPU");
    assert_int_equal(device.gpu.cc, 90);
    assert_memory_equal(&device.gpu.sm_count, &fake.gpu.sm_count,
                        sizeof(fake.gpu) - offsetof(struct fj_gpu, sm_count));
    fj_device_close(&device);
    assert_int_equal(fake_cuda_live(), 0);
    assert_int_equal(fake.misuses, 0);
}

static void test_given_context_wins(void **state)
{
    (void)state;
    struct fj_device device;
    CUcontext host = fake_cuda_host_context(), current;
    assert_int_equal(fj_device_open(fake_cuda(), host, 7, &device), FAJIT_OK);
    assert_ptr_equal(device.context, host);
    assert_false(device.retained);
    fake_cuda()->cuCtxGetCurrent(&current);
    assert_null(current);
    fj_device_close(&device);
    assert_int_equal(fake.misuses, 0);
}

static void test_current_context_is_used(void **state)
{
    (void)state;
    struct fj_device device;
    CUcontext current;
    fake_cuda()->cuCtxSetCurrent(fake_cuda_host_context());
    assert_int_equal(fj_device_open(fake_cuda(), NULL, 0, &device), FAJIT_OK);
    assert_ptr_equal(device.context, fake_cuda_host_context());
    assert_int_equal(fake_cuda_calls("cuDevicePrimaryCtxRetain"), 0);
    fake_cuda()->cuCtxGetCurrent(&current);
    assert_ptr_equal(current, fake_cuda_host_context());
    fj_device_close(&device);
}

static void test_enter_and_leave(void **state)
{
    (void)state;
    struct fj_device device;
    CUcontext previous, current;
    assert_int_equal(fj_device_open(fake_cuda(), NULL, 0, &device), FAJIT_OK);
    fake_cuda()->cuCtxSetCurrent(fake_cuda_host_context());
    assert_int_equal(fj_device_enter(&device, &previous), FAJIT_OK);
    fake_cuda()->cuCtxGetCurrent(&current);
    assert_ptr_equal(current, device.context);
    fj_device_leave(&device, previous);
    fake_cuda()->cuCtxGetCurrent(&current);
    assert_ptr_equal(current, fake_cuda_host_context());
    fj_device_close(&device);
}

static void test_refusals(void **state)
{
    (void)state;
    struct fj_device device;
    check_error(fj_device_open(fake_cuda(), NULL, 3, &device), FAJIT_E_NO_DEVICE,
                "device 3 does not exist: the driver has 0 to 0");
    fake.devices = 0;
    check_error(fj_device_open(fake_cuda(), NULL, 0, &device), FAJIT_E_NO_DEVICE, "sees no GPU");
    fake_cuda_fail("cuInit", 1, CUDA_ERROR_NO_DEVICE);
    check_error(fj_device_open(fake_cuda(), NULL, 0, &device), FAJIT_E_NO_DEVICE, "FAJIT_DEVICE");
}

static void test_every_failure_leaves_nothing(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct fj_device device = {.device = 77};
        fake_cuda_reset();
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int status = fj_device_open(fake_cuda(), NULL, 0, &device);
        if (!fake_cuda_failed()) {
            assert_int_equal(status, FAJIT_OK);
            assert_true(nth > 10); // it did call the driver
            break;
        }
        if (status == FAJIT_OK) { // an attribute that one can do without
            fj_device_close(&device);
            assert_string_equal(fj_err_text() + strcspn(fj_err_text(), "("),
                                "(999): made up by a test");
        } else {
            assert_int_equal(device.device, 77); // outputs untouched
        }
        assert_int_equal(fake_cuda_live(), 0);
        assert_int_equal(fake.misuses, 0);
    }
}

static void test_result_meanings(void **state)
{
    (void)state;
    const struct fj_cuda *cuda = fake_cuda();
    assert_int_equal(fj_cuda_check(cuda, CUDA_SUCCESS, "cuX"), FAJIT_OK);
    check_error(fj_cuda_check(cuda, CUDA_ERROR_OUT_OF_MEMORY, "cuMemAlloc"), FAJIT_E_NOMEM,
                "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory");
    check_error(fj_cuda_check(cuda, CUDA_ERROR_ILLEGAL_ADDRESS, "cuCtxSynchronize"),
                FAJIT_E_CONTEXT_LOST, "unusable");
    check_error(fj_cuda_check(cuda, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "cuMemAlloc"),
                FAJIT_E_CAPTURE, "capture");
    check_error(fj_cuda_check(cuda, CUDA_ERROR_INVALID_VALUE, "cuX"), FAJIT_E_CUDA, "(1)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_primary_context, set_up),
        cmocka_unit_test_setup(test_given_context_wins, set_up),
        cmocka_unit_test_setup(test_current_context_is_used, set_up),
        cmocka_unit_test_setup(test_enter_and_leave, set_up),
        cmocka_unit_test_setup(test_refusals, set_up),
        cmocka_unit_test_setup(test_every_failure_leaves_nothing, set_up),
        cmocka_unit_test_setup(test_result_meanings, set_up),
    };
    return cmocka_run_group_tests_name("cuda_device", tests, NULL, NULL);
}
