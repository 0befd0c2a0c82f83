// Reports of what a kernel did wrong.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "emu/ops.h"

static const char *const kind_names[] = {
    [FJ_EMU_FAULT_NONE] = "",
    [FJ_EMU_FAULT_ADDRESS] = "address",
    [FJ_EMU_FAULT_MISALIGNED] = "alignment",
    [FJ_EMU_FAULT_DEADLOCK] = "deadlock",
    [FJ_EMU_FAULT_BARRIER] = "barrier",
    [FJ_EMU_FAULT_TRAP] = "trap",
    [FJ_EMU_FAULT_BUDGET] = "budget",
    [FJ_EMU_FAULT_LAUNCH] = "launch",
    [FJ_EMU_FAULT_OPERAND] = "operand",
    [FJ_EMU_FAULT_UNWRITTEN] = "unwritten",
    [FJ_EMU_FAULT_RACE] = "race",
    [FJ_EMU_FAULT_ASYNC] = "async",
};

// "PTX line 12, file.cu:34: ld.shared.f32" of an instruction.
static void describe_insn(const struct fj_emu_code *code, const struct fj_emu_insn *in, char *text,
                          size_t cap)
{
    const struct fj_ptx_insn *source = code->info[in - code->insns].source;
    if (source == NULL) {
        snprintf(text, cap, "end of the text");
        return;
    }
    const struct fj_ptx_module *m = code->module;
    const char *file = source->file > 0 && source->file < m->n_files && m->files[source->file]
                           ? m->files[source->file]
                           : "CUDA line";
    snprintf(text, cap, "PTX line %d, %.120s:%d: %.80s", source->ptx_line, file, source->line,
             source->op);
}

const struct fj_emu_insn *fj_emu_stop(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                                      enum fj_emu_fault_kind kind, const char *fmt, ...)
{
    struct fj_emu_unit *unit = w->cta->unit;
    w->state = FJ_EMU_FAULTED;
    w->resume = in;
    if (unit->faulted)
        return NULL;
    unit->faulted = true;
    unit->fault.kind = kind;
    char what[512], where[256], who[32] = "";
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    describe_insn(w->code, in, where, sizeof(where));
    if (lane >= 0)
        snprintf(who, sizeof(who), ", lane %d", lane);
    snprintf(unit->fault.text, sizeof(unit->fault.text),
             "%s: %s: kernel %s, CTA (%u, %u, %u), warp %d%s, %s", kind_names[kind], what,
             w->code->entry->name, w->cta->ctaid[0], w->cta->ctaid[1], w->cta->ctaid[2], w->index,
             who, where);
    return NULL;
}

static void describe_wait(const struct fj_emu_warp *w, char *text, size_t cap)
{
    char mbar[128];
    switch (w->state) {
    case FJ_EMU_WAIT_BAR: {
        const struct fj_emu_barrier *bar = &w->cta->barriers[w->wait_barrier];
        snprintf(text, cap, "barrier %u (%u of %u threads have arrived)", w->wait_barrier,
                 bar->arrived,
                 bar->counted ? bar->expected : (uint32_t)w->cta->n_live * FJ_EMU_LANES);
        break;
    }
    case FJ_EMU_WAIT_MBAR:
        fj_emu_mbar_describe(w->wait_mbar, mbar, sizeof(mbar));
        snprintf(text, cap, "mbarrier 0x%x for parity %u (%s)", w->wait_addr, w->wait_parity, mbar);
        break;
    case FJ_EMU_WAIT_POOL:
        snprintf(text, cap,
                 "setmaxnreg.inc (%u registers more for each thread of a warp; its CTA's pool has "
                 "%u)",
                 w->wait_registers, w->cta->pool);
        break;
    default:
        snprintf(text, cap, "the cluster barrier (%u of %d warps have arrived)",
                 w->cta->unit->cluster_arrived, w->cta->unit->n_live);
    }
}

// Every warp waits: says who waits on what, warps that wait at the same place on one line.
void fj_emu_report_deadlock(struct fj_emu_unit *unit)
{
    unit->faulted = true;
    unit->fault.kind = FJ_EMU_FAULT_DEADLOCK;
    char *text = unit->fault.text;
    const size_t cap = sizeof(unit->fault.text);
    size_t len = (size_t)snprintf(text, cap, "deadlock: kernel %.200s: all warps wait",
                                  unit->code->entry->name);
    for (int i = 0; i < unit->n_warps && len < cap - 1; i++) {
        const struct fj_emu_warp *w = &unit->warps[i], *before = i > 0 ? w - 1 : NULL;
        if (w->state == FJ_EMU_DONE)
            continue;
        if (before != NULL && before->state == w->state && before->resume == w->resume &&
            before->cta == w->cta)
            continue;
        int last = i;
        while (last + 1 < unit->n_warps && unit->warps[last + 1].state == w->state &&
               unit->warps[last + 1].resume == w->resume && unit->warps[last + 1].cta == w->cta)
            last++;
        char where[256], what[256];
        describe_insn(unit->code, w->resume, where, sizeof(where));
        describe_wait(w, what, sizeof(what));
        const int n = snprintf(text + len, cap - len, "; CTA (%u, %u, %u) warps %d..%d on %s, %s",
                               w->cta->ctaid[0], w->cta->ctaid[1], w->cta->ctaid[2], w->index,
                               w->index + last - i, what, where);
        len += n > 0 ? (size_t)n : 0;
    }
    text[cap - 1] = '\0';
}
