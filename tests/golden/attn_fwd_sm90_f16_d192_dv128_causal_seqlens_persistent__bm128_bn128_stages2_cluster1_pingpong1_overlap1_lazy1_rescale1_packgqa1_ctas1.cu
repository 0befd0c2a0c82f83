// Attention forward on Hopper: TMA feeds warpgroups that multiply with wgmma.
//
//   fajit-inspect render attn:f16,d192/128,causal,seqlens,kernel=sm90,variant=persistent \
//       --arch sm_90 \
//       --config bm=128,bn=128,stages=2,cluster=1,pingpong=1,overlap=1,lazy=1 \
//       --config rescale=1,packgqa=1,ctas=1
//
// One CTA: 384 threads, 213200 bytes of dynamic shared memory. One KV block: 10485760 FLOPs, 81920
// bytes, 16384 exponentials.
//
// FlashAttention-3's schedule on Hopper: the tensor memory accelerator (TMA) fetches, warpgroups
// multiply with wgmma, and softmax hides behind the products.
//
// A tile is block_m query rows of one head; each consumer warpgroup owns 64 of them and keeps their
// S, P and O in registers. Keys are walked from the last block to the first, so that the blocks
// that need a mask come first. One producer warp fills the rings of K and V tiles. An arrow says
// who waits for whom:
//
//     producer   K(n) Q     K(n-1) V(n)    K(n-2) V(n-1)   ..   next tile: K(n) Q
//                 |          |      |       ^      ^                        ^    ^
//              "full"        |      |    "empty" "empty"                    |    |
//                 v          v      v       |      |                        |    |
//     products  S = QK(n)  S = QK(n-1) ; O = PV(n)   ..  S = QK(0) ; O += PV(1) ; O += PV(0)
//                    |         ^    |      ^                  |                    ^
//     softmax        '-> P(n) -'    '-> P(n-1), O running     '-> P(0), O running -'
//
// A barrier is "full" when its bytes have arrived, "empty" when every warp is done with them.
//
// Within a warpgroup, S = Q K(n-1) and then O += P V(n) are issued back to back; the softmax of
// block n-1 starts when S is ready and runs while the tensor cores work on O.
//
// Between warpgroups, named barriers pass a turn around: a warpgroup issues its two products
// only in its turn, so that softmax of one runs while the tensor cores work for another.
//
// The CTAs stay and walk the tiles. The producer runs ahead into the next tile, so that its Q, K
// and V arrive while this tile's O is written.

constexpr int kHeadDim = 192;       // columns of Q and K
constexpr int kHeadDimV = 128;      // columns of V and O
constexpr int kBlockM = 128;        // query rows of one tile, 64 per consumer warpgroup
constexpr int kBlockN = 128;        // keys of one step
constexpr int kStages = 2;          // K tiles, and V tiles, in shared memory
constexpr int kThreads = 384;       // per CTA: one warpgroup loads, block_m / 64 compute
constexpr int kCtas = 1;            // CTAs of one SM
constexpr int kLoadRegisters = 24;  // of a thread of the loading warpgroup
constexpr int kMathRegisters = 240; // of a thread that computes
constexpr int kSmemBytes = 213200;  // dynamic shared memory of one CTA

// Types, constants and conversions. Nothing is included: NVRTC reads this text and no header.
using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;
using uint64 = unsigned long long;

#define INFINITY __int_as_float(0x7f800000) // as <math.h> would define it

// Strides of a (batch, head, seq, dim) view in elements; dim is contiguous. 64 bits, since
// batch * heads * seq * dim passes 2^31 for tensors people do use.
struct Strides {
    int64 batch;
    int64 head;
    int64 seq;
};

// fp16 (IEEE binary16).
struct element {
    uint16 bits;
};

// 2^x, to 2 units in the last place; 2^-inf = 0.
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// What every attention kernel agrees on: which keys a query sees, which tile a CTA works on.

constexpr float kLog2E = 1.4426950408889634f; // exp(x) = exp2(x * log2(e)): the GPU has exp2

