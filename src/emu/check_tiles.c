// Tiles of shared memory that wgmmas and bulk stores read.
//
// What a tile's reader must have seen is worked out from its rows once, and again only after a row
// around it has changed. Who has read it is noted per warp and tile, and asked when somebody
// writes there.
#include <stdlib.h>
#include <string.h>

#include "emu/check_state.h"

static void each_row(const struct fj_emu_tile *tile,
                     void (*visit)(void *user, uint32_t address, uint32_t bytes), void *user)
{
    if (!tile->matrix) {
        visit(user, tile->lo & FJ_EMU_SHARED_OFFSET_MASK, tile->hi - tile->lo);
        return;
    }
    const struct fj_emu_wgmma_op op = {
        .n = tile->n, .a_trans = tile->mn_major, .b_trans = tile->mn_major};
    fj_emu_wgmma_visit(&op, tile->n > 0, tile->slice, tile->desc, visit, user);
}

struct bounds {
    uint32_t lo, hi;
};

static void widen(void *user, uint32_t address, uint32_t bytes)
{
    struct bounds *bounds = user;
    bounds->lo = address < bounds->lo ? address : bounds->lo;
    bounds->hi = address + bytes > bounds->hi ? address + bytes : bounds->hi;
}

static bool same_tile(const struct fj_emu_tile *a, const struct fj_emu_tile *b)
{
    if (a->matrix != b->matrix ||
        a->lo >> FJ_EMU_SHARED_RANK_SHIFT != b->lo >> FJ_EMU_SHARED_RANK_SHIFT)
        return false;
    if (!a->matrix)
        return a->lo == b->lo && a->hi == b->hi;
    return a->desc == b->desc && a->n == b->n && a->slice == b->slice && a->mn_major == b->mn_major;
}

static uint32_t tile_hash(const struct fj_emu_tile *tile)
{
    uint64_t h =
        tile->matrix ? tile->desc * 4 + tile->mn_major : (uint64_t)tile->lo << 32 | tile->hi;
    h ^= (uint64_t)tile->n << 40 ^ (uint64_t)tile->slice << 52 ^
         (uint64_t)(tile->lo >> FJ_EMU_SHARED_RANK_SHIFT) << 56;
    return (uint32_t)((h * 0x9e3779b97f4a7c15ull) >> 32);
}

static bool make_room(struct fj_emu_check *check)
{
    if (check->n_tiles < check->cap_tiles)
        return true;
    const uint32_t cap = check->cap_tiles > 0 ? check->cap_tiles * 2 : 64;
    struct fj_emu_tile *tiles = realloc(check->tiles, cap * sizeof(*tiles));
    uint32_t *table = calloc((size_t)cap * 2, sizeof(*table));
    if (tiles != NULL)
        check->tiles = tiles;
    if (tiles == NULL || table == NULL) {
        free(table);
        return false;
    }
    free(check->tile_table);
    check->tile_table = table;
    check->tile_slots = cap * 2;
    check->cap_tiles = cap;
    for (uint32_t i = 0; i < check->n_tiles; i++) {
        uint32_t at = tile_hash(&tiles[i]) % check->tile_slots;
        while (table[at] != 0)
            at = (at + 1) % check->tile_slots;
        table[at] = i + 1;
    }
    return true;
}

int fj_emu_tile_find(struct fj_emu_check *check, const struct fj_emu_tile *like)
{
    const uint32_t hash = tile_hash(like);
    if (!make_room(check))
        return -1;
    uint32_t at = hash % check->tile_slots;
    for (; check->tile_table[at] != 0; at = (at + 1) % check->tile_slots) {
        const uint32_t i = check->tile_table[at] - 1;
        if (same_tile(&check->tiles[i], like))
            return (int)i;
    }
    struct fj_emu_tile *tile = &check->tiles[check->n_tiles];
    *tile = *like;
    tile->version = 0;
    if (tile->matrix) {
        struct bounds bounds = {.lo = UINT32_MAX};
        const uint32_t rank = like->lo & ~FJ_EMU_SHARED_OFFSET_MASK;
        each_row(tile, widen, &bounds);
        tile->lo = rank | bounds.lo;
        tile->hi = rank | bounds.hi;
    }
    check->tile_table[at] = ++check->n_tiles;
    return (int)check->n_tiles - 1;
}

