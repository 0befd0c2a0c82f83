// Template text to operations, in two passes: first the structure and the declarations of every
// file, then the expressions and holes, which may use names declared further down.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "codegen/parse.h"
#include "codegen/store.h"

#define LINE_MAX_CHARS 1000

int fj_parse_fail(const struct fj_parse *parse, const char *fmt, ...)
{
    char sentence[1024];
    va_list args;
    va_start(args, fmt);
    fj_fmt(sentence, sizeof(sentence), fmt, args);
    va_end(args);
    return fj_err(FAJIT_E_TEMPLATE, "%s:%d: %s", parse->unit->name, parse->line, sentence);
}

int fj_parse_place(const struct fj_parse *parse, int status)
{
    return status ? fj_err_context(status, "%s:%d", parse->unit->name, parse->line) : FAJIT_OK;
}

static int out_of_memory(const struct fj_parse *parse)
{
    return fj_err(FAJIT_E_NOMEM, "out of memory while parsing template %s", parse->unit->name);
}

static int add_op(struct fj_parse *parse, struct fj_op op)
{
    op.line = parse->line;
    fj_buf_append(&parse->unit->ops, &op, sizeof(op));
    return parse->unit->ops.failed ? out_of_memory(parse) : FAJIT_OK;
}

// --- Files ---

// Index of the unit `name`, which is read on first use.
static int find_unit(struct fj_template *tmpl, struct fj_str name, int *ret_index)
{
    for (int i = 0; i < tmpl->unit_count; i++) {
        const char *known = tmpl->units[i].name;
        if (fj_str_equal(name, (struct fj_str){known, (int)strlen(known)})) {
            *ret_index = i;
            return FAJIT_OK;
        }
    }
    if (tmpl->unit_count == FJ_UNITS_MAX)
        return fj_err(FAJIT_E_TEMPLATE, "more than %d files are included", FJ_UNITS_MAX - 1);
    char *copy = strndup(name.p, (size_t)name.n);
    if (!copy)
        return fj_err(FAJIT_E_NOMEM, "out of memory while reading template %.*s", name.n, name.p);
    struct fj_unit *unit = &tmpl->units[tmpl->unit_count];
    int status = fj_store_read(tmpl->override_dir, copy, &unit->text);
    if (status) {
        fj_buf_free(&unit->text);
        free(copy);
        return status;
    }
    unit->name = copy;
    *ret_index = tmpl->unit_count++;
    return FAJIT_OK;
}

// --- Declarations ---

static void make_constant_name(struct fj_str name, char ret[64])
{
    int len = 0;
    bool upper = true;
    ret[len++] = 'k';
    for (int i = 0; i < name.n && len < 63; i++) {
        char c = name.p[i];
        if (c == '_') {
            upper = true;
            continue;
        }
        ret[len++] = upper && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        upper = false;
    }
    ret[len] = '\0';
}

static bool same_declaration(const struct fj_symbol *a, const struct fj_symbol *b)
{
    return a->kind == b->kind && fj_str_equal(a->words, b->words);
}

// A name may be declared again in the same way: a helper file states what it needs.
static int declare(struct fj_parse *parse, const struct fj_symbol *symbol, int *ret_index)
{
    struct fj_symbols *symbols = &parse->tmpl->symbols;
    if (!fj_str_is_name(symbol->name) || symbol->name.n > 60)
        return fj_parse_fail(parse, "'%.*s' is not a name: letters, digits and _ are allowed",
                             symbol->name.n, symbol->name.p ? symbol->name.p : "");
    int index = fj_symbols_find(symbols, symbol->name);
    if (index >= 0 && !same_declaration(fj_symbols_at(symbols, index), symbol))
        return fj_parse_fail(parse, "%.*s is declared already, as something else", symbol->name.n,
                             symbol->name.p);
    if (index < 0) {
        struct fj_symbol named = *symbol;
        snprintf(named.text, sizeof(named.text), "%.*s", symbol->name.n, symbol->name.p);
        index = fj_symbols_count(symbols);
        fj_buf_append(&symbols->items, &named, sizeof(named));
    }
    *ret_index = index;
    return symbols->items.failed ? out_of_memory(parse) : FAJIT_OK;
}

static int do_const(struct fj_parse *parse, struct fj_str args)
{
    struct fj_symbol symbol = {.kind = FJ_SYMBOL_CONST, .name = fj_str_token(&args), .doc = args};
    if (memchr(args.p, '$', (size_t)args.n))
        return fj_parse_fail(parse,
                             "$ in the doc of a constant, which goes into the text as it is");
    make_constant_name(symbol.name, symbol.constant);
    struct fj_op op = {.kind = FJ_OP_DECLARE};
    int status = declare(parse, &symbol, &op.symbol);
    return status ? status : add_op(parse, op);
}

