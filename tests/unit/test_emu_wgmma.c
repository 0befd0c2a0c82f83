// wgmma of the emulated device against plain loops. Operands are small integers, so every sum is
// exact and results must match bit for bit; fragments and shared layouts are built here from the
// formulas of the PTX ISA, element by element.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include "emu_operands.h"

#include <stdio.h>

#define SMEM_BYTES (96 * 1024)

// wgmma

// An operand in shared memory: `rows` of M or N by 32 bytes of k, in one of the layouts.
struct layout {
    int span; // 16 (no swizzle), 32, 64, 128
    bool mn_major;
    uint32_t base;
    uint32_t lead, stride; // bytes
    int k_step;            // K-major: the operand begins at this 32-byte step of the span
};

static uint32_t swizzled(const struct layout *at, uint32_t addr)
{
    switch (at->span) {
    case 128:
        return addr ^ (addr >> 7 & 7) << 4;
    case 64:
        return addr ^ (addr >> 7 & 3) << 4;
    case 32:
        return addr ^ (addr >> 7 & 1) << 4;
    default:
        return addr;
    }
}

// Where element (row, k) lies; a panel is `span` bytes wide, as a tensor copy writes it.
static uint32_t element_address(const struct layout *at, int type, int row, int k)
{
    uint32_t bytes = (uint32_t)type_bytes(type), span = (uint32_t)at->span;
    uint32_t r = (uint32_t)row, kb = (uint32_t)k * bytes, rb = r * bytes;
    if (at->mn_major && span == 16)
        return at->base + rb / 16 * at->stride + (uint32_t)(k / 8) * at->lead +
               (uint32_t)(k % 8) * 16 + rb % 16;
    if (at->mn_major)
        return swizzled(at, at->base + rb / span * at->lead + (uint32_t)k * span + rb % span);
    if (span == 16)
        return at->base + r / 8 * at->stride + kb / 16 * at->lead + r % 8 * 16 + kb % 16;
    return swizzled(at, at->base + r * span + (uint32_t)at->k_step * 32 + kb);
}

static uint64_t descriptor(const struct layout *at)
{
    uint64_t mode = at->span == 128 ? 1 : at->span == 64 ? 2 : at->span == 32 ? 3 : 0;
    uint32_t start = at->base + (at->mn_major ? 0 : (uint32_t)at->k_step * 32);
    return (uint64_t)start >> 4 | (uint64_t)(at->lead >> 4) << 16 |
           (uint64_t)(at->stride >> 4) << 32 | mode << 62;
}

static struct layout make_layout(int span, bool mn_major, uint32_t base, int rows, int k_step)
{
    struct layout at = {.span = span, .mn_major = mn_major, .base = base, .lead = 16};
    uint32_t s = (uint32_t)span;
    if (span == 16) { // eight rows of 16 bytes, and a gap, so that both strides matter
        at.lead = mn_major ? 4096 + 128 : 144;
        at.stride = mn_major ? 128 : 2 * 144;
        if (mn_major)
            at.lead = (uint32_t)rows / 8 * 128 + 64;
    } else if (mn_major) {
        at.lead = 16 * s + 1024; // k16 rows per panel, padded to keep the pattern's phase
        at.stride = 8 * s;
    } else {
        at.stride = 8 * s;
        at.k_step = k_step % (span / 32);
    }
    return at;
}

struct wgmma_case {
    struct fj_emu_wgmma_op op;
    struct layout at_a, at_b;
    bool scale_d;
    int a[64][32], b[256][32]; // [row][k]
    int c[64][256];
    uint8_t smem[SMEM_BYTES];
    uint32_t ra[4][4][32], rd[4][128][32];
};

