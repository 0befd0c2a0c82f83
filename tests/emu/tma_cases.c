// Tensor copies: one box loaded into shared memory that was filled before, dumped with what lies
// around it; and stores and reductions of a box.
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMEM_BYTES 40960 // dumped: 32 KiB for the box and a margin
#define TENSOR_WORDS 65536

struct tma_case {
    const char *name;
    CUtensorMapDataType type;
    int rank, size;
    cuuint64_t dims[5];
    cuuint32_t box[5], steps[5];
    CUtensorMapSwizzle swizzle;
    CUtensorMapFloatOOBfill fill;
    int coords[5];
    unsigned expect;   // bytes the barrier waits for
    const char *store; // NULL: load; "" a store; ".add" a reduction
};

#define BF16 CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, .size = 2
#define F16 CU_TENSOR_MAP_DATA_TYPE_FLOAT16, .size = 2
#define F32 CU_TENSOR_MAP_DATA_TYPE_FLOAT32, .size = 4
#define U8 CU_TENSOR_MAP_DATA_TYPE_UINT8, .size = 1
#define S32 CU_TENSOR_MAP_DATA_TYPE_INT32, .size = 4
#define NAN_FILL CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA

static const struct tma_case cases[] = {
    {"tma.1d", BF16, .rank = 1, .dims = {1000}, .box = {256}, .coords = {904}, .expect = 512},
    {"tma.1d.inside", BF16, .rank = 1, .dims = {1000}, .box = {64}, .coords = {40}, .expect = 128},
    {"tma.2d.none", BF16, .rank = 2, .dims = {80, 50}, .box = {24, 20}, .coords = {8, 3},
     .expect = 960},
    {"tma.2d.32", BF16, .rank = 2, .dims = {80, 50}, .box = {16, 32}, .swizzle = 1,
     .coords = {8, 3}, .expect = 1024},
    {"tma.2d.64", BF16, .rank = 2, .dims = {80, 50}, .box = {32, 32}, .swizzle = 2,
     .coords = {8, 3}, .expect = 2048},
    {"tma.2d.128", BF16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .swizzle = 3,
     .coords = {8, 3}, .expect = 4096},
    {"tma.2d.128.outside", BF16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .swizzle = 3,
     .coords = {40, -7}, .expect = 4096},
    {"tma.2d.128.far", BF16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .swizzle = 3,
     .coords = {-8, 40}, .expect = 4096},
    {"tma.2d.128.nowhere", BF16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .swizzle = 3,
     .coords = {200, -40}, .expect = 4096},
    {"tma.2d.nan", BF16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .swizzle = 3,
     .fill = NAN_FILL, .coords = {40, -7}, .expect = 4096},
    {"tma.2d.nan.f32", F32, .rank = 2, .dims = {80, 50}, .box = {32, 32}, .swizzle = 3,
     .fill = NAN_FILL, .coords = {60, -7}, .expect = 4096},
    {"tma.2d.u8", U8, .rank = 2, .dims = {176, 50}, .box = {128, 16}, .swizzle = 3,
     .coords = {32, 3}, .expect = 2048},
    {"tma.3d", F32, .rank = 3, .dims = {40, 21, 9}, .box = {32, 8, 5}, .swizzle = 3,
     .coords = {12, 15, 6}, .expect = 5120},
    {"tma.3d.steps", F32, .rank = 3, .dims = {40, 21, 9}, .box = {32, 8, 5}, .steps = {1, 3, 2},
     .coords = {4, 5, 1}, .expect = 1152},
    {"tma.4d", F16, .rank = 4, .dims = {64, 10, 6, 5}, .box = {64, 4, 3, 2}, .swizzle = 3,
     .coords = {0, 8, -1, 4}, .expect = 3072},
    {"tma.5d", F16, .rank = 5, .dims = {32, 10, 6, 3, 4}, .box = {32, 4, 3, 2, 2}, .swizzle = 2,
     .coords = {0, 8, 2, 1, 3}, .expect = 3072},
    {"tma.store.128", BF16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .swizzle = 3,
     .coords = {40, 37}, .store = ""},
    {"tma.store.3d", F32, .rank = 3, .dims = {40, 21, 9}, .box = {16, 8, 5}, .swizzle = 2,
     .coords = {28, 18, 6}, .store = ""},
    {"tma.add.f32", F32, .rank = 2, .dims = {80, 50}, .box = {32, 32}, .coords = {60, 37},
     .store = ".add"},
    {"tma.add.f16", F16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .coords = {56, 37},
     .store = ".add"},
    {"tma.add.bf16", BF16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .coords = {56, 37},
     .store = ".add"},
    {"tma.min.s32", S32, .rank = 2, .dims = {80, 50}, .box = {32, 32}, .coords = {60, 37},
     .store = ".min"},
    {"tma.max.f16", F16, .rank = 2, .dims = {80, 50}, .box = {64, 32}, .coords = {56, 37},
     .store = ".max"},
};

