// How C leaves gemm_sm90 by the tensor memory accelerator: each warpgroup writes its part of the
// tile to shared memory in panels, rows of 64 elements of C, swizzled as rows of 128 bytes.
//@include lib/stmatrix.cuh

//@if turned
constexpr int kPanels = (kBlockN + kPanelRows - 1) / kPanelRows; // of a warpgroup

// The first row of C in a panel, counted from the tile's. The last panel may repeat rows of the one
// before.
__device__ __forceinline__ int panel_row(int panel)
{
    return min(panel * kPanelRows, kBlockN - kPanelRows);
}

// Writes a panel: some rows of C, the 64 columns that the warpgroup has.
// clang-format off
__device__ __forceinline__ void fill_panel(uint32 buffer, int panel, const Epilogue &e,
                                           //@if beta || bias
                                           const Output &out, const Tile &tile, int warpgroup,
                                           //@end
                                           const float (&sums)[kBlockN / 2])
// clang-format on
{
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32 % 4;
    const int first = panel_row(panel);
    // stmatrix stores four 8 x 8 matrices, transposed: of two times 8 rows of C the columns 0-7 and
    // 8-15 of the warp. Lane i gives the address of row i % 8 of matrix i / 8.
    const uint32 lane_at = lane / 16 * (8 * kPanelRow) + lane % 8 * kPanelRow +
                           ((2 * warp + lane / 8 % 2) ^ lane % 8) * 16;
    constexpr int kBlocks = kPanelRows / 8; // of 8 rows of C
#pragma unroll
    for (int pair = 0; pair < (kBlocks + 1) / 2; ++pair) {
        const int t = min(2 * pair, kBlocks - 2);
        uint32 words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = 4 * (first / 8 + t + i / 2) + i % 2 * 2;
            //@if beta || bias
            const int row = tile.column0 + first + 8 * (t + i / 2) + lane % 4 * 2;
            const int column = tile.row0 + 64 * warpgroup + 16 * warp + lane / 4 + i % 2 * 8;
            words[i] = finish_pair(e, out, row, column, sums[at], sums[at + 1]);
            //@else
            words[i] =
                pack_out(epilogue(e, sums[at], nullptr, 0), epilogue(e, sums[at + 1], nullptr, 0));
            //@end
        }
        stmatrix_trans_x4(buffer + lane_at + t * (8 * kPanelRow), words);
    }
}
//@else
constexpr int kPanels = kBlockN / 64; // of a warpgroup

// Writes a panel: 64 columns of the 64 rows of C that the warpgroup has.
// clang-format off
__device__ __forceinline__ void fill_panel(uint32 buffer, int panel, const Epilogue &e,
                                           //@if beta || bias
                                           const Output &out, const Tile &tile, int warpgroup,
                                           //@end
                                           const float (&sums)[kBlockN / 2])
// clang-format on
{
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32 % 4;
    // stmatrix stores four 8 x 8 matrices: rows 0-7 and 8-15 of the warp, of two column blocks.
    // Lane i gives the address of row i % 8 of matrix i / 8.
    const uint32 lane_row = (16 * warp + lane % 16) * kPanelRow;
#pragma unroll
    for (int t = 0; t < 8; t += 2) { // pairs of 8 columns
        uint32 words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = 4 * (8 * panel + t) + 2 * i;
            //@if beta || bias
            const int row = tile.row0 + 64 * warpgroup + 16 * warp + lane / 4 + i % 2 * 8;
            const int column = tile.column0 + 64 * panel + 8 * (t + i / 2) + lane % 4 * 2;
            words[i] = finish_pair(e, out, row, column, sums[at], sums[at + 1]);
            //@else
            words[i] =
                pack_out(epilogue(e, sums[at], nullptr, 0), epilogue(e, sums[at + 1], nullptr, 0));
            //@end
        }
        stmatrix_x4(buffer + lane_row + ((t + lane / 16) ^ lane % 8) * 16, words);
    }
}
//@end

// One thread: copies a panel to C, in the background.
__device__ __forceinline__ void store_panel(const TensorMap &c_map, uint32 buffer, const Tile &tile,
                                            int warpgroup, int panel)
{
    //@if turned
    tma_store(c_map, buffer, tile.row0 + 64 * warpgroup, tile.column0 + panel_row(panel),
              tile.batch);
    //@else
    tma_store(c_map, buffer, tile.column0 + 64 * panel, tile.row0 + 64 * warpgroup, tile.batch);
    //@end
}
//@if turns

// One thread: copies what the warpgroups write of a tile, one after the other. `turn` is the parity
// of the tile, counted from the CTA's first.
__device__ __forceinline__ void copy_tile(const Shared &smem, const TensorMap &c_map,
                                          const Tile &tile, int turn)
{
#pragma unroll 1
    for (int warpgroup = 0; warpgroup < kWarpgroups; ++warpgroup) {
        mbarrier_wait(smem.filled(warpgroup), turn);
#pragma unroll
        for (int panel = 0; panel < kPanels; ++panel)
            store_panel(c_map, smem.c(panel), tile, warpgroup, panel);
        tma_store_commit();
        tma_store_wait_read<0>();
        mbarrier_arrive(smem.vacant(warpgroup ^ 1));
    }
}

// Writes a warpgroup's part of the tile to the panels that both share.
// clang-format off
__device__ __forceinline__ void fill_panels(const Shared &smem, const Epilogue &e,
                                            //@if beta || bias
                                            const Output &out, const Tile &tile,
                                            //@end
                                            int warpgroup, int turn,
                                            const float (&sums)[kBlockN / 2])
// clang-format on
{
    // The other warpgroup's have been copied; the very first time there are none.
    mbarrier_wait(smem.vacant(warpgroup), warpgroup == 0 ? turn ^ 1 : turn);
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
        //@if beta || bias
        fill_panel(smem.c(panel), panel, e, out, tile, warpgroup, sums);
        //@else
        fill_panel(smem.c(panel), panel, e, sums);
        //@end
    }
    fence_proxy_async();
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        mbarrier_arrive(smem.filled(warpgroup));
}
//@else

// Writes a warpgroup's part of the tile and sends it off, panel by panel. `turn` is the buffer to
// fill next.
// clang-format off
__device__ __forceinline__ void send_panels(const Shared &smem, const TensorMap &c_map,
                                            const Epilogue &e,
                                            //@if beta || bias
                                            const Output &out,
                                            //@end
                                            const Tile &tile, int warpgroup, int &turn,
                                            const float (&sums)[kBlockN / 2])
// clang-format on
{
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
        const uint32 buffer = smem.c(warpgroup) + turn * kPanel;
        turn ^= 1;
        if (threadIdx.x % 128 == 0)
            tma_store_wait_read<1>(); // the panel before the last has left this buffer
        named_barrier_sync(1 + warpgroup, 128);
        //@if beta || bias
        fill_panel(buffer, panel, e, out, tile, warpgroup, sums);
        //@else
        fill_panel(buffer, panel, e, sums);
        //@end
        fence_proxy_async();
        named_barrier_sync(1 + warpgroup, 128);
        if (threadIdx.x % 128 == 0) {
            store_panel(c_map, buffer, tile, warpgroup, panel);
            tma_store_commit();
        }
    }
}
//@end
