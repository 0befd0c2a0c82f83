// Built for the baseline of the architecture and, on x86-64, again for AVX2; the choice is made
// at the first call. Without fused multiply-add (see meson.build): every machine gives equal bits.
#include "emu/mma_tile.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#define HAVE_AVX2 1
#else
#define HAVE_AVX2 0
#endif

#define BODY static inline __attribute__((always_inline))

typedef float vec4 __attribute__((vector_size(16)));
typedef float vec8 __attribute__((vector_size(32)));
typedef int32_t ivec8 __attribute__((vector_size(32)));

BODY float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

BODY uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

// An f16 whose fields are put in place of fp32's is too small by 2^112; the multiplication also
// normalises subnormals. Infinity and NaN keep their mantissa and get the exponent of fp32.
BODY float widen_f16(uint16_t half, uint32_t flip)
{
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;
    uint32_t special = magnitude >= 0x0f800000 ? 0x7f800000 : 0;
    uint32_t bits = to_bits(from_bits(magnitude) * 0x1p112f) | special;
    return from_bits(bits | ((uint32_t)(half & 0x8000) << 16 ^ flip));
}

BODY float widen_e4m3(uint8_t byte, uint32_t flip)
{
    uint32_t magnitude = (uint32_t)(byte & 0x7f) << 20;
    uint32_t special = magnitude == 0x07f00000 ? 0x7fffffff : 0; // 448 is the largest; no infinity
    uint32_t bits = to_bits(from_bits(magnitude) * 0x1p120f) | special;
    return from_bits(bits | ((uint32_t)(byte & 0x80) << 24 ^ flip));
}

BODY void widen(int type, const void *src, int count, bool negate, float *ret)
{
    const uint16_t *half = src;
    const uint32_t *word = src;
    const uint8_t *byte = src;
    uint32_t flip = negate ? 0x80000000 : 0;
    switch (type) {
    case FJ_EMU_F16:
        for (int i = 0; i < count; i++)
            ret[i] = widen_f16(half[i], flip);
        break;
    case FJ_EMU_BF16:
        for (int i = 0; i < count; i++)
            ret[i] = from_bits((uint32_t)half[i] << 16 ^ flip);
        break;
    case FJ_EMU_TF32:
        for (int i = 0; i < count; i++)
            ret[i] = from_bits((word[i] & ~0x1fffu) ^ flip);
        break;
    case FJ_EMU_E4M3:
        for (int i = 0; i < count; i++)
            ret[i] = widen_e4m3(byte[i], flip);
        break;
    case FJ_EMU_S8:
        for (int i = 0; i < count; i++)
            ret[i] = (float)(int8_t)byte[i];
        break;
    case FJ_EMU_U8:
        for (int i = 0; i < count; i++)
            ret[i] = (float)byte[i];
        break;
    default: // e5m2 is the upper byte of an f16
        for (int i = 0; i < count; i++)
            ret[i] = widen_f16((uint16_t)(byte[i] << 8), flip);
        break;
    }
}

BODY void transpose(const float *src, int rows, int cols, float *ret)
{
    for (int row = 0; row < rows; row += 8)
        for (int col = 0; col < cols; col++)
            for (int i = 0; i < 8; i++)
                ret[col * rows + row + i] = src[(row + i) * cols + col];
}

// Columns 2q come from one register, columns 2q + 1 from the next.
BODY void load_row(const uint32_t *even, const uint32_t *odd, vec8 *ret)
{
    vec4 lo, hi;
    memcpy(&lo, even, sizeof(lo));
    memcpy(&hi, odd, sizeof(hi));
    *ret = __builtin_shufflevector(lo, hi, 0, 4, 1, 5, 2, 6, 3, 7);
}

BODY void store_row(const vec8 *row, uint32_t *even, uint32_t *odd)
{
    ivec8 ordered = *row == *row;
    ivec8 bits = ((ivec8)*row & ordered) | (~ordered & 0x7fffffff);
    vec8 out = (vec8)bits;
    vec4 lo = __builtin_shufflevector(out, out, 0, 2, 4, 6);
    vec4 hi = __builtin_shufflevector(out, out, 1, 3, 5, 7);
    memcpy(even, &lo, sizeof(lo));
    memcpy(odd, &hi, sizeof(hi));
}

