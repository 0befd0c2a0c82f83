// Attention forward on tensor cores by mma.sync, a CTA per head, keys outside, queries inside.
//
//   fajit-inspect render attn:bf16,d64,causal,kernel=mma,variant=v1 --arch sm_80 \
//       --config bm=128,bn=64,bk=16,warps=4,qregs=2,lazy=1,ctas=1
//
// One CTA: 128 threads, 36864 bytes of dynamic shared memory. One KV block: 2097152 FLOPs, 16384
// bytes, 8192 exponentials.
//
// FlashAttention-1's schedule on tensor cores: what came before attn_fwd_mma.cu. The recurrence
// over blocks of keys is explained in attn_fwd_simt.cu.
//
// A CTA has one head. The outer loop walks the blocks of keys, the inner one the tiles of query
// rows, so that a block of K and V is read once and meets all rows while it is in shared memory.
// The price: O, m and l of a tile cannot stay in registers. They are kept in fp32 in the workspace
// between two visits, which moves seq_k / block_n times the size of O to and from memory, and
// there are only batch * heads CTAs. FlashAttention-2 exchanges the loops and has neither problem.

constexpr int kHeadDim = 64;      // columns of Q and K
constexpr int kHeadDimV = 64;     // columns of V and O
constexpr int kBlockM = 128;      // query rows of one tile
constexpr int kBlockN = 64;       // keys of one step
constexpr int kWarps = 4;         // of one CTA; each owns block_m / warps rows
constexpr int kCtas = 1;          // CTAs per SM that the registers must leave room for
constexpr int kThreads = 128;     // per CTA
constexpr int kSmemBytes = 36864; // dynamic shared memory of one CTA

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

// 2^x, to 2 units in the last place; 2^-inf = 0.
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
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

