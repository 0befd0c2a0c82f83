// Matrix product C = act(alpha A B + beta C + bias), tensor cores through mma.sync.
//
//   fajit-inspect render gemm:bf16,nt,bias,act=gelu,kernel=mma,variant=v2 --arch sm_80 \
//       --config bm=128,bn=256,bk=64,warps=8,stages=3,splitk=1,group=8,ctas=1
//
// One CTA: 256 threads, 165888 bytes of dynamic shared memory. One K block: 4194304 FLOPs, 49152
// bytes.
//
// C = A B on tensor cores (mma.sync). The warps of a CTA share a tile of C, and each keeps its part
// in registers to the end.
//
// A ring of stages in shared memory is filled in the background:
//
//     wait for stage k | copy A(k + stages - 1), B(k + stages - 1) | C += A(k) B(k) | ..
//
// What tensor cores are fed from must never make them wait. So what a step multiplies is loaded
// during the step before; a few copies go with each step, and have their addresses ready: the last
// block of k, which may be cut short, comes first, so that all others are whole.
//
// Every element that a warp takes from shared memory serves a whole row or column of its part, so
// the larger the part, the less shared memory limits the tensor cores.

constexpr int kBlockM = 128;       // rows of C in one tile
constexpr int kBlockN = 256;       // columns of C in one tile
constexpr int kBlockK = 64;        // depth of one stage
constexpr int kStages = 3;         // pairs of an A tile and a B tile in shared memory; 1: sm_75
constexpr int kWarpsM = 2;         // warps below each other in a tile
constexpr int kWarpsN = 4;         // warps beside each other in a tile
constexpr int kGroup = 8;          // rows of tiles that are walked together
constexpr int kCtas = 1;           // CTAs per SM that the registers must leave room for
constexpr int kThreads = 256;      // per CTA
constexpr int kSmemBytes = 165888; // dynamic shared memory of one CTA

// Types, constants and conversions. Nothing is included: NVRTC reads this text and no header.
using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;

// bf16: the upper half of an fp32.
struct element {
    uint16 bits;
};

// The last step of every matrix product: what happens to a sum before it is an element of C.

// An element of C: bf16, the upper half of an fp32.
struct out_element {
    uint16 bits;
};

__device__ __forceinline__ float out_to_f32(out_element x)
{
    return __uint_as_float(uint32(x.bits) << 16);
}

// Rounds to nearest even in integer arithmetic, so that it works before sm_80 too.
__device__ __forceinline__ out_element to_out(float x)
{
    const uint32 bits = __float_as_uint(x);
    const uint32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return out_element{uint16(x != x ? 0x7fff : rounded)}; // a NaN must not round to infinity
}

struct Epilogue {
    float alpha;
    const out_element *bias; // [n]
};

