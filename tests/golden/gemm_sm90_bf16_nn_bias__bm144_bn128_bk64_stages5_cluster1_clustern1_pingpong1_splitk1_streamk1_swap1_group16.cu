// Matrix product C = act(alpha A B + beta C + bias), TMA and wgmma.
//
//   fajit-inspect render gemm:bf16,bias,kernel=sm90,variant=persistent --arch sm_90 \
//       --config bm=144,bn=128,bk=64,stages=5,cluster=1,clustern=1,pingpong=1 \
//       --config splitk=1,streamk=1,swap=1,group=16
//
// One CTA: 384 threads, 198768 bytes of dynamic shared memory. One K block: 2359296 FLOPs, 34816
// bytes.
//
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
// Towards the end of a tile the second warpgroup lets the first go ahead: that one writes C while
// the second has the tensor cores to itself, and the other way round.
// Both fill the same panels of shared memory, in turns; another warp copies them to C, so that
// neither waits for a copy that it has to make itself:
//
//     warpgroup   sums of a tile | wait "vacant" | sums -> panels | "filled"     and on
//     copier      wait "filled" | panels -> C, until they are read | "vacant" for the other one
//
// Of C = A B the transpose is computed: what is called A here is B transposed, rows are columns of
// C and the other way round. So a tile may have few rows of C, where the tensor cores want 64.
//
// Whole waves of tiles are worked off tile by tile. What is left would keep a part of the GPU
// busy: its steps along k are dealt out evenly instead, so that a tile may be the work of several
// clusters. All but the last of them, counted by the launch, leave their sums in the workspace; the
// last adds them to its own in a fixed order. A cluster walks its share backwards: what it leaves
// to others comes first, and it waits for clusters before it only, which were started before it.
//
// Tiles are stored in panels: rows of 128 bytes, swizzled by TMA as wgmma expects (lib/wgmma.cuh).
// Rows of a panel run along m or n where k is contiguous in memory, else along k.

constexpr int kBlockM = 128;        // rows of C in one tile, 64 per warpgroup that computes
constexpr int kBlockN = 144;        // columns of C in one tile
constexpr int kBlockK = 64;         // depth of one stage
constexpr int kStages = 5;          // pairs of an A tile and a B tile in shared memory
constexpr int kGroup = 16;          // rows of tiles that are walked together
constexpr int kThreads = 384;       // per CTA: one warpgroup loads, block_m / 64 compute
constexpr int kLoadRegisters = 40;  // of a thread of the loading warpgroup
constexpr int kMathRegisters = 232; // of a thread that computes
constexpr int kClusterM = 1;        // CTAs below each other in a cluster, which share their B tile
constexpr int kClusterN = 1;        // CTAs beside each other in a cluster, which share their A tile
constexpr int kClusterSize = 1;     // CTAs of one cluster
constexpr int kPanelRows = 64;      // rows of C in a panel that leaves by TMA
constexpr int kSmemBytes = 198768;  // dynamic shared memory of one CTA

// Types, constants and conversions. Nothing is included: NVRTC reads this text and no header.
using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;
using uint64 = unsigned long long;

// The last step of every matrix product: what happens to a sum before it is an element of C.

// An element of C: bf16, the upper half of an fp32.
struct out_element {
    uint16 bits;
};

__device__ __forceinline__ float out_to_f32(out_element x)
{
    return __uint_as_float(uint32(x.bits) << 16);
}

struct Epilogue {
    float alpha;
    const out_element *bias; // [n]
};

