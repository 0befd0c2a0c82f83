#include "kernels/kernel.h"

static const struct fj_gpu models[] = {
#define FJ_GPU(key, model, capability, sms, smem_block, smem_sm, reserved, regs, threads, blocks,  \
               l2, memory, clock, memory_clock, bus_bits)                                          \
    {                                                                                              \
        .name = model,                                                                             \
        .cc = capability,                                                                          \
        .sm_count = sms,                                                                           \
        .smem_per_block_bytes = smem_block,                                                        \
        .smem_per_sm_bytes = smem_sm,                                                              \
        .smem_reserved_bytes = reserved,                                                           \
        .regs_per_sm = regs,                                                                       \
        .threads_per_sm = threads,                                                                 \
        .blocks_per_sm = blocks,                                                                   \
        .l2_bytes = l2,                                                                            \
        .memory_bytes = memory,                                                                    \
        .clock_khz = clock,                                                                        \
        .memory_clock_khz = memory_clock,                                                          \
        .memory_bus_bits = bus_bits,                                                               \
    },
#include "base/gpus.def"
#undef FJ_GPU
};

// The list puts the largest common model of a capability last.
bool fj_gpu_for_cc(int cc, struct fj_gpu *ret_gpu)
{
    for (size_t i = sizeof(models) / sizeof(models[0]); i > 0; i--) {
        if (models[i - 1].cc == cc) {
            *ret_gpu = models[i - 1];
            return true;
        }
    }
    return false;
}
