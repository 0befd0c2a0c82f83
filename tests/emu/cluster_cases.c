// Clusters of four CTAs: what they find in each other's shared memory. Every CTA fills a tile from
// `data`, the body runs between two cluster barriers, the tile and four registers of every thread
// are dumped.
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CTAS 8 // two clusters
#define THREADS 128
#define TILE_WORDS 1024
#define OUT_WORDS (TILE_WORDS + 4 * THREADS) // of a CTA
#define UNIT 512                             // bytes of one digest

struct cluster_case {
    const char *name;
    char letter; // of the operands
    const char *body;
};

// %rs and %rb: tile and barriers of the next CTA of the cluster. %own: this thread's word of the
// tile, %far: the same word of the next CTA's tile.
#define OWN "mad.lo.u32 %own, %me, SIZE, %s;\nmad.lo.u32 %far, %me, SIZE, %rs;\n"
#define FENCE "fence.proxy.async;\nbar.sync 0;\n"
#define SYNC "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n"
// Bounded: a wait that fails must not hang the GPU.
#define WAIT(bar)                                                                                  \
    "mov.u32 %t9, 0;\n"                                                                            \
    "wait: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %q, [" bar "], 0;\n"           \
    "@%q bra passed;\nadd.u32 %t9, %t9, 1;\nsetp.lt.u32 %q, %t9, 1000;\n@%q bra wait;\n"           \
    "passed: setp.lt.u32 %q, %t9, 1000;\nselp.u32 %v3, 1, 0, %q;\n"
#define ATOM(op, ...)                                                                              \
    "shl.b32 %t0, %me, 2;\nadd.u32 %own, %s, %t0;\nadd.u32 %far, %rs, %t0;\n"                      \
    "ld.shared.u32 %t1, [%own+2048];\nld.shared.u32 %t2, [%own+1024];\n"                           \
    "atom.shared::cluster." op " %v0, [%far], %t1" __VA_ARGS__ ";\n"                               \
    "red.shared::cluster." op " [%far+512], %t1;\n"
#define COPY(op, bytes)                                                                            \
    FENCE "@!%p bra issued;\n"                                                                     \
          "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%b], " bytes ";\n" op                     \
          ".shared::cluster.shared::cta.mbarrier::complete_tx::bytes"
#define REDUCE(suffix)                                                                             \
    COPY("cp.reduce.async.bulk", "1024")                                                           \
    suffix " [%rs+2048], [%s], 1024, [%rb];\nissued:\n" WAIT("%b")
#define REDUCE_GLOBAL(suffix)                                                                      \
    FENCE "@!%p bra issued;\nadd.s64 %x0, %out, %xo;\n"                                            \
          "cp.reduce.async.bulk.global.shared::cta.bulk_group" suffix " [%x0], [%s], 4096;\n"      \
          "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nissued:\n"                    \
          "bar.sync 0;\nbra.uni end;\n"
#define MULTICAST(masks, bytes)                                                                    \
    "mov.u32 %t0, " masks ";\nshl.b32 %t1, %rank, 2;\nshr.u32 %t0, %t0, %t1;\n"                    \
    "and.b32 %t0, %t0, 15;\ncvt.u16.u32 %mask, %t0;\nmov.u32 %t2, " bytes ";\n"                    \
    "shl.b32 %t3, %rank, 3;\nshr.u32 %t2, %t2, %t3;\nand.b32 %t2, %t2, 255;\nshl.b32 %t2, %t2, "   \
    "9;\n" FENCE SYNC                                                                              \
    "@!%p bra issued;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [%b], %t2;\n"                  \
    "shl.b32 %t4, %rank, 9;\nadd.u32 %t5, %s, %t4;\ncvt.u64.u32 %x0, %t4;\nadd.s64 %x0, %x0, "     \
    "%data;\n"                                                                                     \
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "        \
    "[%t5], [%x0], 512, [%b], %mask;\nissued:\n" WAIT("%b")