static void fill_wgmma(struct wgmma_case *t)
{
    for (int row = 0; row < 256; row++)
        for (int k = 0; k < t->op.k; k++) {
            t->b[row][k] = any_int(t->op.b_type);
            if (row < t->op.n)
                put(t->smem + element_address(&t->at_b, t->op.b_type, row, k), t->op.b_type, 0,
                    t->b[row][k]);
            if (row >= 64)
                continue;
            t->a[row][k] = any_int(t->op.a_type);
            if (!t->op.a_in_registers)
                put(t->smem + element_address(&t->at_a, t->op.a_type, row, k), t->op.a_type, 0,
                    t->a[row][k]);
            int per_word = 4 / type_bytes(t->op.a_type);
            int lane = row % 8 * 4 + k / per_word % 4;
            int reg = row / 8 % 2 + 2 * (k / (4 * per_word));
            put(&t->ra[row / 16][reg][lane], t->op.a_type, k % per_word, t->a[row][k]);
        }
}

// PTX ISA, "Register Fragments" of wgmma: accumulator of row, column.
static void locate(int row, int col, int *ret_warp, int *ret_reg, int *ret_lane)
{
    *ret_warp = row / 16;
    *ret_lane = row % 8 * 4 + col % 8 / 2;
    *ret_reg = col / 8 * 4 + row / 8 % 2 * 2 + col % 2;
}

static void put_d(struct wgmma_case *t, int row, int col, int value)
{
    int warp, reg, lane;
    locate(row, col, &warp, &reg, &lane);
    if (t->op.d_type == FJ_EMU_F16)
        put(&t->rd[warp][reg / 2][lane], FJ_EMU_F16, reg % 2, value);
    else
        put(&t->rd[warp][reg][lane], FJ_EMU_F32, 0, value);
}

static float get_d(const struct wgmma_case *t, int row, int col)
{
    int warp, reg, lane;
    locate(row, col, &warp, &reg, &lane);
    if (t->op.d_type == FJ_EMU_F16)
        return fj_f16_to_f32((uint16_t)(t->rd[warp][reg / 2][lane] >> 16 * (reg % 2)));
    return bits_to_float(t->rd[warp][reg][lane]);
}

static int run_wgmma(struct wgmma_case *t, uint32_t smem_bytes, uint32_t *ret_bad)
{
    int status = 0;
    for (int warp = 0; warp < 4 && status == 0; warp++) {
        uint32_t *d[128];
        for (int i = 0; i < 128; i++)
            d[i] = t->rd[warp][i];
        struct fj_emu_wgmma_args args = {
            .smem = t->smem,
            .smem_bytes = smem_bytes,
            .warp = warp,
            .scale_d = t->scale_d,
            .a_desc = descriptor(&t->at_a),
            .b_desc = descriptor(&t->at_b),
            .a = {t->ra[warp][0], t->ra[warp][1], t->ra[warp][2], t->ra[warp][3]},
            .d = d,
        };
        status = fj_emu_wgmma(&t->op, &args, ret_bad);
    }
    return status;
}

static void check_wgmma(struct wgmma_case *t)
{
    uint32_t bad = 0;
    assert_true(fj_emu_wgmma_supported(&t->op));
    fill_wgmma(t);
    for (int i = 0; i < 64 * t->op.n; i++) {
        t->c[i / t->op.n][i % t->op.n] = small_int() * 3;
        put_d(t, i / t->op.n, i % t->op.n, t->c[i / t->op.n][i % t->op.n]);
    }
    assert_int_equal(run_wgmma(t, SMEM_BYTES, &bad), 0);
    for (int row = 0; row < 64; row++)
        for (int col = 0; col < t->op.n; col++) {
            int sum = 0;
            for (int k = 0; k < t->op.k; k++)
                sum += t->a[row][k] * t->b[col][k];
            sum = sum * t->op.a_scale * t->op.b_scale + (t->scale_d ? t->c[row][col] : 0);
            if ((int)get_d(t, row, col) != sum)
                fail_msg("n %d, spans %d %d, row %d col %d: %g instead of %d", t->op.n,
                         t->at_a.span, t->at_b.span, row, col, (double)get_d(t, row, col), sum);
        }
}

