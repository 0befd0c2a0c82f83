// The state of the checks of one unit.
//
// Order between warps is kept as vector clocks: every warp counts its releases; a barrier or
// mbarrier gathers the clocks of who arrives and hands them to who waits. An access is ordered
// after another when its warp's vector has reached the other's clock. Tensor and bulk loads are
// agents of their own, one per mbarrier: their writes are ordered before who waited on it. A second
// vector per warp holds what a fence.proxy.async has covered.
#ifndef FJ_EMU_CHECK_STATE_H
#define FJ_EMU_CHECK_STATE_H

#include "emu/check.h"

#define FJ_EMU_PLACES 256
#define FJ_EMU_CELL 4 // bytes of shared memory per cell

struct fj_emu_clocks {
    uint32_t *seen, *fenced;
};

struct fj_emu_place_state {
    uint32_t key;                   // 0: free
    struct fj_emu_clocks now, done; // gathered so far; at the latest completion
};

enum {
    FJ_EMU_CELL_GENERIC = 1, // last written through the generic proxy
    FJ_EMU_CELL_CP = 2,      // by a cp.async that has not been waited for
    FJ_EMU_CELL_ATOMIC = 4,
};

struct fj_emu_cell {
    uint32_t clock;  // of the last write
    uint16_t writer; // warp or agent; 0xffff: nobody
    uint8_t written; // bytes that were ever written
    uint8_t last;    // bytes of the last write
    uint8_t flags;
    uint32_t reading; // warps of the CTA with an asynchronous read under way
};

// A range of shared memory that an asynchronous operation of a group uses.
struct fj_emu_range {
    uint32_t address, bytes, group;
};

struct fj_emu_ranges {
    struct fj_emu_range *items;
    uint32_t n, cap, committed; // committed: groups so far
};

struct fj_emu_check_warp {
    struct fj_emu_clocks clocks;
    uint32_t *written;    // by register: lanes
    uint32_t *pending;    // by register: wgmma group that uses it, 0: none
    uint8_t *accumulates; // by register: whether that group writes it
    uint32_t *changed;    // by register: when it was last written by another instruction
    uint32_t now, fence;  // instructions so far; at the latest wgmma.fence
    uint32_t wg_committed, wg_done;
    struct fj_emu_ranges wgmma, bulk, cp;
};

struct fj_emu_check {
    const struct fj_emu_code *code;
    int n_ctas, n_warps; // warps of the unit
    uint32_t n_cells, n_clocks, n_regs;
    struct fj_emu_cell *cells; // [cta][cell]
    uint32_t *read;            // [cta][cell][warp]: clock of the last read
    struct fj_emu_check_warp *warps;
    struct fj_emu_place_state places[FJ_EMU_PLACES];
    uint32_t *agent_clock; // by place
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

// The first cell of a full address; its row of read clocks through *ret_read.
struct fj_emu_cell *fj_emu_cell_at(struct fj_emu_check *check, uint32_t address,
                                   uint32_t **ret_read);
// The place's index, made on first use; -1 when there are too many.
int fj_emu_place_find(struct fj_emu_check *check, uint32_t key);
uint32_t fj_emu_place_key(const struct fj_emu_warp *w, enum fj_emu_place place, uint32_t id);

void fj_emu_ranges_add(struct fj_emu_ranges *ranges, uint32_t address, uint32_t bytes);
// Calls `done` for the ranges of all groups but the last `pending`, and forgets them.
void fj_emu_ranges_finish(struct fj_emu_warp *w, struct fj_emu_ranges *ranges, uint32_t pending,
                          void (*done)(struct fj_emu_warp *w, const struct fj_emu_range *range));

// Whether a write of `w` to a cell collides with what others did there. true: reported.
bool fj_emu_check_collision(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                            uint32_t address, const struct fj_emu_cell *cell, const uint32_t *read,
                            uint8_t bytes);
// Whether reading is too early: unwritten, racing, or a copy still under way. true: reported.
bool fj_emu_check_early(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, const struct fj_emu_cell *cell, uint8_t bytes,
                        bool async_proxy);

#endif
