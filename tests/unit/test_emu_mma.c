// mma.sync, ldmatrix and stmatrix of the emulated device against plain loops. Operands are small
// integers, so every sum is exact and results must match bit for bit; fragments are built here from
// the formulas of the PTX ISA, element by element.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include "emu_operands.h"

#include <stdio.h>

// mma.sync

struct mma_case {
    struct fj_emu_mma_op op;
    int a[16][32], b[32][8], c[16][8];
    uint32_t ra[4][32], rb[2][32], rc[4][32], rd[4][32];
};

// Element positions as the PTX ISA gives them: groupID = lane >> 2, threadID_in_group = lane % 4.
static void pack_ab(struct mma_case *t)
{
    int per_word = 4 / type_bytes(t->op.a_type), per_reg = 4 * per_word;
    for (int i = 0; i < 2 * t->op.k / per_reg; i++)
        for (int lane = 0; lane < 32; lane++)
            for (int e = 0; e < per_word; e++) {
                int row = lane / 4 + 8 * (i % 2);
                int k = lane % 4 * per_word + e + i / 2 * per_reg;
                put(&t->ra[i][lane], t->op.a_type, e, t->a[row][k]);
            }
    for (int i = 0; i < t->op.k / per_reg; i++)
        for (int lane = 0; lane < 32; lane++)
            for (int e = 0; e < per_word; e++)
                put(&t->rb[i][lane], t->op.b_type, e,
                    t->b[lane % 4 * per_word + e + i * per_reg][lane / 4]);
}

static int acc_row(int i, int lane)
{
    return lane / 4 + 8 * (i / 2);
}

static int acc_col(int i, int lane)
{
    return lane % 4 * 2 + i % 2;
}

static void pack_c(struct mma_case *t)
{
    for (int i = 0; i < 4; i++)
        for (int lane = 0; lane < 32; lane++) {
            int value = t->c[acc_row(i, lane)][acc_col(i, lane)];
            if (t->op.c_type == FJ_EMU_F16)
                put(&t->rc[i / 2][lane], FJ_EMU_F16, i % 2, value);
            else
                put(&t->rc[i][lane], FJ_EMU_F32, 0, value);
        }
}

static float read_d(const struct mma_case *t, int i, int lane)
{
    if (t->op.d_type == FJ_EMU_F16)
        return fj_f16_to_f32((uint16_t)(t->rd[i / 2][lane] >> 16 * (i % 2)));
    return bits_to_float(t->rd[i][lane]);
}

static void run_mma(struct mma_case *t)
{
    uint32_t *d[4];
    const uint32_t *a[4], *b[2], *c[4];
    for (int i = 0; i < 4; i++) {
        d[i] = t->rd[i];
        a[i] = t->ra[i];
        b[i % 2] = t->rb[i % 2];
        c[i] = t->rc[i];
    }
    fj_emu_mma(&t->op, d, a, b, c);
}

static const struct fj_emu_mma_op mma_ops[] = {
    {16, 8, 8, FJ_EMU_F32, FJ_EMU_F16, FJ_EMU_F16, FJ_EMU_F32},
    {16, 8, 8, FJ_EMU_F16, FJ_EMU_F16, FJ_EMU_F16, FJ_EMU_F16},
    {16, 8, 8, FJ_EMU_F32, FJ_EMU_BF16, FJ_EMU_BF16, FJ_EMU_F32},
    {16, 8, 16, FJ_EMU_F32, FJ_EMU_F16, FJ_EMU_F16, FJ_EMU_F32},
    {16, 8, 16, FJ_EMU_F16, FJ_EMU_F16, FJ_EMU_F16, FJ_EMU_F16},
    {16, 8, 16, FJ_EMU_F32, FJ_EMU_BF16, FJ_EMU_BF16, FJ_EMU_F32},
    {16, 8, 4, FJ_EMU_F32, FJ_EMU_TF32, FJ_EMU_TF32, FJ_EMU_F32},
    {16, 8, 8, FJ_EMU_F32, FJ_EMU_TF32, FJ_EMU_TF32, FJ_EMU_F32},
    {16, 8, 32, FJ_EMU_F32, FJ_EMU_E4M3, FJ_EMU_E4M3, FJ_EMU_F32},
    {16, 8, 32, FJ_EMU_F32, FJ_EMU_E4M3, FJ_EMU_E5M2, FJ_EMU_F32},
    {16, 8, 32, FJ_EMU_F32, FJ_EMU_E5M2, FJ_EMU_E5M2, FJ_EMU_F32},
};

