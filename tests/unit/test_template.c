// The template engine: layout, directives, digests, the process's templates.
#include "template_fixture.h"

// --- Layout ---

static void prelude_order(void **state)
{
    (void)state;
    reset();
    heading = "// Head one\n// head two\n";
    fj_params_int(&params, "block_m", 128);
    fj_params_int(&params, "d", 8);
    fj_params_int(&params, "unused", 3);
    fj_params_int(&params, "large", 5000000000);
    check_text("//@const block_m rows of a tile\n"
               "//@const d\n"
               "//@const unused nobody names it\n"
               "//@const large many\n"
               "// The template's own comment.\n"
               "//@prelude\n"
               "\n"
               "static_assert(kBlockM > kD, \"\");\n"
               "long long x = kLarge; // kUnusedNot, xkUnused\n",
               "// Head one\n"
               "// head two\n"
               "//\n"
               "// The template's own comment.\n"
               "\n"
               "constexpr int kBlockM = 128; // rows of a tile\n"
               "constexpr int kD = 8;\n"
               "constexpr long long kLarge = 5000000000; // many\n"
               "\n"
               "static_assert(kBlockM > kD, \"\");\n"
               "long long x = kLarge; // kUnusedNot, xkUnused\n");
}

// What stood between empty lines of the template's comment may have gone.
static void empty_comment_lines(void **state)
{
    (void)state;
    static const char text[] = "//@switch on bool\n//\n// One.\n//\n//@if on\n// Two.\n//@end\n//\n"
                               "// Three.\n//\n//@if on\n// Four.\n//@end\n//@prelude\na\n";
    reset();
    fj_params_int(&params, "on", 0);
    check_text(text, "// One.\n//\n// Three.\n\na\n");
    reset();
    fj_params_int(&params, "on", 1);
    check_text(text, "// One.\n//\n// Two.\n//\n// Three.\n//\n// Four.\n\na\n");
}

static void long_docs_are_wrapped(void **state)
{
    (void)state;
    reset();
    fj_params_int(&params, "a", 1);
    check_text("//@const a one two three four five six seven eight nine ten eleven twelve thirteen "
               "fourteen\n//@prelude\nkA;\n",
               "constexpr int kA = 1; // one two three four five six seven eight nine ten eleven "
               "twelve thirteen\n"
               "                      // fourteen\n\nkA;\n");
}

static void blank_lines(void **state)
{
    (void)state;
    reset();
    fj_params_int(&params, "on", 0);
    check_text("//@switch on bool\n"
               "//@prelude\n"
               "\n\n"
               "a   \n"
               "\n"
               "//@if on\n"
               "b\n"
               "//@end\n"
               "\n"
               "f() {\n"
               "\n"
               "    c\n"
               "\n"
               "}\n"
               "\n\n\n",
               "a\n\nf() {\n    c\n}\n");
}

static void no_final_newline_and_crlf(void **state)
{
    (void)state;
    reset();
    check_text("//@prelude\r\na\r\nb", "a\nb\n");
    check_text("//@prelude", "");
}

static void comments_are_aligned_again(void **state)
{
    (void)state;
    reset();
    fj_params_int(&params, "on", 0);
    check_text("//@switch on bool\n"
               "//@prelude\n"
               "int a;           // first\n"
               "                 // goes on\n"
               "//@if on\n"
               "int long_name_b; // second\n"
               "//@end\n"
               "int ccc;         // \"third\" // x\n"
               "s = \"// no\";\n"
               "// alone\n"
               "int d;   // fourth\n",
               "int a;   // first\n"
               "         // goes on\n"
               "int ccc; // \"third\" // x\n"
               "s = \"// no\";\n"
               "// alone\n"
               "int d; // fourth\n");
}

static void long_kernel_lines_are_broken(void **state)
{
    (void)state;
    reset();
    char name[100] = "n";
    memset(name + 1, 'x', 40);
    fj_params_word(&params, "kernel_name", name);
    static const char text[] = "//@prelude\n"
                               "extern \"C\" __global__ void __launch_bounds__(kThreads) "
                               "$kernel_name(\n    int a)\n{\n    b;\n}\n";
    char want[400];
    snprintf(want, sizeof(want),
             "extern \"C\" __global__ void __launch_bounds__(kThreads) %s(\n"
             "    int a)\n{\n    b;\n}\n",
             name);
    check_text(text, want);
    reset();
    memset(name + 1, 'x', 60);
    fj_params_word(&params, "kernel_name", name);
    snprintf(want, sizeof(want),
             "extern \"C\" __global__ void __launch_bounds__(kThreads)\n"
             "    %s(\n"
             "        int a)\n{\n    b;\n}\n",
             name);
    check_text(text, want);
}

