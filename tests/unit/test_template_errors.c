// What the template engine says when a template or its parameters are wrong.
#include "template_fixture.h"

static void parse_failures(void **state)
{
    (void)state;
    reset();
    check_failure("//@prelude\n//@iff x\n", "t.cu:2: unknown directive //@iff (did you mean if?)");
    check_failure("//@prelude\n\n//@if 1\n//@if 2\n//@end\n", "t.cu:3: //@if has no //@end");
    check_failure("//@prelude\n//@for i in 0..2\n", "t.cu:2: //@for has no //@end");
    check_failure("//@prelude\n//@end\n", "t.cu:2: //@end without");
    check_failure("//@prelude\n//@else\n", "t.cu:2: //@else without");
    check_failure("//@prelude\n//@for i in 0..2\n//@else\n//@end\n", "t.cu:3: //@else without");
    check_failure("//@prelude\n//@if 1\n//@else\n//@else\n//@end\n", "t.cu:4: //@else without");
    check_failure("//@prelude\n//@if 1\n//@else\n//@elif 1\n//@end\n", "t.cu:4: //@elif without");
    check_failure("//@prelude\n//@if blok\n//@end\n", "t.cu:2: unknown name blok");
    check_failure("//@switch t a|b\n//@prelude\n//@if t == c\n//@end\n",
                  "t.cu:3: c is not a word of switch t: a|b");
    check_failure("//@prelude\na $b\n", "t.cu:2: unknown name in hole $b");
    check_failure("//@prelude\na $ b\n", "t.cu:2: $ starts a hole");
    check_failure("//@prelude\na ${1}\n", "t.cu:2: ${..} outside a string");
    check_failure("//@prelude\n\"a\" '\"' ${1}\n", "t.cu:2: ${..} outside a string");
    check_failure("//@prelude\n\"${1\"\n", "t.cu:2: ${ is not closed");
    check_failure("//@prelude\n\"${1 +}\"\n", "t.cu:2: the expression ends");
    check_failure("code\n//@prelude\n", "t.cu:1: code before //@prelude");
    check_failure("// only a comment\n", "t.cu:1: no //@prelude");
    check_failure("//@prelude\n//@prelude\n", "t.cu:2: a second");
    check_failure("//@if 1\n//@prelude\n//@end\n", "t.cu:2: //@prelude stands outside");
    check_failure("//@const a\n//@switch a bool\n//@prelude\n", "t.cu:2: a is declared already");
    check_failure("//@const a $b\n//@prelude\n", "t.cu:1: $ in the doc");
    check_failure("//@prelude\n//@watch $S [1, 1]\n", "t.cu:2: a watch is written");
    check_failure("//@const 1a\n//@prelude\n", "t.cu:1: '1a' is not a name");
    check_failure("//@switch a mask the keys\n//@prelude\n", "t.cu:1: a switch is declared");
    check_failure("//@switch a x | y\n//@prelude\n", "t.cu:1: a switch is declared");
    check_failure("//@switch a x| y\n//@prelude\n", "t.cu:1: the words of a switch are");
    check_failure("//@switch a x||y\n//@prelude\n", "t.cu:1: the words of a switch are");
    check_failure("//@switch a x|$\n//@prelude\n", "t.cu:1: the words of a switch are");
    check_failure("//@prelude\n//@for i of 0..2\n//@end\n", "t.cu:2: a loop is written");
    check_failure("//@prelude\n//@for i in 2\n//@end\n", "t.cu:2: a loop is written");
    check_failure("//@prelude\n//@include lib/none.cuh\n", "t.cu:2: no template lib/none.cuh");
    check_failure("//@prelude\n//@include ../x\n", "t.cu:2: '../x' is not a template name");
    check_failure("//@prelude\n/* a\n b */\n", "t.cu:2: a /* comment");
    check_failure("//@prelude\n//@watch S 1 1\n", "t.cu:2: a watch is written");
    check_failure("//@tune a x\n//@prelude\n", "t.cu:1: //@tune takes");
    check_failure("//@const bm\n//@prelude\n//@tune bn 1\n",
                  "t.cu:3: //@tune of bn, which is no parameter (did you mean bm?)");
    check_failure("//@tune t 1\n//@switch t a|b\n//@prelude\n",
                  "t.cu:1: //@tune of t, which is a word");
    check_failure("//@const m\n//@let m 1\n//@tune m 1\n//@prelude\n",
                  "t.cu:3: //@tune of m, which is computed");
    check_failure("//@const m\n//@tune m 1\n//@tune m 2\n//@prelude\n",
                  "t.cu:3: a second //@tune of m");
    put("lib/p.cuh", "//@prelude\n");
    check_failure("//@prelude\n//@include lib/p.cuh\n", "lib/p.cuh:1: //@prelude belongs");
}

static void computed_failures(void **state)
{
    (void)state;
    static const char text[] = "//@const n\n//@switch on bool\n//@prelude\n//@if on\n//@let n 2\n"
                               "//@end\n";
    reset();
    fj_params_int(&params, "on", 0);
    check_failure(text, "t.cu:1: no //@let of n was reached");
    params.items[0].value = 1;
    fj_params_int(&params, "n", 2);
    check_failure(text, "t.cu:1: n is computed by the template");
}

static void render_failures(void **state)
{
    (void)state;
    static const char text[] = "//@const block_m\n//@switch t a|b\n//@switch on bool\n"
                               "//@require block_m % 16 == 0\n//@prelude\n";
    reset();
    check_failure(text, "t.cu:1: parameter block_m was not given");
    fj_params_int(&params, "block_m", 8);
    fj_params_word(&params, "t", "a");
    fj_params_int(&params, "on", 1);
    check_failure(text, "t.cu:4: the template requires block_m % 16 == 0");
    params.items[0].value = 16;
    check_text(text, "");
    params.items[2].value = 2;
    check_failure(text, "t.cu:1: on is 2, but only 0 and 1");
    params.items[2].value = 1;
    strcpy(params.items[1].word, "c");
    check_failure(text, "t.cu:1: t is 'c', but only a|b are allowed");
    params.items[1].is_word = false;
    check_failure(text, "t.cu:1: t must be a word out of a|b");
    params.items[1].is_word = true;
    strcpy(params.items[1].word, "a");
    fj_params_int(&params, "block_n", 1);
    check_failure(text, "t.cu:1: unknown parameter block_n (did you mean block_m?)");
    reset();
    fj_params_word(&params, "kernel_name", "a b");
    check_failure("//@prelude\n", "kernel_name is 'a b', which is not a C name");
    reset();
    check_failure("//@prelude\n$kernel_name\n", "t.cu:2: $kernel_name has no value");
    check_failure("//@prelude\n//@if 1 / 0\n//@end\n", "t.cu:2: division by zero");
    check_failure("//@prelude\n//@for i in 0..2\n//@end\n$i\n", "t.cu:4: $i has no value");
    check_failure("//@prelude\n//@for i in 0..2 step 0\n//@end\n", "t.cu:2: loops count upwards");
    check_failure("//@prelude\n//@for i in 0..99999\n//@for j in 0..99999\n//@end\n//@end\n",
                  "does not end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_failures),
        cmocka_unit_test(render_failures),
        cmocka_unit_test(computed_failures),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
