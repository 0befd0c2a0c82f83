#include "codegen/expr.h"

#include <string.h>

enum node_kind {
    NODE_INT,
    NODE_NAME,
    NODE_IS_WORD, // symbol a holds the word
    NODE_NOT,
    NODE_NEG,
    NODE_MUL,
    NODE_DIV,
    NODE_MOD,
    NODE_ADD,
    NODE_SUB,
    NODE_LT,
    NODE_LE,
    NODE_GT,
    NODE_GE,
    NODE_EQ,
    NODE_NE,
    NODE_AND,
    NODE_OR,
};

struct node {
    enum node_kind kind;
    int a, b; // operands; the symbol of NODE_NAME and NODE_IS_WORD
    int64_t value;
    struct fj_str word;
};

// Binary operators, longest spelling first. A higher level binds tighter.
static const struct {
    const char *text;
    int level;
    enum node_kind kind;
} operators[] = {
    {"||", 1, NODE_OR}, {"&&", 2, NODE_AND}, {"==", 3, NODE_EQ}, {"!=", 3, NODE_NE},
    {"<=", 4, NODE_LE}, {">=", 4, NODE_GE},  {"<", 4, NODE_LT},  {">", 4, NODE_GT},
    {"+", 5, NODE_ADD}, {"-", 5, NODE_SUB},  {"*", 6, NODE_MUL}, {"/", 6, NODE_DIV},
    {"%", 6, NODE_MOD},
};
#define N_OPERATORS (int)(sizeof(operators) / sizeof(operators[0]))
#define LEVEL_EQUALITY 3

#define DEPTH_MAX 64 // of nested parentheses and signs

struct parser {
    struct fj_exprs *exprs;
    const struct fj_symbols *symbols;
    const char *p, *end;
    int depth;
};

static const struct node *node_at(const struct fj_exprs *exprs, int index)
{
    return (const struct node *)exprs->nodes.data + index;
}

static int add_node(struct parser *parser, struct node node, int *ret_index)
{
    struct fj_buf *nodes = &parser->exprs->nodes;
    int index = (int)(nodes->len / sizeof(node));
    fj_buf_append(nodes, &node, sizeof(node));
    if (nodes->failed)
        return fj_err(FAJIT_E_NOMEM, "out of memory while parsing an expression");
    *ret_index = index;
    return FAJIT_OK;
}

static void skip_blanks(struct parser *parser)
{
    while (parser->p < parser->end && (*parser->p == ' ' || *parser->p == '\t'))
        parser->p++;
}

static struct fj_str take_word(struct parser *parser)
{
    skip_blanks(parser);
    struct fj_str word = {parser->p, 0};
    while (parser->p < parser->end && fj_is_name_char(*parser->p))
        parser->p++;
    word.n = (int)(parser->p - word.p);
    return word;
}

static bool take(struct parser *parser, char c)
{
    skip_blanks(parser);
    if (parser->p == parser->end || *parser->p != c)
        return false;
    parser->p++;
    return true;
}

// An operator of at least `level` at the cursor, or -1.
static int peek_operator(struct parser *parser, int level)
{
    skip_blanks(parser);
    size_t left = (size_t)(parser->end - parser->p);
    for (int i = 0; i < N_OPERATORS; i++) {
        size_t len = strlen(operators[i].text);
        if (len <= left && !memcmp(parser->p, operators[i].text, len))
            return operators[i].level >= level ? i : -1;
    }
    return -1;
}

static int parse_number(struct parser *parser, struct fj_str text, int *ret_root)
{
    int64_t value = 0;
    for (int i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return fj_err(FAJIT_E_TEMPLATE, "%.*s is neither a number nor a name", text.n, text.p);
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.p[i] - '0', &value))
            return fj_err(FAJIT_E_TEMPLATE, "%.*s does not fit 64 bits", text.n, text.p);
    }
    return add_node(parser, (struct node){.kind = NODE_INT, .value = value}, ret_root);
}

static int unknown_word(const struct fj_symbol *symbol, struct fj_str word)
{
    struct fj_nearest nearest = {.word = word};
    struct fj_str rest = symbol->words, known;
    while (fj_str_word(&rest, &known))
        fj_nearest_offer(&nearest, known);
    char hint[96];
    return fj_err(FAJIT_E_TEMPLATE, "%.*s is not a word of switch %.*s: %.*s%s", word.n, word.p,
                  symbol->name.n, symbol->name.p, symbol->words.n, symbol->words.p,
                  fj_nearest_hint(&nearest, hint));
}

