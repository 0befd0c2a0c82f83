// fajit-tune list, stats, gc, clear, pack, unpack, verify: the cache as a whole.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "tune.h"

static int print_json(cJSON *json)
{
    char *text = cJSON_Print(json);
    if (text)
        puts(text);
    free(text);
    cJSON_Delete(json);
    return text ? 0 : 1;
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

int tune_list_entries(struct fajit_ctx *ctx, const struct tune_options *options, int count,
                      char **args)
{
    (void)count;
    (void)args;
    int entries = 0;
    if (!options->tool.json) {
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

struct record_count {
    int own, bundled;
};

static int count_record(void *user, const struct fajit_tune_record *record)
{
    struct record_count *count = user;
    ++*(strcmp(record->origin, "bundled") == 0 ? &count->bundled : &count->own);
    return 0;
}

int tune_stats(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    char used[32], limit[32];
    struct record_count records = {0};
    (void)count;
    (void)args;
    if (fajit_cache_stats(ctx, &stats) || fajit_tune_visit(ctx, NULL, count_record, &records))
        return tool_fail(NULL);
    if (options->tool.json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "dir", stats.dir);
        cJSON_AddStringToObject(json, "note", stats.note);
        cJSON_AddNumberToObject(json, "entries", (double)stats.entries);
        cJSON_AddNumberToObject(json, "bytes", (double)stats.bytes);
        cJSON_AddNumberToObject(json, "max_bytes", (double)stats.max_bytes);
        cJSON_AddNumberToObject(json, "records", records.own);
        cJSON_AddNumberToObject(json, "bundled_records", records.bundled);
        return print_json(json);
    }
    printf("directory  %s\n", *stats.dir ? stats.dir : "none: memory only");
    if (*stats.note)
        printf("note       %s\n", stats.note);
    printf("entries    %" PRIu64 "\n", stats.entries);
    printf("size       %s of %s\n", tool_bytes((double)stats.bytes, used),
           tool_bytes((double)stats.max_bytes, limit));
    printf("records    %d of tuning, and %d that come with the library\n", records.own,
           records.bundled);
    return 0;
}

static int collect(struct fajit_ctx *ctx, uint64_t max_bytes)
{
    uint64_t freed;
    char size[32];
    if (fajit_cache_gc(ctx, max_bytes, &freed))
        return tool_fail(NULL);
    printf("%s freed\n", tool_bytes((double)freed, size));
    return 0;
}

int tune_gc(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    (void)count;
    (void)args;
    if (fajit_cache_stats(ctx, &stats))
        return tool_fail(NULL);
    uint64_t max = options->has_max ? options->max_bytes : stats.max_bytes;
    return collect(ctx, max ? max : 1); // 0 would mean all, which is what clear is for
}

int tune_clear(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    (void)options;
    (void)count;
    (void)args;
    return collect(ctx, 0);
}

// --- Packs ------------------------------------------------------------------------------------

static int one_path(const char *command, int count)
{
    if (count == 1)
        return 0;
    fprintf(stderr, "%s: %s takes one file\n", tool_name, command);
    return 2;
}

static void print_pack(const char *path, const struct fajit_pack_info *info)
{
    char size[32];
    printf("%s: %" PRIu64 " entries, %d tuning records, %s\n", path, info->entries, info->records,
           tool_bytes((double)info->bytes, size));
}

int tune_pack(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct fajit_pack_info info = {.struct_size = sizeof(info)};
    (void)options;
    if (one_path("pack", count))
        return 2;
    if (fajit_pack_write(ctx, args[0], &info))
        return tool_fail("pack");
    print_pack(args[0], &info);
    return 0;
}

int tune_unpack(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct fajit_pack_info info = {.struct_size = sizeof(info)};
    (void)options;
    if (one_path("unpack", count))
        return 2;
    if (fajit_pack_unpack(ctx, args[0], &info))
        return tool_fail("unpack");
    print_pack(args[0], &info);
    if (info.skipped)
        printf("%" PRIu64 " entries were there already\n", info.skipped);
    return 0;
}

int tune_verify(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct fajit_pack_info info = {.struct_size = sizeof(info)};
    (void)ctx;
    (void)options;
    if (one_path("verify", count))
        return 2;
    if (fajit_pack_verify(args[0], &info))
        return tool_fail("verify");
    print_pack(args[0], &info);
    return 0;
}