static void coordinates(struct fj_buf *ptx, const struct tma_case *c)
{
    fj_buf_puts(ptx, "{");
    for (int i = 0; i < c->rank; i++)
        fj_buf_printf(ptx, "%s%%c%d", i ? ", " : "", i);
    fj_buf_puts(ptx, "}");
}

// `data`: what shared memory is filled with; `out`: where it is dumped.
static void build(struct fj_buf *ptx, const struct tma_case *c)
{
    fj_buf_printf(
        ptx,
        ".version 8.4\n.target sm_90a\n.address_size 64\n"
        ".extern .shared .align 1024 .b8 tile[];\n"
        ".visible .entry run(.param .align 64 .b8 map[128], .param .u64 data, .param .u64 out)\n"
        "{\n.reg .pred %%p, %%q;\n.reg .b32 %%c<5>, %%t, %%s, %%b, %%i, %%v, %%a;\n"
        ".reg .b64 %%data, %%out, %%at, %%map;\n"
        ".shared .align 8 .b64 barrier;\n"
        "ld.param.u64 %%data, [data];\nld.param.u64 %%out, [out];\nmov.b64 %%map, map;\n"
        "cvta.param.u64 %%map, %%map;\n"
        "mov.u32 %%t, %%tid.x;\nmov.u32 %%b, barrier;\nmov.u32 %%s, tile;\n"
        "add.u32 %%s, %%s, 1023;\nand.b32 %%s, %%s, -1024;\n"
        "setp.eq.u32 %%p, %%t, 0;\n@%%p mbarrier.init.shared::cta.b64 [%%b], 1;\n"
        "mov.u32 %%i, %%t;\n"
        "fill: mul.wide.u32 %%at, %%i, 4;\nadd.s64 %%at, %%at, %%data;\n"
        "ld.global.u32 %%v, [%%at];\nmad.lo.u32 %%a, %%i, 4, %%s;\nst.shared.u32 [%%a], %%v;\n"
        "add.u32 %%i, %%i, 128;\nsetp.lt.u32 %%q, %%i, %d;\n@%%q bra fill;\n"
        "fence.proxy.async;\nfence.mbarrier_init.release.cluster;\nbar.sync 0;\n",
        SMEM_BYTES / 4);
    for (int i = 0; i < c->rank; i++)
        fj_buf_printf(ptx, "mov.u32 %%c%d, %d;\n", i, c->coords[i]);
    fj_buf_puts(ptx, "@!%p bra issued;\n");
    if (c->store) {
        fj_buf_printf(ptx,
                      "cp%s.async.bulk.tensor.%dd.global.shared::cta%s.tile.bulk_group [%%map, ",
                      *c->store ? ".reduce" : "", c->rank, c->store);
        coordinates(ptx, c);
        fj_buf_puts(ptx, "], [%s];\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\n");
    } else {
        fj_buf_printf(ptx,
                      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%b], %u;\n"
                      "cp.async.bulk.tensor.%dd.shared::cluster.global.tile"
                      ".mbarrier::complete_tx::bytes [%%s], [%%map, ",
                      c->expect, c->rank);
        coordinates(ptx, c);
        fj_buf_puts(ptx, "], [%b];\n");
    }
    fj_buf_puts(ptx, "issued:\n");
    if (!c->store)
        // Bounded: a copy of other than the expected size must not hang the GPU.
        fj_buf_puts(ptx, "mov.u32 %i, 0;\n"
                         "wait: mbarrier.try_wait.parity.shared::cta.b64 %q, [%b], 0;\n"
                         "@%q bra arrived;\nadd.u32 %i, %i, 1;\nsetp.lt.u32 %q, %i, 1000;\n"
                         "@%q bra wait;\narrived:\n");
    fj_buf_printf(ptx,
                  "bar.sync 0;\nmov.u32 %%i, %%t;\n"
                  "dump: mad.lo.u32 %%a, %%i, 4, %%s;\nld.shared.u32 %%v, [%%a];\n"
                  "mul.wide.u32 %%at, %%i, 4;\nadd.s64 %%at, %%at, %%out;\n"
                  "st.global.u32 [%%at], %%v;\nadd.u32 %%i, %%i, 128;\n"
                  "setp.lt.u32 %%q, %%i, %d;\n@%%q bra dump;\nret;\n}\n",
                  SMEM_BYTES / 4);
}

