// One step of the recurrence on tensor cores: a block of keys joins what is known of a tile of
// rows.
//
// A warp owns kTilesM tiles of 16 rows and all columns. Lane 4 g + t has rows g and g + 8 of each
// (h = 0 and 1 below), and of every 8 columns 2t and 2t + 1: four accumulators, see mma_16x8x16. So
// a row lies in the four lanes of a quad.
//@let tiles block_m / (16 * warps)

constexpr int kTilesM = kBlockM / (16 * kWarps); // 16-row tiles of a warp
constexpr int kStepsD = (kHeadDim + 15) / 16;    // k steps of Q K^T
constexpr int kStepsN = kBlockN / 16;            // k steps of P V, and pairs of n tiles of S
constexpr int kStepsV = (kHeadDimV + 15) / 16;   // pairs of n tiles of O

// Row pitches in elements: 16 bytes more than the padded row. Eight consecutive rows then start in
// eight different groups of four banks, and neither ldmatrix nor the copies meet a bank conflict.
constexpr int kPitchQ = 16 * kStepsD + 8; // of Q and K
constexpr int kPitchV = 16 * kStepsV + 8; // of V and O

//@if lazy
// Any m serves as long as nothing overflows: it may lag behind the maximum by a factor of 2^8 in
// P. Then it seldom moves after a row's first block, and O seldom has to be rescaled.
constexpr float kLag = 8.0f;
//@else
constexpr float kLag = 0.0f; // m is the maximum itself
//@end

// The warp's first row in the tile.
__device__ __forceinline__ int warp_row()
{
    return threadIdx.x / 32 * (16 * kTilesM);
}

// Byte offsets of the rows whose addresses this lane gives to ldmatrix. Q and V: tiles 0 and 1
// below each other, 2 and 3 to their right. K, whose rows are columns of K^T: 0 and 1 side by side,
// 2 and 3 below.
__device__ __forceinline__ uint32 q_offset()
{
    const int lane = threadIdx.x % 32;
    return 2 * ((warp_row() + lane % 16) * kPitchQ + lane / 16 * 8);
}

__device__ __forceinline__ uint32 k_offset()
{
    const int lane = threadIdx.x % 32;
    return 2 * ((lane / 16 * 8 + lane % 8) * kPitchQ + lane / 8 % 2 * 8);
}

__device__ __forceinline__ uint32 v_offset()
{
    const int lane = threadIdx.x % 32;
    return 2 * (lane % 16 * kPitchV + lane / 16 * 8);
}

// Maximum and sum over the four lanes of a row; each of them gets the result.
__device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}

__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffff, x, 1);
    return x + __shfl_xor_sync(0xffffffff, x, 2);
}

// The factor from scores to exponents of 2. The maximum is taken before scaling, so it must be
// positive: negate_rows moves the sign into Q. Zero would turn a masked -inf into NaN; the smallest
// normal number gives the same weights.
__device__ __forceinline__ float exponent_factor(float scale)
{
    return fmaxf(fabsf(scale) * kLog2E, 1.17549435e-38f);
}

// Flips the sign of the warp's own rows of Q.
__device__ __forceinline__ void negate_rows(uint4 *q_tile)
{
    uint32 *const words = reinterpret_cast<uint32 *>(q_tile) + warp_row() * (kPitchQ / 2);
#pragma unroll 1
    for (int row = 0; row < 16 * kTilesM; ++row) {
#pragma unroll 1
        for (int word = threadIdx.x % 32; word < 8 * kStepsD; word += 32)
            words[row * (kPitchQ / 2) + word] ^= 0x80008000;
    }
    __syncwarp();
}

//@if qregs
using QueryTile = uint32[kStepsD][kTilesM][4]; // A fragments

__device__ __forceinline__ void load_q(QueryTile &q, uint32 q_smem)
{
#pragma unroll
    for (int d = 0; d < kStepsD; ++d) {
#pragma unroll
        for (int i = 0; i < kTilesM; ++i)
            ldmatrix_x4(q[d][i], q_smem + q_offset() + 2 * (16 * i * kPitchQ + 16 * d));
    }
}
//@else
using QueryTile = uint32; // address in shared memory
//@end

