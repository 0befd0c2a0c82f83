// One thread, one result: arithmetic, conversions, predicates; and what a warp does with its lanes:
// shuffles, votes, reductions, matrix instructions.
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 256
#define MAX_IN 10
#define MAX_OUT 4

// %i0.. are the inputs and %o0.. the outputs, in registers of their letter's width; %p, %q are
// predicates, %t0..%t7 32-bit, %h0..%h3 16-bit, %x0..%x3 64-bit scratch, %s the address of 4 KiB of
// shared memory, %l the lane, %w the warp.
struct lane_case {
    const char *name, *in, *out, *body;
    enum rule rule;
    double bound;
};

#define BINARY(op, in, out)                                                                        \
    {                                                                                              \
        op, in, out, op " %o0, %i0, %i1;", RULE_EXACT, 0                                           \
    }
#define UNARY(op, in, out)                                                                         \
    {                                                                                              \
        op, in, out, op " %o0, %i0;", RULE_EXACT, 0                                                \
    }
#define TERNARY(op, in, out)                                                                       \
    {                                                                                              \
        op, in, out, op " %o0, %i0, %i1, %i2;", RULE_EXACT, 0                                      \
    }
#define RELATIVE(op, in, out, bound)                                                               \
    {                                                                                              \
        op, in, out, op " %o0, %i0;", RULE_RELATIVE, bound                                         \
    }
#define ABSOLUTE(op, in, out, bound)                                                               \
    {                                                                                              \
        op, in, out, op " %o0, %i0;", RULE_ABSOLUTE, bound                                         \
    }
#define COMPARE(op, in)                                                                            \
    {                                                                                              \
        op, in, "w", op " %p, %i0, %i1; selp.u32 %o0, 1, 0, %p;", RULE_EXACT, 0                    \
    }
#define BODY(name, in, out, body)                                                                  \
    {                                                                                              \
        name, in, out, body, RULE_EXACT, 0                                                         \
    }
#define MATRIX(name, in, out, body, k)                                                             \
    {                                                                                              \
        name, in, out, body, RULE_MATRIX, (k) + 1                                                  \
    }

#define REGS4(p) "{%" p "0, %" p "1, %" p "2, %" p "3}"
#define MMA_4241(shape, d, a, c)                                                                   \
    "mma.sync.aligned." shape ".row.col." d "." a "." a "." c                                      \
    " {%o0,%o1,%o2,%o3}, {%i0,%i1,%i2,%i3}, {%i4,%i5}, {%i6,%i7,%i8,%i9};"
#define MMA_4214(shape, d, a, c)                                                                   \
    "mma.sync.aligned." shape ".row.col." d "." a "." a "." c                                      \
    " {%o0,%o1,%o2,%o3}, {%i0,%i1}, {%i2}, {%i3,%i4,%i5,%i6};"
#define MMA_2422(shape, a)                                                                         \
    "mma.sync.aligned." shape ".row.col.f16." a "." a ".f16"                                       \
    " {%o0,%o1}, {%i0,%i1,%i2,%i3}, {%i4,%i5}, {%i6,%i7};"

