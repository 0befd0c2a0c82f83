// The parsed body of an entry: what the parser hands to the decoder.
#ifndef FJ_EMU_PTX_TREE_H
#define FJ_EMU_PTX_TREE_H

#include "emu/ptx.h"

enum fj_ptx_operand_kind {
    FJ_PTX_OP_REG,        // index: into entry->regs
    FJ_PTX_OP_SPECIAL,    // text: "%tid.x"
    FJ_PTX_OP_INT,        // value
    FJ_PTX_OP_F32,        // value: the bits
    FJ_PTX_OP_F64,        // value: the bits
    FJ_PTX_OP_VAR,        // index: into entry->vars; value: byte offset
    FJ_PTX_OP_MODULE_VAR, // index: into module->vars; value: byte offset
    FJ_PTX_OP_PARAM,      // index: into entry->params; value: byte offset
    FJ_PTX_OP_LABEL,      // index: into entry->labels
    FJ_PTX_OP_NAME,       // text: anything else (a function's name)
    FJ_PTX_OP_VECTOR,     // sub: {a, b, ..}
    FJ_PTX_OP_MEMORY,     // sub[0]: base, value: byte offset, sub[1..]: coordinates and the like
    FJ_PTX_OP_PAIR,       // sub: a|b
    FJ_PTX_OP_SINK,       // _
};

struct fj_ptx_operand {
    enum fj_ptx_operand_kind kind;
    bool negated; // !p
    int index;
    uint64_t value;
    const char *text;
    struct fj_ptx_operand *sub;
    int n_sub;
};

// `op` is the whole dotted opcode. The pseudo opcode "fj_watch" carries a watch comment: text is
// "S 64 128 acc", operands are the registers.
struct fj_ptx_insn {
    const char *op;
    const char *text;
    struct fj_ptx_operand *ops;
    int n_ops;
    int guard; // register, -1: none
    bool guard_negated;
    int ptx_line;
    int file, line; // of the CUDA source; 0: unknown
};

struct fj_ptx_reg {
    const char *prefix; // name is prefix, or prefix and number for a range
    int number;         // -1: the name is the prefix
    uint8_t bits;       // 1, 16, 32, 64, 128
};

struct fj_ptx_label {
    const char *name;
    int scope;
    int insn; // index of the instruction it stands before; -1: not yet seen
    const struct fj_ptx_operand *targets; // .branchtargets
    int n_targets;
};

int fj_ptx_type_bits(const char *type, size_t len); // of ".b32"; 0: no type

// "%r12" into `text`.
void fj_ptx_reg_name(const struct fj_ptx_entry *entry, int reg, char *text, size_t cap);

#endif
