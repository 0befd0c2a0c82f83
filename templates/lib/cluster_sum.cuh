// Four sums of a thread in shared memory, where the other CTAs of the cluster read them (sm_90).
__device__ __forceinline__ void store_sums(uint32 address, const float *sums)
{
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(sums[0]),
                 "f"(sums[1]), "f"(sums[2]), "f"(sums[3])
                 : "memory");
}

// mapa, then a load from the same address in another CTA of the cluster.
__device__ __forceinline__ void load_sums(float (&sums)[4], uint32 address, int cta)
{
    asm volatile("{\n\t"
                 ".reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %4, %5;\n\t"
                 "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n\t"
                 "}"
                 : "=f"(sums[0]), "=f"(sums[1]), "=f"(sums[2]), "=f"(sums[3])
                 : "r"(address), "r"(cta)
                 : "memory");
}
