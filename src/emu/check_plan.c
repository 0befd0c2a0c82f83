#include "emu/check_plan.h"

#include <stdlib.h>
#include <string.h>

#include "emu/code.h"

// Which registers are written on every path to a block, for one thread: the intersection over the
// paths. A guarded write may not happen; a copy of something unwritten is unwritten.
struct flow {
    const struct fj_emu_code *code;
    struct fj_emu_plan *plan;
    uint32_t words;
    uint64_t *in, *now;
    uint8_t *regs; // FJ_EMU_PLAN_TRACK, FJ_EMU_PLAN_WGMMA
};

static bool has(const uint64_t *set, uint32_t reg)
{
    return set[reg / 64] >> (reg % 64) & 1;
}

static void put(uint64_t *set, uint32_t reg, bool value)
{
    set[reg / 64] = (set[reg / 64] & ~(1ull << (reg % 64))) | (uint64_t)value << (reg % 64);
}

static bool skipped(const struct fj_emu_info *info)
{
    return info->is_block || info->source == NULL || info->source->text != NULL;
}

static void step(struct flow *f, uint32_t insn)
{
    const struct fj_emu_info *info = &f->code->info[insn];
    const bool guarded = f->code->insns[insn].guard >= 0;
    bool known = true;
    if (skipped(info) || info->n_refs == 0)
        return;
    const struct fj_emu_ref *refs = f->code->refs + info->first_ref;
    for (uint32_t i = 0; i < info->n_refs && info->renames; i++)
        known &= refs[i].def || has(f->now, refs[i].reg);
    for (uint32_t i = 0; i < info->n_refs; i++) {
        if (refs[i].def && (!known || !guarded))
            put(f->now, refs[i].reg, known);
    }
}

static bool meet(struct flow *f, uint32_t block)
{
    uint64_t *in = f->in + (size_t)block * f->words;
    bool changed = false;
    for (uint32_t w = 0; w < f->words; w++) {
        changed |= (in[w] & ~f->now[w]) != 0;
        in[w] &= f->now[w];
    }
    return changed;
}

static bool flow_block(struct flow *f, uint32_t block)
{
    const struct fj_emu_code *c = f->code;
    const struct fj_emu_basic *basic = &c->blocks[block];
    const int n_targets = basic->table != NULL ? basic->table->n_targets : 0;
    bool changed = false;
    memcpy(f->now, f->in + (size_t)block * f->words, f->words * sizeof(uint64_t));
    for (uint32_t i = basic->first; i < basic->end; i++)
        step(f, i);
    for (int k = 0; k < 2 + n_targets; k++) {
        const uint32_t next =
            k < 2 ? basic->next[k]
                  : c->block_of[c->entry->labels[basic->table->targets[k - 2].index].insn];
        if (next < c->n_blocks)
            changed |= meet(f, next);
    }
    return changed;
}

// A shuffle's value comes from other lanes, which fj_emu_check_shuffle looks at.
static void note_read(struct flow *f, uint32_t insn, uint32_t ref)
{
    const struct fj_emu_info *info = &f->code->info[insn];
    const struct fj_emu_ref *r = &f->code->refs[ref];
    if (r->def || info->renames || has(f->now, r->reg))
        return;
    f->regs[r->reg] |= FJ_EMU_PLAN_TRACK;
    if (info->is_shuffle && r->at == 2)
        f->plan->insns[insn] |= FJ_EMU_PLAN_SHUFFLE;
    else
        f->plan->refs[ref] |= FJ_EMU_PLAN_READ;
}

static void note_block(struct flow *f, uint32_t block)
{
    const struct fj_emu_code *c = f->code;
    memcpy(f->now, f->in + (size_t)block * f->words, f->words * sizeof(uint64_t));
    for (uint32_t i = c->blocks[block].first; i < c->blocks[block].end; i++) {
        const struct fj_emu_info *info = &c->info[i];
        if (!skipped(info)) {
            const int guard = info->source->guard;
            if (guard >= 0 && !has(f->now, (uint32_t)guard)) {
                f->plan->insns[i] |= FJ_EMU_PLAN_GUARD;
                f->regs[guard] |= FJ_EMU_PLAN_TRACK;
            }
            for (uint32_t k = 0; k < info->n_refs; k++) {
                note_read(f, i, info->first_ref + k);
                if (info->is_wgmma && c->refs[info->first_ref + k].at >= FJ_EMU_OPERANDS)
                    f->regs[c->refs[info->first_ref + k].reg] |= FJ_EMU_PLAN_WGMMA;
            }
        }
        step(f, i);
    }
}

