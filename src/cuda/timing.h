// How long launches take on the device.
#ifndef FJ_CUDA_TIMING_H
#define FJ_CUDA_TIMING_H

#include "cuda/module.h"

struct fj_timing_params {
    int repeats;        // samples to take, at least 1
    int warmups;        // launches before them that are not measured
    bool flush_l2;      // write a buffer of twice the L2 before each launch
    double *samples_us; // NULL, or room for `repeats` samples, filled in ascending order
};

struct fj_timing {
    double median_us, p25_us, p75_us, min_us, max_us;
    int repeats;
};

// Times `launch(user, stream)`, which enqueues work on the stream and returns a status, one event
// before and one after each. The stream is a private one: all earlier work of the context is waited
// for. Launches are queued while the stream is held back, so that what the host needs to enqueue
// them is not measured. Allocates device memory (2 x L2) for the flush. The first failure of
// `launch` or of the driver ends it.
int fj_time_launches(const struct fj_device *device, int (*launch)(void *user, CUstream stream),
                     void *user, const struct fj_timing_params *params,
                     struct fj_timing *ret_timing);

// Quantile `q` in [0, 1] of `count` ascending samples, interpolated between neighbours.
double fj_quantile(const double *sorted, int count, double q);

#endif
