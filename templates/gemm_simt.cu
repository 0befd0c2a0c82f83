//@const  block_m     rows of C in one tile
//@const  block_n     columns of C in one tile
//@const  block_k     depth of one step
//@const  group       rows of tiles that are walked together
//@const  splits      CTAs that share the depth of one tile
//@const  threads     per CTA: each computes 8 x 8 elements of C
//@const  smem_bytes  dynamic shared memory of one CTA
//@switch dtype f16|bf16|f32  element type of A and B
//@switch out f16|bf16|f32    element type of C and of the bias
//@switch trans_a bool  A is stored as (k, m)
//@switch trans_b bool  B is stored as (n, k)
//@switch bias bool     a vector is added to every row
//@switch beta bool     C is read
//@switch act none|relu|gelu|silu  activation
//@switch align int     bytes that pointers and strides are multiples of
//@require threads * 64 == block_m * block_n && block_m % 8 == 0 && block_n % 8 == 0
//@require block_m * block_k % threads == 0 && block_n * block_k % threads == 0
//@let split splits > 1
// C = A B with ordinary fp32 multiply-adds: exact products, on any GPU. The kernel to read first.
//
// A CTA computes one tile of C, in steps of block_k along k: all threads bring a strip of A and a
// strip of B to shared memory, then each multiplies its own rows by its own columns. Of every
// element from global memory block_m or block_n products are made, and 8 of every element from
// shared memory; that is what keeps the arithmetic units busy. The strips of the next step are on
// their way, in registers, while this step is computed.
//@if split
//
// Few tiles would leave most of the GPU idle, so several CTAs share the depth of one tile: each
// leaves its sums in the workspace, and the last one to finish adds them up, in the order of k: the
// result does not depend on which one that is.
//@end
//@prelude

//@include lib/base.cuh
//@include lib/epilogue.cuh
//@include lib/gemm.cuh
//@include lib/gemm_operands.cuh
//@if split
//@include lib/split_sum.cuh
//@end

constexpr int kPitchA = kBlockM + 4; // floats; 4 more, so that the columns of a strip that are
constexpr int kPitchB = kBlockN + 4; // written together start in different banks
constexpr int kStrips = kBlockK * (kPitchA + kPitchB);
static_assert(2 * kStrips * sizeof(float) == kSmemBytes, "host and kernel agree on shared memory");

constexpr int kLoadsA = kBlockM * kBlockK / kThreads; // elements of a strip that a thread brings
constexpr int kLoadsB = kBlockN * kBlockK / kThreads;

// Element (i, k) of a strip of A or B, where i is the row of A or the column of B: which one the
// thread's n-th is. Neighbouring threads take what is next to each other in memory.
struct Place {
    int i;
    int k;
};

template <bool kAlongK, int kBlock> __device__ __forceinline__ Place place_of(int n)
{
    const int index = threadIdx.x + n * kThreads;
    if (kAlongK)
        return {index / kBlockK, index % kBlockK};
    return {index % kBlock, index / kBlock};
}

// Reads the thread's elements of a strip at (i0, k0); what lies outside the matrix is 0.
template <bool kAlongK, int kBlock, int kLoads>
__device__ __forceinline__ void load_strip(float (&values)[kLoads], const element *data, int64 row,
                                           int i0, int size, int k0, int depth)
{
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
        const Place at = place_of<kAlongK, kBlock>(n);
        const int64 i = i0 + at.i;
        const int64 k = k0 + at.k;
        const int64 offset = kAlongK ? i * row + k : k * row + i;
        values[n] = i < size && k < depth ? to_f32(data[offset]) : 0.0f;
    }
}

// Writes them to shared memory: [block_k, kPitch].
template <bool kAlongK, int kBlock, int kPitch, int kLoads>
__device__ __forceinline__ void store_strip(float *strip, const float (&values)[kLoads])
{
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
        const Place at = place_of<kAlongK, kBlock>(n);
        strip[at.k * kPitch + at.i] = values[n];
    }
}

// Eight neighbouring rows or columns of a thread come as two groups of four, half a tile apart:
// then the threads of a warp read from shared memory without bank conflicts.
template <int kBlock> __device__ __forceinline__ int place_in_tile(int thread, int i)
{
    return i / 4 * (kBlock / 2) + thread * 4 + i % 4;
}

