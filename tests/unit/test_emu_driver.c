// The emulated driver: devices, contexts, memory, modules, functions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include "emu_session.h"

#include "base/err.h"

static void test_before_init(void **state)
{
    (void)state;
    const struct fj_cuda *cuda = fj_emu_driver();
    int count, version = 0;
    CUdeviceptr memory;
    CUcontext context;
    assert_int_equal(cuda->cuDeviceGetCount(&count), CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(cuda->cuMemAlloc_v2(&memory, 16), CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(cuda->cuDevicePrimaryCtxRetain(&context, 0), CUDA_ERROR_NOT_INITIALIZED);
    OK(cuda->cuDriverGetVersion(&version));
    assert_true(version >= 12000);
    assert_int_equal(cuda->cuInit(1), CUDA_ERROR_INVALID_VALUE);
    OK(cuda->cuInit(0));
}

static void test_table_is_full(void **state)
{
    (void)state;
    const struct fj_cuda *cuda = fj_emu_driver();
    void *const *entry = (void *const *)cuda;
    for (size_t i = 0; i < sizeof(*cuda) / sizeof(*entry); i++)
        assert_non_null(entry[i]);
}

static int attribute(const struct fj_cuda *cuda, CUdevice_attribute which, const char *gpu)
{
    int value = -1;
    OK(cuda->cuDeviceGetAttribute(&value, which, fj_emu_find_gpu(gpu)));
    return value;
}

static void test_devices(void **state)
{
    (void)state;
    const struct fj_cuda *cuda = fj_emu_driver();
    char name[64];
    int count, value;
    size_t bytes;
    CUdevice device;
    OK(cuda->cuDeviceGetCount(&count));
    assert_int_equal(cuda->cuDeviceGet(&device, count), CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(cuda->cuDeviceGet(&device, -1), CUDA_ERROR_INVALID_DEVICE);
    OK(cuda->cuDeviceGet(&device, fj_emu_find_gpu("h200")));
    OK(cuda->cuDeviceGetName(name, sizeof(name), device));
    assert_string_equal(name, "NVIDIA H200 (emulated)");
    OK(cuda->cuDeviceTotalMem_v2(&bytes, device));
    assert_true(bytes > (size_t)139 << 30);
    assert_int_equal(attribute(cuda, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, "h200"), 132);
    assert_int_equal(attribute(cuda, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, "rtx4090"), 8);
    assert_int_equal(attribute(cuda, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, "rtx4090"), 9);
    assert_int_equal(attribute(cuda, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, "a100"), 0);
    assert_int_equal(attribute(cuda, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, "h200"), 1);
    assert_int_equal(attribute(cuda, CU_DEVICE_ATTRIBUTE_WARP_SIZE, "t4"), 32);
    assert_int_equal(cuda->cuDeviceGetAttribute(&value, (CUdevice_attribute)9999, device),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(fj_emu_find_gpu("voodoo2"), -1);
    assert_non_null(strstr(fj_err_text(), "h200"));
}

static void check_no_place(const char *list, int place, int ordinal, const char *sentence)
{
    assert_int_equal(fj_emu_find_device(list, place), ordinal);
    if (!strstr(fj_err_text(), sentence))
        fail_msg("%s: no \"%s\" in: %s", list, sentence, fj_err_text());
}

static void test_device_lists(void **state)
{
    (void)state;
    const struct fj_cuda *cuda = fj_emu_driver();
    CUcontext a, b;
    const int first = fj_emu_find_device("h200,h200,a100", 0);
    const int second = fj_emu_find_device("h200,h200,a100", 1);
    assert_int_equal(first, fj_emu_find_gpu("h200"));
    assert_int_not_equal(first, second);
    assert_int_equal(fj_emu_find_device("h200,h200,a100", 2), fj_emu_find_gpu("a100"));
    assert_int_equal(fj_emu_count_devices("h200,h200,a100"), 3);
    assert_int_equal(fj_emu_count_devices("t4"), 1);
    OK(cuda->cuDevicePrimaryCtxRetain(&a, first));
    OK(cuda->cuDevicePrimaryCtxRetain(&b, second));
    assert_ptr_not_equal(a, b);
    OK(cuda->cuDevicePrimaryCtxRelease_v2(first));
    OK(cuda->cuDevicePrimaryCtxRelease_v2(second));
    check_no_place("h200,h200", 2, -1, "are 0 to 1");
    check_no_place("h200", 1, -1, "is one GPU, device 0");
    check_no_place("h200", -1, -1, "device -1 does not exist");
    check_no_place("h200,,a100", 0, -2, "no emulated GPU is called \"\"");
    check_no_place("h200,voodoo2", 0, -2, "\"voodoo2\"");
    check_no_place("", 0, -2, "\"\"");
    check_no_place("t4,t4,t4,t4,t4,t4,t4,t4,t4,t4,t4,t4,t4,t4,t4,t4,t4", 0, -2, "more than 16");
}

static void test_contexts(void **state)
{
    (void)state;
    const struct fj_cuda *cuda = fj_emu_driver();
    CUcontext a, b, again, now;
    CUdevice device;
    OK(cuda->cuDevicePrimaryCtxRetain(&a, 0));
    OK(cuda->cuDevicePrimaryCtxRetain(&again, 0));
    OK(cuda->cuDevicePrimaryCtxRetain(&b, 1));
    assert_ptr_equal(a, again);
    assert_int_equal(cuda->cuCtxGetDevice(&device), CUDA_ERROR_INVALID_CONTEXT);
    OK(cuda->cuCtxPushCurrent_v2(a));
    OK(cuda->cuCtxPushCurrent_v2(b));
    OK(cuda->cuCtxGetDevice(&device));
    assert_int_equal(device, 1);
    OK(cuda->cuCtxSetCurrent(a)); // replaces the top
    OK(cuda->cuCtxGetDevice(&device));
    assert_int_equal(device, 0);
    OK(cuda->cuCtxPopCurrent_v2(&now));
    assert_ptr_equal(now, a);
    OK(cuda->cuCtxPopCurrent_v2(&now));
    assert_ptr_equal(now, a);
    assert_int_equal(cuda->cuCtxPopCurrent_v2(&now), CUDA_ERROR_INVALID_CONTEXT);
    OK(cuda->cuCtxGetCurrent(&now));
    assert_null(now);
    OK(cuda->cuDevicePrimaryCtxRelease_v2(1));
    assert_int_equal(cuda->cuCtxPushCurrent_v2(b), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    OK(cuda->cuDevicePrimaryCtxRelease_v2(0));
    OK(cuda->cuCtxSetCurrent(a)); // one reference is left
    OK(cuda->cuCtxSynchronize());
    OK(cuda->cuCtxSetCurrent(NULL));
    OK(cuda->cuDevicePrimaryCtxRelease_v2(0));
    assert_int_equal(cuda->cuDevicePrimaryCtxRelease_v2(0), CUDA_ERROR_INVALID_CONTEXT);
}

static void test_memory(void **state)
{
    (void)state;
    struct session s;
    session_open(&s, "t4", NULL);
    size_t before, left, total;
    CUdeviceptr a, b, c;
    OK(s.cuda->cuMemGetInfo_v2(&before, &total));
    assert_int_equal(s.cuda->cuMemAlloc_v2(&a, 0), CUDA_ERROR_INVALID_VALUE);
    a = session_alloc(&s, 1000);
    OK(s.cuda->cuMemGetInfo_v2(&left, &total));
    assert_int_equal(before - left, 1000);
    b = session_alloc(&s, left - 100); // address space only: nothing touches it
    assert_int_equal(s.cuda->cuMemAlloc_v2(&c, 101), CUDA_ERROR_OUT_OF_MEMORY);
    OK(s.cuda->cuMemFree_v2(b));
    assert_int_equal(s.cuda->cuMemFree_v2(b), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(s.cuda->cuMemFree_v2(a + 16), CUDA_ERROR_INVALID_VALUE);
    OK(s.cuda->cuMemFree_v2(0));
    b = session_alloc(&s, 1000);
    OK(s.cuda->cuMemsetD8_v2(a, 0x5a, 1000));
    OK(s.cuda->cuMemsetD32Async(b + 4, 0x01020304, 2, NULL));
    OK(s.cuda->cuMemcpyDtoD_v2(a + 500, b, 16));
    unsigned char host[1000];
    OK(s.cuda->cuMemcpyDtoH_v2(host, a, 1000));
    assert_int_equal(host[499], 0x5a);
    assert_int_equal(host[500], 0);
    assert_int_equal(host[504], 4);
    assert_int_equal(host[511], 1);
    assert_int_equal(host[512], 0);
    assert_int_equal(host[516], 0x5a);
    assert_int_equal(s.cuda->cuMemcpyDtoH_v2(host, a + 1, 1000), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(s.cuda->cuMemcpyHtoD_v2(a, host, 1001), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(s.cuda->cuMemsetD32Async(a + 2, 0, 1, NULL), CUDA_ERROR_INVALID_VALUE);
    const char *text;
    OK(s.cuda->cuGetErrorString(CUDA_ERROR_INVALID_VALUE, &text));
    assert_non_null(strstr(text, "aligned"));
    session_close(&s);
}

static void test_pointer_attributes(void **state)
{
    (void)state;
    struct session s;
    session_open(&s, "a100", NULL);
    CUdeviceptr a = session_alloc(&s, 100), start;
    unsigned kind;
    int ordinal;
    size_t size;
    CUcontext context;
    OK(s.cuda->cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, a + 5));
    assert_int_equal(kind, CU_MEMORYTYPE_DEVICE);
    OK(s.cuda->cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, a));
    assert_int_equal(ordinal, s.device);
    OK(s.cuda->cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, a + 99));
    assert_int_equal(start, a);
    OK(s.cuda->cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, a + 99));
    assert_int_equal(size, 100);
    OK(s.cuda->cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, a));
    assert_ptr_equal(context, s.context);
    assert_int_equal(s.cuda->cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                                   (CUdeviceptr)(uintptr_t)&s),
                     CUDA_ERROR_INVALID_VALUE);
    session_close(&s); // frees what is left
    assert_int_equal(
        fj_emu_driver()->cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, a),
        CUDA_ERROR_INVALID_VALUE);
}

static CUresult load(struct session *s, const char *image, char log[512])
{
    CUmodule module;
    CUjit_option keys[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)512};
    log[0] = '\0';
    CUresult result = s->cuda->cuModuleLoadDataEx(&module, image, 2, keys, values);
    if (result == CUDA_SUCCESS)
        OK(s->cuda->cuModuleUnload(module));
    return result;
}

