// Arithmetic in fp32 and fp64. NaN results of fp32 are the canonical 0x7fffffff, as PTX says.
#include "emu/lanes.h"

static inline float flush(float x)
{
    const uint32_t bits = fj_emu_bits(x);
    return fj_emu_float(bits & 0x7f800000u ? bits : bits & 0x80000000u);
}

static inline float canonical(float x)
{
    return x != x ? fj_emu_float(0x7fffffffu) : x;
}

static inline float saturate(float x)
{
    return x > 0 ? (x < 1 ? x : 1) : 0; // NaN gives 0
}

#define KEEP(x) (x)

// Each operation in four forms: plain, .ftz, .sat, .ftz.sat.
#define FORMS(macro, name, expr)                                                                   \
    macro(name, KEEP, KEEP, expr) macro(name##_ftz, flush, KEEP, expr)                             \
        macro(name##_sat, KEEP, saturate, expr) macro(name##_ftz_sat, flush, saturate, expr)

#define F32_UNARY(name, in_fix, out_fix, expr)                                                     \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        float *d = fj_emu_slot(w, in->o[0]);                                                       \
        const float *pa = fj_emu_slot(w, in->o[1]);                                                \
        FJ_EMU_EACH(w, const float a = in_fix(pa[l]); d[l] = out_fix(in_fix(canonical(expr))));    \
        return in + 1;                                                                             \
    }

#define F32_BINARY(name, in_fix, out_fix, expr)                                                    \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        float *d = fj_emu_slot(w, in->o[0]);                                                       \
        const float *pa = fj_emu_slot(w, in->o[1]);                                                \
        const float *pb = fj_emu_slot(w, in->o[2]);                                                \
        FJ_EMU_EACH(w, const float a = in_fix(pa[l]); const float b = in_fix(pb[l]);               \
                    d[l] = out_fix(in_fix(canonical(expr))));                                      \
        return in + 1;                                                                             \
    }

#define F32_TERNARY(name, in_fix, out_fix, expr)                                                   \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        float *d = fj_emu_slot(w, in->o[0]);                                                       \
        const float *pa = fj_emu_slot(w, in->o[1]);                                                \
        const float *pb = fj_emu_slot(w, in->o[2]);                                                \
        const float *pc = fj_emu_slot(w, in->o[3]);                                                \
        FJ_EMU_EACH(w, const float a = in_fix(pa[l]); const float b = in_fix(pb[l]);               \
                    const float c = in_fix(pc[l]); d[l] = out_fix(in_fix(canonical(expr))));       \
        return in + 1;                                                                             \
    }

// A NaN loses against a number, -0 is less than +0.
static inline float lesser(float a, float b)
{
    const uint32_t both = fj_emu_bits(a) | fj_emu_bits(b);
    const float r = a < b ? a : b < a ? b : fj_emu_float(both);
    return a != a ? b : b != b ? a : r;
}

static inline float greater(float a, float b)
{
    const uint32_t both = fj_emu_bits(a) & fj_emu_bits(b);
    const float r = a > b ? a : b > a ? b : fj_emu_float(both);
    return a != a ? b : b != b ? a : r;
}

static inline float either_nan(float a, float b, float r)
{
    return a != a || b != b ? fj_emu_float(0x7fffffffu) : r;
}

FORMS(F32_BINARY, add_f32, a + b)
FORMS(F32_BINARY, sub_f32, a - b)
FORMS(F32_BINARY, mul_f32, a *b)
FORMS(F32_TERNARY, fma_f32, __builtin_fmaf(a, b, c))
F32_BINARY(div_f32, KEEP, KEEP, a / b)
F32_BINARY(div_f32_ftz, flush, KEEP, a / b)
F32_UNARY(rcp_f32, KEEP, KEEP, 1.0f / a)
F32_UNARY(rcp_f32_ftz, flush, KEEP, 1.0f / a)
F32_UNARY(sqrt_f32, KEEP, KEEP, __builtin_sqrtf(a))
F32_UNARY(sqrt_f32_ftz, flush, KEEP, __builtin_sqrtf(a))
F32_UNARY(rsqrt_f32, KEEP, KEEP, (float)(1.0 / __builtin_sqrt((double)a)))
F32_UNARY(rsqrt_f32_ftz, flush, KEEP, (float)(1.0 / __builtin_sqrt((double)a)))
F32_BINARY(min_f32, KEEP, KEEP, lesser(a, b))
F32_BINARY(max_f32, KEEP, KEEP, greater(a, b))
F32_BINARY(min_f32_ftz, flush, KEEP, lesser(a, b))
F32_BINARY(max_f32_ftz, flush, KEEP, greater(a, b))
F32_BINARY(min_nan_f32, KEEP, KEEP, either_nan(a, b, lesser(a, b)))
F32_BINARY(max_nan_f32, KEEP, KEEP, either_nan(a, b, greater(a, b)))
F32_TERNARY(min3_f32, KEEP, KEEP, lesser(lesser(a, b), c))
F32_TERNARY(max3_f32, KEEP, KEEP, greater(greater(a, b), c))
// A NaN keeps its payload.
FJ_EMU_BINARY(copysign_f32, uint32_t, uint32_t, uint32_t, (b & 0x7fffffffu) | (a & 0x80000000u))

