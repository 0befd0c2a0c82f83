// What the emulated device says about kernels that are wrong. Each fault is planted; its report
// names the kernel, the place and the reason. Kernels next to their planted twins are in tests/emu.
#include "test.h"

#include "emu_run.h"

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_place(void **state)
{
    (void)state;
    const char *ptx = ".version 8.0\n.target sm_90\n.file 1 \"copy.cu\"\n"
                      ".visible .entry k(.param .u64 p) {\n.reg .b32 %r<4>; .reg .b64 %d<4>;\n"
                      "ld.param.u64 %d0, [p]; mov.u32 %r0, %tid.x; mul.wide.u32 %d1, %r0, 64;\n"
                      "add.s64 %d2, %d0, %d1;\n.loc 1 77 3\nst.global.u32 [%d2], %r0;\nret;\n}\n";
    emu_bad(ptx, 96, false, FJ_EMU_FAULT_ADDRESS,
            PARTS("address:", "kernel k", "CTA (0, 0, 0)", "warp 2, lane 0", "PTX line 9",
                  "copy.cu:77", "st.global.u32", "past allocation"));
}

static void test_addresses(void **state)
{
    (void)state;
    emu_bad(KERNEL("", "st.global.v2.u32 [%d0+4], {%r0, %r0};"), 32, false, FJ_EMU_FAULT_MISALIGNED,
            PARTS("misaligned", "multiple of 8"));
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; st.shared.u32 [%r1+4096], %r0;"), 32, false,
            FJ_EMU_FAULT_ADDRESS, PARTS("shared address 0x1400", "[0x400, 0x1400)"));
    emu_bad(KERNEL("", "mov.u32 %r1, 0; ld.shared.u32 %r2, [%r1];"), 32, false,
            FJ_EMU_FAULT_ADDRESS, PARTS("shared address 0x0"));
    emu_bad(KERNEL("", ".local .b8 s[8]; st.local.u32 [s+8], %r0;"), 32, false,
            FJ_EMU_FAULT_ADDRESS, PARTS("local address 0x8"));
    emu_bad(KERNEL("", "ld.param.u32 %r1, [p+8];"), 32, false, FJ_EMU_FAULT_ADDRESS,
            PARTS("parameter offset 8"));
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; mapa.shared::cluster.u32 %r2, %r1, 1;"), 32, false,
            FJ_EMU_FAULT_OPERAND, PARTS("mapa to CTA 1 of a cluster of 1"));
}

static void test_freed(void **state)
{
    (void)state;
    struct emu_run run;
    emu_open(&run, KERNEL("", "ld.global.u64 %d3, [%d0]; ld.global.u32 %r1, [%d3];"));
    uint64_t gone;
    assert_int_equal(fj_emu_mem_alloc(64, &gone), FAJIT_OK);
    memcpy(run.words, &gone, sizeof(gone));
    fj_emu_mem_free(gone);
    emu_go(&run);
    assert_int_equal(run.fault.kind, FJ_EMU_FAULT_ADDRESS);
    assert_non_null(strstr(run.fault.text, "freed"));
    emu_close(&run);
}

static void test_barriers(void **state)
{
    (void)state;
    emu_bad(KERNEL("", "setp.lt.u32 %p0, %r0, 32; @%p0 bar.sync 2, 64;"), 64, false,
            FJ_EMU_FAULT_DEADLOCK, PARTS("all warps wait", "warps 0..0 on barrier 2 (32 of 64"));
    emu_bad(KERNEL("", "setp.lt.u32 %p0, %r0, 7; @%p0 bar.sync 0;"), 64, false,
            FJ_EMU_FAULT_BARRIER, PARTS("diverged", "0x0000007f"));
    emu_bad(KERNEL("", "bar.sync 1, 48;"), 64, false, FJ_EMU_FAULT_BARRIER,
            PARTS("48 threads is no multiple of 32"));
    emu_bad(KERNEL("", "setp.lt.u32 %p0, %r0, 32; selp.u32 %r1, 32, 64, %p0; mov.u32 %r2, 96;\n"
                       "@%p0 bar.sync 1, %r2; @!%p0 bar.sync 1, %r1;"),
            96, false, FJ_EMU_FAULT_BARRIER,
            PARTS("this warp expects 64 threads, earlier ones 96"));
    emu_bad(KERNEL("", "shfl.sync.idx.b32 %r1, %r0, 0, 31, 0xffff;"), 32, false,
            FJ_EMU_FAULT_BARRIER, PARTS("not in its own member mask", "lane 16"));
    emu_bad(KERNEL("", "barrier.cluster.wait.aligned;"), 32, false, FJ_EMU_FAULT_BARRIER,
            PARTS("without an arrive"));
}

