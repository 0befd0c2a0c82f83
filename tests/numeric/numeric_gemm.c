// Every matmul kernel against the fp64 reference, on a GPU or on the emulated device.
//
//     numeric-gemm --device emu|0 [--seed N] [--texts N] [--runs N] [--max-flops F] [--only WORD]
//
// Baked axes make kernel texts (each costs a compile), run-time axes make runs of a text; both are
// pairwise samples drawn by the seed. Then properties that need no reference: block sizes do not
// change sums of integers, a launch repeats bit for bit, NaN and infinities stay where they belong,
// zeros give zeros. Exit code 77: no device, or no NVRTC.
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "grid.h"

#define RUNS_MAX 64
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

// --- Axes -------------------------------------------------------------------------------------

static const char *const kernels[] = {
    "kernel=simt",
    "kernel=simt,variant=persistent",
    "kernel=mma",
    "kernel=mma,variant=persistent",
    "kernel=mma,bm=64,bn=128,bk=32,splitk=4",
    "kernel=simt,bm=64,bn=64,bk=8,splitk=3",
    "kernel=sm90",
    "kernel=sm90,bm=128,bn=256,bk=64,cluster=2,variant=persistent",
    "kernel=sm90,bm=128,bn=192,bk=64,pingpong=1,variant=persistent",
    "kernel=sm90,bm=96,bn=128,bk=64,pingpong=1,variant=persistent",
    "kernel=sm90,bm=128,bn=128,bk=64,splitk=4",
    "kernel=sm90,bm=64,bn=64,bk=64,splitk=8",
    "kernel=sm90,bm=128,bn=128,bk=64,streamk=1",
    "kernel=sm90,bm=64,bn=96,bk=64,streamk=1,cluster=2",
    "kernel=sm90,bm=136,bn=64,bk=64",
    "kernel=sm90,bm=24,bn=128,bk=64,clustern=2,cluster=4",
    "kernel=sm90,bm=80,bn=192,bk=64,streamk=1",
    "kernel=sm90,bm=32,bn=64,bk=64,splitk=4"};
static const char *const types[] = {
    "bf16", "f16", "f32", "f32,math=tf32", "f32,math=3xtf32", "bf16,out=f32", "f16,out=bf16"};
static const char *const layouts[] = {"nn", "nt", "tn", "tt"};
static const char *const ends[] = {"",          ",bias",          ",beta",
                                   ",act=relu", ",bias,act=gelu", ",beta,bias,act=silu"};
static const char *const aligns[] = {"", ",align=4", ",align=8", ",align=2"};

static void baked_text(const int *row, char (*ret_text)[TEXT_MAX])
{
    // No promise below an element's size.
    bool wide = strstr(types[row[1]], "f32") != NULL;
    const char *align = wide && row[4] == 3 ? ",align=4" : aligns[row[4]];
    snprintf(*ret_text, TEXT_MAX, "gemm:%s,%s%s,%s%s", types[row[1]], layouts[row[2]], ends[row[3]],
             kernels[row[0]], align);
}

static const int sizes[][3] = {
    {33, 47, 61},   {100, 200, 150}, {17, 17, 17},  {1, 1, 1},    {2, 3, 5},      {7, 16, 9},
    {16, 1, 16},    {1, 300, 40},    {300, 1, 40},  {64, 64, 64}, {128, 256, 64}, {129, 257, 65},
    {16, 520, 700}, {260, 24, 1100}, {255, 511, 8}, {40, 72, 0},  {513, 130, 96}};
static const int batches[] = {1, 3};
static const enum case_storage storages[] = {CASE_PADDED, CASE_COMPACT, CASE_OFFSET};
static const enum case_values values[] = {CASE_NORMAL, CASE_INTEGERS};

static int run_counts(int *ret_counts)
{
    const int counts[] = {COUNT(sizes), COUNT(batches), COUNT(storages), COUNT(values)};
    memcpy(ret_counts, counts, sizeof(counts));
    return COUNT(counts);
}

