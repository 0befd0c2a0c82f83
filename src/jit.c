// The pipeline on one screen: fj_jit_kernel and make_kernel, one step per line.
#include "jit.h"

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

int fj_jit_kernel(struct fj_jit *jit, const struct fj_jit_request *request,
                  struct fj_kernel **ret_kernel, bool *ret_hit)
{
    const struct fj_key slot = fj_step_slot(request);
    bool busy = false, hit = true;
    int err;
    if (request->capturing) {
        err = fj_step_ready(jit, request, &slot, ret_kernel);
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
    err = fj_step_take(jit, request, kernel, &hit);
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
