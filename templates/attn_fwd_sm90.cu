//@const  head_dim        columns of Q and K
//@const  head_dim_v      columns of V and O
//@const  block_m         query rows of one tile, 64 per consumer warpgroup
//@const  block_n         keys of one step
//@const  stages          K tiles, and V tiles, in shared memory
//@const  threads         per CTA: one warpgroup loads, block_m / 64 compute
//@const  ctas            CTAs of one SM
//@const  load_registers  of a thread of the loading warpgroup
//@const  math_registers  of a thread that computes
//@const  smem_bytes      dynamic shared memory of one CTA
//@switch dtype f16|bf16  element type of Q, K, V and O
//@switch causal none|bottom_right|top_left  where the diagonal starts
//@switch lse bool        also write the log-sum-exp of every row
//@switch seqlens_q bool  query lengths per batch entry, on the device
//@switch seqlens_k bool  key lengths per batch entry, on the device
//@switch tiles one|static|dynamic  a CTA's tiles: one; a fixed share; the next when it has time
//@switch pack_group int  query heads of one KV head that share a tile's rows; 1: one head
//@switch pingpong bool   the warpgroups issue their products in turn
//@switch overlap bool    softmax of one block runs behind the products of another
//@switch lazy bool       O is rescaled only when a maximum grew by more than 8 bits
//@switch poly int        one pair of exponentials in `poly` is a polynomial; 0: none
//@switch cluster int     CTAs of one cluster
//@require head_dim % 8 == 0 && head_dim_v % 8 == 0 && head_dim <= 256 && head_dim_v <= 256
//@require block_m % 64 == 0 && block_n % 16 == 0 && block_n <= 256
//@require threads == 128 + 2 * block_m
//@require 64 % pack_group == 0 && cluster == 1
//@let wgmma_ss_n block_n
//@let wgmma_rs_n head_dim_v
//@let tma_rank_min 4
//@let tma_rank_max 5
//@let tma_store 0
// FlashAttention-3's schedule on Hopper: the tensor memory accelerator (TMA) fetches, warpgroups
// multiply with wgmma, and softmax hides behind the products.
//
// A tile is block_m query rows of one head; each consumer warpgroup owns 64 of them and keeps their
// S, P and O in registers. Keys are walked from the last block to the first, so that the blocks
// that need a mask come first. One producer warp fills the rings of K and V tiles:
//
//     producer   Q(w) K(n)   K(n-1) V(n)   K(n-2) V(n-1)  ..    V(0)      Q(w) K(n) of the next tile
//                 |    |       |     |        waits for "empty"            waits for "Q empty"
//     full        v    v       v     v                                      ^
//     warpgroup  S = Q K(n)  S = Q K(n-1)                                   |
//                            O = P V(n)  O += P V(n-1) ..  O += P V(0)      |
//     softmax          P(n) ------^ P(n-1) ---^                             |
//     empty                K(n)       V(n)  K(n-1)  ..  Q, after the last S = Q K(0)
//
//@if overlap
// Within a warpgroup, S = Q K(n-1) and then O += P V(n) are issued back to back; the softmax of
// block n-1 starts when S is ready and runs while the tensor cores work on O.
//@else
// A warpgroup waits for each of its products; the other warpgroups' products run meanwhile.
//@end
//@if pingpong
// Between warpgroups, named barriers pass a turn around: a warpgroup issues its two products
// only in its turn, so that softmax of one runs while the tensor cores work for another.
//@end
//@if tiles != one
// The CTAs stay and walk the tiles. The producer runs ahead into the next tile, so that its Q, K
// and V arrive while this tile's O is written.
//@end
//@prelude

//@include lib/base.cuh
//@include lib/attention.cuh
//@include lib/mbarrier.cuh
//@include lib/tma.cuh
//@include lib/wgmma.cuh
//@include lib/fragment.cuh
//@include lib/shared.cuh

constexpr int kWarpgroups = kBlockM / 64;             // that compute
constexpr int kDepth = (kHeadDim + 15) / 16;          // k steps of Q K^T; TMA pads with zeros
constexpr int kPanels = (kHeadDim + 63) / 64;         // of Q and K: 64 columns, 128 bytes
constexpr int kPanelsV = (kHeadDimV + 63) / 64;       // of V
constexpr int kPanelRow = 128;                        // bytes of a row in a panel
constexpr int kWarps = 4 * kWarpgroups;               // that arrive at an "empty" barrier

