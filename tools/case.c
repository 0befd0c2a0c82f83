#include "case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GUARD_BYTES 1024 // before and after a tensor; a multiple of every alignment promised
#define POISON 0xff

uint64_t case_random(uint64_t *state)
{
    // splitmix64 (Steele, Lea, Flood 2014): any seed, also 0, gives a full-period stream.
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double case_normal(uint64_t *state)
{
    double u = ((double)(case_random(state) >> 11) + 1.0) * 0x1p-53;
    double v = (double)(case_random(state) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

struct case_block *case_block_add(struct fcase *c, size_t bytes, int *ret_err)
{
    struct case_block *block = &c->blocks[c->block_count];
    block->bytes = bytes + 2 * GUARD_BYTES;
    block->host = malloc(block->bytes);
    *ret_err = block->host ? fajit_mem_alloc(c->ctx, block->bytes, &block->device) : FAJIT_E_NOMEM;
    c->block_count++;
    if (*ret_err == 0)
        memset(block->host, POISON, block->bytes);
    return block;
}

int case_block_upload(struct fcase *c, const struct case_block *block)
{
    return fajit_mem_upload(c->ctx, block->device, block->host, block->bytes);
}

void *case_host(const struct case_tensor *tensor)
{
    return tensor->block->host + tensor->offset_bytes;
}

struct fajit_tensor case_host_view(const struct case_tensor *tensor)
{
    struct fajit_tensor view = tensor->view;
    view.data = case_host(tensor);
    return view;
}

static int64_t pad_elements(const struct fcase *c, enum fajit_dtype dtype)
{
    int align =
        c->problem.op == FAJIT_OP_GEMM ? c->problem.gemm.align_bytes : c->problem.attn.align_bytes;
    int64_t elements = (align ? align : 16) / (int64_t)fajit_dtype_bytes(dtype);
    return elements > 0 ? elements : 1;
}

int case_tensor_make(struct fcase *c, struct case_tensor *tensor, enum fajit_dtype dtype, int ndim,
                     const int64_t *shape, const int *order)
{
    const bool padded = c->options.storage == CASE_PADDED;
    const bool offset = c->options.storage == CASE_OFFSET;
    const int64_t pad = pad_elements(c, dtype);
    struct fajit_tensor *view = &tensor->view;
    *view = (struct fajit_tensor){.dtype = dtype, .ndim = ndim};
    int64_t stride = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        int dim = order[i];
        view->shape[dim] = shape[dim];
        view->strides[dim] = stride;
        stride *= shape[dim] > 0 ? shape[dim] : 1;
        // Rows must stay aligned whatever their length, so a padded row ends on the promise.
        if (padded)
            stride = (stride + pad - 1) / pad * pad + pad;
        if (offset && shape[dim] == 1 && i < ndim - 1)
            view->strides[dim] = 1234567891;
    }
    int err;
    size_t element_bytes = fajit_dtype_bytes(dtype);
    tensor->block = case_block_add(c, ((size_t)stride + (size_t)pad) * element_bytes, &err);
    tensor->offset_bytes = GUARD_BYTES + (offset ? (size_t)pad * element_bytes : 0);
    view->data = (char *)tensor->block->device + tensor->offset_bytes;
    return err;
}

typedef void (*element_fn)(void *user, int64_t element);

static void for_each_element(const struct fajit_tensor *view, element_fn visit, void *user)
{
    int64_t n[FAJIT_MAX_DIMS] = {1, 1, 1, 1}, s[FAJIT_MAX_DIMS] = {0};
    for (int i = 0; i < view->ndim; i++) {
        n[i] = view->shape[i];
        s[i] = view->shape[i] == 1 ? 0 : view->strides[i];
    }
    for (int64_t a = 0; a < n[0]; a++)
        for (int64_t b = 0; b < n[1]; b++)
            for (int64_t i = 0; i < n[2]; i++)
                for (int64_t j = 0; j < n[3]; j++)
                    visit(user, a * s[0] + b * s[1] + i * s[2] + j * s[3]);
}

struct filler {
    enum fajit_dtype dtype;
    unsigned char *data;
    uint64_t *state;
    double scale;
    bool integers;
};

static void fill_element(void *user, int64_t element)
{
    const struct filler *f = user;
    float value = f->integers ? (float)((int)(case_random(f->state) % 7) - 3)
                              : (float)(f->scale * case_normal(f->state));
    size_t bytes = fajit_dtype_bytes(f->dtype);
    fajit_convert_from_f32(f->dtype, &value, f->data + (size_t)element * bytes, 1);
}

void case_tensor_fill(struct fcase *c, struct case_tensor *tensor, uint64_t *state, double scale)
{
    struct filler filler = {tensor->view.dtype, case_host(tensor), state, scale,
                            c->options.values == CASE_INTEGERS};
    for_each_element(&tensor->view, fill_element, &filler);
}

double case_element(const struct case_tensor *tensor, const int64_t *index)
{
    const struct fajit_tensor *view = &tensor->view;
    int64_t element = 0;
    for (int i = 0; i < view->ndim; i++)
        element += view->shape[i] == 1 ? 0 : index[i] * view->strides[i];
    float value;
    const unsigned char *data = case_host(tensor);
    fajit_convert_to_f32(view->dtype, data + (size_t)element * fajit_dtype_bytes(view->dtype),
                         &value, 1);
    return (double)value;
}

struct marker {
    unsigned char *owned;
    size_t offset_bytes, element_bytes;
};

static void mark_element(void *user, int64_t element)
{
    const struct marker *m = user;
    memset(m->owned + m->offset_bytes + (size_t)element * m->element_bytes, 1, m->element_bytes);
}

bool case_guards_intact(const struct case_tensor *tensor)
{
    const struct case_block *block = tensor->block;
    unsigned char *owned = calloc(block->bytes, 1);
    if (!owned)
        return false;
    struct marker marker = {owned, tensor->offset_bytes, fajit_dtype_bytes(tensor->view.dtype)};
    for_each_element(&tensor->view, mark_element, &marker);
    bool intact = true;
    for (size_t i = 0; i < block->bytes; i++)
        intact &= owned[i] || block->host[i] == POISON;
    free(owned);
    return intact;
}

const void *case_args(const struct fcase *c)
{
    return c->problem.op == FAJIT_OP_GEMM ? (const void *)&c->gemm : (const void *)&c->attn;
}

static int make_workspace(struct fcase *c)
{
    size_t bytes;
    int err = fajit_plan_workspace_bytes(c->plan, case_args(c), &bytes);
    if (err || bytes == 0)
        return err;
    struct case_block *block = case_block_add(c, bytes, &err);
    void *workspace = (char *)block->device + GUARD_BYTES;
    c->attn.workspace = c->gemm.workspace = workspace;
    c->attn.workspace_bytes = c->gemm.workspace_bytes = bytes;
    return err;
}

int case_create(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                const struct case_options *options, struct fcase *ret_case)
{
    memset(ret_case, 0, sizeof(*ret_case));
    struct fcase *c = ret_case;
    c->ctx = ctx;
    c->problem = *problem;
    c->options = *options;
    const struct fajit_plan_params plan_params = {.struct_size = sizeof(plan_params),
                                                  .watches = options->watches};
    int err = fajit_ctx_make_current(ctx);
    if (err == 0)
        err = fajit_plan_create(ctx, problem, &plan_params, &c->plan);
    if (err == 0)
        err = problem->op == FAJIT_OP_GEMM ? case_gemm_make(c) : case_attn_make(c);
    for (int i = 0; err == 0 && i < c->block_count; i++)
        err = case_block_upload(c, &c->blocks[i]);
    if (err == 0)
        err = make_workspace(c);
    if (err)
        case_destroy(c);
    return err;
}

void case_destroy(struct fcase *c)
{
    for (int i = 0; i < c->block_count; i++) {
        free(c->blocks[i].host);
        if (c->blocks[i].device)
            fajit_mem_free(c->ctx, c->blocks[i].device);
    }
    free(c->seqlens_q);
    free(c->seqlens_k);
    fajit_plan_destroy(&c->plan);
    memset(c, 0, sizeof(*c));
}

int case_poison(struct fcase *c)
{
    const struct case_block *out = c->out.block, *lse = c->lse.block;
    int err = FAJIT_OK;
    // A C that is read (beta) keeps its values: its own elements are the input.
    if (c->problem.op != FAJIT_OP_GEMM || !c->problem.gemm.beta)
        err = fajit_mem_fill(c->ctx, out->device, POISON, out->bytes);
    else
        err = case_block_upload(c, out);
    if (err == 0 && lse)
        err = fajit_mem_fill(c->ctx, lse->device, POISON, lse->bytes);
    if (err == 0 && c->attn.workspace)
        err = fajit_mem_fill(c->ctx, c->attn.workspace, POISON, c->attn.workspace_bytes);
    return err;
}

int case_launch(struct fcase *c)
{
    int err = c->problem.op == FAJIT_OP_GEMM ? fajit_gemm_launch(c->plan, &c->gemm, NULL)
                                             : fajit_attn_launch(c->plan, &c->attn, NULL);
    return err ? err : fajit_sync(c->ctx);
}

int case_fetch(struct fcase *c)
{
    const struct case_block *out = c->out.block, *lse = c->lse.block;
    int err = fajit_mem_download(c->ctx, out->host, out->device, out->bytes);
    if (err == 0 && lse)
        err = fajit_mem_download(c->ctx, lse->host, lse->device, lse->bytes);
    return err;
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int case_check(struct fcase *c, struct case_result *ret_result)
{
    memset(ret_result, 0, sizeof(*ret_result));
    int err = case_poison(c);
    if (err == 0)
        err = case_launch(c);
    if (err)
        return err;
    double start = now_us();
    err = c->problem.op == FAJIT_OP_GEMM ? case_gemm_compare(c, ret_result)
                                         : case_attn_compare(c, ret_result);
    ret_result->reference_us = now_us() - start;
    return err;
}
