// Traces and counts of real kernels on the emulated device. Skipped without NVRTC.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/case.h"

#define SEED 7
#define LOG2E 1.4426950408889634

static struct fajit_ctx *ctx;

static void check(int err)
{
    if (err)
        fail_msg("%d: %s", err, fajit_last_error());
}

static void open_case(struct fcase *c, const char *text, bool watches)
{
    struct fajit_problem problem;
    const struct case_options options = {.seed = SEED, .watches = watches};
    check(fajit_problem_parse(text, &problem));
    int err = case_create(ctx, &problem, &options, c);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    check(err);
}

// --- Watches change no bit --------------------------------------------------------------------

static void compare_outputs(const char *text)
{
    struct fcase plain, watched;
    char *ptx;
    open_case(&plain, text, false);
    open_case(&watched, text, true);
    assert_string_equal(fajit_plan_name(plain.plan), fajit_plan_name(watched.plan));
    assert_null(strstr(fajit_plan_source(plain.plan), "fj_watch"));
    check(fajit_plan_ptx(watched.plan, &ptx));
    const bool gemm = plain.problem.op == FAJIT_OP_GEMM;
    static const char *const names[] = {"sums", "S", "m", "l", "O"};
    for (int i = gemm ? 0 : 1; i < (gemm ? 1 : 5); i++) {
        char mark[32];
        snprintf(mark, sizeof(mark), "// fj_watch %s ", names[i]);
        if (!strstr(ptx, mark))
            fail_msg("%s: the PTX has no watch of %s", text, names[i]);
    }
    fajit_free(ptx);
    struct fcase *both[] = {&plain, &watched};
    for (int i = 0; i < 2; i++) {
        check(case_poison(both[i]));
        check(case_launch(both[i]));
        check(case_fetch(both[i]));
    }
    assert_memory_equal(plain.out.block->host, watched.out.block->host, plain.out.block->bytes);
    if (plain.lse.block)
        assert_memory_equal(plain.lse.block->host, watched.lse.block->host, plain.lse.block->bytes);
    case_destroy(&plain);
    case_destroy(&watched);
}

static void test_same_bits(void **state)
{
    (void)state;
    compare_outputs("attn:f32,b1,h2,q80,k144,d64,causal,lse,kernel=simt");
    compare_outputs("attn:bf16,b1,h1,q64,k128,d40,kernel=simt,variant=v1");
    compare_outputs("attn:bf16,b1,h2,q144,k272,d64,causal,lse,kernel=mma");
    compare_outputs("attn:f16,b1,h1,q64,k128,d72,kernel=mma,variant=v1");
    compare_outputs("attn:bf16,b1,h2,q144,k272,d64,causal,lse,kernel=sm90");
    compare_outputs("gemm:f32,m144,n136,k200,nn,kernel=simt");
    compare_outputs("gemm:bf16,m144,n136,k200,nt,kernel=mma");
    compare_outputs("gemm:bf16,m144,n136,k200,nt,kernel=sm90");
}

// Without its watches the watched text is the text that runs: their lines have the same numbers.
static void test_same_lines(void **state)
{
    (void)state;
    static const char *const texts[] = {"attn:f32,d64,kernel=simt",
                                        "attn:bf16,d64,causal,kernel=mma",
                                        "attn:bf16,d128,causal,kernel=sm90"};
    for (int i = 0; i < 3; i++) {
        struct fajit_problem problem;
        char *plain, *watched;
        check(fajit_problem_parse(texts[i], &problem));
        check(fajit_render(ctx, &problem, false, &plain, NULL, 0));
        check(fajit_render(ctx, &problem, true, &watched, NULL, 0));
        char *to = watched;
        int watches = 0;
        for (char *from = watched; *from;) {
            size_t length = strcspn(from, "\n") + 1;
            char *mark = strstr(from, "// fj_watch");
            bool watch = mark && mark < from + length;
            watches += watch;
            if (!watch)
                to = (char *)memmove(to, from, length) + length;
            from += length;
        }
        *to = '\0';
        assert_true(watches >= 5);
        assert_string_equal(plain, watched);
        fajit_free(plain);
        fajit_free(watched);
    }
}

