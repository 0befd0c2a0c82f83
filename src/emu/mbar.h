// What asynchronous copies do to mbarriers.
#ifndef FJ_EMU_MBAR_H
#define FJ_EMU_MBAR_H

#include "emu/core.h"

// `count` arrivals that also announce `bytes`. false: a fault, the warp has been stopped.
bool fj_emu_mbar_arrive(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, uint32_t count, uint32_t bytes, bool drop);
// bytes > 0: expected; < 0: arrived.
bool fj_emu_mbar_tx(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t address,
                    int64_t bytes);

#endif
