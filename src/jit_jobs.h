// Compiles that nobody waits for: threads of a context, and the kernels they are asked for.
//
// A job owns a slot of fj_mem that is under way, as any maker does. When it is over, the slot holds
// the kernel, compiled and never loaded (threads behind the host's back stay away from the driver:
// one of its streams may be capturing), with one reference of the job's own, until a request
// claims it.
#ifndef FJ_JIT_JOBS_H
#define FJ_JIT_JOBS_H

#include "jit.h"

struct fj_jobs; // thread-safe

// Up to `threads` (0: the cores, from 2 to 4), started when they are first needed.
struct fj_jobs *fj_jobs_create(struct fj_jit *jit, int threads); // NULL when out of memory
// Forgets what has not begun, waits for what has. Nobody may be inside any other function here.
void fj_jobs_destroy(struct fj_jobs **jobs);

// Takes over a rendered kernel with a key, and its slot: FAJIT_E_BUSY. Any other status: there is
// no thread or no memory, and both are still the caller's.
int fj_jobs_submit(struct fj_jobs *jobs, struct fj_kernel *kernel);

// Drops the job's reference of a kernel that the caller has one of; false when there is none.
bool fj_jobs_claim(struct fj_jobs *jobs, const struct fj_key *slot);

// Forgets a job that has failed, with its status returned and its sentence recorded; 0: none has.
int fj_jobs_take_error(struct fj_jobs *jobs, const struct fj_key *slot);

#endif
