//@switch dtype f32|f16|bf16  element type of X, W and Y
//@const  hidden   elements of a row
//@const  rows     of one CTA
//@const  lanes    threads that share a row
//@const  vec      elements a thread moves at a time
//@const  threads  of one CTA
//@let    threads rows * lanes
//@tune   lanes 256 512 128 64 32
//@tune   vec 8 4 2 1
//@tune   rows 1 2 4
//@require lanes % 32 == 0 && hidden % (lanes * vec) == 0 && (vec <= 4 || dtype != f32)
// RMSNorm: Y = X / sqrt(mean(X^2) + eps) * W, row by row; X is read once, sums are fp32.
//@prelude

//@include lib/base.cuh

struct alignas(kVec * sizeof(element)) Vector { // what one instruction moves
    element at[kVec];
};

extern "C" __global__ void __launch_bounds__(kThreads) $kernel_name(
    const element *__restrict__ X, // [n, hidden], aligned to 16 bytes
    const element *__restrict__ W, // [hidden]
    element *__restrict__ Y,       // [n, hidden]
    int n, // rows
    float eps)
{
    constexpr int kSteps = kHidden / (kLanes * kVec);
    __shared__ float partial[kRows][kLanes / 32];
    const int lane = threadIdx.x % kLanes, local = threadIdx.x / kLanes;
    const int row = min(blockIdx.x * kRows + local, n - 1); // past the end: the last one again
    const Vector *from = reinterpret_cast<const Vector *>(X + int64(row) * kHidden) + lane;
    const Vector *weight = reinterpret_cast<const Vector *>(W) + lane;
    Vector *to = reinterpret_cast<Vector *>(Y + int64(row) * kHidden) + lane;

    Vector x[kSteps];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kSteps; i++)
        x[i] = from[i * kLanes];
#pragma unroll
    for (int i = 0; i < kSteps * kVec; i++)
        sum += to_f32(x[i / kVec].at[i % kVec]) * to_f32(x[i / kVec].at[i % kVec]);
    for (int mask = 16; mask > 0; mask /= 2)
        sum += __shfl_xor_sync(0xffffffff, sum, mask);
    partial[local][lane / 32] = sum; // the same from all 32 threads of a warp
    __syncthreads();
    sum = 0;
    for (int warp = 0; warp < kLanes / 32; warp++)
        sum += partial[local][warp];
    const float scale = rsqrtf(sum / kHidden + eps);
#pragma unroll
    for (int i = 0; i < kSteps; i++) {
        const Vector w = weight[i * kLanes];
        for (int j = 0; j < kVec; j++)
            x[i].at[j] = to_element(to_f32(x[i].at[j]) * scale * to_f32(w.at[j]));
        to[i * kLanes] = x[i];
    }
}
