#include "test.h"

#include "codegen/expr.h"

static struct fj_symbols symbols;
static struct fj_value values[16];

static struct fj_str str(const char *text)
{
    return (struct fj_str){text, (int)strlen(text)};
}

static void add(enum fj_symbol_kind kind, const char *name, const char *words, int64_t value,
                const char *word)
{
    struct fj_symbol symbol = {.kind = kind, .name = str(name), .words = str(words)};
    values[fj_symbols_count(&symbols)] =
        (struct fj_value){.set = true, .is_word = *word, .value = value, .word = str(word)};
    fj_buf_append(&symbols.items, &symbol, sizeof(symbol));
}

static int make_symbols(void **state)
{
    (void)state;
    memset(values, 0, sizeof(values));
    add(FJ_SYMBOL_SYMBOL, "kernel_name", "", 0, "name");
    add(FJ_SYMBOL_CONST, "block_m", "", 128, "");
    add(FJ_SYMBOL_CONST, "zero", "", 0, "");
    add(FJ_SYMBOL_SWITCH_WORD, "dtype", "f16|bf16|3xtf32", 0, "bf16");
    add(FJ_SYMBOL_SWITCH_BOOL, "causal", "", 1, "");
    add(FJ_SYMBOL_LOOP, "r", "", 0, "");
    add(FJ_SYMBOL_LET, "half", "", 0, "");
    add(FJ_SYMBOL_CONST, "large", "", INT64_MAX, "");
    values[5].set = values[6].set = false;
    return 0;
}

static int free_symbols(void **state)
{
    (void)state;
    fj_buf_free(&symbols.items);
    return 0;
}

static int evaluate(const char *text, int64_t *ret)
{
    struct fj_exprs exprs = {0};
    int root;
    int status = fj_expr_parse(&exprs, &symbols, str(text), &root);
    if (!status)
        status = fj_expr_eval(&exprs, &symbols, root, values, ret);
    fj_buf_free(&exprs.nodes);
    return status;
}

static void values_of_expressions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"1", 1},
        {" 42 ", 42},
        {"block_m", 128},
        {"2 + 3 * 4", 14},
        {"(2 + 3) * 4", 20},
        {"20 - 5 - 3", 12},
        {"100 / 10 / 5", 2},
        {"7 % 4 * 2", 6},
        {"-7 / 2", -3},
        {"-7 % 2", -1},
        {"- - 3", 3},
        {"2 - -3", 5},
        {"!3", 0},
        {"!0", 1},
        {"!!7", 1},
        {"!zero + 1", 2},
        {"1 < 2 == 1", 1},
        {"3 <= 3 && 4 >= 5", 0},
        {"3 > 2 || 1 / zero", 1},
        {"0 && 1 / zero", 0},
        {"1 || 0 && 0", 1},
        {"5 && 6", 1},
        {"2 != 2", 0},
        {"block_m % (16 * 4) == 0", 1},
        {"dtype == bf16", 1},
        {"dtype == f16", 0},
        {"dtype != f16 && causal", 1},
        {"!(dtype == 3xtf32)", 1},
        {"1 + (dtype == bf16) * 2", 3},
        {"9223372036854775807", INT64_MAX},
        {"large % (0 - 1)", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = -99;
        int status = evaluate(cases[i].text, &value);
        if (status || value != cases[i].value)
            print_error("%s: status %d, %lld, wanted %lld; %s\n", cases[i].text, status,
                        (long long)value, (long long)cases[i].value, fj_err_text());
        assert_int_equal(status, FAJIT_OK);
        assert_true(value == cases[i].value);
    }
}

static void failures(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "ends where a value"},
        {"1 +", "ends where a value"},
        {"(1", "not closed"},
        {"1)", "after the end"},
        {"1 2", "after the end"},
        {"a", "unknown name a"},
        {"block_n", "did you mean block_m?"},
        {"dtype", "holds a word"},
        {"dtype < bf16", "holds a word"},
        {"dtype == bf61", "did you mean bf16?"},
        {"bf16", "unknown name bf16"},
        {"kernel_name", "is a symbol"},
        {"1 / zero", "division by zero"},
        {"1 % zero", "division by zero"},
        {"large + 1", "does not fit"},
        {"large * 2", "does not fit"},
        {"(0 - large - 1) / (0 - 1)", "does not fit"},
        {"-(0 - large - 1)", "does not fit"},
        {"0 - large - 2", "does not fit"},
        {"9223372036854775808", "does not fit"},
        {"12ab", "neither a number nor a name"},
        {"r + 1", "outside its //@for"},
        {"half", "its //@let comes later"},
        {"1 ? 2", "after the end"},
        {"1 = 2", "after the end"},
        {"1 & 2", "after the end"},
        {"@", "'@' where a value"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = -99;
        print_message("%s\n", cases[i].text);
        check_error(evaluate(cases[i].text, &value), FAJIT_E_TEMPLATE, cases[i].part);
        assert_int_equal(value, -99);
    }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    char text[2001] = "";
    int64_t value;
    for (int i = 0; i < 60; i++)
        strcat(text, "(");
    strcat(text, "1");
    for (int i = 0; i < 60; i++)
        strcat(text, ")");
    assert_int_equal(evaluate(text, &value), FAJIT_OK);
    memset(text, '(', 2000);
    check_error(evaluate(text, &value), FAJIT_E_TEMPLATE, "nested");
    memset(text, '!', 2000);
    check_error(evaluate(text, &value), FAJIT_E_TEMPLATE, "nested");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_expressions),
        cmocka_unit_test(failures),
        cmocka_unit_test(deep_nesting_is_refused),
    };
    return cmocka_run_group_tests(tests, make_symbols, free_symbols);
}
