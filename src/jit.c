// The pipeline on one screen: fj_jit_kernel and make_kernel, one step per line.
#include "jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/thread.h"
#include "jit_jobs.h"
#include "jit_steps.h"

static int make_kernel(struct fj_jit *jit, const struct fj_jit_request *request,
                       struct fj_kernel *kernel, bool *ret_behind)
{
    int err = fj_step_render(jit, kernel);
    if (err == 0)
        err = fj_step_key(jit, kernel);
    if (err == 0 && !fj_step_disk(jit, kernel)) {
        *ret_behind = jit->jobs && request->no_wait && !request->cached_only && !jit->no_compile;
        err = *ret_behind ? fj_jobs_submit(jit->jobs, kernel)
                          : fj_step_compile(jit, request->cached_only, kernel);
    }
    if (err == 0 && jit->has_device && !request->no_load)
        err = fj_step_load(jit, kernel);
    return err;
}

// The caller owes the slot a value.
static int fill_slot(struct fj_jit *jit, const struct fj_jit_request *request,
                     const struct fj_key *slot, struct fj_kernel **ret_kernel)
{
    bool behind = false;
    int err = jit->jobs ? fj_jobs_take_error(jit->jobs, slot) : FAJIT_OK;
    struct fj_kernel *kernel = err ? NULL : fj_kernel_new(request);
    if (err == 0 && !kernel)
        err = FAJIT_E_NOMEM;
    if (err == 0) {
        kernel->slot = *slot;
        err = make_kernel(jit, request, kernel, &behind);
    }
    if (err) {
        if (behind && err == FAJIT_E_BUSY)
            return err; // the slot and the kernel are the job's
        fj_mem_fail(jit->mem, slot);
        fj_kernel_free(jit, kernel);
        return err;
    }
    if (!fj_mem_fill(jit->mem, slot, kernel)) {
        fj_kernel_free(jit, kernel);
        return fj_err(FAJIT_E_NOMEM, "no memory to keep a kernel");
    }
    *ret_kernel = kernel;
    return FAJIT_OK;
}

// A kernel that was in memory: one that a job has made was never loaded.
static int take_kernel(struct fj_jit *jit, const struct fj_jit_request *request,
                       struct fj_kernel *kernel, bool *ret_hit)
{
    *ret_hit = !(jit->jobs && fj_jobs_claim(jit->jobs, &kernel->slot));
    if (*ret_hit)
        atomic_fetch_add_explicit(&jit->counters.memory_hits, 1, memory_order_relaxed);
    return jit->has_device && !request->no_load ? fj_step_load(jit, kernel) : FAJIT_OK;
}

// While a stream captures, nothing may compile or load, here or in a thread waited for.
static int find_ready(struct fj_jit *jit, const struct fj_jit_request *request,
                      const struct fj_key *slot, struct fj_kernel **ret_kernel)
{
    struct fj_kernel *kernel = fj_mem_find(jit->mem, slot);
    if (kernel && (request->no_load || !jit->has_device || fj_kernel_is_loaded(kernel))) {
        atomic_fetch_add_explicit(&jit->counters.memory_hits, 1, memory_order_relaxed);
        *ret_kernel = kernel;
        return FAJIT_OK;
    }
    fj_jit_release(jit, kernel);
    return fj_err(FAJIT_E_CAPTURE, "the stream is capturing and the kernel is not ready: plan it "
                                   "before the capture begins");
}

int fj_jit_kernel(struct fj_jit *jit, const struct fj_jit_request *request,
                  struct fj_kernel **ret_kernel, bool *ret_hit)
{
    const struct fj_key slot = fj_step_slot(request);
    bool busy = false, hit = true;
    int err;
    if (request->capturing) {
        err = find_ready(jit, request, &slot, ret_kernel);
        goto out;
    }
    struct fj_kernel *kernel =
        request->no_wait ? fj_mem_try(jit->mem, &slot, &busy) : fj_mem_acquire(jit->mem, &slot);
    if (busy)
        return fj_err(FAJIT_E_BUSY, "the kernel is being compiled: ask again");
    if (!kernel) {
        hit = false;
        err = fill_slot(jit, request, &slot, ret_kernel);
        goto out;
    }
    err = take_kernel(jit, request, kernel, &hit);
    if (err)
        fj_jit_release(jit, kernel);
    else
        *ret_kernel = kernel;
out:
    if (ret_hit)
        *ret_hit = hit;
    return err;
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
