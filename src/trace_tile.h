// From the registers of a warp to the elements of the tile that they are a fragment of.
#ifndef FJ_TRACE_TILE_H
#define FJ_TRACE_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fajit/fajit.h>

// What a watch comment says: "S 64 128 acc 2x64", or "K 64 64 smem_bf16 72".
struct fj_watch_text {
    char name[64], kind[16];
    int rows, cols;
    int tiles; // 16-row tiles of the warp: the first of several counts, else 1
    int inner; // registers of one of them: the product of the other counts
    int pitch; // of shared memory, in elements
};

bool fj_watch_parse(const char *text, struct fj_watch_text *ret_watch);

// What a warp holds where it meets a watch.
struct fj_fragment {
    int warp;                  // in the CTA
    uint32_t lanes;            // that execute; the others' registers are not looked at
    int n_registers;           // of 32 lanes each
    const uint64_t *registers; // [n_registers][32]
    const uint8_t *shared;     // shared[address] from shared_begin to shared_end
    uint32_t shared_begin, shared_end;
};

struct fj_elements {
    struct fajit_trace_element *items; // by row, then column, each once
    int count, capacity;
};

// Fills `elements`, whose memory is used again. FAJIT_E_TEMPLATE names what a watch got wrong.
int fj_watch_elements(const struct fj_watch_text *watch, const struct fj_fragment *fragment,
                      struct fj_elements *elements);

#endif
