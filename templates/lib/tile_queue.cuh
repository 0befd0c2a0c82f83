// Tiles on their way from the producer, which finds them ahead of time, to the warps that compute:
// two slots of shared memory. Finding one takes some divisions, and reading lengths takes longer.
// Needs lib/attn_load.cuh.
//@let sends cluster > 1 && tiles == dynamic
//@if sends
//
// The first CTA of a cluster takes tiles for all of them. Its barriers say when slots may be
// written.

// mapa, then a store to the same place in another CTA of the cluster.
__device__ __forceinline__ void store_remote(uint32 address, int value, int cta)
{
    asm volatile("{\n\t"
                 ".reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %0, %2;\n\t"
                 "st.shared::cluster.s32 [remote], %1;\n\t"
                 "}" ::"r"(address),
                 "r"(value), "r"(cta)
                 : "memory");
}

// An arrival there that this thread's stores come before.
__device__ __forceinline__ void mbarrier_arrive_release(uint32 barrier, int cta)
{
    asm volatile("{\n\t"
                 ".reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n\t"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n\t"
                 "}" ::"r"(barrier),
                 "r"(cta)
                 : "memory");
}

// Waits for arrivals that stores of other CTAs come before.
__device__ __forceinline__ void mbarrier_wait_acquire(uint32 barrier, uint32 parity)
{
    asm volatile("{\n\t"
                 ".reg .pred done;\n"
                 "again_%=:\n\t"
                 "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra again_%=;\n\t"
                 "}" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}
//@end

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
        //@if sends
        if (lane < kCluster) {
            for (int i = 0; i < 5; ++i)
                store_remote(slot + 4 * i, words[i], lane);
            mbarrier_arrive_release(smem.barrier(kFullTile + ring.slot), lane);
        }
        //@else
        if (lane == 0) {
            for (int i = 0; i < 5; ++i)
                store_shared(slot + 4 * i, words[i]);
            mbarrier_arrive(smem.barrier(kFullTile + ring.slot));
        }
        //@end
        ring.advance();
    }

    // By every warp that computes.
    //@if sends
    // And by the other CTAs' producers.
    //@end
    __device__ __forceinline__ Tile get(const Shape &shape)
    {
        const uint32 slot = smem.tile(ring.slot);
        //@if sends
        mbarrier_wait_acquire(smem.barrier(kFullTile + ring.slot), ring.parity);
        //@else
        mbarrier_wait(smem.barrier(kFullTile + ring.slot), ring.parity);
        //@end
        Tile tile;
        tile.batch = uniform(load_shared(slot));
        tile.head = uniform(load_shared(slot + 4));
        tile.row0 = uniform(load_shared(slot + 8));
        //@if sends
        tile.row0 += cluster_rank() * kBlockM;
        //@end
        //@if seqlens_q
        tile.len_q = uniform(load_shared(slot + 12));
        //@else
        tile.len_q = shape.seq_q;
        //@end
        //@if seqlens_k
        tile.len_k = uniform(load_shared(slot + 16));
        //@else
        tile.len_k = shape.seq_k;
        //@end
        //@if sends
        if (lane == 0)
            mbarrier_arrive_remote(smem.barrier(kEmptyTile + ring.slot), 0);
        //@else
        if (lane == 0)
            mbarrier_arrive(smem.barrier(kEmptyTile + ring.slot));
        //@end
        ring.advance();
        return tile;
    }
};
