//@const  block_m         rows of C in one tile, 64 per warpgroup that computes
//@const  block_n         columns of C in one tile
//@const  block_k         depth of one stage
//@const  stages          pairs of an A tile and a B tile in shared memory
//@const  group           rows of tiles that are walked together
//@const  threads         per CTA: one warpgroup loads, block_m / 64 compute
//@const  load_registers  of a thread of the loading warpgroup
//@const  math_registers  of a thread that computes
//@const  cluster_m       CTAs below each other in a cluster, which share their B tile
//@const  cluster_n       CTAs beside each other in a cluster, which share their A tile
//@const  cluster_size    CTAs of one cluster
//@const  smem_bytes      dynamic shared memory of one CTA
//@switch dtype f16|bf16  element type of A and B
//@switch out f16|bf16|f32  element type of C and of the bias
//@switch trans_a bool    A is stored as (k, m)
//@switch trans_b bool    B is stored as (n, k)
//@switch bias bool       a vector is added to every row
//@switch beta bool       C is read
//@switch act none|relu|gelu|silu  activation
//@switch cluster int     CTAs of one cluster
//@switch splitk bool     the cluster's CTAs share the depth of one tile
//@switch stagger bool    one warpgroup runs ahead of the other
//@switch align int       bytes that pointers and strides are multiples of
//@require block_m % 64 == 0 && block_n % 16 == 0 && block_n <= 256 && block_k == 64
//@require threads == 128 + 2 * block_m
//@require !stagger || block_m == 128
//@require cluster == cluster_size && (splitk || cluster == cluster_m * cluster_n) && align >= 16
//@let panels_n (block_n + 63) / 64
//@require block_m % ((8 + 56 * trans_a) * cluster_n) == 0
//@require (block_n * trans_b) % (8 * cluster_m) == 0 && (trans_b || panels_n % cluster_m == 0)
//@let wgmma_ss_n block_n
//@let wgmma_rs_n 0
//@let tma_rank_min 3
//@let tma_rank_max 3
//@let tma_store out != f32 && !splitk
//@let multicast cluster > 1 && !splitk
//@let direct !tma_store || beta || bias || block_n % 64 != 0
// C = A B on Hopper. A producer warp keeps a ring of stages filled through the tensor memory
// accelerator (TMA); each computing warpgroup owns 64 rows of the tile and multiplies with wgmma,
// operands in shared memory, sums in registers:
//
//     producer    wait "empty" | A(k), B(k) -> stage | next k ..     and on to the next tile
//     warpgroup   wait "full"  | C += A(k) B(k), in the background | "empty" for k - 1 | ..
//
// One product is always under way while the next is issued. The producer runs ahead into the next
// tile while the warpgroups write C.
//
//@if stagger
// The first warpgroup starts some steps ahead of the second. As both go equally fast, it stays
// ahead: it writes C while the second has the tensor cores to itself, and the other way round.
//
//@end
//@if multicast
// The CTAs of a cluster work on neighbouring tiles. Those below each other need the same B tile,
// those beside each other the same A tile: each fetches a part of it for all, so that L2 is read
// once. A stage is therefore empty only when every CTA of the cluster is done with it.
//@end
//@if splitk
// Few tiles would leave most of the GPU idle, so the CTAs of a cluster share the depth of one tile.
// At its end each leaves its sums in its shared memory and adds up a share of the columns over all
// CTAs, in the order of k: the result does not depend on timing, and no workspace is needed.
//@end
//
// Tiles are stored in panels: rows of 128 bytes, swizzled by TMA as wgmma expects (lib/wgmma.cuh).
// Rows of a panel run along m or n where k is contiguous in memory, else along k.
//@prelude

//@include lib/base.cuh
//@include lib/epilogue.cuh
//@include lib/mbarrier.cuh
//@include lib/tma.cuh
//@include lib/wgmma.cuh
//@include lib/gemm.cuh

constexpr int kWarpgroups = kBlockM / 64; // that compute
constexpr int kPanelRow = 128;            // bytes of a row in a panel: 64 elements
constexpr int kPanel = 64 * kPanelRow;    // bytes of 64 rows

