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

//@if tma_store && turned
//@include lib/stmatrix.cuh

// Writes the 64 columns of C that a warpgroup has by way of shared memory, one panel of some rows
// of C after the other. `turn` is the buffer to fill next.
// clang-format off
__device__ __forceinline__ void store_tile(const Shared &smem, const TensorMap &c_map,
                                           const Epilogue &e,
                                           //@if direct
                                           const Output &out,
                                           //@end
                                           const Tile &tile, int warpgroup, int &turn,
                                           const float (&sums)[kBlockN / 2])
// clang-format on
{
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32 % 4;
    const int column0 = tile.row0 + 64 * warpgroup;
    // stmatrix stores four 8 x 8 matrices, transposed: of two times 8 rows of C the columns 0-7 and
    // 8-15 of the warp. Lane i gives the address of row i % 8 of matrix i / 8.
    const uint32 lane_at = lane / 16 * (8 * kPanelRow) + lane % 8 * kPanelRow +
                           ((2 * warp + lane / 8 % 2) ^ lane % 8) * 16;
    constexpr int kPanels = (kBlockN + kPanelRows - 1) / kPanelRows;
    constexpr int kBlocks = kPanelRows / 8; // of 8 rows of C
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
        // The last panel may repeat rows of the one before.
        const int first = min(panel * kPanelRows, kBlockN - kPanelRows);
        const uint32 buffer = smem.c(warpgroup) + turn * kPanel;
        turn ^= 1;
        if (threadIdx.x % 128 == 0)
            tma_store_wait_read<1>(); // the panel before the last has left this buffer
        named_barrier_sync(1 + warpgroup, 128);
#pragma unroll
        for (int pair = 0; pair < (kBlocks + 1) / 2; ++pair) {
            const int t = min(2 * pair, kBlocks - 2);
            uint32 words[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int at = 4 * (first / 8 + t + i / 2) + i % 2 * 2;
                //@if beta || bias
                const int row = tile.column0 + first + 8 * (t + i / 2) + lane % 4 * 2;
                const int column = column0 + 16 * warp + lane / 4 + i % 2 * 8;
                words[i] = finish_pair(e, out, row, column, sums[at], sums[at + 1]);
                //@else
                words[i] = pack_out(epilogue(e, sums[at], nullptr, 0),
                                    epilogue(e, sums[at + 1], nullptr, 0));
                //@end
            }
            stmatrix_trans_x4(buffer + lane_at + t * (8 * kPanelRow), words);
        }
        fence_proxy_async();
        named_barrier_sync(1 + warpgroup, 128);
        if (threadIdx.x % 128 == 0) {
            tma_store(c_map, buffer, column0, tile.column0 + first, tile.batch);
            tma_store_commit();
        }
    }
}
//@elif tma_store
//@include lib/stmatrix.cuh

// Writes 64 rows of C by way of shared memory, one panel of 64 columns after the other. `turn` is
// the buffer to fill next.
// clang-format off
__device__ __forceinline__ void store_tile(const Shared &smem, const TensorMap &c_map,
                                           const Epilogue &e,
                                           //@if direct
                                           const Output &out,
                                           //@end
                                           const Tile &tile, int warpgroup, int &turn,
                                           const float (&sums)[kBlockN / 2])
// clang-format on
{
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32 % 4;
    const int row0 = tile.row0 + 64 * warpgroup;
    // stmatrix stores four 8 x 8 matrices: rows 0-7 and 8-15 of the warp, of two column blocks.
    // Lane i gives the address of row i % 8 of matrix i / 8.
    const uint32 lane_row = (16 * warp + lane % 16) * kPanelRow;
#pragma unroll
    for (int panel = 0; panel < kBlockN / 64; ++panel) {
        const uint32 buffer = smem.c(warpgroup) + turn * kPanel;
        turn ^= 1;
        if (threadIdx.x % 128 == 0)
            tma_store_wait_read<1>(); // the panel before the last has left this buffer
        named_barrier_sync(1 + warpgroup, 128);
#pragma unroll
        for (int t = 0; t < 8; t += 2) { // pairs of 8 columns
            uint32 words[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int at = 4 * (8 * panel + t) + 2 * i;
                //@if beta || bias
                const int row = row0 + 16 * warp + lane / 4 + i % 2 * 8;
                const int column = tile.column0 + 64 * panel + 8 * (t + i / 2) + lane % 4 * 2;
                words[i] = finish_pair(e, out, row, column, sums[at], sums[at + 1]);
                //@else
                words[i] = pack_out(epilogue(e, sums[at], nullptr, 0),
                                    epilogue(e, sums[at + 1], nullptr, 0));
                //@end
            }
            stmatrix_x4(buffer + lane_row + ((t + lane / 16) ^ lane % 8) * 16, words);
        }
        fence_proxy_async();
        named_barrier_sync(1 + warpgroup, 128);
        if (threadIdx.x % 128 == 0) {
            tma_store(c_map, buffer, tile.column0 + 64 * panel, row0, tile.batch);
            tma_store_commit();
        }
    }
    //@if block_n % 64 != 0
    // What is left is no whole panel: straight from registers.
#pragma unroll
    for (int t = kBlockN / 64 * 8; t < kBlockN / 8; ++t) {
        const int row = row0 + 16 * warp + lane / 4;
        const int column = tile.column0 + 8 * t + lane % 4 * 2;
        store_four(e, out, row, column, sums + 4 * t);
    }
    //@end
}
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
