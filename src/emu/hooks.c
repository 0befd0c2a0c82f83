#include "emu/hooks.h"

bool fj_emu_hook_access(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                        enum fj_ptx_space space, uint32_t bytes, enum fj_emu_access access,
                        const uint64_t host[FJ_EMU_LANES])
{
    (void)w, (void)in, (void)operand, (void)space, (void)bytes, (void)access, (void)host;
    return true;
}

bool fj_emu_hook_before(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    (void)w, (void)in;
    return true;
}

void fj_emu_hook_after(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    (void)w, (void)in;
}
