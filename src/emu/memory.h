// Global memory of the emulated devices: a table of allocations. Addresses are host addresses.
#ifndef FJ_EMU_MEMORY_H
#define FJ_EMU_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fj_emu_block {
    uint64_t base;
    uint64_t bytes;
    uint8_t *written; // check mode: one byte per byte of memory, NULL otherwise
    uint32_t serial;  // allocations are numbered from 1 for reports
};

// The live allocation that holds [addr, addr + bytes), or NULL. Thread-safe; the calling thread's
// last hit is tried first. The block stays valid for the launch: frees wait for running launches.
const struct fj_emu_block *fj_emu_mem_find(uint64_t addr, uint64_t bytes);

// Says in words what lies at `addr`: "4 bytes past allocation #3 of 4096 bytes", "inside
// allocation #2, freed", "not memory of this device".
void fj_emu_mem_describe(uint64_t addr, uint64_t bytes, char *ret_text, size_t cap);

int fj_emu_mem_alloc(uint64_t bytes, uint64_t *ret_addr);
int fj_emu_mem_free(uint64_t addr);

#endif
