#include "emu/mma.h"

#include "emu/mma_tile.h"

#include "base/num.h"

#include <string.h>

// mma.sync shapes, PTX ISA "Multiply-and-Accumulate Instruction: mma": dense, .row.col.
static const struct fj_emu_mma_op shapes[] = {
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
    {16, 8, 32, FJ_EMU_F32, FJ_EMU_E5M2, FJ_EMU_E4M3, FJ_EMU_F32},
    {16, 8, 32, FJ_EMU_F32, FJ_EMU_E5M2, FJ_EMU_E5M2, FJ_EMU_F32},
};

static bool is_byte(int type)
{
    return type == FJ_EMU_S8 || type == FJ_EMU_U8;
}

bool fj_emu_mma_supported(const struct fj_emu_mma_op *op)
{
    if (op->d_type == FJ_EMU_S32)
        return op->m == 16 && op->n == 8 && (op->k == 16 || op->k == 32) && is_byte(op->a_type) &&
               is_byte(op->b_type) && op->c_type == FJ_EMU_S32;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (memcmp(&shapes[i], op, sizeof(*op)) == 0)
            return true;
    return false;
}

int fj_emu_type_bytes(int type)
{
    static const int bytes[] = {
        [FJ_EMU_F16] = 2, [FJ_EMU_BF16] = 2, [FJ_EMU_TF32] = 4,
        [FJ_EMU_F32] = 4, [FJ_EMU_E4M3] = 1, [FJ_EMU_E5M2] = 1,
        [FJ_EMU_S8] = 1,  [FJ_EMU_U8] = 1,   [FJ_EMU_S32] = 4,
    };
    return bytes[type];
}

void fj_emu_mma_registers(const struct fj_emu_mma_op *op, int ret_counts[4])
{
    int k_bytes = op->k * fj_emu_type_bytes(op->a_type);
    ret_counts[0] = op->d_type == FJ_EMU_F16 ? 2 : 4;
    ret_counts[1] = 2 * k_bytes / 16;
    ret_counts[2] = k_bytes / 16;
    ret_counts[3] = op->c_type == FJ_EMU_F16 ? 2 : 4;
}

void fj_emu_gather_a(int type, int k, const uint32_t *const *regs, bool negate,
                     float (*ret)[FJ_EMU_MAX_K])
{
    int per_reg = 16 / fj_emu_type_bytes(type);
    for (int i = 0; i < 2 * k / per_reg; i++) {
        float tile[8 * 16];
        fj_emu_widen(type, regs[i], 8 * per_reg, negate, tile);
        for (int row = 0; row < 8; row++)
            memcpy(&ret[8 * (i & 1) + row][(i >> 1) * per_reg], tile + row * per_reg,
                   (size_t)per_reg * sizeof(float));
    }
}

// The B fragment: register i holds, column after column, the i-th 16 bytes of k.
static void gather_b(int type, int k, const uint32_t *const *regs, float *ret)
{
    int per_reg = 16 / fj_emu_type_bytes(type);
    for (int i = 0; i < k / per_reg; i++) {
        float tile[8 * 16];
        fj_emu_widen(type, regs[i], 8 * per_reg, false, tile);
        fj_emu_transpose(tile, 8, per_reg, ret + i * per_reg * 8);
    }
}

// f16 accumulators: register 2 * tile + half packs two columns, f32 has them in two registers.
static void unpack_f16_acc(const uint32_t *const *packed, int tiles, float (*ret)[32])
{
    for (int i = 0; i < 2 * tiles; i++)
        for (int lane = 0; lane < 32; lane++) {
            ret[2 * i][lane] = fj_f16_to_f32((uint16_t)packed[i][lane]);
            ret[2 * i + 1][lane] = fj_f16_to_f32((uint16_t)(packed[i][lane] >> 16));
        }
}

static void pack_f16_acc(float (*acc)[32], int tiles, uint32_t *const *ret)
{
    for (int i = 0; i < 2 * tiles; i++)
        for (int lane = 0; lane < 32; lane++)
            ret[i][lane] = fj_f32_to_f16(acc[2 * i][lane]) |
                           (uint32_t)fj_f32_to_f16(acc[2 * i + 1][lane]) << 16;
}

void fj_emu_tile_run_f16(uint32_t *const *d, const uint32_t *const *c, int tiles,
                         float (*a)[FJ_EMU_MAX_K], const float *b, int k)
{
    float acc[4 * FJ_EMU_MAX_TILES][32];
    uint32_t *regs[4 * FJ_EMU_MAX_TILES];
    for (int i = 0; i < 4 * FJ_EMU_MAX_TILES; i++)
        regs[i] = (uint32_t *)acc[i];
    if (c)
        unpack_f16_acc(c, tiles, acc);
    fj_emu_tile_run(regs, c ? (const uint32_t *const *)regs : NULL, tiles, a, b, k);
    pack_f16_acc(acc, tiles, d);
}

void fj_emu_tile_run_s32(uint32_t *const *d, const uint32_t *const *c, int tiles,
                         float (*a)[FJ_EMU_MAX_K], const float *b, int k, bool saturate)
{
    float sum[4 * FJ_EMU_MAX_TILES][32];
    uint32_t *regs[4 * FJ_EMU_MAX_TILES];
    for (int i = 0; i < 4 * FJ_EMU_MAX_TILES; i++)
        regs[i] = (uint32_t *)sum[i];
    fj_emu_tile_run(regs, NULL, tiles, a, b, k);
    for (int i = 0; i < 4 * tiles; i++) {
        for (int lane = 0; lane < 32; lane++) {
            const int64_t old = c ? (int32_t)c[i][lane] : 0;
            const int64_t now = old + (int64_t)sum[i][lane];
            const int64_t cut = now > INT32_MAX ? INT32_MAX : now < INT32_MIN ? INT32_MIN : now;
            d[i][lane] = (uint32_t)(saturate ? cut : now);
        }
    }
}

void fj_emu_mma(const struct fj_emu_mma_op *op, uint32_t *const d[], const uint32_t *const a[],
                const uint32_t *const b[], const uint32_t *const c[])
{
    float wide_a[16][FJ_EMU_MAX_K], wide_b[FJ_EMU_MAX_K * 8];
    fj_emu_gather_a(op->a_type, op->k, a, false, wide_a);
    gather_b(op->b_type, op->k, b, wide_b);
    if (op->d_type == FJ_EMU_S32)
        fj_emu_tile_run_s32(d, c, 1, wide_a, wide_b, op->k, op->saturate);
    else if (op->d_type == FJ_EMU_F16)
        fj_emu_tile_run_f16(d, c, 1, wide_a, wide_b, op->k);
    else
        fj_emu_tile_run(d, c, 1, wide_a, wide_b, op->k);
}