// The element of C that lies at `c`, in column `column`, from its sum of products.
__device__ __forceinline__ float epilogue(const Epilogue &e, float sum, const out_element *c,
                                          int column)
{
    float x = e.alpha * sum;
    x += out_to_f32(e.bias[column]);
    return x;
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

// Hand-over of shared memory between warps, warpgroups and the copy engine (sm_90). Addresses of
// shared memory are 32-bit offsets in its window, as the instructions take them.

__device__ __forceinline__ uint32 smem_address(const void *pointer)
{
    return static_cast<uint32>(__cvta_generic_to_shared(pointer));
}

// A value that is the same in all lanes: says so to the compiler, which then keeps what follows
// from it, descriptors above all, in uniform registers.
__device__ __forceinline__ int uniform(int value)
{
    return __shfl_sync(0xffffffff, value, 0);
}

// mbarrier.init: a phase is complete after `arrivals` arrivals and all bytes it was told to expect.
__device__ __forceinline__ void mbarrier_init(uint32 barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

// fence.mbarrier_init: makes initialised barriers visible to the copy engine and to the cluster.
__device__ __forceinline__ void mbarrier_init_fence()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void mbarrier_arrive(uint32 barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// mbarrier.arrive.expect_tx: one arrival; the phase also waits for `bytes` from the copy engine.
__device__ __forceinline__ void mbarrier_arrive_expect(uint32 barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}

// mbarrier.try_wait.parity: true once the phase of that parity is complete; may sleep a while.
__device__ __forceinline__ bool mbarrier_try_wait(uint32 barrier, uint32 parity)
{
    uint32 done;
    asm volatile("{\n\t"
                 ".reg .pred done;\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n\t"
                 "selp.u32 %0, 1, 0, done;\n\t"
                 "}"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    return done != 0;
}

__device__ __forceinline__ void mbarrier_wait(uint32 barrier, uint32 parity)
{
    while (!mbarrier_try_wait(barrier, parity)) {
    }
}

// A slot of a ring of buffers and the parity of the pass around the ring. A consumer waits for
// "full" with `parity`; the producer for "empty" with `parity ^ 1`, which a fresh barrier passes.
template <int kSlots> struct Ring {
    int slot = 0;
    uint32 parity = 0;

    __device__ __forceinline__ void advance()
    {
        if (++slot == kSlots) {
            slot = 0;
            parity ^= 1;
        }
    }

    __device__ __forceinline__ Ring next() const
    {
        return slot < kSlots - 1 ? Ring{slot + 1, parity} : Ring{0, parity ^ 1};
    }

    __device__ __forceinline__ Ring previous() const
    {
        return slot > 0 ? Ring{slot - 1, parity} : Ring{kSlots - 1, parity ^ 1};
    }
};

// bar.sync, bar.arrive: one of the 16 hardware barriers (0 is __syncthreads), for `threads`
// threads.
__device__ __forceinline__ void named_barrier_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void named_barrier_arrive(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// fence.proxy.async: orders this thread's ordinary shared-memory accesses before those that wgmma
// and the copy engine make after the next barrier.
__device__ __forceinline__ void fence_proxy_async()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// setmaxnreg: a warpgroup returns registers to the CTA's pool, or waits until it can take more.
template <int kRegisters> __device__ __forceinline__ void release_registers()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters> __device__ __forceinline__ void acquire_registers()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// The tensor memory accelerator (sm_90): one thread copies a box of a tensor between global and
// shared memory. The includer says which ranks it needs: tma_rank_min, tma_rank_max, tma_store.

// CUtensorMap, encoded by the host: base, sizes, strides, box and swizzle of a tensor.
struct alignas(64) TensorMap {
    unsigned char opaque[128];
};

// L2 eviction policies, as createpolicy.fractional makes them for the whole access.
enum EvictionPolicy : uint64 {
    kEvictNormal = 0x1000000000000000,
    kEvictFirst = 0x12f0000000000000,
    kEvictLast = 0x14f0000000000000,
};

__device__ __forceinline__ void tma_prefetch(const TensorMap &map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// cp.async.bulk.tensor, global to shared: the box at the coordinates, innermost first. What lies
// outside the tensor arrives as zeros. `barrier` receives the bytes of the whole box.
__device__ __forceinline__ void tma_load(uint32 box, const TensorMap &map, uint32 barrier,
                                         uint64 policy, int c0, int c1, int c2)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(box),
                 "l"(&map), "r"(barrier), "l"(policy), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}

// cp.async.bulk.tensor, shared to global: what lies outside the tensor is not written. Shared
// memory written by ordinary stores needs fence_proxy_async() and a barrier before.
__device__ __forceinline__ void tma_store(const TensorMap &map, uint32 box, int c0, int c1, int c2)
{
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(
            &map),
        "r"(box), "r"(c0), "r"(c1), "r"(c2)
        : "memory");
}

// cp.async.bulk.commit_group: closes the group of this thread's stores so far.
__device__ __forceinline__ void tma_store_commit()
{
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// cp.async.bulk.wait_group.read: all but the last kGroups groups have read their shared memory.
template <int kGroups> __device__ __forceinline__ void tma_store_wait_read()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kGroups) : "memory");
}

// Matrix products of a warpgroup, four warps (sm_90a): D[64, n] += A[64, k] B[k, n] with k = 16 for
// 16-bit types and 8 for tf32. A lies in shared memory (ss) or registers (rs), B in shared memory,
// D in registers. The includer names the n it needs: wgmma_ss_n, wgmma_rs_n (0: none).
//
// D, the accumulator layout: warp w of the warpgroup owns rows 16 w .. 16 w + 15; its lane holds
//     d[4 t + 2 j + i] = D[16 w + lane / 4 + 8 j][8 t + 2 (lane % 4) + i],   i, j in {0, 1}.
// A in registers: a[2 h + j] holds the pair A[lane / 4 + 8 j][8 h + 2 (lane % 4) + {0, 1}] of the
// warp's 16 rows, h in {0, 1}. So the accumulators d[8 s .. 8 s + 7], packed in pairs, are the four
// registers of A for k step s: a product feeds the next one without moving between lanes.
//
// The instructions run behind the program. Registers they read or write must not be touched until
// wgmma_wait, and wgmma_fence must stand between other accesses to them and the next wgmma.

__device__ __forceinline__ void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Closes a group of the wgmma issued so far; a group may be empty.
__device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most the kPending latest groups are unfinished.
template <int kPending> __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Emits nothing. The compiler may not move accesses to `registers` across it: it does not know that
// a wgmma writes its operands after the statement that names them.
template <int kCount> __device__ __forceinline__ void pin(float (&registers)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; ++i)
        asm volatile("" : "+f"(registers[i])::"memory");
}

template <int kCount> __device__ __forceinline__ void pin(uint32 (&registers)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; ++i)
        asm volatile("" : "+r"(registers[i])::"memory");
}

