// Integer arithmetic, logic, shifts and bit fields.
#include "emu/lanes.h"

// Operations that exist for signed and unsigned words of 32 and 64 bits, where the bits agree.
FJ_EMU_BINARY(add_32, uint32_t, uint32_t, uint32_t, a + b)
FJ_EMU_BINARY(add_64, uint64_t, uint64_t, uint64_t, a + b)
FJ_EMU_BINARY(add_16, uint32_t, uint32_t, uint32_t, (a + b) & 0xffff)
FJ_EMU_BINARY(sub_32, uint32_t, uint32_t, uint32_t, a - b)
FJ_EMU_BINARY(sub_64, uint64_t, uint64_t, uint64_t, a - b)
FJ_EMU_BINARY(sub_16, uint32_t, uint32_t, uint32_t, (a - b) & 0xffff)
FJ_EMU_BINARY(mul_lo_32, uint32_t, uint32_t, uint32_t, a *b)
FJ_EMU_BINARY(mul_lo_64, uint64_t, uint64_t, uint64_t, a *b)
FJ_EMU_BINARY(mul_lo_16, uint32_t, uint32_t, uint32_t, (a * b) & 0xffff)
FJ_EMU_BINARY(mul_hi_u16, uint32_t, uint32_t, uint32_t, ((a & 0xffff) * (b & 0xffff)) >> 16)
FJ_EMU_BINARY(mul_hi_s16, uint32_t, uint32_t, uint32_t, (uint32_t)((int16_t)a *(int16_t)b) >> 16)
FJ_EMU_BINARY(mul_hi_u32, uint32_t, uint32_t, uint32_t, ((uint64_t)a * b) >> 32)
FJ_EMU_BINARY(mul_hi_s32, uint32_t, int32_t, int32_t, (uint64_t)((int64_t)a *b) >> 32)
FJ_EMU_BINARY(mul_hi_u64, uint64_t, uint64_t, uint64_t, ((unsigned __int128)a * b) >> 64)
FJ_EMU_BINARY(mul_hi_s64, uint64_t, int64_t, int64_t, ((__int128)a * b) >> 64)
FJ_EMU_BINARY(mul_wide_u32, uint64_t, uint32_t, uint32_t, (uint64_t)a *b)
FJ_EMU_BINARY(mul_wide_s32, uint64_t, int32_t, int32_t, (int64_t)a *b)
FJ_EMU_BINARY(mul_wide_u16, uint32_t, uint32_t, uint32_t, (a & 0xffff) * (b & 0xffff))
FJ_EMU_BINARY(mul_wide_s16, uint32_t, uint32_t, uint32_t, (int16_t)a *(int16_t)b)
FJ_EMU_TERNARY(mad_lo_32, uint32_t, uint32_t, uint32_t, uint32_t, a *b + c)
FJ_EMU_TERNARY(mad_lo_64, uint64_t, uint64_t, uint64_t, uint64_t, a *b + c)
FJ_EMU_TERNARY(mad_lo_16, uint32_t, uint32_t, uint32_t, uint32_t, (a * b + c) & 0xffff)
FJ_EMU_TERNARY(mad_hi_u32, uint32_t, uint32_t, uint32_t, uint32_t,
               (uint32_t)(((uint64_t)a * b) >> 32) + c)
FJ_EMU_TERNARY(mad_hi_s32, uint32_t, int32_t, int32_t, uint32_t,
               (uint32_t)((uint64_t)((int64_t)a *b) >> 32) + c)
FJ_EMU_TERNARY(mad_wide_u32, uint64_t, uint32_t, uint32_t, uint64_t, (uint64_t)a *b + c)
FJ_EMU_TERNARY(mad_wide_s32, uint64_t, int32_t, int32_t, uint64_t, (uint64_t)((int64_t)a *b) + c)
FJ_EMU_TERNARY(mad_wide_u16, uint32_t, uint32_t, uint32_t, uint32_t,
               (a & 0xffff) * (b & 0xffff) + c)
