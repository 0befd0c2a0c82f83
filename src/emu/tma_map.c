// cuTensorMapEncodeTiled: limits as the driver API reference lists them.
#include "emu/tma_map.h"

#include "base/err.h"

#include <string.h>

int fj_emu_tma_type_bytes(CUtensorMapDataType type)
{
    static const int bytes[] = {
        [CU_TENSOR_MAP_DATA_TYPE_UINT8] = 1,        [CU_TENSOR_MAP_DATA_TYPE_UINT16] = 2,
        [CU_TENSOR_MAP_DATA_TYPE_UINT32] = 4,       [CU_TENSOR_MAP_DATA_TYPE_INT32] = 4,
        [CU_TENSOR_MAP_DATA_TYPE_UINT64] = 8,       [CU_TENSOR_MAP_DATA_TYPE_INT64] = 8,
        [CU_TENSOR_MAP_DATA_TYPE_FLOAT16] = 2,      [CU_TENSOR_MAP_DATA_TYPE_FLOAT32] = 4,
        [CU_TENSOR_MAP_DATA_TYPE_FLOAT64] = 8,      [CU_TENSOR_MAP_DATA_TYPE_BFLOAT16] = 2,
        [CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ] = 4,  [CU_TENSOR_MAP_DATA_TYPE_TFLOAT32] = 4,
        [CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ] = 4,
    };
    return (unsigned)type < sizeof(bytes) / sizeof(bytes[0]) ? bytes[type] : 0;
}

static CUresult refuse(const char *what)
{
    fj_err(FAJIT_E_INVAL, "cuTensorMapEncodeTiled: %s", what);
    return CUDA_ERROR_INVALID_VALUE;
}

static const char *check_dims(const struct fj_emu_tma_map *map)
{
    for (int i = 0; i < map->rank; i++) {
        if (map->dims[i] == 0 || map->dims[i] > (uint64_t)1 << 32)
            return "a dimension is 1 to 2^32 elements long";
        if (i > 0 && (map->strides[i] % 16 || map->strides[i] >= (uint64_t)1 << 40))
            return "a stride is a multiple of 16 bytes below 2^40";
    }
    return NULL;
}

static const char *check_box(const struct fj_emu_tma_map *map, const cuuint32_t *box,
                             const cuuint32_t *element_strides)
{
    for (int i = 0; i < map->rank; i++) {
        if (box[i] < 1 || box[i] > 256)
            return "a box is 1 to 256 elements long in each dimension";
        if (element_strides[i] < 1 || element_strides[i] > 8)
            return "an element stride is 1 to 8";
    }
    static const uint64_t span[] = {UINT64_MAX, 32, 64, 128};
    uint64_t row_bytes = box[0] * map->strides[0];
    if (row_bytes % 16)
        return "the box's innermost row is a multiple of 16 bytes";
    if (row_bytes > span[map->swizzle])
        return "the box's innermost row is not wider than the swizzle";
    return NULL;
}

// An H200 takes boxes of 229376 bytes and refuses 261120: a box fits one CTA's shared memory.
#define BOX_BYTES (227 * 1024)

static const char *check_box_bytes(const struct fj_emu_tma_map *map, const cuuint32_t *box)
{
    uint64_t bytes = map->strides[0];
    for (int i = 0; i < map->rank; i++)
        bytes *= box[i];
    return bytes > BOX_BYTES ? "a box fits the shared memory of a CTA" : NULL;
}

static bool is_float(CUtensorMapDataType type)
{
    return type >= CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
}

static const char *check_modes(CUtensorMapDataType type, CUtensorMapInterleave interleave,
                               CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                               CUtensorMapFloatOOBfill fill)
{
    if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE)
        return "interleaved layouts are not emulated";
    if ((unsigned)swizzle > CU_TENSOR_MAP_SWIZZLE_128B)
        return "the swizzle is none, 32B, 64B or 128B";
    if ((unsigned)promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B)
        return "the L2 promotion is none, 64B, 128B or 256B";
    if ((unsigned)fill > CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA)
        return "the fill is zeros or NaN";
    if (fill && !is_float(type))
        return "integers are filled with zeros only";
    return NULL;
}

CUresult fj_emu_tma_encode(CUtensorMap *ret_map, CUtensorMapDataType type, cuuint32_t rank,
                           void *address, const cuuint64_t *dims, const cuuint64_t *strides_bytes,
                           const cuuint32_t *box, const cuuint32_t *element_strides,
                           CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                           CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
    if (!ret_map || (uintptr_t)ret_map % 64)
        return refuse("the map is aligned to 64 bytes");
    if (!fj_emu_tma_type_bytes(type))
        return refuse("unknown data type");
    if (rank < 1 || rank > FJ_EMU_TMA_RANK)
        return refuse("the rank is 1 to 5");
    if (!address || (uintptr_t)address % 16)
        return refuse("the tensor's address is aligned to 16 bytes");
    if (!dims || !box || !element_strides || (rank > 1 && !strides_bytes))
        return refuse("dimensions, strides, box and element strides are all needed");
    const char *broken = check_modes(type, interleave, swizzle, promotion, fill);
    if (broken)
        return refuse(broken);
    struct fj_emu_tma_map map = {
        .magic = FJ_EMU_TMA_MAGIC,
        .type = (uint8_t)type,
        .rank = (uint8_t)rank,
        .swizzle = (uint8_t)swizzle,
        .fill = (uint8_t)fill,
        .address = (uintptr_t)address,
    };
    for (cuuint32_t i = 0; i < rank; i++) {
        map.dims[i] = dims[i];
        map.strides[i] = i ? strides_bytes[i - 1] : (uint64_t)fj_emu_tma_type_bytes(type);
    }
    broken = check_dims(&map);
    if (!broken)
        broken = check_box(&map, box, element_strides);
    if (!broken)
        broken = check_box_bytes(&map, box);
    if (broken)
        return refuse(broken);
    for (cuuint32_t i = 0; i < rank; i++) {
        // Without interleaving the innermost dimension has no element stride.
        map.steps[i] = i ? (uint8_t)element_strides[i] : 1;
        map.box[i] = (uint16_t)((box[i] + map.steps[i] - 1) / map.steps[i]);
    }
    memset(ret_map, 0, sizeof(*ret_map));
    memcpy(ret_map, &map, sizeof(map));
    return CUDA_SUCCESS;
}