// Whether compact rows of all three matrices keep the promise.
static bool compact_keeps(const struct fajit_gemm_desc *p)
{
    const enum fajit_dtype out = p->out_dtype ? p->out_dtype : p->dtype;
    const int64_t align = p->align_bytes ? p->align_bytes : 16;
    const int64_t in_bytes = (int64_t)fajit_dtype_bytes(p->dtype);
    const int64_t a = (p->trans_a ? p->m : p->k) * in_bytes;
    const int64_t b = (p->trans_b ? p->k : p->n) * in_bytes;
    const int64_t c = p->n * (int64_t)fajit_dtype_bytes(out);
    return a % align == 0 && b % align == 0 && c % align == 0;
}

static void apply_run(const int *row, uint64_t seed, struct fajit_problem *problem,
                      struct case_options *options)
{
    struct fajit_gemm_desc *p = &problem->gemm;
    p->m = sizes[row[0]][0];
    p->n = sizes[row[0]][1];
    p->k = sizes[row[0]][2];
    p->batch = batches[row[1]];
    if (!p->align_bytes)
        p->align_bytes = 16; // whatever the sizes: rows are padded where it takes that
    *options = (struct case_options){
        .seed = seed, .storage = storages[row[2]], .values = values[row[3]], .full = true};
    if (!compact_keeps(p))
        options->storage = CASE_PADDED;
}

// --- Cases ------------------------------------------------------------------------------------

static void report(const char *text, const struct fajit_problem *problem,
                   const struct case_options *options, const char *message)
{
    static const char *const storage_names[] = {"compact", "padded", "packed", "offset"};
    static const char *const value_names[] = {"normal", "extreme", "integers", "dirty"};
    const struct fajit_gemm_desc *p = &problem->gemm;
    if (p->k == 0) { // no problem text spells an empty K
        printf("FAIL %s, K = 0: %s\n  repeat: this program, --seed %" PRIu64 "\n", text, message,
               options->seed);
        return;
    }
    printf("FAIL %s: %s\n  repeat: fajit-bench verify %s,b%lld,m%lld,n%lld,k%lld --seed %" PRIu64
           " --storage %s --values %s --full\n",
           text, message, text, (long long)p->batch, (long long)p->m, (long long)p->n,
           (long long)p->k, options->seed, storage_names[options->storage],
           value_names[options->values]);
    fflush(stdout);
}

static void count(bool ok, struct totals *totals)
{
    totals->passed += ok;
    totals->failed += !ok;
}

static void run_case(struct fajit_ctx *ctx, const char *text, const struct fajit_problem *problem,
                     const struct case_options *options, struct totals *totals)
{
    struct fcase c;
    struct case_result result = {0};
    int err = case_create(ctx, problem, options, &c);
    if (err == 0) {
        err = case_check(&c, &result);
        case_destroy(&c);
    }
    bool ok = err == 0 && result.ok;
    count(ok, totals);
    if (!ok)
        report(text, problem, options, err ? fajit_last_error() : result.message);
}

// K = 0: C is beta C and the epilogue, whatever the strides of the empty A and B.
static void run_empty(struct fajit_ctx *ctx, const char *text, const struct fajit_problem *problem,
                      uint64_t seed, struct totals *totals)
{
    struct fajit_problem sized = *problem;
    sized.gemm.m = 40;
    sized.gemm.n = 72;
    sized.gemm.batch = 2;
    struct case_options options = {
        .seed = seed, .storage = CASE_COMPACT, .values = CASE_INTEGERS, .full = true};
    run_case(ctx, text, &sized, &options, totals);
}

static void run_text(struct fajit_ctx *ctx, const struct settings *settings, const char *text,
                     uint64_t seed, struct totals *totals)
{
    struct fajit_problem problem, sized;
    struct case_options options;
    int counts[PAIRWISE_AXES_MAX], rows[RUNS_MAX][PAIRWISE_AXES_MAX];
    if (fajit_problem_parse(text, &problem)) {
        printf("FAIL %s: %s\n", text, fajit_last_error());
        totals->failed++;
        return;
    }
    run_empty(ctx, text, &problem, seed, totals);
    int axes = run_counts(counts);
    int total = pairwise(counts, axes, seed, rows, RUNS_MAX);
    for (int i = 0; i < total && i < settings->runs; i++) {
        sized = problem;
        apply_run(rows[i], seed + (uint64_t)i, &sized, &options);
        double flops =
            2.0 * (double)(sized.gemm.batch * sized.gemm.m * sized.gemm.n) * (double)sized.gemm.k;
        if (flops > settings->max_flops)
            continue;
        if (fajit_problem_check(ctx, &sized) == FAJIT_E_UNSUPPORTED)
            totals->skipped++; // rows of C that no tensor store can write
        else
            run_case(ctx, text, &sized, &options, totals);
    }
}

