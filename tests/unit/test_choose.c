#include "test.h"

#include "kernels/kernel.h"

// --- Two made-up classes: a picky fast one and a plain one ------------------------------------

static int fast_check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    if (gpu->cc < 90)
        return fj_err(FAJIT_E_UNSUPPORTED, "it needs compute capability 9.0");
    if (problem->attn.dtype == FAJIT_F32)
        return fj_err(FAJIT_E_UNSUPPORTED, "it has no fp32 form");
    return FAJIT_OK;
}

static int plain_check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    (void)gpu;
    if (problem->attn.head_dim > 128)
        return fj_err(FAJIT_E_UNSUPPORTED, "its head dims end at 128");
    return FAJIT_OK;
}

static int configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    (void)gpu;
    if (choice->problem.variant == FAJIT_VARIANT_AUTO)
        choice->problem.variant = FAJIT_VARIANT_V2;
    if (FJ_CFG(&choice->config, bm) == 0)
        FJ_CFG(&choice->config, bm) = 64;
    if (FJ_CFG(&choice->config, bm) % 16 != 0)
        return fj_err(FAJIT_E_INVAL, "bm is %d; it may be a multiple of 16",
                      FJ_CFG(&choice->config, bm));
    if (FJ_CFG(&choice->config, warps) == 0)
        FJ_CFG(&choice->config, warps) = 4;
    return FAJIT_OK;
}

static int threads(const struct fj_choice *choice)
{
    return 32 * FJ_CFG(&choice->config, warps);
}

static int smem_bytes(const struct fj_choice *choice)
{
    return 1024 * FJ_CFG(&choice->config, bm);
}

static void meaning(const struct fj_choice *choice, struct fj_buf *ret_text)
{
    fj_buf_printf(ret_text, "%s_%s", choice->kernel->name, fj_dtype_name(FAJIT_BF16));
}

#define CLASS(id, its_family)                                                                      \
    static const struct fj_kernel_class id = {                                                     \
        .name = #id,                                                                               \
        .op = FAJIT_OP_ATTN_FWD,                                                                   \
        .family = its_family,                                                                      \
        .check = id##_check,                                                                       \
        .configure = configure,                                                                    \
        .meaning = meaning,                                                                        \
        .threads = threads,                                                                        \
        .smem_bytes = smem_bytes,                                                                  \
    }
CLASS(fast, FAJIT_FAMILY_SM90);
CLASS(plain, FAJIT_FAMILY_SIMT);

static const struct fj_kernel_class *const classes[] = {&fast, &plain, NULL};

static const struct fj_gpu hopper = {.name = "a Hopper", .cc = 90, .smem_per_block_bytes = 232448};
static const struct fj_gpu ampere = {.name = "an Ampere", .cc = 80, .smem_per_block_bytes = 166912};

static int choose(const char *text, const struct fj_gpu *gpu, struct fj_choice *ret_choice)
{
    struct fajit_problem problem;
    struct fj_problem own;
    if (fj_problem_parse(text, &problem) < 0 || fj_problem_from_public(&problem, &own) < 0)
        fail_msg("%s: %s", text, fj_err_text());
    return fj_kernel_choose_from(classes, &own, gpu, ret_choice);
}

// --- Tests ------------------------------------------------------------------------------------

static void test_first_that_accepts(void **state)
{
    (void)state;
    struct fj_choice choice;
    assert_int_equal(choose("attn:bf16,d64", &hopper, &choice), FAJIT_OK);
    assert_ptr_equal(choice.kernel, &fast);
    assert_int_equal(choice.problem.family, FAJIT_FAMILY_SM90);
    assert_int_equal(choice.problem.variant, FAJIT_VARIANT_V2);
    assert_int_equal(FJ_CFG(&choice.config, bm), 64);
    assert_int_equal(choose("attn:bf16,d64", &ampere, &choice), FAJIT_OK);
    assert_ptr_equal(choice.kernel, &plain);
    assert_int_equal(choose("attn:f32,d64", &hopper, &choice), FAJIT_OK);
    assert_ptr_equal(choice.kernel, &plain);
}

