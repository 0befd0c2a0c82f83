// What every unit test needs before cmocka.h, which wants these headers first.
#ifndef FJ_TESTS_UNIT_TEST_H
#define FJ_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// The status is as wanted, and the recorded sentence contains `part`.
static inline void check_error_at(int status, int want, const char *part, const char *file,
                                  int line)
{
    if (status != want || !strstr(fj_err_text(), part))
        print_error("%s:%d: status %d, wanted %d; sentence \"%s\", wanted \"%s\" in it\n", file,
                    line, status, want, fj_err_text(), part);
    _assert_true(status == want && strstr(fj_err_text(), part), "status and sentence", file, line);
}
#define check_error(status, want, part) check_error_at(status, want, part, __FILE__, __LINE__)

#endif