// Shared memory, in bytes from its start, which is a multiple of 1024 as the swizzle wants.
constexpr int kBytesA = kBlockM * kPanelRow;
//@if trans_b
constexpr int kLoadN = kBlockN; // columns of C whose part of B is fetched
//@else
constexpr int kLoadN = (kBlockN + 63) / 64 * 64; // columns of C whose part of B is fetched
//@end
constexpr int kBytesB = kLoadN * kPanelRow;
constexpr int kBytesStage = kBytesA + kBytesB;
constexpr int kOffsetC = kStages * kBytesStage;
//@if tma_store
constexpr int kBuffersC = 2; // per warpgroup: while one is copied out, the other is filled
constexpr int kOffsetBarriers = kOffsetC + kWarpgroups * kBuffersC * kPanel;
//@else
constexpr int kOffsetBarriers = kOffsetC;
//@end
static_assert(kOffsetBarriers + 2 * 8 * kStages == kSmemBytes, "host and kernel agree");

// Whether k is contiguous in memory.
//@if trans_a
constexpr bool kAlongKA = false;
//@else
constexpr bool kAlongKA = true;
//@end
//@if trans_b
constexpr bool kAlongKB = true;
//@else
constexpr bool kAlongKB = false;
//@end

// Advance of a descriptor, in units of 16 bytes, from one wgmma (16 deep) to the next: 16 columns
// of a row, or 16 rows.
constexpr int kStepA = kAlongKA ? 16 * 2 / 16 : 16 * kPanelRow / 16;
constexpr int kStepB = kAlongKB ? 16 * 2 / 16 : 16 * kPanelRow / 16;

struct Shared {
    uint32 base;

    __device__ __forceinline__ uint32 a(int stage) const
    {
        return base + stage * kBytesStage;
    }
    __device__ __forceinline__ uint32 b(int stage) const
    {
        return base + stage * kBytesStage + kBytesA;
    }
    //@if tma_store
    __device__ __forceinline__ uint32 c(int warpgroup) const
    {
        return base + kOffsetC + warpgroup * kBuffersC * kPanel;
    }
    //@end
    __device__ __forceinline__ uint32 full(int stage) const
    {
        return base + kOffsetBarriers + 8 * stage;
    }
    __device__ __forceinline__ uint32 empty(int stage) const
    {
        return base + kOffsetBarriers + 8 * (kStages + stage);
    }
};

// What a launch may change.
struct Shape {
    int m;
    int n;
    int steps;   // of block_k along k
    int tiles_m; // rows of clusters' tiles
    int tiles_n;
    int tiles; // batch * tiles_m * tiles_n
};

// The k steps of this CTA: all, or its share.
struct Range {
    int begin;
    int end;
};

__device__ __forceinline__ Range step_range(const Shape &shape, int rank)
{
    //@if splitk
    return {int(int64(shape.steps) * rank / kClusterSize),
            int(int64(shape.steps) * (rank + 1) / kClusterSize)};
    //@else
    return {0, shape.steps};
    //@end
}

// The n-th tile of this CTA.
__device__ __forceinline__ Tile find_tile(const Shape &shape, int n, int rank)
{
    Tile tile = place_tile(n, shape.tiles_m, shape.tiles_n);
    tile.row0 = (tile.row0 * kClusterM + rank % kClusterM) * kBlockM;
    tile.column0 = (tile.column0 * kClusterN + rank / kClusterM % kClusterN) * kBlockN;
    return tile;
}

// Fetches a box into this CTA or, when kShared, into every CTA whose bit is set in `ctas`.
template <bool kShared>
__device__ __forceinline__ void fetch(uint32 box, const TensorMap &map, uint32 full, uint64 policy,
                                      uint16 ctas, int c0, int c1, int c2)
{
    //@if multicast
    if (kShared)
        tma_load_multicast(box, map, full, policy, ctas, c0, c1, c2);
    else
        tma_load(box, map, full, policy, c0, c1, c2);
    //@else
    tma_load(box, map, full, policy, c0, c1, c2);
    //@end
}