// Query `row` sees the keys 0 .. visible_keys - 1.
__device__ __forceinline__ int visible_keys(int row, int len_q, int len_k)
{
    // The last query sees the last key: the diagonal is shifted by len_k - len_q.
    return max(0, min(len_k, row + 1 + len_k - len_q));
}

// A length read from device memory is not to be trusted with our address arithmetic.
__device__ __forceinline__ int clamp_length(int length, int limit)
{
    return max(0, min(length, limit));
}

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
                                         uint64 policy, int c0, int c1, int c2, int c3)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%4, %5, %6, %7}], [%2], %3;" ::"r"(box),
                 "l"(&map), "r"(barrier), "l"(policy), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

__device__ __forceinline__ void tma_load(uint32 box, const TensorMap &map, uint32 barrier,
                                         uint64 policy, int c0, int c1, int c2, int c3, int c4)
{
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%4, %5, %6, %7, %8}], [%2], %3;" ::"r"(box),
                 "l"(&map), "r"(barrier), "l"(policy), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
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
// wgmma.mma_async m64n128, A and B in shared memory. `accumulate` 0: D = A B.
template <int kTransposeA, int kTransposeB>
__device__ __forceinline__ void wgmma_ss(float (&d)[64], uint32 a, uint32 b, int accumulate)
{
    asm volatile("{\n\t"
                 ".reg .pred accumulate;\n\t"
                 ".reg .b64 a, b;\n\t"
                 "mov.b64 a, {%64, 0x40000040};\n\t"
                 "mov.b64 b, {%65, 0x40000040};\n\t"
                 "setp.ne.b32 accumulate, %66, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
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
                 "%60, %61, %62, %63}, "
                 "a, b, accumulate, 1, 1, %67, %68;\n\t"
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
                 "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
                 : "r"(a), "r"(b), "r"(accumulate), "n"(kTransposeA), "n"(kTransposeB)
                 : "memory");
}

// wgmma.mma_async m64n128, A in registers, B in shared memory. `accumulate` 0: D = A B.
template <int kTransposeB>
__device__ __forceinline__ void wgmma_rs(float (&d)[64], const uint32 *a, uint32 b,
                                         int accumulate)
{
    asm volatile("{\n\t"
                 ".reg .pred accumulate;\n\t"
                 ".reg .b64 b;\n\t"
                 "mov.b64 b, {%68, 0x40000040};\n\t"
                 "setp.ne.b32 accumulate, %69, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
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
                 "%60, %61, %62, %63}, "
                 "{%64, %65, %66, %67}, "
                 "b, accumulate, 1, 1, %70;\n\t"
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
                 "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "r"(accumulate),
                   "n"(kTransposeB)
                 : "memory");
}

// clang-format on

// Ordinary accesses to shared memory by address.

