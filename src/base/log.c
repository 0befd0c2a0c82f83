#include "base/log.h"

#include <string.h>

#include "base/buf.h"
#include "base/fmt.h"

static bool wanted(const struct fj_log *log, enum fajit_log_level level)
{
    return log && log->fn && level != FAJIT_LOG_NONE && level <= log->level;
}

void fj_log(const struct fj_log *log, enum fajit_log_level level, const char *fmt, ...)
{
    if (!wanted(log, level))
        return;
    char text[4096];
    va_list args;
    va_start(args, fmt);
    fj_fmt(text, sizeof(text), fmt, args);
    va_end(args);
    log->fn(log->user, level, text);
}

#define AROUND_LINES 4

void fj_log_source(const struct fj_log *log, enum fajit_log_level level, const char *text,
                   int around)
{
    if (!wanted(log, level))
        return;
    struct fj_buf numbered = {0};
    for (int line = 1; *text; line++) {
        size_t len = strcspn(text, "\n");
        bool near = line >= around - AROUND_LINES && line <= around + AROUND_LINES;
        if (around == 0 || near)
            fj_buf_printf(&numbered, "%s%5d%c %.*s", numbered.len ? "\n" : "", line,
                          line == around ? '>' : ':', (int)len, text);
        text += len + (text[len] == '\n');
    }
    if (!numbered.failed && numbered.len)
        log->fn(log->user, level, numbered.data);
    fj_buf_free(&numbered);
}
