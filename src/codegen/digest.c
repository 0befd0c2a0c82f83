// What of a template's text decides the kernel: its tokens, without comments, blanks and layout.
#include <string.h>

#include "base/hash.h"
#include "base/thread.h"
#include "codegen/program.h"
#include "codegen/scan.h"

// Operators of several characters are one token, so that blanks around them do not count.
static const char *const long_operators[] = {
    "<<=", ">>=", "...", "->*", "<=>", "++", "--", "<<", ">>", "<=", ">=", "==", "!=",
    "&&",  "||",  "+=",  "-=",  "*=",  "/=", "%=", "&=", "|=", "^=", "->", "::", "##",
};

static int operator_len(struct fj_str text, int pos)
{
    for (size_t i = 0; i < sizeof(long_operators) / sizeof(long_operators[0]); i++) {
        int len = (int)strlen(long_operators[i]);
        if (pos + len <= text.n && !memcmp(text.p + pos, long_operators[i], (size_t)len))
            return len;
    }
    return 1;
}

// End of the string, character constant or comment that starts at `pos`.
static int region_end(struct fj_str text, int pos, enum fj_scan_state *ret_state)
{
    struct fj_scan scan = {0};
    struct fj_str rest = {text.p + pos, text.n - pos};
    int i = 0;
    fj_scan_step(&scan, rest, i);
    *ret_state = scan.state;
    while (++i < rest.n) {
        if (scan.closed)
            break;
        fj_scan_step(&scan, rest, i);
    }
    return pos + i;
}

static void hash_token(struct fj_hash *hash, struct fj_str text, int start, int end)
{
    fj_hash_field(hash, "", text.p + start, (size_t)(end - start));
}

static void hash_tokens(struct fj_hash *hash, struct fj_str text)
{
    for (int i = 0; i < text.n;) {
        int start = i;
        enum fj_scan_state state = FJ_SCAN_CODE;
        if (text.p[i] == ' ' || text.p[i] == '\t') {
            i++;
            continue;
        }
        if (fj_is_name_char(text.p[i])) {
            while (i < text.n && fj_is_name_char(text.p[i]))
                i++;
        } else if (strchr("\"'/", text.p[i])) {
            i = region_end(text, i, &state);
            if (state == FJ_SCAN_COMMENT || state == FJ_SCAN_BLOCK)
                continue;
            if (state == FJ_SCAN_CODE) // a division
                i = start + operator_len(text, start);
        } else {
            i += operator_len(text, i);
        }
        hash_token(hash, text, start, i);
    }
}

static void hash_symbol(struct fj_hash *hash, const struct fj_symbol *symbol)
{
    uint8_t kind = (uint8_t)symbol->kind;
    fj_hash_field(hash, "symbol", &kind, 1);
    fj_hash_field(hash, "name", symbol->name.p, (size_t)symbol->name.n);
    fj_hash_field(hash, "words", symbol->words.n ? symbol->words.p : "", (size_t)symbol->words.n);
}

static void hash_unit(struct fj_hash *hash, const struct fj_template *tmpl, int index,
                      bool *pasted);

static void hash_op(struct fj_hash *hash, const struct fj_template *tmpl, const struct fj_op *op,
                    bool *pasted)
{
    static const char *const tags[] = {
        [FJ_OP_REQUIRE] = "require", [FJ_OP_IF] = "if",     [FJ_OP_FOR] = "for",
        [FJ_OP_NEXT] = "next",       [FJ_OP_JUMP] = "jump", [FJ_OP_PRELUDE] = "prelude",
        [FJ_OP_END] = "end",
    };
    switch (op->kind) {
    case FJ_OP_TEXT:
        hash_tokens(hash, op->text);
        return;
    case FJ_OP_INCLUDE:
        hash_unit(hash, tmpl, op->unit, pasted);
        return;
    case FJ_OP_WATCH: // leaves no trace in a kernel that is timed
        return;
    case FJ_OP_DECLARE:
    case FJ_OP_LET:
        hash_symbol(hash, fj_symbols_at(&tmpl->symbols, op->symbol));
        break;
    default:
        fj_hash_field(hash, "op", tags[op->kind], strlen(tags[op->kind]));
        if (op->kind == FJ_OP_FOR)
            hash_symbol(hash, fj_symbols_at(&tmpl->symbols, op->symbol));
        break;
    }
    hash_tokens(hash, op->text);
}

static void hash_unit(struct fj_hash *hash, const struct fj_template *tmpl, int index, bool *pasted)
{
    if (pasted[index])
        return;
    pasted[index] = true;
    const struct fj_unit *unit = &tmpl->units[index];
    for (int i = 0; i < fj_unit_op_count(unit); i++)
        hash_op(hash, tmpl, fj_unit_op(unit, i), pasted);
}

static bool compute(const struct fj_template *tmpl, char ret_hex[65])
{
    bool pasted[FJ_UNITS_MAX] = {false};
    struct fj_hash *hash = fj_hash_begin();
    if (!hash)
        return false;
    hash_unit(hash, tmpl, 0, pasted);
    struct fj_key key = fj_hash_end(hash);
    fj_key_hex(&key, ret_hex);
    return true;
}

// A parsed template never changes: its digest is computed once.
int fj_template_digest(const struct fj_template *tmpl, struct fj_buf *ret_hex)
{
    static fj_mutex lock = FJ_MUTEX_INIT; // of every template's `digest`
    struct fj_template *own = (struct fj_template *)tmpl;
    pthread_mutex_lock(&lock);
    bool known = *own->digest || compute(tmpl, own->digest);
    if (known)
        fj_buf_puts(ret_hex, own->digest);
    pthread_mutex_unlock(&lock);
    return known && !ret_hex->failed
               ? FAJIT_OK
               : fj_err(FAJIT_E_NOMEM, "out of memory while hashing a template");
}
