// fajit-tune worker: does what another process asks for, one request after the other: tunes a
// problem, or rehearses a kernel (tune_rehearse.c). That process is the library in a host, or in
// this very program; the protocol is described in src/tune_worker.h.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tune.h"
#include "tune_rehearse.h"

#define IDLE_S 10  // without a request: the device's memory is worth more
#define ORPHAN_S 5 // without anybody who listens, in the middle of a search
#define LINE_BYTES 2048

// What the reading thread hands to the tuning one.
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    char *line; // NULL: none waits
    bool ended; // of input
} mail = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static atomic_int cancelled = -1; // latest request that nobody wants any more
static atomic_bool orphaned;

static void post(char *line)
{
    pthread_mutex_lock(&mail.mutex);
    while (mail.line)
        pthread_cond_wait(&mail.changed, &mail.mutex);
    mail.line = line;
    pthread_cond_broadcast(&mail.changed);
    pthread_mutex_unlock(&mail.mutex);
}

static void *read_lines(void *user)
{
    char *line = NULL;
    size_t size = 0;
    int number;
    while (getline(&line, &size, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "cancel %d", &number) == 1)
            atomic_store(&cancelled, number);
        else
            post(strdup(line));
    }
    free(line);
    // A kernel that hangs is hung up on.
    atomic_store(&orphaned, true);
    pthread_mutex_lock(&mail.mutex);
    mail.ended = true;
    pthread_cond_broadcast(&mail.changed);
    pthread_mutex_unlock(&mail.mutex);
    sleep(ORPHAN_S);
    _exit(1);
    return user;
}

// NULL at the end of input, or when there is nothing to do.
static char *next_line(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE_S;
    pthread_mutex_lock(&mail.mutex);
    while (!mail.line && !mail.ended &&
           pthread_cond_timedwait(&mail.changed, &mail.mutex, &until) == 0)
        continue;
    char *line = mail.line;
    mail.line = NULL;
    pthread_cond_broadcast(&mail.changed);
    pthread_mutex_unlock(&mail.mutex);
    return line;
}

void worker_say(const char *line, int len)
{
    if (len > 0 && write(STDOUT_FILENO, line, (size_t)len) < 0)
        atomic_store(&orphaned, true);
}

void worker_say_failed(int number, int status, const char *why)
{
    char line[LINE_BYTES];
    int len = snprintf(line, sizeof(line) - 1, "failed %d %d %.1900s", number, status,
                       why ? why : fajit_last_error());
    for (char *c = line; *c; c++)
        if (*c == '\n')
            *c = ' ';
    line[len] = '\n';
    worker_say(line, len + 1);
}

// --- Opening ----------------------------------------------------------------------------------

struct settings {
    struct fajit_ctx_params params;
    char *texts[16]; // what the pointers in it point to
    int count;
};

static void set(struct settings *settings, const char *name, const char *value)
{
    struct fajit_ctx_params *p = &settings->params;
    const struct {
        const char *name, **to;
    } texts[] = {{"gpu", &p->emulated_gpu},
                 {"arch", &p->arch},
                 {"cache-dir", &p->cache_dir},
                 {"templates", &p->template_dir},
                 {"nvrtc", &p->nvrtc_path}};
    if (strcmp(name, "device") == 0)
        p->device = strcmp(value, "emu") == 0 ? FAJIT_DEVICE_EMULATED : FAJIT_DEVICE_CUDA;
    if (strcmp(name, "ordinal") == 0)
        p->device_ordinal = atoi(value);
    if (strcmp(name, "check") == 0)
        p->emulated_check = true;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strcmp(name, texts[i].name) == 0 && settings->count < 16)
            *texts[i].to = settings->texts[settings->count++] = strdup(value);
}

// As the records write a GPU.
static void say_hello(struct fajit_ctx *ctx)
{
    struct fajit_device_info info = {.struct_size = sizeof(info)};
    char line[LINE_BYTES];
    if (fajit_ctx_device(ctx, &info)) {
        worker_say_failed(0, FAJIT_E_CUDA, NULL);
        return;
    }
    for (char *c = info.name; *c; c++)
        *c = *c > ' ' && *c < 127 ? *c : '_';
    worker_say(line, snprintf(line, sizeof(line), "hello %s %.75s/%d/%d\n", fajit_version(),
                              info.name, info.compute_capability, info.sm_count));
}

