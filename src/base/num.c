#include "base/num.h"

#include <fajit/fajit.h>

// Here because kernels and references ask for it as much as hosts do.
size_t fajit_dtype_bytes(enum fajit_dtype dtype)
{
    switch (dtype) {
    case FAJIT_F32:
        return 4;
    case FAJIT_F16:
    case FAJIT_BF16:
        return 2;
    case FAJIT_DTYPE_NONE:
        break;
    }
    return 0;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

// fp16: 1 sign bit, 5 exponent bits (bias 15), 10 mantissa bits. fp32: 1, 8 (bias 127), 23.

float fj_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0) { // zero and subnormals: mantissa * 2^-24, exact in fp32
        float magnitude = (float)mantissa * 0x1p-24f;
        return from_bits(sign | bits_of(magnitude));
    }
    return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t fj_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return 0x7fff;
    if (magnitude >= 0x47800000) // 2^16 and above; what rounds up to 2^16 is caught below
        return sign | 0x7c00;
    if (magnitude < 0x38800000) {
        // Below 2^-14 the result counts units of 2^-24, which is what the last bit of 0.5f is
        // worth: the addition rounds to nearest even.
        uint32_t rounded = bits_of(from_bits(magnitude) + 0.5f) - 0x3f000000;
        return sign | (uint16_t)rounded;
    }
    // Drop 13 bits, round to nearest even; a carry moves on into the exponent, up to infinity.
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return sign | (uint16_t)((magnitude >> 13) - (112 << 10));
}

uint16_t fj_f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
