// The inner loops of the matrix instructions, for the best vector unit of this machine.
#ifndef FJ_EMU_MMA_TILE_H
#define FJ_EMU_MMA_TILE_H

#include "emu/mma.h"

#define FJ_EMU_MAX_K 32     // fp8: 32 bytes of k
#define FJ_EMU_MAX_TILES 32 // n / 8

int fj_emu_type_bytes(int type); // enum fj_emu_type, here and below

// Widens `count` packed elements to fp32, exactly.
void fj_emu_widen(int type, const void *src, int count, bool negate, float *ret);

// src: [rows][cols], ret: [cols][rows]; rows is a multiple of 8, cols of 4.
void fj_emu_transpose(const float *src, int rows, int cols, float *ret);

// The A fragment of mma.sync and wgmma: register i holds rows 8 * (i & 1).. and the (i >> 1)-th 16
// bytes of k.
void fj_emu_gather_a(int type, int k, const uint32_t *const *regs, bool negate,
                     float (*ret)[FJ_EMU_MAX_K]);

// 16 rows of a warp: d = c + a * b for `tiles` column tiles of eight. Accumulators are fp32 bits:
// register 4 * tile + 2 * half + i, lane 4 * row + q is row 8 * half + row, column 8 * tile + 2 * q
// + i. b: [k][8 * tiles]. c is NULL (zero) or registers, which may be those of d.
void fj_emu_tile_run(uint32_t *const *d, const uint32_t *const *c, int tiles,
                     float (*a)[FJ_EMU_MAX_K], const float *b, int k);

// The same with accumulators of two packed f16: register 2 * tile + half.
void fj_emu_tile_run_f16(uint32_t *const *d, const uint32_t *const *c, int tiles,
                         float (*a)[FJ_EMU_MAX_K], const float *b, int k);

// The same of integers: sums of up to 32 products of two bytes are exact in fp32, and are added to
// c as 32-bit integers, which wrap or (saturate) stop at their ends.
void fj_emu_tile_run_s32(uint32_t *const *d, const uint32_t *const *c, int tiles,
                         float (*a)[FJ_EMU_MAX_K], const float *b, int k, bool saturate);

#endif