// --- Properties -------------------------------------------------------------------------------

// Texts of one problem that must all compute the same.
static const char *const equals[] = {
    "gemm:bf16,m200,n328,k520,nn,kernel=simt",
    "gemm:bf16,m200,n328,k520,nn,kernel=simt,bm=64,bn=128,bk=16",
    "gemm:bf16,m200,n328,k520,nn,kernel=simt,bm=32,bn=64,bk=8,splitk=5",
    "gemm:bf16,m200,n328,k520,nn,kernel=mma",
    "gemm:bf16,m200,n328,k520,nn,kernel=mma,bm=128,bn=64,bk=32,splitk=3",
    "gemm:bf16,m200,n328,k520,nn,kernel=mma,bm=32,bn=128,bk=64",
    "gemm:bf16,m200,n328,k520,nn,kernel=sm90,bm=64,bn=64,bk=64",
    "gemm:bf16,m200,n328,k520,nn,kernel=sm90,bm=128,bn=256,bk=64,cluster=2",
    "gemm:bf16,m200,n328,k520,nn,kernel=sm90,bm=192,bn=128,bk=64",
    "gemm:bf16,m200,n328,k520,nn,kernel=sm90,bm=128,bn=128,bk=64,splitk=8",
    "gemm:bf16,m200,n328,k520,nn,kernel=sm90,bm=128,bn=128,bk=64,streamk=1",
    "gemm:bf16,m200,n328,k520,nn,kernel=sm90,bm=72,bn=64,bk=64,cluster=4,clustern=2",
    "gemm:bf16,m200,n328,k520,nn,kernel=sm90,bm=40,bn=128,bk=64,streamk=1",
    "gemm:bf16,m200,n328,k520,nn,kernel=sm90,bm=64,bn=64,bk=64,swap=1,splitk=4",
};

// More tiles than two waves: under streamk most are whole and the rest shared.
static const char *const waves[] = {
    "gemm:bf16,m1600,n1104,k328,nn,kernel=sm90,bm=64,bn=64,bk=64",
    "gemm:bf16,m1600,n1104,k328,nn,kernel=sm90,bm=64,bn=64,bk=64,streamk=1",
    "gemm:bf16,m1600,n1104,k328,nn,kernel=sm90,bm=48,bn=128,bk=64,streamk=1,cluster=2",
    "gemm:bf16,m1600,n1104,k328,nn,kernel=sm90,bm=128,bn=48,bk=64,pingpong=1,stages=2",
    "gemm:bf16,m1600,n1104,k328,nn,kernel=sm90,bm=128,bn=64,bk=64,pingpong=1,stages=9",
    "gemm:bf16,m1600,n1104,k328,nn,kernel=sm90,bm=56,bn=128,bk=64,pingpong=1,stages=3",
    "gemm:bf16,m1600,n1104,k328,nn,kernel=sm90,bm=128,bn=72,bk=64,pingpong=1,streamk=1",
};

// Runs a case twice; the bytes of the second run are left in its output block.
static int run_twice(struct fcase *c, bool *ret_repeats)
{
    int err = case_poison(c);
    if (err == 0)
        err = case_launch(c);
    if (err == 0)
        err = case_fetch(c);
    unsigned char *first = malloc(c->out.block->bytes);
    if (err || !first) {
        free(first);
        return err ? err : FAJIT_E_NOMEM;
    }
    memcpy(first, c->out.block->host, c->out.block->bytes);
    err = case_poison(c);
    if (err == 0)
        err = case_launch(c);
    if (err == 0)
        err = case_fetch(c);
    *ret_repeats = err == 0 && memcmp(first, c->out.block->host, c->out.block->bytes) == 0;
    free(first);
    return err;
}

