// What the programs of this folder have in common: options, device, the texts that a seed draws.
#ifndef TESTS_NUMERIC_GRID_H
#define TESTS_NUMERIC_GRID_H

#include <fajit/fajit.h>

#include "pairwise.h"

#define TEXTS_MAX 200
#define TEXT_MAX 192

struct settings {
    const char *device, *only;
    uint64_t seed;
    int texts, runs;
    double max_flops;
};

struct totals {
    int passed, failed, skipped;
};

// --device emu|0 --seed N --texts N --runs N --max-flops F --only WORD; false when one is unknown
// or out of range.
bool grid_options(int argc, char **argv, struct settings *ret_settings);

// 0, or the exit code of a program that cannot go on; it has said why.
int grid_open(const struct settings *settings, struct fajit_ctx **ret_ctx);

// Axes that are baked into texts: how many values each has, and the text of a row of them.
struct grid_axes {
    int counts[PAIRWISE_AXES_MAX], axes;
    bool knobs; // texts fix some, which may not go with the rest: FAJIT_E_INVAL is no failure then
    void (*text)(const int *row, char (*ret_text)[TEXT_MAX]);
};

// Fills ret_texts with a pairwise sample of texts that the device takes. Returns their number.
int grid_choose(struct fajit_ctx *ctx, const struct settings *settings,
                const struct grid_axes *axes, char (*ret_texts)[TEXT_MAX], struct totals *totals);

// Prints the totals. Returns the exit code.
int grid_end(const struct totals *totals);

#endif