FJ_EMU_TERNARY(mad_wide_s16, uint32_t, uint32_t, uint32_t, uint32_t,
               (uint32_t)((int16_t)a *(int16_t)b) + c)
FJ_EMU_TERNARY(sad_u32, uint32_t, uint32_t, uint32_t, uint32_t, c + (a > b ? a - b : b - a))
FJ_EMU_TERNARY(sad_s32, uint32_t, int32_t, int32_t, uint32_t,
               c + (a > b ? (uint32_t)a - (uint32_t)b : (uint32_t)b - (uint32_t)a))

// The quotient by zero is all ones and the remainder the dividend, as on hardware.
FJ_EMU_BINARY(div_u32, uint32_t, uint32_t, uint32_t, b ? a / b : UINT32_MAX)
FJ_EMU_BINARY(div_u64, uint64_t, uint64_t, uint64_t, b ? a / b : UINT64_MAX)
FJ_EMU_BINARY(rem_u32, uint32_t, uint32_t, uint32_t, b ? a % b : a)
FJ_EMU_BINARY(rem_u64, uint64_t, uint64_t, uint64_t, b ? a % b : a)
FJ_EMU_BINARY(div_s32, uint32_t, int32_t, int32_t,
              b == 0    ? UINT32_MAX
              : b == -1 ? 0 - (uint32_t)a
                        : (uint32_t)(a / b))
FJ_EMU_BINARY(div_s64, uint64_t, int64_t, int64_t,
              b == 0    ? UINT64_MAX
              : b == -1 ? 0 - (uint64_t)a
                        : (uint64_t)(a / b))
FJ_EMU_BINARY(rem_s32, uint32_t, int32_t, int32_t, b == 0 ? a : b == -1 ? 0 : a % b)
FJ_EMU_BINARY(rem_s64, uint64_t, int64_t, int64_t, b == 0 ? a : b == -1 ? 0 : a % b)
FJ_EMU_BINARY(div_u16, uint32_t, uint32_t, uint32_t,
              (b & 0xffff) ? (a & 0xffff) / (b & 0xffff) : 0xffff)
FJ_EMU_BINARY(rem_u16, uint32_t, uint32_t, uint32_t,
              (b & 0xffff) ? (a & 0xffff) % (b & 0xffff) : a & 0xffff)
FJ_EMU_BINARY(div_s16, uint32_t, uint32_t, uint32_t,
              ((int16_t)b ? (int16_t)a / (int16_t)b : -1) & 0xffff)
FJ_EMU_BINARY(rem_s16, uint32_t, uint32_t, uint32_t,
              ((int16_t)b ? (int16_t)a % (int16_t)b : (int16_t)a) & 0xffff)

FJ_EMU_BINARY(min_u32, uint32_t, uint32_t, uint32_t, a < b ? a : b)
FJ_EMU_BINARY(max_u32, uint32_t, uint32_t, uint32_t, a > b ? a : b)
FJ_EMU_BINARY(min_s32, uint32_t, int32_t, int32_t, a < b ? a : b)
FJ_EMU_BINARY(max_s32, uint32_t, int32_t, int32_t, a > b ? a : b)
FJ_EMU_BINARY(min_u64, uint64_t, uint64_t, uint64_t, a < b ? a : b)
FJ_EMU_BINARY(max_u64, uint64_t, uint64_t, uint64_t, a > b ? a : b)
FJ_EMU_BINARY(min_s64, uint64_t, int64_t, int64_t, a < b ? a : b)
FJ_EMU_BINARY(max_s64, uint64_t, int64_t, int64_t, a > b ? a : b)
FJ_EMU_BINARY(min_u16, uint32_t, uint32_t, uint32_t,
              (a & 0xffff) < (b & 0xffff) ? a & 0xffff : b & 0xffff)
FJ_EMU_BINARY(max_u16, uint32_t, uint32_t, uint32_t,
              (a & 0xffff) > (b & 0xffff) ? a & 0xffff : b & 0xffff)
