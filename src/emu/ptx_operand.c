// Operands: names looked up in their scopes, numbers, vectors, addresses.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "emu/ptx_lex.h"

#define MAX_DEPTH 8

static bool match_range(const struct fj_ptx_decl *decl, const char *name, int *index)
{
    const char *digits = name + decl->len;
    if (strncmp(name, decl->name, decl->len) != 0 || !isdigit((unsigned char)*digits))
        return false;
    char *end;
    long number = strtol(digits, &end, 10);
    if (*end != '\0' || number >= decl->count || end - digits > 9)
        return false;
    *index = decl->first + (int)number;
    return true;
}

static bool resolve_decl(struct fj_ptx_parser *p, const char *name, struct fj_ptx_operand *op)
{
    for (int i = p->n_decls - 1; i >= 0; i--) {
        const struct fj_ptx_decl *decl = &p->decls[i];
        int index = decl->first;
        if (decl->range ? match_range(decl, name, &index) : strcmp(name, decl->name) == 0) {
            op->kind = decl->variable ? FJ_PTX_OP_VAR : FJ_PTX_OP_REG;
            op->index = index;
            return true;
        }
    }
    return false;
}

void fj_ptx_resolve(struct fj_ptx_parser *p, const char *name, struct fj_ptx_operand *op)
{
    op->text = name;
    op->kind = FJ_PTX_OP_NAME;
    if (strcmp(name, "_") == 0) {
        op->kind = FJ_PTX_OP_SINK;
        return;
    }
    if (resolve_decl(p, name, op))
        return;
    if (strcmp(name, "WARP_SZ") == 0) {
        op->kind = FJ_PTX_OP_INT;
        op->value = 32;
        return;
    }
    for (int i = 0; i < p->entry->n_params; i++) {
        if (strcmp(p->entry->params[i].name, name) == 0) {
            op->kind = FJ_PTX_OP_PARAM;
            op->index = i;
            return;
        }
    }
    for (int i = p->module->n_vars - 1; i >= 0; i--) {
        if (strcmp(p->module->vars[i].name, name) == 0) {
            op->kind = FJ_PTX_OP_MODULE_VAR;
            op->index = i;
            return;
        }
    }
    if (name[0] == '%')
        op->kind = FJ_PTX_OP_SPECIAL;
}

static void take_operand(struct fj_ptx_parser *p, struct fj_ptx_operand *op, int depth);

// Operands up to `close`, which is taken.
void fj_ptx_list(struct fj_ptx_parser *p, struct fj_ptx_operand *op, const char *close, int depth)
{
    int cap = 0;
    while (!p->failed && !fj_ptx_accept(p, close)) {
        op->sub = fj_ptx_grow(p, op->sub, op->n_sub, &cap, sizeof(*op->sub));
        if (op->sub == NULL)
            return;
        struct fj_ptx_operand sub = {0};
        take_operand(p, &sub, depth + 1);
        op->sub[op->n_sub++] = sub;
        if (!fj_ptx_accept(p, ",") && !fj_ptx_is(p, close))
            fj_ptx_fail(p, "expected ',' or '%s'", close);
    }
}

static void take_offset(struct fj_ptx_parser *p, struct fj_ptx_operand *op)
{
    while (!p->failed && (fj_ptx_is(p, "+") || fj_ptx_is(p, "-"))) {
        bool minus = fj_ptx_accept(p, "-");
        if (!minus)
            fj_ptx_next(p);
        uint64_t value = fj_ptx_integer(p);
        op->value += minus ? 0 - value : value;
    }
}

static void take_memory(struct fj_ptx_parser *p, struct fj_ptx_operand *op, int depth)
{
    op->kind = FJ_PTX_OP_MEMORY;
    fj_ptx_list(p, op, "]", depth);
    if (!p->failed && op->n_sub == 0)
        fj_ptx_fail(p, "an empty address");
    if (p->failed)
        return;
    op->value = op->sub[0].kind == FJ_PTX_OP_INT ? 0 : op->sub[0].value;
    if (op->sub[0].kind != FJ_PTX_OP_INT)
        op->sub[0].value = 0;
}

static void take_primary(struct fj_ptx_parser *p, struct fj_ptx_operand *op, int depth)
{
    bool minus = fj_ptx_accept(p, "-");
    if (p->tok.kind == FJ_PTX_NUMBER) {
        op->kind = p->tok.number;
        op->value = p->tok.value;
        fj_ptx_next(p);
        if (minus && op->kind == FJ_PTX_OP_INT)
            op->value = 0 - op->value;
        else if (minus)
            op->value ^= op->kind == FJ_PTX_OP_F32 ? 1ull << 31 : 1ull << 63;
        return;
    }
    const char *name = fj_ptx_word(p);
    if (name == NULL)
        return;
    if (minus)
        fj_ptx_fail(p, "'-' before '%s'", name);
    fj_ptx_resolve(p, name, op);
    if (depth > 0 || op->kind == FJ_PTX_OP_VAR || op->kind == FJ_PTX_OP_MODULE_VAR)
        take_offset(p, op);
}

static void take_operand(struct fj_ptx_parser *p, struct fj_ptx_operand *op, int depth)
{
    if (depth > MAX_DEPTH) {
        fj_ptx_fail(p, "operands nest deeper than %d", MAX_DEPTH);
        return;
    }
    op->negated = fj_ptx_accept(p, "!");
    if (fj_ptx_accept(p, "{")) {
        op->kind = FJ_PTX_OP_VECTOR;
        fj_ptx_list(p, op, "}", depth);
    } else if (fj_ptx_accept(p, "(")) {
        op->kind = FJ_PTX_OP_VECTOR;
        fj_ptx_list(p, op, ")", depth);
    } else if (fj_ptx_accept(p, "[")) {
        take_memory(p, op, depth);
    } else {
        take_primary(p, op, depth);
    }
    if (!fj_ptx_accept(p, "|"))
        return;
    struct fj_ptx_operand *pair = fj_ptx_alloc(p, 2 * sizeof(*pair));
    if (pair == NULL)
        return;
    pair[0] = *op;
    take_operand(p, &pair[1], depth + 1);
    *op = (struct fj_ptx_operand){.kind = FJ_PTX_OP_PAIR, .sub = pair, .n_sub = 2};
}
