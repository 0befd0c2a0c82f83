#include "pairwise.h"

#include <stdbool.h>
#include <string.h>

#define VALUES_MAX 32
#define TRIES 40 // candidates per row; the one that covers most new pairs is kept

struct coverage {
    bool seen[PAIRWISE_AXES_MAX][VALUES_MAX][PAIRWISE_AXES_MAX][VALUES_MAX];
};

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u; // Knuth's MMIX constants
    return *state >> 33;
}

static int new_pairs(const struct coverage *c, const int *row, int axes)
{
    int count = 0;
    for (int a = 0; a < axes; a++)
        for (int b = a + 1; b < axes; b++)
            count += !c->seen[a][row[a]][b][row[b]];
    return count;
}

static void cover(struct coverage *c, const int *row, int axes)
{
    for (int a = 0; a < axes; a++)
        for (int b = a + 1; b < axes; b++)
            c->seen[a][row[a]][b][row[b]] = true;
}

// The first uncovered pair fixes two axes of every candidate, so that each row makes progress.
static bool first_uncovered(const struct coverage *c, const int *counts, int axes, int *ret)
{
    for (int a = 0; a < axes; a++)
        for (int b = a + 1; b < axes; b++)
            for (int i = 0; i < counts[a]; i++)
                for (int j = 0; j < counts[b]; j++)
                    if (!c->seen[a][i][b][j]) {
                        memcpy(ret, (int[]){a, i, b, j}, 4 * sizeof(int));
                        return true;
                    }
    return false;
}

// A caller that takes the first few rows gets a mixture.
static void shuffle(int (*rows)[PAIRWISE_AXES_MAX], int count, uint64_t *seed)
{
    int row[PAIRWISE_AXES_MAX];
    for (int i = count - 1; i > 0; i--) {
        int j = (int)(next(seed) % (uint64_t)(i + 1));
        memcpy(row, rows[i], sizeof(row));
        memcpy(rows[i], rows[j], sizeof(row));
        memcpy(rows[j], row, sizeof(row));
    }
}

int pairwise(const int *counts, int axes, uint64_t seed, int (*ret_rows)[PAIRWISE_AXES_MAX],
             int max_rows)
{
    static struct coverage c;
    int rows = 0, pair[4];
    memset(&c, 0, sizeof(c));
    while (rows < max_rows && first_uncovered(&c, counts, axes, pair)) {
        int best = -1;
        for (int attempt = 0; attempt < TRIES; attempt++) {
            int row[PAIRWISE_AXES_MAX] = {0};
            for (int a = 0; a < axes; a++)
                row[a] = (int)(next(&seed) % (uint64_t)counts[a]);
            row[pair[0]] = pair[1];
            row[pair[2]] = pair[3];
            int gain = new_pairs(&c, row, axes);
            if (gain > best) {
                best = gain;
                memcpy(ret_rows[rows], row, sizeof(row));
            }
        }
        cover(&c, ret_rows[rows++], axes);
    }
    shuffle(ret_rows, rows, &seed);
    return rows;
}
