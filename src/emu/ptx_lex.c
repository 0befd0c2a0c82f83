#include "emu/ptx_lex.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct fj_ptx_arena {
    struct fj_ptx_arena *next;
    size_t used, cap;
    max_align_t data[];
};

void *fj_ptx_alloc(struct fj_ptx_parser *parser, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    struct fj_ptx_arena *arena = parser->arena;
    if (arena == NULL || arena->cap - arena->used < bytes) {
        size_t cap = bytes > (1u << 16) ? bytes : (1u << 16);
        arena = calloc(1, sizeof(*arena) + cap);
        if (arena == NULL) {
            fj_ptx_fail(parser, "out of memory");
            return NULL;
        }
        arena->cap = cap;
        arena->next = parser->arena;
        parser->arena = arena;
    }
    void *mem = (char *)arena->data + arena->used;
    arena->used += bytes;
    return mem;
}

void fj_ptx_arena_free(struct fj_ptx_arena *arena)
{
    while (arena != NULL) {
        struct fj_ptx_arena *next = arena->next;
        free(arena);
        arena = next;
    }
}

char *fj_ptx_copy(struct fj_ptx_parser *parser, const char *text, size_t len)
{
    char *copy = fj_ptx_alloc(parser, len + 1);
    if (copy != NULL)
        memcpy(copy, text, len);
    return copy;
}

void *fj_ptx_grow(struct fj_ptx_parser *parser, void *array, int count, int *cap, size_t size)
{
    if (count < *cap)
        return array;
    int wanted = *cap > 0 ? *cap * 2 : 16;
    void *grown = fj_ptx_alloc(parser, (size_t)wanted * size);
    if (grown == NULL)
        return NULL;
    if (count > 0)
        memcpy(grown, array, (size_t)count * size);
    *cap = wanted;
    return grown;
}

void fj_ptx_fail(struct fj_ptx_parser *parser, const char *fmt, ...)
{
    if (parser->failed)
        return;
    parser->failed = true;
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fj_err(FAJIT_E_COMPILE, "PTX line %d: %s", parser->tok.line, text);
    parser->tok.kind = FJ_PTX_END;
    parser->tok.len = 0;
    parser->pos = parser->end;
}

static bool word_char(int c)
{
    return isalnum(c) || c == '_' || c == '$' || c == '%' || c == '.';
}

// Skips blanks and comments. Stops behind "fj_watch" of a watch comment and returns true.
static bool skip_blanks(struct fj_ptx_parser *p)
{
    static const char watch[] = "fj_watch ";
    while (p->pos < p->end) {
        char c = *p->pos;
        if (c == '\n') {
            p->line++;
            p->pos++;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\0') {
            p->pos++;
        } else if (c == '/' && p->end - p->pos > 1 && p->pos[1] == '/') {
            p->pos += 2;
            while (p->pos < p->end && *p->pos == ' ')
                p->pos++;
            if ((size_t)(p->end - p->pos) >= sizeof(watch) &&
                memcmp(p->pos, watch, sizeof(watch) - 1) == 0) {
                p->pos += sizeof(watch) - 1;
                return true;
            }
            while (p->pos < p->end && *p->pos != '\n')
                p->pos++;
        } else if (c == '/' && p->end - p->pos > 1 && p->pos[1] == '*') {
            for (p->pos += 2; p->pos < p->end; p->pos++) {
                p->line += *p->pos == '\n';
                if (*p->pos == '*' && p->end - p->pos > 1 && p->pos[1] == '/')
                    break;
            }
            p->pos = p->end - p->pos > 2 ? p->pos + 2 : p->end;
        } else {
            break;
        }
    }
    return false;
}