// --- Directives ---

static void branches(void **state)
{
    (void)state;
    static const char text[] = "//@switch x int\n"
                               "//@switch t f16|bf16\n"
                               "//@prelude\n"
                               "//@if x == 1\n"
                               "one\n"
                               "//@elif x == 2\n"
                               "two\n"
                               "    //@if t == bf16\n"
                               "    two bf16\n"
                               "    //@end\n"
                               "//@elif x == 3\n"
                               "//@else\n"
                               "other\n"
                               "//@end\n"
                               "end\n";
    static const char *const want[] = {"other\nend\n", "one\nend\n", "two\n    two bf16\nend\n",
                                       "end\n", "other\nend\n"};
    for (int x = 0; x < 5; x++) {
        reset();
        fj_params_int(&params, "x", x);
        fj_params_word(&params, "t", "bf16");
        check_text(text, want[x]);
    }
}

static void loops_lets_and_holes(void **state)
{
    (void)state;
    reset();
    fj_params_int(&params, "n", 5);
    fj_params_word(&params, "t", "bf16");
    check_text("//@switch n int\n"
               "//@switch t f16|bf16\n"
               "//@prelude\n"
               "//@let sum 0\n"
               "//@for i in 0..n step 2\n"
               "//@let sum sum + i\n"
               "x[$i] = f_$t($sum); // $n\n"
               "//@end\n"
               "//@for i in 3..3\n"
               "never\n"
               "//@end\n"
               "//@for i in 0..2\n"
               "//@for j in i..2\n"
               "asm(\"a${i}${j * 10} \\\"${n - 6}\");\n"
               "//@end\n"
               "//@end\n",
               "x[0] = f_bf16(0); // 5\n"
               "x[2] = f_bf16(2); // 5\n"
               "x[4] = f_bf16(6); // 5\n"
               "asm(\"a00 \\\"-1\");\n"
               "asm(\"a010 \\\"-1\");\n"
               "asm(\"a110 \\\"-1\");\n");
}

static void inclusion_pastes_once(void **state)
{
    (void)state;
    reset();
    put("lib/a.cuh", "// a\n//@include lib/b.cuh\n//@const m of a\n//@if m > 1\nkM;\n//@end\n");
    put("lib/b.cuh", "//@include lib/a.cuh\nb;\n");
    fj_params_int(&params, "m", 2);
    check_text("//@prelude\n//@include lib/a.cuh\n//@include lib/b.cuh\nend\n",
               "constexpr int kM = 2; // of a\n\n// a\n\nb;\n\nkM;\n\nend\n");
}

static void parameters_of_skipped_inclusions(void **state)
{
    (void)state;
    static const char text[] = "//@switch on bool\n//@prelude\n//@if on\n//@include lib/a.cuh\n"
                               "//@end\nend\n";
    put("lib/a.cuh", "//@const m of a\nkM;\n");
    reset();
    fj_params_int(&params, "on", 0);
    check_text(text, "end\n");
    fj_params_int(&params, "m", 1); // known, if not used
    check_text(text, "end\n");
    reset();
    fj_params_int(&params, "on", 1);
    check_failure(text, "lib/a.cuh:1: parameter m was not given");
}

