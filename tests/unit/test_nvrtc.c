#include "test.h"

#include "cuda/nvrtc.h"
#include "cuda/ptxas_log.h"

static void test_arch_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int cc;
    } good[] = {{"sm_90", 90},         {"90", 90},       {"sm_90a", 90}, {"compute_90", 90},
                {"compute_120f", 120}, {"sm_103f", 103}, {"sm_75", 75}};
    static const char *const bad[] = {
        "",        "sm_",  "sm_70", "sm_91",  "sm_90x",
        "sm_90aa", "h100", "-90",   "sm_ 90", "9000000000000000000090"};
    for (size_t i = 0; i < COUNT(good); i++) {
        int cc = 0;
        assert_int_equal(fj_arch_parse(good[i].text, &cc), FAJIT_OK);
        assert_int_equal(cc, good[i].cc);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int cc = 7;
        check_error(fj_arch_parse(bad[i], &cc), FAJIT_E_INVAL, "sm_75, sm_80");
        assert_int_equal(cc, 7);
    }
}

// --- Targets, with an NVRTC that only knows its version and its architectures ------------------

static const int *archs;
static int n_archs;

static nvrtcResult count_archs(int *ret_count)
{
    *ret_count = n_archs;
    return NVRTC_SUCCESS;
}

static nvrtcResult get_archs(int *ret_archs)
{
    memcpy(ret_archs, archs, (size_t)n_archs * sizeof(*archs));
    return NVRTC_SUCCESS;
}

static void check_target(const struct fj_nvrtc *nvrtc, int cc, bool want_ptx, const char *name)
{
    struct fj_target target = {0};
    assert_int_equal(fj_target_for(nvrtc, cc, want_ptx, &target), FAJIT_OK);
    assert_string_equal(target.name, name);
    assert_int_equal(target.is_ptx, strncmp(name, "compute_", 8) == 0);
}

static struct fj_nvrtc nvrtc_of(int major, int minor, const int *list, size_t count)
{
    archs = list;
    n_archs = (int)count;
    return (struct fj_nvrtc){.major = major,
                             .minor = minor,
                             .nvrtcGetNumSupportedArchs = count_archs,
                             .nvrtcGetSupportedArchs = get_archs};
}

static void test_targets_without_nvrtc(void **state)
{
    (void)state;
    static const struct {
        int cc;
        const char *cubin, *ptx;
    } cases[] = {
        {75, "sm_75", "compute_75"},      {80, "sm_80", "compute_80"},
        {89, "sm_89", "compute_89"},      {90, "sm_90a", "compute_90a"},
        {100, "sm_100f", "compute_100f"}, {103, "sm_103f", "compute_103f"},
        {110, "sm_110", "compute_110"},   {120, "sm_120f", "compute_120f"},
        {121, "sm_120f", "compute_120f"},
    };
    struct fj_target target;
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_target(NULL, cases[i].cc, false, cases[i].cubin);
        check_target(NULL, cases[i].cc, true, cases[i].ptx);
    }
    check_error(fj_target_for(NULL, 0, false, &target), FAJIT_E_INVAL, "not a compute capability");
}

static void test_targets_of_12_4(void **state)
{
    (void)state;
    static const int list[] = {50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90};
    struct fj_nvrtc nvrtc = nvrtc_of(12, 4, list, COUNT(list));
    check_target(&nvrtc, 90, false, "sm_90a");
    check_target(&nvrtc, 88, false, "sm_87");       // same major version: the cubin runs
    check_target(&nvrtc, 100, false, "compute_90"); // newer than it knows: plain PTX
    check_target(&nvrtc, 121, false, "compute_90");
    check_target(&nvrtc, 100, true, "compute_90");
}

static void test_targets_of_12_8(void **state)
{
    (void)state;
    static const int list[] = {75, 80, 86, 87, 89, 90, 100, 101, 120};
    struct fj_nvrtc nvrtc = nvrtc_of(12, 8, list, COUNT(list));
    check_target(&nvrtc, 100, false, "sm_100a");
    check_target(&nvrtc, 120, false, "sm_120a");
    check_target(&nvrtc, 121, false, "sm_120"); // an `a` cubin would not run on 12.1
    check_target(&nvrtc, 110, false, "compute_101");
}

