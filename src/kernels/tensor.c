#include "kernels/tensor.h"

#define GOOD_ALIGN(value, align) (((value) & ((int64_t)(align)-1)) == 0)

static int element_bytes(enum fajit_dtype dtype)
{
    return dtype == FAJIT_F32 ? 4 : 2;
}

bool fj_tensor_is_empty(const struct fajit_tensor *tensor)
{
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] == 0)
            return true;
    }
    return false;
}

// Addresses of a tensor: [first, end), its last element at `last`. Dense: they are all its own.
struct span {
    uintptr_t first, last, end;
    bool dense;
};

static struct span span_of(const struct fajit_tensor *tensor)
{
    int64_t reach = 0, count = 1;
    bool over = false;
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] <= 1)
            continue;
        reach += (tensor->shape[i] - 1) * tensor->strides[i];
        over |= __builtin_mul_overflow(count, tensor->shape[i], &count);
    }
    int bytes = element_bytes(tensor->dtype);
    uintptr_t first = (uintptr_t)tensor->data, last = first + (uintptr_t)reach * (unsigned)bytes;
    return (struct span){first, last, last + (unsigned)bytes, !over && count == reach + 1};
}

static bool holds(const struct span *a, uintptr_t address)
{
    return a->dense && address >= a->first && address < a->end;
}

bool fj_tensor_overlap(const struct fajit_tensor *a, const struct fajit_tensor *b)
{
    if (fj_tensor_is_empty(a) || fj_tensor_is_empty(b))
        return false;
    const struct span x = span_of(a), y = span_of(b);
    return x.first == y.first || holds(&x, y.first) || holds(&x, y.last) || holds(&y, x.first) ||
           holds(&y, x.last);
}

// The largest power of two that divides `value`, for advice.
static long long align_of(int64_t value)
{
    return (long long)(value & -value);
}

static int check_dim(const struct fajit_tensor *tensor, const char *name, int i)
{
    int64_t size = tensor->shape[i], stride = tensor->strides[i];
    if (size < 0 || size > FJ_DIM_MAX) {
        return fj_err(FAJIT_E_INVAL, "%s: dimension %d has size %lld; it may be 0 to %lld", name, i,
                      (long long)size, (long long)FJ_DIM_MAX);
    }
    if (size > 1 && stride < 0) {
        return fj_err(FAJIT_E_INVAL,
                      "%s: dimension %d has stride %lld; negative strides are not supported", name,
                      i, (long long)stride);
    }
    return FAJIT_OK;
}

// Dtype and sizes: what even a tensor without elements has to get right.
static int check_shape(const struct fajit_tensor *tensor, const struct fj_tensor_rule *rule)
{
    if (tensor->dtype != rule->dtype) {
        return fj_err(FAJIT_E_INVAL, "%s: dtype is %s; the plan has %s", rule->name,
                      fj_dtype_name(tensor->dtype), fj_dtype_name(rule->dtype));
    }
    for (int i = 0; i < tensor->ndim; i++) {
        int r = check_dim(tensor, rule->name, i);
        if (r < 0)
            return r;
    }
    return FAJIT_OK;
}

// The last element's offset in bytes fits 63 bits.
static int check_extent(const struct fajit_tensor *tensor, const struct fj_tensor_rule *rule)
{
    int64_t extent = 0, step;
    bool over = false;
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] > 1) {
            over |= __builtin_mul_overflow(tensor->shape[i] - 1, tensor->strides[i], &step);
            over |= __builtin_add_overflow(extent, over ? 0 : step, &extent);
        }
    }
    if (over || extent > INT64_MAX / element_bytes(rule->dtype)) {
        return fj_err(FAJIT_E_INVAL, "%s: its strides reach past 63 bits of address", rule->name);
    }
    return FAJIT_OK;
}

