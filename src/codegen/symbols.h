// The names a template may use: parameters, lets and loop variables, and their values.
#ifndef FJ_CODEGEN_SYMBOLS_H
#define FJ_CODEGEN_SYMBOLS_H

#include "base/buf.h"

enum fj_symbol_kind {
    FJ_SYMBOL_CONST,       // integer parameter, kept by name in the text
    FJ_SYMBOL_SWITCH_WORD, // parameter out of a list of words
    FJ_SYMBOL_SWITCH_BOOL, // parameter, 0 or 1
    FJ_SYMBOL_SWITCH_INT,  // integer parameter without a name in the text
    FJ_SYMBOL_SYMBOL,      // kernel_name: a parameter that every template has
    FJ_SYMBOL_LET,
    FJ_SYMBOL_LOOP,
};

// A piece of somebody else's text.
struct fj_str {
    const char *p;
    int n;
};

struct fj_symbol {
    enum fj_symbol_kind kind;
    struct fj_str name;  // "block_m"
    struct fj_str doc;   // rest of the line
    struct fj_str words; // "f16|bf16"
    char text[64];       // `name`, NUL-terminated
    char constant[64];   // "kBlockM", for FJ_SYMBOL_CONST
    bool computed;       // a constant that //@let gives its value
};

struct fj_symbols {
    struct fj_buf items; // of struct fj_symbol
};

struct fj_value {
    bool set, is_word;
    int64_t value;
    struct fj_str word;
};

static inline int fj_symbols_count(const struct fj_symbols *symbols)
{
    return (int)(symbols->items.len / sizeof(struct fj_symbol));
}

static inline const struct fj_symbol *fj_symbols_at(const struct fj_symbols *symbols, int index)
{
    return (const struct fj_symbol *)symbols->items.data + index;
}

static inline bool fj_is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool fj_str_equal(struct fj_str a, struct fj_str b);
struct fj_str fj_str_trim(struct fj_str text); // blanks at both ends
// Cuts the next blank-separated token off the front of `rest`; empty at the end.
struct fj_str fj_str_token(struct fj_str *rest);
// Cuts the next '|'-separated word off the front of `rest`; false at the end.
bool fj_str_word(struct fj_str *rest, struct fj_str *ret_word);
bool fj_str_is_name(struct fj_str text); // a C identifier

int fj_symbols_find(const struct fj_symbols *symbols, struct fj_str name); // -1: unknown
bool fj_symbol_is_param(const struct fj_symbol *symbol);
bool fj_symbol_is_int(const struct fj_symbol *symbol); // a parameter that is a number
bool fj_symbol_has_word(const struct fj_symbol *symbol, struct fj_str word);

// " (did you mean x?)" into `ret` for the candidate nearest to `word`, or "".
struct fj_nearest {
    struct fj_str word, best;
    int distance;
};
void fj_nearest_offer(struct fj_nearest *nearest, struct fj_str candidate);
const char *fj_nearest_hint(const struct fj_nearest *nearest, char ret[96]);
const char *fj_symbols_hint(const struct fj_symbols *symbols, struct fj_str name, char ret[96]);

#endif
