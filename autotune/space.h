// What may be tried: the knobs' values per kernel and architecture, as data (arch/*.def).
#ifndef FJ_AUTOTUNE_SPACE_H
#define FJ_AUTOTUNE_SPACE_H

#include "base/gpu.h"
#include "kernels/kernel.h"

#define FJ_AXIS_VALUES 16

// One knob and the values worth trying.
struct fj_axis {
    enum fj_knob knob;
    int count;
    int16_t values[FJ_AXIS_VALUES];
};

struct fj_space {
    int axis_count;
    struct fj_axis axes[FJ_KNOB_COUNT];
    bool safe; // its kernels wait for nobody: a bad configuration is slow or wrong, it cannot hang
};

// The axes of a kernel on a GPU: those of the last table that fits it. False when it has none.
bool fj_space_of(const struct fj_kernel_class *kernel, const struct fj_gpu *gpu,
                 struct fj_space *ret_space);

// The shape of the work: bm, bn, bk, warps. What is tried first, the kernel's own rules setting the
// other knobs; those are tried around what won.
bool fj_space_is_tile(enum fj_knob knob);
struct fj_space fj_space_tiles(const struct fj_space *space);

// Points of the space: the product of its axes' sizes.
int64_t fj_space_size(const struct fj_space *space);
// The index-th point, the last axis fastest.
void fj_space_point(const struct fj_space *space, int64_t index, struct fj_config *ret_config);

// The configuration a table gives problems like this one; false when it gives none.
bool fj_space_default(const struct fj_choice *choice, const struct fj_gpu *gpu,
                      struct fj_config *ret_config);

// By how much, in parts of one, the model must find a tile faster than the default for its word to
// be taken without a measurement; 0: never.
double fj_space_trust(const struct fj_kernel_class *kernel, const struct fj_gpu *gpu);

#endif
