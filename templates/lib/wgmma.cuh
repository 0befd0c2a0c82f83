// Matrix products of a warpgroup, four warps (sm_90a): D[64, n] += A[64, k] B[k, n] with k = 16 for
// 16-bit types and 8 for tf32. A lies in shared memory (ss) or registers (rs), B in shared memory,
// D in registers. The includer names the n it needs: wgmma_ss_n, wgmma_rs_n (0: none).
//
// D, the accumulator layout: warp w of the warpgroup owns rows 16 w .. 16 w + 15; its lane holds
//     d[4 t + 2 j + i] = D[16 w + lane / 4 + 8 j][8 t + 2 (lane % 4) + i],   i, j in {0, 1}.
// A in registers: a[2 h + j] holds the pair A[lane / 4 + 8 j][8 h + 2 (lane % 4) + {0, 1}] of the
// warp's 16 rows, h in {0, 1}. So the accumulators d[8 s .. 8 s + 7], packed in pairs, are the four
// registers of A for k step s: a product feeds the next one without moving between lanes.
//
// The instructions run behind the program. Registers they read or write must not be touched until
// wgmma_wait, and wgmma_fence must stand between other accesses to them and the next wgmma.

__device__ __forceinline__ void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Closes a group of the wgmma issued so far; a group may be empty.
__device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most the kPending latest groups are unfinished.
template <int kPending> __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Emits nothing. The compiler may not move accesses to `registers` across it: it does not know that
// a wgmma writes its operands after the statement that names them.
template <int kCount> __device__ __forceinline__ void pin(float (&registers)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; ++i)
        asm volatile("" : "+f"(registers[i])::"memory");
}

template <int kCount> __device__ __forceinline__ void pin(uint32 (&registers)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; ++i)
        asm volatile("" : "+r"(registers[i])::"memory");
}

// The lower half of the matrix descriptor of a tile in panels: 128 bytes of each row side by side,
// rows below each other, 16-byte chunks exchanged within groups of 8 rows as TMA's 128-byte swizzle
// does (chunk index ^= row % 8). `address` is a multiple of 1024 plus at most 96. In units of 16
// bytes: bits 0-13 the address, 16-29 the leading offset. The upper half is the same for all of
// them, 0x40000040: stride offset 8 rows (1024 bytes), and 1 in bits 30-31 for this swizzle.
//
// Rows are m or n ("k-major"): the stride offset leads to the next 8 rows, the leading one is
// unused; the next k step lies 32 bytes further, panel by panel.
// Rows are k ("mn-major", transposed): the leading offset leads to the next panel of 64 columns,
// the stride offset to the next 8 rows; the next k step lies 16 rows (2048 bytes) further.
__device__ __forceinline__ uint32 wgmma_descriptor(uint32 address, uint32 leading_bytes)
{
    return uniform((address & 0x3ffff) >> 4 | (leading_bytes >> 4) << 16);
}

