// wgmma on shared memory full of small integers: whatever elements a descriptor names, the sums are
// exact, so that every layout, swizzle and offset is told apart by its results.
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMEM_BYTES 65536 // of operands
#define MAX_N 256

struct wgmma_case {
    char letter;      // of the operands' contents
    const char *type; // "bf16"
    int n, k;
    bool a_regs, trans_a, trans_b;
    int swizzle_a, swizzle_b; // descriptor's two bits: 0 none, 1 128B, 2 64B, 3 32B
    int start_a, start_b;     // bytes from the beginning of the operands
    int lead_a, stride_a, lead_b, stride_b;
    int base_a, base_b; // base offset fields
    int scale_a, scale_b;
    bool scale_d, f16_acc;
};

static void describe(const struct wgmma_case *c, char *ret, size_t cap)
{
    snprintf(ret, cap, "wgmma.%s.n%d.%s%s%s.sw%d%d.at%d.%d.l%d.%d.s%d.%d.b%d%d.x%d%d%d", c->type,
             c->n,
             c->a_regs    ? "r"
             : c->trans_a ? "m"
                          : "k",
             c->trans_b ? "n" : "k", c->f16_acc ? "h" : "", c->swizzle_a, c->swizzle_b, c->start_a,
             c->start_b, c->lead_a, c->lead_b, c->stride_a, c->stride_b, c->base_a, c->base_b,
             c->scale_a, c->scale_b, c->scale_d);
}

static uint64_t descriptor(int swizzle, int lead, int stride, int base)
{
    return (uint64_t)(lead >> 4) << 16 | (uint64_t)(stride >> 4) << 32 | (uint64_t)base << 49 |
           (uint64_t)swizzle << 62;
}

static void list_registers(struct fj_buf *ptx, const char *prefix, int count)
{
    fj_buf_puts(ptx, "{");
    for (int i = 0; i < count; i++)
        fj_buf_printf(ptx, "%s%%%s%d", i ? ", " : "", prefix, i);
    fj_buf_puts(ptx, "}");
}

static void instruction(struct fj_buf *ptx, const struct wgmma_case *c, int n_acc)
{
    bool sixteen = strcmp(c->type, "bf16") == 0 || strcmp(c->type, "f16") == 0;
    fj_buf_printf(ptx, "wgmma.mma_async.sync.aligned.m64n%dk%d.%s.%s.%s ", c->n, c->k,
                  c->f16_acc ? "f16" : "f32", c->type, c->type);
    list_registers(ptx, "d", n_acc);
    fj_buf_puts(ptx, ", ");
    if (c->a_regs)
        list_registers(ptx, "a", 4);
    else
        fj_buf_puts(ptx, "%da");
    fj_buf_printf(ptx, ", %%db, %%p, %d, %d", c->scale_a, c->scale_b);
    if (sixteen && !c->a_regs)
        fj_buf_printf(ptx, ", %d", c->trans_a);
    if (sixteen)
        fj_buf_printf(ptx, ", %d", c->trans_b);
    fj_buf_puts(ptx, ";\n");
}

