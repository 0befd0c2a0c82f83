// The body of an entry: declarations in nested scopes, labels, instructions.
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "emu/ptx_lex.h"

#define MAX_REGS (1 << 18)
#define MAX_SCOPES 100000

void fj_ptx_reg_name(const struct fj_ptx_entry *entry, int reg, char *text, size_t cap)
{
    if (reg < 0 || reg >= entry->n_regs)
        snprintf(text, cap, "?");
    else if (entry->regs[reg].number < 0)
        snprintf(text, cap, "%s", entry->regs[reg].prefix);
    else
        snprintf(text, cap, "%s%d", entry->regs[reg].prefix, entry->regs[reg].number);
}

static void push_scope(struct fj_ptx_parser *p)
{
    if (p->n_scopes >= MAX_SCOPES) {
        fj_ptx_fail(p, "more than %d scopes", MAX_SCOPES);
        return;
    }
    p->scope_parent =
        fj_ptx_grow(p, p->scope_parent, p->n_scopes, &p->cap_scopes, sizeof(*p->scope_parent));
    if (p->scope_parent == NULL)
        return;
    p->scope_parent[p->n_scopes] = p->scope;
    p->scope = p->n_scopes++;
}

static void pop_scope(struct fj_ptx_parser *p)
{
    while (p->n_decls > 0 && p->decls[p->n_decls - 1].scope == p->scope)
        p->n_decls--;
    p->scope = p->scope_parent[p->scope];
}

static void add_decl(struct fj_ptx_parser *p, struct fj_ptx_decl decl)
{
    p->decls = fj_ptx_grow(p, p->decls, p->n_decls, &p->cap_decls, sizeof(*p->decls));
    if (p->decls == NULL)
        return;
    decl.scope = p->scope;
    decl.len = strlen(decl.name);
    p->decls[p->n_decls++] = decl;
}

static void add_regs(struct fj_ptx_parser *p, const char *prefix, int bits, bool range, int count)
{
    struct fj_ptx_entry *e = p->entry;
    if (count > MAX_REGS || e->n_regs + count > MAX_REGS) {
        fj_ptx_fail(p, "more than %d registers", MAX_REGS);
        return;
    }
    add_decl(p, (struct fj_ptx_decl){
                    .name = prefix, .range = range, .first = e->n_regs, .count = count});
    for (int i = 0; i < count && !p->failed; i++) {
        e->regs = fj_ptx_grow(p, e->regs, e->n_regs, &p->cap_regs, sizeof(*e->regs));
        if (e->regs == NULL)
            return;
        e->regs[e->n_regs++] =
            (struct fj_ptx_reg){.prefix = prefix, .number = range ? i : -1, .bits = (uint8_t)bits};
    }
}

static void declare_regs(struct fj_ptx_parser *p)
{
    if (fj_ptx_is(p, ".v2") || fj_ptx_is(p, ".v4")) {
        fj_ptx_fail(p, "vector registers are not supported");
        return;
    }
    int bits = p->tok.kind == FJ_PTX_WORD ? fj_ptx_type_bits(p->tok.text, p->tok.len) : 0;
    if (bits == 0) {
        fj_ptx_fail(p, ".reg needs a type");
        return;
    }
    bits = bits == 8 ? 16 : bits;
    fj_ptx_next(p);
    do {
        const char *name = fj_ptx_word(p);
        uint64_t count = 1;
        bool range = fj_ptx_accept(p, "<");
        if (range) {
            count = fj_ptx_integer(p);
            fj_ptx_expect(p, ">");
        }
        if (count > MAX_REGS)
            fj_ptx_fail(p, "more than %d registers", MAX_REGS);
        if (!p->failed)
            add_regs(p, name, bits, range, (int)count);
    } while (!p->failed && fj_ptx_accept(p, ","));
    fj_ptx_expect(p, ";");
}

static void declare_var(struct fj_ptx_parser *p, enum fj_ptx_space space)
{
    struct fj_ptx_entry *e = p->entry;
    e->vars = fj_ptx_grow(p, e->vars, e->n_vars, &p->cap_vars, sizeof(*e->vars));
    if (e->vars == NULL)
        return;
    struct fj_ptx_var *var = &e->vars[e->n_vars];
    fj_ptx_variable(p, space, false, var);
    fj_ptx_expect(p, ";");
    if (p->failed)
        return;
    add_decl(p, (struct fj_ptx_decl){.name = var->name, .variable = true, .first = e->n_vars++});
}

