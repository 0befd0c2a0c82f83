// An ordered list of name=value pairs: what a template is rendered with.
#ifndef FJ_CODEGEN_PARAMS_H
#define FJ_CODEGEN_PARAMS_H

#include "base/buf.h"

#define FJ_PARAMS_MAX 64
#define FJ_PARAM_WORD_MAX 160

struct fj_param {
    const char *name; // static or outlives the list
    bool is_word;
    int64_t value;                // when not a word
    char word[FJ_PARAM_WORD_MAX]; // when a word: "bf16", or a kernel symbol
};

struct fj_params {
    int count;
    bool overflow;
    struct fj_param items[FJ_PARAMS_MAX];
};

void fj_params_int(struct fj_params *params, const char *name, int64_t value);
void fj_params_word(struct fj_params *params, const char *name, const char *word);

#endif