static void test_module_errors(void **state)
{
    (void)state;
    struct session s;
    char log[512];
    session_open(&s, "a100", NULL);
    OK(load(&s, PTX_HEAD("sm_80") PTX_FILL, log));
    OK(load(&s, PTX_HEAD("sm_75") PTX_FILL, log));
    assert_int_equal(load(&s, "\177ELF\2\1\1", log), CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_int_equal(load(&s, "no image at all", log), CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(load(&s, PTX_HEAD("sm_90") PTX_FILL, log), CUDA_ERROR_INVALID_PTX);
    assert_non_null(strstr(log, "sm_90"));
    assert_int_equal(load(&s, PTX_HEAD("sm_80") ".visible .entry f() { frobnicate.b32 %r1; }", log),
                     CUDA_ERROR_INVALID_PTX);
    assert_non_null(strstr(log, "frobnicate"));
    session_close(&s);
    session_open(&s, "b200", NULL); // sm_90a is for sm_90 alone
    assert_int_equal(load(&s, PTX_HEAD("sm_90a") PTX_FILL, log), CUDA_ERROR_INVALID_PTX);
    OK(load(&s, PTX_HEAD("sm_90") PTX_FILL, log));
    session_close(&s);
}

#define PTX_SIZED                                                                                  \
    ".visible .entry sized(.param .u64 p)\n"                                                       \
    ".maxntid 256, 1, 1\n"                                                                         \
    "{\n"                                                                                          \
    ".shared .align 16 .b8 tile[8192];\n"                                                          \
    ".reg .b32 %r<3>;\n"                                                                           \
    "mov.u32 %r1, tile;\n"                                                                         \
    "st.shared.u32 [%r1], %r1;\n"                                                                  \
    "ret;\n"                                                                                       \
    "}\n"

static void test_functions(void **state)
{
    (void)state;
    struct session s;
    CUfunction f;
    int value;
    session_open(&s, "h200", PTX_HEAD("sm_90") PTX_SIZED);
    assert_int_equal(s.cuda->cuModuleGetFunction(&f, s.module, "absent"), CUDA_ERROR_NOT_FOUND);
    OK(s.cuda->cuModuleGetFunction(&f, s.module, "sized"));
    OK(s.cuda->cuFuncLoad(f));
    size_t offset = 1, bytes = 0;
    OK(s.cuda->cuFuncGetParamInfo(f, 0, &offset, &bytes));
    assert_true(offset == 0 && bytes == 8);
    assert_int_equal(s.cuda->cuFuncGetParamInfo(f, 1, &offset, &bytes), CUDA_ERROR_INVALID_VALUE);
    OK(s.cuda->cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, f));
    assert_int_equal(value, 8192);
    OK(s.cuda->cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f));
    assert_int_equal(value, 256);
    OK(s.cuda->cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, f));
    assert_in_range(value, 8, 32);
    CUfunction_attribute dynamic = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    OK(s.cuda->cuFuncGetAttribute(&value, dynamic, f));
    assert_int_equal(value, 49152 - 8192);
    assert_int_equal(s.cuda->cuFuncSetAttribute(f, dynamic, 227 * 1024 - 8192 + 1),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(s.cuda->cuFuncSetAttribute(f, dynamic, -1), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(s.cuda->cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS, 3),
                     CUDA_ERROR_INVALID_VALUE);
    OK(s.cuda->cuFuncSetAttribute(f, dynamic, 227 * 1024 - 8192));
    OK(s.cuda->cuFuncGetAttribute(&value, dynamic, f));
    assert_int_equal(value, 227 * 1024 - 8192);
    session_close(&s);
}

