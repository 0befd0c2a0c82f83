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
//@const  panel_rows      rows of C in a panel that leaves by TMA
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
//@switch streamk bool    the tiles of the last waves are shared out along k
//@switch turned bool     the product is that of B and A transposed, and C is stored transposed
//@switch stagger bool    one warpgroup ends its tile ahead of the other
//@switch align int       bytes that pointers and strides are multiples of
//@require block_m % 64 == 0 && block_n % 8 == 0 && block_n >= 16 && block_n <= 320
//@require block_n <= 256 || (trans_b && block_n % 16 == 0)
//@require block_k == 64 && !(splitk && streamk)
//@require threads == 128 + 2 * block_m
//@require !stagger || block_m == 128
//@require cluster == cluster_size && (splitk || cluster == cluster_m * cluster_n) && align >= 16
//@let halves block_n > 256
//@let wgmma_ss_n block_n / (1 + halves)
//@let wgmma_rs_n 0
//@let tma_rank_min 3
//@let tma_rank_max 3
//@let tma_store out != f32 && !splitk
//@let multicast cluster > 1 && !splitk
//@let turns tma_store && stagger
//@let direct !tma_store || beta || bias || (!turned && block_n % 64 != 0)
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
// Towards the end of a tile the second warpgroup lets the first go ahead: that one writes C while
// the second has the tensor cores to itself, and the other way round.
//@if turns
// Both fill the same panels of shared memory, in turns; another warp copies them to C, so that
// neither waits for a copy that it has to make itself:
//
//     warpgroup   sums of a tile | wait "vacant" | sums -> panels | "filled"     and on
//     copier      wait "filled" | panels -> C, until they are read | "vacant" for the other one
//@end
//
//@end
//@if turned
// Of C = A B the transpose is computed: what is called A here is B transposed, rows are columns of
// C and the other way round. So a tile may have few rows of C, where the tensor cores want 64.
//
//@end
//@if multicast
// The CTAs of a cluster work on neighbouring tiles. Those below each other need the same B tile,
// those beside each other the same A tile: each fetches a part of it for all, or all of it when it
// is its turn, so that L2 is read once. A stage is therefore empty only when every CTA of the
// cluster is done with it.
//@end
//@if streamk
// Whole waves of tiles are worked off tile by tile. What is left would keep a part of the GPU
// busy: its steps along k are dealt out evenly instead, so that a tile may be the work of several
// clusters. All but the last of them, counted by the launch, leave their sums in the workspace; the
// last adds them to its own in a fixed order. A cluster walks its share backwards: what it leaves
// to others comes first, and it waits for clusters before it only, which were started before it.
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
//@if turns
constexpr int kPanelC = kPanelRows * kPanelRow; // bytes of a panel of C
constexpr int kOffsetBarriers = kOffsetC + (kBlockN + 63) / 64 * kPanel; // room for one warpgroup's
constexpr int kOffsetTurns = kOffsetBarriers + 2 * 8 * kStages;
static_assert(kOffsetTurns + 2 * 8 * kWarpgroups == kSmemBytes, "host and kernel agree");
//@elif tma_store
constexpr int kBuffersC = 2; // per warpgroup: while one is copied out, the other is filled
constexpr int kOffsetBarriers = kOffsetC + kWarpgroups * kBuffersC * kPanel;
static_assert(kOffsetBarriers + 2 * 8 * kStages == kSmemBytes, "host and kernel agree");
//@else
constexpr int kOffsetBarriers = kOffsetC;
static_assert(kOffsetBarriers + 2 * 8 * kStages == kSmemBytes, "host and kernel agree");
//@end

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
    //@if turns
    __device__ __forceinline__ uint32 c(int panel) const
    {
        return base + kOffsetC + panel * kPanelC;
    }
    //@elif tma_store
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
    //@if turns
    // A warpgroup has filled the panels of C; may fill them.
    __device__ __forceinline__ uint32 filled(int warpgroup) const
    {
        return base + kOffsetTurns + 8 * warpgroup;
    }
    __device__ __forceinline__ uint32 vacant(int warpgroup) const
    {
        return base + kOffsetTurns + 8 * (kWarpgroups + warpgroup);
    }
    //@end
};

// What a launch may change.
struct Shape {
    int m;
    int n;
    int steps;   // of block_k along k
    int tiles_m; // rows of clusters' tiles
    int tiles_n;
    int tiles; // batch * tiles_m * tiles_n
    //@if streamk
    int whole; // the first of them are not shared
    //@end
};