// --- What is shown is what the definition says ------------------------------------------------

// One head, one CTA whose row 0 is query `row0`, keys in blocks of `block_n`.
struct expected {
    const char *text;
    int cta, warp, head, row0, block_n;
    bool backwards; // keys are walked from the last block
    double factor;  // of S as the kernel keeps it
    double tolerance;
};

struct watcher {
    struct fcase *c;
    const struct expected *e;
    int blocks, keys;     // of the sequence
    int scores, elements; // tiles S seen, elements checked
    int tiles_seen[3];    // of Q, K, V
    int m_seen, l_seen, o_seen, p_seen;
    double l[256], O[256][64]; // the latest
    bool has_row[256];
    uint32_t union_lanes;
    int lines;
};

static double score(const struct watcher *w, int row, int key)
{
    double sum = 0.0;
    for (int d = 0; d < 64; d++) {
        const int64_t q[] = {0, row, w->e->head, d}, k[] = {0, key, w->e->head, d};
        sum += case_element(&w->c->in[0], q) * case_element(&w->c->in[1], k);
    }
    return sum * w->e->factor;
}

static void check_scores(struct watcher *w, const struct fajit_trace_event *event)
{
    const struct expected *e = w->e;
    const int block = e->backwards ? w->blocks - 1 - w->scores : w->scores;
    for (int i = 0; i < event->n_elements; i++) {
        const struct fajit_trace_element *s = &event->elements[i];
        double want = score(w, e->row0 + s->row, block * e->block_n + s->col);
        if (!(fabs((double)s->value - want) <= e->tolerance * (1.0 + fabs(want))))
            fail_msg("%s: block %d, S[%d, %d] is %.9g, not %.9g", e->text, block, s->row, s->col,
                     (double)s->value, want);
    }
    w->elements += event->n_elements;
    w->scores++;
}

// K and V as they lie in shared memory are those of the tensors, to the bit.
static void check_keys(struct watcher *w, const struct fajit_trace_event *event)
{
    const int input = *event->name == 'K' ? 1 : 2;
    const int seen = w->tiles_seen[input]++;
    const int block = w->e->backwards ? w->blocks - 1 - seen : seen;
    assert_int_equal(event->n_elements, w->e->block_n * 64);
    for (int i = 0; i < event->n_elements; i++) {
        const struct fajit_trace_element *x = &event->elements[i];
        const int64_t at[] = {0, block * w->e->block_n + x->row, w->e->head, x->col};
        if ((double)x->value != case_element(&w->c->in[input], at))
            fail_msg("%s: block %d, %s[%d, %d] is %g", w->e->text, block, event->name, x->row,
                     x->col, (double)x->value);
    }
}

static int watch(void *user, const struct fajit_trace_event *event)
{
    struct watcher *w = user;
    if (event->kind == FAJIT_TRACE_LINE) {
        assert_true(event->line > 0 && event->text && event->lanes);
        assert_null(strstr(event->text, "fj_watch"));
        w->lines++;
        w->union_lanes |= event->lanes;
        return 0;
    }
    assert_true(event->n_elements > 0);
    if (strcmp(event->name, "S") == 0)
        check_scores(w, event);
    if (strcmp(event->name, "K") == 0 || strcmp(event->name, "V") == 0)
        check_keys(w, event);
    w->m_seen += strcmp(event->name, "m") == 0;
    w->p_seen += strcmp(event->name, "P") == 0;
    for (int i = 0; i < event->n_elements; i++) {
        const struct fajit_trace_element *x = &event->elements[i];
        if (strcmp(event->name, "l") == 0)
            w->l[x->row] = (double)x->value;
        if (strcmp(event->name, "O") == 0)
            w->O[x->row][x->col] = (double)x->value;
        if (strcmp(event->name, "O") == 0)
            w->has_row[x->row] = true;
    }
    w->l_seen += strcmp(event->name, "l") == 0;
    w->o_seen += strcmp(event->name, "O") == 0;
    return 0;
}

