// Runs the operations of a parsed template with a set of parameters and lays out the text.
#include <stdlib.h>
#include <string.h>

#include "codegen/output.h"
#include "codegen/program.h"

#define STEPS_MAX 200000 // operations of one rendering: an endless loop is a mistake

struct render {
    const struct fj_template *tmpl;
    const struct fj_render_params *params;
    struct fj_value *values; // by symbol
    bool *live;              // by symbol: a constant whose declaration was reached
    bool pasted[FJ_UNITS_MAX];
    struct fj_output intro, body; // comments before //@prelude; everything after it
    struct fj_buf line;
    bool *watched; // by watch: met, whether it is kept or not
    bool in_body;
    bool shifted; // inside the parameter list of a kernel whose name took a line of its own
    int64_t steps;
};

struct loop {
    int64_t next, end, step;
};

// Puts the place before the recorded sentence.
static int place(const struct fj_unit *unit, const struct fj_op *op, int status)
{
    return status ? fj_err_context(status, "%s:%d", unit->name, op->line) : FAJIT_OK;
}

static int eval(struct render *r, const struct fj_unit *unit, const struct fj_op *op, int expr,
                int64_t *ret)
{
    const struct fj_template *tmpl = r->tmpl;
    return place(unit, op, fj_expr_eval(&tmpl->exprs, &tmpl->symbols, expr, r->values, ret));
}

// --- Parameters ---

static int check_word(const struct fj_symbol *symbol, const struct fj_param *param)
{
    struct fj_str word = {param->word, (int)strlen(param->word)};
    if (symbol->kind == FJ_SYMBOL_SYMBOL)
        return fj_str_is_name(word) ? FAJIT_OK
                                    : fj_err(FAJIT_E_TEMPLATE, "%s is '%s', which is not a C name",
                                             param->name, param->word);
    if (fj_symbol_has_word(symbol, word))
        return FAJIT_OK;
    return fj_err(FAJIT_E_TEMPLATE, "%s is '%s', but only %.*s are allowed", param->name,
                  param->word, symbol->words.n, symbol->words.p);
}

static int check_param(const struct fj_symbol *symbol, const struct fj_param *param)
{
    bool wants_word = symbol->kind == FJ_SYMBOL_SWITCH_WORD || symbol->kind == FJ_SYMBOL_SYMBOL;
    if (wants_word != param->is_word)
        return fj_err(FAJIT_E_TEMPLATE, "%s must be %s%.*s", param->name,
                      wants_word ? "a word out of " : "an integer", symbol->words.n,
                      symbol->words.p ? symbol->words.p : "");
    if (param->is_word)
        return check_word(symbol, param);
    if (symbol->kind == FJ_SYMBOL_SWITCH_BOOL && param->value != 0 && param->value != 1)
        return fj_err(FAJIT_E_TEMPLATE, "%s is %lld, but only 0 and 1 are allowed", param->name,
                      (long long)param->value);
    return FAJIT_OK;
}

static int set_params(struct render *r)
{
    const struct fj_params *params = r->params->params;
    const struct fj_symbols *symbols = &r->tmpl->symbols;
    const char *file = r->tmpl->units[0].name;
    if (params->overflow)
        return fj_err(FAJIT_E_TEMPLATE, "%s:1: more than %d parameters, or a word too long", file,
                      FJ_PARAMS_MAX);
    for (int i = 0; i < params->count; i++) {
        const struct fj_param *param = &params->items[i];
        struct fj_str name = {param->name, (int)strlen(param->name)};
        int index = fj_symbols_find(symbols, name);
        char hint[96];
        if (index < 0 || !fj_symbol_is_param(fj_symbols_at(symbols, index)))
            return fj_err(FAJIT_E_TEMPLATE, "%s:1: unknown parameter %s%s", file, param->name,
                          fj_symbols_hint(symbols, name, hint));
        int status = check_param(fj_symbols_at(symbols, index), param);
        if (status)
            return fj_err_context(status, "%s:1", file);
        if (fj_symbols_at(symbols, index)->computed)
            return fj_err(FAJIT_E_TEMPLATE, "%s:1: %s is computed by the template: do not give it",
                          file, param->name);
        struct fj_str word = {param->word, (int)strlen(param->word)};
        r->values[index] = (struct fj_value){true, param->is_word, param->value, word};
    }
    return FAJIT_OK;
}

