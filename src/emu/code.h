// Building the executable form: what the decoding files share.
#ifndef FJ_EMU_CODE_H
#define FJ_EMU_CODE_H

#include "base/err.h"
#include "emu/core.h"

struct fj_emu_build {
    struct fj_emu_code *code;
    const struct fj_ptx_module *module;
    const struct fj_ptx_entry *entry;
    const struct fj_ptx_insn *source; // being decoded
    const struct fj_emu_op **table;   // opcodes by hash of the name
    uint32_t table_mask;
    bool failed;
};

// A decoder of one family of opcodes: "ld." and the like. `op` is the whole opcode.
struct fj_emu_family {
    const char *prefix;
    uint8_t class;
    void (*decode)(struct fj_emu_build *b, const struct fj_ptx_insn *src);
};

extern const struct fj_emu_family fj_emu_move_families[];
extern const struct fj_emu_family fj_emu_memory_families[];
extern const struct fj_emu_family fj_emu_round_families[];
extern const struct fj_emu_family fj_emu_control_families[];
extern const struct fj_emu_family fj_emu_sync_families[];
extern const struct fj_emu_family fj_emu_mbar_families[];
extern const struct fj_emu_family fj_emu_async_families[];
extern const struct fj_emu_family fj_emu_matrix_families[];
extern const struct fj_emu_family fj_emu_pool_families[];

// Fails the build with the PTX line, the CUDA line and the sentence.
void fj_emu_build_fail(struct fj_emu_build *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void fj_emu_build_unknown(struct fj_emu_build *b); // the opcode is not known

// Memory that lives as long as the code, zeroed.
void *fj_emu_build_alloc(struct fj_emu_build *b, size_t bytes);

// Appends an instruction for b->source with its guard.
struct fj_emu_insn *fj_emu_emit(struct fj_emu_build *b, fj_emu_handler *fn);

// Binding of operand k of the latest instruction. `bits`: 32 (16-bit registers too) or 64, the
// width of the slot; 1: a predicate. `mask16`: immediates are cut to 16 bits.
void fj_emu_bind_dst(struct fj_emu_build *b, int k, const struct fj_ptx_operand *op, int bits);
void fj_emu_bind_src(struct fj_emu_build *b, int k, const struct fj_ptx_operand *op, int bits,
                     int value_bits);
void fj_emu_bind_const(struct fj_emu_build *b, int k, uint64_t value, int bits);
// A further operand; calls must come in order.
void fj_emu_bind_ext(struct fj_emu_build *b, const struct fj_ptx_operand *op, int bits, bool def,
                     bool use);
// Width of a register operand's slot: 1, 32 or 64; 0 when it is no register.
int fj_emu_operand_bits(const struct fj_emu_build *b, const struct fj_ptx_operand *op);
// Address operand: base register into operand k (or a constant), offset into insn->imm. `flags`
// of the instruction gets FJ_EMU_ADDR64 when the base is 64 bits wide.
void fj_emu_bind_address(struct fj_emu_build *b, int k, const struct fj_ptx_operand *op);
#define FJ_EMU_ADDR64 0x80

// Whether the dotted opcode has this part, ".ftz" say.
bool fj_emu_has(const char *op, const char *part);
// Part number `n` (0: the name) into `text`; false when there are fewer.
bool fj_emu_part(const char *op, int n, char *text, size_t cap);
// The last part.
const char *fj_emu_last_part(const char *op);
bool fj_emu_operand_count(struct fj_emu_build *b, int least, int most);

const struct fj_emu_op *fj_emu_find_op(const struct fj_emu_build *b, const char *name, int n_ops);
// Decodes by the operand string of `op`.
void fj_emu_decode_op(struct fj_emu_build *b, const struct fj_emu_op *op);

// Blocks, successors and post-dominators, from the tree.
int fj_emu_flow_build(struct fj_emu_build *b);
// Register slots from liveness; patches every operand.
int fj_emu_slots_assign(struct fj_emu_build *b);

#endif
