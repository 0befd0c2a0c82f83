// Life of the checks' state, and the clocks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/check_state.h"

#define CLOCK_LIMIT (1u << 30) // units start over with clocks past this

static uint32_t most_clocks(const struct fj_emu_check *check)
{
    return (uint32_t)check->n_warps + FJ_EMU_PLACES;
}

// Both vectors in one piece.
static bool clocks_alloc(const struct fj_emu_check *check, struct fj_emu_clocks *c)
{
    const uint32_t n = most_clocks(check);
    c->seen = calloc(2 * (size_t)n, sizeof(uint32_t));
    c->fenced = c->seen + n;
    return c->seen != NULL;
}

static void join(uint32_t *to, const uint32_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = from[i] > to[i] ? from[i] : to[i];
}

static void clocks_join(const struct fj_emu_check *check, struct fj_emu_clocks *to,
                        const struct fj_emu_clocks *from)
{
    join(to->seen, from->seen, check->n_clocks);
    join(to->fenced, from->fenced, check->n_clocks);
}

static bool warp_alloc(struct fj_emu_check *check, struct fj_emu_check_warp *cw, int id)
{
    const size_t n = check->n_regs + 1;
    cw->written = calloc(n, sizeof(uint32_t));
    cw->pending = calloc(n, sizeof(uint32_t));
    cw->accumulates = calloc(n, 1);
    cw->changed = calloc(n, sizeof(uint32_t));
    cw->sync_key = 1024 + (uint32_t)id;
    return clocks_alloc(check, &cw->clocks) && cw->written && cw->pending && cw->accumulates &&
           cw->changed;
}

struct fj_emu_check *fj_emu_check_new(const struct fj_emu_code *code,
                                      const struct fj_emu_plan *plan, int n_ctas, int n_warps,
                                      uint32_t smem_bytes)
{
    struct fj_emu_check *check = calloc(1, sizeof(*check));
    if (check == NULL)
        return NULL;
    check->code = code;
    check->plan = plan;
    check->n_ctas = n_ctas;
    check->n_warps = n_ctas * n_warps;
    check->n_rows = (smem_bytes + FJ_EMU_ROW - 1) / FJ_EMU_ROW;
    check->n_pages = smem_bytes / FJ_EMU_PAGE + 1;
    check->n_regs = (uint32_t)code->entry->n_regs;
    const size_t rows = (size_t)check->n_rows * (size_t)n_ctas + 1;
    check->rows = calloc(rows, sizeof(*check->rows));
    check->cells = calloc(rows * 4, sizeof(*check->cells));
    check->read = calloc(rows * (size_t)check->n_warps, sizeof(*check->read));
    check->pages = calloc((size_t)check->n_pages * (size_t)n_ctas, sizeof(*check->pages));
    check->warps = calloc((size_t)check->n_warps, sizeof(*check->warps));
    bool ok = check->rows && check->cells && check->read && check->pages && check->warps;
    for (int i = 0; ok && i < check->n_warps; i++)
        ok = warp_alloc(check, &check->warps[i], i);
    if (ok)
        return check;
    fj_emu_check_free(check);
    return NULL;
}

static void warp_free(struct fj_emu_check_warp *cw)
{
    free(cw->clocks.seen);
    free(cw->written);
    free(cw->pending);
    free(cw->accumulates);
    free(cw->changed);
    free(cw->wgmma.items);
    free(cw->bulk.items);
    free(cw->cp.items);
    free(cw->uses);
}

void fj_emu_check_free(struct fj_emu_check *check)
{
    if (check == NULL)
        return;
    for (int i = 0; check->warps != NULL && i < check->n_warps; i++)
        warp_free(&check->warps[i]);
    for (int i = 0; i < FJ_EMU_PLACES; i++) {
        free(check->places[i].now.seen);
        free(check->places[i].done.seen);
    }
    free(check->rows);
    free(check->cells);
    free(check->read);
    free(check->pages);
    free(check->warps);
    free(check->tiles);
    free(check->tile_table);
    free(check);
}

// Clocks go on from unit to unit, so that what earlier ones left behind is ordered before
// everything: only the latest clock has to be known.
static void advance_base(struct fj_emu_check *check)
{
    uint32_t top = check->base;
    for (int i = 0; i < check->n_warps; i++) {
        const uint32_t *seen = check->warps[i].clocks.seen;
        for (uint32_t k = 0; k < check->n_clocks; k++)
            top = seen[k] > top ? seen[k] : top;
    }
    for (int i = 0; i < FJ_EMU_PLACES; i++) {
        top = check->agent_clock[i] > top ? check->agent_clock[i] : top;
        check->places[i].key = 0;
        check->places[i].agent = 0;
    }
    check->base = top;
}

static void forget_clocks(struct fj_emu_check *check)
{
    const size_t rows = (size_t)check->n_rows * (size_t)check->n_ctas;
    const size_t bytes = 2 * (size_t)most_clocks(check) * sizeof(uint32_t);
    memset(check->read, 0, rows * (size_t)check->n_warps * sizeof(*check->read));
    for (int i = 0; i < FJ_EMU_PLACES; i++) {
        if (check->places[i].now.seen != NULL)
            memset(check->places[i].now.seen, 0, bytes);
        if (check->places[i].done.seen != NULL)
            memset(check->places[i].done.seen, 0, bytes);
    }
    for (int i = 0; i < check->n_warps; i++) {
        if (check->warps[i].uses != NULL)
            memset(check->warps[i].uses, 0, check->warps[i].cap_uses * sizeof(struct fj_emu_use));
    }
    memset(check->agent_clock, 0, sizeof(check->agent_clock));
    check->base = 0;
}

