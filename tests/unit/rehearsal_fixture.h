// What tests of rehearsals look at: the log, and records. For one source file per test.
#ifndef FJ_TESTS_UNIT_REHEARSAL_FIXTURE_H
#define FJ_TESTS_UNIT_REHEARSAL_FIXTURE_H

#include "kernel_fixture.h"

#include <pthread.h>

struct log {
    pthread_mutex_t mutex;
    char text[16384];
};

static inline void take_log(void *user, enum fajit_log_level level, const char *text)
{
    struct log *log = user;
    pthread_mutex_lock(&log->mutex);
    size_t used = strlen(log->text);
    snprintf(log->text + used, sizeof(log->text) - used, "%d %s\n", (int)level, text);
    pthread_mutex_unlock(&log->mutex);
}

static inline int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        count++;
    return count;
}

static struct log the_log = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static inline void check_log(const char *part, int want)
{
    int count = count_of(the_log.text, part);
    if (count != want)
        fail_msg("\"%s\" is %d times in the log, not %d:\n%s", part, count, want, the_log.text);
}

struct verdict {
    const char *verdict, *config;
};

static inline int is_verdict(void *user, const struct fajit_tune_record *record)
{
    const struct verdict *wanted = user;
    return strcmp(record->verdict, wanted->verdict) == 0 &&
           (!wanted->config || strcmp(record->config, wanted->config) == 0);
}

#endif
