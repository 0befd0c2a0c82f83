// Kernels with a planted fault, and without it.
#ifndef FJ_TEST_EMU_FAULTS_H
#define FJ_TEST_EMU_FAULTS_H

#include "record.h"

struct fault {
    const char *name;
    unsigned threads;
    bool check;           // found in check mode only
    const char *body;     // with %d64 or %B where the parts go
    const char *parts[2]; // with the fault, without it
    CUresult code;
    const char *word; // in the report
    bool hangs;       // on hardware: not run there
    const char
        *finder;   // the tool of CUDA 13.0's compute-sanitizer that finds it on an H200, or NULL
    unsigned grid; // CTAs; 0: one
    const char *limits; // of the entry, or NULL
};

extern const struct fault faults[];
extern const int n_faults;

void build_fault(struct fj_buf *ptx, const struct fault *fault, bool planted);
CUresult run_fault(const struct device *device, const struct fault *fault, bool planted);

#endif
