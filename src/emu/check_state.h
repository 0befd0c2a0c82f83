// The state of the checks of one unit.
//
// Order between warps is kept as vector clocks: every warp counts its releases; a barrier or
// mbarrier gathers the clocks of who arrives and hands them to who waits. An access is ordered
// after another when its warp's vector has reached the other's clock. Tensor and bulk loads are
// agents of their own, one per mbarrier: their writes are ordered before who waited on it. A second
// vector per warp holds what a fence.proxy.async has covered.
//
// Shared memory is followed by rows of 16 bytes. As long as all of a row was written by one access
// its state is one; a row written in parts has a state per cell of 4 bytes. What asynchronous
// operations read is followed by tiles: what a matrix descriptor or a bulk copy names. A kernel
// has few of them and uses them again and again, where it would touch thousands of rows.
#ifndef FJ_EMU_CHECK_STATE_H
#define FJ_EMU_CHECK_STATE_H

#include "emu/check.h"
#include "emu/check_plan.h"

#define FJ_EMU_PLACES 256
#define FJ_EMU_CELL 4    // bytes of shared memory per cell
#define FJ_EMU_ROW 16    // and per row
#define FJ_EMU_PAGE 1024 // and per page, which counts the changes of its rows
#define FJ_EMU_NEEDS 6
#define FJ_EMU_NOBODY UINT16_MAX // the writer of what nothing has written

// Clocks of the warps of a unit, then of its agents.
struct fj_emu_clocks {
    uint32_t *seen, *fenced;
};

struct fj_emu_place_state {
    uint32_t key;                   // 0: free
    uint16_t agent;                 // 0: none yet, else its clock
    struct fj_emu_clocks now, done; // gathered so far; at the latest completion
};

enum {
    FJ_EMU_CELL_GENERIC = 1, // last written through the generic proxy
    FJ_EMU_CELL_CP = 2,      // by a cp.async that has not been waited for
    FJ_EMU_CELL_ATOMIC = 4,
    FJ_EMU_ROW_WHOLE = 8,  // one access wrote all of the row
    FJ_EMU_ROW_SPLIT = 16, // its cells hold the state
    FJ_EMU_ROW_READ = 32,  // by a warp, since it was last written as a whole
};

struct fj_emu_cell {
    uint32_t clock;  // of the last write
    uint16_t writer; // warp or agent
    uint8_t written; // bytes that were ever written
    uint8_t last;    // bytes of the last write
    uint8_t flags;
};

// Lanes that accessed a row since their warp last ordered its lanes: a byte per cell, valid while
// the key is the warp's. A lane's number, or one of these.
#define FJ_EMU_LANES_MANY 0x40u  // several lanes, all of the cell each
#define FJ_EMU_LANES_NONE 0x80u  // no lane
#define FJ_EMU_LANES_MIXED 0xc0u // parts of the cell: nothing can be said
#define FJ_EMU_EACH_CELL 0x01010101u

struct fj_emu_row {
    uint32_t clock;
    uint16_t writer;
    uint8_t flags;
    uint32_t write_key, write_lanes, read_key, read_lanes;
};

// Shared memory that an asynchronous operation reads.
struct fj_emu_tile {
    uint64_t desc;   // of a matrix
    uint32_t lo, hi; // full addresses around it
    uint16_t n;      // of wgmma's B, 0: rows of A, or a plain range from lo to hi
    uint8_t slice;   // of A: the warp
    bool matrix, mn_major;
    // What a reader must have seen: valid while the pages count `version` changes.
    uint64_t version;
    uint8_t n_needs;
    struct {
        uint32_t clock;
        uint16_t writer;
        bool generic;
    } needs[FJ_EMU_NEEDS];
};

// A warp's reads of a tile: the group of the one under way, 0: none; the clock of the latest done.
struct fj_emu_use {
    uint32_t group, done;
};

// A range of shared memory that a cp.async writes, or (address) a tile that a group reads.
struct fj_emu_range {
    uint32_t address, bytes, group;
};

struct fj_emu_ranges {
    struct fj_emu_range *items;
    uint32_t n, cap, committed; // committed: groups so far
};

struct fj_emu_check_warp {
    struct fj_emu_clocks clocks;
    uint32_t sync_key;    // changes where the warp orders its lanes
    uint32_t *written;    // by register: lanes
    uint32_t *pending;    // by register: wgmma group that uses it, 0: none
    uint8_t *accumulates; // by register: whether that group writes it
    uint32_t *changed;    // by register: when it was last written by another instruction
    uint32_t now, fence;  // changes so far; at the latest wgmma.fence
    uint32_t wg_committed, wg_done;
    struct fj_emu_ranges wgmma, bulk, cp;
    struct fj_emu_use *uses; // by tile
    uint32_t cap_uses;
};

struct fj_emu_check {
    const struct fj_emu_code *code;
    const struct fj_emu_plan *plan;
    int n_ctas, n_warps; // warps of the unit
    uint32_t n_rows, n_regs;
    uint32_t n_clocks;              // in use: the warps', then the agents'
    uint32_t base;                  // clocks of earlier units end here
    uint16_t agents[FJ_EMU_PLACES]; // the place of each
    uint32_t agent_clock[FJ_EMU_PLACES];
    struct fj_emu_row *rows;   // [cta][row]
    struct fj_emu_cell *cells; // [cta][row][4], valid for split rows
    uint32_t (*read)[4];       // [cta][row][warp]: clocks of the last reads of its cells
    uint32_t *pages;           // [cta][page]
    uint32_t n_pages;
    struct fj_emu_check_warp *warps;
    struct fj_emu_place_state places[FJ_EMU_PLACES];
    struct fj_emu_tile *tiles;
    uint32_t n_tiles, cap_tiles;
    uint32_t *tile_table, tile_slots; // hash of what names it -> tile + 1
    uint8_t tag;                      // of this unit's writes to global memory; 0: not followed
};

