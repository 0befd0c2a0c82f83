// Matrix product C = act(alpha A B + beta C + bias), fp32 multiply-adds.
//
//   fajit-inspect render gemm:f32,kernel=simt,variant=v2 --arch sm_80 \
//       --config bm=128,bn=128,bk=16,splitk=1,group=8
//
// One CTA: 256 threads, 33792 bytes of dynamic shared memory. One K block: 524288 FLOPs, 16384
// bytes.
//
// C = A B with ordinary fp32 multiply-adds: exact products, on any GPU. The kernel to read first.
//
// A CTA computes one tile of C, in steps of block_k along k: all threads bring a strip of A and a
// strip of B to shared memory, then each multiplies its own rows by its own columns. Of every
// element from global memory block_m or block_n products are made, and 8 of every element from
// shared memory; that is what keeps the arithmetic units busy. The strips of the next step are on
// their way, in registers, while this step is computed.

constexpr int kBlockM = 128;      // rows of C in one tile
constexpr int kBlockN = 128;      // columns of C in one tile
constexpr int kBlockK = 16;       // depth of one step
constexpr int kGroup = 8;         // rows of tiles that are walked together
constexpr int kThreads = 256;     // per CTA: each computes 8 x 8 elements of C
constexpr int kSmemBytes = 33792; // dynamic shared memory of one CTA

// Types, constants and conversions. Nothing is included: NVRTC reads this text and no header.
using int64 = long long;

using element = float;

__device__ __forceinline__ float to_f32(element x)
{
    return x;
}

// The last step of every matrix product: what happens to a sum before it is an element of C.

using out_element = float; // an element of C

__device__ __forceinline__ out_element to_out(float x)
{
    return x;
}

struct Epilogue {
    float alpha;
};

// The element of C that lies at `c`, in column `column`, from its sum of products.
__device__ __forceinline__ float epilogue(const Epilogue &e, float sum, const out_element *c,
                                          int column)
{
    float x = e.alpha * sum;
    return x;
}

// C, as the launch gives it.
struct OutputMatrix {
    out_element *data;
    int64 batch; // strides in elements
    int64 row;
};

// C of one batch entry. Rows and columns from m and n on do not exist.
struct Output {
    out_element *data;
    int64 stride; // elements from row to row
    int m;
    int n;
};

// Two neighbouring elements of a row of C, the left one in an even column.
__device__ __forceinline__ void store_pair(const Epilogue &e, const Output &out, int row,
                                           int column, float left, float right)
{
    if (row >= out.m || column >= out.n)
        return;
    out_element *const c = out.data + row * out.stride + column;
    const out_element first = to_out(epilogue(e, left, c, column));
    if (column + 1 == out.n) {
        *c = first;
        return;
    }
    const out_element second = to_out(epilogue(e, right, c + 1, column + 1));
    *reinterpret_cast<float2 *>(c) = {first, second};
}

// The order in which the tiles of C are worked on.
struct Tile {
    int batch;
    int row0;
    int column0;
};

// Tiles are counted down through kGroup rows of tiles, then to the right: what runs at the same
// time forms a block of C that is about as high as wide, and reads few rows of A and columns of B,
// which stay in L2. `row0` and `column0` come in tiles.
__device__ __forceinline__ Tile place_tile(int n, int tiles_m, int tiles_n)
{
    Tile tile;
    tile.batch = n / (tiles_m * tiles_n);
    n -= tile.batch * (tiles_m * tiles_n);
    const int first = n / (kGroup * tiles_n) * kGroup; // row of the group
    const int height = min(kGroup, tiles_m - first);   // the last may be lower
    n -= first * tiles_n;
    tile.row0 = first + n % height;
    tile.column0 = n / height;
    return tile;
}

// A or B, as the launch gives it.
struct Matrix {
    const element *data;
    int64 batch; // strides in elements
    int64 row;
};

// What a launch may change.
struct Shape {
    int m;
    int n;
    int k;
    int tiles_m;
    int tiles_n;
    int tiles; // batch * tiles_m * tiles_n
};

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
}

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads)
    gemm_simt_f32_nn__bm128_bn128_bk16_splitk1_group8(
        const Matrix a,       // (batch, m, k), or transposed
        const Matrix b,       // (batch, k, n), or transposed
        const OutputMatrix c, // (batch, m, n)
        const Epilogue e,     // from a sum of products to an element of C
        const Shape shape)
{
    // clang-format on
    extern __shared__ float4 smem[];
    float *strips = reinterpret_cast<float *>(smem); // of A, then of B: two pairs, used in turn
    const int thread_row = threadIdx.x / (kBlockN / 8);
    const int thread_column = threadIdx.x % (kBlockN / 8);
    constexpr bool kAlongKA = true; // rows in memory
    constexpr bool kAlongKB = false;

    constexpr int k_begin = 0;
    const int k_end = shape.k;
    // A launch with one CTA per tile runs this once; a persistent one walks the tiles.
    for (int n = blockIdx.x; n < shape.tiles; n += gridDim.x) {
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
        __syncthreads(); // the next tile overwrites what this one's last step reads

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
