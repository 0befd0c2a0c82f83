// The inner product of the references, in fp64 and in fp32: a few rows times one packed panel.
//
// A panel is [k][FJ_REF_PANEL_x]: so many columns of the right operand, k by k, padded with zeros.
// Every element of C is summed over k in order, one multiply-add at a time, as a plain loop would:
// the fp32 form is meant to err like one.
#ifndef FJ_REF_TILE_H
#define FJ_REF_TILE_H

#include "base/num.h"
#include "ref/ref.h"

enum {
    FJ_REF_PANEL_F64 = 8, // columns: 64 bytes a row
    FJ_REF_PANEL_F32 = 16,
};

// C[rows][panel] += A[rows][k] * panel; leading dimensions in elements.
void fj_ref_mul_f64(int64_t rows, int64_t k, const double *a, int64_t lda, const double *panel,
                    double *c, int64_t ldc);
void fj_ref_mul_f32(int64_t rows, int64_t k, const float *a, int64_t lda, const float *panel,
                    float *c, int64_t ldc);

// Reads `n` elements from offset `at` on, `stride` apart, and stores them `ret_stride` apart.
void fj_ref_load_f64(const struct fj_ref_view *view, int64_t at, int64_t stride, int64_t n,
                     double *ret, int64_t ret_stride);
void fj_ref_load_f32(const struct fj_ref_view *view, int64_t at, int64_t stride, int64_t n,
                     float *ret, int64_t ret_stride);

// Rounds to a dtype's nearest value (ties to even) and back.
static inline float fj_ref_round(enum fajit_dtype dtype, float value)
{
    if (dtype == FAJIT_BF16)
        return fj_bf16_to_f32(fj_f32_to_bf16(value));
    return dtype == FAJIT_F16 ? fj_f16_to_f32(fj_f32_to_f16(value)) : value;
}

static inline bool fj_ref_is_dtype(enum fajit_dtype dtype)
{
    return dtype == FAJIT_F32 || dtype == FAJIT_F16 || dtype == FAJIT_BF16;
}

#endif
