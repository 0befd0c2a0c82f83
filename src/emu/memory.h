// Global memory of the emulated devices: a table of allocations. Addresses are host addresses.
#ifndef FJ_EMU_MEMORY_H
#define FJ_EMU_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fj_emu_block {
    uint64_t base;
    uint64_t bytes;
    uint8_t *written; // check mode: one byte per byte of memory, NULL otherwise: check_global.c
    bool tagged;
    uint32_t serial; // allocations are numbered from 1 for reports
    int device;      // ordinal; free for the caller's use
    void *owner;     // the context; free for the caller's use
};

// The live allocation that holds [addr, addr + bytes), or NULL. Thread-safe; the calling thread's
// last hits are tried first. The block stays valid for the launch: frees wait for running launches.
const struct fj_emu_block *fj_emu_mem_find(uint64_t addr, uint64_t bytes);

// Says in words what lies at `addr`: "4 bytes past allocation #3 of 4096 bytes", "inside
// allocation #2, freed", "not memory of this device".
void fj_emu_mem_describe(uint64_t addr, uint64_t bytes, char *ret_text, size_t cap);

// FAJIT_OK or FAJIT_E_NOMEM. Aligned to a page, zeroed, with inaccessible addresses on both sides.
int fj_emu_mem_alloc(uint64_t bytes, uint64_t *ret_addr);
// The same, recording whose it is; ret_addr is the block's base.
int fj_emu_mem_alloc_for(uint64_t bytes, int device, void *owner, uint64_t *ret_addr);
// FAJIT_OK, or FAJIT_E_INVAL when `addr` is not the base of a live allocation. Waits for running
// launches. Later finds describe the range as freed until its addresses are needed again.
int fj_emu_mem_free(uint64_t addr);
// Frees everything that belongs to `owner`.
void fj_emu_mem_free_all(const void *owner);

// Around the execution of a grid, on the thread that launches it.
void fj_emu_mem_begin_launch(void);
void fj_emu_mem_end_launch(void);

// Check mode. Allocations made while `on` keep track of what was written; copies and memsets mark
// their target. A launch without checks does not mark, so from then on its device's memory counts
// as written: fj_emu_mem_forget.
void fj_emu_mem_track(bool on);
void fj_emu_mem_mark(uint64_t addr, uint64_t bytes);
void fj_emu_mem_forget(int device);
// `written` of the block holds marks above 1, until the launch ends: fj_emu_mem_settle.
void fj_emu_mem_tagged(const struct fj_emu_block *block);
void fj_emu_mem_settle(void);

#endif
