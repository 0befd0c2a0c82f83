// 16-bit floats for lane loops: branch-light, so that they vectorise. NaN results are canonical.
#ifndef FJ_EMU_HALF_H
#define FJ_EMU_HALF_H

#include <stdint.h>
#include <string.h>

static inline float fj_emu_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline uint32_t fj_emu_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

// The exponent is rebased by a multiplication, which also normalises subnormals.
static inline float fj_emu_from_f16(uint32_t half)
{
    const uint32_t magnitude = (half & 0x7fff) << 13;
    const float scaled = fj_emu_float(magnitude) * 0x1p112f;
    const uint32_t special = magnitude | 0x7f800000u;
    const uint32_t bits = (half & 0x7c00) == 0x7c00 ? special : fj_emu_bits(scaled);
    return fj_emu_float(bits | (half & 0x8000) << 16);
}

static inline float fj_emu_from_bf16(uint32_t half)
{
    return fj_emu_float(half << 16);
}

// Round to nearest even.
static inline uint32_t fj_emu_to_f16(float value)
{
    const uint32_t bits = fj_emu_bits(value), u = bits & 0x7fffffffu;
    // Below 2^-14: adding 0.5 puts the ulp of the sum at 2^-24, the spacing of subnormals.
    const uint32_t tiny = fj_emu_bits(fj_emu_float(u) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (u - 0x38000000u + 0xfff + (u >> 13 & 1)) >> 13;
    uint32_t half = u < 0x38800000u ? tiny : normal;
    half = u >= 0x47800000u ? 0x7c00 : half;
    half |= bits >> 16 & 0x8000;
    return u > 0x7f800000u ? 0x7fff : half;
}

static inline uint32_t fj_emu_to_bf16(float value)
{
    const uint32_t u = fj_emu_bits(value);
    const uint32_t half = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (u & 0x7fffffffu) > 0x7f800000u ? 0x7fff : half;
}

// From double: rounded to odd in fp32 first, so that the second rounding sees what was lost.
static inline float fj_emu_odd_f32(double value)
{
    float narrow = (float)value;
    if ((double)narrow == value || value != value)
        return narrow;
    uint32_t bits = fj_emu_bits(narrow);
    if (bits & 1)
        return narrow;
    const double wide = (double)narrow;
    const int away = (wide < 0 ? -wide : wide) > (value < 0 ? -value : value);
    return fj_emu_float(away ? bits - 1 : bits + 1);
}

#endif
