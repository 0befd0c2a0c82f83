// The pipeline on one screen: fj_jit_kernel and make_kernel, one step per line.
#include "jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/thread.h"
#include "jit_steps.h"

static int make_kernel(struct fj_jit *jit, const struct fj_jit_request *request,
                       struct fj_kernel *kernel)
{
    int err = fj_step_render(jit, kernel);
    if (err == 0)
        err = fj_step_key(jit, kernel);
    if (err == 0 && !fj_step_disk(jit, kernel))
        err = fj_step_compile(jit, request, kernel);
    if (err == 0 && jit->has_device && !request->no_load)
        err = fj_step_load(jit, kernel);
    return err;
}

int fj_jit_kernel(struct fj_jit *jit, const struct fj_jit_request *request,
                  struct fj_kernel **ret_kernel, bool *ret_hit)
{
    const struct fj_key slot = fj_step_slot(request);
    // While a stream captures, nothing may compile or load, here or in a thread waited for.
    struct fj_kernel *kernel =
        request->capturing ? fj_mem_find(jit->mem, &slot) : fj_mem_acquire(jit->mem, &slot);
    if (ret_hit)
        *ret_hit = kernel != NULL;
    if (kernel) {
        atomic_fetch_add_explicit(&jit->counters.memory_hits, 1, memory_order_relaxed);
        *ret_kernel = kernel;
        return FAJIT_OK;
    }
    if (request->capturing)
        return fj_err(FAJIT_E_CAPTURE, "the stream is capturing and the kernel is not ready: plan "
                                       "it before the capture begins");

    kernel = calloc(1, sizeof(*kernel));
    int err = kernel ? FAJIT_OK : fj_err(FAJIT_E_NOMEM, "no memory for a kernel");
    if (kernel) {
        kernel->slot = slot;
        kernel->choice = *request->choice;
        kernel->watches = request->watches;
        err = make_kernel(jit, request, kernel);
    }
    if (err) {
        fj_mem_fail(jit->mem, &slot);
        fj_kernel_free(jit, kernel);
        return err;
    }
    if (!fj_mem_fill(jit->mem, &slot, kernel)) {
        fj_kernel_free(jit, kernel);
        return fj_err(FAJIT_E_NOMEM, "no memory to keep a kernel");
    }
    *ret_kernel = kernel;
    return FAJIT_OK;
}

void fj_jit_release(struct fj_jit *jit, struct fj_kernel *kernel)
{
    if (kernel)
        fj_kernel_free(jit, fj_mem_release(jit->mem, &kernel->slot));
}

int fj_jit_render(struct fj_jit *jit, const struct fj_choice *choice, bool watches,
                  char ret_name[160], struct fj_rendering *ret_rendering)
{
    return fj_render_choice(jit, choice, watches, ret_name, ret_rendering);
}

int fj_jit_ptx(struct fj_jit *jit, const struct fj_kernel *kernel, char **ret_ptx)
{
    if (kernel->target.is_ptx) {
        *ret_ptx = strdup(kernel->image);
        return *ret_ptx ? FAJIT_OK : fj_err(FAJIT_E_NOMEM, "no memory for the PTX");
    }
    struct fj_compiled compiled = {0};
    struct fj_target target;
    int err = fj_compile_rendering(jit, &kernel->rendering, kernel->name, &kernel->key, true,
                                   &target, &compiled);
    if (err == 0) {
        *ret_ptx = compiled.image;
        compiled.image = NULL;
    }
    fj_compiled_free(&compiled);
    return err;
}
