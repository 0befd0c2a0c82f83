#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"

// --- Cores ---

static int affinity_count(void)
{
    // The kernel refuses a mask smaller than its own: try larger ones.
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        if (!set)
            return 1;
        int status = sched_getaffinity(0, bytes, set);
        int error = errno;
        int count = status ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (!status)
            return count > 0 ? count : 1;
        if (error != EINVAL)
            return 1;
    }
    return 1;
}

// Rounded up quota of one cgroup v2 directory; 0 when there is none.
static int read_quota(const char *dir)
{
    char path[4096];
    struct fj_buf text = {0};
    long quota, period;
    int cores = 0;
    if (fj_path_join(path, sizeof(path), dir, "cpu.max") && fj_file_exists(path) &&
        !fj_file_read(path, 256, &text) && text.len &&
        sscanf(text.data, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0)
        cores = (int)((quota + period - 1) / period);
    fj_buf_free(&text);
    return cores;
}

// The least quota of the process's cgroup and those above it; 0 when there is none.
static int cgroup_quota(void)
{
    static const char root[] = "/sys/fs/cgroup";
    struct fj_buf text = {0};
    char dir[4096] = "";
    int least = 0;
    if (fj_file_exists("/proc/self/cgroup") && !fj_file_read("/proc/self/cgroup", 1 << 16, &text) &&
        text.len) {
        const char *line = !strncmp(text.data, "0::", 3) ? text.data : strstr(text.data, "\n0::");
        if (line) {
            line = strstr(line, "0::") + 3;
            snprintf(dir, sizeof(dir), "%s%.*s", root, (int)strcspn(line, "\n"), line);
        }
    }
    fj_buf_free(&text);
    while (strlen(dir) >= sizeof(root) - 1) {
        int quota = read_quota(dir);
        if (quota && (!least || quota < least))
            least = quota;
        char *slash = strrchr(dir, '/');
        *slash = '\0';
    }
    return least;
}

static int cpu_count;
static pthread_once_t cpu_count_once = PTHREAD_ONCE_INIT;

static void count_cpus(void)
{
    int cores = affinity_count(), quota = cgroup_quota();
    cpu_count = quota && quota < cores ? quota : cores;
}

int fj_cpu_count(void)
{
    pthread_once(&cpu_count_once, count_cpus);
    return cpu_count;
}

// --- Parallel for ---

struct parallel {
    atomic_int_fast64_t next;
    int64_t count;
    void (*work)(void *user, int64_t i);
    void *user;
};

static void *run_worker(void *arg)
{
    struct parallel *parallel = arg;
    for (;;) {
        int64_t i = atomic_fetch_add(&parallel->next, 1);
        if (i >= parallel->count)
            return NULL;
        parallel->work(parallel->user, i);
    }
}

#define THREADS_MAX 256

void fj_parallel_for(int threads, int64_t count, void (*work)(void *user, int64_t i), void *user)
{
    struct parallel parallel = {.count = count, .work = work, .user = user};
    pthread_t workers[THREADS_MAX];
    int started = 0;
    if (threads <= 0)
        threads = fj_cpu_count();
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    // A thread that cannot be had is one helper less: the caller does the work in any case.
    while (started + 1 < threads && started + 1 < count &&
           !pthread_create(&workers[started], NULL, run_worker, &parallel))
        started++;
    run_worker(&parallel);
    for (int i = 0; i < started; i++)
        pthread_join(workers[i], NULL);
}

// --- Stacks ---

struct call {
    void (*fn)(void *user);
    void *user;
};

static void *run_call(void *arg)
{
    struct call *call = arg;
    call->fn(call->user);
    return NULL;
}

int fj_run_with_stack(size_t stack_bytes, void (*fn)(void *user), void *user)
{
    struct call call = {fn, user};
    pthread_attr_t attr;
    pthread_t thread;
    if (pthread_attr_init(&attr))
        return fj_err(FAJIT_E_NOMEM, "out of memory while starting a thread");
    int error = pthread_attr_setstacksize(&attr, stack_bytes);
    if (!error)
        error = pthread_create(&thread, &attr, run_call, &call);
    pthread_attr_destroy(&attr);
    if (error)
        return fj_err(FAJIT_E_NOMEM, "cannot start a thread with a stack of %zu bytes (error %d)",
                      stack_bytes, error);
    pthread_join(thread, NULL);
    return FAJIT_OK;
}

// --- Clocks ---

void fj_cond_wait_us(fj_cond *cond, fj_mutex *mutex, double us)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + (int64_t)(us * 1e3);
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_cond_timedwait(cond, mutex, &until);
}

void fj_sleep_us(double us)
{
    int64_t ns = us > 0 ? (int64_t)(us * 1000) : 0;
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&time, NULL);
}

double fj_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

int64_t fj_time_s(void)
{
    return (int64_t)time(NULL);
}
