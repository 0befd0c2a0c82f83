// How far a kernel's result is from the reference, and whether that is good enough.
#ifndef FJ_REF_COMPARE_H
#define FJ_REF_COMPARE_H

#include "base/err.h"

struct fj_ref_error {
    int64_t count;
    double max_abs, mean_abs; // infinite when an infinity stands where another value belongs
    double max_rel;           // of |got - want| / |want|, over elements with want != 0
    int64_t nan_count;        // NaNs in `got`; they take no part in the figures above
    int64_t worst;            // index of the first NaN, else of max_abs; -1 when count is 0
    double worst_got, worst_want;
};

// Equal infinities differ by nothing.
void fj_ref_compare(const double *got, const double *want, int64_t count,
                    struct fj_ref_error *ret_error);

// FlashAttention-3's rule: max|K - R| <= 2 max|P - R| + atol, where R is the fp64 reference, P the
// plain evaluation in `dtype` (round_to), and atol = 2 max|((R + 0.3) - 0.3) - R|, with R and every
// step rounded to `dtype`: the grain of the format at the size of the data.
// (hopper/test_flash_attn.py of Dao-AILab/flash-attention.) Where P overflowed to an infinity, K
// may hold the same one.
struct fj_ref_verdict {
    bool pass; // no NaN in K, and within the bound
    double bound, atol;
    struct fj_ref_error kernel, plain;
};
void fj_ref_judge(const double *kernel, const double *reference, const double *plain, int64_t count,
                  enum fajit_dtype dtype, struct fj_ref_verdict *ret_verdict);

#endif