static bool are_plain_words(struct fj_str words)
{
    bool in_word = false;
    for (int i = 0; i < words.n; i++) {
        char c = words.p[i];
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!plain && (c != '|' || !in_word))
            return false;
        in_word = plain;
    }
    return in_word;
}

static int do_switch(struct fj_parse *parse, struct fj_str args)
{
    struct fj_symbol symbol = {.name = fj_str_token(&args)};
    struct fj_str type = fj_str_token(&args);
    if (type.n == 4 && !memcmp(type.p, "bool", 4)) {
        symbol.kind = FJ_SYMBOL_SWITCH_BOOL;
    } else if (type.n == 3 && !memcmp(type.p, "int", 3)) {
        symbol.kind = FJ_SYMBOL_SWITCH_INT;
    } else if (type.n && memchr(type.p, '|', (size_t)type.n)) {
        symbol.kind = FJ_SYMBOL_SWITCH_WORD;
        symbol.words = type;
    } else {
        return fj_parse_fail(parse, "a switch is declared as //@switch name word|word.. doc, "
                                    "//@switch name bool doc or //@switch name int doc");
    }
    if (!are_plain_words(symbol.words) && symbol.kind == FJ_SYMBOL_SWITCH_WORD)
        return fj_parse_fail(parse, "the words of a switch are of letters, digits and _, and "
                                    "without blanks between: f16|bf16");
    symbol.doc = args;
    struct fj_op op = {.kind = FJ_OP_DECLARE};
    int status = declare(parse, &symbol, &op.symbol);
    return status ? status : add_op(parse, op);
}

// A constant that was declared before takes its value from here, not from the caller.
static bool compute_constant(struct fj_parse *parse, struct fj_str name, int *ret_index)
{
    struct fj_symbols *symbols = &parse->tmpl->symbols;
    int index = fj_symbols_find(symbols, name);
    if (index < 0 || fj_symbols_at(symbols, index)->kind != FJ_SYMBOL_CONST)
        return false;
    ((struct fj_symbol *)symbols->items.data)[index].computed = true;
    *ret_index = index;
    return true;
}

static int do_let(struct fj_parse *parse, struct fj_str args)
{
    struct fj_symbol symbol = {.kind = FJ_SYMBOL_LET, .name = fj_str_token(&args)};
    struct fj_op op = {.kind = FJ_OP_LET, .text = args};
    int status = compute_constant(parse, symbol.name, &op.symbol)
                     ? FAJIT_OK
                     : declare(parse, &symbol, &op.symbol);
    return status ? status : add_op(parse, op);
}

// --- Structure ---

static int open_block(struct fj_parse *parse, struct fj_op op)
{
    if (parse->depth == FJ_NESTING_MAX)
        return fj_parse_fail(parse, "//@if and //@for are nested too deep");
    parse->nest[parse->depth++] = (struct fj_nest){
        .is_for = op.kind == FJ_OP_FOR,
        .line = parse->line,
        .open = fj_unit_op_count(parse->unit),
        .last_jump = -1,
    };
    return add_op(parse, op);
}

static int do_if(struct fj_parse *parse, struct fj_str args)
{
    return open_block(parse, (struct fj_op){.kind = FJ_OP_IF, .text = args});
}

// Ends a branch: it jumps behind the //@end, and the test before it comes here when it fails. The
// jumps of one //@if are chained through `target` until the //@end is known.
static int end_branch(struct fj_parse *parse, const char *what)
{
    struct fj_nest *nest = parse->depth ? &parse->nest[parse->depth - 1] : NULL;
    if (!nest || nest->is_for || nest->open < 0)
        return fj_parse_fail(parse, "//@%s without an open //@if", what);
    int status = add_op(parse, (struct fj_op){.kind = FJ_OP_JUMP, .target = nest->last_jump});
    if (status)
        return status;
    nest->last_jump = fj_unit_op_count(parse->unit) - 1;
    fj_unit_op(parse->unit, nest->open)->target = fj_unit_op_count(parse->unit);
    return FAJIT_OK;
}

static int do_elif(struct fj_parse *parse, struct fj_str args)
{
    int status = end_branch(parse, "elif");
    if (status)
        return status;
    parse->nest[parse->depth - 1].open = fj_unit_op_count(parse->unit);
    return add_op(parse, (struct fj_op){.kind = FJ_OP_IF, .text = args});
}