// The last O and l the warp held give the output.
static void check_output(struct watcher *w)
{
    check(case_fetch(w->c));
    for (int row = 0; row < 256; row++)
        for (int d = 0; w->has_row[row] && d < 64; d++) {
            const int64_t at[] = {0, w->e->row0 + row, w->e->head, d};
            double got = case_element(&w->c->out, at), want = w->O[row][d] / w->l[row];
            double unit = w->c->problem.attn.dtype == FAJIT_F32 ? 1e-6 : 0x1p-8;
            if (!(fabs(got - want) <= unit * fabs(want) + 1e-6))
                fail_msg("%s: O[%d, %d] / l is %.9g, the output %.9g", w->e->text, row, d, want,
                         got);
        }
}

static void check_trace(const struct expected *e)
{
    struct fcase c;
    open_case(&c, e->text, true);
    struct watcher w = {.c = &c, .e = e, .keys = (int)c.problem.attn.seq_k};
    w.blocks = w.keys / e->block_n;
    const struct fajit_trace_params params = {.struct_size = sizeof(params),
                                              .cta = {e->cta, 0, 0},
                                              .warp = e->warp,
                                              .visit = watch,
                                              .user = &w};
    check(case_poison(&c));
    check(fajit_plan_trace(c.plan, case_args(&c), &params));
    assert_int_equal(w.scores, w.blocks);
    assert_int_equal(w.tiles_seen[1], w.blocks);
    assert_int_equal(w.tiles_seen[2], w.blocks);
    assert_int_equal(w.m_seen, w.blocks);
    assert_int_equal(w.l_seen, w.blocks);
    assert_int_equal(w.o_seen, w.blocks);
    assert_int_equal(w.p_seen, w.blocks);
    assert_true(w.elements >= 16 * w.keys / 2); // a simt warp has 8 rows of 64
    assert_true(w.lines > 20);
    assert_true(w.union_lanes == ~0u);
    check_output(&w);
    case_destroy(&c);
}

static void test_simt_scores(void **state)
{
    (void)state;
    // Q is scaled, with log2(e), when it is loaded. CTA 3: head 1, rows from 64.
    check_trace(&(struct expected){.text = "attn:f32,b1,h2,q128,k192,d64,kernel=simt,variant=v2,"
                                           "bm=64,bn=64",
                                   .cta = 3,
                                   .warp = 5,
                                   .head = 1,
                                   .row0 = 64,
                                   .block_n = 64,
                                   .factor = LOG2E / 8,
                                   .tolerance = 1e-5});
}

static void test_mma_scores(void **state)
{
    (void)state;
    check_trace(&(struct expected){.text = "attn:bf16,b1,h1,q64,k256,d64,kernel=mma,variant=v2,"
                                           "bm=64,bn=64,warps=4",
                                   .warp = 2,
                                   .block_n = 64,
                                   .factor = 1,
                                   .tolerance = 1e-4});
}

static void test_sm90_scores(void **state)
{
    (void)state;
    // Warps 8 to 11 are the second warpgroup that computes: rows 64 to 127 of the tile.
    check_trace(&(struct expected){.text = "attn:bf16,b1,h1,q128,k256,d64,kernel=sm90,variant=v2,"
                                           "bm=128,bn=128",
                                   .warp = 9,
                                   .row0 = 64,
                                   .block_n = 128,
                                   .backwards = true,
                                   .factor = 1,
                                   .tolerance = 1e-4});
}

// --- Matrix products --------------------------------------------------------------------------

struct sums {
    float value[64][64];
    int held; // elements
};