// Sums of small integers are exact in fp32: no block size, split or kernel may change a bit. Sums
// of normal numbers must at least repeat.
static void check_equals(struct fajit_ctx *ctx, const char *const *texts, int count_texts,
                         uint64_t seed, enum case_values which, struct totals *totals)
{
    unsigned char *wanted = NULL;
    for (int i = 0; i < count_texts; i++) {
        struct fajit_problem problem;
        struct fcase c;
        struct case_options options = {.seed = seed, .values = which, .full = true};
        bool repeats = false;
        if (fajit_problem_parse(texts[i], &problem) ||
            fajit_problem_check(ctx, &problem) == FAJIT_E_UNSUPPORTED) {
            totals->skipped++;
            continue;
        }
        int err = case_create(ctx, &problem, &options, &c);
        if (err) {
            count(false, totals);
            report(texts[i], &problem, &options, fajit_last_error());
            continue;
        }
        err = run_twice(&c, &repeats);
        size_t bytes = c.out.block->bytes;
        bool same = wanted == NULL || which != CASE_INTEGERS ||
                    memcmp(wanted, c.out.block->host, bytes) == 0;
        if (!wanted && (wanted = malloc(bytes)))
            memcpy(wanted, c.out.block->host, bytes);
        count(err == 0 && repeats && same, totals);
        if (err || !repeats || !same)
            report(texts[i], &problem, &options,
                   err        ? fajit_last_error()
                   : !repeats ? "two launches differ"
                              : "block sizes change a sum of integers");
        case_destroy(&c);
    }
    free(wanted);
}

static const char *const specials[] = {
    "gemm:f32,m70,n90,k130,nn,kernel=simt",
    "gemm:f16,m70,n88,k136,nn,kernel=mma",
    "gemm:bf16,m70,n88,k136,nt,kernel=sm90",
    "gemm:bf16,m70,n88,k136,nn,kernel=sm90,bm=64,bn=64,bk=64,splitk=4",
    "gemm:f32,m70,n90,k130,nt,math=tf32",
    "gemm:f32,m70,n90,k130,nn,math=3xtf32",
    "gemm:f32,m70,n90,k130,nt,math=3xtf32,splitk=2"};

static void set_element(struct case_tensor *tensor, int64_t row, int64_t column, float value)
{
    const struct fajit_tensor *view = &tensor->view;
    size_t at = (size_t)(row * view->strides[0] + column) * fajit_dtype_bytes(view->dtype);
    fajit_convert_from_f32(view->dtype, &value, (unsigned char *)case_host(tensor) + at, 1);
}

// Row 3 of A holds a NaN, row 5 an infinity: row 3 of C is NaN, row 5 has no finite element (an
// infinity times 0, which no column holds here, would be NaN), every other row is finite.
static bool specials_stay(const struct fcase *c)
{
    for (int64_t row = 0; row < c->problem.gemm.m; row++)
        for (int64_t column = 0; column < c->problem.gemm.n; column++) {
            double got = case_element(&c->out, (int64_t[]){row, column});
            bool right = row == 3 ? isnan(got) : row == 5 ? isinf(got) : isfinite(got);
            if (!right)
                return false;
        }
    return true;
}

static bool all_zero(const struct fcase *c)
{
    for (int64_t row = 0; row < c->problem.gemm.m; row++)
        for (int64_t column = 0; column < c->problem.gemm.n; column++)
            if (case_element(&c->out, (int64_t[]){row, column}) != 0)
                return false;
    return true;
}

static int run_changed(struct fcase *c)
{
    int err = case_block_upload(c, c->in[0].block);
    if (err == 0)
        err = case_poison(c);
    if (err == 0)
        err = case_launch(c);
    return err ? err : case_fetch(c);
}

