//@const  block_m     rows of C in one tile
//@const  block_n     columns of C in one tile
//@const  block_k     depth of one stage
//@const  stages      pairs of an A tile and a B tile in shared memory; 1: sm_75
//@const  warps_m     warps below each other in a tile
//@const  warps_n     warps beside each other in a tile
//@const  group       rows of tiles that are walked together
//@const  splits      CTAs that share the depth of one tile
//@const  ctas        CTAs per SM that the registers must leave room for
//@const  threads     per CTA
//@const  smem_bytes  dynamic shared memory of one CTA
//@switch dtype f16|bf16|f32  element type of A and B
//@switch out f16|bf16|f32    element type of C and of the bias
//@switch math none|tf32|tf32x3  how fp32 operands are multiplied
//@switch trans_a bool  A is stored as (k, m)
//@switch trans_b bool  B is stored as (n, k)
//@switch bias bool     a vector is added to every row
//@switch beta bool     C is read
//@switch act none|relu|gelu|silu  activation
//@switch align int     bytes that pointers and strides are multiples of
//@require threads == 32 * warps_m * warps_n
//@require block_m % (16 * warps_m) == 0 && block_n % (16 * warps_n) == 0
//@require block_k % 16 == 0 && (block_k % 32 == 0 || dtype == f32)
//@require (dtype == f32) == (math != none) && (stages > 1 || dtype == f16)
//@let turing stages == 1
//@let mma_k 16 - 8 * turing
//@let split splits > 1
// C = A B on tensor cores (mma.sync). The warps of a CTA share a tile of C, and each keeps its part
// in registers to the end.
//
//@if turing
// sm_75 copies through registers: one stage of shared memory is filled, then multiplied.
//@else
// A ring of stages in shared memory is filled in the background:
//
//     wait for stage k | copy A(k + stages - 1), B(k + stages - 1) | C += A(k) B(k) | ..
//
// What tensor cores are fed from must never make them wait. So what a step multiplies is loaded
// during the step before; a few copies go with each step, and have their addresses ready: the last
// block of k, which may be cut short, comes first, so that all others are whole.
//@end
//
// Every element that a warp takes from shared memory serves a whole row or column of its part, so
// the larger the part, the less shared memory limits the tensor cores.
//
//@if split
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
//@if dtype == f32
//@include lib/mma_tf32.cuh
//@else
//@include lib/mma.cuh
//@end
//@include lib/copy_matrix.cuh

constexpr int kWarpM = kBlockM / kWarpsM; // rows of C of a warp
constexpr int kWarpN = kBlockN / kWarpsN; // columns of C of a warp
constexpr int kTilesM = kWarpM / 16;      // mma tiles of a warp: 16 x 8
constexpr int kTilesN = kWarpN / 8;

//@include lib/mma_store.cuh

//@if dtype == f32
constexpr int kStepK = 8; // depth of one mma
//@else
constexpr int kStepK = 16; // depth of one mma
//@end
static_assert(kBlockK % (2 * kStepK) == 0, "fragments of even and odd steps have their registers");

// Boxes of A and B in shared memory lie as in global memory. A row is longer than the box, so that
// the rows which one load touches start in different banks.
//@if !trans_a || trans_b
//@if dtype == f32
constexpr int kPadAlongK = 4; // elements, in rows along k
//@else
constexpr int kPadAlongK = 8; // elements, in rows along k
//@end
//@end
//@if trans_a || !trans_b
constexpr int kPadAcross = 8; // elements, in rows along m or n
//@end
//@if trans_a
constexpr int kPitchA = kBlockM + kPadAcross; // [block_k, block_m]
constexpr int kElementsA = kBlockK * kPitchA;
//@else
constexpr int kPitchA = kBlockK + kPadAlongK; // [block_m, block_k]
constexpr int kElementsA = kBlockM * kPitchA;
//@end
//@if trans_b
constexpr int kPitchB = kBlockK + kPadAlongK; // [block_n, block_k]
constexpr int kElementsB = kBlockN * kPitchB;
//@else
constexpr int kPitchB = kBlockN + kPadAcross; // [block_k, block_n]
constexpr int kElementsB = kBlockK * kPitchB;
//@end
constexpr int kStageBytes = (kElementsA + kElementsB) * sizeof(element);
constexpr int kRingBytes = kStages * kStageBytes;
constexpr int kStripsBytes = kWarpsM * kWarpsN * kStripBytes; // lib/mma_store.cuh
static_assert(kSmemBytes == (kRingBytes > kStripsBytes ? kRingBytes : kStripsBytes),
              "host and kernel agree on shared memory");

