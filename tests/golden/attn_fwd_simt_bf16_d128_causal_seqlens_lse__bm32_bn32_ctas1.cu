// Attention forward in fp32 arithmetic, a CTA per tile of query rows.
//
//   fajit-inspect render attn:bf16,d128,causal,seqlens,lse,kernel=simt,variant=persistent \
//       --arch sm_120 \
//       --config bm=32,bn=32,ctas=1
//
// One CTA: 256 threads, 54784 bytes of dynamic shared memory. One KV block: 524288 FLOPs, 16384
// bytes, 1024 exponentials.
//
// FlashAttention-2 in plain fp32 arithmetic: the kernel to read first.
//
// One row of attention is O = sum_j p_j V_j / sum_j p_j with p_j = exp(s_j), s_j = scale * Q K_j.
// The s_j need not all be known at once. With any number m, p_j = exp(s_j - m) gives the same O,
// and sums made with one m become sums made with another when multiplied by exp(m - m'). So the
// keys are walked in blocks, and three things are carried along for each row:
//
//     m = max of the s_j so far      l = sum of exp(s_j - m)      O = sum of exp(s_j - m) V_j
//
// When a block raises m, l and O are multiplied by exp(m_old - m_new). After the last block,
// O / l is the result and m + ln(l) is the log-sum-exp. No row of scores is ever stored, and m
// being the maximum, no exponential overflows.
//
// One tile is block_m query rows of one head. Threads form a 16 x 16 grid (ty, tx); thread
// (ty, tx) owns rows ty + 16 i, and of these rows the columns tx + 16 j of S and tx + 16 c of O.
// The 16 threads of a row are half a warp, so m and l of a row are reduced by shuffles.

constexpr int kHeadDim = 128;     // columns of Q and K
constexpr int kHeadDimV = 128;    // columns of V and O
constexpr int kBlockM = 32;       // query rows of one tile
constexpr int kBlockN = 32;       // keys of one step
constexpr int kCtas = 1;          // CTAs per SM that the registers must leave room for
constexpr int kThreads = 256;     // per CTA, a 16 x 16 grid
constexpr int kSmemBytes = 54784; // dynamic shared memory of one CTA

// Types, constants and conversions. Nothing is included: NVRTC reads this text and no header.
using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;

#define INFINITY __int_as_float(0x7f800000) // as <math.h> would define it

// Strides of a (batch, head, seq, dim) view in elements; dim is contiguous. 64 bits, since
// batch * heads * seq * dim passes 2^31 for tensors people do use.
struct Strides {
    int64 batch;
    int64 head;
    int64 seq;
};

// bf16: the upper half of an fp32.
struct element {
    uint16 bits;
};

__device__ __forceinline__ float to_f32(element x)
{
    return __uint_as_float(uint32(x.bits) << 16);
}

// Rounds to nearest even in integer arithmetic, so that it works before sm_80 too.
__device__ __forceinline__ element to_element(float x)
{
    const uint32 bits = __float_as_uint(x);
    const uint32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return element{uint16(x != x ? 0x7fff : rounded)}; // a NaN must not round to infinity
}

// What every attention kernel agrees on: which keys a query sees, which tile a CTA works on.

constexpr float kLog2E = 1.4426950408889634f; // exp(x) = exp2(x * log2(e)): the GPU has exp2
constexpr float kLn2 = 0.6931471805599453f;   // ln(x) = log2(x) * ln(2)

// Query `row` sees the keys 0 .. visible_keys - 1.
__device__ __forceinline__ int visible_keys(int row, int len_q, int len_k)
{
    // The last query sees the last key: the diagonal is shifted by len_k - len_q.
    return max(0, min(len_k, row + 1 + len_k - len_q));
}

// A length read from device memory is not to be trusted with our address arithmetic.
__device__ __forceinline__ int clamp_length(int length, int limit)
{
    return max(0, min(length, limit));
}

// Where the results of one head go.
struct Output {
    element *o; // [seq_q, head_dim_v]
    int64 o_stride;
    float *lse; // [seq_q]
    int64 lse_stride;
};

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
    __syncwarp(); // a row of P is written and read by the same half warp

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
            if (tx == 0)
                out.lse[row * out.lse_stride] =
                    sum == 0.0f ? -INFINITY : (m[i] + log2f(sum)) * kLn2;
