#include "codegen/names.h"

#include <stdlib.h>
#include <string.h>

// --- Tokens ---

static bool equals(struct fj_str text, const char *word)
{
    return (size_t)text.n == strlen(word) && !memcmp(text.p, word, (size_t)text.n);
}

static bool is_identifier(struct fj_str token)
{
    return token.n && fj_is_name_char(token.p[0]) && !(token.p[0] >= '0' && token.p[0] <= '9');
}

static const char *skip_quoted(const char *p, const char *end)
{
    char quote = *p++;
    while (p < end && *p != quote)
        p += *p == '\\' && p + 1 < end ? 2 : 1;
    return p < end ? p + 1 : end;
}

// Behind the comment that begins at `p`; `p` when none does.
static const char *skip_comment(const char *p, const char *end)
{
    if (end - p < 2 || p[0] != '/')
        return p;
    if (p[1] == '/')
        return end;
    const char *stop = p[1] == '*' ? memmem(p + 2, (size_t)(end - p - 2), "*/", 2) : p;
    return stop == p ? p : stop ? stop + 2 : end;
}

// A name or number, a quoted string, or one character; empty at the end. Comments are no tokens.
static struct fj_str next_token(struct fj_str *rest)
{
    const char *p = rest->p, *end = p + rest->n, *start;
    do {
        start = p;
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        p = skip_comment(p, end);
    } while (p > start);
    if (p < end && fj_is_name_char(*p)) {
        bool number = *p <= '9'; // 1'000 is one token: the quote opens nothing
        while (p < end && (fj_is_name_char(*p) || (number && *p == '\'')))
            p++;
    } else if (p < end) {
        p = *p == '"' || *p == '\'' ? skip_quoted(p, end) : p + 1;
    }
    *rest = (struct fj_str){p, (int)(end - p)};
    return (struct fj_str){start, (int)(p - start)};
}

// Skips what stands between a bracket and its partner, the opening one being read already.
static void skip_brackets(struct fj_str *rest, char open, char close)
{
    for (int depth = 1; depth > 0;) {
        struct fj_str token = next_token(rest);
        if (!token.n)
            return;
        depth += (token.p[0] == open) - (token.p[0] == close);
    }
}

// --- Numbers of names ---

static int *slot_of(const struct fj_names *names, struct fj_str name)
{
    const struct fj_str *strings = (const struct fj_str *)names->strings.data;
    uint32_t hash = 2166136261u; // FNV-1a
    for (int i = 0; i < name.n; i++)
        hash = (hash ^ (uint8_t)name.p[i]) * 16777619u;
    int slot = (int)(hash & (uint32_t)(names->size - 1));
    while (names->table[slot] >= 0 && !fj_str_equal(strings[names->table[slot]], name))
        slot = (slot + 1) & (names->size - 1);
    return &names->table[slot];
}

static bool grow(struct fj_names *names)
{
    int size = names->size ? 2 * names->size : 1024;
    int *table = malloc((size_t)size * sizeof(*table));
    if (!table)
        return false;
    memset(table, -1, (size_t)size * sizeof(*table));
    free(names->table);
    names->table = table;
    names->size = size;
    const struct fj_str *strings = (const struct fj_str *)names->strings.data;
    for (int i = 0; i < fj_names_count(names); i++)
        *slot_of(names, strings[i]) = i;
    return true;
}

// -1 when memory runs out.
static int number_of(struct fj_names *names, struct fj_str name)
{
    if (2 * fj_names_count(names) >= names->size && !grow(names))
        return -1;
    int *slot = slot_of(names, name);
    if (*slot < 0) {
        *slot = fj_names_count(names);
        fj_buf_append(&names->strings, &name, sizeof(name));
    }
    return names->strings.failed ? -1 : *slot;
}

// --- Declarations ---

static const struct fj_str nothing = {"", 0};

// struct, union: the name behind the alignment.
static struct fj_str name_of_struct(struct fj_str rest)
{
    struct fj_str token = next_token(&rest);
    if (equals(token, "alignas") || equals(token, "__align__")) {
        next_token(&rest);
        skip_brackets(&rest, '(', ')');
        token = next_token(&rest);
    }
    return token;
}

// using NAME =
static struct fj_str name_of_alias(struct fj_str rest)
{
    struct fj_str name = next_token(&rest);
    return equals(next_token(&rest), "=") ? name : nothing;
}

