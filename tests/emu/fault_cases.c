// Faults planted in small kernels, each beside the same kernel without it.
#include "faults.h"

#include <string.h>

#define STORE_TILE "mad.lo.u32 %t0, %me, 4, %s;\nst.shared.u32 [%t0], %me;\n"
#define STORE_T1 "mul.wide.u32 %at, %me, 4;\nadd.s64 %at, %at, %out;\nst.global.u32 [%at], %t1;\n"
#define BULK_STORE                                                                                 \
    "setp.ne.u32 %p, %me, 0;\n@%p bra issued;\n"                                                   \
    "cp.async.bulk.global.shared::cta.bulk_group [%out], [%s], 256;\n"                             \
    "cp.async.bulk.commit_group;\n"

#define WGMMA                                                                                      \
    "cvt.u64.u32 %x0, %s;\nshr.u64 %x0, %x0, 4;\nor.b64 %x0, %x0, 0x0000001000080000;\n"           \
    "mov.b32 %d0, 0;\nmov.b32 %d1, 0;\nmov.b32 %d2, 0;\nmov.b32 %d3, 0;\n"                         \
    "setp.eq.u32 %p, 0, 0;\nwgmma.fence.sync.aligned;\n"                                           \
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%d0, %d1, %d2, %d3}, %x0, %x0, %p, 1, "  \
    "1, 0, 0;\nwgmma.commit_group.sync.aligned;\n"

#define WGMMA_WAIT "wgmma.wait_group.sync.aligned 0;\n"

// The first warpgroup gives registers away, the two others do as they are told.
#define REGISTERS(count, others)                                                                   \
    "setp.lt.u32 %p, %me, 128;\n@%p bra low;\n" others                                             \
    "bra.uni done;\nlow: setmaxnreg.dec.sync.aligned.u32 " count ";\ndone:\n"

// The whole tile is written, a word by each thread and turn.
#define FILL_TILE                                                                                  \
    "mov.u32 %t1, %me;\nfill: mad.lo.u32 %t0, %t1, 4, %s;\nst.shared.u32 [%t0], 0;\n"              \
    "add.u32 %t1, %t1, 128;\nsetp.lt.u32 %q, %t1, 1024;\n@%q bra fill;\n"

