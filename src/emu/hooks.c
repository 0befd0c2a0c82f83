#include "emu/hooks.h"

#include "emu/check.h"
#include "emu/ops.h"
#include "emu/tally.h"
#include "emu/tracing.h"

static bool shared_lane(enum fj_ptx_space space, uint64_t address)
{
    return space == FJ_PTX_SHARED ||
           (space == FJ_PTX_GENERIC && (address & FJ_EMU_WINDOW_MASK) == FJ_EMU_WINDOW_SHARED);
}

static bool global_lane(enum fj_ptx_space space, uint64_t address)
{
    return space == FJ_PTX_GLOBAL || space == FJ_PTX_CONST ||
           (space == FJ_PTX_GENERIC && (address & FJ_EMU_WINDOW_MASK) == 0);
}

bool fj_emu_hook_access(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                        enum fj_ptx_space space, uint32_t bytes, enum fj_emu_access access,
                        const uint64_t host[FJ_EMU_LANES])
{
    const struct fj_emu_unit *unit = w->cta->unit;
    uint32_t shared = 0, global = 0;
    uint64_t address[FJ_EMU_LANES] = {0};
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        address[l] = fj_emu_address(w, in, operand, (int)l);
        shared |= (uint32_t)shared_lane(space, address[l]) << l;
        global |= (uint32_t)global_lane(space, address[l]) << l;
    }
    if (unit->tally != NULL && global != 0)
        fj_emu_tally_global(unit->tally, global, bytes, access == FJ_EMU_WRITE, host);
    if (unit->tally != NULL && shared != 0)
        fj_emu_tally_shared(unit->tally, shared, bytes, address);
    if (unit->check == NULL)
        return true;
    uint64_t previous = UINT64_MAX; // lanes that read one address are one reader
    FJ_EMU_EACH_LANE(l, shared)
    {
        if (access == FJ_EMU_READ && address[l] == previous)
            continue;
        previous = address[l];
        if (!fj_emu_check_shared(w, in, (int)l, (uint32_t)address[l], bytes, access))
            return false;
    }
    return global == 0 || fj_emu_check_global(w, in, global, bytes, access, host);
}

bool fj_emu_hook_wgmma(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                       const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args)
{
    return w->cta->unit->check == NULL || fj_emu_check_wgmma(w, in, op, args);
}

bool fj_emu_hook_async(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       uint32_t address, uint32_t bytes, enum fj_emu_async kind, uint32_t mbarrier)
{
    const struct fj_emu_unit *unit = w->cta->unit;
    if (unit->tally != NULL && kind == FJ_EMU_BULK_LOAD)
        unit->tally->dynamic.bulk_load_bytes += bytes;
    if (unit->tally != NULL && kind == FJ_EMU_BULK_STORE)
        unit->tally->dynamic.bulk_store_bytes += bytes;
    return unit->check == NULL || fj_emu_check_async(w, in, lane, address, bytes, kind, mbarrier);
}

bool fj_emu_hook_global(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                        uint32_t bytes, const uint64_t address[FJ_EMU_LANES])
{
    const struct fj_emu_unit *unit = w->cta->unit;
    if (exec == 0)
        return true;
    if (unit->tally != NULL)
        fj_emu_tally_global(unit->tally, exec, bytes, false, address);
    return unit->check == NULL || fj_emu_check_global(w, in, exec, bytes, FJ_EMU_READ, address);
}

void fj_emu_hook_group(struct fj_emu_warp *w, int what, uint32_t pending)
{
    if (w->cta->unit->check != NULL)
        fj_emu_check_group(w, what, pending);
}

bool fj_emu_hook_before(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    if (fj_emu_traced(w))
        fj_emu_trace(w, in);
    return w->cta->unit->check == NULL || fj_emu_check_before(w, in);
}

void fj_emu_hook_after(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct fj_emu_unit *unit = w->cta->unit;
    if (unit->tally != NULL)
        fj_emu_tally_insn(unit->tally, w, in);
    if (unit->check != NULL)
        fj_emu_check_after(w, in);
}

void fj_emu_hook_done(struct fj_emu_warp *w)
{
    const struct fj_emu_unit *unit = w->cta->unit;
    if (unit->tally == NULL)
        return;
    unit->tally->dynamic.barrier_waits += w->barrier_waits;
    unit->tally->dynamic.spin_retries += w->spin_retries;
}