static void watch_lines(void **state)
{
    (void)state;
    static const char text[] = "//@const m\n//@prelude\n"
                               "//@watch S [m, 2 * m] acc regs=2\n"
                               "//@watch A [m, m] u32 regs=2,2\n"
                               "//@watch l [m] row regs=1\nkM;\n";
    reset();
    fj_params_int(&params, "m", 64);
    check_text(text, "constexpr int kM = 64;\n\nkM;\n");
    watches = true;
    check_text(text,
               "constexpr int kM = 64;\n\n"
               "    asm volatile(\"// fj_watch S 64 128 acc 2 %0 %1\" ::\"f\"(S[0]), "
               "\"f\"(S[1]));\n"
               "    asm volatile(\"// fj_watch A 64 64 u32 2x2 %0 %1 %2 %3\" ::\"r\"(A[0][0]), "
               "\"r\"(A[0][1]), \"r\"(A[1][0]), \"r\"(A[1][1]));\n"
               "    asm volatile(\"// fj_watch l 64 1 row 1 %0\" ::\"f\"(l[0]));\nkM;\n");
    reset();
    fj_params_word(&params, "dtype", "f16");
    watches = true;
    check_text("//@switch dtype f16|bf16\n//@prelude\n"
               "//@watch P [16, 16] a_$dtype regs=1,2,1\n"
               "//@watch K=k.at(0) [16, 8] smem_$dtype pitch=8+4\n",
               "    asm volatile(\"// fj_watch P 16 16 a_f16 1x2x1 %0 %1\" ::\"r\"(P[0][0][0]), "
               "\"r\"(P[0][1][0]));\n"
               "    asm volatile(\"// fj_watch K 16 8 smem_f16 12 %0\" "
               "::\"l\"((unsigned long long)(k.at(0))));\n");
    reset();
    watches = true;
    check_failure("//@prelude\n//@watch S [1, 1]\n", "t.cu:2: the watch does not say");
    check_failure("//@prelude\n//@watch S [1, 1] acc regs=2,257\n", "1 to 512 registers");
    check_failure("//@prelude\n//@watch S [1, 1] acc regs=0\n", "1 to 512 registers");
    check_failure("//@prelude\n//@watch S [1, 1] acc regs=1,1,1,1\n", "up to 3 dimensions");
    check_failure("//@const m\n//@prelude\n//@watch S [1, 1] a_$m regs=1\n",
                  "a switch of words, which $m is not");
    check_failure("//@prelude\n//@watch S [1, 1] a_$dtype regs=1\n", "which $dtype is not");
    check_failure("//@prelude\n//@watch S [1, 1] acc rows=1\n", "a watch is written");
    check_failure("//@prelude\n//@watch S= [1, 1] acc regs=1\n", "a watch is written");
    check_failure("//@prelude\n//@watch =S [1, 1] acc regs=1\n", "a watch is written");
    watches = false;
    check_text("//@prelude\n//@watch S [1, 1]\n", "");
}

static void tune_lines(void **state)
{
    (void)state;
    const struct fj_template *tmpl;
    struct fj_tune_line line;
    put("t.cu", "//@tune bm 64 128\n//@const bm\n//@switch warps int\n//@prelude\n"
                "//@tune warps 4 -8\n");
    assert_int_equal(fj_template_get(root, "t.cu", &tmpl), FAJIT_OK);
    assert_int_equal(fj_template_tune(tmpl, 0, &line), FAJIT_OK);
    assert_string_equal(line.name, "bm");
    assert_int_equal(line.count, 2);
    assert_int_equal(line.values[1], 128);
    assert_int_equal(fj_template_tune(tmpl, 1, &line), FAJIT_OK);
    assert_string_equal(line.name, "warps");
    assert_int_equal(line.values[1], -8);
    assert_int_not_equal(fj_template_tune(tmpl, 2, &line), FAJIT_OK);
}

// //@let gives a constant its value; it keeps its name in the text.
static void computed_constants(void **state)
{
    (void)state;
    static const char text[] = "//@const threads  of a CTA\n//@switch warps int\n"
                               "//@let threads warps * 32\n//@prelude\nuse(kThreads);\n";
    struct fj_params values = {0};
    const struct fj_template *tmpl;
    reset();
    fj_params_int(&params, "warps", 4);
    check_text(text, "constexpr int kThreads = 128; // of a CTA\n\nuse(kThreads);\n");
    assert_int_equal(fj_template_get(root, "t.cu", &tmpl), FAJIT_OK);
    assert_int_equal(fj_template_evaluate(tmpl, &params, &values), FAJIT_OK);
    assert_int_equal(values.count, 2);
    assert_string_equal(values.items[0].name, "threads");
    assert_int_equal(values.items[0].value, 128);
    assert_string_equal(values.items[1].name, "warps");
    assert_int_equal(values.items[1].value, 4);
}

