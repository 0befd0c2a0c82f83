#include "trace_tile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/num.h"

#define LANES 32
#define TILE_MAX (1 << 20) // elements of a tile in shared memory

struct placer {
    const struct fj_watch_text *watch;
    const struct fj_fragment *fragment;
    struct fj_elements *elements;
    int first_row; // of the warp
    bool failed;   // out of memory
};

bool fj_watch_parse(const char *text, struct fj_watch_text *ret_watch)
{
    struct fj_watch_text w = {.tiles = 1, .inner = 1};
    int counts[3] = {1, 1, 1}, used = 0;
    if (sscanf(text, "%63s %d %d %15s %n", w.name, &w.rows, &w.cols, w.kind, &used) != 4 || !used)
        return false;
    int n = sscanf(text + used, "%dx%dx%d", &counts[0], &counts[1], &counts[2]);
    if (n < 1 || w.rows < 1 || w.cols < 1 || counts[0] < 1 || counts[1] < 1 || counts[2] < 1)
        return false;
    w.pitch = counts[0];
    w.tiles = n > 1 ? counts[0] : 1;
    w.inner = n > 1 ? counts[1] * counts[2] : counts[0];
    *ret_watch = w;
    return true;
}

static float as_float(uint64_t bits)
{
    uint32_t word = (uint32_t)bits;
    float value;
    memcpy(&value, &word, sizeof(value));
    return value;
}

static float half_at(const struct fj_watch_text *watch, uint64_t bits, int which)
{
    uint16_t half = (uint16_t)(bits >> (16 * which));
    return strstr(watch->kind, "bf16") ? fj_bf16_to_f32(half) : fj_f16_to_f32(half);
}

static void put(struct placer *p, int row, int col, float value)
{
    struct fj_elements *e = p->elements;
    // Fragments are padded to whole tiles.
    if (row >= p->watch->rows || col >= p->watch->cols || p->failed)
        return;
    if (e->count == e->capacity) {
        int capacity = e->capacity ? 2 * e->capacity : 1024;
        void *grown = realloc(e->items, (size_t)capacity * sizeof(*e->items));
        if (!grown) {
            p->failed = true;
            return;
        }
        e->items = grown;
        e->capacity = capacity;
    }
    e->items[e->count++] = (struct fajit_trace_element){.row = row, .col = col, .value = value};
}

static bool active(const struct placer *p, int lane)
{
    return p->fragment->lanes >> lane & 1;
}

static uint64_t bits_of(const struct placer *p, int reg, int lane)
{
    return p->fragment->registers[(size_t)reg * LANES + (size_t)lane];
}

// --- mma.sync and wgmma: a row lies in the four lanes of a quad ---

static void place_acc(struct placer *p, int reg, int lane)
{
    int tile = reg / p->watch->inner, r = reg % p->watch->inner;
    int row = p->first_row + 16 * tile + lane / 4 + 8 * (r / 2 % 2);
    put(p, row, r / 4 * 8 + 2 * (lane % 4) + r % 2, as_float(bits_of(p, reg, lane)));
}

// Pairs of 16-bit elements, as the A operand takes them.
static void place_a(struct placer *p, int reg, int lane)
{
    int tile = reg / p->watch->inner, r = reg % p->watch->inner;
    int row = p->first_row + 16 * tile + lane / 4 + 8 * (r % 2);
    int col = r / 4 * 16 + r / 2 % 2 * 8 + 2 * (lane % 4);
    for (int i = 0; i < 2; i++)
        put(p, row, col + i, half_at(p->watch, bits_of(p, reg, lane), i));
}

// One value per row in `lanes` neighbouring lanes: the same in all of them, or partial sums.
static void place_lanes(struct placer *p, int reg, int lane, int lanes, int row, bool sum)
{
    if (lane % lanes)
        return;
    float value = 0.0f;
    bool any = false;
    for (int i = lane; i < lane + lanes; i++) {
        if (!active(p, i) || (any && !sum))
            continue;
        value += as_float(bits_of(p, reg, i));
        any = true;
    }
    if (any)
        put(p, row, 0, value);
}

