// wgmma: operands described by 64-bit descriptors of shared memory.
#include "emu/mma.h"

#include "emu/mma_tile.h"

#include <string.h>

#define K_BYTES 32     // of every wgmma: k16 of 16-bit types, k8 of tf32, k32 of fp8
#define MAX_CHUNKS 512 // 256 columns of 32 bytes, in chunks of 16

struct descriptor {
    uint32_t start, lead, stride; // bytes
    uint32_t base;                // phase of the swizzle pattern, in 128-byte rows
    uint32_t span;                // bytes of one row of a swizzle atom: 16, 32, 64, 128
};

// PTX ISA, "Matrix Descriptor Format" of wgmma.
static struct descriptor decode(uint64_t desc)
{
    static const uint32_t span[4] = {16, 128, 64, 32};
    return (struct descriptor){
        .start = (uint32_t)(desc & 0x3fff) << 4,
        .lead = (uint32_t)(desc >> 16 & 0x3fff) << 4,
        .stride = (uint32_t)(desc >> 32 & 0x3fff) << 4,
        .base = (uint32_t)(desc >> 49 & 7),
        .span = span[desc >> 62],
    };
}

// A swizzle exchanges address bits: 16-byte chunk ^= 128-byte row, in as many bits as the span has
// chunks. The pattern hangs on the address, not on where the matrix begins.
static uint32_t swizzle(const struct descriptor *m, uint32_t addr)
{
    uint32_t row = (addr >> 7) - m->base;
    return addr ^ ((row & (m->span / 16 - 1)) << 4);
}

// Offsets are those of CUTLASS's canonical layouts (mma_traits_sm90_gmma.hpp, make_gmma_desc).
static uint32_t k_major_offset(const struct descriptor *m, uint32_t row, uint32_t half)
{
    uint32_t next = m->span == 16 ? m->lead : 16;
    return row % 8 * m->span + row / 8 * m->stride + half * next;
}

// `group` counts groups of eight elements along M or N.
static uint32_t mn_major_offset(const struct descriptor *m, uint32_t k, uint32_t group)
{
    uint32_t wide = m->span / 16;
    if (wide == 1)
        return group * m->stride + k % 8 * 16 + k / 8 * m->lead;
    return group % wide * 16 + group / wide * m->lead + k % 8 * m->span + k / 8 * m->stride;
}

// The addresses of the chunks of rows first .. first + rows - 1 (of M or N). K-major: [rows][2];
// MN-major: [16][rows / 8].
static int list_chunks(uint64_t desc, bool mn_major, int first, int rows, uint32_t *ret_addr)
{
    struct descriptor m = decode(desc);
    uint32_t row0 = (uint32_t)first, count = (uint32_t)rows * 2, groups = (uint32_t)rows / 8;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t offset = mn_major ? mn_major_offset(&m, i / groups, row0 / 8 + i % groups)
                                   : k_major_offset(&m, row0 + i / 2, i % 2);
        ret_addr[i] = swizzle(&m, m.start + offset);
    }
    return (int)count;
}

static bool fetch(const struct fj_emu_wgmma_args *args, const uint32_t *addr, int count,
                  uint8_t *ret, uint32_t *ret_bad)
{
    uint32_t last = args->smem_bytes - 16;
    for (int i = 0; i < count; i++) {
        if (args->smem_bytes < 16 || addr[i] > last) {
            *ret_bad = addr[i];
            return false;
        }
        memcpy(ret + 16 * i, args->smem + addr[i], 16);
    }
    return true;
}

// Reads an operand to [k][rows] floats (A: for `turn`, to [rows][k]).
static bool load(const struct fj_emu_wgmma_args *args, uint64_t desc, int type, bool mn_major,
                 bool negate, int first, int rows, bool want_k_inner, float *ret, uint32_t *ret_bad)
{
    uint32_t addr[MAX_CHUNKS];
    uint8_t raw[MAX_CHUNKS * 16];
    float wide[256 * FJ_EMU_MAX_K];
    int k = K_BYTES / fj_emu_type_bytes(type);
    int count = list_chunks(desc, mn_major, first, rows, addr);
    if (!fetch(args, addr, count, raw, ret_bad))
        return false;
    bool turn = mn_major == want_k_inner;
    fj_emu_widen(type, raw, rows * k, negate, turn ? wide : ret);
    if (turn)
        fj_emu_transpose(wide, mn_major ? k : rows, mn_major ? rows : k, ret);
    return true;
}

