#include "jit_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jit_steps.h"

#define THREADS_MAX 16
// Of the calling side of a compile: NVRTC itself gets a larger one (cuda/nvrtc.c).
#define STACK_BYTES ((size_t)1 << 20)

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_READY, JOB_FAILED };

struct job {
    struct job *next;
    enum job_state state;
    struct fj_key slot;
    struct fj_kernel *kernel; // while QUEUED and RUNNING
    int status;               // of FAILED
    char *sentence;           // NULL when there was no memory for it
};

struct fj_jobs {
    struct fj_jit *jit;
    int limit;

    fj_mutex mutex; // of the fields below; taken before that of fj_mem
    fj_cond changed;
    bool stop;
    struct job *list; // in the order of submission
    int idle, started;
    pthread_t threads[THREADS_MAX];
};

struct fj_jobs *fj_jobs_create(struct fj_jit *jit, int threads)
{
    struct fj_jobs *jobs = calloc(1, sizeof(*jobs));
    if (!jobs)
        return NULL;
    int cores = fj_cpu_count(), usual = cores < 2 ? 2 : cores > 4 ? 4 : cores;
    jobs->jit = jit;
    jobs->limit = threads <= 0 ? usual : threads > THREADS_MAX ? THREADS_MAX : threads;
    pthread_mutex_init(&jobs->mutex, NULL);
    pthread_cond_init(&jobs->changed, NULL);
    return jobs;
}

// The link to the job of a slot in that state, or the one at the end of the list.
static struct job **find(struct fj_jobs *jobs, const struct fj_key *slot, enum job_state state)
{
    struct job **link = &jobs->list;
    while (*link && ((*link)->state != state || memcmp(&(*link)->slot, slot, sizeof(*slot)) != 0))
        link = &(*link)->next;
    return link;
}

static void erase(struct job **link)
{
    struct job *job = *link;
    *link = job->next;
    free(job->sentence);
    free(job);
}

// --- Threads ----------------------------------------------------------------------------------

static struct job *next_queued(const struct fj_jobs *jobs)
{
    struct job *job = jobs->list;
    while (job && job->state != JOB_QUEUED)
        job = job->next;
    return job;
}

static void fail(struct fj_jobs *jobs, struct job *job, int status)
{
    job->state = JOB_FAILED;
    job->status = status;
    job->sentence = strdup(fj_err_text());
    fj_kernel_free(jobs->jit, job->kernel);
    job->kernel = NULL;
    fj_mem_fail(jobs->jit->mem, &job->slot);
}

// Under the mutex, so that who wakes on the slot finds the job in its last state.
static void end(struct fj_jobs *jobs, struct job *job, int status)
{
    if (status == FAJIT_OK && !fj_mem_fill(jobs->jit->mem, &job->slot, job->kernel))
        status = fj_err(FAJIT_E_NOMEM, "no memory to keep a kernel");
    if (status) {
        fail(jobs, job, status);
        return;
    }
    job->state = JOB_READY;
    job->kernel = NULL;
}

static void *run(void *user)
{
    struct fj_jobs *jobs = user;
    pthread_mutex_lock(&jobs->mutex);
    while (!jobs->stop) {
        struct job *job = next_queued(jobs);
        if (!job) {
            jobs->idle++;
            pthread_cond_wait(&jobs->changed, &jobs->mutex);
            jobs->idle--;
            continue;
        }
        job->state = JOB_RUNNING;
        pthread_mutex_unlock(&jobs->mutex);
        int status = fj_step_compile(jobs->jit, false, job->kernel);
        pthread_mutex_lock(&jobs->mutex);
        end(jobs, job, status);
    }
    pthread_mutex_unlock(&jobs->mutex);
    return NULL;
}

// One more thread, unless the idle ones suffice or there are enough; true when there is any.
static bool have_thread(struct fj_jobs *jobs)
{
    pthread_attr_t attr;
    int queued = 0;
    for (const struct job *job = jobs->list; job; job = job->next)
        queued += job->state == JOB_QUEUED;
    if (queued < jobs->idle || jobs->started >= jobs->limit || pthread_attr_init(&attr))
        return jobs->started > 0;
    if (pthread_attr_setstacksize(&attr, STACK_BYTES) == 0 &&
        pthread_create(&jobs->threads[jobs->started], &attr, run, jobs) == 0)
        jobs->started++;
    pthread_attr_destroy(&attr);
    return jobs->started > 0;
}

// --- Requests ---------------------------------------------------------------------------------

int fj_jobs_submit(struct fj_jobs *jobs, struct fj_kernel *kernel)
{
    struct job *job = calloc(1, sizeof(*job));
    if (!job)
        return fj_err(FAJIT_E_NOMEM, "no memory to compile behind");
    *job = (struct job){.slot = kernel->slot, .kernel = kernel};
    fj_err(FAJIT_E_BUSY, "%s is being compiled: ask again", kernel->name);
    pthread_mutex_lock(&jobs->mutex);
    bool taken = have_thread(jobs);
    if (taken) {
        struct job **link = &jobs->list;
        while (*link)
            link = &(*link)->next;
        *link = job;
        pthread_cond_signal(&jobs->changed);
    }
    pthread_mutex_unlock(&jobs->mutex);
    if (taken)
        return FAJIT_E_BUSY; // the kernel is no longer ours to look at
    free(job);
    return fj_err(FAJIT_E_NOMEM, "cannot start a thread to compile on");
}

bool fj_jobs_claim(struct fj_jobs *jobs, const struct fj_key *slot)
{
    pthread_mutex_lock(&jobs->mutex);
    struct job **link = find(jobs, slot, JOB_READY);
    bool ready = *link != NULL;
    if (ready) {
        erase(link);
        fj_mem_release(jobs->jit->mem, slot); // never the last: the caller has one
    }
    pthread_mutex_unlock(&jobs->mutex);
    return ready;
}

int fj_jobs_take_error(struct fj_jobs *jobs, const struct fj_key *slot)
{
    int status = FAJIT_OK;
    pthread_mutex_lock(&jobs->mutex);
    struct job **link = find(jobs, slot, JOB_FAILED);
    if (*link) {
        const char *sentence = (*link)->sentence;
        status = fj_err((*link)->status, "%s", sentence ? sentence : "out of memory");
        erase(link);
    }
    pthread_mutex_unlock(&jobs->mutex);
    return status;
}

void fj_jobs_destroy(struct fj_jobs **jobs)
{
    struct fj_jobs *old = *jobs;
    if (!old)
        return;
    pthread_mutex_lock(&old->mutex);
    old->stop = true;
    pthread_cond_broadcast(&old->changed);
    pthread_mutex_unlock(&old->mutex);
    for (int i = 0; i < old->started; i++)
        pthread_join(old->threads[i], NULL);
    while (old->list) {
        struct job *job = old->list;
        if (job->state == JOB_QUEUED) {
            fj_kernel_free(old->jit, job->kernel);
            fj_mem_fail(old->jit->mem, &job->slot);
        } else if (job->state == JOB_READY) {
            fj_kernel_free(old->jit, fj_mem_release(old->jit->mem, &job->slot));
        }
        erase(&old->list);
    }
    pthread_cond_destroy(&old->changed);
    pthread_mutex_destroy(&old->mutex);
    free(old);
    *jobs = NULL;
}
