// An address operand of an instruction that has several: what the copies share.
#ifndef FJ_EMU_COPY_H
#define FJ_EMU_COPY_H

#include "emu/code.h"

struct fj_emu_address {
    uint8_t k;
    bool wide;
    int64_t offset;
};

static inline uint64_t fj_emu_address_of(const struct fj_emu_warp *w, const struct fj_emu_insn *in,
                                         const struct fj_emu_address *a, int lane)
{
    if (a->wide)
        return fj_emu_r64(w, in->o[a->k])[lane] + (uint64_t)a->offset;
    return (uint32_t)(fj_emu_r32(w, in->o[a->k])[lane] + (uint32_t)a->offset);
}

// Leaves the instruction's flags and immediate zero.
static inline void fj_emu_bind_copy_address(struct fj_emu_build *b, struct fj_emu_insn *in,
                                            uint8_t k, const struct fj_ptx_operand *op,
                                            struct fj_emu_address *a)
{
    in->flags = 0;
    fj_emu_bind_address(b, k, op);
    *a = (struct fj_emu_address){.k = k, .wide = in->flags & FJ_EMU_ADDR64, .offset = in->imm};
    in->flags = 0;
    in->imm = 0;
}

void fj_emu_decode_bulk(struct fj_emu_build *b, const struct fj_ptx_insn *src);

#endif
