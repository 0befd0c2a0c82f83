// Tensor cores on fp32 operands through mma.sync: tf32 keeps 10 of the 23 bits of a mantissa.
//
// A (16 x 8), B (8 x 8), C (16 x 8), lane = 4 g + t, as a warp holds them:
//     A  a[0]: row g, column t     a[1]: row g+8, column t     a[2], a[3]: the same, column t+4
//     B  b[0]: row t, column g     b[1]: row t+4, column g
//     C  c[0] c[1]: row g, columns 2t 2t+1         c[2] c[3]: row g+8, the same columns

__device__ __forceinline__ uint32 smem_address(const void *pointer)
{
    return uint32(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ float load_shared(uint32 address)
{
    float value;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
    return value;
}

// cvt.rna: rounds to the nearest tf32.
__device__ __forceinline__ uint32 to_tf32(float x)
{
    uint32 y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ void mma_16x8x8(float (&c)[4], const uint32 (&a)[4],
                                           const uint32 (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

//@if math == tf32x3
constexpr float kLargest = 3.4011621e38f; // of tf32: (2 - 2^-10) 2^127

// An operand of the products: every fp32 value as a sum of two tf32 values.
template <int kCount> struct Operand {
    uint32 big[kCount];
    uint32 small[kCount]; // what rounding to `big` left over, rounded in its turn

    // `big` is always finite. An infinity stands in `small`, which meets only the other operand's
    // `big`: that is 0 only where the other value is, and infinity times 0 is NaN.
    __device__ __forceinline__ void set(int i, float x)
    {
        const float finite = fminf(fmaxf(x, -kLargest), kLargest); // a NaN becomes a number too
        big[i] = (__float_as_uint(finite) + 0x1000) & 0xffffe000;  // rounds as cvt.rna does
        small[i] = to_tf32(x - __uint_as_float(big[i]));
    }
};
//@else
// An operand of the products: fp32 values as tf32.
template <int kCount> struct Operand {
    uint32 big[kCount];

    __device__ __forceinline__ void set(int i, float x)
    {
        big[i] = to_tf32(x);
    }
};
//@end

//@if math == tf32x3
// C += A B to about fp32's accuracy takes three products of the halves, the smallest first. The
// fourth, small times small, lies below the rounding of the sum.
constexpr int kProducts = 3;
//@else
constexpr int kProducts = 1;
//@end

// Adds one of the products to C. Each waits for what it adds to: those of other tiles belong
// between two of the same.
__device__ __forceinline__ void multiply_tile(float (&c)[4], const Operand<4> &a,
                                              const Operand<2> &b, int product)
{
    //@if math == tf32x3
    if (product == 0)
        mma_16x8x8(c, a.small, b.big);
    else if (product == 1)
        mma_16x8x8(c, a.big, b.small);
    else
        mma_16x8x8(c, a.big, b.big);
    //@else
    mma_16x8x8(c, a.big, b.big);
    //@end
}
