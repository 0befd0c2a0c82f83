//@const  head_dim    columns of Q and K
//@const  head_dim_v  columns of V and O
//@const  block_m     query rows of one tile
//@const  block_n     keys of one step
//@const  warps       of one CTA; each owns block_m / warps rows
//@const  stages      K and V blocks in shared memory at a time
//@const  ctas        CTAs per SM that the registers must leave room for
//@const  threads     per CTA
//@const  smem_bytes  dynamic shared memory of one CTA
//@switch dtype f16|bf16  element type of Q, K, V and O
//@switch causal none|bottom_right|top_left  where the diagonal starts
//@switch lse bool        also write the log-sum-exp of every row
//@switch seqlens_q bool  query lengths per batch entry, on the device
//@switch seqlens_k bool  key lengths per batch entry, on the device
//@switch align int       bytes that pointers and strides are multiples of: 2, 4, 8 or 16
//@switch turing bool     sm_75: mma of depth 8, no asynchronous copy
//@switch qregs bool      Q stays in registers
//@switch lazy bool       O is rescaled only when the row maximum has grown a lot
//@require head_dim % 8 == 0 && head_dim_v % 8 == 0
//@require block_m % (16 * warps) == 0 && block_n % 16 == 0
//@require threads == 32 * warps
//@require stages >= 1
//@require align == 2 || align == 4 || align == 8 || align == 16
//@require !turing || dtype == f16
// FlashAttention-2 on tensor cores (mma.sync). attn_fwd_simt.cu tells why the recurrence over
// blocks of keys is right; here is how it runs fast.
//
//     m: maximum of the scores so far     l: sum of exp(s - m)     O: sum of exp(s - m) V
//
// The tile's rows are split among the warps, K and V shared: no warp needs another's numbers, so
// the only barriers are those around the copies. S and O stay in accumulator registers from first
// to last, and P is repacked from S in place (see mma_16x8x16). A warp with two 16-row tiles reads
// every K and V fragment once for both, which halves the traffic from shared memory.
//
// Row r of S lies in the four lanes of a quad, lane = 4 g + t: rows g and g + 8 of each 16-row
// tile. So maximum and sum of a row take two shuffles.
//@prelude

//@include lib/base.cuh
//@include lib/attention.cuh
//@include lib/tile_order.cuh
//@include lib/mma.cuh
//@include lib/cp_async.cuh

constexpr int kTilesM = kBlockM / (16 * kWarps);  // 16-row tiles of a warp
constexpr int kStepsD = (kHeadDim + 15) / 16;     // k steps of Q K^T
constexpr int kStepsN = kBlockN / 16;             // k steps of P V, and pairs of n tiles of S
constexpr int kStepsV = (kHeadDimV + 15) / 16;    // pairs of n tiles of O

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

constexpr int kBytesK = kBlockN * kPitchQ * 2;
constexpr int kBytesV = kBlockN * kPitchV * 2;
constexpr int kBytesQ = kBlockM * kPitchQ * 2;
constexpr int kBytesO = kBlockM * kPitchV * 2; // shares Q's place and what follows, at the end
constexpr int kBytesLoop = kBytesQ + kStages * (kBytesK + kBytesV);
static_assert(kSmemBytes == (kBytesLoop > kBytesO ? kBytesLoop : kBytesO),
              "host and kernel agree on shared memory");

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

__device__ __forceinline__ void rescale(float (&O)[kTilesM][2 * kStepsV][4],
                                        const float (&correction)[kTilesM][2])
{
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
        for (int n = 0; n < 2 * kStepsV; ++n) {
            O[i][n][0] *= correction[i][0];
            O[i][n][1] *= correction[i][0];
            O[i][n][2] *= correction[i][1];
            O[i][n][3] *= correction[i][1];
        }
    }
}

// Flips the sign of the warp's own rows of Q.
__device__ __forceinline__ void negate_rows(uint32 *q, int lane)
{
#pragma unroll 1
    for (int row = 0; row < 16 * kTilesM; ++row) {
#pragma unroll 1
        for (int word = lane; word < 8 * kStepsD; word += 32)
            q[row * (kPitchQ / 2) + word] ^= 0x80008000;
    }
    __syncwarp();
}