//@if trans_a
using CopyA = BoxCopy<false, kBlockK, kBlockM, kPitchA>;
//@else
using CopyA = BoxCopy<true, kBlockM, kBlockK, kPitchA>;
//@end
//@if trans_b
using CopyB = BoxCopy<true, kBlockN, kBlockK, kPitchB>;
//@else
using CopyB = BoxCopy<false, kBlockK, kBlockN, kPitchB>;
//@end
constexpr int kStageB = kElementsA * sizeof(element); // where B begins in a stage

// What a warp multiplies in one step: its part of A and B, kStepK deep, as mma takes it.
struct Fragments {
    //@if dtype == f32
    Operand<4> a[kTilesM];
    Operand<2> b[kTilesN];
    //@else
    uint32 a[kTilesM][4];
    uint32 b[kTilesN / 2][4]; // each for two mma tiles
    //@end

    // Takes them from depth k of a stage.
    __device__ __forceinline__ void load(uint32 stage, int k, int warp_row, int warp_column)
    {
        const int lane = threadIdx.x % 32;
        const uint32 stage_b = stage + kStageB;
        //@if dtype == f32
        const int g = lane / 4;
        const int t = lane % 4;
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int row = warp_row + 16 * i + j % 2 * 8 + g;
                const int column = k + j / 2 * 4 + t;
                //@if trans_a
                a[i].set(j, load_shared(stage + 4 * (column * kPitchA + row)));
                //@else
                a[i].set(j, load_shared(stage + 4 * (row * kPitchA + column)));
                //@end
            }
        }
#pragma unroll
        for (int n = 0; n < kTilesN; ++n) {
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const int row = k + 4 * j + t;
                const int column = warp_column + 8 * n + g;
                //@if trans_b
                b[n].set(j, load_shared(stage_b + 4 * (column * kPitchB + row)));
                //@else
                b[n].set(j, load_shared(stage_b + 4 * (row * kPitchB + column)));
                //@end
            }
        }
        //@else
        // Four 8 x 8 tiles at a time (lib/mma.cuh). As multiplied, the second lies below the first;
        // the third lies to the right. Stored transposed, it is the other way round. Lane i gives
        // the address of a row of tile i / 8.
        const int near = lane % 16;               // tiles 0 1 are stored below each other,
        const int near_right = lane / 16 * 8;     // 2 3 to their right
        const int far = lane / 16 * 8 + lane % 8; // tiles 0 2 are stored below each other,
        const int far_right = lane / 8 % 2 * 8;   // 1 3 to their right
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
            //@if trans_a
            const int at = (k + far) * kPitchA + warp_row + 16 * i + far_right;
            ldmatrix_x4_trans(a[i], stage + 2 * at);
            //@else
            const int at = (warp_row + 16 * i + near) * kPitchA + k + near_right;
            ldmatrix_x4(a[i], stage + 2 * at);
            //@end
        }
