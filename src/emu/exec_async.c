// Asynchronous copies: cp.async and the groups. The copy is made where it is issued, one of the
// orders the instruction allows; check_async.c watches for who looks too early.
#include <string.h>

#include "emu/access.h"
#include "emu/copy.h"
#include "emu/hooks.h"
#include "emu/mbar.h"
#include "emu/ops.h"

struct async {
    struct fj_emu_address dst, src;
    uint8_t size_k, mask_k; // operands
};

// cp.async: operands 0 to, 1 from, 2 bytes read. in->size: bytes written, zeros past those read.
static bool copy_lane(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                      uint64_t source[FJ_EMU_LANES], uint32_t target[FJ_EMU_LANES],
                      uint32_t *ret_read)
{
    const struct async *a = in->data;
    const uint32_t size = in->size;
    uint32_t have = fj_emu_r32(w, in->o[a->size_k])[lane], to;
    if (in->flags) // a predicate said to ignore the source
        have = fj_emu_pred(w, in->o[a->mask_k]) >> lane & 1 ? 0 : size;
    if (!fj_emu_to_shared(fj_emu_address_of(w, in, &a->dst, lane), &to) || have > size) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_OPERAND,
                    "cp.async of %u of %u bytes, or not to shared memory", have, size);
        return false;
    }
    uint8_t *dst = fj_emu_resolve_shared(w, in, lane, to, size, size);
    if (dst == NULL)
        return false;
    if (have > 0) {
        const uint64_t from = fj_emu_address_of(w, in, &a->src, lane);
        const uint8_t *src = fj_emu_resolve_global(w, in, lane, from, have, size);
        if (src == NULL)
            return false;
        source[lane] = from;
        target[lane] = to;
        *ret_read |= 1u << lane;
        memcpy(dst, src, have);
    }
    memset(dst + have, 0, size - have);
    return !w->cta->unit->hooks || fj_emu_hook_async(w, in, lane, to, size, FJ_EMU_CP_ASYNC, 0);
}

static const struct fj_emu_insn *cp_async(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint64_t source[FJ_EMU_LANES] = {0};
    uint32_t target[FJ_EMU_LANES] = {0}, read = 0;
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        if (!copy_lane(w, in, (int)l, source, target, &read))
            return NULL;
    }
    if (w->cta->unit->hooks && !fj_emu_hook_copy(w, in, read, in->size, source, target))
        return NULL;
    return in + 1;
}

static void decode_cp_async(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    struct async *a = fj_emu_build_alloc(b, sizeof(*a));
    const bool hint = fj_emu_has(src->op, ".L2::cache_hint");
    if (a == NULL || !fj_emu_operand_count(b, 3, 5))
        return;
    const uint64_t size = src->ops[2].value;
    if (src->ops[2].kind != FJ_PTX_OP_INT || (size != 4 && size != 8 && size != 16) ||
        (fj_emu_has(src->op, ".cg") && size != 16)) {
        fj_emu_build_fail(b, "cp.async copies 4, 8 or 16 bytes, .cg 16");
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, cp_async);
    in->data = a;
    fj_emu_bind_copy_address(b, in, 0, &src->ops[0], &a->dst);
    fj_emu_bind_copy_address(b, in, 1, &src->ops[1], &a->src);
    in->size = (uint16_t)size;
    a->size_k = 2;
    a->mask_k = 3;
    if (src->n_ops - hint <= 3) {
        fj_emu_bind_const(b, 2, size, 32);
    } else if (fj_emu_operand_bits(b, &src->ops[3]) == 1) {
        fj_emu_bind_const(b, 2, size, 32);
        fj_emu_bind_src(b, 3, &src->ops[3], 1, 1);
        in->flags = 1;
    } else {
        fj_emu_bind_src(b, 2, &src->ops[3], 32, 32);
    }
}

// Completion: of cp.async groups and of bulk groups; at once, but for the checks.
static const struct fj_emu_insn *group(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    if (w->cta->unit->hooks)
        fj_emu_hook_group(w, in->size, (uint32_t)in->imm);
    return in + 1;
}

static void decode_group(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    const bool is_bulk = fj_emu_has(src->op, ".bulk");
    const bool commit = fj_emu_has(src->op, ".commit_group");
    const bool all = fj_emu_has(src->op, ".wait_all");
    if (!fj_emu_operand_count(b, !commit && !all, !commit && !all))
        return;
    struct fj_emu_insn *in = fj_emu_emit(b, group);
    in->imm = !commit && !all ? (int64_t)src->ops[0].value : 0;
    in->size = commit                         ? (is_bulk ? FJ_EMU_BULK_COMMIT : FJ_EMU_CP_COMMIT)
               : !is_bulk                     ? (all ? FJ_EMU_CP_WAIT_ALL : FJ_EMU_CP_WAIT)
               : fj_emu_has(src->op, ".read") ? FJ_EMU_BULK_WAIT_READ
                                              : FJ_EMU_BULK_WAIT;
}

// Arrives once the thread's copies so far are complete. Without .noinc the arrival is one that
// the phase did not count: it adds to what is pending and takes it away again.
static const struct fj_emu_insn *mbar_arrive(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    if (w->cta->unit->hooks)
        fj_emu_hook_group(w, FJ_EMU_CP_WAIT_ALL, 0);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        uint32_t address;
        if (!fj_emu_to_shared(fj_emu_address(w, in, 0, (int)l), &address))
            return fj_emu_stop(w, in, (int)l, FJ_EMU_FAULT_ADDRESS,
                               "an mbarrier lives in shared memory");
        if (in->size != 0 && !fj_emu_mbar_arrive(w, in, (int)l, address, 1, 0, false))
            return NULL;
    }
    return in + 1;
}

static void decode_mbar_arrive(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (!fj_emu_operand_count(b, 1, 1))
        return;
    struct fj_emu_insn *in = fj_emu_emit(b, mbar_arrive);
    in->size = fj_emu_has(src->op, ".noinc");
    fj_emu_bind_address(b, 0, &src->ops[0]);
}

static const struct fj_emu_insn *nothing(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    (void)w;
    return in + 1;
}

static void decode_cp(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    const char *op = src->op;
    if (fj_emu_has(op, ".commit_group") || fj_emu_has(op, ".wait_group") ||
        fj_emu_has(op, ".wait_all"))
        decode_group(b, src);
    else if (fj_emu_has(op, ".prefetch"))
        fj_emu_emit(b, nothing);
    else if (fj_emu_has(op, ".mbarrier"))
        decode_mbar_arrive(b, src);
    else if (fj_emu_has(op, ".bulk"))
        fj_emu_decode_bulk(b, src);
    else if (strncmp(op, "cp.async.", 9) == 0)
        decode_cp_async(b, src);
    else
        fj_emu_build_unknown(b);
}

const struct fj_emu_family fj_emu_async_families[] = {
    {"cp", FJ_EMU_CLASS_ASYNC, decode_cp},
    {NULL, 0, NULL},
};