// After a word switch: `== word` or `!= word`.
static int parse_word_test(struct parser *parser, int index, int *ret_root)
{
    const struct fj_symbol *symbol = fj_symbols_at(parser->symbols, index);
    int op = peek_operator(parser, LEVEL_EQUALITY);
    if (op < 0 || operators[op].level != LEVEL_EQUALITY)
        return fj_err(FAJIT_E_TEMPLATE,
                      "switch %.*s holds a word: compare it, as in %.*s == %.*s, to one of %.*s",
                      symbol->name.n, symbol->name.p, symbol->name.n, symbol->name.p,
                      (int)strcspn(symbol->words.p, "|"), symbol->words.p, symbol->words.n,
                      symbol->words.p);
    parser->p += 2;
    struct fj_str word = take_word(parser);
    if (!fj_symbol_has_word(symbol, word))
        return unknown_word(symbol, word);
    struct node test = {.kind = NODE_IS_WORD, .a = index, .word = word};
    int status = add_node(parser, test, ret_root);
    if (status || operators[op].kind == NODE_EQ)
        return status;
    return add_node(parser, (struct node){.kind = NODE_NOT, .a = *ret_root}, ret_root);
}

static int parse_binary(struct parser *parser, int level, int *ret_root);

static int parse_name(struct parser *parser, struct fj_str name, int *ret_root)
{
    int index = fj_symbols_find(parser->symbols, name);
    char hint[96];
    if (index < 0)
        return fj_err(FAJIT_E_TEMPLATE, "unknown name %.*s%s", name.n, name.p,
                      fj_symbols_hint(parser->symbols, name, hint));
    switch (fj_symbols_at(parser->symbols, index)->kind) {
    case FJ_SYMBOL_SWITCH_WORD:
        return parse_word_test(parser, index, ret_root);
    case FJ_SYMBOL_SYMBOL:
        return fj_err(FAJIT_E_TEMPLATE, "%.*s is a symbol, not a number", name.n, name.p);
    default:
        return add_node(parser, (struct node){.kind = NODE_NAME, .a = index}, ret_root);
    }
}

static int parse_operand(struct parser *parser, int *ret_root)
{
    if (take(parser, '(')) {
        int status = parse_binary(parser, 1, ret_root);
        if (status)
            return status;
        if (!take(parser, ')'))
            return fj_err(FAJIT_E_TEMPLATE, "a parenthesis is not closed");
        return FAJIT_OK;
    }
    struct fj_str word = take_word(parser);
    if (!word.n && parser->p == parser->end)
        return fj_err(FAJIT_E_TEMPLATE, "the expression ends where a value is expected");
    if (!word.n)
        return fj_err(FAJIT_E_TEMPLATE, "'%c' where a value is expected", *parser->p);
    if (word.p[0] >= '0' && word.p[0] <= '9')
        return parse_number(parser, word, ret_root);
    return parse_name(parser, word, ret_root);
}

static int parse_unary(struct parser *parser, int *ret_root)
{
    if (++parser->depth > DEPTH_MAX)
        return fj_err(FAJIT_E_TEMPLATE, "the expression is nested more than %d deep", DEPTH_MAX);
    int status;
    bool negate = take(parser, '-');
    if (negate || take(parser, '!')) {
        struct node node = {.kind = negate ? NODE_NEG : NODE_NOT};
        status = parse_unary(parser, &node.a);
        if (!status)
            status = add_node(parser, node, ret_root);
    } else {
        status = parse_operand(parser, ret_root);
    }
    parser->depth--;
    return status;
}

// Precedence climbing: everything that binds at least as tightly as `level`.
static int parse_binary(struct parser *parser, int level, int *ret_root)
{
    int status = parse_unary(parser, ret_root);
    while (!status) {
        int op = peek_operator(parser, level);
        if (op < 0)
            return FAJIT_OK;
        parser->p += strlen(operators[op].text);
        struct node node = {.kind = operators[op].kind, .a = *ret_root};
        status = parse_binary(parser, operators[op].level + 1, &node.b);
        if (!status)
            status = add_node(parser, node, ret_root);
    }
    return status;
}

int fj_expr_parse(struct fj_exprs *exprs, const struct fj_symbols *symbols, struct fj_str text,
                  int *ret_root)
{
    struct parser parser = {exprs, symbols, text.p, text.p + text.n, 0};
    int root = -1;
    int status = parse_binary(&parser, 1, &root);
    if (status)
        return status;
    skip_blanks(&parser);
    if (parser.p != parser.end)
        return fj_err(FAJIT_E_TEMPLATE, "'%.*s' after the end of the expression",
                      (int)(parser.end - parser.p), parser.p);
    *ret_root = root;
    return FAJIT_OK;
}

