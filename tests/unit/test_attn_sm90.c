// The Hopper attention kernel: rules of its configurations, launches in clusters.
#include "test.h"

#include "kernels/kernel.h"

static int choose(const char *text, struct fj_gpu *gpu, struct fj_choice *ret)
{
    struct fajit_problem public;
    struct fj_problem problem;
    assert_true(fj_gpu_for_cc(90, gpu));
    int r = fj_problem_parse(text, &public);
    if (r == FAJIT_OK)
        r = fj_problem_from_public(&public, &problem);
    return r == FAJIT_OK ? fj_kernel_choose(&problem, gpu, ret) : r;
}

static struct fj_choice chosen(const char *text, struct fj_gpu *gpu)
{
    struct fj_choice choice;
    if (choose(text, gpu, &choice) != FAJIT_OK)
        fail_msg("%s: %s", text, fj_err_text());
    return choice;
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *knobs, *part;
    } cases[] = {
        {"bm=96", "bm=96"},
        {"bn=24", "in steps of 16"},
        {"stages=5", "stages=5"},
        {"ctas=2,bm=192", "bm up to 128"},
        {"ctas=2,bm=64,bn=208", "208 columns wide"},
        {"pingpong=1,bm=64", "two warpgroups"},
        {"cluster=3", "it may be 1 or 2"},
        {"cluster=4", "it may be 1 or 2"},
        {"bm=192,bn=96,stages=1,pingpong=1", "stages=1"},
        {"bm=128,bn=64,stages=1,pingpong=1,cluster=2", "stages=1"},
        {"bm=192,bn=256", "registers"},
        {"warps=4", "no knob warps"},
        {"packgqa=3", "packgqa=3"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[128];
        struct fj_gpu gpu;
        struct fj_choice choice;
        snprintf(text, sizeof(text), "attn:bf16,d64,kernel=sm90,%s", cases[i].knobs);
        print_message("%s\n", text);
        assert_true(choose(text, &gpu, &choice) < 0);
        assert_non_null(strstr(fj_err_text(), cases[i].part));
    }
}

// A tile that the table has not: knobs that go with its rows, and never a pair that does not fit.
static void test_tiles_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *problem;
        int stages, ctas, pingpong;
    } cases[] = {
        {"attn:bf16,d64,kernel=sm90,bm=64,bn=96", 2, 2, 2},
        {"attn:bf16,d64,kernel=sm90,bm=64,bn=224", 3, 1, 2},  // too wide for a pair
        {"attn:bf16,d128,kernel=sm90,bm=64,bn=128", 3, 1, 2}, // too much shared memory
        {"attn:bf16,d64,kernel=sm90,bm=64,bn=96,ctas=1", 4, 1, 2},
        {"attn:f16,q257,k257,d80,kernel=sm90,bm=192,bn=96", 3, 1, 1},
        {"attn:bf16,q777,k777,d64,causal,kernel=sm90,bm=128,bn=64", 4, 1, 1},
        {"attn:bf16,q777,k777,d64,causal,kernel=sm90,bm=256,bn=48", 4, 1, 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fj_gpu gpu;
        struct fj_choice choice = chosen(cases[i].problem, &gpu);
        print_message("%s\n", cases[i].problem);
        assert_int_equal(FJ_CFG(&choice.config, stages), cases[i].stages);
        assert_int_equal(FJ_CFG(&choice.config, ctas), cases[i].ctas);
        assert_int_equal(FJ_CFG(&choice.config, pingpong), cases[i].pingpong);
    }
}

static struct fj_view view_of(int64_t batch, int64_t heads, int64_t seq, int64_t dim)
{
    return (struct fj_view){
        .data = (void *)0x1000,
        .shape = {batch, heads, seq, dim},
        .stride = {seq * heads * dim, dim, heads * dim, 1},
    };
}

static struct fj_launch bound(const char *text, int sms, int ctas_per_sm, int64_t seq_q)
{
    struct fj_gpu gpu;
    struct fj_choice choice = chosen(text, &gpu);
    static struct fj_launch launch;
    struct fj_attn_args args = {
        .q = view_of(3, 8, seq_q, 64),
        .k = view_of(3, 2, 500, 64),
        .v = view_of(3, 2, 500, 64),
        .o = view_of(3, 8, seq_q, 64),
        .scale = 0.125f,
        .workspace = (void *)0x2000,
    };
    gpu.sm_count = sms;
    assert_int_equal(choice.kernel->bind(&choice, &gpu, ctas_per_sm, &args, &launch), FAJIT_OK);
    assert_false(launch.overflow);
    return launch;
}

static void test_clusters(void **state)
{
    (void)state;
    struct fj_launch one = bound("attn:f16,d64,kernel=sm90,bm=128,bn=96,variant=v2", 132, 1, 1000);
    assert_int_equal(one.cluster, 1);
    assert_int_equal(one.grid[0], 3 * 8 * 8); // ceil(1000 / 128) = 8 tiles of each head
    assert_int_equal(one.maps[1].box[1], 96);

    // Each CTA of two fetches half of a block's keys.
    const char *pairs = "attn:f16,d64,kernel=sm90,bm=128,bn=96,variant=v2,cluster=2";
    struct fj_launch two = bound(pairs, 132, 1, 1000);
    assert_int_equal(two.cluster, 2);
    assert_int_equal(two.grid[0], 3 * 8 * 8);
    for (int map = 1; map <= 2; map++) // K, V
        assert_int_equal(two.maps[map].box[1], 48);
    assert_int_equal(two.maps[0].box[1] * two.maps[0].box[2], 64); // Q is a CTA's own

    // An odd number of tiles: the last cluster of a head has one to spare.
    assert_int_equal(bound(pairs, 132, 1, 1100).grid[0], 3 * 8 * 10);
    assert_int_equal(bound(pairs, 132, 1, 1).grid[0], 3 * 8 * 2);

    // An odd number of SMs: only whole clusters are launched.
    const char *resident = "attn:f16,d64,kernel=sm90,bm=128,bn=96,persistent,cluster=2";
    assert_int_equal(bound(resident, 11, 1, 1000).grid[0], 10);
    assert_int_equal(bound(resident, 11, 2, 1000).grid[0], 22);
    assert_int_equal(bound(resident, 1000, 2, 1000).grid[0], 3 * 8 * 8);
}

static void test_cost_of_a_share(void **state)
{
    (void)state;
    struct fj_gpu gpu;
    struct fj_cost alone = {0}, shared = {0};
    struct fj_choice one = chosen("attn:f16,d64,kernel=sm90,bm=128,bn=96", &gpu);
    struct fj_choice two = chosen("attn:f16,d64,kernel=sm90,bm=128,bn=96,cluster=2", &gpu);
    one.kernel->cost(&one, &alone);
    two.kernel->cost(&two, &shared);
    assert_true(alone.block_bytes == 2.0 * 96 * (64 + 64));
    assert_true(shared.block_bytes == alone.block_bytes / 2);
    assert_true(shared.block_flops == alone.block_flops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tiles_of_others),
        cmocka_unit_test(test_clusters),
        cmocka_unit_test(test_cost_of_a_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
