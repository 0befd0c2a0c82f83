// Comparisons: setp's decoding, and set, which writes a number instead of a predicate.
#include <string.h>

#include "emu/ops.h"

// The table's row of a comparison: "setp", the operator, the type. NULL and a failed build when
// there is none. `how`: combined with a predicate by 1 and, 2 or, 3 xor.
static const struct fj_emu_op *compare_op(struct fj_emu_build *b, const char *op, int *how)
{
    char compare[16], name[64];
    const char *type = fj_emu_last_part(op);
    const bool ftz = fj_emu_has(op, ".ftz") && strcmp(type, "f32") == 0;
    *how = fj_emu_has(op, ".and") ? 1 : fj_emu_has(op, ".or") ? 2 : fj_emu_has(op, ".xor") ? 3 : 0;
    const struct fj_emu_op *row = NULL;
    if (fj_emu_part(op, 1, compare, sizeof(compare)) && strlen(type) <= 8) {
        strcpy(name, "setp.");
        strcat(name, compare);
        strcat(name, ftz ? ".ftz." : ".");
        strcat(name, type);
        row = fj_emu_find_op(b, name, 2);
    }
    if (row == NULL)
        fj_emu_build_unknown(b);
    return row;
}

// Operands 2 and 3: what is compared; 4: the predicate it is combined with.
static void bind_compared(struct fj_emu_build *b, const struct fj_ptx_insn *src,
                          const struct fj_emu_op *row, int how)
{
    const char *type = fj_emu_last_part(src->op);
    const int bits = row->operands[0] == 'd' ? 64 : 32;
    const int cut = strcmp(type + strlen(type) - 2, "16") == 0 ? 16 : bits;
    fj_emu_bind_src(b, 2, &src->ops[1], bits, cut);
    fj_emu_bind_src(b, 3, &src->ops[2], bits, cut);
    if (how != 0)
        fj_emu_bind_src(b, 4, &src->ops[3], 1, 1);
}

void fj_emu_decode_setp(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    int how;
    if (!fj_emu_operand_count(b, 3, 4))
        return;
    const struct fj_emu_op *row = compare_op(b, src->op, &how);
    if (row == NULL)
        return;
    if ((how != 0) != (src->n_ops == 4)) {
        fj_emu_build_unknown(b);
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, row->fn);
    in->flags = (uint8_t)how;
    in->o[1] = FJ_EMU_NONE;
    const struct fj_ptx_operand *p = &src->ops[0];
    fj_emu_bind_dst(b, 0, p->kind == FJ_PTX_OP_PAIR ? &p->sub[0] : p, 1);
    if (p->kind == FJ_PTX_OP_PAIR)
        fj_emu_bind_dst(b, 1, &p->sub[1], 1);
    bind_compared(b, src, row, how);
}

// All ones or zero, or 1.0 or 0.0: a comparison into the predicate nobody reads, then a choice.
void fj_emu_decode_set(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    int how, count = 1;
    char type[16] = "";
    if (!fj_emu_operand_count(b, 3, 4))
        return;
    const struct fj_emu_op *row = compare_op(b, src->op, &how);
    const struct fj_emu_op *choose = fj_emu_find_op(b, "selp.b32", 4);
    if (row == NULL || choose == NULL)
        return;
    for (const char *at = src->op; *at != '\0'; at++)
        count += *at == '.';
    fj_emu_part(src->op, count - 2, type, sizeof(type));
    const bool is_float = strcmp(type, "f32") == 0;
    if ((!is_float && strcmp(type, "u32") != 0 && strcmp(type, "s32") != 0) ||
        (how != 0) != (src->n_ops == 4)) {
        fj_emu_build_unknown(b);
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, row->fn);
    in->flags = (uint8_t)how;
    in->o[0] = 0;
    in->o[1] = FJ_EMU_NONE;
    bind_compared(b, src, row, how);
    in = fj_emu_emit(b, choose->fn);
    in->o[3] = 0;
    fj_emu_bind_dst(b, 0, &src->ops[0], 32);
    fj_emu_bind_const(b, 1, is_float ? 0x3f800000u : 0xffffffffu, 32);
    fj_emu_bind_const(b, 2, 0, 32);
}
