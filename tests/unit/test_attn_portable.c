// The attention kernels that run everywhere: their defaults, rules, texts and launches.
#include "test.h"

#include "codegen/template.h"
#include "kernels/kernel.h"

static const int capabilities[] = {75, 80, 86, 89, 90, 100, 120};

static void gpu_of(int cc, struct fj_gpu *gpu)
{
    assert_true(fj_gpu_for_cc(cc, gpu));
}

static int choose_on(const char *text, int cc, struct fj_choice *ret)
{
    struct fajit_problem public;
    struct fj_problem problem;
    struct fj_gpu gpu;
    gpu_of(cc, &gpu);
    int r = fj_problem_parse(text, &public);
    if (r == FAJIT_OK)
        r = fj_problem_from_public(&public, &problem);
    return r == FAJIT_OK ? fj_kernel_choose(&problem, &gpu, ret) : r;
}

static struct fj_choice chosen(const char *text, int cc)
{
    struct fj_choice choice;
    if (choose_on(text, cc, &choice) != FAJIT_OK)
        fail_msg("%s on %d: %s", text, cc, fj_err_text());
    return choice;
}

static struct fj_rendering render(const struct fj_choice *choice)
{
    static struct fj_params params;
    char symbol[256];
    const struct fj_template *tmpl;
    struct fj_rendering rendering = {0};
    params = (struct fj_params){0};
    assert_int_equal(fj_kernel_symbol(choice, symbol, sizeof(symbol)), FAJIT_OK);
    choice->kernel->params(choice, &params);
    fj_params_word(&params, "kernel_name", symbol);
    struct fj_render_params render_params = {.params = &params};
    assert_int_equal(fj_template_get(TEMPLATE_DIR, choice->kernel->template_name, &tmpl), FAJIT_OK);
    if (fj_template_render(tmpl, &render_params, &rendering) != FAJIT_OK)
        fail_msg("%s: %s", symbol, fj_err_text());
    return rendering;
}

// --- Defaults ---------------------------------------------------------------------------------

static void check_defaults(const char *family, const char *dtype, int head_dim, int head_dim_v,
                           int cc)
{
    static const char *const variants[] = {"v1", "v2", "persistent"};
    struct fj_gpu gpu;
    gpu_of(cc, &gpu);
    for (size_t i = 0; i < COUNT(variants); i++) {
        char text[96];
        snprintf(text, sizeof(text), "attn:%s,d%d/%d,kernel=%s,variant=%s", dtype, head_dim,
                 head_dim_v, family, variants[i]);
        struct fj_choice choice = chosen(text, cc);
        int ctas = FJ_CFG(&choice.config, ctas);
        int smem = choice.kernel->smem_bytes(&choice);
        assert_true(smem <= gpu.smem_per_block_bytes);
        assert_true(ctas >= 1);
        if (ctas * (smem + gpu.smem_reserved_bytes) > gpu.smem_per_sm_bytes)
            fail_msg("%s on %d: %d CTAs of %d bytes do not fit on an SM", text, cc, ctas, smem);
    }
}

static void test_defaults_fit_every_gpu(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(capabilities); i++) {
        for (int d = 8; d <= 256; d += 8) {
            check_defaults("mma", "f16", d, d, capabilities[i]);
            check_defaults("simt", "f32", d, d, capabilities[i]);
            check_defaults("mma", "f16", d, 264 - d, capabilities[i]);
            check_defaults("simt", "f32", d, 264 - d, capabilities[i]);
        }
    }
}

static void test_depth_follows_capability(void **state)
{
    (void)state;
    struct fj_choice turing = chosen("attn:f16,d64,kernel=mma", 75);
    struct fj_choice ampere = chosen("attn:f16,d64,kernel=mma", 80);
    assert_int_equal(FJ_CFG(&turing.config, bk), 8);
    assert_int_equal(FJ_CFG(&ampere.config, bk), 16);
    // The form for 7.5 may be asked for anywhere: that is how it is checked without such a GPU.
    struct fj_choice asked = chosen("attn:f16,d64,kernel=mma,bk=8", 90);
    struct fj_rendering text = render(&asked);
    assert_non_null(strstr(text.text.data, "m16n8k8"));
    assert_null(strstr(text.text.data, "cp.async.cg"));
    fj_rendering_free(&text);
}

