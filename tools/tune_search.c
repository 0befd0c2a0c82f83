// fajit-tune tune: searches, one problem after another on each device, in worker processes of this
// very program that the library starts.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tune_devices.h"

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

struct work {
    const struct tune_options *options;
    const struct tune_list *list;
    struct tune_devices devices; // its mutex is that of the fields below, and of the output
    struct worker *workers;      // one per device
    int total, done, failed;     // of every problem for every model
    double start_s;
};

struct worker {
    struct work *work;
    struct tune_device *device;
    const char *text; // problem at hand
    char phase[16];   // last one reported in a plain line
    double part;      // of the problem at hand, from 0 to 1
    char state[64];   // of the problem at hand, where several devices share the bar
};

// --- Progress ---------------------------------------------------------------------------------

// Of the whole list: as long as before per problem, or as long as one may take.
static double left_s(const struct work *work, const struct fajit_tune_progress *p)
{
    int left = work->total - work->done;
    double spent = tune_now_s() - work->start_s;
    return work->done > 0 ? spent / work->done * left
                          : p->budget_s * left / work->devices.count - p->elapsed_s;
}

static void add_states(const struct work *work, char *text, size_t size)
{
    for (int i = 0; i < work->devices.count; i++) {
        size_t used = strlen(text);
        if (*work->workers[i].state)
            snprintf(text + used, size - used, " | %s %s", work->workers[i].device->name,
                     work->workers[i].state);
    }
}

static void show_bar(struct worker *worker, const struct fajit_tune_progress *p)
{
    const struct work *work = worker->work;
    char text[1200], left[16];
    double parts = 0;
    worker->part = p->candidates > 0 ? (double)p->timed / p->candidates : 0;
    snprintf(worker->state, sizeof(worker->state), "%s %d/%d, best %.1f us", p->phase, p->timed,
             p->candidates, p->best_us);
    for (int i = 0; i < work->devices.count; i++)
        parts += work->workers[i].part;
    int len = snprintf(text, sizeof(text), "%d/%d, %s left", work->done, work->total,
                       tune_duration(left_s(work, p), left));
    if (work->devices.count > 1)
        add_states(work, text, sizeof(text));
    else
        snprintf(text + len, sizeof(text) - (size_t)len,
                 ": %s %d/%d, best %.1f us, now %s, best %s, %s", p->phase, p->timed, p->candidates,
                 p->best_us, *p->running ? p->running : "compiling", p->best, worker->text);
    tune_bar((work->done + parts) / work->total, text);
}

// "emu:1: " where there are several devices, else nothing.
static const char *prefix(const struct worker *worker, char ret_text[20])
{
    const bool several = worker->work->devices.count > 1;
    snprintf(ret_text, 20, "%.15s%s", several ? worker->device->name : "", several ? ": " : "");
    return ret_text;
}

static void show_phase(struct worker *worker, const struct fajit_tune_progress *p)
{
    char device[20];
    snprintf(worker->phase, sizeof(worker->phase), "%s", p->phase);
    fprintf(stderr, "%s: %.1f s: %s%s: %s: %d of %d timed, best %.1f us %s\n", tool_name,
            p->elapsed_s, prefix(worker, device), worker->text, p->phase, p->timed, p->candidates,
            p->best_us, p->best);
}

static int see_progress(void *user, const struct fajit_tune_progress *p)
{
    struct worker *worker = user;
    pthread_mutex_lock(&worker->work->devices.mutex);
    if (tune_on_terminal())
        show_bar(worker, p);
    else if (!worker->work->options->tool.json && strcmp(worker->phase, p->phase) != 0)
        show_phase(worker, p);
    pthread_mutex_unlock(&worker->work->devices.mutex);
    return interrupted;
}

// One object per line, as soon as it is known.
static void report_json(const struct worker *worker, const struct fajit_tune_result *r)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "problem", worker->text);
    cJSON_AddStringToObject(item, "device", worker->device->name);
    cJSON_AddStringToObject(item, "gpu", worker->device->model->gpu);
    cJSON_AddStringToObject(item, "kernel", r->kernel);
    cJSON_AddStringToObject(item, "config", r->config);
    cJSON_AddNumberToObject(item, "median_us", r->median_us);
    cJSON_AddNumberToObject(item, "p25_us", r->p25_us);
    cJSON_AddNumberToObject(item, "p75_us", r->p75_us);
    cJSON_AddNumberToObject(item, "default_us", r->default_us);
    cJSON_AddNumberToObject(item, "points", (double)r->points);
    cJSON_AddNumberToObject(item, "candidates", r->candidates);
    cJSON_AddNumberToObject(item, "timed", r->timed);
    cJSON_AddBoolToObject(item, "from_record", r->from_record);
    cJSON_AddBoolToObject(item, "finished", r->finished);
    cJSON_AddBoolToObject(item, "noisy", r->noisy);
    cJSON_AddBoolToObject(item, "unsaved", r->unsaved);
    cJSON_AddNumberToObject(item, "elapsed_s", r->elapsed_s);
    char *line = cJSON_PrintUnformatted(item);
    puts(line ? line : "{}");
    fflush(stdout);
    free(line);
    cJSON_Delete(item);
}