// S = Q K^T: [block_m, block_n].
__device__ __forceinline__ void multiply_qk(float (&S)[kTilesM][8 * kStepsN],
                                            const QueryTile &q_tile, uint32 k_tile)
{
    //@watch K=k_tile [block_n, head_dim] smem_$dtype pitch=(head_dim+15)/16*16+8
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
        for (int n = 0; n < 8 * kStepsN; ++n)
            S[i][n] = 0.0f;
    }
    //@if qregs
#pragma unroll
    //@else
#pragma unroll $qk_unroll // no more: fragments fetched ahead take registers
    //@end
    for (int d = 0; d < kStepsD; ++d) {
        //@if !qregs
        uint32 q[kTilesM][4];
#pragma unroll
        for (int i = 0; i < kTilesM; ++i)
            ldmatrix_x4(q[i], q_tile + q_offset() + 2 * (16 * i * kPitchQ + 16 * d));
            //@end
#pragma unroll
        for (int n = 0; n < kStepsN; ++n) {
            uint32 k[4];
            ldmatrix_x4(k, k_tile + k_offset() + 2 * (16 * n * kPitchQ + 16 * d));
#pragma unroll
            for (int i = 0; i < kTilesM; ++i) {
                //@if qregs
                mma_16x8x16(&S[i][8 * n], q_tile[d][i], k[0], k[1]);
                mma_16x8x16(&S[i][8 * n + 4], q_tile[d][i], k[2], k[3]);
                //@else
                mma_16x8x16(&S[i][8 * n], q[i], k[0], k[1]);
                mma_16x8x16(&S[i][8 * n + 4], q[i], k[2], k[3]);
                //@end
            }
        }
    }
    //@watch S [block_m, block_n] acc regs=tiles,block_n/2
}

// Sets scores of keys that a row does not see to -inf. `row0` is the tile's first row.
__device__ __forceinline__ void mask(float (&S)[kTilesM][8 * kStepsN], int row0, int key0,
                                     int len_q, int len_k)
{
    const int first_row = row0 + warp_row();
    if (key0 + kBlockN <= visible_keys(first_row, len_q, len_k))
        return; // all rows of the warp see the whole block
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = first_row + 16 * i + 8 * h + g;
            const int visible = visible_keys(row, len_q, len_k) - key0 - 2 * t;
#pragma unroll
            for (int n = 0; n < 2 * kStepsN; ++n) {
                if (8 * n >= visible)
                    S[i][4 * n + 2 * h] = -INFINITY;
                if (8 * n + 1 >= visible)
                    S[i][4 * n + 2 * h + 1] = -INFINITY;
            }
        }
    }
}

// P = exp(S - m), as A fragments. Where a row's m grows, its l and O, summed with the old m, are
// corrected.
__device__ __forceinline__ void softmax(uint32 (&P)[kTilesM][kStepsN][4],
                                        const float (&S)[kTilesM][8 * kStepsN],
                                        float (&O)[kTilesM][8 * kStepsV], float (&m)[kTilesM][2],
                                        float (&l)[kTilesM][2], float factor)
{
    float correction[kTilesM][2];
    bool grown = false;
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float block_max = -INFINITY;
#pragma unroll
            for (int n = 0; n < 2 * kStepsN; ++n) {
                const float *const s = &S[i][4 * n + 2 * h];
                block_max = fmaxf(block_max, fmaxf(s[0], s[1]));
            }
            block_max = quad_max(block_max);
            const bool raise = (block_max - m[i][h]) * factor > kLag;
            const float m_new = raise ? block_max : m[i][h];
            correction[i][h] = raise ? exp2_fast((m[i][h] - m_new) * factor) : 1.0f;
            grown |= raise;
            m[i][h] = m_new;
            l[i][h] *= correction[i][h];

            // While a row has seen no key, m is -inf, and -inf - -inf would be NaN.
            const float offset = m_new == -INFINITY ? 0.0f : m_new * factor;
#pragma unroll
            for (int n = 0; n < 2 * kStepsN; ++n) {
                const float p0 = exp2_fast(S[i][4 * n + 2 * h] * factor - offset);
                const float p1 = exp2_fast(S[i][4 * n + 2 * h + 1] * factor - offset);
                l[i][h] += p0 + p1;
                P[i][n / 2][n % 2 * 2 + h] = pack(p0, p1);
            }
        }
    }
    //@watch m [block_m] row regs=tiles,2
    //@watch l [block_m] row_sum regs=tiles,2
    //@watch P [block_m, block_n] a_$dtype regs=tiles,block_n/16,4
    if (__any_sync(0xffffffff, grown)) {
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
            for (int n = 0; n < 8 * kStepsV; ++n)
                O[i][n] *= correction[i][n / 2 % 2];
        }
    }
}