static inline int fj_emu_check_id(const struct fj_emu_warp *w)
{
    return (int)(w - w->cta->unit->warps);
}

static inline struct fj_emu_check_warp *fj_emu_check_of(const struct fj_emu_warp *w)
{
    return &w->cta->unit->check->warps[fj_emu_check_id(w)];
}

// A shared address with its CTA's rank filled in.
static inline uint32_t fj_emu_full_address(const struct fj_emu_warp *w, uint32_t address)
{
    if (address >> FJ_EMU_SHARED_RANK_SHIFT != 0)
        return address;
    return address | (w->cta->rank + 1) << FJ_EMU_SHARED_RANK_SHIFT;
}

// The row of a full address.
static inline size_t fj_emu_row_of(const struct fj_emu_check *check, uint32_t address)
{
    const size_t cta = (address >> FJ_EMU_SHARED_RANK_SHIFT) - 1;
    return cta * check->n_rows + (address & FJ_EMU_SHARED_OFFSET_MASK) / FJ_EMU_ROW;
}

static inline uint32_t *fj_emu_page_of(const struct fj_emu_check *check, uint32_t address)
{
    const size_t cta = (address >> FJ_EMU_SHARED_RANK_SHIFT) - 1;
    return &check
                ->pages[cta * check->n_pages + (address & FJ_EMU_SHARED_OFFSET_MASK) / FJ_EMU_PAGE];
}

// The warp orders its lanes: what they access from here is after what they accessed before.
static inline void fj_emu_check_sync(struct fj_emu_warp *w)
{
    fj_emu_check_of(w)->sync_key += 1024; // the low bits are the warp
}

// check_rows.c: one cell after the other.
// The cells of a row, made from its state when it was whole.
struct fj_emu_cell *fj_emu_row_split(struct fj_emu_check *check, size_t row);
// The state of cell `i` of a row, whole or not.
struct fj_emu_cell fj_emu_row_cell(const struct fj_emu_check *check, size_t row, int i);
// A row whose cells have come to one state is whole again.
void fj_emu_row_unite(struct fj_emu_check *check, size_t row);
// An access of the lanes `exec`.
bool fj_emu_check_each(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                       uint32_t bytes, enum fj_emu_access access,
                       const uint32_t address[FJ_EMU_LANES]);
// A write of the async proxy or of cp.async to a range, in the name of `writer`.
bool fj_emu_check_fill(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       uint32_t address, uint32_t bytes, uint16_t writer, uint32_t clock,
                       uint8_t flags);
// Whether a write of `w` to `bytes` of a cell collides with what others did there. true: reported.
bool fj_emu_check_collision(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                            uint32_t address, uint8_t bytes);
// Whether reading is too early: unwritten, racing, or a copy still under way. true: reported.
bool fj_emu_check_early(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, uint8_t bytes, bool async_proxy);

// Whether a warp's read of the row that is not ordered before `w` forbids that it is written.
static inline bool fj_emu_row_racing(const struct fj_emu_check *check, size_t row,
                                     const uint32_t *seen)
{
    const uint32_t(*read)[4] = (const uint32_t(*)[4])check->read + row * (size_t)check->n_warps;
    uint32_t racing = 0;
    for (int r = 0; r < check->n_warps; r++) {
        for (int i = 0; i < 4; i++)
            racing |= read[r][i] > seen[r];
    }
    return racing != 0;
}

// check_tiles.c
// The tile's number, made on first use; -1: out of memory. `hi` 0: of the matrix `like` describes.
int fj_emu_tile_find(struct fj_emu_check *check, const struct fj_emu_tile *like);
// An asynchronous read of the tile begins. false: it is too early, and the warp has been stopped.
bool fj_emu_tile_read(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, int tile,
                      struct fj_emu_ranges *groups);
// The reads of all groups but the last `pending` are done.
void fj_emu_tiles_done(struct fj_emu_warp *w, struct fj_emu_ranges *groups, uint32_t pending);
// Whether a tile around [lo, hi) is being read or was read unordered before `w`: to look closer.
bool fj_emu_tiles_near(const struct fj_emu_warp *w, uint32_t lo, uint32_t hi);
// The same, exactly, for a write of 4 bytes. true: reported.
bool fj_emu_tiles_collision(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                            uint32_t address);

void fj_emu_ranges_add(struct fj_emu_ranges *ranges, uint32_t address, uint32_t bytes);
// The place's index, made on first use; -1 when there are too many.
int fj_emu_place_find(struct fj_emu_check *check, uint32_t key);
uint32_t fj_emu_place_key(const struct fj_emu_warp *w, enum fj_emu_place place, uint32_t id);
// "warp 3", or "a bulk copy on mbarrier 0x480".
void fj_emu_describe_writer(const struct fj_emu_check *check, uint16_t writer, char *text,
                            size_t cap);

#endif
