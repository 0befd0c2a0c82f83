// The conversions that matter for speed, lane-parallel. exec_cvt.c has every other one.
#include "emu/lanes.h"

FJ_EMU_UNARY(s64_s32, uint64_t, int32_t, (int64_t)a)
FJ_EMU_UNARY(u64_u32, uint64_t, uint32_t, a)
FJ_EMU_UNARY(u32_u64, uint32_t, uint64_t, (uint32_t)a)
FJ_EMU_UNARY(u16_u32, uint32_t, uint32_t, a & 0xffff)
FJ_EMU_UNARY(s32_s16, uint32_t, uint32_t, (int16_t)a)
FJ_EMU_UNARY(u16_u64, uint32_t, uint64_t, a & 0xffff)
FJ_EMU_UNARY(f32_s32, float, int32_t, (float)a)
FJ_EMU_UNARY(f32_u32, float, uint32_t, (float)a)
FJ_EMU_UNARY(f32_f16, uint32_t, uint32_t,
             (a & 0x7fff) > 0x7c00 ? 0x7fffffffu : fj_emu_bits(fj_emu_from_f16(a)))
FJ_EMU_UNARY(f32_bf16, uint32_t, uint32_t, a << 16)
FJ_EMU_UNARY(f16_f32, uint32_t, float, fj_emu_to_f16(a))
FJ_EMU_UNARY(bf16_f32, uint32_t, float, fj_emu_to_bf16(a))

// The first source becomes the upper half.
FJ_EMU_BINARY(f16x2_f32, uint32_t, float, float, fj_emu_to_f16(a) << 16 | fj_emu_to_f16(b))
FJ_EMU_BINARY(bf16x2_f32, uint32_t, float, float, fj_emu_to_bf16(a) << 16 | fj_emu_to_bf16(b))

// tf32 keeps 10 bits of the fraction; the 13 below are zero. rna: ties away from zero.
static inline uint32_t to_tf32(uint32_t a, bool away)
{
    const uint32_t u = a & 0x7fffffffu;
    const uint32_t rounded = (a + (away ? 0x1000 : 0xfff + (a >> 13 & 1))) & ~0x1fffu;
    return u >= 0x7f800000u ? a & ~0x1fffu : rounded; // of a NaN the hardware cuts bits off, too
}

FJ_EMU_UNARY(tf32_rna, uint32_t, uint32_t, to_tf32(a, true))
FJ_EMU_UNARY(tf32_rn, uint32_t, uint32_t, to_tf32(a, false))

const struct fj_emu_op FJ_EMU_TABLE(fj_emu_cvt_ops)[] = {
    {"cvt.s64.s32", s64_s32, "d=w"},           {"cvt.u64.s32", s64_s32, "d=w"},
    {"cvt.u64.u32", u64_u32, "d=w"},           {"cvt.s64.u32", u64_u32, "d=w"},
    {"cvt.u32.u64", u32_u64, "w=d"},           {"cvt.s32.s64", u32_u64, "w=d"},
    {"cvt.u32.u16", u16_u32, "w=w"},           {"cvt.s32.u16", u16_u32, "w=w"},
    {"cvt.u16.u32", u16_u32, "w=w"},           {"cvt.u16.u64", u16_u64, "w=d"},
    {"cvt.s32.s16", s32_s16, "w=w"},           {"cvt.rn.f32.s32", f32_s32, "w=w"},
    {"cvt.rn.f32.u32", f32_u32, "w=w"},        {"cvt.f32.f16", f32_f16, "w=w"},
    {"cvt.f32.bf16", f32_bf16, "w=w"},         {"cvt.rn.f16.f32", f16_f32, "w=w"},
    {"cvt.rn.bf16.f32", bf16_f32, "w=w"},      {"cvt.rn.f16x2.f32", f16x2_f32, "w=ww"},
    {"cvt.rn.bf16x2.f32", bf16x2_f32, "w=ww"}, {"cvt.rna.tf32.f32", tf32_rna, "w=w"},
    {"cvt.rn.tf32.f32", tf32_rn, "w=w"},       {NULL, NULL, NULL},
};
