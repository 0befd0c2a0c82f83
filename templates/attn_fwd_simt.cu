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
        //@if causal == none
        const int row0 = tile % tiles_m * kBlockM;
        //@else
        // The last rows see the most keys: they start first, so that no long tile ends alone.
        const int row0 = (tiles_m - 1 - tile % tiles_m) * kBlockM;
        //@end

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
        //@if lse
        out.lse = lse_data + batch * lse_strides.batch + head * lse_strides.head;
        out.lse_stride = lse_strides.seq;
        //@end
        store_tile(O, m, l, out, row0, len_q, seq_q);
    }
}