// The n-th tile of this CTA.
__device__ __forceinline__ Tile find_tile(const Shape &shape, int n, int rank)
{
    Tile tile = place_tile(n, shape.tiles_m, shape.tiles_n);
    tile.row0 = (tile.row0 * kClusterM + rank % kClusterM) * kBlockM;
    tile.column0 = (tile.column0 * kClusterN + rank / kClusterM % kClusterN) * kBlockN;
    return tile;
}

//@include lib/gemm_walk.cuh

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

// What is fetched for the CTAs of a row or column of the cluster, a tile of A or B with kSize rows
// or columns from `i` on, at depth k: this CTA's part of kParts, or all of it when it is its turn
// where a tile has no equal parts. Where k is contiguous in memory that is one box or two,
// else one for each 64 rows or columns.
template <bool kAlongK, int kSize, int kParts>
__device__ __forceinline__ void load_part(uint32 tile, const TensorMap &map, uint32 full,
                                          uint64 policy, int part, int step, uint16 ctas, int i,
                                          int batch)
{
    constexpr bool kDivided = kSize % ((kAlongK ? 8 : 64) * kParts) == 0;
    constexpr int kRows = kDivided ? kSize / kParts : kSize;
    const int k = step * kBlockK;
    if (kDivided) {
        tile += part * kRows * kPanelRow;
        i += part * kRows;
    } else if (step % kParts != part) {
        return;
    }
    if (kAlongK) {
        constexpr int kBox = kRows > 256 ? kRows / 2 : kRows; // no box has more than 256
#pragma unroll
        for (int row = 0; row < kRows; row += kBox)
            fetch<(kParts > 1)>(tile + row * kPanelRow, map, full, policy, ctas, k, i + row, batch);
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
        mbarrier_wait(smem.empty(ring.slot), ring.parity ^ 1);
        mbarrier_arrive_expect(full, kBytesStage);
        load_part<kAlongKA, kBlockM, kClusterN>(smem.a(ring.slot), a_map, full, a_policy,
                                                cluster_column, step, beside, tile.row0,
                                                tile.batch);
        load_part<kAlongKB, kLoadN, kClusterM>(smem.b(ring.slot), b_map, full, b_policy,
                                               cluster_row, step, below, tile.column0, tile.batch);
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

//@if halves
// No wgmma is as wide as the tile: two take half of its columns each.
constexpr int kHalf = kBlockN / 4;                   // sums of a thread
constexpr int kHalfB = kBlockN / 2 * kPanelRow / 16; // of a descriptor, to the second half of B

//@end
//@if stagger
// The second warpgroup begins the last kLead steps of a tile when the first has ended all but the
// last of its own. That one must not wait for a stage that the second still holds.
constexpr int kLead = kStages > 2 ? 2 : 1;
constexpr int kLeadBarrier = 8; // named barrier: it has

// The step at which a warpgroup gives (the first) or takes the lead (the second); none, -1, in
// ranges so short that the first might give it twice before the second takes it.
__device__ __forceinline__ int find_lead_step(const Range &range, int warpgroup)
{
    if (range.end - range.begin < kStages)
        return -1;
    return warpgroup == 0 ? range.end - 1 : range.end - kLead;
}

//@end
// A warpgroup: the sums of its 64 rows of a tile, [64, block_n] fp32 in the accumulator layout.
__device__ __forceinline__ void multiply_tile(const Shared &smem, Ring<kStages> &ring,
                                              const Range &range, int warpgroup,
                                              float (&sums)[kBlockN / 2])
{
    //@if stagger
    const int lead_step = find_lead_step(range, warpgroup);
    //@end
#pragma unroll
    for (int i = 0; i < kBlockN / 2; ++i)
        sums[i] = 0.0f;
    pin(sums);
    int previous = 0;
#pragma unroll 1
    for (int step = range.begin; step < range.end; ++step) {
        const uint32 a = wgmma_descriptor(smem.a(ring.slot) + warpgroup * kPanel, kPanel);
        const uint32 b = wgmma_descriptor(smem.b(ring.slot), kPanel);
        //@if stagger
        if (warpgroup == 1 && step == lead_step)
            named_barrier_sync(kLeadBarrier, 256);
        //@end
        mbarrier_wait(smem.full(ring.slot), ring.parity);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < kBlockK / 16; ++i) {
            //@if halves
            wgmma_ss<!kAlongKA, !kAlongKB>(reinterpret_cast<float(&)[kHalf]>(sums[0]),
                                           a + i * kStepA, b + i * kStepB, 1);
            wgmma_ss<!kAlongKA, !kAlongKB>(reinterpret_cast<float(&)[kHalf]>(sums[kHalf]),
                                           a + i * kStepA, b + kHalfB + i * kStepB, 1);
            //@else
            wgmma_ss<!kAlongKA, !kAlongKB>(sums, a + i * kStepA, b + i * kStepB, 1);
            //@end
        }
        wgmma_commit();
        wgmma_wait<1>(); // the product of the step before is complete
        //@if stagger
        if (warpgroup == 0 && step == lead_step)
            named_barrier_arrive(kLeadBarrier, 256);
        //@end
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
    const Epilogue e, // from a sum of products to an element of C
    //@if streamk
    const Handover handover,
    //@end
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
        //@if turns
        for (int i = 0; i < kWarpgroups; ++i) {
            mbarrier_init(smem.filled(i), 4); // one per warp
            mbarrier_init(smem.vacant(i), 1);
        }
        //@end
        mbarrier_init_fence();
        tma_prefetch(a_map);
        tma_prefetch(b_map);
    }
    //@if cluster > 1
    cluster_sync();
    //@else
    __syncthreads();
    //@end

    Ring<kStages> ring;
    Piece piece;
    if (warpgroup < 0) {
        //@if block_m > 64
        release_registers<kLoadRegisters>();
        //@end
        Walk walk(shape, rank);
        //@if turns
        int turn = 0; // parity of the tile, counted from the first
        //@end
        while (walk.next(shape, piece)) {
            if (threadIdx.x == 0)
                load_tile(smem, ring, a_map, b_map, shape, find_tile(shape, piece.tile, rank),
                          piece.range, rank);
            //@if turns
            //@if streamk
            if (piece.range.end < shape.steps)
                continue; // its sums are left to others
            //@end
            if (threadIdx.x == 32)
                copy_tile(smem, c_map, find_tile(shape, piece.tile, rank), turn);
            turn ^= 1;
            //@end
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
        Walk walk(shape, rank);
        //@if turns
        int turn = 0; // parity of the tile, counted from the first
        //@elif tma_store
        int turn = 0; // the buffer of C to fill next
        //@end
        while (walk.next(shape, piece)) {
            const Tile tile = find_tile(shape, piece.tile, rank);
            const Range range = piece.range;
            //@if direct
            //@if turned
            const Output out{c.data + tile.batch * c.batch, c.row, shape.n, shape.m};
            //@else
            const Output out{c.data + tile.batch * c.batch, c.row, shape.m, shape.n};
            //@end
            //@end
            multiply_tile(smem, ring, range, warpgroup, sums);
            //@if streamk
            if (range.end < shape.steps) {
                leave_sums(handover, warpgroup, sums);
                continue;
            }
            if (range.begin > 0)
                add_sums(handover, shape, piece, warpgroup, sums);
            //@end
            // All sums at once: where alpha is 1, as it mostly is, nothing is left to multiply.
            if (e.alpha != 1.0f) {
#pragma unroll
                for (int i = 0; i < kBlockN / 2; ++i)
                    sums[i] *= e.alpha;
            }
            Epilogue end = e;
            end.alpha = 1.0f;
            //@if turns && (beta || bias)
            fill_panels(smem, end, out, tile, warpgroup, turn, sums);
            //@elif turns
            fill_panels(smem, end, warpgroup, turn, sums);
            //@elif tma_store && (beta || bias)
            send_panels(smem, c_map, end, out, tile, warpgroup, turn, sums);
            //@elif tma_store
            send_panels(smem, c_map, end, tile, warpgroup, turn, sums);
            //@elif splitk
            store_tile(smem, end, out, tile, rank, warpgroup, sums);
            //@else
            store_tile(end, out, tile, warpgroup, sums);
            //@end
            //@if turns
            turn ^= 1;
            //@end
            //@if tma_store && !turned && block_n % 64 != 0
            store_rest(end, out, tile, warpgroup, sums);
            //@end
        }
        //@if tma_store && !turns
        if (threadIdx.x % 128 == 0)
            tma_store_wait_read<0>(); // shared memory must outlive the copies from it
        //@end
    }
    //@if multicast
    __syncwarp();
    cluster_sync(); // nothing may still be on its way into a CTA that is gone
    //@end
}
