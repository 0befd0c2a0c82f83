// The README's program made complete: causal grouped-query attention in bf16, from a problem text
// to a checked result. Build and run it against an installed fajit:
//
//     cc attention.c -o attention $(pkg-config --cflags --libs fajit) -lm
//     ./attention                       # on the first GPU
//     FAJIT_DEVICE=emu ./attention      # on the CPU
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <fajit/fajit.h>

enum { BATCH = 2, SEQ = 48, HEADS_Q = 4, HEADS_KV = 2, HEAD_DIM = 64 };
enum { Q_COUNT = BATCH * SEQ * HEADS_Q * HEAD_DIM, KV_COUNT = BATCH * SEQ * HEADS_KV * HEAD_DIM };

struct attention {
    struct fajit_ctx *ctx;
    struct fajit_problem problem;
    struct fajit_plan *plan;
    void *q, *k, *v, *o; // device memory, bf16
    uint16_t host_q[Q_COUNT], host_k[KV_COUNT], host_v[KV_COUNT], host_o[Q_COUNT];
};

static void fill(uint16_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = (float)rand() / (float)RAND_MAX - 0.5f;
        fajit_convert_from_f32(FAJIT_BF16, &value, &values[i], 1);
    }
}

static int upload(struct fajit_ctx *ctx, const void *host, size_t bytes, void **ret_device)
{
    int err = fajit_mem_alloc(ctx, bytes, ret_device);
    return err ? err : fajit_mem_upload(ctx, *ret_device, host, bytes);
}

// Tensors are views: the same struct describes device memory for a launch and host memory for the
// reference.
static struct fajit_attn_args views(void *q, void *k, void *v, void *o)
{
    return (struct fajit_attn_args){
        .struct_size = sizeof(struct fajit_attn_args),
        .q = fajit_tensor_4d(q, FAJIT_BF16, BATCH, SEQ, HEADS_Q, HEAD_DIM),
        .k = fajit_tensor_4d(k, FAJIT_BF16, BATCH, SEQ, HEADS_KV, HEAD_DIM),
        .v = fajit_tensor_4d(v, FAJIT_BF16, BATCH, SEQ, HEADS_KV, HEAD_DIM),
        .o = fajit_tensor_4d(o, FAJIT_BF16, BATCH, SEQ, HEADS_Q, HEAD_DIM),
    };
}

static int prepare(struct attention *a)
{
    int err = fajit_ctx_create(NULL, &a->ctx);
    if (err == 0)
        err = fajit_problem_parse("attn:bf16,h4/2,d64,bshd,causal", &a->problem);
    if (err == 0) // renders, compiles or finds in the cache
        err = fajit_plan_create(a->ctx, &a->problem, NULL, &a->plan);
    if (err == 0)
        err = upload(a->ctx, a->host_q, sizeof(a->host_q), &a->q);
    if (err == 0)
        err = upload(a->ctx, a->host_k, sizeof(a->host_k), &a->k);
    if (err == 0)
        err = upload(a->ctx, a->host_v, sizeof(a->host_v), &a->v);
    return err ? err : fajit_mem_alloc(a->ctx, sizeof(a->host_o), &a->o);
}

static int launch(struct attention *a)
{
    struct fajit_attn_args args = views(a->q, a->k, a->v, a->o);
    int err = fajit_plan_workspace_bytes(a->plan, &args, &args.workspace_bytes);
    if (err == 0 && args.workspace_bytes)
        err = fajit_mem_alloc(a->ctx, args.workspace_bytes, &args.workspace);
    if (err == 0) // a host with CUDA code of its own has a current context already
        err = fajit_ctx_make_current(a->ctx);
    if (err == 0)
        err = fajit_attn_launch(a->plan, &args, NULL);
    if (err == 0)
        err = fajit_sync(a->ctx);
    if (args.workspace)
        fajit_mem_free(a->ctx, args.workspace);
    return err ? err : fajit_mem_download(a->ctx, a->host_o, a->o, sizeof(a->host_o));
}

// Largest difference to the fp64 reference on the CPU.
static int compare(struct attention *a, double *ret_error)
{
    static double wanted[BATCH * HEADS_Q * SEQ * HEAD_DIM]; // (batch, heads, seq, dim)
    struct fajit_attn_args args = views(a->host_q, a->host_k, a->host_v, NULL);
    int err = fajit_reference_attention(&a->problem, &args, NULL, wanted, NULL);
    *ret_error = 0;
    for (int i = 0; err == 0 && i < Q_COUNT; i++) {
        int dim = i % HEAD_DIM, head = i / HEAD_DIM % HEADS_Q;
        int row = i / HEAD_DIM / HEADS_Q % SEQ, batch = i / HEAD_DIM / HEADS_Q / SEQ;
        float got;
        fajit_convert_to_f32(FAJIT_BF16, &a->host_o[i], &got, 1);
        double error = fabs(got - wanted[((batch * HEADS_Q + head) * SEQ + row) * HEAD_DIM + dim]);
        if (!(error <= *ret_error)) // NaN counts
            *ret_error = error;
    }
    return err;
}

static void clean_up(struct attention *a)
{
    void *const memory[] = {a->q, a->k, a->v, a->o};
    for (int i = 0; a->ctx && i < 4; i++)
        fajit_mem_free(a->ctx, memory[i]);
    fajit_plan_destroy(&a->plan); // plans before their context
    fajit_ctx_destroy(&a->ctx);
}

int main(void)
{
    static struct attention a;
    double error = 0;
    fill(a.host_q, Q_COUNT);
    fill(a.host_k, KV_COUNT);
    fill(a.host_v, KV_COUNT);
    int err = prepare(&a);
    if (err == 0)
        err = launch(&a);
    if (err == 0)
        err = compare(&a, &error);
    if (err)
        fprintf(stderr, "attention: %s: %s\n", fajit_strerror(err), fajit_last_error());
    else
        printf("%s: largest difference to the fp64 reference %.2g\n", fajit_plan_name(a.plan),
               error);
    clean_up(&a);
    // Outputs are below 0.5 in size, where bf16 keeps steps of up to 2^-9.
    return err || !(error <= 0x1p-8);
}
