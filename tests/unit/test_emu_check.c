// The strict checks on accesses that are right and look odd, and on their neighbours that are not.
#include "test.h"

#include "emu_run.h"

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void strict_good(const char *ptx, unsigned threads)
{
    struct emu_run run;
    emu_open(&run, ptx);
    run.launch.block[0] = threads;
    run.launch.check = true;
    for (int turn = 0; turn < 3; turn++) { // state must not leak from one launch into the next
        run.launch.grid[0] = 3;
        emu_go(&run);
        if (run.status != FAJIT_OK)
            fail_msg("%s", run.fault.text);
    }
    emu_close(&run);
}

#define ADDRESS "mov.u32 %r1, dyn; mad.lo.u32 %r2, %r0, 4, %r1;\n"

static void test_parts_of_rows(void **state)
{
    (void)state;
    // Halves of a word by neighbouring lanes, changed in place, then read as words.
    strict_good(KERNEL("", "mov.u32 %r1, dyn; mad.lo.u32 %r2, %r0, 2, %r1; cvt.u16.u32 %h0, %r0;\n"
                           "st.shared.u16 [%r2], %h0; ld.shared.u16 %h1, [%r2];\n"
                           "st.shared.u16 [%r2], %h1; bar.sync 0;\n"
                           "shl.b32 %r3, %r0, 2; and.b32 %r3, %r3, 63; add.u32 %r3, %r3, %r1;\n"
                           "ld.shared.u32 %r4, [%r3];"),
                64);
    // Two warps take turns within each row and need a barrier only to read the other's words.
    strict_good(KERNEL("", "mov.u32 %r1, dyn; and.b32 %r2, %r0, 31; shl.b32 %r2, %r2, 1;\n"
                           "shr.u32 %r3, %r0, 5; add.u32 %r2, %r2, %r3; mad.lo.u32 %r2, %r2, 4, "
                           "%r1;\n"
                           "st.shared.u32 [%r2], %r0; ld.shared.u32 %r4, [%r2]; bar.sync 0;\n"
                           "and.b32 %r3, %r0, 15; mad.lo.u32 %r3, %r3, 16, %r1;\n"
                           "ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [%r3];"),
                64);
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; and.b32 %r2, %r0, 31; shl.b32 %r2, %r2, 1;\n"
                       "shr.u32 %r3, %r0, 5; add.u32 %r2, %r2, %r3; mad.lo.u32 %r2, %r2, 4, %r1;\n"
                       "st.shared.u32 [%r2], 0; bar.sync 0; st.shared.u32 [%r2], %r0;\n"
                       "bar.warp.sync -1; and.b32 %r3, %r0, 15; mad.lo.u32 %r3, %r3, 16, %r1;\n"
                       "ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [%r3];"),
            64, true, FJ_EMU_FAULT_RACE, PARTS("no barrier between"));
    // One warp reads a word while the other writes its neighbour.
    strict_good(KERNEL("", "mov.u32 %r1, dyn; setp.eq.u32 %p0, %r0, 0;\n"
                           "@%p0 st.shared.v2.u32 [%r1], {%r0, %r0}; bar.sync 0;\n"
                           "setp.lt.u32 %p1, %r0, 32; @%p1 ld.shared.u32 %r2, [%r1];\n"
                           "setp.eq.u32 %p2, %r0, 32; @%p2 st.shared.u32 [%r1+4], 5;"),
                64);
    emu_bad(KERNEL("", "mov.u32 %r1, dyn; setp.eq.u32 %p0, %r0, 0;\n"
                       "@%p0 st.shared.v2.u32 [%r1], {%r0, %r0}; bar.sync 0;\n"
                       "setp.lt.u32 %p1, %r0, 32; @%p1 ld.shared.u32 %r2, [%r1+4];\n"
                       "setp.eq.u32 %p2, %r0, 32; @%p2 st.shared.u32 [%r1+4], 5;"),
            64, true, FJ_EMU_FAULT_RACE, PARTS("no barrier between"));
    emu_bad(KERNEL("",
                   "mov.u32 %r1, dyn; setp.eq.u32 %p0, %r0, 0; cvt.u16.u32 %h0, %r0;\n"
                   "@%p0 st.shared.u16 [%r1+16], %h0; bar.sync 0; ld.shared.u32 %r2, [%r1+16];"),
            64, true, FJ_EMU_FAULT_UNWRITTEN, PARTS("shared address 0x410"));
}

