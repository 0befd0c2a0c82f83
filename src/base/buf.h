// A growable byte buffer. Failure is sticky: check `failed` once, at the end.
#ifndef FJ_BASE_BUF_H
#define FJ_BASE_BUF_H

#include "base/err.h"

struct fj_buf {
    char *data; // NUL-terminated when len > 0 or after any append
    size_t len, cap;
    bool failed;
};

void fj_buf_append(struct fj_buf *buf, const void *bytes, size_t len);
void fj_buf_puts(struct fj_buf *buf, const char *text);
void fj_buf_printf(struct fj_buf *buf, const char *fmt, ...) FJ_PRINTF(2, 3); // locale-proof
void fj_buf_clear(struct fj_buf *buf);                                        // keeps the memory
char *fj_buf_steal(struct fj_buf *buf); // the data, to be freed by the caller; NULL if failed
void fj_buf_free(struct fj_buf *buf);

#endif
