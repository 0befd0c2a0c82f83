// Attention forward in fp32 arithmetic, a CTA per head, keys outside, queries inside.
//
//   fajit-inspect render attn:f32,d64,causal,kernel=simt,variant=v1 --arch sm_80 \
//       --config bm=64,bn=64,ctas=1
//
// One CTA: 256 threads, 68608 bytes of dynamic shared memory. One KV block: 1048576 FLOPs, 32768
// bytes, 4096 exponentials.
//
// FlashAttention-1's schedule in fp32: what came before attn_fwd_simt.cu, which tells why the
// recurrence over blocks of keys is right.
//
// A CTA has one head. The outer loop walks the blocks of keys, the inner one the tiles of query
// rows, so that a block of K and V is read once and meets all rows while it is in shared memory.
// The price: O, m and l of a tile cannot stay in registers. They are kept in fp32 in the workspace
// between two visits, which moves seq_k / block_n times the size of O to and from memory, and
// there are only batch * heads CTAs. FlashAttention-2 exchanges the loops and has neither problem.

constexpr int kHeadDim = 64;      // columns of Q and K
constexpr int kHeadDimV = 64;     // columns of V and O
constexpr int kBlockM = 64;       // query rows of one tile
constexpr int kBlockN = 64;       // keys of one step
constexpr int kCtas = 1;          // CTAs per SM that the registers must leave room for
constexpr int kThreads = 256;     // per CTA, a 16 x 16 grid
constexpr int kSmemBytes = 68608; // dynamic shared memory of one CTA

// Types, constants and conversions. Nothing is included: NVRTC reads this text and no header.
using int64 = long long;

#define INFINITY __int_as_float(0x7f800000) // as <math.h> would define it

// Strides of a (batch, head, seq, dim) view in elements; dim is contiguous. 64 bits, since
// batch * heads * seq * dim passes 2^31 for tensors people do use.
struct Strides {
    int64 batch;
    int64 head;
    int64 seq;
};

using element = float;

__device__ __forceinline__ float to_f32(element x)
{
    return x;
}

__device__ __forceinline__ element to_element(float x)
{
    return x;
}

// What every attention kernel agrees on: which keys a query sees, which tile a CTA works on.

constexpr float kLog2E = 1.4426950408889634f; // exp(x) = exp2(x * log2(e)): the GPU has exp2

// Query `row` sees the keys 0 .. visible_keys - 1.
__device__ __forceinline__ int visible_keys(int row, int len_q, int len_k)
{
    // The last query sees the last key: the diagonal is shifted by len_k - len_q.
    return max(0, min(len_k, row + 1 + len_k - len_q));
}

// Where the results of one head go.
struct Output {
    element *o; // [seq_q, head_dim_v]
    int64 o_stride;
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
    attn_fwd_simt_v1_f32_d64_causal__bm64_bn64_ctas1(
        const element *__restrict__ q_data, // (batch, heads, seq_q, head_dim)
        const element *__restrict__ k_data, // (batch, heads / group, seq_k, head_dim)
        const element *__restrict__ v_data, // (batch, heads / group, seq_k, head_dim_v)
        element *__restrict__ o_data,       // (batch, heads, seq_q, head_dim_v)
        Strides q_strides,
        Strides k_strides,
        Strides v_strides,
        Strides o_strides,
        float *__restrict__ workspace, // O, m and l of all rows; needs no initial value
        int seq_q,
        int seq_k,
        int heads, // query heads
        int group, // query heads that read one KV head
        float scale)
{
    // clang-format on
    extern __shared__ float4 smem[];
    float *const Q = reinterpret_cast<float *>(smem); // [block_m, head_dim], scaled
    float *const K = Q + kBlockM * kPitchQ;           // [block_n, head_dim]
    float *const V = K + kBlockN * kPitchQ;           // [block_n, head_dim_v]
    float *const P = V + kBlockN * kPitchV;           // [block_m, block_n]

    const int batch = blockIdx.x / heads;
    const int head = blockIdx.x % heads;
    const int len_q = seq_q;
    const int len_k = seq_k;

    const element *const q_head = q_data + batch * q_strides.batch + head * q_strides.head;
    const element *const k_head = k_data + batch * k_strides.batch + head / group * k_strides.head;
    const element *const v_head = v_data + batch * v_strides.batch + head / group * v_strides.head;

    // What a thread keeps of a tile: O, m and l, in its own order. Threads of a CTA lie side by
    // side, so that a warp reads and writes whole lines.
    constexpr int kKept = kRows * (kColumns + 2);
    const int tiles_m = (seq_q + kBlockM - 1) / kBlockM;
    float *const kept = workspace + int64(blockIdx.x) * tiles_m * (kKept * kThreads) + threadIdx.x;

    // No row sees more keys than the last one. Without any there is still a first visit, which
    // writes the zeros.
    const int keys_last = len_q > 0 ? visible_keys(len_q - 1, len_q, len_k) : 0;
    for (int key0 = 0; key0 == 0 || key0 < keys_last; key0 += kBlockN) {
        __syncthreads(); // the previous K and V have been read
        load_tile<kBlockN, kHeadDim, kPitchQ>(K, k_head + key0 * k_strides.seq, k_strides.seq,
                                              len_k - key0, 1.0f);
        load_tile<kBlockN, kHeadDimV, kPitchV>(V, v_head + key0 * v_strides.seq, v_strides.seq,
                                               len_k - key0, 1.0f);

        for (int tile = 0; tile < tiles_m; ++tile) {
            const int row0 = tile * kBlockM;
            const int last_row = min(row0 + kBlockM, len_q) - 1;
            const int keys = row0 < len_q ? visible_keys(last_row, len_q, len_k) : 0;
            if (key0 > 0 && key0 >= keys)
                continue; // the tile sees nothing of this block: its last visit is over

            __syncthreads(); // the previous tile's Q has been read
            load_tile<kBlockM, kHeadDim, kPitchQ>(Q, q_head + row0 * q_strides.seq, q_strides.seq,
                                                  len_q - row0, scale * kLog2E);
            __syncthreads();

            float O[kRows][kColumns]; // unnormalised
            float m[kRows];           // the same in all 16 threads of a row
            float l[kRows];           // this thread's columns only, until the end
            float *const mine = kept + int64(tile) * (kKept * kThreads);
#pragma unroll
            for (int i = 0; i < kRows; ++i) {
                const float *const row = mine + i * (kColumns + 2) * kThreads;
                m[i] = key0 == 0 ? -INFINITY : row[0];
                l[i] = key0 == 0 ? 0.0f : row[kThreads];
#pragma unroll
                for (int c = 0; c < kColumns; ++c)
                    O[i][c] = key0 == 0 ? 0.0f : row[(c + 2) * kThreads];
            }

            if (keys > 0)
                add_block(O, m, l, Q, K, V, P, row0, key0, len_q, len_k);

            if (key0 + kBlockN >= keys) { // the last visit
                Output out;
                out.o = o_data + batch * o_strides.batch + head * o_strides.head;
                out.o_stride = o_strides.seq;
                store_tile(O, m, l, out, row0, len_q, seq_q);
                continue;
            }
#pragma unroll
            for (int i = 0; i < kRows; ++i) {
                float *const row = mine + i * (kColumns + 2) * kThreads;
                row[0] = m[i];
                row[kThreads] = l[i];
#pragma unroll
                for (int c = 0; c < kColumns; ++c)
                    row[(c + 2) * kThreads] = O[i][c];
            }
        }
    }
}
