// Second pass of the parser: what is inside the lines.
#include <string.h>

#include "codegen/parse.h"
#include "codegen/scan.h"

static int parse_expr(struct fj_parse *parse, struct fj_str text, int *ret_expr)
{
    struct fj_template *tmpl = parse->tmpl;
    return fj_parse_place(parse,
                          fj_expr_parse(&tmpl->exprs, &tmpl->symbols, fj_str_trim(text), ret_expr));
}

// Splits `text` at the first `mark` outside parentheses; false when there is none.
static bool split(struct fj_str text, const char *mark, struct fj_str *ret_left,
                  struct fj_str *ret_right)
{
    int len = (int)strlen(mark), depth = 0;
    for (int i = 0; i + len <= text.n; i++) {
        depth += (text.p[i] == '(') - (text.p[i] == ')');
        if (depth == 0 && !memcmp(text.p + i, mark, (size_t)len)) {
            *ret_left = (struct fj_str){text.p, i};
            *ret_right = (struct fj_str){text.p + i + len, text.n - i - len};
            return true;
        }
    }
    return false;
}

static int parse_for(struct fj_parse *parse, struct fj_op *op)
{
    struct fj_str first, end, step = {"1", 1};
    if (!split(op->text, "..", &first, &end))
        return fj_parse_fail(parse, "a loop is written //@for name in first..end");
    split(end, " step ", &end, &step);
    int status = parse_expr(parse, first, &op->expr);
    if (!status)
        status = parse_expr(parse, end, &op->expr_b);
    return status ? status : parse_expr(parse, step, &op->expr_c);
}

// --- Watches ---

static bool starts_with(struct fj_str text, const char *word)
{
    int len = (int)strlen(word);
    return text.n > len && !memcmp(text.p, word, (size_t)len);
}

// "n,m,..": the dimensions of the array of registers.
static int parse_counts(struct fj_parse *parse, struct fj_str rest, struct fj_watch *watch)
{
    bool more = true;
    while (more) {
        struct fj_str count = rest;
        if (watch->n_counts == FJ_WATCH_DIMS)
            return fj_parse_fail(parse, "regs= takes up to %d dimensions", FJ_WATCH_DIMS);
        more = split(rest, ",", &count, &rest);
        int status = parse_expr(parse, count, &watch->counts[watch->n_counts++]);
        if (status)
            return status;
    }
    return FAJIT_OK;
}

// Cuts "$dtype" off the end of a kind.
static int take_kind_word(struct fj_parse *parse, struct fj_watch *watch)
{
    const struct fj_symbols *symbols = &parse->tmpl->symbols;
    const char *hole = memchr(watch->kind.p, '$', (size_t)watch->kind.n);
    if (!hole)
        return FAJIT_OK;
    int length = (int)(hole - watch->kind.p);
    struct fj_str word = {hole + 1, watch->kind.n - length - 1};
    watch->kind.n = length;
    watch->kind_word = fj_symbols_find(symbols, word);
    if (watch->kind_word >= 0 &&
        fj_symbols_at(symbols, watch->kind_word)->kind == FJ_SYMBOL_SWITCH_WORD)
        return FAJIT_OK;
    return fj_parse_fail(parse,
                         "the kind of a watch may end in a switch of words, which $%.*s is not",
                         word.n, word.p);
}

static int parse_watch(struct fj_parse *parse, struct fj_op *op)
{
    static const char usage[] = "a watch is written //@watch NAME [rows, cols] kind regs=n, with "
                                "regs=n,m for NAME[n][m], pitch=n for a tile in shared memory and "
                                "[rows] for a vector";
    struct fj_watch watch = {.kind = {"acc", 3}, .kind_word = -1, .pitch = -1};
    struct fj_str rest = op->text, rows, cols = {"1", 1};
    watch.name = watch.value = fj_str_token(&rest);
    split(watch.name, "=", &watch.name, &watch.value);
    if (!fj_str_is_name(watch.name) || !watch.value.n || !rest.n || rest.p[0] != '[')
        return fj_parse_fail(parse, "%s", usage);
    rest = (struct fj_str){rest.p + 1, rest.n - 1};
    if (!split(rest, "]", &rows, &rest))
        return fj_parse_fail(parse, "%s", usage);
    rest = fj_str_trim(rest);
    split(rows, ",", &rows, &cols);
    if (rest.n && !starts_with(rest, "regs=") && !starts_with(rest, "pitch="))
        watch.kind = fj_str_token(&rest);
    int status = take_kind_word(parse, &watch);
    if (status)
        return status;
    if (!fj_str_is_name(watch.kind))
        return fj_parse_fail(parse, "%s", usage);
    status = parse_expr(parse, rows, &watch.rows);
    if (!status)
        status = parse_expr(parse, cols, &watch.cols);
    if (!status && starts_with(rest, "regs="))
        status = parse_counts(parse, (struct fj_str){rest.p + 5, rest.n - 5}, &watch);
    else if (!status && starts_with(rest, "pitch="))
        status = parse_expr(parse, (struct fj_str){rest.p + 6, rest.n - 6}, &watch.pitch);
    else if (!status && rest.n)
        status = fj_parse_fail(parse, "%s", usage);
    if (status)
        return status;
    op->watch = (int)(parse->tmpl->watches.len / sizeof(watch));
    fj_buf_append(&parse->tmpl->watches, &watch, sizeof(watch));
    return FAJIT_OK;
}

