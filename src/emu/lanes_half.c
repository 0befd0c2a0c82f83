// Arithmetic in fp16 and bf16 and their pairs. fp32 holds every sum, product and quotient of two
// 16-bit floats with enough bits for the second rounding to be harmless; fma goes through fp64 and
// round-to-odd.
#include "emu/lanes.h"

static inline uint32_t lesser_half(uint32_t a, uint32_t b, float x, float y)
{
    return x != x ? (y != y ? 0x7fff : b) : y != y ? a : x < y ? a : y < x ? b : a | b;
}

static inline uint32_t greater_half(uint32_t a, uint32_t b, float x, float y)
{
    return x != x ? (y != y ? 0x7fff : b) : y != y ? a : x > y ? a : y > x ? b : a & b;
}

static inline float relu(float x)
{
    return x > 0 ? x : x != x ? x : 0;
}

#define f16_EXPONENT 0x7c00
#define bf16_EXPONENT 0x7f80

// A subnormal, whose exponent bits are zero, becomes a zero of its sign.
static inline uint32_t fix_in(uint32_t half, uint32_t exponent, int flags)
{
    return flags & FJ_EMU_HALF_FTZ && !(half & exponent) ? half & 0x8000 : half;
}

// A TwoSum tells which way the fp64 sum was rounded; its last bit is then made sticky.
static inline float fused(float x, float y, float z)
{
    const double p = (double)x * (double)y, c = (double)z;
    double s = p + c;
    const double t = s - p;
    const double error = (p - (s - t)) + (c - t);
    uint64_t bits;
    memcpy(&bits, &s, sizeof(bits));
    if (error == error && error != 0 && !(bits & 1) && s != 0) {
        bits += (error > 0) == (s > 0) ? 1 : -1;
        memcpy(&s, &bits, sizeof(s));
    }
    return fj_emu_odd_f32(s);
}

