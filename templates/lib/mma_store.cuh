// How a warp's sums become rows of C: by way of shared memory, 16 rows at a time. As mma leaves the
// sums, a lane would write two elements here and two there; collected, neighbouring lanes write
// what lies next to each other.
constexpr int kPitchC = kWarpN + 8; // floats; 8 more keep rows of a store in different banks
constexpr int kStripBytes = 16 * kPitchC * sizeof(float);

// Where column `i` of a row lies in its strip. Groups of four go to either half in turn, so that
// lanes which read eight columns each meet in different banks.
__device__ __forceinline__ int place_in_strip(int i)
{
    return i / 8 * 4 + i % 4 + i / 4 % 2 * (kPitchC / 2);
}

//@if align >= 16
constexpr int kChunkC = 16 / sizeof(out_element); // elements that a lane writes at once

// Two neighbouring elements of C in one register, the left one in the lower half.
//@if out != f32
__device__ __forceinline__ uint32 pack_out(float left, float right)
{
    //@if turing
    return to_out(left).bits | uint32(to_out(right).bits) << 16;
    //@else
    uint32 pair;
    //@if out == bf16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    //@else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    //@end
    return pair;
    //@end
}
//@end

// Finishes the sums from column `first` of a strip's row on, and writes the elements of C that they
// are.
__device__ __forceinline__ void store_chunk(const Epilogue &e, const Output &out, int row,
                                            int column, const float *sums, int first)
{
    out_element *const c = out.data + row * out.stride + column;
    if (row >= out.m || column >= out.n)
        return;
    if (column + kChunkC > out.n) { // the last columns
#pragma unroll 1
        for (int i = 0; i < out.n - column; ++i)
            c[i] = to_out(epilogue(e, sums[place_in_strip(first + i)], c + i, column + i));
        return;
    }
    const int at = place_in_strip(first);
    float x[kChunkC];
#pragma unroll
    for (int i = 0; i < kChunkC; ++i)
        x[i] = epilogue(e, sums[at + i % 4 + i / 4 * (kPitchC / 2)], c + i, column + i);
    //@if out == f32
    *reinterpret_cast<float4 *>(c) = {x[0], x[1], x[2], x[3]};
    //@else
    *reinterpret_cast<uint4 *>(c) = {pack_out(x[0], x[1]), pack_out(x[2], x[3]),
                                     pack_out(x[4], x[5]), pack_out(x[6], x[7])};
    //@end
}
//@else
constexpr int kChunkC = 2; // elements that a lane writes at once

__device__ __forceinline__ void store_chunk(const Epilogue &e, const Output &out, int row,
                                            int column, const float *sums, int first)
{
    store_pair(e, out, row, column, sums[place_in_strip(first)], sums[place_in_strip(first) + 1]);
}
//@end

// Writes 16 rows of C from (row0, column0) on. `strip`, kStripBytes, is the warp's own.
__device__ __forceinline__ void store_rows(const Epilogue &e, const Output &out, float *strip,
                                           int row0, int column0, const float (&sums)[kTilesN][4])
{
    const int lane = threadIdx.x % 32;
    float *const mine = strip + lane / 4 * kPitchC + place_in_strip(lane % 4 * 2);
#pragma unroll
    for (int j = 0; j < kTilesN; ++j) {
        *reinterpret_cast<float2 *>(mine + 4 * j) = {sums[j][0], sums[j][1]};
        *reinterpret_cast<float2 *>(mine + 8 * kPitchC + 4 * j) = {sums[j][2], sums[j][3]};
    }
    __syncwarp();
    constexpr int kChunks = kWarpN / kChunkC; // of a row
    //@if act == none || act == relu
#pragma unroll 4
    //@else
#pragma unroll 1 // of functions with many instructions, one copy will do
    //@end
    for (int n = lane; n < 16 * kChunks; n += 32) {
        const int row = n / kChunks;
        const int column = n % kChunks * kChunkC;
        store_chunk(e, out, row0 + row, column0 + column, strip + row * kPitchC, column);
    }
    __syncwarp(); // the strip may be filled again
}