static void test_targets_of_13_0(void **state)
{
    (void)state;
    static const int list[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};
    struct fj_nvrtc nvrtc = nvrtc_of(13, 0, list, COUNT(list));
    struct fj_target target;
    check_target(&nvrtc, 100, false, "sm_100f");
    check_target(&nvrtc, 121, false, "sm_120f");
    check_target(&nvrtc, 130, false, "compute_121");
    check_error(fj_target_for(&nvrtc, 70, false, &target), FAJIT_E_UNSUPPORTED,
                "compiles for sm_75 and newer, not for sm_70");
}

// --- What ptxas says; the logs are of NVRTC 13.0 -----------------------------------------------

static void test_log_with_spills(void **state)
{
    (void)state;
    struct fj_compiled read;
    fj_ptxas_log_read(
        "ptxas info    : 0 bytes gmem\n"
        "ptxas info    : Compiling entry function 'k' for 'sm_90a'\n"
        "ptxas info    : Function properties for k\n"
        "ptxas         .     2304 bytes stack frame, 2332 bytes spill stores, 3556 bytes spill "
        "loads\n"
        "ptxas info    : Used 32 registers, used 1 barriers, 2304 bytes cumulative stack size, "
        "4096 bytes smem\n"
        "ptxas info    : Compile time = 157.285 ms\n"
        "ptxas info    : Function properties for _Z6helperf\n"
        "ptxas         .     0 bytes stack frame, 16 bytes spill stores, 16 bytes spill loads\n",
        &read);
    assert_int_equal(read.registers, 32);
    assert_int_equal(read.spill_bytes, 2332 + 3556 + 16 + 16);
    assert_int_equal(read.smem_static_bytes, 4096);
    assert_int_equal(read.local_bytes, 2304);
    assert_false(read.wgmma_serialised);
}

static void test_log_with_serialised_wgmma(void **state)
{
    (void)state;
    struct fj_compiled read;
    fj_ptxas_log_read(
        "ptxas info    : (C7519) warpgroup.arrive is injected in around line 53 by compiler to "
        "allow use of registers in GMMA in function 'k'\n"
        "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are "
        "serialized due to insufficient register resources for the wgmma pipeline in the function "
        "'k'\n"
        "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 30 registers, used 0 barriers\n",
        &read);
    assert_true(read.wgmma_serialised);
    assert_int_equal(read.registers, 30);
    assert_int_equal(read.spill_bytes, 0);
    assert_int_equal(read.smem_static_bytes, 0);
    fj_ptxas_log_read("ptxas info    : (C7519) warpgroup.arrive is injected in around line 53 by "
                      "compiler to allow use of registers in GMMA in function 'k'\n",
                      &read);
    assert_false(read.wgmma_serialised);
}

static void test_log_without_numbers(void **state)
{
    (void)state;
    struct fj_compiled read;
    fj_ptxas_log_read("", &read);
    assert_int_equal(read.registers, -1);
    assert_int_equal(read.spill_bytes, -1);
    assert_int_equal(read.smem_static_bytes, -1);
    assert_int_equal(read.local_bytes, -1);
    fj_ptxas_log_read("bytes stack frame\n Used registers", &read); // no number before the words
    assert_int_equal(read.registers, -1);
    assert_int_equal(read.local_bytes, -1);
}

// --- The real one ------------------------------------------------------------------------------

static const struct fj_nvrtc *real(void)
{
    const struct fj_nvrtc *nvrtc = NULL;
    if (fj_nvrtc_open(getenv("FAJIT_NVRTC"), 0, &nvrtc) == FAJIT_OK)
        return nvrtc;
    print_message("no NVRTC here, so nothing is compiled: %s\n", fj_err_text());
    skip();
    return NULL;
}

#define DOUBLER                                                                                    \
    "extern \"C\" __global__ void doubler(float *x)\n{\n    __shared__ float tile[64];\n"          \
    "    tile[threadIdx.x] = x[threadIdx.x];\n    __syncthreads();\n"                              \
    "    x[threadIdx.x] = 2.f * tile[63 - threadIdx.x];\n}\n"