static struct fj_ptx_insn *add_insn(struct fj_ptx_parser *p)
{
    struct fj_ptx_entry *e = p->entry;
    e->insns = fj_ptx_grow(p, e->insns, e->n_insns, &p->cap_insns, sizeof(*e->insns));
    if (e->insns == NULL)
        return NULL;
    struct fj_ptx_insn *insn = &e->insns[e->n_insns++];
    *insn = (struct fj_ptx_insn){
        .op = "", .guard = -1, .ptx_line = p->tok.line, .file = p->file, .line = p->loc};
    return insn;
}

static void take_guard(struct fj_ptx_parser *p, struct fj_ptx_insn *insn)
{
    if (!fj_ptx_accept(p, "@"))
        return;
    insn->guard_negated = fj_ptx_accept(p, "!");
    struct fj_ptx_operand op = {0};
    const char *name = fj_ptx_word(p);
    if (name == NULL)
        return;
    fj_ptx_resolve(p, name, &op);
    if (op.kind != FJ_PTX_OP_REG || p->entry->regs[op.index].bits != 1)
        fj_ptx_fail(p, "'%s' is no predicate", name);
    insn->guard = op.index;
}

// A label's targets list: ".branchtargets a, b;" behind "name:".
static void take_targets(struct fj_ptx_parser *p, struct fj_ptx_label *label)
{
    struct fj_ptx_operand list = {0};
    fj_ptx_list(p, &list, ";", 0);
    label->targets = list.sub;
    label->n_targets = list.n_sub;
}

static void add_label(struct fj_ptx_parser *p, const char *name)
{
    struct fj_ptx_entry *e = p->entry;
    e->labels = fj_ptx_grow(p, e->labels, e->n_labels, &p->cap_labels, sizeof(*e->labels));
    if (e->labels == NULL)
        return;
    struct fj_ptx_label *label = &e->labels[e->n_labels++];
    *label = (struct fj_ptx_label){.name = name, .scope = p->scope, .insn = e->n_insns};
    if (fj_ptx_accept(p, ".branchtargets"))
        take_targets(p, label);
    else if (fj_ptx_accept(p, ".callprototype"))
        while (p->tok.kind != FJ_PTX_END && !fj_ptx_accept(p, ";"))
            fj_ptx_next(p);
}

static void take_insn(struct fj_ptx_parser *p)
{
    struct fj_ptx_insn *insn = add_insn(p);
    if (insn == NULL)
        return;
    take_guard(p, insn);
    const char *op = fj_ptx_word(p);
    if (op == NULL)
        return;
    insn->op = op;
    int scope = p->scope;
    struct fj_ptx_operand list = {.kind = FJ_PTX_OP_VECTOR};
    fj_ptx_list(p, &list, ";", 0);
    // Decoders may take the address of the first operand before they count.
    insn->ops = list.n_sub > 0 ? list.sub : fj_ptx_alloc(p, sizeof(*insn->ops));
    insn->n_ops = list.n_sub;
    // Labels are looked up when all are known, from the scope of the instruction.
    for (int i = 0; i < list.n_sub; i++) {
        if (list.sub[i].kind == FJ_PTX_OP_NAME)
            list.sub[i].index = scope;
    }
}

static void take_watch(struct fj_ptx_parser *p)
{
    struct fj_ptx_insn *insn = add_insn(p);
    if (insn == NULL)
        return;
    char *text = fj_ptx_copy(p, p->tok.text, p->tok.len);
    struct fj_ptx_operand list = {0};
    int cap = 0;
    fj_ptx_next(p);
    if (text == NULL)
        return;
    char *regs = strchr(text, '%');
    for (char *word = regs; word != NULL && *word != '\0' && !p->failed;) {
        size_t len = strcspn(word, " \t\r,");
        char *next = word + len + strspn(word + len, " \t\r,");
        char *name = fj_ptx_copy(p, word, len);
        struct fj_ptx_operand op = {0};
        if (name != NULL && len > 0)
            fj_ptx_resolve(p, name, &op);
        if (op.kind != FJ_PTX_OP_REG || name == NULL)
            break;
        list.sub = fj_ptx_grow(p, list.sub, list.n_sub, &cap, sizeof(*list.sub));
        if (list.sub == NULL)
            return;
        list.sub[list.n_sub++] = op;
        word = next;
    }
    if (regs != NULL)
        *regs = '\0';
    insn->op = "fj_watch";
    insn->text = text;
    insn->ops = list.sub;
    insn->n_ops = list.n_sub;
}

// ".loc file line column[, function_name label[+n], inlined_at file line column]"
static void take_loc(struct fj_ptx_parser *p)
{
    int line = p->tok.line;
    p->file = (int)(fj_ptx_integer(p) & 0xffff);
    p->loc = (int)(fj_ptx_integer(p) & 0x7fffffff);
    fj_ptx_integer(p);
    while (!p->failed && p->tok.kind != FJ_PTX_END && p->tok.line == line)
        fj_ptx_next(p);
}

