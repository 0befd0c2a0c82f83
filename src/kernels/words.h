// Small words of text: numbers, quoting for messages, and the nearest of several spellings.
#ifndef FJ_KERNELS_WORDS_H
#define FJ_KERNELS_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// All `len` bytes are decimal digits and 1 <= value <= max.
bool fj_parse_count(const char *text, size_t len, int64_t max, int64_t *ret_value);

// All `len` bytes are one finite decimal number ("0.125", "-2", "1e-3"), whatever the locale.
bool fj_parse_float(const char *text, size_t len, float *ret_value);

// Shortest decimal text that fj_parse_float reads back as `value`, which must be finite.
#define FJ_FLOAT_TEXT_MAX 24
const char *fj_format_float(float value, char ret_text[FJ_FLOAT_TEXT_MAX]);

// A word in quotes, cut when long, with a '?' for what is not printable ASCII.
#define FJ_QUOTE_MAX 48
const char *fj_quote(const char *word, size_t len, char ret_text[FJ_QUOTE_MAX]);

// Keeps the best of the spellings tried: fewest single-character insertions, deletions,
// replacements and swaps of neighbours; the first of equals.
struct fj_nearest {
    const char *word; // not NUL-terminated
    size_t len;
    int distance;     // of `best`
    const char *best; // NULL until the first try
};

struct fj_nearest fj_nearest_begin(const char *word, size_t len);
void fj_nearest_try(struct fj_nearest *nearest, const char *spelling);

#endif
