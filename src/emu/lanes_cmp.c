// setp and the logic of predicates. setp's operands: p, q (may be absent), a, b, c.
#include "emu/lanes.h"

enum {
    COMBINE_NONE,
    COMBINE_AND,
    COMBINE_OR,
    COMBINE_XOR,
};

static inline uint32_t combine(uint32_t mask, uint32_t other, int how)
{
    return how == COMBINE_AND ? mask & other : how == COMBINE_OR ? mask | other : mask ^ other;
}

static inline const struct fj_emu_insn *set_result(struct fj_emu_warp *w,
                                                   const struct fj_emu_insn *in, uint32_t mask)
{
    uint32_t p = mask, q = ~mask;
    if (in->flags != COMBINE_NONE) {
        const uint32_t c = fj_emu_pred(w, in->o[4]);
        p = combine(p, c, in->flags);
        q = combine(q, c, in->flags);
    }
    fj_emu_set_pred(w, in->o[0], p);
    if (in->o[1] != FJ_EMU_NONE)
        fj_emu_set_pred(w, in->o[1], q);
    return in + 1;
}

// The lanes' bits are collected in one word: a reduction the compiler vectorises.
#define COMPARE(name, type, view, test)                                                            \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        const type *pa = fj_emu_slot(w, in->o[2]);                                                 \
        const type *pb = fj_emu_slot(w, in->o[3]);                                                 \
        uint32_t mask = 0;                                                                         \
        for (int l = 0; l < FJ_EMU_LANES; l++) {                                                   \
            const __typeof__(view(pa[0])) a = view(pa[l]), b = view(pb[l]);                        \
            mask |= (uint32_t)((test) ? 1 : 0) << l;                                               \
        }                                                                                          \
        return set_result(w, in, mask);                                                            \
    }

static inline float flushed(uint32_t bits)
{
    return fj_emu_float(bits & 0x7f800000u ? bits : bits & 0x80000000u);
}

#define SAME(x) (x)
#define S16(x) ((int16_t)(x))
#define U16(x) ((uint16_t)(x))

