// Extended precision: add.cc, addc, sub.cc, subc, mad.cc, madc. The carry is a flag per lane.
#include <string.h>

#include "emu/ops.h"

enum operation {
    ADD,
    SUB,
    MUL_LO, // of mad: the product's half is added
    MUL_HI,
};

struct carry {
    uint8_t op, bits;
    bool takes, gives, is_signed;
};

static uint64_t factor(const struct carry *how, uint64_t a, uint64_t b)
{
    if (how->bits == 64) {
        const unsigned __int128 p = how->is_signed
                                        ? (unsigned __int128)((__int128)(int64_t)a * (int64_t)b)
                                        : (unsigned __int128)a * b;
        return how->op == MUL_HI ? (uint64_t)(p >> 64) : (uint64_t)p;
    }
    const uint64_t p = how->is_signed ? (uint64_t)((int64_t)(int32_t)a * (int32_t)b) : a * b;
    return how->op == MUL_HI ? p >> 32 : (uint32_t)p;
}

static uint64_t one(const struct carry *how, uint64_t a, uint64_t b, uint64_t c, bool *carry)
{
    const uint64_t mask = how->bits == 64 ? UINT64_MAX : UINT32_MAX;
    if (how->op >= MUL_LO) {
        a = factor(how, a, b);
        b = c;
    }
    if (how->op == SUB)
        b = ~b & mask;
    // a - b is a + ~b + 1, and the borrow is the missing carry.
    const bool in = how->takes ? *carry != (how->op == SUB) : how->op == SUB;
    const unsigned __int128 sum = (unsigned __int128)a + b + in;
    const bool out = sum >> how->bits & 1;
    *carry = how->op == SUB ? !out : out;
    return (uint64_t)sum & mask;
}

static uint64_t lane_value(const struct fj_emu_warp *w, uint32_t operand, int bits, uint32_t lane)
{
    return bits == 64 ? fj_emu_r64(w, operand)[lane] : fj_emu_r32(w, operand)[lane];
}

static const struct fj_emu_insn *extended(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct carry *how = in->data;
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        bool carry = w->carry >> l & 1;
        const uint64_t d =
            one(how, lane_value(w, in->o[1], how->bits, l), lane_value(w, in->o[2], how->bits, l),
                lane_value(w, in->o[in->size], how->bits, l), &carry);
        if (how->bits == 64)
            fj_emu_r64(w, in->o[0])[l] = d;
        else
            fj_emu_r32(w, in->o[0])[l] = (uint32_t)d;
        if (how->gives)
            w->carry = (w->carry & ~(1u << l)) | (uint32_t)carry << l;
    }
    return in + 1;
}

void fj_emu_decode_carry(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    char name[8];
    struct carry *how = fj_emu_build_alloc(b, sizeof(*how));
    const char *type = fj_emu_last_part(src->op);
    const int bits = fj_ptx_type_bits(type - 1, strlen(type) + 1);
    if (how == NULL || !fj_emu_part(src->op, 0, name, sizeof(name)) || (bits != 32 && bits != 64)) {
        fj_emu_build_unknown(b);
        return;
    }
    const size_t len = strlen(name);
    const bool mad = name[0] == 'm';
    how->op = mad ? (fj_emu_has(src->op, ".hi") ? MUL_HI : MUL_LO) : name[0] == 's' ? SUB : ADD;
    how->bits = (uint8_t)bits;
    how->takes = name[len - 1] == 'c';
    how->gives = fj_emu_has(src->op, ".cc");
    how->is_signed = type[0] == 's';
    if ((!how->takes && !how->gives) || src->n_ops != (mad ? 4 : 3) || type[0] == 'f') {
        fj_emu_build_unknown(b);
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, extended);
    in->data = how;
    in->size = (uint16_t)(src->n_ops - 1);
    fj_emu_bind_dst(b, 0, &src->ops[0], bits);
    for (int i = 1; i < src->n_ops && !b->failed; i++)
        fj_emu_bind_src(b, i, &src->ops[i], bits, bits);
}