// The lower half of the matrix descriptor of a tile in panels: 128 bytes of each row side by side,
// rows below each other, 16-byte chunks exchanged within groups of 8 rows as TMA's 128-byte swizzle
// does (chunk index ^= row % 8). `address` is a multiple of 1024 plus at most 96. In units of 16
// bytes: bits 0-13 the address, 16-29 the leading offset. The upper half is the same for all of
// them, 0x40000040: stride offset 8 rows (1024 bytes), and 1 in bits 30-31 for this swizzle.
//
// Rows are m or n ("k-major"): the stride offset leads to the next 8 rows, the leading one is
// unused; the next k step lies 32 bytes further, panel by panel.
// Rows are k ("mn-major", transposed): the leading offset leads to the next panel of 64 columns,
// the stride offset to the next 8 rows; the next k step lies 16 rows (2048 bytes) further.
__device__ __forceinline__ uint32 wgmma_descriptor(uint32 address, uint32 leading_bytes)
{
    return uniform((address & 0x3ffff) >> 4 | (leading_bytes >> 4) << 16);
}

// clang-format off
// wgmma.mma_async m64n144, A and B in shared memory. `accumulate` 0: D = A B.
template <int kTransposeA, int kTransposeB>
__device__ __forceinline__ void wgmma_ss(float (&d)[72], uint32 a, uint32 b, int accumulate)
{
    asm volatile("{\n\t"
                 ".reg .pred accumulate;\n\t"
                 ".reg .b64 a, b;\n\t"
                 "mov.b64 a, {%72, 0x40000040};\n\t"
                 "mov.b64 b, {%73, 0x40000040};\n\t"
                 "setp.ne.b32 accumulate, %74, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n144k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, "
                 "%4, %5, %6, %7, "
                 "%8, %9, %10, %11, "
                 "%12, %13, %14, %15, "
                 "%16, %17, %18, %19, "
                 "%20, %21, %22, %23, "
                 "%24, %25, %26, %27, "
                 "%28, %29, %30, %31, "
                 "%32, %33, %34, %35, "
                 "%36, %37, %38, %39, "
                 "%40, %41, %42, %43, "
                 "%44, %45, %46, %47, "
                 "%48, %49, %50, %51, "
                 "%52, %53, %54, %55, "
                 "%56, %57, %58, %59, "
                 "%60, %61, %62, %63, "
                 "%64, %65, %66, %67, "
                 "%68, %69, %70, %71}, "
                 "a, b, accumulate, 1, 1, %75, %76;\n\t"
                 "}"
                 :
                 "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]),
                 "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
                 "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]),
                 "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
                 "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]),
                 "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
                 "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
                 "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
                 "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),
                 "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
                 "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]),
                 "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
                 "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]),
                 "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
                 "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]),
                 "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
                 "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]),
                 "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])
                 : "r"(a), "r"(b), "r"(accumulate), "n"(kTransposeA), "n"(kTransposeB)
                 : "memory");
}

