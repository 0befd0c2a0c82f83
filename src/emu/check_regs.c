// Registers: reads of what nothing wrote, and the discipline of wgmma.
//
// Compilers copy registers freely, so that a mov is a renaming: it hands on that a value was never
// written, or belongs to a wgmma under way, and is not reported itself.
#include "emu/check_state.h"

static const struct fj_emu_info *info_of(const struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    return &w->code->info[in - w->code->insns];
}

static uint8_t plan_of(const struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    return w->cta->unit->check->plan->insns[in - w->code->insns];
}

static void name_of(const struct fj_emu_warp *w, uint32_t reg, char *text, size_t cap)
{
    fj_ptx_reg_name(w->code->entry, (int)reg, text, cap);
}

// An accumulator whose old value is not used may be unwritten.
static bool ignored(const struct fj_emu_warp *w, const struct fj_emu_insn *in,
                    const struct fj_emu_ref *ref)
{
    return ref->at >= FJ_EMU_OPERANDS && ref->at < FJ_EMU_OPERANDS + (uint32_t)in->size &&
           !(fj_emu_pred(w, in->o[2]) & 1);
}

static bool check_written(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                          const struct fj_emu_info *info, const struct fj_emu_ref *ref)
{
    const uint32_t missing = w->exec & ~fj_emu_check_of(w)->written[ref->reg];
    if (missing == 0 || (info->is_wgmma && ignored(w, in, ref)))
        return true;
    char name[64];
    name_of(w, ref->reg, name, sizeof(name));
    fj_emu_stop(w, in, __builtin_ctz(missing), FJ_EMU_FAULT_UNWRITTEN,
                "register %s is read and nothing has written it", name);
    return false;
}

bool fj_emu_check_shuffle(struct fj_emu_warp *w, const struct fj_emu_insn *in, int k, int lane,
                          uint32_t from)
{
    const struct fj_emu_info *info = info_of(w, in);
    if (!(plan_of(w, in) & FJ_EMU_PLAN_SHUFFLE))
        return true;
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const struct fj_emu_ref *ref = &w->code->refs[info->first_ref + i];
        if (ref->def || ref->at != (uint32_t)k || fj_emu_check_of(w)->written[ref->reg] >> from & 1)
            continue;
        char name[64];
        name_of(w, ref->reg, name, sizeof(name));
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_UNWRITTEN,
                    "register %s of lane %u is read and nothing has written it", name, from);
        return false;
    }
    return true;
}

static bool check_pending(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                          const struct fj_emu_info *info, const struct fj_emu_ref *ref)
{
    const struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    if (cw->pending[ref->reg] <= cw->wg_done)
        return true;
    if (!ref->def && (!cw->accumulates[ref->reg] || info->renames))
        return true;
    char name[64];
    name_of(w, ref->reg, name, sizeof(name));
    fj_emu_stop(w, in, -1, FJ_EMU_FAULT_ASYNC,
                "register %s is %s while a wgmma %s it: wgmma.wait_group comes first", name,
                ref->def ? "written" : "read",
                cw->accumulates[ref->reg] ? "accumulates into" : "reads");
    return false;
}

static bool check_guard(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                        const struct fj_emu_info *info)
{
    const uint32_t guard = (uint32_t)info->source->guard;
    const uint32_t missing = w->active & ~fj_emu_check_of(w)->written[guard];
    if (missing == 0)
        return true;
    char name[64];
    name_of(w, guard, name, sizeof(name));
    fj_emu_stop(w, in, __builtin_ctz(missing), FJ_EMU_FAULT_UNWRITTEN,
                "the guard %s is read and nothing has written it", name);
    return false;
}

// A kernel without a single register has no table of references.
static const struct fj_emu_ref *refs_of(const struct fj_emu_warp *w, const struct fj_emu_info *info)
{
    return info->n_refs > 0 ? w->code->refs + info->first_ref : NULL;
}

