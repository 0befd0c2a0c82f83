// Operands for tests of the matrix instructions: small integers in every format.
#ifndef FJ_TEST_EMU_OPERANDS_H
#define FJ_TEST_EMU_OPERANDS_H

#include "base/num.h"
#include "emu/mma.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint64_t operand_seed = 0x5eed0001;

static inline uint32_t next_random(void)
{
    operand_seed = operand_seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(operand_seed >> 33);
}

static inline int small_int(void)
{
    return (int)(next_random() % 9) - 4;
}

static inline int type_bytes(int type)
{
    if (type == FJ_EMU_TF32 || type == FJ_EMU_F32)
        return 4;
    return type == FJ_EMU_F16 || type == FJ_EMU_BF16 ? 2 : 1;
}

// Any value of an integer type; a small one of a floating type.
static inline int any_int(int type)
{
    if (type != FJ_EMU_S8 && type != FJ_EMU_U8)
        return small_int();
    return (int)(next_random() % 256) - (type == FJ_EMU_S8 ? 128 : 0);
}

// c + sum as an integer accumulator takes it.
static inline int32_t accumulate(int32_t c, int sum, bool saturate)
{
    const int64_t now = (int64_t)c + sum;
    if (saturate && now != (int32_t)now)
        return now > 0 ? INT32_MAX : INT32_MIN;
    return (int32_t)(uint32_t)now;
}

// Bits of a small integer in a format. fp8 has an explicit table: e4m3 and e5m2 of 0..4.
static inline uint32_t encode(int type, int value)
{
    static const uint8_t e4m3[] = {0x00, 0x38, 0x40, 0x44, 0x48};
    static const uint8_t e5m2[] = {0x00, 0x3c, 0x40, 0x42, 0x44};
    float wide = (float)value;
    uint32_t bits, sign = value < 0 ? 0x80 : 0;
    memcpy(&bits, &wide, sizeof(bits));
    switch (type) {
    case FJ_EMU_F16:
        return fj_f32_to_f16(wide);
    case FJ_EMU_BF16:
        return bits >> 16;
    case FJ_EMU_S8:
    case FJ_EMU_U8:
        return (uint32_t)value & 0xff;
    case FJ_EMU_E4M3:
        return sign | e4m3[abs(value)];
    case FJ_EMU_E5M2:
        return sign | e5m2[abs(value)];
    default:
        return bits | 0x1fff * (type == FJ_EMU_TF32); // what lies below tf32 must not matter
    }
}

static inline void put(void *to, int type, int index, int value)
{
    uint32_t bits = encode(type, value);
    memcpy((char *)to + (size_t)index * (size_t)type_bytes(type), &bits, (size_t)type_bytes(type));
}

static inline float bits_to_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

#endif