// Shared memory, in bytes from its start, which is a multiple of 1024 as the swizzle wants.
constexpr int kBytesQ = kPanels * 64 * kPanelRow;       // rows of one warpgroup
constexpr int kBytesK = kPanels * kBlockN * kPanelRow;  // one stage
constexpr int kBytesV = kPanelsV * kBlockN * kPanelRow; // one stage
constexpr int kOffsetK = kWarpgroups * kBytesQ;
constexpr int kOffsetV = kOffsetK + kStages * kBytesK;
constexpr int kOffsetBarriers = kOffsetV + kStages * kBytesV;

// Barriers, 8 bytes each, from kOffsetBarriers on.
constexpr int kFullQ = 0; // per warpgroup
constexpr int kEmptyQ = kFullQ + kWarpgroups;
constexpr int kFullK = kEmptyQ + kWarpgroups; // per stage
constexpr int kEmptyK = kFullK + kStages;
constexpr int kFullV = kEmptyK + kStages;
constexpr int kEmptyV = kFullV + kStages;
constexpr int kTailV = kEmptyV + kStages; // a V tile with rows past the sequence has arrived
constexpr int kFullTile = kTailV + 1; // per slot
constexpr int kEmptyTile = kFullTile + 2;
constexpr int kSlotTile = kEmptyTile + 2; // no barriers: tile numbers that the producer has taken
constexpr int kBarriers = kSlotTile + 2;
static_assert(kOffsetBarriers + 8 * kBarriers == kSmemBytes, "host and kernel agree");

// What a launch may change. A row of a tile is a query, or a query of one of pack_group heads.
struct Shape {
    //@if tiles == dynamic
    int *next_tile; // 0 at the launch: how many tiles have been taken after the first ones
    //@end
    //@if seqlens_q
    const int *seqlens_q; // [batch]
    //@end
    //@if seqlens_k
    const int *seqlens_k; // [batch]
    //@end
    int seq_q;
    int seq_k;
    int heads;        // query heads / pack_group
    int group;        // of these, how many read one KV head
    int heads_all;    // batch * heads
    int section;      // of these, how many are walked together: their K and V stay in L2
    int tiles_m;      // tiles of one head
    int tiles;        // heads_all * tiles_m
    float scale;      // positive
};

struct Outputs {
    element *o; // (batch, heads, seq_q, head_dim_v)
    Strides o_strides;
    //@if lse
    float *lse; // (batch, heads, seq_q)
    Strides lse_strides;
    //@end
};

struct Tile {
    int batch;
    int head; // in units of pack_group query heads
    int row0;
    int len_q;
    int len_k;

    // Keys that a row sees.
    __device__ __forceinline__ int keys(int row) const
    {
        return visible_keys(row / $pack_group, len_q, len_k);
    }

    // Blocks of keys that the rows up to `row` see. At least one, so that every tile has a first
    // block: when nothing is seen, that one is masked away.
    __device__ __forceinline__ int blocks(int row) const
    {
        return max(1, (keys(min(row, len_q * $pack_group - 1)) + kBlockN - 1) / kBlockN);
    }
};

// The n-th tile: longest first within a section of heads, so that no long tile ends alone.
__device__ __forceinline__ Tile find_tile(const Shape &shape, int n)
{
    const int section = n / (shape.section * shape.tiles_m);
    const int within = n % (shape.section * shape.tiles_m);
    const int first = section * shape.section;
    const int width = min(shape.section, shape.heads_all - first);
    const int head = first + within % width;

    Tile tile;
    tile.batch = head / shape.heads;
    tile.head = head % shape.heads;
    tile.row0 = (shape.tiles_m - 1 - within / width) * kBlockM;
    //@if seqlens_q
    tile.len_q = clamp_length(shape.seqlens_q[tile.batch], shape.seq_q);
    //@else
    tile.len_q = shape.seq_q;
    //@end
    //@if seqlens_k
    tile.len_k = clamp_length(shape.seqlens_k[tile.batch], shape.seq_k);
    //@else
    tile.len_k = shape.seq_k;
    //@end
    return tile;
}

