#include "test.h"

#include "kernels/config.h"

static void test_names_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FJ_KNOB_COUNT; i++) {
        const char *name = fj_knob_name((enum fj_knob)i);
        assert_int_equal(fj_knob_find(name, strlen(name)), i);
        assert_true(fj_knob_doc((enum fj_knob)i)[0] != '\0');
    }
    assert_int_equal(fj_knob_find("bmm", 3), FJ_KNOB_COUNT);
    assert_int_equal(fj_knob_find("bmm", 2), FJ_KNOB_bm);
    assert_int_equal(fj_knob_find("", 0), FJ_KNOB_COUNT);
}

static void test_format_follows_the_table(void **state)
{
    (void)state;
    struct fj_config config;
    struct fj_buf text = {0}, symbol = {0};
    assert_int_equal(fj_config_parse("warps=4,bn=64,bm=128", &config), FAJIT_OK);
    fj_config_format(&config, &text);
    assert_string_equal(text.data, "bm=128,bn=64,warps=4");
    fj_config_symbol(&config, &symbol);
    assert_string_equal(symbol.data, "bm128_bn64_warps4");
    fj_buf_free(&text);
    fj_buf_free(&symbol);
}

static void test_empty_is_all_unset(void **state)
{
    (void)state;
    const struct fj_config zero = {0};
    struct fj_config config = {.v = {7}};
    assert_int_equal(fj_config_parse("", &config), FAJIT_OK);
    assert_memory_equal(&config, &zero, sizeof(zero));
    config.v[0] = 7;
    assert_int_equal(fj_config_parse(NULL, &config), FAJIT_OK);
    assert_memory_equal(&config, &zero, sizeof(zero));
}

static void test_refusals_leave_the_output(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"bmm=64", "\"bmm\"; the nearest is \"bm\""},
        {"stage=2", "the nearest is \"stages\""},
        {"bm", "bm has no value"},
        {"bm=", "bm takes a whole number from 1 to 1024, not \"\""},
        {"bm=0", "from 1 to 1024"},
        {"bm=1025", "from 1 to 1024"},
        {"bm=-1", "not \"-1\""},
        {"bm=64x", "not \"64x\""},
        {"bm=99999999999999999999999", "from 1 to 1024"},
        {"bm=64,bm=64", "bm is given twice"},
        {"bm=64,", "ends in a comma"},
        {",bm=64", "a knob is missing"},
        {"bm=64,,bn=64", "a knob is missing"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fj_config config = {.v = {7}};
        assert_int_equal(fj_config_parse(cases[i].text, &config), FAJIT_E_INVAL);
        if (!strstr(fj_err_text(), cases[i].says))
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].text, fj_err_text(), cases[i].says);
        assert_int_equal(config.v[0], 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_round_trip),
        cmocka_unit_test(test_format_follows_the_table),
        cmocka_unit_test(test_empty_is_all_unset),
        cmocka_unit_test(test_refusals_leave_the_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
