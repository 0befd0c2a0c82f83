#include "autotune/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

// Outputs are compared in full up to this size; of larger ones the reference's rows must do.
#define FULL_COMPARE_BYTES ((size_t)1 << 30)
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

static int make(struct fj_trial *trial)
{
    return trial->problem.op == FAJIT_OP_GEMM ? fj_trial_gemm_make(trial)
                                              : fj_trial_attn_make(trial);
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
        fj_device_leave(&t->jit->device, previous);
    }
    free(t->lengths_q);
    free(t->lengths_k);
    free(t->first);
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
    if (trial->workspace && trial->memory_count < 8)
        trial->memory[trial->memory_count++] = trial->workspace;
    trial->workspace = (void *)(uintptr_t)memory;
    trial->workspace_bytes = bytes;
    return FAJIT_OK;
}

int fj_trial_bind(struct fj_trial *trial, const struct fj_kernel *kernel,
                  struct fj_launch *ret_launch)
{
    const struct fj_choice *choice = &kernel->choice;
    const struct fj_gpu *gpu = &trial->jit->gpu;
    size_t bytes = choice->kernel->workspace_bytes(choice, gpu, &trial->args);
    CUcontext previous;
    int err = fj_device_enter(&trial->jit->device, &previous);
    if (err)
        return err;
    err = grow_workspace(trial, bytes);
    fj_device_leave(&trial->jit->device, previous);
    if (err)
        return err;
    const bool gemm = trial->problem.op == FAJIT_OP_GEMM;
    void **workspace = gemm ? &trial->args.gemm.workspace : &trial->args.attn.workspace;
    size_t *size = gemm ? &trial->args.gemm.workspace_bytes : &trial->args.attn.workspace_bytes;
    *workspace = bytes ? trial->workspace : NULL;
    *size = bytes;
    fj_launch_init(ret_launch);
    err = choice->kernel->bind(choice, gpu, kernel->ctas_per_sm, &trial->args, ret_launch);
    if (err == 0 && ret_launch->overflow)
        err = fj_err(FAJIT_E_UNSUPPORTED, "the kernel takes more arguments than a launch holds");
    return err;
}

// --- Judging ----------------------------------------------------------------------------------

static int poison(struct fj_trial *trial)
{
    const struct fj_trial_tensor *out = &trial->out, *lse = &trial->lse;
    const bool reads_c = trial->problem.op == FAJIT_OP_GEMM && trial->problem.gemm.beta;
    int err = reads_c ? fj_trial_tensor_fill(trial, out)
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

static double epsilon_of(enum fajit_dtype dtype)
{
    return dtype == FAJIT_F32 ? 0x1p-20 : dtype == FAJIT_F16 ? 0x1p-10 : 0x1p-7;
}

// Two right results differ by roundings: eight units in the last place of the larger of the value
// and of what values of this tensor measure. A wrong element differs by about as much as it is.
static int compare_with_first(const struct fj_trial *trial, const void *host)
{
    const struct fj_trial_tensor *out = &trial->out;
    double squares = 0;
    for (int64_t i = 0; i < out->elements; i += 97) {
        double value = fj_trial_read(out, trial->first, i);
        squares += value * value;
    }
    double size = sqrt(squares / ((double)out->elements / 97 + 1));
    double unit = 8 * epsilon_of(out->dtype);
    for (int64_t i = 0; i < out->elements; i++) {
        double got = fj_trial_read(out, host, i), want = fj_trial_read(out, trial->first, i);
        double allowed = unit * fmax(fabs(want), size);
        if (!(fabs(got - want) <= allowed) && !(isnan(got) && isnan(want)))
            return fj_err(FAJIT_E_INVAL,
                          "element %lld of the output is %.6g, %.6g in the first candidate's",
                          (long long)i, got, want);
    }
    return FAJIT_OK;
}

static int judge(struct fj_trial *trial, unsigned char *host, const float *lse)
{
    const size_t bytes = fj_trial_tensor_bytes(&trial->out);
    int err = trial->problem.op == FAJIT_OP_GEMM ? fj_trial_gemm_compare(trial, host)
                                                 : fj_trial_attn_compare(trial, host, lse);
    if (err || bytes > FULL_COMPARE_BYTES)
        return err;
    if (trial->first)
        return compare_with_first(trial, host);
    trial->first = malloc(bytes);
    if (trial->first)
        memcpy(trial->first, host, bytes);
    return FAJIT_OK;
}

static int check(struct fj_trial *trial, const struct fj_kernel *kernel, struct fj_launch *launch)
{
    const size_t bytes = fj_trial_tensor_bytes(&trial->out);
    const size_t lse_bytes = fj_trial_tensor_bytes(&trial->lse);
    unsigned char *host = malloc(bytes + 1);
    float *lse = malloc(lse_bytes + 1);
    int err = host && lse ? FAJIT_OK : fj_err(FAJIT_E_NOMEM, "no memory for a copy of the output");
    if (err == 0)
        err = launch_once(trial, kernel, launch);
    if (err == 0)
        err = fj_trial_download(trial, host, trial->out.view.data, bytes);
    if (err == 0 && lse_bytes)
        err = fj_trial_download(trial, lse, trial->lse.view.data, lse_bytes);
    if (err == 0)
        err = judge(trial, host, lse_bytes ? lse : NULL);
    free(host);
    free(lse);
    return err;
}

int fj_trial_check(struct fj_trial *trial, const struct fj_kernel *kernel, struct fj_launch *launch)
{
    CUcontext previous;
    int err = fj_device_enter(&trial->jit->device, &previous);
    if (err)
        return err;
    err = check(trial, kernel, launch);
    fj_device_leave(&trial->jit->device, previous);
    return err;
}
