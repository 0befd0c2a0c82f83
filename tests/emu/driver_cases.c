// The driver's own limits: which error it gives for which argument.
#include "record.h"

#include <string.h>

struct encoding {
    CUtensorMapDataType type;
    cuuint32_t rank;
    cuuint64_t address; // added to a valid one
    cuuint64_t dims[5], strides[4];
    cuuint32_t box[5], steps[5];
    CUtensorMapInterleave interleave;
    CUtensorMapSwizzle swizzle;
    CUtensorMapL2promotion promotion;
    CUtensorMapFloatOOBfill fill;
    int misalign_map;
};

#define BASE                                                                                       \
    .type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, .rank = 3, .dims = {64, 64, 8},                      \
    .strides = {128, 8192}, .box = {64, 64, 1}, .steps = {1, 1, 1},                                \
    .swizzle = CU_TENSOR_MAP_SWIZZLE_128B
#define TWO32 ((cuuint64_t)1 << 32)
#define TWO40 ((cuuint64_t)1 << 40)

#pragma GCC diagnostic ignored "-Woverride-init"
#if defined(__clang__)
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#endif
static const struct encoding encodings[] = {
    {BASE},
    {BASE, .rank = 0},
    {BASE, .rank = 1},
    {BASE, .rank = 6},
    {BASE, .type = (CUtensorMapDataType)99},
    {BASE, .address = 8},
    {BASE, .address = 16},
    {BASE, .dims = {64, 0, 8}},
    {BASE, .dims = {64, TWO32, 8}},
    {BASE, .dims = {64, TWO32 + 1, 8}},
    {BASE, .strides = {136, 8192}},
    {BASE, .strides = {8192, 128}}, // not ascending
    {BASE, .strides = {64, 8192}},  // rows overlap
    {BASE, .strides = {0, 8192}},   // rows coincide
    {BASE, .strides = {128, 8208}}, // not a multiple of the one before
    {BASE, .strides = {128, TWO40}},
    {BASE, .strides = {128, TWO40 - 16}},
    {BASE, .box = {64, 0, 1}},
    {BASE, .box = {64, 256, 1}},
    {BASE, .box = {64, 257, 1}},
    {BASE, .box = {72, 64, 1}},
    {BASE, .box = {72, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_NONE},
    {BASE, .box = {36, 64, 1}},
    {BASE, .box = {36, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_NONE},
    {BASE, .box = {256, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_NONE},
    {BASE, .box = {32, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_64B},
    {BASE, .box = {32, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_32B},
    {BASE, .box = {16, 64, 1}, .swizzle = CU_TENSOR_MAP_SWIZZLE_32B},
    {BASE, .box = {16, 64, 1}},  // narrower than the swizzle
    {BASE, .box = {64, 256, 6}}, // bytes of shared memory: 192 KiB
    {BASE, .box = {64, 256, 7}},
    {BASE, .box = {64, 256, 8}},
    {BASE, .box = {64, 255, 8}},
    {BASE, .box = {64, 256, 9}},
    {BASE, .box = {64, 256, 16}},
    {BASE, .box = {64, 256, 256}},
    {BASE, .steps = {1, 8, 1}},
    {BASE, .steps = {1, 9, 1}},
    {BASE, .steps = {1, 0, 1}},
    {BASE, .steps = {2, 1, 1}},
    {BASE, .swizzle = (CUtensorMapSwizzle)9},
    {BASE, .promotion = (CUtensorMapL2promotion)9},
    {BASE, .fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA},
    {BASE, .type = CU_TENSOR_MAP_DATA_TYPE_UINT16,
     .fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA},
    {BASE, .fill = (CUtensorMapFloatOOBfill)9},
    {BASE, .dims = {32, 64, 8}}, // a box wider than the tensor
};

static void run_encodings(struct run *run)
{
    struct outcome outcome = {.format = 'w', .width = 4, .rule = RULE_EXACT};
    CUdeviceptr memory = 0;
    const struct fj_cuda *cuda = run->device->cuda;
    if (!selected(run, "driver.encode"))
        return;
    bool ok = check_call(run->device, cuda->cuMemAlloc_v2(&memory, 1 << 20), "alloc", "encode");
    for (size_t i = 0; ok && i < sizeof(encodings) / sizeof(encodings[0]); i++) {
        const struct encoding *e = &encodings[i];
        CUtensorMap map;
        CUresult got = cuda->cuTensorMapEncodeTiled(
            &map, e->type, e->rank, (void *)(uintptr_t)(memory + e->address), e->dims, e->strides,
            e->box, e->steps, e->interleave, e->swizzle, e->promotion, e->fill);
        fj_buf_append(&outcome.payload, &(uint32_t){(uint32_t)got}, 4);
    }
    cuda->cuMemFree_v2(memory);
    outcome.digest = digest_of(encodings, sizeof(encodings), 0);
    report_case(run, "driver.encode", &outcome, ok);
}

struct shape {
    unsigned grid[3], block[3], smem, cluster[3];
    int kernel; // 0 plain, 1 .maxntid 128, 2 .reqntid 64, 3 .reqnctapercluster 2
};

static const struct shape shapes[] = {
    {{1, 1, 1}, {32, 1, 1}, 0, {0}, 0},         {{0, 1, 1}, {32, 1, 1}, 0, {0}, 0},
    {{1, 65535, 1}, {32, 1, 1}, 0, {0}, 0},     {{1, 65536, 1}, {32, 1, 1}, 0, {0}, 0},
    {{1, 1, 65536}, {32, 1, 1}, 0, {0}, 0},     {{1, 1, 1}, {0, 1, 1}, 0, {0}, 0},
    {{1, 1, 1}, {1024, 1, 1}, 0, {0}, 0},       {{1, 1, 1}, {1025, 1, 1}, 0, {0}, 0},
    {{1, 1, 1}, {512, 3, 1}, 0, {0}, 0},        {{1, 1, 1}, {1, 1, 65}, 0, {0}, 0},
    {{1, 1, 1}, {32, 1, 1}, 49152, {0}, 0},     {{1, 1, 1}, {32, 1, 1}, 49153, {0}, 0},
    {{1, 1, 1}, {128, 1, 1}, 0, {0}, 1},        {{1, 1, 1}, {129, 1, 1}, 0, {0}, 1},
    {{1, 1, 1}, {64, 1, 1}, 0, {0}, 2},         {{1, 1, 1}, {32, 1, 1}, 0, {0}, 2},
    {{4, 1, 1}, {32, 1, 1}, 0, {2, 1, 1}, 0},   {{3, 1, 1}, {32, 1, 1}, 0, {2, 1, 1}, 0},
    {{4, 4, 1}, {32, 1, 1}, 0, {2, 4, 1}, 0},   {{8, 1, 1}, {32, 1, 1}, 0, {8, 1, 1}, 0},
    {{16, 1, 1}, {32, 1, 1}, 0, {16, 1, 1}, 0}, {{4, 1, 1}, {32, 1, 1}, 0, {0, 1, 1}, 0},
    {{4, 1, 1}, {32, 1, 1}, 0, {0}, 3},         {{3, 1, 1}, {32, 1, 1}, 0, {0}, 3},
    {{4, 1, 1}, {32, 1, 1}, 0, {2, 1, 1}, 3},   {{4, 1, 1}, {32, 1, 1}, 0, {4, 1, 1}, 3},
};

static const char *const bounds[] = {"", ".maxntid 128, 1, 1\n", ".reqntid 64, 1, 1\n",
                                     ".explicitcluster\n.reqnctapercluster 2, 1, 1\n"};

static CUresult launch(const struct fj_cuda *cuda, const struct shape *s, CUfunction function)
{
    CUlaunchAttribute attribute = {
        .id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
        .value.clusterDim = {s->cluster[0], s->cluster[1], s->cluster[2]},
    };
    CUlaunchConfig config = {s->grid[0],  s->grid[1],           s->grid[2], s->block[0],
                             s->block[1], s->block[2],          s->smem,    NULL,
                             &attribute,  s->cluster[1] ? 1 : 0};
    return cuda->cuLaunchKernelEx(&config, function, NULL, NULL);
}

static void run_launches(struct run *run)
{
    struct outcome outcome = {.format = 'w', .width = 4, .rule = RULE_EXACT};
    struct loaded kernels[4] = {0};
    const struct fj_cuda *cuda = run->device->cuda;
    bool ok = selected(run, "driver.launch");
    if (!ok)
        return;
    for (int i = 0; ok && i < 4; i++) {
        struct fj_buf ptx = {0};
        fj_buf_printf(&ptx,
                      ".version 8.4\n.target sm_90a\n.address_size 64\n"
                      ".visible .entry run()\n%s{\nret;\n}\n",
                      bounds[i]);
        ok = load_kernel(run->device, ptx.data, "driver.launch", 0, &kernels[i]);
        fj_buf_free(&ptx);
    }
    for (size_t i = 0; ok && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        CUresult got = launch(cuda, &shapes[i], kernels[shapes[i].kernel].function);
        fj_buf_append(&outcome.payload, &(uint32_t){(uint32_t)got}, 4);
    }
    static const int limits[] = {0, -1, 49152, 49153, 227 * 1024, 227 * 1024 + 1};
    for (size_t i = 0; ok && i < sizeof(limits) / sizeof(limits[0]); i++) {
        CUresult got = cuda->cuFuncSetAttribute(
            kernels[0].function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, limits[i]);
        fj_buf_append(&outcome.payload, &(uint32_t){(uint32_t)got}, 4);
    }
    for (int i = 0; i < 4; i++)
        if (kernels[i].module)
            cuda->cuModuleUnload(kernels[i].module);
    outcome.digest = digest_of(shapes, sizeof(shapes), 0);
    report_case(run, "driver.launch", &outcome, ok);
}

void run_driver_cases(struct run *run)
{
    run_encodings(run);
    run_launches(run);
}
