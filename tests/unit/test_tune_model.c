// The ranking model's terms against what kernels do, as the emulated device counts it. Skipped
// without NVRTC.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "autotune/model.h"
#include "tools/case.h"

static struct fajit_ctx *ctx;

static void check(int err)
{
    if (err)
        fail_msg("%d: %s", err, fajit_last_error());
}

static struct fj_model predict(const char *text)
{
    struct fajit_problem public = {.struct_size = sizeof(public)};
    struct fj_problem problem;
    struct fj_choice choice;
    struct fj_model model;
    struct fj_gpu gpu;
    assert_true(fj_gpu_for_cc(90, &gpu));
    check(fajit_problem_parse(text, &public));
    check(fj_problem_from_public(&public, &problem));
    check(fj_kernel_choose(&problem, &gpu, &choice));
    fj_model_predict(&choice, &gpu, &model);
    return model;
}

static void count(const char *text, struct fajit_counts *ret_counts)
{
    const struct case_options options = {.seed = 3};
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    struct fcase c;
    *ret_counts = (struct fajit_counts){.struct_size = sizeof(*ret_counts)};
    check(fajit_problem_parse(text, &problem));
    int err = case_create(ctx, &problem, &options, &c);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    check(err);
    check(fajit_plan_count(c.plan, case_args(&c), ret_counts, NULL, NULL));
    case_destroy(&c);
}

static void near(const char *text, const char *what, double model, double counted, double most)
{
    double off = counted > 0 ? model / counted - 1 : model;
    if (off > most || off < -most)
        fail_msg("%s: %s: the model says %.0f, the device counts %.0f", text, what, model, counted);
}

// `flops`, `exps`, `bytes`: how far each may be off, in parts of one; 0: exact; < 0: not compared.
static void compare(const char *text, double flops, double exps, double bytes)
{
    struct fajit_counts counts;
    struct fj_model model = predict(text);
    count(text, &counts);
    if (flops >= 0)
        near(text, "FLOPs", model.flops, (double)counts.mma_flops, flops);
    if (exps >= 0)
        near(text, "exponentials", model.exps, (double)counts.ex2, exps);
    if (bytes >= 0)
        near(text, "bytes", model.bytes,
             (double)(counts.global_load_bytes + counts.bulk_load_bytes), bytes);
}

// Counted besides: Q, which is loaded once per tile, and the exponentials that rescale O (in simt
// kernels by each of the threads that share a row).
static void test_attention(void **state)
{
    (void)state;
    compare("attn:bf16,b1,h2,q256,k512,d64,kernel=mma,variant=v2,bm=64,bn=64", 0, 0.1, 0.15);
    compare("attn:bf16,b2,h2,q256,k256,d64,causal,kernel=mma,variant=v2,bm=64,bn=64", 0, 0.1, 0.3);
    compare("attn:bf16,b1,h2,q128,k512,d64,causal,kernel=mma,variant=v2,bm=64,bn=64", 0, 0.1, 0.15);
    compare("attn:bf16,b1,h2,q256,k128,d64,causal=tl,kernel=mma,variant=v2,bm=64,bn=64", 0, 0.1,
            0.4);
    compare("attn:bf16,b1,h2,q256,k512,d128,kernel=sm90,variant=v2,bm=128,bn=128", 0, 0.1, 0.3);
    compare("attn:bf16,b1,h2,q512,k512,d128,causal,kernel=sm90,bm=128,bn=128", 0, 0.1, 0.5);
    compare("attn:bf16,b1,h8/2,q64,k512,d64,causal,kernel=sm90,bm=128,bn=64,packgqa=4", 0, 0.1,
            0.3);
    compare("attn:f32,b1,h2,q128,k256,d64,kernel=simt,bm=64,bn=64", -1, 0.25, 0.3);
}

static void test_matmul(void **state)
{
    (void)state;
    compare("gemm:bf16,m256,n256,k256,nt,kernel=mma,variant=v2,bm=64,bn=64,bk=32,warps=4", 0, -1,
            0);
    compare("gemm:bf16,m256,n256,k512,nn,kernel=sm90,bm=128,bn=128,bk=64", 0, -1, 0);
    compare("gemm:f32,m128,n128,k64,nn,kernel=simt,bm=64,bn=64,bk=16", -1, -1, 0);
}

// A tile half beyond the matrix is computed all the same.
static void test_ragged(void **state)
{
    (void)state;
    compare("attn:bf16,b1,h1,q80,k144,d64,kernel=mma,variant=v2,bm=64,bn=64", 0, 0.1, -1);
    compare("gemm:bf16,m208,n136,k80,nt,kernel=mma,variant=v2,bm=64,bn=64,bk=32,warps=4", 0, -1,
            -1);
}

static double predicted_us(const char *problem, int bm)
{
    char text[160];
    snprintf(text, sizeof(text), "%s,kernel=sm90,bn=64,stages=2,ctas=1,bm=%d", problem, bm);
    return predict(text).predicted_us;
}

// Tiles that are nearly equal, causal mask or not, leave SMs idle in the last wave: 192 tiles of
// 256 rows are two waves on 132 SMs, as 264 are. Unequal ones do not: the last are the shortest.
static void test_last_wave(void **state)
{
    (void)state;
    const char *long_keys = "attn:bf16,b1,h24,q2048,k65536,d64,causal";
    const char *square = "attn:bf16,b1,h24,q2048,k2048,d64,causal";
    const char *square_whole = "attn:bf16,b1,h33,q2048,k2048,d64,causal";
    const char *long_whole = "attn:bf16,b1,h33,q2048,k65536,d64,causal";
    assert_true(predicted_us(long_keys, 256) > 0.95 * predicted_us(long_whole, 256));
    assert_true(predicted_us(square, 256) < 0.93 * predicted_us(square_whole, 256));
}

static int open_context(void **state)
{
    (void)state;
    const struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                            .device = FAJIT_DEVICE_EMULATED,
                                            .emulated_gpu = "h200",
                                            .cache_mode = FAJIT_CACHE_OFF};
    return fajit_ctx_create(&params, &ctx);
}

static int close_context(void **state)
{
    (void)state;
    fajit_ctx_destroy(&ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_ragged),
        cmocka_unit_test(test_last_wave),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
