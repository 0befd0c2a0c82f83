// Life of the checks' state, and the clocks.
#include <stdlib.h>
#include <string.h>

#include "emu/check_state.h"

static bool clocks_alloc(struct fj_emu_clocks *c, uint32_t n)
{
    c->seen = calloc(n, sizeof(uint32_t));
    c->fenced = calloc(n, sizeof(uint32_t));
    return c->seen != NULL && c->fenced != NULL;
}

static void clocks_free(struct fj_emu_clocks *c)
{
    free(c->seen);
    free(c->fenced);
}

static void clocks_clear(struct fj_emu_clocks *c, uint32_t n)
{
    memset(c->seen, 0, n * sizeof(uint32_t));
    memset(c->fenced, 0, n * sizeof(uint32_t));
}

static void clocks_join(struct fj_emu_clocks *to, const struct fj_emu_clocks *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to->seen[i] = from->seen[i] > to->seen[i] ? from->seen[i] : to->seen[i];
        to->fenced[i] = from->fenced[i] > to->fenced[i] ? from->fenced[i] : to->fenced[i];
    }
}

static bool warp_alloc(struct fj_emu_check *check, struct fj_emu_check_warp *cw)
{
    const size_t n = check->n_regs + 1;
    cw->written = calloc(n, sizeof(uint32_t));
    cw->pending = calloc(n, sizeof(uint32_t));
    cw->accumulates = calloc(n, 1);
    cw->changed = calloc(n, sizeof(uint32_t));
    return clocks_alloc(&cw->clocks, check->n_clocks) && cw->written && cw->pending &&
           cw->accumulates && cw->changed;
}

struct fj_emu_check *fj_emu_check_new(const struct fj_emu_code *code, int n_ctas, int n_warps,
                                      uint32_t smem_bytes)
{
    struct fj_emu_check *check = calloc(1, sizeof(*check));
    if (check == NULL)
        return NULL;
    check->code = code;
    check->n_ctas = n_ctas;
    check->n_warps = n_ctas * n_warps;
    check->n_cells = (smem_bytes + FJ_EMU_CELL - 1) / FJ_EMU_CELL;
    check->n_clocks = (uint32_t)check->n_warps + FJ_EMU_PLACES;
    check->n_regs = (uint32_t)code->entry->n_regs;
    const size_t cells = (size_t)check->n_cells * (size_t)n_ctas;
    check->cells = calloc(cells + 1, sizeof(*check->cells));
    check->read = calloc(cells * (size_t)check->n_warps + 1, sizeof(uint32_t));
    check->agent_clock = calloc(FJ_EMU_PLACES, sizeof(uint32_t));
    check->warps = calloc((size_t)check->n_warps, sizeof(*check->warps));
    bool ok = check->cells && check->read && check->agent_clock && check->warps;
    for (int i = 0; ok && i < check->n_warps; i++)
        ok = warp_alloc(check, &check->warps[i]);
    if (ok)
        return check;
    fj_emu_check_free(check);
    return NULL;
}

void fj_emu_check_free(struct fj_emu_check *check)
{
    if (check == NULL)
        return;
    for (int i = 0; check->warps != NULL && i < check->n_warps; i++) {
        struct fj_emu_check_warp *cw = &check->warps[i];
        clocks_free(&cw->clocks);
        free(cw->written);
        free(cw->pending);
        free(cw->accumulates);
        free(cw->changed);
        free(cw->wgmma.items);
        free(cw->bulk.items);
        free(cw->cp.items);
    }
    for (int i = 0; i < FJ_EMU_PLACES; i++) {
        clocks_free(&check->places[i].now);
        clocks_free(&check->places[i].done);
    }
    free(check->cells);
    free(check->read);
    free(check->agent_clock);
    free(check->warps);
    free(check);
}

static void ranges_clear(struct fj_emu_ranges *ranges)
{
    ranges->n = ranges->committed = 0;
}

