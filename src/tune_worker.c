#include "tune_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "tune_worker_internal.h"

#define BUDGET_S 30.0
#define OPEN_S 60.0 // a driver may take this long to start
#define RESTARTS_MAX 40
#define QUIET_MAX 3 // workers that died over nothing they had named
#define CONFIG_TEXT 192

// --- Life -------------------------------------------------------------------------------------

// A line break would begin another line of the protocol.
static int add_setting(struct fj_worker *worker, const char *name, const char *value)
{
    if (!value || !*value)
        return FAJIT_OK;
    if (strchr(value, '\n'))
        return fj_err(FAJIT_E_INVAL, "a worker cannot be told a %s with a line break", name);
    fj_buf_printf(&worker->setup, "set %s %s\n", name, value);
    return FAJIT_OK;
}

static int write_setup(struct fj_worker *worker, const struct fajit_ctx_params *params, int ordinal,
                       const char *cache_dir)
{
    const bool emulated = params->device == FAJIT_DEVICE_EMULATED;
    char number[16];
    snprintf(number, sizeof(number), "%d", ordinal);
    const struct {
        const char *name, *value;
    } settings[] = {
        {"device", emulated ? "emu" : "cuda"},
        {"ordinal", number},
        {"gpu", emulated ? params->emulated_gpu : NULL},
        {"check", emulated && params->emulated_check ? "1" : NULL},
        {"arch", params->arch},
        {"cache-dir", cache_dir},
        {"templates", params->template_dir},
        {"nvrtc", params->nvrtc_path},
    };
    int err = FAJIT_OK;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]) && err == 0; i++)
        err = add_setting(worker, settings[i].name, settings[i].value);
    fj_buf_puts(&worker->setup, "open\n");
    return err;
}

int fj_worker_create(const struct fajit_ctx_params *params, int ordinal, const char *cache_dir,
                     const char *gpu, const struct fj_log *log, struct fj_worker **ret_worker)
{
    struct fj_worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return fj_err(FAJIT_E_NOMEM, "no memory for a tuning worker");
    worker->log = *log;
    worker->memory_fd = -1;
    worker->path = strdup(params->tune_worker);
    worker->gpu = strdup(gpu);
    int err = write_setup(worker, params, ordinal, cache_dir);
    if (err == 0 && (!worker->path || !worker->gpu || worker->setup.failed))
        err = fj_err(FAJIT_E_NOMEM, "no memory for a tuning worker");
    if (err)
        fj_worker_destroy(&worker);
    else
        *ret_worker = worker;
    return err;
}

void fj_worker_destroy(struct fj_worker **worker)
{
    if (!*worker)
        return;
    fj_process_end(&(*worker)->process, FJ_WORKER_END_US);
    fj_buf_free(&(*worker)->setup);
    free((*worker)->path);
    free((*worker)->gpu);
    free(*worker);
    *worker = NULL;
}

// --- Starting one -----------------------------------------------------------------------------

static int check_hello(const struct fj_worker *worker, const char *line)
{
    char version[32] = "", gpu[96] = "";
    int status, at = 0;
    if (sscanf(line, "failed 0 %d %n", &status, &at) == 1 && status < 0)
        return fj_err(status, "%s: %s", worker->path, line + at);
    if (sscanf(line, "hello %31s %95s", version, gpu) != 2)
        return fj_err(FAJIT_E_IO, "%s is no tuning worker: it says \"%.80s\"", worker->path, line);
    if (strcmp(version, FAJIT_VERSION) != 0)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "%s is fajit-tune %s, this is %s: use the one of this "
                      "version",
                      worker->path, version, FAJIT_VERSION);
    if (strcmp(gpu, worker->gpu) != 0)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "the tuning worker sees the GPU %s, this context has %s: its measurements "
                      "would be another's",
                      gpu, worker->gpu);
    return FAJIT_OK;
}

int fj_worker_start(struct fj_worker *worker)
{
    // Neither a worker of its own, nor what the host's environment says of tuning and caching.
    static const char *const env[] = {"FAJIT_TUNE_WORKER=", "FAJIT_TUNE=",       "FAJIT_CACHE=rw",
                                      "FAJIT_RECORD=",      "FAJIT_NO_COMPILE=", NULL};
    static const char *const args[] = {"worker", NULL};
    char line[FJ_WORKER_LINE_BYTES];
    // One that had nothing to do for long has ended.
    if (worker->process &&
        fj_process_read(worker->process, 0, line, sizeof(line)) == FJ_PROCESS_ENDED)
        fj_process_end(&worker->process, FJ_WORKER_END_US);
    if (worker->process)
        return FAJIT_OK;
    int err = fj_process_start(worker->path, args, env, worker->memory_fd, &worker->process);
    if (err)
        return err;
    if (!fj_process_write(worker->process, worker->setup.data, worker->setup.len) ||
        fj_process_read(worker->process, OPEN_S * 1e6, line, sizeof(line)) != FJ_PROCESS_LINE)
        err = fj_err(FAJIT_E_IO, "%s is no tuning worker: it ended, or said nothing", worker->path);
    else
        err = check_hello(worker, line);
    if (err)
        fj_process_end(&worker->process, FJ_WORKER_END_US);
    return err;
}