// clang-format off
extern "C" __global__ void __launch_bounds__(kThreads, kCtas) $kernel_name(
    const element *__restrict__ q_data, // (batch, heads, seq_q, head_dim)
    const element *__restrict__ k_data, // (batch, heads / group, seq_k, head_dim)
    const element *__restrict__ v_data, // (batch, heads / group, seq_k, head_dim_v)
    element *__restrict__ o_data,       // (batch, heads, seq_q, head_dim_v)
    Strides q_strides,
    Strides k_strides,
    Strides v_strides,
    Strides o_strides,
    //@if lse
    float *__restrict__ lse_data,       // (batch, heads, seq_q)
    Strides lse_strides,
    //@end
    //@if seqlens_q
    const int *__restrict__ seqlens_q,  // [batch]
    //@end
    //@if seqlens_k
    const int *__restrict__ seqlens_k,  // [batch]
    //@end
    int seq_q,
    int seq_k,
    int heads,   // query heads
    int group,   // query heads that read one KV head
    int tiles_m, // tiles along seq_q
    int tiles,   // batch * heads * tiles_m
    int section, // heads walked together
    float scale)
// clang-format on
{
    extern __shared__ uint4 smem[];
    const uint32 q_smem = smem_address(smem);         // [block_m, head_dim]
    const uint32 k_smem = q_smem + kBytesQ;           // [stages][block_n, head_dim]
    const uint32 v_smem = k_smem + kStages * kBytesK; // [stages][block_n, head_dim_v]

    const int lane = threadIdx.x % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    const int warp_row = threadIdx.x / 32 * (16 * kTilesM); // the warp's first row in the tile

    // The rows whose addresses this lane gives to ldmatrix. Q and V: tiles 0 1 below each other,
    // 2 3 to their right. K, whose rows are columns of K^T: 0 1 beside each other, 2 3 below.
    const uint32 q_lane = q_smem + 2 * ((warp_row + lane % 16) * kPitchQ + lane / 16 * 8);
    const uint32 v_lane = 2 * (lane % 16 * kPitchV + lane / 16 * 8);
    const uint32 k_lane = 2 * ((lane / 16 * 8 + lane % 8) * kPitchQ + lane / 8 % 2 * 8);

    // The maximum is taken before scaling, so the factor must be positive: the sign goes into Q.
    // Zero would turn a masked -inf into NaN; the smallest normal number gives the same weights.
    const float factor = fmaxf(fabsf(scale) * kLog2E, 1.17549435e-38f);

    // A launch with one CTA per tile runs this once; a persistent one walks the tiles.
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const TilePlace place = place_tile(tile, tiles, tiles_m, section);
        const int batch = place.head / heads;
        const int head = place.head % heads;
        const int row0 = place.block * kBlockM;
        //@if seqlens_q
        const int len_q = clamp_length(seqlens_q[batch], seq_q);
        //@else
        const int len_q = seq_q;
        //@end
        //@if seqlens_k
        const int len_k = clamp_length(seqlens_k[batch], seq_k);
        //@else
        const int len_k = seq_k;
        //@end

        // No row of the tile sees more keys than its last one.
        const int last_row = min(row0 + kBlockM, len_q) - 1;
        const int keys = row0 < len_q ? visible_keys(last_row, len_q, len_k) : 0;

        const element *const q_tile = q_data + batch * q_strides.batch + head * q_strides.head +
                                      row0 * q_strides.seq + copy_offset<kHeadDim>(q_strides.seq);
        const element *k_next = k_data + batch * k_strides.batch + head / group * k_strides.head +
                                copy_offset<kHeadDim>(k_strides.seq);
        const element *v_next = v_data + batch * v_strides.batch + head / group * v_strides.head +
                                copy_offset<kHeadDimV>(v_strides.seq);

        __syncthreads(); // the previous tile's O has left shared memory
        copy_tile<kBlockM, kHeadDim, kPitchQ>(q_smem, q_tile, q_strides.seq, len_q - row0);
        copy_commit();
        //@if stages == 1
        copy_tile<kBlockN, kHeadDim, kPitchQ>(k_smem, k_next, k_strides.seq, len_k);
        copy_commit();
        copy_wait<1>();
        //@else
#pragma unroll
        for (int slot = 0; slot < kStages - 1; ++slot) {
            if (slot * kBlockN < keys) {
                const int left = len_k - slot * kBlockN;
                copy_tile<kBlockN, kHeadDim, kPitchQ>(k_smem + slot * kBytesK, k_next,
                                                      k_strides.seq, left);
                copy_tile<kBlockN, kHeadDimV, kPitchV>(v_smem + slot * kBytesV, v_next,
                                                       v_strides.seq, left);
            }
            copy_commit(); // an empty group too: waiting counts groups
            k_next += kBlockN * k_strides.seq;
            v_next += kBlockN * v_strides.seq;
        }
        copy_wait<kStages - 1>();
        //@end
        __syncthreads(); // Q is there
        if (scale < 0.0f)
            negate_rows(reinterpret_cast<uint32 *>(smem) + warp_row * (kPitchQ / 2), lane);
        //@if qregs
        uint32 q[kStepsD][kTilesM][4];
#pragma unroll
        for (int d = 0; d < kStepsD; ++d) {
#pragma unroll
            for (int i = 0; i < kTilesM; ++i)
                ldmatrix_x4(q[d][i], q_lane + 2 * (16 * i * kPitchQ + 16 * d));
        }
        //@end

        float O[kTilesM][2 * kStepsV][4] = {}; // [block_m, head_dim_v], unnormalised
        float m[kTilesM][2];                   // of rows g and g + 8; the same in the quad
        float l[kTilesM][2];                   // this lane's columns only, until the end
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
            m[i][0] = m[i][1] = -INFINITY;
            l[i][0] = l[i][1] = 0.0f;
        }

        //@if stages == 1
        const uint32 k_tile = k_smem + k_lane;
        const uint32 v_tile = v_smem + v_lane;
        //@else
        int slot = 0;
        //@end
        for (int key0 = 0; key0 < keys; key0 += kBlockN) {
            //@if stages == 1
            copy_wait<0>();
            __syncthreads(); // K is there, and the previous V has been read
            copy_tile<kBlockN, kHeadDimV, kPitchV>(v_smem, v_next, v_strides.seq, len_k - key0);
            copy_commit();
            v_next += kBlockN * v_strides.seq;
            //@else
            copy_wait<kStages - 2>();
            __syncthreads(); // K and V are there, and the previous ones have been read
            const uint32 k_tile = k_smem + slot * kBytesK + k_lane;
            const uint32 v_tile = v_smem + slot * kBytesV + v_lane;
            slot = slot + 1 == kStages ? 0 : slot + 1;
            if (key0 + (kStages - 1) * kBlockN < keys) {
                const int free = (slot + kStages - 2) % kStages; // the slot read last
                const int left = len_k - key0 - (kStages - 1) * kBlockN;
                copy_tile<kBlockN, kHeadDim, kPitchQ>(k_smem + free * kBytesK, k_next,
                                                      k_strides.seq, left);
                copy_tile<kBlockN, kHeadDimV, kPitchV>(v_smem + free * kBytesV, v_next,
                                                       v_strides.seq, left);
                k_next += kBlockN * k_strides.seq;
                v_next += kBlockN * v_strides.seq;
            }
            copy_commit();
            //@end

            // S = Q K^T: [block_m, block_n]
            float S[kTilesM][2 * kStepsN][4] = {};
            //@if qregs
#pragma unroll
            //@else
#pragma unroll 2 // no more, or fragments fetched ahead take too many registers
            //@end
            for (int d = 0; d < kStepsD; ++d) {
                //@if !qregs
                uint32 q[kTilesM][4];
#pragma unroll
                for (int i = 0; i < kTilesM; ++i)
                    ldmatrix_x4(q[i], q_lane + 2 * (16 * i * kPitchQ + 16 * d));
                //@end
#pragma unroll
                for (int n = 0; n < kStepsN; ++n) {
                    uint32 k[4];
                    ldmatrix_x4(k, k_tile + 2 * (16 * n * kPitchQ + 16 * d));
#pragma unroll
                    for (int i = 0; i < kTilesM; ++i) {
                        //@if qregs
                        mma_16x8x16(S[i][2 * n], q[d][i], k[0], k[1]);
                        mma_16x8x16(S[i][2 * n + 1], q[d][i], k[2], k[3]);
                        //@else
                        mma_16x8x16(S[i][2 * n], q[i], k[0], k[1]);
                        mma_16x8x16(S[i][2 * n + 1], q[i], k[2], k[3]);
                        //@end
                    }
                }
            }
            //@watch S [block_m, block_n] acc
            //@if stages == 1
            copy_wait<0>();
            __syncthreads(); // V is there, and K has been read
            if (key0 + kBlockN < keys) {
                k_next += kBlockN * k_strides.seq;
                copy_tile<kBlockN, kHeadDim, kPitchQ>(k_smem, k_next, k_strides.seq,
                                                      len_k - key0 - kBlockN);
            }
            copy_commit();
            //@end

            // Only blocks that reach past what the warp's first row sees need a mask.
            if (key0 + kBlockN > visible_keys(row0 + warp_row, len_q, len_k)) {
#pragma unroll
                for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
                    for (int h = 0; h < 2; ++h) {
                        const int row = row0 + warp_row + 16 * i + 8 * h + g;
                        const int visible = visible_keys(row, len_q, len_k) - key0 - 2 * t;
#pragma unroll
                        for (int n = 0; n < 2 * kStepsN; ++n) {
                            if (8 * n >= visible)
                                S[i][n][2 * h] = -INFINITY;
                            if (8 * n + 1 >= visible)
                                S[i][n][2 * h + 1] = -INFINITY;
                        }
                    }
                }
            }

            // Softmax of the block. Where m grows, what was summed with the old m is corrected.
            float correction[kTilesM][2];
            uint32 P[kTilesM][kStepsN][4]; // exp(S - m): A fragments
            bool grown = false;