#pragma unroll
        for (int n = 0; n < kTilesN / 2; ++n) {
            //@if trans_b
            const int at = (warp_column + 16 * n + far) * kPitchB + k + far_right;
            ldmatrix_x4(b[n], stage_b + 2 * at);
            //@else
            const int at = (k + near) * kPitchB + warp_column + 16 * n + near_right;
            ldmatrix_x4_trans(b[n], stage_b + 2 * at);
            //@end
        }
        //@end
    }

    __device__ __forceinline__ void multiply(float (&sums)[kTilesM][kTilesN][4]) const
    {
        //@if dtype == f32
#pragma unroll
        for (int i = 0; i < kProducts * kTilesM; ++i) {
#pragma unroll
            for (int n = 0; n < kTilesN; ++n)
                multiply_tile(sums[i % kTilesM][n], a[i % kTilesM], b[n], i / kTilesM);
        }
        //@else
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
            for (int n = 0; n < kTilesN; ++n)
                mma_16x8x16(sums[i][n], a[i], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
        }
        //@end
        //@watch sums [block_m/warps_m, block_n/warps_n] acc regs=block_m/warps_m/16,block_n/warps_n/8,4
    }
};

//@if turing
// Adds the products of the stage.
__device__ __forceinline__ void multiply_stage(float (&sums)[kTilesM][kTilesN][4], uint32 stage,
                                               int warp_row, int warp_column)
{
#pragma unroll
    for (int step = 0; step < kBlockK / kStepK; ++step) {
        Fragments now;
        now.load(stage, step * kStepK, warp_row, warp_column);
        now.multiply(sums);
    }
}
//@else
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
//@end

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, kCtas) $kernel_name(
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
    extern __shared__ uint4 smem[];
    const uint32 stages = smem_address(smem);
    const int warp = threadIdx.x / 32;
    const int warp_row = warp / kWarpsN * kWarpM;
    const int warp_column = warp % kWarpsN * kWarpN;
    //@if split
    const int split = blockIdx.x % kSplits;
    const Depths depths = depths_of(split, shape.k);
    const int k_begin = depths.begin;
    const int depth = depths.end - depths.begin;
    //@else
    constexpr int k_begin = 0;
    const int depth = shape.k;
    //@end
    // Elements from one depth to the next.
    //@if trans_a
    const int64 step_a = a.row;
    //@else
    constexpr int64 step_a = 1;
    //@end
    //@if trans_b
    constexpr int64 step_b = 1;
    //@else
    const int64 step_b = b.row;
    //@end

    //@if split
    const int n = blockIdx.x / kSplits;
    if (n < shape.tiles) {
    //@else
    // A launch with one CTA per tile runs this once; a persistent one walks the tiles.
    for (int n = blockIdx.x; n < shape.tiles; n += gridDim.x) {
    //@end
        Tile tile = place_tile(n, shape.tiles_m, shape.tiles_n);
        tile.row0 *= kBlockM;
        tile.column0 *= kBlockN;

        CopyA copy_a(a.data + tile.batch * a.batch, a.row, tile.row0, shape.m, k_begin);
        CopyB copy_b(b.data + tile.batch * b.batch, b.row, tile.column0, shape.n, k_begin);

        float sums[kTilesM][kTilesN][4] = {}; // [kWarpM, kWarpN] of the tile
        __syncthreads();                      // the previous tile has left shared memory
        //@if !turing
        fill_ring(stages, copy_a, copy_b, depth, step_a, step_b);
        multiply_depth(sums, stages, copy_a, copy_b, depth, warp_row, warp_column);
        //@else
        for (int k = 0; k < depth; k += kBlockK) {
            copy_a.copy_edge(stages, k * step_a, depth - k);
            copy_b.copy_edge(stages + kStageB, k * step_b, depth - k);
            __syncthreads();
            multiply_stage(sums, stages, warp_row, warp_column);
            __syncthreads(); // the stage has been read
        }
        //@end
        //@if split
        if (!add_splits<4 * kTilesM * kTilesN>(sums[0][0], workspace, arrivals, n, split))
            return;
        //@end
        const Output out{c.data + tile.batch * c.batch, c.row, shape.m, shape.n};
        __syncthreads(); // the stages have been read: strips take their place
        float *const strip = reinterpret_cast<float *>(smem) + warp * (kStripBytes / 4);
#pragma unroll
        for (int i = 0; i < kTilesM; ++i)
            store_rows(e, out, strip, tile.row0 + warp_row + 16 * i, tile.column0 + warp_column,
                       sums[i]);
    }
}