static const struct lane_case cases[] = {
    // Integers.
    BINARY("add.s32", "ww", "w"),
    BINARY("sub.s32", "ww", "w"),
    BINARY("add.s64", "qq", "q"),
    BINARY("mul.lo.s32", "ww", "w"),
    BINARY("mul.hi.s32", "ww", "w"),
    BINARY("mul.hi.u32", "ww", "w"),
    BINARY("mul.hi.u64", "qq", "q"),
    BINARY("mul.hi.s64", "qq", "q"),
    BINARY("mul.lo.s64", "qq", "q"),
    BINARY("mul.wide.s32", "ww", "q"),
    BINARY("mul.wide.u32", "ww", "q"),
    BINARY("mul.wide.u16", "ss", "w"),
    BINARY("mul.wide.s16", "ss", "w"),
    TERNARY("mad.lo.s32", "www", "w"),
    TERNARY("mad.hi.u32", "www", "w"),
    TERNARY("mad.wide.s32", "wwq", "q"),
    TERNARY("mad.wide.u32", "wwq", "q"),
    BODY("div.s32", "ww", "w", "or.b32 %t0, %i1, 1; div.s32 %o0, %i0, %t0;"),
    BODY("div.u32", "ww", "w", "or.b32 %t0, %i1, 1; div.u32 %o0, %i0, %t0;"),
    BODY("rem.s32", "ww", "w", "or.b32 %t0, %i1, 1; rem.s32 %o0, %i0, %t0;"),
    BODY("rem.u64", "qq", "q", "or.b64 %x0, %i1, 1; rem.u64 %o0, %i0, %x0;"),
    BODY("div.s64", "qq", "q", "or.b64 %x0, %i1, 1; div.s64 %o0, %i0, %x0;"),
    BINARY("min.s32", "ww", "w"),
    BINARY("max.u32", "ww", "w"),
    BINARY("min.s64", "qq", "q"),
    UNARY("abs.s32", "w", "w"),
    UNARY("neg.s32", "w", "w"),
    UNARY("neg.s64", "q", "q"),
    BINARY("and.b32", "ww", "w"),
    BINARY("xor.b64", "qq", "q"),
    UNARY("not.b32", "w", "w"),
    UNARY("cnot.b32", "w", "w"),
    TERNARY("sad.s32", "www", "w"),
    BODY("lop3.b32", "www", "w",
         "lop3.b32 %t0, %i0, %i1, %i2, 0xe2; lop3.b32 %t1, %i0, %i1, %i2, 0x1b; "
         "xor.b32 %o0, %t0, %t1;"),
    BINARY("shl.b32", "wn", "w"),
    BINARY("shr.u32", "wn", "w"),
    BINARY("shr.s32", "wn", "w"),
    BINARY("shr.s64", "qw", "q"),
    BINARY("shl.b64", "qw", "q"),
    BINARY("shr.s16", "sn", "s"),
    TERNARY("shf.l.wrap.b32", "wwn", "w"),
    TERNARY("shf.r.wrap.b32", "wwn", "w"),
    TERNARY("shf.l.clamp.b32", "wwn", "w"),
    TERNARY("shf.r.clamp.b32", "wwn", "w"),
    TERNARY("bfe.u32", "wnn", "w"),
    TERNARY("bfe.s32", "wnn", "w"),
    BODY("bfi.b32", "wwnn", "w", "bfi.b32 %o0, %i0, %i1, %i2, %i3;"),
    TERNARY("prmt.b32", "www", "w"),
    UNARY("popc.b32", "w", "w"),
    UNARY("clz.b32", "w", "w"),
    UNARY("clz.b64", "q", "w"),
    UNARY("brev.b32", "w", "w"),
    UNARY("bfind.u32", "w", "w"),
    UNARY("bfind.shiftamt.u32", "w", "w"),
    BODY("addc.u32", "wwww", "ww", "add.cc.u32 %o0, %i0, %i1; addc.u32 %o1, %i2, %i3;"),
    TERNARY("dp4a.s32.s32", "www", "w"),

    // fp32.
    BINARY("add.rn.f32", "ff", "f"),
    BINARY("add.rn.ftz.f32", "ff", "f"),
    BINARY("add.rz.f32", "ff", "f"),
    BINARY("add.rp.f32", "ff", "f"),
    BINARY("sub.rn.f32", "ff", "f"),
    BINARY("mul.rn.f32", "ff", "f"),
    BINARY("mul.rn.ftz.f32", "ff", "f"),
    BINARY("mul.rz.f32", "ff", "f"),
    TERNARY("fma.rn.f32", "fff", "f"),
    TERNARY("fma.rn.ftz.f32", "fff", "f"),
    TERNARY("fma.rz.f32", "fff", "f"),
    TERNARY("fma.rm.f32", "fff", "f"),
    TERNARY("fma.rn.sat.f32", "fff", "f"),
    BINARY("min.f32", "ff", "f"),
    BINARY("max.f32", "ff", "f"),
    BINARY("max.ftz.f32", "ff", "f"),
    BINARY("max.NaN.f32", "ff", "f"),
    BINARY("min.NaN.f32", "ff", "f"),
    UNARY("abs.f32", "f", "f"),
    UNARY("neg.f32", "f", "f"),
    UNARY("neg.ftz.f32", "f", "f"),
    BINARY("copysign.f32", "ff", "f"),
    BINARY("div.rn.f32", "ff", "f"),
    BINARY("div.rn.ftz.f32", "ff", "f"),
    UNARY("rcp.rn.f32", "f", "f"),
    UNARY("sqrt.rn.f32", "f", "f"),
    UNARY("sqrt.rn.ftz.f32", "f", "f"),
    // Bounds of the approximations: PTX ISA, floating-point instructions.
    {"div.full.f32", "ff", "f", "div.full.f32 %o0, %i0, %i1;", RULE_RELATIVE, 0x1p-22},
    RELATIVE("rcp.approx.f32", "f", "f", 0x1p-23),
    RELATIVE("rcp.approx.ftz.f32", "f", "f", 0x1p-23),
    RELATIVE("rsqrt.approx.f32", "f", "f", 0x1.2p-23),
    RELATIVE("rsqrt.approx.ftz.f32", "f", "f", 0x1.2p-23),
    RELATIVE("sqrt.approx.f32", "f", "f", 0x1p-22),
    RELATIVE("ex2.approx.f32", "f", "f", 0x1p-22),
    RELATIVE("ex2.approx.ftz.f32", "f", "f", 0x1p-22),
    ABSOLUTE("lg2.approx.f32", "f", "f", 0x1p-16),
    ABSOLUTE("lg2.approx.ftz.f32", "f", "f", 0x1p-16),
    {"lg2.approx.f32/unit", "w", "f",
     "and.b32 %t0, %i0, 0x7fffff; or.b32 %t0, %t0, 0x3f800000; lg2.approx.f32 %o0, %t0;",
     RULE_ABSOLUTE, 0x1p-21},
    {"sin.approx.f32", "O", "f", "mul.rn.f32 %t0, %i0, 0f3e400000; sin.approx.f32 %o0, %t0;",
     RULE_ABSOLUTE, 0x1p-20},
    {"cos.approx.f32", "O", "f", "mul.rn.f32 %t0, %i0, 0f3e400000; cos.approx.f32 %o0, %t0;",
     RULE_ABSOLUTE, 0x1p-20},
    RELATIVE("tanh.approx.f32", "f", "f", 0x1p-10),

    // fp64.
    BINARY("add.rn.f64", "dd", "d"),
    BINARY("mul.rn.f64", "dd", "d"),
    TERNARY("fma.rn.f64", "ddd", "d"),
    BINARY("div.rn.f64", "dd", "d"),
    UNARY("sqrt.rn.f64", "d", "d"),
    BINARY("max.f64", "dd", "d"),

    // f16 and bf16.
    BINARY("add.rn.f16", "hh", "h"),
    BINARY("add.rn.f16x2", "HH", "H"),
    BINARY("sub.rn.f16x2", "HH", "H"),
    BINARY("mul.rn.f16x2", "HH", "H"),
    BINARY("mul.rn.ftz.f16x2", "HH", "H"),
    TERNARY("fma.rn.f16", "hhh", "h"),
    TERNARY("fma.rn.f16x2", "HHH", "H"),
    TERNARY("fma.rn.relu.f16x2", "HHH", "H"),
    TERNARY("fma.rn.bf16", "bbb", "b"),
    TERNARY("fma.rn.bf16x2", "BBB", "B"),
    BINARY("add.rn.bf16x2", "BB", "B"),
    BINARY("mul.rn.bf16x2", "BB", "B"),
    BINARY("min.f16x2", "HH", "H"),
    BINARY("max.f16x2", "HH", "H"),
    BINARY("max.NaN.f16x2", "HH", "H"),
    BINARY("max.bf16x2", "BB", "B"),
    BINARY("max.bf16", "bb", "b"),
    UNARY("neg.f16x2", "H", "H"),
    UNARY("abs.bf16x2", "B", "B"),
    RELATIVE("ex2.approx.f16", "h", "h", 0x1p-9),
    ABSOLUTE("tanh.approx.f16", "h", "h", 0x1p-9),
    RELATIVE("tanh.approx.bf16", "b", "b", 0x1p-7),
    RELATIVE("ex2.approx.ftz.bf16", "b", "b", 0x1p-6),

    // Conversions.
    UNARY("cvt.rn.f16.f32", "f", "h"),
    UNARY("cvt.rz.f16.f32", "f", "h"),
    UNARY("cvt.rn.ftz.f16.f32", "f", "h"),
    UNARY("cvt.rn.bf16.f32", "f", "b"),
    UNARY("cvt.rz.bf16.f32", "f", "b"),
    BINARY("cvt.rn.f16x2.f32", "ff", "H"),
    BINARY("cvt.rn.bf16x2.f32", "ff", "B"),
    BINARY("cvt.rn.relu.bf16x2.f32", "ff", "B"),
    BINARY("cvt.rz.bf16x2.f32", "ff", "B"),
    UNARY("cvt.rna.tf32.f32", "f", "f"),
    UNARY("cvt.f32.f16", "h", "f"),
    UNARY("cvt.ftz.f32.f16", "h", "f"),
    UNARY("cvt.f32.bf16", "b", "f"),
    UNARY("cvt.f64.f32", "f", "d"),
    UNARY("cvt.rn.f32.f64", "d", "f"),
    UNARY("cvt.rn.f32.s32", "w", "f"),
    UNARY("cvt.rn.f32.u32", "w", "f"),
    UNARY("cvt.rz.f32.u32", "w", "f"),
    UNARY("cvt.rn.f32.s64", "q", "f"),
    UNARY("cvt.rn.f32.u64", "q", "f"),
    UNARY("cvt.rn.f64.s32", "w", "d"),
    UNARY("cvt.rn.f16.s32", "w", "h"),
    UNARY("cvt.rzi.s32.f32", "f", "w"),
    UNARY("cvt.rni.s32.f32", "f", "w"),
    UNARY("cvt.rmi.s32.f32", "f", "w"),
    UNARY("cvt.rpi.s32.f32", "f", "w"),
    UNARY("cvt.rzi.u32.f32", "f", "w"),
    UNARY("cvt.rni.ftz.s32.f32", "f", "w"),
    UNARY("cvt.rzi.s64.f32", "f", "q"),
    UNARY("cvt.rzi.u64.f32", "f", "q"),
    UNARY("cvt.rzi.s32.f16", "h", "w"),
    UNARY("cvt.rni.f32.f32", "f", "f"),
    UNARY("cvt.rmi.f32.f32", "f", "f"),
    UNARY("cvt.rpi.ftz.f32.f32", "f", "f"),
    UNARY("cvt.rzi.f32.f32", "f", "f"),
    UNARY("cvt.sat.f32.f32", "f", "f"),
    UNARY("cvt.s64.s32", "w", "q"),
    UNARY("cvt.u64.u32", "w", "q"),
    UNARY("cvt.u32.u64", "q", "w"),
    UNARY("cvt.s32.s16", "s", "w"),
    UNARY("cvt.s32.s8", "w", "w"),
    UNARY("cvt.u16.u32", "w", "s"),
    UNARY("cvt.sat.s16.s32", "w", "s"),
    BODY("cvt.rn.satfinite.e4m3x2.f32", "ff", "s", "cvt.rn.satfinite.e4m3x2.f32 %o0, %i0, %i1;"),
    BODY("cvt.rn.satfinite.e5m2x2.f32", "ff", "s", "cvt.rn.satfinite.e5m2x2.f32 %o0, %i0, %i1;"),
    BODY("cvt.rn.f16x2.e4m3x2", "s", "H", "cvt.rn.f16x2.e4m3x2 %o0, %i0;"),
    BODY("cvt.rn.f16x2.e5m2x2", "s", "H", "cvt.rn.f16x2.e5m2x2 %o0, %i0;"),

    // Comparisons and selections.
    COMPARE("setp.lt.s32", "ww"),
    COMPARE("setp.hs.u32", "ww"),
    COMPARE("setp.gt.s64", "qq"),
    COMPARE("setp.eq.f32", "ff"),
    COMPARE("setp.lt.f32", "ff"),
    COMPARE("setp.ltu.f32", "ff"),
    COMPARE("setp.ge.ftz.f32", "ff"),
    COMPARE("setp.neu.f32", "ff"),
    COMPARE("setp.nan.f32", "ff"),
    COMPARE("setp.num.f32", "ff"),
    COMPARE("setp.gt.f16", "hh"),
    COMPARE("setp.le.f64", "dd"),
    BODY("setp.and", "wwww", "w",
         "setp.lt.s32 %q, %i2, %i3; setp.gt.and.u32 %p, %i0, %i1, %q; selp.u32 %o0, 1, 0, %p;"),
    BODY("set.lt.f32.f32", "ff", "f", "set.lt.f32.f32 %o0, %i0, %i1;"),
    BODY("slct.f32.s32", "ffw", "f", "slct.f32.s32 %o0, %i0, %i1, %i2;"),
    BODY("testp", "f", "w",
         "testp.finite.f32 %p, %i0; selp.u32 %t0, 1, 0, %p; testp.subnormal.f32 %p, %i0; "
         "selp.u32 %t1, 2, 0, %p; testp.notanumber.f32 %p, %i0; selp.u32 %t2, 4, 0, %p; "
         "or.b32 %t0, %t0, %t1; or.b32 %o0, %t0, %t2;"),

    // A warp's lanes.
    BODY("shfl.sync.idx", "wn", "ww",
         "shfl.sync.idx.b32 %o0|%p, %i0, %i1, 0x1f, 0xffffffff; selp.u32 %o1, 1, 0, %p;"),
    BODY("shfl.sync.up", "wi", "ww",
         "shfl.sync.up.b32 %o0|%p, %i0, 3, 0, 0xffffffff; selp.u32 %o1, 1, 0, %p;"),
    BODY("shfl.sync.down", "wi", "ww",
         "shfl.sync.down.b32 %o0|%p, %i0, 5, 0x1f, 0xffffffff; selp.u32 %o1, 1, 0, %p;"),
    BODY("shfl.sync.bfly", "wi", "ww",
         "shfl.sync.bfly.b32 %o0|%p, %i0, 9, 0x1f, 0xffffffff; selp.u32 %o1, 1, 0, %p;"),
    BODY("shfl.sync.segments", "wn", "wwww",
         "shfl.sync.bfly.b32 %o0|%p, %i0, 12, 0x181f, 0xffffffff; "
         "shfl.sync.idx.b32 %o1|%q, %i0, %i1, 0x181f, 0xffffffff; selp.u32 %o2, 1, 0, %p; "
         "selp.u32 %o3, 1, 0, %q;"),
    BODY("vote", "w", "wwww",
         "setp.lt.s32 %p, %i0, 0; vote.sync.ballot.b32 %o0, %p, 0xffffffff; "
         "vote.sync.any.pred %q, %p, 0xffffffff; selp.u32 %o1, 1, 0, %q; "
         "vote.sync.all.pred %q, %p, 0xffffffff; selp.u32 %o2, 1, 0, %q; activemask.b32 %o3;"),
    BODY("match.any", "w", "w", "and.b32 %t0, %i0, 3; match.any.sync.b32 %o0, %t0, 0xffffffff;"),
    BODY("match.all", "w", "ww",
         "shr.u32 %t0, %w, 1; match.all.sync.b32 %o0|%p, %t0, 0xffffffff; selp.u32 %o1, 1, 0, %p;"),
    BODY("redux", "w", "wwww",
         "redux.sync.add.s32 %o0, %i0, 0xffffffff; redux.sync.min.s32 %o1, %i0, 0xffffffff; "
         "redux.sync.max.u32 %o2, %i0, 0xffffffff; redux.sync.xor.b32 %o3, %i0, 0xffffffff;"),
    BODY("elect", "w", "ww", "elect.sync %o0|%p, 0xffffffff; selp.u32 %o1, 1, 0, %p;"),
    BODY("divergence", "ww", "ww",
         "mov.u32 %o0, 0; mov.u32 %o1, 0; and.b32 %t0, %i1, 7;\n"
         "loop: setp.gt.u32 %p, %o1, %t0; @%p bra done; and.b32 %t1, %o1, 1; "
         "setp.eq.u32 %q, %t1, 0; @%q bra even; xor.b32 %o0, %o0, %i0; bra next;\n"
         "even: mad.lo.s32 %o0, %o0, 3, %i0;\nnext: add.u32 %o1, %o1, 1; bra loop;\ndone:"),

    // Memory.
    BODY("cp.async.zfill", "qqnn", "wwww",
         "shl.b32 %t0, %l, 4; add.u32 %t0, %s, %t0; min.u32 %t1, %i2, 16; "
         "cp.async.ca.shared.global [%t0], [%in], 16, %t1; cp.async.commit_group; "
         "cp.async.wait_group 0; ld.shared.v4.b32 {%o0, %o1, %o2, %o3}, [%t0];"),
    BODY("ld.shared.narrow", "ww", "wwww",
         "shl.b32 %t0, %l, 4; add.u32 %t0, %s, %t0; st.shared.v2.b32 [%t0], {%i0, %i1}; "
         "ld.shared.s8 %o0, [%t0+1]; ld.shared.u8 %o1, [%t0+6]; ld.shared.s16 %o2, [%t0+2]; "
         "ld.shared.u16 %o3, [%t0+4];"),
    BODY("st.shared.narrow", "wwwww", "wwww",
         "shl.b32 %t0, %l, 4; add.u32 %t0, %s, %t0; "
         "st.shared.v4.b32 [%t0], {%i0, %i1, %i2, %i3}; st.shared.u8 [%t0+5], %i4; "
         "st.shared.u16 [%t0+10], %i4; ld.shared.v4.b32 {%o0, %o1, %o2, %o3}, [%t0];"),
    BODY("atom.shared", "ww", "wwww",
         "shl.b32 %t0, %w, 2; add.u32 %t0, %s, %t0; setp.eq.u32 %p, %l, 0; "
         "@%p st.shared.b32 [%t0], %i0; bar.warp.sync 0xffffffff; red.shared.add.u32 [%t0], %i1; "
         "bar.warp.sync 0xffffffff; ld.shared.b32 %o0, [%t0]; bar.warp.sync 0xffffffff; "
         "red.shared.max.s32 [%t0], %i1; bar.warp.sync 0xffffffff; ld.shared.b32 %o1, [%t0]; "
         "bar.warp.sync 0xffffffff; red.shared.xor.b32 [%t0], %i1; bar.warp.sync 0xffffffff; "
         "ld.shared.b32 %o2, [%t0]; mov.b32 %o3, 0;"),

    // Matrices in registers and shared memory.
    BODY("ldmatrix.x4", "wwww", "wwww",
         "shl.b32 %t0, %l, 4; add.u32 %t0, %s, %t0; st.shared.v4.b32 [%t0], {%i0, %i1, %i2, %i3}; "
         "bar.warp.sync 0xffffffff; xor.b32 %t1, %l, 5; shl.b32 %t1, %t1, 4; add.u32 %t1, %s, %t1; "
         "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%o0, %o1, %o2, %o3}, [%t1];"),
    BODY("ldmatrix.x4.trans", "wwww", "wwww",
         "shl.b32 %t0, %l, 4; add.u32 %t0, %s, %t0; st.shared.v4.b32 [%t0], {%i0, %i1, %i2, %i3}; "
         "bar.warp.sync 0xffffffff; xor.b32 %t1, %l, 9; shl.b32 %t1, %t1, 4; add.u32 %t1, %s, %t1; "
         "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%o0, %o1, %o2, %o3}, [%t1];"),
    BODY("stmatrix.x4", "wwww", "wwww",
         "shl.b32 %t0, %l, 4; add.u32 %t0, %s, %t0; xor.b32 %t1, %l, 3; shl.b32 %t1, %t1, 4; "
         "add.u32 %t1, %s, %t1; stmatrix.sync.aligned.m8n8.x4.shared.b16 [%t1], {%i0, %i1, %i2, "
         "%i3}; bar.warp.sync 0xffffffff; ld.shared.v4.b32 {%o0, %o1, %o2, %o3}, [%t0];"),
    BODY("stmatrix.x4.trans", "wwww", "wwww",
         "shl.b32 %t0, %l, 4; add.u32 %t0, %s, %t0; xor.b32 %t1, %l, 6; shl.b32 %t1, %t1, 4; "
         "add.u32 %t1, %s, %t1; stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%t1], {%i0, %i1, "
         "%i2, %i3}; bar.warp.sync 0xffffffff; ld.shared.v4.b32 {%o0, %o1, %o2, %o3}, [%t0];"),
    BODY("mma.f16.exact", "IIIIIIKKKK", "ffff", MMA_4241("m16n8k16", "f32", "f16", "f32")),
    BODY("mma.bf16.exact", "JJJJJJKKKK", "ffff", MMA_4241("m16n8k16", "f32", "bf16", "f32")),
    BODY("mma.f16.k8.exact", "IIIKKKK", "ffff", MMA_4214("m16n8k8", "f32", "f16", "f32")),
    BODY("mma.bf16.k8.exact", "JJJKKKK", "ffff", MMA_4214("m16n8k8", "f32", "bf16", "f32")),
    BODY("mma.tf32.exact", "KKKKKKKKKK", "ffff", MMA_4241("m16n8k8", "f32", "tf32", "f32")),
    BODY("mma.tf32.k4.exact", "KKKKKKK", "ffff", MMA_4214("m16n8k4", "f32", "tf32", "f32")),
    BODY("mma.f16acc.exact", "IIIIIIII", "HH", MMA_2422("m16n8k16", "f16")),
    BODY("mma.e4m3.exact", "LLLLLLKKKK", "ffff", MMA_4241("m16n8k32", "f32", "e4m3", "f32")),
    MATRIX("mma.f16", "MMMMMMOOOO", "ffff", MMA_4241("m16n8k16", "f32", "f16", "f32"), 16),
    MATRIX("mma.bf16", "NNNNNNOOOO", "ffff", MMA_4241("m16n8k16", "f32", "bf16", "f32"), 16),
    MATRIX("mma.bf16.k8", "NNNOOOO", "ffff", MMA_4214("m16n8k8", "f32", "bf16", "f32"), 8),
    MATRIX("mma.tf32", "OOOOOOOOOO", "ffff", MMA_4241("m16n8k8", "f32", "tf32", "f32"), 8),
    MATRIX("mma.f16.edges", "EEMMMMOOOO", "ffff", MMA_4241("m16n8k16", "f32", "f16", "f32"), 16),
};

