// fajit-tune show and why-key: one cache entry, and two beside each other.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tune.h"

extern char **environ;

static void show_config(const struct fajit_cache_content *c)
{
    char when[32];
    time_t time = (time_t)c->created_s;
    const char *config = strstr(c->name, "__");
    strftime(when, sizeof(when), "%F %T", localtime(&time));
    printf("key        %s\nname       %s\nconfig     %s\narch       %s%s\nNVRTC      %s\n", c->key,
           c->name, config ? config + 2 : "", c->arch, c->is_ptx ? " (PTX)" : "", c->nvrtc);
    printf("registers  %d, spills %d bytes\nshared     %d bytes, %d threads\nimage      %zu bytes\n"
           "made       %s\n",
           c->registers, c->spill_bytes, c->smem_bytes, c->threads, c->image_bytes, when);
}

// Writes the image to a file of its own and has nvdisasm of the CUDA toolkit read it.
static int show_sass(const struct fajit_cache_content *c)
{
    char path[] = "/tmp/fajit-XXXXXX";
    char *const argv[] = {"nvdisasm", "-c", path, NULL};
    pid_t child;
    int status = 1, fd = mkstemp(path);
    if (c->is_ptx) {
        fprintf(stderr, "%s: the entry holds PTX for %s, not a cubin\n", tool_name, c->arch);
        status = 1;
    } else if (fd < 0 || write(fd, c->image, c->image_bytes) != (ssize_t)c->image_bytes) {
        fprintf(stderr, "%s: cannot write %s\n", tool_name, path);
    } else if (fflush(stdout) || posix_spawnp(&child, argv[0], NULL, NULL, argv, environ)) {
        fprintf(stderr, "%s: nvdisasm of the CUDA toolkit is not in PATH\n", tool_name);
    } else if (waitpid(child, &status, 0) == child) {
        status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    return status ? 1 : 0;
}

static int show_source(const struct fajit_cache_content *c)
{
    if (!*c->source) {
        fprintf(stderr, "%s: no source is stored with %s\n", tool_name, c->name);
        return 1;
    }
    fputs(c->source, stdout);
    return 0;
}

static int show_ptx(struct fajit_ctx *ctx, const struct fajit_cache_content *c)
{
    char *ptx;
    if (fajit_cache_ptx(ctx, c->key, &ptx))
        return tool_fail(NULL);
    fputs(ptx, stdout);
    fajit_free(ptx);
    return 0;
}

static int show_content(struct fajit_ctx *ctx, const struct fajit_cache_content *c,
                        enum tune_show show)
{
    switch (show) {
    case SHOW_SOURCE:
        return show_source(c);
    case SHOW_LOG:
        fputs(c->log, stdout);
        return 0;
    case SHOW_PTX:
        return show_ptx(ctx, c);
    case SHOW_SASS:
        return show_sass(c);
    case SHOW_IMAGE:
        return fwrite(c->image, 1, c->image_bytes, stdout) == c->image_bytes ? 0 : 1;
    case SHOW_CONFIG:
        break;
    }
    show_config(c);
    return 0;
}

int tune_show(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    int code = 0;
    if (count < 1) {
        fprintf(stderr, "%s: show takes keys, or the first 8 digits of them: see list\n",
                tool_name);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        struct fajit_cache_content content = {.struct_size = sizeof(content)};
        if (fajit_cache_read(ctx, args[i], &content)) {
            code = tool_fail(NULL);
            continue;
        }
        code |= show_content(ctx, &content, options->show);
        fajit_cache_content_free(&content);
    }
    return code;
}

// --- Two keys ---------------------------------------------------------------------------------

static void compare_text(const char *what, const char *a, const char *b)
{
    if (strcmp(a, b) != 0)
        printf("%-10s %s\n%-10s %s\n", what, a, "", b);
}

// Length of the line at `text`.
static int line_len(const char *text)
{
    return (int)strcspn(text, "\n");
}

// The first lines that differ; a key is over the whole text, so one suffices.
static bool compare_source(const char *a, const char *b)
{
    for (int line = 1; *a || *b; line++) {
        int la = line_len(a), lb = line_len(b);
        if (la != lb || memcmp(a, b, (size_t)la) != 0) {
            printf("source     line %d: %.*s\n           line %d: %.*s\n", line, la, a, line, lb,
                   b);
            return true;
        }
        a += la + (a[la] == '\n');
        b += lb + (b[lb] == '\n');
    }
    return false;
}

static void compare(const struct fajit_cache_content *a, const struct fajit_cache_content *b)
{
    compare_text("target", a->arch, b->arch);
    compare_text("output", a->is_ptx ? "ptx" : "cubin", b->is_ptx ? "ptx" : "cubin");
    bool differs = compare_source(a->source, b->source);
    if (strcmp(a->key, b->key) == 0)
        printf("the keys are the same\n");
    else if (!differs && strcmp(a->arch, b->arch) == 0 && a->is_ptx == b->is_ptx)
        printf("options    source, target and output are the same: the compile options or the\n"
               "           schema of fajit differ\n");
    if (strcmp(a->nvrtc, b->nvrtc) != 0)
        printf("(NVRTC     %s, %s: not part of the key)\n", a->nvrtc, b->nvrtc);
}

int tune_why_key(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct fajit_cache_content a = {.struct_size = sizeof(a)}, b = {.struct_size = sizeof(b)};
    (void)options;
    if (count != 2) {
        fprintf(stderr, "%s: why-key takes two keys\n", tool_name);
        return 2;
    }
    if (fajit_cache_read(ctx, args[0], &a))
        return tool_fail(NULL);
    if (fajit_cache_read(ctx, args[1], &b)) {
        fajit_cache_content_free(&a);
        return tool_fail(NULL);
    }
    compare(&a, &b);
    fajit_cache_content_free(&a);
    fajit_cache_content_free(&b);
    return 0;
}