FJ_EMU_BINARY(min_s16, uint32_t, uint32_t, uint32_t,
              (int16_t)a < (int16_t)b ? a & 0xffff : b & 0xffff)
FJ_EMU_BINARY(max_s16, uint32_t, uint32_t, uint32_t,
              (int16_t)a > (int16_t)b ? a & 0xffff : b & 0xffff)
FJ_EMU_UNARY(neg_32, uint32_t, uint32_t, 0 - a)
FJ_EMU_UNARY(neg_64, uint64_t, uint64_t, 0 - a)
FJ_EMU_UNARY(neg_16, uint32_t, uint32_t, (0 - a) & 0xffff)
FJ_EMU_UNARY(abs_32, uint32_t, int32_t, a < 0 ? 0 - (uint32_t)a : (uint32_t)a)
FJ_EMU_UNARY(abs_64, uint64_t, int64_t, a < 0 ? 0 - (uint64_t)a : (uint64_t)a)
FJ_EMU_UNARY(abs_16, uint32_t, uint32_t, (a & 0x8000 ? 0 - a : a) & 0xffff)

FJ_EMU_BINARY(and_32, uint32_t, uint32_t, uint32_t, a &b)
FJ_EMU_BINARY(and_64, uint64_t, uint64_t, uint64_t, a &b)
FJ_EMU_BINARY(or_32, uint32_t, uint32_t, uint32_t, a | b)
FJ_EMU_BINARY(or_64, uint64_t, uint64_t, uint64_t, a | b)
FJ_EMU_BINARY(xor_32, uint32_t, uint32_t, uint32_t, a ^ b)
FJ_EMU_BINARY(xor_64, uint64_t, uint64_t, uint64_t, a ^ b)
FJ_EMU_UNARY(not_32, uint32_t, uint32_t, ~a)
FJ_EMU_UNARY(not_64, uint64_t, uint64_t, ~a)
FJ_EMU_UNARY(not_16, uint32_t, uint32_t, ~a & 0xffff)
FJ_EMU_UNARY(cnot_32, uint32_t, uint32_t, a == 0)
FJ_EMU_UNARY(cnot_64, uint64_t, uint64_t, a == 0)

// Shift counts are clamped to the width, not taken modulo.
FJ_EMU_BINARY(shl_32, uint32_t, uint32_t, uint32_t, b > 31 ? 0 : a << b)
FJ_EMU_BINARY(shl_64, uint64_t, uint64_t, uint32_t, b > 63 ? 0 : a << b)
FJ_EMU_BINARY(shl_16, uint32_t, uint32_t, uint32_t, b > 15 ? 0 : (a << b) & 0xffff)
FJ_EMU_BINARY(shr_u32, uint32_t, uint32_t, uint32_t, b > 31 ? 0 : a >> b)
FJ_EMU_BINARY(shr_u64, uint64_t, uint64_t, uint32_t, b > 63 ? 0 : a >> b)
FJ_EMU_BINARY(shr_u16, uint32_t, uint32_t, uint32_t, b > 15 ? 0 : (a & 0xffff) >> b)
FJ_EMU_BINARY(shr_s32, uint32_t, int32_t, uint32_t, a >> (b > 31 ? 31 : b))
FJ_EMU_BINARY(shr_s64, uint64_t, int64_t, uint32_t, a >> (b > 63 ? 63 : b))
FJ_EMU_BINARY(shr_s16, uint32_t, uint32_t, uint32_t, ((int16_t)a >> (b > 15 ? 15 : b)) & 0xffff)

static inline uint32_t funnel(uint32_t low, uint32_t high, uint32_t count, bool left)
{
    const uint64_t both = (uint64_t)high << 32 | low;
    return left ? (uint32_t)((both << count) >> 32) : (uint32_t)(both >> count);
}

FJ_EMU_TERNARY(shf_l_wrap, uint32_t, uint32_t, uint32_t, uint32_t, funnel(a, b, c & 31, true))
FJ_EMU_TERNARY(shf_l_clamp, uint32_t, uint32_t, uint32_t, uint32_t,
               funnel(a, b, c > 32 ? 32 : c, true))