static bool take_directive(struct fj_ptx_parser *p)
{
    if (fj_ptx_accept(p, ".reg")) {
        declare_regs(p);
    } else if (fj_ptx_accept(p, ".loc")) {
        take_loc(p);
    } else if (fj_ptx_accept(p, ".shared")) {
        declare_var(p, FJ_PTX_SHARED);
    } else if (fj_ptx_accept(p, ".local") || fj_ptx_accept(p, ".param")) {
        declare_var(p, FJ_PTX_LOCAL); // the parameters of calls live in the frame too
    } else if (fj_ptx_accept(p, ".pragma")) {
        while (p->tok.kind != FJ_PTX_END && !fj_ptx_accept(p, ";"))
            fj_ptx_next(p);
    } else {
        return false;
    }
    return true;
}

static void take_statement(struct fj_ptx_parser *p)
{
    if (p->tok.kind == FJ_PTX_WATCH) {
        take_watch(p);
        return;
    }
    if (p->tok.kind != FJ_PTX_WORD) {
        if (fj_ptx_is(p, "@"))
            take_insn(p);
        else if (!fj_ptx_accept(p, ";"))
            fj_ptx_fail(p, "unexpected '%.*s'", (int)(p->tok.len < 40 ? p->tok.len : 40),
                        p->tok.text);
        return;
    }
    const char *after = p->tok.text + p->tok.len;
    while (after < p->end && (*after == ' ' || *after == '\t'))
        after++;
    if (after < p->end && *after == ':') {
        const char *name = fj_ptx_word(p);
        fj_ptx_expect(p, ":");
        if (!p->failed)
            add_label(p, name);
        return;
    }
    if (p->tok.text[0] != '.')
        take_insn(p);
    else if (!take_directive(p))
        fj_ptx_fail(p, "unknown directive '%.*s'", (int)(p->tok.len < 40 ? p->tok.len : 40),
                    p->tok.text);
}

static int find_label(const struct fj_ptx_parser *p, const char *name, int scope)
{
    const struct fj_ptx_entry *e = p->entry;
    for (;; scope = p->scope_parent[scope]) {
        for (int i = 0; i < e->n_labels; i++) {
            if (e->labels[i].scope == scope && strcmp(e->labels[i].name, name) == 0)
                return i;
        }
        if (scope == 0)
            return -1;
    }
}

static void resolve_targets(struct fj_ptx_parser *p, struct fj_ptx_label *label)
{
    struct fj_ptx_operand *targets = (struct fj_ptx_operand *)label->targets;
    for (int i = 0; i < label->n_targets && !p->failed; i++) {
        int found = targets[i].text ? find_label(p, targets[i].text, label->scope) : -1;
        if (found < 0)
            fj_ptx_fail(p, "unknown label in .branchtargets of '%s'", label->name);
        targets[i].kind = FJ_PTX_OP_LABEL;
        targets[i].index = found;
    }
}

static void resolve_labels(struct fj_ptx_parser *p)
{
    struct fj_ptx_entry *e = p->entry;
    for (int i = 0; i < e->n_labels && !p->failed; i++)
        resolve_targets(p, &e->labels[i]);
    for (int i = 0; i < e->n_insns && !p->failed; i++) {
        struct fj_ptx_insn *insn = &e->insns[i];
        if (strncmp(insn->op, "br", 2) != 0)
            continue;
        for (int k = 0; k < insn->n_ops && !p->failed; k++) {
            struct fj_ptx_operand *op = &insn->ops[k];
            if (op->kind != FJ_PTX_OP_NAME)
                continue;
            op->index = find_label(p, op->text, op->index);
            op->kind = FJ_PTX_OP_LABEL;
            p->tok.line = insn->ptx_line;
            if (op->index < 0)
                fj_ptx_fail(p, "unknown label '%s'", op->text);
        }
    }
}

void fj_ptx_body(struct fj_ptx_parser *p)
{
    p->cap_insns = p->cap_regs = p->cap_labels = p->cap_vars = 0;
    p->n_decls = p->n_scopes = p->scope = 0;
    p->file = p->loc = 0;
    push_scope(p); // scope 0 is the entry's own, its own parent
    fj_ptx_expect(p, "{");
    int depth = 1;
    while (!p->failed && depth > 0) {
        if (p->tok.kind == FJ_PTX_END) {
            fj_ptx_fail(p, "the body of '%s' is not closed", p->entry->name);
        } else if (fj_ptx_accept(p, "{")) {
            push_scope(p);
            depth++;
        } else if (fj_ptx_is(p, "}")) {
            if (--depth > 0)
                pop_scope(p);
            fj_ptx_next(p);
        } else {
            take_statement(p);
        }
    }
    if (!p->failed)
        resolve_labels(p);
}