__device__ __forceinline__ void store_shared(uint32 address, int value)
{
    asm volatile("st.shared.s32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

__device__ __forceinline__ int load_shared(uint32 address)
{
    int value;
    asm volatile("ld.shared.s32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
    return value;
}

__device__ __forceinline__ void store_shared_zeros(uint32 address) // 16 bytes
{
    asm volatile("st.shared.v4.s32 [%0], {%1, %1, %1, %1};" ::"r"(address), "r"(0) : "memory");
}

// The order in which tiles of query rows are worked on.
struct TilePlace {
    int block; // of block_m query rows
    int head;  // counted over batch * heads
};

// Heads are walked in sections whose K and V fit in L2 together; within a section all heads do
// their first block, then all do their second, and so on.
__device__ __forceinline__ TilePlace place_tile(int tile, int tiles, int tiles_m, int section)
{
    const int first = tile / (section * tiles_m) * (section * tiles_m); // tile of the section
    const int heads = min(section, (tiles - first) / tiles_m);          // the last may be smaller
    TilePlace place;
    // The last rows see the most keys: they start first, so that no long tile ends alone.
    place.block = tiles_m - 1 - (tile - first) / heads;
    place.head = first / tiles_m + (tile - first) % heads;
    return place;
}

// The tiles of an attention launch. Needs lib/attention.cuh, lib/tile_order.cuh.

// What a launch may change.
struct Shape {
    int *next_tile;       // 0 at the launch: tiles taken after the first one of each CTA
    const int *seqlens_q; // [batch]
    const int *seqlens_k; // [batch]
    int seq_q;
    int seq_k;
    int heads;   // query heads
    int group;   // of these, how many read one KV head
    int section; // of batch * heads, how many are walked together: their K and V stay in L2
    int tiles_m; // tiles of one head
    int tiles;   // batch * heads * tiles_m
    float scale; // positive
};

struct Tile {
    int batch; // -1: no tile
    int head;
    int row0;
    int len_q;
    int len_k;

    // Keys that a row sees.
    __device__ __forceinline__ int keys(int row) const
    {
        return visible_keys(row, len_q, len_k);
    }

    // Blocks of keys that the rows up to `row` see. At least one, so that every tile has a first
    // block: when nothing is seen, that one is masked away.
    __device__ __forceinline__ int blocks(int row) const
    {
        const int last = len_q - 1;
        return max(1, (keys(min(row, last)) + kBlockN - 1) / kBlockN);
    }

    // Blocks that are fetched: those that any row sees.
    __device__ __forceinline__ int blocks() const
    {
        return blocks(row0 + kBlockM - 1);
    }
};

__device__ __forceinline__ Tile find_tile(const Shape &shape, int n)
{
    if (n >= shape.tiles)
        return Tile{-1};
    const TilePlace place = place_tile(n, shape.tiles, shape.tiles_m, shape.section);
    Tile tile;
    tile.batch = place.head / shape.heads;
    tile.head = place.head % shape.heads;
    tile.row0 = place.block * kBlockM;
    tile.len_q = clamp_length(shape.seqlens_q[tile.batch], shape.seq_q);
    tile.len_k = clamp_length(shape.seqlens_k[tile.batch], shape.seq_k);
    return tile;
}

// The first tile of this CTA, and how many are begun at the same time.
__device__ __forceinline__ int first_tile()
{
    return blockIdx.x;
}

__device__ __forceinline__ int tiles_at_once()
{
    return gridDim.x;
}

// Helpers for accumulator fragments (see lib/wgmma.cuh): a row lies in the four lanes of a quad.

__device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}

__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffff, x, 1);
    return x + __shfl_xor_sync(0xffffffff, x, 2);
}

// cvt.rn.{bf16x2,f16x2}: two neighbouring columns, the left one in the lower half.
__device__ __forceinline__ uint32 pack_pair(float left, float right)
{
    uint32 pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    return pair;
}

// A 4 x 4 transpose over a quad: lane q had word q of four rows of 16 bytes, and gets row q.
__device__ __forceinline__ uint4 quad_transpose(uint32 a0, uint32 a1, uint32 a2, uint32 a3)
{
    const bool odd = threadIdx.x & 1;
    const bool high = threadIdx.x & 2;
    // Between neighbours: words {0, 1} or {2, 3} of the rows q % 2 and q % 2 + 2.
    const uint32 b0 = __shfl_xor_sync(0xffffffff, odd ? a0 : a1, 1);
    const uint32 b1 = __shfl_xor_sync(0xffffffff, odd ? a2 : a3, 1);
    const uint32 near0 = odd ? b0 : a0;
    const uint32 near1 = odd ? a1 : b0;
    const uint32 far0 = odd ? b1 : a2;
    const uint32 far1 = odd ? a3 : b1;
    // Between halves of the quad: the other two words of the row that stays.
    const uint32 c0 = __shfl_xor_sync(0xffffffff, high ? near0 : far0, 2);
    const uint32 c1 = __shfl_xor_sync(0xffffffff, high ? near1 : far1, 2);
    return high ? make_uint4(c0, c1, far0, far1) : make_uint4(near0, near1, c0, c1);
}

