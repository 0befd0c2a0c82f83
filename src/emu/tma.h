// Bulk and tensor copies between global and shared memory.
#ifndef FJ_EMU_TMA_H
#define FJ_EMU_TMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fj_emu_reduce {
    FJ_EMU_REDUCE_NONE,
    FJ_EMU_REDUCE_ADD,
    FJ_EMU_REDUCE_MIN,
    FJ_EMU_REDUCE_MAX,
    FJ_EMU_REDUCE_INC,
    FJ_EMU_REDUCE_DEC,
    FJ_EMU_REDUCE_AND,
    FJ_EMU_REDUCE_OR,
    FJ_EMU_REDUCE_XOR,
};

// Decodes and checks the 128 bytes of a tensor map for an instruction of `rank` dimensions. 0, or
// -1 with a sentence. `tile_bytes`: what one copy of a full box moves (and what expect_tx counts).
int fj_emu_tma_check(const void *map, int rank, uint32_t *ret_tile_bytes, char *ret_text,
                     size_t cap);

// One box at `coords` (innermost first). `smem` is where the box begins, `smem_address` its shared
// address (swizzles depend on address bits). 0, or -1 with a sentence (bounds, alignment).
int fj_emu_tma_load(const void *map, int rank, const int32_t *coords, uint8_t *smem,
                    uint32_t smem_address, char *ret_text, size_t cap);
int fj_emu_tma_store(const void *map, int rank, const int32_t *coords, const uint8_t *smem,
                     uint32_t smem_address, enum fj_emu_reduce reduce, char *ret_text, size_t cap);

// cp.reduce.async.bulk, 1-D: dst op= src. `type` is the PTX suffix ("f32", "s32", "f16", "bf16",
// "u64" ..). 0, or -1 when the pair does not exist.
int fj_emu_bulk_reduce(void *dst, const void *src, uint32_t bytes, enum fj_emu_reduce reduce,
                       const char *type);

#endif