// Reads settings and opens a context; false when that failed or nobody asks.
static bool open_context(struct fajit_ctx **ret_ctx)
{
    struct settings settings = {.params = {.struct_size = sizeof(settings.params)}};
    bool opened = false, asked = false;
    for (char *line; !asked && (line = next_line());) {
        char name[32];
        int at = 0;
        if (sscanf(line, "set %31s %n", name, &at) == 1 && at > 0)
            set(&settings, name, line + at);
        asked = strcmp(line, "open") == 0;
        free(line);
    }
    if (asked) {
        int err = fajit_ctx_create(&settings.params, ret_ctx);
        opened = err == 0;
        if (err)
            worker_say_failed(0, err, NULL);
        else
            say_hello(*ret_ctx);
    }
    for (int i = 0; i < settings.count; i++)
        free(settings.texts[i]);
    return opened;
}

// --- Tuning -----------------------------------------------------------------------------------

static const char *or_dash(const char *text)
{
    return *text ? text : "-";
}

static int see_progress(void *user, const struct fajit_tune_progress *p)
{
    const int number = *(const int *)user;
    char line[LINE_BYTES];
    worker_say(line,
               snprintf(line, sizeof(line), "progress %d %s %d %d %d %d %.0f %.0f %s %s\n", number,
                        p->phase, p->candidates, p->compiled, p->timed, p->left, p->best_us * 1e3,
                        p->default_us * 1e3, or_dash(p->running), or_dash(p->best)));
    return atomic_load(&orphaned) || atomic_load(&cancelled) == number;
}

static void say_done(int number, const struct fajit_tune_result *r)
{
    char line[LINE_BYTES];
    const int flags =
        r->from_record | r->finished << 1 | r->cancelled << 2 | r->noisy << 3 | r->unsaved << 4;
    worker_say(line, snprintf(line, sizeof(line),
                              "done %d %s %s %d %d %.0f %.0f %.0f %.0f %d %d %d %lld %d %.0f\n",
                              number, or_dash(r->kernel), or_dash(r->config), (int)r->family,
                              (int)r->variant, r->median_us * 1e3, r->p25_us * 1e3, r->p75_us * 1e3,
                              r->default_us * 1e3, r->candidates, r->compiled, r->timed,
                              (long long)r->points, flags, r->elapsed_s * 1e3));
}

// False when the context is lost: the next worker's turn.
static bool tune(struct fajit_ctx *ctx, const char *line)
{
    struct fajit_tune_params params = {.struct_size = sizeof(params), .try_all = true};
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    long long budget_ms;
    int number, force, exhaustive, at = 0;
    if (sscanf(line, "tune %d %lld %d %d %d %d %n", &number, &budget_ms, &params.jobs,
               &params.max_candidates, &force, &exhaustive, &at) != 6 ||
        at == 0)
        return true;
    params.budget_s = (double)budget_ms / 1e3;
    params.force = force;
    params.exhaustive = exhaustive;
    params.progress = see_progress;
    params.user = &number;
    int err = fajit_problem_parse(line + at, &problem);
    if (err == 0)
        err = fajit_tune(ctx, &problem, &params, &result);
    if (err)
        worker_say_failed(number, err, NULL);
    else
        say_done(number, &result);
    return err != FAJIT_E_CONTEXT_LOST;
}

int tune_worker(struct fajit_ctx *none, const struct tune_options *options, int count, char **args)
{
    pthread_t reader;
    struct fajit_ctx *ctx;
    (void)none, (void)options, (void)count, (void)args;
    signal(SIGPIPE, SIG_IGN);
    if (pthread_create(&reader, NULL, read_lines, NULL)) {
        fprintf(stderr, "%s: cannot start a thread\n", tool_name);
        return 1;
    }
    if (!open_context(&ctx))
        return 1;
    bool goes_on = true;
    for (char *line; goes_on && (line = next_line());) {
        goes_on = tune(ctx, line) && rehearsal_take(ctx, line);
        free(line);
    }
    if (!goes_on)
        return 1; // a lost context has nothing to give back
    fajit_ctx_destroy(&ctx);
    return 0;
}
