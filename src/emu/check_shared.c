// Accesses of a warp to shared memory through the generic proxy: rows that are in one state are
// answered here, all others by check_rows.c, lane by lane.
#include "emu/check_state.h"
#include "emu/ops.h"

// What a warp touches of one row: bytes, cells (a byte of ones each) and by cell the lane.
struct span {
    uint32_t row, bytes, cells, lanes;
};

// 0xff in every byte that is zero.
static uint32_t zero_bytes(uint32_t x)
{
    const uint32_t zero = ~(((x & 0x7f7f7f7fu) + 0x7f7f7f7fu) | x) & 0x80808080u;
    return (zero >> 7) * 0xffu;
}

static uint32_t choose(uint32_t mask, uint32_t yes, uint32_t no)
{
    return (yes & mask) | (no & ~mask);
}

// Two sets of lanes of one row as one, cell by cell.
static uint32_t lanes_merge(uint32_t a, uint32_t b)
{
    const uint32_t none = FJ_EMU_LANES_NONE * FJ_EMU_EACH_CELL;
    const uint32_t many = FJ_EMU_LANES_MANY * FJ_EMU_EACH_CELL;
    const uint32_t keep_a = zero_bytes(a ^ b) | zero_bytes(b ^ none);
    return choose(keep_a, a, choose(zero_bytes(a ^ none), b, many | ((a | b) & none)));
}

static struct span span_of(uint32_t lane, uint32_t address, uint32_t bytes)
{
    const uint32_t at = address % FJ_EMU_ROW, shift = at / FJ_EMU_CELL * 8;
    const uint32_t cells = bytes == 16 ? ~0u : bytes == 8 ? 0xffffu << shift : 0xffu << shift;
    const uint32_t who = bytes < FJ_EMU_CELL ? FJ_EMU_LANES_MIXED : lane;
    return (struct span){
        .row = address / FJ_EMU_ROW,
        .bytes = ((1u << bytes) - 1) << at,
        .cells = cells,
        .lanes = choose(cells, who * FJ_EMU_EACH_CELL, FJ_EMU_LANES_NONE * FJ_EMU_EACH_CELL)};
}

// Lanes in order that stay in a row become one span. Accesses are aligned and up to 16 bytes.
static int gather(uint32_t exec, uint32_t bytes, const uint32_t address[FJ_EMU_LANES],
                  struct span span[FJ_EMU_LANES])
{
    int n = 0;
    for (; exec != 0; exec &= exec - 1) {
        const uint32_t l = (uint32_t)__builtin_ctz(exec);
        const struct span one = span_of(l, address[l], bytes);
        struct span *last = &span[n - (n > 0)];
        if (n == 0 || last->row != one.row) {
            span[n++] = one;
            continue;
        }
        last->lanes = last->cells & one.cells ? lanes_merge(last->lanes, one.lanes)
                                              : choose(one.cells, one.lanes, last->lanes);
        last->bytes |= one.bytes;
        last->cells |= one.cells;
    }
    return n;
}

// Whether other lanes than these may have met a cell before: then check_rows.c says.
static bool lanes_clash(uint32_t before, uint32_t key, uint32_t own, const struct span *span)
{
    const uint32_t several = FJ_EMU_LANES_MANY * FJ_EMU_EACH_CELL;
    return key == own && (((before ^ span->lanes) | (before & several)) & span->cells) != 0;
}

static bool may_read(const struct fj_emu_check_warp *cw, int self, const struct fj_emu_row *row,
                     const struct span *span)
{
    if ((row->flags & (FJ_EMU_ROW_WHOLE | FJ_EMU_CELL_CP)) != FJ_EMU_ROW_WHOLE)
        return false;
    if (row->writer != self)
        return row->writer == FJ_EMU_NOBODY || row->clock <= cw->clocks.seen[row->writer];
    return !lanes_clash(row->write_lanes, row->write_key, cw->sync_key, span);
}

static void note_read(struct fj_emu_check *check, const struct fj_emu_check_warp *cw, int self,
                      size_t at, const struct span *span)
{
    struct fj_emu_row *row = &check->rows[at];
    uint32_t *clock = check->read[at * (size_t)check->n_warps + (size_t)self];
    const uint32_t now = cw->clocks.seen[self];
    row->flags |= FJ_EMU_ROW_READ;
    if (row->read_key != cw->sync_key)
        row->read_lanes = span->lanes;
    else
        row->read_lanes = lanes_merge(row->read_lanes, span->lanes);
    row->read_key = cw->sync_key;
    if (span->bytes == 0xffff) {
        for (int i = 0; i < 4; i++)
            clock[i] = now;
        return;
    }
    for (int i = 0; i < 4; i++)
        clock[i] = span->bytes >> (4 * i) & 15 ? now : clock[i];
}

