#include "test.h"

#include <locale.h>

#include "base/buf.h"

static void grows_and_stays_terminated(void **state)
{
    (void)state;
    struct fj_buf buf = {0};
    for (int i = 0; i < 10000; i++) {
        char c = (char)('a' + i % 26);
        fj_buf_append(&buf, &c, 1);
        assert_int_equal(buf.len, i + 1);
        assert_int_equal(buf.data[buf.len], '\0');
    }
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf.data[i], 'a' + i % 26);
    fj_buf_free(&buf);
    assert_null(buf.data);
}

static void prints_short_and_long(void **state)
{
    (void)state;
    struct fj_buf buf = {0};
    for (int width = 1; width < 600; width++) {
        fj_buf_clear(&buf);
        fj_buf_printf(&buf, "%*d|", width, 7);
        assert_int_equal(buf.len, width + 1);
        assert_int_equal(buf.data[width - 1], '7');
        assert_int_equal(buf.data[width], '|');
    }
    fj_buf_free(&buf);
}

static void ignores_the_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    bool set = false;
    for (size_t i = 0; i < COUNT(names) && !set; i++)
        set = setlocale(LC_ALL, names[i]) != NULL;
    struct fj_buf buf = {0};
    fj_buf_printf(&buf, "%.3f", 1.5);
    assert_string_equal(buf.data, "1.500");
    fj_buf_free(&buf);
    setlocale(LC_ALL, "C");
    if (!set)
        print_message("no locale with a decimal comma is installed: a weaker test\n");
}

static void failure_is_sticky(void **state)
{
    (void)state;
    struct fj_buf buf = {0};
    fj_buf_puts(&buf, "kept");
    fj_buf_append(&buf, "", SIZE_MAX - 100); // cannot be had
    assert_true(buf.failed);
    fj_buf_puts(&buf, "more");
    assert_string_equal(buf.data, "kept");
    assert_null(fj_buf_steal(&buf));
    assert_null(buf.data);
    assert_false(buf.failed);
}

static void steal_gives_the_data(void **state)
{
    (void)state;
    struct fj_buf buf = {0};
    char *text = fj_buf_steal(&buf);
    assert_string_equal(text, "");
    free(text);
    fj_buf_puts(&buf, "x");
    text = fj_buf_steal(&buf);
    assert_string_equal(text, "x");
    assert_int_equal(buf.len, 0);
    free(text);
}

static void clear_keeps_memory(void **state)
{
    (void)state;
    struct fj_buf buf = {0};
    fj_buf_puts(&buf, "some text");
    char *data = buf.data;
    fj_buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_ptr_equal(buf.data, data);
    assert_string_equal(buf.data, "");
    fj_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated), cmocka_unit_test(prints_short_and_long),
        cmocka_unit_test(ignores_the_locale),         cmocka_unit_test(failure_is_sticky),
        cmocka_unit_test(steal_gives_the_data),       cmocka_unit_test(clear_keeps_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
