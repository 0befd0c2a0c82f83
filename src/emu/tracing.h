// The executor's side of a trace.
#ifndef FJ_EMU_TRACING_H
#define FJ_EMU_TRACING_H

#include "emu/core.h"

bool fj_emu_traced(const struct fj_emu_warp *w);
void fj_emu_trace(struct fj_emu_warp *w, const struct fj_emu_insn *in);

#endif
