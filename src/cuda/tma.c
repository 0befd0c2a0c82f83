#include "cuda/launch.h"

// Rules of cuTensorMapEncodeTiled in cuda.h, checked here because the driver only answers
// "invalid value".
#define MAX_BOX 256
#define MAX_STRIDE_BYTES ((uint64_t)1 << 40)
#define MAX_DIM ((uint64_t)1 << 32)

static bool element_of(enum fajit_dtype dtype, CUtensorMapDataType *ret_type, unsigned *ret_bytes)
{
    static const struct {
        CUtensorMapDataType type;
        unsigned bytes;
    } elements[] = {
        [FAJIT_F32] = {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4},
        [FAJIT_F16] = {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2},
        [FAJIT_BF16] = {CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2},
    };
    if ((unsigned)dtype >= sizeof(elements) / sizeof(*elements) || !elements[dtype].bytes)
        return false;
    *ret_type = elements[dtype].type;
    *ret_bytes = elements[dtype].bytes;
    return true;
}

static bool swizzle_of(int bytes, CUtensorMapSwizzle *ret_swizzle)
{
    static const int sizes[] = {
        [CU_TENSOR_MAP_SWIZZLE_NONE] = 0,
        [CU_TENSOR_MAP_SWIZZLE_32B] = 32,
        [CU_TENSOR_MAP_SWIZZLE_64B] = 64,
        [CU_TENSOR_MAP_SWIZZLE_128B] = 128,
    };
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        if (sizes[i] == bytes) {
            *ret_swizzle = (CUtensorMapSwizzle)i;
            return true;
        }
    }
    return false;
}

static int check_dim(const struct fj_tma_params *params, int i)
{
    if (params->dims[i] == 0 || params->dims[i] > MAX_DIM)
        return fj_err(FAJIT_E_INVAL, "TMA: dimension %d has %llu elements, allowed are 1 to 2^32",
                      i, (unsigned long long)params->dims[i]);
    if (params->box[i] == 0 || params->box[i] > MAX_BOX)
        return fj_err(FAJIT_E_INVAL,
                      "TMA: the tile is %u elements along dimension %d, allowed are "
                      "1 to %d",
                      params->box[i], i, MAX_BOX);
    if (i > 0 &&
        (params->stride_bytes[i - 1] % 16 || params->stride_bytes[i - 1] >= MAX_STRIDE_BYTES))
        return fj_err(FAJIT_E_INVAL,
                      "TMA: the stride of dimension %d is %llu bytes; it must be a multiple of 16 "
                      "and less than 2^40",
                      i, (unsigned long long)params->stride_bytes[i - 1]);
    return FAJIT_OK;
}

static int check(const struct fj_tma_params *params, unsigned element_bytes)
{
    if (params->rank < 1 || params->rank > 5)
        return fj_err(FAJIT_E_INVAL, "TMA: rank %d, allowed are 1 to 5", params->rank);
    if ((uintptr_t)params->data % 16)
        return fj_err(FAJIT_E_INVAL, "TMA: address %p is not a multiple of 16 bytes", params->data);
    for (int i = 0; i < params->rank; i++) {
        int status = check_dim(params, i);
        if (status != FAJIT_OK)
            return status;
    }
    unsigned row_bytes = params->box[0] * element_bytes;
    if (row_bytes % 16 || (params->swizzle_bytes && row_bytes > (unsigned)params->swizzle_bytes))
        return fj_err(FAJIT_E_INVAL,
                      "TMA: a row of the tile has %u bytes; it must be a multiple of 16 and no "
                      "more than the swizzle (%d bytes; 0: none)",
                      row_bytes, params->swizzle_bytes);
    return FAJIT_OK;
}

// The tiles are re-read by other CTAs, so L2 had better fetch more than what is asked for at once.
// But where rows do not begin on such boundaries, the larger step fetches neighbours' rows too: on
// an H200 it cost a matmul with a pitch of 8432 bytes 6 %.
static CUtensorMapL2promotion promotion_of(const struct fj_tma_params *params)
{
    for (int i = 0; i < params->rank - 1; i++) {
        if (params->stride_bytes[i] % 256 != 0)
            return CU_TENSOR_MAP_L2_PROMOTION_L2_128B;
    }
    return CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
}

int fj_tma_encode(const struct fj_cuda *cuda, const struct fj_tma_params *params, void *ret_map)
{
    static const cuuint32_t unit_steps[5] = {1, 1, 1, 1, 1};
    CUtensorMapDataType type;
    CUtensorMapSwizzle swizzle;
    unsigned element_bytes;
    if (!cuda->cuTensorMapEncodeTiled)
        return fj_err(FAJIT_E_UNSUPPORTED, "TMA needs a driver of CUDA 12.0 or later: update it, "
                                           "or choose kernel=mma");
    if (!element_of(params->dtype, &type, &element_bytes))
        return fj_err(FAJIT_E_INVAL, "TMA: dtype %d is not one of f32, f16, bf16", params->dtype);
    if (!swizzle_of(params->swizzle_bytes, &swizzle))
        return fj_err(FAJIT_E_INVAL, "TMA: swizzle of %d bytes, allowed are 0, 32, 64, 128",
                      params->swizzle_bytes);
    int status = check(params, element_bytes);
    if (status != FAJIT_OK)
        return status;
    CUresult result = cuda->cuTensorMapEncodeTiled(
        ret_map, type, (cuuint32_t)params->rank, (void *)params->data, params->dims,
        params->stride_bytes, params->box, unit_steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
        promotion_of(params), CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return fj_cuda_check(cuda, result, "cuTensorMapEncodeTiled");
}