static int keep_sums(void *user, const struct fajit_trace_event *event)
{
    struct sums *sums = user;
    if (event->kind == FAJIT_TRACE_LINE)
        return 0;
    assert_string_equal(event->name, "sums");
    for (int i = 0; i < event->n_elements; i++)
        sums->value[event->elements[i].row][event->elements[i].col] = event->elements[i].value;
    sums->held = event->n_elements;
    return 0;
}

// The only tile of a product: what a warp holds at last is C. Its part has the size rows x cols.
static void check_sums(const char *text, int warp, int row0, int rows, int cols)
{
    struct fcase c;
    static struct sums sums;
    const struct fajit_trace_params params = {
        .struct_size = sizeof(params), .warp = warp, .visit = keep_sums, .user = &sums};
    memset(&sums, 0, sizeof(sums));
    open_case(&c, text, true);
    check(case_poison(&c));
    check(fajit_plan_trace(c.plan, case_args(&c), &params));
    check(case_fetch(&c));
    assert_int_equal(sums.held, rows * cols);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            const int64_t at[] = {row0 + i, j};
            if (case_element(&c.out, at) != (double)sums.value[row0 + i][j])
                fail_msg("%s: sums[%d, %d] is %g, C %g", text, row0 + i, j,
                         (double)sums.value[row0 + i][j], case_element(&c.out, at));
        }
    case_destroy(&c);
}

static void test_sums(void **state)
{
    (void)state;
    check_sums("gemm:bf16,m64,n64,k256,nt,out=f32,kernel=mma,bm=64,bn=64,bk=32,splitk=1,warps=4", 0,
               0, 32, 32);
    check_sums("gemm:bf16,m64,n64,k256,nt,out=f32,kernel=sm90,bm=64,bn=64,bk=64,splitk=1", 6, 32,
               16, 64);
}

// --- Parameters -------------------------------------------------------------------------------

static int count_events(void *user, const struct fajit_trace_event *event)
{
    int *counts = user;
    counts[0]++;
    counts[1] += event->line < 100 || event->line > 200;
    return counts[2] && counts[0] == counts[2];
}

static void test_parameters(void **state)
{
    (void)state;
    struct fcase c;
    int counts[3] = {0};
    open_case(&c, "attn:f32,b1,h1,q64,k64,d64,kernel=simt,bm=64,bn=64", true);
    struct fajit_trace_params params = {.struct_size = sizeof(params),
                                        .from_line = 100,
                                        .to_line = 200,
                                        .visit = count_events,
                                        .user = counts};
    check(fajit_plan_trace(c.plan, case_args(&c), &params));
    assert_true(counts[0] > 5);
    assert_int_equal(counts[1], 0);
    counts[0] = 0;
    counts[2] = 3; // ended by the callback, not by the kernel
    check(fajit_plan_trace(c.plan, case_args(&c), &params));
    assert_int_equal(counts[0], 3);

    params.warp = 8;
    assert_int_equal(fajit_plan_trace(c.plan, case_args(&c), &params), FAJIT_E_INVAL);
    assert_non_null(strstr(fajit_last_error(), "warps 0 to 7"));
    params.warp = 0;
    params.cta[0] = 1;
    assert_int_equal(fajit_plan_trace(c.plan, case_args(&c), &params), FAJIT_E_INVAL);
    assert_non_null(strstr(fajit_last_error(), "no CTA (1, 0, 0)"));
    params.cta[0] = -1;
    assert_int_equal(fajit_plan_trace(c.plan, case_args(&c), &params), FAJIT_E_INVAL);
    params.cta[0] = 0;
    params.struct_size = 0;
    assert_int_equal(fajit_plan_trace(c.plan, case_args(&c), &params), FAJIT_E_INVAL);
    params.struct_size = sizeof(params);
    params.visit = NULL;
    assert_int_equal(fajit_plan_trace(c.plan, case_args(&c), &params), FAJIT_E_INVAL);
    assert_int_equal(fajit_plan_trace(c.plan, NULL, &params), FAJIT_E_INVAL);
    assert_int_equal(fajit_plan_trace(NULL, case_args(&c), &params), FAJIT_E_INVAL);
    case_destroy(&c);
}

