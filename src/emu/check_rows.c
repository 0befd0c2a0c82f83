// Shared memory, cell by cell: accesses that the row's own state cannot answer, and reports.
#include <stdio.h>

#include "emu/check_state.h"
#include "emu/ops.h"

struct fj_emu_cell fj_emu_row_cell(const struct fj_emu_check *check, size_t row, int i)
{
    const struct fj_emu_row *r = &check->rows[row];
    if (r->flags & FJ_EMU_ROW_SPLIT)
        return check->cells[row * 4 + (size_t)i];
    const uint8_t written = r->flags & FJ_EMU_ROW_WHOLE ? 15 : 0;
    return (struct fj_emu_cell){.clock = r->clock,
                                .writer = r->writer,
                                .written = written,
                                .last = written,
                                .flags = r->flags & 7};
}

struct fj_emu_cell *fj_emu_row_split(struct fj_emu_check *check, size_t row)
{
    struct fj_emu_cell *cells = &check->cells[row * 4];
    struct fj_emu_row *r = &check->rows[row];
    if (r->flags & FJ_EMU_ROW_SPLIT)
        return cells;
    for (int i = 0; i < 4; i++)
        cells[i] = fj_emu_row_cell(check, row, i);
    r->flags = FJ_EMU_ROW_SPLIT | (r->flags & FJ_EMU_ROW_READ);
    return cells;
}

void fj_emu_row_unite(struct fj_emu_check *check, size_t row)
{
    struct fj_emu_row *r = &check->rows[row];
    const struct fj_emu_cell *c = &check->cells[row * 4];
    if (!(r->flags & FJ_EMU_ROW_SPLIT))
        return;
    for (int i = 0; i < 4; i++) {
        if (c[i].written != 15 || c[i].last != 15 || c[i].clock != c[0].clock ||
            c[i].writer != c[0].writer || c[i].flags != c[0].flags)
            return;
    }
    r->clock = c->clock;
    r->writer = c->writer;
    r->flags = c->flags | FJ_EMU_ROW_WHOLE | (r->flags & FJ_EMU_ROW_READ);
}

// Says what is wrong with a read: the words before and after the writer's name.
static bool report_early(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                         enum fj_emu_fault_kind kind, uint32_t address, uint16_t writer,
                         const char *what, const char *then)
{
    char who[64];
    fj_emu_describe_writer(w->cta->unit->check, writer, who, sizeof(who));
    fj_emu_stop(w, in, lane, kind, "shared address 0x%x %s %s%s",
                address & FJ_EMU_SHARED_OFFSET_MASK, what, who, then);
    return true;
}

bool fj_emu_check_early(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, uint8_t bytes, bool async_proxy)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const struct fj_emu_clocks *clocks = &fj_emu_check_of(w)->clocks;
    const struct fj_emu_cell cell =
        fj_emu_row_cell(check, fj_emu_row_of(check, address), (int)(address / FJ_EMU_CELL % 4));
    const int self = fj_emu_check_id(w);
    if ((cell.written & bytes) != bytes) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_UNWRITTEN,
                    "shared address 0x%x is read and nothing has written it",
                    address & FJ_EMU_SHARED_OFFSET_MASK);
        return true;
    }
    if (cell.flags & FJ_EMU_CELL_CP)
        return report_early(w, in, lane, FJ_EMU_FAULT_ASYNC, address, cell.writer,
                            "is read before cp.async.wait_group of", "");
    if (cell.writer == FJ_EMU_NOBODY)
        return false;
    const bool unfenced = async_proxy && (cell.flags & FJ_EMU_CELL_GENERIC) &&
                          cell.clock > clocks->fenced[cell.writer];
    const bool foreign = cell.writer != self && ((cell.last & bytes) || unfenced);
    if (foreign && cell.clock > clocks->seen[cell.writer])
        return report_early(w, in, lane, FJ_EMU_FAULT_RACE, address, cell.writer, "is read while",
                            " writes it: no barrier between");
    return unfenced &&
           report_early(w, in, lane, FJ_EMU_FAULT_ASYNC, address, cell.writer, "was written by",
                        " without fence.proxy.async before the async proxy reads it");
}

