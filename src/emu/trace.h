// Watching one warp: a callback before every instruction it executes.
#ifndef FJ_EMU_TRACE_H
#define FJ_EMU_TRACE_H

#include <stdint.h>

struct fj_emu_warp;
struct fj_emu_insn;

// What a step shows. Valid during the callback.
struct fj_emu_step {
    const char *op;   // the opcode with its modifiers
    const char *file; // of the CUDA source, NULL: not known
    int line;         // of the CUDA source; 0: not known
    int ptx_line;
    uint32_t exec;     // lanes that execute it
    uint32_t active;   // lanes on this path
    const char *watch; // of a watch comment: "S 64 128 acc"; else NULL
    int n_registers;   // of the watch's fragment, or all operands'
    const uint8_t *shared;
    uint32_t shared_begin, shared_end; // shared[address] is valid from begin to end
    const struct fj_emu_warp *warp;
    const struct fj_emu_insn *insn;
};

struct fj_emu_tracer {
    uint32_t ctaid[3];
    int warp;
    void (*step)(void *user, const struct fj_emu_step *step);
    void *user;
};

// Register i of a step: its name ("%f12") into `name`, its 32 lanes' bits into `values`. Returns
// its width in bits: 1, 16, 32 or 64; 0 when there is none.
int fj_emu_step_register(const struct fj_emu_step *step, int i, char *name, int cap,
                         uint64_t values[32]);

#endif
