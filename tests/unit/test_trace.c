// Traces: lines, layouts, and one warp of a small kernel.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include <stdlib.h>

#include "emu/trace.h"
#include "emu_session.h"
#include "trace_lines.h"
#include "trace_tile.h"

// --- Lines ------------------------------------------------------------------------------------

static void test_lines(void **state)
{
    (void)state;
    struct fj_source_lines lines;
    assert_int_equal(fj_source_lines_split("a\n"
                                           "    asm volatile(\"// fj_watch S 1 1 acc 1 %0\" ::);\n"
                                           "\n"
                                           "b",
                                           &lines),
                     FAJIT_OK);
    assert_int_equal(lines.count, 4);
    assert_null(fj_source_line(&lines, 0));
    assert_null(fj_source_line(&lines, 5));
    assert_string_equal(fj_source_line(&lines, 1)->text, "a");
    assert_true(fj_source_line(&lines, 2)->watch);
    assert_int_equal(fj_source_line(&lines, 2)->plain, 1);
    assert_string_equal(fj_source_line(&lines, 3)->text, "");
    assert_int_equal(fj_source_line(&lines, 4)->plain, 3);
    assert_string_equal(fj_source_line(&lines, 4)->text, "b");
    fj_source_lines_free(&lines);
}

// --- Layouts ----------------------------------------------------------------------------------

static uint64_t registers[512][32];
static struct fj_elements elements;

static uint64_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static int place(const char *text, int warp, uint32_t lanes, int n_registers)
{
    struct fj_watch_text watch;
    assert_true(fj_watch_parse(text, &watch));
    const struct fj_fragment fragment = {
        .warp = warp, .lanes = lanes, .n_registers = n_registers, .registers = registers[0]};
    return fj_watch_elements(&watch, &fragment, &elements);
}

static float at(int row, int col)
{
    for (int i = 0; i < elements.count; i++)
        if (elements.items[i].row == row && elements.items[i].col == col)
            return elements.items[i].value;
    fail_msg("no element [%d, %d]", row, col);
    return 0.0f;
}

static void number_registers(int count)
{
    for (int reg = 0; reg < count; reg++)
        for (int lane = 0; lane < 32; lane++)
            registers[reg][lane] = float_bits((float)(100 * reg + lane));
}

// All warps together hold every element of a tile once.
static void check_cover(const char *text, int warps, int n_registers, int rows, int cols)
{
    int *count = calloc((size_t)(rows * cols), sizeof(*count));
    assert_non_null(count);
    for (int warp = 0; warp < warps; warp++) {
        assert_int_equal(place(text, warp, ~0u, n_registers), FAJIT_OK);
        for (int i = 0; i < elements.count; i++) {
            const struct fajit_trace_element *e = &elements.items[i];
            assert_in_range(e->row, 0, rows - 1);
            assert_in_range(e->col, 0, cols - 1);
            count[e->row * cols + e->col]++;
            if (i > 0)
                assert_true(e[-1].row < e->row || (e[-1].row == e->row && e[-1].col < e->col));
        }
    }
    for (int i = 0; i < rows * cols; i++)
        if (count[i] != 1)
            fail_msg("%s: [%d, %d] is held %d times", text, i / cols, i % cols, count[i]);
    free(count);
}

static void test_cover(void **state)
{
    (void)state;
    memset(registers, 0, sizeof(registers));
    check_cover("S 128 64 acc 2x32", 4, 64, 128, 64);
    check_cover("S 128 64 acc 1x32", 8, 32, 128, 64);
    check_cover("S 64 96 acc 48", 4, 48, 64, 96);   // a warpgroup's
    check_cover("O 64 72 acc 1x40", 4, 40, 64, 72); // padded to 80 columns
    check_cover("P 64 64 a_bf16 1x4x4", 4, 16, 64, 64);
    check_cover("P 128 32 a_f16 2x2x4", 4, 16, 128, 32);
    check_cover("m 128 1 row 2x2", 4, 4, 128, 1);
    check_cover("m 64 1 row 2", 4, 2, 64, 1);
    check_cover("S 64 48 grid 4x3", 8, 12, 64, 48);
    check_cover("O 64 40 grid 4x3", 8, 12, 64, 40); // padded to 48 columns
    check_cover("m 64 1 grid 4", 8, 4, 64, 1);
    check_cover("C 128 64 grid_8x8 8x8", 4, 64, 128, 64);
}