static int run_declare(struct render *r, const struct fj_unit *unit, const struct fj_op *op)
{
    const struct fj_symbol *symbol = fj_symbols_at(&r->tmpl->symbols, op->symbol);
    r->live[op->symbol] = true;
    if (r->values[op->symbol].set || symbol->computed)
        return FAJIT_OK;
    return fj_err(FAJIT_E_TEMPLATE, "%s:%d: parameter %.*s was not given", unit->name, op->line,
                  symbol->name.n, symbol->name.p);
}

static int run_require(struct render *r, const struct fj_unit *unit, const struct fj_op *op)
{
    int64_t holds;
    int status = eval(r, unit, op, op->expr, &holds);
    if (status || holds)
        return status;
    return fj_err(FAJIT_E_TEMPLATE, "%s:%d: the template requires %.*s", unit->name, op->line,
                  op->text.n, op->text.p);
}

// --- Text ---

static int append_symbol(struct render *r, const struct fj_unit *unit, const struct fj_op *op,
                         int index)
{
    const struct fj_symbol *symbol = fj_symbols_at(&r->tmpl->symbols, index);
    const struct fj_value *value = &r->values[index];
    if (!value->set)
        return fj_err(FAJIT_E_TEMPLATE, "%s:%d: $%.*s has no value here", unit->name, op->line,
                      symbol->name.n, symbol->name.p);
    if (value->is_word)
        fj_buf_append(&r->line, value->word.p, (size_t)value->word.n);
    else
        fj_buf_printf(&r->line, "%lld", (long long)value->value);
    return FAJIT_OK;
}

#define COLUMNS 100
#define INDENT "    "

// A kernel's first line grows with its name. Past the last column it is broken before the name, and
// the parameters move in by one level: what clang-format does.
static bool break_before_name(struct render *r, const struct fj_op *op, int *ret_at)
{
    bool names_kernel = false;
    for (int i = 0; i < op->count; i++)
        names_kernel |= fj_template_piece(r->tmpl, op->first + i)->symbol == 0;
    if (!names_kernel || r->line.len <= COLUMNS || r->line.data[r->line.len - 1] != '(')
        return false;
    const char *blank = memrchr(r->line.data, ' ', r->line.len);
    *ret_at = blank ? (int)(blank - r->line.data) : 0;
    return blank != NULL;
}

static void put_text(struct render *r, struct fj_output *output, const struct fj_op *op,
                     struct fj_line from)
{
    struct fj_str line = {r->line.data, (int)r->line.len};
    int at;
    if (line.n && line.p[0] == '{')
        r->shifted = false;
    bool broken = break_before_name(r, op, &at);
    if (output == &r->intro) {
        fj_output_comment(output, line, from);
        return;
    }
    if (!broken && !r->shifted) {
        fj_output_line(output, line, from);
        return;
    }
    struct fj_str rest = line;
    if (broken) {
        fj_output_line(output, (struct fj_str){line.p, at}, from);
        rest = (struct fj_str){line.p + at + 1, line.n - at - 1};
    }
    r->shifted = true;
    struct fj_buf moved = {0};
    fj_buf_printf(&moved, INDENT "%.*s", rest.n, rest.n ? rest.p : "");
    fj_output_line(output, (struct fj_str){moved.data, (int)moved.len}, from);
    output->text.failed |= moved.failed;
    fj_buf_free(&moved);
}

static int run_text(struct render *r, const struct fj_unit *unit, const struct fj_op *op)
{
    struct fj_output *output = r->in_body || unit != r->tmpl->units ? &r->body : &r->intro;
    fj_buf_clear(&r->line);
    for (int i = 0; i < op->count; i++) {
        const struct fj_piece *piece = fj_template_piece(r->tmpl, op->first + i);
        int status = FAJIT_OK;
        int64_t value;
        if (piece->symbol >= 0) {
            status = append_symbol(r, unit, op, piece->symbol);
        } else if (piece->expr >= 0) {
            status = eval(r, unit, op, piece->expr, &value);
            if (!status)
                fj_buf_printf(&r->line, "%lld", (long long)value);
        } else {
            fj_buf_append(&r->line, piece->literal.p, (size_t)piece->literal.n);
        }
        if (status)
            return status;
    }
    put_text(r, output, op, (struct fj_line){unit->name, op->line});
    return FAJIT_OK;
}

