// Addresses of an entry's variables in shared and local memory.
#include "emu/internal.h"
#include "emu/ptx_lex.h"

static uint64_t align_up(uint64_t value, uint32_t align)
{
    return (value + align - 1) / align * align;
}

static bool place(struct fj_ptx_parser *p, struct fj_ptx_var *var, uint64_t *at, uint32_t base)
{
    *at = align_up(base + *at, var->align) - base;
    var->offset = base + (uint32_t)*at;
    *at += var->bytes;
    if (*at > 1u << 23)
        fj_ptx_fail(p, "'%s' has more than 8 MiB of shared or local memory", p->entry->name);
    return !p->failed;
}

static void mark_used(const struct fj_ptx_operand *op, uint32_t *used)
{
    if (op->kind == FJ_PTX_OP_MODULE_VAR)
        used[op->index] = 0;
    for (int i = 0; i < op->n_sub; i++)
        mark_used(&op->sub[i], used);
}

static bool place_module(struct fj_ptx_parser *p, struct fj_ptx_entry *e, uint64_t *shared)
{
    const struct fj_ptx_module *m = p->module;
    e->smem_dynamic_align = 16;
    for (int i = 0; i < m->n_vars; i++) {
        struct fj_ptx_var var = m->vars[i];
        if (var.space != FJ_PTX_SHARED || e->module_shared[i] == UINT32_MAX)
            continue;
        if (var.bytes == 0 && var.align > e->smem_dynamic_align)
            e->smem_dynamic_align = var.align;
        if (var.bytes > 0 && !place(p, &var, shared, FJ_EMU_SHARED_BASE))
            return false;
        e->module_shared[i] = var.offset;
    }
    return true;
}

// The entry's variables, the module's that it names, then the dynamic part, at which every extern
// array begins.
void fj_ptx_layout(struct fj_ptx_parser *p, struct fj_ptx_entry *e)
{
    const struct fj_ptx_module *m = p->module;
    uint64_t shared = 0, local = 0;
    for (int i = 0; i < e->n_vars; i++) {
        const bool is_shared = e->vars[i].space == FJ_PTX_SHARED;
        if (!place(p, &e->vars[i], is_shared ? &shared : &local,
                   is_shared ? FJ_EMU_SHARED_BASE : 0))
            return;
    }
    e->module_shared = fj_ptx_alloc(p, ((size_t)m->n_vars + 1) * sizeof(uint32_t));
    if (e->module_shared == NULL)
        return;
    for (int i = 0; i < m->n_vars; i++)
        e->module_shared[i] = UINT32_MAX;
    for (int i = 0; i < e->n_insns; i++) {
        for (int k = 0; k < e->insns[i].n_ops; k++)
            mark_used(&e->insns[i].ops[k], e->module_shared);
    }
    if (!place_module(p, e, &shared))
        return;
    e->smem_static_bytes = (uint32_t)shared;
    const uint64_t dynamic = align_up(FJ_EMU_SHARED_BASE + shared, e->smem_dynamic_align);
    for (int i = 0; i < m->n_vars; i++) {
        if (m->vars[i].space == FJ_PTX_SHARED && m->vars[i].bytes == 0)
            e->module_shared[i] = (uint32_t)dynamic;
    }
    e->local_bytes = (uint32_t)local;
}
