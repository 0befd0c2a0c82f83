// Execution: control flow, memory, exchanges and barriers against plain C. The arithmetic of single
// opcodes is compared with recorded results of a GPU in tests/emu.
#include "test.h"

#include "emu_run.h"

static uint32_t initial(uint32_t i)
{
    return i * 2654435761u;
}

// The number of Collatz steps from each thread's number: every lane leaves the loop on its own.
static void test_divergent_loop(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", "add.u32 %r1, %r0, 1; mov.u32 %r2, 0;\n"
                        "LOOP: setp.eq.u32 %p0, %r1, 1; @%p0 bra DONE;\n"
                        "and.b32 %r3, %r1, 1; setp.ne.u32 %p1, %r3, 0;\n"
                        "@%p1 bra ODD;\nshr.u32 %r1, %r1, 1; bra NEXT;\n"
                        "ODD: mad.lo.u32 %r1, %r1, 3, 1;\n"
                        "NEXT: add.u32 %r2, %r2, 1; bra LOOP;\n"
                        "DONE: st.global.u32 [%d2], %r2;\n"
                        "activemask.b32 %r4; st.global.u32 [%d2+2048], %r4;"),
             96);
    for (uint32_t i = 0; i < 96; i++) {
        uint32_t x = i + 1, steps = 0;
        for (; x != 1; steps++)
            x = x & 1 ? 3 * x + 1 : x / 2;
        assert_int_equal(run.words[i], steps);
        assert_int_equal(run.words[512 + i], 0xffffffffu); // they have met again
    }
    emu_close(&run);
}

// Lanes leave at different places; a nested branch meets inside the outer one.
static void test_exits_and_nesting(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", "mov.u32 %r1, 0; setp.lt.u32 %p0, %r0, 5; @%p0 ret;\n"
                        "setp.lt.u32 %p1, %r0, 20; @!%p1 bra ELSE;\n"
                        "setp.lt.u32 %p2, %r0, 10; @%p2 bra INNER; add.u32 %r1, %r1, 2;\n"
                        "INNER: add.u32 %r1, %r1, 1; activemask.b32 %r2; bra JOIN;\n"
                        "ELSE: mov.u32 %r1, 9; activemask.b32 %r2;\n"
                        "JOIN: st.global.u32 [%d2], %r1; st.global.u32 [%d2+2048], %r2;"),
             32);
    for (uint32_t i = 0; i < 32; i++) {
        const uint32_t value = i < 5 ? initial(i) : i < 10 ? 1 : i < 20 ? 3 : 9;
        const uint32_t mask = i < 5 ? initial(512 + i) : i < 20 ? 0x000fffe0 : 0xfff00000;
        assert_int_equal(run.words[i], value);
        assert_int_equal(run.words[512 + i], mask);
    }
    emu_close(&run);
}

static void test_branch_table(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", "and.b32 %r1, %r0, 3;\nTABLE: .branchtargets A, B, C, B;\n"
                        "brx.idx %r1, TABLE;\nA: mov.u32 %r2, 10; bra END;\n"
                        "B: mov.u32 %r2, 20; bra END;\nC: mov.u32 %r2, 30;\n"
                        "END: activemask.b32 %r3; add.u32 %r2, %r2, %r3; "
                        "st.global.u32 [%d2], %r2;"),
             32);
    for (uint32_t i = 0; i < 32; i++) {
        static const uint32_t want[] = {10, 20, 30, 20};
        assert_int_equal(run.words[i], want[i % 4] - 1);
    }
    emu_close(&run);
}

static void test_vectors_and_widths(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", "mul.wide.u32 %d3, %r0, 16; add.s64 %d4, %d0, %d3;\n"
                        "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d4];\n"
                        "mov.b64 %d5, {%r1, %r2}; mov.b64 {%r5, %r6}, %d5;\n"
                        "mov.b32 {%h0, %h1}, %r3; mov.b32 %r7, {%h1, %h0};\n"
                        "ld.global.s8 %r8, [%d4+15]; cvt.u32.u16 %r9, %h1;\n"
                        "add.u32 %r8, %r8, %r9; st.global.v4.u32 [%d4], {%r6, %r5, %r7, %r8};"),
             32);
    for (uint32_t i = 0; i < 32; i++) {
        const uint32_t c = initial(4 * i + 2), d = initial(4 * i + 3);
        assert_int_equal(run.words[4 * i], initial(4 * i + 1));
        assert_int_equal(run.words[4 * i + 1], initial(4 * i));
        assert_int_equal(run.words[4 * i + 2], c >> 16 | c << 16);
        assert_int_equal(run.words[4 * i + 3], (uint32_t)(int8_t)(d >> 24) + (c >> 16));
    }
    emu_close(&run);
}

