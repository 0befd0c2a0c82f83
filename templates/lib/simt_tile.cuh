// Tiles and row reductions of the fp32 kernels, whose threads form a 16 x 16 grid.

// Copies a tile from global to shared memory as fp32, times `factor`. Rows from `rows_valid` on
// and columns past the tensor's become zero: memory past a sequence's end may hold NaN, and
// 0 * NaN would reach O.
template <int kTileRows, int kTileColumns, int kPitch>
__device__ void load_tile(float *tile, const element *source, int64 row_stride, int rows_valid,
                          float factor)
{
    constexpr int kPadded = kPitch < kTileColumns + 4 ? kPitch : kTileColumns;
    for (int i = threadIdx.x; i < kTileRows * kPadded; i += kThreads) {
        const int row = i / kPadded;
        const int column = i % kPadded;
        const bool valid = row < rows_valid && column < kTileColumns;
        const float x = valid ? to_f32(source[row * row_stride + column]) : 0.0f;
        tile[row * kPitch + column] = x * factor;
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