// --- Rules ------------------------------------------------------------------------------------

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int cc, status;
        const char *part;
    } cases[] = {
        {"attn:bf16,d64,kernel=mma", 75, FAJIT_E_UNSUPPORTED, "8.0"},
        {"attn:f32,d64,kernel=mma", 90, FAJIT_E_UNSUPPORTED, "fp16 and bf16"},
        {"attn:f16,d64,kernel=mma,bm=24", 90, FAJIT_E_UNSUPPORTED, "bm=24"},
        {"attn:f16,d64,kernel=mma,bm=8", 90, FAJIT_E_UNSUPPORTED, "bm=8: with warps=1"},
        {"attn:f16,d64,variant=v1,kernel=mma,bm=1", 90, FAJIT_E_UNSUPPORTED, "bm=1"},
        {"attn:f16,d64,kernel=mma,bn=8", 90, FAJIT_E_UNSUPPORTED, "bn=8"},
        {"attn:bf16,d64,kernel=mma,bk=8", 90, FAJIT_E_UNSUPPORTED, "bk=8"},
        {"attn:f16,d64,kernel=mma,bk=16", 75, FAJIT_E_UNSUPPORTED, "bk=16"},
        {"attn:f16,d64,kernel=mma,bk=4", 90, FAJIT_E_UNSUPPORTED, "bk=4"},
        {"attn:f16,d64,kernel=mma,poly=2", 90, FAJIT_E_UNSUPPORTED, "poly"},
        {"attn:f16,d64,kernel=mma,variant=v1,stages=2", 90, FAJIT_E_UNSUPPORTED, "stages"},
        {"attn:f16,d256,kernel=mma,bm=128,warps=4,bn=64", 90, FAJIT_E_UNSUPPORTED, "registers"},
        {"attn:f16,d256,kernel=mma,bm=128,warps=8,bn=128,ctas=1,qregs=2,stages=2", 90,
         FAJIT_E_UNSUPPORTED, "shared memory"},
        {"attn:f32,d64,kernel=simt,bm=40", 90, FAJIT_E_UNSUPPORTED, "bm=40"},
        {"attn:f32,d64,kernel=simt,warps=4", 90, FAJIT_E_UNSUPPORTED, "warps"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fj_choice choice;
        print_message("%s\n", cases[i].text);
        check_error(choose_on(cases[i].text, cases[i].cc, &choice), cases[i].status, cases[i].part);
    }
}

static void test_fixed_knobs_stay(void **state)
{
    (void)state;
    struct fj_choice choice = chosen("attn:f16,d64,kernel=mma,bm=32,bn=32,stages=3,lazy=2", 90);
    assert_int_equal(FJ_CFG(&choice.config, bm), 32);
    assert_int_equal(FJ_CFG(&choice.config, warps), 2); // 16 rows each
    assert_int_equal(FJ_CFG(&choice.config, bn), 32);
    assert_int_equal(FJ_CFG(&choice.config, stages), 3);
    assert_int_equal(FJ_CFG(&choice.config, lazy), 2);
}

// --- Launch -----------------------------------------------------------------------------------

static struct fj_view view_of(int64_t batch, int64_t heads, int64_t seq, int64_t dim)
{
    return (struct fj_view){
        .data = (void *)0x1000,
        .shape = {batch, heads, seq, dim},
        .stride = {seq * heads * dim, dim, heads * dim, 1},
    };
}

static struct fj_attn_args args_of(int64_t batch, int64_t heads, int64_t heads_kv, int64_t seq_q,
                                   int64_t seq_k, int64_t dim)
{
    return (struct fj_attn_args){
        .q = view_of(batch, heads, seq_q, dim),
        .k = view_of(batch, heads_kv, seq_k, dim),
        .v = view_of(batch, heads_kv, seq_k, dim),
        .o = view_of(batch, heads, seq_q, dim),
        .lse = view_of(batch, heads, seq_q, 1),
        .scale = 0.125f,
    };
}

// Parameters in the signature of the rendered kernel: a line each.
static int count_parameters(const char *text)
{
    const char *at = strstr(strstr(text, "__launch_bounds__"), "(\n"), *end = strstr(at, "\n{");
    int lines = 0;
    for (at = strchr(at, '\n'); at < end; at = strchr(at + 1, '\n'))
        lines++;
    return lines;
}

static void test_signature_matches_launch(void **state)
{
    (void)state;
    static const char *const kernels[] = {"mma", "mma,variant=v1", "simt", "simt,variant=v1",
                                          "mma,variant=persistent"};
    static const char *const words[] = {"", ",lse", ",seqlens=q", ",seqlens=k", ",lse,seqlens"};
    struct fj_attn_args args = args_of(2, 8, 2, 1000, 500, 64);
    struct fj_gpu gpu;
    gpu_of(90, &gpu);
    for (size_t i = 0; i < COUNT(kernels) * COUNT(words); i++) {
        char text[96];
        snprintf(text, sizeof(text), "attn:f16,d64,causal,kernel=%s%s", kernels[i / COUNT(words)],
                 words[i % COUNT(words)]);
        struct fj_choice choice = chosen(text, 90);
        struct fj_rendering rendering = render(&choice);
        struct fj_launch launch;
        assert_int_equal(choice.kernel->bind(&choice, &gpu, 2, &args, &launch), FAJIT_OK);
        assert_false(launch.overflow);
        if (launch.n_args != count_parameters(rendering.text.data))
            fail_msg("%s: %d arguments for %d parameters", text, launch.n_args,
                     count_parameters(rendering.text.data));
        fj_rendering_free(&rendering);
    }
}