static void test_local_memory(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", ".local .align 4 .b8 stack[64];\nmov.u64 %d3, stack; cvta.local.u64 %d4, "
                        "%d3;\nand.b32 %r1, %r0, 15; mul.wide.u32 %d5, %r1, 4;\n"
                        "add.s64 %d3, %d3, %d5; add.s64 %d4, %d4, %d5;\n"
                        "st.local.u32 [%d3], %r0; ld.u32 %r2, [%d4]; st.global.u32 [%d2], %r2;"),
             32);
    for (uint32_t i = 0; i < 32; i++)
        assert_int_equal(run.words[i], i);
    emu_close(&run);
}

static void test_atomics(void **state)
{
    (void)state;
    struct emu_run run;
    emu_open(&run,
             KERNEL("", "atom.global.add.u32 %r1, [%d0], 1; red.global.max.s32 [%d0+4], %r0;\n"
                        "atom.global.inc.u32 %r2, [%d0+8], 9; red.global.xor.b32 [%d0+12], "
                        "%r0;\nred.global.add.f32 [%d0+16], 0f3F800000;\n"
                        "atom.global.cas.b32 %r3, [%d0+20], 0, %r0;\n"
                        "red.global.add.u64 [%d0+24], 0x100000001;"));
    run.launch.grid[0] = 7;
    run.launch.block[0] = 100;
    emu_go(&run);
    assert_int_equal(run.status, FAJIT_OK);
    float sum;
    memcpy(&sum, &run.words[4], sizeof(sum));
    assert_int_equal(run.words[0], 700);
    assert_int_equal(run.words[1], 99);
    assert_int_equal(run.words[2], 0); // 700 steps through 0..9
    assert_true(sum == 700.0f);
    assert_int_equal(run.words[6], 700);
    assert_int_equal(run.words[7], 700);
    emu_close(&run);
}

// A tile is turned in shared memory by four warps, with a named barrier between.
static void test_barrier(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", ".shared .align 4 .b8 tile[512];\nmov.u32 %r1, tile;\n"
                        "ld.global.u32 %r2, [%d2]; mad.lo.u32 %r3, %r0, 4, %r1;\n"
                        "st.shared.u32 [%r3], %r2; bar.sync 3, 128;\n"
                        "sub.u32 %r4, 127, %r0; mad.lo.u32 %r4, %r4, 4, %r1;\n"
                        "ld.shared.u32 %r5, [%r4]; st.global.u32 [%d2], %r5;\n"
                        "setp.lt.u32 %p0, %r0, 40; bar.red.popc.u32 %r6, 0, %p0;\n"
                        "st.global.u32 [%d2+2048], %r6;"),
             128);
    for (uint32_t i = 0; i < 128; i++) {
        assert_int_equal(run.words[i], initial(127 - i));
        assert_int_equal(run.words[512 + i], 40);
    }
    emu_close(&run);
}

// A producer warp hands eight words through one slot to a consumer warp.
static void test_mbarrier(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("",
                    "mov.u32 %r1, dyn; add.u32 %r2, %r1, 8; add.u32 %r3, %r1, 64;\n"
                    "setp.ne.u32 %p0, %r0, 0; @%p0 bra READY;\n"
                    "mbarrier.init.shared::cta.b64 [%r1], 1;\n"
                    "mbarrier.init.shared::cta.b64 [%r2], 32;\nREADY: bar.sync 0;\n"
                    "mov.u32 %r4, 0; mov.u32 %r5, 0; setp.ge.u32 %p1, %r0, 32; @%p1 bra TAKE;\n"
                    "@%p0 bra END;\n"
                    "GIVE: xor.b32 %r6, %r5, 1;\n"
                    "W1: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], %r6; @!%p2 bra W1;\n"
                    "mad.lo.u32 %r7, %r4, %r4, 7; st.shared.u32 [%r3], %r7;\n"
                    "mbarrier.arrive.shared::cta.b64 _, [%r1];\n"
                    "xor.b32 %r5, %r5, 1; add.u32 %r4, %r4, 1; setp.lt.u32 %p3, %r4, 8;\n"
                    "@%p3 bra GIVE;\nbra END;\nTAKE: mov.u32 %r8, 0;\n"
                    "W2: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r1], %r5; @!%p2 bra W2;\n"
                    "ld.shared.u32 %r9, [%r3]; add.u32 %r8, %r8, %r9;\n"
                    "mbarrier.arrive.shared::cta.b64 _, [%r2];\n"
                    "xor.b32 %r5, %r5, 1; add.u32 %r4, %r4, 1; setp.lt.u32 %p3, %r4, 8;\n"
                    "@%p3 bra W2;\nst.global.u32 [%d2], %r8;\nEND:"),
             64);
    for (uint32_t i = 32; i < 64; i++)
        assert_int_equal(run.words[i], 140 + 8 * 7);
    emu_close(&run);
}

