// Branches, divergence, exits and traps.
//
// Lanes that part at a branch meet at its immediate post-dominator. A path that reaches its join
// block stops there; the entry under it on the stack holds all lanes and goes on from the join.
#include <string.h>

#include "emu/ops.h"

const struct fj_emu_insn *fj_emu_next_path(struct fj_emu_warp *w)
{
    while (w->n_path > 0) {
        const struct fj_emu_path *path = &w->path[--w->n_path];
        w->active = path->mask & ~w->exited;
        if (w->active != 0) {
            w->join = path->join;
            return &w->code->insns[w->code->blocks[path->block].first];
        }
    }
    w->active = 0;
    w->state = FJ_EMU_DONE;
    return NULL;
}

static bool push_path(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t block,
                      uint32_t mask, uint32_t join)
{
    if (w->n_path >= FJ_EMU_STACK) {
        fj_emu_stop(w, in, -1, FJ_EMU_FAULT_BUDGET, "branches diverge more than %d deep",
                    FJ_EMU_STACK);
        return false;
    }
    w->path[w->n_path++] = (struct fj_emu_path){.block = block, .mask = mask, .join = join};
    return true;
}

static const struct fj_emu_insn *block_head(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    struct fj_emu_unit *unit = w->cta->unit;
    if (w->join == in->target) {
        // Stepping past the end of a path: the one below has its own entry to resume at.
        const struct fj_emu_insn *next = fj_emu_next_path(w);
        if (next != in)
            return next;
    }
    if (--w->quantum < 0) {
        w->resume = in;
        w->state = FJ_EMU_READY;
        return NULL;
    }
    w->steps += (uint64_t)in->imm;
    if (unit->budget < (uint64_t)in->imm)
        return fj_emu_stop(w, in, -1, FJ_EMU_FAULT_BUDGET,
                           "the instruction budget is spent: an endless loop?");
    unit->budget -= (uint64_t)in->imm;
    return in + 1;
}

void fj_emu_emit_block(struct fj_emu_build *b, uint32_t block)
{
    b->code->blocks[block].first = b->code->n_insns;
    const struct fj_ptx_insn *source = b->source;
    b->source = NULL;
    struct fj_emu_insn *in = fj_emu_emit(b, block_head);
    b->source = source;
    in->target = block;
    struct fj_emu_info *info = &b->code->info[b->code->n_insns - 1];
    info->is_block = true;
    info->source = source;
}

static const struct fj_emu_insn *at_block(const struct fj_emu_warp *w, uint32_t block)
{
    return &w->code->insns[w->code->blocks[block].first];
}

static const struct fj_emu_insn *jump(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    return at_block(w, in->target);
}

// in->target: where the executing lanes go; the others fall through to the next block.
static const struct fj_emu_insn *branch(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t taken = w->exec, rest = w->active & ~taken, join = in->join;
    if (rest == 0)
        return at_block(w, in->target);
    const uint32_t fall = in[1].target; // the head of the next block
    if (w->join != join && join != FJ_EMU_NONE) {
        if (!push_path(w, in, join, w->active, w->join))
            return NULL;
    }
    if (in->target == join) {
        w->active = rest;
        w->join = join;
        return in + 1;
    }
    if (fall == join) {
        w->active = taken;
        w->join = join;
        return at_block(w, in->target);
    }
    if (!push_path(w, in, in->target, taken, join))
        return NULL;
    w->active = rest;
    w->join = join;
    return in + 1;
}

static void decode_bra(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (!fj_emu_operand_count(b, 1, 1))
        return;
    const struct fj_emu_code *c = b->code;
    struct fj_emu_insn *in = fj_emu_emit(b, src->guard >= 0 ? branch : jump);
    in->target = c->block_of[b->entry->labels[src->ops[0].index].insn];
    in->join = c->blocks[c->block_of[src - b->entry->insns]].ipdom;
}

