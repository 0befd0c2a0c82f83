// What the slow modes add to execution. Nothing here is called unless unit->hooks is set.
#ifndef FJ_EMU_HOOKS_H
#define FJ_EMU_HOOKS_H

#include "emu/access.h"

// After the addresses of an access have been checked: counts and, in check mode, races and reads
// of unwritten bytes. false: the warp has been stopped.
bool fj_emu_hook_access(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                        enum fj_ptx_space space, uint32_t bytes, enum fj_emu_access access,
                        const uint64_t host[FJ_EMU_LANES]);

// Before every instruction. false: the warp has been stopped.
bool fj_emu_hook_before(struct fj_emu_warp *w, const struct fj_emu_insn *in);
// After every instruction that did not stop the warp.
void fj_emu_hook_after(struct fj_emu_warp *w, const struct fj_emu_insn *in);

#endif