// Fetches one of kParts parts of a tile of A or B with kSize rows or columns, from `i` on, at depth
// k: one box where k is contiguous in memory, else one for each 64 of them.
template <bool kAlongK, int kSize, int kParts>
__device__ __forceinline__ void load_part(uint32 tile, const TensorMap &map, uint32 full,
                                          uint64 policy, int part, uint16 ctas, int i, int k,
                                          int batch)
{
    constexpr int kRows = kSize / kParts;
    tile += part * kRows * kPanelRow;
    i += part * kRows;
    if (kAlongK) {
        fetch<(kParts > 1)>(tile, map, full, policy, ctas, k, i, batch);
    } else {
#pragma unroll
        for (int row = 0; row < kRows; row += 64)
            fetch<(kParts > 1)>(tile + row * kPanelRow, map, full, policy, ctas, i + row, k, batch);
    }
}

// One thread: fetches the A and B tiles of every k step of one tile of C.
__device__ __forceinline__ void load_tile(const Shared &smem, Ring<kStages> &ring,
                                          const TensorMap &a_map, const TensorMap &b_map,
                                          const Shape &shape, const Tile &tile, const Range &range,
                                          int rank)
{
    // What no other tile needs must not push what others need out of L2.
    const uint64 a_policy = shape.tiles_n == 1 ? kEvictFirst : kEvictNormal;
    const uint64 b_policy = shape.tiles_m == 1 ? kEvictFirst : kEvictNormal;
    const int cluster_row = rank % kClusterM;
    const int cluster_column = rank / kClusterM % kClusterN; // 0 where the cluster splits k
    uint16 beside = 0; // the CTAs of this one's row of the cluster
#pragma unroll
    for (int j = 0; j < kClusterN; ++j)
        beside |= 1 << (cluster_row + j * kClusterM);
    const uint16 below = ((1 << kClusterM) - 1) << (cluster_column * kClusterM); // of its column

    for (int step = range.begin; step < range.end; ++step) {
        const uint32 full = smem.full(ring.slot);
        const int k = step * kBlockK;
        mbarrier_wait(smem.empty(ring.slot), ring.parity ^ 1);
        mbarrier_arrive_expect(full, kBytesStage);
        load_part<kAlongKA, kBlockM, kClusterN>(smem.a(ring.slot), a_map, full, a_policy,
                                                cluster_column, beside, tile.row0, k, tile.batch);
        load_part<kAlongKB, kLoadN, kClusterM>(smem.b(ring.slot), b_map, full, b_policy,
                                               cluster_row, below, tile.column0, k, tile.batch);
        ring.advance();
    }
}

// "Empty", from one warp whose reads of the stage are complete.
__device__ __forceinline__ void release(const Shared &smem, int stage)
{
    const int lane = threadIdx.x % 32;
    //@if multicast
    if (lane < kClusterSize)
        mbarrier_arrive_remote(smem.empty(stage), lane);
    //@else
    if (lane == 0)
        mbarrier_arrive(smem.empty(stage));
    //@end
}

//@if stagger
constexpr int kLead = 2;        // steps that the first warpgroup is ahead
constexpr int kLeadBarrier = 8; // named barrier: it is

//@end
// A warpgroup: the sums of its 64 rows of a tile, [64, block_n] fp32 in the accumulator layout.
// clang-format off
__device__ __forceinline__ void multiply_tile(const Shared &smem, Ring<kStages> &ring,
                                              const Range &range, int warpgroup,
                                              //@if stagger
                                              int lead_step,
                                              //@end
                                              float (&sums)[kBlockN / 2])
// clang-format on
{
#pragma unroll
    for (int i = 0; i < kBlockN / 2; ++i)
        sums[i] = 0.0f;
    pin(sums);
    const uint32 a_first = wgmma_descriptor(smem.a(0) + warpgroup * kPanel, kPanel);
    const uint32 b_first = wgmma_descriptor(smem.b(0), kPanel);
    int previous = 0;
#pragma unroll 1
    for (int step = range.begin; step < range.end; ++step) {
        const uint32 a = wgmma_descriptor(smem.a(ring.slot) + warpgroup * kPanel, kPanel);
        const uint32 b = wgmma_descriptor(smem.b(ring.slot), kPanel);
        mbarrier_wait(smem.full(ring.slot), ring.parity);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < kBlockK / 16; ++i)
            wgmma_ss<!kAlongKA, !kAlongKB>(sums, a + i * kStepA, b + i * kStepB, 1);
        wgmma_commit();
        //@if stagger
        if (step == lead_step)
            named_barrier_arrive(kLeadBarrier, 256);
        //@end
        wgmma_wait<1>(); // the product of the step before is complete
        if (step != range.begin)
            release(smem, previous);
        previous = ring.slot;
        ring.advance();
    }
    wgmma_wait<0>();
    pin(sums);
    //@watch sums [64, block_n] acc regs=block_n/2
    if (range.begin != range.end)
        release(smem, previous);
}