static struct wgmma_case *new_case(int type, int n)
{
    struct wgmma_case *t = calloc(1, sizeof(*t));
    t->op = (struct fj_emu_wgmma_op){.n = (uint16_t)n,
                                     .k = (uint8_t)(32 / type_bytes(type)),
                                     .d_type = FJ_EMU_F32,
                                     .a_type = (uint8_t)type,
                                     .b_type = (uint8_t)type,
                                     .a_scale = 1,
                                     .b_scale = 1};
    t->at_a = make_layout(128, false, 1024, 64, 0);
    t->at_b = make_layout(128, false, 32 * 1024, n, 0);
    t->scale_d = true;
    return t;
}

static const int spans[] = {16, 32, 64, 128};

static void test_wgmma_every_n(void **state)
{
    (void)state;
    for (int n = 8; n <= 256; n += 8) {
        struct wgmma_case *t = new_case(n % 16 ? FJ_EMU_BF16 : FJ_EMU_F16, n);
        t->at_b = make_layout(128, true, 32 * 1024, n, 0);
        t->op.b_trans = true;
        check_wgmma(t);
        free(t);
        t = new_case(FJ_EMU_BF16, n);
        t->op.a_in_registers = true;
        t->at_b.k_step = n / 8 % 4;
        check_wgmma(t);
        free(t);
    }
}

static void test_wgmma_layouts(void **state)
{
    (void)state;
    static const int ns[] = {8, 64, 136};
    for (int i = 0; i < 3 * 4 * 4 * 4; i++) {
        int n = ns[i % 3];
        struct wgmma_case *t = new_case(i % 2 ? FJ_EMU_F16 : FJ_EMU_BF16, n);
        t->op.a_trans = i / 3 % 2;
        t->op.b_trans = i / 6 % 2;
        t->at_a = make_layout(spans[i / 12 % 4], t->op.a_trans, 1024, 64, i % 5);
        t->at_b = make_layout(spans[i / 48 % 4], t->op.b_trans, 32 * 1024, n, i % 7);
        check_wgmma(t);
        free(t);
    }
}

static void test_wgmma_types(void **state)
{
    (void)state;
    static const uint8_t types[][2] = {{FJ_EMU_TF32, FJ_EMU_TF32},
                                       {FJ_EMU_E4M3, FJ_EMU_E4M3},
                                       {FJ_EMU_E4M3, FJ_EMU_E5M2},
                                       {FJ_EMU_E5M2, FJ_EMU_E5M2},
                                       {FJ_EMU_F16, FJ_EMU_F16}};
    for (int i = 0; i < 5 * 4 * 2; i++) {
        struct wgmma_case *t = new_case(types[i % 5][0], 72);
        t->op.b_type = types[i % 5][1];
        t->at_a = make_layout(spans[i / 5 % 4], false, 1024, 64, i);
        t->at_b = make_layout(spans[i / 5 % 4], false, 32 * 1024, 72, i / 3);
        t->op.a_in_registers = i >= 20;
        t->op.a_scale = i % 2 ? -1 : 1;
        t->op.b_scale = i % 3 ? -1 : 1;
        t->scale_d = i % 4 != 0;
        if (t->op.a_type == FJ_EMU_F16)
            t->op.d_type = FJ_EMU_F16;
        check_wgmma(t);
        free(t);
    }
}

static void put_word(struct wgmma_case *t, int row, int col, uint32_t value)
{
    int warp, reg, lane;
    locate(row, col, &warp, &reg, &lane);
    t->rd[warp][reg][lane] = value;
}

static int32_t get_word(const struct wgmma_case *t, int row, int col)
{
    int warp, reg, lane;
    locate(row, col, &warp, &reg, &lane);
    return (int32_t)t->rd[warp][reg][lane];
}

// Whole ranges of bytes and accumulators near the ends of 32 bits.
static void check_integers(struct wgmma_case *t)
{
    uint32_t bad = 0;
    assert_true(fj_emu_wgmma_supported(&t->op));
    fill_wgmma(t);
    for (int i = 0; i < 64 * t->op.n; i++) {
        int *c = &t->c[i / t->op.n][i % t->op.n];
        *c = (i % 2 ? INT32_MAX : INT32_MIN) + (i % 2 ? -1 : 1) * (int)(next_random() % 100000);
        put_word(t, i / t->op.n, i % t->op.n, (uint32_t)*c);
    }
    assert_int_equal(run_wgmma(t, SMEM_BYTES, &bad), 0);
    for (int row = 0; row < 64; row++)
        for (int col = 0; col < t->op.n; col++) {
            int sum = 0;
            for (int k = 0; k < 32; k++)
                sum += t->a[row][k] * t->b[col][k];
            const int32_t c = t->scale_d ? t->c[row][col] : 0;
            assert_int_equal(get_word(t, row, col), accumulate(c, sum, t->op.saturate));
        }
}