FJ_EMU_TERNARY(shf_r_wrap, uint32_t, uint32_t, uint32_t, uint32_t, funnel(a, b, c & 31, false))
FJ_EMU_TERNARY(shf_r_clamp, uint32_t, uint32_t, uint32_t, uint32_t,
               funnel(a, b, c > 32 ? 32 : c, false))

FJ_EMU_UNARY(popc_32, uint32_t, uint32_t, __builtin_popcount(a))
FJ_EMU_UNARY(popc_64, uint32_t, uint64_t, __builtin_popcountll(a))
FJ_EMU_UNARY(clz_32, uint32_t, uint32_t, a ? __builtin_clz(a) : 32)
FJ_EMU_UNARY(clz_64, uint32_t, uint64_t, a ? __builtin_clzll(a) : 64)
FJ_EMU_UNARY(bfind_u32, uint32_t, uint32_t, a ? 31 - __builtin_clz(a) : -1)
FJ_EMU_UNARY(bfind_shift_u32, uint32_t, uint32_t, a ? __builtin_clz(a) : -1)
FJ_EMU_UNARY(bfind_u64, uint32_t, uint64_t, a ? 63 - __builtin_clzll(a) : -1)

static inline uint32_t reverse_32(uint32_t a)
{
    a = (a >> 1 & 0x55555555u) | (a & 0x55555555u) << 1;
    a = (a >> 2 & 0x33333333u) | (a & 0x33333333u) << 2;
    a = (a >> 4 & 0x0f0f0f0fu) | (a & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(a);
}

FJ_EMU_UNARY(brev_32, uint32_t, uint32_t, reverse_32(a))
FJ_EMU_UNARY(brev_64, uint64_t, uint64_t,
             (uint64_t)reverse_32((uint32_t)a) << 32 | reverse_32((uint32_t)(a >> 32)))

// Bit field insert: b with `len` bits of a at `pos`.
static inline uint64_t field_insert(uint64_t a, uint64_t b, uint32_t pos, uint32_t len, int width)
{
    pos &= 255;
    len &= 255;
    if (pos >= (uint32_t)width || len == 0)
        return b;
    uint64_t ones = len >= 64 ? UINT64_MAX : (1ull << len) - 1;
    return (b & ~(ones << pos)) | (a & ones) << pos;
}

static inline uint64_t field_extract(uint64_t a, uint32_t pos, uint32_t len, int width, bool sign)
{
    pos &= 255;
    len &= 255;
    const uint32_t top = (uint32_t)width - 1;
    const uint32_t last = len == 0 ? pos : pos + len - 1;
    const uint64_t fill = sign && len > 0 && (a >> (last > top ? top : last) & 1) ? UINT64_MAX : 0;
    const uint64_t body = pos > top ? 0 : a >> pos;
    const uint32_t kept = pos > top ? 0 : len > (uint32_t)width - pos ? (uint32_t)width - pos : len;
    const uint64_t ones = kept >= 64 ? UINT64_MAX : (1ull << kept) - 1;
    return (body & ones) | (fill & ~ones);
}

#define FJ_EMU_FIELD(name, type, width, sign)                                                      \
    FJ_EMU_TERNARY(name, type, type, uint32_t, uint32_t, (type)field_extract(a, b, c, width, sign))

FJ_EMU_FIELD(bfe_u32, uint32_t, 32, false)
FJ_EMU_FIELD(bfe_s32, uint32_t, 32, true)
FJ_EMU_FIELD(bfe_u64, uint64_t, 64, false)
FJ_EMU_FIELD(bfe_s64, uint64_t, 64, true)

FJ_EMU_HANDLER(bfi_32)
{
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    const uint32_t *a = fj_emu_r32(w, in->o[1]), *b = fj_emu_r32(w, in->o[2]);
    const uint32_t *pos = fj_emu_r32(w, in->o[3]), *len = fj_emu_r32(w, in->o[4]);
    FJ_EMU_EACH(w, d[l] = (uint32_t)field_insert(a[l], b[l], pos[l], len[l], 32));
    return in + 1;
}

FJ_EMU_HANDLER(bfi_64)
{
    uint64_t *d = fj_emu_r64(w, in->o[0]);
    const uint64_t *a = fj_emu_r64(w, in->o[1]), *b = fj_emu_r64(w, in->o[2]);
    const uint32_t *pos = fj_emu_r32(w, in->o[3]), *len = fj_emu_r32(w, in->o[4]);
    FJ_EMU_EACH(w, d[l] = field_insert(a[l], b[l], pos[l], len[l], 64));
    return in + 1;
}

FJ_EMU_BINARY(bmsk_clamp, uint32_t, uint32_t, uint32_t,
              a > 31 ? 0 : (b > 31 ? UINT32_MAX : (1u << b) - 1) << a)

// The table's bit (4a + 2b + c) is the result for those three bits.
static inline uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table)
{
    uint32_t r = 0;
    r |= table & 0x01 ? ~a & ~b & ~c : 0;
    r |= table & 0x02 ? ~a & ~b & c : 0;
    r |= table & 0x04 ? ~a & b & ~c : 0;
    r |= table & 0x08 ? ~a & b & c : 0;
    r |= table & 0x10 ? a & ~b & ~c : 0;
    r |= table & 0x20 ? a & ~b & c : 0;
    r |= table & 0x40 ? a & b & ~c : 0;
    r |= table & 0x80 ? a & b & c : 0;
    return r;
}