// in: operands, then 4 A registers and the accumulators of each thread.
static void build(struct fj_buf *ptx, const struct wgmma_case *c)
{
    int n_acc = c->f16_acc ? c->n / 4 : c->n / 2;
    fj_buf_printf(
        ptx,
        ".version 8.4\n.target sm_90a\n.address_size 64\n"
        ".extern .shared .align 1024 .b8 tile[];\n"
        ".visible .entry run(.param .u64 in, .param .u64 out)\n.maxntid 128, 1, 1\n{\n"
        ".reg .pred %%p, %%q;\n.reg .b32 %%d<128>, %%a<4>, %%t, %%s, %%i, %%v;\n"
        ".reg .b64 %%in, %%out, %%at, %%da, %%db, %%x;\n"
        "ld.param.u64 %%in, [in];\nld.param.u64 %%out, [out];\n"
        "mov.u32 %%t, %%tid.x;\nmov.u32 %%s, tile;\nadd.u32 %%s, %%s, 1023;\n"
        "and.b32 %%s, %%s, -1024;\nmov.u32 %%i, %%t;\n"
        "copy: mul.wide.u32 %%at, %%i, 4;\nadd.s64 %%at, %%at, %%in;\nld.global.u32 %%v, [%%at];\n"
        "mad.lo.u32 %%d0, %%i, 4, %%s;\nst.shared.u32 [%%d0], %%v;\nadd.u32 %%i, %%i, 128;\n"
        "setp.lt.u32 %%q, %%i, %d;\n@%%q bra copy;\n"
        "fence.proxy.async.shared::cta;\nbar.sync 0;\n"
        "mul.wide.u32 %%at, %%t, %d;\nadd.s64 %%in, %%in, %%at;\nadd.s64 %%in, %%in, %d;\n",
        SMEM_BYTES / 4, 4 * (4 + n_acc), SMEM_BYTES);
    for (int i = 0; i < 4; i++)
        fj_buf_printf(ptx, "ld.global.b32 %%a%d, [%%in+%d];\n", i, 4 * i);
    for (int i = 0; i < n_acc; i++)
        fj_buf_printf(ptx, "ld.global.b32 %%d%d, [%%in+%d];\n", i, 16 + 4 * i);
    fj_buf_printf(ptx,
                  "cvt.u64.u32 %%x, %%s;\nadd.s64 %%da, %%x, %d;\nadd.s64 %%db, %%x, %d;\n"
                  "shr.u64 %%da, %%da, 4;\nshr.u64 %%db, %%db, 4;\n"
                  "or.b64 %%da, %%da, 0x%llx;\nor.b64 %%db, %%db, 0x%llx;\n"
                  "setp.ne.b32 %%p, %d, 0;\nwgmma.fence.sync.aligned;\n",
                  c->start_a, c->start_b,
                  (unsigned long long)descriptor(c->swizzle_a, c->lead_a, c->stride_a, c->base_a),
                  (unsigned long long)descriptor(c->swizzle_b, c->lead_b, c->stride_b, c->base_b),
                  c->scale_d);
    instruction(ptx, c, n_acc);
    fj_buf_printf(ptx,
                  "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n"
                  "mul.wide.u32 %%at, %%t, %d;\nadd.s64 %%out, %%out, %%at;\n",
                  4 * n_acc);
    for (int i = 0; i < n_acc; i++)
        fj_buf_printf(ptx, "st.global.b32 [%%out+%d], %%d%d;\n", 4 * i, i);
    fj_buf_puts(ptx, "ret;\n}\n");
}

static uint32_t *make_operands(const struct wgmma_case *c, const char *name, int n_acc,
                               size_t *ret_words)
{
    size_t own = (size_t)(4 + n_acc) * 128, words = SMEM_BYTES / 4 + own;
    uint64_t *wide = malloc(words * sizeof(*wide));
    uint32_t *in = malloc(words * sizeof(*in));
    char acc = c->f16_acc ? 'I' : 'K';
    fill_operands(c->letter, name, 0, SMEM_BYTES / 4, wide);
    fill_operands(acc, name, 1, (int)own, wide + SMEM_BYTES / 4);
    for (size_t i = 0; i < words; i++)
        in[i] = (uint32_t)wide[i];
    fill_operands(c->letter, name, 2, 4 * 128, wide);
    for (int t = 0; t < 128; t++)
        for (int i = 0; i < 4; i++)
            in[SMEM_BYTES / 4 + t * (4 + n_acc) + i] = (uint32_t)wide[4 * t + i];
    free(wide);
    *ret_words = words;
    return in;
}

static bool launch(const struct run *run, const char *name, const struct loaded *kernel,
                   const uint32_t *in, size_t words, uint32_t *out, size_t out_bytes)
{
    const struct fj_cuda *cuda = run->device->cuda;
    CUdeviceptr d_in = 0, d_out = 0;
    void *args[] = {&d_in, &d_out};
    bool ok = check_call(run->device, cuda->cuMemAlloc_v2(&d_in, 4 * words), "alloc", name) &&
              check_call(run->device, cuda->cuMemAlloc_v2(&d_out, out_bytes), "alloc", name) &&
              check_call(run->device, cuda->cuMemcpyHtoD_v2(d_in, in, 4 * words), "copy", name) &&
              check_call(run->device,
                         cuda->cuLaunchKernel(kernel->function, 1, 1, 1, 128, 1, 1,
                                              SMEM_BYTES + 1024, NULL, args, NULL),
                         "launch", name) &&
              check_call(run->device, cuda->cuMemcpyDtoH_v2(out, d_out, out_bytes), "copy", name);
    cuda->cuMemFree_v2(d_in);
    cuda->cuMemFree_v2(d_out);
    return ok;
}

