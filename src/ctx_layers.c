// What a context reads besides its cache directory, and what it notes for others: packs, and the
// list of problems asked for.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/fs.h"
#include "base/lines.h"
#include "ctx.h"

#define PACK_SUFFIX ".fjpack"
#define PATH_BYTES 1024

// --- Packs ------------------------------------------------------------------------------------

static void open_pack(struct fajit_ctx *ctx, const char *path)
{
    struct fj_jit *jit = &ctx->jit;
    struct fj_buf text = {0};
    if (jit->pack_count == FJ_PACKS_MAX) {
        fj_log(&jit->log, FAJIT_LOG_WARN, "%s is not used: %d packs are open already", path,
               FJ_PACKS_MAX);
        return;
    }
    if (fj_pack_open(path, &jit->packs[jit->pack_count])) {
        fj_log(&jit->log, FAJIT_LOG_WARN, "%s", fj_err_text());
        return;
    }
    const struct fj_pack *pack = jit->packs[jit->pack_count++];
    if (fj_pack_text(pack, &text) == FAJIT_OK && text.len)
        fj_tune_add_text(ctx->tune, path, text.data, text.len);
    fj_buf_free(&text);
}

struct names {
    char (*items)[PATH_BYTES];
    int count;
    const char *dir;
};

static void see_name(void *user, const char *name)
{
    struct names *names = user;
    size_t len = strlen(name), suffix = sizeof(PACK_SUFFIX) - 1;
    if (name[0] == '.' || len <= suffix || strcmp(name + len - suffix, PACK_SUFFIX) != 0)
        return;
    void *items = realloc(names->items, (size_t)(names->count + 1) * sizeof(*names->items));
    if (!items)
        return;
    names->items = items;
    if (fj_path_join(names->items[names->count], PATH_BYTES, names->dir, name))
        names->count++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

// A directory stands for the packs in it, by name.
static void open_path(struct fajit_ctx *ctx, const char *path)
{
    struct names names = {.dir = path};
    if (!fj_fs_list(path, see_name, &names)) {
        open_pack(ctx, path);
        return;
    }
    if (names.count)
        qsort(names.items, (size_t)names.count, sizeof(*names.items), by_name);
    for (int i = 0; i < names.count; i++)
        open_pack(ctx, names.items[i]);
    free(names.items);
}

void fj_ctx_open_packs(struct fajit_ctx *ctx, const char *pack_path)
{
    char path[PATH_BYTES];
    while (pack_path && *pack_path) {
        size_t len = strcspn(pack_path, ":");
        if (len && len < sizeof(path)) {
            memcpy(path, pack_path, len);
            path[len] = '\0';
            open_path(ctx, path);
        }
        pack_path += len + (pack_path[len] == ':');
    }
}

void fj_ctx_close_packs(struct fajit_ctx *ctx)
{
    for (int i = 0; i < ctx->jit.pack_count; i++)
        fj_pack_close(&ctx->jit.packs[i]);
    ctx->jit.pack_count = 0;
}

// --- Problems asked for -----------------------------------------------------------------------

// True when the line was not noted before.
static bool remember(struct fajit_ctx *ctx, const char *line)
{
    for (int i = 0; i < ctx->noted_count; i++)
        if (strcmp(ctx->noted[i], line) == 0)
            return false;
    char **noted = realloc(ctx->noted, (size_t)(ctx->noted_count + 1) * sizeof(*noted));
    if (!noted)
        return false;
    ctx->noted = noted;
    noted[ctx->noted_count] = strdup(line);
    if (!noted[ctx->noted_count])
        return false;
    ctx->noted_count++;
    return true;
}

static void note_line(struct fajit_ctx *ctx, struct fj_buf line)
{
    fj_buf_puts(&line, "\n");
    pthread_mutex_lock(&ctx->mutex);
    bool is_new = !line.failed && remember(ctx, line.data);
    pthread_mutex_unlock(&ctx->mutex);
    if (is_new && fj_lines_append(ctx->record_path, line.data, line.len))
        fj_log(&ctx->jit.log, FAJIT_LOG_WARN, "the problem is not recorded: %s", fj_err_text());
    fj_buf_free(&line);
}

void fj_ctx_note_problem(struct fajit_ctx *ctx, const struct fj_problem *problem)
{
    struct fj_buf line = {0};
    if (!ctx->record_path)
        return;
    fj_problem_print(problem, &line);
    note_line(ctx, line);
}

void fj_ctx_note_custom(struct fajit_ctx *ctx, const struct fj_custom *custom)
{
    struct fj_buf line = {0};
    if (!ctx->record_path)
        return;
    fj_custom_print(custom, &line);
    note_line(ctx, line);
}

void fj_ctx_forget_problems(struct fajit_ctx *ctx)
{
    for (int i = 0; i < ctx->noted_count; i++)
        free(ctx->noted[i]);
    free(ctx->noted);
}