// Counts only grow, so that an unchanged sum is an unchanged tile.
static uint64_t version_of(const struct fj_emu_check *check, const struct fj_emu_tile *tile)
{
    const uint32_t *page = fj_emu_page_of(check, tile->lo);
    const uint32_t *last = fj_emu_page_of(check, tile->hi - 1);
    uint64_t sum = 0;
    for (; page <= last; page++)
        sum += *page;
    return sum;
}

struct look {
    struct fj_emu_warp *w;
    const struct fj_emu_insn *in;
    struct fj_emu_tile *tile;
    int lane;
    uint32_t rank; // of full addresses
    bool simple, good;
};

static void add_need(struct look *look, const struct fj_emu_row *row)
{
    struct fj_emu_tile *tile = look->tile;
    const bool generic = row->flags & FJ_EMU_CELL_GENERIC;
    for (int i = 0; i < tile->n_needs; i++) {
        if (tile->needs[i].writer != row->writer || tile->needs[i].generic != generic)
            continue;
        if (row->clock > tile->needs[i].clock)
            tile->needs[i].clock = row->clock;
        return;
    }
    if (tile->n_needs == FJ_EMU_NEEDS) {
        look->simple = false;
        return;
    }
    tile->needs[tile->n_needs].clock = row->clock;
    tile->needs[tile->n_needs].writer = row->writer;
    tile->needs[tile->n_needs++].generic = generic;
}

static void gather_needs(void *user, uint32_t address, uint32_t bytes)
{
    struct look *look = user;
    const struct fj_emu_check *check = look->w->cta->unit->check;
    const size_t first = fj_emu_row_of(check, address | look->rank);
    const size_t last = fj_emu_row_of(check, (address + bytes - 1) | look->rank);
    for (size_t row = first; row <= last && look->simple; row++) {
        const struct fj_emu_row *r = &check->rows[row];
        if ((r->flags & (FJ_EMU_ROW_WHOLE | FJ_EMU_CELL_CP)) != FJ_EMU_ROW_WHOLE ||
            r->writer == FJ_EMU_NOBODY)
            look->simple = false;
        else
            add_need(look, r);
    }
}

static bool meets_needs(const struct fj_emu_warp *w, const struct fj_emu_tile *tile)
{
    const struct fj_emu_clocks *clocks = &fj_emu_check_of(w)->clocks;
    const int self = fj_emu_check_id(w);
    bool good = true;
    for (int i = 0; i < tile->n_needs; i++) {
        const uint16_t writer = tile->needs[i].writer;
        good &= writer == self || tile->needs[i].clock <= clocks->seen[writer];
        good &= !tile->needs[i].generic || tile->needs[i].clock <= clocks->fenced[writer];
    }
    return good;
}

static void look_closely(void *user, uint32_t address, uint32_t bytes)
{
    struct look *look = user;
    for (uint32_t i = 0; look->good && i < bytes; i += FJ_EMU_CELL)
        look->good = !fj_emu_check_early(look->w, look->in, look->lane, (address + i) | look->rank,
                                         15, true);
}

static bool tile_ready(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       struct fj_emu_tile *tile)
{
    struct look look = {.w = w,
                        .in = in,
                        .tile = tile,
                        .lane = lane,
                        .rank = tile->lo & ~FJ_EMU_SHARED_OFFSET_MASK,
                        .simple = true,
                        .good = true};
    const uint64_t version = version_of(w->cta->unit->check, tile);
    if (tile->version != version) {
        tile->n_needs = 0;
        each_row(tile, gather_needs, &look);
        tile->version = look.simple ? version : 0;
    }
    if (tile->version == version && meets_needs(w, tile))
        return true;
    each_row(tile, look_closely, &look);
    return look.good;
}