static void test_mma_exact(void **state)
{
    (void)state;
    static struct mma_case t;
    for (size_t n = 0; n < sizeof(mma_ops) / sizeof(mma_ops[0]); n++) {
        t.op = mma_ops[n];
        assert_true(fj_emu_mma_supported(&t.op));
        for (int i = 0; i < 16 * 32; i++) {
            t.a[i / 32][i % 32] = small_int();
            t.b[i % 32][i / 32 % 8] = small_int();
            t.c[i / 32][i % 8] = small_int() * 5;
        }
        pack_ab(&t);
        pack_c(&t);
        run_mma(&t);
        for (int i = 0; i < 4; i++)
            for (int lane = 0; lane < 32; lane++) {
                int row = acc_row(i, lane), col = acc_col(i, lane), sum = t.c[row][col];
                for (int k = 0; k < t.op.k; k++)
                    sum += t.a[row][k] * t.b[k][col];
                assert_int_equal((int)read_d(&t, i, lane), sum);
            }
    }
}

static void test_mma_integers(void **state)
{
    (void)state;
    static struct mma_case t;
    static const uint8_t types[] = {FJ_EMU_S8, FJ_EMU_U8};
    for (int n = 0; n < 16; n++) {
        t.op = (struct fj_emu_mma_op){
            16,         8,     n & 1 ? 16 : 32, FJ_EMU_S32, types[n >> 1 & 1], types[n >> 2 & 1],
            FJ_EMU_S32, n >> 3};
        assert_true(fj_emu_mma_supported(&t.op));
        for (int i = 0; i < 16 * 32; i++) {
            t.a[i / 32][i % 32] = any_int(t.op.a_type);
            t.b[i % 32][i / 32 % 8] = any_int(t.op.b_type);
            t.c[i / 32][i % 8] = (i & 1 ? INT32_MAX - 100000 : INT32_MIN + 100000) + i;
        }
        pack_ab(&t);
        for (int i = 0; i < 4 * 32; i++)
            t.rc[i / 32][i % 32] = (uint32_t)t.c[acc_row(i / 32, i % 32)][acc_col(i / 32, i % 32)];
        run_mma(&t);
        for (int i = 0; i < 4 * 32; i++) {
            int row = acc_row(i / 32, i % 32), col = acc_col(i / 32, i % 32), sum = 0;
            for (int k = 0; k < t.op.k; k++)
                sum += t.a[row][k] * t.b[k][col];
            assert_int_equal((int32_t)t.rd[i / 32][i % 32],
                             accumulate(t.c[row][col], sum, t.op.saturate));
        }
    }
}

static void test_mma_shapes(void **state)
{
    (void)state;
    struct fj_emu_mma_op op = mma_ops[0];
    int counts[4];
    op.k = 32; // f16 has no such shape
    assert_false(fj_emu_mma_supported(&op));
    op = mma_ops[2];
    op.d_type = op.c_type = FJ_EMU_F16; // bf16 accumulates in f32 only
    assert_false(fj_emu_mma_supported(&op));
    fj_emu_mma_registers(&mma_ops[4], counts);
    assert_int_equal(counts[0] * 1000 + counts[1] * 100 + counts[2] * 10 + counts[3], 2422);
    fj_emu_mma_registers(&mma_ops[6], counts);
    assert_int_equal(counts[0] * 1000 + counts[1] * 100 + counts[2] * 10 + counts[3], 4214);
}

// Row 0 of A meets column 0 of B in these cases; everything else is zero.
static uint32_t mma_one(int type, uint32_t a, uint32_t b, uint32_t c)
{
    static struct mma_case t;
    memset(&t, 0, sizeof(t));
    t.op = (struct fj_emu_mma_op){
        16, 8, type == FJ_EMU_TF32 ? 8 : 16, FJ_EMU_F32, (uint8_t)type, (uint8_t)type, FJ_EMU_F32};
    t.ra[0][0] = a;
    t.rb[0][0] = b;
    t.rc[0][0] = c;
    run_mma(&t);
    return t.rd[0][0];
}