// Softmax over blocks of scores, for the two rows a thread has in an accumulator fragment (see
// lib/wgmma.cuh): l and O are kept relative to a running m, and corrected when it moves.
struct Softmax {
    float m[2];          // of rows lane / 4 + {0, 8}: what scores are compared with, unscaled
    float offset[2];     // -m * scale * log2(e), 0 for -inf
    float l[2];          // sum of exp(scale * (S - m)), this thread's columns only
    float correction[2]; // exp(scale * (old m - m))
    bool moved;          // correction is to be applied to O; the same in all lanes

    __device__ __forceinline__ void reset()
    {
        m[0] = m[1] = -INFINITY;
        offset[0] = offset[1] = 0.0f;
        l[0] = l[1] = 0.0f;
    }

    // S becomes exp(scale * (S - m)), computed as exp2(S * scale_log2 + offset): the GPU has exp2.
    template <int kCount>
    __device__ __forceinline__ void update(float (&S)[kCount], float scale_log2)
    {
        float top[2]; // of this thread's columns
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float part[4]; // four chains: the links of a single one would wait for each other
#pragma unroll
            for (int i = 0; i < 4; ++i)
                part[i] = S[i / 2 * 4 + 2 * j + i % 2];
#pragma unroll
            for (int t = 2; t < kCount / 4; ++t) {
                part[t % 2 * 2] = fmaxf(part[t % 2 * 2], S[4 * t + 2 * j]);
                part[t % 2 * 2 + 1] = fmaxf(part[t % 2 * 2 + 1], S[4 * t + 2 * j + 1]);
            }
            top[j] = fmaxf(fmaxf(part[0], part[1]), fmaxf(part[2], part[3]));
        }
        // Any m gives the same result as long as nothing overflows, so m need not be the maximum:
        // while no exponential would pass 2^8, it stays, and O and l need no correction.
        const float slack = 8.0f / scale_log2;
        moved = __any_sync(0xffffffff, top[0] > m[0] + slack || top[1] > m[1] + slack);
        if (moved)
            move(top, scale_log2);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float sum[2] = {0.0f, 0.0f};
#pragma unroll
            for (int t = 0; t < kCount / 4; ++t) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float &x = S[4 * t + 2 * j + i];
                    x = exp2_fast(fmaf(x, scale_log2, offset[j]));
                    sum[i] += x;
                }
            }
            l[j] += sum[0] + sum[1];
        }
    }

    __device__ __forceinline__ void move(const float (&top)[2], float scale_log2)
    {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const float m_new = fmaxf(m[j], quad_max(top[j]));
            // While a row has seen no key, m is -inf, and -inf - -inf would be NaN.
            const float finite = m_new == -INFINITY ? 0.0f : m_new;
            correction[j] = exp2_fast((m[j] - finite) * scale_log2);
            l[j] *= correction[j];
            m[j] = m_new;
            offset[j] = -finite * scale_log2;
        }
    }

    template <int kCount> __device__ __forceinline__ void correct(float (&O)[kCount]) const
    {
        if (!moved)
            return;
#pragma unroll
        for (int i = 0; i < kCount; ++i)
            O[i] *= correction[i / 2 % 2];
    }
};

// Shared memory of a CTA of the Hopper attention kernel, and the warp that fills it. Needs
// lib/attn_tiles.cuh, lib/mbarrier.cuh, lib/tma.cuh, lib/shared.cuh.

constexpr int kWarpgroups = kBlockM / 64;       // that compute
constexpr int kDepth = (kHeadDim + 15) / 16;    // k steps of Q K^T; TMA pads with zeros
constexpr int kPanels = (kHeadDim + 63) / 64;   // of Q and K: 64 columns, 128 bytes
constexpr int kPanelsV = (kHeadDimV + 63) / 64; // of V
constexpr int kPanelRow = 128;                  // bytes of a row in a panel
constexpr int kWarps = 4 * kWarpgroups;         // that compute
constexpr int kReaders = kWarps;                // warps that arrive at an "empty" barrier

