// Bulk copies and tensor copies, made where they are issued.
#include <string.h>

#include "emu/access.h"
#include "emu/copy.h"
#include "emu/hooks.h"
#include "emu/mbar.h"
#include "emu/ops.h"
#include "emu/tma.h"

enum direction {
    TO_SHARED,
    TO_GLOBAL,
    BETWEEN_SHARED,
};

struct async {
    struct fj_emu_address dst, src, bar; // of tensor copies the global one is the map
    uint8_t direction, rank;             // rank 0: a copy in one dimension
    uint8_t reduce;                      // enum fj_emu_reduce
    bool multicast;
    uint8_t size_k, mask_k; // operands
    char type[8];           // of a reduction
};

// The CTAs a copy to shared memory reaches: those of the mask, or the one the address names.
static uint32_t targets(struct fj_emu_warp *w, const struct fj_emu_insn *in, const struct async *a,
                        int lane, uint32_t to)
{
    if (a->multicast) {
        const uint32_t mask = fj_emu_r32(w, in->o[a->mask_k])[lane] & 0xffff;
        if (mask != 0 && mask >> w->cta->unit->n_ctas == 0)
            return mask;
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_OPERAND, "CTA mask 0x%x in a cluster of %d", mask,
                    w->cta->unit->n_ctas);
        return 0;
    }
    const uint32_t rank = to >> FJ_EMU_SHARED_RANK_SHIFT;
    if (rank > (uint32_t)w->cta->unit->n_ctas) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS,
                    "shared address 0x%x names no CTA of a "
                    "cluster of %d",
                    to, w->cta->unit->n_ctas);
        return 0;
    }
    return 1u << (rank > 0 ? rank - 1 : w->cta->rank);
}

static bool load_to(struct fj_emu_warp *w, const struct fj_emu_insn *in, const struct async *a,
                    int lane, const void *src, const int32_t *coords, uint32_t bytes, uint32_t to,
                    uint32_t bar)
{
    char text[256];
    uint8_t *dst = fj_emu_resolve_shared(w, in, lane, to, bytes, a->rank > 0 ? 128 : 16);
    if (dst == NULL)
        return false;
    const uint32_t offset = to & FJ_EMU_SHARED_OFFSET_MASK;
    if (a->reduce != FJ_EMU_REDUCE_NONE) {
        fj_emu_bulk_reduce(dst, src, bytes, a->reduce, a->type);
    } else if (a->rank == 0) {
        memcpy(dst, src, bytes);
    } else if (fj_emu_tma_load(src, a->rank, coords, dst, offset, text, sizeof(text)) != 0) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS, "%s", text);
        return false;
    }
    if (w->cta->unit->hooks && !fj_emu_hook_async(w, in, lane, to, bytes, FJ_EMU_BULK_LOAD, bar))
        return false;
    return fj_emu_mbar_tx(w, in, lane, bar, -(int64_t)bytes);
}

static bool load_lane(struct fj_emu_warp *w, const struct fj_emu_insn *in, const struct async *a,
                      int lane, const void *src, const int32_t *coords, uint32_t bytes)
{
    uint32_t to, bar;
    if (!fj_emu_to_shared(fj_emu_address_of(w, in, &a->dst, lane), &to) ||
        !fj_emu_to_shared(fj_emu_address_of(w, in, &a->bar, lane), &bar)) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS,
                    "the target and the mbarrier of a bulk load lie in shared memory");
        return false;
    }
    uint32_t mask = targets(w, in, a, lane, to);
    if (mask == 0)
        return false;
    to &= FJ_EMU_SHARED_OFFSET_MASK;
    bar &= FJ_EMU_SHARED_OFFSET_MASK;
    for (; mask != 0; mask &= mask - 1) {
        const uint32_t rank = ((uint32_t)__builtin_ctz(mask) + 1) << FJ_EMU_SHARED_RANK_SHIFT;
        if (!load_to(w, in, a, lane, src, coords, bytes, to | rank, bar | rank))
            return false;
    }
    return true;
}