static void parameter_list(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum fj_param_kind kind;
        bool computed;
    } want[] = {{"m", FJ_PARAM_INT, false},
                {"t", FJ_PARAM_WORD, false},
                {"on", FJ_PARAM_BOOL, false},
                {"n", FJ_PARAM_INT, true},
                {"w", FJ_PARAM_INT, false}};
    const struct fj_template *tmpl;
    struct fj_param_info info;
    put("t.cu", "//@const m\n//@switch t a|b\n//@switch on bool\n//@let plain 1\n//@const n\n"
                "//@let n 2 * m\n//@switch w int\n//@prelude\n");
    assert_int_equal(fj_template_get(root, "t.cu", &tmpl), FAJIT_OK);
    for (int i = 0; i < (int)COUNT(want); i++) {
        assert_int_equal(fj_template_param(tmpl, i, &info), FAJIT_OK);
        assert_string_equal(info.name, want[i].name);
        assert_int_equal(info.kind, want[i].kind);
        assert_int_equal(info.computed, want[i].computed);
    }
    assert_int_not_equal(fj_template_param(tmpl, (int)COUNT(want), &info), FAJIT_OK);
}

// --- Around the text ---

static void line_map(void **state)
{
    (void)state;
    reset();
    heading = "// head\n";
    fj_params_int(&params, "m", 1);
    put("lib/a.cuh", "\nA;\n");
    put("t.cu", "//@const m doc\n// own\n//@prelude\n//@include lib/a.cuh\n\nkM;\n//@if m\nB;\n"
                "//@end\n");
    struct fj_rendering r = {0};
    assert_int_equal(render_into("t.cu", &r), FAJIT_OK);
    assert_string_equal(r.text.data,
                        "// head\n//\n// own\n\nconstexpr int kM = 1; // doc\n\nA;\n\nkM;\nB;\n");
    static const struct {
        int index, line;
        const char *file;
    } want[] = {{0, 0, NULL},        {2, 2, "t.cu"}, {4, 0, NULL},
                {6, 2, "lib/a.cuh"}, {8, 6, "t.cu"}, {9, 8, "t.cu"}};
    assert_int_equal(r.line_count, 10);
    for (size_t i = 0; i < COUNT(want); i++) {
        assert_int_equal(r.lines[want[i].index].line, want[i].line);
        if (want[i].file)
            assert_string_equal(r.lines[want[i].index].file, want[i].file);
    }
    fj_rendering_free(&r);
}

static void digest_of(const char *text, char ret_hex[65])
{
    const struct fj_template *tmpl;
    struct fj_buf hex = {0};
    put("t.cu", text);
    assert_int_equal(fj_template_get(root, "t.cu", &tmpl), FAJIT_OK);
    assert_int_equal(fj_template_digest(tmpl, &hex), FAJIT_OK);
    assert_int_equal(hex.len, 64);
    memcpy(ret_hex, hex.data, 65);
    fj_buf_free(&hex);
}

static void digests(void **state)
{
    (void)state;
    static const char text[] = "//@const m rows\n//@switch t a|b doc\n//@prelude\n//@if m > 1\n"
                               "x = a + b;\n//@end\ny(\"s // t\");\n//@include lib/a.cuh\n";
    static const char *const same[] = {
        "//@const   m   other words\n//@switch t a|b\n// comment\n//@prelude\n\n//@if m>1\n"
        "    x=a+b; // why\n//@tune m 1 2\n//@end\n//@watch S [m, m]\ny( \"s // t\" );\n"
        "//@include lib/a.cuh\n/* z */",
    };
    static const char *const other[] = {
        "//@const m\n//@switch t a|b\n//@prelude\n//@if m > 2\nx = a + b;\n//@end\ny(\"s // t\");\n"
        "//@include lib/a.cuh\n",
        "//@const m\n//@switch t a|c\n//@prelude\n//@if m > 1\nx = a + b;\n//@end\ny(\"s // t\");\n"
        "//@include lib/a.cuh\n",
        "//@const m\n//@switch t a|b\n//@prelude\n//@if m > 1\nx = a + b;\ny(\"s // t\");\n//@end\n"
        "//@include lib/a.cuh\n",
        "//@const m\n//@switch t a|b\n//@prelude\n//@if m > 1\nx = a ++ b;\n//@end\n"
        "y(\"s // t\");\n//@include lib/a.cuh\n",
        "//@const m\n//@switch t a|b\n//@prelude\n//@if m > 1\nx = a + b;\n//@end\n"
        "y(\"s //  t\");\n//@include lib/a.cuh\n",
    };
    char first[65], next[65];
    put("lib/a.cuh", "z;\n");
    digest_of(text, first);
    for (size_t i = 0; i < COUNT(same); i++) {
        digest_of(same[i], next);
        assert_string_equal(next, first);
    }
    for (size_t i = 0; i < COUNT(other); i++) {
        digest_of(other[i], next);
        assert_string_not_equal(next, first);
    }
    put("lib/a.cuh", "zz;\n");
    digest_of(text, next);
    assert_string_not_equal(next, first);
}

