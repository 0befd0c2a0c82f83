// Registers: reads of what nothing wrote, and the discipline of wgmma.
//
// Compilers copy registers freely, so that a mov is a renaming: it hands on that a value was never
// written, or belongs to a wgmma under way, and is not reported itself.
#include "emu/check_state.h"

static const struct fj_emu_info *info_of(const struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    return &w->code->info[in - w->code->insns];
}

static bool renames(const struct fj_emu_info *info)
{
    return info->renames;
}

static bool is_wgmma(const struct fj_emu_info *info)
{
    return info->is_wgmma;
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
                          const struct fj_emu_info *info)
{
    const struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    const bool wgmma = is_wgmma(info);
    // Lanes that no lane reads may hold nothing: fj_emu_check_shuffle looks at the others.
    const bool shuffle = info->is_shuffle;
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const struct fj_emu_ref *ref = &w->code->refs[info->first_ref + i];
        const uint32_t missing = w->exec & ~cw->written[ref->reg];
        if (ref->def || missing == 0 || (wgmma && ignored(w, in, ref)) || (shuffle && ref->at == 2))
            continue;
        char name[64];
        name_of(w, ref->reg, name, sizeof(name));
        fj_emu_stop(w, in, __builtin_ctz(missing), FJ_EMU_FAULT_UNWRITTEN,
                    "register %s is read and nothing has written it", name);
        return false;
    }
    return true;
}

bool fj_emu_check_shuffle(struct fj_emu_warp *w, const struct fj_emu_insn *in, int k, int lane,
                          uint32_t from)
{
    const struct fj_emu_info *info = info_of(w, in);
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
                          const struct fj_emu_info *info)
{
    const struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const struct fj_emu_ref *ref = &w->code->refs[info->first_ref + i];
        if (cw->pending[ref->reg] <= cw->wg_done)
            continue;
        if (!ref->def && (!cw->accumulates[ref->reg] || renames(info)))
            continue;
        char name[64];
        name_of(w, ref->reg, name, sizeof(name));
        fj_emu_stop(w, in, -1, FJ_EMU_FAULT_ASYNC,
                    "register %s is %s while a wgmma %s it: wgmma.wait_group comes first", name,
                    ref->def ? "written" : "read",
                    cw->accumulates[ref->reg] ? "accumulates into" : "reads");
        return false;
    }
    return true;
}

bool fj_emu_check_before(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct fj_emu_info *info = info_of(w, in);
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    if (info->is_block || info->source == NULL || info->source->text != NULL)
        return true;
    cw->now++;
    const int guard = info->source->guard;
    if (guard >= 0 && (w->active & ~cw->written[guard]) != 0) {
        char name[64];
        name_of(w, (uint32_t)guard, name, sizeof(name));
        fj_emu_stop(w, in, __builtin_ctz(w->active & ~cw->written[guard]), FJ_EMU_FAULT_UNWRITTEN,
                    "the guard %s is read and nothing has written it", name);
        return false;
    }
    if (!renames(info) && !check_written(w, in, info))
        return false;
    return is_wgmma(info) || check_pending(w, in, info);
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
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    if (info->is_block || info->source == NULL)
        return;
    const bool rename = renames(info), wgmma = is_wgmma(info);
    const struct fj_emu_ref *from = rename ? renamed(w, info) : NULL;
    const uint32_t lanes = rename ? all_written(w, info) & w->exec : w->exec;
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const struct fj_emu_ref *ref = &w->code->refs[info->first_ref + i];
        if (!ref->def)
            continue;
        cw->written[ref->reg] = (cw->written[ref->reg] & ~w->exec) | lanes;
        if (wgmma)
            continue;
        cw->pending[ref->reg] = from != NULL ? cw->pending[from->reg] : 0;
        cw->accumulates[ref->reg] = from != NULL ? cw->accumulates[from->reg] : 0;
        cw->changed[ref->reg] = from != NULL ? cw->changed[from->reg] : cw->now;
    }
}

void fj_emu_check_wgmma_order(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    if (in->size == FJ_EMU_WGMMA_FENCE) {
        cw->fence = cw->now;
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
