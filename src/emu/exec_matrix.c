// mma.sync, ldmatrix, stmatrix, wgmma.
#include "emu/ops.h"

const struct fj_emu_family fj_emu_matrix_families[] = {
    {NULL, 0, NULL},
};
