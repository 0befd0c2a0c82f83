//@const  head_dim        columns of Q and K
//@const  head_dim_v      columns of V and O
//@const  block_m         query rows of one tile, 64 per consumer warpgroup
//@const  block_n         keys of one step
//@const  stages          K tiles, and V tiles, in shared memory
//@const  threads         per CTA: one warpgroup loads, block_m / 64 compute
//@const  ctas            CTAs of one SM
//@const  load_registers  of a thread of the loading warpgroup
//@const  math_registers  of a thread that computes
//@const  pack_group      query heads of one KV head that share a tile's rows
//@const  cluster         CTAs of one cluster, which share the keys they read
//@const  smem_bytes      dynamic shared memory of one CTA
//@switch dtype f16|bf16  element type of Q, K, V and O
//@switch causal none|bottom_right|top_left  where the diagonal starts
//@switch lse bool        also write the log-sum-exp of every row
//@switch seqlens_q bool  query lengths per batch entry, on the device
//@switch seqlens_k bool  key lengths per batch entry, on the device
//@switch tiles one|static|dynamic  a CTA's tiles: one; a fixed share; the next when it has time
//@switch pingpong bool   the warpgroups issue their products in turn
//@switch overlap bool    softmax of one block runs behind the products of another
//@switch lazy bool       O is rescaled only when a maximum grew by more than 8 bits
//@switch rescale late|early  O is rescaled behind the next scores; before they are begun
//@switch poly int        one pair of exponentials in `poly` is a polynomial; 0: none
//@require head_dim % 8 == 0 && head_dim_v % 8 == 0 && head_dim <= 256 && head_dim_v <= 256
//@require block_m % 64 == 0 && block_n % 16 == 0 && block_n <= 256
//@require threads == 128 + 2 * block_m
//@require 64 % pack_group == 0
//@require block_n % (8 * cluster) == 0
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
//@if overlap
// Within a warpgroup, S = Q K(n-1) and then O += P V(n) are issued back to back; the softmax of
// block n-1 starts when S is ready and runs while the tensor cores work on O.
//@else
// A warpgroup waits for each of its products; the other warpgroups' products run meanwhile.
//@end
//@if pingpong
//
// Between warpgroups, named barriers pass a turn around: a warpgroup issues its two products
// only in its turn, so that softmax of one runs while the tensor cores work for another.
//@end
//@if tiles != one
//
// The CTAs stay and walk the tiles. The producer runs ahead into the next tile, so that its Q, K
// and V arrive while this tile's O is written.
//@end
//@if cluster > 1
//
// The CTAs of a cluster work on neighbouring tiles of one head: each fetches a part of every K and
// V tile for all of them, so that L2 is read once. A slot is "empty" when every warp of every CTA
// is done with it.
//@end
//@prelude

