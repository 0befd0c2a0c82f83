// cvt in every mode, one lane at a time: rounding, .ftz, .sat, .relu, .satfinite.
#include <math.h>
#include <string.h>

#include "emu/half.h"
#include "emu/ops.h"

enum number {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    BF16,
    F32,
    F64,
    F16X2,
    BF16X2,
    TF32,
};

static const struct {
    const char *name;
    uint8_t bits, slot; // of a value, of its register
    bool is_float, is_signed;
} numbers[] = {
    [U8] = {"u8", 8, 32, false, false},      [S8] = {"s8", 8, 32, false, true},
    [U16] = {"u16", 16, 32, false, false},   [S16] = {"s16", 16, 32, false, true},
    [U32] = {"u32", 32, 32, false, false},   [S32] = {"s32", 32, 32, false, true},
    [U64] = {"u64", 64, 64, false, false},   [S64] = {"s64", 64, 64, false, true},
    [F16] = {"f16", 16, 32, true, true},     [BF16] = {"bf16", 16, 32, true, true},
    [F32] = {"f32", 32, 32, true, true},     [F64] = {"f64", 64, 64, true, true},
    [F16X2] = {"f16x2", 32, 32, true, true}, [BF16X2] = {"bf16x2", 32, 32, true, true},
    [TF32] = {"tf32", 32, 32, true, true},
};

enum rounding {
    NEAREST,
    ZERO,
    DOWN,
    UP,
    AWAY,
};

struct convert {
    uint8_t to, from, mode;
    bool to_integer; // the integer form of the rounding: rni, rzi ..
    bool ftz, sat, relu, satfinite;
};

static double widen(int from, uint64_t bits, bool ftz)
{
    double wide;
    const uint32_t low = (uint32_t)bits;
    switch (from) {
    case F16:
        return fj_emu_from_f16(low & 0xffff);
    case BF16:
        return fj_emu_from_bf16(low & 0xffff);
    case F64:
        memcpy(&wide, &bits, sizeof(wide));
        return wide;
    default:
        if (ftz && (low & 0x7f800000u) == 0)
            return fj_emu_float(low & 0x80000000u);
        return fj_emu_float(low);
    }
}

static double round_integral(double x, int mode)
{
    switch (mode) {
    case ZERO:
        return trunc(x);
    case DOWN:
        return floor(x);
    case UP:
        return ceil(x);
    default:
        return nearbyint(x);
    }
}

// `steps` of the destination's spacing: all formats go through their own grid.
uint64_t fj_emu_narrow(double x, int mode, int fraction, int exponent_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const uint64_t sign = (uint64_t)signbit(x) << (fraction + exponent_bits);
    const uint64_t infinite = (uint64_t)((1 << exponent_bits) - 1) << fraction;
    if (x != x)
        return infinite | ((1ull << fraction) - 1);
    if (isinf(x))
        return sign | infinite;
    int exponent;
    const double magnitude = fabs(x);
    if (magnitude == 0)
        return sign;
    frexp(magnitude, &exponent);
    exponent = exponent - 1 < 1 - bias ? 1 - bias : exponent - 1;
    const double grid = ldexp(magnitude, fraction - exponent);
    const double down = floor(grid), rest = grid - down;
    const bool odd = fmod(down, 2.0) != 0;
    bool up = mode == NEAREST ? rest > 0.5 || (rest == 0.5 && odd) : false;
    up |= mode == AWAY && rest >= 0.5;
    up |= mode == UP && rest > 0 && !sign;
    up |= mode == DOWN && rest > 0 && sign;
    const uint64_t units = (uint64_t)down + up;
    const uint64_t biased = (uint64_t)(exponent + bias - 1) << fraction;
    const uint64_t bits = biased + units; // a normal's hidden bit carries into the exponent
    if (bits < infinite)
        return sign | bits;
    const bool to_largest = mode == ZERO || (mode == DOWN && !sign) || (mode == UP && sign);
    return sign | (to_largest ? infinite - 1 : infinite);
}

