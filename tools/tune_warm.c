// fajit-tune warm: what the problems need, compiled into the cache, several at a time.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tune.h"

struct work {
    struct fajit_ctx *ctx;
    const struct tune_options *options;
    const struct tune_list *list;
    pthread_mutex_t mutex; // of the fields below, and of the output
    int next, done, failed, compiled;
    double start_s;
    cJSON *json; // NULL: lines
};

static int warm_kernel(struct work *work, const struct tool_kernel *what, const char *text,
                       struct fajit_plan_info *ret_info, char ret_name[160])
{
    const struct fajit_kernel_params params = {
        .struct_size = sizeof(params), .values = what->values, .no_load = true};
    struct fajit_kernel *kernel = NULL;
    int err = fajit_kernel_plan(work->ctx, what->name, &params, &kernel);
    if (err == 0)
        err = fajit_kernel_info(kernel, ret_info);
    if (err == 0)
        snprintf(ret_name, 160, "%s", fajit_kernel_name(kernel));
    if (err)
        tool_fail(text);
    fajit_kernel_destroy(&kernel);
    return err;
}

static int warm_one(struct work *work, const char *text, struct fajit_plan_info *ret_info,
                    char ret_name[160])
{
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    struct fajit_plan_params params = {.struct_size = sizeof(params), .no_load = true};
    struct fajit_plan *plan = NULL;
    struct tool_kernel kernel;
    if (tool_kernel(&work->options->tool, text, &kernel))
        return warm_kernel(work, &kernel, text, ret_info, ret_name);
    if (tool_problem(&work->options->tool, text, &problem))
        return FAJIT_E_INVAL;
    int err = fajit_plan_create(work->ctx, &problem, &params, &plan);
    if (err == 0)
        err = fajit_plan_info(plan, ret_info);
    if (err == 0)
        snprintf(ret_name, 160, "%s", fajit_plan_name(plan));
    if (err)
        tool_fail(text);
    fajit_plan_destroy(&plan);
    return err;
}

static double took_us(const struct fajit_plan_info *info)
{
    return info->render_us + info->disk_us + info->compile_us + info->publish_us;
}

static void report(struct work *work, const char *text, const char *name,
                   const struct fajit_plan_info *info)
{
    if (!work->json) {
        tune_bar_clear();
        printf("%-10s %7.0f ms  %s  %s\n", tool_origin(info->origin), took_us(info) / 1e3, name,
               text);
        return;
    }
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "problem", text);
    cJSON_AddStringToObject(item, "name", name);
    cJSON_AddStringToObject(item, "key", info->key);
    cJSON_AddStringToObject(item, "origin", tool_origin(info->origin));
    cJSON_AddStringToObject(item, "config_from", info->config_from);
    cJSON_AddNumberToObject(item, "ms", took_us(info) / 1e3);
    cJSON_AddItemToArray(work->json, item);
}

static void show_bar(const struct work *work, const char *text)
{
    char line[400], left[16];
    double spent = tune_now_s() - work->start_s;
    double each = work->done > 0 ? spent / work->done : 0;
    snprintf(line, sizeof(line), "%d/%d, %s left: %s", work->done, work->list->count,
             work->done > 0 ? tune_duration(each * (work->list->count - work->done), left) : "?",
             text);
    tune_bar((double)work->done / work->list->count, line);
}

static void *run(void *user)
{
    struct work *work = user;
    pthread_mutex_lock(&work->mutex);
    while (work->next < work->list->count) {
        const char *text = work->list->texts[work->next++];
        struct fajit_plan_info info = {.struct_size = sizeof(info)};
        char name[160];
        show_bar(work, text);
        pthread_mutex_unlock(&work->mutex);
        int err = warm_one(work, text, &info, name);
        pthread_mutex_lock(&work->mutex);
        work->done++;
        work->compiled += err == 0 && info.origin == FAJIT_FROM_COMPILE;
        if (err)
            work->failed++;
        else
            report(work, text, name, &info);
    }
    pthread_mutex_unlock(&work->mutex);
    return NULL;
}

static void run_on_threads(struct work *work)
{
    pthread_t threads[64];
    int jobs = work->options->jobs > 0 ? work->options->jobs : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0;
    if (jobs > 64)
        jobs = 64;
    while (started < jobs - 1 && started < work->list->count &&
           pthread_create(&threads[started], NULL, run, work) == 0)
        started++;
    run(work);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    tune_bar_clear();
}

// Kernels that were compiled for nobody: the next process compiles them again.
static bool is_lost(const struct work *work)
{
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    if (work->compiled == 0 || fajit_cache_stats(work->ctx, &stats) ||
        (*stats.dir && !*stats.note && stats.soft_errors == 0))
        return false;
    fprintf(stderr, "%s: what was compiled could not be written to %s%s%s\n", tool_name,
            *stats.dir ? stats.dir : "a cache directory", *stats.note ? ": " : "", stats.note);
    return true;
}

int tune_warm(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct tune_list list;
    int code = tune_list_make(options, count, args, &list);
    if (code)
        return code;
    struct work work = {.ctx = ctx,
                        .options = options,
                        .list = &list,
                        .mutex = PTHREAD_MUTEX_INITIALIZER,
                        .start_s = tune_now_s(),
                        .json = options->tool.json ? cJSON_CreateArray() : NULL};
    run_on_threads(&work);
    if (work.json) {
        char *text = cJSON_Print(work.json);
        puts(text ? text : "[]");
        free(text);
        cJSON_Delete(work.json);
    }
    if (work.failed)
        fprintf(stderr, "%s: %d of %d problems failed\n", tool_name, work.failed, list.count);
    code = is_lost(&work) || work.failed || list.bad;
    tune_list_free(&list);
    return code;
}
