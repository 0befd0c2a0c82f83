// The last step of every matrix product: what happens to a sum before it is an element of C.

//@if out == bf16
// An element of C: bf16, the upper half of an fp32.
struct out_element {
    uint16 bits;
};

__device__ __forceinline__ float out_to_f32(out_element x)
{
    return __uint_as_float(uint32(x.bits) << 16);
}

// Rounds to nearest even in integer arithmetic, so that it works before sm_80 too.
__device__ __forceinline__ out_element to_out(float x)
{
    const uint32 bits = __float_as_uint(x);
    const uint32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return out_element{uint16(x != x ? 0x7fff : rounded)}; // a NaN must not round to infinity
}
//@elif out == f16
// An element of C: fp16.
struct out_element {
    uint16 bits;
};

__device__ __forceinline__ float out_to_f32(out_element x)
{
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
}

__device__ __forceinline__ out_element to_out(float x) // rounds to nearest even
{
    out_element narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(x));
    return narrow;
}
//@else
using out_element = float; // an element of C

__device__ __forceinline__ float out_to_f32(out_element x)
{
    return x;
}

__device__ __forceinline__ out_element to_out(float x)
{
    return x;
}
//@end

struct Epilogue {
    float alpha;
    //@if beta
    float beta;
    //@end
    //@if bias
    const out_element *bias; // [n]
    //@end
};

// The element of C that lies at `c`, in column `column`, from its sum of products.
__device__ __forceinline__ float epilogue(const Epilogue &e, float sum, const out_element *c,
                                          int column)
{
    float x = e.alpha * sum;
    //@if beta
    if (e.beta != 0.0f) // as in BLAS, C is not read then: what lies there may be NaN
        x = fmaf(e.beta, out_to_f32(*c), x);
    //@end
    //@if bias
    x += out_to_f32(e.bias[column]);
    //@end
    //@if act == relu
    return x < 0.0f ? 0.0f : x; // keeps NaN
    //@elif act == gelu
    return 0.5f * x * (1.0f + erff(x * 0.70710678f)); // x Phi(x), the exact form
    //@elif act == silu
    return x / (1.0f + exp2_fast(-1.4426950409f * x)); // x / (1 + exp(-x))
    //@else
    return x;
    //@end
}

// C, as the launch gives it.
struct OutputMatrix {
    out_element *data;
    int64 batch; // strides in elements
    int64 row;
};

// C of one batch entry. Rows and columns from m and n on do not exist.
struct Output {
    out_element *data;
    int64 stride; // elements from row to row
    int m;
    int n;
};

// Two neighbouring elements of a row of C, the left one in an even column.
__device__ __forceinline__ void store_pair(const Epilogue &e, const Output &out, int row,
                                           int column, float left, float right)
{
    if (row >= out.m || column >= out.n)
        return;
    out_element *const c = out.data + row * out.stride + column;
    const out_element first = to_out(epilogue(e, left, c, column));
    if (column + 1 == out.n) {
        *c = first;
        return;
    }
    const out_element second = to_out(epilogue(e, right, c + 1, column + 1));
    //@if out == f32
    //@if align >= 8
    *reinterpret_cast<float2 *>(c) = {first, second};
    //@else
    c[0] = first;
    c[1] = second;
    //@end
    //@elif align >= 4
    *reinterpret_cast<uint32 *>(c) = first.bits | uint32(second.bits) << 16;
    //@else
    c[0] = first;
    c[1] = second;
    //@end
}
