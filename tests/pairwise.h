// Pairwise samples: few rows that still hold every pair of values of any two axes.
#ifndef TESTS_PAIRWISE_H
#define TESTS_PAIRWISE_H

#include <stdint.h>

#define PAIRWISE_AXES_MAX 12

// Fills rows[i][axis] with value indices. Every pair of values appears in at least one row, or the
// sample ends at max_rows. Returns the number of rows; the same seed gives the same rows.
int pairwise(const int *counts, int axes, uint64_t seed, int (*ret_rows)[PAIRWISE_AXES_MAX],
             int max_rows);

#endif