#define TENSOR(mask, bytes)                                                                        \
    "mov.b64 %x0, map;\ncvta.param.u64 %x0, %x0;\nmov.u32 %t0, 0;\nshl.b32 %t1, %rank, 3;\n"       \
    "shl.b32 %t2, %rank, 10;\nadd.u32 %t2, %t2, %s;\nmov.u32 %t6, %peer;\n" mask                   \
    "cvt.u16.u32 %mask, %t6;\n" FENCE SYNC                                                         \
    "@!%p bra issued;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [%b], " bytes ";\n"            \
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"             \
    ".multicast::cluster [%t2], [%x0, {%t0, %t1}], [%b], %mask;\nissued:\n" WAIT("%b")

static const struct cluster_case cases[] = {
    {"cluster.special", 'w',
     "mov.u32 %v0, %cluster_ctarank;\nmov.u32 %t0, %cluster_nctarank;\n"
     "mad.lo.u32 %v0, %t0, 16, %v0;\nmov.u32 %t0, %clusterid.x;\nmad.lo.u32 %v0, %t0, 256, %v0;\n"
     "mov.u32 %t0, %nclusterid.x;\nmad.lo.u32 %v0, %t0, 4096, %v0;\n"
     "mov.u32 %v1, %cluster_ctaid.x;\nmov.u32 %t0, %cluster_nctaid.x;\n"
     "mad.lo.u32 %v1, %t0, 16, %v1;\nmov.u32 %t0, %cluster_nctaid.y;\n"
     "mad.lo.u32 %v1, %t0, 256, %v1;\nmov.pred %q, %is_explicit_cluster;\n"
     "selp.u32 %v2, 1, 0, %q;\ngetctarank.shared::cluster.u32 %t0, %rs;\n"
     "getctarank.shared::cluster.u32 %t1, %s;\nmad.lo.u32 %v3, %t0, 16, %t1;\n"},
    {"cluster.isspacep", 'w',
     "cvt.u64.u32 %x0, %s;\ncvta.shared.u64 %x0, %x0;\nmapa.u64 %x1, %x0, %peer;\n"
     "mapa.u64 %x2, %x0, %rank;\ngetctarank.u64 %v3, %x1;\n"
     "isspacep.shared::cta %q, %x0;\nselp.u32 %v0, 1, 0, %q;\n"
     "isspacep.shared::cluster %q, %x0;\nselp.u32 %v0, 3, %v0, %q;\n"
     "isspacep.shared::cta %q, %x1;\nselp.u32 %v1, 1, 0, %q;\n"
     "isspacep.shared::cluster %q, %x1;\nselp.u32 %t0, 2, 0, %q;\nor.b32 %v1, %v1, %t0;\n"
     "isspacep.global %q, %x1;\nselp.u32 %t0, 4, 0, %q;\nor.b32 %v1, %v1, %t0;\n"
     "isspacep.shared::cta %q, %x2;\nselp.u32 %v2, 1, 0, %q;\n"},
    {"cluster.st.b8", 'w', OWN "cvt.u16.u32 %mask, %me;\nst.shared::cluster.u8 [%far], %mask;\n"},
    {"cluster.st.b16", 'w', OWN "cvt.u16.u32 %mask, %me;\nst.shared::cluster.b16 [%far], %mask;\n"},
    {"cluster.st.b32", 'w', OWN "xor.b32 %t0, %me, %rank;\nst.shared::cluster.u32 [%far], %t0;\n"},
    {"cluster.st.v2", 'w', OWN "st.shared::cluster.v2.u32 [%far], {%me, %rank};\n"},
    {"cluster.st.v4", 'w', OWN "st.shared::cluster.v4.b32 [%far], {%me, %rank, %peer, %me};\n"},
    {"cluster.st.b64", 'w',
     OWN "mov.b64 %x0, {%me, %rank};\nst.shared::cluster.b64 [%far], %x0;\n"},
    {"cluster.ld.b32", 'w', OWN "ld.shared::cluster.u32 %v0, [%far];\n"},
    {"cluster.ld.s16", 'w', OWN "ld.shared::cluster.s16 %v0, [%far+2];\n"},
    {"cluster.ld.u8", 'w', OWN "ld.shared::cluster.u8 %v0, [%far+1];\n"},
    {"cluster.ld.v4", 'w', OWN "ld.shared::cluster.v4.u32 {%v0, %v1, %v2, %v3}, [%far];\n"},
    {"cluster.ld.own.v2", 'w', OWN "ld.shared::cluster.v2.u32 {%v0, %v1}, [%own];\n"},
    {"cluster.generic", 'w',
     OWN "cvt.u64.u32 %x0, %own;\ncvta.shared.u64 %x0, %x0;\nmapa.u64 %x1, %x0, %peer;\n"
         "ld.u32 %v0, [%x1+2048];\nst.u32 [%x1], %v0;\natom.add.u32 %v1, [%x1+1024], %v0;\n"},
    {"cluster.atom.add.u32", 'w', ATOM("add.u32")},
    {"cluster.atom.min.s32", 'w', ATOM("min.s32")},
    {"cluster.atom.max.u32", 'w', ATOM("max.u32")},
    {"cluster.atom.and", 'w', ATOM("and.b32")},
    {"cluster.atom.or", 'w', ATOM("or.b32")},
    {"cluster.atom.xor", 'w', ATOM("xor.b32")},
    {"cluster.atom.inc", 'w', ATOM("inc.u32")},
    {"cluster.atom.dec", 'w', ATOM("dec.u32")},
    {"cluster.atom.exch", 'w', OWN "atom.shared::cluster.exch.b32 %v0, [%far], %me;\n"},
    {"cluster.atom.cas", 'w',
     OWN "ld.shared::cluster.u32 %t0, [%far];\nand.b32 %t1, %me, 1;\nadd.u32 %t0, %t0, %t1;\n"
         "atom.shared::cluster.cas.b32 %v0, [%far], %t0, %me;\n"},
    {"cluster.atom.add.u64", 'q',
     OWN "ld.shared.u64 %x0, [%own+2048];\natom.shared::cluster.add.u64 %x1, [%far], %x0;\n"
         "mov.b64 {%v0, %v1}, %x1;\n"},
    {"cluster.atom.add.f32", 'f', ATOM("add.f32")},
    // No add.noftz.f16x2: ptxas 13.0 makes an integer addition of it where the memory turns out to
    // be another CTA's.
    {"cluster.barrier.relaxed", 'w',
     OWN "st.shared::cluster.u32 [%far], %me;\nfence.acq_rel.cluster;\n"
         "barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;\n"
         "fence.acq_rel.cluster;\nld.shared.u32 %v0, [%own];\n"},
    {"cluster.barrier.half", 'w', // one warp after the other arrives
     OWN "st.shared::cluster.u32 [%far], %me;\nbarrier.cluster.arrive;\nadd.u32 %v1, %me, 5;\n"
         "barrier.cluster.wait;\nld.shared.u32 %v0, [%own];\n"},
    {"cluster.arrive", 'w',
     OWN "st.shared::cluster.u32 [%far], %me;\n"
         "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%rb+8];\n" WAIT(
             "%b+8") "ld.shared.u32 %v0, [%own];\n"},
    {"cluster.arrive.count", 'w',
     OWN "and.b32 %t0, %me, 1;\nshl.b32 %t0, %t0, 1;\nsetp.ne.u32 %q, %t0, 0;\n"
         "@%q st.shared::cluster.u32 [%far], %me;\n"
         "@%q mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%rb+8], 2;\n" WAIT(
             "%b+8") "ld.shared.u32 %v0, [%own];\n"},
    {"cluster.arrive.expect", 'w',
     FENCE "@!%p bra issued;\n"
           "mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [%rb], 512;\n"
           "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%rs+2048], "
           "[%s], 512, [%rb];\nissued:\n" WAIT("%b")},
    {"cluster.copy", 'w',
     COPY("cp.async.bulk", "1024") " [%rs+2048], [%s], 1024, [%rb];\nissued:\n" WAIT("%b")},
    {"cluster.copy.small", 'w',
     COPY("cp.async.bulk", "16") " [%rs+2064], [%s+32], 16, [%rb];\nissued:\n" WAIT("%b")},
    {"cluster.reduce.add.u32", 'w', REDUCE(".add.u32")},
    {"cluster.reduce.add.s32", 'w', REDUCE(".add.s32")},
    {"cluster.reduce.add.u64", 'q', REDUCE(".add.u64")},
    {"cluster.reduce.min.s32", 'w', REDUCE(".min.s32")},
    {"cluster.reduce.min.u32", 'w', REDUCE(".min.u32")},
    {"cluster.reduce.max.s32", 'w', REDUCE(".max.s32")},
    {"cluster.reduce.max.u32", 'w', REDUCE(".max.u32")},
    {"cluster.reduce.inc.u32", 'w', REDUCE(".inc.u32")},
    {"cluster.reduce.dec.u32", 'w', REDUCE(".dec.u32")},
    {"cluster.reduce.and", 'w', REDUCE(".and.b32")},
    {"cluster.reduce.or", 'w', REDUCE(".or.b32")},
    {"cluster.reduce.xor", 'w', REDUCE(".xor.b32")},
    {"bulk.reduce.add.u32", 'w', REDUCE_GLOBAL(".add.u32")},
    {"bulk.reduce.add.s32", 'w', REDUCE_GLOBAL(".add.s32")},
    {"bulk.reduce.add.u64", 'q', REDUCE_GLOBAL(".add.u64")},
    {"bulk.reduce.add.f32", 'f', REDUCE_GLOBAL(".add.f32")},
    {"bulk.reduce.add.f64", 'd', REDUCE_GLOBAL(".add.f64")},
    {"bulk.reduce.add.f16", 'H', REDUCE_GLOBAL(".add.noftz.f16")},
    {"bulk.reduce.add.bf16", 'B', REDUCE_GLOBAL(".add.noftz.bf16")},
    {"bulk.reduce.min.f16", 'H', REDUCE_GLOBAL(".min.f16")},
    {"bulk.reduce.max.bf16", 'B', REDUCE_GLOBAL(".max.bf16")},
    {"bulk.reduce.min.u32", 'w', REDUCE_GLOBAL(".min.u32")},
    {"bulk.reduce.max.s32", 'w', REDUCE_GLOBAL(".max.s32")},
    {"bulk.reduce.min.s64", 'q', REDUCE_GLOBAL(".min.s64")},
    {"bulk.reduce.max.u64", 'q', REDUCE_GLOBAL(".max.u64")},
    {"bulk.reduce.inc.u32", 'w', REDUCE_GLOBAL(".inc.u32")},
    {"bulk.reduce.dec.u32", 'w', REDUCE_GLOBAL(".dec.u32")},
    {"bulk.reduce.and.b32", 'w', REDUCE_GLOBAL(".and.b32")},
    {"bulk.reduce.or.b64", 'q', REDUCE_GLOBAL(".or.b64")},
    {"bulk.reduce.xor.b64", 'q', REDUCE_GLOBAL(".xor.b64")},
    // Which CTAs take the pieces of ranks 0 to 3, a hexadecimal digit each; pieces by CTA.
    {"cluster.multicast.all", 'w', MULTICAST("0xffff", "0x04040404")},
    {"cluster.multicast.some", 'w', MULTICAST("0x8351", "0x01010103")},
    {"cluster.multicast.one", 'w', MULTICAST("0x1248", "0x01010101")},
    {"cluster.tensor.all", 'w', TENSOR("mov.b32 %t6, 15;\n", "4096")},
    {"cluster.tensor.one", 'w', TENSOR("shl.b32 %t6, 1, %peer;\n", "1024")},
    {"cluster.tensor.two", 'w', // of ranks 0 and 1, or of 2 and 3
     TENSOR("and.b32 %t6, %rank, 2;\nshl.b32 %t6, 3, %t6;\n", "2048")},
};

