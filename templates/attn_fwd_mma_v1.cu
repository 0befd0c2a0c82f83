//@const  head_dim    columns of Q and K
//@const  head_dim_v  columns of V and O
//@const  block_m     query rows of one tile
//@const  block_n     keys of one step
//@const  warps       of one CTA; each owns block_m / warps rows
//@const  ctas        CTAs per SM that the registers must leave room for
//@const  threads     per CTA
//@const  smem_bytes  dynamic shared memory of one CTA
//@switch dtype f16|bf16  element type of Q, K, V and O
//@switch causal none|bottom_right|top_left  where the diagonal starts
//@switch lse bool        also write the log-sum-exp of every row
//@switch seqlens_q bool  query lengths per batch entry, on the device
//@switch seqlens_k bool  key lengths per batch entry, on the device
//@switch align int       bytes that pointers and strides are multiples of: 2, 4, 8 or 16
//@switch mma_k int       depth of one mma: 16, or 8 for sm_75, which copies synchronously too
//@switch qregs bool      Q stays in registers
//@switch qk_unroll int   steps of Q K^T that are unrolled when it does not
//@switch lazy bool       O is rescaled only when the row maximum has grown a lot
//@require head_dim % 8 == 0 && head_dim_v % 8 == 0
//@require block_m % (16 * warps) == 0 && block_n % 16 == 0
//@require threads == 32 * warps
//@require align == 2 || align == 4 || align == 8 || align == 16
//@require mma_k == 16 || mma_k == 8 && dtype == f16
// FlashAttention-1's schedule on tensor cores: what came before attn_fwd_mma.cu. The recurrence
// over blocks of keys is explained in attn_fwd_simt.cu.
//
// A CTA has one head. The outer loop walks the blocks of keys, the inner one the tiles of query
// rows, so that a block of K and V is read once and meets all rows while it is in shared memory.
// The price: O, m and l of a tile cannot stay in registers. They are kept in fp32 in the workspace
// between two visits, which moves seq_k / block_n times the size of O to and from memory, and
// there are only batch * heads CTAs. FlashAttention-2 exchanges the loops and has neither problem.
//@prelude

//@include lib/base.cuh
//@include lib/attention.cuh
//@include lib/output.cuh
//@include lib/mma.cuh
//@include lib/cp_async.cuh
//@include lib/mma_step.cuh

constexpr int kBytesQ = kBlockM * kPitchQ * 2;
constexpr int kBytesO = kBlockM * kPitchV * 2; // takes Q's place
constexpr int kBytesK = kBlockN * kPitchQ * 2;
constexpr int kBytesV = kBlockN * kPitchV * 2;
constexpr int kBytesRows = kBytesQ > kBytesO ? kBytesQ : kBytesO;
static_assert(kSmemBytes == kBytesRows + kBytesK + kBytesV,
              "host and kernel agree on shared memory");

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
    float4 *__restrict__ workspace,     // O, m and l of all rows; needs no initial value
    int seq_q,
    int seq_k,
    int heads,   // query heads
    int group,   // query heads that read one KV head
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
                //@if qregs
                QueryTile q;
                load_q(q, q_smem);
                multiply_qk(S, q, k_smem);
                //@else
                multiply_qk(S, q_smem, k_smem);
                //@end
                mask(S, row0, key0, len_q, len_k);
                softmax(P, S, O, m, l, factor);
                multiply_pv(O, P, v_smem);
            }

            if (key0 + kBlockN >= keys) { // the last visit
                __syncthreads();          // Q has been read: O takes its place
                Output out;
                out.o = o_data + batch * o_strides.batch + head * o_strides.head;
                out.o_stride = o_strides.seq;
                //@if lse
                out.lse = lse_data + batch * lse_strides.batch + head * lse_strides.head;
                out.lse_stride = lse_strides.seq;
                //@end
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
