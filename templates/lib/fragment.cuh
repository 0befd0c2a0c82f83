// Helpers for accumulator fragments (see lib/wgmma.cuh): a row lies in the four lanes of a quad.

__device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}

__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffff, x, 1);
    return x + __shfl_xor_sync(0xffffffff, x, 2);
}

// cvt.rn.{bf16x2,f16x2}: two neighbouring columns, the left one in the lower half.
__device__ __forceinline__ uint32 pack_pair(float left, float right)
{
    uint32 pair;
    //@if dtype == bf16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    //@else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    //@end
    return pair;
}

// A 4 x 4 transpose over a quad: lane q had word q of four rows of 16 bytes, and gets row q.
__device__ __forceinline__ uint4 quad_transpose(uint32 a0, uint32 a1, uint32 a2, uint32 a3)
{
    const bool odd = threadIdx.x & 1;
    const bool high = threadIdx.x & 2;
    // Between neighbours: words {0, 1} or {2, 3} of the rows q % 2 and q % 2 + 2.
    const uint32 b0 = __shfl_xor_sync(0xffffffff, odd ? a0 : a1, 1);
    const uint32 b1 = __shfl_xor_sync(0xffffffff, odd ? a2 : a3, 1);
    const uint32 near0 = odd ? b0 : a0;
    const uint32 near1 = odd ? a1 : b0;
    const uint32 far0 = odd ? b1 : a2;
    const uint32 far1 = odd ? a3 : b1;
    // Between halves of the quad: the other two words of the row that stays.
    const uint32 c0 = __shfl_xor_sync(0xffffffff, high ? near0 : far0, 2);
    const uint32 c1 = __shfl_xor_sync(0xffffffff, high ? near1 : far1, 2);
    return high ? make_uint4(c0, c1, far0, far1) : make_uint4(near0, near1, c0, c1);
}
//@if poly > 0

// 2^x on the FMA pipes, for x <= 128; what is below 2^-127 becomes 0. The MUFU computes 16 of
// these per clock and SM, the tensor cores ask for more when head_dim is small.
//
// x = n + f with n integer and |f| <= 1/2; 2^f by a polynomial, relative error 1.0e-4 (P is rounded
// to 2^-9 or 2^-12 anyway); n goes into the exponent. 2^0 is exactly 1, so that x = -127, to which
// smaller x are raised, gives the bits of 1.0 minus 127 in the exponent: exactly 0.
__device__ __forceinline__ float exp2_poly(float product, float scale, float offset)
{
    // Saturation to [0, 1] costs nothing: (x + 127) / 256.
    const float u = __saturatef(fmaf(product, scale, offset));
    constexpr float kRound = 12582912.0f; // 1.5 * 2^23: the sum's last bit is worth 1
    const float shifted = fmaf(u, 256.0f, kRound - 127.0f);
    const float n = shifted - (kRound - 127.0f); // n + 127
    const float f = fmaf(u, 256.0f, -n);
    float y = fmaf(f, 0.0550091558f, 0.2422109709f);
    y = fmaf(f, y, 0.6932828865f);
    y = fmaf(f, y, 1.0f);
    return __int_as_float(__float_as_int(y) + (__float_as_int(shifted) << 23));
}
//@end