static int quad_row(const struct placer *p, int reg, int lane)
{
    return p->first_row + 8 * reg + lane / 4;
}

static void place_row(struct placer *p, int reg, int lane)
{
    place_lanes(p, reg, lane, 4, quad_row(p, reg, lane), false);
}

static void place_row_sum(struct placer *p, int reg, int lane)
{
    place_lanes(p, reg, lane, 4, quad_row(p, reg, lane), true);
}

// --- simt: threads form a 16 x 16 grid (ty, tx) ---

static int grid_row(const struct placer *p, int i, int lane)
{
    return 2 * p->fragment->warp + lane / 16 + 16 * i;
}

static void place_grid(struct placer *p, int reg, int lane)
{
    if (p->watch->cols == 1) {
        place_lanes(p, reg, lane, 16, grid_row(p, reg, lane), false);
        return;
    }
    int row = grid_row(p, reg / p->watch->inner, lane);
    if (active(p, lane))
        put(p, row, lane % 16 + 16 * (reg % p->watch->inner), as_float(bits_of(p, reg, lane)));
}

static void place_grid_sum(struct placer *p, int reg, int lane)
{
    place_lanes(p, reg, lane, 16, grid_row(p, reg, lane), true);
}

// Threads of 8 x 8 elements each, in groups of four that lie half a tile apart.
static void place_eights(struct placer *p, int reg, int lane)
{
    const int width = p->watch->cols / 8;
    const int thread = 32 * p->fragment->warp + lane, i = reg / 8, j = reg % 8;
    if (!width || p->watch->tiles * p->watch->inner != 64)
        return;
    put(p, i / 4 * (p->watch->rows / 2) + thread / width * 4 + i % 4,
        j / 4 * (p->watch->cols / 2) + thread % width * 4 + j % 4, as_float(bits_of(p, reg, lane)));
}

static void place_word(struct placer *p, int reg, int lane)
{
    put(p, lane, reg, (float)(uint32_t)bits_of(p, reg, lane));
}

// --- Shared memory: fp32 or 16-bit elements; grid_smem: only the rows of the warp ---

static float read_shared(const struct placer *p, const uint8_t *at)
{
    uint32_t bits = 0;
    bool wide = strstr(p->watch->kind, "16") == NULL;
    memcpy(&bits, at, wide ? 4 : 2);
    return wide ? as_float(bits) : half_at(p->watch, bits, 0);
}

// Byte offset of an element in its tile. Swizzled tiles lie in panels of 128 bytes, that is 64
// columns, and `pitch` rows; in them, the 16-byte chunk c of row r is at c ^ r % 8.
static uint64_t shared_offset(const struct fj_watch_text *w, int row, int col)
{
    const uint64_t bytes = strstr(w->kind, "16") ? 2 : 4, pitch = (uint64_t)w->pitch;
    if (strncmp(w->kind, "swizzle_", 8) != 0)
        return ((uint64_t)row * pitch + (uint64_t)col) * bytes;
    const uint64_t chunk = (uint64_t)(col % 64 / 8 ^ row % 8);
    return ((uint64_t)(col / 64) * pitch + (uint64_t)row) * 128 + chunk * 16 +
           (uint64_t)(col % 8) * bytes;
}

static int place_shared(struct placer *p)
{
    const struct fj_watch_text *w = p->watch;
    const struct fj_fragment *f = p->fragment;
    const uint64_t bytes = strstr(w->kind, "16") ? 2 : 4;
    const bool own_rows = strcmp(w->kind, "grid_smem") == 0;
    int lane = 0;
    while (lane < LANES - 1 && !active(p, lane))
        lane++;
    // Generic addresses carry their window in the high half.
    const uint64_t begin = (uint32_t)bits_of(p, 0, lane);
    bool inside = (uint64_t)w->rows * (uint64_t)w->cols <= TILE_MAX && begin >= f->shared_begin;
    for (int row = 0; inside && row < w->rows; row++)
        for (int col = 0; inside && col < w->cols; col++) {
            const uint64_t at = begin + shared_offset(w, row, col);
            inside = at + bytes <= f->shared_end;
            if (inside && (!own_rows || row % 16 / 2 == f->warp))
                put(p, row, col, read_shared(p, f->shared + at));
        }
    return inside
               ? FAJIT_OK
               : fj_err(FAJIT_E_TEMPLATE, "the watch of %s does not lie in shared memory", w->name);
}

