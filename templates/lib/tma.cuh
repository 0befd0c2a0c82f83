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
//@if tma_rank_min <= 2 && 2 <= tma_rank_max
__device__ __forceinline__ void tma_load(uint32 box, const TensorMap &map, uint32 barrier,
                                         uint64 policy, int c0, int c1)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%4, %5}], [%2], %3;" ::"r"(box),
                 "l"(&map), "r"(barrier), "l"(policy), "r"(c0), "r"(c1)
                 : "memory");
}

//@if cluster > 1
// The same box into the same place of every CTA of the cluster whose bit is set in `ctas`.
__device__ __forceinline__ void tma_load_multicast(uint32 box, const TensorMap &map, uint32 barrier,
                                                   uint64 policy, uint16 ctas, int c0, int c1)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
        ".multicast::cluster.L2::cache_hint [%0], [%1, {%5, %6}], [%2], %3, %4;" ::"r"(box),
        "l"(&map), "r"(barrier), "h"(ctas), "l"(policy), "r"(c0), "r"(c1)
        : "memory");
}

//@end
//@end
//@if tma_rank_min <= 3 && 3 <= tma_rank_max
__device__ __forceinline__ void tma_load(uint32 box, const TensorMap &map, uint32 barrier,
                                         uint64 policy, int c0, int c1, int c2)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(box),
                 "l"(&map), "r"(barrier), "l"(policy), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}

//@if cluster > 1
// The same box into the same place of every CTA of the cluster whose bit is set in `ctas`.
__device__ __forceinline__ void tma_load_multicast(uint32 box, const TensorMap &map, uint32 barrier,
                                                   uint64 policy, uint16 ctas, int c0, int c1,
                                                   int c2)
{
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
        ".multicast::cluster.L2::cache_hint [%0], [%1, {%5, %6, %7}], [%2], %3, %4;" ::"r"(box),
        "l"(&map), "r"(barrier), "h"(ctas), "l"(policy), "r"(c0), "r"(c1), "r"(c2)
        : "memory");
}

//@end
//@end
//@if tma_rank_min <= 4 && 4 <= tma_rank_max
__device__ __forceinline__ void tma_load(uint32 box, const TensorMap &map, uint32 barrier,
                                         uint64 policy, int c0, int c1, int c2, int c3)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%4, %5, %6, %7}], [%2], %3;" ::"r"(box),
                 "l"(&map), "r"(barrier), "l"(policy), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

//@if cluster > 1
// The same box into the same place of every CTA of the cluster whose bit is set in `ctas`.
__device__ __forceinline__ void tma_load_multicast(uint32 box, const TensorMap &map, uint32 barrier,
                                                   uint64 policy, uint16 ctas, int c0, int c1,
                                                   int c2, int c3)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
        ".multicast::cluster.L2::cache_hint [%0], [%1, {%5, %6, %7, %8}], [%2], %3, %4;" ::"r"(box),
        "l"(&map), "r"(barrier), "h"(ctas), "l"(policy), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
        : "memory");
}

//@end
//@end
//@if tma_rank_min <= 5 && 5 <= tma_rank_max
__device__ __forceinline__ void tma_load(uint32 box, const TensorMap &map, uint32 barrier,
                                         uint64 policy, int c0, int c1, int c2, int c3, int c4)
{
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%4, %5, %6, %7, %8}], [%2], %3;" ::"r"(box),
                 "l"(&map), "r"(barrier), "l"(policy), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

//@end
//@if tma_store
// cp.async.bulk.tensor, shared to global: what lies outside the tensor is not written. Shared
// memory written by ordinary stores needs fence_proxy_async() and a barrier before.
//@if tma_rank_min <= 2 && 2 <= tma_rank_max
__device__ __forceinline__ void tma_store(const TensorMap &map, uint32 box, int c0, int c1)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
        "r"(box), "r"(c0), "r"(c1)
        : "memory");
}

//@end
//@if tma_rank_min <= 3 && 3 <= tma_rank_max
__device__ __forceinline__ void tma_store(const TensorMap &map, uint32 box, int c0, int c1, int c2)
{
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(
            &map),
        "r"(box), "r"(c0), "r"(c1), "r"(c2)
        : "memory");
}

//@end
//@if tma_rank_min <= 4 && 4 <= tma_rank_max
__device__ __forceinline__ void tma_store(const TensorMap &map, uint32 box, int c0, int c1, int c2,
                                          int c3)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(
            &map),
        "r"(box), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
        : "memory");
}

//@end
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

//@end
