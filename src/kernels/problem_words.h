// The vocabulary of problem texts as a table: one row per word, shared by reading and printing.
#ifndef FJ_KERNELS_PROBLEM_WORDS_H
#define FJ_KERNELS_PROBLEM_WORDS_H

#include "kernels/problem.h"

// What words set. 0 in a slot is what leaving its words out means.
enum fj_slot {
    FJ_SLOT_NONE,
    FJ_SLOT_DTYPE,
    FJ_SLOT_BATCH,
    FJ_SLOT_HEADS_Q, // the second number of a pair goes to the slot after the first
    FJ_SLOT_HEADS_KV,
    FJ_SLOT_SEQ_Q,
    FJ_SLOT_SEQ_K,
    FJ_SLOT_M,
    FJ_SLOT_N,
    FJ_SLOT_K,
    FJ_SLOT_HEAD_DIM,
    FJ_SLOT_HEAD_DIM_V,
    FJ_SLOT_LAYOUT,
    FJ_SLOT_TRANS,
    FJ_SLOT_CAUSAL,
    FJ_SLOT_SEQLENS,
    FJ_SLOT_LSE,
    FJ_SLOT_SCALE, // the value lies in fj_slots.scale
    FJ_SLOT_OUT,
    FJ_SLOT_MATH,
    FJ_SLOT_BIAS,
    FJ_SLOT_BETA,
    FJ_SLOT_ACT,
    FJ_SLOT_FAMILY,
    FJ_SLOT_VARIANT,
    FJ_SLOT_ALIGN,
    FJ_SLOT_COUNT
};

enum { FJ_TRANS_B = 1, FJ_TRANS_A = 2 };
enum { FJ_SEQLENS_Q = 1, FJ_SEQLENS_K = 2 };

struct fj_slots {
    int64_t v[FJ_SLOT_COUNT];
    float scale;
};

enum fj_word_kind {
    FJ_WORD_FLAG,
    FJ_WORD_ALIAS,
    FJ_WORD_COUNT,
    FJ_WORD_PAIR,
    FJ_WORD_INT,
    FJ_WORD_FLOAT,
    FJ_WORD_LATER
};

enum {
    FJ_WORD_ATTN = 1 << FAJIT_OP_ATTN_FWD,
    FJ_WORD_GEMM = 1 << FAJIT_OP_GEMM,
    FJ_WORD_BOTH = FJ_WORD_ATTN | FJ_WORD_GEMM
};

struct fj_word {
    const char *text;
    unsigned ops;
    enum fj_word_kind kind;
    enum fj_slot slot;
    int64_t value;
    const char *doc;
};

// In canonical order; ends at an entry without text.
extern const struct fj_word fj_problem_words[];

// A word inside a text.
struct fj_span {
    const char *at;
    size_t len;
};

size_t fj_span_key_len(struct fj_span word); // the part before '=', or all of it

// The entry of any of the ops (a mask) that the word is a spelling of, its number not yet looked
// at; NULL when there is none. Knobs are not in the table.
const struct fj_word *fj_problem_word_find(unsigned ops, struct fj_span word);

// FAJIT_E_INVAL for a word that is neither in the op's table nor a knob with a value: says what is
// wrong with it, or which word is nearest.
int fj_problem_word_refuse(enum fajit_op op, int column, struct fj_span word);

#define FJ_SIZE_MAX INT64_C(0x7fffffff) // of any dimension of a problem
#define FJ_ALIGN_MAX 256                // what device allocations are aligned to

// What leaving `scale` or `align` out means. The default promise of a matmul is what compact rows
// of the sizes given keep, at most 16.
float fj_attn_default_scale(int head_dim);
int fj_align_default(const struct fj_problem *problem);

const char *fj_op_name(enum fajit_op op); // "attn"; NULL when out of range

#endif