// clang-format on

// The order in which the tiles of C are worked on.
struct Tile {
    int batch;
    int row0;
    int column0;
};

// Tiles are counted down through kGroup rows of tiles, then to the right: what runs at the same
// time forms a block of C that is about as high as wide, and reads few rows of A and columns of B,
// which stay in L2. `row0` and `column0` come in tiles.
__device__ __forceinline__ Tile place_tile(int n, int tiles_m, int tiles_n)
{
    Tile tile;
    tile.batch = n / (tiles_m * tiles_n);
    n -= tile.batch * (tiles_m * tiles_n);
    const int first = n / (kGroup * tiles_n) * kGroup; // row of the group
    const int height = min(kGroup, tiles_m - first);   // the last may be lower
    n -= first * tiles_n;
    tile.row0 = first + n % height;
    tile.column0 = n / height;
    return tile;
}

constexpr int kWarpgroups = kBlockM / 64; // that compute
constexpr int kPanelRow = 128;            // bytes of a row in a panel: 64 elements
constexpr int kPanel = 64 * kPanelRow;    // bytes of 64 rows

// Shared memory, in bytes from its start, which is a multiple of 1024 as the swizzle wants.
constexpr int kBytesA = kBlockM * kPanelRow;
constexpr int kLoadN = kBlockN; // columns of C whose part of B is fetched
constexpr int kBytesB = kLoadN * kPanelRow;
constexpr int kBytesStage = kBytesA + kBytesB;
constexpr int kOffsetC = kStages * kBytesStage;
constexpr int kPanelC = kPanelRows * kPanelRow;                          // bytes of a panel of C
constexpr int kOffsetBarriers = kOffsetC + (kBlockN + 63) / 64 * kPanel; // room for one warpgroup's
constexpr int kOffsetTurns = kOffsetBarriers + 2 * 8 * kStages;
static_assert(kOffsetTurns + 2 * 8 * kWarpgroups == kSmemBytes, "host and kernel agree");

// Whether k is contiguous in memory.
constexpr bool kAlongKA = false;
constexpr bool kAlongKB = true;

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
    __device__ __forceinline__ uint32 c(int panel) const
    {
        return base + kOffsetC + panel * kPanelC;
    }
    __device__ __forceinline__ uint32 full(int stage) const
    {
        return base + kOffsetBarriers + 8 * stage;
    }
    __device__ __forceinline__ uint32 empty(int stage) const
    {
        return base + kOffsetBarriers + 8 * (kStages + stage);
    }
    // A warpgroup has filled the panels of C; may fill them.
    __device__ __forceinline__ uint32 filled(int warpgroup) const
    {
        return base + kOffsetTurns + 8 * warpgroup;
    }
    __device__ __forceinline__ uint32 vacant(int warpgroup) const
    {
        return base + kOffsetTurns + 8 * (kWarpgroups + warpgroup);
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
    int whole; // the first of them are not shared
};

// The n-th tile of this CTA.
__device__ __forceinline__ Tile find_tile(const Shape &shape, int n, int rank)
{
    Tile tile = place_tile(n, shape.tiles_m, shape.tiles_n);
    tile.row0 = (tile.row0 * kClusterM + rank % kClusterM) * kBlockM;
    tile.column0 = (tile.column0 * kClusterN + rank / kClusterM % kClusterN) * kBlockN;
    return tile;
}

// What a CTA of gemm_sm90 works on, one piece after the other: a tile, or some of its k steps.

struct Range {
    int begin;
    int end; // in steps
};

struct Piece {
    int tile;
    Range range;
};

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

// The pieces of a CTA, in their order.
struct Walk {
    int share_first;
    int share_last; // one beyond; both in steps over the shared tiles
    int tile;       // the next whole one

    __device__ __forceinline__ Walk(const Shape &shape, int rank)
    {
        tile = blockIdx.x / kClusterSize;
        share_first = share_begin(shape, tile);
        share_last = share_begin(shape, tile + 1);
    }

