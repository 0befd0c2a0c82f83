// Tensors of a trial and their values.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/trial.h"
#include "base/num.h"
#include "base/thread.h"

// Normal values that repeat after a prime number of elements: no two rows are alike, and any
// element of any tensor can be told from its index.
#define PERIOD 262147
// As cuMemAlloc aligns.
#define SET_ALIGN 256

static float normals[PERIOD];
static uint16_t halves[2][PERIOD]; // the same in fp16 and bf16
static pthread_once_t once = PTHREAD_ONCE_INIT;

static double next_unit(uint64_t *state)
{
    // splitmix64 (Steele, Lea, Flood 2014).
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static void make_normals(void)
{
    uint64_t state = 1;
    for (int i = 0; i < PERIOD; i++) {
        double u = next_unit(&state) + 0x1p-54, v = next_unit(&state);
        normals[i] = (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
        halves[0][i] = fj_f32_to_f16(normals[i]);
        halves[1][i] = fj_f32_to_bf16(normals[i]);
    }
}

static const void *values_of(enum fajit_dtype dtype)
{
    pthread_once(&once, make_normals);
    return dtype == FAJIT_F32 ? (const void *)normals : halves[dtype == FAJIT_BF16];
}

size_t fj_trial_tensor_bytes(const struct fj_trial_tensor *tensor)
{
    return (size_t)tensor->elements * fajit_dtype_bytes(tensor->dtype);
}

void fj_trial_value(const struct fj_trial_tensor *tensor, int64_t element, void *ret)
{
    size_t bytes = fajit_dtype_bytes(tensor->dtype);
    size_t at = (size_t)(((uint64_t)element + tensor->shift) % PERIOD);
    memcpy(ret, (const char *)values_of(tensor->dtype) + at * bytes, bytes);
}

int64_t fj_trial_offset(const struct fj_trial_tensor *tensor, int64_t a, int64_t b, int64_t c,
                        int64_t d)
{
    const int64_t *stride = tensor->view.stride;
    return a * stride[0] + b * stride[1] + c * stride[2] + d * stride[3];
}

int fj_trial_tensor_fill(struct fj_trial *trial, const struct fj_trial_tensor *tensor, int set)
{
    const size_t bytes = fajit_dtype_bytes(tensor->dtype);
    const char *values = values_of(tensor->dtype);
    char *data = (char *)tensor->view.data + (size_t)set * tensor->set_bytes;
    int err = FAJIT_OK;
    for (int64_t done = 0, some; done < tensor->elements && err == 0; done += some) {
        int64_t at = (int64_t)(((uint64_t)done + tensor->shift) % PERIOD);
        some = PERIOD - at < tensor->elements - done ? PERIOD - at : tensor->elements - done;
        err = fj_trial_upload(trial, data + (size_t)done * bytes, values + (size_t)at * bytes,
                              (size_t)some * bytes);
    }
    return err;
}

int fj_trial_tensor_make(struct fj_trial *trial, struct fj_trial_tensor *tensor,
                         enum fajit_dtype dtype, const int64_t shape[4], const int order[4],
                         bool filled)
{
    int64_t stride = 1;
    tensor->dtype = dtype;
    tensor->shift = (uint64_t)trial->memory_count * 50021;
    for (int i = 3; i >= 0; i--) {
        int dim = order[i];
        tensor->view.shape[dim] = shape[dim];
        tensor->view.stride[dim] = shape[dim] > 1 ? stride : 0;
        stride *= shape[dim];
    }
    tensor->elements = stride;
    tensor->set_bytes = (fj_trial_tensor_bytes(tensor) + SET_ALIGN - 1) / SET_ALIGN * SET_ALIGN;
    tensor->view.data = fj_trial_alloc(trial, (size_t)trial->sets * tensor->set_bytes);
    if (!tensor->view.data)
        return fj_err_context(FAJIT_E_NOMEM, "tensors to tune on");
    int err = FAJIT_OK;
    for (int set = 0; filled && set < trial->sets && err == 0; set++)
        err = fj_trial_tensor_fill(trial, tensor, set);
    return err;
}

static void add_row(int64_t row, int64_t length, int max, int64_t *rows, int *count)
{
    int at = *count;
    if (row < 0 || row >= length || at == max)
        return;
    for (int i = 0; i < at; i++)
        if (rows[i] == row)
            return;
    for (; at > 0 && rows[at - 1] > row; at--)
        rows[at] = rows[at - 1];
    rows[at] = row;
    ++*count;
}

int fj_trial_rows(int64_t length, const int64_t *boundaries, int n, int max, int64_t *ret_rows)
{
    int count = 0;
    uint64_t state = (uint64_t)length;
    const int64_t chosen[] = {0, length - 1, 63, 64, 127, 128};
    for (int i = 0; i < 2 * n; i++)
        add_row(boundaries[i / 2] - (i & 1), length, max, ret_rows, &count);
    for (size_t i = 0; i < sizeof(chosen) / sizeof(chosen[0]); i++)
        add_row(chosen[i], length, max, ret_rows, &count);
    for (int tries = 0; count < max && count < length && tries < 16 * max; tries++)
        add_row((int64_t)(next_unit(&state) * (double)length), length, max, ret_rows, &count);
    return count;
}
