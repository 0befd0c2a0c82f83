// mbarrier objects. The 64 bits in shared memory are ours to lay out: PTX calls them opaque.
#include <stdio.h>
#include <string.h>

#include "emu/access.h"
#include "emu/check.h"
#include "emu/mbar.h"
#include "emu/ops.h"

// bits 0..19 arrivals of a phase, 20..39 still pending, 40..60 bytes outstanding (signed), 61 zero,
// 62 one, 63 the phase's parity.
#define COUNT_MAX 0xfffffull
#define MARK (1ull << 62)
#define MARK_MASK (3ull << 61)

struct mbar {
    uint32_t expected, pending;
    int32_t bytes;
    uint32_t phase;
};

static bool mbar_read(const uint8_t *at, struct mbar *bar)
{
    uint64_t bits;
    memcpy(&bits, at, sizeof(bits));
    bar->expected = (uint32_t)(bits & COUNT_MAX);
    bar->pending = (uint32_t)(bits >> 20 & COUNT_MAX);
    bar->bytes = (int32_t)((int64_t)(bits << 3) >> 43);
    bar->phase = (uint32_t)(bits >> 63);
    return (bits & MARK_MASK) == MARK;
}

static void mbar_write(uint8_t *at, const struct mbar *bar)
{
    const uint64_t bytes = (uint64_t)(uint32_t)bar->bytes & 0x1fffff;
    const uint64_t bits = bar->expected | (uint64_t)bar->pending << 20 | bytes << 40 | MARK |
                          (uint64_t)bar->phase << 63;
    memcpy(at, &bits, sizeof(bits));
}

bool fj_emu_mbar_passed(const uint8_t *at, uint32_t parity)
{
    struct mbar bar;
    return !mbar_read(at, &bar) || bar.phase != (parity & 1);
}

void fj_emu_mbar_describe(const uint8_t *at, char *text, size_t cap)
{
    struct mbar bar;
    if (mbar_read(at, &bar))
        snprintf(text, cap, "phase %u, %u of %u arrivals and %d bytes outstanding", bar.phase,
                 bar.pending, bar.expected, bar.bytes);
    else
        snprintf(text, cap, "no mbarrier");
}

static uint8_t *find(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                     uint32_t address, struct mbar *bar)
{
    uint8_t *at = fj_emu_resolve_shared(w, in, lane, address, 8, 8);
    if (at == NULL || mbar_read(at, bar))
        return at;
    fj_emu_stop(w, in, lane, FJ_EMU_FAULT_BARRIER, "no mbarrier was initialised at 0x%x", address);
    return NULL;
}

static bool settle(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t address,
                   uint8_t *at, struct mbar *bar)
{
    if (bar->pending == 0 && bar->bytes < 0) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_BARRIER,
                    "mbarrier 0x%x: %d bytes more than expect_tx announced", address, -bar->bytes);
        return false;
    }
    if (bar->pending == 0 && bar->bytes == 0) {
        bar->phase ^= 1;
        bar->pending = bar->expected;
        if (w->cta->unit->check != NULL)
            fj_emu_check_complete(w, FJ_EMU_PLACE_MBAR, address);
    }
    mbar_write(at, bar);
    return true;
}

bool fj_emu_mbar_arrive(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, uint32_t count, uint32_t bytes, bool drop)
{
    struct mbar bar;
    uint8_t *at = find(w, in, lane, address, &bar);
    if (at == NULL)
        return false;
    if (count == 0 || count > bar.pending) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_BARRIER,
                    "mbarrier 0x%x: %u arrivals where %u of %u are pending (%d bytes "
                    "outstanding)",
                    address, count, bar.pending, bar.expected, bar.bytes);
        return false;
    }
    if (w->cta->unit->check != NULL)
        fj_emu_check_release(w, FJ_EMU_PLACE_MBAR, address);
    bar.bytes += (int32_t)bytes;
    bar.pending -= count;
    bar.expected -= drop ? count : 0;
    return settle(w, in, lane, address, at, &bar);
}