// Eight rows by eight columns: eight independent sums hide the latency of an addition.
BODY void tile8(uint32_t *const *d, const uint32_t *const *c, const float (*a)[FJ_EMU_MAX_K],
                const float *b, int b_step, int k)
{
    vec8 acc[8];
    for (int row = 0; row < 8; row++)
        acc[row] = (vec8){0};
    for (int row = 0; row < 8 && c; row++)
        load_row(c[0] + 4 * row, c[1] + 4 * row, &acc[row]);
    for (int i = 0; i < k; i++) {
        vec8 columns;
        memcpy(&columns, b + (size_t)i * b_step, sizeof(columns));
        for (int row = 0; row < 8; row++)
            acc[row] += a[row][i] * columns;
    }
    for (int row = 0; row < 8; row++)
        store_row(&acc[row], d[0] + 4 * row, d[1] + 4 * row);
}

BODY void tile_run(uint32_t *const *d, const uint32_t *const *c, int tiles,
                   const float (*a)[FJ_EMU_MAX_K], const float *b, int k)
{
    for (int tile = 0; tile < tiles; tile++)
        for (int half = 0; half < 2; half++) {
            int reg = 4 * tile + 2 * half;
            tile8(d + reg, c ? c + reg : NULL, a + 8 * half, b + 8 * tile, 8 * tiles, k);
        }
}

struct kernels {
    void (*widen)(int, const void *, int, bool, float *);
    void (*transpose)(const float *, int, int, float *);
    void (*tile_run)(uint32_t *const *, const uint32_t *const *, int, const float (*)[FJ_EMU_MAX_K],
                     const float *, int);
};

#define DEFINE_KERNELS(name, attribute)                                                            \
    attribute static void name##_widen(int type, const void *src, int count, bool negate,          \
                                       float *ret)                                                 \
    {                                                                                              \
        widen(type, src, count, negate, ret);                                                      \
    }                                                                                              \
    attribute static void name##_transpose(const float *src, int rows, int cols, float *ret)       \
    {                                                                                              \
        transpose(src, rows, cols, ret);                                                           \
    }                                                                                              \
    attribute static void name##_tile_run(uint32_t *const *d, const uint32_t *const *c, int tiles, \
                                          const float(*a)[FJ_EMU_MAX_K], const float *b, int k)    \
    {                                                                                              \
        tile_run(d, c, tiles, a, b, k);                                                            \
    }                                                                                              \
    static const struct kernels name##_kernels = {name##_widen, name##_transpose, name##_tile_run};

DEFINE_KERNELS(plain, )
#if HAVE_AVX2
DEFINE_KERNELS(avx2, __attribute__((target("avx2"))))
#endif

static const struct kernels *pick(void)
{
#if HAVE_AVX2
    if (__builtin_cpu_supports("avx2"))
        return &avx2_kernels;
#endif
    return &plain_kernels;
}

static const struct kernels *kernels(void)
{
    static const struct kernels *_Atomic chosen;
    const struct kernels *found = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!found) {
        found = pick();
        atomic_store_explicit(&chosen, found, memory_order_relaxed);
    }
    return found;
}

void fj_emu_widen(int type, const void *src, int count, bool negate, float *ret)
{
    kernels()->widen(type, src, count, negate, ret);
}

void fj_emu_transpose(const float *src, int rows, int cols, float *ret)
{
    kernels()->transpose(src, rows, cols, ret);
}

void fj_emu_tile_run(uint32_t *const *d, const uint32_t *const *c, int tiles,
                     float (*a)[FJ_EMU_MAX_K], const float *b, int k)
{
    kernels()->tile_run(d, c, tiles, (const float(*)[FJ_EMU_MAX_K])a, b, k);
}
