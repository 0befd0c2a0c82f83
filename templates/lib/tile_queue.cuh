// Tile numbers on their way from the producer that takes them to the warps that work on them: two
// slots of shared memory. Needs lib/attn_load.cuh.
//@if cluster > 1
//
// The first CTA of a cluster takes for all of them. Its barriers say when a slot may be written.

// mapa, then a store to the same place in another CTA of the cluster and an arrival there that the
// store comes before.
__device__ __forceinline__ void send(uint32 word, int value, uint32 barrier, int cta)
{
    asm volatile("{\n\t"
                 ".reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %0, %3;\n\t"
                 "st.shared::cluster.s32 [remote], %1;\n\t"
                 "mapa.shared::cluster.u32 remote, %2, %3;\n\t"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n\t"
                 "}" ::"r"(word),
                 "r"(value), "r"(barrier), "r"(cta)
                 : "memory");
}

// Waits for what another CTA sent.
__device__ __forceinline__ void wait_sent(uint32 barrier, uint32 parity)
{
    asm volatile("{\n\t"
                 ".reg .pred done;\n"
                 "wait_sent_%=:\n\t"
                 "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra wait_sent_%=;\n\t"
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
    __device__ __forceinline__ void put(int n)
    {
        mbarrier_wait(smem.barrier(kEmptyTile + ring.slot), ring.parity ^ 1);
        //@if cluster > 1
        if (lane < kCluster)
            send(smem.barrier(kSlotTile + ring.slot), n, smem.barrier(kFullTile + ring.slot), lane);
        //@else
        if (lane == 0) {
            store_shared(smem.barrier(kSlotTile + ring.slot), n);
            mbarrier_arrive(smem.barrier(kFullTile + ring.slot));
        }
        //@end
        ring.advance();
    }

    // By every warp that computes.
    //@if cluster > 1
    // And by the other CTAs' producers.
    //@end
    __device__ __forceinline__ int get()
    {
        //@if cluster > 1
        wait_sent(smem.barrier(kFullTile + ring.slot), ring.parity);
        //@else
        mbarrier_wait(smem.barrier(kFullTile + ring.slot), ring.parity);
        //@end
        const int n = uniform(load_shared(smem.barrier(kSlotTile + ring.slot)));
        //@if cluster > 1
        if (lane == 0)
            mbarrier_arrive_remote(smem.barrier(kEmptyTile + ring.slot), 0);
        //@else
        if (lane == 0)
            mbarrier_arrive(smem.barrier(kEmptyTile + ring.slot));
        //@end
        ring.advance();
        return n;
    }
};