static void test_accumulators(void **state)
{
    (void)state;
    number_registers(64);
    // Warp 1 of 4, two 16-row tiles each: rows 32 to 63. Lane 4 g + t, register 4 n + 2 j + i.
    assert_int_equal(place("S 128 64 acc 2x32", 1, ~0u, 64), FAJIT_OK);
    assert_int_equal(elements.count, 32 * 64);
    assert_true(at(32, 0) == 0.0f);
    assert_true(at(32, 1) == 100.0f);
    assert_true(at(32 + 8, 1) == 300.0f);
    assert_true(at(32 + 3, 5) == (float)(100 + 4 * 3 + 2));
    assert_true(at(48 + 7, 63) == (float)(100 * (32 + 4 * 7 + 1) + 31));
    // Warps 4 to 7 of a CTA are the second warpgroup's: of its 64 rows, warp 6 has 32 to 47.
    assert_int_equal(place("S 64 128 acc 64", 6, ~0u, 64), FAJIT_OK);
    assert_true(at(32, 0) == 0.0f);
    assert_true(at(47, 127) == (float)(100 * 63 + 31));
    // Lanes that do not execute hold nothing to be looked at.
    assert_int_equal(place("S 64 128 acc 64", 6, 0xf, 64), FAJIT_OK);
    assert_int_equal(elements.count, 128 * 2);
}

static void test_pairs(void **state)
{
    (void)state;
    for (int reg = 0; reg < 8; reg++)
        for (int lane = 0; lane < 32; lane++)
            registers[reg][lane] = 0x40003f80; // bf16: 1 below, 2 above
    registers[6][9] = 0x41004080;              // 4 and 8: k step 1, row + 0, columns + 8
    assert_int_equal(place("P 64 32 a_bf16 8", 0, ~0u, 8), FAJIT_OK);
    assert_true(at(0, 0) == 1.0f && at(0, 1) == 2.0f);
    assert_true(at(2, 16 + 8 + 2) == 4.0f && at(2, 16 + 8 + 3) == 8.0f);
    registers[1][0] = 0xc0003c00; // fp16: 1 and -2, 8 rows down
    assert_int_equal(place("P 64 32 a_f16 8", 0, ~0u, 8), FAJIT_OK);
    assert_true(at(8, 0) == 1.0f && at(8, 1) == -2.0f);
}

static void test_rows(void **state)
{
    (void)state;
    number_registers(4);
    assert_int_equal(place("m 128 1 row 2x2", 1, ~0u, 4), FAJIT_OK);
    assert_int_equal(elements.count, 32);
    assert_true(at(32 + 16 + 8 + 5, 0) == 300.0f + 20.0f);
    assert_int_equal(place("l 64 1 row_sum 2", 0, ~0u, 2), FAJIT_OK);
    assert_true(at(8 + 1, 0) == 4 * 100.0f + 4 + 5 + 6 + 7);
    assert_int_equal(place("m 64 1 grid 4", 3, ~0u, 4), FAJIT_OK);
    assert_int_equal(elements.count, 8);
    assert_true(at(6, 0) == 0.0f && at(7, 0) == 16.0f && at(6 + 48, 0) == 300.0f);
    assert_int_equal(place("l 64 1 grid_sum 4", 3, ~0u, 4), FAJIT_OK);
    assert_true(at(7, 0) == 16 * 16.0f + 120.0f);
    // A row none of whose lanes executes is not shown.
    assert_int_equal(place("m 64 1 grid 4", 3, 0xffff0000, 4), FAJIT_OK);
    assert_int_equal(elements.count, 4);
    assert_int_equal(place("S 64 48 grid 4x3", 3, 0xffff0000, 12), FAJIT_OK);
    assert_int_equal(elements.count, 4 * 48);
}

static void test_shared(void **state)
{
    (void)state;
    uint16_t shared[512 + 4 * 24];
    for (int i = 0; i < 4 * 24; i++)
        shared[512 + i] = (uint16_t)(float_bits((float)i) >> 16);
    struct fj_watch_text watch;
    assert_true(fj_watch_parse("K 4 16 smem_bf16 24", &watch));
    for (int lane = 0; lane < 32; lane++)
        registers[0][lane] = 0x1000000000000000 + 1024;
    struct fj_fragment fragment = {.lanes = 8,
                                   .n_registers = 1,
                                   .registers = registers[0],
                                   .shared = (const uint8_t *)shared,
                                   .shared_begin = 1024,
                                   .shared_end = sizeof(shared)};
    assert_int_equal(fj_watch_elements(&watch, &fragment, &elements), FAJIT_OK);
    assert_int_equal(elements.count, 64);
    assert_true(at(0, 15) == 15.0f && at(2, 1) == 49.0f);
    fragment.shared_end = 1024 + 2 * (3 * 24 + 15); // one element short
    assert_int_equal(fj_watch_elements(&watch, &fragment, &elements), FAJIT_E_TEMPLATE);
    fragment.shared_end += 2;
    assert_int_equal(fj_watch_elements(&watch, &fragment, &elements), FAJIT_OK);
    fragment.shared_begin = 1025;
    assert_int_equal(fj_watch_elements(&watch, &fragment, &elements), FAJIT_E_TEMPLATE);
}

