// dst op= src, element by element, each an atomic operation: other CTAs may reduce into the same
// memory at the same time.
#include "emu/tma.h"

#include "base/num.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum number {
    NUMBER_UNSIGNED,
    NUMBER_SIGNED,
    NUMBER_F16,
    NUMBER_BF16,
    NUMBER_F32,
    NUMBER_F64,
};

#define BIT(op) (1u << FJ_EMU_REDUCE_##op)
#define ARITHMETIC (BIT(ADD) | BIT(MIN) | BIT(MAX))
#define LOGIC (BIT(AND) | BIT(OR) | BIT(XOR))

// PTX ISA, cp.reduce.async.bulk and its tensor form.
static const struct type {
    const char *name;
    enum number number;
    uint32_t bytes;
    unsigned ops;
} types[] = {
    {"u32", NUMBER_UNSIGNED, 4, ARITHMETIC | LOGIC | BIT(INC) | BIT(DEC)},
    {"s32", NUMBER_SIGNED, 4, ARITHMETIC | LOGIC},
    {"u64", NUMBER_UNSIGNED, 8, ARITHMETIC | LOGIC},
    {"s64", NUMBER_SIGNED, 8, ARITHMETIC | LOGIC},
    {"b32", NUMBER_UNSIGNED, 4, LOGIC},
    {"b64", NUMBER_UNSIGNED, 8, LOGIC},
    {"f16", NUMBER_F16, 2, ARITHMETIC},
    {"bf16", NUMBER_BF16, 2, ARITHMETIC},
    {"f32", NUMBER_F32, 4, BIT(ADD)},
    {"f64", NUMBER_F64, 8, BIT(ADD)},
};

static uint64_t combine_unsigned(enum fj_emu_reduce op, uint64_t a, uint64_t b)
{
    switch (op) {
    case FJ_EMU_REDUCE_ADD:
        return a + b;
    case FJ_EMU_REDUCE_MIN:
        return a < b ? a : b;
    case FJ_EMU_REDUCE_MAX:
        return a > b ? a : b;
    case FJ_EMU_REDUCE_INC:
        return a >= b ? 0 : a + 1;
    case FJ_EMU_REDUCE_DEC:
        return a == 0 || a > b ? b : a - 1;
    case FJ_EMU_REDUCE_AND:
        return a & b;
    case FJ_EMU_REDUCE_OR:
        return a | b;
    default:
        return a ^ b;
    }
}

static uint64_t combine_signed(enum fj_emu_reduce op, uint64_t a, uint64_t b, uint32_t bytes)
{
    int64_t x = bytes == 4 ? (int32_t)a : (int64_t)a, y = bytes == 4 ? (int32_t)b : (int64_t)b;
    if (op == FJ_EMU_REDUCE_MIN)
        return x < y ? a : b;
    if (op == FJ_EMU_REDUCE_MAX)
        return x > y ? a : b;
    return combine_unsigned(op, a, b);
}

static float combine_float(enum fj_emu_reduce op, float a, float b)
{
    if (op == FJ_EMU_REDUCE_MIN)
        return fminf(a, b);
    return op == FJ_EMU_REDUCE_MAX ? fmaxf(a, b) : a + b;
}

static bool is_nan(enum number number, uint16_t bits)
{
    return (bits & 0x7fff) > (number == NUMBER_F16 ? 0x7c00 : 0x7f80);
}

// min and max give the number of a number and a NaN, be it quiet or signaling.
static uint64_t combine_half(enum number number, enum fj_emu_reduce op, uint16_t a, uint16_t b)
{
    if (op != FJ_EMU_REDUCE_ADD && is_nan(number, a) != is_nan(number, b))
        return is_nan(number, a) ? b : a;
    if (number == NUMBER_F16)
        return fj_f32_to_f16(combine_float(op, fj_f16_to_f32(a), fj_f16_to_f32(b)));
    return fj_f32_to_bf16(combine_float(op, fj_bf16_to_f32(a), fj_bf16_to_f32(b)));
}

static uint64_t combine_f32(uint64_t a, uint64_t b)
{
    uint32_t bits[2] = {(uint32_t)a, (uint32_t)b};
    float value[2];
    memcpy(value, bits, sizeof(value));
    value[0] += value[1];
    memcpy(bits, value, sizeof(value[0]));
    return isnan(value[0]) ? 0x7fffffff : bits[0];
}

static uint64_t combine_f64(uint64_t a, uint64_t b)
{
    double value[2];
    memcpy(&value[0], &a, sizeof(a));
    memcpy(&value[1], &b, sizeof(b));
    value[0] += value[1];
    memcpy(&a, &value[0], sizeof(a));
    return a;
}

static uint64_t combine(const struct type *type, enum fj_emu_reduce op, uint64_t a, uint64_t b)
{
    switch (type->number) {
    case NUMBER_UNSIGNED:
        return combine_unsigned(op, a, b);
    case NUMBER_SIGNED:
        return combine_signed(op, a, b, type->bytes);
    case NUMBER_F16:
    case NUMBER_BF16:
        return combine_half(type->number, op, (uint16_t)a, (uint16_t)b);
    case NUMBER_F32:
        return combine_f32(a, b);
    default:
        return combine_f64(a, b);
    }
}

#define DEFINE_REDUCE(bits)                                                                        \
    static void reduce##bits(const struct type *type, enum fj_emu_reduce op, void *to,             \
                             const void *from)                                                     \
    {                                                                                              \
        uint##bits##_t *memory = to, operand, old, new;                                            \
        memcpy(&operand, from, sizeof(operand));                                                   \
        old = __atomic_load_n(memory, __ATOMIC_RELAXED);                                           \
        do                                                                                         \
            new = (uint##bits##_t)combine(type, op, old, operand);                                 \
        while (!__atomic_compare_exchange_n(memory, &old, new, true, __ATOMIC_RELAXED,             \
                                            __ATOMIC_RELAXED));                                    \
    }
DEFINE_REDUCE(16)
DEFINE_REDUCE(32)
DEFINE_REDUCE(64)

int fj_emu_bulk_reduce(void *dst, const void *src, uint32_t bytes, enum fj_emu_reduce reduce,
                       const char *name)
{
    const struct type *type = NULL;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, name) == 0)
            type = &types[i];
    if (!type || !(type->ops >> reduce & 1) || bytes % type->bytes)
        return -1;
    void (*one)(const struct type *, enum fj_emu_reduce, void *, const void *) =
        type->bytes == 2   ? reduce16
        : type->bytes == 4 ? reduce32
                           : reduce64;
    for (uint32_t at = 0; at < bytes; at += type->bytes)
        one(type, reduce, (uint8_t *)dst + at, (const uint8_t *)src + at);
    return 0;
}
