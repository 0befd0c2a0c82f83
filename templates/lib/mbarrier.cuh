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

//@if cluster > 1
// %cluster_ctarank: which CTA of its cluster this one is.
__device__ __forceinline__ int cluster_rank()
{
    uint32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return int(rank);
}

// mapa, then an arrival at the barrier with this address in another CTA of the cluster. It orders
// no ordinary memory accesses: a release at cluster scope would cost a fence of all memory.
__device__ __forceinline__ void mbarrier_arrive_remote(uint32 barrier, int cta)
{
    asm volatile("{\n\t"
                 ".reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n\t"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n\t"
                 "}" ::"r"(barrier),
                 "r"(cta)
                 : "memory");
}

// barrier.cluster: every thread of every CTA of the cluster.
__device__ __forceinline__ void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n\t"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

//@end
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