//@include lib/gemm_store.cuh

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, 1) $kernel_name(
    const __grid_constant__ TensorMap a_map, // 64 columns by block_m rows, or 64 rows, of A
    const __grid_constant__ TensorMap b_map, // the same of B
    //@if tma_store
    const __grid_constant__ TensorMap c_map, // 64 rows by 64 columns of C
    //@end
    //@if direct
    const OutputMatrix c, // (batch, m, n)
    //@end
    const Epilogue e, //
    const Shape shape)
{
    // clang-format on
    extern __shared__ __align__(1024) unsigned char shared[];
    const Shared smem{smem_address(shared)};
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0); // the same in a warp: tell ptxas
    const int warpgroup = warp / 4 - 1;                            // -1: the producer's
    //@if cluster > 1
    const int rank = cluster_rank();
    //@else
    constexpr int rank = 0;
    //@end

    if (threadIdx.x == 0) {
        for (int stage = 0; stage < kStages; ++stage) {
            mbarrier_init(smem.full(stage), 1);
            //@if multicast
            mbarrier_init(smem.empty(stage), 4 * kWarpgroups * kClusterSize); // one per warp
            //@else
            mbarrier_init(smem.empty(stage), 4 * kWarpgroups); // one per warp
            //@end
        }
        mbarrier_init_fence();
        tma_prefetch(a_map);
        tma_prefetch(b_map);
    }
    //@if cluster > 1
    cluster_sync();
    //@else
    __syncthreads();
    //@end

    const Range range = step_range(shape, rank);
    Ring<kStages> ring;
    if (warpgroup < 0) {
        //@if block_m > 64
        release_registers<kLoadRegisters>();
        //@end
        for (int n = blockIdx.x / kClusterSize; n < shape.tiles; n += gridDim.x / kClusterSize) {
            if (threadIdx.x == 0)
                load_tile(smem, ring, a_map, b_map, shape, find_tile(shape, n, rank), range, rank);
            //@if splitk
            __syncwarp();
            cluster_sync(); // the sums are in shared memory
            cluster_sync(); // and have been read
            //@end
        }
    } else {
        //@if block_m > 64
        acquire_registers<kMathRegisters>();
        //@end
        float sums[kBlockN / 2];
        //@if tma_store
        int turn = 0;
        //@end
        //@if stagger
        int lead_step = warpgroup == 0 ? min(kLead, shape.steps) - 1 : -1; // of its first tile
        if (warpgroup == 1 && shape.steps > 0)
            named_barrier_sync(kLeadBarrier, 256);
        //@end
        for (int n = blockIdx.x / kClusterSize; n < shape.tiles; n += gridDim.x / kClusterSize) {
            const Tile tile = find_tile(shape, n, rank);
            //@if direct
            const Output out{c.data + tile.batch * c.batch, c.row, shape.m, shape.n};
            //@end
            //@if stagger
            multiply_tile(smem, ring, range, warpgroup, lead_step, sums);
            lead_step = -1;
            //@else
            multiply_tile(smem, ring, range, warpgroup, sums);
            //@end
            //@if tma_store && direct
            store_tile(smem, c_map, e, out, tile, warpgroup, turn, sums);
            //@elif tma_store
            store_tile(smem, c_map, e, tile, warpgroup, turn, sums);
            //@elif splitk
            store_tile(smem, e, out, tile, rank, warpgroup, sums);
            //@else
            store_tile(e, out, tile, warpgroup, sums);
            //@end
        }
        //@if tma_store
        if (threadIdx.x % 128 == 0)
            tma_store_wait_read<0>(); // shared memory must outlive the copies from it
        //@end
    }
    //@if multicast
    __syncwarp();
    cluster_sync(); // nothing may still be on its way into a CTA that is gone
    //@end
}