static void changed_files_are_read_again(void **state)
{
    (void)state;
    const struct fj_template *first, *again;
    reset();
    put("lib/a.cuh", "one\n");
    check_text("//@prelude\n//@include lib/a.cuh\n", "one\n");
    assert_int_equal(fj_template_get(root, "t.cu", &first), FAJIT_OK);
    assert_int_equal(fj_template_get(root, "t.cu", &again), FAJIT_OK);
    assert_ptr_equal(first, again);
    put("lib/a.cuh", "two\n");
    check_text("//@prelude\n//@include lib/a.cuh\n", "two\n");
}

static void embedded_templates(void **state)
{
    (void)state;
    const char *const *names = fj_template_names();
    assert_non_null(names[0]);
    for (int i = 0; names[i]; i++) {
        const struct fj_template *tmpl, *again;
        if (i)
            assert_true(strcmp(names[i - 1], names[i]) < 0);
        if (fj_template_get(NULL, names[i], &tmpl))
            fail_msg("%s", fj_err_text());
        assert_int_equal(fj_template_get(NULL, names[i], &again), FAJIT_OK);
        assert_ptr_equal(tmpl, again);
    }
    for (int i = 0; i < fj_store_count; i++)
        assert_int_equal(strlen(fj_store_files[i].text), fj_store_files[i].len);
    const struct fj_template *tmpl;
    check_error(fj_template_get(NULL, "no.cu", &tmpl), FAJIT_E_TEMPLATE, names[0]);
}

// Cuts the next fenced block out of the text.
static char *next_block(char **text)
{
    char *begin = strstr(*text, "\n```\n");
    char *end = begin ? strstr(begin + 5, "\n```\n") : NULL;
    assert_non_null(end);
    end[1] = '\0';
    *text = end + 4;
    return begin + 5;
}

static void the_manuals_example(void **state)
{
    (void)state;
    struct fj_buf manual = {0};
    assert_int_equal(fj_file_read(TEMPLATE_DIR "/README.md", 1 << 20, &manual), FAJIT_OK);
    char *text = strstr(manual.data, "\n## Before and after\n");
    assert_non_null(text);
    char *before = next_block(&text), *after = next_block(&text);
    reset();
    heading = "// Row sums of a score matrix.\n// fajit-inspect render ...\n";
    fj_params_int(&params, "block_n", 64);
    fj_params_word(&params, "dtype", "bf16");
    fj_params_int(&params, "causal", 0);
    fj_params_word(&params, "kernel_name", "row_sum_bf16__bn64");
    check_text(before, after);
    fj_buf_free(&manual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prelude_order),
        cmocka_unit_test(empty_comment_lines),
        cmocka_unit_test(long_docs_are_wrapped),
        cmocka_unit_test(blank_lines),
        cmocka_unit_test(no_final_newline_and_crlf),
        cmocka_unit_test(comments_are_aligned_again),
        cmocka_unit_test(long_kernel_lines_are_broken),
        cmocka_unit_test(branches),
        cmocka_unit_test(loops_lets_and_holes),
        cmocka_unit_test(inclusion_pastes_once),
        cmocka_unit_test(parameters_of_skipped_inclusions),
        cmocka_unit_test(watch_lines),
        cmocka_unit_test(tune_lines),
        cmocka_unit_test(computed_constants),
        cmocka_unit_test(parameter_list),
        cmocka_unit_test(line_map),
        cmocka_unit_test(digests),
        cmocka_unit_test(changed_files_are_read_again),
        cmocka_unit_test(embedded_templates),
        cmocka_unit_test(the_manuals_example),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