static void test_grids(void **state)
{
    (void)state;
    struct fj_attn_args args = args_of(3, 8, 2, 1000, 500, 64);
    struct fj_gpu gpu;
    struct fj_launch launch;
    gpu_of(90, &gpu);
    struct fj_choice v2 = chosen("attn:f16,d64,kernel=mma,bm=128", 90);
    assert_int_equal(v2.kernel->bind(&v2, &gpu, 2, &args, &launch), FAJIT_OK);
    assert_int_equal(launch.grid[0], 3 * 8 * 8); // ceil(1000 / 128) = 8 tiles of each head
    assert_int_equal(v2.kernel->workspace_bytes(&v2, &gpu, &args), 0);

    struct fj_choice resident = chosen("attn:f16,d64,kernel=mma,bm=128,persistent", 90);
    gpu.sm_count = 10;
    assert_int_equal(resident.kernel->bind(&resident, &gpu, 2, &args, &launch), FAJIT_OK);
    assert_int_equal(launch.grid[0], 20);
    assert_int_equal(resident.kernel->bind(&resident, &gpu, 32, &args, &launch), FAJIT_OK);
    assert_int_equal(launch.grid[0], 3 * 8 * 8); // no more CTAs than tiles

    struct fj_choice v1 = chosen("attn:f32,d64,kernel=simt,variant=v1,bm=64", 90);
    assert_int_equal(v1.kernel->bind(&v1, &gpu, 1, &args, &launch), FAJIT_OK);
    assert_int_equal(launch.grid[0], 3 * 8);
    // 16 tiles of 64 rows: O, and m and l in each of the 16 threads of a row.
    assert_int_equal(v1.kernel->workspace_bytes(&v1, &gpu, &args),
                     3 * 8 * 16 * 64 * (64 + 2 * 16) * 4);
}

static void test_edges_of_a_launch(void **state)
{
    (void)state;
    struct fj_gpu gpu;
    struct fj_launch launch;
    gpu_of(90, &gpu);
    static const char *const texts[] = {"attn:f16,d64,kernel=mma", "attn:f16,d64,kernel=simt",
                                        "attn:f16,d64,kernel=mma,variant=v1",
                                        "attn:f16,d64,kernel=simt,variant=v1"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fj_choice choice = chosen(texts[i], 90);
        struct fj_attn_args none = args_of(2, 8, 8, 0, 64, 64);
        assert_int_equal(choice.kernel->bind(&choice, &gpu, 1, &none, &launch), FAJIT_OK);
        assert_true(launch.empty);
        struct fj_attn_args no_keys = args_of(2, 8, 8, 64, 0, 64); // zeros are still written
        assert_int_equal(choice.kernel->bind(&choice, &gpu, 1, &no_keys, &launch), FAJIT_OK);
        assert_false(launch.empty);
        struct fj_attn_args many = args_of(1 << 20, 1 << 10, 1 << 10, 64, 64, 64);
        check_error(choice.kernel->bind(&choice, &gpu, 1, &many, &launch), FAJIT_E_UNSUPPORTED,
                    "split the batch");
        assert_int_equal(choice.kernel->workspace_bytes(&choice, &gpu, &many), 0);
    }
}

static void test_cost(void **state)
{
    (void)state;
    struct fj_cost cost = {0};
    struct fj_choice full = chosen("attn:f16,b2,h4/2,q3,k5,d64,kernel=mma,bm=64,bn=32", 90);
    full.kernel->cost(&full, &cost);
    assert_true(cost.block_flops == 2.0 * 64 * 32 * (64 + 64));
    assert_true(cost.block_exps == 64.0 * 32);
    assert_true(cost.exps == 2.0 * 4 * 15);
    assert_true(cost.flops == 2.0 * 2 * 4 * 15 * 128);
    assert_true(cost.bytes == 2.0 * 128 * (8 * 3 + 4 * 5));
    struct fj_choice right = chosen("attn:f16,b1,h1,q3,k5,d64,kernel=mma,causal", 90);
    right.kernel->cost(&right, &cost);
    assert_true(cost.exps == 3 + 4 + 5);
    struct fj_choice left = chosen("attn:f32,b1,h1,q3,k5,d64,kernel=simt,causal=tl", 90);
    left.kernel->cost(&left, &cost);
    assert_true(cost.exps == 1 + 2 + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_fit_every_gpu),
        cmocka_unit_test(test_depth_follows_capability),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_fixed_knobs_stay),
        cmocka_unit_test(test_signature_matches_launch),
        cmocka_unit_test(test_grids),
        cmocka_unit_test(test_edges_of_a_launch),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