// --- Listening --------------------------------------------------------------------------------

struct hearing {
    const struct fajit_tune_params *params;
    struct fajit_tune_result *result;
    struct fajit_tune_progress progress; // its texts are the buffers below
    char phase[16], running[CONFIG_TEXT], best[CONFIG_TEXT];
    char culprit[CONFIG_TEXT]; // what this worker last had on the device; "": nothing yet
    double start_us, heard_us, cancelled_us; // cancelled_us: 0 while the host goes on
    bool hung;                               // else it faulted, or its process ended
};

// What became of a worker's work on a request.
enum outcome { GOES_ON, ENDED, LOST };

static void tell_host(struct hearing *h)
{
    h->progress.elapsed_s = (fj_now_us() - h->start_us) / 1e6;
    if (h->params->progress && h->cancelled_us == 0 &&
        h->params->progress(h->params->user, &h->progress))
        h->cancelled_us = fj_now_us();
}

static void take_progress(struct hearing *h, const char *fields)
{
    struct fajit_tune_progress p = h->progress;
    char phase[16], running[CONFIG_TEXT], best[CONFIG_TEXT];
    long long best_ns, default_ns;
    if (sscanf(fields, "%15s %d %d %d %d %lld %lld %191s %191s", phase, &p.candidates, &p.compiled,
               &p.timed, &p.left, &best_ns, &default_ns, running, best) != 9)
        return;
    p.best_us = (double)best_ns / 1e3;
    p.default_us = (double)default_ns / 1e3;
    h->progress = p;
    snprintf(h->phase, sizeof(h->phase), "%s", phase);
    snprintf(h->running, sizeof(h->running), "%s", running[0] == '-' ? "" : running);
    snprintf(h->best, sizeof(h->best), "%s", best[0] == '-' ? "" : best);
    if (*h->running)
        memcpy(h->culprit, h->running, sizeof(h->culprit));
    tell_host(h);
}

static bool take_result(struct hearing *h, const char *fields)
{
    struct fajit_tune_result r = *h->result;
    char config[FAJIT_CONFIG_MAX];
    int family, variant, flags;
    long long median_ns, p25_ns, p75_ns, default_ns, points, elapsed_ms;
    if (sscanf(fields, "%63s %159s %d %d %lld %lld %lld %lld %d %d %d %lld %d %lld", r.kernel,
               config, &family, &variant, &median_ns, &p25_ns, &p75_ns, &default_ns, &r.candidates,
               &r.compiled, &r.timed, &points, &flags, &elapsed_ms) != 14)
        return false;
    if (r.kernel[0] == '-')
        r.kernel[0] = '\0';
    snprintf(r.config, sizeof(r.config), "%s", config[0] == '-' ? "" : config);
    r.family = (enum fajit_family)family;
    r.variant = (enum fajit_variant)variant;
    r.median_us = (double)median_ns / 1e3;
    r.p25_us = (double)p25_ns / 1e3;
    r.p75_us = (double)p75_ns / 1e3;
    r.default_us = (double)default_ns / 1e3;
    r.points = points;
    r.from_record = flags & 1;
    r.finished = flags & 2;
    r.cancelled = flags & 4;
    r.noisy = flags & 8;
    r.unsaved = flags & 16;
    *h->result = r;
    return true;
}

// Lines of an earlier request, and what is not understood, are passed over.
static enum outcome take_line(struct fj_worker *worker, struct hearing *h, const char *line,
                              int *ret_status)
{
    char word[16];
    int number, at = 0;
    if (sscanf(line, "%15s %d %n", word, &number, &at) != 2 || number != worker->number)
        return GOES_ON;
    if (strcmp(word, "progress") == 0)
        take_progress(h, line + at);
    if (strcmp(word, "done") == 0 && take_result(h, line + at)) {
        *ret_status = FAJIT_OK;
        return ENDED;
    }
    int status, sentence = 0;
    if (strcmp(word, "failed") != 0 || sscanf(line + at, "%d %n", &status, &sentence) != 1)
        return GOES_ON;
    *ret_status = fj_err(status < 0 ? status : FAJIT_E_IO, "%s", line + at + sentence);
    return status == FAJIT_E_CONTEXT_LOST ? LOST : ENDED;
}

