// Basic blocks and immediate post-dominators: where diverged lanes meet again.
#include <stdlib.h>
#include <string.h>

#include "emu/code.h"

static bool is_op(const char *op, const char *name)
{
    const size_t len = strlen(name);
    return strncmp(op, name, len) == 0 && (op[len] == '\0' || op[len] == '.');
}

static bool is_branch(const char *op)
{
    return is_op(op, "bra") || is_op(op, "brx");
}

static bool is_exit(const char *op)
{
    return strcmp(op, "ret") == 0 || strcmp(op, "exit") == 0 || strcmp(op, "ret.uni") == 0;
}

static bool ends_block(const struct fj_ptx_insn *insn)
{
    return is_branch(insn->op) || (is_exit(insn->op) && insn->guard < 0);
}

static void mark_leaders(const struct fj_ptx_entry *e, bool *leader)
{
    leader[0] = true;
    for (int i = 0; i < e->n_labels; i++)
        leader[e->labels[i].insn] = true;
    for (int i = 0; i < e->n_insns; i++) {
        if (ends_block(&e->insns[i]))
            leader[i + 1] = true;
    }
}

// block_of[i] for instruction i; block_of[n] is one past the last block: falling off the end.
static bool number_blocks(struct fj_emu_build *b)
{
    const struct fj_ptx_entry *e = b->entry;
    struct fj_emu_code *c = b->code;
    bool *leader = calloc((size_t)e->n_insns + 2, 1);
    c->block_of = calloc((size_t)e->n_insns + 1, sizeof(*c->block_of));
    if (leader == NULL || c->block_of == NULL) {
        free(leader);
        fj_emu_build_fail(b, "out of memory");
        return false;
    }
    mark_leaders(e, leader);
    uint32_t n = 0;
    for (int i = 0; i < e->n_insns; i++) {
        n += leader[i];
        c->block_of[i] = n - 1;
    }
    c->block_of[e->n_insns] = n;
    c->n_blocks = n;
    free(leader);
    c->blocks = calloc((size_t)n + 1, sizeof(*c->blocks));
    if (c->blocks == NULL)
        fj_emu_build_fail(b, "out of memory");
    return !b->failed;
}

static void add_edge(struct fj_emu_code *c, uint32_t from, uint32_t to)
{
    struct fj_emu_basic *block = &c->blocks[from];
    if (to >= c->n_blocks)
        block->to_exit = true;
    else if (block->next[0] == FJ_EMU_NONE)
        block->next[0] = to;
    else if (block->next[0] != to)
        block->next[1] = to;
}

static void connect_branch(struct fj_emu_build *b, uint32_t block, const struct fj_ptx_insn *insn)
{
    struct fj_emu_code *c = b->code;
    b->source = insn;
    const struct fj_ptx_operand *last = insn->n_ops > 0 ? &insn->ops[insn->n_ops - 1] : NULL;
    if (last == NULL || last->kind != FJ_PTX_OP_LABEL) {
        fj_emu_build_fail(b, "a branch needs a label");
        return;
    }
    const struct fj_ptx_label *label = &b->entry->labels[last->index];
    if (is_op(insn->op, "brx")) {
        c->blocks[block].table = label;
        if (label->n_targets == 0)
            fj_emu_build_fail(b, "brx.idx needs a .branchtargets list");
    } else {
        add_edge(c, block, c->block_of[label->insn]);
    }
}

static void connect(struct fj_emu_build *b)
{
    const struct fj_ptx_entry *e = b->entry;
    struct fj_emu_code *c = b->code;
    for (uint32_t i = 0; i < c->n_blocks; i++)
        c->blocks[i].next[0] = c->blocks[i].next[1] = FJ_EMU_NONE;
    for (int i = 0; i < e->n_insns && !b->failed; i++) {
        const uint32_t block = c->block_of[i];
        if (c->block_of[i + 1] == block)
            continue;
        const struct fj_ptx_insn *last = &e->insns[i];
        if (is_branch(last->op))
            connect_branch(b, block, last);
        if (is_exit(last->op) && last->guard < 0)
            c->blocks[block].to_exit = true;
        else if (!is_branch(last->op) || last->guard >= 0)
            add_edge(c, block, block + 1);
    }
}

struct graph {
    const struct fj_emu_build *b;
    uint32_t n;                          // blocks; n itself is the exit
    uint32_t *head, *from, *to, n_edges; // predecessors of each node, as lists
    uint32_t *order, *rank, n_order;     // reverse postorder of the reversed graph
    uint32_t *idom;
};

static int n_successors(const struct fj_emu_build *b, uint32_t block)
{
    const struct fj_emu_basic *basic = &b->code->blocks[block];
    int n = (basic->next[0] != FJ_EMU_NONE) + (basic->next[1] != FJ_EMU_NONE) + basic->to_exit;
    return n + (basic->table != NULL ? basic->table->n_targets : 0);
}