static void test_copies(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", "mov.u32 %r1, dyn; mad.lo.u32 %r2, %r0, 4, %r1;\n"
                        "cp.async.ca.shared.global [%r2], [%d2], 4;\n"
                        "setp.lt.u32 %p0, %r0, 16; selp.u32 %r3, 4, 0, %p0;\n"
                        "cp.async.ca.shared.global [%r2+128], [%d2], 4, %r3;\n"
                        "cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;\n"
                        "ld.shared.u32 %r4, [%r2]; ld.shared.u32 %r5, [%r2+128];\n"
                        "st.global.u32 [%d2+1024], %r4; st.global.u32 [%d2+2048], %r5;\n"
                        "setp.ne.u32 %p1, %r0, 0; @%p1 bra END;\n"
                        "add.u32 %r6, %r1, 512; mbarrier.init.shared::cta.b64 [%r6], 1;\n"
                        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r6], 64;\n"
                        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                        "[%r1+1024], [%d0], 64, [%r6];\n"
                        "W: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r6], 0; @!%p2 bra W;\n"
                        "cp.async.bulk.global.shared::cta.bulk_group [%d0+3072], [%r1+1024], 64;\n"
                        "cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;\nEND:"),
             32);
    for (uint32_t i = 0; i < 32; i++) {
        assert_int_equal(run.words[256 + i], initial(i));
        assert_int_equal(run.words[512 + i], i < 16 ? initial(i) : 0);
        assert_int_equal(run.words[768 + i], i < 16 ? initial(i) : initial(768 + i));
    }
    emu_close(&run);
}

// Each CTA of a cluster of four reads the word of the next one.
static void test_cluster(void **state)
{
    (void)state;
    struct emu_run run;
    emu_open(&run, KERNEL("", "mov.u32 %r1, dyn; mov.u32 %r2, %ctaid.x; mov.u32 %r9, "
                              "%cluster_ctarank;\nst.shared.u32 [%r1], %r2;\n"
                              "barrier.cluster.arrive.release.aligned; "
                              "barrier.cluster.wait.acquire.aligned;\n"
                              "add.u32 %r3, %r9, 1; and.b32 %r3, %r3, 3;\n"
                              "mapa.shared::cluster.u32 %r4, %r1, %r3;\n"
                              "ld.shared::cluster.u32 %r5, [%r4];\n"
                              "mul.wide.u32 %d3, %r2, 4; add.s64 %d4, %d0, %d3;\n"
                              "st.global.u32 [%d4], %r5;\n"
                              "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;"));
    run.launch.grid[0] = 8;
    run.launch.cluster[0] = 4;
    run.launch.check = true;
    emu_go(&run);
    if (run.status != FAJIT_OK)
        fail_msg("%s", run.fault.text);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(run.words[i], i / 4 * 4 + (i + 1) % 4);
    emu_close(&run);
}

