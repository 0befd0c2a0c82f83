// Shared memory of a CTA of the Hopper attention kernel, and the warp that fills it. Needs
// lib/attn_tiles.cuh, lib/mbarrier.cuh, lib/tma.cuh, lib/shared.cuh.

constexpr int kWarpgroups = kBlockM / 64;       // that compute
constexpr int kDepth = (kHeadDim + 15) / 16;    // k steps of Q K^T; TMA pads with zeros
constexpr int kPanels = (kHeadDim + 63) / 64;   // of Q and K: 64 columns, 128 bytes
constexpr int kPanelsV = (kHeadDimV + 63) / 64; // of V
constexpr int kPanelRow = 128;                  // bytes of a row in a panel
constexpr int kWarps = 4 * kWarpgroups;         // that compute
//@if cluster > 1
constexpr int kReaders = kCluster * kWarps; // warps that arrive at an "empty" barrier of K or V
//@else
constexpr int kReaders = kWarps; // warps that arrive at an "empty" barrier
//@end

// Shared memory, in bytes from its start, which is a multiple of 1024 as the swizzle wants.
constexpr int kBytesQ = kPanels * 64 * kPanelRow;       // rows of one warpgroup
constexpr int kBytesK = kPanels * kBlockN * kPanelRow;  // one stage
constexpr int kBytesV = kPanelsV * kBlockN * kPanelRow; // one stage
constexpr int kOffsetK = kWarpgroups * kBytesQ;
constexpr int kOffsetV = kOffsetK + kStages * kBytesK;
//@if tiles == one
constexpr int kOffsetBarriers = kOffsetV + kStages * kBytesV;
//@else
constexpr int kOffsetTiles = kOffsetV + kStages * kBytesV;
constexpr int kTileBytes = 32; // one slot
constexpr int kOffsetBarriers = kOffsetTiles + 2 * kTileBytes;
//@end

// Barriers, 8 bytes each, from kOffsetBarriers on.
constexpr int kFullQ = 0; // per warpgroup
constexpr int kEmptyQ = kFullQ + kWarpgroups;
constexpr int kFullK = kEmptyQ + kWarpgroups; // per stage
constexpr int kEmptyK = kFullK + kStages;
constexpr int kFullV = kEmptyK + kStages;
constexpr int kEmptyV = kFullV + kStages;
//@if seqlens_k
constexpr int kTailV = kEmptyV + kStages; // a V tile with rows past the sequence has arrived
constexpr int kRingsEnd = kTailV + kStages;
//@else
constexpr int kRingsEnd = kEmptyV + kStages;
//@end
//@if tiles == one
constexpr int kBarriers = kRingsEnd;
//@else
constexpr int kFullTile = kRingsEnd; // per slot
constexpr int kEmptyTile = kFullTile + 2;
constexpr int kBarriers = kEmptyTile + 2;
//@end
static_assert(kOffsetBarriers + 8 * kBarriers == kSmemBytes, "host and kernel agree");

// Addresses of a CTA's shared memory.
struct Shared {
    uint32 base;

    __device__ __forceinline__ uint32 q(int warpgroup) const
    {
        return base + warpgroup * kBytesQ;
    }
    __device__ __forceinline__ uint32 k(int stage) const
    {
        return base + kOffsetK + stage * kBytesK;
    }
    __device__ __forceinline__ uint32 v(int stage) const
    {
        return base + kOffsetV + stage * kBytesV;
    }
    //@if tiles != one
    __device__ __forceinline__ uint32 tile(int slot) const
    {
        return base + kOffsetTiles + slot * kTileBytes;
    }
    //@end
    __device__ __forceinline__ uint32 barrier(int which) const
    {
        return base + kOffsetBarriers + 8 * which;
    }
};

// The producer: one warp, of which one lane talks to the copy engine.
struct Producer {
    Shared smem;
    const TensorMap &q_map; // (head_dim, group, seq_q, heads_kv, batch): rows of one warpgroup
    //@if cluster > 1
    const TensorMap &k_map; // (head_dim, seq_k, heads_kv, batch): box of a CTA's share of a block
    //@else
    const TensorMap &k_map; // (head_dim, seq_k, heads_kv, batch): box of a block
    //@end
    const TensorMap &v_map; // (head_dim_v, seq_k, heads_kv, batch)
    int lane;
    Ring<kStages> k_ring;
    Ring<kStages> v_ring;
    uint32 q_parity;
    //@if seqlens_k
    uint32 tail_parities; // bit per stage
    //@end