F32_UNARY(neg_f32, KEEP, KEEP, -a)
F32_UNARY(abs_f32, KEEP, KEEP, fj_emu_float(fj_emu_bits(a) & 0x7fffffffu))
F32_UNARY(neg_f32_ftz, flush, KEEP, -a)
F32_UNARY(abs_f32_ftz, flush, KEEP, fj_emu_float(fj_emu_bits(a) & 0x7fffffffu))

// 2^x through fp64: x = n + f with |f| <= 1/2, 2^f by its Taylor series to below 1e-14.
static inline float exp2_wide(float x)
{
    const double clamped = x < -200.0f ? -200.0 : x > 200.0f ? 200.0 : (double)x;
    const double shifted = clamped + 0x1.8p52; // rounds to an integer, held in the low bits
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof(bits));
    const double t = (clamped - (shifted - 0x1.8p52)) * 0.69314718055994530942;
    double p = 1.0 / 39916800;
    p = p * t + 1.0 / 3628800;
    p = p * t + 1.0 / 362880;
    p = p * t + 1.0 / 40320;
    p = p * t + 1.0 / 5040;
    p = p * t + 1.0 / 720;
    p = p * t + 1.0 / 120;
    p = p * t + 1.0 / 24;
    p = p * t + 1.0 / 6;
    p = p * t + 0.5;
    p = p * t + 1.0;
    p = p * t + 1.0;
    const uint64_t scale_bits = (bits + 1023) << 52;
    double scale;
    memcpy(&scale, &scale_bits, sizeof(scale));
    const float y = (float)(p * scale);
    return x != x ? x : y;
}

F32_UNARY(ex2_f32, KEEP, KEEP, exp2_wide(a))
F32_UNARY(ex2_f32_ftz, flush, KEEP, exp2_wide(a))
F32_UNARY(lg2_f32, KEEP, KEEP, (float)log2((double)a))
F32_UNARY(lg2_f32_ftz, flush, KEEP, (float)log2((double)a))
F32_UNARY(sin_f32, KEEP, KEEP, (float)sin((double)a))
F32_UNARY(sin_f32_ftz, flush, KEEP, (float)sin((double)a))
F32_UNARY(cos_f32, KEEP, KEEP, (float)cos((double)a))
F32_UNARY(cos_f32_ftz, flush, KEEP, (float)cos((double)a))
F32_UNARY(tanh_f32, KEEP, KEEP, (float)tanh((double)a))

static inline double lesser_f64(double a, double b)
{
    const double r = a < b ? a : b < a ? b : signbit(a) ? a : b;
    return a != a ? b : b != b ? a : r;
}

static inline double greater_f64(double a, double b)
{
    const double r = a > b ? a : b > a ? b : signbit(a) ? b : a;
    return a != a ? b : b != b ? a : r;
}

FJ_EMU_BINARY(add_f64, double, double, double, a + b)
FJ_EMU_BINARY(sub_f64, double, double, double, a - b)
FJ_EMU_BINARY(mul_f64, double, double, double, a *b)
FJ_EMU_BINARY(div_f64, double, double, double, a / b)
FJ_EMU_TERNARY(fma_f64, double, double, double, double, __builtin_fma(a, b, c))
FJ_EMU_UNARY(rcp_f64, double, double, 1.0 / a)
FJ_EMU_UNARY(sqrt_f64, double, double, __builtin_sqrt(a))
FJ_EMU_UNARY(rsqrt_f64, double, double, 1.0 / __builtin_sqrt(a))
FJ_EMU_BINARY(min_f64, double, double, double, lesser_f64(a, b))
FJ_EMU_BINARY(max_f64, double, double, double, greater_f64(a, b))
FJ_EMU_UNARY(neg_f64, uint64_t, uint64_t, a ^ (1ull << 63))
FJ_EMU_UNARY(abs_f64, uint64_t, uint64_t, a & ~(1ull << 63))
FJ_EMU_BINARY(copysign_f64, uint64_t, uint64_t, uint64_t, (b & ~(1ull << 63)) | (a & (1ull << 63)))

