// Accesses to shared memory through the async proxy, and by cp.async.
#include <stdlib.h>

#include "emu/check_state.h"

void fj_emu_ranges_add(struct fj_emu_ranges *ranges, uint32_t address, uint32_t bytes)
{
    struct fj_emu_range *last = ranges->n > 0 ? &ranges->items[ranges->n - 1] : NULL;
    if (last != NULL && bytes > 0 && last->group == ranges->committed + 1 &&
        last->address + last->bytes == address) {
        last->bytes += bytes;
        return;
    }
    if (ranges->n == ranges->cap) {
        const uint32_t cap = ranges->cap > 0 ? ranges->cap * 2 : 64;
        struct fj_emu_range *items = realloc(ranges->items, cap * sizeof(*items));
        if (items == NULL)
            return; // a range less is a report less
        ranges->items = items;
        ranges->cap = cap;
    }
    ranges->items[ranges->n++] =
        (struct fj_emu_range){.address = address, .bytes = bytes, .group = ranges->committed + 1};
}

// The copies of a range have arrived: they count as written now.
static void end_copy(struct fj_emu_warp *w, const struct fj_emu_range *range)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int self = fj_emu_check_id(w);
    const uint32_t now = fj_emu_check_of(w)->clocks.seen[self];
    const uint32_t end = range->address + range->bytes;
    for (uint32_t at = range->address; at < end; at += FJ_EMU_CELL) {
        const size_t row = fj_emu_row_of(check, at);
        struct fj_emu_row *r = &check->rows[row];
        struct fj_emu_cell *cell = &check->cells[row * 4 + at / FJ_EMU_CELL % 4];
        if (!(r->flags & FJ_EMU_ROW_SPLIT)) {
            if (r->writer == self && (r->flags & FJ_EMU_CELL_CP)) {
                r->flags &= (uint8_t)~FJ_EMU_CELL_CP;
                r->clock = now;
            }
            at |= FJ_EMU_ROW - FJ_EMU_CELL; // the row's other cells with it
        } else if (cell->writer == self && (cell->flags & FJ_EMU_CELL_CP)) {
            cell->flags &= (uint8_t)~FJ_EMU_CELL_CP;
            cell->clock = now;
            fj_emu_row_unite(check, row);
        }
    }
    for (uint32_t at = range->address; at < end; at += FJ_EMU_PAGE)
        ++*fj_emu_page_of(check, at);
    ++*fj_emu_page_of(check, end - 1);
}

static void finish_copies(struct fj_emu_warp *w, uint32_t pending)
{
    struct fj_emu_ranges *ranges = &fj_emu_check_of(w)->cp;
    const uint32_t upto = ranges->committed > pending ? ranges->committed - pending : 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < ranges->n; i++) {
        if (ranges->items[i].group <= upto)
            end_copy(w, &ranges->items[i]);
        else
            ranges->items[kept++] = ranges->items[i];
    }
    ranges->n = kept;
}

void fj_emu_check_group(struct fj_emu_warp *w, int what, uint32_t pending)
{
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    switch (what) {
    case FJ_EMU_CP_COMMIT:
        cw->cp.committed++;
        break;
    case FJ_EMU_CP_WAIT:
        finish_copies(w, pending);
        break;
    case FJ_EMU_CP_WAIT_ALL:
        cw->cp.committed++;
        finish_copies(w, 0);
        break;
    case FJ_EMU_BULK_COMMIT:
        cw->bulk.committed++;
        break;
    case FJ_EMU_BULK_WAIT:
    case FJ_EMU_BULK_WAIT_READ:
        fj_emu_tiles_done(w, &cw->bulk, pending);
        break;
    case FJ_EMU_WG_COMMITTED:
        cw->wgmma.committed++;
        break;
    case FJ_EMU_WG_WAITED:
        fj_emu_tiles_done(w, &cw->wgmma, pending);
        break;
    default:
        break;
    }
}

// The agent of an mbarrier; 0: there are too many.
static uint16_t agent_of(struct fj_emu_check *check, int place)
{
    struct fj_emu_place_state *state = &check->places[place];
    if (state->agent == 0) {
        const uint32_t i = check->n_clocks - (uint32_t)check->n_warps;
        check->agents[i] = (uint16_t)place;
        check->agent_clock[i] = check->base;
        state->agent = (uint16_t)check->n_clocks++;
    }
    return state->agent;
}

static bool load(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t address,
                 uint32_t bytes, uint32_t mbarrier)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int place = fj_emu_place_find(check, fj_emu_place_key(w, FJ_EMU_PLACE_MBAR, mbarrier));
    if (place < 0)
        return fj_emu_check_fill(w, in, lane, address, bytes, FJ_EMU_NOBODY, 0, 0);
    const uint16_t agent = agent_of(check, place);
    const uint32_t clock = ++check->agent_clock[agent - check->n_warps];
    if (!fj_emu_check_fill(w, in, lane, address, bytes, agent, clock, 0))
        return false;
    check->places[place].now.seen[agent] = clock;
    return true;
}

static bool store(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t address,
                  uint32_t bytes)
{
    const struct fj_emu_tile range = {.lo = address, .hi = address + bytes};
    const int tile = fj_emu_tile_find(w->cta->unit->check, &range);
    return fj_emu_tile_read(w, in, lane, tile, &fj_emu_check_of(w)->bulk);
}

bool fj_emu_check_async(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, uint32_t bytes, enum fj_emu_async kind, uint32_t mbarrier)
{
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    const int self = fj_emu_check_id(w);
    address = fj_emu_full_address(w, address);
    if (kind == FJ_EMU_BULK_LOAD)
        return load(w, in, lane, address, bytes, mbarrier);
    if (kind == FJ_EMU_BULK_STORE)
        return store(w, in, lane, address, bytes);
    fj_emu_ranges_add(&cw->cp, address, bytes);
    return fj_emu_check_fill(w, in, lane, address, bytes, (uint16_t)self, cw->clocks.seen[self],
                             FJ_EMU_CELL_CP | FJ_EMU_CELL_GENERIC);
}

static bool operand(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint64_t desc, uint16_t n,
                    int slice, bool mn_major)
{
    const struct fj_emu_tile matrix = {.desc = desc,
                                       .lo = fj_emu_full_address(w, 0),
                                       .n = n,
                                       .slice = (uint8_t)slice,
                                       .matrix = true,
                                       .mn_major = mn_major};
    const int tile = fj_emu_tile_find(w->cta->unit->check, &matrix);
    return fj_emu_tile_read(w, in, -1, tile, &fj_emu_check_of(w)->wgmma);
}

bool fj_emu_check_wgmma(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                        const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args)
{
    if (!fj_emu_check_wgmma_regs(w, in))
        return false;
    if (!op->a_in_registers && !operand(w, in, args->a_desc, 0, args->warp, op->a_trans))
        return false;
    return operand(w, in, args->b_desc, op->n, 0, op->b_trans);
}
