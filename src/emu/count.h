// What a launch did, in numbers that are the same every run.
#ifndef FJ_EMU_COUNT_H
#define FJ_EMU_COUNT_H

#include <stdint.h>

enum fj_emu_class {
    FJ_EMU_CLASS_INT,
    FJ_EMU_CLASS_FLOAT,
    FJ_EMU_CLASS_SPECIAL, // ex2, lg2, rcp, rsqrt, sin, cos, tanh
    FJ_EMU_CLASS_CONVERT,
    FJ_EMU_CLASS_MOVE, // mov, selp, shuffles, votes, predicates
    FJ_EMU_CLASS_GLOBAL,
    FJ_EMU_CLASS_SHARED, // ld, st, atom on shared memory
    FJ_EMU_CLASS_LOCAL,
    FJ_EMU_CLASS_PARAM,       // param and const
    FJ_EMU_CLASS_MATRIX_MOVE, // ldmatrix, stmatrix
    FJ_EMU_CLASS_MMA,
    FJ_EMU_CLASS_ASYNC, // cp.async, bulk copies
    FJ_EMU_CLASS_SYNC,  // barriers, mbarriers, fences
    FJ_EMU_CLASS_CONTROL,
    FJ_EMU_CLASSES,
};

extern const char *const fj_emu_class_names[FJ_EMU_CLASSES];

struct fj_emu_line_count {
    int line; // of the CUDA source
    uint64_t instructions;
};

// Warp instructions unless a name says otherwise.
struct fj_emu_counts {
    uint64_t instructions[FJ_EMU_CLASSES];
    uint64_t mma_ops; // mma.sync and wgmma instructions (wgmma: per warp)
    uint64_t mma_flops;
    uint64_t ex2; // thread operations
    uint64_t ldmatrix, stmatrix;
    uint64_t global_load_bytes, global_store_bytes;     // by threads
    uint64_t global_load_sectors, global_store_sectors; // 32 bytes
    uint64_t bulk_load_bytes, bulk_store_bytes;         // cp.async.bulk, tensor included
    uint64_t shared_wavefronts, shared_conflicts;       // conflicts: wavefronts beyond the ideal
    uint64_t barrier_waits;
    uint64_t spin_retries; // failed try_wait / test_wait, not in instructions
    // Per line, on request: set `lines` to NULL and `want_lines`; the caller frees.
    int want_lines;
    int n_lines;
    struct fj_emu_line_count *lines;
};

#endif
