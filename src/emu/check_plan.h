// What the checks of registers have to look at, found once per launch.
//
// Most reads are of registers that every path to them has written: the text proves it, and nothing
// is left to do while it runs. The others are followed, lane by lane, with the registers that
// copies hand their state to or from, and those that wgmmas use.
#ifndef FJ_EMU_CHECK_PLAN_H
#define FJ_EMU_CHECK_PLAN_H

#include "emu/core.h"

enum {
    FJ_EMU_PLAN_BEFORE = 1,  // the instruction needs fj_emu_check_before
    FJ_EMU_PLAN_AFTER = 2,   // .. fj_emu_check_after
    FJ_EMU_PLAN_GUARD = 4,   // its guard may be unwritten
    FJ_EMU_PLAN_SHUFFLE = 8, // what it takes from another lane may be unwritten
    FJ_EMU_PLAN_STRONG = 16, // an access to memory that is no plain load or store
    FJ_EMU_PLAN_WARP = 32,   // one of the whole warp: ldmatrix, stmatrix
};

enum {
    FJ_EMU_PLAN_READ = 1,  // of a reference: the read may be of nothing
    FJ_EMU_PLAN_TRACK = 2, // a register whose written lanes are followed
    FJ_EMU_PLAN_WGMMA = 4, // a register that wgmmas use
};

struct fj_emu_plan {
    uint8_t *insns, *refs; // by instruction, by reference
    bool orders_ctas;      // has fences or releases that CTAs can talk through
};

// NULL: out of memory.
struct fj_emu_plan *fj_emu_plan_new(const struct fj_emu_code *code);
void fj_emu_plan_free(struct fj_emu_plan *plan);

#endif