FJ_EMU_HANDLER(lop3_32)
{
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    const uint32_t *a = fj_emu_r32(w, in->o[1]), *b = fj_emu_r32(w, in->o[2]);
    const uint32_t *c = fj_emu_r32(w, in->o[3]);
    const uint32_t table = fj_emu_r32(w, in->o[4])[0];
    FJ_EMU_EACH(w, d[l] = lop3(a[l], b[l], c[l], table));
    return in + 1;
}

static inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector)
{
    const uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t r = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t pick = selector >> (4 * i) & 15;
        uint32_t byte = (uint32_t)(bytes >> (8 * (pick & 7))) & 255;
        if (pick & 8)
            byte = byte & 128 ? 255 : 0;
        r |= byte << (8 * i);
    }
    return r;
}

FJ_EMU_TERNARY(prmt_32, uint32_t, uint32_t, uint32_t, uint32_t, permute(a, b, c))

// Four bytes by four bytes, added to c.
static inline int32_t dot4(uint32_t a, uint32_t b, int32_t c, bool a_signed, bool b_signed)
{
    for (int i = 0; i < 32; i += 8) {
        int32_t x = a_signed ? (int8_t)(a >> i) : (uint8_t)(a >> i);
        int32_t y = b_signed ? (int8_t)(b >> i) : (uint8_t)(b >> i);
        c = (int32_t)((uint32_t)c + (uint32_t)(x * y));
    }
    return c;
}

FJ_EMU_TERNARY(dp4a_ss, uint32_t, uint32_t, uint32_t, int32_t, dot4(a, b, c, true, true))
FJ_EMU_TERNARY(dp4a_uu, uint32_t, uint32_t, uint32_t, int32_t, dot4(a, b, c, false, false))

FJ_EMU_UNARY(mov_32, uint32_t, uint32_t, a)
FJ_EMU_UNARY(mov_64, uint64_t, uint64_t, a)

#define SELP(name, type)                                                                           \
    FJ_EMU_HANDLER(name)                                                                           \
    {                                                                                              \
        type *d = fj_emu_slot(w, in->o[0]);                                                        \
        const type *a = fj_emu_slot(w, in->o[1]);                                                  \
        const type *b = fj_emu_slot(w, in->o[2]);                                                  \
        const uint32_t p = fj_emu_pred(w, in->o[3]);                                               \
        FJ_EMU_EACH(w, d[l] = p >> l & 1 ? a[l] : b[l]);                                           \
        return in + 1;                                                                             \
    }