static bool store_lane(struct fj_emu_warp *w, const struct fj_emu_insn *in, const struct async *a,
                       int lane, void *dst, const int32_t *coords, uint32_t bytes)
{
    char text[256];
    uint32_t from;
    if (!fj_emu_to_shared(fj_emu_address_of(w, in, &a->src, lane), &from)) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS, "a bulk store reads shared memory");
        return false;
    }
    const uint8_t *src = fj_emu_resolve_shared(w, in, lane, from, bytes, a->rank > 0 ? 128 : 16);
    if (src == NULL)
        return false;
    if (w->cta->unit->hooks && !fj_emu_hook_async(w, in, lane, from, bytes, FJ_EMU_BULK_STORE, 0))
        return false;
    if (a->rank > 0) {
        if (fj_emu_tma_store(dst, a->rank, coords, src, from & FJ_EMU_SHARED_OFFSET_MASK, a->reduce,
                             text, sizeof(text)) == 0)
            return true;
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS, "%s", text);
        return false;
    }
    if (a->reduce == FJ_EMU_REDUCE_NONE)
        memcpy(dst, src, bytes);
    else
        fj_emu_bulk_reduce(dst, src, bytes, a->reduce, a->type);
    return true;
}

// The global side: memory for a copy in one dimension, else the tensor map and its tile.
static void *global_side(struct fj_emu_warp *w, const struct fj_emu_insn *in, const struct async *a,
                         int lane, uint32_t *bytes)
{
    const uint64_t at =
        fj_emu_address_of(w, in, a->direction == TO_SHARED ? &a->src : &a->dst, lane);
    if (a->rank > 0) {
        char text[256];
        void *map = fj_emu_resolve_in(w, in, lane, FJ_PTX_GENERIC, at, 128, 64);
        if (map == NULL || fj_emu_tma_check(map, a->rank, bytes, text, sizeof(text)) == 0)
            return map;
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_OPERAND, "%s", text);
        return NULL;
    }
    *bytes = fj_emu_r32(w, in->o[a->size_k])[lane];
    if (*bytes == 0 || *bytes % 16 != 0) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_OPERAND,
                    "a bulk copy of %u bytes: it takes multiples of 16", *bytes);
        return NULL;
    }
    void *memory = fj_emu_resolve_global(w, in, lane, at, *bytes, 16);
    if (memory == NULL || !w->cta->unit->hooks)
        return memory;
    return fj_emu_hook_bulk(w, in, lane, at, *bytes, a->direction == TO_GLOBAL) ? memory : NULL;
}

static const void *shared_source(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                                 const struct async *a, int lane, uint32_t *bytes)
{
    uint32_t from;
    *bytes = fj_emu_r32(w, in->o[a->size_k])[lane];
    if (*bytes == 0 || *bytes % 16 != 0 ||
        !fj_emu_to_shared(fj_emu_address_of(w, in, &a->src, lane), &from)) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_OPERAND,
                    "a bulk copy of %u bytes: it takes multiples of 16", *bytes);
        return NULL;
    }
    return fj_emu_resolve_shared(w, in, lane, from, *bytes, 16);
}

static const struct fj_emu_insn *bulk(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct async *a = in->data;
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        const int lane = (int)l;
        int32_t coords[5] = {0};
        uint32_t bytes = 0;
        for (int i = 0; i < a->rank; i++)
            coords[i] = (int32_t)fj_emu_r32(w, w->code->ext[in->ext + (uint32_t)i])[lane];
        bool good;
        if (a->direction == BETWEEN_SHARED) {
            const void *src = shared_source(w, in, a, lane, &bytes);
            good = src != NULL && load_lane(w, in, a, lane, src, coords, bytes);
        } else {
            void *global = global_side(w, in, a, lane, &bytes);
            good = global != NULL &&
                   (a->direction == TO_SHARED ? load_lane(w, in, a, lane, global, coords, bytes)
                                              : store_lane(w, in, a, lane, global, coords, bytes));
        }
        if (!good)
            return NULL;
    }
    return in + 1;
}

