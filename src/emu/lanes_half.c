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

// .ftz is there for fp16 only. Results are flushed by their size before rounding.
static inline uint32_t flush_in(uint32_t half, int flags)
{
    return flags & FJ_EMU_HALF_FTZ && !(half & 0x7c00) ? half & 0x8000 : half;
}

static inline float flush_out(float value, int flags)
{
    const float zero = fj_emu_float(fj_emu_bits(value) & 0x80000000u);
    const bool tiny = value < 0x1p-14f && value > -0x1p-14f;
    return flags & FJ_EMU_HALF_FTZ && tiny ? zero : value;
}

static inline float saturate(float value, int flags)
{
    const float cut = value > 0 ? (value < 1 ? value : 1) : 0;
    return flags & FJ_EMU_HALF_SAT ? cut : value;
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
    static inline uint32_t name##_##format##_one(uint32_t a, uint32_t b, uint32_t c, int flags)    \
    {                                                                                              \
        a = flush_in(a, flags), b = flush_in(b, flags), c = flush_in(c, flags);                    \
        const float x = fj_emu_from_##format(a), y = fj_emu_from_##format(b);                      \
        const float z = fj_emu_from_##format(c);                                                   \
        (void)x, (void)y, (void)z;                                                                 \
        return (expr)&0xffff;                                                                      \
    }                                                                                              \
    static inline uint32_t name##_##format##_two(uint32_t a, uint32_t b, uint32_t c, int flags)    \
    {                                                                                              \
        return name##_##format##_one(a & 0xffff, b & 0xffff, c & 0xffff, flags) |                  \
               name##_##format##_one(a >> 16, b >> 16, c >> 16, flags) << 16;                      \
    }                                                                                              \
    HALF_HANDLER(name##_##format, name##_##format##_one, 0xffff, n)                                \
    HALF_HANDLER(name##_##format##x2, name##_##format##_two, 0xffffffff, n)

// The usual case, all lanes without flags, gets a loop that vectorises; it is large.
#define HALF_HANDLER(name, one, mask, n)                                                           \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        uint32_t *d = fj_emu_r32(w, in->o[0]);                                                     \
        const uint32_t *a = fj_emu_r32(w, in->o[1]), *b = n > 1 ? fj_emu_r32(w, in->o[2]) : a;     \
        const uint32_t *c = n > 2 ? fj_emu_r32(w, in->o[3]) : a;                                   \
        if (in->flags == 0 && w->exec == FJ_EMU_FULL) {                                            \
            FJ_EMU_ALL(d[l] = one(a[l] & mask, b[l] & mask, c[l] & mask, 0))                       \
            return in + 1;                                                                         \
        }                                                                                          \
        for (uint32_t left = w->exec; left != 0; left &= left - 1) {                               \
            const int l = __builtin_ctz(left);                                                     \
            d[l] = one(a[l] & mask, b[l] & mask, c[l] & mask, in->flags);                          \
        }                                                                                          \
        return in + 1;                                                                             \
    }

#define BOTH(name, n, expr_f16, expr_bf16)                                                         \
    HALF(name, f16, n, expr_f16) HALF(name, bf16, n, expr_bf16)
#define ROUNDED(name, n, value)                                                                    \
    BOTH(name, n, fj_emu_to_f16(saturate(flush_out(value, flags), flags)),                         \
         fj_emu_to_bf16(saturate(value, flags)))

ROUNDED(add, 2, x + y)
ROUNDED(sub, 2, x - y)
ROUNDED(mul, 2, x *y)
ROUNDED(fma, 3, fused(x, y, z))
ROUNDED(fma_relu, 3, relu(fused(x, y, z)))
ROUNDED(ex2, 1, exp2f(x))
ROUNDED(tanh, 1, tanhf(x))
BOTH(neg, 1, x != x ? 0x7fff : a ^ 0x8000, x != x ? 0x7fff : a ^ 0x8000)
BOTH(abs, 1, x != x ? 0x7fff : a & 0x7fff, x != x ? 0x7fff : a & 0x7fff)
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
