// Configurations of gemm_sm90, and what its launches are made of.
#include "test.h"

#include "kernels/kernel.h"

static int choose(const char *text, struct fj_choice *ret_choice)
{
    struct fajit_problem public;
    struct fj_problem problem;
    struct fj_gpu gpu;
    assert_true(fj_gpu_for_cc(90, &gpu));
    assert_int_equal(fj_problem_parse(text, &public), FAJIT_OK);
    assert_int_equal(fj_problem_from_public(&public, &problem), FAJIT_OK);
    return fj_kernel_choose(&problem, &gpu, ret_choice);
}

static const char *config_of(const char *text)
{
    static char buffer[256];
    struct fj_choice choice;
    struct fj_buf config = {0};
    assert_int_equal(choose(text, &choice), FAJIT_OK);
    fj_config_format(&choice.config, &config);
    snprintf(buffer, sizeof(buffer), "%s", config.data);
    fj_buf_free(&config);
    return buffer;
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *knobs, *message;
    } cases[] = {
        {"bm=80,bn=80,bk=64", "bm=80: it may be 64, 128 or 192 here"},
        {"bm=80,bn=64,bk=64,swap=2", "bm=80: it may be 64, 128 or 192 here"},
        {"bm=64,bn=80,bk=64,swap=1", "bn=80: it may be 64, 128 or 192 here"},
        {"bm=12,bn=64,bk=64", "bm=12: it may be 16 to 256 in steps of 8"},
        {"bm=264,bn=64,bk=64", "bm=264: it may be 16 to 256 in steps of 8"},
        {"bm=64,bn=320,bk=64", "bn=320: more than 256 are two products side by side"},
        {"bm=200,bn=192,bk=64", "too few for bm=200"},
        {"bm=128,bn=128,bk=64,cluster=3", "cluster=3, clustern=1: they may be 1, 2, 4 or 8"},
        {"bm=128,bn=128,bk=64,cluster=4,clustern=4", "a cluster has at most 8 CTAs"},
        {"bm=128,bn=128,bk=64,splitk=2,streamk=1", "either shares tiles along k"},
        {"bm=128,bn=128,bk=64,streamk=1,variant=v2", "streamk=1 wants resident CTAs"},
        {"bm=128,bn=128,bk=64,streamk=3", "they may be 1 or 2"},
        {"bm=64,bn=128,bk=64,swap=1,pingpong=2,stages=17", "stages=17: it may be 2 to 16"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        struct fj_choice choice;
        snprintf(text, sizeof(text), "gemm:bf16,m512,n512,k512,nn,kernel=sm90,%s", cases[i].knobs);
        assert_true(choose(text, &choice) < 0);
        if (!strstr(fj_err_text(), cases[i].message))
            fail_msg("%s: %s", text, fj_err_text());
    }
}

static void test_roles_follow_the_tile(void **state)
{
    (void)state;
    assert_non_null(strstr(config_of("gemm:bf16,kernel=sm90,bm=24,bn=64,bk=64"), "swap=1"));
    assert_non_null(strstr(config_of("gemm:bf16,kernel=sm90,bm=64,bn=96,bk=64"), "swap=2"));
    assert_non_null(strstr(config_of("gemm:bf16,kernel=sm90,bm=64,bn=128,bk=64"), "swap=2"));
}

// What was fastest by far on an H200.
static void test_defaults(void **state)
{
    (void)state;
    assert_non_null(strstr(config_of("gemm:bf16,m16,n4096,k4096,nn,kernel=sm90"), "bm=16,bn=64,"));
    assert_non_null(
        strstr(config_of("gemm:bf16,m4096,n4096,k4096,nn,kernel=sm90"), "bm=128,bn=256,"));
    assert_non_null(strstr(config_of("gemm:bf16,m208,n3360,k1784,nn,kernel=sm90"),
                           "bm=104,bn=64,bk=64,stages=10,cluster=2,clustern=4,"));
    // The knobs that are fixed stay.
    assert_non_null(strstr(config_of("gemm:bf16,m16,n4096,k4096,nn,kernel=sm90,swap=2"), "swap=2"));
    assert_non_null(
        strstr(config_of("gemm:bf16,m512,n512,k4096,nn,kernel=sm90,streamk=1"), "streamk=1"));
}