#define TESTP(name, test)                                                                          \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        const uint32_t *pa = fj_emu_r32(w, in->o[1]);                                              \
        uint32_t mask = 0;                                                                         \
        for (int l = 0; l < FJ_EMU_LANES; l++) {                                                   \
            const uint32_t a = pa[l] & 0x7fffffffu;                                                \
            mask |= (uint32_t)(test) << l;                                                         \
        }                                                                                          \
        fj_emu_set_pred(w, in->o[0], mask);                                                        \
        return in + 1;                                                                             \
    }

TESTP(testp_finite, a < 0x7f800000u)
TESTP(testp_infinite, a == 0x7f800000u)
TESTP(testp_number, a <= 0x7f800000u)
TESTP(testp_nan, a > 0x7f800000u)
TESTP(testp_normal, a >= 0x00800000u && a < 0x7f800000u)
TESTP(testp_subnormal, a > 0 && a < 0x00800000u)

#define ROWS_FORMS(op, fn, operands)                                                               \
    {op ".f32", fn, operands}, {op ".ftz.f32", fn##_ftz, operands},                                \
        {op ".sat.f32", fn##_sat, operands},                                                       \
    {                                                                                              \
        op ".ftz.sat.f32", fn##_ftz_sat, operands                                                  \
    }
#define ROWS_FTZ(op, fn, operands)                                                                 \
    {op ".f32", fn, operands},                                                                     \
    {                                                                                              \
        op ".ftz.f32", fn##_ftz, operands                                                          \
    }

const struct fj_emu_op FJ_EMU_TABLE(fj_emu_float_ops)[] = {
    ROWS_FORMS("add", add_f32, "w=ww"),
    ROWS_FORMS("sub", sub_f32, "w=ww"),
    ROWS_FORMS("mul", mul_f32, "w=ww"),
    ROWS_FORMS("fma", fma_f32, "w=www"),
    ROWS_FTZ("div", div_f32, "w=ww"),
    ROWS_FTZ("div.approx", div_f32, "w=ww"),
    ROWS_FTZ("div.full", div_f32, "w=ww"),
    ROWS_FTZ("rcp", rcp_f32, "w=w"),
    ROWS_FTZ("rcp.approx", rcp_f32, "w=w"),
    ROWS_FTZ("sqrt", sqrt_f32, "w=w"),
    ROWS_FTZ("sqrt.approx", sqrt_f32, "w=w"),
    ROWS_FTZ("rsqrt.approx", rsqrt_f32, "w=w"),
    ROWS_FTZ("min", min_f32, "w=ww"),
    ROWS_FTZ("max", max_f32, "w=ww"),
    {"min.NaN.f32", min_nan_f32, "w=ww"},
    {"max.NaN.f32", max_nan_f32, "w=ww"},
    {"min.f32", min3_f32, "w=www"},
    {"max.f32", max3_f32, "w=www"},
    {"copysign.f32", copysign_f32, "w=ww"},
    ROWS_FTZ("neg", neg_f32, "w=w"),
    ROWS_FTZ("abs", abs_f32, "w=w"),
    ROWS_FTZ("ex2.approx", ex2_f32, "w=w"),
    ROWS_FTZ("lg2.approx", lg2_f32, "w=w"),
    ROWS_FTZ("sin.approx", sin_f32, "w=w"),
    ROWS_FTZ("cos.approx", cos_f32, "w=w"),
    {"tanh.approx.f32", tanh_f32, "w=w"},
    {"add.f64", add_f64, "d=dd"},
    {"sub.f64", sub_f64, "d=dd"},
    {"mul.f64", mul_f64, "d=dd"},
    {"div.f64", div_f64, "d=dd"},
    {"fma.f64", fma_f64, "d=ddd"},
    {"rcp.f64", rcp_f64, "d=d"},
    {"rcp.approx.ftz.f64", rcp_f64, "d=d"},
    {"sqrt.f64", sqrt_f64, "d=d"},
    {"rsqrt.approx.f64", rsqrt_f64, "d=d"},
    {"rsqrt.approx.ftz.f64", rsqrt_f64, "d=d"},
    {"min.f64", min_f64, "d=dd"},
    {"max.f64", max_f64, "d=dd"},
    {"neg.f64", neg_f64, "d=d"},
    {"abs.f64", abs_f64, "d=d"},
    {"copysign.f64", copysign_f64, "d=dd"},
    {"testp.finite.f32", testp_finite, "p=w"},
    {"testp.infinite.f32", testp_infinite, "p=w"},
    {"testp.number.f32", testp_number, "p=w"},
    {"testp.notanumber.f32", testp_nan, "p=w"},
    {"testp.normal.f32", testp_normal, "p=w"},
    {"testp.subnormal.f32", testp_subnormal, "p=w"},
    {NULL, NULL, NULL},
};
