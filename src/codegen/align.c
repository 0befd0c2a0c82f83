// Trailing comments of neighbouring lines in one column, as clang-format puts them: a template is
// formatted with all its branches, a rendering lacks some of the lines.
#include <stdlib.h>
#include <string.h>

#include "codegen/output.h"
#include "codegen/scan.h"

#define COLUMNS 100

struct row {
    struct fj_str text;
    int code;    // length of the code before the comment, without blanks; 0: only a comment
    int comment; // where the comment starts; text.n: none
};

static struct row read_row(struct fj_str text)
{
    struct row row = {text, 0, text.n};
    const char *mark = memchr(text.p, '/', (size_t)text.n), *end = text.p + text.n;
    while (mark && (mark + 1 == end || mark[1] != '/'))
        mark = mark + 1 < end ? memchr(mark + 1, '/', (size_t)(end - mark - 1)) : NULL;
    if (!mark)
        return row;
    int first = (int)(fj_str_trim(text).p - text.p);
    row.comment = mark == text.p + first ? first : fj_scan_comment_start(text);
    row.code = row.comment;
    while (row.code && text.p[row.code - 1] == ' ')
        row.code--;
    return row;
}

// A sequence of rows [first, end) whose comments may share a column in [low, high].
struct sequence {
    int first, end, low, high;
};

// Whether the row goes on with the sequence. A line of only a comment does when it stood right
// below the comment before it.
static bool joins(const struct sequence *s, const struct row *rows, int index)
{
    const struct row *row = &rows[index];
    if (row->comment == row->text.n || s->end != index || s->first == s->end)
        return false;
    if (!row->code)
        return row->comment == rows[index - 1].comment && row->comment > 0;
    // A brace in the first column: its comment names what ends here.
    if (row->code == 1 && row->text.p[0] == '}')
        return false;
    int low = row->code + 1, high = COLUMNS - (row->text.n - row->comment);
    return low <= s->high && high >= s->low;
}

static void add(struct sequence *s, const struct row *row, int index)
{
    int low = row->code ? row->code + 1 : s->low;
    int high = COLUMNS - (row->text.n - row->comment);
    if (s->first == s->end)
        *s = (struct sequence){index, index, low, high > low ? high : low};
    s->low = low > s->low ? low : s->low;
    s->high = high < s->high ? high : s->high;
    s->end = index + 1;
}

static void write_row(struct fj_buf *text, const struct row *row, int column)
{
    static const char blanks[COLUMNS + 1] = "                                                  "
                                            "                                                  ";
    if (column < 0 || column > COLUMNS || row->comment == row->text.n) {
        fj_buf_append(text, row->text.p, (size_t)row->text.n);
    } else {
        fj_buf_append(text, row->text.p, (size_t)row->code);
        fj_buf_append(text, blanks, (size_t)(column - row->code));
        fj_buf_append(text, row->text.p + row->comment, (size_t)(row->text.n - row->comment));
    }
    fj_buf_append(text, "\n", 1);
}

static void write_sequence(struct fj_buf *text, const struct row *rows, struct sequence *s)
{
    for (int i = s->first; i < s->end; i++)
        write_row(text, &rows[i], s->low);
    s->first = s->end;
}

void fj_output_align(struct fj_output *output)
{
    int count = (int)(output->lines.len / sizeof(struct fj_line));
    struct row *rows = calloc((size_t)count + 1, sizeof(*rows));
    struct fj_buf text = {0};
    struct sequence s = {0};
    if (!rows || output->text.failed) {
        output->text.failed = true;
        free(rows);
        return;
    }
    const char *p = output->text.data;
    for (int i = 0; i < count; i++) {
        const char *stop = strchr(p, '\n');
        rows[i] = read_row((struct fj_str){p, (int)(stop - p)});
        p = stop + 1;
        bool trailing = rows[i].code && rows[i].comment < rows[i].text.n;
        if (joins(&s, rows, i)) {
            add(&s, &rows[i], i);
            continue;
        }
        write_sequence(&text, rows, &s);
        if (trailing) {
            s = (struct sequence){i, i, 0, 0};
            add(&s, &rows[i], i);
        } else {
            write_row(&text, &rows[i], -1);
        }
    }
    write_sequence(&text, rows, &s);
    fj_buf_free(&output->text);
    output->text = text;
    free(rows);
}