static void test_exchanges(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", "ld.global.u32 %r1, [%d2];\n"
                        "shfl.sync.bfly.b32 %r2, %r1, 5, 31, -1;\n"
                        "shfl.sync.up.b32 %r3|%p0, %r1, 3, 0, -1; selp.u32 %r4, 1, 0, %p0;\n"
                        "shfl.sync.idx.b32 %r5, %r1, 2, 0x181f, -1;\n"
                        "setp.gt.s32 %p1, %r1, 0; vote.sync.ballot.b32 %r6, %p1, -1;\n"
                        "elect.sync %r7|%p2, -1; selp.u32 %r8, %r7, 99, %p2;\n"
                        "redux.sync.add.u32 %r9, %r0, -1;\n"
                        "and.b32 %r10, %r0, 7; match.any.sync.b32 %r11, %r10, -1;\n"
                        "st.global.u32 [%d2], %r2; st.global.u32 [%d2+128], %r3;\n"
                        "st.global.u32 [%d2+256], %r4; st.global.u32 [%d2+384], %r5;\n"
                        "st.global.u32 [%d2+512], %r6; st.global.u32 [%d2+640], %r8;\n"
                        "st.global.u32 [%d2+768], %r9; st.global.u32 [%d2+896], %r11;"),
             32);
    uint32_t ballot = 0;
    for (uint32_t i = 0; i < 32; i++)
        ballot |= (uint32_t)((int32_t)initial(i) > 0) << i;
    for (uint32_t i = 0; i < 32; i++) {
        assert_int_equal(run.words[i], initial(i ^ 5));
        assert_int_equal(run.words[32 + i], initial(i < 3 ? i : i - 3));
        assert_int_equal(run.words[64 + i], i >= 3);
        assert_int_equal(run.words[96 + i], initial((i & 24) + 2));
        assert_int_equal(run.words[128 + i], ballot);
        assert_int_equal(run.words[160 + i], i == 0 ? 0 : 99);
        assert_int_equal(run.words[192 + i], 496);
        assert_int_equal(run.words[224 + i], 0x01010101u << (i & 7));
    }
    emu_close(&run);
}

static void test_counts(void **state)
{
    (void)state;
    struct emu_run run;
    struct fj_emu_counts counts[2] = {{.want_lines = 1}, {.want_lines = 1}};
    emu_open(&run,
             ".version 8.0\n.target sm_90\n.file 1 \"a.cu\"\n.visible .entry k(.param .u64 p) {\n"
             ".reg .b32 %r<4>; .reg .f32 %f<3>; .reg .b64 %d<4>;\n.shared .align 4 .b8 s[8192];\n"
             ".loc 1 3 1\nld.param.u64 %d0, [p]; mov.u32 %r0, %tid.x;\n"
             "mul.wide.u32 %d1, %r0, 8; add.s64 %d2, %d0, %d1;\n"
             ".loc 1 4 1\nld.global.f32 %f0, [%d2]; ex2.approx.ftz.f32 %f1, %f0;\n"
             "mov.u32 %r1, s; mad.lo.u32 %r2, %r0, 256, %r1; st.shared.f32 [%r2], %f1;\n"
             "ld.shared.f32 %f2, [%r1]; st.global.f32 [%d2], %f2; ret;\n}\n");
    run.launch.grid[0] = 3;
    for (int i = 0; i < 2; i++) {
        run.launch.counts = &counts[i];
        emu_go(&run);
        assert_int_equal(run.status, FAJIT_OK);
    }
    const struct fj_emu_counts *c = &counts[0];
    assert_int_equal(c->instructions[FJ_EMU_CLASS_GLOBAL], 6);
    assert_int_equal(c->instructions[FJ_EMU_CLASS_SHARED], 6);
    assert_int_equal(c->instructions[FJ_EMU_CLASS_SPECIAL], 3);
    assert_int_equal(c->ex2, 96);
    assert_int_equal(c->global_load_bytes, 3 * 32 * 4);
    assert_int_equal(c->global_load_sectors, 3 * 8);      // 4 of every 8 bytes of 256
    assert_int_equal(c->shared_wavefronts, 3 * (32 + 1)); // one bank, then a broadcast
    assert_int_equal(c->shared_conflicts, 3 * 31);
    assert_int_equal(c->n_lines, 2);
    assert_int_equal(c->lines[0].line, 3);
    assert_int_equal(c->lines[0].instructions, 12);
    assert_memory_equal(counts[0].instructions, counts[1].instructions,
                        sizeof(counts[0].instructions));
    free(counts[0].lines);
    free(counts[1].lines);
    emu_close(&run);
}

