// fajit-tune: warm the cache beforehand and look after it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "common.h"

static const char usage[] =
    "usage: fajit-tune COMMAND [PROBLEM..] [options]\n"
    "\n"
    "  warm PROBLEM..  compile what the problems need into the cache\n"
    "  list            the cache's entries\n"
    "  stats           its size and limits\n"
    "  doctor          what was found and where: NVRTC, driver, cache\n"
    "\n" TOOL_OPTIONS_HELP "\n"
    "example: fajit-tune warm attn:bf16,d128,causal gemm:f16 --arch sm_90\n";

static int warm_one(struct fajit_ctx *ctx, const struct tool_options *options, const char *text)
{
    struct fajit_problem problem;
    struct fajit_plan *plan = NULL;
    struct fajit_plan_params params = {.struct_size = sizeof(params), .no_load = true};
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    if (tool_problem(options, text, &problem))
        return 1;
    if (fajit_plan_create(ctx, &problem, &params, &plan) || fajit_plan_info(plan, &info)) {
        fajit_plan_destroy(&plan);
        return tool_fail(text);
    }
    printf("%-10s %7.0f ms  %s\n", tool_origin(info.origin),
           (info.render_us + info.disk_us + info.compile_us + info.publish_us) / 1e3,
           fajit_plan_name(plan));
    fajit_plan_destroy(&plan);
    return 0;
}

static int run_warm(struct fajit_ctx *ctx, const struct tool_options *options, int count,
                    char **texts)
{
    int failed = 0;
    if (count == 0) {
        fprintf(stderr, "fajit-tune: warm needs at least one problem text\n");
        return 2;
    }
    for (int i = 0; i < count; i++)
        failed += warm_one(ctx, options, texts[i]) != 0;
    if (failed)
        fprintf(stderr, "fajit-tune: %d of %d problems failed\n", failed, count);
    return failed ? 1 : 0;
}

static int list_json(void *user, const struct fajit_cache_entry *entry)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", entry->name);
    cJSON_AddStringToObject(item, "key", entry->key);
    cJSON_AddStringToObject(item, "arch", entry->arch);
    cJSON_AddStringToObject(item, "nvrtc", entry->nvrtc);
    cJSON_AddNumberToObject(item, "bytes", (double)entry->bytes);
    cJSON_AddNumberToObject(item, "used_s", (double)entry->used_s);
    cJSON_AddNumberToObject(item, "registers", entry->registers);
    cJSON_AddNumberToObject(item, "spill_bytes", entry->spill_bytes);
    cJSON_AddNumberToObject(item, "smem_bytes", entry->smem_bytes);
    return cJSON_AddItemToArray(user, item) ? 0 : FAJIT_E_NOMEM;
}

static int list_line(void *user, const struct fajit_cache_entry *entry)
{
    char when[32], size[32];
    time_t used = (time_t)entry->used_s;
    strftime(when, sizeof(when), "%F %R", localtime(&used));
    printf("%.12s  %-12s %9s  %s  %s\n", entry->key, entry->arch,
           tool_bytes((double)entry->bytes, size), when, entry->name);
    ++*(int *)user;
    return 0;
}

static int print_json(cJSON *json)
{
    char *text = cJSON_Print(json);
    if (text)
        puts(text);
    free(text);
    cJSON_Delete(json);
    return text ? 0 : 1;
}

static int run_list(struct fajit_ctx *ctx, const struct tool_options *options, int count,
                    char **texts)
{
    (void)count;
    (void)texts;
    int entries = 0;
    if (!options->json) {
        if (fajit_cache_visit(ctx, list_line, &entries))
            return tool_fail(NULL);
        if (entries == 0)
            printf("the cache is empty\n");
        return 0;
    }
    cJSON *array = cJSON_CreateArray();
    if (fajit_cache_visit(ctx, list_json, array)) {
        cJSON_Delete(array);
        return tool_fail(NULL);
    }
    return print_json(array);
}

static int run_stats(struct fajit_ctx *ctx, const struct tool_options *options, int count,
                     char **texts)
{
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    char used[32], limit[32];
    (void)count;
    (void)texts;
    if (fajit_cache_stats(ctx, &stats))
        return tool_fail(NULL);
    if (options->json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "dir", stats.dir);
        cJSON_AddStringToObject(json, "note", stats.note);
        cJSON_AddNumberToObject(json, "entries", (double)stats.entries);
        cJSON_AddNumberToObject(json, "bytes", (double)stats.bytes);
        cJSON_AddNumberToObject(json, "max_bytes", (double)stats.max_bytes);
        return print_json(json);
    }
    printf("directory  %s\n", *stats.dir ? stats.dir : "none: memory only");
    if (*stats.note)
        printf("note       %s\n", stats.note);
    printf("entries    %" PRIu64 "\n", stats.entries);
    printf("size       %s of %s\n", tool_bytes((double)stats.bytes, used),
           tool_bytes((double)stats.max_bytes, limit));
    return 0;
}

static int run_doctor(struct fajit_ctx *ctx, const struct tool_options *options, int count,
                      char **texts)
{
    char *report;
    (void)options;
    (void)count;
    (void)texts;
    if (fajit_ctx_report(ctx, &report))
        return tool_fail(NULL);
    fputs(report, stdout);
    fajit_free(report);
    return 0;
}

struct command {
    const char *name;
    int (*run)(struct fajit_ctx *ctx, const struct tool_options *options, int count, char **texts);
    bool any_arch; // works without a device and without --arch
};

static const struct command commands[] = {{"warm", run_warm, false},
                                          {"list", run_list, true},
                                          {"stats", run_stats, true},
                                          {"doctor", run_doctor, true}};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    fprintf(stderr, "fajit-tune: unknown command '%s'\n\n", name);
    return NULL;
}

// Commands about the cache need no device: any architecture opens the same directory.
static int open_context(struct tool_options *options, const struct command *command,
                        struct fajit_ctx **ret_ctx)
{
    if (!command->any_arch || options->arch || options->device)
        return tool_context(options, ret_ctx);
    struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                      .cache_dir = options->cache_dir};
    if (strcmp(command->name, "doctor") == 0 && fajit_ctx_create(&params, ret_ctx) == 0)
        return 0;
    if (strcmp(command->name, "doctor") == 0)
        printf("no GPU: %s\n", fajit_last_error());
    options->arch = "sm_90";
    return tool_context(options, ret_ctx);
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {TOOL_LONG_OPTIONS, {0}};
    struct tool_options options = {0};
    tool_name = "fajit-tune";
    for (int opt; (opt = getopt_long(argc, argv, "vh", long_options, NULL)) != -1;)
        if (!tool_option(&options, opt, usage))
            return tool_usage(usage);
    const struct command *command = optind < argc ? find_command(argv[optind]) : NULL;
    if (!command)
        return tool_usage(usage);

    struct fajit_ctx *ctx = NULL;
    if (open_context(&options, command, &ctx))
        return 1;
    int code = command->run(ctx, &options, argc - optind - 1, argv + optind + 1);
    fajit_ctx_destroy(&ctx);
    return code;
}
