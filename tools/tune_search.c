// fajit-tune tune: searches, one problem after another on each device, in worker processes of this
// very program that the library starts.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tune.h"

#define DEVICES_MAX 16

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

struct work {
    const struct tune_options *options;
    const struct tune_list *list;
    pthread_mutex_t mutex; // of the fields below, and of the output
    int next, done, failed, devices;
    double start_s;
};

struct worker {
    struct work *work;
    struct fajit_ctx *ctx;
    const char *text; // problem at hand
    char phase[16];   // last one reported in a plain line
};

// --- Progress ---------------------------------------------------------------------------------

// Of the whole list: as long as before per problem, or as long as one may take.
static double left_s(const struct work *work, const struct fajit_tune_progress *p)
{
    int left = work->list->count - work->done;
    double spent = tune_now_s() - work->start_s;
    return work->done > 0 ? spent / work->done * left
                          : p->budget_s * left / work->devices - p->elapsed_s;
}

static void show_bar(const struct worker *worker, const struct fajit_tune_progress *p)
{
    const struct work *work = worker->work;
    char text[600], left[16];
    double part = p->candidates > 0 ? (double)p->timed / p->candidates : 0;
    snprintf(text, sizeof(text), "%d/%d, %s left: %s %d/%d, best %.1f us, now %s, best %s, %s",
             work->done, work->list->count, tune_duration(left_s(work, p), left), p->phase,
             p->timed, p->candidates, p->best_us, *p->running ? p->running : "compiling", p->best,
             worker->text);
    tune_bar((work->done + part) / work->list->count, text);
}

static void show_phase(struct worker *worker, const struct fajit_tune_progress *p)
{
    snprintf(worker->phase, sizeof(worker->phase), "%s", p->phase);
    fprintf(stderr, "%s: %.1f s: %s: %s: %d of %d timed, best %.1f us %s\n", tool_name,
            p->elapsed_s, worker->text, p->phase, p->timed, p->candidates, p->best_us, p->best);
}

static int see_progress(void *user, const struct fajit_tune_progress *p)
{
    struct worker *worker = user;
    pthread_mutex_lock(&worker->work->mutex);
    if (tune_on_terminal())
        show_bar(worker, p);
    else if (!worker->work->options->tool.json && strcmp(worker->phase, p->phase) != 0)
        show_phase(worker, p);
    pthread_mutex_unlock(&worker->work->mutex);
    return interrupted;
}

// One object per line, as soon as it is known.
static void report_json(const char *text, const struct fajit_tune_result *r)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "problem", text);
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

static void report(struct work *work, const char *text, const struct fajit_tune_result *r)
{
    if (work->options->tool.json) {
        report_json(text, r);
        return;
    }
    tune_bar_clear();
    printf("%s\n  %s %s: %.2f us (quartiles %.2f to %.2f)", text, r->kernel, r->config,
           r->median_us, r->p25_us, r->p75_us);
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
    if (work->options->jobs > 0 || work->devices == 1)
        return work->options->jobs;
    long cores = sysconf(_SC_NPROCESSORS_ONLN) / work->devices;
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
    worker->phase[0] = '\0';
    if (tool_problem(&options->tool, worker->text, &problem) ||
        !tool_problem_complete(&problem, worker->text))
        return FAJIT_E_INVAL;
    int err = fajit_tune(worker->ctx, &problem, &params, ret_result);
    if (err)
        tool_fail(worker->text);
    return err;
}

static void end_one(struct worker *worker, int err, const struct fajit_tune_result *result)
{
    struct work *work = worker->work;
    work->done++;
    if (err)
        work->failed++;
    else
        report(work, worker->text, result);
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
    pthread_mutex_lock(&work->mutex);
    while (!interrupted && work->next < work->list->count) {
        struct fajit_tune_result result = {.struct_size = sizeof(result)};
        worker->text = work->list->texts[work->next++];
        pthread_mutex_unlock(&work->mutex);
        int err = tune_one(worker, &result);
        pthread_mutex_lock(&work->mutex);
        end_one(worker, err, &result);
    }
    pthread_mutex_unlock(&work->mutex);
    return NULL;
}

// --- Devices ----------------------------------------------------------------------------------

// Contexts of every device there is; the first is the caller's.
static int open_all(const struct tune_options *options, struct fajit_ctx *first,
                    struct fajit_ctx **ret_contexts)
{
    int count = 0;
    ret_contexts[count++] = first;
    for (int i = 1; options->all_devices && i < DEVICES_MAX; i++) {
        struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                          .device = FAJIT_DEVICE_CUDA,
                                          .device_ordinal = i,
                                          .cache_dir = options->tool.cache_dir,
                                          .dump_dir = options->tool.dump_dir,
                                          .tune_worker = options->tool.tune_worker};
        if (fajit_ctx_create(&params, &ret_contexts[count]))
            break;
        count++;
    }
    return count;
}

static void run_on_devices(struct work *work, struct fajit_ctx *first)
{
    struct fajit_ctx *contexts[DEVICES_MAX];
    struct worker workers[DEVICES_MAX];
    pthread_t threads[DEVICES_MAX];
    int count = open_all(work->options, first, contexts), started = 1;
    work->devices = count;
    for (int i = 0; i < count; i++)
        workers[i] = (struct worker){.work = work, .ctx = contexts[i]};
    while (started < count && pthread_create(&threads[started], NULL, run, &workers[started]) == 0)
        started++;
    run(&workers[0]);
    for (int i = 1; i < started; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < count; i++)
        fajit_ctx_destroy(&contexts[i]);
    tune_bar_clear();
}

int tune_tune(struct fajit_ctx *none, const struct tune_options *options, int count, char **args)
{
    struct tool_options tool = options->tool;
    struct tune_list list;
    struct fajit_ctx *ctx;
    char self[4096];
    (void)none;
    int code = tune_list_make(options, count, args, &list);
    if (code)
        return code;
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[len > 0 ? len : 0] = '\0';
    tool.tune_worker = len > 0 && !options->no_worker ? self : NULL;
    struct tune_options own = *options;
    own.tool = tool;
    struct work work = {.options = &own,
                        .list = &list,
                        .mutex = PTHREAD_MUTEX_INITIALIZER,
                        .devices = 1,
                        .start_s = tune_now_s()};
    if (tool_context(&tool, &ctx)) {
        tune_list_free(&list);
        return 1;
    }
    signal(SIGINT, interrupt);
    run_on_devices(&work, ctx);
    fajit_ctx_destroy(&ctx);
    if (work.failed || work.done < list.count)
        fprintf(stderr, "%s: %d of %d problems failed, %d not begun\n", tool_name, work.failed,
                list.count, list.count - work.done);
    code = interrupted ? 130 : work.failed > 0 || work.done < list.count || list.bad;
    tune_list_free(&list);
    return code;
}