#define ORDERED_INT(suffix, type, view)                                                            \
    COMPARE(eq_##suffix, type, view, a == b)                                                       \
    COMPARE(ne_##suffix, type, view, a != b)                                                       \
    COMPARE(lt_##suffix, type, view, a < b)                                                        \
    COMPARE(le_##suffix, type, view, a <= b)                                                       \
    COMPARE(gt_##suffix, type, view, a > b)                                                        \
    COMPARE(ge_##suffix, type, view, a >= b)

ORDERED_INT(s16, uint32_t, S16)
ORDERED_INT(u16, uint32_t, U16)
ORDERED_INT(s32, int32_t, SAME)
ORDERED_INT(u32, uint32_t, SAME)
ORDERED_INT(s64, int64_t, SAME)
ORDERED_INT(u64, uint64_t, SAME)

// The ..u forms are true when an operand is NaN; ne is ordered too.
#define ORDERED_FLOAT(suffix, type, view)                                                          \
    COMPARE(eq_##suffix, type, view, a == b)                                                       \
    COMPARE(ne_##suffix, type, view, a<b || a> b)                                                  \
    COMPARE(lt_##suffix, type, view, a < b)                                                        \
    COMPARE(le_##suffix, type, view, a <= b)                                                       \
    COMPARE(gt_##suffix, type, view, a > b)                                                        \
    COMPARE(ge_##suffix, type, view, a >= b)                                                       \
    COMPARE(equ_##suffix, type, view, !(a < b || a > b))                                           \
    COMPARE(neu_##suffix, type, view, a != b)                                                      \
    COMPARE(ltu_##suffix, type, view, !(a >= b))                                                   \
    COMPARE(leu_##suffix, type, view, !(a > b))                                                    \
    COMPARE(gtu_##suffix, type, view, !(a <= b))                                                   \
    COMPARE(geu_##suffix, type, view, !(a < b))                                                    \
    COMPARE(num_##suffix, type, view, a == a && b == b)                                            \
    COMPARE(nan_##suffix, type, view, a != a || b != b)

ORDERED_FLOAT(f32, float, SAME)
ORDERED_FLOAT(f32_ftz, uint32_t, flushed)
ORDERED_FLOAT(f64, double, SAME)
ORDERED_FLOAT(f16, uint32_t, fj_emu_from_f16)
ORDERED_FLOAT(bf16, uint32_t, fj_emu_from_bf16)

FJ_EMU_HANDLER(and_pred)
{
    fj_emu_set_pred(w, in->o[0], fj_emu_pred(w, in->o[1]) & fj_emu_pred(w, in->o[2]));
    return in + 1;
}

FJ_EMU_HANDLER(or_pred)
{
    fj_emu_set_pred(w, in->o[0], fj_emu_pred(w, in->o[1]) | fj_emu_pred(w, in->o[2]));
    return in + 1;
}

FJ_EMU_HANDLER(xor_pred)
{
    fj_emu_set_pred(w, in->o[0], fj_emu_pred(w, in->o[1]) ^ fj_emu_pred(w, in->o[2]));
    return in + 1;
}

FJ_EMU_HANDLER(not_pred)
{
    fj_emu_set_pred(w, in->o[0], ~fj_emu_pred(w, in->o[1]));
    return in + 1;
}

FJ_EMU_HANDLER(mov_pred)
{
    fj_emu_set_pred(w, in->o[0], fj_emu_pred(w, in->o[1]));
    return in + 1;
}

#define ROWS_EQUAL(type, fn, s)                                                                    \
    {"setp.eq." type, eq_##fn, s},                                                                 \
    {                                                                                              \
        "setp.ne." type, ne_##fn, s                                                                \
    }
#define ROWS_ORDER(type, fn, s)                                                                    \
    ROWS_EQUAL(type, fn, s), {"setp.lt." type, lt_##fn, s}, {"setp.le." type, le_##fn, s},         \
        {"setp.gt." type, gt_##fn, s},                                                             \
    {                                                                                              \
        "setp.ge." type, ge_##fn, s                                                                \
    }
#define ROWS_UNSIGNED(type, fn, s)                                                                 \
    ROWS_ORDER(type, fn, s), {"setp.lo." type, lt_##fn, s}, {"setp.ls." type, le_##fn, s},         \
        {"setp.hi." type, gt_##fn, s},                                                             \
    {                                                                                              \
        "setp.hs." type, ge_##fn, s                                                                \
    }
#define ROWS_FLOAT(type, fn, s)                                                                    \
    ROWS_ORDER(type, fn, s), {"setp.equ." type, equ_##fn, s}, {"setp.neu." type, neu_##fn, s},     \
        {"setp.ltu." type, ltu_##fn, s}, {"setp.leu." type, leu_##fn, s},                          \
        {"setp.gtu." type, gtu_##fn, s}, {"setp.geu." type, geu_##fn, s},                          \
        {"setp.num." type, num_##fn, s},                                                           \
    {                                                                                              \
        "setp.nan." type, nan_##fn, s                                                              \
    }

const struct fj_emu_op FJ_EMU_TABLE(fj_emu_cmp_ops)[] = {
    ROWS_ORDER("s16", s16, "ww"),         ROWS_UNSIGNED("u16", u16, "ww"),
    ROWS_EQUAL("b16", u16, "ww"),         ROWS_ORDER("s32", s32, "ww"),
    ROWS_UNSIGNED("u32", u32, "ww"),      ROWS_EQUAL("b32", u32, "ww"),
    ROWS_ORDER("s64", s64, "dd"),         ROWS_UNSIGNED("u64", u64, "dd"),
    ROWS_EQUAL("b64", u64, "dd"),         ROWS_FLOAT("f32", f32, "ww"),
    ROWS_FLOAT("ftz.f32", f32_ftz, "ww"), ROWS_FLOAT("f64", f64, "dd"),
    ROWS_FLOAT("f16", f16, "ww"),         ROWS_FLOAT("bf16", bf16, "ww"),
    {"and.pred", and_pred, "p=pp"},       {"or.pred", or_pred, "p=pp"},
    {"xor.pred", xor_pred, "p=pp"},       {"not.pred", not_pred, "p=p"},
    {"mov.pred", mov_pred, "p=p"},        {NULL, NULL, NULL},
};
