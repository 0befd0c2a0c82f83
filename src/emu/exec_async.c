// Asynchronous copies between global and shared memory.
#include "emu/ops.h"

const struct fj_emu_family fj_emu_async_families[] = {
    {NULL, 0, NULL},
};