// in->data: blocks by index, in->size of them.
static const struct fj_emu_insn *branch_indexed(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t *index = fj_emu_r32(w, in->o[0]), *blocks = in->data;
    const uint32_t join = in->join;
    uint32_t left = w->active, pushed = 0;
    if (w->join != join && join != FJ_EMU_NONE && !push_path(w, in, join, left, w->join))
        return NULL;
    while (left != 0) {
        const int first = __builtin_ctz(left);
        uint32_t mask = 0;
        if (index[first] >= in->size)
            return fj_emu_stop(w, in, first, FJ_EMU_FAULT_OPERAND,
                               "branch index %u of a table of %u", index[first], in->size);
        for (int l = first; l < FJ_EMU_LANES; l++)
            mask |= (left >> l & 1 && index[l] == index[first]) ? 1u << l : 0;
        left &= ~mask;
        if (left == 0 && pushed == 0 && w->join == join) {
            return at_block(w, blocks[index[first]]);
        }
        if (blocks[index[first]] != join && !push_path(w, in, blocks[index[first]], mask, join))
            return NULL;
        pushed++;
    }
    return fj_emu_next_path(w);
}

static void decode_brx(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (!fj_emu_operand_count(b, 2, 2))
        return;
    const struct fj_emu_code *c = b->code;
    const struct fj_ptx_label *label = &b->entry->labels[src->ops[1].index];
    uint32_t *blocks = fj_emu_build_alloc(b, (size_t)label->n_targets * sizeof(*blocks));
    if (blocks == NULL)
        return;
    for (int i = 0; i < label->n_targets; i++)
        blocks[i] = c->block_of[b->entry->labels[label->targets[i].index].insn];
    if (src->guard >= 0 || label->n_targets > UINT16_MAX) {
        fj_emu_build_fail(b, "a guarded or very large brx.idx");
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, branch_indexed);
    in->data = blocks;
    in->size = (uint16_t)label->n_targets;
    in->join = c->blocks[c->block_of[src - b->entry->insns]].ipdom;
    fj_emu_bind_src(b, 0, &src->ops[0], 32, 32);
}

static const struct fj_emu_insn *leave(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    w->exited |= w->exec;
    w->active &= ~w->exec;
    return w->active != 0 ? in + 1 : fj_emu_next_path(w);
}

void fj_emu_emit_exit(struct fj_emu_build *b)
{
    fj_emu_emit(b, leave);
}

static void decode_exit(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    (void)src;
    fj_emu_emit(b, leave);
}

static const struct fj_emu_insn *trap(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    return fj_emu_stop(w, in, __builtin_ctz(w->exec), FJ_EMU_FAULT_TRAP, "%s",
                       (const char *)in->data);
}

static void decode_trap(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    struct fj_emu_insn *in = fj_emu_emit(b, trap);
    in->data = src->op[0] == 't' ? "trap" : "brkpt";
}

// Of functions only the one behind assert() is known.
static void decode_call(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    for (int i = 0; i < src->n_ops; i++) {
        if (src->ops[i].text != NULL && strcmp(src->ops[i].text, "__assertfail") == 0) {
            fj_emu_emit(b, trap)->data = "an assertion failed";
            return;
        }
    }
    fj_emu_build_fail(b, "the emulated device runs no calls; let the function be inlined");
}

static const struct fj_emu_insn *nothing(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    (void)w;
    return in + 1;
}

static void decode_nothing(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    (void)src;
    fj_emu_emit(b, nothing);
}

// A watch comment: its registers stay alive up to here and can be looked at by a trace.
static void decode_watch(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    struct fj_emu_insn *in = fj_emu_emit(b, nothing);
    in->data = src->text;
    for (int i = 0; i < src->n_ops && !b->failed; i++)
        fj_emu_bind_ext(b, &src->ops[i], fj_emu_operand_bits(b, &src->ops[i]), false, true);
}

const struct fj_emu_family fj_emu_control_families[] = {
    {"bra", FJ_EMU_CLASS_CONTROL, decode_bra},
    {"brx", FJ_EMU_CLASS_CONTROL, decode_brx},
    {"ret", FJ_EMU_CLASS_CONTROL, decode_exit},
    {"exit", FJ_EMU_CLASS_CONTROL, decode_exit},
    {"trap", FJ_EMU_CLASS_CONTROL, decode_trap},
    {"brkpt", FJ_EMU_CLASS_CONTROL, decode_trap},
    {"call", FJ_EMU_CLASS_CONTROL, decode_call},
    {"nanosleep", FJ_EMU_CLASS_CONTROL, decode_nothing},
    {"pmevent", FJ_EMU_CLASS_CONTROL, decode_nothing},
    {"griddepcontrol", FJ_EMU_CLASS_CONTROL, decode_nothing},
    {"fj_watch", FJ_EMU_CLASS_CONTROL, decode_watch},
    {NULL, 0, NULL},
};