// --- All kinds ---

static const struct kind {
    const char *name;
    void (*place)(struct placer *p, int reg, int lane);
    bool all_lanes; // asks for its lanes itself
    int per_tile;   // registers of a 16-row tile when the watch does not say; 0: no such tiles
} kinds[] = {
    {"acc", place_acc, false, 1},          {"a_f16", place_a, false, 1},
    {"a_bf16", place_a, false, 1},         {"row", place_row, true, 2},
    {"row_sum", place_row_sum, true, 2},   {"grid", place_grid, true, 0},
    {"grid_sum", place_grid_sum, true, 0}, {"grid_8x8", place_eights, false, 0},
    {"u32", place_word, false, 0},
};

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

// Warps lie below each other and own as many 16-row tiles each. A tile of 64 rows is that of a
// warpgroup: its warps count from 0 again.
static int first_row(const struct fj_watch_text *watch, const struct kind *kind, int warp)
{
    int tiles = kind->per_tile == 2 ? watch->tiles * watch->inner / 2 : watch->tiles;
    int rows = 16 * (tiles ? tiles : 1);
    int warps = kind->per_tile ? watch->rows / rows : 0;
    return warps > 1 ? warp % warps * rows : 0;
}

static bool is_shared(const char *kind)
{
    static const char *const names[] = {"smem_f32",  "smem_f16",    "smem_bf16",
                                        "grid_smem", "swizzle_f16", "swizzle_bf16"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], kind) == 0)
            return true;
    return false;
}

static int by_place(const void *left, const void *right)
{
    const struct fajit_trace_element *a = left, *b = right;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return a->col < b->col ? -1 : a->col > b->col;
}

static int place_registers(struct placer *p)
{
    const struct fj_watch_text *w = p->watch;
    const struct kind *kind = find_kind(w->kind);
    if (!kind)
        return fj_err(
            FAJIT_E_TEMPLATE,
            "the watch of %s has the kind '%s'; acc, a_f16, a_bf16, row, row_sum, grid, "
            "grid_sum, grid_smem, grid_8x8, u32, smem_f32, smem_f16, smem_bf16, swizzle_f16 and "
            "swizzle_bf16 are known",
            w->name, w->kind);
    p->first_row = first_row(w, kind, p->fragment->warp);
    for (int reg = 0; reg < p->fragment->n_registers; reg++)
        for (int lane = 0; lane < LANES; lane++)
            if (kind->all_lanes || active(p, lane))
                kind->place(p, reg, lane);
    return FAJIT_OK;
}

int fj_watch_elements(const struct fj_watch_text *watch, const struct fj_fragment *fragment,
                      struct fj_elements *elements)
{
    struct placer p = {.watch = watch, .fragment = fragment, .elements = elements};
    const bool shared = is_shared(watch->kind);
    const int wanted = shared ? 1 : watch->tiles * watch->inner;
    elements->count = 0;
    if (fragment->n_registers != wanted)
        return fj_err(FAJIT_E_TEMPLATE, "the watch of %s names %d registers, the PTX %d",
                      watch->name, wanted, fragment->n_registers);
    int err = shared ? place_shared(&p) : place_registers(&p);
    if (err == 0 && p.failed)
        err = fj_err(FAJIT_E_NOMEM, "no memory for the elements of %s", watch->name);
    if (err == 0)
        qsort(elements->items, (size_t)elements->count, sizeof(*elements->items), by_place);
    return err;
}
