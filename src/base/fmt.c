#include "base/fmt.h"

#include <locale.h>
#include <pthread.h>
#include <stdio.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static locale_t c_locale; // never freed: any thread may be printing when the process ends

static void make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

int fj_fmt(char *ret_text, size_t size, const char *fmt, va_list args)
{
    pthread_once(&once, make_locale);
    if (!c_locale)
        return vsnprintf(ret_text, size, fmt, args);
    locale_t previous = uselocale(c_locale);
    int len = vsnprintf(ret_text, size, fmt, args);
    uselocale(previous);
    return len;
}
