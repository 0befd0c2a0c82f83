// Matrix product C = act(alpha A B + beta C + bias), tensor cores through mma.sync.
//
//   fajit-inspect render gemm:f32,math=3xtf32,kernel=mma,variant=v2 --arch sm_80 \
//       --config bm=128,bn=128,bk=16,warps=8,stages=4,splitk=1,group=16,ctas=1
//
// One CTA: 256 threads, 75776 bytes of dynamic shared memory. One K block: 524288 FLOPs, 16384
// bytes.
//
// C = A B on tensor cores (mma.sync). The warps of a CTA share a tile of C, and each keeps its part
// in registers to the end.
//
// A ring of stages in shared memory is filled in the background:
//
//     wait for stage k | copy A(k + stages - 1), B(k + stages - 1) | C += A(k) B(k) | ..
//
// Every element that a warp takes from shared memory serves a whole row or column of its part, so
// the larger the part, the less shared memory limits the tensor cores.

constexpr int kBlockM = 128;      // rows of C in one tile
constexpr int kBlockN = 128;      // columns of C in one tile
constexpr int kBlockK = 16;       // depth of one stage
constexpr int kStages = 4;        // pairs of an A tile and a B tile in shared memory; 1: sm_75
constexpr int kWarpsM = 2;        // warps below each other in a tile
constexpr int kWarpsN = 4;        // warps beside each other in a tile
constexpr int kGroup = 16;        // rows of tiles that are walked together
constexpr int kSplits = 1;        // CTAs that share the depth of one tile
constexpr int kCtas = 1;          // CTAs per SM that the registers must leave room for
constexpr int kThreads = 256;     // per CTA
constexpr int kSmemBytes = 75776; // dynamic shared memory of one CTA

// Types, constants and conversions. Nothing is included: NVRTC reads this text and no header.
using uint32 = unsigned int;
using int64 = long long;

using element = float;

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

// Tensor cores on fp32 operands through mma.sync: tf32 keeps 10 of the 23 bits of a mantissa.
//
// A (16 x 8), B (8 x 8), C (16 x 8), lane = 4 g + t, as a warp holds them:
//     A  a[0]: row g, column t     a[1]: row g+8, column t     a[2], a[3]: the same, column t+4
//     B  b[0]: row t, column g     b[1]: row t+4, column g
//     C  c[0] c[1]: row g, columns 2t 2t+1         c[2] c[3]: row g+8, the same columns