static int run_watch(struct render *r, const struct fj_unit *unit, const struct fj_op *op)
{
    const struct fj_watch *watch = fj_template_watch(r->tmpl, op->watch);
    r->watched[op->watch] = true;
    if (!r->params->watches)
        return FAJIT_OK;
    fj_buf_clear(&r->line);
    int status = fj_watch_render(r->tmpl, watch, r->values, &r->line);
    if (!status)
        fj_output_line(&r->body, (struct fj_str){r->line.data, (int)r->line.len},
                       (struct fj_line){unit->name, op->line});
    return place(unit, op, status);
}

// --- Control ---

static int run_unit(struct render *r, int index);

static int start_loop(struct render *r, const struct fj_unit *unit, const struct fj_op *op,
                      struct loop *ret_loop)
{
    int status = eval(r, unit, op, op->expr, &ret_loop->next);
    if (!status)
        status = eval(r, unit, op, op->expr_b, &ret_loop->end);
    if (!status)
        status = eval(r, unit, op, op->expr_c, &ret_loop->step);
    if (!status && (ret_loop->step < 1 || ret_loop->step > INT32_MAX || ret_loop->end > INT32_MAX ||
                    ret_loop->next < INT32_MIN))
        return fj_err(FAJIT_E_TEMPLATE, "%s:%d: loops count upwards within 32 bits", unit->name,
                      op->line);
    return status;
}

// Gives the loop variable its next value and returns where to go on.
static int turn_loop(struct render *r, const struct fj_op *head, int head_pc, struct loop *loop)
{
    struct fj_value *value = &r->values[head->symbol];
    if (loop->next >= loop->end) {
        value->set = false;
        return head->target;
    }
    *value = (struct fj_value){.set = true, .value = loop->next};
    loop->next += loop->step;
    return head_pc + 1;
}

static int run_include(struct render *r, const struct fj_unit *unit, const struct fj_op *op)
{
    (void)unit;
    if (r->pasted[op->unit])
        return FAJIT_OK;
    fj_output_gap(&r->body);
    int status = run_unit(r, op->unit);
    fj_output_gap(&r->body);
    return status;
}

static int run_let(struct render *r, const struct fj_unit *unit, const struct fj_op *op)
{
    int64_t value;
    int status = eval(r, unit, op, op->expr, &value);
    if (!status)
        r->values[op->symbol] = (struct fj_value){.set = true, .value = value};
    return status;
}

// Operations that only go on to the next one.
static int (*const run_plain[])(struct render *, const struct fj_unit *, const struct fj_op *) = {
    [FJ_OP_TEXT] = run_text,       [FJ_OP_DECLARE] = run_declare, [FJ_OP_REQUIRE] = run_require,
    [FJ_OP_INCLUDE] = run_include, [FJ_OP_LET] = run_let,         [FJ_OP_WATCH] = run_watch,
};

static int run_unit(struct render *r, int index)
{
    const struct fj_unit *unit = &r->tmpl->units[index];
    struct loop loops[FJ_NESTING_MAX];
    int depth = 0;
    r->pasted[index] = true;
    for (int pc = 0; pc < fj_unit_op_count(unit);) {
        const struct fj_op *op = fj_unit_op(unit, pc), *head;
        int64_t holds;
        int status = FAJIT_OK;
        if (++r->steps > STEPS_MAX)
            return fj_err(FAJIT_E_TEMPLATE, "%s:%d: the rendering does not end", unit->name,
                          op->line);
        switch (op->kind) {
        case FJ_OP_IF:
            status = eval(r, unit, op, op->expr, &holds);
            pc = status || holds ? pc + 1 : op->target;
            break;
        case FJ_OP_JUMP:
            pc = op->target;
            break;
        case FJ_OP_FOR:
            status = start_loop(r, unit, op, &loops[depth]);
            if (status)
                return status;
            pc = turn_loop(r, op, pc, &loops[depth]);
            depth += pc != op->target;
            break;
        case FJ_OP_NEXT:
            head = fj_unit_op(unit, op->target - 1);
            pc = turn_loop(r, head, op->target - 1, &loops[depth - 1]);
            depth -= pc == head->target;
            break;
        case FJ_OP_PRELUDE:
            r->in_body = true;
            pc++;
            break;
        case FJ_OP_END:
            pc++;
            break;
        default:
            status = run_plain[op->kind](r, unit, op);
            pc++;
            break;
        }
        if (status)
            return status;
    }
    return FAJIT_OK;
}

// --- The whole ---

