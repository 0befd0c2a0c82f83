// What tuning results are filed under: a problem without its schedule, exact in everything a
// kernel's text depends on, and in buckets where only the sizes differ.
#ifndef FJ_AUTOTUNE_BUCKET_H
#define FJ_AUTOTUNE_BUCKET_H

#include "kernels/problem.h"

#define FJ_TUNE_TEXT_MAX 160
#define FJ_TUNE_SIZES 4

// Sizes in the order batch, heads, seq_q, seq_k, or batch, m, n, k; of a kernel that is not ours as
// its sizes= lists them. 0: any.
struct fj_tune_key {
    char problem[FJ_TUNE_TEXT_MAX]; // canonical text without family, variant, scale and knobs
    char exact[FJ_TUNE_TEXT_MAX];   // the same without sizes: "attn:bf16,d128,causal"
    int64_t sizes[FJ_TUNE_SIZES];
    int64_t group;       // query heads per KV head; 0: any, 1 for matmul
    uint32_t exact_hash; // of `exact`: most comparisons end here
};

int fj_tune_key_of(const struct fj_problem *problem, struct fj_tune_key *ret_key);

// From the text of `problem` above, by its words alone. False when it is not such a text.
bool fj_tune_key_parse(const char *text, size_t len, struct fj_tune_key *ret_key);

// The next power of two or midpoint between two (1 2 3 4 6 8 12 16 24 ..) that is not smaller.
int64_t fj_tune_bucket(int64_t size);

enum fj_tune_match {
    FJ_MATCH_EXACT,   // the same problem
    FJ_MATCH_BUCKET,  // every size in the same bucket
    FJ_MATCH_NEAREST, // every size within a factor of four
    FJ_MATCH_NONE,
};

// How well results of `have` serve `want`. `ret_distance`: sum of |log2| of the ratios of sizes.
enum fj_tune_match fj_tune_compare(const struct fj_tune_key *want, const struct fj_tune_key *have,
                                   double *ret_distance);

// The bucket as a text: the problem with its sizes rounded up.
void fj_tune_bucket_text(const struct fj_tune_key *key, struct fj_buf *ret_text);

#endif