// Reductions into global memory, each thread into its own word.
static const struct {
    const char *name, *type, *in;
} reductions[] = {
    {"red.add.f32", "f32", "ff"},
    {"atom.add.f32", "f32", "ff"},
    {"atom.add.f16x2", "noftz.f16x2", "HH"},
    {"atom.add.bf16x2", "noftz.bf16x2", "BB"},
    {"atom.min.s32", "s32", "ww"},
    {"atom.inc.u32", "u32", "ww"},
    {"atom.dec.u32", "u32", "ww"},
    {"atom.exch.b32", "b32", "ww"},
};

static const char *width_type(char letter)
{
    int bytes = letter_bytes(letter);
    return bytes == 8 ? "b64" : bytes == 2 ? "b16" : "b32";
}

static void declare(struct fj_buf *ptx, char prefix, const char *letters)
{
    for (int i = 0; letters[i]; i++)
        fj_buf_printf(ptx, ".reg .%s %%%c%d;\n", width_type(letters[i]), prefix, i);
}

static void build(struct fj_buf *ptx, const struct lane_case *c)
{
    int n_in = (int)strlen(c->in), n_out = (int)strlen(c->out);
    fj_buf_puts(ptx, ".version 8.4\n.target sm_90a\n.address_size 64\n"
                     ".visible .entry run(.param .u64 in, .param .u64 out)\n"
                     ".maxntid 256, 1, 1\n{\n"
                     ".shared .align 128 .b8 tile[4096];\n"
                     ".reg .pred %p, %q;\n.reg .b32 %t<8>, %s, %l, %w, %me;\n.reg .b16 %h<4>;\n"
                     ".reg .b64 %x<4>, %in, %out, %at;\n");
    declare(ptx, 'i', c->in);
    declare(ptx, 'o', c->out);
    fj_buf_printf(ptx,
                  "ld.param.u64 %%in, [in];\nld.param.u64 %%out, [out];\n"
                  "mov.u32 %%me, %%tid.x;\nand.b32 %%l, %%me, 31;\nshr.u32 %%w, %%me, 5;\n"
                  "mov.u32 %%s, tile;\nmad.lo.u32 %%s, %%w, 512, %%s;\n"
                  "mul.wide.u32 %%at, %%me, %d;\nadd.s64 %%in, %%in, %%at;\n"
                  "mul.wide.u32 %%at, %%me, %d;\nadd.s64 %%out, %%out, %%at;\n",
                  8 * n_in, 8 * n_out);
    for (int i = 0; i < n_in; i++)
        fj_buf_printf(ptx, "ld.global.%s %%i%d, [%%in+%d];\n", width_type(c->in[i]), i, 8 * i);
    fj_buf_printf(ptx, "%s\n", c->body);
    for (int i = 0; i < n_out; i++)
        fj_buf_printf(ptx, "st.global.%s [%%out+%d], %%o%d;\n", width_type(c->out[i]), 8 * i, i);
    fj_buf_puts(ptx, "ret;\n}\n");
}