SELP(selp_32, uint32_t)
SELP(selp_64, uint64_t)
FJ_EMU_TERNARY(slct_s32, uint32_t, uint32_t, uint32_t, int32_t, c >= 0 ? a : b)

#define ROWS_16_32_64(op, fn)                                                                      \
    {op ".s16", fn##_16, "w=ww"}, {op ".u16", fn##_16, "w=ww"}, {op ".s32", fn##_32, "w=ww"},      \
        {op ".u32", fn##_32, "w=ww"}, {op ".s64", fn##_64, "d=dd"},                                \
    {                                                                                              \
        op ".u64", fn##_64, "d=dd"                                                                 \
    }
#define ROWS_SIGNED(op, fn)                                                                        \
    {op ".s16", fn##_s16, "w=ww"}, {op ".u16", fn##_u16, "w=ww"}, {op ".s32", fn##_s32, "w=ww"},   \
        {op ".u32", fn##_u32, "w=ww"}, {op ".s64", fn##_s64, "d=dd"},                              \
    {                                                                                              \
        op ".u64", fn##_u64, "d=dd"                                                                \
    }
#define ROWS_BITS(op, fn)                                                                          \
    {op ".b16", fn##_32, "w=ww"}, {op ".b32", fn##_32, "w=ww"},                                    \
    {                                                                                              \
        op ".b64", fn##_64, "d=dd"                                                                 \
    }
#define ROWS_TYPES(op, fn, operands32, operands64)                                                 \
    {op ".b16", fn##_32, operands32}, {op ".s16", fn##_32, operands32},                            \
        {op ".u16", fn##_32, operands32}, {op ".f16", fn##_32, operands32},                        \
        {op ".bf16", fn##_32, operands32}, {op ".b32", fn##_32, operands32},                       \
        {op ".s32", fn##_32, operands32}, {op ".u32", fn##_32, operands32},                        \
        {op ".f32", fn##_32, operands32}, {op ".f16x2", fn##_32, operands32},                      \
        {op ".b64", fn##_64, operands64}, {op ".s64", fn##_64, operands64},                        \
        {op ".u64", fn##_64, operands64},                                                          \
    {                                                                                              \
        op ".f64", fn##_64, operands64                                                             \
    }

const struct fj_emu_op FJ_EMU_TABLE(fj_emu_int_ops)[] = {
    ROWS_16_32_64("add", add),
    ROWS_16_32_64("sub", sub),
    ROWS_16_32_64("mul.lo", mul_lo),
    {"mul.hi.u16", mul_hi_u16, "w=ww"},
    {"mul.hi.s16", mul_hi_s16, "w=ww"},
    {"mul.hi.u32", mul_hi_u32, "w=ww"},
    {"mul.hi.s32", mul_hi_s32, "w=ww"},
    {"mul.hi.u64", mul_hi_u64, "d=dd"},
    {"mul.hi.s64", mul_hi_s64, "d=dd"},
    {"mul.wide.u32", mul_wide_u32, "d=ww"},
    {"mul.wide.s32", mul_wide_s32, "d=ww"},
    {"mul.wide.u16", mul_wide_u16, "w=ww"},
    {"mul.wide.s16", mul_wide_s16, "w=ww"},
    {"mul24.lo.u32", mul_lo_32, "w=ww"},
    {"mad.lo.s16", mad_lo_16, "w=www"},
    {"mad.lo.u16", mad_lo_16, "w=www"},
    {"mad.lo.s32", mad_lo_32, "w=www"},
    {"mad.lo.u32", mad_lo_32, "w=www"},
    {"mad.lo.s64", mad_lo_64, "d=ddd"},
    {"mad.lo.u64", mad_lo_64, "d=ddd"},
    {"mad.hi.u32", mad_hi_u32, "w=www"},
    {"mad.hi.s32", mad_hi_s32, "w=www"},
    {"mad.wide.u32", mad_wide_u32, "d=wwd"},
    {"mad.wide.s32", mad_wide_s32, "d=wwd"},
    {"mad.wide.u16", mad_wide_u16, "w=www"},
    {"mad.wide.s16", mad_wide_s16, "w=www"},
    {"sad.u32", sad_u32, "w=www"},
    {"sad.s32", sad_s32, "w=www"},
    ROWS_SIGNED("div", div),
    ROWS_SIGNED("rem", rem),
    ROWS_SIGNED("min", min),
    ROWS_SIGNED("max", max),
    {"neg.s16", neg_16, "w=w"},
    {"neg.s32", neg_32, "w=w"},
    {"neg.s64", neg_64, "d=d"},
    {"abs.s16", abs_16, "w=w"},
    {"abs.s32", abs_32, "w=w"},
    {"abs.s64", abs_64, "d=d"},
    ROWS_BITS("and", and),
    ROWS_BITS("or", or),
    ROWS_BITS("xor", xor),
    {"not.b16", not_16, "w=w"},
    {"not.b32", not_32, "w=w"},
    {"not.b64", not_64, "d=d"},
    {"cnot.b32", cnot_32, "w=w"},
    {"cnot.b64", cnot_64, "d=d"},
    {"shl.b16", shl_16, "w=ww"},
    {"shl.b32", shl_32, "w=ww"},
    {"shl.b64", shl_64, "d=dw"},
    {"shr.b16", shr_u16, "w=ww"},
    {"shr.b32", shr_u32, "w=ww"},
    {"shr.b64", shr_u64, "d=dw"},
    {"shr.u16", shr_u16, "w=ww"},
    {"shr.u32", shr_u32, "w=ww"},
    {"shr.u64", shr_u64, "d=dw"},
    {"shr.s16", shr_s16, "w=ww"},
    {"shr.s32", shr_s32, "w=ww"},
    {"shr.s64", shr_s64, "d=dw"},
    {"shf.l.wrap.b32", shf_l_wrap, "w=www"},
    {"shf.l.clamp.b32", shf_l_clamp, "w=www"},
    {"shf.r.wrap.b32", shf_r_wrap, "w=www"},
    {"shf.r.clamp.b32", shf_r_clamp, "w=www"},
    {"popc.b32", popc_32, "w=w"},
    {"popc.b64", popc_64, "w=d"},
    {"clz.b32", clz_32, "w=w"},
    {"clz.b64", clz_64, "w=d"},
    {"bfind.u32", bfind_u32, "w=w"},
    {"bfind.shiftamt.u32", bfind_shift_u32, "w=w"},
    {"bfind.u64", bfind_u64, "w=d"},
    {"brev.b32", brev_32, "w=w"},
    {"brev.b64", brev_64, "d=d"},
    {"bfe.u32", bfe_u32, "w=www"},
    {"bfe.s32", bfe_s32, "w=www"},
    {"bfe.u64", bfe_u64, "d=dww"},
    {"bfe.s64", bfe_s64, "d=dww"},
    {"bfi.b32", bfi_32, "w=wwww"},
    {"bfi.b64", bfi_64, "d=ddww"},
    {"bmsk.clamp.b32", bmsk_clamp, "w=ww"},
    {"lop3.b32", lop3_32, "w=wwww"},
    {"prmt.b32", prmt_32, "w=www"},
    {"dp4a.s32.s32", dp4a_ss, "w=www"},
    {"dp4a.u32.u32", dp4a_uu, "w=www"},
    ROWS_TYPES("mov", mov, "w=w", "d=d"),
    ROWS_TYPES("selp", selp, "w=wwp", "d=ddp"),
    {"slct.s32.s32", slct_s32, "w=www"},
    {"slct.b32.s32", slct_s32, "w=www"},
    {"slct.f32.s32", slct_s32, "w=www"},
    {NULL, NULL, NULL},
};
