// Compiling in the background of a search.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/search_internal.h"
#include "base/thread.h"

// How often a waiting search looks at its clock and at the caller's wish to cancel.
#define LOOK_US 20e3

struct ready {
    int candidate, status;
    char why[200];
    struct fj_search_facts facts;
};

struct pool {
    struct fj_search_run *run;
    fj_mutex mutex; // of the fields below
    fj_cond changed;
    bool stop, done;
    struct ready *ready; // in the order of completion
    int count;
};

static void compile_one(void *user, int64_t i)
{
    struct pool *pool = user;
    const struct fj_search_run *run = pool->run;
    struct ready ready = {.candidate = (int)i, .facts = {.registers = -1, .spill_bytes = -1}};
    pthread_mutex_lock(&pool->mutex);
    bool stop = pool->stop;
    pthread_mutex_unlock(&pool->mutex);
    if (stop)
        return;
    ready.status = run->ops->compile(run->user, ready.candidate, &ready.facts);
    if (ready.status)
        snprintf(ready.why, sizeof(ready.why), "%s", fj_err_text());
    pthread_mutex_lock(&pool->mutex);
    pool->ready[pool->count++] = ready;
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
}

static void *compile_all(void *user)
{
    struct pool *pool = user;
    fj_parallel_for(pool->run->params->jobs, pool->run->params->count, compile_one, pool);
    pthread_mutex_lock(&pool->mutex);
    pool->done = true;
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

// The first candidate is seen through whatever the time: without one there is nothing to choose.
static bool must_stop(const struct pool *pool, int taken, double share)
{
    struct fj_search_run *run = pool->run;
    bool out_of_time = fj_search_out_of_time(run, share);
    return run->result->cancelled || run->lost || (taken > 0 && out_of_time);
}

// What would run without tuning comes first, whichever is ready first: its output is the one that
// the others' are compared with.
static bool is_ready(struct pool *pool, int taken)
{
    if (taken > 0)
        return taken < pool->count;
    for (int i = 0; i < pool->count; i++) {
        struct ready ready = pool->ready[i];
        if (ready.candidate != 0)
            continue;
        pool->ready[i] = pool->ready[0];
        pool->ready[0] = ready;
        return true;
    }
    return false;
}

// The next compiled candidate; false when there will be none.
static bool next(struct pool *pool, int taken, double share, struct ready *ret)
{
    bool found = false;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        pthread_mutex_unlock(&pool->mutex);
        bool stop = must_stop(pool, taken, share);
        fj_search_heartbeat(pool->run);
        pthread_mutex_lock(&pool->mutex);
        pool->stop = stop;
        found = !stop && is_ready(pool, taken);
        if (stop || found || pool->done)
            break;
        fj_cond_wait_us(&pool->changed, &pool->mutex, LOOK_US);
    }
    if (found)
        *ret = pool->ready[taken];
    pthread_mutex_unlock(&pool->mutex);
    return found;
}

int fj_search_compile(struct fj_search_run *run,
                      void (*take)(struct fj_search_run *run, int candidate, int status,
                                   const char *why),
                      double share)
{
    struct pool pool = {.run = run};
    struct ready ready;
    pthread_t thread;
    pool.ready = calloc((size_t)run->params->count, sizeof(*pool.ready));
    if (!pool.ready)
        return fj_err(FAJIT_E_NOMEM, "no memory to compile %d candidates", run->params->count);
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.changed, NULL);
    int taken = 0, err = FAJIT_OK;
    if (pthread_create(&thread, NULL, compile_all, &pool)) {
        err = fj_err(FAJIT_E_NOMEM, "cannot start a thread to compile on");
    } else {
        for (; next(&pool, taken, share, &ready); taken++) {
            run->result->entries[ready.candidate].facts = ready.facts;
            take(run, ready.candidate, ready.status, ready.why);
        }
        pthread_join(thread, NULL);
    }
    for (; taken < pool.count; taken++) {
        run->result->entries[pool.ready[taken].candidate].compiled = true;
        if (run->ops->drop)
            run->ops->drop(run->user, pool.ready[taken].candidate);
    }
    pthread_cond_destroy(&pool.changed);
    pthread_mutex_destroy(&pool.mutex);
    free(pool.ready);
    return err;
}