static void test_other_devices(void **state)
{
    (void)state;
    struct fajit_ctx *none;
    struct fajit_plan *plan;
    struct fajit_problem problem;
    struct fajit_attn_args args = {.struct_size = sizeof(args)};
    struct fajit_counts counts = {.struct_size = sizeof(counts)};
    const struct fajit_trace_params params = {.struct_size = sizeof(params), .visit = watch};
    const struct fajit_ctx_params setup = {.struct_size = sizeof(setup),
                                           .device = FAJIT_DEVICE_NONE,
                                           .cache_mode = FAJIT_CACHE_OFF,
                                           .arch = "sm_80"};
    check(fajit_ctx_create(&setup, &none));
    check(fajit_problem_parse("attn:f32,d64,kernel=simt", &problem));
    int err = fajit_plan_create(none, &problem, NULL, &plan);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    check(err);
    assert_int_equal(fajit_plan_trace(plan, &args, &params), FAJIT_E_UNSUPPORTED);
    assert_non_null(strstr(fajit_last_error(), "FAJIT_DEVICE_EMULATED"));
    assert_int_equal(fajit_plan_count(plan, &args, &counts, NULL, NULL), FAJIT_E_UNSUPPORTED);
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&none);
}

// --- Counts -----------------------------------------------------------------------------------

static void test_counts(void **state)
{
    (void)state;
    const uint64_t q = 128, k = 256, d = 64, h = 2;
    struct fajit_counts first = {.struct_size = sizeof(first)}, again = first;
    struct fajit_line_count *lines;
    struct fcase c;
    int line_count;
    open_case(&c, "attn:bf16,b1,h2,q128,k256,d64,kernel=mma,variant=v2,bm=64,bn=64", false);
    check(fajit_plan_count(c.plan, case_args(&c), &first, &lines, &line_count));
    check(fajit_plan_count(c.plan, case_args(&c), &again, NULL, NULL));
    assert_memory_equal(&first, &again, sizeof(first));
    assert_int_equal(first.mma_flops, 4 * q * k * d * h);
    assert_int_equal(first.mma_ops, first.mma_flops / (2 * 16 * 8 * 16));
    assert_true(first.ex2 >= q * k * h && first.ex2 < 2 * q * k * h);
    assert_int_equal(first.global_store_bytes, q * d * h * 2);
    assert_int_equal(first.global_store_sectors, q * d * h * 2 / 32);
    assert_true(first.shared_wavefronts > first.shared_conflicts);
    assert_true(first.barrier_waits > 0);

    uint64_t by_class = 0, by_line = 0;
    for (int i = 0; i < FAJIT_INSN_CLASSES; i++)
        by_class += first.instructions[i];
    for (int i = 0; i < line_count; i++) {
        by_line += lines[i].instructions;
        assert_true(i == 0 || lines[i - 1].line < lines[i].line);
    }
    assert_int_equal(by_class, by_line);
    assert_true(line_count > 20);
    fajit_free(lines);
    assert_int_equal(fajit_plan_count(c.plan, case_args(&c), NULL, NULL, NULL), FAJIT_E_INVAL);
    assert_int_equal(fajit_plan_count(c.plan, case_args(&c), &first, &lines, NULL), FAJIT_E_INVAL);
    case_destroy(&c);

    assert_string_equal(fajit_insn_class_name(FAJIT_INSN_MATRIX_MOVE), "matrix-move");
    assert_null(fajit_insn_class_name(FAJIT_INSN_CLASSES));
    assert_null(fajit_insn_class_name(-1));
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
        cmocka_unit_test(test_same_lines),    cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_simt_scores),   cmocka_unit_test(test_mma_scores),
        cmocka_unit_test(test_sm90_scores),   cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_sums),          cmocka_unit_test(test_counts),
        cmocka_unit_test(test_other_devices),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