static void take_hex_float(struct fj_ptx_parser *p, int digits)
{
    uint64_t value = 0;
    p->pos += 2;
    for (int i = 0; i < digits; i++, p->pos++) {
        if (p->pos >= p->end || !isxdigit((unsigned char)*p->pos)) {
            fj_ptx_fail(p, "a float literal needs %d hexadecimal digits", digits);
            return;
        }
        int c = tolower((unsigned char)*p->pos);
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    p->tok.number = digits == 8 ? FJ_PTX_OP_F32 : FJ_PTX_OP_F64;
    p->tok.value = value;
}

static void take_decimal_float(struct fj_ptx_parser *p)
{
    char text[64];
    size_t len = 0;
    while (p->pos < p->end && len < sizeof(text) - 1 &&
           (isalnum((unsigned char)*p->pos) || *p->pos == '.' ||
            ((*p->pos == '-' || *p->pos == '+') && len > 0 && (text[len - 1] | 32) == 'e')))
        text[len++] = *p->pos++;
    text[len] = '\0';
    double value = strtod(text, NULL);
    p->tok.number = FJ_PTX_OP_F64;
    memcpy(&p->tok.value, &value, sizeof(value));
}

static void take_integer(struct fj_ptx_parser *p)
{
    int base = 10;
    if (*p->pos == '0' && p->end - p->pos > 1) {
        int c = p->pos[1] | 32;
        base = c == 'x' ? 16 : c == 'b' ? 2 : isdigit((unsigned char)p->pos[1]) ? 8 : 10;
        p->pos += base == 16 || base == 2 ? 2 : 0;
    }
    uint64_t value = 0;
    for (; p->pos < p->end && isxdigit((unsigned char)*p->pos); p->pos++) {
        int c = tolower((unsigned char)*p->pos);
        int digit = c <= '9' ? c - '0' : c - 'a' + 10;
        if (digit >= base)
            break;
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    if (p->pos < p->end && *p->pos == 'U')
        p->pos++;
    p->tok.number = FJ_PTX_OP_INT;
    p->tok.value = value;
}

static void take_number(struct fj_ptx_parser *p)
{
    const char *start = p->pos;
    p->tok.kind = FJ_PTX_NUMBER;
    const char *scan = start;
    while (scan < p->end && isdigit((unsigned char)*scan))
        scan++;
    int second = p->end - start > 1 ? start[1] | 32 : 0;
    if (*start == '0' && second == 'f')
        take_hex_float(p, 8);
    else if (*start == '0' && second == 'd')
        take_hex_float(p, 16);
    else if (scan < p->end && (*scan == '.' || *scan == 'e'))
        take_decimal_float(p);
    else
        take_integer(p);
}

static void take_string(struct fj_ptx_parser *p)
{
    const char *start = ++p->pos;
    while (p->pos < p->end && *p->pos != '"' && *p->pos != '\n')
        p->pos += *p->pos == '\\' && p->end - p->pos > 1 ? 2 : 1;
    p->tok.kind = FJ_PTX_STRING;
    p->tok.text = start;
    p->tok.len = (size_t)(p->pos - start);
    if (p->pos >= p->end || *p->pos != '"')
        fj_ptx_fail(p, "a string is not closed");
    else
        p->pos++;
}

// "::" belongs to a word (shared::cta), a lone ':' ends a label.
static void take_word(struct fj_ptx_parser *p)
{
    const char *start = p->pos;
    while (p->pos < p->end) {
        if (word_char((unsigned char)*p->pos))
            p->pos++;
        else if (p->end - p->pos > 2 && p->pos[0] == ':' && p->pos[1] == ':')
            p->pos += 2;
        else
            break;
    }
    p->tok.kind = FJ_PTX_WORD;
    p->tok.len = (size_t)(p->pos - start);
}

void fj_ptx_next(struct fj_ptx_parser *p)
{
    if (p->failed)
        return;
    bool watch = skip_blanks(p);
    p->tok.line = p->line;
    p->tok.text = p->pos;
    p->tok.len = 0;
    if (p->pos >= p->end) {
        p->tok.kind = FJ_PTX_END;
    } else if (watch) {
        while (p->pos < p->end && *p->pos != '\n')
            p->pos++;
        p->tok.kind = FJ_PTX_WATCH;
        p->tok.len = (size_t)(p->pos - p->tok.text);
    } else if (isdigit((unsigned char)*p->pos)) {
        take_number(p);
        p->tok.len = (size_t)(p->pos - p->tok.text);
    } else if (*p->pos == '"') {
        take_string(p);
    } else if (word_char((unsigned char)*p->pos)) {
        take_word(p);
    } else {
        p->tok.kind = FJ_PTX_PUNCT;
        p->tok.len = 1;
        p->pos++;
    }
}

bool fj_ptx_is(const struct fj_ptx_parser *p, const char *text)
{
    return (p->tok.kind == FJ_PTX_WORD || p->tok.kind == FJ_PTX_PUNCT) &&
           strlen(text) == p->tok.len && memcmp(p->tok.text, text, p->tok.len) == 0;
}

bool fj_ptx_accept(struct fj_ptx_parser *p, const char *text)
{
    if (!fj_ptx_is(p, text))
        return false;
    fj_ptx_next(p);
    return true;
}

void fj_ptx_expect(struct fj_ptx_parser *p, const char *text)
{
    if (!fj_ptx_accept(p, text))
        fj_ptx_fail(p, "expected '%s', found '%.*s'", text,
                    (int)(p->tok.len < 40 ? p->tok.len : 40), p->tok.text);
}

char *fj_ptx_word(struct fj_ptx_parser *p)
{
    if (p->tok.kind != FJ_PTX_WORD) {
        fj_ptx_fail(p, "expected a name, found '%.*s'", (int)(p->tok.len < 40 ? p->tok.len : 40),
                    p->tok.text);
        return NULL;
    }
    char *copy = fj_ptx_copy(p, p->tok.text, p->tok.len);
    fj_ptx_next(p);
    return copy;
}

uint64_t fj_ptx_integer(struct fj_ptx_parser *p)
{
    bool negative = fj_ptx_accept(p, "-");
    if (p->tok.kind != FJ_PTX_NUMBER || p->tok.number != FJ_PTX_OP_INT) {
        fj_ptx_fail(p, "expected an integer, found '%.*s'",
                    (int)(p->tok.len < 40 ? p->tok.len : 40), p->tok.text);
        return 0;
    }
    uint64_t value = p->tok.value;
    fj_ptx_next(p);
    return negative ? 0 - value : value;
}

void fj_ptx_skip_braces(struct fj_ptx_parser *p)
{
    int depth = 0;
    do {
        depth += fj_ptx_is(p, "{");
        depth -= fj_ptx_is(p, "}");
        fj_ptx_next(p);
    } while (depth > 0 && p->tok.kind != FJ_PTX_END);
    if (depth > 0)
        fj_ptx_fail(p, "a '{' is not closed");
}