#define INIT_MBAR                                                                                  \
    "mov.u32 %r1, dyn; setp.eq.u32 %p0, %r0, 0;\n@%p0 mbarrier.init.shared.b64 [%r1], 1;\n"

static void test_mbarriers(void **state)
{
    (void)state;
    emu_bad(KERNEL("",
                   INIT_MBAR "@%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%r1], 64;\n"
                             "W: mbarrier.try_wait.parity.shared.b64 %p1, [%r1], 0;\n@!%p1 bra W;"),
            32, false, FJ_EMU_FAULT_DEADLOCK,
            PARTS("mbarrier 0x400 for parity 0", "0 of 1 arrivals and 64 bytes outstanding"));
    emu_bad(KERNEL("", INIT_MBAR
                   "@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                   "[%r1+64], [%d0], 64, [%r1];\n"
                   "@%p0 mbarrier.arrive.expect_tx.shared.b64 _, [%r1], 32;"),
            32, false, FJ_EMU_FAULT_BARRIER, PARTS("32 bytes more than expect_tx announced"));
    emu_bad(KERNEL("", INIT_MBAR "mbarrier.arrive.expect_tx.shared.b64 _, [%r1], 64;"), 32, false,
            FJ_EMU_FAULT_BARRIER, PARTS("1 arrivals where 0 of 1 are pending", "lane 1"));
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; mbarrier.arrive.shared.b64 _, [%r1];"), 32, false,
            FJ_EMU_FAULT_BARRIER, PARTS("no mbarrier was initialised"));
}

static void test_ends(void **state)
{
    (void)state;
    emu_bad(KERNEL("", "L: add.u32 %r1, %r1, 1; bra L;"), 32, false, FJ_EMU_FAULT_BUDGET,
            PARTS("endless loop"));
    emu_bad(KERNEL("", "setp.eq.u32 %p0, %r0, 9; @%p0 trap;"), 32, false, FJ_EMU_FAULT_TRAP,
            PARTS("trap", "lane 9"));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *part;
    } cases[] = {
        {".loc 1 5 1\ntex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%d0, {%f0, %f1}];",
         "CUDA line 5: 'tex.2d.v4.f32.f32': the emulated device does not know"},
        {"add.u32 %r0, %r0;", "'add.u32'"},
        {"add.u32 %r0, %d0, 1;", "register %d0 has 64 bits where 32 belong"},
        {"mov.u32 %r0, %nosuch;", "%nosuch"},
        {"cp.async.ca.shared.global [%r0], [%d0], 5;", "4, 8 or 16"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[1024];
        struct fj_ptx_module *m;
        struct fj_emu_code *code;
        snprintf(text, sizeof(text),
                 ".version 8.0\n.target sm_90\n.entry k() {\n.reg .b32 %%r<2>; .reg .f32 %%f<4>; "
                 ".reg .b64 %%d<2>;\n%s\n}\n",
                 cases[i].body);
        assert_int_equal(fj_ptx_parse(text, strlen(text), &m), FAJIT_OK);
        check_error(fj_emu_code_build(m, &m->entries[0], NULL, &code), FAJIT_E_COMPILE,
                    cases[i].part);
        assert_null(code);
        fj_ptx_free(m);
    }
}

