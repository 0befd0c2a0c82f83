#include "test.h"

#include "cuda/module.h"
#include "fake_cuda.h"

static const char image[] = "\177ELF, as far as anyone here looks";
static struct fj_device device;

static int set_up(void **state)
{
    (void)state;
    fake_cuda_reset();
    return fj_device_open(fake_cuda(), NULL, 0, &device);
}

static int tear_down(void **state)
{
    (void)state;
    fj_device_close(&device);
    return fake_cuda_live() || fake.misuses;
}

static void test_load(void **state)
{
    (void)state;
    struct fj_module module;
    CUcontext current;
    fake.registers = 168;
    fake.local_bytes = 16;
    fake.smem_static_bytes = 64;
    assert_int_equal(fj_module_load(&device, image, "kernel", 200000, &module), FAJIT_OK);
    assert_int_equal(module.registers, 168);
    assert_int_equal(module.local_bytes, 16);
    assert_int_equal(module.smem_static_bytes, 64);
    assert_int_equal(module.max_threads, 1024);
    assert_int_equal(fake.smem_limit_bytes, 200000);
    assert_int_equal(fake_cuda_calls("cuFuncLoad"), 1);
    fake_cuda()->cuCtxGetCurrent(&current);
    assert_null(current);
    fj_module_unload(&device, &module);
    assert_null(module.module);
    fj_module_unload(&device, &module); // of nothing: nothing
    assert_int_equal(fake_cuda_calls("cuModuleUnload"), 1);
}

static void test_driver_without_func_load(void **state)
{
    (void)state;
    struct fj_cuda old = *fake_cuda();
    struct fj_device on_old = device;
    struct fj_module module;
    old.cuFuncLoad = NULL;
    on_old.cuda = &old;
    assert_int_equal(fj_module_load(&on_old, image, "kernel", 0, &module), FAJIT_OK);
    assert_true(fake_cuda_calls("cuFuncGetAttribute") > 0); // this is what loads it there
    fj_module_unload(&on_old, &module);
}

static void test_too_much_shared_memory(void **state)
{
    (void)state;
    struct fj_module module = {0};
    fake.smem_static_bytes = 1024;
    check_error(fj_module_load(&device, image, "kernel", 232448, &module), FAJIT_E_UNSUPPORTED,
                "kernel needs 233472 bytes of shared memory per CTA, Fake GPU has 232448");
    assert_null(module.module);
    assert_int_equal(fake_cuda_live(), 1); // the context only
}

static void test_missing_kernel(void **state)
{
    (void)state;
    struct fj_module module;
    fake.kernel_name = "other";
    check_error(fj_module_load(&device, image, "kernel", 0, &module), FAJIT_E_CUDA,
                "no kernel named kernel");
}

static void test_refused_image(void **state)
{
    (void)state;
    struct fj_module module;
    fake.load_log = "ptxas fatal: no such thing\nsecond line";
    fake_cuda_fail("cuModuleLoadDataEx", 1, CUDA_ERROR_INVALID_PTX);
    check_error(fj_module_load(&device, image, "kernel", 0, &module), FAJIT_E_CUDA,
                "kernel: ptxas fatal: no such thing: cuModuleLoadDataEx");
    assert_null(strstr(fj_err_text(), "second"));
}

static void test_ptx_newer_than_driver(void **state)
{
    (void)state;
    struct fj_module module;
    device.gpu.driver_version = 12080;
    fake_cuda_fail("cuModuleLoadDataEx", 1, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    check_error(fj_module_load(&device, "//\n.version 9.0\n.target sm_90", "kernel", 0, &module),
                FAJIT_E_CUDA, "the driver (CUDA 12.8) cannot read kernel's PTX 9.0");
}

static void test_occupancy(void **state)
{
    (void)state;
    struct fj_module module;
    int ctas = 0;
    fake.ctas_per_sm = 3;
    assert_int_equal(fj_module_load(&device, image, "kernel", 1024, &module), FAJIT_OK);
    assert_int_equal(fj_module_occupancy(&device, &module, 128, 1024, &ctas), FAJIT_OK);
    assert_int_equal(ctas, 3);
    fj_module_unload(&device, &module);
}

static void test_params(void **state)
{
    (void)state;
    struct fj_module module;
    struct fj_cuda old = *fake_cuda();
    size_t bytes[3] = {0};
    int count = 0;
    fake.n_params = 3;
    memcpy(fake.param_bytes, (size_t[]){8, 4, 128}, sizeof(bytes));
    assert_int_equal(fj_module_load(&device, image, "kernel", 0, &module), FAJIT_OK);
    assert_int_equal(fj_module_params(&device, &module, 3, bytes, &count), FAJIT_OK);
    assert_int_equal(count, 3);
    assert_true(bytes[0] == 8 && bytes[1] == 4 && bytes[2] == 128);
    check_error(fj_module_params(&device, &module, 2, bytes, &count), FAJIT_E_UNSUPPORTED,
                "more than 2 parameters");
    fake_cuda_fail("cuFuncGetParamInfo", 2, CUDA_ERROR_UNKNOWN);
    check_error(fj_module_params(&device, &module, 3, bytes, &count), FAJIT_E_CUDA,
                "cuFuncGetParamInfo");
    fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
    fj_module_unload(&device, &module);

    old.cuFuncGetParamInfo = NULL;
    const struct fj_cuda *current = device.cuda;
    device.cuda = &old;
    assert_int_equal(fj_module_params(&device, &module, 3, bytes, &count), FAJIT_OK);
    assert_int_equal(count, -1);
    device.cuda = current;
}

static void test_every_failure_leaves_nothing(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct fj_module module = {0};
        fake_cuda_fail(NULL, nth, CUDA_ERROR_UNKNOWN);
        int status = fj_module_load(&device, image, "kernel", 1024, &module);
        bool failed = fake_cuda_failed();
        fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
        if (!failed) {
            assert_int_equal(status, FAJIT_OK);
            assert_true(nth > 8);
            fj_module_unload(&device, &module);
            break;
        }
        if (status == FAJIT_OK) // going back to the context before: nothing one could do
            fj_module_unload(&device, &module);
        else
            assert_null(module.module);
        assert_int_equal(fake_cuda_live(), 1);
        fake_cuda()->cuCtxSetCurrent(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_load, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_params, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_driver_without_func_load, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_much_shared_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_kernel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_image, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ptx_newer_than_driver, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_occupancy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_failure_leaves_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("cuda_module", tests, NULL, NULL);
}