void fj_emu_check_reset(struct fj_emu_check *check)
{
    const size_t cells = (size_t)check->n_cells * (size_t)check->n_ctas;
    const size_t regs = check->n_regs + 1;
    memset(check->cells, 0, cells * sizeof(*check->cells));
    for (size_t i = 0; i < cells; i++)
        check->cells[i].writer = UINT16_MAX;
    memset(check->read, 0, cells * (size_t)check->n_warps * sizeof(uint32_t));
    memset(check->agent_clock, 0, FJ_EMU_PLACES * sizeof(uint32_t));
    for (int i = 0; i < check->n_warps; i++) {
        struct fj_emu_check_warp *cw = &check->warps[i];
        clocks_clear(&cw->clocks, check->n_clocks);
        cw->clocks.seen[i] = 1;
        memset(cw->written, 0, regs * sizeof(uint32_t));
        memset(cw->pending, 0, regs * sizeof(uint32_t));
        memset(cw->changed, 0, regs * sizeof(uint32_t));
        memset(cw->accumulates, 0, regs);
        cw->now = 1;
        cw->fence = cw->wg_committed = cw->wg_done = 0;
        ranges_clear(&cw->wgmma);
        ranges_clear(&cw->bulk);
        ranges_clear(&cw->cp);
    }
    for (int i = 0; i < FJ_EMU_PLACES; i++) {
        struct fj_emu_place_state *place = &check->places[i];
        place->key = 0;
        if (place->now.seen != NULL) {
            clocks_clear(&place->now, check->n_clocks);
            clocks_clear(&place->done, check->n_clocks);
        }
    }
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
        if (place->now.seen == NULL && (!clocks_alloc(&place->now, check->n_clocks) ||
                                        !clocks_alloc(&place->done, check->n_clocks)))
            return -1;
        place->key = key;
        return (int)at;
    }
    return -1;
}

void fj_emu_check_release(struct fj_emu_warp *w, enum fj_emu_place kind, uint32_t id)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int place = fj_emu_place_find(check, fj_emu_place_key(w, kind, id));
    struct fj_emu_clocks *clocks = &fj_emu_check_of(w)->clocks;
    if (place >= 0)
        clocks_join(&check->places[place].now, clocks, check->n_clocks);
    clocks->seen[fj_emu_check_id(w)]++;
}

void fj_emu_check_complete(struct fj_emu_warp *w, enum fj_emu_place kind, uint32_t id)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int place = fj_emu_place_find(check, fj_emu_place_key(w, kind, id));
    if (place >= 0)
        clocks_join(&check->places[place].done, &check->places[place].now, check->n_clocks);
}

void fj_emu_check_acquire(struct fj_emu_warp *w, enum fj_emu_place kind, uint32_t id)
{
    struct fj_emu_check *check = w->cta->unit->check;
    const int place = fj_emu_place_find(check, fj_emu_place_key(w, kind, id));
    if (place >= 0)
        clocks_join(&fj_emu_check_of(w)->clocks, &check->places[place].done, check->n_clocks);
}

void fj_emu_check_proxy_fence(struct fj_emu_warp *w)
{
    const struct fj_emu_check *check = w->cta->unit->check;
    struct fj_emu_clocks *clocks = &fj_emu_check_of(w)->clocks;
    for (uint32_t i = 0; i < check->n_clocks; i++)
        clocks->fenced[i] = clocks->seen[i];
}

void fj_emu_ranges_add(struct fj_emu_ranges *ranges, uint32_t address, uint32_t bytes)
{
    struct fj_emu_range *last = ranges->n > 0 ? &ranges->items[ranges->n - 1] : NULL;
    if (last != NULL && last->group == ranges->committed + 1 &&
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

void fj_emu_ranges_finish(struct fj_emu_warp *w, struct fj_emu_ranges *ranges, uint32_t pending,
                          void (*done)(struct fj_emu_warp *w, const struct fj_emu_range *range))
{
    const uint32_t upto = ranges->committed > pending ? ranges->committed - pending : 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < ranges->n; i++) {
        if (ranges->items[i].group <= upto)
            done(w, &ranges->items[i]);
        else
            ranges->items[kept++] = ranges->items[i];
    }
    ranges->n = kept;
}
