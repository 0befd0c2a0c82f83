#include "trace_lines.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define WATCH_MARK "asm volatile(\"// fj_watch "

static int count_lines(const char *text)
{
    int count = 0;
    for (const char *at = text; *at; count++) {
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    return count;
}

int fj_source_lines_split(const char *source, struct fj_source_lines *ret_lines)
{
    struct fj_source_lines lines = {.count = count_lines(source), .text = strdup(source)};
    lines.lines = calloc((size_t)lines.count + 1, sizeof(*lines.lines));
    if (!lines.text || !lines.lines) {
        fj_source_lines_free(&lines);
        return fj_err(FAJIT_E_NOMEM, "no memory for the lines of a source");
    }
    char *at = lines.text;
    int plain = 0;
    for (int i = 0; i < lines.count; i++) {
        size_t length = strcspn(at, "\n");
        bool last = at[length] == '\0';
        at[length] = '\0';
        bool watch = strstr(at, WATCH_MARK) != NULL;
        plain += !watch;
        lines.lines[i] = (struct fj_source_line){.text = at, .plain = plain, .watch = watch};
        at += length + !last;
    }
    *ret_lines = lines;
    return FAJIT_OK;
}

const struct fj_source_line *fj_source_line(const struct fj_source_lines *lines, int line)
{
    return line >= 1 && line <= lines->count ? &lines->lines[line - 1] : NULL;
}

void fj_source_lines_free(struct fj_source_lines *lines)
{
    free(lines->lines);
    free(lines->text);
    *lines = (struct fj_source_lines){0};
}
