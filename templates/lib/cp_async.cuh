// Copies of 8 elements (16 bytes, a chunk) from global to shared memory, and back out.
//
//@if mma_k == 8
// sm_75 has no asynchronous copy: a chunk goes through registers, and waiting is for the barrier
// that follows anyway.
//@else
// cp.async runs in the background, past the registers. Copies are committed in groups and waited
// for by group, oldest first; only the thread's own copies, so a barrier must follow.
//@end

// Copies a chunk, or writes zeros when not `valid` (then nothing is read).
__device__ __forceinline__ void copy_chunk(uint32 to, const element *from, bool valid)
{
    //@if align == 2 || mma_k == 8
    uint4 chunk = {0, 0, 0, 0};
    if (valid) {
        //@if align == 2
        const uint16 *const half = reinterpret_cast<const uint16 *>(from);
        chunk.x = half[0] | uint32(half[1]) << 16;
        chunk.y = half[2] | uint32(half[3]) << 16;
        chunk.z = half[4] | uint32(half[5]) << 16;
        chunk.w = half[6] | uint32(half[7]) << 16;
        //@elif align == 4
        const uint32 *const word = reinterpret_cast<const uint32 *>(from);
        chunk = {word[0], word[1], word[2], word[3]};
        //@elif align == 8
        const uint2 low = reinterpret_cast<const uint2 *>(from)[0];
        const uint2 high = reinterpret_cast<const uint2 *>(from)[1];
        chunk = {low.x, low.y, high.x, high.y};
        //@else
        chunk = *reinterpret_cast<const uint4 *>(from);
        //@end
    }
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(chunk.x), "r"(chunk.y),
                 "r"(chunk.z), "r"(chunk.w)
                 : "memory");
    //@elif align == 16
    // cg: past L1, which would only be polluted.
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
    //@else
    // The promised alignment is less than 16 bytes: narrower copies, through L1.
    //@for part in 0..16/align
    asm volatile("cp.async.ca.shared.global [%0 + ${part * align}], [%1 + ${part * align}], "
                 "${align}, %2;" ::"r"(to),
                 "l"(from), "r"(valid ? $align : 0)
                 : "memory");
    //@end
    //@end
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit()
{
    //@if mma_k == 16
    asm volatile("cp.async.commit_group;" ::: "memory");
    //@end
}

// Waits until at most `kPending` groups, the youngest, are under way.
template <int kPending> __device__ __forceinline__ void copy_wait()
{
    //@if mma_k == 16
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
    //@end
}

// How the threads of a CTA share a tile with kColumns columns, padded to a multiple of 16: a thread
// stays in one column of chunks and takes every kStep-th row.
template <int kColumns> struct CopyShape {
    static constexpr int kChunks = (kColumns + 15) / 16 * 2;
    static constexpr int kLanes = kChunks > 16 ? 32 : kChunks > 8 ? 16 : kChunks > 4 ? 8 : kChunks;
    static constexpr int kStep = kThreads / kLanes;
};

// Where the calling thread begins: added to a tile's address, it gives copy_tile's `from`.
template <int kColumns> __device__ __forceinline__ int64 copy_offset(int64 row_stride)
{
    constexpr int kLanes = CopyShape<kColumns>::kLanes;
    return threadIdx.x / kLanes * row_stride + threadIdx.x % kLanes * 8;
}

// Copies kRows rows from global to shared memory. Rows from `rows_valid` on, and columns past
// kColumns, become zero.
template <int kRows, int kColumns, int kPitch>
__device__ __forceinline__ void copy_tile(uint32 to, const element *from, int64 row_stride,
                                          int rows_valid)
{
    using Shape = CopyShape<kColumns>;
    const int row = threadIdx.x / Shape::kLanes;
    const int column = threadIdx.x % Shape::kLanes * 8;
    if (Shape::kLanes > Shape::kChunks && column >= 8 * Shape::kChunks)
        return;
    to += (row * kPitch + column) * sizeof(element);
    //@if align < 16
#pragma unroll 1 // narrow copies are many, and their addresses take registers
    //@elif mma_k == 8
#pragma unroll 4 // each copy in flight holds its data in registers
    //@else
#pragma unroll
    //@end
    for (int i = 0; i < kRows; i += Shape::kStep) {
        if (kRows % Shape::kStep == 0 || row + i < kRows) {
            const bool valid = row + i < rows_valid && (kColumns % 16 == 0 || column < kColumns);
            copy_chunk(to + i * kPitch * sizeof(element), from, valid);
        }
        from += Shape::kStep * row_stride;
    }
}

// Writes a chunk to global memory, in the widest stores that the promised alignment allows.
__device__ __forceinline__ void store_chunk(element *to, uint4 chunk)
{
    //@if align == 16
    *reinterpret_cast<uint4 *>(to) = chunk;
    //@elif align == 8
    reinterpret_cast<uint2 *>(to)[0] = {chunk.x, chunk.y};
    reinterpret_cast<uint2 *>(to)[1] = {chunk.z, chunk.w};
    //@else
    const uint32 words[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        //@if align == 4
        reinterpret_cast<uint32 *>(to)[i] = words[i];
        //@else
        reinterpret_cast<uint16 *>(to)[2 * i] = uint16(words[i]);
        reinterpret_cast<uint16 *>(to)[2 * i + 1] = uint16(words[i] >> 16);
        //@end
    }
    //@end
}
