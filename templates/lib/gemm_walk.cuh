// What a CTA of gemm_sm90 works on, one piece after the other: a tile, or some of its k steps.

struct Range {
    int begin;
    int end; // in steps
};

struct Piece {
    int tile;
    Range range;
};

//@if streamk
constexpr int kLeastSteps = 4; // along k, of a piece

// Where the share of a cluster begins, in steps counted over all shared tiles. Both producer and
// warpgroups ask, and clusters for their neighbours: it depends on the launch alone.
__device__ __forceinline__ int share_begin(const Shape &shape, int cluster)
{
    if (shape.whole == shape.tiles)
        return 0;
    const int64 all = int64(shape.tiles - shape.whole) * shape.steps;
    const int begin = int(all * cluster / int(gridDim.x / kClusterSize));
    const int before = begin % shape.steps; // steps of the tile that others have
    if (before < kLeastSteps)
        return begin - before;
    if (shape.steps - before < kLeastSteps)
        return begin - before + shape.steps;
    return begin;
}

//@end
// The pieces of a CTA, in their order.
struct Walk {
    //@if streamk
    int share_first;
    int share_last; // one beyond; both in steps over the shared tiles
    //@end
    int tile; // the next whole one
    //@if splitk
    Range range;
    //@end

    __device__ __forceinline__ Walk(const Shape &shape, int rank)
    {
        tile = blockIdx.x / kClusterSize;
        //@if splitk
        range = {int(int64(shape.steps) * rank / kClusterSize),
                 int(int64(shape.steps) * (rank + 1) / kClusterSize)};
        //@end
        //@if streamk
        share_first = share_begin(shape, tile);
        share_last = share_begin(shape, tile + 1);
        //@end
    }

    __device__ __forceinline__ bool next(const Shape &shape, Piece &piece)
    {
        //@if streamk
        if (share_first < share_last) {
            const int shared = (share_last - 1) / shape.steps;
            const int start = shared * shape.steps;
            piece = {shape.whole + shared, {max(share_first - start, 0), share_last - start}};
            share_last = start + piece.range.begin;
            return true;
        }
        if (tile >= shape.whole)
            return false;
        //@else
        if (tile >= shape.tiles)
            return false;
        //@end
        //@if splitk
        piece = {tile, range};
        //@else
        piece = {tile, {0, shape.steps}};
        //@end
        tile += gridDim.x / kClusterSize;
        return true;
    }
};
//@if streamk

// The workspace.
struct Handover {
    float4 *sums;  // [CTAs][warpgroups][block_n / 8][128]
    uint64 *ready; // [CTAs][warpgroups]
};

// In `ready` when the sums are there, and taken back by who has seen it. As the workspace holds
// anything before its first launch, it is a value that hardly comes about: two NaNs that no
// arithmetic makes, side by side.
constexpr uint64 kReady = 0x7fb1c35a7fa6e0d9;

// What this thread and, before a barrier, its neighbours have written is seen by whoever reads the
// word with load_acquire.
__device__ __forceinline__ void store_release(uint64 *word, uint64 value)
{
    asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(word), "l"(value) : "memory");
}

__device__ __forceinline__ uint64 load_acquire(const uint64 *word)
{
    uint64 value;
    asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(word) : "memory");
    return value;
}

// Leaves a warpgroup's sums for the CTA that ends the tile.
__device__ __forceinline__ void leave_sums(const Handover &handover, int warpgroup,
                                           const float (&sums)[kBlockN / 2])
{
    const int slot = blockIdx.x * kWarpgroups + warpgroup;
    float4 *const mine = handover.sums + int64(slot) * (kBlockN / 8 * 128) + threadIdx.x % 128;
#pragma unroll
    for (int t = 0; t < kBlockN / 8; ++t)
        mine[t * 128] = {sums[4 * t], sums[4 * t + 1], sums[4 * t + 2], sums[4 * t + 3]};
    __threadfence();
    named_barrier_sync(1 + warpgroup, 128);
    if (threadIdx.x % 128 == 0)
        store_release(handover.ready + slot, kReady);
}

// Adds what the clusters before this one have left of the tile, the nearest first.
__device__ __forceinline__ void add_sums(const Handover &handover, const Shape &shape,
                                         const Piece &piece, int warpgroup,
                                         float (&sums)[kBlockN / 2])
{
    const int start = (piece.tile - shape.whole) * shape.steps;
    int cluster = blockIdx.x / kClusterSize;
    int begin = start + piece.range.begin; // of what has been added
#pragma unroll 1
    while (begin > start) {
        cluster -= 1;
        const int next = share_begin(shape, cluster);
        if (next == begin) // nothing was left for it
            continue;
        begin = next;
        const int cta = cluster * kClusterSize + blockIdx.x % kClusterSize;
        const int slot = cta * kWarpgroups + warpgroup;
        if (threadIdx.x % 128 == 0) {
            while (load_acquire(handover.ready + slot) != kReady) {
            }
            handover.ready[slot] = 0;
        }
        named_barrier_sync(1 + warpgroup, 128);
        const float4 *const theirs =
            handover.sums + int64(slot) * (kBlockN / 8 * 128) + threadIdx.x % 128;
#pragma unroll
        for (int t = 0; t < kBlockN / 8; ++t) {
            const float4 part = __ldcg(&theirs[t * 128]);
            sums[4 * t] += part.x;
            sums[4 * t + 1] += part.y;
            sums[4 * t + 2] += part.z;
            sums[4 * t + 3] += part.w;
        }
    }
}
//@end
