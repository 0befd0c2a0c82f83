// How a warpgroup's sums leave gemm_sm90: [64, block_n] fp32 in the accumulator layout of
// lib/wgmma.cuh.

//@if turned
// The sum of one element of C.
__device__ __forceinline__ void store_element(const Epilogue &e, const Output &out, int row,
                                              int column, float sum)
{
    if (row >= out.m || column >= out.n)
        return;
    out_element *const c = out.data + row * out.stride + column;
    *c = to_out(epilogue(e, sum, c, column));
}

//@end
// Four sums of a thread, those of 8 columns of the tile: two pairs, 8 rows apart. `row` and
// `column` are those of the first, in the tile's terms.
__device__ __forceinline__ void store_four(const Epilogue &e, const Output &out, int row,
                                           int column, const float *sums)
{
    //@if turned
    store_element(e, out, column, row, sums[0]);
    store_element(e, out, column + 1, row, sums[1]);
    store_element(e, out, column, row + 8, sums[2]);
    store_element(e, out, column + 1, row + 8, sums[3]);
    //@else
    store_pair(e, out, row, column, sums[0], sums[1]);
    store_pair(e, out, row + 8, column, sums[2], sums[3]);
    //@end
}

//@if tma_store
//@include lib/gemm_panels.cuh
//@if !turned && block_n % 64 != 0

// Columns of the tile that fill no panel: straight from registers.
__device__ __forceinline__ void store_rest(const Epilogue &e, const Output &out, const Tile &tile,
                                           int warpgroup, const float (&sums)[kBlockN / 2])
{
    const int lane = threadIdx.x % 32;
    const int row = tile.row0 + 64 * warpgroup + threadIdx.x / 32 % 4 * 16 + lane / 4;
#pragma unroll
    for (int t = kPanels * 8; t < kBlockN / 8; ++t) {
        const int column = tile.column0 + 8 * t + lane % 4 * 2;
        store_four(e, out, row, column, sums + 4 * t);
    }
}
//@end
//@elif splitk
//@include lib/cluster_sum.cuh

// Adds up the sums of all CTAs of the cluster, each CTA for its share of the columns, and writes C.
__device__ __forceinline__ void store_tile(const Shared &smem, const Epilogue &e, const Output &out,
                                           const Tile &tile, int rank, int warpgroup,
                                           const float (&sums)[kBlockN / 2])
{
    constexpr int kBlocks = kBlockN / 8; // of 8 columns: four sums of every thread
    static_assert(kWarpgroups * kBlocks * 128 * 16 <= kOffsetBarriers, "all sums fit");
    const int thread = threadIdx.x % 128;
    const uint32 mine = smem.base + (warpgroup * kBlocks * 128 + thread) * 16;
    named_barrier_sync(1, 128 * kWarpgroups); // every warpgroup has read the stages
#pragma unroll
    for (int t = 0; t < kBlocks; ++t)
        store_sums(mine + t * (128 * 16), sums + 4 * t);
    cluster_sync();
    const int row = tile.row0 + 64 * warpgroup + thread / 32 * 16 + thread % 32 / 4;
    // All loads are issued before the first is waited for: their way is long.
    constexpr int kShare = kBlocks / kClusterSize;
    float parts[kShare][kClusterSize][4];
#pragma unroll
    for (int t = 0; t < kShare; ++t) {
#pragma unroll
        for (int cta = 0; cta < kClusterSize; ++cta)
            load_sums(parts[t][cta], mine + (rank * kShare + t) * (128 * 16), cta);
    }
#pragma unroll
    for (int t = 0; t < kShare; ++t) {
#pragma unroll
        for (int cta = 1; cta < kClusterSize; ++cta) {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                parts[t][0][i] += parts[t][cta][i];
        }
        const int column = tile.column0 + 8 * (rank * kShare + t) + thread % 4 * 2;
        store_four(e, out, row, column, parts[t][0]);
    }
    cluster_sync(); // the others have read this CTA's sums
}
//@else
// Writes what a warpgroup has of C from registers: a quad writes 32 bytes of a row, or eight lanes
// do so where C is turned.
__device__ __forceinline__ void store_tile(const Epilogue &e, const Output &out, const Tile &tile,
                                           int warpgroup, const float (&sums)[kBlockN / 2])
{
    const int lane = threadIdx.x % 32;
    const int row = tile.row0 + 64 * warpgroup + threadIdx.x / 32 % 4 * 16 + lane / 4;
#pragma unroll
    for (int t = 0; t < kBlockN / 8; ++t) {
        const int column = tile.column0 + 8 * t + lane % 4 * 2;
        store_four(e, out, row, column, sums + 4 * t);
    }
}
//@end