// Each operation for one half and for a pair, in both formats. `x y z` are the values, `a b` the
// bits of the halves; `to` rounds.
#define HALF(name, format, n, expr)                                                                \
    static inline uint32_t name##_##format##_one(uint32_t a, uint32_t b, uint32_t c)               \
    {                                                                                              \
        const float x = fj_emu_from_##format(a), y = fj_emu_from_##format(b);                      \
        const float z = fj_emu_from_##format(c);                                                   \
        (void)x, (void)y, (void)z;                                                                 \
        return (expr)&0xffff;                                                                      \
    }                                                                                              \
    static uint32_t name##_##format##_fixed(uint32_t a, uint32_t b, uint32_t c, int flags)         \
    {                                                                                              \
        const uint32_t exponent = format##_EXPONENT;                                               \
        uint32_t d = name##_##format##_one(fix_in(a, exponent, flags), fix_in(b, exponent, flags), \
                                           fix_in(c, exponent, flags));                            \
        d = fix_in(d, exponent, flags);                                                            \
        if (!(flags & FJ_EMU_HALF_SAT))                                                            \
            return d;                                                                              \
        const float value = fj_emu_from_##format(d);                                               \
        return value > 0 ? (value < 1 ? d : fj_emu_to_##format(1)) : 0;                            \
    }                                                                                              \
    FJ_EMU_HANDLER(name##_##format##_x)                                                            \
    {                                                                                              \
        uint32_t *d = fj_emu_r32(w, in->o[0]);                                                     \
        const uint32_t *a = fj_emu_r32(w, in->o[1]), *b = n > 1 ? fj_emu_r32(w, in->o[2]) : a;     \
        const uint32_t *c = n > 2 ? fj_emu_r32(w, in->o[3]) : a;                                   \
        const int flags = in->flags;                                                               \
        FJ_EMU_EACH(w, const uint32_t low = name##_##format##_fixed(a[l] & 0xffff, b[l] & 0xffff,  \
                                                                    c[l] & 0xffff, flags);         \
                    const uint32_t high =                                                          \
                        name##_##format##_fixed(a[l] >> 16, b[l] >> 16, c[l] >> 16, flags);        \
                    d[l] = low | high << 16);                                                      \
        return in + 1;                                                                             \
    }                                                                                              \
    FJ_EMU_HANDLER(name##_##format)                                                                \
    {                                                                                              \
        uint32_t *d = fj_emu_r32(w, in->o[0]);                                                     \
        const uint32_t *a = fj_emu_r32(w, in->o[1]), *b = n > 1 ? fj_emu_r32(w, in->o[2]) : a;     \
        const uint32_t *c = n > 2 ? fj_emu_r32(w, in->o[3]) : a;                                   \
        const int flags = in->flags;                                                               \
        FJ_EMU_EACH(w, d[l] = name##_##format##_fixed(a[l] & 0xffff, b[l] & 0xffff, c[l] & 0xffff, \
                                                      flags));                                     \
        return in + 1;                                                                             \
    }                                                                                              \
    FJ_EMU_HANDLER(name##_##format##x2)                                                            \
    {                                                                                              \
        uint32_t *d = fj_emu_r32(w, in->o[0]);                                                     \
        const uint32_t *a = fj_emu_r32(w, in->o[1]), *b = n > 1 ? fj_emu_r32(w, in->o[2]) : a;     \
        const uint32_t *c = n > 2 ? fj_emu_r32(w, in->o[3]) : a;                                   \
        if (in->flags != 0)                                                                        \
            return name##_##format##_x(w, in);                                                     \
        FJ_EMU_EACH(w, const uint32_t low =                                                        \
                           name##_##format##_one(a[l] & 0xffff, b[l] & 0xffff, c[l] & 0xffff);     \
                    const uint32_t high =                                                          \
                        name##_##format##_one(a[l] >> 16, b[l] >> 16, c[l] >> 16);                 \
                    d[l] = low | high << 16);                                                      \
        return in + 1;                                                                             \
    }

#define BOTH(name, n, expr_f16, expr_bf16)                                                         \
    HALF(name, f16, n, expr_f16) HALF(name, bf16, n, expr_bf16)
#define ROUNDED(name, n, value) BOTH(name, n, fj_emu_to_f16(value), fj_emu_to_bf16(value))

ROUNDED(add, 2, x + y)
ROUNDED(sub, 2, x - y)
ROUNDED(mul, 2, x *y)
ROUNDED(fma, 3, fused(x, y, z))
ROUNDED(fma_relu, 3, relu(fused(x, y, z)))
ROUNDED(ex2, 1, exp2f(x))
ROUNDED(tanh, 1, tanhf(x))
BOTH(neg, 1, a ^ 0x8000, a ^ 0x8000)
BOTH(abs, 1, a & 0x7fff, a & 0x7fff)
BOTH(min, 2, lesser_half(a, b, x, y), lesser_half(a, b, x, y))
BOTH(max, 2, greater_half(a, b, x, y), greater_half(a, b, x, y))
BOTH(min_nan, 2, x != x || y != y ? 0x7fff : lesser_half(a, b, x, y),
     x != x || y != y ? 0x7fff : lesser_half(a, b, x, y))
BOTH(max_nan, 2, x != x || y != y ? 0x7fff : greater_half(a, b, x, y),
     x != x || y != y ? 0x7fff : greater_half(a, b, x, y))

#define ROWS(op, fn, operands)                                                                     \
    {op ".f16", fn##_f16, operands}, {op ".f16x2", fn##_f16x2, operands},                          \
        {op ".bf16", fn##_bf16, operands},                                                         \
    {                                                                                              \
        op ".bf16x2", fn##_bf16x2, operands                                                        \
    }

const struct fj_emu_op FJ_EMU_TABLE(fj_emu_half_ops)[] = {
    ROWS("add", add, "w=ww"),
    ROWS("sub", sub, "w=ww"),
    ROWS("mul", mul, "w=ww"),
    ROWS("fma", fma, "w=www"),
    ROWS("fma.relu", fma_relu, "w=www"),
    ROWS("neg", neg, "w=w"),
    ROWS("abs", abs, "w=w"),
    ROWS("min", min, "w=ww"),
    ROWS("max", max, "w=ww"),
    ROWS("min.NaN", min_nan, "w=ww"),
    ROWS("max.NaN", max_nan, "w=ww"),
    ROWS("ex2.approx", ex2, "w=w"),
    ROWS("tanh.approx", tanh, "w=w"),
    {NULL, NULL, NULL},
};