static void test_bad_watches(void **state)
{
    (void)state;
    struct fj_watch_text watch;
    static const char *const bad[] = {"",
                                      "S",
                                      "S 64",
                                      "S 64 64",
                                      "S 64 64 acc",
                                      "S 64 64 acc x",
                                      "S 0 64 acc 4",
                                      "S 64 64 acc 0",
                                      "S 64 64 acc 2x0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (fj_watch_parse(bad[i], &watch))
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(place("S 64 64 spiral 4", 0, ~0u, 4), FAJIT_E_TEMPLATE);
    assert_int_equal(place("S 64 64 acc 2x16", 0, ~0u, 31), FAJIT_E_TEMPLATE);
}

// --- A kernel ---------------------------------------------------------------------------------

#define PTX_TRACED                                                                                 \
    ".file 1 \"small.cu\"\n"                                                                       \
    ".visible .entry traced(.param .u64 p)\n"                                                      \
    "{\n"                                                                                          \
    ".reg .pred %q; .reg .b32 %r<4>; .reg .f32 %f<3>;\n"                                           \
    ".loc 1 10 1\n"                                                                                \
    "mov.u32 %r1, %tid.x;\n"                                                                       \
    "cvt.rn.f32.u32 %f1, %r1;\n"                                                                   \
    "setp.ge.u32 %q, %r1, 40;\n"                                                                   \
    "@%q bra skip;\n"                                                                              \
    ".loc 1 11 1\n"                                                                                \
    "add.f32 %f1, %f1, 0f447A0000;\n" /* 1000 */                                                   \
    "skip:\n"                                                                                      \
    ".loc 1 12 1\n"                                                                                \
    "add.f32 %f2, %f1, %f1;\n"                                                                     \
    "// begin inline asm\n"                                                                        \
    "// fj_watch S 32 2 acc 2 %f1 %f2\n"                                                           \
    "// end inline asm\n"                                                                          \
    ".loc 1 13 1\n"                                                                                \
    "ret;\n"                                                                                       \
    "}\n"

struct log {
    int lines[16], line_count, watches;
    uint32_t lanes[16];
    uint64_t values[2][32];
};

static void on_step(void *user, const struct fj_emu_step *step)
{
    struct log *log = user;
    char name[16];
    assert_string_equal(step->file, "small.cu");
    if (step->watch) {
        log->watches++;
        assert_int_equal(strncmp(step->watch, "S 32 2 acc 2", 12), 0);
        assert_int_equal(step->n_registers, 2);
        assert_int_equal(fj_emu_step_register(step, 0, name, sizeof(name), log->values[0]), 32);
        assert_string_equal(name, "%f1");
        assert_int_equal(fj_emu_step_register(step, 1, name, sizeof(name), log->values[1]), 32);
        return;
    }
    if (log->line_count && log->lines[log->line_count - 1] == step->line)
        return;
    assert_true(log->line_count < 16);
    log->lanes[log->line_count] = step->exec;
    log->lines[log->line_count++] = step->line;
}

static void test_small_kernel(void **state)
{
    (void)state;
    struct session s;
    struct log log = {0};
    CUfunction traced;
    CUdeviceptr p = 0;
    void *args[] = {&p};
    const struct fj_emu_tracer tracer = {
        .ctaid = {1, 2, 0}, .warp = 1, .step = on_step, .user = &log};
    session_open(&s, "h200", PTX_HEAD("sm_80") PTX_TRACED);
    OK(s.cuda->cuModuleGetFunction(&traced, s.module, "traced"));
    fj_emu_set_tracer(s.context, &tracer);
    OK(s.cuda->cuLaunchKernel(traced, 2, 3, 1, 64, 1, 1, 0, NULL, args, NULL));
    fj_emu_set_tracer(s.context, NULL);
    OK(s.cuda->cuLaunchKernel(traced, 2, 3, 1, 64, 1, 1, 0, NULL, args, NULL));
    session_close(&s);

    static const int lines[] = {10, 11, 12, 13};
    static const uint32_t lanes[] = {~0u, 0xff, ~0u, ~0u}; // threads 32 to 39 take the branch
    assert_int_equal(log.line_count, 4);
    assert_memory_equal(log.lines, lines, sizeof(lines));
    assert_memory_equal(log.lanes, lanes, sizeof(lanes));
    assert_int_equal(log.watches, 1);
    for (int lane = 0; lane < 32; lane++) {
        float value = (float)(32 + lane) + (lane < 8 ? 1000.0f : 0.0f);
        assert_true(log.values[0][lane] == float_bits(value));
        assert_true(log.values[1][lane] == float_bits(2 * value));
    }
}

static int free_elements(void **state)
{
    (void)state;
    free(elements.items);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),       cmocka_unit_test(test_cover),
        cmocka_unit_test(test_pairs),       cmocka_unit_test(test_accumulators),
        cmocka_unit_test(test_rows),        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_bad_watches), cmocka_unit_test(test_small_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, free_elements);
}