// Copies hand on whether lanes were written (from source to copy), and which wgmma uses a register
// (both ways: a copy's old state ends with it).
static bool spread(struct flow *f, const struct fj_emu_info *info)
{
    const struct fj_emu_ref *refs = f->code->refs + info->first_ref;
    uint8_t all = 0, defs = 0;
    bool changed = false;
    for (uint32_t i = 0; i < info->n_refs; i++) {
        all |= f->regs[refs[i].reg];
        defs |= refs[i].def ? f->regs[refs[i].reg] : 0;
    }
    const uint8_t wgmma = all & FJ_EMU_PLAN_WGMMA, track = defs & FJ_EMU_PLAN_TRACK;
    for (uint32_t i = 0; i < info->n_refs; i++) {
        const uint8_t now = f->regs[refs[i].reg] | wgmma | (refs[i].def ? 0 : track);
        changed |= now != f->regs[refs[i].reg];
        f->regs[refs[i].reg] = now;
    }
    return changed;
}

static void spread_all(struct flow *f)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = f->code->n_insns; i-- > 0;) {
            const struct fj_emu_info *info = &f->code->info[i];
            if (info->renames && info->n_refs > 0 && !skipped(info))
                changed |= spread(f, info);
        }
    }
}

static void sum_up(struct flow *f, uint32_t insn)
{
    const struct fj_emu_info *info = &f->code->info[insn];
    uint8_t *flags = &f->plan->insns[insn];
    if (skipped(info))
        return;
    if (*flags & FJ_EMU_PLAN_GUARD)
        *flags |= FJ_EMU_PLAN_BEFORE;
    for (uint32_t i = info->first_ref; i < info->first_ref + info->n_refs; i++) {
        const struct fj_emu_ref *ref = &f->code->refs[i];
        uint8_t *how = &f->plan->refs[i];
        *how |= f->regs[ref->reg];
        if (*how & (FJ_EMU_PLAN_READ | FJ_EMU_PLAN_WGMMA))
            *flags |= FJ_EMU_PLAN_BEFORE;
        if (ref->def && *how)
            *flags |= FJ_EMU_PLAN_AFTER;
    }
}

static bool has_any(const char *op, const char *const *parts)
{
    for (; *parts != NULL; parts++) {
        if (fj_emu_has(op, *parts))
            return true;
    }
    return false;
}

// Accesses and fences through which CTAs may talk to one another.
static bool orders_ctas(const char *op)
{
    static const char *const narrow[] = {".cta", ".cluster", ".proxy", ".mbarrier_init", NULL};
    static const char *const orders[] = {".acquire", ".release", ".acq_rel", ".sc", NULL};
    if (has_any(op, narrow) || strncmp(op, "mbarrier", 8) == 0)
        return false;
    return strncmp(op, "membar.", 7) == 0 || has_any(op, orders);
}

static bool is_strong(const char *op)
{
    static const char *const parts[] = {".volatile", ".relaxed", ".acquire", ".release",
                                        ".acq_rel",  ".mmio",    NULL};
    return has_any(op, parts);
}

static void classify(struct flow *f)
{
    for (uint32_t i = 0; i < f->code->n_insns; i++) {
        const struct fj_emu_info *info = &f->code->info[i];
        if (skipped(info))
            continue;
        f->plan->orders_ctas |= orders_ctas(info->source->op);
        if (is_strong(info->source->op))
            f->plan->insns[i] |= FJ_EMU_PLAN_STRONG;
        if (strncmp(info->source->op + 2, "matrix.", 7) == 0) // ldmatrix, stmatrix
            f->plan->insns[i] |= FJ_EMU_PLAN_WARP;
        sum_up(f, i);
    }
}

static bool analyse(struct flow *f)
{
    const struct fj_emu_code *c = f->code;
    const size_t bits = (size_t)f->words * (c->n_blocks + 1);
    f->in = malloc(bits * sizeof(uint64_t));
    f->now = malloc((f->words + 1) * sizeof(uint64_t));
    f->regs = calloc((size_t)c->entry->n_regs + 1, 1);
    if (f->in == NULL || f->now == NULL || f->regs == NULL)
        return false;
    memset(f->in, 0xff, bits * sizeof(uint64_t));
    memset(f->in, 0, f->words * sizeof(uint64_t)); // nothing is written at the entry
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < c->n_blocks; i++)
            changed |= flow_block(f, i);
    }
    for (uint32_t i = 0; i < c->n_blocks; i++)
        note_block(f, i);
    spread_all(f);
    classify(f);
    return true;
}

struct fj_emu_plan *fj_emu_plan_new(const struct fj_emu_code *code)
{
    struct fj_emu_plan *plan = calloc(1, sizeof(*plan));
    struct flow flow = {
        .code = code, .plan = plan, .words = ((uint32_t)code->entry->n_regs + 63) / 64};
    if (plan == NULL)
        return NULL;
    plan->insns = calloc(code->n_insns + 1, 1);
    plan->refs = calloc(code->n_refs + 1, 1);
    const bool ok = plan->insns != NULL && plan->refs != NULL && analyse(&flow);
    free(flow.in);
    free(flow.now);
    free(flow.regs);
    if (ok)
        return plan;
    fj_emu_plan_free(plan);
    return NULL;
}

void fj_emu_plan_free(struct fj_emu_plan *plan)
{
    if (plan == NULL)
        return;
    free(plan->insns);
    free(plan->refs);
    free(plan);
}