static void fill(const struct lane_case *c, uint64_t *ret, bool magnitude)
{
    int n_in = (int)strlen(c->in);
    uint64_t column[THREADS];
    for (int i = 0; i < n_in; i++) {
        fill_operands(c->in[i], c->name, i, THREADS, column);
        for (int t = 0; t < THREADS; t++)
            ret[t * n_in + i] = magnitude ? column[t] & letter_sign_mask(c->in[i]) : column[t];
    }
}

static bool launch(const struct run *run, const struct lane_case *c, const struct loaded *kernel,
                   const uint64_t *in, struct fj_buf *ret_out)
{
    const struct fj_cuda *cuda = run->device->cuda;
    size_t in_bytes = 8 * THREADS * strlen(c->in), out_bytes = 8 * THREADS * strlen(c->out);
    uint64_t out[THREADS * MAX_OUT];
    CUdeviceptr d_in = 0, d_out = 0;
    void *args[] = {&d_in, &d_out};
    bool ok =
        check_call(run->device, cuda->cuMemAlloc_v2(&d_in, in_bytes), "alloc", c->name) &&
        check_call(run->device, cuda->cuMemAlloc_v2(&d_out, out_bytes), "alloc", c->name) &&
        check_call(run->device, cuda->cuMemcpyHtoD_v2(d_in, in, in_bytes), "copy", c->name) &&
        check_call(run->device, cuda->cuMemsetD8_v2(d_out, 0, out_bytes), "set", c->name) &&
        check_call(
            run->device,
            cuda->cuLaunchKernel(kernel->function, 1, 1, 1, THREADS, 1, 1, 0, NULL, args, NULL),
            "launch", c->name) &&
        check_call(run->device, cuda->cuMemcpyDtoH_v2(out, d_out, out_bytes), "copy", c->name);
    int width = letter_bytes(c->out[0]), n_out = (int)strlen(c->out);
    for (int i = 0; ok && i < THREADS * n_out; i++)
        fj_buf_append(ret_out, &out[i], (size_t)width);
    cuda->cuMemFree_v2(d_in);
    cuda->cuMemFree_v2(d_out);
    return ok;
}