static CUresult encode(const struct run *run, const struct tma_case *c, CUdeviceptr tensor,
                       CUtensorMap *ret_map)
{
    cuuint64_t strides[5], bytes = c->dims[0] * (cuuint64_t)c->size;
    cuuint32_t steps[5];
    for (int i = 0; i < c->rank; i++) {
        steps[i] = c->steps[i] ? c->steps[i] : 1;
        strides[i] = (bytes + 15) / 16 * 16 + 16;
        bytes = strides[i] * c->dims[i + 1 < 5 ? i + 1 : i];
    }
    return run->device->cuda->cuTensorMapEncodeTiled(
        ret_map, c->type, (cuuint32_t)c->rank, (void *)(uintptr_t)tensor, c->dims, strides, c->box,
        steps, CU_TENSOR_MAP_INTERLEAVE_NONE, c->swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE, c->fill);
}

static bool launch(const struct run *run, const struct tma_case *c, const struct loaded *kernel,
                   const uint32_t *data, uint32_t *ret_out)
{
    const struct fj_cuda *cuda = run->device->cuda;
    CUdeviceptr tensor = 0, fill = 0, out = 0;
    CUtensorMap map;
    void *args[] = {&map, &fill, &out};
    bool ok =
        check_call(run->device, cuda->cuMemAlloc_v2(&tensor, 4 * TENSOR_WORDS), "alloc", c->name) &&
        check_call(run->device, cuda->cuMemAlloc_v2(&fill, SMEM_BYTES), "alloc", c->name) &&
        check_call(run->device, cuda->cuMemAlloc_v2(&out, SMEM_BYTES), "alloc", c->name) &&
        check_call(run->device, cuda->cuMemcpyHtoD_v2(tensor, data, 4 * TENSOR_WORDS), "copy",
                   c->name) &&
        check_call(run->device, cuda->cuMemcpyHtoD_v2(fill, data + TENSOR_WORDS, SMEM_BYTES),
                   "copy", c->name) &&
        check_call(run->device, encode(run, c, tensor, &map), "encode", c->name) &&
        check_call(run->device,
                   cuda->cuLaunchKernel(kernel->function, 1, 1, 1, 128, 1, 1, SMEM_BYTES + 1024,
                                        NULL, args, NULL),
                   "launch", c->name) &&
        check_call(run->device, cuda->cuMemcpyDtoH_v2(ret_out, out, SMEM_BYTES), "copy", c->name) &&
        check_call(run->device,
                   cuda->cuMemcpyDtoH_v2(ret_out + SMEM_BYTES / 4, tensor, 4 * TENSOR_WORDS),
                   "copy", c->name);
    cuda->cuMemFree_v2(tensor);
    cuda->cuMemFree_v2(fill);
    cuda->cuMemFree_v2(out);
    return ok;
}

static void run_one(struct run *run, const struct tma_case *c)
{
    size_t words = TENSOR_WORDS + SMEM_BYTES / 4;
    struct outcome outcome = {.format = 'w', .width = 4, .rule = RULE_DIGEST};
    struct fj_buf ptx = {0};
    struct loaded kernel;
    if (!selected(run, c->name))
        return;
    uint32_t *data = malloc(4 * words), *out = malloc(4 * words);
    uint64_t *wide = malloc(8 * words);
    char letter = c->size == 4 ? (c->store && strstr(c->name, "f32") ? 'f' : 'w') : 'E';
    fill_operands(letter, c->name, 0, (int)words, wide);
    for (size_t i = 0; i < words; i++)
        data[i] = (uint32_t)wide[i];
    build(&ptx, c);
    outcome.digest = digest_of(data, 4 * words, digest_of(ptx.data, ptx.len, 0));
    bool ok = load_kernel(run->device, ptx.data, c->name, SMEM_BYTES + 1024, &kernel);
    if (ok) {
        ok = launch(run, c, &kernel, data, out);
        run->device->cuda->cuModuleUnload(kernel.module);
    }
    size_t unit = c->store ? 64 : 128; // bytes of one digest
    size_t from = c->store ? SMEM_BYTES : 0, to = from + (c->store ? 36864 : 8192);
    for (size_t at = from; ok && at < to; at += unit) {
        uint64_t digest = digest_of((const char *)out + at, unit, 0);
        fj_buf_append(&outcome.payload, &digest, 4);
    }
    report_case(run, c->name, &outcome, ok);
    fj_buf_free(&ptx);
    free(data);
    free(out);
    free(wide);
}

void run_tma_cases(struct run *run)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_one(run, &cases[i]);
}
