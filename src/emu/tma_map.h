// What cuTensorMapEncodeTiled of the emulated driver puts into the 128 opaque bytes.
#ifndef FJ_EMU_TMA_MAP_H
#define FJ_EMU_TMA_MAP_H

#include "cuda/abi.h"

#define FJ_EMU_TMA_MAGIC 0x70616d74u
#define FJ_EMU_TMA_RANK 5

struct fj_emu_tma_map {
    uint32_t magic;
    uint8_t type, rank, swizzle, fill; // enums of cuda/abi.h
    uint64_t address;
    uint64_t dims[FJ_EMU_TMA_RANK];    // elements, innermost first
    uint64_t strides[FJ_EMU_TMA_RANK]; // bytes; [0] is the element's size
    uint16_t box[FJ_EMU_TMA_RANK];     // elements of one copy, strides applied
    uint8_t steps[FJ_EMU_TMA_RANK];    // element strides
};

_Static_assert(sizeof(struct fj_emu_tma_map) <= sizeof(CUtensorMap), "the map is 128 bytes");

int fj_emu_tma_type_bytes(CUtensorMapDataType type); // 0 when unknown

// With the limits of cuTensorMapEncodeTiled; fj_err_text says which one was broken.
CUresult fj_emu_tma_encode(CUtensorMap *ret_map, CUtensorMapDataType type, cuuint32_t rank,
                           void *address, const cuuint64_t *dims, const cuuint64_t *strides_bytes,
                           const cuuint32_t *box, const cuuint32_t *element_strides,
                           CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                           CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill);

#endif