// --- Holes ---

static void add_piece(struct fj_parse *parse, struct fj_op *op, struct fj_piece piece)
{
    fj_buf_append(&parse->tmpl->pieces, &piece, sizeof(piece));
    op->count++;
}

static void add_literal(struct fj_parse *parse, struct fj_op *op, struct fj_str literal)
{
    if (literal.n)
        add_piece(parse, op, (struct fj_piece){literal, -1, -1});
}

static int add_name_hole(struct fj_parse *parse, struct fj_op *op, int *pos)
{
    const struct fj_symbols *symbols = &parse->tmpl->symbols;
    struct fj_str name = {op->text.p + *pos + 1, 0};
    while (*pos + 1 + name.n < op->text.n && fj_is_name_char(name.p[name.n]))
        name.n++;
    if (!name.n)
        return fj_parse_fail(parse, "$ starts a hole: $name, or ${expression} inside a string");
    int symbol = fj_symbols_find(symbols, name);
    if (symbol < 0) {
        char hint[96];
        return fj_parse_fail(parse, "unknown name in hole $%.*s%s", name.n, name.p,
                             fj_symbols_hint(symbols, name, hint));
    }
    add_piece(parse, op, (struct fj_piece){{0}, symbol, -1});
    *pos += name.n;
    return FAJIT_OK;
}

static int add_expr_hole(struct fj_parse *parse, struct fj_op *op, enum fj_scan_state state,
                         int *pos)
{
    if (state != FJ_SCAN_STRING)
        return fj_parse_fail(parse, "${..} outside a string literal; in code write $name, with "
                                    "//@let for a computed value");
    struct fj_str rest = {op->text.p + *pos + 2, op->text.n - *pos - 2};
    const char *close = memchr(rest.p, '}', (size_t)rest.n);
    if (!close)
        return fj_parse_fail(parse, "${ is not closed");
    struct fj_piece piece = {{0}, -1, -1};
    rest.n = (int)(close - rest.p);
    int status = parse_expr(parse, rest, &piece.expr);
    if (status)
        return status;
    add_piece(parse, op, piece);
    *pos += rest.n + 2;
    return FAJIT_OK;
}

static int parse_text(struct fj_parse *parse, struct fj_op *op)
{
    struct fj_str text = op->text;
    struct fj_scan scan = {0};
    int start = 0;
    op->first = (int)(parse->tmpl->pieces.len / sizeof(struct fj_piece));
    for (int i = 0; i < text.n; i++) {
        fj_scan_step(&scan, text, i);
        if (text.p[i] != '$')
            continue;
        add_literal(parse, op, (struct fj_str){text.p + start, i - start});
        bool is_expr = i + 1 < text.n && text.p[i + 1] == '{';
        int status =
            is_expr ? add_expr_hole(parse, op, scan.state, &i) : add_name_hole(parse, op, &i);
        if (status)
            return status;
        start = i + 1;
    }
    if (scan.state == FJ_SCAN_BLOCK && !scan.closed)
        return fj_parse_fail(parse, "a /* comment that does not end on its line; use //");
    add_literal(parse, op, (struct fj_str){text.p + start, text.n - start});
    return FAJIT_OK;
}

static int parse_op(struct fj_parse *parse, struct fj_op *op)
{
    switch (op->kind) {
    case FJ_OP_TEXT:
        return parse_text(parse, op);
    case FJ_OP_REQUIRE:
    case FJ_OP_IF:
    case FJ_OP_LET:
        return parse_expr(parse, op->text, &op->expr);
    case FJ_OP_FOR:
        return parse_for(parse, op);
    case FJ_OP_WATCH:
        return parse_watch(parse, op);
    default:
        return FAJIT_OK;
    }
}

// Of the lines of text, and of the expressions of watches. False when memory runs out.
static bool find_names(struct fj_parse *parse)
{
    static const struct fj_line_names none = {.declares = FJ_DECLARES_NOTHING};
    struct fj_template *tmpl = parse->tmpl;
    struct fj_buf *lines = &parse->unit->line_names;
    bool found = true;
    for (int i = 0; found && i < fj_unit_op_count(parse->unit); i++) {
        const struct fj_op *op = fj_unit_op(parse->unit, i);
        struct fj_line_names names;
        if (op->kind == FJ_OP_WATCH) {
            struct fj_watch *watch = (struct fj_watch *)tmpl->watches.data + op->watch;
            found = fj_names_read(&tmpl->names, &tmpl->symbols, watch->value, &watch->names);
        } else if (op->kind == FJ_OP_TEXT) {
            while (!lines->failed && lines->len < (size_t)op->line * sizeof(none))
                fj_buf_append(lines, &none, sizeof(none));
            found = fj_names_read(&tmpl->names, &tmpl->symbols, op->text, &names);
            fj_buf_append(lines, &names, sizeof(names));
        }
    }
    return found && !lines->failed;
}

int fj_parse_contents(struct fj_parse *parse)
{
    for (int i = 0; i < fj_unit_op_count(parse->unit); i++) {
        struct fj_op *op = fj_unit_op(parse->unit, i);
        parse->line = op->line;
        int status = parse_op(parse, op);
        if (status)
            return status;
    }
    if (parse->tmpl->pieces.failed || parse->tmpl->watches.failed || !find_names(parse))
        return fj_err(FAJIT_E_NOMEM, "out of memory while parsing template %s", parse->unit->name);
    return FAJIT_OK;
}
