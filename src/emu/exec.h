// Decoding an entry to its executable form, and running a grid of it.
#ifndef FJ_EMU_EXEC_H
#define FJ_EMU_EXEC_H

#include "emu/internal.h"
#include "emu/ptx.h"

// `var_addr[i]` is the device address of module->vars[i] (global and const; others ignored).
// FAJIT_OK, or FAJIT_E_COMPILE naming the unknown opcode, its PTX line and its CUDA line. The
// module must outlive the code. Thread-safe for different codes; a code is read-only afterwards.
int fj_emu_code_build(const struct fj_ptx_module *module, const struct fj_ptx_entry *entry,
                      const uint64_t *var_addr, struct fj_emu_code **ret_code);
void fj_emu_code_free(struct fj_emu_code *code);

// Runs the whole grid over all cores; returns when every CTA has finished or one has faulted.
// FAJIT_OK, or FAJIT_E_CUDA with *ret_fault filled.
int fj_emu_execute(const struct fj_emu_code *code, const struct fj_emu_launch *launch,
                   struct fj_emu_fault *ret_fault);

#endif
