#include "ref/compare.h"

#include "ref/tile.h"

#include <math.h>

static double distance(double got, double want)
{
    if (got == want)
        return 0;
    double difference = fabs(got - want);
    return isnan(difference) ? INFINITY : difference; // unlike infinities, or a NaN in `want`
}

// Where `plain` overflowed to an infinity, the same infinity in `got` counts as right.
static void measure(const double *got, const double *want, const double *plain, int64_t count,
                    struct fj_ref_error *ret_error)
{
    struct fj_ref_error error = {.count = count, .worst = -1};
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(got[i])) {
            error.worst = error.nan_count++ == 0 ? i : error.worst;
            continue;
        }
        double off = distance(got[i], want[i]);
        if (isinf(off) && plain && got[i] == plain[i])
            off = 0;
        sum += off;
        if (want[i] != 0 && off > 0)
            error.max_rel = fmax(error.max_rel, isinf(off) ? INFINITY : off / fabs(want[i]));
        if (error.nan_count == 0 && (error.worst < 0 || off > error.max_abs))
            error.worst = i;
        error.max_abs = fmax(error.max_abs, off);
    }
    if (count > error.nan_count)
        error.mean_abs = sum / (double)(count - error.nan_count);
    if (error.worst >= 0) {
        error.worst_got = got[error.worst];
        error.worst_want = want[error.worst];
    }
    *ret_error = error;
}

void fj_ref_compare(const double *got, const double *want, int64_t count,
                    struct fj_ref_error *ret_error)
{
    measure(got, want, NULL, count, ret_error);
}

static double grain(const double *reference, int64_t count, enum fajit_dtype dtype)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
        float value = fj_ref_round(dtype, (float)reference[i]);
        float there = fj_ref_round(dtype, value + 0.3f);
        float back = fj_ref_round(dtype, there - 0.3f);
        if (isfinite(back) && isfinite(value))
            most = fmax(most, fabs((double)back - (double)value));
    }
    return most;
}

void fj_ref_judge(const double *kernel, const double *reference, const double *plain, int64_t count,
                  enum fajit_dtype dtype, struct fj_ref_verdict *ret_verdict)
{
    struct fj_ref_verdict verdict = {.atol = 2 * grain(reference, count, dtype)};
    measure(kernel, reference, plain, count, &verdict.kernel);
    measure(plain, reference, plain, count, &verdict.plain);
    verdict.bound = 2 * verdict.plain.max_abs + verdict.atol;
    verdict.pass = verdict.kernel.nan_count == 0 && isfinite(verdict.kernel.max_abs) &&
                   verdict.kernel.max_abs <= verdict.bound;
    *ret_verdict = verdict;
}
