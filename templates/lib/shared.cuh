// Ordinary accesses to shared memory by address.

//@if tiles != one
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

//@end
//@if seqlens_k
__device__ __forceinline__ void store_shared_zeros(uint32 address) // 16 bytes
{
    asm volatile("st.shared.v4.s32 [%0], {%1, %1, %1, %1};" ::"r"(address), "r"(0) : "memory");
}
//@end