static void pass_cancel(struct fj_worker *worker, const struct hearing *h, bool *told)
{
    char line[32];
    if (h->cancelled_us == 0 || *told)
        return;
    snprintf(line, sizeof(line), "cancel %d\n", worker->number);
    fj_process_write(worker->process, line, strlen(line));
    *told = true;
}

static enum outcome listen_to(struct fj_worker *worker, struct hearing *h, int *ret_status)
{
    const double silence_us =
        1e6 * (h->params->silence_s > 0 ? h->params->silence_s : FJ_WORKER_SILENCE_S);
    char line[FJ_WORKER_LINE_BYTES];
    bool told = false;
    h->heard_us = fj_now_us();
    h->hung = false;
    *ret_status = FAJIT_E_CONTEXT_LOST;
    for (enum outcome outcome = GOES_ON;;) {
        switch (fj_process_read(worker->process, FJ_WORKER_LOOK_US, line, sizeof(line))) {
        case FJ_PROCESS_ENDED:
            return LOST;
        case FJ_PROCESS_LINE:
            h->heard_us = fj_now_us();
            outcome = take_line(worker, h, line, ret_status);
            break;
        case FJ_PROCESS_SILENT:
            tell_host(h);
            break;
        }
        if (outcome != GOES_ON)
            return outcome;
        pass_cancel(worker, h, &told);
        double now_us = fj_now_us();
        h->hung = now_us - h->heard_us > silence_us ||
                  (h->cancelled_us > 0 && now_us - h->cancelled_us > silence_us);
        if (h->hung)
            return LOST;
    }
}

// --- Searching --------------------------------------------------------------------------------

static double left_s(const struct hearing *h)
{
    return h->progress.budget_s - (fj_now_us() - h->start_us) / 1e6;
}

static enum outcome ask(struct fj_worker *worker, struct hearing *h, const char *problem,
                        int *ret_status)
{
    const struct fajit_tune_params *p = h->params;
    double budget_ms = left_s(h) * 1e3;
    struct fj_buf line = {0};
    *ret_status = fj_worker_start(worker);
    if (*ret_status)
        return ENDED;
    fj_buf_printf(&line, "tune %d %lld %d %d %d %d %s\n", ++worker->number,
                  (long long)(budget_ms < 1      ? 1
                              : budget_ms > 1e12 ? 1e12
                                                 : budget_ms),
                  p->jobs, p->max_candidates, p->force, p->exhaustive, problem);
    bool sent = !line.failed && fj_process_write(worker->process, line.data, line.len);
    fj_buf_free(&line);
    h->running[0] = h->culprit[0] = '\0';
    return sent ? listen_to(worker, h, ret_status) : LOST;
}

static void report_loss(const struct fj_worker *worker, const struct hearing *h)
{
    const char *what = *h->culprit ? h->culprit : "something before the first candidate";
    fj_log(&worker->log, FAJIT_LOG_WARN,
           "%s %s in the tuning worker; it is left out, and the search starts again", what,
           h->hung ? "hung" : "faulted");
}

// Until a worker comes to an end of its own.
static int run(struct fj_worker *worker, struct hearing *h, const char *problem)
{
    char culprit[CONFIG_TEXT] = "a kernel";
    for (int lost = 0, quiet = 0; lost < RESTARTS_MAX && quiet < QUIET_MAX; lost++) {
        int status;
        if (ask(worker, h, problem, &status) == ENDED)
            return status;
        if (*h->culprit)
            memcpy(culprit, h->culprit, sizeof(culprit));
        quiet = *h->culprit ? 0 : quiet + 1;
        fj_process_end(&worker->process, 0);
        if (h->cancelled_us > 0) {
            h->result->cancelled = true;
            return FAJIT_OK;
        }
        report_loss(worker, h);
        if (left_s(h) <= 0)
            break;
    }
    return fj_err(FAJIT_E_CONTEXT_LOST,
                  "tuning %s: %s took the worker with it, and no time or "
                  "worker is left",
                  problem, culprit);
}

int fj_worker_tune(struct fj_worker *worker, const struct fj_problem *problem,
                   const struct fajit_tune_params *params, struct fajit_tune_result *ret_result)
{
    struct fj_buf text = {0};
    struct hearing h = {.params = params, .result = ret_result, .start_us = fj_now_us()};
    h.progress = (struct fajit_tune_progress){
        .struct_size = sizeof(h.progress),
        .phase = h.phase,
        .running = h.running,
        .best = h.best,
        .budget_s = params->budget_s > 0 ? params->budget_s : BUDGET_S,
    };
    snprintf(h.phase, sizeof(h.phase), "screen");
    fj_problem_print(problem, &text);
    int err = text.failed ? fj_err(FAJIT_E_NOMEM, "no memory for a problem's text")
                          : run(worker, &h, text.data);
    ret_result->elapsed_s = (fj_now_us() - h.start_us) / 1e6;
    fj_buf_free(&text);
    return err;
}
