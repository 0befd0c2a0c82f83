// Accesses to shared memory through the generic proxy, and reads of unwritten global memory.
#include <stdio.h>

#include "emu/check_state.h"
#include "emu/memory.h"
#include "emu/ops.h"

struct fj_emu_cell *fj_emu_cell_at(struct fj_emu_check *check, uint32_t address,
                                   uint32_t **ret_read)
{
    const size_t cta = (address >> FJ_EMU_SHARED_RANK_SHIFT) - 1;
    const size_t at = cta * check->n_cells + (address & FJ_EMU_SHARED_OFFSET_MASK) / FJ_EMU_CELL;
    *ret_read = check->read + at * (size_t)check->n_warps;
    return &check->cells[at];
}

static void describe_writer(const struct fj_emu_check *check, const struct fj_emu_cell *cell,
                            char *text, size_t cap)
{
    if (cell->writer < check->n_warps)
        snprintf(text, cap, "warp %d", cell->writer % (check->n_warps / check->n_ctas));
    else
        snprintf(text, cap, "a bulk copy on mbarrier 0x%x",
                 check->places[cell->writer - check->n_warps].key & FJ_EMU_SHARED_OFFSET_MASK);
}

bool fj_emu_check_early(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, const struct fj_emu_cell *cell, uint8_t bytes,
                        bool async_proxy)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const struct fj_emu_clocks *clocks = &fj_emu_check_of(w)->clocks;
    char who[64];
    const uint32_t offset = address & FJ_EMU_SHARED_OFFSET_MASK;
    if ((cell->written & bytes) != bytes) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_UNWRITTEN,
                    "shared address 0x%x is read and nothing has written it", offset);
        return true;
    }
    if (cell->flags & FJ_EMU_CELL_CP) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ASYNC,
                    "shared address 0x%x is read before cp.async.wait_group of warp %d", offset,
                    cell->writer % (check->n_warps / check->n_ctas));
        return true;
    }
    if (cell->writer == UINT16_MAX || cell->writer == fj_emu_check_id(w) || !(cell->last & bytes)) {
        if (!async_proxy || !(cell->flags & FJ_EMU_CELL_GENERIC) || cell->writer == UINT16_MAX ||
            cell->clock <= clocks->fenced[cell->writer])
            return false;
    }
    if (cell->writer != fj_emu_check_id(w) && cell->clock > clocks->seen[cell->writer]) {
        describe_writer(check, cell, who, sizeof(who));
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_RACE,
                    "shared address 0x%x is read while %s writes it: no barrier between", offset,
                    who);
        return true;
    }
    if (async_proxy && (cell->flags & FJ_EMU_CELL_GENERIC) &&
        cell->clock > clocks->fenced[cell->writer]) {
        describe_writer(check, cell, who, sizeof(who));
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ASYNC,
                    "shared address 0x%x was written by %s without fence.proxy.async before the "
                    "async proxy reads it",
                    offset, who);
        return true;
    }
    return false;
}

bool fj_emu_check_collision(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                            uint32_t address, const struct fj_emu_cell *cell, const uint32_t *read,
                            uint8_t bytes)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const uint32_t *seen = fj_emu_check_of(w)->clocks.seen;
    const int self = fj_emu_check_id(w), per_cta = check->n_warps / check->n_ctas;
    const uint32_t offset = address & FJ_EMU_SHARED_OFFSET_MASK;
    if (cell->reading != 0) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ASYNC,
                    "shared address 0x%x is overwritten before warp %d has waited for its wgmma "
                    "or bulk store that reads it",
                    offset, __builtin_ctz(cell->reading));
        return true;
    }
    if (cell->writer != UINT16_MAX && cell->writer != self && (cell->last & bytes) &&
        cell->clock > seen[cell->writer]) {
        char who[64];
        describe_writer(check, cell, who, sizeof(who));
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_RACE,
                    "shared address 0x%x is written while %s writes it: no barrier between", offset,
                    who);
        return true;
    }
    bool racing = false;
    for (int r = 0; r < check->n_warps; r++)
        racing |= r != self && read[r] > seen[r];
    for (int r = 0; racing && r < check->n_warps; r++) {
        if (r == self || read[r] <= seen[r])
            continue;
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_RACE,
                    "shared address 0x%x is written while warp %d reads it: no barrier between",
                    offset, r % per_cta);
        return true;
    }
    return false;
}

// The bytes of the cell at `at` that [address, address + bytes) covers.
static uint8_t covered(uint32_t at, uint32_t address, uint32_t bytes)
{
    uint8_t mask = 0;
    for (uint32_t i = 0; i < FJ_EMU_CELL; i++) {
        if (at + i >= address && at + i < address + bytes)
            mask |= (uint8_t)(1u << i);
    }
    return mask;
}

static bool touch(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t at,
                  uint8_t bytes, enum fj_emu_access access)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int self = fj_emu_check_id(w);
    const uint32_t now = fj_emu_check_of(w)->clocks.seen[self];
    uint32_t *read;
    struct fj_emu_cell *cell = fj_emu_cell_at(check, at, &read);
    const bool atomics = access == FJ_EMU_ATOMIC && (cell->flags & FJ_EMU_CELL_ATOMIC);
    if (access != FJ_EMU_WRITE) {
        if (!atomics && fj_emu_check_early(w, in, lane, at, cell, bytes, false))
            return false;
        if (access == FJ_EMU_READ) {
            read[self] = now;
            return true;
        }
    }
    if (!atomics && fj_emu_check_collision(w, in, lane, at, cell, read, bytes))
        return false;
    const bool again = cell->writer == self && cell->clock == now;
    cell->last = again ? cell->last | bytes : bytes;
    cell->writer = (uint16_t)self;
    cell->clock = now;
    cell->written |= bytes;
    cell->flags = FJ_EMU_CELL_GENERIC | (access == FJ_EMU_ATOMIC ? FJ_EMU_CELL_ATOMIC : 0);
    return true;
}

bool fj_emu_check_shared(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                         uint32_t address, uint32_t bytes, enum fj_emu_access access)
{
    address = fj_emu_full_address(w, address);
    const uint32_t first = address & ~(uint32_t)(FJ_EMU_CELL - 1);
    for (uint32_t at = first; at < address + bytes; at += FJ_EMU_CELL) {
        if (!touch(w, in, lane, at, covered(at, address, bytes), access))
            return false;
    }
    return true;
}

bool fj_emu_check_global(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                         uint32_t bytes, enum fj_emu_access access,
                         const uint64_t address[FJ_EMU_LANES])
{
    FJ_EMU_EACH_LANE(l, exec)
    {
        const struct fj_emu_block *block = fj_emu_mem_find(address[l], bytes);
        if (block == NULL || block->written == NULL)
            continue;
        uint8_t *written = block->written + (address[l] - block->base);
        for (uint32_t i = 0; i < bytes; i++) {
            if (access != FJ_EMU_READ) {
                written[i] = 1;
            } else if (!written[i]) {
                fj_emu_stop(w, in, (int)l, FJ_EMU_FAULT_UNWRITTEN,
                            "global address 0x%llx (byte %llu of allocation #%u) is read and "
                            "nothing has written it",
                            (unsigned long long)(address[l] + i),
                            (unsigned long long)(address[l] + i - block->base), block->serial);
                return false;
            }
        }
    }
    return true;
}
