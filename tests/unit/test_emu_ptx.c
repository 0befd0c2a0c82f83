// The PTX parser: what it finds in a text, what it says about a wrong one.
#include "test.h"

#include "emu/ptx.h"
#include "emu/ptx_tree.h"

static const char sample[] =
    "//\n// a comment\n.version 9.0\n.target sm_90a, debug\n.address_size 64\n"
    ".file 1 \"kernel.cu\", 17, 42\n"
    ".global .align 4 .u32 table[3] = {1, 0x10, -1};\n"
    ".const .align 4 .f32 half = 0f3F000000;\n"
    ".extern .shared .align 1024 .b8 dyn[];\n"
    ".shared .align 8 .b8 other[24];\n"
    ".extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);\n"
    ".visible .entry first(\n.param .u64 .ptr .global .align 16 a,\n.param .align 64 .b8 map[128],"
    "\n.param .f32 b\n)\n.maxntid 128, 1, 1\n.minnctapersm 2\n.reqnctapercluster 2, 1, 1\n"
    ".explicitcluster\n{\n"
    ".reg .pred %p<3>;\n.reg .b32 %r<4>, x;\n.reg .b64 %rd<3>;\n"
    ".shared .align 16 .b8 tile[100];\n.local .align 8 .b8 stack[12];\n"
    ".loc 1 12 5\nmov.u32 %r1, dyn;\nmov.u32 %r2, other;\n"
    "// fj_watch S 64 128 acc %r1 %r2\n"
    "{ .reg .pred %p; setp.eq.u32 %p, %r1, 1; @!%p bra LABEL; LABEL: }\n"
    "{ .reg .pred %p; @%p bra LABEL; LABEL: }\n"
    ".loc 1 15 5, function_name $L__info0, inlined_at 1 12 5\n"
    "LABEL: ld.global.v2.u32 {%r1, %r2}, [%rd1+-8];\n"
    "@%p1 bra.uni LABEL;\nret;\n}\n"
    ".visible .entry second() { ret; }\n"
    ".section .debug_info { .b8 1, 2\n.b32 9 }\n";

static struct fj_ptx_module *parse(const char *text)
{
    struct fj_ptx_module *module;
    if (fj_ptx_parse(text, strlen(text), &module) != FAJIT_OK)
        fail_msg("%s", fj_err_text());
    return module;
}

static void test_module(void **state)
{
    (void)state;
    struct fj_ptx_module *m = parse(sample);
    assert_int_equal(m->version, 90);
    assert_int_equal(m->target, 90);
    assert_true(m->target_specific);
    assert_string_equal(m->files[1], "kernel.cu");
    assert_int_equal(m->n_entries, 2);
    assert_null(fj_ptx_find_entry(m, "third"));
    assert_int_equal(m->n_vars, 4);
    static const uint8_t table[] = {1, 0, 0, 0, 16, 0, 0, 0, 255, 255, 255, 255};
    assert_int_equal(m->vars[0].bytes, 12);
    assert_memory_equal(m->vars[0].init, table, 12);
    assert_int_equal(m->vars[1].space, FJ_PTX_CONST);
    assert_int_equal(m->vars[2].bytes, 0);
    fj_ptx_free(m);
}

static void test_wide_initialiser(void **state)
{
    (void)state;
    struct fj_ptx_module *m =
        parse(".version 9.0\n.target sm_90\n.address_size 64\n.global .b128 wide = 258;\n");
    static const uint8_t wide[16] = {2, 1};
    assert_int_equal(m->vars[0].bytes, 16);
    assert_memory_equal(m->vars[0].init, wide, 16);
    fj_ptx_free(m);
}

static void test_entry(void **state)
{
    (void)state;
    struct fj_ptx_module *m = parse(sample);
    const struct fj_ptx_entry *e = fj_ptx_find_entry(m, "first");
    assert_non_null(e);
    assert_int_equal(e->n_params, 3);
    assert_int_equal(e->params[0].offset, 0);
    assert_int_equal(e->params[1].offset, 64); // its alignment
    assert_int_equal(e->params[1].bytes, 128);
    assert_int_equal(e->params[2].offset, 192);
    assert_int_equal(e->param_bytes, 196);
    assert_int_equal(e->maxntid[0], 128);
    assert_int_equal(e->minnctapersm, 2);
    assert_int_equal(e->cluster[0], 2);
    assert_true(e->explicit_cluster);
    assert_int_equal(e->smem_static_bytes, 104 + 24); // tile, then other at a multiple of 8
    assert_int_equal(e->smem_dynamic_align, 1024);
    assert_int_equal(e->local_bytes, 12);
    fj_ptx_free(m);
}