static const char prologue[] =
    ".version 8.4\n.target sm_90a\n.address_size 64\n"
    ".visible .entry run(.param .u64 data, .param .u64 out, .param .align 64 .b8 map[128])\n"
    ".explicitcluster\n.reqnctapercluster 4, 1, 1\n"
    "{\n.reg .pred %p, %q;\n.reg .b16 %mask;\n"
    ".reg .b32 %t<10>, %v<4>, %s, %b, %rs, %rb, %own, %far, %me, %rank, %peer, %i, %a;\n"
    ".reg .b64 %x<6>, %data, %out, %at, %xo;\n"
    ".shared .align 1024 .b8 tile[4096];\n.shared .align 8 .b64 bars[2];\n"
    "ld.param.u64 %data, [data];\nld.param.u64 %out, [out];\n"
    "mov.u32 %me, %tid.x;\nmov.u32 %s, tile;\nmov.u32 %b, bars;\nmov.u32 %rank, %cluster_ctarank;\n"
    "add.u32 %peer, %rank, 1;\nand.b32 %peer, %peer, 3;\n"
    "mapa.shared::cluster.u32 %rs, %s, %peer;\nmapa.shared::cluster.u32 %rb, %b, %peer;\n"
    "mov.u32 %v0, 0;\nmov.u32 %v1, 0;\nmov.u32 %v2, 0;\nmov.u32 %v3, 0;\n"
    "mov.u32 %t0, %ctaid.x;\nmul.wide.u32 %xo, %t0, 4096;\nadd.s64 %at, %data, %xo;\n"
    "mul.wide.u32 %xo, %t0, 6144;\nmov.u32 %i, %me;\n"
    "fill: mul.wide.u32 %x0, %i, 4;\nadd.s64 %x0, %x0, %at;\nld.global.u32 %t1, [%x0];\n"
    "mad.lo.u32 %a, %i, 4, %s;\nst.shared.u32 [%a], %t1;\nadd.u32 %i, %i, 128;\n"
    "setp.lt.u32 %q, %i, 1024;\n@%q bra fill;\n"
    "setp.eq.u32 %p, %me, 0;\n@%p mbarrier.init.shared::cta.b64 [%b], 1;\n"
    "@%p mbarrier.init.shared::cta.b64 [%b+8], 128;\nfence.mbarrier_init.release.cluster;\n"
    "fence.proxy.async;\n" SYNC;

