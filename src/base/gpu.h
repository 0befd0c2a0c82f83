// Facts of a GPU, as plain numbers: filled by the driver or from a table, read by everybody.
#ifndef FJ_BASE_GPU_H
#define FJ_BASE_GPU_H

#include <stdbool.h>
#include <stdint.h>

struct fj_gpu {
    char name[96];
    int cc; // compute capability times ten: 90 for 9.0
    int sm_count;
    int smem_per_block_bytes; // opt-in maximum of one CTA
    int smem_per_sm_bytes;
    int smem_reserved_bytes; // taken by the system per CTA (1024 from sm_80 on)
    int regs_per_sm;         // 32-bit registers
    int threads_per_sm;
    int blocks_per_sm;
    int64_t l2_bytes;
    int64_t memory_bytes;
    int clock_khz;
    int memory_clock_khz, memory_bus_bits;
    int driver_version; // as cuDriverGetVersion: 13000
};

#endif
