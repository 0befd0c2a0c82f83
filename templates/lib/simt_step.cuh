// One step of the recurrence in fp32: a block of keys joins what is known of a tile of rows.
// Threads form a 16 x 16 grid (ty, tx); thread (ty, tx) owns rows ty + 16 i, and of these rows the
// columns tx + 16 j of S and tx + 16 c of O.

constexpr int kRows = kBlockM / 16;             // rows of a thread
constexpr int kKeys = kBlockN / 16;             // columns of S of a thread
constexpr int kColumns = (kHeadDimV + 15) / 16; // columns of O of a thread

// Row pitches in floats. Four more than a multiple of 8: the float4 reads of 8 neighbouring rows
// then fall into different banks.
constexpr int kPitchQ = kHeadDim + 4; // of Q and K
constexpr int kPitchV = 16 * kColumns;
constexpr int kPitchP = kBlockN + 4;

constexpr int kFloats = (kBlockM + kBlockN) * kPitchQ + kBlockN * kPitchV + kBlockM * kPitchP;
static_assert(kFloats * sizeof(float) == kSmemBytes, "host and kernel agree on shared memory");

// Copies a tile from global to shared memory as fp32, times `factor`. Rows from `rows_valid` on
// and columns past the tensor's become zero: memory past a sequence's end may hold NaN, and
// 0 * NaN would reach O.
template <int kTileRows, int kTileColumns, int kPitch>
__device__ __forceinline__ void load_tile(float *tile, const element *source, int64 row_stride,
                                          int rows_valid, float factor)
{
#pragma unroll 4 // that many loads in flight
    for (int i = threadIdx.x; i < kTileRows * kPitch; i += kThreads) {
        const int row = i / kPitch;
        const int column = i % kPitch;
        const bool valid = row < rows_valid && column < kTileColumns;
        tile[i] = valid ? to_f32(source[row * row_stride + column]) * factor : 0.0f;
    }
}

// Maximum and sum over the 16 threads of a row; every one of them gets the result.
__device__ __forceinline__ float row_max(float x)
{
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, lanes));
    return x;
}

__device__ __forceinline__ float row_sum(float x)
{
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes /= 2)
        x += __shfl_xor_sync(0xffffffff, x, lanes);
    return x;
}

// Four products are added up before they join a long sum, whose rounding errors grow with the
// number of additions.
__device__ __forceinline__ float dot(float4 a, float4 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}

// S = Q K^T; P = exp2(S - m); l and O grow by P 1 and P V. Q is [block_m, head_dim] and scaled, K
// [block_n, head_dim], V [block_n, head_dim_v], P [block_m, block_n], all in shared memory.
__device__ __forceinline__ void add_block(float (&O)[kRows][kColumns], float (&m)[kRows],
                                          float (&l)[kRows], const float *Q, const float *K,
                                          const float *V, float *P, int row0, int key0, int len_q,
                                          int len_k)
{
    const int tx = threadIdx.x % 16;
    const int ty = threadIdx.x / 16;
    //@watch Q [block_m, head_dim] smem_f32 pitch=head_dim+4
    //@watch K [block_n, head_dim] smem_f32 pitch=head_dim+4
    //@watch V [block_n, head_dim_v] smem_f32 pitch=(head_dim_v+15)/16*16

    // S = Q K^T: [block_m, block_n]
    float S[kRows][kKeys] = {};
#pragma unroll 2
    for (int d = 0; d < kHeadDim; d += 4) {
        float4 q[kRows];
        float4 k[kKeys];
#pragma unroll
        for (int i = 0; i < kRows; ++i)
            q[i] = *reinterpret_cast<const float4 *>(&Q[(ty + 16 * i) * kPitchQ + d]);
#pragma unroll
        for (int j = 0; j < kKeys; ++j)
            k[j] = *reinterpret_cast<const float4 *>(&K[(tx + 16 * j) * kPitchQ + d]);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
            for (int j = 0; j < kKeys; ++j)
                S[i][j] += dot(q[i], k[j]);
        }
    }
    //@watch S [block_m, block_n] grid regs=block_m/16,block_n/16

    // Softmax of the block, row by row.
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        const int visible = visible_keys(row0 + ty + 16 * i, len_q, len_k) - key0;
        float block_max = -INFINITY;
#pragma unroll
        for (int j = 0; j < kKeys; ++j) {
            if (tx + 16 * j >= visible)
                S[i][j] = -INFINITY;
            block_max = fmaxf(block_max, S[i][j]);
        }
        const float m_new = fmaxf(m[i], row_max(block_max));
        // While a row has seen no key, m is -inf, and -inf - -inf would be NaN.
        const float m_finite = m_new == -INFINITY ? 0.0f : m_new;
        const float correction = exp2f(m[i] - m_finite);
        m[i] = m_new;
        l[i] *= correction;
#pragma unroll
        for (int j = 0; j < kKeys; ++j) {
            const float p = exp2f(S[i][j] - m_finite);
            l[i] += p;
            P[(ty + 16 * i) * kPitchP + tx + 16 * j] = p;
        }
#pragma unroll
        for (int c = 0; c < kColumns; ++c)
            O[i][c] *= correction;
    }
    //@watch m [block_m] grid regs=block_m/16
    //@watch l [block_m] grid_sum regs=block_m/16
    __syncwarp(); // a row of P is written and read by the same half warp
    //@watch P [block_m, block_n] grid_smem pitch=block_n+4

    // O += P V: [block_m, head_dim_v]
#pragma unroll 2
    for (int j = 0; j < kBlockN; j += 4) {
        float4 p[kRows];
#pragma unroll
        for (int i = 0; i < kRows; ++i)
            p[i] = *reinterpret_cast<float4 *>(&P[(ty + 16 * i) * kPitchP + j]);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
            const float *const column = &V[j * kPitchV + tx + 16 * c];
            const float4 v = {column[0], column[kPitchV], column[2 * kPitchV], column[3 * kPitchV]};
#pragma unroll
            for (int i = 0; i < kRows; ++i)
                O[i][c] += dot(p[i], v);
        }
    }
    //@watch O [block_m, head_dim_v] grid regs=block_m/16,(head_dim_v+15)/16
}

// Writes O / l, rounded once, and the log-sum-exp. A row that saw no key has l = 0: its output is
// 0 and its log-sum-exp -inf, as are those of rows from len_q on.
__device__ __forceinline__ void store_tile(const float (&O)[kRows][kColumns],
                                           const float (&m)[kRows], const float (&l)[kRows],
                                           const Output &out, int row0, int len_q, int seq_q)
{
    const int tx = threadIdx.x % 16;
    const int ty = threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        const int row = row0 + ty + 16 * i;
        const float total = row_sum(l[i]); // every lane takes part, its row valid or not
        const float sum = row < len_q ? total : 0.0f;
        const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
        if (row < seq_q) {
            //@if lse
            if (tx == 0)
                out.lse[row * out.lse_stride] =
                    sum == 0.0f ? -INFINITY : (m[i] + log2f(sum)) * kLn2;
                //@end
#pragma unroll
            for (int c = 0; c < kColumns; ++c) {
                if (tx + 16 * c < kHeadDimV)
                    out.o[row * out.o_stride + tx + 16 * c] = to_element(O[i][c] * inverse);
            }
        }
    }
}