// clang-format off
//@for n in 8..257 step 8
//@if n == wgmma_ss_n
//@let last n / 8 - 1
//@let half n / 2
// wgmma.mma_async m64n$n, A and B in shared memory. `accumulate` 0: D = A B.
template <int kTransposeA, int kTransposeB>
__device__ __forceinline__ void wgmma_ss(float (&d)[$half], uint32 a, uint32 b, int accumulate)
{
    asm volatile("{\n\t"
                 ".reg .pred accumulate;\n\t"
                 ".reg .b64 a, b;\n\t"
                 "mov.b64 a, {%${half}, 0x40000040};\n\t"
                 "mov.b64 b, {%${half + 1}, 0x40000040};\n\t"
                 "setp.ne.b32 accumulate, %${half + 2}, 0;\n\t"
                 //@if dtype == bf16
                 "wgmma.mma_async.sync.aligned.m64n${n}k16.f32.bf16.bf16 {"
                 //@elif dtype == f16
                 "wgmma.mma_async.sync.aligned.m64n${n}k16.f32.f16.f16 {"
                 //@else
                 "wgmma.mma_async.sync.aligned.m64n${n}k8.f32.tf32.tf32 {"
                 //@end
                 //@for t in 0..last
                 "%${4 * t}, %${4 * t + 1}, %${4 * t + 2}, %${4 * t + 3}, "
                 //@end
                 "%${4 * last}, %${4 * last + 1}, %${4 * last + 2}, %${4 * last + 3}}, "
                 //@if dtype == bf16 || dtype == f16
                 "a, b, accumulate, 1, 1, %${half + 3}, %${half + 4};\n\t"
                 //@else
                 "a, b, accumulate, 1, 1;\n\t" // tf32 is k-major always
                 //@end
                 "}"
                 :
                 //@for t in 0..last
                 //@let e0 4 * t
                 //@let e1 4 * t + 1
                 //@let e2 4 * t + 2
                 //@let e3 4 * t + 3
                 "+f"(d[$e0]), "+f"(d[$e1]), "+f"(d[$e2]), "+f"(d[$e3]),
                 //@end
                 //@let e0 4 * last
                 //@let e1 4 * last + 1
                 //@let e2 4 * last + 2
                 //@let e3 4 * last + 3
                 "+f"(d[$e0]), "+f"(d[$e1]), "+f"(d[$e2]), "+f"(d[$e3])
                 : "r"(a), "r"(b), "r"(accumulate), "n"(kTransposeA), "n"(kTransposeB)
                 : "memory");
}

//@end
//@if n == wgmma_rs_n
//@let last n / 8 - 1
//@let half n / 2
// wgmma.mma_async m64n$n, A in registers, B in shared memory. `accumulate` 0: D = A B.
template <int kTransposeB>
__device__ __forceinline__ void wgmma_rs(float (&d)[$half], const uint32 *a, uint32 b,
                                         int accumulate)
{
    asm volatile("{\n\t"
                 ".reg .pred accumulate;\n\t"
                 ".reg .b64 b;\n\t"
                 "mov.b64 b, {%${half + 4}, 0x40000040};\n\t"
                 "setp.ne.b32 accumulate, %${half + 5}, 0;\n\t"
                 //@if dtype == bf16
                 "wgmma.mma_async.sync.aligned.m64n${n}k16.f32.bf16.bf16 {"
                 //@elif dtype == f16
                 "wgmma.mma_async.sync.aligned.m64n${n}k16.f32.f16.f16 {"
                 //@else
                 "wgmma.mma_async.sync.aligned.m64n${n}k8.f32.tf32.tf32 {"
                 //@end
                 //@for t in 0..last
                 "%${4 * t}, %${4 * t + 1}, %${4 * t + 2}, %${4 * t + 3}, "
                 //@end
                 "%${4 * last}, %${4 * last + 1}, %${4 * last + 2}, %${4 * last + 3}}, "
                 "{%${half}, %${half + 1}, %${half + 2}, %${half + 3}}, "
                 //@if dtype == bf16 || dtype == f16
                 "b, accumulate, 1, 1, %${half + 6};\n\t"
                 //@else
                 "b, accumulate, 1, 1;\n\t" // tf32 is k-major always
                 //@end
                 "}"
                 :
                 //@for t in 0..last
                 //@let e0 4 * t
                 //@let e1 4 * t + 1
                 //@let e2 4 * t + 2
                 //@let e3 4 * t + 3
                 "+f"(d[$e0]), "+f"(d[$e1]), "+f"(d[$e2]), "+f"(d[$e3]),
                 //@end
                 //@let e0 4 * last
                 //@let e1 4 * last + 1
                 //@let e2 4 * last + 2
                 //@let e3 4 * last + 3
                 "+f"(d[$e0]), "+f"(d[$e1]), "+f"(d[$e2]), "+f"(d[$e3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "r"(accumulate),
                   "n"(kTransposeB)
                 : "memory");
}

//@end
//@end
// clang-format on
