// Accesses to shared memory through the async proxy, and by cp.async.
#include "emu/check_state.h"

static uint32_t own_bit(const struct fj_emu_warp *w)
{
    return 1u << w->index;
}

// The asynchronous read of a range has ended: from here it counts as a read of the warp.
static void end_read(struct fj_emu_warp *w, const struct fj_emu_range *range)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int self = fj_emu_check_id(w);
    const uint32_t now = fj_emu_check_of(w)->clocks.seen[self];
    for (uint32_t i = 0; i < range->bytes; i += FJ_EMU_CELL) {
        uint32_t *read;
        struct fj_emu_cell *cell = fj_emu_cell_at(check, range->address + i, &read);
        cell->reading &= ~own_bit(w);
        read[self] = now;
    }
}

static void end_copy(struct fj_emu_warp *w, const struct fj_emu_range *range)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int self = fj_emu_check_id(w);
    for (uint32_t i = 0; i < range->bytes; i += FJ_EMU_CELL) {
        uint32_t *read;
        struct fj_emu_cell *cell = fj_emu_cell_at(check, range->address + i, &read);
        if (cell->writer != self)
            continue;
        cell->flags &= (uint8_t)~FJ_EMU_CELL_CP;
        cell->clock = fj_emu_check_of(w)->clocks.seen[self];
    }
}

void fj_emu_check_group(struct fj_emu_warp *w, int what, uint32_t pending)
{
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    switch (what) {
    case FJ_EMU_CP_COMMIT:
        cw->cp.committed++;
        break;
    case FJ_EMU_CP_WAIT:
        fj_emu_ranges_finish(w, &cw->cp, pending, end_copy);
        break;
    case FJ_EMU_CP_WAIT_ALL:
        cw->cp.committed++;
        fj_emu_ranges_finish(w, &cw->cp, 0, end_copy);
        break;
    case FJ_EMU_BULK_COMMIT:
        cw->bulk.committed++;
        break;
    case FJ_EMU_BULK_WAIT:
    case FJ_EMU_BULK_WAIT_READ:
        fj_emu_ranges_finish(w, &cw->bulk, pending, end_read);
        break;
    case FJ_EMU_WG_COMMITTED:
        cw->wgmma.committed++;
        break;
    case FJ_EMU_WG_WAITED:
        fj_emu_ranges_finish(w, &cw->wgmma, pending, end_read);
        break;
    default:
        break;
    }
}

// A write of the async proxy to the cells of a range, in the name of `writer`.
static bool write_range(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, uint32_t bytes, uint16_t writer, uint32_t clock,
                        uint8_t flags)
{
    struct fj_emu_check *check = w->cta->unit->check;
    for (uint32_t i = 0; i < bytes; i += FJ_EMU_CELL) {
        uint32_t *read;
        struct fj_emu_cell *cell = fj_emu_cell_at(check, address + i, &read);
        if (fj_emu_check_collision(w, in, lane, address + i, cell, read, 15))
            return false;
        *cell = (struct fj_emu_cell){
            .clock = clock, .writer = writer, .written = 15, .last = 15, .flags = flags};
    }
    return true;
}

static bool load(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t address,
                 uint32_t bytes, uint32_t mbarrier)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int place = fj_emu_place_find(check, fj_emu_place_key(w, FJ_EMU_PLACE_MBAR, mbarrier));
    if (place < 0)
        return write_range(w, in, lane, address, bytes, UINT16_MAX, 0, 0);
    const uint16_t agent = (uint16_t)(check->n_warps + place);
    const uint32_t clock = ++check->agent_clock[place];
    if (!write_range(w, in, lane, address, bytes, agent, clock, 0))
        return false;
    check->places[place].now.seen[agent] = clock;
    return true;
}

static bool read_range(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       uint32_t address, uint32_t bytes)
{
    struct fj_emu_check *check = w->cta->unit->check;
    for (uint32_t i = 0; i < bytes; i += FJ_EMU_CELL) {
        uint32_t *read;
        struct fj_emu_cell *cell = fj_emu_cell_at(check, address + i, &read);
        if (fj_emu_check_early(w, in, lane, address + i, cell, 15, true))
            return false;
        cell->reading |= own_bit(w);
    }
    return true;
}

bool fj_emu_check_async(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, uint32_t bytes, enum fj_emu_async kind, uint32_t mbarrier)
{
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    const int self = fj_emu_check_id(w);
    address = fj_emu_full_address(w, address);
    if (kind == FJ_EMU_BULK_LOAD)
        return load(w, in, lane, address, bytes, mbarrier);
    if (kind == FJ_EMU_BULK_STORE) {
        fj_emu_ranges_add(&cw->bulk, address, bytes);
        return read_range(w, in, lane, address, bytes);
    }
    fj_emu_ranges_add(&cw->cp, address, bytes);
    return write_range(w, in, lane, address, bytes, (uint16_t)self, cw->clocks.seen[self],
                       FJ_EMU_CELL_CP | FJ_EMU_CELL_GENERIC);
}

struct visit {
    struct fj_emu_warp *w;
    const struct fj_emu_insn *in;
    bool good;
};

static void visit_row(void *user, uint32_t address, uint32_t bytes)
{
    struct visit *visit = user;
    const uint32_t full = fj_emu_full_address(visit->w, address);
    if (!visit->good)
        return;
    fj_emu_ranges_add(&fj_emu_check_of(visit->w)->wgmma, full, bytes);
    visit->good = read_range(visit->w, visit->in, -1, full, bytes);
}

bool fj_emu_check_wgmma(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                        const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args)
{
    struct visit visit = {.w = w, .in = in, .good = fj_emu_check_wgmma_regs(w, in)};
    if (visit.good && !op->a_in_registers)
        fj_emu_wgmma_visit(op, false, args->warp, args->a_desc, visit_row, &visit);
    if (visit.good)
        fj_emu_wgmma_visit(op, true, args->warp, args->b_desc, visit_row, &visit);
    return visit.good;
}