//@include lib/base.cuh
//@include lib/attention.cuh
//@include lib/mbarrier.cuh
//@include lib/tma.cuh
//@include lib/wgmma.cuh
//@include lib/shared.cuh
//@include lib/tile_order.cuh
//@include lib/attn_tiles.cuh
//@include lib/fragment.cuh
//@include lib/softmax.cuh
//@include lib/attn_load.cuh
//@if tiles != one
//@include lib/tile_queue.cuh
//@end

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
    //@if lse
    float *lse; // (batch, heads, seq_q)
    Strides lse_strides;
    //@end
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
        //@if cluster > 1
        if (lane < kCluster)
            mbarrier_arrive_remote(smem.barrier(barrier), lane);
        //@else
        if (lane == 0)
            mbarrier_arrive(smem.barrier(barrier));
        //@end
    }
    //@if cluster > 1

    // The same for Q, which is this CTA's own.
    __device__ __forceinline__ void release_q()
    {
        if (lane == 0)
            mbarrier_arrive(smem.barrier(kEmptyQ + warpgroup));
    }
    //@end

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
        //@watch Q=smem.q(warpgroup) [64, head_dim] swizzle_$dtype pitch=64
        //@watch K=smem.k(next.slot) [block_n, head_dim] swizzle_$dtype pitch=block_n
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

    //@if rescale == late
    // O = O * correction + P V, or P V alone in the first block of a tile.
    //@else
    // O += P V, or O = P V in the first block of a tile.
    //@end
    __device__ __forceinline__ void begin_output(bool accumulate)
    {
        //@if rescale == late
        if (accumulate)
            softmax.correct(O);
        //@end
        mbarrier_wait(smem.barrier(kFullV + ring.slot), ring.parity);
        //@watch V=smem.v(ring.slot) [block_n, head_dim_v] swizzle_$dtype pitch=block_n
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
        //@watch O [64, head_dim_v] acc regs=head_dim_v/2
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            //@if pack_group > 1
            const int packed = tile.row0 + row() + 8 * j;
            const int query = packed / kPackGroup;
            const int64 head = tile.head * kPackGroup + packed % kPackGroup;
            //@else
            const int query = tile.row0 + row() + 8 * j;
            const int64 head = tile.head;
            //@end
            const float total = quad_sum(softmax.l[j]); // by all lanes, rows or not
            const float sum = query < tile.len_q ? total : 0.0f;
            const bool nothing = sum == 0.0f;
            const float inverse = 1.0f / sum;
            //@if lse
            if (query < shape.seq_q && lane % 4 == 0)
                out.lse[tile.batch * out.lse_strides.batch + head * out.lse_strides.head +
                        query * out.lse_strides.seq] =
                    nothing ? -INFINITY : softmax.m[j] * shape.scale + log2f(sum) * kLn2;
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

    // Issues the first S of a tile; an empty group stands for the O of a block before.
    __device__ __forceinline__ void begin_tile(const Tile &tile)
    {
        softmax.reset();
        first = tile.blocks(tile.row0 + 64 * warpgroup + 63) - 1;
        unmasked = tile.keys(tile.row0 + 64 * warpgroup) / kBlockN;
        //@if causal != none
        // Kept: the compiler would rather compute them again in every block.
        first = uniform(first);
        unmasked = uniform(unmasked);
        //@end
        //@if causal != none && (block_m > 64 || cluster > 1)
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
        //@if cluster > 1
        if (n == 0)
            release_q();
        //@else
        if (n == 0)
            release(kEmptyQ + warpgroup);
        //@end
        if (n >= unmasked)
            mask(tile, n);
        softmax.update(S, shape.scale * kLog2E);
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
        //@if rescale == early
        if (n != first)
            softmax.correct(O);
        //@end
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
            //@if overlap
            begin_scores(ring.next());
            begin_output(n != first);
            //@else
            begin_output(n != first);
            wgmma_wait<0>();
            pin(O);
            release(kEmptyV + ring.slot);
            begin_scores(ring.next());
            wgmma_commit(); // an empty group, as at the start of a tile
            //@end
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

extern "C" __global__ void __launch_bounds__(kThreads, kCtas) $kernel_name(
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
            //@if seqlens_k
            mbarrier_init(smem.barrier(kTailV + s), 1);
            //@end
        }
        //@if tiles != one
        for (int s = 0; s < 2; ++s) {
            mbarrier_init(smem.barrier(kFullTile + s), 1);
            //@if sends
            mbarrier_init(smem.barrier(kEmptyTile + s), kReaders + kCluster - 1); // and producers
            //@else
            mbarrier_init(smem.barrier(kEmptyTile + s), kWarps);
            //@end
        }
        //@end
        mbarrier_init_fence();
        tma_prefetch(q_map);
        tma_prefetch(k_map);
        tma_prefetch(v_map);
    }
    //@if cluster > 1
    cluster_sync();
    //@else
    __syncthreads();
    //@end

    if (warpgroup == 0) {
        release_registers<kLoadRegisters>();
        if (warp != 0)
            return;
        Producer producer{smem, q_map, k_map, v_map, lane};
        //@if tiles == one
        const Tile tile = find_tile(shape, first_tile());
        load_tile(producer, shape, tile);
        producer.load_v(shape, tile, 0);
        //@elif tiles == static
        TileQueue queue{smem, lane};
        for (int i = 0;; ++i) {
            const Tile tile = find_tile(shape, tile_of_round(i));
            queue.put(tile);
            if (tile.batch < 0)
                break;
            load_tile(producer, shape, tile);
            producer.load_v(shape, tile, 0);
        }
        //@else
        TileQueue queue{smem, lane};
        //@if sends
        const bool takes = cluster_rank() == 0;
        //@end
        for (int n = first_tile();;) {
            //@if sends
            Tile tile;
            if (takes) {
                tile = find_tile(shape, n);
                queue.put(tile);
            } else {
                tile = queue.get(shape);
            }
            //@else
            const Tile tile = find_tile(shape, n);
            queue.put(tile);
            //@end
            if (tile.batch < 0)
                break;
            load_tile(producer, shape, tile);
            // Taken as late as the next loads allow: who takes early may keep a long tile waiting.
            int taken = 0;
            //@if sends
            if (takes && lane == 0)
                taken = atomicAdd(shape.next_tile, 1);
            //@else
            if (lane == 0)
                taken = atomicAdd(shape.next_tile, 1);
            //@end
            producer.load_v(shape, tile, 0);
            n = tiles_at_once() + uniform(taken);
        }
        //@end
        //@if cluster > 1
        __syncwarp();
        cluster_sync(); // nothing may still be on its way into a CTA that is gone
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
    c.compute_tile(shape, find_tile(shape, first_tile()), out);
    //@else
    TileQueue queue{smem, lane};
    for (Tile tile = queue.get(shape); tile.batch >= 0; tile = queue.get(shape))
        c.compute_tile(shape, tile, out);
    //@end
    //@if cluster > 1
    __syncwarp();
    cluster_sync();
    //@end
}