//@if tiles == static
// The tile that this CTA works on in the given round. Odd rounds run backwards, so that a CTA that
// got a longer tile gets a shorter one next.
__device__ __forceinline__ int tile_of_round(int round)
{
    const int lane = round % 2 == 0 ? blockIdx.x : gridDim.x - 1 - blockIdx.x;
    return round * gridDim.x + lane;
}

//@end
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
    __device__ __forceinline__ uint32 barrier(int which) const
    {
        return base + kOffsetBarriers + 8 * which;
    }
};

// The producer: one warp, of which one lane talks to the copy engine.
struct Producer {
    Shared smem;
    const TensorMap &q_map; // (head_dim, group, seq_q, heads_kv, batch): box of one warpgroup
    const TensorMap &k_map; // (head_dim, seq_k, heads_kv, batch): box of a block
    const TensorMap &v_map; // (head_dim_v, seq_k, heads_kv, batch)
    int lane;
    Ring<kStages> k_ring;
    Ring<kStages> v_ring;
    uint32 q_parity;
    uint32 tail_parity;

    __device__ __forceinline__ void load_q(const Shape &shape, const Tile &tile)
    {
        for (int w = 0; w < kWarpgroups; ++w) {
            const uint32 full = smem.barrier(kFullQ + w);
            mbarrier_wait(smem.barrier(kEmptyQ + w), q_parity ^ 1);
            if (lane != 0)
                continue;
            mbarrier_arrive_expect(full, kBytesQ);
            for (int p = 0; p < kPanels; ++p)
                tma_load(smem.q(w) + p * 64 * kPanelRow, q_map, full, kEvictFirst, 64 * p,
                         tile.head % shape.group, (tile.row0 + 64 * w) / $pack_group,
                         tile.head / shape.group, tile.batch);
        }
        q_parity ^= 1;
    }

