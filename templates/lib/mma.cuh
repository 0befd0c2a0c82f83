// Tensor cores through mma.sync: C += A B with 16-bit A (16 x 16) and B (16 x 8), fp32 C (16 x 8).
//
// How a warp holds them, lane = 4 g + t; a register of A or B holds two 16-bit values:
//     A  a[0]: row g,   columns 2t 2t+1    a[2]: row g,   columns 2t+8 2t+9
//        a[1]: row g+8, columns 2t 2t+1    a[3]: row g+8, columns 2t+8 2t+9
//     B  b0: rows 2t 2t+1, column g        b1: rows 2t+8 2t+9, column g
//     C  c[0] c[1]: row g, columns 2t 2t+1         c[2] c[3]: row g+8, the same columns
// So two C tiles side by side, rounded to 16 bits, are an A tile in the very same lanes: P = exp(S)
// becomes an operand without moving between lanes.
__device__ __forceinline__ void mma_16x8x16(float *c, const uint32 (&a)[4], uint32 b0, uint32 b1)
{
    //@if mma_k == 8
    // sm_75 multiplies 8 deep: the left half of A by the upper half of B, then the other halves.
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b1));
    //@elif dtype == bf16
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    //@else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    //@end
}

// Two fp32 rounded to 16 bits in one register, `low` in the lower half.
__device__ __forceinline__ uint32 pack(float low, float high)
{
    uint32 packed;
    //@if mma_k == 8
    asm("{\n"
        ".reg .f16 l, h;\n"
        "cvt.rn.f16.f32 l, %1;\n"
        "cvt.rn.f16.f32 h, %2;\n"
        "mov.b32 %0, {l, h};\n"
        "}"
        : "=r"(packed)
        : "f"(low), "f"(high));
    //@elif dtype == bf16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    //@else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    //@end
    return packed;
}

__device__ __forceinline__ uint32 smem_address(const void *pointer)
{
    return uint32(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 tiles of 16-bit values from shared memory. Lane i gives the address of row i % 8 of
// tile i / 8 (16 bytes, aligned); r[k] gets tile k: row g, columns 2t 2t+1.
__device__ __forceinline__ void ldmatrix_x4(uint32 (&r)[4], uint32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// The transposes of four 8 x 8 tiles. Lane i gives the address of row i % 8 of tile i / 8 as it
// lies in shared memory (16 bytes, aligned); r[k] gets tile k transposed: rows 2t 2t+1, column g.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32 (&r)[4], uint32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