static void test_lanes(void **state)
{
    (void)state;
    // The same value by all lanes, or by each into its own word; atomics meet as they like.
    strict_good(KERNEL("", "mov.u32 %r1, dyn; st.shared.u32 [%r1], 3; ld.shared.u32 %r2, [%r1];\n"
                           "bar.sync 0; setp.eq.u32 %p0, %r0, 0; @%p0 st.shared.u32 [%r1+4], 0;\n"
                           "bar.sync 0; red.shared.add.u32 [%r1+4], %r0; bar.sync 0;\n"
                           "ld.shared.u32 %r3, [%r1+4];"),
                32);
    strict_good(KERNEL("", ADDRESS "st.shared.u32 [%r2], %r0; ld.shared.u32 %r3, [%r2];\n"
                                   "st.shared.u32 [%r2], %r3; bar.warp.sync -1;\n"
                                   "xor.b32 %r3, %r2, 4; ld.shared.u32 %r4, [%r3];\n"
                                   "bar.warp.sync -1; st.shared.u32 [%r2], %r4;"),
                64);
    emu_bad(KERNEL("", ADDRESS "st.shared.u32 [%r2], %r0; xor.b32 %r3, %r2, 4;\n"
                               "st.shared.u32 [%r3], %r0;"),
            32, true, FJ_EMU_FAULT_RACE, PARTS("is written and lane 1 of the warp wrote it"));
    emu_bad(KERNEL("", ADDRESS "and.b32 %r3, %r0, 7; mad.lo.u32 %r3, %r3, 16, %r1;\n"
                               "st.shared.v4.u32 [%r3], {0, 0, 0, 0}; bar.warp.sync -1;\n"
                               "st.shared.u32 [%r2], %r0;\n"
                               "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r4}, [%r3];"),
            32, true, FJ_EMU_FAULT_RACE, PARTS("lane 0 of the warp wrote it", "ldmatrix"));
    emu_bad(KERNEL("", "mov.u64 %d3, 0; st.global.u64 [%d0], %d3; and.b32 %r1, %r0, 1;\n"
                       "st.global.u32 [%d0+4], %r1;"),
            32, true, FJ_EMU_FAULT_RACE, PARTS("store different values at one address"));
}

// What the text proves is not looked at; what it does not prove is.
static void test_registers(void **state)
{
    (void)state;
    emu_bad(KERNEL("",
                   "setp.lt.u32 %p0, %r0, 8; @%p0 bra L; mov.u32 %r1, 5;\nL: mov.u32 %r2, %r1;\n"
                   "mov.u32 %r3, %r2; add.u32 %r4, %r3, 1;"),
            32, true, FJ_EMU_FAULT_UNWRITTEN, PARTS("register %r3 is read", "lane 0"));
    emu_bad(KERNEL("", "setp.lt.u32 %p0, %r0, 8; @%p0 setp.eq.u32 %p1, %r0, 1;\n"
                       "@%p1 st.global.u32 [%d2], %r0;"),
            32, true, FJ_EMU_FAULT_UNWRITTEN, PARTS("guard %p1", "lane 8"));
    emu_bad(KERNEL("", "mov.u32 %r3, 0;\nL: setp.gt.u32 %p0, %r3, 1; @%p0 add.u32 %r4, %r5, 1;\n"
                       "@!%p0 mov.u32 %r6, 1; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 3;\n"
                       "@%p1 bra L;"),
            32, true, FJ_EMU_FAULT_UNWRITTEN, PARTS("register %r5"));
    emu_bad(KERNEL("", "setp.eq.u32 %p0, %r0, 3; @%p0 mov.u32 %r1, 1;\n"
                       "shfl.sync.idx.b32 %r2, %r1, 4, 31, -1;"),
            32, true, FJ_EMU_FAULT_UNWRITTEN, PARTS("register %r1 of lane 4"));
    struct emu_run run; // not a single register, counted, too
    struct fj_emu_counts counts = {0};
    emu_open(&run, ".version 8.0\n.target sm_90\n.visible .entry k(.param .u64 p) {\nret;\n}\n");
    run.launch.check = true;
    run.launch.counts = &counts;
    emu_go(&run);
    assert_int_equal(run.status, FAJIT_OK);
    emu_close(&run);
    strict_good(KERNEL("", "setp.eq.u32 %p0, %r0, 3; @%p0 mov.u32 %r1, 1;\n"
                           "shfl.sync.idx.b32 %r2, %r1, 3, 31, -1; add.u32 %r2, %r2, 1;\n"
                           "@%p0 add.u32 %r3, %r1, 1; @%p0 st.global.u32 [%d2], %r3;"),
                32);
}

