// Softmax over blocks of scores, for the two rows a thread has in an accumulator fragment (see
// lib/wgmma.cuh): l and O are kept relative to a running m, and corrected when it moves.
struct Softmax {
    float m[2];          // of rows lane / 4 + {0, 8}: what scores are compared with, unscaled
    float offset[2];     // -m * scale * log2(e), 0 for -inf
    float l[2];          // sum of exp(scale * (S - m)), this thread's columns only
    float correction[2]; // exp(scale * (old m - m))
    bool moved;          // correction is to be applied to O; the same in all lanes

    __device__ __forceinline__ void reset()
    {
        m[0] = m[1] = -INFINITY;
        offset[0] = offset[1] = 0.0f;
        l[0] = l[1] = 0.0f;
    }

    // S becomes exp(scale * (S - m)), computed as exp2(S * scale_log2 + offset): the GPU has exp2.
    template <int kCount>
    __device__ __forceinline__ void update(float (&S)[kCount], float scale_log2)
    {
        //@watch S [64, block_n] acc regs=block_n/2
        float top[2]; // of this thread's columns
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float part[4]; // four chains: the links of a single one would wait for each other
#pragma unroll
            for (int i = 0; i < 4; ++i)
                part[i] = S[i / 2 * 4 + 2 * j + i % 2];
#pragma unroll
            for (int t = 2; t < kCount / 4; ++t) {
                part[t % 2 * 2] = fmaxf(part[t % 2 * 2], S[4 * t + 2 * j]);
                part[t % 2 * 2 + 1] = fmaxf(part[t % 2 * 2 + 1], S[4 * t + 2 * j + 1]);
            }
            top[j] = fmaxf(fmaxf(part[0], part[1]), fmaxf(part[2], part[3]));
        }
        //@if lazy
        // Any m gives the same result as long as nothing overflows, so m need not be the maximum:
        // while no exponential would pass 2^8, it stays, and O and l need no correction.
        const float slack = 8.0f / scale_log2;
        moved = __any_sync(0xffffffff, top[0] > m[0] + slack || top[1] > m[1] + slack);
        //@else
        moved = true;
        //@end
        if (moved)
            move(top, scale_log2);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float sum[2] = {0.0f, 0.0f};
#pragma unroll
            for (int t = 0; t < kCount / 4; ++t) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float &x = S[4 * t + 2 * j + i];
                    //@if poly > 0
                    if (t % $poly == $poly - 1)
                        x = exp2_poly(x, scale_log2 / 256.0f, (offset[j] + 127.0f) / 256.0f);
                    else
                        x = exp2_fast(fmaf(x, scale_log2, offset[j]));
                    //@else
                    x = exp2_fast(fmaf(x, scale_log2, offset[j]));
                    //@end
                    sum[i] += x;
                }
            }
            l[j] += sum[0] + sum[1];
        }
        //@watch m [64] row regs=2
        //@watch l [64] row_sum regs=2
    }

    __device__ __forceinline__ void move(const float (&top)[2], float scale_log2)
    {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const float m_new = fmaxf(m[j], quad_max(top[j]));
            // While a row has seen no key, m is -inf, and -inf - -inf would be NaN.
            const float finite = m_new == -INFINITY ? 0.0f : m_new;
            correction[j] = exp2_fast((m[j] - finite) * scale_log2);
            l[j] *= correction[j];
            m[j] = m_new;
            offset[j] = -finite * scale_log2;
        }
    }

    template <int kCount> __device__ __forceinline__ void correct(float (&O)[kCount]) const
    {
        //@watch O [64, head_dim_v] acc regs=head_dim_v/2
        if (!moved)
            return;
#pragma unroll
        for (int i = 0; i < kCount; ++i)
            O[i] *= correction[i / 2 % 2];
    }
};