// Adds the products of one step to the thread's 8 x 8 sums.
__device__ __forceinline__ void multiply_step(float (&sums)[8][8], const float *a, const float *b)
{
#pragma unroll 2 // no more, or values fetched ahead take too many registers
    for (int k = 0; k < kBlockK; ++k) {
        float a_values[8];
        float b_values[8];
#pragma unroll
        for (int i = 0; i < 8; i += 4) {
            const float *const a_row = a + k * kPitchA + i / 4 * (kBlockM / 2);
            const float *const b_row = b + k * kPitchB + i / 4 * (kBlockN / 2);
            const float4 a4 = *reinterpret_cast<const float4 *>(a_row);
            const float4 b4 = *reinterpret_cast<const float4 *>(b_row);
            a_values[i] = a4.x;
            a_values[i + 1] = a4.y;
            a_values[i + 2] = a4.z;
            a_values[i + 3] = a4.w;
            b_values[i] = b4.x;
            b_values[i + 1] = b4.y;
            b_values[i + 2] = b4.z;
            b_values[i + 3] = b4.w;
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) {
#pragma unroll
            for (int j = 0; j < 8; ++j)
                sums[i][j] = fmaf(a_values[i], b_values[j], sums[i][j]);
        }
    }
    //@watch sums [block_m, block_n] grid_8x8 regs=8,8
}

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads) $kernel_name(
    const Matrix a,       // (batch, m, k), or transposed
    const Matrix b,       // (batch, k, n), or transposed
    const OutputMatrix c, // (batch, m, n)
    const Epilogue e,     // from a sum of products to an element of C
    //@if split
    float4 *const workspace,  // see lib/split_sum.cuh
    unsigned *const arrivals, // per tile, zero at launch
    //@end
    const Shape shape)
{
    // clang-format on
    extern __shared__ float4 smem[];
    float *strips = reinterpret_cast<float *>(smem); // of A, then of B: two pairs, used in turn
    const int thread_row = threadIdx.x / (kBlockN / 8);
    const int thread_column = threadIdx.x % (kBlockN / 8);
    //@if trans_a
    constexpr bool kAlongKA = false; // rows in memory
    //@else
    constexpr bool kAlongKA = true; // rows in memory
    //@end
    //@if trans_b
    constexpr bool kAlongKB = true;
    //@else
    constexpr bool kAlongKB = false;
    //@end

    //@if split
    const int split = blockIdx.x % kSplits;
    const Depths depths = depths_of(split, shape.k);
    const int k_begin = depths.begin;
    const int k_end = depths.end;
    const int n = blockIdx.x / kSplits;
    if (n < shape.tiles) {
    //@else
    constexpr int k_begin = 0;
    const int k_end = shape.k;
    // A launch with one CTA per tile runs this once; a persistent one walks the tiles.
    for (int n = blockIdx.x; n < shape.tiles; n += gridDim.x) {
    //@end
        Tile tile = place_tile(n, shape.tiles_m, shape.tiles_n);
        tile.row0 *= kBlockM;
        tile.column0 *= kBlockN;
        const element *const a_data = a.data + tile.batch * a.batch;
        const element *const b_data = b.data + tile.batch * b.batch;

        float sums[8][8] = {};
        float a_next[kLoadsA];
        float b_next[kLoadsB];
        load_strip<kAlongKA, kBlockM>(a_next, a_data, a.row, tile.row0, shape.m, k_begin, k_end);
        load_strip<kAlongKB, kBlockN>(b_next, b_data, b.row, tile.column0, shape.n, k_begin, k_end);
        int pair = 0;
        for (int k = k_begin; k < k_end; k += kBlockK) {
            float *const a_strip = strips + pair * kStrips;
            float *const b_strip = a_strip + kBlockK * kPitchA;
            store_strip<kAlongKA, kBlockM, kPitchA>(a_strip, a_next);
            store_strip<kAlongKB, kBlockN, kPitchB>(b_strip, b_next);
            __syncthreads(); // the strips are there; and of the other pair, all have been read
            load_strip<kAlongKA, kBlockM>(a_next, a_data, a.row, tile.row0, shape.m, k + kBlockK,
                                          k_end);
            load_strip<kAlongKB, kBlockN>(b_next, b_data, b.row, tile.column0, shape.n, k + kBlockK,
                                          k_end);
            multiply_step(sums, a_strip + 4 * thread_row, b_strip + 4 * thread_column);
            pair ^= 1;
        }
        //@if split
        if (!add_splits<64>(sums[0], workspace, arrivals, n, split))
            return;
        //@else
        __syncthreads(); // the next tile overwrites what this one's last step reads
        //@end

        const Output out{c.data + tile.batch * c.batch, c.row, shape.m, shape.n};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int row = tile.row0 + place_in_tile<kBlockM>(thread_row, i);
#pragma unroll
            for (int j = 0; j < 8; j += 2) {
                const int column = tile.column0 + place_in_tile<kBlockN>(thread_column, j);
                store_pair(e, out, row, column, sums[i][j], sums[i][j + 1]);
            }
        }
    }
}
