// Decoders and helpers that the opcode files share.
#ifndef FJ_EMU_OPS_H
#define FJ_EMU_OPS_H

#include "emu/code.h"

enum fj_ptx_space fj_emu_space_of(const char *op);
int fj_emu_vector_of(const char *op); // .v2, .v4, .v8: the number; else 1
// The class of the latest instruction from the space it accesses.
void fj_emu_class_of_space(struct fj_emu_build *b, enum fj_ptx_space space);

void fj_emu_decode_atom(struct fj_emu_build *b, const struct fj_ptx_insn *src);
void fj_emu_decode_setp(struct fj_emu_build *b, const struct fj_ptx_insn *src);
void fj_emu_decode_shfl(struct fj_emu_build *b, const struct fj_ptx_insn *src);
void fj_emu_decode_vote(struct fj_emu_build *b, const struct fj_ptx_insn *src);
void fj_emu_decode_match(struct fj_emu_build *b, const struct fj_ptx_insn *src);
void fj_emu_decode_redux(struct fj_emu_build *b, const struct fj_ptx_insn *src);
void fj_emu_decode_carry(struct fj_emu_build *b, const struct fj_ptx_insn *src);
void fj_emu_decode_fp8(struct fj_emu_build *b, const struct fj_ptx_insn *src);
void fj_emu_decode_set(struct fj_emu_build *b, const struct fj_ptx_insn *src);
// The bits of x in a format of that many fraction and exponent bits; modes 0 to nearest even, 1
// toward zero, 2 down, 3 up, 4 to nearest, ties away.
uint64_t fj_emu_narrow(double x, int mode, int fraction, int exponent_bits);
void fj_emu_decode_cvt(struct fj_emu_build *b, const struct fj_ptx_insn *src);
// The head of block `block`, before its first instruction.
void fj_emu_emit_block(struct fj_emu_build *b, uint32_t block);
void fj_emu_emit_exit(struct fj_emu_build *b); // where the text falls off its end

#define FJ_EMU_EACH_LANE(l, mask)                                                                  \
    for (uint32_t left_ = (mask), l = 0; left_ != 0 && (l = (uint32_t)__builtin_ctz(left_), 1);    \
         left_ &= left_ - 1)

uint64_t fj_emu_insn_flops(const struct fj_emu_insn *in); // of matrix instructions, per warp

// Takes up the next path of a warp whose current one has ended. NULL: the warp is done.
const struct fj_emu_insn *fj_emu_next_path(struct fj_emu_warp *w);

// The registers a thread starts with, where setmaxnreg has a meaning; 0: not known.
uint32_t fj_emu_entry_registers(const struct fj_emu_code *code, const struct fj_gpu *gpu);
bool fj_emu_pool_has(const struct fj_emu_warp *w); // what the warp waits for

// Lets warps that wait for barriers of this CTA go on when a warp has exited.
void fj_emu_barrier_recheck(struct fj_emu_cta *cta);
void fj_emu_cluster_recheck(struct fj_emu_unit *unit);
bool fj_emu_mbar_passed(const uint8_t *mbar, uint32_t parity);
// "phase 1, 2 of 128 arrivals pending, 4096 bytes expected" for deadlock reports.
void fj_emu_mbar_describe(const uint8_t *mbar, char *text, size_t cap);

// Fills unit->fault when no warp can go on.
void fj_emu_report_deadlock(struct fj_emu_unit *unit);

#endif