// O += P V: [block_m, head_dim_v].
__device__ __forceinline__ void multiply_pv(float (&O)[kTilesM][8 * kStepsV],
                                            const uint32 (&P)[kTilesM][kStepsN][4], uint32 v_tile)
{
    //@watch V=v_tile [block_n, head_dim_v] smem_$dtype pitch=(head_dim_v+15)/16*16+8
#pragma unroll
    for (int n = 0; n < kStepsN; ++n) {
#pragma unroll
        for (int c = 0; c < kStepsV; ++c) {
            uint32 v[4];
            ldmatrix_x4_trans(v, v_tile + v_offset() + 2 * (16 * n * kPitchV + 16 * c));
#pragma unroll
            for (int i = 0; i < kTilesM; ++i) {
                mma_16x8x16(&O[i][8 * c], P[i][n], v[0], v[1]);
                mma_16x8x16(&O[i][8 * c + 4], P[i][n], v[2], v[3]);
            }
        }
    }
    //@watch O [block_m, head_dim_v] acc regs=tiles,(head_dim_v+15)/16*8
}

// Writes O / l, rounded once, and the log-sum-exp. A row that saw no key has l = 0: its output is
// 0 and its log-sum-exp -inf, as are those of rows from len_q on. `o_tile` is shared memory that
// nobody uses any more: from there whole chunks go out.
__device__ __forceinline__ void store_tile(const float (&O)[kTilesM][8 * kStepsV],
                                           const float (&m)[kTilesM][2],
                                           const float (&l)[kTilesM][2], float factor,
                                           uint4 *o_tile, const Output &out, int row0, int len_q,
                                           int seq_q)
{
    const int first_row = row0 + warp_row();
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
    element *const o_warp = reinterpret_cast<element *>(o_tile) + warp_row() * kPitchV;
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = 16 * i + 8 * h + g;
            const float total = quad_sum(l[i][h]); // every lane takes part, its row valid or not
            const float sum = first_row + row < len_q ? total : 0.0f;
            const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
            //@if lse
            if (t == 0 && first_row + row < seq_q)
                out.lse[(first_row + row) * out.lse_stride] =
                    sum == 0.0f ? -INFINITY : (m[i][h] * factor + log2f(sum)) * kLn2;
                //@end
#pragma unroll
            for (int n = 0; n < 2 * kStepsV; ++n) {
                *reinterpret_cast<uint32 *>(&o_warp[row * kPitchV + 8 * n + 2 * t]) =
                    pack(O[i][4 * n + 2 * h] * inverse, O[i][4 * n + 2 * h + 1] * inverse);
            }
        }
    }
    __syncwarp(); // a warp writes out its own rows

    constexpr int kChunks = kHeadDimV / 8;
    element *const o_global = out.o + first_row * out.o_stride;
#pragma unroll 4
    for (int i = threadIdx.x % 32; i < 16 * kTilesM * kChunks; i += 32) {
        const int row = i / kChunks;
        const int column = i % kChunks * 8;
        if (first_row + row < seq_q) {
            store_chunk(&o_global[row * out.o_stride + column],
                        *reinterpret_cast<uint4 *>(&o_warp[row * kPitchV + column]));
        }
    }
}