static void test_compile_cubin(void **state)
{
    (void)state;
    const struct fj_nvrtc *nvrtc = real();
    struct fj_compile_params params = {.source = DOUBLER, .name = "doubler.cu", .seed_hex = "c0de"};
    struct fj_compiled first = {0}, second = {0};
    assert_int_equal(fj_target_for(nvrtc, 90, false, &params.target), FAJIT_OK);
    assert_int_equal(fj_compile(nvrtc, &params, &first), FAJIT_OK);
    assert_memory_equal(first.image, "\177ELF", 4);
    assert_in_range(first.registers, 4, 64);
    assert_int_equal(first.spill_bytes, 0);
    assert_int_equal(first.smem_static_bytes, 256);
    assert_int_equal(first.local_bytes, 0);
    assert_int_equal(fj_compile(nvrtc, &params, &second), FAJIT_OK);
    assert_int_equal(first.image_bytes, second.image_bytes);
    assert_memory_equal(first.image, second.image, first.image_bytes);
    fj_compiled_free(&first);
    fj_compiled_free(&second);
    assert_null(first.image);
}

static void test_compile_ptx(void **state)
{
    (void)state;
    const struct fj_nvrtc *nvrtc = real();
    struct fj_compile_params params = {.source = DOUBLER, .name = "doubler.cu", .lineinfo = true};
    struct fj_compiled compiled = {0};
    assert_int_equal(fj_target_for(nvrtc, 90, true, &params.target), FAJIT_OK);
    assert_int_equal(fj_compile(nvrtc, &params, &compiled), FAJIT_OK);
    const char *ptx = compiled.image;
    assert_int_equal(ptx[compiled.image_bytes - 1], '\0');
    assert_non_null(strstr(ptx, ".target sm_90a"));
    assert_non_null(strstr(ptx, ".entry doubler("));
    assert_non_null(strstr(ptx, ".loc"));
    assert_int_equal(compiled.registers, -1);
    fj_compiled_free(&compiled);
}

static void test_compile_error(void **state)
{
    (void)state;
    const struct fj_nvrtc *nvrtc = real();
    struct fj_compile_params params = {
        .source = "extern \"C\" __global__ void k(int *x)\n{\n    *x = missing;\n}\n",
        .name = "bad.cu"};
    struct fj_compiled compiled = {0};
    assert_int_equal(fj_target_for(nvrtc, 80, false, &params.target), FAJIT_OK);
    check_error(fj_compile(nvrtc, &params, &compiled), FAJIT_E_COMPILE,
                "bad.cu(3): error: identifier \"missing\" is undefined");
    assert_null(compiled.image);
    assert_non_null(strstr(compiled.log, "1 error detected"));
    fj_compiled_free(&compiled);
}

// An NVRTC that does not know one of the options still compiles.
static nvrtcResult (*real_compile)(nvrtcProgram, int, const char *const *);
static int refused;

static nvrtcResult refuse_seed(nvrtcProgram program, int n_options, const char *const *options)
{
    for (int i = 0; i < n_options; i++) {
        if (strstr(options[i], "frandom-seed")) {
            refused++;
            return NVRTC_ERROR_INVALID_OPTION;
        }
    }
    return real_compile(program, n_options, options);
}

static void test_compile_with_fewer_options(void **state)
{
    (void)state;
    struct fj_nvrtc nvrtc = *real();
    struct fj_compile_params params = {.source = DOUBLER, .name = "doubler.cu", .seed_hex = "c0de"};
    struct fj_compiled compiled = {0};
    real_compile = nvrtc.nvrtcCompileProgram;
    nvrtc.nvrtcCompileProgram = refuse_seed;
    assert_int_equal(fj_target_for(&nvrtc, 90, false, &params.target), FAJIT_OK);
    assert_int_equal(fj_compile(&nvrtc, &params, &compiled), FAJIT_OK);
    assert_int_equal(refused, 1);
    assert_true(compiled.image_bytes > 0);
    fj_compiled_free(&compiled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arch_parse),
        cmocka_unit_test(test_targets_without_nvrtc),
        cmocka_unit_test(test_targets_of_12_4),
        cmocka_unit_test(test_targets_of_12_8),
        cmocka_unit_test(test_targets_of_13_0),
        cmocka_unit_test(test_log_with_spills),
        cmocka_unit_test(test_log_with_serialised_wgmma),
        cmocka_unit_test(test_log_without_numbers),
        cmocka_unit_test(test_compile_cubin),
        cmocka_unit_test(test_compile_ptx),
        cmocka_unit_test(test_compile_error),
        cmocka_unit_test(test_compile_with_fewer_options),
    };
    return cmocka_run_group_tests_name("nvrtc", tests, NULL, NULL);
}
