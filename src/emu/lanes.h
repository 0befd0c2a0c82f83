// Lane loops. The files that include this are compiled once per instruction set extension, with
// FJ_EMU_ISA naming it; each exports its opcode table under that name.
#ifndef FJ_EMU_LANES_H
#define FJ_EMU_LANES_H

#include <math.h>
#include <string.h>

#include "emu/core.h"
#include "emu/half.h"

#define FJ_EMU_JOIN2(a, b) a##_##b
#define FJ_EMU_JOIN(a, b) FJ_EMU_JOIN2(a, b)
#define FJ_EMU_TABLE(name) FJ_EMU_JOIN(name, FJ_EMU_ISA)

#if defined(__clang__)
#define FJ_EMU_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define FJ_EMU_IVDEP _Pragma("GCC ivdep")
#endif

// Runs `statement` for every lane l. Operands alias only lane by lane, hence the hint.
#define FJ_EMU_ALL(statement)                                                                      \
    FJ_EMU_IVDEP for (int l = 0; l < FJ_EMU_LANES; l++)                                            \
    {                                                                                              \
        statement;                                                                                 \
    }

// .. and for every executing lane.
#define FJ_EMU_EACH(w, statement)                                                                  \
    do {                                                                                           \
        if ((w)->exec == FJ_EMU_FULL) {                                                            \
            FJ_EMU_ALL(statement)                                                                  \
        } else {                                                                                   \
            const uint32_t lanes = (w)->exec;                                                      \
            FJ_EMU_ALL(if (lanes >> l & 1) { statement; })                                         \
        }                                                                                          \
    } while (0)

#define FJ_EMU_HANDLER(name)                                                                       \
    static const struct fj_emu_insn *name(struct fj_emu_warp *w, const struct fj_emu_insn *in)

// d = expr over typed views of the operand slots.
#define FJ_EMU_UNARY(name, dt, at, expr)                                                           \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        dt *d = fj_emu_slot(w, in->o[0]);                                                          \
        const at *pa = fj_emu_slot(w, in->o[1]);                                                   \
        FJ_EMU_EACH(w, const at a = pa[l]; d[l] = (dt)(expr));                                     \
        return in + 1;                                                                             \
    }

#define FJ_EMU_BINARY(name, dt, at, bt, expr)                                                      \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        dt *d = fj_emu_slot(w, in->o[0]);                                                          \
        const at *pa = fj_emu_slot(w, in->o[1]);                                                   \
        const bt *pb = fj_emu_slot(w, in->o[2]);                                                   \
        FJ_EMU_EACH(w, const at a = pa[l]; const bt b = pb[l]; d[l] = (dt)(expr));                 \
        return in + 1;                                                                             \
    }

#define FJ_EMU_TERNARY(name, dt, at, bt, ct, expr)                                                 \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        dt *d = fj_emu_slot(w, in->o[0]);                                                          \
        const at *pa = fj_emu_slot(w, in->o[1]);                                                   \
        const bt *pb = fj_emu_slot(w, in->o[2]);                                                   \
        const ct *pc = fj_emu_slot(w, in->o[3]);                                                   \
        FJ_EMU_EACH(w, const at a = pa[l]; const bt b = pb[l]; const ct c = pc[l];                 \
                    d[l] = (dt)(expr));                                                            \
        return in + 1;                                                                             \
    }

#endif