// --- Evaluation ---

struct evaluation {
    const struct fj_exprs *exprs;
    const struct fj_symbols *symbols;
    const struct fj_value *values;
};

static int eval(const struct evaluation *e, int index, int64_t *ret);

static int value_of(const struct evaluation *e, int symbol, const struct fj_value **ret)
{
    const struct fj_symbol *s = fj_symbols_at(e->symbols, symbol);
    *ret = &e->values[symbol];
    if ((*ret)->set)
        return FAJIT_OK;
    return fj_err(FAJIT_E_TEMPLATE, "%.*s has no value here: %s", s->name.n, s->name.p,
                  fj_symbol_is_param(s)       ? "the parameter was not given"
                  : s->kind == FJ_SYMBOL_LOOP ? "it is used outside its //@for"
                                              : "its //@let comes later or was skipped");
}

static int eval_division(const struct node *node, int64_t a, int64_t b, int64_t *ret)
{
    if (b == 0)
        return fj_err(FAJIT_E_TEMPLATE, "division by zero");
    if (b == -1) { // INT64_MIN / -1 traps
        if (__builtin_sub_overflow(0, a, ret))
            return fj_err(FAJIT_E_TEMPLATE, "the result does not fit 64 bits");
        if (node->kind == NODE_MOD)
            *ret = 0;
        return FAJIT_OK;
    }
    *ret = node->kind == NODE_DIV ? a / b : a % b;
    return FAJIT_OK;
}

static int eval_arithmetic(const struct node *node, int64_t a, int64_t b, int64_t *ret)
{
    bool overflow = false;
    switch (node->kind) {
    case NODE_DIV:
    case NODE_MOD:
        return eval_division(node, a, b, ret);
    case NODE_MUL:
        overflow = __builtin_mul_overflow(a, b, ret);
        break;
    case NODE_ADD:
        overflow = __builtin_add_overflow(a, b, ret);
        break;
    default:
        overflow = __builtin_sub_overflow(a, b, ret);
        break;
    }
    return overflow ? fj_err(FAJIT_E_TEMPLATE, "the result does not fit 64 bits") : FAJIT_OK;
}

static int eval_binary(const struct evaluation *e, const struct node *node, int64_t *ret)
{
    int64_t a, b;
    int status = eval(e, node->a, &a);
    if (status)
        return status;
    // As in C: the right side is not looked at when the left one decides.
    if ((node->kind == NODE_AND && !a) || (node->kind == NODE_OR && a)) {
        *ret = node->kind == NODE_OR;
        return FAJIT_OK;
    }
    status = eval(e, node->b, &b);
    if (status)
        return status;
    switch (node->kind) {
    case NODE_AND:
    case NODE_OR:
        *ret = b != 0;
        return FAJIT_OK;
    case NODE_LT:
        *ret = a < b;
        return FAJIT_OK;
    case NODE_LE:
        *ret = a <= b;
        return FAJIT_OK;
    case NODE_GT:
        *ret = a > b;
        return FAJIT_OK;
    case NODE_GE:
        *ret = a >= b;
        return FAJIT_OK;
    case NODE_EQ:
        *ret = a == b;
        return FAJIT_OK;
    case NODE_NE:
        *ret = a != b;
        return FAJIT_OK;
    default:
        return eval_arithmetic(node, a, b, ret);
    }
}

static int eval(const struct evaluation *e, int index, int64_t *ret)
{
    const struct node *node = node_at(e->exprs, index);
    const struct fj_value *value;
    int status;
    switch (node->kind) {
    case NODE_INT:
        *ret = node->value;
        return FAJIT_OK;
    case NODE_NAME:
        status = value_of(e, node->a, &value);
        *ret = value->value;
        return status;
    case NODE_IS_WORD:
        status = value_of(e, node->a, &value);
        *ret = fj_str_equal(value->word, node->word);
        return status;
    case NODE_NOT:
        status = eval(e, node->a, ret);
        *ret = !*ret;
        return status;
    case NODE_NEG:
        status = eval(e, node->a, ret);
        if (!status && __builtin_sub_overflow(0, *ret, ret))
            return fj_err(FAJIT_E_TEMPLATE, "the result does not fit 64 bits");
        return status;
    default:
        return eval_binary(e, node, ret);
    }
}

int fj_expr_eval(const struct fj_exprs *exprs, const struct fj_symbols *symbols, int root,
                 const struct fj_value *values, int64_t *ret_value)
{
    struct evaluation e = {exprs, symbols, values};
    int64_t value = 0;
    int status = eval(&e, root, &value);
    if (!status)
        *ret_value = value;
    return status;
}