static void ranges_clear(struct fj_emu_ranges *ranges)
{
    ranges->n = ranges->committed = 0;
}

static void warp_reset(struct fj_emu_check *check, int id)
{
    struct fj_emu_check_warp *cw = &check->warps[id];
    const size_t regs = check->n_regs + 1;
    for (uint32_t i = 0; i < most_clocks(check); i++)
        cw->clocks.seen[i] = cw->clocks.fenced[i] = check->base;
    cw->clocks.seen[id] = check->base + 1;
    memset(cw->written, 0, regs * sizeof(uint32_t));
    memset(cw->pending, 0, regs * sizeof(uint32_t));
    memset(cw->changed, 0, regs * sizeof(uint32_t));
    memset(cw->accumulates, 0, regs);
    cw->sync_key += 1024;
    cw->now = 1;
    cw->fence = cw->wg_committed = cw->wg_done = 0;
    for (uint32_t i = 0; i < cw->cap_uses; i++)
        cw->uses[i].group = 0;
    ranges_clear(&cw->wgmma);
    ranges_clear(&cw->bulk);
    ranges_clear(&cw->cp);
}

// Marks that tell the units of a launch apart in the bytes they write; 0 and 1 mean something else.
static uint8_t tag_of(const struct fj_emu_check *check, uint64_t unit)
{
    return check->plan->orders_ctas ? 1 : (uint8_t)(unit % 254 + 2);
}

void fj_emu_check_reset(struct fj_emu_check *check, uint64_t unit)
{
    const size_t rows = (size_t)check->n_rows * (size_t)check->n_ctas;
    advance_base(check);
    if (check->base > CLOCK_LIMIT)
        forget_clocks(check);
    check->n_clocks = (uint32_t)check->n_warps;
    check->tag = tag_of(check, unit);
    memset(check->rows, 0, rows * sizeof(*check->rows));
    for (size_t i = 0; i < rows; i++)
        check->rows[i].writer = FJ_EMU_NOBODY;
    for (size_t i = 0; i < (size_t)check->n_pages * (size_t)check->n_ctas; i++)
        check->pages[i]++;
    for (int i = 0; i < check->n_warps; i++)
        warp_reset(check, i);
}

uint32_t fj_emu_place_key(const struct fj_emu_warp *w, enum fj_emu_place place, uint32_t id)
{
    if (place == FJ_EMU_PLACE_MBAR)
        return fj_emu_full_address(w, id);
    if (place == FJ_EMU_PLACE_CLUSTER)
        return 0xffffffffu;
    return 0x80000000u | w->cta->rank << 8 | (id + 1);
}

int fj_emu_place_find(struct fj_emu_check *check, uint32_t key)
{
    uint32_t at = key * 2654435761u % FJ_EMU_PLACES;
    for (int i = 0; i < FJ_EMU_PLACES; i++, at = (at + 1) % FJ_EMU_PLACES) {
        struct fj_emu_place_state *place = &check->places[at];
        if (place->key == key)
            return (int)at;
        if (place->key != 0)
            continue;
        if ((place->now.seen == NULL && !clocks_alloc(check, &place->now)) ||
            (place->done.seen == NULL && !clocks_alloc(check, &place->done)))
            return -1;
        place->key = key;
        return (int)at;
    }
    return -1;
}

void fj_emu_describe_writer(const struct fj_emu_check *check, uint16_t writer, char *text,
                            size_t cap)
{
    if (writer < check->n_warps)
        snprintf(text, cap, "warp %d", writer % (check->n_warps / check->n_ctas));
    else
        snprintf(text, cap, "a bulk copy on mbarrier 0x%x",
                 check->places[check->agents[writer - check->n_warps]].key &
                     FJ_EMU_SHARED_OFFSET_MASK);
}

void fj_emu_check_release(struct fj_emu_warp *w, enum fj_emu_place kind, uint32_t id)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int place = fj_emu_place_find(check, fj_emu_place_key(w, kind, id));
    struct fj_emu_clocks *clocks = &fj_emu_check_of(w)->clocks;
    if (place >= 0)
        clocks_join(check, &check->places[place].now, clocks);
    clocks->seen[fj_emu_check_id(w)]++;
    fj_emu_check_sync(w);
}

void fj_emu_check_complete(struct fj_emu_warp *w, enum fj_emu_place kind, uint32_t id)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int place = fj_emu_place_find(check, fj_emu_place_key(w, kind, id));
    if (place >= 0)
        clocks_join(check, &check->places[place].done, &check->places[place].now);
}

void fj_emu_check_acquire(struct fj_emu_warp *w, enum fj_emu_place kind, uint32_t id)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int place = fj_emu_place_find(check, fj_emu_place_key(w, kind, id));
    if (place >= 0)
        clocks_join(check, &fj_emu_check_of(w)->clocks, &check->places[place].done);
    fj_emu_check_sync(w);
}

void fj_emu_check_proxy_fence(struct fj_emu_warp *w)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    struct fj_emu_clocks *clocks = &fj_emu_check_of(w)->clocks;
    memcpy(clocks->fenced, clocks->seen, check->n_clocks * sizeof(uint32_t));
}

void fj_emu_check_order_lanes(struct fj_emu_warp *w)
{
    fj_emu_check_sync(w);
}
