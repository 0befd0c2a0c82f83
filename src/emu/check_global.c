// Global memory: reads of what nothing wrote, and CTAs of one launch that meet in it.
//
// A byte of `written` says: 0 nothing, 1 written before this launch or by other than a plain store,
// else the mark of the CTA (or cluster) of this launch that stored it. Marks repeat every 254
// clusters: two that share one are not told apart, which costs a report and makes none up. A kernel
// with fences or releases of wider than cluster scope may order its CTAs: it gets no marks.
#include <string.h>

#include "base/thread.h"
#include "emu/check_state.h"
#include "emu/memory.h"
#include "emu/ops.h"

static bool report_unwritten(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                             const struct fj_emu_block *block, uint64_t address)
{
    fj_emu_stop(w, in, lane, FJ_EMU_FAULT_UNWRITTEN,
                "global address 0x%llx (byte %llu of allocation #%u) is read and nothing has "
                "written it",
                (unsigned long long)address, (unsigned long long)(address - block->base),
                block->serial);
    return false;
}

static bool report_meeting(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                           const struct fj_emu_block *block, uint64_t address, const char *what)
{
    fj_emu_stop(w, in, lane, FJ_EMU_FAULT_RACE,
                "global address 0x%llx (byte %llu of allocation #%u) is %s another CTA of this "
                "launch wrote it: nothing orders the two",
                (unsigned long long)address, (unsigned long long)(address - block->base),
                block->serial, what);
    return false;
}

static bool all_written(const uint8_t *written, uint64_t bytes)
{
    uint64_t differ = 0, i = 0;
    for (; i + 8 <= bytes; i += 8) {
        uint64_t eight;
        memcpy(&eight, written + i, sizeof(eight));
        differ |= eight ^ 0x0101010101010101ull;
    }
    for (; i < bytes; i++)
        differ |= written[i] ^ 1u;
    return differ == 0;
}

static bool read_range(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       const struct fj_emu_block *block, uint64_t address, uint64_t bytes,
                       uint8_t tag)
{
    const uint8_t *written = block->written + (address - block->base);
    for (uint64_t i = 0; !all_written(written, bytes) && i < bytes; i++) {
        if (written[i] == 0)
            return report_unwritten(w, in, lane, block, address + i);
        if (written[i] > 1 && tag > 1 && written[i] != tag)
            return report_meeting(w, in, lane, block, address + i, "read and");
    }
    return true;
}

// The mark of an access: that of plain loads and stores, else 1.
static uint8_t tag_of(const struct fj_emu_warp *w, const struct fj_emu_insn *in, bool atomic)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const bool strong = check->plan->insns[in - w->code->insns] & FJ_EMU_PLAN_STRONG;
    return strong || atomic ? 1 : check->tag;
}

static void write_range(const struct fj_emu_block *block, uint64_t address, uint64_t bytes,
                        uint8_t tag)
{
    if (tag > 1)
        fj_emu_mem_tagged(block);
    memset(block->written + (address - block->base), tag, bytes);
}

bool fj_emu_check_range(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint64_t address, uint64_t bytes, enum fj_emu_access access)
{
    const struct fj_emu_block *block = fj_emu_mem_find(address, bytes);
    if (block == NULL || block->written == NULL)
        return true;
    if (access == FJ_EMU_READ)
        return read_range(w, in, lane, block, address, bytes, tag_of(w, in, false));
    write_range(block, address, bytes, tag_of(w, in, access == FJ_EMU_ATOMIC));
    return true;
}

// Around the addresses of all lanes.
static void bounds(uint32_t exec, uint32_t bytes, const uint64_t address[FJ_EMU_LANES],
                   uint64_t *lo, uint64_t *hi)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (int l = 0; l < FJ_EMU_LANES; l++) {
        const uint64_t live = 0ull - (exec >> l & 1);
        low = (address[l] | ~live) < low ? address[l] | ~live : low;
        high = (address[l] & live) > high ? address[l] & live : high;
    }
    *lo = low;
    *hi = high + bytes;
}

bool fj_emu_check_global(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                         uint32_t bytes, enum fj_emu_access access,
                         const uint64_t address[FJ_EMU_LANES])
{
    uint64_t lo, hi;
    if (access == FJ_EMU_WRITE) // fj_emu_check_store has the values, too
        return true;
    bounds(exec, bytes, address, &lo, &hi);
    const struct fj_emu_block *block = fj_emu_mem_find(lo, hi - lo);
    if (block != NULL && block->written == NULL)
        return true;
    if (block != NULL && access == FJ_EMU_READ && hi - lo <= 1024 &&
        all_written(block->written + (lo - block->base), hi - lo))
        return true;
    FJ_EMU_EACH_LANE(l, exec)
    {
        if (!fj_emu_check_range(w, in, (int)l, address[l], bytes, access))
            return false;
    }
    return true;
}

// A value that another CTA of the launch has put there already may be put there again.
static bool foreign_agrees(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                           uint64_t address, uint32_t bytes, const uint8_t *value, uint8_t tag)
{
    const struct fj_emu_block *block = fj_emu_mem_find(address, bytes);
    if (block == NULL || block->written == NULL)
        return true;
    const uint8_t *written = block->written + (address - block->base);
    const uint8_t *now = (const uint8_t *)(uintptr_t)address;
    for (uint32_t i = 0; tag > 1 && i < bytes; i++) {
        if (written[i] > 1 && written[i] != tag && now[i] != value[i])
            return report_meeting(w, in, lane, block, address + i,
                                  "stored with another value, and");
    }
    write_range(block, address, bytes, tag);
    return true;
}

static bool lanes_agree(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t lane,
                        uint32_t bytes, const uint64_t host[FJ_EMU_LANES],
                        const uint8_t (*value)[FJ_EMU_STORE_BYTES])
{
    FJ_EMU_EACH_LANE(other, w->exec)
    {
        // Accesses are aligned to their size: they coincide, or do not meet.
        if (host[other] != host[lane] || memcmp(value[other], value[lane], bytes) == 0)
            continue;
        fj_emu_stop(w, in, (int)lane, FJ_EMU_FAULT_RACE,
                    "lanes %u and %u store different values at one address", lane, other);
        return false;
    }
    return true;
}

static bool store_lanes(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t bytes,
                        const uint64_t host[FJ_EMU_LANES],
                        const uint8_t (*value)[FJ_EMU_STORE_BYTES])
{
    FJ_EMU_EACH_LANE(l, w->exec)
    memcpy((void *)(uintptr_t)host[l], value[l], bytes);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        const void *now = (const void *)(uintptr_t)host[l];
        if (memcmp(now, value[l], bytes) != 0 && !lanes_agree(w, in, l, bytes, host, value))
            return false;
    }
    return true;
}

// CTAs run at the same time: marks and values change together, so that of two that meet the second
// knows.
static fj_mutex store_lock = FJ_MUTEX_INIT;

bool fj_emu_check_store(struct fj_emu_warp *w, const struct fj_emu_insn *in, bool global,
                        uint32_t bytes, const uint64_t host[FJ_EMU_LANES],
                        const uint8_t (*value)[FJ_EMU_STORE_BYTES])
{
    const uint8_t tag = tag_of(w, in, false);
    bool good = true;
    if (!global)
        return store_lanes(w, in, bytes, host, value);
    pthread_mutex_lock(&store_lock);
    FJ_EMU_EACH_LANE(l, w->exec)
    good = good && foreign_agrees(w, in, (int)l, host[l], bytes, value[l], tag);
    good = good && store_lanes(w, in, bytes, host, value);
    pthread_mutex_unlock(&store_lock);
    return good;
}
