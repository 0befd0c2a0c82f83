// Rules every tensor of a launch obeys, whatever it is for.
#ifndef FJ_KERNELS_TENSOR_H
#define FJ_KERNELS_TENSOR_H

#include "kernels/args.h"

struct fj_tensor_rule {
    const char *name; // "q": for sentences
    enum fajit_dtype dtype;
    int align_bytes; // of the pointer and of every stride but the last; a power of two
    bool output;     // no two elements may share an address
};

// Dtype, sizes, strides, extent, pointer, alignment, overlap with itself. FAJIT_E_INVAL with the
// rule. A tensor without elements need only have the dtype, sizes and `ndim`.
int fj_tensor_check(const struct fajit_tensor *tensor, const struct fj_tensor_rule *rule);

// The tensor has a dimension of size 0.
bool fj_tensor_is_empty(const struct fajit_tensor *tensor);

// Two tensors certainly share an element: they begin at one address, or one that fills its memory
// holds an end of the other. Of two with gaps, which may lie in each other's, it cannot be told.
// Both have passed fj_tensor_check.
bool fj_tensor_overlap(const struct fajit_tensor *a, const struct fajit_tensor *b);

// A pointer that is not a tensor's: required exactly when planned, and aligned.
int fj_pointer_check(const char *name, const char *word, const void *pointer, bool planned,
                     bool may_be_null, int align_bytes);

static inline void fj_view_dim(struct fj_view *view, int dim, int64_t size, int64_t stride)
{
    view->shape[dim] = size;
    view->stride[dim] = size > 1 ? stride : 0;
}

#endif
