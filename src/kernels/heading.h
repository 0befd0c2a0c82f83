// The comment that opens a rendered kernel: what it computes, how to render it again, what it
// costs.
#ifndef FJ_KERNELS_HEADING_H
#define FJ_KERNELS_HEADING_H

#include "kernels/kernel.h"

// Comment lines, each starting with "//" and ending in a newline, for fj_render_params.heading.
// `cc` is the compute capability compiled for. Says nothing that may change from launch to launch,
// so that problems with one text have one heading.
int fj_kernel_heading(const struct fj_choice *choice, int cc, struct fj_buf *ret_text);

// The problem with everything a launch may change set back to "any" or its default: what the text
// bakes in and nothing else.
struct fj_problem fj_problem_baked(const struct fj_problem *problem);

#endif
