// An NVRTC that exists only in this process: the image of a program is its source. Thread-safe.
#ifndef FJ_TESTS_FAKE_NVRTC_H
#define FJ_TESTS_FAKE_NVRTC_H

#include "cuda/loader.h"

struct fake_nvrtc_state {
    // Settings; fake_nvrtc_reset() clears them.
    bool fails;            // compiles end in an error in the last line of the source
    unsigned compile_us;   // how long one takes at least
    bool holds;            // compiles do not end before it is cleared; set and clear atomically
    const char *ptxas_log; // what a compile that works leaves in its log; NULL: nothing

    // Results.
    int compiles;
    int programs;   // created and not destroyed
    int error_line; // of the latest failed compile
};

extern struct fake_nvrtc_state fake_nvrtc_state;

const struct fj_nvrtc *fake_nvrtc(void);
void fake_nvrtc_reset(void);

#endif