// Shared memory, in bytes from its start, which is a multiple of 1024 as the swizzle wants.
constexpr int kBytesQ = kPanels * 64 * kPanelRow;       // rows of one warpgroup
constexpr int kBytesK = kPanels * kBlockN * kPanelRow;  // one stage
constexpr int kBytesV = kPanelsV * kBlockN * kPanelRow; // one stage
constexpr int kOffsetK = kWarpgroups * kBytesQ;
constexpr int kOffsetV = kOffsetK + kStages * kBytesK;
constexpr int kOffsetTiles = kOffsetV + kStages * kBytesV;
constexpr int kTileBytes = 32; // one slot
constexpr int kOffsetBarriers = kOffsetTiles + 2 * kTileBytes;

// Barriers, 8 bytes each, from kOffsetBarriers on.
constexpr int kFullQ = 0; // per warpgroup
constexpr int kEmptyQ = kFullQ + kWarpgroups;
constexpr int kFullK = kEmptyQ + kWarpgroups; // per stage
constexpr int kEmptyK = kFullK + kStages;
constexpr int kFullV = kEmptyK + kStages;
constexpr int kEmptyV = kFullV + kStages;
constexpr int kTailV = kEmptyV + kStages; // a V tile with rows past the sequence has arrived
constexpr int kRingsEnd = kTailV + kStages;
constexpr int kFullTile = kRingsEnd; // per slot
constexpr int kEmptyTile = kFullTile + 2;
constexpr int kBarriers = kEmptyTile + 2;
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
    __device__ __forceinline__ uint32 tile(int slot) const
    {
        return base + kOffsetTiles + slot * kTileBytes;
    }
    __device__ __forceinline__ uint32 barrier(int which) const
    {
        return base + kOffsetBarriers + 8 * which;
    }
};

// The producer: one warp, of which one lane talks to the copy engine.
struct Producer {
    Shared smem;
    const TensorMap &q_map; // (head_dim, group, seq_q, heads_kv, batch): rows of one warpgroup
    const TensorMap &k_map; // (head_dim, seq_k, heads_kv, batch): box of a block
    const TensorMap &v_map; // (head_dim_v, seq_k, heads_kv, batch)
    int lane;
    Ring<kStages> k_ring;
    Ring<kStages> v_ring;
    uint32 q_parity;
    uint32 tail_parities; // bit per stage

    // One lane: fetches a block of K or V, panel by panel. `full` receives all of its bytes.
    __device__ __forceinline__ void fetch(uint32 to, const TensorMap &map, uint32 full, int bytes,
                                          const Shape &shape, const Tile &tile, int key)
    {
        mbarrier_arrive_expect(full, bytes);
        for (int p = 0; p < bytes / (kBlockN * kPanelRow); ++p)
            tma_load(to + p * kBlockN * kPanelRow, map, full, kEvictLast, 64 * p, key,
                     tile.head / shape.group, tile.batch);
    }

    __device__ __forceinline__ void load_q(const Shape &shape, const Tile &tile)
    {
        for (int w = 0; w < kWarpgroups; ++w) {
            const uint32 full = smem.barrier(kFullQ + w);
            mbarrier_wait(smem.barrier(kEmptyQ + w), q_parity ^ 1);
            if (lane != 0)
                continue;
            const int query = tile.row0 + 64 * w;
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
        // P is 0 beyond the sequence, but what lies there may be NaN or inf, and 0 * NaN is NaN:
        // these rows of V are zeroed before anyone sees them.
        const int rows = tile.len_k - block * kBlockN;
        const bool tail = rows < kBlockN;
        if (tail)
            full = smem.barrier(kTailV + v_ring.slot);
        if (lane == 0)
            fetch(smem.v(v_ring.slot), v_map, full, kBytesV, shape, tile, block * kBlockN);
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
        v_ring.advance();
    }
};

// Tiles on their way from the producer, which finds them ahead of time, to the warps that compute:
// two slots of shared memory. Finding one takes some divisions, and reading lengths takes longer.
// Needs lib/attn_load.cuh.

struct TileQueue {
    Shared smem;
    int lane;
    Ring<2> ring;

