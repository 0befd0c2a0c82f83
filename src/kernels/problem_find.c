// Finding words in the table of problem texts, and explaining those that are not there.
#include <string.h>

#include "kernels/problem_words.h"
#include "kernels/words.h"

#define SPELLING_MAX 32 // longer than every word and knob with "=N"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Whether `word` is of this spelling, its number not yet looked at.
static bool word_matches(const struct fj_word *entry, struct fj_span word)
{
    size_t len = strlen(entry->text);
    if (word.len < len || memcmp(entry->text, word.at, len) != 0)
        return false;
    char next = word.len > len ? word.at[len] : '\0';
    switch (entry->kind) {
    case FJ_WORD_COUNT:
    case FJ_WORD_PAIR:
        return is_digit(next);
    case FJ_WORD_INT:
    case FJ_WORD_FLOAT:
        return next == '=';
    case FJ_WORD_LATER:
        return next == '=' || word.len == len;
    default:
        return word.len == len;
    }
}

const struct fj_word *fj_problem_word_find(unsigned ops, struct fj_span word)
{
    for (const struct fj_word *entry = fj_problem_words; entry->text; entry++) {
        if ((entry->ops & ops) && word_matches(entry, word))
            return entry;
    }
    return NULL;
}

size_t fj_span_key_len(struct fj_span word)
{
    const char *equals = memchr(word.at, '=', word.len);
    return equals ? (size_t)(equals - word.at) : word.len;
}

// Appends `, "text"` with the first comma left out.
static void list_spelling(struct fj_buf *list, const char *text)
{
    fj_buf_printf(list, "%s\"%s\"", list->len ? ", " : "", text);
}

// Words of the op whose part before '=' is the word's: what it may have meant to say.
static void list_same_key(unsigned ops, struct fj_span word, struct fj_buf *list)
{
    size_t len = fj_span_key_len(word);
    for (const struct fj_word *entry = fj_problem_words; entry->text; entry++) {
        struct fj_span spelling = {entry->text, strlen(entry->text)};
        if (!(entry->ops & ops) || fj_span_key_len(spelling) != len ||
            memcmp(entry->text, word.at, len) != 0)
            continue;
        switch (entry->kind) {
        case FJ_WORD_FLAG:
        case FJ_WORD_ALIAS:
            list_spelling(list, entry->text);
            break;
        case FJ_WORD_COUNT:
            fj_buf_printf(list, "a number, as in \"%s2\"", entry->text);
            break;
        case FJ_WORD_PAIR:
            fj_buf_printf(list, "a number or two, as in \"%s128\" or \"%s192/128\"", entry->text,
                          entry->text);
            break;
        case FJ_WORD_INT:
            fj_buf_printf(list, "a value, as in \"%s=16\"", entry->text);
            break;
        case FJ_WORD_FLOAT:
            fj_buf_printf(list, "a value, as in \"%s=0.125\"", entry->text);
            break;
        case FJ_WORD_LATER:
            break;
        }
    }
    if (fj_knob_find(word.at, len) != FJ_KNOB_COUNT)
        fj_buf_printf(list, "a value, as in \"%.*s=64\"", (int)len, word.at);
}

// Copies with every run of digits as one N, as words with numbers are spelled to people.
static size_t fold_digits(struct fj_span word, char *ret, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < word.len && n < size; i++) {
        if (!is_digit(word.at[i]))
            ret[n++] = word.at[i];
        else if (i == 0 || !is_digit(word.at[i - 1]))
            ret[n++] = 'N';
    }
    return n;
}

// Tries `name` followed by `rest` against a word with its digits folded.
static void try_numbered(struct fj_nearest *nearest, const char *name, const char *rest,
                         char ret_text[SPELLING_MAX])
{
    struct fj_nearest trial = *nearest;
    char text[SPELLING_MAX];
    size_t len = strlen(name), rest_len = strlen(rest);
    if (len + rest_len >= sizeof(text))
        return;
    memcpy(text, name, len);
    memcpy(text + len, rest, rest_len + 1);
    fj_nearest_try(&trial, text);
    if (trial.best == text) {
        memcpy(ret_text, text, len + rest_len + 1);
        nearest->best = ret_text;
        nearest->distance = trial.distance;
    }
}

// The op's word nearest to an unknown one. Words without numbers are compared as they are.
static const char *nearest_word(unsigned ops, struct fj_span word, char ret_text[SPELLING_MAX])
{
    char folded[FJ_QUOTE_MAX];
    size_t folded_len = fold_digits(word, folded, sizeof(folded));
    struct fj_nearest plain = fj_nearest_begin(word.at, word.len);
    struct fj_nearest numbered = fj_nearest_begin(folded, folded_len);
    for (const struct fj_word *entry = fj_problem_words; entry->text; entry++) {
        if (!(entry->ops & ops) || entry->kind == FJ_WORD_LATER)
            continue;
        if (entry->kind == FJ_WORD_FLAG || entry->kind == FJ_WORD_ALIAS)
            fj_nearest_try(&plain, entry->text);
        else if (entry->kind == FJ_WORD_COUNT || entry->kind == FJ_WORD_PAIR)
            try_numbered(&numbered, entry->text, "N", ret_text);
        else
            try_numbered(&numbered, entry->text, "=N", ret_text);
    }
    for (unsigned i = 0; i < FJ_KNOB_COUNT; i++)
        try_numbered(&numbered, fj_knob_name((enum fj_knob)i), "=N", ret_text);
    return numbered.best && numbered.distance < plain.distance ? numbered.best : plain.best;
}

int fj_problem_word_refuse(enum fajit_op op, int column, struct fj_span word)
{
    char quoted[FJ_QUOTE_MAX], spelling[SPELLING_MAX];
    const struct fj_word *foreign = fj_problem_word_find(FJ_WORD_BOTH, word);
    struct fj_buf wanted = {0};
    int r;
    fj_quote(word.at, word.len, quoted);
    list_same_key(1u << op, word, &wanted);
    if (wanted.len > 0 && !wanted.failed) {
        r = fj_err(FAJIT_E_INVAL,
                   "problem text: %s at column %d is incomplete or has a wrong value; allowed: %s",
                   quoted, column, wanted.data);
    } else if (foreign) {
        r = fj_err(FAJIT_E_INVAL,
                   "problem text: %s at column %d is a word of %s problems, not of %s problems; "
                   "take it out",
                   quoted, column, foreign->ops & FJ_WORD_ATTN ? "attn" : "gemm", fj_op_name(op));
    } else {
        r = fj_err(FAJIT_E_INVAL,
                   "problem text: unknown word %s at column %d; the nearest word of %s problems is "
                   "\"%s\"",
                   quoted, column, fj_op_name(op), nearest_word(1u << op, word, spelling));
    }
    fj_buf_free(&wanted);
    return r;
}