// More mbarriers than the checks have clocks for: copies on the last ones have no name.
static void test_many_mbarriers(void **state)
{
    (void)state;
    strict_good(KERNEL("", "mov.u32 %r1, dyn; add.u32 %r2, %r1, 2560; mov.u32 %r3, 0;\n"
                           "setp.ne.u32 %p0, %r0, 0; @%p0 bra E;\n"
                           "L: mbarrier.init.shared.b64 [%r1], 1;\n"
                           "mbarrier.arrive.expect_tx.shared.b64 _, [%r1], 16;\n"
                           "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                           "[%r2], [%d0], 16, [%r1];\n"
                           "W: mbarrier.try_wait.parity.shared.b64 %p1, [%r1], 0; @!%p1 bra W;\n"
                           "ld.shared.u32 %r4, [%r2+4]; add.u32 %r1, %r1, 8;\n"
                           "add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 300; @%p1 bra L;\n"
                           "E: bar.warp.sync -1;"),
                32);
}

#define CTAS(order) KERNEL("", "mov.u32 %r1, %ctaid.x; st.global.u32 [%d2], %r1;" order)

static void test_ctas(void **state)
{
    (void)state;
    // A kernel with fences is taken to know what it does.
    static const char *const kernels[] = {CTAS(""), CTAS("fence.acq_rel.gpu;"), CTAS("membar.gl;"),
                                          CTAS("membar.cta;")};
    static const bool caught[] = {true, false, false, true};
    for (int i = 0; i < 4; i++) {
        struct emu_run run;
        fj_emu_mem_track(true);
        emu_open(&run, kernels[i]);
        fj_emu_mem_track(false);
        run.launch.check = true;
        run.launch.grid[0] = 2;
        emu_go(&run);
        assert_int_equal(run.fault.kind, caught[i] ? FJ_EMU_FAULT_RACE : FJ_EMU_FAULT_NONE);
        run.launch.grid[0] = 1; // the marks of a launch end with it
        emu_go(&run);
        assert_int_equal(run.status, FAJIT_OK);
        emu_close(&run);
    }
}

#define POOL(limits)                                                                               \
    KERNEL(limits, "setp.eq.u32 %p0, %r0, 999; @%p0 bra L;\n"                                      \
                   "setmaxnreg.inc.sync.aligned.u32 24; ret;\n"                                    \
                   "L: setmaxnreg.inc.sync.aligned.u32 240;")

// As ptxas 13.0 was seen to count: "Used 128 registers" and so on.
static void test_register_pool(void **state)
{
    (void)state;
    static const struct {
        const char *ptx, *part;
        unsigned threads;
    } cases[] = {
        {POOL(" .maxntid 256 .minnctapersm 2"), "of a warp that has 128", 256},
        {POOL(" .maxntid 416 .minnctapersm 2"), "of a warp that has 72", 416},
        {POOL(" .maxntid 160 .minnctapersm 3"), "of a warp that has 128", 160},
        {POOL(" .maxntid 96 .minnctapersm 7"), "of a warp that has 80", 96},
        {POOL(" .maxntid 256 .maxnreg 164"), "of a warp that has 168", 256},
        {POOL(" .maxntid 384 .minnctapersm 1 .maxnreg 200"), "of a warp that has 168", 384},
        {POOL(" .reqntid 128 .minnctapersm 1"), "of a warp that has 240", 128},
        {POOL(" .maxntid 256"), NULL, 256}, // ptxas ignores the instruction, too
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct emu_run run;
        emu_open(&run, cases[i].ptx);
        run.launch.block[0] = cases[i].threads;
        run.gpu.regs_per_sm = 65536;
        emu_go(&run);
        assert_int_equal(run.fault.kind, cases[i].part ? FJ_EMU_FAULT_OPERAND : FJ_EMU_FAULT_NONE);
        if (cases[i].part && !strstr(run.fault.text, cases[i].part))
            fail_msg("\"%s\" is not in: %s", cases[i].part, run.fault.text);
        emu_close(&run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_of_rows),  cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_registers),      cmocka_unit_test(test_ctas),
        cmocka_unit_test(test_many_mbarriers), cmocka_unit_test(test_register_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
