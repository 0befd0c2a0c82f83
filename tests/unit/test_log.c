#include "test.h"

#include "base/log.h"

static char seen[8192];
static int calls;

static void collect(void *user, enum fajit_log_level level, const char *text)
{
    assert_ptr_equal(user, &calls);
    calls++;
    snprintf(seen, sizeof(seen), "%d %s", (int)level, text);
}

static struct fj_log make_log(enum fajit_log_level level)
{
    calls = 0;
    seen[0] = '\0';
    return (struct fj_log){collect, &calls, level};
}

static void respects_the_level(void **state)
{
    (void)state;
    struct fj_log log = make_log(FAJIT_LOG_WARN);
    fj_log(&log, FAJIT_LOG_INFO, "quiet");
    assert_int_equal(calls, 0);
    fj_log(&log, FAJIT_LOG_WARN, "%d %s", 3, "words");
    assert_string_equal(seen, "2 3 words");
    fj_log(&log, FAJIT_LOG_ERROR, "worse");
    assert_int_equal(calls, 2);
}

static void takes_no_log(void **state)
{
    (void)state;
    struct fj_log log = {0};
    fj_log(NULL, FAJIT_LOG_ERROR, "nobody");
    fj_log(&log, FAJIT_LOG_ERROR, "nobody");
    fj_log_source(NULL, FAJIT_LOG_ERROR, "text", 0);
}

static void numbers_source_lines(void **state)
{
    (void)state;
    struct fj_log log = make_log(FAJIT_LOG_DEBUG);
    fj_log_source(&log, FAJIT_LOG_ERROR, "a\n\nb\n", 0);
    assert_string_equal(seen, "1     1: a\n    2: \n    3: b");
    char text[200] = "";
    for (int i = 1; i <= 30; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "l%d\n", i);
    fj_log_source(&log, FAJIT_LOG_ERROR, text, 20);
    assert_non_null(strstr(seen, "\n   20> l20\n"));
    assert_non_null(strstr(seen, "   16: l16\n"));
    assert_non_null(strstr(seen, "   24: l24"));
    assert_null(strstr(seen, "l15"));
    assert_null(strstr(seen, "l25"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(respects_the_level),
        cmocka_unit_test(takes_no_log),
        cmocka_unit_test(numbers_source_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
