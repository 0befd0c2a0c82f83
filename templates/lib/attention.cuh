// What every attention kernel agrees on: which keys a query sees, which tile a CTA works on.

constexpr float kLog2E = 1.4426950408889634f; // exp(x) = exp2(x * log2(e)): the GPU has exp2
//@if lse
constexpr float kLn2 = 0.6931471805599453f; // ln(x) = log2(x) * ln(2)
//@end

// Query `row` sees the keys 0 .. visible_keys - 1.
__device__ __forceinline__ int visible_keys(int row, int len_q, int len_k)
{
    //@if causal == bottom_right
    // The last query sees the last key: the diagonal is shifted by len_k - len_q.
    return max(0, min(len_k, row + 1 + len_k - len_q));
    //@elif causal == top_left
    return min(len_k, row + 1);
    //@else
    return len_k;
    //@end
}

// A length read from device memory is not to be trusted with our address arithmetic.
__device__ __forceinline__ int clamp_length(int length, int limit)
{
    return max(0, min(length, limit));
}
