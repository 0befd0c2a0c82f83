// What an emulated launch did, in numbers.
#include <fajit/fajit.h>

#include <stdlib.h>
#include <string.h>

#include "emu/count.h"
#include "emu/emu.h"
#include "trace.h"

_Static_assert((int)FAJIT_INSN_CLASSES == (int)FJ_EMU_CLASSES, "the public enum lists them all");
_Static_assert((int)FAJIT_INSN_MATRIX_MOVE == (int)FJ_EMU_CLASS_MATRIX_MOVE, "in the same order");
_Static_assert((int)FAJIT_INSN_CONTROL == (int)FJ_EMU_CLASS_CONTROL, "in the same order");
_Static_assert(FAJIT_INSN_CLASSES <= 32, "fajit_counts has room for them");

const char *fajit_insn_class_name(int insn_class)
{
    bool known = insn_class >= 0 && insn_class < FAJIT_INSN_CLASSES;
    return known ? fj_emu_class_names[insn_class] : NULL;
}

static int give_lines(const struct fj_emu_counts *counts, struct fajit_line_count **ret_lines,
                      int *ret_line_count)
{
    struct fajit_line_count *lines = calloc((size_t)counts->n_lines + 1, sizeof(*lines));
    if (!lines)
        return fj_err(FAJIT_E_NOMEM, "no memory for the counts per line");
    for (int i = 0; i < counts->n_lines; i++)
        lines[i] = (struct fajit_line_count){counts->lines[i].line, counts->lines[i].instructions};
    *ret_lines = lines;
    *ret_line_count = counts->n_lines;
    return FAJIT_OK;
}

static struct fajit_counts to_public(const struct fj_emu_counts *counts)
{
    struct fajit_counts out = {
        .mma_ops = counts->mma_ops,
        .mma_flops = counts->mma_flops,
        .ex2 = counts->ex2,
        .ldmatrix = counts->ldmatrix,
        .stmatrix = counts->stmatrix,
        .global_load_bytes = counts->global_load_bytes,
        .global_store_bytes = counts->global_store_bytes,
        .global_load_sectors = counts->global_load_sectors,
        .global_store_sectors = counts->global_store_sectors,
        .bulk_load_bytes = counts->bulk_load_bytes,
        .bulk_store_bytes = counts->bulk_store_bytes,
        .shared_wavefronts = counts->shared_wavefronts,
        .shared_conflicts = counts->shared_conflicts,
        .barrier_waits = counts->barrier_waits,
        .spin_retries = counts->spin_retries,
    };
    memcpy(out.instructions, counts->instructions, sizeof(counts->instructions));
    return out;
}

int fajit_plan_count(struct fajit_plan *plan, const void *args, struct fajit_counts *ret_counts,
                     struct fajit_line_count **ret_lines, int *ret_line_count)
{
    int err = fj_trace_check(plan, args, "fajit_plan_count");
    if (err == 0 && (!ret_counts || !ret_lines != !ret_line_count))
        err = fj_err(FAJIT_E_INVAL, "fajit_plan_count: ret_counts is NULL, or one of ret_lines and "
                                    "ret_line_count without the other");
    if (err)
        return err;
    struct fj_emu_counts counts = {.want_lines = ret_lines != NULL};
    const CUcontext context = plan->ctx->jit.device.context;
    fj_emu_set_counts(context, &counts);
    err = fj_trace_launch(plan, args);
    fj_emu_set_counts(context, NULL);
    if (err == 0) {
        const struct fajit_counts out = to_public(&counts);
        err = fj_give_struct("fajit_counts", &out, sizeof(out), ret_counts);
    }
    if (err == 0 && ret_lines)
        err = give_lines(&counts, ret_lines, ret_line_count);
    free(counts.lines);
    return err;
}
