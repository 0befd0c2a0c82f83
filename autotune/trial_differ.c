// Whole outputs against each other, on the device.
#include "autotune/trial.h"
#include "cuda/launch.h"

#define TEMPLATE "compare.cu"
#define THREADS 256
#define CTAS_MAX 512

// As the template has it.
struct difference {
    int64_t index;
    float got, want;
};

static const char *name_of(enum fajit_dtype dtype)
{
    return dtype == FAJIT_F32 ? "compare_f32" : dtype == FAJIT_F16 ? "compare_f16" : "compare_bf16";
}

static int render(struct fj_trial *trial, struct fj_rendering *ret_rendering)
{
    const struct fj_template *tmpl;
    struct fj_params params = {0};
    fj_params_int(&params, "threads", THREADS);
    fj_params_word(&params, "dtype", fj_dtype_name(trial->out.dtype));
    fj_params_word(&params, "kernel_name", name_of(trial->out.dtype));
    int err = fj_template_get(trial->jit->template_dir, TEMPLATE, &tmpl);
    return err ? err
               : fj_template_render(tmpl, &(struct fj_render_params){.params = &params},
                                    ret_rendering);
}

int fj_trial_differ_make(struct fj_trial *trial)
{
    struct fj_rendering rendering = {0};
    const char *name = name_of(trial->out.dtype);
    int err = render(trial, &rendering);
    if (err == 0)
        err = fj_jit_helper(trial->jit, &rendering, name, &trial->differ);
    fj_rendering_free(&rendering);
    if (err)
        return fj_err_context(err, "the kernel that compares outputs");
    trial->found = fj_trial_alloc(trial, CTAS_MAX * sizeof(struct difference));
    return trial->found ? FAJIT_OK : FAJIT_E_NOMEM;
}

static double epsilon_of(enum fajit_dtype dtype)
{
    return dtype == FAJIT_F32 ? 0x1p-20 : dtype == FAJIT_F16 ? 0x1p-10 : 0x1p-7;
}

static int ctas_for(int64_t elements)
{
    int64_t ctas = (elements + THREADS - 1) / THREADS;
    return (int)(ctas < CTAS_MAX ? ctas : CTAS_MAX);
}

// Two right results differ by roundings: eight units in the last place of the larger of the value
// and of what values of this tensor measure. A wrong element differs by about as much as it is.
static int launch(struct fj_trial *trial, int ctas)
{
    const struct fj_cuda *cuda = trial->jit->device.cuda;
    float unit = (float)(8 * epsilon_of(trial->out.dtype)), size = (float)trial->size;
    void *args[] = {&trial->out.view.data, &trial->first, &trial->out.elements, &unit, &size,
                    &trial->found};
    const struct fj_cuda_launch how = {
        .grid = {(unsigned)ctas, 1, 1}, .block = {THREADS, 1, 1}, .args = args};
    int err = fj_cuda_launch(cuda, trial->differ.function, &how, NULL);
    return err ? err : fj_cuda_check(cuda, cuda->cuCtxSynchronize(), "cuCtxSynchronize");
}

static int keep_first(struct fj_trial *trial)
{
    const struct fj_cuda *cuda = trial->jit->device.cuda;
    const size_t bytes = fj_trial_tensor_bytes(&trial->out);
    void *first = fj_trial_alloc(trial, bytes);
    if (!first)
        return fj_err_context(FAJIT_E_NOMEM, "a copy of the output");
    trial->first = first;
    return fj_cuda_check(cuda,
                         cuda->cuMemcpyDtoD_v2((CUdeviceptr)(uintptr_t)first,
                                               (CUdeviceptr)(uintptr_t)trial->out.view.data, bytes),
                         "cuMemcpyDtoD");
}

int fj_trial_differ_judge(struct fj_trial *trial)
{
    struct difference found[CTAS_MAX];
    const struct difference *least = &found[0];
    const int ctas = ctas_for(trial->out.elements);
    if (!trial->first)
        return keep_first(trial);
    int err = launch(trial, ctas);
    if (err == 0)
        err = fj_trial_download(trial, found, trial->found, (size_t)ctas * sizeof(*found));
    if (err)
        return err;
    for (int i = 1; i < ctas; i++)
        least = found[i].index < least->index ? &found[i] : least;
    if (least->index == INT64_MAX)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL,
                  "element %lld of the output is %.6g, %.6g in the first candidate's",
                  (long long)least->index, (double)least->got, (double)least->want);
}