// Two fp32 rounded to 16 bits in one register, `low` in the lower half.
__device__ __forceinline__ uint32 pack(float low, float high)
{
    uint32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
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

// The transposes of four 8 x 8 tiles. Lane i gives the address of row i % 8 of tile i / 8 as it
// lies in shared memory (16 bytes, aligned); r[k] gets tile k transposed: rows 2t 2t+1, column g.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32 (&r)[4], uint32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// Copies of 8 elements (16 bytes, a chunk) from global to shared memory, and back out.
//
// cp.async runs in the background, past the registers. Copies are committed in groups and waited
// for by group, oldest first; only the thread's own copies, so a barrier must follow.

// Copies a chunk, or writes zeros when not `valid` (then nothing is read).
__device__ __forceinline__ void copy_chunk(uint32 to, const element *from, bool valid)
{
    // cg: past L1, which would only be polluted.
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(valid ? 16 : 0)
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

// How the threads of a CTA share a tile with kColumns columns, padded to a multiple of 16: a thread
// stays in one column of chunks and takes every kStep-th row.
template <int kColumns> struct CopyShape {
    static constexpr int kChunks = (kColumns + 15) / 16 * 2;
    static constexpr int kLanes = kChunks > 16 ? 32 : kChunks > 8 ? 16 : kChunks > 4 ? 8 : kChunks;
    static constexpr int kStep = kThreads / kLanes;
};

// Where the calling thread begins: added to a tile's address, it gives copy_tile's `from`.
template <int kColumns> __device__ __forceinline__ int64 copy_offset(int64 row_stride)
{
    constexpr int kLanes = CopyShape<kColumns>::kLanes;
    return threadIdx.x / kLanes * row_stride + threadIdx.x % kLanes * 8;
}

// Copies kRows rows from global to shared memory. Rows from `rows_valid` on, and columns past
// kColumns, become zero.
template <int kRows, int kColumns, int kPitch>
__device__ __forceinline__ void copy_tile(uint32 to, const element *from, int64 row_stride,
                                          int rows_valid)
{
    using Shape = CopyShape<kColumns>;
    const int row = threadIdx.x / Shape::kLanes;
    const int column = threadIdx.x % Shape::kLanes * 8;
    if (Shape::kLanes > Shape::kChunks && column >= 8 * Shape::kChunks)
        return;
    to += (row * kPitch + column) * sizeof(element);
#pragma unroll
    for (int i = 0; i < kRows; i += Shape::kStep) {
        if (kRows % Shape::kStep == 0 || row + i < kRows) {
            const bool valid = row + i < rows_valid && (kColumns % 16 == 0 || column < kColumns);
            copy_chunk(to + i * kPitch * sizeof(element), from, valid);
        }
        from += Shape::kStep * row_stride;
    }
}

// Writes a chunk to global memory, in the widest stores that the promised alignment allows.
__device__ __forceinline__ void store_chunk(element *to, uint4 chunk)
{
    *reinterpret_cast<uint4 *>(to) = chunk;
}

// One step of the recurrence on tensor cores: a block of keys joins what is known of a tile of
// rows.
//
// A warp owns kTilesM tiles of 16 rows and all columns. Lane 4 g + t has rows g and g + 8 of each
// (h = 0 and 1 below), and of every 8 columns 2t and 2t + 1: four accumulators, see mma_16x8x16. So
// a row lies in the four lanes of a quad.

constexpr int kTilesM = kBlockM / (16 * kWarps); // 16-row tiles of a warp
constexpr int kStepsD = (kHeadDim + 15) / 16;    // k steps of Q K^T
constexpr int kStepsN = kBlockN / 16;            // k steps of P V, and pairs of n tiles of S
constexpr int kStepsV = (kHeadDimV + 15) / 16;   // pairs of n tiles of O

// Row pitches in elements: 16 bytes more than the padded row. Eight consecutive rows then start in
// eight different groups of four banks, and neither ldmatrix nor the copies meet a bank conflict.
constexpr int kPitchQ = 16 * kStepsD + 8; // of Q and K
constexpr int kPitchV = 16 * kStepsV + 8; // of V and O

// Any m serves as long as nothing overflows: it may lag behind the maximum by a factor of 2^8 in
// P. Then it seldom moves after a row's first block, and O seldom has to be rescaled.
constexpr float kLag = 8.0f;

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

using QueryTile = uint32; // address in shared memory

// S = Q K^T: [block_m, block_n].
__device__ __forceinline__ void multiply_qk(float (&S)[kTilesM][8 * kStepsN],
                                            const QueryTile &q_tile, uint32 k_tile)
{
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
        for (int n = 0; n < 8 * kStepsN; ++n)
            S[i][n] = 0.0f;
    }
#pragma unroll 4 // no more: fragments fetched ahead take registers
    for (int d = 0; d < kStepsD; ++d) {
        uint32 q[kTilesM][4];
#pragma unroll
        for (int i = 0; i < kTilesM; ++i)
            ldmatrix_x4(q[i], q_tile + q_offset() + 2 * (16 * i * kPitchQ + 16 * d));
#pragma unroll
        for (int n = 0; n < kStepsN; ++n) {
            uint32 k[4];
            ldmatrix_x4(k, k_tile + k_offset() + 2 * (16 * n * kPitchQ + 16 * d));
#pragma unroll
            for (int i = 0; i < kTilesM; ++i) {
                mma_16x8x16(&S[i][8 * n], q[i], k[0], k[1]);
                mma_16x8x16(&S[i][8 * n + 4], q[i], k[2], k[3]);
            }
        }
    }
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

constexpr int kBytesQ = kBlockM * kPitchQ * 2;
constexpr int kBytesO = kBlockM * kPitchV * 2; // takes Q's place
constexpr int kBytesK = kBlockN * kPitchQ * 2;
constexpr int kBytesV = kBlockN * kPitchV * 2;
constexpr int kBytesRows = kBytesQ > kBytesO ? kBytesQ : kBytesO;
static_assert(kSmemBytes == kBytesRows + kBytesK + kBytesV,
              "host and kernel agree on shared memory");

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, kCtas)
    attn_fwd_mma_v1_bf16_d64_causal__bm128_bn64_bk16_warps4_qregs2_lazy1_ctas1(
        const element *__restrict__ q_data, // (batch, heads, seq_q, head_dim)
        const element *__restrict__ k_data, // (batch, heads / group, seq_k, head_dim)
        const element *__restrict__ v_data, // (batch, heads / group, seq_k, head_dim_v)
        element *__restrict__ o_data,       // (batch, heads, seq_q, head_dim_v)
        Strides q_strides,
        Strides k_strides,
        Strides v_strides,
        Strides o_strides,
        float4 *__restrict__ workspace, // O, m and l of all rows; needs no initial value
        int seq_q,
        int seq_k,
        int heads, // query heads
        int group, // query heads that read one KV head
        float scale)
{
    // clang-format on
    extern __shared__ uint4 smem[];
    const uint32 q_smem = smem_address(smem);  // [block_m, head_dim]
    const uint32 k_smem = q_smem + kBytesRows; // [block_n, head_dim]
    const uint32 v_smem = k_smem + kBytesK;    // [block_n, head_dim_v]
    const float factor = exponent_factor(scale);

    const int batch = blockIdx.x / heads;
    const int head = blockIdx.x % heads;
    const int len_q = seq_q;
    const int len_k = seq_k;

    const element *const q_head = q_data + batch * q_strides.batch + head * q_strides.head +
                                  copy_offset<kHeadDim>(q_strides.seq);
    const element *const k_head = k_data + batch * k_strides.batch + head / group * k_strides.head +
                                  copy_offset<kHeadDim>(k_strides.seq);
    const element *const v_head = v_data + batch * v_strides.batch + head / group * v_strides.head +
                                  copy_offset<kHeadDimV>(v_strides.seq);

    // What a thread keeps of a tile: O, m and l in its own order, four floats at a time. Threads of
    // a CTA lie side by side, so that a warp reads and writes whole lines.
    constexpr int kKept = kTilesM * (2 * kStepsV + 1);
    const int tiles_m = (seq_q + kBlockM - 1) / kBlockM;
    float4 *const kept = workspace + int64(blockIdx.x) * tiles_m * (kKept * kThreads) + threadIdx.x;

    // No row sees more keys than the last one. Without any there is still a first visit, which
    // writes the zeros.
    const int keys_last = len_q > 0 ? visible_keys(len_q - 1, len_q, len_k) : 0;
    for (int key0 = 0; key0 == 0 || key0 < keys_last; key0 += kBlockN) {
        __syncthreads(); // the previous K and V have been read
        copy_tile<kBlockN, kHeadDim, kPitchQ>(k_smem, k_head + key0 * k_strides.seq, k_strides.seq,
                                              len_k - key0);
        copy_tile<kBlockN, kHeadDimV, kPitchV>(v_smem, v_head + key0 * v_strides.seq, v_strides.seq,
                                               len_k - key0);

        for (int tile = 0; tile < tiles_m; ++tile) {
            const int row0 = tile * kBlockM;
            const int last_row = min(row0 + kBlockM, len_q) - 1;
            const int keys = row0 < len_q ? visible_keys(last_row, len_q, len_k) : 0;
            if (key0 > 0 && key0 >= keys)
                continue; // the tile sees nothing of this block: its last visit is over

            __syncthreads(); // the previous tile's Q has been read, its O has left
            copy_tile<kBlockM, kHeadDim, kPitchQ>(q_smem, q_head + row0 * q_strides.seq,
                                                  q_strides.seq, len_q - row0);
            copy_commit();

            float O[kTilesM][8 * kStepsV] = {}; // unnormalised
            float m[kTilesM][2];                // the same in the four lanes of a row
            float l[kTilesM][2];                // this lane's columns only, until the end
            float4 *const mine = kept + int64(tile) * (kKept * kThreads);
#pragma unroll
            for (int i = 0; i < kTilesM; ++i) {
                const float4 *const part = mine + i * (2 * kStepsV + 1) * kThreads;
                const float4 ml = key0 == 0 ? float4{-INFINITY, -INFINITY, 0.0f, 0.0f} : part[0];
                m[i][0] = ml.x;
                m[i][1] = ml.y;
                l[i][0] = ml.z;
                l[i][1] = ml.w;
                if (key0 > 0) {
#pragma unroll
                    for (int n = 0; n < 2 * kStepsV; ++n) {
                        const float4 o = part[(n + 1) * kThreads];
                        O[i][4 * n] = o.x;
                        O[i][4 * n + 1] = o.y;
                        O[i][4 * n + 2] = o.z;
                        O[i][4 * n + 3] = o.w;
                    }
                }
            }
            copy_wait<0>();
            __syncthreads(); // Q is there, and so are K and V
            if (scale < 0.0f)
                negate_rows(smem);

            if (keys > 0) {
                float S[kTilesM][8 * kStepsN];
                uint32 P[kTilesM][kStepsN][4];
                multiply_qk(S, q_smem, k_smem);
                mask(S, row0, key0, len_q, len_k);
                softmax(P, S, O, m, l, factor);
                multiply_pv(O, P, v_smem);
            }

            if (key0 + kBlockN >= keys) { // the last visit
                __syncthreads();          // Q has been read: O takes its place
                Output out;
                out.o = o_data + batch * o_strides.batch + head * o_strides.head;
                out.o_stride = o_strides.seq;
                store_tile(O, m, l, factor, smem, out, row0, len_q, seq_q);
                continue;
            }
#pragma unroll
            for (int i = 0; i < kTilesM; ++i) {
                float4 *const part = mine + i * (2 * kStepsV + 1) * kThreads;
                part[0] = {m[i][0], m[i][1], l[i][0], l[i][1]};
#pragma unroll
                for (int n = 0; n < 2 * kStepsV; ++n) {
                    part[(n + 1) * kThreads] = {O[i][4 * n], O[i][4 * n + 1], O[i][4 * n + 2],
                                                O[i][4 * n + 3]};
                }
            }
        }
    }
}
