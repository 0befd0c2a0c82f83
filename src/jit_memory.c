// Kernels that other plans of this process have made.
#include "jit_jobs.h"
#include "jit_steps.h"

// A kernel that was in memory: one that a job has made was never loaded.
int fj_step_take(struct fj_jit *jit, const struct fj_jit_request *request, struct fj_kernel *kernel,
                 bool *ret_hit)
{
    *ret_hit = !(jit->jobs && fj_jobs_claim(jit->jobs, &kernel->slot));
    if (*ret_hit)
        atomic_fetch_add_explicit(&jit->counters.memory_hits, 1, memory_order_relaxed);
    return jit->has_device && !request->no_load ? fj_step_load(jit, kernel) : FAJIT_OK;
}

// While a stream captures, nothing may compile or load, here or in a thread waited for.
int fj_step_ready(struct fj_jit *jit, const struct fj_jit_request *request,
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