static void report(const struct worker *worker, const struct fajit_tune_result *r)
{
    char device[20];
    if (worker->work->options->tool.json) {
        report_json(worker, r);
        return;
    }
    tune_bar_clear();
    printf("%s%s\n  %s %s: %.2f us (quartiles %.2f to %.2f)", prefix(worker, device), worker->text,
           r->kernel, r->config, r->median_us, r->p25_us, r->p75_us);
    if (r->default_us > 0 && r->median_us > 0)
        printf(", default %.2f us, %.1f %% gained", r->default_us,
               100 * (r->default_us / r->median_us - 1));
    if (r->from_record)
        printf("; recorded before\n");
    else
        printf("\n  %d of %d candidates timed, out of %lld points, in %.1f s%s%s\n", r->timed,
               r->candidates, (long long)r->points, r->elapsed_s,
               r->finished ? "" : "; ended early, best so far",
               r->noisy ? "; noisy: something else used the GPU" : "");
    fflush(stdout);
}

// --- Work -------------------------------------------------------------------------------------

// Searches on several devices share the cores.
static int jobs_per_device(const struct work *work)
{
    if (work->options->jobs > 0 || work->devices.count == 1)
        return work->options->jobs;
    long cores = sysconf(_SC_NPROCESSORS_ONLN) / work->devices.count;
    return cores > 1 ? (int)cores : 1;
}

static int tune_one(struct worker *worker, struct fajit_tune_result *ret_result)
{
    const struct tune_options *options = worker->work->options;
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    const struct fajit_tune_params params = {
        .struct_size = sizeof(params),
        .budget_s = options->budget_s,
        .jobs = jobs_per_device(worker->work),
        .max_candidates = options->candidates,
        .force = options->force,
        .exhaustive = options->exhaustive,
        .try_all = options->no_worker,
        .progress = see_progress,
        .user = worker,
        .silence_s = options->silence_s,
    };
    char device[20];
    worker->phase[0] = '\0';
    if (tool_problem(&options->tool, worker->text, &problem) ||
        !tool_problem_complete(&problem, worker->text))
        return FAJIT_E_INVAL;
    int err = fajit_tune(worker->device->ctx, &problem, &params, ret_result);
    if (err)
        fprintf(stderr, "%s: %s%s: %s\n", tool_name, prefix(worker, device), worker->text,
                fajit_last_error());
    return err;
}

static void end_one(struct worker *worker, int problem, int err,
                    const struct fajit_tune_result *result)
{
    struct work *work = worker->work;
    worker->part = 0;
    worker->state[0] = '\0';
    if (tune_devices_end(&work->devices, worker->device, problem, err))
        return;
    work->done++;
    if (err)
        work->failed++;
    else
        report(worker, result);
    if (!err && result->unsaved) {
        fprintf(stderr, "%s: %s: its records are not saved: is the disk full? See doctor\n",
                tool_name, worker->text);
        work->failed++;
    }
}

static void *run(void *user)
{
    struct worker *worker = user;
    struct work *work = worker->work;
    pthread_mutex_lock(&work->devices.mutex);
    for (int i; (i = tune_devices_take(&work->devices, worker->device, &interrupted)) >= 0;) {
        struct fajit_tune_result result = {.struct_size = sizeof(result)};
        worker->text = work->list->texts[i];
        pthread_mutex_unlock(&work->devices.mutex);
        int err = tune_one(worker, &result);
        pthread_mutex_lock(&work->devices.mutex);
        end_one(worker, i, err, &result);
    }
    pthread_mutex_unlock(&work->devices.mutex);
    return NULL;
}

static void run_on_devices(struct work *work)
{
    struct worker workers[TUNE_DEVICES_MAX];
    pthread_t threads[TUNE_DEVICES_MAX];
    int count = work->devices.count, started = 1;
    work->workers = workers;
    for (int i = 0; i < count; i++)
        workers[i] = (struct worker){.work = work, .device = &work->devices.items[i]};
    while (started < count && pthread_create(&threads[started], NULL, run, &workers[started]) == 0)
        started++;
    run(&workers[0]);
    for (int i = 1; i < started; i++)
        pthread_join(threads[i], NULL);
    // What a thread that could not start would have done.
    for (int i = started; i < count; i++)
        run(&workers[i]);
    tune_bar_clear();
}

static int end_work(const struct work *work)
{
    const int not_begun = work->total - work->done;
    if (work->failed || not_begun)
        fprintf(stderr, "%s: %d of %d problems failed, %d not begun\n", tool_name, work->failed,
                work->total, not_begun);
    if (interrupted)
        return 130;
    return work->failed > 0 || not_begun || work->list->bad || work->devices.unopened;
}

int tune_tune(struct fajit_ctx *none, const struct tune_options *options, int count, char **args)
{
    struct tune_options own = *options;
    struct tune_list list;
    char self[4096];
    (void)none;
    int code = tune_list_make(options, count, args, &list);
    if (code)
        return code;
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[len > 0 ? len : 0] = '\0';
    own.tool.tune_worker = len > 0 && !options->no_worker ? self : NULL;
    struct work work = {.options = &own, .list = &list, .start_s = tune_now_s()};
    if (tune_devices_open(&own, list.count, &work.devices)) {
        tune_list_free(&list);
        return 1;
    }
    work.total = list.count * work.devices.model_count;
    signal(SIGINT, interrupt);
    run_on_devices(&work);
    code = end_work(&work);
    tune_devices_close(&work.devices);
    tune_list_free(&list);
    return code;
}