static void check_special(struct fajit_ctx *ctx, const char *text, uint64_t seed,
                          struct totals *totals)
{
    struct fajit_problem problem;
    struct fcase c;
    struct case_options options = {.seed = seed, .full = true};
    if (fajit_problem_parse(text, &problem) ||
        fajit_problem_check(ctx, &problem) == FAJIT_E_UNSUPPORTED) {
        totals->skipped++;
        return;
    }
    int err = case_create(ctx, &problem, &options, &c);
    if (err) {
        count(false, totals);
        report(text, &problem, &options, fajit_last_error());
        return;
    }
    set_element(&c.in[0], 3, 2, NAN);
    set_element(&c.in[0], 5, 7, INFINITY);
    err = run_changed(&c);
    bool stay = err == 0 && specials_stay(&c);
    for (int64_t row = 0; row < problem.gemm.m; row++)
        for (int64_t column = 0; column < problem.gemm.k; column++)
            set_element(&c.in[0], row, column, 0);
    if (err == 0)
        err = run_changed(&c);
    bool zero = err == 0 && all_zero(&c);
    count(stay && zero, totals);
    if (!stay || !zero)
        report(text, &problem, &options,
               err     ? fajit_last_error()
               : !stay ? "NaN or infinity in the wrong rows"
                       : "zeros do not give zeros");
    case_destroy(&c);
}

// The largest fp32 rounds to infinity in tf32, but half of it is a number that 3xtf32 must find.
static void check_largest(struct fajit_ctx *ctx, uint64_t seed, struct totals *totals)
{
    static const char text[] = "gemm:f32,m20,n24,k40,nn,math=3xtf32";
    struct fajit_problem problem;
    struct fcase c;
    struct case_options options = {.seed = seed, .full = true};
    int err = fajit_problem_parse(text, &problem);
    if (err == 0 && fajit_problem_check(ctx, &problem) == FAJIT_E_UNSUPPORTED) {
        totals->skipped++;
        return;
    }
    if (err == 0)
        err = case_create(ctx, &problem, &options, &c);
    if (err) {
        count(false, totals);
        report(text, &problem, &options, fajit_last_error());
        return;
    }
    for (int64_t k = 0; k < problem.gemm.k; k++)
        set_element(&c.in[0], 4, k, k == 9 ? -FLT_MAX : 0);
    for (int64_t column = 0; column < problem.gemm.n; column++)
        set_element(&c.in[1], 9, column, 0.5f);
    err = case_block_upload(&c, c.in[1].block);
    if (err == 0)
        err = run_changed(&c);
    bool right = err == 0;
    for (int64_t column = 0; right && column < problem.gemm.n; column++)
        right = fabs(case_element(&c.out, (int64_t[]){4, column}) / (0.5 * FLT_MAX) + 1) < 1e-6;
    count(right, totals);
    if (!right)
        report(text, &problem, &options,
               err ? fajit_last_error() : "half of -FLT_MAX is not found");
    case_destroy(&c);
}

// --- The program ------------------------------------------------------------------------------

static void run_all(struct fajit_ctx *ctx, const struct settings *settings, struct totals *totals)
{
    static char texts[TEXTS_MAX][TEXT_MAX];
    static const struct grid_axes axes = {
        .counts = {COUNT(kernels), COUNT(types), COUNT(layouts), COUNT(ends), COUNT(aligns)},
        .axes = 5,
        .knobs = true,
        .text = baked_text};
    int chosen = grid_choose(ctx, settings, &axes, texts, totals);
    for (int i = 0; i < chosen; i++)
        run_text(ctx, settings, texts[i], settings->seed * 1000003u + (uint64_t)i, totals);
    printf("%d texts\n", chosen);
    check_equals(ctx, equals, COUNT(equals), settings->seed, CASE_INTEGERS, totals);
    check_equals(ctx, equals, COUNT(equals), settings->seed, CASE_NORMAL, totals);
    check_equals(ctx, waves, COUNT(waves), settings->seed, CASE_INTEGERS, totals);
    check_equals(ctx, waves, COUNT(waves), settings->seed, CASE_NORMAL, totals);
    for (int i = 0; i < COUNT(specials); i++)
        check_special(ctx, specials[i], settings->seed, totals);
    check_largest(ctx, settings->seed, totals);
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct totals totals = {0};
    struct fajit_ctx *ctx = NULL;
    if (!grid_options(argc, argv, &settings))
        return 2;
    int code = grid_open(&settings, &ctx);
    if (code)
        return code;
    printf("seed %" PRIu64 " on %s\n", settings.seed, settings.device);
    run_all(ctx, &settings, &totals);
    fajit_ctx_destroy(&ctx);
    return grid_end(&totals);
}