bool fj_emu_check_collision(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                            uint32_t address, uint8_t bytes)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const uint32_t *seen = fj_emu_check_of(w)->clocks.seen;
    const size_t row = fj_emu_row_of(check, address);
    const uint32_t i = address / FJ_EMU_CELL % 4;
    const struct fj_emu_cell cell = fj_emu_row_cell(check, row, (int)i);
    const int self = fj_emu_check_id(w), per_cta = check->n_warps / check->n_ctas;
    const uint32_t offset = address & FJ_EMU_SHARED_OFFSET_MASK;
    if (fj_emu_tiles_collision(w, in, lane, address))
        return true;
    if (cell.writer != FJ_EMU_NOBODY && cell.writer != self && (cell.last & bytes) &&
        cell.clock > seen[cell.writer]) {
        char who[64];
        fj_emu_describe_writer(check, cell.writer, who, sizeof(who));
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_RACE,
                    "shared address 0x%x is written while %s writes it: no barrier between", offset,
                    who);
        return true;
    }
    for (int r = 0; (check->rows[row].flags & FJ_EMU_ROW_READ) && r < check->n_warps; r++) {
        if (check->read[row * (size_t)check->n_warps + (size_t)r][i] <= seen[r])
            continue;
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_RACE,
                    "shared address 0x%x is written while warp %d reads it: no barrier between",
                    offset, r % per_cta);
        return true;
    }
    return false;
}

// Lanes of one warp, between two points where it orders them.

#define WHOLE_WARP FJ_EMU_LANES // in place of a lane: ldmatrix and stmatrix

static uint32_t lanes_at(uint32_t lanes, uint32_t key, const struct fj_emu_check_warp *cw,
                         uint32_t cell)
{
    return key == cw->sync_key ? lanes >> (8 * cell) & 0xff : FJ_EMU_LANES_NONE;
}

static void lanes_add(uint32_t *lanes, uint32_t *key, const struct fj_emu_check_warp *cw,
                      uint32_t cell, int lane, uint8_t bytes)
{
    const uint32_t before = lanes_at(*lanes, *key, cw, cell);
    uint32_t now = FJ_EMU_LANES_MANY;
    if (bytes != 15 || lane == WHOLE_WARP || before == FJ_EMU_LANES_MIXED)
        now = FJ_EMU_LANES_MIXED;
    else if (before == FJ_EMU_LANES_NONE || before == (uint32_t)lane)
        now = (uint32_t)lane;
    if (*key != cw->sync_key)
        *lanes = FJ_EMU_LANES_NONE * FJ_EMU_EACH_CELL;
    *key = cw->sync_key;
    *lanes = (*lanes & ~(0xffu << (8 * cell))) | now << (8 * cell);
}

static bool lanes_race(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       uint32_t address, const char *does, uint32_t other, const char *did)
{
    char who[32] = "other lanes";
    if (other < FJ_EMU_LANES)
        snprintf(who, sizeof(who), "lane %u", other);
    fj_emu_stop(w, in, lane == WHOLE_WARP ? -1 : lane, FJ_EMU_FAULT_RACE,
                "shared address 0x%x is %s and %s of the warp %s it: no bar.warp.sync between",
                address & FJ_EMU_SHARED_OFFSET_MASK, does, who, did);
    return true;
}

// Lanes that write a cell together write one value, any of them may use it: only a cell that one
// lane wrote is its own. One that several lanes read is nobody's to write. stmatrix waits for the
// warp and is not looked at; ldmatrix hands every row to other lanes than the one that wrote it.
static bool lanes_collide(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                          uint32_t at, bool is_write)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    const struct fj_emu_row *row = &check->rows[fj_emu_row_of(check, at)];
    const uint32_t cell = at / FJ_EMU_CELL % 4;
    const uint32_t wrote = lanes_at(row->write_lanes, row->write_key, cw, cell);
    const uint32_t read = lanes_at(row->read_lanes, row->read_key, cw, cell);
    if (is_write && lane == WHOLE_WARP)
        return false;
    if (wrote < FJ_EMU_LANES && wrote != (uint32_t)lane)
        return lanes_race(w, in, lane, at, is_write ? "written" : "read", wrote, "wrote");
    if (is_write && read <= FJ_EMU_LANES_MANY && read != (uint32_t)lane)
        return lanes_race(w, in, lane, at, "written", read, "read");
    return false;
}

// One cell of an access.

static bool is_atomic(const struct fj_emu_check *check, uint32_t at)
{
    const struct fj_emu_cell cell =
        fj_emu_row_cell(check, fj_emu_row_of(check, at), (int)(at / FJ_EMU_CELL % 4));
    return cell.flags & FJ_EMU_CELL_ATOMIC;
}

static bool cell_allowed(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, uint32_t at,
                         uint8_t bytes, enum fj_emu_access access)
{
    if (access == FJ_EMU_ATOMIC && is_atomic(w->cta->unit->check, at))
        return true;
    const int who = lane == WHOLE_WARP ? -1 : lane;
    if (access != FJ_EMU_WRITE && fj_emu_check_early(w, in, who, at, bytes, false))
        return false;
    if (lanes_collide(w, in, lane, at, access != FJ_EMU_READ))
        return false;
    return access == FJ_EMU_READ || !fj_emu_check_collision(w, in, who, at, bytes);
}

