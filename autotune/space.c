#include "autotune/space.h"

#include <string.h>

struct space_row {
    const char *kernel;
    int cc_from, cc_to; // inclusive, times ten
    bool safe;
};

struct axis_row {
    const char *kernel;
    int cc_from, cc_to;
    enum fj_knob knob;
    int16_t values[FJ_AXIS_VALUES]; // ends at -1
};

struct default_row {
    const char *kernel;
    int cc_from, cc_to;
    int dim_to;      // larger head dim, or 0 for any
    int64_t rows_to; // query rows, or rows of C, up to; 0 for any
    const char *config;
};

struct trust_row {
    const char *kernel;
    int cc_from, cc_to;
    int percent;
};

#define FJ_TRUST(kernel, from, to, percent)
#define FJ_SPACE(kernel, from, to, safe)
#define FJ_AXIS(kernel, from, to, knob, ...)
#define FJ_DEFAULT(kernel, from, to, dim_to, rows_to, config)

#undef FJ_SPACE
#define FJ_SPACE(kernel, from, to, safe) {#kernel, from, to, safe},
static const struct space_row space_rows[] = {
#include "autotune/arch/all.def"
};
#undef FJ_SPACE
#define FJ_SPACE(kernel, from, to, safe)

#undef FJ_AXIS
#define FJ_AXIS(kernel, from, to, knob, ...) {#kernel, from, to, FJ_KNOB_##knob, {__VA_ARGS__, -1}},
static const struct axis_row axis_rows[] = {
#include "autotune/arch/all.def"
};
#undef FJ_AXIS
#define FJ_AXIS(kernel, from, to, knob, ...)

#undef FJ_DEFAULT
#define FJ_DEFAULT(kernel, from, to, dim_to, rows_to, config)                                      \
    {#kernel, from, to, dim_to, rows_to, config},
static const struct default_row default_rows[] = {
#include "autotune/arch/all.def"
};

#undef FJ_DEFAULT
#define FJ_DEFAULT(kernel, from, to, dim_to, rows_to, config)

#undef FJ_TRUST
#define FJ_TRUST(kernel, from, to, percent) {#kernel, from, to, percent},
static const struct trust_row trust_rows[] = {
#include "autotune/arch/all.def"
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool fits(const char *name, int from, int to, const struct fj_kernel_class *kernel,
                 const struct fj_gpu *gpu)
{
    return gpu->cc >= from && gpu->cc <= to && strcmp(name, kernel->name) == 0;
}

// A later row of the same knob replaces an earlier one.
static void set_axis(struct fj_space *space, const struct axis_row *row)
{
    int at = 0;
    while (at < space->axis_count && space->axes[at].knob != row->knob)
        at++;
    struct fj_axis *axis = &space->axes[at];
    axis->knob = row->knob;
    for (axis->count = 0; row->values[axis->count] >= 0; axis->count++)
        axis->values[axis->count] = row->values[axis->count];
    if (at == space->axis_count)
        space->axis_count++;
}

bool fj_space_of(const struct fj_kernel_class *kernel, const struct fj_gpu *gpu,
                 struct fj_space *ret_space)
{
    struct fj_space space = {0};
    bool found = false;
    for (size_t i = 0; i < COUNT(space_rows); i++) {
        const struct space_row *row = &space_rows[i];
        if (fits(row->kernel, row->cc_from, row->cc_to, kernel, gpu)) {
            space.safe = row->safe;
            found = true;
        }
    }
    for (size_t i = 0; found && i < COUNT(axis_rows); i++)
        if (fits(axis_rows[i].kernel, axis_rows[i].cc_from, axis_rows[i].cc_to, kernel, gpu))
            set_axis(&space, &axis_rows[i]);
    if (found)
        *ret_space = space;
    return found;
}

bool fj_space_is_tile(enum fj_knob knob)
{
    return knob == FJ_KNOB_bm || knob == FJ_KNOB_bn || knob == FJ_KNOB_bk || knob == FJ_KNOB_warps;
}

struct fj_space fj_space_tiles(const struct fj_space *space)
{
    struct fj_space tiles = {.safe = space->safe};
    for (int i = 0; i < space->axis_count; i++)
        if (fj_space_is_tile(space->axes[i].knob))
            tiles.axes[tiles.axis_count++] = space->axes[i];
    return tiles;
}

int64_t fj_space_size(const struct fj_space *space)
{
    int64_t size = 1;
    for (int i = 0; i < space->axis_count; i++)
        size *= space->axes[i].count;
    return size;
}

void fj_space_point(const struct fj_space *space, int64_t index, struct fj_config *ret_config)
{
    *ret_config = (struct fj_config){{0}};
    for (int i = space->axis_count - 1; i >= 0; i--) {
        const struct fj_axis *axis = &space->axes[i];
        ret_config->v[axis->knob] = axis->values[index % axis->count];
        index /= axis->count;
    }
}

bool fj_space_default(const struct fj_choice *choice, const struct fj_gpu *gpu,
                      struct fj_config *ret_config)
{
    const struct fj_problem *problem = &choice->problem;
    const bool attn = problem->op == FAJIT_OP_ATTN_FWD;
    int dim = attn ? problem->attn.head_dim : 0;
    if (attn && problem->attn.head_dim_v > dim)
        dim = problem->attn.head_dim_v;
    int64_t rows = attn ? problem->attn.seq_q : problem->gemm.m;
    for (size_t i = 0; i < COUNT(default_rows); i++) {
        const struct default_row *row = &default_rows[i];
        if (!fits(row->kernel, row->cc_from, row->cc_to, choice->kernel, gpu) ||
            (row->dim_to && dim > row->dim_to) ||
            (row->rows_to && (rows == 0 || rows > row->rows_to)))
            continue;
        return *row->config && fj_config_parse(row->config, ret_config) == FAJIT_OK;
    }
    return false;
}

double fj_space_trust(const struct fj_kernel_class *kernel, const struct fj_gpu *gpu)
{
    for (size_t i = 0; i < COUNT(trust_rows); i++)
        if (fits(trust_rows[i].kernel, trust_rows[i].cc_from, trust_rows[i].cc_to, kernel, gpu))
            return trust_rows[i].percent / 100.0;
    return 0;
}