// A function of the device or a constant: the name before the first bracket or equals sign.
static struct fj_str name_of_value(struct fj_str rest)
{
    bool device = false, constant = false;
    for (struct fj_str last = nothing, token; (token = next_token(&rest)).n; last = token) {
        device |= equals(token, "__device__");
        constant |= equals(token, "constexpr");
        if (!strchr("(=[{;", token.p[0]))
            continue;
        // A variable of the device may be looked up by its name; __attribute__(..) is none.
        bool wanted = token.p[0] == '(' ? device || constant : constant && !device;
        return wanted && (last.n < 2 || memcmp(last.p, "__", 2) != 0) ? last : nothing;
    }
    return nothing;
}

static bool is_for_good(struct fj_str line)
{
    static const char *const words[] = {"extern",       "operator", "__global__", "__shared__",
                                        "__constant__", "friend",   "decltype",   "static_assert"};
    for (struct fj_str token; (token = next_token(&line)).n;)
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            if (equals(token, words[i]))
                return true;
    return false;
}

static struct fj_str declared_by(struct fj_str line)
{
    struct fj_str rest = line, token = next_token(&rest);
    if (equals(token, "#"))
        return equals(next_token(&rest), "define") ? next_token(&rest) : nothing;
    if (equals(token, "template")) {
        next_token(&rest);
        skip_brackets(&rest, '<', '>');
        line = rest;
        token = next_token(&rest);
    }
    if (equals(token, "using"))
        return name_of_alias(rest);
    if (equals(token, "struct") || equals(token, "union"))
        return name_of_struct(rest);
    return name_of_value(line);
}

// --- Lines ---

// Whether what a hole makes of the text is a name that cannot be foreseen.
static bool is_open_hole(const struct fj_symbols *symbols, struct fj_str line, const char *hole)
{
    struct fj_str name = {hole + 1, 0};
    while (name.p + name.n < line.p + line.n && fj_is_name_char(name.p[name.n]))
        name.n++;
    int symbol = fj_symbols_find(symbols, name);
    return (hole > line.p && fj_is_name_char(hole[-1])) ||
           (symbol >= 0 && fj_symbols_at(symbols, symbol)->kind == FJ_SYMBOL_SWITCH_WORD);
}

// Holes, pasted names, raw strings, and conditions of the preprocessor.
static bool is_opaque(const struct fj_symbols *symbols, struct fj_str line, struct fj_str token,
                      struct fj_str rest)
{
    if (token.p[0] == '$')
        return is_open_hole(symbols, line, token.p);
    if (token.p[0] == '"')
        return token.p > line.p && token.p[-1] == 'R';
    if (token.p[0] != '#')
        return false;
    struct fj_str next = next_token(&rest);
    return !equals(next, "define") && !equals(next, "pragma");
}

bool fj_names_read(struct fj_names *names, const struct fj_symbols *symbols, struct fj_str line,
                   struct fj_line_names *ret_line)
{
    struct fj_line_names read = {.first = (int)(names->used.len / sizeof(int)),
                                 .declares = FJ_DECLARES_NOTHING,
                                 .begin = line.n ? line.p[0] : '\0'};
    struct fj_str rest = line;
    for (struct fj_str token; (token = next_token(&rest)).n;) {
        char c = token.p[0];
        read.end = token.p[token.n - 1];
        read.depth += (c == '{' || c == '(') - (c == '}' || c == ')');
        read.opaque |= is_opaque(symbols, line, token, rest);
        if (!is_identifier(token))
            continue;
        int number = number_of(names, token);
        fj_buf_append(&names->used, &number, sizeof(number));
        if (number < 0)
            return false;
    }
    read.count = (int)(names->used.len / sizeof(int)) - read.first;
    // Declarations begin in the first column.
    bool declares = read.end && read.begin != ' ' && read.begin != '\t';
    struct fj_str declared = declares ? declared_by(line) : nothing;
    if (declares && is_for_good(line))
        read.declares = FJ_DECLARES_FOR_GOOD;
    else if (is_identifier(declared))
        read.declares = number_of(names, declared);
    *ret_line = read;
    return !names->used.failed && !names->strings.failed;
}

void fj_names_free(struct fj_names *names)
{
    fj_buf_free(&names->strings);
    fj_buf_free(&names->used);
    free(names->table);
}