bool fj_emu_check_before(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct fj_emu_info *info = info_of(w, in);
    const uint8_t *how = w->cta->unit->check->plan->refs + info->first_ref;
    const struct fj_emu_ref *refs = refs_of(w, info);
    if ((plan_of(w, in) & FJ_EMU_PLAN_GUARD) && !check_guard(w, in, info))
        return false;
    for (uint32_t i = 0; i < info->n_refs; i++) {
        if ((how[i] & FJ_EMU_PLAN_READ) && !check_written(w, in, info, &refs[i]))
            return false;
        if ((how[i] & FJ_EMU_PLAN_WGMMA) && !info->is_wgmma &&
            !check_pending(w, in, info, &refs[i]))
            return false;
    }
    return true;
}

// The source of a renaming: its first register read.
static const struct fj_emu_ref *renamed(const struct fj_emu_warp *w, const struct fj_emu_info *info)
{
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const struct fj_emu_ref *ref = &w->code->refs[info->first_ref + i];
        if (!ref->def)
            return ref;
    }
    return NULL;
}

static uint32_t all_written(const struct fj_emu_warp *w, const struct fj_emu_info *info)
{
    const struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    uint32_t lanes = FJ_EMU_FULL;
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const struct fj_emu_ref *ref = &w->code->refs[info->first_ref + i];
        lanes &= ref->def ? FJ_EMU_FULL : cw->written[ref->reg];
    }
    return lanes;
}

void fj_emu_check_after(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct fj_emu_info *info = info_of(w, in);
    const uint8_t *how = w->cta->unit->check->plan->refs + info->first_ref;
    const struct fj_emu_ref *refs = refs_of(w, info);
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    const struct fj_emu_ref *from = info->renames ? renamed(w, info) : NULL;
    cw->now++;
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const uint32_t reg = refs[i].reg;
        if (!refs[i].def)
            continue;
        if (how[i] & FJ_EMU_PLAN_TRACK) {
            const uint32_t lanes = info->renames ? all_written(w, info) & w->exec : w->exec;
            cw->written[reg] = (cw->written[reg] & ~w->exec) | lanes;
        }
        if (!(how[i] & FJ_EMU_PLAN_WGMMA) || info->is_wgmma)
            continue;
        cw->pending[reg] = from != NULL ? cw->pending[from->reg] : 0;
        cw->accumulates[reg] = from != NULL ? cw->accumulates[from->reg] : 0;
        cw->changed[reg] = from != NULL ? cw->changed[from->reg] : cw->now;
    }
}

void fj_emu_check_wgmma_order(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    if (in->size == FJ_EMU_WGMMA_FENCE) {
        cw->fence = ++cw->now;
    } else if (in->size == FJ_EMU_WGMMA_COMMIT) {
        cw->wg_committed++;
    } else {
        const uint32_t pending = (uint32_t)in->imm;
        cw->wg_done = cw->wg_committed > pending ? cw->wg_committed - pending : 0;
    }
    fj_emu_check_group(w,
                       in->size == FJ_EMU_WGMMA_COMMIT ? FJ_EMU_WG_COMMITTED
                       : in->size == FJ_EMU_WGMMA_WAIT ? FJ_EMU_WG_WAITED
                                                       : FJ_EMU_WG_NOTHING,
                       (uint32_t)in->imm);
}

// Registers of a wgmma: written before its fence, then in its hands.
bool fj_emu_check_wgmma_regs(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct fj_emu_info *info = info_of(w, in);
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    if (cw->fence == 0) {
        fj_emu_stop(w, in, -1, FJ_EMU_FAULT_ASYNC, "no wgmma.fence before the first wgmma");
        return false;
    }
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const struct fj_emu_ref *ref = &w->code->refs[info->first_ref + i];
        if (ref->at < FJ_EMU_OPERANDS)
            continue;
        const bool accumulator = ref->at < FJ_EMU_OPERANDS + (uint32_t)in->size;
        if (cw->changed[ref->reg] > cw->fence && !ignored(w, in, ref)) {
            char name[64];
            name_of(w, ref->reg, name, sizeof(name));
            fj_emu_stop(w, in, -1, FJ_EMU_FAULT_ASYNC,
                        "register %s was written after the latest wgmma.fence", name);
            return false;
        }
        cw->pending[ref->reg] = cw->wg_committed + 1;
        cw->accumulates[ref->reg] = accumulator;
    }
    return true;
}