#pragma unroll
            for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    float block_max = -INFINITY;
#pragma unroll
                    for (int n = 0; n < 2 * kStepsN; ++n)
                        block_max = fmaxf(block_max, fmaxf(S[i][n][2 * h], S[i][n][2 * h + 1]));
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
                        const float p0 = exp2_fast(S[i][n][2 * h] * factor - offset);
                        const float p1 = exp2_fast(S[i][n][2 * h + 1] * factor - offset);
                        l[i][h] += p0 + p1;
                        P[i][n / 2][n % 2 * 2 + h] = pack(p0, p1);
                    }
                }
            }
            //@watch m [block_m] row
            //@watch l [block_m] row
            if (__any_sync(0xffffffff, grown))
                rescale(O, correction);

            // O += P V: [block_m, head_dim_v]
#pragma unroll
            for (int n = 0; n < kStepsN; ++n) {
#pragma unroll
                for (int c = 0; c < kStepsV; ++c) {
                    uint32 v[4];
                    ldmatrix_x4_trans(v, v_tile + 2 * (16 * n * kPitchV + 16 * c));
#pragma unroll
                    for (int i = 0; i < kTilesM; ++i) {
                        mma_16x8x16(O[i][2 * c], P[i][n], v[0], v[1]);
                        mma_16x8x16(O[i][2 * c + 1], P[i][n], v[2], v[3]);
                    }
                }
            }
            //@watch O [block_m, head_dim_v] acc
        }

        // O / l, rounded once. A row that saw no key has l = 0: its output is 0, its log-sum-exp
        // -inf, as is that of rows past the sequence's end.
        copy_wait<0>();
        __syncthreads(); // all of Q, K and V has been read: O takes their place
        element *const o_smem = reinterpret_cast<element *>(smem) + warp_row * kPitchV;
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const int row = 16 * i + 8 * h + g;
                const float total = quad_sum(l[i][h]); // every lane takes part, its row valid or not
                const float sum = row0 + warp_row + row < len_q ? total : 0.0f;
                const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
                //@if lse
                if (t == 0 && row0 + warp_row + row < seq_q) {
                    lse_data[batch * lse_strides.batch + head * lse_strides.head +
                             (row0 + warp_row + row) * lse_strides.seq] =
                        sum == 0.0f ? -INFINITY : (m[i][h] * factor + log2f(sum)) * kLn2;
                }
                //@end
#pragma unroll
                for (int n = 0; n < 2 * kStepsV; ++n) {
                    *reinterpret_cast<uint32 *>(&o_smem[row * kPitchV + 8 * n + 2 * t]) =
                        pack(O[i][n][2 * h] * inverse, O[i][n][2 * h + 1] * inverse);
                }
            }
        }
        __syncwarp(); // a warp writes out its own rows

        constexpr int kChunks = kHeadDimV / 8;
        element *const o_warp = o_data + batch * o_strides.batch + head * o_strides.head +
                                (row0 + warp_row) * o_strides.seq;
#pragma unroll 4
        for (int i = lane; i < 16 * kTilesM * kChunks; i += 32) {
            const int row = i / kChunks;
            const int column = i % kChunks * 8;
            if (row0 + warp_row + row < seq_q) {
                store_chunk(&o_warp[row * o_strides.seq + column],
                            *reinterpret_cast<uint4 *>(&o_smem[row * kPitchV + column]));
            }
        }
    }
}
