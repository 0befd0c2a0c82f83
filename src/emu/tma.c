#include "emu/tma.h"

#include "emu/memory.h"
#include "emu/tma_map.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROW_BYTES 2048 // 256 elements of 8 bytes

// PTX names of the element types, for reductions.
static const char *const type_names[] = {"u8",  "u16", "u32",  "s32", "u64", "s64", "f16",
                                         "f32", "f64", "bf16", "f32", "f32", "f32"};

// One copy under way.
struct copy {
    struct fj_emu_tma_map map;
    const int32_t *coords;
    uint32_t row_bytes;
    uint32_t smem_address;
    char *text;
    size_t cap;
};

static bool read_map(const void *bytes, struct fj_emu_tma_map *ret_map)
{
    memcpy(ret_map, bytes, sizeof(*ret_map));
    return ret_map->magic == FJ_EMU_TMA_MAGIC;
}

static bool converts(const struct fj_emu_tma_map *map)
{
    return map->type > CU_TENSOR_MAP_DATA_TYPE_BFLOAT16; // .._FTZ and TFLOAT32
}

int fj_emu_tma_check(const void *bytes, int rank, uint32_t *ret_tile_bytes, char *ret_text,
                     size_t cap)
{
    struct fj_emu_tma_map map;
    if (!read_map(bytes, &map)) {
        snprintf(ret_text, cap, "the 128 bytes are no tensor map (made by cuTensorMapEncodeTiled)");
        return -1;
    }
    if (map.rank != rank) {
        snprintf(ret_text, cap, "a %d-dimensional copy of a tensor map of rank %d", rank, map.rank);
        return -1;
    }
    if (converts(&map)) {
        snprintf(ret_text, cap, "tensor maps that convert (tf32, ftz) are not emulated");
        return -1;
    }
    uint32_t total = (uint32_t)map.strides[0];
    for (int i = 0; i < rank; i++)
        total *= map.box[i];
    static const uint32_t spans[] = {0, 32, 64, 128};
    if (map.swizzle && map.box[0] * map.strides[0] != spans[map.swizzle]) {
        snprintf(ret_text, cap,
                 "a box row of %" PRIu64 " bytes under a swizzle of %" PRIu32
                 ": the GPU leaves gaps between such rows, which is not emulated",
                 map.box[0] * map.strides[0], spans[map.swizzle]);
        return -1;
    }
    if (map.swizzle && total % 128) {
        snprintf(ret_text, cap, "a swizzled box of %" PRIu32 " bytes is not whole 128-byte lines",
                 total);
        return -1;
    }
    *ret_tile_bytes = total;
    return 0;
}

static int begin(struct copy *ret, const void *bytes, int rank, const int32_t *coords,
                 uint32_t smem_address, char *ret_text, size_t cap)
{
    uint32_t tile_bytes;
    if (fj_emu_tma_check(bytes, rank, &tile_bytes, ret_text, cap))
        return -1;
    if (smem_address % 128) {
        snprintf(ret_text, cap, "the box's shared address 0x%" PRIx32 " is not a multiple of 128",
                 smem_address);
        return -1;
    }
    *ret =
        (struct copy){.coords = coords, .smem_address = smem_address, .text = ret_text, .cap = cap};
    read_map(bytes, &ret->map);
    ret->row_bytes = (uint32_t)(ret->map.box[0] * ret->map.strides[0]);
    return 0;
}

// An H200 stops with an illegal instruction where these are broken.
static int check_coordinates(const struct copy *copy, bool is_store)
{
    const struct fj_emu_tma_map *map = &copy->map;
    if (copy->coords[0] * (int64_t)map->strides[0] % 16) {
        snprintf(copy->text, copy->cap,
                 "the innermost coordinate %" PRId32 " is not a multiple of 16 bytes",
                 copy->coords[0]);
        return -1;
    }
    for (int i = 0; is_store && i < map->rank; i++)
        if (copy->coords[i] < 0) {
            snprintf(copy->text, copy->cap,
                     "coordinate %d of a store is %" PRId32 ": a box may end outside the tensor, "
                     "not begin before it",
                     i, copy->coords[i]);
            return -1;
        }
    return 0;
}

// Where 16-byte chunk `offset` of the dense box lies relative to the box's beginning. The swizzle
// exchanges bits of the shared address: bits 4-6 ^= bits 7-9 (64B: 4-5 ^= 7-8; 32B: 4 ^= 7).
static uint32_t place(const struct copy *copy, uint32_t offset)
{
    static const uint32_t mask[] = {0, 1, 3, 7};
    uint32_t addr = copy->smem_address + offset;
    addr ^= (addr >> 7 & mask[copy->map.swizzle]) << 4;
    return addr - copy->smem_address;
}

// The part of row `index` of the box that lies inside the tensor: bytes [low, high) of the row, and
// the address of byte `low`. An empty part has low == high.
struct part {
    uint32_t low, high;
    uint64_t address;
};

