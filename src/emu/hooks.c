#include "emu/hooks.h"

bool fj_emu_hook_access(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                        enum fj_ptx_space space, uint32_t bytes, enum fj_emu_access access,
                        const uint64_t host[FJ_EMU_LANES])
{
    (void)w, (void)in, (void)operand, (void)space, (void)bytes, (void)access, (void)host;
    return true;
}

bool fj_emu_hook_wgmma(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                       const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args)
{
    (void)w, (void)in, (void)op, (void)args;
    return true;
}

bool fj_emu_hook_async(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       uint32_t address, uint32_t bytes, enum fj_emu_async kind)
{
    (void)w, (void)in, (void)lane, (void)address, (void)bytes, (void)kind;
    return true;
}

bool fj_emu_hook_global(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint64_t address, uint32_t bytes, bool is_store)
{
    (void)w, (void)in, (void)lane, (void)address, (void)bytes, (void)is_store;
    return true;
}

bool fj_emu_hook_group(struct fj_emu_warp *w, const struct fj_emu_insn *in, int what,
                       uint32_t pending)
{
    (void)w, (void)in, (void)what, (void)pending;
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
