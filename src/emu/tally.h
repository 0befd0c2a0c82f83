// Counting while a unit runs: one tally per worker, added up at the end.
#ifndef FJ_EMU_TALLY_H
#define FJ_EMU_TALLY_H

#include "emu/hooks.h"

struct fj_emu_tally {
    uint64_t *runs, *lanes; // by instruction
    struct fj_emu_counts dynamic;
};

bool fj_emu_tally_init(struct fj_emu_tally *tally, const struct fj_emu_code *code);
void fj_emu_tally_free(struct fj_emu_tally *tally);
void fj_emu_tally_insn(struct fj_emu_tally *tally, const struct fj_emu_warp *w,
                       const struct fj_emu_insn *in);
// The lanes of `exec` touch `bytes` each at these device addresses.
void fj_emu_tally_global(struct fj_emu_tally *tally, uint32_t exec, uint32_t bytes, bool is_store,
                         const uint64_t address[FJ_EMU_LANES]);
// The same of cp.async.
void fj_emu_tally_copy(struct fj_emu_tally *tally, uint32_t exec, uint32_t bytes,
                       const uint64_t from[FJ_EMU_LANES], const uint32_t to[FJ_EMU_LANES]);
void fj_emu_tally_shared(struct fj_emu_tally *tally, uint32_t exec, uint32_t bytes,
                         const uint64_t address[FJ_EMU_LANES]);
// Adds a worker's tally to the launch's counts; lines only by fj_emu_tally_lines at the end.
void fj_emu_tally_add(const struct fj_emu_tally *tally, const struct fj_emu_code *code,
                      struct fj_emu_counts *counts);
// Adds the instructions per source line of `runs` to counts->lines.
int fj_emu_tally_lines(const uint64_t *runs, const struct fj_emu_code *code,
                       struct fj_emu_counts *counts);

#endif