static bool take_reduction(const char *op, struct async *a)
{
    static const char *const names[] = {
        [FJ_EMU_REDUCE_ADD] = ".add", [FJ_EMU_REDUCE_MIN] = ".min", [FJ_EMU_REDUCE_MAX] = ".max",
        [FJ_EMU_REDUCE_INC] = ".inc", [FJ_EMU_REDUCE_DEC] = ".dec", [FJ_EMU_REDUCE_AND] = ".and",
        [FJ_EMU_REDUCE_OR] = ".or",   [FJ_EMU_REDUCE_XOR] = ".xor"};
    if (strncmp(op, "cp.reduce", 9) != 0)
        return true;
    for (uint8_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
        a->reduce = fj_emu_has(op, names[i]) ? i : a->reduce;
    const char *type = fj_emu_last_part(op);
    if (a->rank == 0 && strlen(type) < sizeof(a->type))
        strcpy(a->type, type);
    uint64_t zero[2] = {0};
    return a->reduce != 0 &&
           (a->rank > 0 || fj_emu_bulk_reduce(zero, zero, 16, a->reduce, a->type) == 0);
}

static int tensor_rank(const char *op)
{
    static const char *const names[] = {".1d", ".2d", ".3d", ".4d", ".5d"};
    for (int i = 0; i < 5; i++) {
        if (fj_emu_has(op, names[i]))
            return i + 1;
    }
    return 0;
}

static bool bind_coordinates(struct fj_emu_build *b, const struct fj_ptx_operand *map, int rank)
{
    if (map->kind != FJ_PTX_OP_MEMORY || map->n_sub != 2 || map->sub[1].kind != FJ_PTX_OP_VECTOR ||
        map->sub[1].n_sub != rank) {
        fj_emu_build_fail(b, "a tensor copy needs [map, {%d coordinates}]", rank);
        return false;
    }
    for (int i = 0; i < rank && !b->failed; i++)
        fj_emu_bind_ext(b, &map->sub[1].sub[i], 32, false, true);
    return !b->failed;
}

// Where a copy goes: the destination's space is named before the source's.
static enum direction direction_of(const char *op)
{
    const char *global = strstr(op, ".global"), *shared = strstr(op, ".shared");
    if (global == NULL)
        return BETWEEN_SHARED;
    return shared != NULL && shared < global ? TO_SHARED : TO_GLOBAL;
}

// [dst], [src], size, [mbar], mask, policy; tensor copies have no size, stores no mbar.
void fj_emu_decode_bulk(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    struct async *a = fj_emu_build_alloc(b, sizeof(*a));
    if (a == NULL)
        return;
    const bool tensor = fj_emu_has(src->op, ".tensor");
    a->rank = tensor ? (uint8_t)tensor_rank(src->op) : 0;
    a->direction = (uint8_t)direction_of(src->op);
    a->multicast = fj_emu_has(src->op, ".multicast::cluster");
    const bool load = a->direction != TO_GLOBAL;
    const int wanted = 2 + !tensor + load + a->multicast + fj_emu_has(src->op, ".L2::cache_hint");
    if (src->n_ops != wanted || (tensor && a->rank == 0) || !take_reduction(src->op, a) ||
        (tensor && a->direction == BETWEEN_SHARED) ||
        (a->reduce != FJ_EMU_REDUCE_NONE && a->direction == TO_SHARED) ||
        fj_emu_has(src->op, ".im2col")) {
        fj_emu_build_unknown(b);
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, bulk);
    in->data = a;
    int at = 2;
    fj_emu_bind_copy_address(b, in, 0, &src->ops[0], &a->dst);
    fj_emu_bind_copy_address(b, in, 1, &src->ops[1], &a->src);
    if (!tensor) {
        a->size_k = 2;
        fj_emu_bind_src(b, 2, &src->ops[at++], 32, 32);
    } else if (!bind_coordinates(b, &src->ops[load ? 1 : 0], a->rank)) {
        return;
    }
    if (load)
        fj_emu_bind_copy_address(b, in, 3, &src->ops[at++], &a->bar);
    if (a->multicast) {
        a->mask_k = 4;
        fj_emu_bind_src(b, 4, &src->ops[at], 32, 16);
    }
}