__device__ __forceinline__ uint32 smem_address(const void *pointer)
{
    return uint32(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ float load_shared(uint32 address)
{
    float value;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
    return value;
}

// cvt.rna: rounds to the nearest tf32.
__device__ __forceinline__ uint32 to_tf32(float x)
{
    uint32 y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ void mma_16x8x8(float (&c)[4], const uint32 (&a)[4],
                                           const uint32 (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// An operand of the products: fp32 values as tf32.
template <int kCount> struct Operand {
    uint32 big[kCount];
    uint32 small[kCount]; // what rounding to `big` left over, rounded in its turn

    __device__ __forceinline__ void set(int i, float x)
    {
        big[i] = to_tf32(x);
        small[i] = to_tf32(x - __uint_as_float(big[i]));
    }
};

// C += A B to about fp32's accuracy: three products of the halves, the smallest first. The fourth,
// small times small, lies below the rounding of the sum. An infinity in A or B gives NaN.
__device__ __forceinline__ void multiply_tile(float (&c)[4], const Operand<4> &a,
                                              const Operand<2> &b)
{
    mma_16x8x8(c, a.small, b.big);
    mma_16x8x8(c, a.big, b.small);
    mma_16x8x8(c, a.big, b.big);
}

// Copies from a row-major matrix in global memory to shared memory, 16 bytes (a chunk) at a time.
// What lies outside the matrix arrives as zeros.
//
// cp.async runs in the background, past the registers. Copies are committed in groups and waited
// for by group, oldest first; only the thread's own copies, so a barrier must follow.

constexpr int kChunk = 16 / sizeof(element); // elements

// Copies the first `count` elements of a chunk (0: nothing is read) and fills up with zeros.
__device__ __forceinline__ void copy_chunk(uint32 to, const element *from, int count)
{
    // cg: past L1, which would only be polluted.
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(count * int(sizeof(element)))
                 : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `kPending` groups, the youngest, are under way.
template <int kPending> __device__ __forceinline__ void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
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

constexpr int kWarpM = kBlockM / kWarpsM; // rows of C of a warp
constexpr int kWarpN = kBlockN / kWarpsN; // columns of C of a warp
constexpr int kTilesM = kWarpM / 16;      // mma tiles of a warp: 16 x 8
constexpr int kTilesN = kWarpN / 8;

constexpr int kStepK = 8; // depth of one mma
static_assert(kBlockK % (2 * kStepK) == 0, "fragments of even and odd steps have their registers");

// Boxes of A and B in shared memory lie as in global memory. A row is longer than the box, so that
// the rows which one load touches start in different banks.
constexpr int kPadAlongK = 4;                 // elements, in rows along k
constexpr int kPadAcross = 8;                 // in rows along m or n
constexpr int kPitchA = kBlockK + kPadAlongK; // [block_m, block_k]
constexpr int kElementsA = kBlockM * kPitchA;
constexpr int kPitchB = kBlockN + kPadAcross; // [block_k, block_n]
constexpr int kElementsB = kBlockK * kPitchB;
constexpr int kStageBytes = (kElementsA + kElementsB) * sizeof(element);
static_assert(kStages * kStageBytes == kSmemBytes, "host and kernel agree on shared memory");

struct Matrix {
    element *data;
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

// Copies the box of A at depth k of a tile into a stage.
__device__ __forceinline__ void copy_a(uint32 stage, const Matrix &a, const Shape &shape,
                                       const Tile &tile, int k, int k_end)
{
    const element *const data = a.data + tile.batch * a.batch;
    copy_box<kBlockM, kBlockK, kPitchA>(stage, data + tile.row0 * a.row + k, a.row,
                                        shape.m - tile.row0, k_end - k);
}

__device__ __forceinline__ void copy_b(uint32 stage, const Matrix &b, const Shape &shape,
                                       const Tile &tile, int k, int k_end)
{
    const uint32 stage_b = stage + kElementsA * sizeof(element);
    const element *const data = b.data + tile.batch * b.batch;
    copy_box<kBlockK, kBlockN, kPitchB>(stage_b, data + k * b.row + tile.column0, b.row, k_end - k,
                                        shape.n - tile.column0);
}

// What a warp multiplies in one step: its part of A and B, kStepK deep, as mma takes it.
struct Fragments {
    Operand<4> a[kTilesM];
    Operand<2> b[kTilesN];

    // Takes them from depth k of a stage.
    __device__ __forceinline__ void load(uint32 stage, int k, int warp_row, int warp_column)
    {
        const int lane = threadIdx.x % 32;
        const uint32 stage_b = stage + kElementsA * sizeof(element);
        const int g = lane / 4;
        const int t = lane % 4;
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int row = warp_row + 16 * i + j % 2 * 8 + g;
                const int column = k + j / 2 * 4 + t;
                a[i].set(j, load_shared(stage + 4 * (row * kPitchA + column)));
            }
        }
#pragma unroll
        for (int n = 0; n < kTilesN; ++n) {
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const int row = k + 4 * j + t;
                const int column = warp_column + 8 * n + g;
                b[n].set(j, load_shared(stage_b + 4 * (row * kPitchB + column)));
            }
        }
    }

    __device__ __forceinline__ void multiply(float (&sums)[kTilesM][kTilesN][4]) const
    {
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
            for (int n = 0; n < kTilesN; ++n)
                multiply_tile(sums[i][n], a[i], b[n]);
        }
    }
};

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, kCtas)
    gemm_mma_f32_nn_3xtf32__bm128_bn128_bk16_warps8_stages4_splitk1_group16_ctas1(
        const Matrix a,       // (batch, m, k), or transposed
        const Matrix b,       // (batch, k, n), or transposed
        const OutputMatrix c, // (batch, m, n)
        const Epilogue e,     //
        const Shape shape)
{
    // clang-format on
    extern __shared__ uint4 smem[];
    const uint32 stages = smem_address(smem);
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int warp_row = warp / kWarpsN * kWarpM;
    const int warp_column = warp % kWarpsN * kWarpN;
    constexpr int k_begin = 0;
    const int k_end = shape.k;

    // A launch with one CTA per tile runs this once; a persistent one walks the tiles.
    for (int n = blockIdx.x / kSplits; n < shape.tiles; n += gridDim.x / kSplits) {
        Tile tile = place_tile(n, shape.tiles_m, shape.tiles_n);
        tile.row0 *= kBlockM;
        tile.column0 *= kBlockN;

        float sums[kTilesM][kTilesN][4] = {}; // [kWarpM, kWarpN] of the tile
        __syncthreads();                      // the stages of the previous tile have been read
#pragma unroll
        for (int s = 0; s < kStages - 1; ++s) {
            const int k = k_begin + s * kBlockK;
            if (k < k_end) {
                copy_a(stages + s * kStageBytes, a, shape, tile, k, k_end);
                copy_b(stages + s * kStageBytes, b, shape, tile, k, k_end);
            }
            copy_commit(); // an empty group too: waiting counts groups
        }
        copy_wait<kStages - 2>();
        __syncthreads();        // the first stage is there
        Fragments fragments[2]; // of this step, and on their way, of the next
        fragments[0].load(stages, 0, warp_row, warp_column);
        int slot = 0;
        int free = kStages - 1;
#pragma unroll 1
        for (int k = k_begin; k < k_end; k += kBlockK) {
            const int k_next = k + (kStages - 1) * kBlockK;
            const uint32 stage_next = stages + free * kStageBytes;
            constexpr int kSteps = kBlockK / kStepK;
            constexpr int kStepOfB = kSteps > 2 ? 1 : 0; // before the last one, which waits
#pragma unroll
            for (int step = 0; step < kSteps; ++step) {
                if (step == kSteps - 1) {
                    copy_wait<kStages - 2>();
                    __syncthreads(); // the next stage is there, and this one has been read
                    free = slot;
                    slot = slot + 1 == kStages ? 0 : slot + 1;
                }
                fragments[(step + 1) % 2].load(stages + slot * kStageBytes,
                                               (step + 1) % kSteps * kStepK, warp_row, warp_column);
                fragments[step % 2].multiply(sums);
                // Copies are issued between products: at once they would keep the tensor cores
                // waiting for addresses.
                if (step == 0 && k_next < k_end)
                    copy_a(stage_next, a, shape, tile, k_next, k_end);
                if (step == kStepOfB) {
                    if (k_next < k_end)
                        copy_b(stage_next, b, shape, tile, k_next, k_end);
                    copy_commit(); // an empty group too
                }
            }
        }
        const Output out{c.data + tile.batch * c.batch, c.row, shape.m, shape.n};
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
            const int row = tile.row0 + warp_row + 16 * i + lane / 4;
#pragma unroll
            for (int j = 0; j < kTilesN; ++j) {
                const int column = tile.column0 + warp_column + 8 * j + lane % 4 * 2;
                store_pair(e, out, row, column, sums[i][j][0], sums[i][j][1]);
                store_pair(e, out, row + 8, column, sums[i][j][2], sums[i][j][3]);
            }
        }
    }
}
