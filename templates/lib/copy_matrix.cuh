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

// Copies a box of kRows by kColumns elements that begins at `from`; of it, `rows` and `columns` lie
// in the matrix (more than the box has, or none at all, are fine). All threads of the CTA share the
// work: one stays in its column of chunks and takes every kStep-th row.
template <int kRows, int kColumns, int kPitch>
__device__ __forceinline__ void copy_box(uint32 to, const element *from, int64 stride, int rows,
                                         int columns)
{
    constexpr int kChunks = kColumns / kChunk;
    constexpr int kStep = kThreads / kChunks;
    static_assert(kColumns % kChunk == 0 && kThreads % kChunks == 0 && kRows % kStep == 0,
                  "threads share the box evenly");
    const int row = threadIdx.x / kChunks;
    const int column = threadIdx.x % kChunks * kChunk;
    const int count = min(max(columns - column, 0), kChunk);
    to += (row * kPitch + column) * sizeof(element);
    from += row * stride + column;
#pragma unroll
    for (int i = 0; i < kRows; i += kStep) {
        copy_chunk(to + i * kPitch * sizeof(element), from, row + i < rows ? count : 0);
        from += kStep * stride;
    }
}