static uint64_t to_float_bits(double x, int to, const struct convert *cv)
{
    uint64_t bits;
    if (cv->relu && !(x != x) && (x < 0 || (x == 0 && signbit(x))))
        x = 0;
    if (cv->sat)
        x = x > 0 ? (x < 1 ? x : 1) : 0;
    switch (to) {
    case F16:
        bits = fj_emu_narrow(x, cv->mode, 10, 5);
        if (cv->satfinite && (bits & 0x7fff) == 0x7c00)
            bits -= 1;
        return bits;
    case BF16:
        bits = fj_emu_narrow(x, cv->mode, 7, 8);
        if (cv->satfinite && (bits & 0x7fff) == 0x7f80)
            bits -= 1;
        return bits;
    case TF32:
        bits = fj_emu_narrow(x, cv->mode, 10, 8) << 13;
        if (cv->satfinite && (bits & 0x7fffffff) == 0x7f800000)
            bits -= 1u << 13;
        return x != x ? 0x7fffffff : bits;
    case F32:
        bits = fj_emu_narrow(x, cv->mode, 23, 8);
        return cv->ftz && (bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits;
    default:
        memcpy(&bits, &x, sizeof(bits));
        return bits;
    }
}

// NaN gives 0 for 8 to 32 bits, the sign bit alone for 64; values out of range are clamped.
static uint64_t float_to_integer(double x, const struct convert *cv)
{
    const int bits = numbers[cv->to].bits;
    if (x != x)
        return bits == 64 ? 1ull << 63 : 0;
    x = round_integral(x, cv->mode);
    if (numbers[cv->to].is_signed) {
        const double top = ldexp(1.0, bits - 1);
        if (x >= top)
            return (1ull << (bits - 1)) - 1;
        if (x < -top)
            return 0 - (1ull << (bits - 1));
        return (uint64_t)(int64_t)x;
    }
    if (x >= ldexp(1.0, bits))
        return bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
    return x <= 0 ? 0 : (uint64_t)x;
}

static uint64_t extend(uint64_t value, int type)
{
    const int shift = 64 - numbers[type].bits;
    if (numbers[type].is_signed)
        return (uint64_t)((int64_t)(value << shift) >> shift);
    return value << shift >> shift;
}

static uint64_t integer_to_integer(uint64_t value, const struct convert *cv)
{
    value = extend(value, cv->from);
    if (!cv->sat)
        return extend(value, cv->to);
    const bool negative = numbers[cv->from].is_signed && (int64_t)value < 0;
    const int bits = numbers[cv->to].bits;
    if (numbers[cv->to].is_signed) {
        const uint64_t top = (1ull << (bits - 1)) - 1;
        if (negative)
            return (int64_t)value < -(int64_t)top - 1 ? 0 - top - 1 : value;
        return value > top ? top : value;
    }
    const uint64_t top = bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
    return negative ? 0 : value > top ? top : value;
}

// 64-bit integers do not fit fp64: their last bits are made sticky before the only rounding.
static double integer_to_double(uint64_t value, int from, bool exact)
{
    value = extend(value, from);
    const bool negative = numbers[from].is_signed && (int64_t)value < 0;
    uint64_t magnitude = negative ? 0 - value : value;
    if (!exact && magnitude >> 53 != 0)
        magnitude = (magnitude & ~0x7ffull) | ((magnitude & 0x7ff) != 0 ? 0x800 : 0);
    const double x = (double)magnitude;
    return negative ? -x : x;
}

static uint64_t convert_one(uint64_t value, const struct convert *cv)
{
    const bool from_float = numbers[cv->from].is_float, to_float = numbers[cv->to].is_float;
    if (!from_float && !to_float)
        return integer_to_integer(value, cv);
    if (!from_float)
        return to_float_bits(integer_to_double(value, cv->from, cv->to == F64), cv->to, cv);
    const double x = widen(cv->from, value, cv->ftz);
    if (cv->from == F64 && cv->to == F32 && x != x && !cv->sat)
        return fj_emu_bits((float)x); // keeps what fits of the payload
    if (!to_float)
        return float_to_integer(x, cv);
    return to_float_bits(cv->to_integer ? round_integral(x, cv->mode) : x, cv->to, cv);
}

static uint64_t lane_bits(const struct fj_emu_warp *w, uint32_t operand, int slot, uint32_t lane)
{
    return slot == 64 ? fj_emu_r64(w, operand)[lane] : fj_emu_r32(w, operand)[lane];
}

static const struct fj_emu_insn *convert(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct convert *cv = in->data;
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        const uint64_t d = convert_one(lane_bits(w, in->o[1], in->size, l), cv);
        if (in->flags == 64)
            fj_emu_r64(w, in->o[0])[l] = d;
        else
            fj_emu_r32(w, in->o[0])[l] =
                numbers[cv->to].bits == 16 && in->n_ext == 0 ? (uint32_t)d & 0xffff : (uint32_t)d;
    }
    return in + 1;
}

