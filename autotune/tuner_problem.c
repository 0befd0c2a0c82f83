// Which problems can be tuned, and what their results mean.
#include "autotune/tuner.h"

int fj_tuner_check_sizes(const struct fj_problem *problem)
{
    const struct fj_attn *a = &problem->attn;
    const struct fj_gemm *g = &problem->gemm;
    const bool gemm = problem->op == FAJIT_OP_GEMM;
    const struct {
        const char *word;
        int64_t value;
    } attn[] = {{"b", a->batch}, {"h", a->heads_q}, {"q", a->seq_q}, {"k", a->seq_k}},
      matmul[] = {{"m", g->m}, {"n", g->n}, {"k", g->k}, {"m", g->m}};
    for (int i = 0; i < 4; i++)
        if ((gemm ? matmul[i].value : attn[i].value) <= 0)
            return fj_err(FAJIT_E_INVAL, "tuning needs every size, and '%s' is open",
                          gemm ? matmul[i].word : attn[i].word);
    return FAJIT_OK;
}

bool fj_tuner_is_open(const struct fj_problem *problem)
{
    bool open = !problem->family && !problem->variant;
    for (int i = 0; i < FJ_KNOB_COUNT; i++)
        open &= problem->fixed.v[i] == 0;
    return open;
}
