#include "codegen/symbols.h"

#include <stdio.h>
#include <string.h>

bool fj_str_equal(struct fj_str a, struct fj_str b)
{
    return a.n == b.n && (a.n == 0 || !memcmp(a.p, b.p, (size_t)a.n));
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct fj_str fj_str_trim(struct fj_str text)
{
    while (text.n && is_blank(text.p[0])) {
        text.p++;
        text.n--;
    }
    while (text.n && is_blank(text.p[text.n - 1]))
        text.n--;
    return text;
}

struct fj_str fj_str_token(struct fj_str *rest)
{
    struct fj_str text = fj_str_trim(*rest);
    struct fj_str token = {text.p, 0};
    while (token.n < text.n && !is_blank(text.p[token.n]))
        token.n++;
    *rest = fj_str_trim((struct fj_str){text.p + token.n, text.n - token.n});
    return token;
}

bool fj_str_word(struct fj_str *rest, struct fj_str *ret_word)
{
    if (rest->n <= 0)
        return false;
    struct fj_str word = {rest->p, 0};
    while (word.n < rest->n && word.p[word.n] != '|')
        word.n++;
    *rest = (struct fj_str){rest->p + word.n + 1, rest->n - word.n - 1};
    *ret_word = word;
    return true;
}

bool fj_str_is_name(struct fj_str text)
{
    if (!text.n || (text.p[0] >= '0' && text.p[0] <= '9'))
        return false;
    for (int i = 0; i < text.n; i++) {
        if (!fj_is_name_char(text.p[i]))
            return false;
    }
    return true;
}

int fj_symbols_find(const struct fj_symbols *symbols, struct fj_str name)
{
    for (int i = 0; i < fj_symbols_count(symbols); i++) {
        if (fj_str_equal(fj_symbols_at(symbols, i)->name, name))
            return i;
    }
    return -1;
}

bool fj_symbol_is_param(const struct fj_symbol *symbol)
{
    return symbol->kind != FJ_SYMBOL_LET && symbol->kind != FJ_SYMBOL_LOOP;
}

bool fj_symbol_is_int(const struct fj_symbol *symbol)
{
    return symbol->kind == FJ_SYMBOL_CONST || symbol->kind == FJ_SYMBOL_SWITCH_BOOL ||
           symbol->kind == FJ_SYMBOL_SWITCH_INT;
}

bool fj_symbol_has_word(const struct fj_symbol *symbol, struct fj_str word)
{
    struct fj_str rest = symbol->words, known;
    while (fj_str_word(&rest, &known)) {
        if (fj_str_equal(known, word))
            return true;
    }
    return false;
}

// --- The nearest name, for error messages ---

#define NEAREST_MAX 40 // longer names get no hint

// Levenshtein distance: the number of letters to insert, delete or change.
static int distance(struct fj_str a, struct fj_str b)
{
    int row[NEAREST_MAX + 1];
    for (int j = 0; j <= b.n; j++)
        row[j] = j;
    for (int i = 1; i <= a.n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= b.n; j++) {
            int change = diagonal + (a.p[i - 1] != b.p[j - 1]);
            int other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < other ? change : other;
        }
    }
    return row[b.n];
}

void fj_nearest_offer(struct fj_nearest *nearest, struct fj_str candidate)
{
    if (nearest->word.n > NEAREST_MAX || candidate.n > NEAREST_MAX || !candidate.n)
        return;
    int d = distance(nearest->word, candidate);
    if (d > 1 + nearest->word.n / 4 || (nearest->best.n && d >= nearest->distance))
        return;
    nearest->best = candidate;
    nearest->distance = d;
}

const char *fj_nearest_hint(const struct fj_nearest *nearest, char ret[96])
{
    ret[0] = '\0';
    if (nearest->best.n)
        snprintf(ret, 96, " (did you mean %.*s?)", nearest->best.n, nearest->best.p);
    return ret;
}

const char *fj_symbols_hint(const struct fj_symbols *symbols, struct fj_str name, char ret[96])
{
    struct fj_nearest nearest = {.word = name};
    for (int i = 0; i < fj_symbols_count(symbols); i++)
        fj_nearest_offer(&nearest, fj_symbols_at(symbols, i)->name);
    return fj_nearest_hint(&nearest, ret);
}