static const char epilogue[] =
    SYNC "mov.u32 %i, %me;\nadd.s64 %at, %out, %xo;\n"
         "dump: mad.lo.u32 %a, %i, 4, %s;\nld.shared.u32 %t1, [%a];\nmul.wide.u32 %x0, %i, 4;\n"
         "add.s64 %x0, %x0, %at;\nst.global.u32 [%x0], %t1;\nadd.u32 %i, %i, 128;\n"
         "setp.lt.u32 %q, %i, 1024;\n@%q bra dump;\n"
         "mul.wide.u32 %x0, %me, 16;\nadd.s64 %x0, %x0, %at;\n"
         "st.global.v4.u32 [%x0+4096], {%v0, %v1, %v2, %v3};\nend:\n" SYNC "ret;\n}\n";

// SIZE is what one thread accesses, by the opcode's suffix.
static void build(struct fj_buf *ptx, const struct cluster_case *c)
{
    const char *size = strstr(c->name, ".v4")                            ? "16"
                       : strstr(c->name, "64") || strstr(c->name, ".v2") ? "8"
                                                                         : "4";
    fj_buf_puts(ptx, prologue);
    for (const char *at = c->body; *at;) {
        const char *next = strstr(at, "SIZE");
        if (!next) {
            fj_buf_puts(ptx, at);
            break;
        }
        fj_buf_append(ptx, at, (size_t)(next - at));
        fj_buf_puts(ptx, size);
        at = next + 4;
    }
    fj_buf_puts(ptx, epilogue);
}