static void test_occupancy(void **state)
{
    (void)state;
    struct session s;
    CUfunction f;
    int blocks;
    session_open(&s, "h200", PTX_HEAD("sm_90") PTX_SIZED);
    OK(s.cuda->cuModuleGetFunction(&f, s.module, "sized"));
    OK(s.cuda->cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 256, 0));
    assert_int_equal(blocks, 8); // 2048 threads; 228 KiB / 9 KiB would be 25
    OK(s.cuda->cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 32, 0));
    assert_int_equal(blocks, 25);
    OK(s.cuda->cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 32, 40960));
    assert_int_equal(blocks, 4); // 49 KiB each
    OK(s.cuda->cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 32, 40961));
    assert_int_equal(blocks, 0); // more than it may have
    OK(s.cuda->cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 512, 0));
    assert_int_equal(blocks, 0); // built for 256
    session_close(&s);
}

static void test_tensor_map(void **state)
{
    (void)state;
    struct session s;
    session_open(&s, "h200", NULL);
    CUtensorMap map;
    cuuint64_t dims[] = {64, 32}, strides[] = {128};
    cuuint32_t box[] = {64, 32}, steps[] = {1, 1};
    CUdeviceptr a = session_alloc(&s, 64 * 32 * 2);
    for (int wrong = 0; wrong < 2; wrong++)
        assert_int_equal(s.cuda->cuTensorMapEncodeTiled(
                             &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, (void *)(uintptr_t)a, dims,
                             strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                             wrong ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_128B,
                             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                         wrong ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS);
    session_close(&s);
}

static void test_error_names(void **state)
{
    (void)state;
    const struct fj_cuda *cuda = fj_emu_driver();
    const char *text;
    OK(cuda->cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    assert_string_equal(text, "CUDA_ERROR_ILLEGAL_ADDRESS");
    OK(cuda->cuGetErrorString(CUDA_ERROR_MISALIGNED_ADDRESS, &text));
    assert_string_equal(text, "misaligned address");
    assert_int_equal(cuda->cuGetErrorName((CUresult)12345, &text), CUDA_ERROR_INVALID_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_init), // first: it initialises the driver
        cmocka_unit_test(test_table_is_full), cmocka_unit_test(test_devices),
        cmocka_unit_test(test_device_lists),  cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_pointer_attributes),
        cmocka_unit_test(test_module_errors), cmocka_unit_test(test_functions),
        cmocka_unit_test(test_occupancy),     cmocka_unit_test(test_tensor_map),
        cmocka_unit_test(test_error_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