// The element of C that lies at `c`, in column `column`, from its sum of products.
__device__ __forceinline__ float epilogue(const Epilogue &e, float sum, const out_element *c,
                                          int column)
{
    float x = e.alpha * sum;
    x += out_to_f32(e.bias[column]);
    return 0.5f * x * (1.0f + erff(x * 0.70710678f)); // x Phi(x), the exact form
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

// Tensor cores through mma.sync: C += A B with 16-bit A (16 x 16) and B (16 x 8), fp32 C (16 x 8).
//
// How a warp holds them, lane = 4 g + t; a register of A or B holds two 16-bit values:
//     A  a[0]: row g,   columns 2t 2t+1    a[2]: row g,   columns 2t+8 2t+9
//        a[1]: row g+8, columns 2t 2t+1    a[3]: row g+8, columns 2t+8 2t+9
//     B  b0: rows 2t 2t+1, column g        b1: rows 2t+8 2t+9, column g
//     C  c[0] c[1]: row g, columns 2t 2t+1         c[2] c[3]: row g+8, the same columns
// So two C tiles side by side, rounded to 16 bits, are an A tile in the very same lanes: P = exp(S)
// becomes an operand without moving between lanes.
__device__ __forceinline__ void mma_16x8x16(float *c, const uint32 (&a)[4], uint32 b0, uint32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ uint32 smem_address(const void *pointer)
{
    return uint32(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 tiles of 16-bit values from shared memory. Lane i gives the address of row i % 8 of
// tile i / 8 (16 bytes, aligned); r[k] gets tile k: row g, columns 2t 2t+1.
__device__ __forceinline__ void ldmatrix_x4(uint32 (&r)[4], uint32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
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
};

constexpr int kWarpM = kBlockM / kWarpsM; // rows of C of a warp
constexpr int kWarpN = kBlockN / kWarpsN; // columns of C of a warp
constexpr int kTilesM = kWarpM / 16;      // mma tiles of a warp: 16 x 8
constexpr int kTilesN = kWarpN / 8;

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

constexpr int kChunkC = 16 / sizeof(out_element); // elements that a lane writes at once

// Two neighbouring elements of C in one register, the left one in the lower half.
__device__ __forceinline__ uint32 pack_out(float left, float right)
{
    uint32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    return pair;
}

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
    *reinterpret_cast<uint4 *>(c) = {pack_out(x[0], x[1]), pack_out(x[2], x[3]),
                                     pack_out(x[4], x[5]), pack_out(x[6], x[7])};
}

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
#pragma unroll 1 // of functions with many instructions, one copy will do
    for (int n = lane; n < 16 * kChunks; n += 32) {
        const int row = n / kChunks;
        const int column = n % kChunks * kChunkC;
        store_chunk(e, out, row0 + row, column0 + column, strip + row * kPitchC, column);
    }
    __syncwarp(); // the strip may be filled again
}

constexpr int kStepK = 16; // depth of one mma
static_assert(kBlockK % (2 * kStepK) == 0, "fragments of even and odd steps have their registers");

// Boxes of A and B in shared memory lie as in global memory. A row is longer than the box, so that
// the rows which one load touches start in different banks.
constexpr int kPadAlongK = 8;                 // elements, in rows along k
constexpr int kPitchA = kBlockK + kPadAlongK; // [block_m, block_k]
constexpr int kElementsA = kBlockM * kPitchA;
constexpr int kPitchB = kBlockK + kPadAlongK; // [block_n, block_k]
constexpr int kElementsB = kBlockN * kPitchB;
constexpr int kStageBytes = (kElementsA + kElementsB) * sizeof(element);
constexpr int kRingBytes = kStages * kStageBytes;
constexpr int kStripsBytes = kWarpsM * kWarpsN * kStripBytes; // lib/mma_store.cuh
static_assert(kSmemBytes == (kRingBytes > kStripsBytes ? kRingBytes : kStripsBytes),
              "host and kernel agree on shared memory");

using CopyA = BoxCopy<true, kBlockM, kBlockK, kPitchA>;
using CopyB = BoxCopy<true, kBlockN, kBlockK, kPitchB>;
constexpr int kStageB = kElementsA * sizeof(element); // where B begins in a stage

// What a warp multiplies in one step: its part of A and B, kStepK deep, as mma takes it.
struct Fragments {
    uint32 a[kTilesM][4];
    uint32 b[kTilesN / 2][4]; // each for two mma tiles

    // Takes them from depth k of a stage.
    __device__ __forceinline__ void load(uint32 stage, int k, int warp_row, int warp_column)
    {
        const int lane = threadIdx.x % 32;
        const uint32 stage_b = stage + kStageB;
        // Four 8 x 8 tiles at a time (lib/mma.cuh). As multiplied, the second lies below the first;
        // the third lies to the right. Stored transposed, it is the other way round. Lane i gives
        // the address of a row of tile i / 8.
        const int near = lane % 16;               // tiles 0 1 are stored below each other,
        const int near_right = lane / 16 * 8;     // 2 3 to their right
        const int far = lane / 16 * 8 + lane % 8; // tiles 0 2 are stored below each other,
        const int far_right = lane / 8 % 2 * 8;   // 1 3 to their right
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
            const int at = (warp_row + 16 * i + near) * kPitchA + k + near_right;
            ldmatrix_x4(a[i], stage + 2 * at);
        }
#pragma unroll
        for (int n = 0; n < kTilesN / 2; ++n) {
            const int at = (warp_column + 16 * n + far) * kPitchB + k + far_right;
            ldmatrix_x4(b[n], stage_b + 2 * at);
        }
    }

    __device__ __forceinline__ void multiply(float (&sums)[kTilesM][kTilesN][4]) const
    {
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
            for (int n = 0; n < kTilesN; ++n)
                mma_16x8x16(sums[i][n], a[i], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
        }
    }
};

// Starts the copies of all stages but one. step_a, step_b: elements from one depth to the next.
__device__ __forceinline__ void fill_ring(uint32 stages, CopyA &copy_a, CopyB &copy_b, int depth,
                                          int64 step_a, int64 step_b)
{
    const int blocks = (depth + kBlockK - 1) / kBlockK;
    const int last = (blocks - 1) * kBlockK;
    if (blocks > 0) {
        copy_a.copy_edge(stages, last * step_a, depth - last);
        copy_b.copy_edge(stages + kStageB, last * step_b, depth - last);
    }
    copy_commit();
#pragma unroll
    for (int s = 1; s < kStages - 1; ++s) {
        const uint32 stage = stages + s * kStageBytes;
        if (s < blocks) {
#pragma unroll
            for (int i = 0; i < CopyA::kCount; ++i)
                copy_a.copy_whole(stage, i);
#pragma unroll
            for (int i = 0; i < CopyB::kCount; ++i)
                copy_b.copy_whole(stage + kStageB, i);
        }
        copy_commit(); // an empty group too: waiting counts groups
    }
}

// Adds the products of the whole depth.
__device__ __forceinline__ void multiply_depth(float (&sums)[kTilesM][kTilesN][4], uint32 stages,
                                               CopyA &copy_a, CopyB &copy_b, int depth,
                                               int warp_row, int warp_column)
{
    constexpr int kSteps = kBlockK / kStepK;
    constexpr int kCopies = CopyA::kCount + CopyB::kCount;
    const int blocks = (depth + kBlockK - 1) / kBlockK;
    const uint32 last = stages + (kStages - 1) * kStageBytes;
    uint32 stage = stages;
    uint32 free = last;
    copy_wait<kStages - 2>();
    __syncthreads(); // the first stage is there
    Fragments fragments[2];
    if (blocks > 0)
        fragments[0].load(stage, 0, warp_row, warp_column);
#pragma unroll 1
    for (int block = 0; block < blocks; ++block) {
        const bool more = block + kStages - 1 < blocks;
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            if (step == kSteps - 1) {
                copy_commit(); // an empty group too
                copy_wait<kStages - 2>();
                __syncthreads(); // the next stage is there, and this one has been read
                free = stage;
                if (block + 1 < blocks) // else it is read again, for nothing
                    stage = stage == last ? stages : stage + kStageBytes;
            }
            fragments[(step + 1) % 2].load(stage, (step + 1) % kSteps * kStepK, warp_row,
                                           warp_column);
            if (more) { // as many copies in each step but the last
#pragma unroll
                for (int i = 0; i < kCopies; ++i) {
                    if (i * (kSteps - 1) / kCopies == step && i < CopyA::kCount)
                        copy_a.copy_whole(free, i);
                    else if (i * (kSteps - 1) / kCopies == step)
                        copy_b.copy_whole(free + kStageB, i - CopyA::kCount);
                }
            }
            fragments[step % 2].multiply(sums);
        }
    }
}

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, kCtas)
    gemm_mma_bf16_nt_bias_gelu__bm128_bn256_bk64_warps8_stages3_splitk1_group8_ctas1(
        const Matrix a,       // (batch, m, k), or transposed
        const Matrix b,       // (batch, k, n), or transposed
        const OutputMatrix c, // (batch, m, n)
        const Epilogue e,     // from a sum of products to an element of C
        const Shape shape)
{
    // clang-format on
    extern __shared__ uint4 smem[];
    const uint32 stages = smem_address(smem);
    const int warp = threadIdx.x / 32;
    const int warp_row = warp / kWarpsN * kWarpM;
    const int warp_column = warp % kWarpsN * kWarpN;
    constexpr int k_begin = 0;
    const int depth = shape.k;
    // Elements from one depth to the next.
    constexpr int64 step_a = 1;
    constexpr int64 step_b = 1;

    // A launch with one CTA per tile runs this once; a persistent one walks the tiles.
    for (int n = blockIdx.x; n < shape.tiles; n += gridDim.x) {
        Tile tile = place_tile(n, shape.tiles_m, shape.tiles_n);
        tile.row0 *= kBlockM;
        tile.column0 *= kBlockN;

        CopyA copy_a(a.data + tile.batch * a.batch, a.row, tile.row0, shape.m, k_begin);
        CopyB copy_b(b.data + tile.batch * b.batch, b.row, tile.column0, shape.n, k_begin);

        float sums[kTilesM][kTilesN][4] = {}; // [kWarpM, kWarpN] of the tile
        __syncthreads();                      // the previous tile has left shared memory
        fill_ring(stages, copy_a, copy_b, depth, step_a, step_b);
        multiply_depth(sums, stages, copy_a, copy_b, depth, warp_row, warp_column);
        const Output out{c.data + tile.batch * c.batch, c.row, shape.m, shape.n};
        __syncthreads(); // the stages have been read: strips take their place
        float *const strip = reinterpret_cast<float *>(smem) + warp * (kStripBytes / 4);
#pragma unroll
        for (int i = 0; i < kTilesM; ++i)
            store_rows(e, out, strip, tile.row0 + warp_row + 16 * i, tile.column0 + warp_column,
                       sums[i]);
    }
}
