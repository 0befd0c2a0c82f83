// Matrix instructions as dense kernels on the registers of one warp.
//
// A register of a warp is uint32_t[32], one word per lane. Fragments are lists of such registers,
// in the order of the PTX operand list. All of them are made of one shape: a register holds a tile
// of 8 rows by 16 bytes, and its 128 bytes in memory are that tile in row-major order (PTX ISA,
// "Matrix Fragments for mma.m16n8k*", "Register Fragments" of wgmma, ldmatrix).
//
// Arithmetic: operands are widened to fp32, where products of two f16, bf16, tf32 or fp8 values
// are exact unless they underflow, and added to the accumulator one after the other for k = 0, 1,
// 2 .., each sum rounded to nearest even; f16 accumulators are rounded once, at the end. The
// hardware's order and rounding are not documented. A NaN result is 0x7fffffff (0x7fff in f16).
// Sums of integers are exact.
#ifndef FJ_EMU_MMA_H
#define FJ_EMU_MMA_H

#include <stdbool.h>
#include <stdint.h>

enum fj_emu_type {
    FJ_EMU_F16,
    FJ_EMU_BF16,
    FJ_EMU_TF32,
    FJ_EMU_F32,
    FJ_EMU_E4M3,
    FJ_EMU_E5M2,
    FJ_EMU_S8,
    FJ_EMU_U8,
    FJ_EMU_S32,
};

// mma.sync.aligned.m<m>n<n>k<k>.row.col.<d>.<a>.<b>.<c>
struct fj_emu_mma_op {
    uint8_t m, n, k;
    uint8_t d_type, a_type, b_type, c_type; // enum fj_emu_type
    bool saturate;                          // .satfinite, of integers
};

// Whether the shape and types exist; called once at decode.
bool fj_emu_mma_supported(const struct fj_emu_mma_op *op);

// Registers of each operand for the shape: d, a, b, c.
void fj_emu_mma_registers(const struct fj_emu_mma_op *op, int ret_counts[4]);

// d may be the same registers as c.
void fj_emu_mma(const struct fj_emu_mma_op *op, uint32_t *const d[], const uint32_t *const a[],
                const uint32_t *const b[], const uint32_t *const c[]);

// ldmatrix/stmatrix m8n8 b16, `count` (1, 2, 4) matrices; rows[i] points at the 16 bytes lane i's
// address names (only lanes 0 .. 8*count-1 are used).
void fj_emu_ldmatrix(int count, bool trans, const uint8_t *const rows[32], uint32_t *const d[]);
void fj_emu_stmatrix(int count, bool trans, uint8_t *const rows[32], const uint32_t *const s[]);

// wgmma.mma_async.sync.aligned.m64n<n>k<k>: the 16 rows of one of the four warps.
struct fj_emu_wgmma_op {
    uint16_t n;
    uint8_t k;
    uint8_t d_type, a_type, b_type;
    bool a_in_registers;
    bool a_trans, b_trans;   // 1: MN-major
    bool saturate;           // .satfinite, of integers
    int8_t a_scale, b_scale; // 1 or -1
};

bool fj_emu_wgmma_supported(const struct fj_emu_wgmma_op *op);
int fj_emu_wgmma_registers(const struct fj_emu_wgmma_op *op); // of d, per thread

struct fj_emu_wgmma_args {
    const uint8_t *smem; // shared memory of the CTA; address 0 is smem[0]
    uint32_t smem_bytes;
    int warp;     // 0..3 in the warpgroup
    bool scale_d; // false: d = a*b
    uint64_t a_desc, b_desc;
    const uint32_t *a[4]; // when a_in_registers
    uint32_t *const *d;
};

// 0, or the first shared-memory address outside smem_bytes through *ret_bad with -1.
int fj_emu_wgmma(const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args,
                 uint32_t *ret_bad);

// Every shared-memory byte range that an operand's descriptor names, for the checks: calls
// `visit(user, address, bytes)` per 16-byte row. `rows`: n of B, or the 16 rows of `warp` of A.
void fj_emu_wgmma_visit(const struct fj_emu_wgmma_op *op, bool operand_b, int warp, uint64_t desc,
                        void (*visit)(void *user, uint32_t address, uint32_t bytes), void *user);

#endif
