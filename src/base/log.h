// The log callback of a context.
#ifndef FJ_BASE_LOG_H
#define FJ_BASE_LOG_H

#include "base/err.h"

struct fj_log {
    fajit_log_fn fn; // may be NULL
    void *user;
    enum fajit_log_level level;
};

// `log` may be NULL.
void fj_log(const struct fj_log *log, enum fajit_log_level level, const char *fmt, ...)
    FJ_PRINTF(3, 4);

// Logs `text` with line numbers, `around` +- a few lines, or all of it when around is 0.
void fj_log_source(const struct fj_log *log, enum fajit_log_level level, const char *text,
                   int around);

#endif
