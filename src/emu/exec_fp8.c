// Conversions of pairs of 8-bit floats.
#include <math.h>
#include <string.h>

#include "emu/half.h"
#include "emu/ops.h"

#define NEAREST 0 // of fj_emu_narrow

enum format {
    E4M3,
    E5M2,
};

enum kind {
    FROM_F32,   // d, high, low
    FROM_F16X2, // d, a
    TO_F16X2,
};

struct fp8 {
    uint8_t format, kind;
    bool relu;
};

// e4m3 has one exponent more for finite numbers than an IEEE format of its width, hence e5m3 with
// the bias moved by 8. Beyond the largest number both formats saturate.
static uint32_t to_fp8(float x, const struct fp8 *how)
{
    const uint32_t sign = signbit(x) ? 0x80 : 0;
    const double magnitude = fabs((double)x);
    if (x != x)
        return 0x7f;
    if (how->relu && sign)
        return 0;
    if (how->format == E4M3)
        return sign |
               (magnitude >= 448 ? 0x7e
                                 : (uint32_t)fj_emu_narrow(magnitude * 0x1p-8, NEAREST, 3, 5));
    return sign | (magnitude >= 57344 ? 0x7b : (uint32_t)fj_emu_narrow(magnitude, NEAREST, 2, 5));
}

static uint32_t to_f16(uint32_t bits, const struct fp8 *how)
{
    uint32_t half = (bits & 0x7f) << 8; // e5m2 is the upper half of an fp16
    if (how->format == E4M3) {
        const double step = ldexp(1.0, ((bits >> 3 & 15) > 0 ? (int)(bits >> 3 & 15) : 1) - 10);
        const double value = step * ((bits & 7) + ((bits >> 3 & 15) > 0 ? 8 : 0));
        half = (bits & 0x7f) == 0x7f ? 0x7fff : fj_emu_to_f16((float)value);
    }
    if ((half & 0x7fff) > 0x7c00)
        return 0x7fff;
    return bits & 0x80 ? (how->relu ? 0 : half | 0x8000) : half;
}

static const struct fj_emu_insn *convert(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct fp8 *how = in->data;
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    const uint32_t *a = fj_emu_r32(w, in->o[1]), *b = fj_emu_r32(w, in->o[2]);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        const uint32_t x = a[l];
        if (how->kind == FROM_F32)
            d[l] = to_fp8(fj_emu_float(x), how) << 8 | to_fp8(fj_emu_float(b[l]), how);
        else if (how->kind == FROM_F16X2)
            d[l] = to_fp8(fj_emu_from_f16(x >> 16), how) << 8 |
                   to_fp8(fj_emu_from_f16(x & 0xffff), how);
        else
            d[l] = to_f16(x >> 8 & 0xff, how) << 16 | to_f16(x & 0xff, how);
    }
    return in + 1;
}

void fj_emu_decode_fp8(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    struct fp8 *how = fj_emu_build_alloc(b, sizeof(*how));
    const char *last = fj_emu_last_part(src->op);
    if (how == NULL)
        return;
    how->format = fj_emu_has(src->op, ".e4m3x2") ? E4M3 : E5M2;
    how->relu = fj_emu_has(src->op, ".relu");
    how->kind = strcmp(last, "f32") == 0     ? FROM_F32
                : strcmp(last, "f16x2") == 0 ? FROM_F16X2
                                             : TO_F16X2;
    const bool narrows = how->kind != TO_F16X2;
    if (src->n_ops != (how->kind == FROM_F32 ? 3 : 2) || !fj_emu_has(src->op, ".rn") ||
        narrows != fj_emu_has(src->op, ".satfinite") ||
        (!narrows && !fj_emu_has(src->op, ".f16x2"))) {
        fj_emu_build_unknown(b);
        return;
    }
    fj_emu_emit(b, convert)->data = how;
    fj_emu_bind_dst(b, 0, &src->ops[0], 32);
    fj_emu_bind_src(b, 1, &src->ops[1], 32, 32);
    fj_emu_bind_src(b, 2, &src->ops[src->n_ops - 1], 32, 32);
}
