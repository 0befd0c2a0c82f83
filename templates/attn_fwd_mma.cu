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
//@switch mma_k int       depth of one mma: 16, or 8 for sm_75, which copies synchronously too
//@switch qregs bool      Q stays in registers
//@switch qk_unroll int   steps of Q K^T that are unrolled when it does not
//@switch lazy bool       O is rescaled only when the row maximum has grown a lot
//@require head_dim % 8 == 0 && head_dim_v % 8 == 0
//@require block_m % (16 * warps) == 0 && block_n % 16 == 0
//@require threads == 32 * warps
//@require stages >= 1
//@require align == 2 || align == 4 || align == 8 || align == 16
//@require mma_k == 16 || mma_k == 8 && dtype == f16
// FlashAttention-2 on tensor cores (mma.sync). attn_fwd_simt.cu tells why the recurrence over
// blocks of keys is right; here is how it runs fast.
//
//     m: maximum of the scores so far     l: sum of exp(s - m)     O: sum of exp(s - m) V
//
// The tile's rows are split among the warps, K and V shared: no warp needs another's numbers, so
// the only barriers are those around the copies. S and O stay in accumulator registers from first
// to last, and P is packed from S where it lies. A warp with two 16-row tiles reads every K and V
// fragment once for both, which halves the traffic from shared memory.
//
//@if stages == 1
// K and V have one place each. V is copied while Q K^T is computed, the next K while softmax and
// P V are.
//@else
// K and V blocks go round a ring of `stages` places. A block is copied while the ones before it
// are worked on, and one barrier per block is enough.
//@end
//@prelude

//@include lib/base.cuh
//@include lib/attention.cuh
//@include lib/output.cuh
//@include lib/tile_order.cuh
//@include lib/mma.cuh
//@include lib/cp_async.cuh
//@include lib/mma_step.cuh

constexpr int kBytesQ = kBlockM * kPitchQ * 2;
constexpr int kBytesK = kBlockN * kPitchQ * 2;
constexpr int kBytesV = kBlockN * kPitchV * 2;
constexpr int kBytesO = kBlockM * kPitchV * 2; // takes the place of the others at the end
constexpr int kBytesLoop = kBytesQ + kStages * (kBytesK + kBytesV);
static_assert(kSmemBytes == (kBytesLoop > kBytesO ? kBytesLoop : kBytesO),
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
    int seq_q,
    int seq_k,
    int heads,   // query heads
    int group,   // query heads that read one KV head
    int tiles_m, // tiles along seq_q
    int tiles,   // batch * heads * tiles_m
    int section, // heads walked together
    float scale)
{
    // clang-format on
    extern __shared__ uint4 smem[];
    const uint32 q_smem = smem_address(smem);         // [block_m, head_dim]
    const uint32 k_smem = q_smem + kBytesQ;           // [stages][block_n, head_dim]
    const uint32 v_smem = k_smem + kStages * kBytesK; // [stages][block_n, head_dim_v]
    const float factor = exponent_factor(scale);

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
            const int left = len_k - slot * kBlockN;
            if (slot * kBlockN < keys) {
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
            negate_rows(smem);
        //@if qregs
        QueryTile q;
        load_q(q, q_smem);
        //@end

        float O[kTilesM][8 * kStepsV] = {}; // unnormalised
        float m[kTilesM][2];                // the same in the four lanes of a row
        float l[kTilesM][2];                // this lane's columns only, until the end
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
            m[i][0] = m[i][1] = -INFINITY;
            l[i][0] = l[i][1] = 0.0f;
        }

        //@if stages > 1
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
            const uint32 k_tile = k_smem + slot * kBytesK;
            const uint32 v_tile = v_smem + slot * kBytesV;
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

            float S[kTilesM][8 * kStepsN];
            uint32 P[kTilesM][kStepsN][4];
            //@if stages == 1 && qregs
            multiply_qk(S, q, k_smem);
            //@elif stages == 1
            multiply_qk(S, q_smem, k_smem);
            //@elif qregs
            multiply_qk(S, q, k_tile);
            //@else
            multiply_qk(S, q_smem, k_tile);
            //@end
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
            mask(S, row0, key0, len_q, len_k);
            softmax(P, S, O, m, l, factor);
            //@if stages == 1
            multiply_pv(O, P, v_smem);
            //@else
            multiply_pv(O, P, v_tile);
            //@end
        }

        copy_wait<0>();  // a tile that sees no key has not waited for its copies
        __syncthreads(); // all of Q, K and V has been read: O takes their place
        Output out;
        out.o = o_data + batch * o_strides.batch + head * o_strides.head;
        out.o_stride = o_strides.seq;
        //@if lse
        out.lse = lse_data + batch * lse_strides.batch + head * lse_strides.head;
        out.lse_stride = lse_strides.seq;
        //@end
        store_tile(O, m, l, factor, smem, out, row0, len_q, seq_q);
    }
}