static void cell_read(struct fj_emu_warp *w, int lane, uint32_t at, uint8_t bytes)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int self = fj_emu_check_id(w);
    const size_t row = fj_emu_row_of(check, at);
    const uint32_t i = at / FJ_EMU_CELL % 4;
    struct fj_emu_row *r = &check->rows[row];
    lanes_add(&r->read_lanes, &r->read_key, fj_emu_check_of(w), i, lane, bytes);
    check->read[row * (size_t)check->n_warps + (size_t)self][i] =
        fj_emu_check_of(w)->clocks.seen[self];
    r->flags |= FJ_EMU_ROW_READ;
}

static void cell_written(struct fj_emu_warp *w, int lane, uint32_t at, uint8_t bytes,
                         enum fj_emu_access access)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int self = fj_emu_check_id(w);
    const uint32_t now = fj_emu_check_of(w)->clocks.seen[self], i = at / FJ_EMU_CELL % 4;
    const size_t row = fj_emu_row_of(check, at);
    struct fj_emu_cell *cell = fj_emu_row_split(check, row) + i;
    struct fj_emu_row *r = &check->rows[row];
    const bool again = cell->writer == self && cell->clock == now;
    cell->last = again ? cell->last | bytes : bytes;
    cell->writer = (uint16_t)self;
    cell->clock = now;
    cell->written |= bytes;
    cell->flags = FJ_EMU_CELL_GENERIC | (access == FJ_EMU_ATOMIC ? FJ_EMU_CELL_ATOMIC : 0);
    if (access == FJ_EMU_ATOMIC) // lanes may meet there
        bytes = 0;
    lanes_add(&r->write_lanes, &r->write_key, fj_emu_check_of(w), i, lane, bytes);
    ++*fj_emu_page_of(check, at);
    fj_emu_row_unite(check, row);
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

bool fj_emu_check_each(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                       uint32_t bytes, enum fj_emu_access access,
                       const uint32_t address[FJ_EMU_LANES])
{
    const bool warp = w->cta->unit->check->plan->insns[in - w->code->insns] & FJ_EMU_PLAN_WARP;
    // All are looked at before any is noted: lanes of one instruction do not wait for each other.
    for (int turn = 0; turn < 2; turn++) {
        FJ_EMU_EACH_LANE(l, exec)
        {
            const int lane = warp ? WHOLE_WARP : (int)l;
            const uint32_t from = fj_emu_full_address(w, address[l]);
            for (uint32_t at = from & ~(FJ_EMU_CELL - 1u); at < from + bytes; at += FJ_EMU_CELL) {
                const uint8_t part = covered(at, from, bytes);
                if (turn == 0 && !cell_allowed(w, in, lane, at, part, access))
                    return false;
                if (turn == 1 && access == FJ_EMU_READ)
                    cell_read(w, lane, at, part);
                else if (turn == 1)
                    cell_written(w, lane, at, part, access);
            }
        }
    }
    return true;
}

// Copies.

static bool row_free(const struct fj_emu_warp *w, size_t row)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const struct fj_emu_row *r = &check->rows[row];
    const uint32_t *seen = fj_emu_check_of(w)->clocks.seen;
    if (r->flags & FJ_EMU_ROW_SPLIT)
        return false;
    if (r->writer != FJ_EMU_NOBODY && r->clock > seen[r->writer])
        return false;
    return !(r->flags & FJ_EMU_ROW_READ) || !fj_emu_row_racing(check, row, seen);
}

bool fj_emu_check_fill(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       uint32_t address, uint32_t bytes, uint16_t writer, uint32_t clock,
                       uint8_t flags)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const bool near = fj_emu_tiles_near(w, address, address + bytes);
    for (uint32_t at = address; at < address + bytes; at += FJ_EMU_PAGE)
        ++*fj_emu_page_of(check, at);
    ++*fj_emu_page_of(check, address + bytes - 1);
    for (uint32_t at = address; at < address + bytes;) {
        const size_t row = fj_emu_row_of(check, at);
        const bool whole = at % FJ_EMU_ROW == 0 && address + bytes - at >= FJ_EMU_ROW;
        const uint32_t step = whole ? FJ_EMU_ROW : FJ_EMU_CELL;
        for (uint32_t i = 0; (near || !whole || !row_free(w, row)) && i < step; i += FJ_EMU_CELL) {
            if (fj_emu_check_collision(w, in, lane, at + i, 15))
                return false;
        }
        if (whole)
            check->rows[row] = (struct fj_emu_row){
                .clock = clock, .writer = writer, .flags = flags | FJ_EMU_ROW_WHOLE};
        else
            fj_emu_row_split(check, row)[at / FJ_EMU_CELL % 4] = (struct fj_emu_cell){
                .clock = clock, .writer = writer, .written = 15, .last = 15, .flags = flags};
        if (!whole)
            fj_emu_row_unite(check, row);
        at += step;
    }
    return true;
}
