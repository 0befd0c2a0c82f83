#include "emu/hooks.h"

#include "emu/check.h"
#include "emu/ops.h"
#include "emu/tally.h"
#include "emu/tracing.h"

// Generic addresses name their space themselves, lane by lane.
static void sort_lanes(const struct fj_emu_warp *w, enum fj_ptx_space space,
                       const uint64_t address[FJ_EMU_LANES], uint32_t *shared, uint32_t *global)
{
    *shared = space == FJ_PTX_SHARED ? w->exec : 0;
    *global = space == FJ_PTX_GLOBAL || space == FJ_PTX_CONST ? w->exec : 0;
    if (space != FJ_PTX_GENERIC)
        return;
    for (uint32_t l = 0; l < FJ_EMU_LANES; l++) {
        const uint64_t window = address[l] & FJ_EMU_WINDOW_MASK;
        *shared |= (w->exec & (uint32_t)(window == FJ_EMU_WINDOW_SHARED) << l);
        *global |= (w->exec & (uint32_t)(window == 0) << l);
    }
}

static void addresses(const struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                      uint64_t address[FJ_EMU_LANES])
{
    const uint64_t *wide = fj_emu_r64(w, in->o[operand]);
    const uint32_t *narrow = fj_emu_r32(w, in->o[operand]), offset = (uint32_t)in->imm;
    if (in->flags & 0x80) {
        for (int l = 0; l < FJ_EMU_LANES; l++)
            address[l] = wide[l] + (uint64_t)in->imm;
        return;
    }
    for (int l = 0; l < FJ_EMU_LANES; l++)
        address[l] = (uint32_t)(narrow[l] + offset);
}

bool fj_emu_hook_access(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                        enum fj_ptx_space space, uint32_t bytes, enum fj_emu_access access,
                        const uint64_t host[FJ_EMU_LANES])
{
    const struct fj_emu_unit *unit = w->cta->unit;
    uint32_t shared, global, offset[FJ_EMU_LANES];
    uint64_t address[FJ_EMU_LANES];
    if (space == FJ_PTX_LOCAL || space == FJ_PTX_PARAM)
        return true;
    addresses(w, in, operand, address);
    sort_lanes(w, space, address, &shared, &global);
    if (unit->tally != NULL && global != 0)
        fj_emu_tally_global(unit->tally, global, bytes, access == FJ_EMU_WRITE, host);
    if (unit->tally != NULL && shared != 0)
        fj_emu_tally_shared(unit->tally, shared, bytes, address);
    if (unit->check == NULL)
        return true;
    for (int l = 0; l < FJ_EMU_LANES; l++)
        offset[l] = (uint32_t)address[l];
    if (shared != 0 && !fj_emu_check_shared(w, in, shared, bytes, access, offset))
        return false;
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

bool fj_emu_hook_copy(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                      uint32_t bytes, const uint64_t from[FJ_EMU_LANES],
                      const uint32_t to[FJ_EMU_LANES])
{
    const struct fj_emu_unit *unit = w->cta->unit;
    if (exec == 0)
        return true;
    if (unit->tally != NULL)
        fj_emu_tally_copy(unit->tally, exec, bytes, from, to);
    return unit->check == NULL || fj_emu_check_global(w, in, exec, bytes, FJ_EMU_READ, from);
}

// Bulk copies order nothing by themselves, and what they write has no mark.
bool fj_emu_hook_bulk(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                      uint64_t address, uint32_t bytes, bool is_store)
{
    return w->cta->unit->check == NULL ||
           fj_emu_check_range(w, in, lane, address, bytes, is_store ? FJ_EMU_ATOMIC : FJ_EMU_READ);
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
