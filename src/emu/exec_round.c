// fp32 and fp64 arithmetic rounded toward zero, minus and plus infinity: the host's own rounding
// modes. Compiled so that the compiler does not move arithmetic across a change of mode.
#include <fenv.h>
#include <math.h>
#include <string.h>

#include "emu/half.h"
#include "emu/ops.h"

enum operation {
    ADD,
    SUB,
    MUL,
    DIV,
    FMA,
    RCP,
    SQRT,
};

static const struct {
    const char *name;
    uint8_t sources;
} operations[] = {{"add", 2}, {"sub", 2}, {"mul", 2}, {"div", 2},
                  {"fma", 3}, {"rcp", 1}, {"sqrt", 1}};

struct rounded {
    uint8_t op;
    int mode; // FE_TOWARDZERO and the like
    bool ftz, sat;
};

static float flush(float x)
{
    const uint32_t bits = fj_emu_bits(x);
    return bits & 0x7f800000u ? x : fj_emu_float(bits & 0x80000000u);
}

#define COMPUTE(name, type, fma_of, sqrt_of)                                                       \
    static type name(int op, type a, type b, type c)                                               \
    {                                                                                              \
        volatile type x = a, y = b, z = c, r;                                                      \
        switch (op) {                                                                              \
        case ADD:                                                                                  \
            r = x + y;                                                                             \
            break;                                                                                 \
        case SUB:                                                                                  \
            r = x - y;                                                                             \
            break;                                                                                 \
        case MUL:                                                                                  \
            r = x * y;                                                                             \
            break;                                                                                 \
        case DIV:                                                                                  \
            r = x / y;                                                                             \
            break;                                                                                 \
        case FMA:                                                                                  \
            r = fma_of(x, y, z);                                                                   \
            break;                                                                                 \
        case RCP:                                                                                  \
            r = 1 / x;                                                                             \
            break;                                                                                 \
        default:                                                                                   \
            r = sqrt_of(x);                                                                        \
        }                                                                                          \
        return r;                                                                                  \
    }

COMPUTE(compute_f32, float, fmaf, sqrtf)
COMPUTE(compute_f64, double, fma, sqrt)

static uint32_t one_f32(const struct rounded *how, const uint32_t bits[3])
{
    float x[3];
    for (int i = 0; i < 3; i++)
        x[i] = how->ftz ? flush(fj_emu_float(bits[i])) : fj_emu_float(bits[i]);
    float r = compute_f32(how->op, x[0], x[1], x[2]);
    if (how->ftz)
        r = flush(r);
    if (how->sat)
        r = r > 0 ? (r < 1 ? r : 1) : 0;
    return r != r ? 0x7fffffffu : fj_emu_bits(r);
}

static uint64_t one_f64(const struct rounded *how, const uint64_t bits[3])
{
    double x[3];
    memcpy(x, bits, sizeof(x));
    const double r = compute_f64(how->op, x[0], x[1], x[2]);
    uint64_t out;
    memcpy(&out, &r, sizeof(out));
    return out;
}

static const struct fj_emu_insn *rounded_f32(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct rounded *how = in->data;
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    const int before = fegetround();
    fesetround(how->mode);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        uint32_t bits[3];
        for (int i = 0; i < 3; i++)
            bits[i] = fj_emu_r32(w, in->o[1 + (i < in->size ? i : 0)])[l];
        d[l] = one_f32(how, bits);
    }
    fesetround(before);
    return in + 1;
}

static const struct fj_emu_insn *rounded_f64(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct rounded *how = in->data;
    uint64_t *d = fj_emu_r64(w, in->o[0]);
    const int before = fegetround();
    fesetround(how->mode);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        uint64_t bits[3];
        for (int i = 0; i < 3; i++)
            bits[i] = fj_emu_r64(w, in->o[1 + (i < in->size ? i : 0)])[l];
        d[l] = one_f64(how, bits);
    }
    fesetround(before);
    return in + 1;
}

static int mode_of(const char *op)
{
    return fj_emu_has(op, ".rz")   ? FE_TOWARDZERO
           : fj_emu_has(op, ".rm") ? FE_DOWNWARD
           : fj_emu_has(op, ".rp") ? FE_UPWARD
                                   : FE_TONEAREST;
}

static void decode_rounded(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    char name[8];
    const char *type = fj_emu_last_part(src->op);
    const int bits = strcmp(type, "f32") == 0 ? 32 : strcmp(type, "f64") == 0 ? 64 : 0;
    struct rounded *how = fj_emu_build_alloc(b, sizeof(*how));
    if (how == NULL)
        return;
    how->mode = mode_of(src->op);
    how->ftz = fj_emu_has(src->op, ".ftz");
    how->sat = fj_emu_has(src->op, ".sat");
    int found = -1;
    for (int i = 0; fj_emu_part(src->op, 0, name, sizeof(name)) &&
                    i < (int)(sizeof(operations) / sizeof(operations[0]));
         i++)
        found = strcmp(operations[i].name, name) == 0 ? i : found;
    if (found < 0 || bits == 0 || how->mode == FE_TONEAREST ||
        src->n_ops != operations[found].sources + 1) {
        fj_emu_build_unknown(b);
        return;
    }
    how->op = (uint8_t)found;
    struct fj_emu_insn *in = fj_emu_emit(b, bits == 32 ? rounded_f32 : rounded_f64);
    in->data = how;
    in->size = operations[found].sources;
    fj_emu_bind_dst(b, 0, &src->ops[0], bits);
    for (int i = 1; i < src->n_ops && !b->failed; i++)
        fj_emu_bind_src(b, i, &src->ops[i], bits, bits);
}

static void decode_integer_or_rounded(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (fj_emu_last_part(src->op)[0] == 'f')
        decode_rounded(b, src);
    else
        fj_emu_decode_carry(b, src);
}

const struct fj_emu_family fj_emu_round_families[] = {
    {"add", FJ_EMU_CLASS_FLOAT, decode_integer_or_rounded},
    {"sub", FJ_EMU_CLASS_FLOAT, decode_integer_or_rounded},
    {"addc", FJ_EMU_CLASS_INT, fj_emu_decode_carry},
    {"subc", FJ_EMU_CLASS_INT, fj_emu_decode_carry},
    {"mad", FJ_EMU_CLASS_INT, fj_emu_decode_carry},
    {"madc", FJ_EMU_CLASS_INT, fj_emu_decode_carry},
    {"mul", FJ_EMU_CLASS_FLOAT, decode_rounded},
    {"div", FJ_EMU_CLASS_FLOAT, decode_rounded},
    {"fma", FJ_EMU_CLASS_FLOAT, decode_rounded},
    {"rcp", FJ_EMU_CLASS_SPECIAL, decode_rounded},
    {"sqrt", FJ_EMU_CLASS_SPECIAL, decode_rounded},
    {NULL, 0, NULL},
};