#pragma unroll
            for (int c = 0; c < kColumns; ++c) {
                if (tx + 16 * c < kHeadDimV)
                    out.o[row * out.o_stride + tx + 16 * c] = to_element(O[i][c] * inverse);
            }
        }
    }
}

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, kCtas)
    attn_fwd_simt_bf16_d128_causal_seqlens_lse__bm32_bn32_ctas1(
        const element *__restrict__ q_data, // (batch, heads, seq_q, head_dim)
        const element *__restrict__ k_data, // (batch, heads / group, seq_k, head_dim)
        const element *__restrict__ v_data, // (batch, heads / group, seq_k, head_dim_v)
        element *__restrict__ o_data,       // (batch, heads, seq_q, head_dim_v)
        Strides q_strides,
        Strides k_strides,
        Strides v_strides,
        Strides o_strides,
        float *__restrict__ lse_data, // (batch, heads, seq_q)
        Strides lse_strides,
        const int *__restrict__ seqlens_q, // [batch]
        const int *__restrict__ seqlens_k, // [batch]
        int seq_q,
        int seq_k,
        int heads,   // query heads
        int group,   // query heads that read one KV head
        int tiles_m, // tiles along seq_q
        int tiles,   // batch * heads * tiles_m
        float scale)
{
    // clang-format on
    extern __shared__ float4 smem[];
    float *const Q = reinterpret_cast<float *>(smem); // [block_m, head_dim], scaled
    float *const K = Q + kBlockM * kPitchQ;           // [block_n, head_dim]
    float *const V = K + kBlockN * kPitchQ;           // [block_n, head_dim_v]
    float *const P = V + kBlockN * kPitchV;           // [block_m, block_n]

    // A launch with one CTA per tile runs this once; a persistent one walks the tiles.
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int batch = tile / tiles_m / heads;
        const int head = tile / tiles_m % heads;
        // The last rows see the most keys: they start first, so that no long tile ends alone.
        const int row0 = (tiles_m - 1 - tile % tiles_m) * kBlockM;

        const int len_q = clamp_length(seqlens_q[batch], seq_q);
        const int len_k = clamp_length(seqlens_k[batch], seq_k);

        const element *const q_tile =
            q_data + batch * q_strides.batch + head * q_strides.head + row0 * q_strides.seq;
        const element *const k_head =
            k_data + batch * k_strides.batch + head / group * k_strides.head;
        const element *const v_head =
            v_data + batch * v_strides.batch + head / group * v_strides.head;

        // exp(x) is computed as exp2(x * log2(e)); the factor goes into Q with the scale, so S
        // and m below are in units of log2(e).
        __syncthreads(); // the previous tile's Q has been read
        load_tile<kBlockM, kHeadDim, kPitchQ>(Q, q_tile, q_strides.seq, len_q - row0,
                                              scale * kLog2E);

        float O[kRows][kColumns] = {}; // unnormalised
        float m[kRows];                // the same in all 16 threads of a row
        float l[kRows];                // this thread's columns only, until the end
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            m[i] = -INFINITY;
            l[i] = 0.0f;
        }

        // No row of the tile sees more keys than its last one.
        const int last_row = min(row0 + kBlockM, len_q) - 1;
        const int keys = row0 < len_q ? visible_keys(last_row, len_q, len_k) : 0;
        for (int key0 = 0; key0 < keys; key0 += kBlockN) {
            __syncthreads(); // the previous K and V have been read
            load_tile<kBlockN, kHeadDim, kPitchQ>(K, k_head + key0 * k_strides.seq, k_strides.seq,
                                                  len_k - key0, 1.0f);
            load_tile<kBlockN, kHeadDimV, kPitchV>(V, v_head + key0 * v_strides.seq, v_strides.seq,
                                                   len_k - key0, 1.0f);
            __syncthreads();

            add_block(O, m, l, Q, K, V, P, row0, key0, len_q, len_k);
        }

        Output out;
        out.o = o_data + batch * o_strides.batch + head * o_strides.head;
        out.o_stride = o_strides.seq;
        out.lse = lse_data + batch * lse_strides.batch + head * lse_strides.head;
        out.lse_stride = lse_strides.seq;
        store_tile(O, m, l, out, row0, len_q, seq_q);
    }
}