static void test_family_is_kept(void **state)
{
    (void)state;
    struct fj_choice choice;
    assert_int_equal(choose("attn:bf16,d64,kernel=simt", &hopper, &choice), FAJIT_OK);
    assert_ptr_equal(choice.kernel, &plain);
    assert_int_equal(choose("attn:bf16,d64,kernel=sm90", &ampere, &choice), FAJIT_E_UNSUPPORTED);
    assert_non_null(strstr(fj_err_text(), "fast: it needs compute capability 9.0"));
    assert_null(strstr(fj_err_text(), "plain"));
    assert_int_equal(choose("attn:bf16,d64,kernel=mma", &hopper, &choice), FAJIT_E_UNSUPPORTED);
    assert_non_null(strstr(fj_err_text(), "no attn kernel of family mma exists"));
    assert_int_equal(choose("gemm:bf16", &hopper, &choice), FAJIT_E_UNSUPPORTED);
    assert_non_null(strstr(fj_err_text(), "no gemm kernel of family auto exists"));
}

static void test_every_reason_is_told(void **state)
{
    (void)state;
    struct fj_choice choice, before;
    memset(&choice, 0x5a, sizeof(choice));
    before = choice;
    assert_int_equal(choose("attn:f32,d192", &hopper, &choice), FAJIT_E_UNSUPPORTED);
    assert_string_equal(fj_err_text(), "no kernel for attn:f32,d192 on a Hopper: fast: it has no "
                                       "fp32 form; plain: its head dims end at 128");
    assert_memory_equal(&choice, &before, sizeof(before));
}

static void test_fixed_knobs(void **state)
{
    (void)state;
    struct fj_choice choice;
    assert_int_equal(choose("attn:bf16,d64,bm=128,warps=8", &hopper, &choice), FAJIT_OK);
    assert_int_equal(FJ_CFG(&choice.config, bm), 128);
    assert_int_equal(FJ_CFG(&choice.config, warps), 8);
    // One candidate keeps its own status, several give one of their own.
    assert_int_equal(choose("attn:bf16,d64,bm=100,kernel=simt", &hopper, &choice), FAJIT_E_INVAL);
    assert_non_null(strstr(fj_err_text(), "plain: bm is 100; it may be a multiple of 16"));
    assert_int_equal(choose("attn:bf16,d64,bm=100", &hopper, &choice), FAJIT_E_UNSUPPORTED);
}

static void test_resources_of_the_gpu(void **state)
{
    (void)state;
    struct fj_choice choice;
    assert_int_equal(choose("attn:bf16,d64,bm=224", &hopper, &choice), FAJIT_OK);
    assert_int_equal(choose("attn:bf16,d64,bm=224", &ampere, &choice), FAJIT_E_UNSUPPORTED);
    assert_non_null(strstr(fj_err_text(), "needs 229376 bytes of shared memory per CTA, an Ampere "
                                          "has 166912"));
    assert_int_equal(choose("attn:bf16,d64,warps=33", &hopper, &choice), FAJIT_E_UNSUPPORTED);
    assert_non_null(strstr(fj_err_text(), "needs 1056 threads"));
}

static void test_symbol(void **state)
{
    (void)state;
    struct fj_choice choice;
    char name[40];
    assert_int_equal(choose("attn:bf16,d64,bm=128", &hopper, &choice), FAJIT_OK);
    assert_int_equal(fj_kernel_symbol(&choice, name, sizeof(name)), FAJIT_OK);
    assert_string_equal(name, "fast_bf16__bm128_warps4");
    assert_int_equal(fj_kernel_symbol(&choice, name, strlen("fast_bf16__bm128_warps4")),
                     FAJIT_E_INVAL);
    assert_string_equal(name, "fast_bf16__bm128_warps4");
}

static void test_registry_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; fj_kernel_classes[i]; i++) {
        const struct fj_kernel_class *kernel = fj_kernel_classes[i];
        assert_true(kernel->family != FAJIT_FAMILY_AUTO);
        assert_true(kernel->name && kernel->template_name && kernel->summary);
        assert_true(kernel->check && kernel->configure && kernel->params && kernel->meaning);
        assert_true(kernel->threads && kernel->smem_bytes && kernel->cost);
        assert_true(kernel->workspace_bytes && kernel->bind);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(fj_kernel_classes[j]->name, kernel->name);
    }
}

static void test_gpu_models(void **state)
{
    (void)state;
    static const int ccs[] = {75, 80, 86, 89, 90, 100, 120};
    struct fj_gpu gpu;
    for (size_t i = 0; i < sizeof(ccs) / sizeof(ccs[0]); i++) {
        assert_true(fj_gpu_for_cc(ccs[i], &gpu));
        assert_int_equal(gpu.cc, ccs[i]);
        assert_true(gpu.smem_per_block_bytes + gpu.smem_reserved_bytes <= gpu.smem_per_sm_bytes);
        assert_true(gpu.sm_count > 0 && gpu.regs_per_sm == 65536 && gpu.l2_bytes > 0);
    }
    assert_true(fj_gpu_for_cc(90, &gpu));
    assert_string_equal(gpu.name, "NVIDIA H200");
    assert_int_equal(gpu.smem_per_block_bytes, 232448);
    assert_false(fj_gpu_for_cc(91, &gpu));
    assert_string_equal(gpu.name, "NVIDIA H200");
}