static bool load_a(const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args, int k,
                   float (*ret)[FJ_EMU_MAX_K], uint32_t *ret_bad)
{
    if (op->a_in_registers) {
        fj_emu_gather_a(op->a_type, k, args->a, op->a_scale < 0, ret);
        return true;
    }
    float flat[16 * FJ_EMU_MAX_K];
    if (!load(args, args->a_desc, op->a_type, op->a_trans, op->a_scale < 0, 16 * args->warp, 16,
              true, flat, ret_bad))
        return false;
    for (int row = 0; row < 16; row++)
        memcpy(ret[row], flat + row * k, (size_t)k * sizeof(float));
    return true;
}

static bool is_sixteen_bit(int type)
{
    return type == FJ_EMU_F16 || type == FJ_EMU_BF16;
}

static bool is_byte(int type)
{
    return type == FJ_EMU_S8 || type == FJ_EMU_U8;
}

static bool is_fp8(int type)
{
    return type == FJ_EMU_E4M3 || type == FJ_EMU_E5M2;
}

bool fj_emu_wgmma_supported(const struct fj_emu_wgmma_op *op)
{
    const bool integers = is_byte(op->a_type) && is_byte(op->b_type);
    if (integers) // columns in steps of 16 past the first
        return op->d_type == FJ_EMU_S32 && op->k == K_BYTES && !op->a_trans && !op->b_trans &&
               op->n >= 8 && op->n <= 256 && (op->n % 16 == 0 || op->n == 8 || op->n == 24);
    bool fp8 = is_fp8(op->a_type) && is_fp8(op->b_type);
    bool same =
        op->a_type == op->b_type && (is_sixteen_bit(op->a_type) || op->a_type == FJ_EMU_TF32);
    if (!fp8 && !same)
        return false;
    if (op->n < 8 || op->n > 256 || op->n % 8 || op->k * fj_emu_type_bytes(op->a_type) != K_BYTES)
        return false;
    if ((op->a_trans || op->b_trans) && !is_sixteen_bit(op->a_type))
        return false; // only 16-bit types may be MN-major
    if (op->a_trans && op->a_in_registers)
        return false;
    return op->d_type == FJ_EMU_F32 ||
           (op->d_type == FJ_EMU_F16 && (fp8 || op->a_type == FJ_EMU_F16));
}

int fj_emu_wgmma_registers(const struct fj_emu_wgmma_op *op)
{
    return op->d_type == FJ_EMU_F16 ? op->n / 4 : op->n / 2;
}

int fj_emu_wgmma(const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args,
                 uint32_t *ret_bad)
{
    float a[16][FJ_EMU_MAX_K], b[FJ_EMU_MAX_K * 256];
    if (!load_a(op, args, op->k, a, ret_bad))
        return -1;
    if (!load(args, args->b_desc, op->b_type, op->b_trans, op->b_scale < 0, 0, op->n, false, b,
              ret_bad))
        return -1;
    const uint32_t *const *c = args->scale_d ? (const uint32_t *const *)args->d : NULL;
    if (op->d_type == FJ_EMU_S32)
        fj_emu_tile_run_s32(args->d, c, op->n / 8, a, b, op->k, op->saturate);
    else if (op->d_type == FJ_EMU_F16)
        fj_emu_tile_run_f16(args->d, c, op->n / 8, a, b, op->k);
    else
        fj_emu_tile_run(args->d, c, op->n / 8, a, b, op->k);
    return 0;
}

void fj_emu_wgmma_visit(const struct fj_emu_wgmma_op *op, bool operand_b, int warp, uint64_t desc,
                        void (*visit)(void *user, uint32_t address, uint32_t bytes), void *user)
{
    uint32_t addr[MAX_CHUNKS];
    int count = operand_b ? list_chunks(desc, op->b_trans, 0, op->n, addr)
                          : list_chunks(desc, op->a_trans, 16 * warp, 16, addr);
    for (int i = 0; i < count; i++)
        visit(user, addr[i], 16);
}
