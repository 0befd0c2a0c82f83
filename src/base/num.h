// Conversions between fp32 and the 16-bit formats, round to nearest even.
#ifndef FJ_BASE_NUM_H
#define FJ_BASE_NUM_H

#include <stdint.h>
#include <string.h>

float fj_f16_to_f32(uint16_t bits);
uint16_t fj_f32_to_f16(float value); // overflow gives inf; NaN gives 0x7fff as cvt.rn.f16.f32 does
static inline float fj_bf16_to_f32(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof(value));
    return value;
}
uint16_t fj_f32_to_bf16(float value); // NaN gives 0x7fff as cvt.rn.bf16.f32 does

#endif