    __device__ __forceinline__ void load_k(const Shape &shape, const Tile &tile, int block)
    {
        const uint32 full = smem.barrier(kFullK + k_ring.slot);
        mbarrier_wait(smem.barrier(kEmptyK + k_ring.slot), k_ring.parity ^ 1);
        if (lane == 0) {
            mbarrier_arrive_expect(full, kBytesK);
            for (int p = 0; p < kPanels; ++p)
                tma_load(smem.k(k_ring.slot) + p * kBlockN * kPanelRow, k_map, full, kEvictLast,
                         64 * p, block * kBlockN, tile.head / shape.group, tile.batch);
        }
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
            full = smem.barrier(kTailV);
        //@end
        if (lane == 0) {
            mbarrier_arrive_expect(full, kBytesV);
            for (int p = 0; p < kPanelsV; ++p)
                tma_load(smem.v(v_ring.slot) + p * kBlockN * kPanelRow, v_map, full, kEvictLast,
                         64 * p, block * kBlockN, tile.head / shape.group, tile.batch);
        }
        //@if seqlens_k
        if (tail) {
            mbarrier_wait(full, tail_parity);
            tail_parity ^= 1;
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

    // K runs one block ahead of V, as its use does. The last V is left to the caller.
    __device__ __forceinline__ void load_tile(const Shape &shape, const Tile &tile)
    {
        const int last = tile.blocks(tile.row0 + kBlockM - 1) - 1;
        load_k(shape, tile, last);
        load_q(shape, tile);
        for (int n = last; n > 0; --n) {
            load_k(shape, tile, n - 1);
            load_v(shape, tile, n);
        }
    }
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
    float m[2];             // of rows lane / 4 + {0, 8}: what S is compared with, unscaled
    float offset[2];        // -m * scale * log2(e), 0 for -inf
    float l[2];             // sum of exp(S - m), this thread's columns only
    float correction[2];    // exp(old m - m)
    bool rescale;           // O is still to be multiplied by it
    int first;              // block of this tile
    int unmasked;           // blocks before this one need no mask

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
        //@if pingpong
        named_barrier_sync(1 + warpgroup, 256);
        //@end
    }

    __device__ __forceinline__ void pass_turn()
    {
        //@if pingpong
        named_barrier_arrive(1 + (warpgroup + 1) % kWarpgroups, 256);
        //@end
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
            correct();
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

    // S becomes exp(scale * (S - m)), with exp(x) = exp2(x * log2(e)): the GPU has exp2.
    __device__ __forceinline__ void softmax(float scale_log2)
    {
        float top[2]; // of this thread's columns
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float part[4]; // four chains: one alone would wait for itself
#pragma unroll
            for (int i = 0; i < 4; ++i)
                part[i] = S[i / 2 * 4 + 2 * j + i % 2];
#pragma unroll
            for (int t = 2; t < kBlockN / 8; ++t) {
                part[t % 2 * 2] = fmaxf(part[t % 2 * 2], S[4 * t + 2 * j]);
                part[t % 2 * 2 + 1] = fmaxf(part[t % 2 * 2 + 1], S[4 * t + 2 * j + 1]);
            }
            top[j] = fmaxf(fmaxf(part[0], part[1]), fmaxf(part[2], part[3]));
        }
        //@if lazy
        // Any m gives the same result as long as nothing overflows, so m need not be the maximum:
        // while no exponential would pass 2^8, it stays, and O and l need no correction.
        const float slack = 8.0f / scale_log2;
        rescale = __any_sync(0xffffffff, top[0] > m[0] + slack || top[1] > m[1] + slack);
        //@else
        rescale = true;
        //@end
        if (rescale) {
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
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float sum[2] = {0.0f, 0.0f};
#pragma unroll
            for (int t = 0; t < kBlockN / 8; ++t) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float &x = S[4 * t + 2 * j + i];
                    //@if poly > 0
                    if (t % $poly == $poly - 1)
                        x = exp2_poly(x, scale_log2 / 256.0f, (offset[j] + 127.0f) / 256.0f);
                    else
                    //@end
                        x = exp2_fast(fmaf(x, scale_log2, offset[j]));
                    sum[i] += x;
                }
            }
            l[j] += sum[0] + sum[1];
        }
    }

    __device__ __forceinline__ void correct()
    {
        //@watch O [64, head_dim_v] acc regs=head_dim_v/2
        if (!rescale)
            return;
#pragma unroll
        for (int i = 0; i < kHeadDimV / 2; ++i)
            O[i] *= correction[i / 2 % 2];
    }

    // Issues the first products of a tile; an empty group stands for the O of a block before.
    __device__ __forceinline__ void begin_tile(const Tile &tile)
    {
        m[0] = m[1] = -INFINITY;
        offset[0] = offset[1] = 0.0f;
        l[0] = l[1] = 0.0f;
        first = tile.blocks(tile.row0 + 64 * warpgroup + 63) - 1;
        unmasked = tile.keys(tile.row0 + 64 * warpgroup) / kBlockN;
        //@if causal != none && block_m > 64
        // Blocks that rows of other warpgroups see, but none of this one.
        for (int i = tile.blocks(tile.row0 + kBlockM - 1) - 1; i > first; --i) {
            wait_turn();
            mbarrier_wait(smem.barrier(kFullK + ring.slot), ring.parity);
            release(kEmptyK + ring.slot);
            mbarrier_wait(smem.barrier(kFullV + ring.slot), ring.parity);
            release(kEmptyV + ring.slot);
            ring.advance();
            pass_turn();
        }
        //@end
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
        //@watch S [64, block_n] acc regs=block_n/2
        softmax(shape.scale * kLog2E);
        //@watch m [64] row regs=2
        //@watch l [64] row_sum regs=2
        //@if overlap
        wgmma_wait<0>(); // O of the block before has read P
        pin(O);
        pin(P);
        if (n != first)
            release(kEmptyV + ring.previous().slot);
        //@end
#pragma unroll
        for (int i = 0; i < kBlockN / 4; ++i)
            P[i] = pack_pair(S[2 * i], S[2 * i + 1]);
        //@watch P [64, block_n] a_$dtype regs=block_n/4
    }

    __device__ __forceinline__ void store(const Shape &shape, const Tile &tile, const Outputs &out)
    {
        //@watch O [64, head_dim_v] acc regs=head_dim_v/2
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int packed = tile.row0 + row() + 8 * j;
            const int query = packed / $pack_group;
            const int64 head = tile.head * $pack_group + packed % $pack_group;
            const float total = quad_sum(l[j]); // every lane takes part, its row valid or not
            const float sum = query < tile.len_q ? total : 0.0f;
            const bool nothing = sum == 0.0f;
            const float inverse = 1.0f / sum;
            //@if lse
            if (query < shape.seq_q && lane % 4 == 0)
                out.lse[tile.batch * out.lse_strides.batch + head * out.lse_strides.head +
                        query * out.lse_strides.seq] =
                    nothing ? -INFINITY : m[j] * shape.scale + log2f(sum) * kLn2;
            //@end
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
};