static uint32_t successor(const struct fj_emu_build *b, uint32_t block, int i)
{
    const struct fj_emu_code *c = b->code;
    const struct fj_emu_basic *basic = &c->blocks[block];
    for (int k = 0; k < 2; k++) {
        if (basic->next[k] != FJ_EMU_NONE && i-- == 0)
            return basic->next[k];
    }
    if (basic->to_exit && i-- == 0)
        return c->n_blocks;
    return c->block_of[b->entry->labels[basic->table->targets[i].index].insn];
}

static bool graph_alloc(struct graph *g)
{
    uint32_t edges = 0;
    for (uint32_t i = 0; i < g->n; i++)
        edges += (uint32_t)n_successors(g->b, i);
    g->head = calloc(g->n + 2, sizeof(uint32_t));
    g->from = calloc(edges + 1, sizeof(uint32_t));
    g->to = calloc(edges + 1, sizeof(uint32_t)); // link of the list
    g->order = calloc(g->n + 2, sizeof(uint32_t));
    g->rank = calloc(g->n + 2, sizeof(uint32_t));
    g->idom = calloc(g->n + 2, sizeof(uint32_t));
    if (!g->head || !g->from || !g->to || !g->order || !g->rank || !g->idom)
        return false;
    for (uint32_t i = 0; i < g->n; i++) {
        for (int k = n_successors(g->b, i) - 1; k >= 0; k--) {
            const uint32_t to = successor(g->b, i, k);
            g->from[++g->n_edges] = i;
            g->to[g->n_edges] = g->head[to];
            g->head[to] = g->n_edges;
        }
    }
    return true;
}

// Depth first from the exit along predecessors, with its own stack.
static bool graph_order(struct graph *g)
{
    uint32_t *stack = malloc((g->n + 2) * sizeof(uint32_t));
    uint32_t *next = malloc((g->n + 2) * sizeof(uint32_t));
    if (stack == NULL || next == NULL) {
        free(stack);
        free(next);
        return false;
    }
    uint32_t depth = 0, at = g->n + 1;
    for (uint32_t i = 0; i <= g->n; i++)
        g->rank[i] = FJ_EMU_NONE;
    memcpy(next, g->head, (g->n + 1) * sizeof(uint32_t));
    stack[depth++] = g->n;
    g->rank[g->n] = 0;
    while (depth > 0) {
        const uint32_t node = stack[depth - 1], edge = next[node];
        if (edge == 0) {
            g->order[--at] = node;
            depth--;
            continue;
        }
        next[node] = g->to[edge];
        const uint32_t pred = g->from[edge];
        if (g->rank[pred] == FJ_EMU_NONE) {
            g->rank[pred] = 0;
            stack[depth++] = pred;
        }
    }
    for (uint32_t i = at; i <= g->n; i++)
        g->rank[g->order[i]] = i - at;
    g->n_order = g->n + 1 - at;
    memmove(g->order, g->order + at, g->n_order * sizeof(uint32_t));
    free(stack);
    free(next);
    return true;
}

static uint32_t meet(const struct graph *g, uint32_t a, uint32_t b)
{
    while (a != b) {
        while (g->rank[a] > g->rank[b])
            a = g->idom[a];
        while (g->rank[b] > g->rank[a])
            b = g->idom[b];
    }
    return a;
}

// Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm, on the reversed graph.
static void graph_dominate(struct graph *g)
{
    for (uint32_t i = 0; i <= g->n; i++)
        g->idom[i] = FJ_EMU_NONE;
    g->idom[g->n] = g->n;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 1; i < g->n_order; i++) {
            const uint32_t node = g->order[i];
            uint32_t dom = FJ_EMU_NONE;
            for (int k = n_successors(g->b, node) - 1; k >= 0; k--) {
                const uint32_t s = successor(g->b, node, k);
                if (g->idom[s] == FJ_EMU_NONE || g->rank[s] == FJ_EMU_NONE)
                    continue;
                dom = dom == FJ_EMU_NONE ? s : meet(g, s, dom);
            }
            changed |= dom != g->idom[node];
            g->idom[node] = dom;
        }
    }
}

int fj_emu_flow_build(struct fj_emu_build *b)
{
    if (!number_blocks(b))
        return -1;
    connect(b);
    if (b->failed)
        return -1;
    struct graph g = {.b = b, .n = b->code->n_blocks};
    const bool ok = graph_alloc(&g) && graph_order(&g);
    if (ok)
        graph_dominate(&g);
    else
        fj_emu_build_fail(b, "out of memory");
    for (uint32_t i = 0; ok && i < g.n; i++) {
        struct fj_emu_basic *block = &b->code->blocks[i];
        block->ipdom = g.idom[i] < g.n ? g.idom[i] : FJ_EMU_NONE;
        if (block->ipdom != FJ_EMU_NONE && n_successors(b, i) > 1)
            b->code->blocks[block->ipdom].join = true;
    }
    free(g.head);
    free(g.from);
    free(g.to);
    free(g.order);
    free(g.rank);
    free(g.idom);
    return b->failed ? -1 : 0;
}