static void run_one(struct run *run, const struct lane_case *c)
{
    struct outcome outcome = {
        .format = c->out[0], .width = letter_bytes(c->out[0]), .rule = c->rule, .bound = c->bound};
    struct fj_buf ptx = {0};
    struct loaded kernel;
    uint64_t *in = malloc(8 * THREADS * MAX_IN);
    if (!selected(run, c->name)) {
        free(in);
        return;
    }
    build(&ptx, c);
    fill(c, in, false);
    outcome.digest = digest_of(ptx.data, ptx.len, 0);
    outcome.digest = digest_of(in, 8 * THREADS * strlen(c->in), outcome.digest);
    bool ok = load_kernel(run->device, ptx.data, c->name, 0, &kernel);
    if (ok) {
        ok = launch(run, c, &kernel, in, &outcome.payload);
        if (ok && c->rule == RULE_MATRIX && run->want_magnitude) {
            fill(c, in, true);
            ok = launch(run, c, &kernel, in, &outcome.magnitude);
        }
        run->device->cuda->cuModuleUnload(kernel.module);
    }
    report_case(run, c->name, &outcome, ok);
    fj_buf_free(&ptx);
    free(in);
}

void run_lane_cases(struct run *run)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_one(run, &cases[i]);
    for (size_t i = 0; i < sizeof(reductions) / sizeof(reductions[0]); i++) {
        const char *name = reductions[i].name, *dot = strchr(name, '.') + 1;
        char body[256];
        bool returns = name[0] == 'a';
        snprintf(body, sizeof(body),
                 "st.global.b32 [%%out], %%i0; %s.global.%.*s.%s %s[%%out], %%i1;%s "
                 "ld.global.b32 %%o0, [%%out];",
                 returns ? "atom" : "red", (int)strcspn(dot, "."), dot, reductions[i].type,
                 returns ? "%o1, " : "", returns ? "" : " mov.b32 %o1, 0;");
        struct lane_case c = {name, reductions[i].in, "ww", body, RULE_EXACT, 0};
        char out[3] = {reductions[i].in[0], reductions[i].in[0], 0};
        c.out = out;
        run_one(run, &c);
    }
}
