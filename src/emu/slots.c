// Register slots. PTX names thousands of registers; giving each its own slot would push a warp's
// register file out of the cache, so that registers whose lives do not overlap share one.
//
// Lives are per thread. A write touches executing lanes only, hence a slot that one path reuses
// keeps the values of the lanes on another path.
#include <stdlib.h>
#include <string.h>

#include "emu/code.h"

struct life {
    uint32_t reg, first, last;
};

struct slots {
    struct fj_emu_build *b;
    uint32_t n_regs, words; // 64-bit words of one set
    uint64_t *use, *def, *in, *out;
    struct life *lives;
};

static bool set_has(const uint64_t *set, uint32_t i)
{
    return set[i / 64] >> (i % 64) & 1;
}

static void set_add(uint64_t *set, uint32_t i)
{
    set[i / 64] |= 1ull << (i % 64);
}

static void collect_block(struct slots *s, uint32_t block)
{
    const struct fj_emu_code *c = s->b->code;
    uint64_t *use = s->use + (size_t)block * s->words, *def = s->def + (size_t)block * s->words;
    for (uint32_t i = c->blocks[block].first; i < c->blocks[block].end; i++) {
        const struct fj_emu_info *info = &c->info[i];
        // A kernel without a single register has no table of references.
        const struct fj_emu_ref *refs = info->n_refs ? c->refs + info->first_ref : NULL;
        for (uint32_t k = 0; k < info->n_refs; k++) {
            const bool partial = refs[k].def && c->insns[i].guard >= 0;
            if ((!refs[k].def || partial) && !set_has(def, refs[k].reg))
                set_add(use, refs[k].reg);
        }
        for (uint32_t k = 0; k < info->n_refs; k++) {
            if (refs[k].def && c->insns[i].guard < 0)
                set_add(def, refs[k].reg);
        }
    }
}

static bool flow_back(struct slots *s, uint32_t block)
{
    const struct fj_emu_code *c = s->b->code;
    const struct fj_emu_basic *basic = &c->blocks[block];
    uint64_t *out = s->out + (size_t)block * s->words, *in = s->in + (size_t)block * s->words;
    const uint64_t *use = s->use + (size_t)block * s->words;
    const uint64_t *def = s->def + (size_t)block * s->words;
    const int n_targets = basic->table != NULL ? basic->table->n_targets : 0;
    bool changed = false;
    for (int k = 0; k < 2 + n_targets; k++) {
        uint32_t next = k < 2 ? basic->next[k] : FJ_EMU_NONE;
        if (k >= 2)
            next = c->block_of[s->b->entry->labels[basic->table->targets[k - 2].index].insn];
        if (next >= c->n_blocks)
            continue;
        const uint64_t *follow = s->in + (size_t)next * s->words;
        for (uint32_t w = 0; w < s->words; w++)
            out[w] |= follow[w];
    }
    for (uint32_t w = 0; w < s->words; w++) {
        const uint64_t now = use[w] | (out[w] & ~def[w]);
        changed |= now != in[w];
        in[w] = now;
    }
    return changed;
}

static void stretch(struct life *life, uint32_t first, uint32_t last)
{
    life->first = first < life->first ? first : life->first;
    life->last = last > life->last ? last : life->last;
}

static void measure(struct slots *s)
{
    const struct fj_emu_code *c = s->b->code;
    for (uint32_t i = 0; i < s->n_regs; i++)
        s->lives[i] = (struct life){.reg = i, .first = FJ_EMU_NONE, .last = 0};
    for (uint32_t block = 0; block < c->n_blocks; block++) {
        const struct fj_emu_basic *basic = &c->blocks[block];
        const uint64_t *in = s->in + (size_t)block * s->words;
        const uint64_t *out = s->out + (size_t)block * s->words;
        for (uint32_t w = 0; w < s->words; w++) {
            for (uint64_t left = in[w]; left != 0; left &= left - 1)
                stretch(&s->lives[w * 64 + (uint32_t)__builtin_ctzll(left)], basic->first,
                        basic->first);
            for (uint64_t left = out[w]; left != 0; left &= left - 1)
                stretch(&s->lives[w * 64 + (uint32_t)__builtin_ctzll(left)], basic->end,
                        basic->end);
        }
        for (uint32_t i = basic->first; i < basic->end; i++) {
            for (uint32_t k = 0; k < c->info[i].n_refs; k++)
                stretch(&s->lives[c->refs[c->info[i].first_ref + k].reg], i, i);
        }
    }
}

static int by_start(const void *a, const void *b)
{
    const struct life *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->reg < y->reg ? -1 : x->reg > y->reg;
}

