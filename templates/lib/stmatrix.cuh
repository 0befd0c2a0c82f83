// Results on their way to shared memory (sm_90).

// Two neighbouring elements of C in one register, the left one in the lower half.
__device__ __forceinline__ uint32 pack_out(float left, float right)
{
    uint32 pair;
    //@if out == bf16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    //@else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(right), "f"(left));
    //@end
    return pair;
}

//@if turned
// stmatrix.trans: four 8 x 8 matrices of 16-bit elements, turned over. Lane i gives the address of
// row i % 8 of matrix i / 8 (16 bytes); word k of lane i holds column i / 4, rows 2 (i % 4) + {0,
// 1} of matrix k.
__device__ __forceinline__ void stmatrix_trans_x4(uint32 address, const uint32 (&words)[4])
{
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
        "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
        : "memory");
}
//@else
// stmatrix: four 8 x 8 matrices of 16-bit elements. Lane i gives the address of row i % 8 of matrix
// i / 8 (16 bytes); word k of lane i holds row i / 4, columns 2 (i % 4) + {0, 1} of matrix k.
__device__ __forceinline__ void stmatrix_x4(uint32 address, const uint32 (&words)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                 "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
                 : "memory");
}
//@end
//@if beta || bias

//@if turned
// pack_out of what the epilogue makes of two sums, the second one a row below; what lies outside C
// is 0 and not looked at.
__device__ __forceinline__ uint32 finish_pair(const Epilogue &e, const Output &out, int row,
                                              int column, float upper, float lower)
{
    const out_element *const c = out.data + row * out.stride + column;
    const bool inside = column < out.n;
    upper = inside && row < out.m ? epilogue(e, upper, c, column) : 0.0f;
    lower = inside && row + 1 < out.m ? epilogue(e, lower, c + out.stride, column) : 0.0f;
    return pack_out(upper, lower);
}
//@else
// pack_out of what the epilogue makes of two sums; what lies outside C is 0 and not looked at.
__device__ __forceinline__ uint32 finish_pair(const Epilogue &e, const Output &out, int row,
                                              int column, float left, float right)
{
    const out_element *const c = out.data + row * out.stride + column;
    const bool inside = row < out.m;
    left = inside && column < out.n ? epilogue(e, left, c, column) : 0.0f;
    right = inside && column + 1 < out.n ? epilogue(e, right, c + 1, column + 1) : 0.0f;
    return pack_out(left, right);
}
//@end
//@end