// The operands as rows of 64 16-bit values, in boxes of eight rows.
static CUresult encode(const struct fj_cuda *cuda, CUdeviceptr in, CUtensorMap *ret_map)
{
    const cuuint64_t dims[] = {64, 64}, strides[] = {128};
    const cuuint32_t box[] = {64, 8}, steps[] = {1, 1};
    return cuda->cuTensorMapEncodeTiled(
        ret_map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, (void *)(uintptr_t)in, dims, strides, box,
        steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

static bool launch(const struct device *device, const char *name, CUfunction function,
                   const uint32_t *data, uint32_t *ret_out)
{
    const struct fj_cuda *cuda = device->cuda;
    CUdeviceptr in = 0, out = 0;
    CUtensorMap map;
    void *args[] = {&in, &out, &map};
    const size_t bytes = 4 * CTAS * OUT_WORDS;
    bool ok =
        check_call(device, cuda->cuMemAlloc_v2(&in, bytes), "alloc", name) &&
        check_call(device, cuda->cuMemAlloc_v2(&out, bytes), "alloc", name) &&
        check_call(device, cuda->cuMemcpyHtoD_v2(in, data, bytes), "copy", name) &&
        check_call(device, cuda->cuMemcpyHtoD_v2(out, data, bytes), "copy", name) &&
        check_call(device, encode(cuda, in, &map), "encode", name) &&
        check_call(device,
                   cuda->cuLaunchKernel(function, CTAS, 1, 1, THREADS, 1, 1, 0, NULL, args, NULL),
                   "launch", name) &&
        check_call(device, cuda->cuMemcpyDtoH_v2(ret_out, out, bytes), "copy", name);
    cuda->cuMemFree_v2(in);
    cuda->cuMemFree_v2(out);
    return ok;
}

static void append_digests(struct outcome *outcome, const uint32_t *out, size_t words)
{
    for (size_t at = 0; at < words; at += UNIT / 4) {
        uint64_t digest = digest_of(out + at, UNIT, 0);
        fj_buf_append(&outcome->payload, &digest, 4);
    }
}

static void run_one(struct run *run, const struct cluster_case *c)
{
    const size_t words = CTAS * OUT_WORDS;
    struct outcome outcome = {.format = 'w', .width = 4, .rule = RULE_DIGEST};
    struct fj_buf ptx = {0};
    struct loaded kernel;
    if (!selected(run, c->name))
        return;
    uint32_t *data = malloc(4 * words), *out = malloc(4 * words);
    uint64_t *wide = malloc(8 * words);
    const size_t per = letter_bytes(c->letter) == 8 ? 2 : 1;
    fill_operands(c->letter, c->name, 0, (int)(words / per), wide);
    for (size_t i = 0; i < words; i++)
        data[i] = (uint32_t)(per == 2 ? wide[i / 2] >> (i % 2 * 32) : wide[i]);
    build(&ptx, c);
    outcome.digest = digest_of(data, 4 * words, digest_of(ptx.data, ptx.len, 0));
    bool ok = load_kernel(run->device, ptx.data, c->name, 0, &kernel);
    if (ok) {
        ok = launch(run->device, c->name, kernel.function, data, out);
        run->device->cuda->cuModuleUnload(kernel.module);
    }
    if (ok)
        append_digests(&outcome, out, words);
    report_case(run, c->name, &outcome, ok);
    fj_buf_free(&ptx);
    free(data);
    free(out);
    free(wide);
}

// griddepcontrol: the second grid may begin before the first one's end, waits, and reads.

static const char dependent[] =
    ".version 8.4\n.target sm_90a\n.address_size 64\n"
    ".visible .entry run(.param .u64 from, .param .u64 to)\n"
    "{\n.reg .pred %q;\n.reg .b32 %t<4>, %i;\n.reg .b64 %x<3>;\n"
    "griddepcontrol.launch_dependents;\nld.param.u64 %x0, [from];\nld.param.u64 %x1, [to];\n"
    "mov.u32 %t0, %ctaid.x;\nmov.u32 %t1, %tid.x;\nmad.lo.u32 %t0, %t0, 128, %t1;\n"
    "mul.wide.u32 %x2, %t0, 4;\nadd.s64 %x0, %x0, %x2;\nadd.s64 %x1, %x1, %x2;\n"
    "mov.u32 %i, 0;\nspin: add.u32 %i, %i, 1;\nnanosleep.u32 100;\nsetp.lt.u32 %q, %i, 50;\n"
    "@%q bra spin;\ngriddepcontrol.wait;\n"
    "ld.global.u32 %t2, [%x0];\nmad.lo.u32 %t2, %t2, 3, %t0;\nst.global.u32 [%x1], %t2;\nret;\n}\n";

static bool launch_pair(const struct device *device, CUfunction function, uint32_t *words)
{
    const struct fj_cuda *cuda = device->cuda;
    const size_t bytes = 4 * CTAS * THREADS;
    CUdeviceptr memory[3] = {0};
    CUstream stream = NULL;
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                   .value.programmaticStreamSerializationAllowed = 1};
    bool ok = check_call(device, cuda->cuStreamCreate(&stream, 1), "stream", "griddepcontrol");
    for (int i = 0; ok && i < 3; i++)
        ok = check_call(device, cuda->cuMemAlloc_v2(&memory[i], bytes), "alloc", "griddepcontrol");
    ok = ok && check_call(device, cuda->cuMemcpyHtoD_v2(memory[0], words, bytes), "copy",
                          "griddepcontrol");
    for (int i = 0; ok && i < 2; i++) {
        void *args[] = {&memory[i], &memory[i + 1]};
        CUlaunchConfig config = {CTAS, 1, 1, THREADS, 1, 1, 0, stream, &attribute, i};
        ok = check_call(device, cuda->cuLaunchKernelEx(&config, function, args, NULL), "launch",
                        "griddepcontrol");
    }
    ok = ok && check_call(device, cuda->cuStreamSynchronize(stream), "wait", "griddepcontrol") &&
         check_call(device, cuda->cuMemcpyDtoH_v2(words, memory[2], bytes), "copy",
                    "griddepcontrol");
    for (int i = 0; i < 3; i++)
        cuda->cuMemFree_v2(memory[i]);
    cuda->cuStreamDestroy_v2(stream);
    return ok;
}

static void run_dependent(struct run *run)
{
    struct outcome outcome = {.format = 'w', .width = 4, .rule = RULE_DIGEST};
    uint32_t words[CTAS * THREADS];
    struct loaded kernel;
    if (!selected(run, "griddepcontrol"))
        return;
    for (uint32_t i = 0; i < CTAS * THREADS; i++)
        words[i] = i * 2654435761u;
    outcome.digest = digest_of(dependent, sizeof(dependent), 0);
    bool ok = load_kernel(run->device, dependent, "griddepcontrol", 0, &kernel);
    if (ok) {
        ok = launch_pair(run->device, kernel.function, words);
        run->device->cuda->cuModuleUnload(kernel.module);
    }
    if (ok)
        append_digests(&outcome, words, CTAS * THREADS);
    report_case(run, "griddepcontrol", &outcome, ok);
}

void run_cluster_cases(struct run *run)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_one(run, &cases[i]);
    run_dependent(run);
}