static void test_launches(void **state)
{
    (void)state;
    struct emu_run run;
    emu_open(&run, KERNEL(" .maxntid 64", ""));
    run.launch.block[0] = 65;
    emu_go(&run);
    assert_int_equal(run.fault.kind, FJ_EMU_FAULT_LAUNCH);
    run.launch.block[0] = 64;
    run.launch.grid[0] = 3;
    run.launch.cluster[0] = 2;
    emu_go(&run);
    assert_non_null(strstr(run.fault.text, "multiple of the cluster"));
    emu_close(&run);
}

// The report is that of the first CTA in the grid's order, on any number of threads.
static void test_same_report(void **state)
{
    (void)state;
    struct emu_run run;
    emu_open(&run, KERNEL("", "mov.u32 %r1, %ctaid.x; setp.lt.u32 %p0, %r1, 5; @%p0 ret; trap;"));
    run.launch.grid[0] = 64;
    for (int threads = 1; threads < 5; threads++) {
        run.launch.threads = threads;
        emu_go(&run);
        assert_non_null(strstr(run.fault.text, "CTA (5, 0, 0)"));
    }
    emu_close(&run);
}

static void test_strict_memory(void **state)
{
    (void)state;
    emu_bad(KERNEL("", "add.u32 %r2, %r1, 1;"), 32, true, FJ_EMU_FAULT_UNWRITTEN,
            PARTS("register %r1 is read"));
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; ld.shared.u32 %r2, [%r1+8];"), 32, true,
            FJ_EMU_FAULT_UNWRITTEN, PARTS("shared address 0x408"));
    // The second warp reads what the first one wrote, and no barrier is between.
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; mad.lo.u32 %r2, %r0, 4, %r1; setp.lt.u32 %p0, %r0, 32;\n"
                       "@%p0 st.shared.u32 [%r2], %r0; @!%p0 ld.shared.u32 %r3, [%r2-128];"),
            64, true, FJ_EMU_FAULT_RACE, PARTS("0x400 is read while warp 0 writes it", "warp 1"));
    // After the barrier all read; the first warp then writes again without a second barrier.
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; mad.lo.u32 %r2, %r0, 4, %r1; st.shared.u32 [%r2], %r0;\n"
                       "bar.sync 0; ld.shared.u32 %r3, [%r1+252]; bar.warp.sync -1;\n"
                       "st.shared.u32 [%r2], %r3;"),
            64, true, FJ_EMU_FAULT_RACE, PARTS("no barrier between"));
}

#define COPY_ONE                                                                                   \
    "mov.u32 %r1, dyn; mad.lo.u32 %r2, %r0, 4, %r1;\n"                                             \
    "cp.async.ca.shared.global [%r2], [%d2], 4; cp.async.commit_group;\n"

static void test_strict_async(void **state)
{
    (void)state;
    emu_bad(KERNEL("", COPY_ONE "ld.shared.u32 %r3, [%r2];"), 32, true, FJ_EMU_FAULT_ASYNC,
            PARTS("before cp.async.wait_group"));
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; mad.lo.u32 %r2, %r0, 4, %r1; st.shared.u32 [%r2], %r0;\n"
                       "bar.warp.sync -1; setp.ne.u32 %p0, %r0, 0; @%p0 ret;\n"
                       "cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r1], 128;"),
            32, true, FJ_EMU_FAULT_ASYNC, PARTS("without fence.proxy.async"));
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; mad.lo.u32 %r2, %r0, 4, %r1; st.shared.u32 [%r2], %r0;\n"
                       "fence.proxy.async.shared::cta; setp.ne.u32 %p0, %r0, 0; @%p0 ret;\n"
                       "cp.async.bulk.global.shared::cta.bulk_group [%d0], [%r1], 128;\n"
                       "cp.async.bulk.commit_group; st.shared.u32 [%r1], %r0;"),
            32, true, FJ_EMU_FAULT_ASYNC, PARTS("overwritten before warp 0 has waited"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place),        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_freed),        cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_mbarriers),    cmocka_unit_test(test_ends),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_launches),
        cmocka_unit_test(test_same_report),  cmocka_unit_test(test_strict_memory),
        cmocka_unit_test(test_strict_async),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
