#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"

// Makes room for `extra` bytes and a NUL.
static bool reserve(struct fj_buf *buf, size_t extra)
{
    if (buf->failed)
        return false;
    if (extra < buf->cap - buf->len)
        return true;
    size_t need = buf->len + extra + 1;
    size_t cap = buf->cap > need / 2 ? 2 * buf->cap : need;
    if (cap < 64)
        cap = 64;
    char *data = need > extra ? realloc(buf->data, cap) : NULL;
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

void fj_buf_append(struct fj_buf *buf, const void *bytes, size_t len)
{
    if (!reserve(buf, len))
        return;
    if (len)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void fj_buf_puts(struct fj_buf *buf, const char *text)
{
    fj_buf_append(buf, text, strlen(text));
}

void fj_buf_printf(struct fj_buf *buf, const char *fmt, ...)
{
    char small[256];
    va_list args;
    va_start(args, fmt);
    int len = fj_fmt(small, sizeof(small), fmt, args);
    va_end(args);
    if (len < 0) {
        buf->failed = true;
        return;
    }
    if ((size_t)len < sizeof(small)) {
        fj_buf_append(buf, small, (size_t)len);
        return;
    }
    if (!reserve(buf, (size_t)len))
        return;
    va_start(args, fmt);
    fj_fmt(buf->data + buf->len, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
}

void fj_buf_clear(struct fj_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

char *fj_buf_steal(struct fj_buf *buf)
{
    fj_buf_append(buf, "", 0); // an empty buffer gives "", not NULL
    if (buf->failed) {
        fj_buf_free(buf);
        return NULL;
    }
    char *data = buf->data;
    *buf = (struct fj_buf){0};
    return data;
}

void fj_buf_free(struct fj_buf *buf)
{
    free(buf->data);
    *buf = (struct fj_buf){0};
}
