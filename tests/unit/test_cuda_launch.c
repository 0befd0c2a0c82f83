#include "test.h"

#include "cuda/launch.h"
#include "cuda/module.h"
#include "fake_cuda.h"

static struct fj_device device;
static struct fj_module module;
static CUcontext previous;

static int set_up(void **state)
{
    (void)state;
    fake_cuda_reset();
    return fj_device_open(fake_cuda(), NULL, 0, &device) ||
           fj_module_load(&device, "\177ELF", "kernel", 0, &module) ||
           fj_device_enter(&device, &previous);
}

static int tear_down(void **state)
{
    (void)state;
    fj_device_leave(&device, previous);
    fj_module_unload(&device, &module);
    fj_device_close(&device);
    return fake_cuda_live() || fake.misuses;
}

static void test_plain(void **state)
{
    (void)state;
    void *pointer = &device;
    void *args[] = {&pointer};
    struct fj_cuda_launch launch = {
        .grid = {7, 2, 3}, .block = {128, 1, 1}, .smem_bytes = 4096, .args = args};
    assert_int_equal(fj_cuda_launch(fake_cuda(), module.function, &launch, NULL), FAJIT_OK);
    assert_int_equal(fake_cuda_calls("cuLaunchKernel"), 1);
    assert_memory_equal(fake.last.grid, launch.grid, sizeof(launch.grid));
    assert_memory_equal(fake.last.block, launch.block, sizeof(launch.block));
    assert_int_equal(fake.last.smem_bytes, 4096);
    assert_ptr_equal(fake.last.args0, pointer);
    assert_int_equal(fake.last.cluster[0], 0);
}

static void test_cluster(void **state)
{
    (void)state;
    void *pointer = NULL;
    void *args[] = {&pointer};
    struct fj_cuda_launch launch = {
        .grid = {8, 1, 1}, .block = {384, 1, 1}, .cluster = {2}, .smem_bytes = 1, .args = args};
    assert_int_equal(fj_cuda_launch(fake_cuda(), module.function, &launch, NULL), FAJIT_OK);
    assert_int_equal(fake_cuda_calls("cuLaunchKernel"), 0);
    assert_int_equal(fake.last.cluster[0], 2);
    assert_int_equal(fake.last.cluster[1], 1);
    assert_int_equal(fake.last.cluster[2], 1);
    assert_int_equal(fake.last.block[0], 384);
    struct fj_cuda old = *fake_cuda();
    old.cuLaunchKernelEx = NULL;
    check_error(fj_cuda_launch(&old, module.function, &launch, NULL), FAJIT_E_UNSUPPORTED,
                "cluster=1");
}

// One driver call per launch and nothing else, captured or not.
static void test_calls_nothing_else(void **state)
{
    (void)state;
    void *pointer = NULL;
    void *args[] = {&pointer};
    CUstream stream;
    CUgraph graph;
    struct fj_cuda_launch launch = {.grid = {1, 1, 1}, .block = {32, 1, 1}, .args = args};
    const struct fj_cuda *cuda = fake_cuda();
    assert_int_equal(cuda->cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
    cuda->cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
    int before = fake_cuda_calls(NULL);
    assert_int_equal(fj_cuda_launch(cuda, module.function, &launch, stream), FAJIT_OK);
    assert_int_equal(fake_cuda_calls(NULL), before + 1);
    assert_ptr_equal(fake.last.stream, stream);
    cuda->cuStreamEndCapture(stream, &graph);
    cuda->cuGraphDestroy(graph);
    cuda->cuStreamDestroy_v2(stream);
}

static void test_launch_failure(void **state)
{
    (void)state;
    struct fj_cuda_launch launch = {.grid = {1, 0, 1}, .block = {32, 1, 1}};
    check_error(fj_cuda_launch(fake_cuda(), module.function, &launch, NULL), FAJIT_E_CUDA,
                "cuLaunchKernel");
}

static const struct fj_tma_params good = {
    .dtype = FAJIT_BF16,
    .rank = 4,
    .data = (void *)0x7f0000001000,
    .dims = {128, 32, 4096, 2},
    .stride_bytes = {256, 8192, 33554432},
    .box = {64, 1, 128, 1},
    .swizzle_bytes = 128,
};

static void test_tensor_map(void **state)
{
    (void)state;
    CUtensorMap map;
    assert_int_equal(fj_tma_encode(fake_cuda(), &good, &map), FAJIT_OK);
    assert_int_equal(map.opaque[0], CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 | 4 << 16 |
                                        (uint64_t)CU_TENSOR_MAP_SWIZZLE_128B << 32);
    assert_int_equal(map.opaque[1], 0x7f0000001000);
    assert_int_equal(map.opaque[2], 128 | 64ull << 40);
    assert_int_equal(map.opaque[4], 4096 | 128ull << 40);
    assert_int_equal(map.opaque[8], 33554432);
}

static void test_tensor_map_refusals(void **state)
{
    (void)state;
    CUtensorMap map;
    const struct fj_cuda *cuda = fake_cuda();
    struct fj_tma_params params;
#define REFUSES(change, sentence)                                                                  \
    params = good;                                                                                 \
    params.change;                                                                                 \
    check_error(fj_tma_encode(cuda, &params, &map), FAJIT_E_INVAL, sentence)
    REFUSES(rank = 6, "rank 6");
    REFUSES(rank = 0, "rank 0");
    REFUSES(dtype = FAJIT_DTYPE_NONE, "dtype 0");
    REFUSES(data = (void *)0x1008, "multiple of 16 bytes");
    REFUSES(dims[2] = 0, "dimension 2 has 0 elements");
    REFUSES(dims[0] = (1ull << 32) + 1, "1 to 2^32");
    REFUSES(box[2] = 257, "257 elements along dimension 2");
    REFUSES(box[0] = 128, "a row of the tile has 256 bytes");
    REFUSES(box[0] = 4, "a row of the tile has 8 bytes");
    REFUSES(stride_bytes[0] = 264, "stride of dimension 1 is 264 bytes");
    REFUSES(stride_bytes[2] = 1ull << 40, "stride of dimension 3");
    REFUSES(swizzle_bytes = 256, "swizzle of 256 bytes");
    assert_int_equal(fake_cuda_calls("cuTensorMapEncodeTiled"), 0);
    struct fj_cuda old = *cuda;
    old.cuTensorMapEncodeTiled = NULL;
    check_error(fj_tma_encode(&old, &good, &map), FAJIT_E_UNSUPPORTED, "CUDA 12.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cluster, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_calls_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_launch_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tensor_map, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tensor_map_refusals, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("cuda_launch", tests, NULL, NULL);
}