static void test_mma_edges(void **state)
{
    (void)state;
    // 2^-24, the smallest f16 subnormal, times 1 and times itself.
    assert_int_equal(mma_one(FJ_EMU_F16, 0x0001, 0x3c00, 0), 0x33800000);
    assert_int_equal(mma_one(FJ_EMU_F16, 0x0001, 0x8001, 0), 0xa7800000);
    assert_int_equal(mma_one(FJ_EMU_F16, 0x7c00, 0xbc00, 0), 0xff800000);           // inf * -1
    assert_int_equal(mma_one(FJ_EMU_F16, 0x7c00, 0, 0), 0x7fffffff);                // inf * 0
    assert_int_equal(mma_one(FJ_EMU_F16, 0xfe12, 0x3c00, 0), 0x7fffffff);           // NaN
    assert_int_equal(mma_one(FJ_EMU_BF16, 0x7f80, 0x3f80, 0xff800000), 0x7fffffff); // inf - inf
    assert_int_equal(mma_one(FJ_EMU_TF32, 0x3f801fff, 0x3f801fff, 0), 0x3f800000);
    assert_int_equal(mma_one(FJ_EMU_TF32, 0x3f802000, 0x3f802000, 0), 0x3f804008);
}

// ldmatrix, stmatrix

static void test_ldmatrix(void **state)
{
    (void)state;
    uint16_t smem[64 * 8];
    uint32_t regs[4][32];
    uint32_t *d[4] = {regs[0], regs[1], regs[2], regs[3]};
    const uint8_t *rows[32];
    for (int i = 0; i < 64 * 8; i++)
        smem[i] = (uint16_t)i;
    for (int lane = 0; lane < 32; lane++)
        rows[lane] = (const uint8_t *)&smem[8 * ((lane * 7 + 3) % 64)];
    for (int count = 1; count <= 4; count *= 2)
        for (int trans = 0; trans < 2; trans++) {
            memset(regs, 0xee, sizeof(regs));
            fj_emu_ldmatrix(count, trans, rows, d);
            for (int i = 0; i < 4; i++)
                for (int lane = 0; lane < 32; lane++)
                    for (int e = 0; e < 2; e++) {
                        int row = trans ? lane % 4 * 2 + e : lane / 4;
                        int col = trans ? lane / 4 : lane % 4 * 2 + e;
                        int want = 8 * (((8 * i + row) * 7 + 3) % 64) + col;
                        uint16_t got = (uint16_t)(regs[i][lane] >> 16 * e);
                        assert_int_equal(got, i < count ? want : 0xeeee);
                    }
        }
}

static void test_stmatrix_inverts_ldmatrix(void **state)
{
    (void)state;
    uint32_t regs[4][32];
    uint16_t in[32 * 8], out[32 * 8];
    uint32_t *d[4] = {regs[0], regs[1], regs[2], regs[3]};
    const uint8_t *from[32];
    uint8_t *to[32];
    for (int i = 0; i < 32 * 8; i++)
        in[i] = (uint16_t)next_random();
    for (int lane = 0; lane < 32; lane++) {
        from[lane] = (const uint8_t *)&in[8 * lane];
        to[lane] = (uint8_t *)&out[8 * lane];
    }
    for (int trans = 0; trans < 2; trans++) {
        memset(out, 0, sizeof(out));
        fj_emu_ldmatrix(4, trans, from, d);
        fj_emu_stmatrix(2, trans, to, (const uint32_t *const *)d);
        assert_memory_equal(in, out, sizeof(in) / 2);
        assert_int_equal(out[16 * 8], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mma_exact),  cmocka_unit_test(test_mma_integers),
        cmocka_unit_test(test_mma_shapes), cmocka_unit_test(test_mma_edges),
        cmocka_unit_test(test_ldmatrix),   cmocka_unit_test(test_stmatrix_inverts_ldmatrix),
    };
    printf("seed %#llx\n", (unsigned long long)operand_seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
