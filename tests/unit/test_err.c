#include "test.h"

#include <pthread.h>

static void records_a_sentence(void **state)
{
    (void)state;
    assert_int_equal(fj_err(FAJIT_E_IO, "cannot open %s", "x"), FAJIT_E_IO);
    assert_string_equal(fj_err_text(), "cannot open x");
    fj_err_clear();
    assert_string_equal(fj_err_text(), "");
}

static void adds_context_in_front(void **state)
{
    (void)state;
    fj_err(FAJIT_E_IO, "no such file");
    assert_int_equal(fj_err_context(FAJIT_E_TEMPLATE, "%s:%d", "a.cu", 7), FAJIT_E_TEMPLATE);
    assert_string_equal(fj_err_text(), "a.cu:7: no such file");
}

static void may_quote_itself(void **state)
{
    (void)state;
    fj_err(FAJIT_E_IO, "inner");
    fj_err(FAJIT_E_IO, "outer (%s)", fj_err_text());
    assert_string_equal(fj_err_text(), "outer (inner)");
}

static void cuts_long_sentences(void **state)
{
    (void)state;
    char *text = malloc(100000);
    memset(text, 'x', 99999);
    text[99999] = '\0';
    fj_err(FAJIT_E_IO, "%s", text);
    size_t len = strlen(fj_err_text());
    assert_true(len > 1000 && len < 99999);
    fj_err_context(FAJIT_E_IO, "%s", text);
    assert_true(strlen(fj_err_text()) < 99999);
    free(text);
}

static void *other_thread(void *arg)
{
    assert_string_equal(fj_err_text(), "");
    fj_err(FAJIT_E_IO, "theirs");
    return arg;
}

static void is_per_thread(void **state)
{
    (void)state;
    pthread_t thread;
    fj_err(FAJIT_E_IO, "mine");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
    pthread_join(thread, NULL);
    assert_string_equal(fj_err_text(), "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_a_sentence), cmocka_unit_test(adds_context_in_front),
        cmocka_unit_test(may_quote_itself),   cmocka_unit_test(cuts_long_sentences),
        cmocka_unit_test(is_per_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