// --- Launches as data -------------------------------------------------------------------------

static void test_pushed_parameters(void **state)
{
    (void)state;
    static struct fj_launch launch;
    int target;
    struct fj_tensor_map map = {.rank = 2};
    memset(&launch, 0xff, sizeof(launch));
    fj_launch_init(&launch);
    fj_launch_push_ptr(&launch, &target);
    fj_launch_push_i32(&launch, -5);
    fj_launch_push_map(&launch, &map);
    fj_launch_push_f32(&launch, 0.5f);
    fj_launch_push_i64(&launch, INT64_C(1) << 40);
    assert_false(launch.overflow);
    assert_int_equal(launch.cluster, 1);
    assert_int_equal(launch.n_args, 5);
    assert_int_equal(launch.n_maps, 1);
    assert_ptr_equal(*(void **)launch.args[0], &target);
    assert_int_equal(*(int32_t *)launch.args[1], -5);
    assert_ptr_equal(launch.args[2], launch.map_slots[0]);
    assert_int_equal((uintptr_t)launch.map_slots[0] % 64, 0);
    assert_int_equal(launch.maps[0].rank, 2);
    assert_true(*(float *)launch.args[3] == 0.5f);
    assert_true((char *)launch.args[3] >= (char *)launch.map_slots[0] + 128);
    assert_int_equal(*(int64_t *)launch.args[4], INT64_C(1) << 40);
}

static void test_overflow_is_kept(void **state)
{
    (void)state;
    static struct fj_launch launch;
    struct fj_tensor_map map = {.rank = 2};
    fj_launch_init(&launch);
    for (int i = 0; i < FJ_LAUNCH_ARGS_MAX; i++)
        fj_launch_push_i32(&launch, i);
    assert_false(launch.overflow);
    fj_launch_push_i32(&launch, 0);
    assert_true(launch.overflow);
    assert_int_equal(launch.n_args, FJ_LAUNCH_ARGS_MAX);

    fj_launch_init(&launch);
    for (int i = 0; i < 5; i++)
        fj_launch_push_map(&launch, &map);
    assert_true(launch.overflow);
    assert_int_equal(launch.n_maps, 4);

    static const unsigned char big[FJ_LAUNCH_BYTES_MAX];
    fj_launch_init(&launch);
    fj_launch_push(&launch, big, sizeof(big));
    assert_false(launch.overflow);
    fj_launch_push(&launch, big, 1);
    assert_true(launch.overflow);
}

static void test_grid_limits(void **state)
{
    (void)state;
    static struct fj_launch launch;
    fj_launch_init(&launch);
    assert_int_equal(fj_launch_grid(&launch, 0x7fffffff, 65535, 65535), FAJIT_OK);
    assert_int_equal(launch.grid[0], 0x7fffffff);
    assert_false(launch.empty);
    assert_int_equal(fj_launch_grid(&launch, INT64_C(0x80000000), 1, 1), FAJIT_E_UNSUPPORTED);
    assert_int_equal(fj_launch_grid(&launch, 1, 65536, 1), FAJIT_E_UNSUPPORTED);
    assert_non_null(strstr(fj_err_text(), "1 x 65536 x 1"));
    assert_int_equal(fj_launch_grid(&launch, 1, 1, 65536), FAJIT_E_UNSUPPORTED);
    assert_int_equal(fj_launch_grid(&launch, -1, 1, 1), FAJIT_E_UNSUPPORTED);
    assert_int_equal(fj_launch_grid(&launch, 4, 0, 1), FAJIT_OK);
    assert_true(launch.empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_that_accepts),   cmocka_unit_test(test_family_is_kept),
        cmocka_unit_test(test_every_reason_is_told), cmocka_unit_test(test_fixed_knobs),
        cmocka_unit_test(test_resources_of_the_gpu), cmocka_unit_test(test_symbol),
        cmocka_unit_test(test_registry_is_sound),    cmocka_unit_test(test_gpu_models),
        cmocka_unit_test(test_pushed_parameters),    cmocka_unit_test(test_overflow_is_kept),
        cmocka_unit_test(test_grid_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
