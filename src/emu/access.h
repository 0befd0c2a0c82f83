// From the address operand of an instruction to checked host addresses, lane by lane.
#ifndef FJ_EMU_ACCESS_H
#define FJ_EMU_ACCESS_H

#include "emu/core.h"

// insn->flags of memory instructions: the space in the low bits.
#define FJ_EMU_SPACE 0x07
#define FJ_EMU_SIGNED 0x08
#define FJ_EMU_WIDE 0x10 // registers of 64 bits

enum fj_emu_access {
    FJ_EMU_READ,
    FJ_EMU_WRITE,
    FJ_EMU_ATOMIC,
};

// Host addresses for the executing lanes of an access of `bytes` per lane; others are garbage.
// false: out of bounds, misaligned or freed, and the warp has been stopped.
bool fj_emu_resolve(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                    enum fj_ptx_space space, uint32_t bytes, enum fj_emu_access access,
                    uint64_t host[FJ_EMU_LANES]);

uint8_t *fj_emu_resolve_in(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                           enum fj_ptx_space space, uint64_t address, uint32_t bytes,
                           uint32_t align);
// One address of a given lane, for instructions that take one per warp. NULL after a fault.
uint8_t *fj_emu_resolve_shared(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                               uint32_t address, uint32_t bytes, uint32_t align);
uint8_t *fj_emu_resolve_global(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                               uint64_t address, uint64_t bytes, uint32_t align);
// A generic or shared address (by its window) to a shared one; false when it is not shared.
bool fj_emu_to_shared(uint64_t generic, uint32_t *ret_address);
// The value of the address operand (register + offset) in `lane`.
uint64_t fj_emu_address(const struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                        int lane);

static inline int fj_emu_first_lane(const struct fj_emu_warp *w)
{
    return w->exec != 0 ? __builtin_ctz(w->exec) : 0;
}

#endif