static bool may_write(const struct fj_emu_check *check, const struct fj_emu_check_warp *cw,
                      int self, size_t at, const struct span *span)
{
    const struct fj_emu_row *row = &check->rows[at];
    if (span->bytes != 0xffff || (row->flags & FJ_EMU_ROW_SPLIT))
        return false;
    if (row->writer != self && row->writer != FJ_EMU_NOBODY &&
        row->clock > cw->clocks.seen[row->writer])
        return false;
    if (lanes_clash(row->write_lanes, row->write_key, cw->sync_key, span) ||
        lanes_clash(row->read_lanes, row->read_key, cw->sync_key, span))
        return false;
    return !(row->flags & FJ_EMU_ROW_READ) || !fj_emu_row_racing(check, at, cw->clocks.seen);
}

static void note_write(struct fj_emu_check *check, const struct fj_emu_check_warp *cw, int self,
                       size_t at, const struct span *span)
{
    struct fj_emu_row *row = &check->rows[at];
    // The row may be this instruction's already, by another lane.
    const bool again = row->writer == self && row->write_key == cw->sync_key;
    *row = (struct fj_emu_row){
        .clock = cw->clocks.seen[self],
        .writer = (uint16_t)self,
        .flags = FJ_EMU_CELL_GENERIC | FJ_EMU_ROW_WHOLE,
        .write_key = cw->sync_key,
        .write_lanes = again ? lanes_merge(row->write_lanes, span->lanes) : span->lanes,
    };
}

static bool write_spans(struct fj_emu_warp *w, const struct span *span, int n, uint32_t lo,
                        uint32_t hi)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    const int self = fj_emu_check_id(w);
    const size_t first = (size_t)w->cta->rank * check->n_rows;
    if (fj_emu_tiles_near(w, fj_emu_full_address(w, lo), fj_emu_full_address(w, hi)))
        return false;
    for (int i = 0; i < n; i++) {
        if (!may_write(check, cw, self, first + span[i].row, &span[i]))
            return false;
    }
    for (int i = 0; i < n; i++) {
        note_write(check, cw, self, first + span[i].row, &span[i]);
        ++*fj_emu_page_of(check, fj_emu_full_address(w, span[i].row * FJ_EMU_ROW));
    }
    return true;
}

// Reading twice is reading once, so that what was noted before a row says no may stay.
static bool read_spans(struct fj_emu_warp *w, const struct span *span, int n)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    const int self = fj_emu_check_id(w);
    const size_t first = (size_t)w->cta->rank * check->n_rows;
    for (int i = 0; i < n; i++) {
        if (!may_read(cw, self, &check->rows[first + span[i].row], &span[i]))
            return false;
        note_read(check, cw, self, first + span[i].row, &span[i]);
    }
    return true;
}

bool fj_emu_check_shared(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                         uint32_t bytes, enum fj_emu_access access,
                         const uint32_t address[FJ_EMU_LANES])
{
    struct span span[FJ_EMU_LANES];
    uint32_t lo = UINT32_MAX, hi = 0;
    for (int l = 0; l < FJ_EMU_LANES; l++) {
        const uint32_t live = 0u - (exec >> l & 1);
        lo = (address[l] | ~live) < lo ? address[l] | ~live : lo;
        hi = (address[l] & live) > hi ? address[l] & live : hi;
    }
    // Addresses of another CTA of the cluster name its rank.
    if (bytes > FJ_EMU_ROW || access == FJ_EMU_ATOMIC || hi >> FJ_EMU_SHARED_RANK_SHIFT != 0)
        return fj_emu_check_each(w, in, exec, bytes, access, address);
    const int n = lo == hi ? gather(exec & (0u - exec), bytes, address, span)
                           : gather(exec, bytes, address, span);
    if (lo == hi && (exec & (exec - 1)) != 0 && bytes >= FJ_EMU_CELL) // several lanes, one address
        span[0].lanes = choose(span[0].cells, FJ_EMU_LANES_MANY * FJ_EMU_EACH_CELL, span[0].lanes);
    const bool warp = w->cta->unit->check->plan->insns[in - w->code->insns] & FJ_EMU_PLAN_WARP;
    for (int i = 0; warp && i < n; i++)
        span[i].lanes = FJ_EMU_LANES_MIXED * FJ_EMU_EACH_CELL;
    const bool done =
        access == FJ_EMU_READ ? read_spans(w, span, n) : write_spans(w, span, n, lo, hi + bytes);
    return done || fj_emu_check_each(w, in, exec, bytes, access, address);
}