// One class of slots: a heap of busy ones by their end would do; the lists are short.
struct pool {
    uint32_t *busy_until, n, cap;
};

static uint32_t pool_take(struct pool *pool, const struct life *life)
{
    for (uint32_t i = 0; i < pool->n; i++) {
        if (pool->busy_until[i] < life->first) {
            pool->busy_until[i] = life->last;
            return i;
        }
    }
    if (pool->n < pool->cap)
        pool->busy_until[pool->n] = life->last;
    return pool->n++;
}

// Below the first 256 bytes lies the sink. 32-bit slots first, then 64-bit ones, then 128.
static bool lay_out(struct slots *s)
{
    struct fj_emu_code *c = s->b->code;
    struct pool pools[3] = {{0}};
    uint32_t *slot = calloc(s->n_regs + 1, sizeof(*slot));
    bool ok = slot != NULL;
    for (int i = 0; i < 3; i++) {
        pools[i].cap = s->n_regs + 1;
        pools[i].busy_until = malloc(pools[i].cap * sizeof(uint32_t));
        ok &= pools[i].busy_until != NULL;
    }
    for (uint32_t i = 0; ok && i < s->n_regs; i++) {
        const struct life *life = &s->lives[i];
        const int bits = s->b->entry->regs[life->reg].bits;
        if (life->first != FJ_EMU_NONE && bits > 1)
            slot[life->reg] = pool_take(&pools[bits > 64 ? 2 : bits > 32], life);
    }
    const uint32_t base[3] = {256, 256 + pools[0].n * 128,
                              256 + pools[0].n * 128 + pools[1].n * 256};
    for (uint32_t i = 0; ok && i < s->n_regs; i++) {
        const int bits = s->b->entry->regs[i].bits;
        if (bits > 1)
            c->slot_of[i] = base[bits > 64 ? 2 : bits > 32] + slot[i] * (bits > 64   ? 512
                                                                         : bits > 32 ? 256
                                                                                     : 128);
    }
    c->reg_bytes = base[2] + pools[2].n * 512;
    // What the decoder learns is noted in the tree, which is the module's own.
    const uint32_t words = pools[0].n + 2 * pools[1].n + 4 * pools[2].n;
    ((struct fj_ptx_entry *)s->b->entry)->registers = words < 16 ? 16 : words > 255 ? 255 : words;
    for (int i = 0; i < 3; i++)
        free(pools[i].busy_until);
    free(slot);
    return ok;
}

static void patch(struct fj_emu_code *c, const struct fj_ptx_entry *entry)
{
    for (uint32_t i = 0; i < c->n_insns; i++) {
        const struct fj_emu_info *info = &c->info[i];
        for (uint32_t k = 0; k < info->n_refs; k++) {
            const struct fj_emu_ref *ref = &c->refs[info->first_ref + k];
            if (entry->regs[ref->reg].bits == 1)
                continue;
            if (ref->at < FJ_EMU_OPERANDS)
                c->insns[i].o[ref->at] = c->slot_of[ref->reg];
            else
                c->ext[c->insns[i].ext + ref->at - FJ_EMU_OPERANDS] = c->slot_of[ref->reg];
        }
    }
}

int fj_emu_slots_assign(struct fj_emu_build *b)
{
    struct fj_emu_code *c = b->code;
    struct slots s = {.b = b, .n_regs = (uint32_t)b->entry->n_regs};
    s.words = (s.n_regs + 63) / 64;
    const size_t bits = (size_t)s.words * c->n_blocks;
    b->source = NULL;
    if (bits > 1u << 26) {
        fj_emu_build_fail(b, "%u registers in %u blocks are too many", s.n_regs, c->n_blocks);
        return -1;
    }
    uint64_t *sets = calloc(bits * 4 + 1, sizeof(uint64_t));
    s.lives = calloc(s.n_regs + 1, sizeof(*s.lives));
    bool ok = sets != NULL && s.lives != NULL;
    if (ok) {
        s.use = sets;
        s.def = sets + bits;
        s.in = sets + 2 * bits;
        s.out = sets + 3 * bits;
        for (uint32_t i = 0; i < c->n_blocks; i++)
            collect_block(&s, i);
        for (bool changed = true; changed;) {
            changed = false;
            for (uint32_t i = c->n_blocks; i-- > 0;)
                changed |= flow_back(&s, i);
        }
        measure(&s);
        qsort(s.lives, s.n_regs, sizeof(*s.lives), by_start);
        ok = lay_out(&s);
    }
    if (ok)
        patch(c, b->entry);
    else
        fj_emu_build_fail(b, "out of memory");
    free(sets);
    free(s.lives);
    return b->failed ? -1 : 0;
}