    // By the producer.
    __device__ __forceinline__ void put(const Tile &tile)
    {
        const int words[5] = {tile.batch, tile.head, tile.row0, tile.len_q, tile.len_k};
        const uint32 slot = smem.tile(ring.slot);
        mbarrier_wait(smem.barrier(kEmptyTile + ring.slot), ring.parity ^ 1);
        if (lane == 0) {
            for (int i = 0; i < 5; ++i)
                store_shared(slot + 4 * i, words[i]);
            mbarrier_arrive(smem.barrier(kFullTile + ring.slot));
        }
        ring.advance();
    }

    // By every warp that computes.
    __device__ __forceinline__ Tile get(const Shape &shape)
    {
        const uint32 slot = smem.tile(ring.slot);
        mbarrier_wait(smem.barrier(kFullTile + ring.slot), ring.parity);
        Tile tile;
        tile.batch = uniform(load_shared(slot));
        tile.head = uniform(load_shared(slot + 4));
        tile.row0 = uniform(load_shared(slot + 8));
        tile.len_q = uniform(load_shared(slot + 12));
        tile.len_k = uniform(load_shared(slot + 16));
        if (lane == 0)
            mbarrier_arrive(smem.barrier(kEmptyTile + ring.slot));
        ring.advance();
        return tile;
    }
};

// K runs one block ahead of V, as its use does. The last V is left to the caller.
__device__ __forceinline__ void load_tile(Producer &producer, const Shape &shape, const Tile &tile)
{
    const int last = tile.blocks() - 1;
    producer.load_k(shape, tile, last);
    producer.load_q(shape, tile);
    for (int n = last; n > 0; --n) {
        producer.load_k(shape, tile, n - 1);
        producer.load_v(shape, tile, n);
    }
}

struct Outputs {
    element *o; // (batch, heads, seq_q, head_dim_v)
    Strides o_strides;
};

// A warpgroup that computes: 64 rows. Fragments are in the layouts of lib/wgmma.cuh.
struct Consumer {
    Shared smem;
    int warpgroup;
    int lane;
    Ring<kStages> ring; // the block whose softmax comes next
    uint32 q_parity;

    float S[kBlockN / 2];   // [64, block_n] fp32, accumulator layout
    uint32 P[kBlockN / 4];  // [64, block_n] pairs, A layout
    float O[kHeadDimV / 2]; // [64, head_dim_v] fp32, accumulator layout, unnormalised
    Softmax softmax;
    int first;    // block of this tile
    int unmasked; // blocks before this one need no mask

    // The first row of this thread in the tile; the other one is 8 below.
    __device__ __forceinline__ int row() const
    {
        return 64 * warpgroup + threadIdx.x % 128 / 32 * 16 + lane / 4;
    }

    // "Empty": one arrival per warp, after its part of the product is complete.
    __device__ __forceinline__ void release(int barrier)
    {
        if (lane == 0)
            mbarrier_arrive(smem.barrier(barrier));
    }

    __device__ __forceinline__ void wait_turn()
    {
        named_barrier_sync(1 + warpgroup, 256);
    }

    __device__ __forceinline__ void pass_turn()
    {
        named_barrier_arrive(1 + (warpgroup + 1) % kWarpgroups, 256);
    }

    // S = Q K^T
    __device__ __forceinline__ void begin_scores(Ring<kStages> next)
    {
        mbarrier_wait(smem.barrier(kFullK + next.slot), next.parity);
        const uint32 q = wgmma_descriptor(smem.q(warpgroup), 16);
        const uint32 k = wgmma_descriptor(smem.k(next.slot), 16);
        pin(S);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < kDepth; ++i) {
            const int panel = i / 4 * kPanelRow; // bytes per row
            const int column = i % 4 * 32;
            wgmma_ss<0, 0>(S, q + (panel * 64 + column) / 16, k + (panel * kBlockN + column) / 16,
                           i != 0);
        }
        wgmma_commit();
        pin(S);
    }