extern "C" __global__ void __launch_bounds__(kThreads, kCtas) $kernel_name(
    const __grid_constant__ TensorMap q_map, // see Producer
    const __grid_constant__ TensorMap k_map, //
    const __grid_constant__ TensorMap v_map, //
    const Outputs out,                       //
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
            mbarrier_init(smem.barrier(kEmptyK + s), kWarps);
            mbarrier_init(smem.barrier(kFullV + s), 1);
            mbarrier_init(smem.barrier(kEmptyV + s), kWarps);
        }
        for (int s = 0; s < 2; ++s) {
            mbarrier_init(smem.barrier(kFullTile + s), 1);
            mbarrier_init(smem.barrier(kEmptyTile + s), kWarps);
        }
        mbarrier_init(smem.barrier(kTailV), 1);
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
        //@if tiles == one
        const Tile tile = find_tile(shape, blockIdx.x);
        producer.load_tile(shape, tile);
        producer.load_v(shape, tile, 0);
        //@elif tiles == static
        for (int i = 0; tile_of_round(i) < shape.tiles; ++i) {
            const Tile tile = find_tile(shape, tile_of_round(i));
            producer.load_tile(shape, tile);
            producer.load_v(shape, tile, 0);
        }
        //@else
        int n = blockIdx.x;
        for (Ring<2> ring;; ring.advance()) {
            mbarrier_wait(smem.barrier(kEmptyTile + ring.slot), ring.parity ^ 1);
            if (lane == 0) {
                store_shared(smem.barrier(kSlotTile + ring.slot), n);
                mbarrier_arrive(smem.barrier(kFullTile + ring.slot));
            }
            if (n >= shape.tiles)
                break;
            const Tile tile = find_tile(shape, n);
            producer.load_tile(shape, tile);
            // Taken as late as the next loads allow: who takes early may keep a long tile waiting.
            int taken;
            if (lane == 0)
                taken = atomicAdd(shape.next_tile, 1);
            producer.load_v(shape, tile, 0);
            n = gridDim.x + uniform(taken);
        }
        //@end
        return;
    }

    acquire_registers<kMathRegisters>();
    Consumer c;
    c.smem = smem;
    c.warpgroup = warpgroup - 1;
    c.lane = lane;
    c.q_parity = 0;
    //@if pingpong
    if (c.warpgroup == kWarpgroups - 1)
        c.pass_turn(); // the first turn is the first warpgroup's
    //@end
    //@if tiles == one
    {
        const Tile tile = find_tile(shape, blockIdx.x);
    //@elif tiles == static
    for (int i = 0; tile_of_round(i) < shape.tiles; ++i) {
        const Tile tile = find_tile(shape, tile_of_round(i));
    //@else
    for (Ring<2> ring;; ring.advance()) {
        mbarrier_wait(smem.barrier(kFullTile + ring.slot), ring.parity);
        const int taken = uniform(load_shared(smem.barrier(kSlotTile + ring.slot)));
        c.release(kEmptyTile + ring.slot);
        if (taken >= shape.tiles)
            break;
        const Tile tile = find_tile(shape, taken);
    //@end
        c.begin_tile(tile);
#pragma unroll 1
        for (int n = c.first;; --n) {
            c.finish_scores(shape, tile, n);
            if (n == 0)
                break;
            c.wait_turn();
            //@if overlap
            c.begin_scores(c.ring.next());
            c.begin_output(n != c.first);
            //@else
            c.begin_output(n != c.first);
            wgmma_wait<0>();
            pin(c.O);
            c.release(kEmptyV + c.ring.slot);
            c.begin_scores(c.ring.next());
            wgmma_commit(); // an empty group, as at the start of a tile
            //@end
            c.pass_turn();
            c.ring.advance();
        }
        c.wait_turn();
        c.begin_output(c.first != 0);
        c.pass_turn();
        wgmma_wait<0>();
        pin(c.O);
        c.release(kEmptyV + c.ring.slot);
        c.ring.advance();
        c.store(shape, tile, out);
    }
}
