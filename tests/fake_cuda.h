// A driver that exists only in this process: host memory, a clock that only launches move, every
// call counted, any call made to fail, every object accounted for.
#ifndef FJ_TESTS_FAKE_CUDA_H
#define FJ_TESTS_FAKE_CUDA_H

#include "base/gpu.h"
#include "cuda/loader.h"

struct fake_launch {
    unsigned grid[3], block[3], cluster[3]; // cluster: 0 when launched without one
    unsigned smem_bytes;
    CUstream stream;
    void *args0; // value of the first parameter when it is a pointer
};

#define FAKE_KERNELS_MAX 16
#define FAKE_PARAMS_MAX 48

struct fake_state {
    // Settings, with the defaults that fake_cuda_reset() gives.
    struct fj_gpu gpu;       // what the one device says of itself: an sm_90 of 4 SMs
    int devices;             // 1
    const char *kernel_name; // NULL: a module has every kernel one asks for
    int registers, local_bytes, smem_static_bytes, max_threads, ctas_per_sm; // 64, 0, 0, 1024, 2
    size_t param_bytes[FAKE_PARAMS_MAX]; // of every kernel's parameters, as many as n_params
    int n_params;                        // 0
    double kernel_us[FAKE_KERNELS_MAX];  // what successive launches take, round and round; 10 each
    int n_kernel_us;                     // 1
    double memset_us;                    // 100, for an asynchronous one
    const char *load_log;                // error log of a refused image; NULL: none
    void (*on_launch)(const struct fake_launch *launch, void **args); // may be NULL

    // Results.
    struct fake_launch last;
    int n_launches;
    unsigned smem_limit_bytes; // last value set for a function
    int misuses;               // handles that are not, or no longer, alive
};

extern struct fake_state fake;

// The table. Copy it and clear a pointer to imitate a driver that lacks an optional function.
const struct fj_cuda *fake_cuda(void);

// Frees everything, zeroes the counts, forgets the failures, restores the defaults.
void fake_cuda_reset(void);

// From here on the `nth` call (1: the next) of `function`, or of any function when that is NULL,
// returns `result` without acting; those that destroy something do destroy it. 0 disarms.
void fake_cuda_fail(const char *function, int nth, CUresult result);
bool fake_cuda_failed(void); // the armed failure has happened

int fake_cuda_calls(const char *function); // NULL: of all functions

// Objects created and not destroyed: retained contexts, modules, allocations, streams, events,
// graphs.
int fake_cuda_live(void);

// A context that a host would have made current on its own; reset frees it. Not counted as live.
CUcontext fake_cuda_host_context(void);

#endif
