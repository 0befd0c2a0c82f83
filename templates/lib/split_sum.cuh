// Several CTAs share the depth of one tile.

// The depths of a CTA: whole blocks of k, as many as the others have or one more.
struct Depths {
    int begin;
    int end;
};

__device__ __forceinline__ Depths depths_of(int split, int k)
{
    const int64 blocks = (k + kBlockK - 1) / kBlockK;
    return {int(blocks * split / kSplits) * kBlockK,
            min(k, int(blocks * (split + 1) / kSplits) * kBlockK)};
}

// Leaves this CTA's sums in the workspace. True in all threads of the CTA that came last for its
// tile: then `sums` holds the total of all splits.
template <int kSums>
__device__ __forceinline__ bool add_splits(float *sums, float4 *workspace, unsigned *arrivals,
                                           int tile, int split)
{
    constexpr int64 kPart = kSums / 4 * kThreads; // workspace: [tiles][splits][kSums / 4][threads]
    float4 *const parts = workspace + tile * (kSplits * kPart) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kSums / 4; ++i) {
        const float *const c = sums + 4 * i;
        parts[split * kPart + i * kThreads] = {c[0], c[1], c[2], c[3]};
    }
    __threadfence();
    __syncthreads(); // all sums of this CTA can be seen
    const bool arrived = threadIdx.x == 0 && atomicAdd(&arrivals[tile], 1) == kSplits - 1;
    const bool last = __syncthreads_or(arrived);
    if (!last)
        return false;
    __threadfence();
#pragma unroll 1 // the parts of all splits at once would take too many registers
    for (int s = 0; s < kSplits; ++s) {
#pragma unroll
        for (int i = 0; i < kSums / 4; ++i) {
            const float4 part = __ldcg(&parts[s * kPart + i * kThreads]);
            float *const c = sums + 4 * i;
            c[0] = part.x + (s == 0 ? 0.0f : c[0]);
            c[1] = part.y + (s == 0 ? 0.0f : c[1]);
            c[2] = part.z + (s == 0 ? 0.0f : c[2]);
            c[3] = part.w + (s == 0 ? 0.0f : c[3]);
        }
    }
    return true;
}