// Rows of 128 bytes by cp.async into rows that are 128 or 144 bytes apart, as an H200 counts them.
static void test_copied_sectors(void **state)
{
    (void)state;
    static const char *const kernels[] = {
        KERNEL("", "mov.u32 %r1, dyn; shr.u32 %r2, %r0, 3; mad.lo.u32 %r3, %r2, 128, %r1;\n"
                   "and.b32 %r4, %r0, 7; mad.lo.u32 %r3, %r4, 16, %r3; mul.wide.u32 %d3, %r0, 16;\n"
                   "add.s64 %d3, %d3, %d0; cp.async.cg.shared.global [%r3], [%d3], 16;"),
        KERNEL("", "mov.u32 %r1, dyn; shr.u32 %r2, %r0, 3; mad.lo.u32 %r3, %r2, 144, %r1;\n"
                   "and.b32 %r4, %r0, 7; mad.lo.u32 %r3, %r4, 16, %r3; mul.wide.u32 %d3, %r0, 16;\n"
                   "add.s64 %d3, %d3, %d0; cp.async.cg.shared.global [%r3], [%d3], 16;"),
    };
    static const uint64_t sectors[] = {16, 18};
    for (int i = 0; i < 2; i++) {
        struct emu_run run;
        struct fj_emu_counts counts = {0};
        emu_open(&run, kernels[i]);
        run.launch.counts = &counts;
        emu_go(&run);
        assert_int_equal(run.status, FAJIT_OK);
        assert_int_equal(counts.global_load_bytes, 512);
        assert_int_equal(counts.global_load_sectors, sectors[i]);
        emu_close(&run);
    }
}

// Integers of a matrix instruction: the accumulator is the thread's number, 32 products of 1 and 2.
static void test_integer_matrix(void **state)
{
    (void)state;
    struct emu_run run;
    emu_good(&run,
             KERNEL("", "mov.u32 %r1, 0x01010101; mov.u32 %r2, 0x02020202; sub.u32 %r3, 0, %r0;\n"
                        "mov.u32 %r8, 2147483647; mov.u32 %r9, 0;\n"
                        "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.u8.s32 "
                        "{%r4, %r5, %r6, %r7}, {%r1, %r1, %r1, %r1}, {%r2, %r2}, "
                        "{%r0, %r3, %r8, %r9}; add.u32 %r4, %r4, %r5;\n"
                        "xor.b32 %r6, %r6, 2147483647; add.u32 %r4, %r4, %r6;\n"
                        "st.global.u32 [%d2], %r4;"),
             32);
    for (int i = 0; i < 32; i++)
        assert_int_equal(run.words[i], 128);
    emu_close(&run);
}

struct seen {
    int steps, watches;
    uint64_t values[32];
};

static void on_step(void *user, const struct fj_emu_step *step)
{
    struct seen *seen = user;
    char name[32];
    seen->steps++;
    if (step->watch == NULL)
        return;
    seen->watches++;
    assert_string_equal(step->watch, "S 32 1 row ");
    assert_int_equal(step->n_registers, 1);
    assert_int_equal(fj_emu_step_register(step, 0, name, sizeof(name), seen->values), 32);
    assert_string_equal(name, "%r1");
}

static void test_trace(void **state)
{
    (void)state;
    struct emu_run run;
    struct seen seen = {0};
    const struct fj_emu_tracer tracer = {
        .ctaid = {1, 0, 0}, .warp = 1, .step = on_step, .user = &seen};
    emu_open(&run, KERNEL("", "mul.lo.u32 %r1, %r0, 3;\n// fj_watch S 32 1 row %r1\n"
                              "st.global.u32 [%d2], %r1;"));
    run.launch.grid[0] = 2;
    run.launch.block[0] = 64;
    run.launch.tracer = &tracer;
    emu_go(&run);
    assert_int_equal(run.status, FAJIT_OK);
    assert_int_equal(seen.steps, 4 + 3 + 1);
    assert_int_equal(seen.watches, 1);
    for (uint32_t i = 0; i < 32; i++)
        assert_int_equal(seen.values[i], (32 + i) * 3);
    emu_close(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divergent_loop), cmocka_unit_test(test_exits_and_nesting),
        cmocka_unit_test(test_branch_table),   cmocka_unit_test(test_vectors_and_widths),
        cmocka_unit_test(test_local_memory),   cmocka_unit_test(test_atomics),
        cmocka_unit_test(test_barrier),        cmocka_unit_test(test_mbarrier),
        cmocka_unit_test(test_copies),         cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_exchanges),      cmocka_unit_test(test_counts),
        cmocka_unit_test(test_copied_sectors), cmocka_unit_test(test_integer_matrix),
        cmocka_unit_test(test_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