static void test_wgmma_integers(void **state)
{
    (void)state;
    static const uint8_t types[] = {FJ_EMU_S8, FJ_EMU_U8};
    static const int ns[] = {8, 24, 32, 256};
    for (int i = 0; i < 16; i++) {
        struct wgmma_case *t = new_case(types[i % 2], ns[i / 4]);
        t->op.b_type = types[i / 2 % 2];
        t->op.d_type = FJ_EMU_S32;
        t->op.a_in_registers = i % 3 == 0;
        t->op.saturate = i / 4 % 2;
        t->scale_d = i != 5;
        t->at_b = make_layout(spans[i % 4], false, 32 * 1024, t->op.n, i);
        check_integers(t);
        t->op.n = 40; // no such shape
        assert_false(fj_emu_wgmma_supported(&t->op));
        free(t);
    }
}

static void test_wgmma_limits(void **state)
{
    (void)state;
    struct wgmma_case *t = new_case(FJ_EMU_BF16, 64);
    uint32_t bad = 0;
    t->op.n = 12;
    assert_false(fj_emu_wgmma_supported(&t->op));
    t->op.n = 264;
    assert_false(fj_emu_wgmma_supported(&t->op));
    t->op.n = 64;
    t->op.d_type = FJ_EMU_F16; // bf16 accumulates in f32 only
    assert_false(fj_emu_wgmma_supported(&t->op));
    t->op.d_type = FJ_EMU_F32;
    t->rd[0][0][0] = 0x12345678;
    // B takes 64 rows of 128 bytes from 32 KiB on: one byte less must be refused, untouched.
    assert_int_equal(run_wgmma(t, 40 * 1024 - 128, &bad), -1);
    assert_true(bad > 40 * 1024 - 128 - 16 && bad < 40 * 1024);
    assert_int_equal(t->rd[0][0][0], 0x12345678);
    assert_int_equal(run_wgmma(t, 40 * 1024, &bad), 0);
    free(t);
}

struct seen {
    uint32_t low, high, count;
};

static void visit(void *user, uint32_t address, uint32_t bytes)
{
    struct seen *seen = user;
    seen->low = address < seen->low ? address : seen->low;
    seen->high = address + bytes > seen->high ? address + bytes : seen->high;
    seen->count += bytes;
}

static void test_wgmma_visit(void **state)
{
    (void)state;
    struct wgmma_case *t = new_case(FJ_EMU_BF16, 64);
    struct seen seen = {.low = UINT32_MAX};
    fj_emu_wgmma_visit(&t->op, true, 0, descriptor(&t->at_b), visit, &seen);
    assert_int_equal(seen.count, 64 * 32);
    assert_int_equal(seen.low, 32 * 1024);
    assert_int_equal(seen.high, 32 * 1024 + 63 * 128 + 16 * 8); // row 63 has chunks 0 and 1 at 7, 6
    seen = (struct seen){.low = UINT32_MAX};
    fj_emu_wgmma_visit(&t->op, false, 2, descriptor(&t->at_a), visit, &seen);
    assert_int_equal(seen.count, 16 * 32);
    assert_int_equal(seen.low, 1024 + 32 * 128);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wgmma_every_n), cmocka_unit_test(test_wgmma_layouts),
        cmocka_unit_test(test_wgmma_types),   cmocka_unit_test(test_wgmma_limits),
        cmocka_unit_test(test_wgmma_visit),   cmocka_unit_test(test_wgmma_integers),
    };
    printf("seed %#llx\n", (unsigned long long)operand_seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