static const struct fj_emu_insn *convert_pair(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct convert *cv = in->data;
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        const uint32_t high = (uint32_t)convert_one(fj_emu_r32(w, in->o[1])[l], cv);
        const uint32_t low = (uint32_t)convert_one(fj_emu_r32(w, in->o[2])[l], cv);
        d[l] = high << 16 | (low & 0xffff);
    }
    return in + 1;
}

static int number_of(const char *name)
{
    for (int i = 0; i < (int)(sizeof(numbers) / sizeof(numbers[0])); i++) {
        if (strcmp(numbers[i].name, name) == 0)
            return i;
    }
    return -1;
}

static bool modifiers(const char *op, int count, struct convert *cv)
{
    static const struct {
        const char *name;
        uint8_t mode;
        bool integer;
    } roundings[] = {{"rn", NEAREST, false}, {"rz", ZERO, false},  {"rm", DOWN, false},
                     {"rp", UP, false},      {"rna", AWAY, false}, {"rni", NEAREST, true},
                     {"rzi", ZERO, true},    {"rmi", DOWN, true},  {"rpi", UP, true}};
    char part[16];
    for (int i = 1; i < count - 2; i++) {
        bool known = false;
        if (!fj_emu_part(op, i, part, sizeof(part)))
            return false;
        for (size_t k = 0; k < sizeof(roundings) / sizeof(roundings[0]); k++) {
            if (strcmp(roundings[k].name, part) != 0)
                continue;
            cv->mode = roundings[k].mode;
            cv->to_integer = roundings[k].integer;
            known = true;
        }
        cv->ftz |= strcmp(part, "ftz") == 0;
        cv->sat |= strcmp(part, "sat") == 0;
        cv->relu |= strcmp(part, "relu") == 0;
        cv->satfinite |= strcmp(part, "satfinite") == 0;
        if (!known && strcmp(part, "ftz") && strcmp(part, "sat") && strcmp(part, "relu") &&
            strcmp(part, "satfinite"))
            return false;
    }
    return true;
}

void fj_emu_decode_cvt(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    char to[16] = "", from[16] = "";
    if (fj_emu_has(src->op, ".e4m3x2") || fj_emu_has(src->op, ".e5m2x2")) {
        fj_emu_decode_fp8(b, src);
        return;
    }
    int count = 1;
    for (const char *at = src->op; *at != '\0'; at++)
        count += *at == '.';
    struct convert *cv = fj_emu_build_alloc(b, sizeof(*cv));
    if (cv == NULL || count < 3 || !fj_emu_part(src->op, count - 2, to, sizeof(to)) ||
        !fj_emu_part(src->op, count - 1, from, sizeof(from)) || !modifiers(src->op, count, cv) ||
        number_of(to) < 0 || number_of(from) < 0) {
        fj_emu_build_unknown(b);
        return;
    }
    cv->to = (uint8_t)number_of(to);
    cv->from = (uint8_t)number_of(from);
    const bool pair = cv->to == F16X2 || cv->to == BF16X2;
    if (cv->from == F16X2 || cv->from == BF16X2 || cv->from == TF32 ||
        src->n_ops != (pair ? 3 : 2) || (pair && cv->from != F32)) {
        fj_emu_build_unknown(b);
        return;
    }
    if (pair) {
        cv->to = cv->to == F16X2 ? F16 : BF16;
        fj_emu_emit(b, convert_pair)->data = cv;
        fj_emu_bind_dst(b, 0, &src->ops[0], 32);
        fj_emu_bind_src(b, 1, &src->ops[1], 32, 32);
        fj_emu_bind_src(b, 2, &src->ops[2], 32, 32);
        return;
    }
    // Registers may be wider than the values: a byte in a 32-bit register, say.
    struct fj_emu_insn *in = fj_emu_emit(b, convert);
    const int d_bits = fj_emu_operand_bits(b, &src->ops[0]);
    const int s_bits = fj_emu_operand_bits(b, &src->ops[1]);
    in->data = cv;
    in->flags = d_bits == 64 ? 64 : 32;
    in->size = (uint16_t)(s_bits == 0 ? numbers[cv->from].slot : s_bits);
    if (in->size < numbers[cv->from].slot || in->flags < numbers[cv->to].slot) {
        fj_emu_build_fail(b, "a register is narrower than the type it converts");
        return;
    }
    fj_emu_bind_dst(b, 0, &src->ops[0], in->flags);
    fj_emu_bind_src(b, 1, &src->ops[1], in->size, in->size);
}