static struct fj_view view(uintptr_t at, int64_t rows, int64_t columns)
{
    return (struct fj_view){.data = (void *)at, // never read
                            .shape = {1, rows, columns, 1},
                            .stride = {rows * columns, columns, 1, 0}};
}

static struct fj_gemm_args args_of(int64_t m, int64_t n, int64_t k)
{
    return (struct fj_gemm_args){
        .a = view(1 << 20, m, k), .b = view(2 << 20, k, n), .c = view(3 << 20, m, n), .alpha = 1};
}

static size_t workspace_of(const char *text, int64_t m, int64_t n, int64_t k)
{
    struct fj_choice choice;
    struct fj_gpu gpu;
    struct fj_gemm_args args = args_of(m, n, k);
    assert_true(fj_gpu_for_cc(90, &gpu));
    assert_int_equal(gpu.sm_count, 132);
    assert_int_equal(choose(text, &choice), FAJIT_OK);
    return choice.kernel->workspace_bytes(&choice, &gpu, &args);
}

static void test_workspace(void **state)
{
    (void)state;
    const char *shared = "gemm:bf16,nn,kernel=sm90,bm=128,bn=128,bk=64,streamk=1";
    const size_t cta = 128 * 128 * sizeof(float) + 2 * sizeof(uint64_t); // and two warpgroups
    assert_int_equal(workspace_of(shared, 1024, 2048, 512), 132 * cta);
    // Whole waves leave nothing to share, nor do no steps at all.
    assert_int_equal(workspace_of(shared, 11 * 128, 12 * 128, 512), 0);
    assert_int_equal(workspace_of(shared, 1024, 2048, 0), 0);
    // Two tiles have 8 clusters each at most.
    assert_int_equal(workspace_of(shared, 128, 256, 65536), 16 * cta);
    assert_int_equal(workspace_of("gemm:bf16,nn,kernel=sm90,bm=128,bn=128,bk=64", 1024, 2048, 512),
                     0);
}

static void test_swapped_launch(void **state)
{
    (void)state;
    struct fj_choice choice;
    struct fj_gpu gpu;
    struct fj_launch launch;
    struct fj_gemm_args args = args_of(208, 3360, 1784);
    assert_true(fj_gpu_for_cc(90, &gpu));
    assert_int_equal(
        choose("gemm:bf16,nn,kernel=sm90,bm=104,bn=64,bk=64,cluster=2,clustern=4", &choice),
        FAJIT_OK);
    assert_int_equal(choice.kernel->bind(&choice, &gpu, 1, &args, &launch), FAJIT_OK);
    // 2 tiles down, 53 across, rounded up to whole clusters of 2 by 4.
    assert_int_equal(launch.grid[0], 2 * 56);
    assert_int_equal(launch.cluster, 8);
    assert_int_equal(launch.block, 256);
    // B comes first: panels of 64 columns, 64 deep. A's 104 rows have no four equal parts of whole
    // 8 rows, so that the CTAs beside each other fetch all of them in turns.
    assert_ptr_equal(launch.maps[0].data, args.b.data);
    assert_int_equal(launch.maps[0].box[1], 64);
    assert_ptr_equal(launch.maps[1].data, args.a.data);
    assert_int_equal(launch.maps[1].box[1], 104);
    assert_ptr_equal(launch.maps[2].data, args.c.data);
    assert_int_equal(launch.maps[2].box[1], 64);
}

static void test_small_workspace(void **state)
{
    (void)state;
    struct fj_choice choice;
    struct fj_gpu gpu;
    struct fj_launch launch;
    struct fj_gemm_args args = args_of(1024, 2048, 512);
    assert_true(fj_gpu_for_cc(90, &gpu));
    assert_int_equal(choose("gemm:bf16,nn,kernel=sm90,bm=128,bn=128,bk=64,streamk=1", &choice),
                     FAJIT_OK);
    args.workspace = (void *)(uintptr_t)(4 << 20);
    args.workspace_bytes = choice.kernel->workspace_bytes(&choice, &gpu, &args) - 1;
    assert_int_equal(choice.kernel->bind(&choice, &gpu, 1, &args, &launch), FAJIT_E_INVAL);
    args.workspace_bytes++;
    assert_int_equal(choice.kernel->bind(&choice, &gpu, 1, &args, &launch), FAJIT_OK);
    assert_int_equal(launch.grid[0], 132);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_roles_follow_the_tile),
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_workspace),
        cmocka_unit_test(test_swapped_launch), cmocka_unit_test(test_small_workspace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