static int do_else(struct fj_parse *parse, struct fj_str args)
{
    (void)args;
    int status = end_branch(parse, "else");
    if (!status)
        parse->nest[parse->depth - 1].open = -1;
    return status;
}

static int do_end(struct fj_parse *parse, struct fj_str args)
{
    (void)args;
    if (parse->depth == 0)
        return fj_parse_fail(parse, "//@end without an open //@if or //@for");
    struct fj_nest *nest = &parse->nest[--parse->depth];
    if (nest->is_for) {
        int status = add_op(parse, (struct fj_op){.kind = FJ_OP_NEXT, .target = nest->open + 1});
        if (!status)
            fj_unit_op(parse->unit, nest->open)->target = fj_unit_op_count(parse->unit);
        return status;
    }
    if (nest->open >= 0)
        fj_unit_op(parse->unit, nest->open)->target = fj_unit_op_count(parse->unit);
    for (int jump = nest->last_jump; jump >= 0;) {
        struct fj_op *op = fj_unit_op(parse->unit, jump);
        jump = op->target;
        op->target = fj_unit_op_count(parse->unit);
    }
    return add_op(parse, (struct fj_op){.kind = FJ_OP_END});
}

static int do_for(struct fj_parse *parse, struct fj_str args)
{
    struct fj_symbol symbol = {.kind = FJ_SYMBOL_LOOP, .name = fj_str_token(&args)};
    struct fj_str in = fj_str_token(&args);
    struct fj_op op = {.kind = FJ_OP_FOR, .text = args};
    if (!(in.n == 2 && !memcmp(in.p, "in", 2)))
        return fj_parse_fail(parse, "a loop is written //@for name in first..end, with end not "
                                    "included and an optional ` step n`");
    int status = declare(parse, &symbol, &op.symbol);
    return status ? status : open_block(parse, op);
}

static int do_include(struct fj_parse *parse, struct fj_str args)
{
    struct fj_op op = {.kind = FJ_OP_INCLUDE};
    struct fj_str name = fj_str_token(&args);
    if (!name.n || args.n)
        return fj_parse_fail(parse, "an inclusion is written //@include lib/name.cuh");
    int status = find_unit(parse->tmpl, name, &op.unit);
    return status ? fj_parse_place(parse, status) : add_op(parse, op);
}

static int do_prelude(struct fj_parse *parse, struct fj_str args)
{
    (void)args;
    if (parse->unit != &parse->tmpl->units[0])
        return fj_parse_fail(parse, "//@prelude belongs into the template, not into an inclusion");
    if (parse->prelude)
        return fj_parse_fail(parse, "a second //@prelude");
    if (parse->depth)
        return fj_parse_fail(parse, "//@prelude stands outside of every //@if and //@for");
    parse->prelude = true;
    return add_op(parse, (struct fj_op){.kind = FJ_OP_PRELUDE});
}

static int do_require(struct fj_parse *parse, struct fj_str args)
{
    return add_op(parse, (struct fj_op){.kind = FJ_OP_REQUIRE, .text = args});
}

static int do_watch(struct fj_parse *parse, struct fj_str args)
{
    return add_op(parse, (struct fj_op){.kind = FJ_OP_WATCH, .text = args});
}

static const struct {
    const char *name;
    int (*run)(struct fj_parse *parse, struct fj_str args);
} directives[] = {
    {"const", do_const}, {"switch", do_switch},   {"require", do_require}, {"prelude", do_prelude},
    {"if", do_if},       {"elif", do_elif},       {"else", do_else},       {"end", do_end},
    {"for", do_for},     {"include", do_include}, {"let", do_let},         {"tune", fj_parse_tune},
    {"watch", do_watch},
};

static int parse_directive(struct fj_parse *parse, struct fj_str line)
{
    struct fj_str args = {line.p + 3, line.n - 3};
    struct fj_str name = fj_str_token(&args);
    struct fj_nearest nearest = {.word = name};
    for (size_t i = 0; i < sizeof(directives) / sizeof(directives[0]); i++) {
        struct fj_str known = {directives[i].name, (int)strlen(directives[i].name)};
        if (fj_str_equal(name, known))
            return directives[i].run(parse, args);
        fj_nearest_offer(&nearest, known);
    }
    char hint[96];
    return fj_parse_fail(parse, "unknown directive //@%.*s%s", name.n, name.p,
                         fj_nearest_hint(&nearest, hint));
}