    // One lane: fetches a block of K or V, panel by panel. `full` receives all of its bytes.
    //@if cluster > 1
    // Each CTA of the cluster fetches a share of the rows, for all of them.
    //@end
    __device__ __forceinline__ void fetch(uint32 to, const TensorMap &map, uint32 full, int bytes,
                                          const Shape &shape, const Tile &tile, int key)
    {
        mbarrier_arrive_expect(full, bytes);
        //@if cluster > 1
        constexpr int kShare = kBlockN / kCluster;
        constexpr uint16 kAll = (1 << kCluster) - 1;
        const int row = cluster_rank() * kShare;
        for (int p = 0; p < bytes / (kBlockN * kPanelRow); ++p)
            tma_load_multicast(to + (p * kBlockN + row) * kPanelRow, map, full, kEvictLast, kAll,
                               64 * p, key + row, tile.head / shape.group, tile.batch);
        //@else
        for (int p = 0; p < bytes / (kBlockN * kPanelRow); ++p)
            tma_load(to + p * kBlockN * kPanelRow, map, full, kEvictLast, 64 * p, key,
                     tile.head / shape.group, tile.batch);
        //@end
    }

    __device__ __forceinline__ void load_q(const Shape &shape, const Tile &tile)
    {
        for (int w = 0; w < kWarpgroups; ++w) {
            const uint32 full = smem.barrier(kFullQ + w);
            mbarrier_wait(smem.barrier(kEmptyQ + w), q_parity ^ 1);
            if (lane != 0)
                continue;
            //@if pack_group > 1
            const int query = (tile.row0 + 64 * w) / kPackGroup;
            //@else
            const int query = tile.row0 + 64 * w;
            //@end
            mbarrier_arrive_expect(full, kBytesQ);
            for (int p = 0; p < kPanels; ++p)
                tma_load(smem.q(w) + p * 64 * kPanelRow, q_map, full, kEvictFirst, 64 * p,
                         tile.head % shape.group, query, tile.head / shape.group, tile.batch);
        }
        q_parity ^= 1;
    }

    __device__ __forceinline__ void load_k(const Shape &shape, const Tile &tile, int block)
    {
        const uint32 full = smem.barrier(kFullK + k_ring.slot);
        mbarrier_wait(smem.barrier(kEmptyK + k_ring.slot), k_ring.parity ^ 1);
        if (lane == 0)
            fetch(smem.k(k_ring.slot), k_map, full, kBytesK, shape, tile, block * kBlockN);
        k_ring.advance();
    }

    __device__ __forceinline__ void load_v(const Shape &shape, const Tile &tile, int block)
    {
        uint32 full = smem.barrier(kFullV + v_ring.slot);
        mbarrier_wait(smem.barrier(kEmptyV + v_ring.slot), v_ring.parity ^ 1);
        //@if seqlens_k
        // P is 0 beyond the sequence, but what lies there may be NaN or inf, and 0 * NaN is NaN:
        // these rows of V are zeroed before anyone sees them.
        const int rows = tile.len_k - block * kBlockN;
        const bool tail = rows < kBlockN;
        if (tail)
            full = smem.barrier(kTailV + v_ring.slot);
        //@end
        if (lane == 0)
            fetch(smem.v(v_ring.slot), v_map, full, kBytesV, shape, tile, block * kBlockN);
        //@if seqlens_k
        if (tail) {
            mbarrier_wait(full, tail_parities >> v_ring.slot & 1);
            tail_parities ^= 1 << v_ring.slot;
            for (int p = 0; p < kPanelsV; ++p) {
                const uint32 panel = smem.v(v_ring.slot) + p * kBlockN * kPanelRow;
                for (int i = max(rows, 0) * 8 + lane; i < kBlockN * 8; i += 32)
                    store_shared_zeros(panel + 16 * i);
            }
            fence_proxy_async();
            __syncwarp();
            if (lane == 0)
                mbarrier_arrive(smem.barrier(kFullV + v_ring.slot));
        }
        //@end
        v_ring.advance();
    }
};