static void run_one(struct run *run, const struct wgmma_case *c)
{
    char name[128];
    int n_acc = c->f16_acc ? c->n / 4 : c->n / 2;
    size_t words, out_bytes = (size_t)n_acc * 4 * 128;
    struct outcome outcome = {.format = 'w', .width = 4, .rule = RULE_DIGEST};
    struct fj_buf ptx = {0};
    struct loaded kernel;
    describe(c, name, sizeof(name));
    if (!selected(run, name))
        return;
    uint32_t *in = make_operands(c, name, n_acc, &words), *out = malloc(out_bytes);
    build(&ptx, c);
    outcome.digest = digest_of(in, 4 * words, digest_of(ptx.data, ptx.len, 0));
    bool ok = load_kernel(run->device, ptx.data, name, SMEM_BYTES + 1024, &kernel);
    if (ok) {
        ok = launch(run, name, &kernel, in, words, out, out_bytes);
        run->device->cuda->cuModuleUnload(kernel.module);
    }
    for (int t = 0; ok && t < 128; t += 4) { // one digest for a row of each half
        uint64_t digest = digest_of(out + (size_t)t * (size_t)n_acc, (size_t)n_acc * 16, 0);
        fj_buf_append(&outcome.payload, &digest, 4);
    }
    report_case(run, name, &outcome, ok);
    fj_buf_free(&ptx);
    free(in);
    free(out);
}

static struct wgmma_case usual(const char *type, int n)
{
    struct wgmma_case c = {
        .letter = 'J',
        .type = type,
        .n = n,
        .k = 16,
        .swizzle_a = 1,
        .swizzle_b = 1,
        .start_b = 16384,
        .lead_a = 16,
        .stride_a = 1024,
        .lead_b = 16,
        .stride_b = 1024,
        .scale_a = 1,
        .scale_b = 1,
        .scale_d = true,
    };
    if (strcmp(type, "f16") == 0)
        c.letter = 'I';
    if (strcmp(type, "tf32") == 0) {
        c.letter = 'K';
        c.k = 8;
    }
    if (strcmp(type, "e4m3") == 0) {
        c.letter = 'L';
        c.k = 32;
    }
    return c;
}

// The usual strides of a layout: K-major panels, or MN-major panels of 16 rows.
static void set_layout(int swizzle, bool mn_major, int *ret_lead, int *ret_stride)
{
    static const int span[] = {16, 128, 64, 32};
    *ret_stride = 8 * span[swizzle];
    *ret_lead = mn_major ? 16 * span[swizzle] : 16;
    if (swizzle == 0 && !mn_major) { // two columns of chunks, apart
        *ret_stride = 128 + 32;
        *ret_lead = 9216;
    }
    if (swizzle == 0 && mn_major) {
        *ret_stride = 128 + 16;
        *ret_lead = 9216;
    }
}

static void run_layouts(struct run *run, int swizzle, int major)
{
    struct wgmma_case c = usual(swizzle % 2 ? "bf16" : "f16", 32 + 8 * swizzle);
    c.trans_a = major & 1;
    c.trans_b = major >> 1;
    c.swizzle_a = swizzle;
    c.swizzle_b = (swizzle + major) % 4;
    set_layout(c.swizzle_a, c.trans_a, &c.lead_a, &c.stride_a);
    set_layout(c.swizzle_b, c.trans_b, &c.lead_b, &c.stride_b);
    c.start_b = 32768;
    run_one(run, &c);
    // An operand that begins inside a swizzle atom, as a step along k does.
    static const int inside[] = {0, 96, 32, 0};
    c.start_a += c.trans_a ? 0 : inside[c.swizzle_a];
    c.start_b += c.trans_b ? 0 : inside[c.swizzle_b];
    c.scale_d = false;
    run_one(run, &c);
    // Strides that are not the usual ones.
    c.stride_a += 1024;
    c.lead_b += 2048;
    run_one(run, &c);
}

void run_wgmma_cases(struct run *run)
{
    static const int ns[] = {8, 16, 24, 48, 64, 96, 120, 128, 192, 256};
    for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
        struct wgmma_case c = usual("bf16", ns[i]);
        run_one(run, &c);
        c.a_regs = true;
        c.trans_b = true;
        c.lead_b = 2048;
        run_one(run, &c);
    }
    for (int swizzle = 0; swizzle < 4; swizzle++)
        for (int major = 0; major < 4; major++)
            run_layouts(run, swizzle, major);
    static const char *const types[] = {"f16", "bf16", "tf32", "e4m3"};
    for (int i = 0; i < 8; i++) {
        struct wgmma_case c = usual(types[i % 4], 40);
        c.a_regs = i / 4;
        c.scale_a = i % 2 ? -1 : 1;
        c.scale_b = i % 3 ? -1 : 1;
        if (i % 4 >= 2)
            c.scale_a = c.scale_b = i % 4 == 2 ? 1 : -1;
        c.f16_acc = i % 4 == 0;
        run_one(run, &c);
    }
    for (int base = 1; base < 8; base += 3) { // matrices that begin off the pattern's boundary
        struct wgmma_case c = usual("bf16", 64);
        c.start_a = c.start_b = base * 128;
        c.start_b += 16384;
        run_one(run, &c); // the pattern hangs on the address
        c.base_a = c.base_b = base;
        run_one(run, &c);
    }
}
