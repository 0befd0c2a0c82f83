// Every kernel against the fp64 reference, on a GPU or on the emulated device, from one list.
//
//     numeric --device emu|0 [--seed N] [--texts N] [--runs N] [--max-flops F] [--only WORD]
//
// Baked axes make kernel texts (each costs a compile), run-time axes make runs of a text. Both are
// pairwise samples drawn by the seed. Exit code 77: no device, or no NVRTC.
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "case.h"
#include "grid.h"

#define RUNS_MAX 64

// --- Baked axes -------------------------------------------------------------------------------

static const char *const kernels[] = {"kernel=simt,variant=v2",
                                      "kernel=simt,variant=v1",
                                      "kernel=simt,variant=persistent",
                                      "kernel=mma,variant=v2",
                                      "kernel=mma,variant=v1",
                                      "kernel=mma,variant=persistent",
                                      "kernel=sm90,variant=v2",
                                      "kernel=sm90,variant=persistent",
                                      "kernel=sm90,variant=v2,cluster=2,rescale=2",
                                      "kernel=sm90,variant=persistent,cluster=2"};
static const char *const dtypes[] = {"bf16", "f16", "f32"};
static const char *const dims[] = {"d64",  "d128", "d8",   "d40",      "d80",   "d96",
                                   "d160", "d192", "d256", "d192/128", "d72/40"};
static const char *const masks[] = {"", ",causal", ",causal=tl"};
static const char *const switches[] = {"", ",lse", ",seqlens=k,lse", ",seqlens", ",seqlens=q"};
static const char *const layouts[] = {"bshd", "bhsd", "nsd"};
static const char *const aligns[] = {"", ",align=2"};

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static void baked_text(const int *row, char (*ret_text)[TEXT_MAX])
{
    const char *kernel = kernels[row[0]], *dtype = dtypes[row[1]], *align = aligns[row[6]];
    // What a family refuses is swapped for what it takes, so that no row of the sample is lost.
    if (strcmp(dtype, "f32") == 0 && !strstr(kernel, "simt"))
        dtype = row[2] % 2 ? "bf16" : "f16";
    if (strcmp(dtype, "f32") == 0 && *align)
        align = ",align=4";
    if (strstr(kernel, "sm90"))
        align = "";
    snprintf(*ret_text, TEXT_MAX, "attn:%s,%s,%s%s%s,%s%s", dtype, dims[row[2]], layouts[row[5]],
             masks[row[3]], switches[row[4]], kernel, align);
}

// --- Run-time axes ----------------------------------------------------------------------------

static const int seqs[][2] = {{1, 1},     {1, 147},    {1, 239},   {3, 799},     {64, 128},
                              {113, 203}, {108, 256},  {127, 513}, {128, 217},   {239, 1},
                              {256, 512}, {512, 256},  {799, 3},   {1023, 1024}, {1024, 1023},
                              {300, 300}, {16, 20000}, {1, 131072}};
static const int heads[][2] = {{1, 1}, {6, 6}, {6, 2}, {6, 1}, {8, 1}, {7, 1}, {32, 4}};
static const int batches[] = {1, 3};
static const enum case_storage storages[] = {CASE_COMPACT, CASE_PADDED, CASE_OFFSET,
                                             CASE_PACKED_QKV};
static const enum case_values values[] = {CASE_NORMAL, CASE_EXTREME, CASE_DIRTY_TAIL};
static const enum case_lengths lengths[] = {CASE_RANDOM_LENGTHS, CASE_FULL_LENGTHS,
                                            CASE_ZERO_LENGTHS, CASE_ONE_KEY};
static const float scales[] = {0, 0.3f, -0.2f};

static int run_counts(int *ret_counts)
{
    const int counts[] = {COUNT(seqs),   COUNT(heads),   COUNT(batches), COUNT(storages),
                          COUNT(values), COUNT(lengths), COUNT(scales)};
    memcpy(ret_counts, counts, sizeof(counts));
    return COUNT(counts);
}

static double flops_of(const struct fajit_problem *problem)
{
    const struct fajit_attn_desc *p = &problem->attn;
    return 4.0 * (double)(p->batch * p->heads_q * p->seq_q * p->seq_k) * p->head_dim;
}

static void apply_run(const int *row, uint64_t seed, struct fajit_problem *problem,
                      struct case_options *options)
{
    struct fajit_attn_desc *p = &problem->attn;
    p->seq_q = seqs[row[0]][0];
    p->seq_k = seqs[row[0]][1];
    p->heads_q = heads[row[1]][0];
    p->heads_kv = heads[row[1]][1];
    p->batch = batches[row[2]];
    *options = (struct case_options){
        .seed = seed,
        .storage = storages[row[3]],
        .values = values[row[4]],
        .lengths = lengths[row[5]],
        .full = true,
    };
    // Kernels may refuse a sign of the scale, so it is part of the problem.
    p->scale = options->values == CASE_EXTREME ? 0 : scales[row[6]];
    // A packed projection needs one length, one head dim and the BSHD order.
    if (options->storage == CASE_PACKED_QKV) {
        if (p->layout == FAJIT_BSHD && (!p->head_dim_v || p->head_dim_v == p->head_dim))
            p->seq_k = p->seq_q;
        else
            options->storage = CASE_PADDED;
    }
}

