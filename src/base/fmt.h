// printf into memory, in the C locale whatever the process has chosen.
#ifndef FJ_BASE_FMT_H
#define FJ_BASE_FMT_H

#include <stdarg.h>
#include <stddef.h>

// vsnprintf, but a decimal point is always '.'.
int fj_fmt(char *ret_text, size_t size, const char *fmt, va_list args);

#endif