    __device__ __forceinline__ bool next(const Shape &shape, Piece &piece)
    {
        if (share_first < share_last) {
            const int shared = (share_last - 1) / shape.steps;
            const int start = shared * shape.steps;
            piece = {shape.whole + shared, {max(share_first - start, 0), share_last - start}};
            share_last = start + piece.range.begin;
            return true;
        }
        if (tile >= shape.whole)
            return false;
        piece = {tile, {0, shape.steps}};
        tile += gridDim.x / kClusterSize;
        return true;
    }
};

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

// Fetches a box into this CTA or, when kShared, into every CTA whose bit is set in `ctas`.
template <bool kShared>
__device__ __forceinline__ void fetch(uint32 box, const TensorMap &map, uint32 full, uint64 policy,
                                      uint16 ctas, int c0, int c1, int c2)
{
    tma_load(box, map, full, policy, c0, c1, c2);
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
    if (lane == 0)
        mbarrier_arrive(smem.empty(stage));
}

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

// A warpgroup: the sums of its 64 rows of a tile, [64, block_n] fp32 in the accumulator layout.
__device__ __forceinline__ void multiply_tile(const Shared &smem, Ring<kStages> &ring,
                                              const Range &range, int warpgroup,
                                              float (&sums)[kBlockN / 2])
{
    const int lead_step = find_lead_step(range, warpgroup);
#pragma unroll
    for (int i = 0; i < kBlockN / 2; ++i)
        sums[i] = 0.0f;
    pin(sums);
    int previous = 0;
#pragma unroll 1
    for (int step = range.begin; step < range.end; ++step) {
        const uint32 a = wgmma_descriptor(smem.a(ring.slot) + warpgroup * kPanel, kPanel);
        const uint32 b = wgmma_descriptor(smem.b(ring.slot), kPanel);
        if (warpgroup == 1 && step == lead_step)
            named_barrier_sync(kLeadBarrier, 256);
        mbarrier_wait(smem.full(ring.slot), ring.parity);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < kBlockK / 16; ++i) {
            wgmma_ss<!kAlongKA, !kAlongKB>(sums, a + i * kStepA, b + i * kStepB, 1);
        }
        wgmma_commit();
        wgmma_wait<1>(); // the product of the step before is complete
        if (warpgroup == 0 && step == lead_step)
            named_barrier_arrive(kLeadBarrier, 256);
        if (step != range.begin)
            release(smem, previous);
        previous = ring.slot;
        ring.advance();
    }
    wgmma_wait<0>();
    pin(sums);
    if (range.begin != range.end)
        release(smem, previous);
}

// How C leaves gemm_sm90 by the tensor memory accelerator: each warpgroup writes its part of the
// tile to shared memory in panels, rows of 64 elements of C, swizzled as rows of 128 bytes.

// Results on their way to shared memory (sm_90).

// Two neighbouring elements of C in one register, the left one in the lower half.
__device__ __forceinline__ uint32 pack_out(float left, float right)
{
    uint32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    return pair;
}

// stmatrix.trans: four 8 x 8 matrices of 16-bit elements, turned over. Lane i gives the address of
// row i % 8 of matrix i / 8 (16 bytes); word k of lane i holds column i / 4, rows 2 (i % 4) + {0,
// 1} of matrix k.
__device__ __forceinline__ void stmatrix_trans_x4(uint32 address, const uint32 (&words)[4])
{
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
        "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
        : "memory");
}

// pack_out of what the epilogue makes of two sums, the second one a row below; what lies outside C
// is 0 and not looked at.
__device__ __forceinline__ uint32 finish_pair(const Epilogue &e, const Output &out, int row,
                                              int column, float upper, float lower)
{
    const out_element *const c = out.data + row * out.stride + column;
    const bool inside = column < out.n;
    upper = inside && row < out.m ? epilogue(e, upper, c, column) : 0.0f;
    lower = inside && row + 1 < out.m ? epilogue(e, lower, c + out.stride, column) : 0.0f;
    return pack_out(upper, lower);
}

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
                                           const Output &out, const Tile &tile, int warpgroup,
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
            const int row = tile.column0 + first + 8 * (t + i / 2) + lane % 4 * 2;
            const int column = tile.row0 + 64 * warpgroup + 16 * warp + lane / 4 + i % 2 * 8;
            words[i] = finish_pair(e, out, row, column, sums[at], sums[at + 1]);
        }
        stmatrix_trans_x4(buffer + lane_at + t * (8 * kPanelRow), words);
    }
}

