// The calling thread's latest failure, as a sentence.
#ifndef FJ_BASE_ERR_H
#define FJ_BASE_ERR_H

#include <fajit/fajit.h>

#define FJ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

// Records the sentence and returns `status`, so that callers write `return fj_err(...)`.
int fj_err(int status, const char *fmt, ...) FJ_PRINTF(2, 3);

// Puts "context: " before the recorded sentence and returns `status`.
int fj_err_context(int status, const char *fmt, ...) FJ_PRINTF(2, 3);

const char *fj_err_text(void);
void fj_err_clear(void);

#endif