static int check_pointer(const struct fajit_tensor *tensor, const struct fj_tensor_rule *rule)
{
    intptr_t address = (intptr_t)tensor->data;
    if (!tensor->data)
        return fj_err(FAJIT_E_INVAL, "%s: the pointer is NULL", rule->name);
    if (!GOOD_ALIGN(address, element_bytes(rule->dtype))) {
        return fj_err(FAJIT_E_INVAL, "%s: the pointer %p is no multiple of %d bytes, its element",
                      rule->name, tensor->data, element_bytes(rule->dtype));
    }
    if (!GOOD_ALIGN(address, rule->align_bytes)) {
        return fj_err(
            FAJIT_E_INVAL,
            "%s: the pointer %p is no multiple of %d bytes, which the plan promises; plan "
            "with align_bytes %lld or move the tensor",
            rule->name, tensor->data, rule->align_bytes, align_of(address));
    }
    return FAJIT_OK;
}

static int check_strides(const struct fajit_tensor *tensor, const struct fj_tensor_rule *rule)
{
    int last = tensor->ndim - 1;
    if (tensor->shape[last] > 1 && tensor->strides[last] != 1) {
        return fj_err(FAJIT_E_INVAL, "%s: its last dimension has stride %lld; it has to be 1",
                      rule->name, (long long)tensor->strides[last]);
    }
    for (int i = 0; i < last; i++) {
        if (tensor->shape[i] <= 1)
            continue; // its stride may be anything, too large to multiply even
        int64_t bytes = tensor->strides[i] * element_bytes(rule->dtype);
        if (!GOOD_ALIGN(bytes, rule->align_bytes)) {
            return fj_err(FAJIT_E_INVAL,
                          "%s: dimension %d has a stride of %lld elements, %lld bytes, no multiple "
                          "of the %d bytes the plan promises; plan with align_bytes %lld or pad it",
                          rule->name, i, (long long)tensor->strides[i], (long long)bytes,
                          rule->align_bytes, align_of(bytes));
        }
    }
    return FAJIT_OK;
}

// In order of rising stride, each dimension must step past everything the smaller ones reach. This
// refuses a few interleavings that do not collide; no library makes such tensors.
static int check_overlap(const struct fajit_tensor *tensor, const char *name)
{
    int order[FAJIT_MAX_DIMS], n = 0;
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] <= 1)
            continue;
        int at = n++;
        for (; at > 0 && tensor->strides[order[at - 1]] > tensor->strides[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    int64_t reach = 0;
    for (int i = 0; i < n; i++) {
        int64_t stride = tensor->strides[order[i]];
        if (stride <= reach) {
            return fj_err(FAJIT_E_INVAL,
                          "%s: the output overlaps itself: dimension %d has stride %lld, and the "
                          "dimensions below it reach %lld elements",
                          name, order[i], (long long)stride, (long long)reach + 1);
        }
        reach += (tensor->shape[order[i]] - 1) * stride;
    }
    return FAJIT_OK;
}

int fj_tensor_check(const struct fajit_tensor *tensor, const struct fj_tensor_rule *rule)
{
    int r = check_shape(tensor, rule);
    if (r < 0 || fj_tensor_is_empty(tensor))
        return r;
    r = check_extent(tensor, rule);
    if (r == FAJIT_OK)
        r = check_pointer(tensor, rule);
    if (r == FAJIT_OK)
        r = check_strides(tensor, rule);
    if (r == FAJIT_OK && rule->output)
        r = check_overlap(tensor, rule->name);
    return r;
}

int fj_pointer_check(const char *name, const char *word, const void *pointer, bool planned,
                     bool may_be_null, int align_bytes)
{
    if (pointer && !planned) {
        return fj_err(FAJIT_E_INVAL, "%s is given, but the plan is not for it; plan with %s", name,
                      word);
    }
    if (!pointer && planned && !may_be_null)
        return fj_err(FAJIT_E_INVAL, "%s is NULL, and the plan needs it (%s)", name, word);
    if (!GOOD_ALIGN((intptr_t)pointer, align_bytes)) {
        return fj_err(FAJIT_E_INVAL, "%s: the pointer %p is no multiple of %d bytes", name, pointer,
                      align_bytes);
    }
    return FAJIT_OK;
}