static void test_body(void **state)
{
    (void)state;
    struct fj_ptx_module *m = parse(sample);
    const struct fj_ptx_entry *e = fj_ptx_find_entry(m, "first");
    static const char *const ops[] = {"mov.u32",          "mov.u32", "fj_watch",
                                      "setp.eq.u32",      "bra",     "bra",
                                      "ld.global.v2.u32", "bra.uni", "ret"};
    static const int lines[] = {12, 12, 12, 12, 12, 12, 15, 15, 15};
    assert_int_equal(e->n_insns, COUNT(ops));
    for (int i = 0; i < e->n_insns; i++) {
        assert_string_equal(e->insns[i].op, ops[i]);
        assert_int_equal(e->insns[i].line, lines[i]);
        assert_int_equal(e->insns[i].file, 1);
    }
    const struct fj_ptx_insn *watch = &e->insns[2], *load = &e->insns[6];
    assert_string_equal(watch->text, "S 64 128 acc ");
    assert_int_equal(watch->n_ops, 2);
    char name[16];
    fj_ptx_reg_name(e, watch->ops[1].index, name, sizeof(name));
    assert_string_equal(name, "%r2");
    assert_int_equal(load->ops[1].kind, FJ_PTX_OP_MEMORY);
    assert_int_equal((int64_t)load->ops[1].value, -8);
    fj_ptx_free(m);
}

// A label belongs to its scope: three of one name, three places.
static void test_labels(void **state)
{
    (void)state;
    struct fj_ptx_module *m = parse(sample);
    const struct fj_ptx_entry *e = fj_ptx_find_entry(m, "first");
    const int inner = e->labels[e->insns[4].ops[0].index].insn;
    const int second = e->labels[e->insns[5].ops[0].index].insn;
    const int outer = e->labels[e->insns[7].ops[0].index].insn;
    assert_int_equal(inner, 5);
    assert_int_equal(second, 6);
    assert_int_equal(outer, 6);
    assert_int_not_equal(e->insns[5].ops[0].index, e->insns[7].ops[0].index);
    assert_true(e->insns[4].guard_negated);
    fj_ptx_free(m);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "no .target"},
        {".version 9.0\n.target sm_90\n.entry k() { bra NOWHERE; }", "unknown label 'NOWHERE'"},
        {".target sm_90\n.entry k() { @%p ret; }", "PTX line 2: '%p' is no predicate"},
        {".target sm_90\n.entry k() { .reg .b32 %r<999999999>; }", "registers"},
        {".target sm_90\n.entry k() { mov.u32 \n\n a b; }", "PTX line 4"},
        {".target sm_90\n.entry k() { mov.u32 a, {{{{{{{{{{{{{b}}}}}}}}}}}}}; }", "nest"},
        {".target sm_90\n.entry k() { ret;", "not closed"},
        {".target sm_90\n.shared .align 3 .b8 x[4];", "power of two"},
        {".target sm_90\n.shared .b8 x[99999999999];", "256 MiB"},
        {".target sm_90\n.global .u32 x[1] = {1, 2};", "more initialisers"},
        {".target wasm32\n", "unknown target 'wasm32'"},
        {"\x7f"
         "ELF\x02\x01",
         "PTX line 1"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fj_ptx_module *m = (void *)1;
        check_error(fj_ptx_parse(cases[i].text, strlen(cases[i].text), &m), FAJIT_E_COMPILE,
                    cases[i].part);
        assert_null(m);
    }
}

// Cut anywhere, or with any byte changed, the text is parsed or refused.
static void test_damage(void **state)
{
    (void)state;
    char text[sizeof(sample)];
    const size_t len = sizeof(sample) - 1;
    int accepted = 0;
    for (size_t cut = 0; cut <= len; cut++) {
        struct fj_ptx_module *m;
        accepted += fj_ptx_parse(sample, cut, &m) == FAJIT_OK;
        fj_ptx_free(m);
    }
    assert_in_range(accepted, 1, len);
    for (size_t at = 0; at < len; at++) {
        static const char bytes[] = {0, '{', '}', '"', '<', '9', '\xff'};
        for (size_t k = 0; k < sizeof(bytes); k++) {
            struct fj_ptx_module *m;
            memcpy(text, sample, sizeof(text));
            text[at] = bytes[k];
            fj_ptx_parse(text, len, &m);
            fj_ptx_free(m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module), cmocka_unit_test(test_wide_initialiser),
        cmocka_unit_test(test_entry),  cmocka_unit_test(test_body),
        cmocka_unit_test(test_labels), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