const struct fault faults[] = {
    {"global-bounds",
     64,
     false,
     "add.s64 %at, %out, %d64;\nst.global.u32 [%at], 7;\n",
     {"4096", "4092"},
     CUDA_ERROR_ILLEGAL_ADDRESS,
     "past allocation",
     false,
     "memcheck"},
    {"global-before",
     64,
     false,
     "add.s64 %at, %in, %d64;\nld.global.u32 %t0, [%at];\nst.global.u32 [%out], %t0;\n",
     {"-4", "0"},
     CUDA_ERROR_ILLEGAL_ADDRESS,
     "before allocation",
     false,
     "memcheck"},
    {"global-misaligned",
     64,
     false,
     "st.global.u64 [%out+%d64], %x1;\n",
     {"4", "8"},
     CUDA_ERROR_MISALIGNED_ADDRESS,
     "misaligned",
     false,
     "memcheck"},
    {"shared-bounds",
     64,
     false,
     "setp.eq.u32 %p, %me, 0;\n@%p st.shared.u32 [%s+4092], %me;\nbar.sync 0;\nld.shared.u32 %t0, "
     "[%s+%d64];\nst.global.u32 "
     "[%out], %t0;\n",
     {"262144", "4092"},
     CUDA_ERROR_ILLEGAL_ADDRESS,
     "shared",
     false,
     "memcheck"},
    {"shared-misaligned",
     64,
     false,
     "mad.lo.u32 %t0, %me, 32, %s;\nst.shared.v4.u32 [%t0+%d64], {%me, %me, %me, %me};\n",
     {"8", "16"},
     CUDA_ERROR_MISALIGNED_ADDRESS,
     "misaligned",
     false,
     "memcheck"},
    {"barrier-count",
     64,
     false,
     "setp.lt.u32 %p, %me, 32;\n@%p bar.sync 1, %d64;\n",
     {"64", "32"},
     CUDA_ERROR_LAUNCH_TIMEOUT,
     "deadlock",
     true,
     NULL},
    {"barrier-multiple",
     64,
     false,
     "mov.u32 %t0, %d64;\nbar.sync 1, %t0;\n",
     {"40", "64"},
     CUDA_ERROR_LAUNCH_FAILED,
     "barrier",
     true,
     NULL},
    {"mbarrier-arrivals",
     64,
     false,
     "setp.eq.u32 %p, %me, 0;\n@%p mbarrier.init.shared::cta.b64 [%b], %d64;\nbar.sync 0;\n"
     "mbarrier.arrive.shared::cta.b64 _, [%b];\n"
     "wait: mbarrier.try_wait.parity.shared::cta.b64 %q, [%b], 0;\n@!%q bra wait;\n",
     {"65", "64"},
     CUDA_ERROR_LAUNCH_TIMEOUT,
     "deadlock",
     true,
     NULL},
    {"mbarrier-uninitialised",
     64,
     false,
     "setp.eq.u32 %p, %me, 0;\n@%p mbarrier.init.shared::cta.b64 [%b+%d64], 64;\nbar.sync 0;\n"
     "mbarrier.arrive.shared::cta.b64 _, [%b];\n",
     {"8", "0"},
     CUDA_ERROR_LAUNCH_FAILED,
     "mbarrier",
     true,
     NULL},
    {"expect-tx",
     64,
     false,
     "setp.eq.u32 %p, %me, 0;\n@%p mbarrier.init.shared::cta.b64 [%b], 1;\nbar.sync 0;\n"
     "@!%p bra wait;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [%b], %d64;\n"
     "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%s], [%in], 256, [%b];\n"
     "wait: mbarrier.try_wait.parity.shared::cta.b64 %q, [%b], 0;\n@!%q bra wait;\n",
     {"512", "256"},
     CUDA_ERROR_LAUNCH_TIMEOUT,
     "mbarrier",
     true,
     NULL},
    {"trap",
     64,
     false,
     "setp.eq.u32 %p, %d64, 1;\n@%p trap;\n",
     {"1", "0"},
     CUDA_ERROR_LAUNCH_FAILED,
     "trap",
     false,
     NULL},

    {"unwritten-shared",
     64,
     true,
     STORE_TILE "bar.sync 0;\nld.shared.u32 %t1, [%t0+%d64];\n" STORE_T1,
     {"512", "0"},
     CUDA_ERROR_LAUNCH_FAILED,
     "unwritten",
     false,
     NULL},
    {"unwritten-global",
     64,
     true,
     "st.global.u32 [%out], 0;\nld.global.u32 %t1, [%out+%d64];\nst.global.u32 [%out], %t1;\n",
     {"64", "0"},
     CUDA_ERROR_LAUNCH_FAILED,
     "unwritten",
     false,
     "initcheck"},
    {"unwritten-register",
     64,
     true,
     "setp.gt.u32 %p, %me, %d64;\n@%p mov.u32 %t5, 1;\nsetp.eq.u32 %q, %me, 40;\n"
     "add.u32 %t6, %t5, 1;\nst.global.u32 [%out], %t6;\n",
     {"5", "0xffffffff; mov.u32 %t5, 0"},
     CUDA_ERROR_LAUNCH_FAILED,
     "unwritten",
     false,
     NULL},
    {"race",
     64,
     true,
     STORE_TILE "bar.sync 0;\n" STORE_TILE
                "%B\nxor.b32 %t1, %t0, 128;\nld.shared.u32 %t1, [%t1];\n" STORE_T1,
     {"", "bar.sync 0;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "race",
     false,
     "racecheck"},
    {"cp-async-early",
     64,
     true,
     "mad.lo.u32 %t0, %me, 16, %s;\nmul.wide.u32 %at, %me, 16;\nadd.s64 %at, %at, %in;\n"
     "cp.async.ca.shared.global [%t0], [%at], 16;\ncp.async.commit_group;\n%B\n"
     "ld.shared.u32 %t1, [%t0];\nst.global.u32 [%out], %t1;\n",
     {"", "cp.async.wait_group 0;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "async",
     false,
     "racecheck"},
    {"proxy-fence",
     64,
     true,
     STORE_TILE "%B\nbar.sync 0;\n" BULK_STORE "cp.async.bulk.wait_group 0;\nissued:\n",
     {"", "fence.proxy.async.shared::cta;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "async",
     false,
     NULL},
    {"overwritten-early",
     64,
     true,
     STORE_TILE "fence.proxy.async.shared::cta;\nbar.sync 0;\n" BULK_STORE
                "%B\nst.shared.u32 [%s], 7;\ncp.async.bulk.wait_group 0;\nissued:\n",
     {"", "cp.async.bulk.wait_group.read 0;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "async",
     false,
     NULL},
    {"wgmma-accumulator",
     128,
     true,
     FILL_TILE "fence.proxy.async.shared::cta;\nbar.sync 0;\n" WGMMA
               "%B\nadd.f32 %d1, %d1, %d2;\nwgmma.wait_group.sync.aligned 0;\n"
               "st.global.b32 [%out], %d1;\n",
     {"", "wgmma.wait_group.sync.aligned 0;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "async",
     false,
     NULL},
    {"wgmma-fence",
     128,
     true,
     FILL_TILE "%B\nbar.sync 0;\n" WGMMA
               "wgmma.wait_group.sync.aligned 0;\nst.global.b32 [%out], %d1;\n",
     {"", "fence.proxy.async.shared::cta;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "async",
     false,
     NULL},
    {"wgmma-refill",
     128,
     true,
     FILL_TILE "fence.proxy.async.shared::cta;\nbar.sync 0;\n" WGMMA WGMMA_WAIT
               "bar.sync 0;\n" STORE_TILE "%B\nbar.sync 0;\n" WGMMA WGMMA_WAIT
               "st.global.b32 [%out], 0;\n",
     {"", "fence.proxy.async.shared::cta;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "without fence.proxy.async",
     false,
     NULL},
    {"wgmma-overwrite",
     128,
     true,
     FILL_TILE "fence.proxy.async.shared::cta;\nbar.sync 0;\n" WGMMA
               "%B\nsetp.eq.u32 %q, %me, 0;\n@%q st.shared.u32 [%s], 7;\n" WGMMA_WAIT,
     {"", WGMMA_WAIT "bar.sync 0;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "overwritten before warp",
     false,
     NULL},
    {"wgmma-read-then-write",
     128,
     true,
     FILL_TILE "fence.proxy.async.shared::cta;\nbar.sync 0;\n" WGMMA WGMMA_WAIT
               "%B\nsetp.eq.u32 %q, %w, 3;\n@%q st.shared.u32 [%s], 1;\n",
     {"", "bar.sync 0;\nsetp.eq.u32 %q, %l, 0;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "no barrier between",
     false,
     NULL},
    {"lanes-one-address",
     64,
     true,
     "and.b32 %t0, %me, %d64;\nshr.u32 %t1, %me, 5;\nmad.lo.u32 %t1, %t1, 4, %s;\n"
     "st.shared.u32 [%t1], %t0;\n",
     {"31", "32"},
     CUDA_ERROR_LAUNCH_FAILED,
     "store different values",
     false,
     "racecheck"},
    {"lanes-read",
     64,
     true,
     STORE_TILE "%B\nxor.b32 %t1, %t0, 4;\nld.shared.u32 %t1, [%t1];\n" STORE_T1,
     {"", "bar.warp.sync -1;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "no bar.warp.sync between",
     false,
     "racecheck"},
    {"lanes-overwrite",
     64,
     true,
     STORE_TILE "bar.warp.sync -1;\nxor.b32 %t1, %t0, 4;\nld.shared.u32 %t1, [%t1];\n%B\n"
                "st.shared.u32 [%t0], %t1;\n",
     {"", "bar.warp.sync -1;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "no bar.warp.sync between",
     false,
     "racecheck"},
    {"ctas-write",
     64,
     true,
     "mov.u32 %t1, %ctaid.x;\n%B\n" STORE_T1,
     {"", "mov.u32 %t1, %me;"},
     CUDA_ERROR_LAUNCH_FAILED,
     "another CTA",
     false,
     NULL,
     .grid = 3},
    {"ctas-read",
     64,
     true,
     "mov.u32 %t0, %ctaid.x;\nmul.wide.u32 %at, %t0, 4;\nadd.s64 %at, %at, %out;\n"
     "st.global.u32 [%at], 1;\nxor.b32 %t0, %t0, %d64;\nmul.wide.u32 %at, %t0, 4;\n"
     "add.s64 %at, %at, %out;\nld.global.u32 %t1, [%at];\n",
     {"1", "0"},
     CUDA_ERROR_LAUNCH_FAILED,
     "another CTA",
     false,
     NULL,
     .grid = 2},
    {"registers-pool",
     384,
     false,
     REGISTERS("%d64", "setmaxnreg.inc.sync.aligned.u32 240;\n"),
     {"40", "24"},
     CUDA_ERROR_LAUNCH_TIMEOUT,
     "on setmaxnreg.inc",
     true,
     NULL,
     .limits = ".maxntid 384\n.minnctapersm 1\n"},
    {"registers-dec",
     384,
     false,
     REGISTERS("%d64", "setmaxnreg.inc.sync.aligned.u32 240;\n"),
     {"176", "24"},
     CUDA_ERROR_ILLEGAL_INSTRUCTION,
     "setmaxnreg.dec to 176",
     true,
     NULL,
     .limits = ".maxntid 384\n.minnctapersm 1\n"},
    {"registers-inc",
     384,
     false,
     REGISTERS("24", "setmaxnreg.inc.sync.aligned.u32 240;\nsetmaxnreg.%B.sync.aligned.u32 232;\n"),
     {"inc", "dec"},
     CUDA_ERROR_ILLEGAL_INSTRUCTION,
     "setmaxnreg.inc to 232",
     true,
     NULL,
     .limits = ".maxntid 384\n.minnctapersm 1\n"},
};

const int n_faults = sizeof(faults) / sizeof(faults[0]);

// %d64 and %B stand for what makes the difference.
static void append_body(struct fj_buf *ptx, const char *body, const char *part)
{
    while (*body) {
        const char *number = strstr(body, "%d64"), *line = strstr(body, "%B");
        const char *at = number && (!line || number < line) ? number : line;
        if (!at) {
            fj_buf_puts(ptx, body);
            return;
        }
        fj_buf_append(ptx, body, (size_t)(at - body));
        fj_buf_puts(ptx, part);
        body = at + (at == number ? 4 : 2);
    }
}

void build_fault(struct fj_buf *ptx, const struct fault *fault, bool planted)
{
    fj_buf_puts(ptx, ".version 8.4\n.target sm_90a\n.address_size 64\n"
                     ".visible .entry run(.param .u64 in, .param .u64 out)\n");
    fj_buf_puts(ptx, fault->limits ? fault->limits : "");
    fj_buf_puts(ptx, "{\n"
                     ".shared .align 1024 .b8 tile[4096];\n.shared .align 8 .b64 bars[2];\n"
                     ".reg .pred %p, %q;\n.reg .b32 %t<8>, %d<4>, %s, %b, %l, %w, %me;\n"
                     ".reg .b64 %x<4>, %in, %out, %at;\n"
                     "ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\n"
                     "mov.u32 %me, %tid.x;\nand.b32 %l, %me, 31;\nshr.u32 %w, %me, 5;\n"
                     "mov.u32 %s, tile;\nmov.u32 %b, bars;\nmov.b64 %x1, 0;\n");
    append_body(ptx, fault->body, fault->parts[planted ? 0 : 1]);
    fj_buf_puts(ptx, "ret;\n}\n");
}

CUresult run_fault(const struct device *device, const struct fault *fault, bool planted)
{
    const struct fj_cuda *cuda = device->cuda;
    struct fj_buf ptx = {0};
    struct loaded kernel;
    CUdeviceptr in = 0, out = 0;
    void *args[] = {&in, &out};
    build_fault(&ptx, fault, planted);
    CUresult result = CUDA_ERROR_UNKNOWN;
    if (load_kernel(device, ptx.data, fault->name, 0, &kernel) &&
        check_call(device, cuda->cuMemAlloc_v2(&in, 4096), "alloc", fault->name) &&
        check_call(device, cuda->cuMemAlloc_v2(&out, 4096), "alloc", fault->name) &&
        check_call(device, cuda->cuMemsetD8_v2(in, 1, 4096), "set", fault->name) &&
        (!fault->grid ||
         check_call(device, cuda->cuMemsetD8_v2(out, 1, 4096), "set", fault->name))) {
        result = cuda->cuLaunchKernel(kernel.function, fault->grid ? fault->grid : 1, 1, 1,
                                      fault->threads, 1, 1, 0, NULL, args, NULL);
        if (result == CUDA_SUCCESS)
            result = cuda->cuCtxSynchronize();
    }
    cuda->cuMemFree_v2(in);
    cuda->cuMemFree_v2(out);
    fj_buf_free(&ptx);
    return result;
}
