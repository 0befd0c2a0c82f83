#include "test.h"

#include "codegen/scan.h"

// One letter per character: code, string, char, comment, block.
static void check_states(const char *text, const char *want)
{
    struct fj_str line = {text, (int)strlen(text)};
    struct fj_scan scan = {0};
    char got[200] = "";
    for (int i = 0; i < line.n; i++) {
        fj_scan_step(&scan, line, i);
        got[i] = "cs'/b"[scan.state];
    }
    assert_string_equal(got, want);
}

static void tells_regions_apart(void **state)
{
    (void)state;
    check_states("a = b / c;", "cccccccccc");
    check_states("a(\"b\") // \"c", "ccssscc/////");
    check_states("\"a\\\"b\" c", "ssssss"
                                 "cc");
    check_states("\"\\\\\" c", "ssss"
                               "cc");
    check_states("'\"' \"'\"", "'''csss");
    check_states("1'000 + '0'", "cccccccc'''");
    check_states("a/*b*/c", "cbbbbbc");
    check_states("a/*/b*/c", "cbbbbbbc");
    check_states("a/**/c", "cbbbbc");
    check_states("a/*//*/c", "cbbbbbbc");
    check_states("\"//\" c", "sssscc");
}

static void finds_trailing_comments(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int start;
    } cases[] = {
        {"", 0}, {"a", 1}, {"// a", 0}, {"a; // b", 3}, {"\"//\"", 4}, {"/* // */ a", 10},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fj_str line = {cases[i].text, (int)strlen(cases[i].text)};
        assert_int_equal(fj_scan_comment_start(line), cases[i].start);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_regions_apart),
        cmocka_unit_test(finds_trailing_comments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
