#include "base/err.h"

#include <stdio.h>
#include <string.h>

#include "base/fmt.h"

// Long enough for a sentence with a few paths; compiler logs travel by their own route.
#define TEXT_MAX 4096

static _Thread_local char text[TEXT_MAX];

int fj_err(int status, const char *fmt, ...)
{
    // Through a copy: an argument may be the recorded sentence itself.
    char next[TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    fj_fmt(next, sizeof(next), fmt, args);
    va_end(args);
    memcpy(text, next, sizeof(text));
    return status;
}

int fj_err_context(int status, const char *fmt, ...)
{
    char context[TEXT_MAX], next[TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    fj_fmt(context, sizeof(context), fmt, args);
    va_end(args);
    snprintf(next, sizeof(next), "%.2000s: %.2000s", context, text);
    memcpy(text, next, sizeof(text));
    return status;
}

const char *fj_err_text(void)
{
    return text;
}

void fj_err_clear(void)
{
    text[0] = '\0';
}
