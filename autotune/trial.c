#include "autotune/trial.h"

#include <math.h>
#include <stdlib.h>

#define SETS_MAX 64
#define POISON 0xff // NaN in every dtype

// --- Memory -----------------------------------------------------------------------------------

// Runs one driver call with the device's context current.
#define ON_DEVICE(trial, call, ...)                                                                \
    on_device((trial), (trial)->jit->device.cuda->call(__VA_ARGS__), #call)

static int on_device(struct fj_trial *trial, CUresult result, const char *call)
{
    return fj_cuda_check(trial->jit->device.cuda, result, call);
}

static CUdeviceptr address(const void *memory)
{
    return (CUdeviceptr)(uintptr_t)memory;
}

void *fj_trial_alloc(struct fj_trial *trial, size_t bytes)
{
    CUdeviceptr memory = 0;
    int max = (int)(sizeof(trial->memory) / sizeof(trial->memory[0]));
    if (trial->memory_count == max ||
        ON_DEVICE(trial, cuMemAlloc_v2, &memory, bytes ? bytes : 16) != FAJIT_OK)
        return NULL;
    trial->memory[trial->memory_count++] = (void *)(uintptr_t)memory;
    return (void *)(uintptr_t)memory;
}

int fj_trial_upload(struct fj_trial *trial, void *device, const void *host, size_t bytes)
{
    return ON_DEVICE(trial, cuMemcpyHtoD_v2, address(device), host, bytes);
}

int fj_trial_download(struct fj_trial *trial, void *host, const void *device, size_t bytes)
{
    return ON_DEVICE(trial, cuMemcpyDtoH_v2, host, address(device), bytes);
}

// --- Life -------------------------------------------------------------------------------------

// The emulated device has no L2: two sets, so that turns are taken there too.
void fj_trial_choose_sets(struct fj_trial *trial, double bytes)
{
    const bool emulated = trial->jit->want_ptx;
    const double wanted = emulated ? 0 : 2 * (double)trial->jit->gpu.l2_bytes;
    const double sets = emulated || bytes <= 0 ? 2 : ceil(wanted / bytes);
    trial->sets = sets < 1 ? 1 : sets < SETS_MAX ? (int)sets : SETS_MAX;
    trial->flush = trial->sets * bytes < wanted;
}

static int make(struct fj_trial *trial)
{
    int err =
        trial->problem.op == FAJIT_OP_GEMM ? fj_trial_gemm_make(trial) : fj_trial_attn_make(trial);
    return err ? err : fj_trial_differ_make(trial);
}

int fj_trial_create(struct fj_jit *jit, const struct fj_problem *problem,
                    struct fj_trial **ret_trial)
{
    CUcontext previous;
    struct fj_trial *trial = calloc(1, sizeof(*trial));
    if (!trial)
        return fj_err(FAJIT_E_NOMEM, "no memory for a trial");
    trial->jit = jit;
    trial->problem = *problem;
    int err = fj_device_enter(&jit->device, &previous);
    if (err == 0) {
        err = make(trial);
        fj_device_leave(&jit->device, previous);
    }
    if (err) {
        fj_trial_destroy(&trial);
        return err;
    }
    *ret_trial = trial;
    return FAJIT_OK;
}

void fj_trial_destroy(struct fj_trial **trial)
{
    CUcontext previous;
    struct fj_trial *t = *trial;
    if (!t)
        return;
    if (fj_device_enter(&t->jit->device, &previous) == FAJIT_OK) {
        for (int i = 0; i < t->memory_count; i++)
            t->jit->device.cuda->cuMemFree_v2(address(t->memory[i]));
        if (t->workspace)
            t->jit->device.cuda->cuMemFree_v2(address(t->workspace));
        if (t->differ.module)
            fj_module_unload(&t->jit->device, &t->differ);
        fj_device_leave(&t->jit->device, previous);
    }
    free(t->lengths_q);
    free(t->lengths_k);
    fj_trial_samples_free(t);
    free(t);
    *trial = NULL;
}

static int grow_workspace(struct fj_trial *trial, size_t bytes)
{
    CUdeviceptr memory = 0;
    if (bytes <= trial->workspace_bytes)
        return FAJIT_OK;
    int err = ON_DEVICE(trial, cuMemAlloc_v2, &memory, bytes);
    if (err)
        return err;
    // Launches bound earlier still point at the old one: it is kept until the end.
    int max = (int)(sizeof(trial->memory) / sizeof(trial->memory[0]));
    if (trial->workspace && trial->memory_count < max)
        trial->memory[trial->memory_count++] = trial->workspace;
    trial->workspace = (void *)(uintptr_t)memory;
    trial->workspace_bytes = bytes;
    return FAJIT_OK;
}

static void move(struct fj_view *view, const struct fj_trial_tensor *tensor, int set)
{
    if (view->data)
        view->data = (char *)view->data + (size_t)set * tensor->set_bytes;
}

static struct fj_attn_args attn_args(const struct fj_trial *trial, int set)
{
    struct fj_attn_args args = trial->args.attn;
    move(&args.q, &trial->in[0], set);
    move(&args.k, &trial->in[1], set);
    move(&args.v, &trial->in[2], set);
    move(&args.o, &trial->out, set);
    move(&args.lse, &trial->lse, set);
    return args;
}

static struct fj_gemm_args gemm_args(const struct fj_trial *trial, int set)
{
    struct fj_gemm_args args = trial->args.gemm;
    move(&args.a, &trial->in[0], set);
    move(&args.b, &trial->in[1], set);
    move(&args.c, &trial->out, set);
    if (args.bias)
        args.bias = (const char *)args.bias + (size_t)set * trial->bias.set_bytes;
    return args;
}

// The workspace is the same for all: launches follow one another.
static int bind_set(const struct fj_trial *trial, const struct fj_kernel *kernel, int set,
                    size_t bytes, struct fj_launch *ret_launch)
{
    const struct fj_choice *choice = &kernel->choice;
    const bool gemm = trial->problem.op == FAJIT_OP_GEMM;
    struct fj_attn_args attn = gemm ? (struct fj_attn_args){.scale = 0} : attn_args(trial, set);
    struct fj_gemm_args product = gemm ? gemm_args(trial, set) : (struct fj_gemm_args){.alpha = 0};
    attn.workspace = product.workspace = bytes ? trial->workspace : NULL;
    attn.workspace_bytes = product.workspace_bytes = bytes;
    fj_launch_init(ret_launch);
    int err = choice->kernel->bind(choice, &trial->jit->gpu, kernel->ctas_per_sm,
                                   gemm ? (const void *)&product : &attn, ret_launch);
    if (err == 0 && ret_launch->overflow)
        err = fj_err(FAJIT_E_UNSUPPORTED, "the kernel takes more arguments than a launch holds");
    return err;
}

int fj_trial_bind(struct fj_trial *trial, const struct fj_kernel *kernel,
                  struct fj_launch *ret_launches)
{
    size_t bytes =
        kernel->choice.kernel->workspace_bytes(&kernel->choice, &trial->jit->gpu, &trial->args);
    CUcontext previous;
    int err = fj_device_enter(&trial->jit->device, &previous);
    if (err)
        return err;
    err = grow_workspace(trial, bytes);
    fj_device_leave(&trial->jit->device, previous);
    for (int i = 0; i < trial->sets && err == 0; i++)
        err = bind_set(trial, kernel, i, bytes, &ret_launches[i]);
    return err;
}

// --- Judging ----------------------------------------------------------------------------------

static int poison(struct fj_trial *trial)
{
    const struct fj_trial_tensor *out = &trial->out, *lse = &trial->lse;
    const bool reads_c = trial->problem.op == FAJIT_OP_GEMM && trial->problem.gemm.beta;
    int err = reads_c ? fj_trial_tensor_fill(trial, out, 0)
                      : ON_DEVICE(trial, cuMemsetD8_v2, address(out->view.data), POISON,
                                  fj_trial_tensor_bytes(out));
    if (err == 0 && lse->elements)
        err = ON_DEVICE(trial, cuMemsetD8_v2, address(lse->view.data), POISON,
                        fj_trial_tensor_bytes(lse));
    if (err == 0 && trial->workspace)
        err = ON_DEVICE(trial, cuMemsetD8_v2, address(trial->workspace), POISON,
                        trial->workspace_bytes);
    return err;
}

static int launch_once(struct fj_trial *trial, const struct fj_kernel *kernel,
                       struct fj_launch *launch)
{
    int err = poison(trial);
    if (err == 0)
        err = fj_jit_launch(trial->jit, kernel, launch, NULL);
    return err ? err : ON_DEVICE(trial, cuCtxSynchronize);
}

static int check(struct fj_trial *trial, const struct fj_kernel *kernel, struct fj_launch *launch)
{
    int err = launch_once(trial, kernel, launch);
    if (err == 0)
        err = fj_trial_samples_judge(trial);
    return err ? err : fj_trial_differ_judge(trial);
}

int fj_trial_check(struct fj_trial *trial, const struct fj_kernel *kernel,
                   struct fj_launch *launches)
{
    CUcontext previous;
    int err = fj_device_enter(&trial->jit->device, &previous);
    if (err)
        return err;
    err = check(trial, kernel, launches);
    fj_device_leave(&trial->jit->device, previous);
    return err;
}
