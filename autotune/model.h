// How long a configuration should take: good enough to decide what is tried first.
#ifndef FJ_AUTOTUNE_MODEL_H
#define FJ_AUTOTUNE_MODEL_H

#include "base/gpu.h"
#include "kernels/kernel.h"

struct fj_model {
    double tensor_us, exp_us, memory_us; // of the whole problem, each alone
    double waves;                        // CTAs over what the GPU holds at once
    int ctas_per_sm;                     // by shared memory and threads; registers are not known
    double useful;                       // share of the tiles' rows that are the problem's
    double flops, bytes, exps; // of all blocks of all CTAs, what is masked in them included
    double predicted_us;
};

// Whether every size of the problem is set.
bool fj_model_applies(const struct fj_problem *problem);

// Every size of the problem is set.
void fj_model_predict(const struct fj_choice *choice, const struct fj_gpu *gpu,
                      struct fj_model *ret_model);

#endif
