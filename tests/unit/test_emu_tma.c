// Tensor and bulk copies of the emulated device, element by element against the coordinates.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include "base/num.h"
#include "emu/memory.h"
#include "emu/tma.h"
#include "emu/tma_map.h"

#include <string.h>

#define BASE 2048 // shared address of the box: the swizzles hang on it

struct tensor {
    CUtensorMapDataType type;
    int rank, size;               // bytes of an element
    uint64_t dims[5], strides[5]; // elements; bytes, [0] being the element's
    uint32_t box[5], steps[5];
    CUtensorMapSwizzle swizzle;
    uint64_t address, bytes;
    CUtensorMap map;
};

// A tensor with padded rows whose every 16 bits are unlike.
static void make_tensor(struct tensor *t)
{
    t->strides[0] = (uint64_t)t->size;
    uint64_t bytes = t->dims[0] * t->strides[0];
    for (int i = 1; i < t->rank; i++) {
        t->strides[i] = (bytes + 15) / 16 * 16 + (i == 1 ? 32 : 0);
        bytes = t->strides[i] * t->dims[i];
    }
    t->bytes = bytes;
    assert_int_equal(fj_emu_mem_alloc(bytes, &t->address), 0);
    uint16_t *data = (uint16_t *)(uintptr_t)t->address;
    for (uint64_t i = 0; i < bytes / 2; i++)
        data[i] = (uint16_t)(i * 40503 + 1);
    for (int i = 0; i < 5; i++)
        t->steps[i] = t->steps[i] ? t->steps[i] : 1;
    assert_int_equal(fj_emu_tma_encode(&t->map, t->type, (cuuint32_t)t->rank,
                                       (void *)(uintptr_t)t->address, t->dims, t->strides + 1,
                                       t->box, t->steps, CU_TENSOR_MAP_INTERLEAVE_NONE, t->swizzle,
                                       CU_TENSOR_MAP_L2_PROMOTION_NONE,
                                       CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                     CUDA_SUCCESS);
}

static uint32_t extent(const struct tensor *t, int i)
{
    return i == 0 ? t->box[0] : (t->box[i] + t->steps[i] - 1) / t->steps[i];
}

static uint32_t box_elements(const struct tensor *t)
{
    uint32_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= extent(t, i);
    return count;
}

// Address of box element `index` in the tensor; 0 when it lies outside.
static uint64_t global_of(const struct tensor *t, const int32_t *coords, uint32_t index)
{
    uint64_t address = t->address;
    for (int i = 0; i < t->rank; i++) {
        int64_t at = coords[i] + (int64_t)(index % extent(t, i)) * (i ? t->steps[i] : 1);
        index /= extent(t, i);
        if (at < 0 || at >= (int64_t)t->dims[i])
            return 0;
        address += (uint64_t)at * t->strides[i];
    }
    return address;
}

static uint32_t shared_of(const struct tensor *t, uint32_t index)
{
    uint32_t addr = BASE + index * (uint32_t)t->size;
    uint32_t bits = t->swizzle; // 1, 2, 3 address bits
    uint32_t mask = (1u << bits) - 1;
    return (addr ^ (addr >> 7 & mask) << 4) - BASE;
}

static void check_load(struct tensor *t, const int32_t *coords)
{
    static _Alignas(128) uint8_t smem[256 * 1024];
    char text[512] = "";
    uint32_t bytes = 0;
    memset(smem, 0xee, sizeof(smem));
    assert_int_equal(fj_emu_tma_check(&t->map, t->rank, &bytes, text, sizeof(text)), 0);
    assert_int_equal(bytes, box_elements(t) * (uint32_t)t->size);
    if (fj_emu_tma_load(&t->map, t->rank, coords, smem, BASE, text, sizeof(text)))
        fail_msg("%s", text);
    static const uint8_t zeros[8];
    for (uint32_t i = 0; i < box_elements(t); i++) {
        uint64_t from = global_of(t, coords, i);
        const void *want = from ? (const void *)(uintptr_t)from : zeros;
        if (memcmp(smem + shared_of(t, i), want, (size_t)t->size))
            fail_msg("rank %d swizzle %d element %u differs", t->rank, t->swizzle, i);
    }
    assert_int_equal(smem[bytes], 0xee);
}

// Innermost coordinates are whole 16 bytes. Stores begin inside the tensor.
static const int32_t corners[][5] = {
    {0, 0, 0, 0, 0}, {8, 3, 1, 0, 1}, {-8, -2, 0, -1, 1}, {88, 1, 2, 1, 0}, {16, 30, 1, 1, -1},
};
static const int32_t store_corners[][4] = {
    {0, 0, 0, 0}, {8, 3, 1, 0}, {88, 1, 2, 1}, {16, 30, 3, 1}, {104, 40, 0, 0},
};

static void test_load(void **state)
{
    (void)state;
    for (int rank = 1; rank <= 5; rank++)
        for (int swizzle = 0; swizzle <= 3; swizzle++)
            for (size_t corner = 0; corner < sizeof(corners) / sizeof(corners[0]); corner++) {
                struct tensor t = {
                    .type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                    .rank = rank,
                    .size = 2,
                    .dims = {100, 33, 4, 2, 2},
                    .box = {swizzle ? 8u << swizzle : 64, rank > 1 ? 24 : 1, rank > 2 ? 3 : 1,
                            rank > 3 ? 2 : 1, rank > 4 ? 2 : 1},
                    .swizzle = (CUtensorMapSwizzle)swizzle,
                };
                if (rank == 1 && swizzle)
                    continue; // no whole 128-byte lines
                make_tensor(&t);
                check_load(&t, corners[corner]);
                fj_emu_mem_free(t.address);
            }
}

static void test_load_types_and_steps(void **state)
{
    (void)state;
    static const struct {
        CUtensorMapDataType type;
        int size;
    } types[] = {{CU_TENSOR_MAP_DATA_TYPE_UINT8, 1},
                 {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4},
                 {CU_TENSOR_MAP_DATA_TYPE_FLOAT64, 8}};
    for (int i = 0; i < 3; i++) {
        struct tensor t = {
            .type = types[i].type,
            .rank = 3,
            .size = types[i].size,
            .dims = {60, 20, 5},
            .box = {(uint32_t)(128 / types[i].size), 16, 3},
            .steps = {1, 3, 2},
            .swizzle = CU_TENSOR_MAP_SWIZZLE_128B,
        };
        make_tensor(&t);
        check_load(&t, (const int32_t[]){16, 2, 1});
        check_load(&t, (const int32_t[]){-16, 9, -1});
        fj_emu_mem_free(t.address);
    }
}

static void test_store(void **state)
{
    (void)state;
    static _Alignas(128) uint8_t smem[64 * 1024];
    for (size_t corner = 0; corner < sizeof(store_corners) / sizeof(store_corners[0]); corner++)
        for (int swizzle = 0; swizzle <= 3; swizzle++) {
            struct tensor t = {
                .type = CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                .rank = 4,
                .size = 2,
                .dims = {104, 33, 4, 2},
                .box = {swizzle ? 8u << swizzle : 64, 16, 3, 2},
                .swizzle = (CUtensorMapSwizzle)swizzle,
            };
            char text[512] = "";
            make_tensor(&t);
            uint16_t *data = (uint16_t *)(uintptr_t)t.address;
            memset(data, 0, t.bytes);
            uint32_t count = box_elements(&t), inside = 0;
            for (uint32_t i = 0; i < count; i++)
                memcpy(smem + shared_of(&t, i), &(uint16_t){(uint16_t)(i + 1)}, 2);
            assert_int_equal(fj_emu_tma_store(&t.map, 4, store_corners[corner], smem, BASE,
                                              FJ_EMU_REDUCE_NONE, text, sizeof(text)),
                             0);
            for (uint32_t i = 0; i < count; i++) {
                uint64_t to = global_of(&t, store_corners[corner], i);
                inside += to != 0;
                if (to)
                    assert_int_equal(*(uint16_t *)(uintptr_t)to, (uint16_t)(i + 1));
            }
            for (uint64_t i = 0; i < t.bytes / 2; i++)
                inside -= data[i] != 0;
            assert_int_equal(inside, 0); // nothing was written beside the box
            fj_emu_mem_free(t.address);
        }
}

// An H200 writes whole 16 bytes: a row that ends within 16 would spoil what follows it.
static void test_ragged_store_is_refused(void **state)
{
    (void)state;
    _Alignas(128) uint8_t smem[1024] = {0};
    struct tensor t = {
        .type = CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        .rank = 2,
        .size = 2,
        .dims = {20, 4},
        .box = {16, 4},
    };
    char text[512] = "";
    make_tensor(&t);
    const int32_t inside[] = {0, 0}, at_the_end[] = {16, 0};
    assert_int_equal(
        fj_emu_tma_store(&t.map, 2, inside, smem, BASE, FJ_EMU_REDUCE_NONE, text, sizeof(text)), 0);
    assert_int_equal(
        fj_emu_tma_store(&t.map, 2, at_the_end, smem, BASE, FJ_EMU_REDUCE_NONE, text, sizeof(text)),
        -1);
    assert_non_null(strstr(text, "8 bytes of a row"));
    fj_emu_mem_free(t.address);
}

static void test_reduce(void **state)
{
    (void)state;
    _Alignas(128) float smem[64];
    struct tensor t = {
        .type = CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        .rank = 2,
        .size = 4,
        .dims = {8, 8},
        .box = {8, 8},
    };
    char text[512];
    make_tensor(&t);
    float *data = (float *)(uintptr_t)t.address;
    for (int i = 0; i < 64; i++) {
        data[i / 8 * (int)t.strides[1] / 4 + i % 8] = (float)i;
        smem[i] = 0.5f;
    }
    assert_int_equal(fj_emu_tma_store(&t.map, 2, (const int32_t[]){0, 2}, (const uint8_t *)smem,
                                      BASE, FJ_EMU_REDUCE_ADD, text, sizeof(text)),
                     0);
    for (int i = 0; i < 64; i++)
        assert_true(data[i / 8 * (int)t.strides[1] / 4 + i % 8] ==
                    (float)i + (i >= 16 ? 0.5f : 0.0f));
    assert_int_equal(fj_emu_tma_store(&t.map, 2, (const int32_t[]){0, 0}, (const uint8_t *)smem,
                                      BASE, FJ_EMU_REDUCE_MAX, text, sizeof(text)),
                     -1); // f32 has only add
    fj_emu_mem_free(t.address);
}

static void test_faults(void **state)
{
    (void)state;
    static _Alignas(128) uint8_t smem[64 * 1024];
    struct tensor t = {
        .type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        .rank = 2,
        .size = 2,
        .dims = {64, 64},
        .box = {64, 32},
        .swizzle = CU_TENSOR_MAP_SWIZZLE_128B,
    };
    char text[512] = "";
    uint32_t bytes;
    make_tensor(&t);
    const int32_t origin[] = {0, 0, 0};
    assert_int_equal(fj_emu_tma_check(&t.map, 3, &bytes, text, sizeof(text)), -1);
    assert_non_null(strstr(text, "rank 2"));
    assert_int_equal(fj_emu_tma_check(smem, 2, &bytes, text, sizeof(text)), -1);
    assert_int_equal(fj_emu_tma_load(&t.map, 2, origin, smem, 64, text, sizeof(text)), -1);
    assert_non_null(strstr(text, "128"));
    const int32_t odd[] = {4, 0}, before[] = {0, -1};
    assert_int_equal(fj_emu_tma_load(&t.map, 2, odd, smem, BASE, text, sizeof(text)), -1);
    assert_non_null(strstr(text, "16 bytes"));
    assert_int_equal(fj_emu_tma_load(&t.map, 2, before, smem, BASE, text, sizeof(text)), 0);
    assert_int_equal(
        fj_emu_tma_store(&t.map, 2, before, smem, BASE, FJ_EMU_REDUCE_NONE, text, sizeof(text)),
        -1);
    assert_non_null(strstr(text, "not begin before"));
    struct tensor narrow = t;
    narrow.box[0] = 32;
    make_tensor(&narrow);
    assert_int_equal(fj_emu_tma_check(&narrow.map, 2, &bytes, text, sizeof(text)), -1);
    assert_non_null(strstr(text, "gaps"));
    fj_emu_mem_free(narrow.address);
    fj_emu_mem_free(t.address);
    assert_int_equal(fj_emu_tma_load(&t.map, 2, origin, smem, BASE, text, sizeof(text)), -1);
    assert_non_null(strstr(text, "freed"));
    assert_int_equal(
        fj_emu_tma_store(&t.map, 2, origin, smem, BASE, FJ_EMU_REDUCE_NONE, text, sizeof(text)),
        -1);
}

// Arguments of an encoding, one of them wrong at a time.
struct encoding {
    CUtensorMapDataType type;
    cuuint32_t rank;
    uint64_t address;
    cuuint64_t dims[5], strides[4];
    cuuint32_t box[5], steps[5];
    CUtensorMapInterleave interleave;
    CUtensorMapSwizzle swizzle;
    CUtensorMapFloatOOBfill fill;
    CUresult want;
};

#define GOOD                                                                                       \
    .type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, .rank = 3, .address = 0x10000, .dims = {64, 64, 8},  \
    .strides = {128, 8192}, .box = {64, 64, 1}, .steps = {1, 1, 1},                                \
    .swizzle = CU_TENSOR_MAP_SWIZZLE_128B

#define WRONG .want = CUDA_ERROR_INVALID_VALUE

static void test_encode_limits(void **state)
{
    (void)state;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
    static const struct encoding cases[] = {
        {GOOD},
        {GOOD, .rank = 0, WRONG},
        {GOOD, .rank = 6, WRONG},
        {GOOD, .type = (CUtensorMapDataType)99, WRONG},
        {GOOD, .address = 0x10008, WRONG},
        {GOOD, .address = 0x10010},
        {GOOD, .dims = {64, 0, 8}, WRONG},
        {GOOD, .dims = {64, (cuuint64_t)1 << 32, 8}},
        {GOOD, .dims = {64, ((cuuint64_t)1 << 32) + 1, 8}, WRONG},
        {GOOD, .strides = {136, 8192}, WRONG},
        {GOOD, .strides = {128, (cuuint64_t)1 << 40}, WRONG},
        {GOOD, .strides = {128, ((cuuint64_t)1 << 40) - 16}},
        {GOOD, .box = {64, 0, 1}, WRONG},
        {GOOD, .box = {64, 256, 1}},
        {GOOD, .box = {64, 257, 1}, WRONG},
        {GOOD, .box = {72, 64, 1}, WRONG}, // 144 bytes under a 128-byte swizzle
        {GOOD, .box = {72, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_NONE},
        {GOOD, .box = {64, 256, 7}},
        {GOOD, .box = {64, 256, 8}, WRONG}, // 256 KiB
        {GOOD, .box = {36, 64, 1}, WRONG},  // 72 bytes
        {GOOD, .box = {32, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_64B},
        {GOOD, .box = {32, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_32B, WRONG},
        {GOOD, .steps = {1, 9, 1}, WRONG},
        {GOOD, .steps = {1, 0, 1}, WRONG},
        {GOOD, .interleave = CU_TENSOR_MAP_INTERLEAVE_16B, WRONG},
        {GOOD, .swizzle = (CUtensorMapSwizzle)4, WRONG},
        {GOOD, .type = CU_TENSOR_MAP_DATA_TYPE_UINT16,
         .fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA, WRONG},
    };
#pragma GCC diagnostic pop
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct encoding *c = &cases[i];
        CUtensorMap map;
        CUresult got = fj_emu_tma_encode(&map, c->type, c->rank, (void *)(uintptr_t)c->address,
                                         c->dims, c->strides, c->box, c->steps, c->interleave,
                                         c->swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE, c->fill);
        if (got != c->want)
            fail_msg("case %zu: %d instead of %d", i, got, c->want);
    }
}

static void test_bulk_reduce(void **state)
{
    (void)state;
    uint32_t words[2] = {5, 0xffffffff}, other[2] = {7, 2};
    assert_int_equal(fj_emu_bulk_reduce(words, other, 8, FJ_EMU_REDUCE_ADD, "u32"), 0);
    assert_int_equal(words[0], 12);
    assert_int_equal(words[1], 1);
    int32_t ints[2] = {-5, 3}, mins[2] = {2, -9};
    assert_int_equal(fj_emu_bulk_reduce(ints, mins, 8, FJ_EMU_REDUCE_MIN, "s32"), 0);
    assert_int_equal(ints[0], -5);
    assert_int_equal(ints[1], -9);
    uint16_t half[2] = {0x3c00, 0xc000}, add[2] = {0x3c00, 0x3c00};
    assert_int_equal(fj_emu_bulk_reduce(half, add, 4, FJ_EMU_REDUCE_ADD, "f16"), 0);
    assert_int_equal(half[0], 0x4000);             // 1 + 1
    assert_int_equal(half[1], 0xbc00);             // -2 + 1
    uint32_t tiny = 0x00000001, zero = 0x80000000; // subnormals stay, unlike in red.global.add.f32
    assert_int_equal(fj_emu_bulk_reduce(&tiny, &zero, 4, FJ_EMU_REDUCE_ADD, "f32"), 0);
    assert_int_equal(tiny, 1);
    uint16_t signaling = 0x7c01, number = 0x9b02;
    assert_int_equal(fj_emu_bulk_reduce(&signaling, &number, 2, FJ_EMU_REDUCE_MAX, "f16"), 0);
    assert_int_equal(signaling, 0x9b02);
    assert_int_equal(fj_emu_bulk_reduce(words, other, 8, FJ_EMU_REDUCE_INC, "u64"), -1);
    assert_int_equal(fj_emu_bulk_reduce(words, other, 8, FJ_EMU_REDUCE_MAX, "f32"), -1);
    assert_int_equal(fj_emu_bulk_reduce(words, other, 8, FJ_EMU_REDUCE_ADD, "f8"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),          cmocka_unit_test(test_load_types_and_steps),
        cmocka_unit_test(test_store),         cmocka_unit_test(test_ragged_store_is_refused),
        cmocka_unit_test(test_reduce),        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_encode_limits), cmocka_unit_test(test_bulk_reduce),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
