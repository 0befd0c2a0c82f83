#include "emu/trace.h"

#include <string.h>

#include "emu/ops.h"
#include "emu/tracing.h"

bool fj_emu_traced(const struct fj_emu_warp *w)
{
    const struct fj_emu_tracer *tracer = w->cta->unit->launch->tracer;
    return tracer != NULL && w->index == tracer->warp &&
           memcmp(w->cta->ctaid, tracer->ctaid, sizeof(tracer->ctaid)) == 0;
}

void fj_emu_trace(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct fj_emu_tracer *tracer = w->cta->unit->launch->tracer;
    const struct fj_emu_info *info = &w->code->info[in - w->code->insns];
    const struct fj_ptx_insn *source = info->source;
    const struct fj_ptx_module *m = w->code->module;
    if (info->is_block || source == NULL)
        return;
    const struct fj_emu_step step = {
        .op = source->op,
        .file = source->file > 0 && source->file < m->n_files ? m->files[source->file] : NULL,
        .line = source->line,
        .ptx_line = source->ptx_line,
        .exec = w->exec,
        .active = w->active,
        .watch = source->text,
        .n_registers = (int)info->n_refs,
        .shared = w->cta->smem,
        .shared_begin = FJ_EMU_SHARED_BASE,
        .shared_end = w->cta->smem_bytes,
        .warp = w,
        .insn = in,
    };
    tracer->step(tracer->user, &step);
}

int fj_emu_step_register(const struct fj_emu_step *step, int i, char *name, int cap,
                         uint64_t values[32])
{
    const struct fj_emu_warp *w = step->warp;
    const struct fj_emu_code *code = w->code;
    const struct fj_emu_info *info = &code->info[step->insn - code->insns];
    if (i < 0 || i >= (int)info->n_refs)
        return 0;
    const uint32_t reg = code->refs[info->first_ref + (uint32_t)i].reg;
    const uint32_t slot = code->slot_of[reg];
    const int bits = code->entry->regs[reg].bits;
    fj_ptx_reg_name(code->entry, (int)reg, name, (size_t)cap);
    for (int l = 0; l < FJ_EMU_LANES; l++) {
        if (bits == 1)
            values[l] = w->pred[slot] >> l & 1;
        else
            values[l] = bits > 32 ? fj_emu_r64(w, slot)[l] : fj_emu_r32(w, slot)[l];
    }
    return bits;
}