bool fj_emu_tile_read(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane, int tile,
                      struct fj_emu_ranges *groups)
{
    struct fj_emu_check *check = w->cta->unit->check;
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    if (tile < 0) // out of memory: a report less
        return true;
    if (!tile_ready(w, in, lane, &check->tiles[tile]))
        return false;
    if ((uint32_t)tile >= cw->cap_uses) {
        struct fj_emu_use *uses = realloc(cw->uses, check->cap_tiles * sizeof(*uses));
        if (uses == NULL)
            return true;
        memset(uses + cw->cap_uses, 0, (check->cap_tiles - cw->cap_uses) * sizeof(*uses));
        cw->uses = uses;
        cw->cap_uses = check->cap_tiles;
    }
    if (cw->uses[tile].group != groups->committed + 1) {
        cw->uses[tile].group = groups->committed + 1;
        fj_emu_ranges_add(groups, (uint32_t)tile, 0);
    }
    return true;
}

void fj_emu_tiles_done(struct fj_emu_warp *w, struct fj_emu_ranges *groups, uint32_t pending)
{
    struct fj_emu_check_warp *cw = fj_emu_check_of(w);
    const uint32_t upto = groups->committed > pending ? groups->committed - pending : 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < groups->n; i++) {
        struct fj_emu_use *use = &cw->uses[groups->items[i].address];
        if (groups->items[i].group > upto) {
            groups->items[kept++] = groups->items[i];
            continue;
        }
        use->done = cw->clocks.seen[fj_emu_check_id(w)];
        if (use->group == groups->items[i].group)
            use->group = 0;
    }
    groups->n = kept;
}

// The first warp whose read of the tile a write of `w` would disturb; -1: none.
static int disturbed(const struct fj_emu_warp *w, uint32_t tile)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const uint32_t *seen = fj_emu_check_of(w)->clocks.seen;
    for (int r = 0; r < check->n_warps; r++) {
        const struct fj_emu_check_warp *cw = &check->warps[r];
        if (tile < cw->cap_uses && (cw->uses[tile].group != 0 || cw->uses[tile].done > seen[r]))
            return r;
    }
    return -1;
}

bool fj_emu_tiles_near(const struct fj_emu_warp *w, uint32_t lo, uint32_t hi)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    for (uint32_t i = 0; i < check->n_tiles; i++) {
        const struct fj_emu_tile *tile = &check->tiles[i];
        if (tile->lo < hi && lo < tile->hi && disturbed(w, i) >= 0)
            return true;
    }
    return false;
}

struct hit {
    uint32_t address;
    bool found;
};

static void find_hit(void *user, uint32_t address, uint32_t bytes)
{
    struct hit *hit = user;
    hit->found |= hit->address >= address && hit->address < address + bytes;
}

bool fj_emu_tiles_collision(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                            uint32_t address)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    const int per_cta = check->n_warps / check->n_ctas;
    for (uint32_t i = 0; i < check->n_tiles; i++) {
        const struct fj_emu_tile *tile = &check->tiles[i];
        struct hit hit = {.address = address & FJ_EMU_SHARED_OFFSET_MASK};
        if (address < tile->lo || address >= tile->hi)
            continue;
        const int who = disturbed(w, i);
        if (who >= 0)
            each_row(tile, find_hit, &hit);
        if (!hit.found)
            continue;
        if (check->warps[who].uses[i].group != 0)
            fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ASYNC,
                        "shared address 0x%x is overwritten before warp %d has waited for its "
                        "wgmma or bulk store that reads it",
                        hit.address, who % per_cta);
        else
            fj_emu_stop(w, in, lane, FJ_EMU_FAULT_RACE,
                        "shared address 0x%x is written while warp %d reads it: no barrier between",
                        hit.address, who % per_cta);
        return true;
    }
    return false;
}
