//@const  threads  per CTA
//@switch dtype f16|bf16|f32  element type of both
// Where two results of one computation differ by more than their roundings may: what the tuner asks
// of every candidate's output, against the first one that was right.
//@prelude

//@include lib/base.cuh

constexpr int64 kNone = 0x7fffffffffffffff;

struct Difference {
    int64 index; // of the first one, kNone if there is none
    float got;
    float want;
};

// |got - want| may be `unit` times the larger of |want| and `size`, which is what values of the
// tensor measure: a sum that happens to be near zero has the roundings of its large terms. A NaN
// agrees with a NaN alone.
__device__ __forceinline__ bool differs(float got, float want, float unit, float size)
{
    const float allowed = unit * fmaxf(fabsf(want), size);
    return !(fabsf(got - want) <= allowed) && !(got != got && want != want) && got != want;
}

// A thread looks at every (grid * threads)-th element; a CTA writes the first difference it saw.
extern "C" __global__ void __launch_bounds__(kThreads)
    $kernel_name(const element *got,  // compact
                 const element *want, // the same elements
                 int64 count,         // of them
                 float unit,          // see differs()
                 float size,          // likewise
                 Difference *found)   // one per CTA
{
    __shared__ int64 first[kThreads];
    const int64 stride = int64(gridDim.x) * kThreads;
    int64 mine = kNone;
    for (int64 i = int64(blockIdx.x) * kThreads + threadIdx.x; i < count && mine == kNone;
         i += stride)
        if (differs(to_f32(got[i]), to_f32(want[i]), unit, size))
            mine = i;
    first[threadIdx.x] = mine;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
        if (int(threadIdx.x) < half && first[threadIdx.x + half] < first[threadIdx.x])
            first[threadIdx.x] = first[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x > 0)
        return;
    const int64 at = first[0];
    const bool any = at != kNone;
    found[blockIdx.x] = Difference{at, any ? to_f32(got[at]) : 0, any ? to_f32(want[at]) : 0};
}