static struct part clip(const struct copy *copy, uint32_t index)
{
    const struct fj_emu_tma_map *map = &copy->map;
    uint64_t address = map->address;
    for (int i = 1; i < map->rank; i++) {
        int64_t at = copy->coords[i] + (int64_t)(index % map->box[i]) * map->steps[i];
        index /= map->box[i];
        if (at < 0 || (uint64_t)at >= map->dims[i])
            return (struct part){0};
        address += (uint64_t)at * map->strides[i];
    }
    int64_t first = copy->coords[0], end = first + map->box[0], size = (int64_t)map->strides[0];
    int64_t low = first < 0 ? -first : 0;
    int64_t high = end > (int64_t)map->dims[0] ? (int64_t)map->dims[0] - first : map->box[0];
    if (low >= high)
        return (struct part){0};
    return (struct part){(uint32_t)(low * size), (uint32_t)(high * size),
                         address + (uint64_t)((first + low) * size)};
}

static uint32_t row_count(const struct fj_emu_tma_map *map)
{
    uint32_t rows = 1;
    for (int i = 1; i < map->rank; i++)
        rows *= map->box[i];
    return rows;
}

static int refuse(const struct copy *copy, const char *verb, const struct part *part)
{
    char where[160];
    uint32_t bytes = part->high - part->low;
    fj_emu_mem_describe(part->address, bytes, where, sizeof(where));
    snprintf(copy->text, copy->cap,
             "the tensor copy %s %" PRIu32 " bytes at 0x%" PRIx64 " of global memory: %s", verb,
             bytes, part->address, where);
    return -1;
}

// An H200 writes whole 16 bytes, also past the end of the tensor's row: nobody wants that.
static int refuse_ragged(const struct copy *copy, uint32_t bytes)
{
    snprintf(copy->text, copy->cap,
             "the tensor copy writes %" PRIu32
             " bytes of a row: the hardware writes whole 16 bytes, past the end of the tensor",
             bytes);
    return -1;
}

// Zeros, or the NaN an H200 fills with: these 16 bits again and again, whatever the type.
static void fill_row(const struct copy *copy, uint8_t *row)
{
    static const uint8_t nan[2] = {0xf7, 0x7f};
    memset(row, 0, copy->row_bytes);
    for (uint32_t at = 0; copy->map.fill && at < copy->row_bytes; at++)
        row[at] = nan[at % 2];
}

int fj_emu_tma_load(const void *map, int rank, const int32_t *coords, uint8_t *smem,
                    uint32_t smem_address, char *ret_text, size_t cap)
{
    struct copy copy;
    uint8_t row[ROW_BYTES];
    if (begin(&copy, map, rank, coords, smem_address, ret_text, cap) ||
        check_coordinates(&copy, false))
        return -1;
    uint32_t rows = row_count(&copy.map), width = copy.row_bytes;
    for (uint32_t i = 0; i < rows; i++) {
        struct part part = clip(&copy, i);
        uint32_t bytes = part.high - part.low;
        if (bytes && !fj_emu_mem_find(part.address, bytes))
            return refuse(&copy, "reads", &part);
        if (bytes < width)
            fill_row(&copy, row);
        if (bytes)
            memcpy(row + part.low, (const void *)(uintptr_t)part.address, bytes);
        for (uint32_t at = 0; at < width; at += 16)
            memcpy(smem + place(&copy, i * width + at), row + at, 16);
    }
    return 0;
}

int fj_emu_tma_store(const void *map, int rank, const int32_t *coords, const uint8_t *smem,
                     uint32_t smem_address, enum fj_emu_reduce reduce, char *ret_text, size_t cap)
{
    struct copy copy;
    uint8_t row[ROW_BYTES];
    if (begin(&copy, map, rank, coords, smem_address, ret_text, cap) ||
        check_coordinates(&copy, true))
        return -1;
    uint32_t rows = row_count(&copy.map), width = copy.row_bytes;
    for (uint32_t i = 0; i < rows; i++) {
        struct part part = clip(&copy, i);
        uint32_t bytes = part.high - part.low;
        if (!bytes)
            continue;
        if (bytes % 16 != 0)
            return refuse_ragged(&copy, bytes);
        if (!fj_emu_mem_find(part.address, bytes))
            return refuse(&copy, "writes", &part);
        for (uint32_t at = 0; at < width; at += 16)
            memcpy(row + at, smem + place(&copy, i * width + at), 16);
        void *to = (void *)(uintptr_t)part.address;
        const char *type = type_names[copy.map.type];
        if (reduce == FJ_EMU_REDUCE_NONE)
            memcpy(to, row + part.low, bytes);
        else if (fj_emu_bulk_reduce(to, row + part.low, bytes, reduce, type)) {
            snprintf(ret_text, cap, "no such reduction on a tensor of %s", type);
            return -1;
        }
        fj_emu_mem_mark(part.address, bytes);
    }
    return 0;
}
