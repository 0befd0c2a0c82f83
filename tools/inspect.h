// Commands of fajit-inspect that have a file of their own.
#ifndef TOOLS_INSPECT_H
#define TOOLS_INSPECT_H

#include "common.h"

#define INSPECT_PRINTS_MAX 8

// --print NAME[row,col]
struct inspect_print {
    char name[64];
    int row, col; // -1: the whole tile
};

struct inspect_options {
    struct tool_options tool;
    uint64_t seed; // of the inputs
    int cta[3], warp;
    int from_line, to_line;
    int64_t steps; // lines and tiles shown; 0: 1000
    bool full;     // whole tiles
    bool every;    // every line reached, loops included
    bool lines;    // counts per source line
    struct inspect_print prints[INSPECT_PRINTS_MAX];
    int print_count;
};

bool inspect_parse_print(const char *text, struct inspect_print *ret_print);
bool inspect_parse_cta(const char *text, int ret_cta[3]);

// What is looked at: a plan, or a kernel of the user's own.
struct inspect_subject {
    struct fajit_plan *plan;
    struct fajit_kernel *kernel; // NULL: the plan
    bool json;
};

static inline const char *inspect_name(const struct inspect_subject *s)
{
    return s->kernel ? fajit_kernel_name(s->kernel) : fajit_plan_name(s->plan);
}

static inline int inspect_image(const struct inspect_subject *s, void **ret_image,
                                size_t *ret_bytes)
{
    return s->kernel ? fajit_kernel_image(s->kernel, ret_image, ret_bytes)
                     : fajit_plan_image(s->plan, ret_image, ret_bytes);
}

// All return the program's exit code.
int inspect_trace(const struct inspect_options *options, struct fajit_ctx *ctx,
                  const struct fajit_problem *problem, const char *text);
int inspect_counts(const struct inspect_options *options, struct fajit_ctx *ctx,
                   const struct fajit_problem *problem, const char *text);
int inspect_info(const struct inspect_subject *subject);
int inspect_sass(const struct inspect_subject *subject);

#endif