// bytes > 0: expect_tx; < 0: complete_tx.
bool fj_emu_mbar_tx(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t address,
                    int64_t bytes)
{
    struct mbar bar;
    uint8_t *at = find(w, in, lane, address, &bar);
    if (at == NULL)
        return false;
    const int64_t total = bar.bytes + bytes;
    if (total > (1 << 20) - 1 || total < -(1 << 20) + 1) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_BARRIER,
                    "mbarrier 0x%x: %lld bytes outstanding pass 2^20 - 1", address,
                    (long long)total);
        return false;
    }
    bar.bytes = (int32_t)total;
    return settle(w, in, lane, address, at, &bar);
}

enum {
    INIT,
    INVAL,
    ARRIVE,
    ARRIVE_EXPECT,
    EXPECT,
    COMPLETE,
    TEST,
    TRY,
    PENDING,
};

#define DROP 0x10
#define PARITY 0x20
#define NO_STATE 0x40

static bool shared_address(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                           uint32_t *address)
{
    if (fj_emu_to_shared(fj_emu_address(w, in, 0, lane), address))
        return true;
    fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS, "an mbarrier lives in shared memory");
    return false;
}

static bool mbar_init(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                      uint32_t address)
{
    uint8_t *at = fj_emu_resolve_shared(w, in, lane, address, 8, 8);
    const uint32_t count = fj_emu_r32(w, in->o[1])[lane];
    if (at == NULL)
        return false;
    if (count == 0 || count > COUNT_MAX) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_BARRIER, "an mbarrier of %u arrivals", count);
        return false;
    }
    mbar_write(at, &(struct mbar){.expected = count, .pending = count});
    return true;
}

static bool mbar_inval(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       uint32_t address)
{
    struct mbar bar;
    uint8_t *at = find(w, in, lane, address, &bar);
    if (at != NULL)
        memset(at, 0xff, 8);
    return at != NULL;
}

static bool one(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t address)
{
    const uint32_t value = fj_emu_r32(w, in->o[1])[lane];
    const bool drop = in->flags & DROP;
    switch (in->size) {
    case INIT:
        return mbar_init(w, in, lane, address);
    case INVAL:
        return mbar_inval(w, in, lane, address);
    case ARRIVE:
        return fj_emu_mbar_arrive(w, in, lane, address, value, 0, drop);
    case ARRIVE_EXPECT:
        return fj_emu_mbar_arrive(w, in, lane, address, 1, value, drop);
    case EXPECT:
        return fj_emu_mbar_tx(w, in, lane, address, value);
    default:
        return fj_emu_mbar_tx(w, in, lane, address, -(int64_t)value);
    }
}

static const struct fj_emu_insn *update(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        uint32_t address;
        uint64_t before = 0;
        if (!shared_address(w, in, (int)l, &address))
            return NULL;
        if (!(in->flags & NO_STATE)) {
            const uint8_t *at = fj_emu_resolve_shared(w, in, (int)l, address, 8, 8);
            if (at == NULL)
                return NULL;
            memcpy(&before, at, sizeof(before));
        }
        if (!one(w, in, (int)l, address))
            return NULL;
        if (!(in->flags & NO_STATE))
            fj_emu_r64(w, in->o[2])[l] = before;
    }
    return in + 1;
}

// try_wait may wait as long as it likes: here until the phase completes, which makes an endless
// wait a deadlock that can be reported. test_wait never waits; it gives the turn to other warps.
static const struct fj_emu_insn *wait(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint32_t passed = 0, acquired = 0; // the mbarrier the lane before has waited for
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        struct mbar bar;
        uint32_t address;
        if (!shared_address(w, in, (int)l, &address))
            return NULL;
        const uint8_t *at = find(w, in, (int)l, address, &bar);
        if (at == NULL)
            return NULL;
        const uint32_t phase = in->flags & PARITY ? fj_emu_r32(w, in->o[1])[l] & 1
                                                  : (uint32_t)(fj_emu_r64(w, in->o[1])[l] >> 63);
        if (bar.phase != phase) {
            passed |= 1u << l;
            if (w->cta->unit->check != NULL && address != acquired)
                fj_emu_check_acquire(w, FJ_EMU_PLACE_MBAR, address);
            acquired = address;
        } else if (in->size == TRY) {
            w->spin_retries++;
            w->barrier_waits++;
            w->state = FJ_EMU_WAIT_MBAR;
            w->wait_mbar = at;
            w->wait_addr = address;
            w->wait_parity = phase;
            w->resume = in;
            return NULL;
        }
    }
    if (passed != w->exec) {
        w->spin_retries++;
        w->quantum = 0;
    }
    fj_emu_set_pred(w, in->o[2], passed);
    return in + 1;
}

