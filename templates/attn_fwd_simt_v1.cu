//@const  head_dim    columns of Q and K
//@const  head_dim_v  columns of V and O
//@const  block_m     query rows of one tile
//@const  block_n     keys of one step
//@const  ctas        CTAs per SM that the registers must leave room for
//@const  threads     per CTA, a 16 x 16 grid
//@const  smem_bytes  dynamic shared memory of one CTA
//@switch dtype f32|f16|bf16  element type of Q, K, V and O
//@switch causal none|bottom_right|top_left  where the diagonal starts
//@switch lse bool        also write the log-sum-exp of every row
//@switch seqlens_q bool  query lengths per batch entry, on the device
//@switch seqlens_k bool  key lengths per batch entry, on the device
//@require head_dim % 8 == 0 && head_dim_v % 8 == 0
//@require block_m % 16 == 0 && block_n % 16 == 0
//@require threads == 256
// FlashAttention-1's schedule in fp32: what came before attn_fwd_simt.cu, which tells why the
// recurrence over blocks of keys is right.
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
//@include lib/simt_step.cuh

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
    float *__restrict__ lse_data, // (batch, heads, seq_q)
    Strides lse_strides,
    //@end
    //@if seqlens_q
    const int *__restrict__ seqlens_q, // [batch]
    //@end
    //@if seqlens_k
    const int *__restrict__ seqlens_k, // [batch]
    //@end
    float *__restrict__ workspace,      // O, m and l of all rows; needs no initial value
    int seq_q,
    int seq_k,
    int heads,   // query heads
    int group,   // query heads that read one KV head
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
                //@if lse
                out.lse = lse_data + batch * lse_strides.batch + head * lse_strides.head;
                out.lse_stride = lse_strides.seq;
                //@end
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