// --- Running ----------------------------------------------------------------------------------

static void report_failure(const struct fajit_problem *problem, const struct case_options *options,
                           const char *message)
{
    static const char *const storage_names[] = {"compact", "padded", "packed", "offset"};
    static const char *const value_names[] = {"normal", "extreme", "integers", "dirty"};
    static const char *const length_names[] = {"random", "full", "zero", "one-key"};
    char text[256] = "?";
    fajit_problem_format(problem, text, sizeof(text));
    printf("FAIL %s: %s\n  repeat: fajit-bench verify %s --seed %" PRIu64
           " --storage %s --values %s --lengths %s --full\n",
           text, message, text, options->seed, storage_names[options->storage],
           value_names[options->values], length_names[options->lengths]);
    fflush(stdout);
}

// A fault makes the context unusable: the cases after it get a fresh one.
static void reopen(const struct settings *settings, struct fajit_ctx **ctx)
{
    fajit_ctx_destroy(ctx);
    if (grid_open(settings, ctx)) {
        printf("FAIL no new context after a fault: %s\n", fajit_last_error());
        exit(1);
    }
}

static void run_case(struct fajit_ctx **ctx, const struct settings *settings,
                     const struct fajit_problem *problem, const struct case_options *options,
                     struct totals *totals)
{
    struct fcase c;
    struct case_result result;
    char message[1024];
    int err = case_create(*ctx, problem, options, &c);
    if (err)
        snprintf(message, sizeof(message), "%s", fajit_last_error());
    if (err == 0) {
        err = case_check(&c, &result);
        snprintf(message, sizeof(message), "%s", err ? fajit_last_error() : result.message);
        case_destroy(&c);
    }
    if (err == 0 && result.ok) {
        totals->passed++;
        return;
    }
    totals->failed++;
    report_failure(problem, options, message);
    if (err)
        reopen(settings, ctx);
}

static void run_text(struct fajit_ctx **ctx, const struct settings *settings, const char *text,
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
    int axes = run_counts(counts), done = 0;
    int total = pairwise(counts, axes, seed, rows, RUNS_MAX);
    for (int i = 0; i < total && done < settings->runs; i++) {
        sized = problem;
        apply_run(rows[i], seed + (uint64_t)i, &sized, &options);
        if (flops_of(&sized) > settings->max_flops)
            continue;
        if (fajit_problem_check(*ctx, &sized) == FAJIT_E_UNSUPPORTED)
            sized.attn.scale = 0;
        run_case(ctx, settings, &sized, &options, totals);
        done++;
    }
}

struct warmer {
    struct fajit_ctx *ctx;
    char (*texts)[TEXT_MAX];
    int count;
    atomic_int next;
};

// Compiles ahead on all cores: plans are thread-safe, and the cache keeps what they make.
static void *warm(void *user)
{
    struct warmer *w = user;
    for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->count;) {
        struct fajit_problem problem;
        struct fajit_plan *plan = NULL;
        if (fajit_problem_parse(w->texts[i], &problem) == 0)
            (void)fajit_plan_create(w->ctx, &problem, NULL, &plan);
        fajit_plan_destroy(&plan);
    }
    return NULL;
}

static void warm_all(struct fajit_ctx *ctx, char (*texts)[TEXT_MAX], int count)
{
    enum { THREADS = 16 };
    struct warmer warmer = {ctx, texts, count, 0};
    pthread_t threads[THREADS];
    int started = 0;
    while (started < THREADS && pthread_create(&threads[started], NULL, warm, &warmer) == 0)
        started++;
    while (started > 0)
        pthread_join(threads[--started], NULL);
}

int main(int argc, char **argv)
{
    static const struct grid_axes axes = {.counts = {COUNT(kernels), COUNT(dtypes), COUNT(dims),
                                                     COUNT(masks), COUNT(switches), COUNT(layouts),
                                                     COUNT(aligns)},
                                          .axes = 7,
                                          .text = baked_text};
    static char texts[TEXTS_MAX][TEXT_MAX];
    struct settings settings;
    struct totals totals = {0};
    struct fajit_ctx *ctx = NULL;
    if (!grid_options(argc, argv, &settings))
        return 2;
    int code = grid_open(&settings, &ctx);
    if (code)
        return code;
    printf("seed %" PRIu64 "\n", settings.seed);
    int count = grid_choose(ctx, &settings, &axes, texts, &totals);
    warm_all(ctx, texts, count);
    for (int i = 0; i < count; i++)
        run_text(&ctx, &settings, texts[i], settings.seed * 1000003u + (uint64_t)i, &totals);
    fajit_ctx_destroy(&ctx);
    printf("%d texts on %s\n", count, settings.device);
    return grid_end(&totals);
}
