// Types, constants and conversions. Nothing is included: NVRTC reads this text and no header.
using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;
using uint64 = unsigned long long;

#define INFINITY __int_as_float(0x7f800000) // as <math.h> would define it

// Strides of a (batch, head, seq, dim) view in elements; dim is contiguous. 64 bits, since
// batch * heads * seq * dim passes 2^31 for tensors people do use.
struct Strides {
    int64 batch;
    int64 head;
    int64 seq;
};

//@if dtype == bf16
// bf16: the upper half of an fp32.
struct element {
    uint16 bits;
};

__device__ __forceinline__ float to_f32(element x)
{
    return __uint_as_float(uint32(x.bits) << 16);
}

// Rounds to nearest even in integer arithmetic, so that it works before sm_80 too.
__device__ __forceinline__ element to_element(float x)
{
    const uint32 bits = __float_as_uint(x);
    const uint32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return element{uint16(x != x ? 0x7fff : rounded)}; // a NaN must not round to infinity
}
//@elif dtype == f16
// fp16 (IEEE binary16).
struct element {
    uint16 bits;
};

__device__ __forceinline__ float to_f32(element x)
{
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
}

__device__ __forceinline__ element to_element(float x) // rounds to nearest even
{
    element narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(x));
    return narrow;
}
//@else
using element = float;

__device__ __forceinline__ float to_f32(element x)
{
    return x;
}

__device__ __forceinline__ element to_element(float x)
{
    return x;
}
//@end

// 2^x, to 2 units in the last place; 2^-inf = 0.
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