// The constants in the order of their declarations, without those the body does not name.
static void add_constants(struct render *r, struct fj_output *output)
{
    const struct fj_symbols *symbols = &r->tmpl->symbols;
    struct fj_output_constant *constants =
        calloc((size_t)fj_symbols_count(symbols), sizeof(*constants));
    if (!constants) {
        output->text.failed = true;
        return;
    }
    int count = 0;
    for (int i = 0; i < fj_symbols_count(symbols); i++) {
        const struct fj_symbol *symbol = fj_symbols_at(symbols, i);
        if (symbol->kind == FJ_SYMBOL_CONST && r->live[i])
            constants[count++] =
                (struct fj_output_constant){symbol->constant, r->values[i].value, symbol->doc};
    }
    fj_output_constants(output, constants, count, &r->body);
    free(constants);
}

static int assemble(struct render *r, struct fj_rendering *ret_rendering)
{
    struct fj_output output = {0};
    fj_output_drop_unused(&r->body, r->tmpl, r->watched);
    if (r->params->heading)
        fj_output_lines(&output, r->params->heading);
    if (output.text.len && r->intro.text.len)
        fj_output_line(&output, (struct fj_str){"//", 2}, (struct fj_line){0});
    fj_output_join(&output, &r->intro);
    fj_output_gap(&output);
    add_constants(r, &output);
    fj_output_gap(&output);
    fj_output_join(&output, &r->body);
    fj_output_align(&output);
    if (output.text.failed || output.lines.failed || r->line.failed) {
        fj_output_free(&output);
        return fj_err(FAJIT_E_NOMEM, "out of memory while rendering %s", r->tmpl->units[0].name);
    }
    ret_rendering->text = output.text;
    ret_rendering->lines = (struct fj_line *)output.lines.data;
    ret_rendering->line_count = (int)(output.lines.len / sizeof(struct fj_line));
    return FAJIT_OK;
}

static int run(struct render *r)
{
    const struct fj_symbols *symbols = &r->tmpl->symbols;
    int status = run_unit(r, 0);
    for (int i = 0; !status && i < fj_symbols_count(symbols); i++)
        if (r->live[i] && !r->values[i].set) // what is not given must be computed
            status = fj_err(FAJIT_E_TEMPLATE, "%s:1: no //@let of %s was reached",
                            r->tmpl->units[0].name, fj_symbols_at(symbols, i)->text);
    return status;
}

static int begin(struct render *r, const struct fj_template *tmpl,
                 const struct fj_render_params *params)
{
    size_t n = (size_t)fj_symbols_count(&tmpl->symbols);
    *r = (struct render){.tmpl = tmpl, .params = params};
    r->values = calloc(n, sizeof(*r->values));
    r->live = calloc(n, sizeof(*r->live));
    r->watched = calloc(tmpl->watches.len / sizeof(struct fj_watch) + 1, sizeof(*r->watched));
    if (!r->values || !r->live || !r->watched)
        return fj_err(FAJIT_E_NOMEM, "out of memory while rendering %s", tmpl->units[0].name);
    return set_params(r);
}

static int end(struct render *r, int status)
{
    fj_output_free(&r->intro);
    fj_output_free(&r->body);
    fj_buf_free(&r->line);
    free(r->watched);
    free(r->values);
    free(r->live);
    return status;
}

int fj_template_check(const struct fj_template *tmpl, const struct fj_params *params)
{
    struct render r;
    int status = begin(&r, tmpl, &(struct fj_render_params){.params = params});
    return end(&r, status);
}

int fj_template_evaluate(const struct fj_template *tmpl, const struct fj_params *params,
                         struct fj_params *ret_values)
{
    struct render r;
    int status = begin(&r, tmpl, &(struct fj_render_params){.params = params});
    if (!status)
        status = run(&r);
    for (int i = 0; !status && i < fj_symbols_count(&tmpl->symbols); i++) {
        const struct fj_symbol *symbol = fj_symbols_at(&tmpl->symbols, i);
        if (fj_symbol_is_int(symbol) && r.values[i].set)
            fj_params_int(ret_values, symbol->text, r.values[i].value);
    }
    return end(&r, status);
}

int fj_template_render(const struct fj_template *tmpl, const struct fj_render_params *params,
                       struct fj_rendering *ret_rendering)
{
    struct render r;
    int status = begin(&r, tmpl, params);
    if (!status)
        status = run(&r);
    if (!status)
        status = assemble(&r, ret_rendering);
    return end(&r, status);
}

void fj_rendering_free(struct fj_rendering *rendering)
{
    fj_buf_free(&rendering->text);
    free(rendering->lines);
    *rendering = (struct fj_rendering){0};
}
