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

//@if dtype == f32
constexpr int kStepK = 8; // depth of one mma
//@else
constexpr int kStepK = 16; // depth of one mma
//@end
static_assert(kBlockK % (2 * kStepK) == 0, "fragments of even and odd steps have their registers");

// Boxes of A and B in shared memory lie as in global memory. A row is longer than the box, so that
// the rows which one load touches start in different banks.
//@if dtype == f32
constexpr int kPadAlongK = 4; // elements, in rows along k
constexpr int kPadAcross = 8; // in rows along m or n
//@else
constexpr int kPadAlongK = 8;
constexpr int kPadAcross = 8;
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
    //@if trans_a
    copy_box<kBlockK, kBlockM, kPitchA>(stage, data + k * a.row + tile.row0, a.row, k_end - k,
                                        shape.m - tile.row0);
    //@else
    copy_box<kBlockM, kBlockK, kPitchA>(stage, data + tile.row0 * a.row + k, a.row,
                                        shape.m - tile.row0, k_end - k);
    //@end
}

__device__ __forceinline__ void copy_b(uint32 stage, const Matrix &b, const Shape &shape,
                                       const Tile &tile, int k, int k_end)
{
    const uint32 stage_b = stage + kElementsA * sizeof(element);
    const element *const data = b.data + tile.batch * b.batch;
    //@if trans_b
    copy_box<kBlockN, kBlockK, kPitchB>(stage_b, data + tile.column0 * b.row + k, b.row,
                                        shape.n - tile.column0, k_end - k);
    //@else
    copy_box<kBlockK, kBlockN, kPitchB>(stage_b, data + k * b.row + tile.column0, b.row, k_end - k,
                                        shape.n - tile.column0);
    //@end
}

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
        const uint32 stage_b = stage + kElementsA * sizeof(element);
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
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
            for (int n = 0; n < kTilesN; ++n)
                //@if dtype == f32
                multiply_tile(sums[i][n], a[i], b[n]);
                //@else
                mma_16x8x16(sums[i][n], a[i], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
                //@end
        }
        //@watch sums [block_m/warps_m, block_n/warps_n] acc regs=block_m/warps_m/16,block_n/warps_n/8,4
    }
};

//@if split
// Leaves this CTA's sums in the workspace. True in all threads of the CTA that came last for its
// tile: then `sums` holds the total of all splits.
__device__ __forceinline__ bool add_splits(float (&sums)[kTilesM][kTilesN][4], float4 *workspace,
                                           unsigned *arrivals, int tile, int split)
{
    // [tiles][splits][kTilesM * kTilesN][threads]
    constexpr int64 kPart = kTilesM * kTilesN * kThreads;
    float4 *const parts = workspace + tile * (kSplits * kPart) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
        for (int n = 0; n < kTilesN; ++n) {
            const float *const c = sums[i][n];
            parts[split * kPart + (i * kTilesN + n) * kThreads] = {c[0], c[1], c[2], c[3]};
        }
    }
    __threadfence();
    __syncthreads(); // all sums of this CTA can be seen
    const bool arrived = threadIdx.x == 0 && atomicAdd(&arrivals[tile], 1) == kSplits - 1;
    const bool last = __syncthreads_or(arrived);
    if (!last)
        return false;
    __threadfence();
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
        for (int n = 0; n < kTilesN; ++n) {
            float *const c = sums[i][n];
            c[0] = c[1] = c[2] = c[3] = 0.0f;
#pragma unroll 4
            for (int s = 0; s < kSplits; ++s) {
                const float4 part = __ldcg(&parts[s * kPart + (i * kTilesN + n) * kThreads]);
                c[0] += part.x;
                c[1] += part.y;
                c[2] += part.z;
                c[3] += part.w;
            }
        }
    }
    return true;
}

//@end
// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, kCtas) $kernel_name(
    const Matrix a,       // (batch, m, k), or transposed
    const Matrix b,       // (batch, k, n), or transposed
    const OutputMatrix c, // (batch, m, n)
    const Epilogue e,     //
    //@if split
    float4 *const workspace,  // see add_splits
    unsigned *const arrivals, // per tile, zero at launch
    //@end
    const Shape shape)
{
    // clang-format on
    extern __shared__ uint4 smem[];
    const uint32 stages = smem_address(smem);
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int warp_row = warp / kWarpsN * kWarpM;
    const int warp_column = warp % kWarpsN * kWarpN;
    //@if split
    const int steps_all = (shape.k + kBlockK - 1) / kBlockK;
    const int split = blockIdx.x % kSplits;
    const int k_begin = int(int64(steps_all) * split / kSplits) * kBlockK;
    const int k_end = min(shape.k, int(int64(steps_all) * (split + 1) / kSplits) * kBlockK);
    //@else
    constexpr int k_begin = 0;
    const int k_end = shape.k;
    //@end

    // A launch with one CTA per tile runs this once; a persistent one walks the tiles.
    for (int n = blockIdx.x / kSplits; n < shape.tiles; n += gridDim.x / kSplits) {
        Tile tile = place_tile(n, shape.tiles_m, shape.tiles_n);
        tile.row0 *= kBlockM;
        tile.column0 *= kBlockN;

        float sums[kTilesM][kTilesN][4] = {}; // [kWarpM, kWarpN] of the tile
        //@if turing
        for (int k = k_begin; k < k_end; k += kBlockK) {
            __syncthreads(); // the stage before has been read
            copy_a(stages, a, shape, tile, k, k_end);
            copy_b(stages, b, shape, tile, k, k_end);
            __syncthreads();
#pragma unroll
            for (int step = 0; step < kBlockK / kStepK; ++step) {
                Fragments now;
                now.load(stages, step * kStepK, warp_row, warp_column);
                now.multiply(sums);
            }
        }
        //@else
        __syncthreads(); // the stages of the previous tile have been read
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
        __syncthreads(); // the first stage is there
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
        //@end
        //@if split
        if (!add_splits(sums, workspace, arrivals, n, split))
            continue;
        //@end
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