// One thread: copies a panel to C, in the background.
__device__ __forceinline__ void store_panel(const TensorMap &c_map, uint32 buffer, const Tile &tile,
                                            int warpgroup, int panel)
{
    tma_store(c_map, buffer, tile.row0 + 64 * warpgroup, tile.column0 + panel_row(panel),
              tile.batch);
}

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
                                            const Output &out, const Tile &tile,
                                            int warpgroup, int turn,
                                            const float (&sums)[kBlockN / 2])
// clang-format on
{
    // The other warpgroup's have been copied; the very first time there are none.
    mbarrier_wait(smem.vacant(warpgroup), warpgroup == 0 ? turn ^ 1 : turn);
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
        fill_panel(smem.c(panel), panel, e, out, tile, warpgroup, sums);
    }
    fence_proxy_async();
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        mbarrier_arrive(smem.filled(warpgroup));
}

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, 1)
    gemm_sm90_bf16_nn_bias__bm144_bn128_bk64_stages5_cluster1_clustern1_pingpong1_splitk1_streamk1_swap1_group16(
        const __grid_constant__ TensorMap a_map, // 64 columns by block_m rows, or 64 rows, of A
        const __grid_constant__ TensorMap b_map, // the same of B
        const __grid_constant__ TensorMap c_map, // 64 rows by 64 columns of C
        const OutputMatrix c,                    // (batch, m, n)
        const Epilogue e,                        // from a sum of products to an element of C
        const Handover handover,
        const Shape shape)
{
    // clang-format on
    extern __shared__ __align__(1024) unsigned char shared[];
    const Shared smem{smem_address(shared)};
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0); // the same in a warp: tell ptxas
    const int warpgroup = warp / 4 - 1;                            // -1: the producer's
    constexpr int rank = 0;

    if (threadIdx.x == 0) {
        for (int stage = 0; stage < kStages; ++stage) {
            mbarrier_init(smem.full(stage), 1);
            mbarrier_init(smem.empty(stage), 4 * kWarpgroups); // one per warp
        }
        for (int i = 0; i < kWarpgroups; ++i) {
            mbarrier_init(smem.filled(i), 4); // one per warp
            mbarrier_init(smem.vacant(i), 1);
        }
        mbarrier_init_fence();
        tma_prefetch(a_map);
        tma_prefetch(b_map);
    }
    __syncthreads();

    Ring<kStages> ring;
    Piece piece;
    if (warpgroup < 0) {
        release_registers<kLoadRegisters>();
        Walk walk(shape, rank);
        int turn = 0; // parity of the tile, counted from the first
        while (walk.next(shape, piece)) {
            if (threadIdx.x == 0)
                load_tile(smem, ring, a_map, b_map, shape, find_tile(shape, piece.tile, rank),
                          piece.range, rank);
            if (piece.range.end < shape.steps)
                continue; // its sums are left to others
            if (threadIdx.x == 32)
                copy_tile(smem, c_map, find_tile(shape, piece.tile, rank), turn);
            turn ^= 1;
        }
    } else {
        acquire_registers<kMathRegisters>();
        float sums[kBlockN / 2];
        Walk walk(shape, rank);
        int turn = 0; // parity of the tile, counted from the first
        while (walk.next(shape, piece)) {
            const Tile tile = find_tile(shape, piece.tile, rank);
            const Range range = piece.range;
            const Output out{c.data + tile.batch * c.batch, c.row, shape.n, shape.m};
            multiply_tile(smem, ring, range, warpgroup, sums);
            if (range.end < shape.steps) {
                leave_sums(handover, warpgroup, sums);
                continue;
            }
            if (range.begin > 0)
                add_sums(handover, shape, piece, warpgroup, sums);
            // All sums at once: where alpha is 1, as it mostly is, nothing is left to multiply.
            if (e.alpha != 1.0f) {
#pragma unroll
                for (int i = 0; i < kBlockN / 2; ++i)
                    sums[i] *= e.alpha;
            }
            Epilogue end = e;
            end.alpha = 1.0f;
            fill_panels(smem, end, out, tile, warpgroup, turn, sums);
            turn ^= 1;
        }
    }
}