    // O = O * correction + P V, or P V alone in the first block of a tile.
    __device__ __forceinline__ void begin_output(bool accumulate)
    {
        if (accumulate)
            softmax.correct(O);
        mbarrier_wait(smem.barrier(kFullV + ring.slot), ring.parity);
        const uint32 v = wgmma_descriptor(smem.v(ring.slot), kBlockN * kPanelRow);
        pin(O);
        pin(P);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < kBlockN / 16; ++i)
            wgmma_rs<1>(O, P + 4 * i, v + i * (16 * kPanelRow / 16), accumulate || i != 0);
        wgmma_commit();
        pin(O);
    }

    __device__ __forceinline__ void mask(const Tile &tile, int block)
    {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int keys = tile.keys(tile.row0 + row() + 8 * j);
            const int columns = keys - block * kBlockN - lane % 4 * 2;
#pragma unroll
            for (int t = 0; t < kBlockN / 8; ++t) {
                if (8 * t >= columns)
                    S[4 * t + 2 * j] = -INFINITY;
                if (8 * t + 1 >= columns)
                    S[4 * t + 2 * j + 1] = -INFINITY;
            }
        }
    }

    __device__ __forceinline__ void store(const Shape &shape, const Tile &tile, const Outputs &out)
    {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int query = tile.row0 + row() + 8 * j;
            const int64 head = tile.head;
            const float total = quad_sum(softmax.l[j]); // by all lanes, rows or not
            const float sum = query < tile.len_q ? total : 0.0f;
            const bool nothing = sum == 0.0f;
            const float inverse = 1.0f / sum;
            element *const o_row = out.o + tile.batch * out.o_strides.batch +
                                   head * out.o_strides.head + query * out.o_strides.seq;
#pragma unroll
            for (int t = 0; t < kHeadDimV / 8; t += 4) {
                uint32 words[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int e = 4 * min(t + i, kHeadDimV / 8 - 1) + 2 * j;
                    words[i] = nothing ? 0 : pack_pair(O[e] * inverse, O[e + 1] * inverse);
                }
                const uint4 chunk = quad_transpose(words[0], words[1], words[2], words[3]);
                const int column = 8 * (t + lane % 4);
                if (query < shape.seq_q && column < kHeadDimV)
                    *reinterpret_cast<uint4 *>(o_row + column) = chunk;
            }
        }
    }

    // Issues the first S of a tile; an empty group stands for the O of a block before.
    __device__ __forceinline__ void begin_tile(const Tile &tile)
    {
        softmax.reset();
        first = tile.blocks(tile.row0 + 64 * warpgroup + 63) - 1;
        unmasked = tile.keys(tile.row0 + 64 * warpgroup) / kBlockN;
        // Kept: the compiler would rather compute them again in every block.
        first = uniform(first);
        unmasked = uniform(unmasked);
        // Blocks that rows of other warpgroups see, but none of this one.
        for (int i = tile.blocks() - 1; i > first; --i) {
            wait_turn();
            mbarrier_wait(smem.barrier(kFullK + ring.slot), ring.parity);
            release(kEmptyK + ring.slot);
            mbarrier_wait(smem.barrier(kFullV + ring.slot), ring.parity);
            release(kEmptyV + ring.slot);
            ring.advance();
            pass_turn();
        }
        mbarrier_wait(smem.barrier(kFullQ + warpgroup), q_parity);
        q_parity ^= 1;
        begin_scores(ring);
        wgmma_commit();
    }

    // S of block n becomes P, in the A layout.
    __device__ __forceinline__ void finish_scores(const Shape &shape, const Tile &tile, int n)
    {
        wgmma_wait<1>();
        pin(S);
        release(kEmptyK + ring.slot);
        if (n == 0)
            release(kEmptyQ + warpgroup);
        if (n >= unmasked)
            mask(tile, n);
        softmax.update(S, shape.scale * kLog2E);
        wgmma_wait<0>(); // O of the block before has read P
        pin(O);
        pin(P);
        if (n != first)
            release(kEmptyV + ring.previous().slot);
#pragma unroll
        for (int i = 0; i < kBlockN / 4; ++i)
            P[i] = pack_pair(S[2 * i], S[2 * i + 1]);
    }

    __device__ __forceinline__ void compute_tile(const Shape &shape, const Tile &tile,
                                                 const Outputs &out)
    {
        begin_tile(tile);
#pragma unroll 1
        for (int n = first;; --n) {
            finish_scores(shape, tile, n);
            if (n == 0)
                break;
            wait_turn();
            begin_scores(ring.next());
            begin_output(n != first);
            pass_turn();
            ring.advance();
        }
        wait_turn();
        begin_output(first != 0);
        pass_turn();
        wgmma_wait<0>();
        pin(O);
        release(kEmptyV + ring.slot);
        ring.advance();
        store(shape, tile, out);
    }
};