static int parse_line(struct fj_parse *parse, struct fj_str line)
{
    if (line.n > LINE_MAX_CHARS)
        return fj_parse_fail(parse, "the line is longer than 1000 characters");
    if (memchr(line.p, '\0', (size_t)line.n))
        return fj_parse_fail(parse, "a NUL byte");
    struct fj_str content = fj_str_trim(line);
    if (content.n >= 3 && !memcmp(content.p, "//@", 3))
        return parse_directive(parse, content);
    bool is_code = content.n && !(content.n >= 2 && !memcmp(content.p, "//", 2));
    if (is_code && parse->unit == &parse->tmpl->units[0] && !parse->prelude)
        return fj_parse_fail(parse,
                             "code before //@prelude: only directives and comments go there");
    struct fj_str text = {line.p, (int)(content.p + content.n - line.p)}; // no trailing blanks
    if (!content.n)
        text.n = 0;
    return add_op(parse, (struct fj_op){.kind = FJ_OP_TEXT, .text = text});
}

static int parse_structure(struct fj_parse *parse)
{
    struct fj_unit *unit = parse->unit;
    const char *p = unit->text.data, *end = p + unit->text.len;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop)
            stop = end;
        parse->line++;
        struct fj_str line = {p, stop - p > LINE_MAX_CHARS ? LINE_MAX_CHARS + 1 : (int)(stop - p)};
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        int status = parse_line(parse, line);
        if (status)
            return status;
        p = stop + 1;
    }
    if (parse->depth) {
        struct fj_nest *nest = &parse->nest[parse->depth - 1];
        parse->line = nest->line;
        return fj_parse_fail(parse, nest->is_for ? "//@for has no //@end" : "//@if has no //@end");
    }
    return FAJIT_OK;
}

static int parse_units(struct fj_template *tmpl)
{
    struct fj_parse parse = {.tmpl = tmpl};
    struct fj_symbol kernel_name = {
        .kind = FJ_SYMBOL_SYMBOL, .name = {"kernel_name", 11}, .text = "kernel_name"};
    fj_buf_append(&tmpl->symbols.items, &kernel_name, sizeof(kernel_name));
    for (int i = 0; i < tmpl->unit_count; i++) { // grows as inclusions are met
        parse.unit = &tmpl->units[i];
        parse.line = parse.depth = 0;
        int status = parse_structure(&parse);
        if (status)
            return status;
    }
    if (!parse.prelude)
        return fj_err(FAJIT_E_TEMPLATE,
                      "%s:1: no //@prelude: it says where the heading and the constants go",
                      tmpl->units[0].name);
    for (int i = 0; i < tmpl->unit_count; i++) {
        parse.unit = &tmpl->units[i];
        int status = fj_parse_contents(&parse);
        if (status)
            return status;
    }
    return fj_parse_check_tunes(tmpl);
}

int fj_template_parse(const char *override_dir, const char *name, struct fj_template **ret)
{
    struct fj_template *tmpl = calloc(1, sizeof(*tmpl));
    char *dir = override_dir ? strdup(override_dir) : NULL;
    if (!tmpl || (override_dir && !dir)) {
        free(tmpl);
        free(dir);
        return fj_err(FAJIT_E_NOMEM, "out of memory while parsing template %s", name);
    }
    tmpl->override_dir = dir;
    int index;
    int status = find_unit(tmpl, (struct fj_str){name, (int)strlen(name)}, &index);
    if (!status)
        status = parse_units(tmpl);
    if (status) {
        fj_template_free(tmpl);
        return status;
    }
    *ret = tmpl;
    return FAJIT_OK;
}

void fj_template_free(struct fj_template *tmpl)
{
    for (int i = 0; i < tmpl->unit_count; i++) {
        free(tmpl->units[i].name);
        fj_buf_free(&tmpl->units[i].text);
        fj_buf_free(&tmpl->units[i].ops);
        fj_buf_free(&tmpl->units[i].line_names);
    }
    int tunes = (int)(tmpl->tunes.len / sizeof(struct fj_tune_line));
    for (int i = 0; i < tunes; i++)
        free((char *)((struct fj_tune_line *)tmpl->tunes.data)[i].name);
    fj_buf_free(&tmpl->symbols.items);
    fj_buf_free(&tmpl->exprs.nodes);
    fj_buf_free(&tmpl->pieces);
    fj_buf_free(&tmpl->watches);
    fj_buf_free(&tmpl->tunes);
    fj_names_free(&tmpl->names);
    free((char *)tmpl->override_dir);
    free(tmpl);
}
