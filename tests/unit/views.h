// Tensors and views for the tests of launch arguments.
#ifndef FJ_TESTS_UNIT_VIEWS_H
#define FJ_TESTS_UNIT_VIEWS_H

#include "test.h"

#include "kernels/args.h"

// Never read: any well-aligned addresses will do, far enough apart for the largest tensor.
#define MEMORY(i) (unsigned char *)(uintptr_t)(UINT64_C(i) << 44)
static unsigned char *const memory[8] = {MEMORY(1), MEMORY(2), MEMORY(3), MEMORY(4),
                                         MEMORY(5), MEMORY(6), MEMORY(7), MEMORY(8)};

// A compact tensor.
static inline struct fajit_tensor tensor(void *data, enum fajit_dtype dtype, int ndim, int64_t a,
                                         int64_t b, int64_t c, int64_t d)
{
    struct fajit_tensor t = {.data = data, .dtype = dtype, .ndim = ndim, .shape = {a, b, c, d}};
    int64_t stride = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        t.strides[i] = stride;
        stride *= t.shape[i];
    }
    return t;
}

static inline void assert_view(const struct fj_view *view, const int64_t shape[4],
                               const int64_t stride[4])
{
    for (int i = 0; i < 4; i++) {
        assert_int_equal(view->shape[i], shape[i]);
        assert_int_equal(view->stride[i], stride[i]);
    }
}

#define VIEW(view, s0, s1, s2, s3, t0, t1, t2, t3)                                                 \
    assert_view(view, (const int64_t[4]){s0, s1, s2, s3}, (const int64_t[4]){t0, t1, t2, t3})

#endif
