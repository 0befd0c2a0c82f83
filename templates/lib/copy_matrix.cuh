// Copies from a row-major matrix in global memory to shared memory, 16 bytes (a chunk) at a time.
// What lies outside the matrix arrives as zeros.
//
//@if turing
// sm_75 has no asynchronous copy: a chunk goes through registers, and waiting is for the barrier
// that follows anyway.
//@else
// cp.async runs in the background, past the registers. Copies are committed in groups and waited
// for by group, oldest first; only the thread's own copies, so a barrier must follow.
//@end

constexpr int kChunk = 16 / sizeof(element); // elements

// Copies the first `count` elements of a chunk (0: nothing is read) and fills up with zeros.
__device__ __forceinline__ void copy_chunk(uint32 to, const element *from, int count)
{
    //@if turing || align < 4
    uint32 words[4] = {};
    //@if align >= 16
    const bool whole = count == kChunk;
    if (whole) {
        const uint4 chunk = *reinterpret_cast<const uint4 *>(from);
        words[0] = chunk.x;
        words[1] = chunk.y;
        words[2] = chunk.z;
        words[3] = chunk.w;
    }
    //@else
    constexpr bool whole = false; // a chunk is not aligned
    //@end
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
        if (!whole && i < count)
            words[i / 2] |= uint32(from[i].bits) << i % 2 * 16;
    }
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(words[0]), "r"(words[1]),
                 "r"(words[2]), "r"(words[3])
                 : "memory");
    //@elif align >= 16
    // cg: past L1, which would only be polluted.
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(count * int(sizeof(element)))
                 : "memory");
    //@else
    // The promised alignment is less than 16 bytes: narrower copies, through L1.
    const int bytes = count * int(sizeof(element));
    //@for part in 0..16/align
    asm volatile("cp.async.ca.shared.global [%0 + ${part * align}], [%1 + ${part * align}], "
                 "${align}, %2;" ::"r"(to),
                 "l"(from), "r"(min(max(bytes - $part * $align, 0), $align))
                 : "memory");
    //@end
    //@end
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit()
{
    //@if !turing
    asm volatile("cp.async.commit_group;" ::: "memory");
    //@end
}

// Waits until at most `kPending` groups, the youngest, are under way.
template <int kPending> __device__ __forceinline__ void copy_wait()
{
    //@if !turing
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
    //@end
}

__device__ __forceinline__ const element *skip(const element *from, int64 bytes)
{
    return reinterpret_cast<const element *>(reinterpret_cast<const char *>(from) + bytes);
}

// One thread's share of the copies of an operand: boxes of kRows by kColumns elements, one after
// the other along k, which runs along the rows or across them. A thread copies a chunk of every
// kStep-th row. What lies outside the matrix becomes zero.
template <bool kAlongK, int kRows, int kColumns, int kPitch> struct BoxCopy {
    static constexpr int kChunks = kColumns / kChunk;
    static constexpr int kStep = kThreads / kChunks;
    static constexpr int kCount = kRows / kStep; // chunks of a thread in a box
    static_assert(kColumns % kChunk == 0 && kThreads % kChunks == 0 && kRows % kStep == 0,
                  "threads share the box evenly");

    const element *from; // its next chunk
    int64 step;          // bytes from there to the one after it
    uint32 to;           // where its first chunk goes, bytes from the beginning of a stage
    int left;            // along k: rows from its first one on; else elements of its chunks

    // The boxes from depth k on, for rows or columns from i to `size`.
    __device__ __forceinline__ BoxCopy(const element *data, int64 row_stride, int i, int size,
                                       int64 k)
    {
        const int row = threadIdx.x / kChunks;
        const int column = threadIdx.x % kChunks * kChunk;
        from = data + (kAlongK ? (i + row) * row_stride + k + column
                               : (k + row) * row_stride + i + column);
        step = kStep * row_stride * int(sizeof(element));
        to = (row * kPitch + column) * sizeof(element);
        left = kAlongK ? size - i - row : min(max(size - i - column, 0), kChunk);
        // The compiler must keep these: to work them out in every round again delays the copies.
        asm volatile("" : "+l"(step), "+r"(to), "+r"(left));
    }

    // Copies the box `offset` elements further on, which has `depth` elements along k.
    __device__ __forceinline__ void copy_edge(uint32 stage, int64 offset, int depth) const
    {
        const int row = threadIdx.x / kChunks;
        const int column = threadIdx.x % kChunks * kChunk;
        const int count = kAlongK ? min(max(depth - column, 0), kChunk) : left;
        const int rows = kAlongK ? left : depth - row;
        const element *chunk = from + offset;
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            copy_chunk(stage + to + i * kStep * kPitch * sizeof(element), chunk,
                       i * kStep < rows ? count : 0);
            chunk = skip(chunk, step);
        }
    }
    //@if !turing

    // Copies chunk i of the next box, which exists as a whole along k.
    __device__ __forceinline__ void copy_whole(uint32 stage, int i)
    {
        copy_chunk(stage + to + i * kStep * kPitch * sizeof(element), from,
                   !kAlongK           ? left
                   : i * kStep < left ? kChunk
                                      : 0);
        from = skip(from, step);
        if (kAlongK && i + 1 == kCount)
            from = skip(from, kBlockK * int(sizeof(element)) - kCount * step);
    }
    //@end
};
