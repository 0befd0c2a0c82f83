// What the parts of the emulated device share: places, faults, launches.
//
// Addresses. A device pointer into global memory is the host address of the byte. Shared, local
// and parameter memory appear in generic addresses through the tagged windows below, which no
// host address reaches. A 32-bit shared address is an offset into the CTA's shared memory when
// its top byte is 0; mapa puts (rank in the cluster + 1) there.
#ifndef FJ_EMU_INTERNAL_H
#define FJ_EMU_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/gpu.h"

#define FJ_EMU_LANES 32
#define FJ_EMU_WINDOW_SHARED 0x1000000000000000ull
#define FJ_EMU_WINDOW_LOCAL 0x2000000000000000ull
#define FJ_EMU_WINDOW_PARAM 0x3000000000000000ull
#define FJ_EMU_WINDOW_MASK 0xf000000000000000ull
#define FJ_EMU_SHARED_RANK_SHIFT 24
#define FJ_EMU_SHARED_OFFSET_MASK 0x00ffffffu
#define FJ_EMU_SHARED_BASE 1024u // first usable shared address, as on sm_90: 0 is nobody's

enum fj_emu_fault_kind {
    FJ_EMU_FAULT_NONE,
    FJ_EMU_FAULT_ADDRESS, // out of bounds, freed, or the wrong window
    FJ_EMU_FAULT_MISALIGNED,
    FJ_EMU_FAULT_DEADLOCK,
    FJ_EMU_FAULT_BARRIER,   // barrier or mbarrier misuse, expect_tx mismatch
    FJ_EMU_FAULT_TRAP,      // trap, brkpt, assert
    FJ_EMU_FAULT_BUDGET,    // the instruction budget is spent
    FJ_EMU_FAULT_LAUNCH,    // launch limits
    FJ_EMU_FAULT_OPERAND,   // an operand the instruction does not allow
    FJ_EMU_FAULT_UNWRITTEN, // check mode: a read of something nothing wrote
    FJ_EMU_FAULT_RACE,      // check mode: warps, lanes or CTAs meet in memory, unordered
    FJ_EMU_FAULT_ASYNC,     // check mode: wgmma, cp.async or proxy discipline
};

// The first fault of a launch. `text` is the whole report, ready to be shown.
struct fj_emu_fault {
    enum fj_emu_fault_kind kind;
    char text[1024];
};

struct fj_emu_code; // a decoded kernel; exec.h
struct fj_emu_counts;
struct fj_emu_tracer;

struct fj_emu_launch {
    uint32_t grid[3], block[3], cluster[3]; // cluster {1,1,1} when there is none
    uint32_t smem_dynamic_bytes;
    const void *params; // packed as the entry's parameter offsets say
    uint32_t param_bytes;
    const struct fj_gpu *gpu;
    bool check;                         // the slow, strict mode
    uint64_t budget;                    // warp instructions of one CTA (cluster); 0: the default
    int threads;                        // 0: all cores
    struct fj_emu_counts *counts;       // may be NULL; added to
    const struct fj_emu_tracer *tracer; // may be NULL
};

#endif