extern "C" __global__ void __launch_bounds__(kThreads, kCtas)
    attn_fwd_sm90_f16_d192_dv128_causal_seqlens_persistent__bm128_bn128_stages2_cluster1_pingpong1_overlap1_lazy1_rescale1_packgqa1_ctas1(
        const __grid_constant__ TensorMap q_map, // boxes of Q: see Producer
        const __grid_constant__ TensorMap k_map, // of K
        const __grid_constant__ TensorMap v_map, // of V
        const Outputs out,                       // where results go
        const Shape shape)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    const Shared smem{smem_address(shared)};
    const int warp = uniform(threadIdx.x / 32);
    const int warpgroup = warp / 4;
    const int lane = threadIdx.x % 32;

    if (threadIdx.x == 0) {
        for (int w = 0; w < kWarpgroups; ++w) {
            mbarrier_init(smem.barrier(kFullQ + w), 1);
            mbarrier_init(smem.barrier(kEmptyQ + w), 4);
        }
        for (int s = 0; s < kStages; ++s) {
            mbarrier_init(smem.barrier(kFullK + s), 1);
            mbarrier_init(smem.barrier(kEmptyK + s), kReaders);
            mbarrier_init(smem.barrier(kFullV + s), 1);
            mbarrier_init(smem.barrier(kEmptyV + s), kReaders);
            mbarrier_init(smem.barrier(kTailV + s), 1);
        }
        for (int s = 0; s < 2; ++s) {
            mbarrier_init(smem.barrier(kFullTile + s), 1);
            mbarrier_init(smem.barrier(kEmptyTile + s), kWarps);
        }
        mbarrier_init_fence();
        tma_prefetch(q_map);
        tma_prefetch(k_map);
        tma_prefetch(v_map);
    }
    __syncthreads();

    if (warpgroup == 0) {
        release_registers<kLoadRegisters>();
        if (warp != 0)
            return;
        Producer producer{smem, q_map, k_map, v_map, lane};
        TileQueue queue{smem, lane};
        for (int n = first_tile();;) {
            const Tile tile = find_tile(shape, n);
            queue.put(tile);
            if (tile.batch < 0)
                break;
            load_tile(producer, shape, tile);
            // Taken as late as the next loads allow: who takes early may keep a long tile waiting.
            int taken = 0;
            if (lane == 0)
                taken = atomicAdd(shape.next_tile, 1);
            producer.load_v(shape, tile, 0);
            n = tiles_at_once() + uniform(taken);
        }
        return;
    }

    acquire_registers<kMathRegisters>();
    Consumer c;
    c.smem = smem;
    c.warpgroup = warpgroup - 1;
    c.lane = lane;
    c.q_parity = 0;
    if (c.warpgroup == kWarpgroups - 1)
        c.pass_turn(); // the first turn is the first warpgroup's
    TileQueue queue{smem, lane};
    for (Tile tile = queue.get(shape); tile.batch >= 0; tile = queue.get(shape))
        c.compute_tile(shape, tile, out);
}