static const struct fj_emu_insn *pending_count(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    FJ_EMU_EACH_LANE(l, w->exec)
    fj_emu_r32(w, in->o[0])[l] = (uint32_t)(fj_emu_r64(w, in->o[1])[l] >> 20 & COUNT_MAX);
    return in + 1;
}

static void decode_wait(struct fj_emu_build *b, const struct fj_ptx_insn *src, bool is_try)
{
    if (!fj_emu_operand_count(b, 3, 4)) // the fourth: a time limit
        return;
    const bool parity = fj_emu_has(src->op, ".parity");
    struct fj_emu_insn *in = fj_emu_emit(b, wait);
    in->size = is_try ? TRY : TEST;
    in->flags = parity ? PARITY : 0;
    fj_emu_bind_address(b, 0, &src->ops[1]);
    fj_emu_bind_src(b, 1, &src->ops[2], parity ? 32 : 64, parity ? 32 : 64);
    fj_emu_bind_dst(b, 2, &src->ops[0], 1);
}

static void decode_update(struct fj_emu_build *b, const struct fj_ptx_insn *src, int kind)
{
    const bool arrives = kind == ARRIVE || kind == ARRIVE_EXPECT;
    // Arrivals write a state, or _, or nothing for a remote barrier.
    const bool has_state = arrives && src->n_ops > 0 && src->ops[0].kind != FJ_PTX_OP_MEMORY;
    const struct fj_ptx_operand *ops = src->ops + has_state;
    const int n = src->n_ops - has_state;
    const bool needs_value = kind != ARRIVE && kind != INVAL;
    if (n < 1 + needs_value || n > 2) {
        fj_emu_build_unknown(b);
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, update);
    in->size = (uint16_t)kind;
    in->flags = fj_emu_has(src->op, ".arrive_drop") ? DROP : 0;
    fj_emu_bind_address(b, 0, &ops[0]);
    if (n > 1)
        fj_emu_bind_src(b, 1, &ops[1], 32, 32);
    else
        fj_emu_bind_const(b, 1, 1, 32);
    if (has_state && src->ops[0].kind == FJ_PTX_OP_REG)
        fj_emu_bind_dst(b, 2, &src->ops[0], 64);
    else
        in->flags |= NO_STATE;
}

static void decode_mbarrier(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    const char *op = src->op;
    const bool expect = fj_emu_has(op, ".expect_tx");
    if (fj_emu_has(op, ".try_wait") || fj_emu_has(op, ".test_wait")) {
        decode_wait(b, src, fj_emu_has(op, ".try_wait"));
    } else if (fj_emu_has(op, ".arrive") || fj_emu_has(op, ".arrive_drop")) {
        decode_update(b, src, expect ? ARRIVE_EXPECT : ARRIVE);
    } else if (fj_emu_has(op, ".init")) {
        decode_update(b, src, INIT);
    } else if (fj_emu_has(op, ".inval")) {
        decode_update(b, src, INVAL);
    } else if (expect) {
        decode_update(b, src, EXPECT);
    } else if (fj_emu_has(op, ".complete_tx")) {
        decode_update(b, src, COMPLETE);
    } else if (fj_emu_has(op, ".pending_count") && src->n_ops == 2) {
        fj_emu_emit(b, pending_count);
        fj_emu_bind_dst(b, 0, &src->ops[0], 32);
        fj_emu_bind_src(b, 1, &src->ops[1], 64, 64);
    } else {
        fj_emu_build_unknown(b);
    }
}

const struct fj_emu_family fj_emu_mbar_families[] = {
    {"mbarrier", FJ_EMU_CLASS_SYNC, decode_mbarrier},
    {NULL, 0, NULL},
};
