#include "codegen/output.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS 100

static void put_line(struct fj_output *output, struct fj_str text, struct fj_line from)
{
    fj_buf_append(&output->text, text.p, (size_t)text.n);
    fj_buf_append(&output->text, "\n", 1);
    fj_buf_append(&output->lines, &from, sizeof(from));
}

void fj_output_line(struct fj_output *output, struct fj_str text, struct fj_line from)
{
    struct fj_str content = fj_str_trim(text);
    if (!content.n) {
        output->gap = true;
        return;
    }
    if (output->gap && output->text.len && !output->opened && content.p[0] != '}')
        put_line(output, (struct fj_str){"", 0}, (struct fj_line){from.file, from.line});
    output->gap = false;
    put_line(output, (struct fj_str){text.p, (int)(content.p + content.n - text.p)}, from);
    output->opened = content.p[content.n - 1] == '{';
}

void fj_output_comment(struct fj_output *output, struct fj_str text, struct fj_line from)
{
    struct fj_str empty = {"//", 2};
    if (fj_str_equal(fj_str_trim(text), empty)) {
        output->pause = true;
        return;
    }
    if (output->pause && output->text.len)
        fj_output_line(output, empty, (struct fj_line){from.file, from.line});
    output->pause = false;
    fj_output_line(output, text, from);
}

void fj_output_gap(struct fj_output *output)
{
    output->gap = true;
}

void fj_output_lines(struct fj_output *output, const char *text)
{
    while (*text) {
        int len = (int)strcspn(text, "\n");
        fj_output_line(output, (struct fj_str){text, len}, (struct fj_line){0});
        text += len + (text[len] == '\n');
    }
}

void fj_output_join(struct fj_output *output, const struct fj_output *more)
{
    if (!more->text.len)
        return;
    if (output->gap && output->text.len)
        put_line(output, (struct fj_str){"", 0}, (struct fj_line){0});
    output->gap = false;
    output->opened = more->opened;
    fj_buf_append(&output->text, more->text.data, more->text.len);
    fj_buf_append(&output->lines, more->lines.data, more->lines.len);
    if (more->text.failed || more->lines.failed)
        output->text.failed = true;
}

void fj_output_free(struct fj_output *output)
{
    fj_buf_free(&output->text);
    fj_buf_free(&output->lines);
}

// --- Constants ---

static void mark_used(const struct fj_output_constant *constants, int count, const char *name,
                      int len, bool *used)
{
    for (int i = 0; i < count; i++) {
        if (!used[i] && !strncmp(constants[i].name, name, (size_t)len) && !constants[i].name[len])
            used[i] = true;
    }
}

// Whole words that start with k are looked up; one pass over the text.
static void find_used(const struct fj_output_constant *constants, int count,
                      const struct fj_output *body, bool *used)
{
    const char *text = body->text.data, *p = text, *end = text + body->text.len;
    while ((p = memchr(p, 'k', (size_t)(end - p)))) {
        const char *start = p;
        while (p < end && fj_is_name_char(*p))
            p++;
        if (start == text || !fj_is_name_char(start[-1]))
            mark_used(constants, count, start, (int)(p - start), used);
    }
}

// The doc, broken at blanks, each further line below the first.
static void put_constant(struct fj_output *output, struct fj_str code, int column,
                         struct fj_str doc)
{
    struct fj_buf line = {0};
    fj_buf_append(&line, code.p, (size_t)code.n);
    while (doc.n) {
        struct fj_str token;
        fj_buf_printf(&line, "%*s//", column - (int)line.len, "");
        do {
            token = fj_str_token(&doc);
            fj_buf_printf(&line, " %.*s", token.n, token.p);
            token.n = (int)strcspn(doc.p, " \t\n");
        } while (doc.n && (int)line.len + 1 + token.n <= COLUMNS);
        fj_output_line(output, (struct fj_str){line.data, (int)line.len}, (struct fj_line){0});
        fj_buf_clear(&line);
    }
    if (line.len)
        fj_output_line(output, (struct fj_str){line.data, (int)line.len}, (struct fj_line){0});
    if (line.failed)
        output->text.failed = true;
    fj_buf_free(&line);
}

void fj_output_constants(struct fj_output *output, const struct fj_output_constant *constants,
                         int count, const struct fj_output *body)
{
    struct fj_buf code = {0};
    bool *used = calloc((size_t)count + 1, sizeof(*used));
    int *starts = calloc((size_t)count + 1, sizeof(*starts));
    if (!used || !starts) {
        output->text.failed = true;
        goto done;
    }
    if (body->text.len)
        find_used(constants, count, body, used);
    int column = 0;
    for (int i = 0; i < count; i++) {
        starts[i] = (int)code.len;
        if (!used[i])
            continue;
        int64_t value = constants[i].value;
        bool fits = value > INT32_MIN && value <= INT32_MAX;
        fj_buf_printf(&code, "constexpr %s %s = %lld;", fits ? "int" : "long long",
                      constants[i].name, (long long)value);
        int width = (int)code.len - starts[i] + 1;
        column = width > column ? width : column;
    }
    starts[count] = (int)code.len;
    for (int i = 0; i < count && !code.failed; i++) {
        if (!used[i])
            continue;
        struct fj_str text = {code.data + starts[i], starts[i + 1] - starts[i]};
        put_constant(output, text, column, constants[i].doc);
    }
    if (code.failed)
        output->text.failed = true;
done:
    fj_buf_free(&code);
    free(used);
    free(starts);
}
