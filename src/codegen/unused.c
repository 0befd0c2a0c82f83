// Drops what a rendering got from its includes and does not use: a library file serves many
// kernels, a kernel wants to read as if written for itself.
//
// The lines of included files are cut into items: blank lines, comments, and declarations, which
// begin in the first column and end, as clang-format leaves them, with a brace there or with a
// semicolon. The template's own lines always stay. A function, struct, alias, constant or macro
// stays when what stays names it, whatever the name means there: tokens are compared, not meanings,
// so an item too many may stay but none too few. Everything else stays. A comment goes with what
// stands right below it, up to a blank line or the next comment; one that stands alone goes when
// nothing of its file stays.
#include <stdlib.h>
#include <string.h>

#include "codegen/output.h"

enum item_kind { ITEM_BLANK, ITEM_COMMENT, ITEM_CODE };

struct item {
    enum item_kind kind;
    int unit;
    int first, end; // lines
    int name;       // of a declaration that may go, or -1
    int next_same;  // the next item of this name, or -1
    bool live;
};

struct line {
    const struct fj_line_names *names;
    int at; // in the text
};

struct pass {
    const struct fj_template *tmpl;
    struct fj_output *output;
    struct line *lines; // one more than there are
    struct item *items;
    int line_count, item_count;
    int *by_name; // first item of a name, or -1
    int *stack;   // live items whose names are still to be marked
    int depth;
};

static const struct fj_line_names empty = {.declares = FJ_DECLARES_NOTHING};

// --- Lines ---

static int unit_of(const struct fj_template *tmpl, const char *file, int guess)
{
    if (tmpl->units[guess].name == file)
        return guess;
    for (int i = 0; i < tmpl->unit_count; i++)
        if (tmpl->units[i].name == file)
            return i;
    return 0;
}

static const struct fj_line_names *names_of(const struct fj_unit *unit, int line)
{
    int count = (int)(unit->line_names.len / sizeof(struct fj_line_names));
    return line >= 0 && line < count ? (const struct fj_line_names *)unit->line_names.data + line
                                     : &empty;
}

// Finds the lines and what they name. False when that is not known of all.
static bool find_lines(struct pass *pass, int *units)
{
    const struct fj_line *from = (const struct fj_line *)pass->output->lines.data;
    const char *text = pass->output->text.data;
    int unit = 0, at = 0;
    for (int i = 0; i < pass->line_count; i++) {
        unit = units[i] = unit_of(pass->tmpl, from[i].file, unit);
        bool blank = text[at] == '\n';
        pass->lines[i].at = at;
        pass->lines[i].names = blank ? &empty : names_of(&pass->tmpl->units[unit], from[i].line);
        if (pass->lines[i].names->opaque)
            return false;
        at += (int)strcspn(text + at, "\n") + 1;
    }
    pass->lines[pass->line_count].at = at;
    return true;
}

static enum item_kind kind_of(const struct pass *pass, int line)
{
    const struct fj_line_names *names = pass->lines[line].names;
    if (pass->output->text.data[pass->lines[line].at] == '\n')
        return ITEM_BLANK;
    return names->end || names->begin != '/' ? ITEM_CODE : ITEM_COMMENT;
}

// --- Items ---

// Behind the declaration that begins at `line`. `ret_whole`: its brackets match.
static int declaration_end(const struct pass *pass, const int *units, int line, bool *ret_whole)
{
    const struct fj_line_names *const first = pass->lines[line].names;
    bool body = false, ends = false;
    int unit = units[line], depth = 0;
    for (; line < pass->line_count && units[line] == unit && !ends; line++) {
        const struct fj_line_names *names = pass->lines[line].names;
        depth += names->depth;
        if (first->begin == '#')
            ends = names->end != '\\';
        else if (body)
            ends = names->begin == '}';
        else
            ends = names->end == ';' || names->end == '}';
        body |= names->end == '{';
    }
    *ret_whole = ends && depth == 0;
    // A comment that goes on below.
    while (line < pass->line_count && units[line] == unit &&
           pass->lines[line].names->begin == ' ' && !pass->lines[line].names->end)
        line++;
    return line;
}

// The name in the head of the declaration; -1 when it is to stay.
static int declared_name(const struct pass *pass, const struct item *item)
{
    const struct fj_line_names *last = pass->lines[item->end - 1].names;
    if (last->begin == '}' && last->count) // `struct X {..} x;` is a variable
        return -1;
    for (int i = item->first; i < item->end; i++) {
        int declares = pass->lines[i].names->declares;
        // The name may stand below `template <..>`.
        if (declares != FJ_DECLARES_NOTHING || pass->lines[i].names->end != '>')
            return declares >= 0 ? declares : -1;
    }
    return -1;
}

// False when the text cannot be cut.
static bool find_items(struct pass *pass, const int *units)
{
    for (int line = 0; line < pass->line_count;) {
        struct item item = {kind_of(pass, line), units[line], line, line + 1, -1, -1, false};
        bool own = item.unit == 0 && item.kind != ITEM_BLANK, whole = true;
        if (own)
            item.kind = ITEM_CODE;
        if (item.kind == ITEM_CODE && !own) {
            item.end = declaration_end(pass, units, line, &whole);
            item.name = declared_name(pass, &item);
        }
        while ((own || item.kind == ITEM_COMMENT) && item.end < pass->line_count &&
               units[item.end] == item.unit && (own || kind_of(pass, item.end) == item.kind))
            item.end++;
        if (!whole)
            return false;
        item.live = item.kind == ITEM_CODE && item.name < 0;
        pass->items[pass->item_count++] = item;
        line = item.end;
    }
    return true;
}

// --- Names ---

static void mark_name(struct pass *pass, int name)
{
    for (int i = pass->by_name[name]; i >= 0; i = pass->items[i].next_same) {
        pass->items[i].live = true;
        pass->stack[pass->depth++] = i;
    }
    pass->by_name[name] = -1;
}

static void mark_names(struct pass *pass, const struct fj_line_names *names)
{
    const int *used = (const int *)pass->tmpl->names.used.data; // NULL in a text without names
    for (int i = names->first; i < names->first + names->count; i++)
        if (pass->by_name[used[i]] >= 0)
            mark_name(pass, used[i]);
}

static void mark_item(struct pass *pass, int index)
{
    for (int i = pass->items[index].first; i < pass->items[index].end; i++)
        mark_names(pass, pass->lines[i].names);
}

static void mark_live(struct pass *pass, const bool *watched)
{
    for (int i = pass->item_count - 1; i >= 0; i--) {
        struct item *item = &pass->items[i];
        if (item->name < 0)
            continue;
        item->next_same = pass->by_name[item->name];
        pass->by_name[item->name] = i;
    }
    int watches = (int)(pass->tmpl->watches.len / sizeof(struct fj_watch));
    for (int i = 0; i < watches; i++)
        if (watched[i])
            mark_names(pass, &fj_template_watch(pass->tmpl, i)->names);
    for (int i = 0; i < pass->item_count; i++)
        if (pass->items[i].kind == ITEM_CODE && pass->items[i].name < 0)
            mark_item(pass, i);
    while (pass->depth > 0)
        mark_item(pass, pass->stack[--pass->depth]);
}

static bool unit_lives(const struct pass *pass, int unit)
{
    for (int i = 0; i < pass->item_count; i++)
        if (pass->items[i].unit == unit && pass->items[i].kind == ITEM_CODE && pass->items[i].live)
            return true;
    return false;
}

static void mark_comments(struct pass *pass)
{
    for (int i = 0; i < pass->item_count; i++) {
        struct item *comment = &pass->items[i];
        if (comment->kind != ITEM_COMMENT)
            continue;
        int next = i + 1;
        for (; next < pass->item_count && pass->items[next].kind == ITEM_CODE; next++)
            comment->live |= pass->items[next].live;
        if (next == i + 1) // it stands alone
            comment->live = unit_lives(pass, comment->unit);
    }
}

// --- The whole ---

static void keep_live(struct pass *pass)
{
    struct fj_output kept = {.gap = pass->output->gap};
    const struct fj_line *from = (const struct fj_line *)pass->output->lines.data;
    bool gap = false;
    for (int i = 0; i < pass->item_count; i++) {
        const struct item *item = &pass->items[i];
        gap |= item->kind == ITEM_BLANK;
        if (!item->live)
            continue;
        if (gap && kept.text.len) {
            fj_buf_append(&kept.text, "\n", 1);
            fj_buf_append(&kept.lines, &from[item->first], sizeof(*from));
        }
        gap = false;
        int at = pass->lines[item->first].at;
        fj_buf_append(&kept.text, pass->output->text.data + at,
                      (size_t)(pass->lines[item->end].at - at));
        fj_buf_append(&kept.lines, &from[item->first],
                      (size_t)(item->end - item->first) * sizeof(*from));
    }
    fj_output_free(pass->output);
    *pass->output = kept;
}

static bool allocate(struct pass *pass, int **ret_units)
{
    size_t lines = (size_t)pass->line_count + 1;
    size_t names = (size_t)fj_names_count(&pass->tmpl->names) + 1;
    pass->lines = malloc(lines * sizeof(*pass->lines));
    pass->items = malloc(lines * sizeof(*pass->items));
    pass->stack = malloc(lines * sizeof(*pass->stack));
    pass->by_name = malloc(names * sizeof(*pass->by_name));
    *ret_units = malloc(lines * sizeof(**ret_units));
    if (pass->by_name)
        memset(pass->by_name, -1, names * sizeof(*pass->by_name));
    return pass->lines && pass->items && pass->stack && pass->by_name && *ret_units;
}

void fj_output_drop_unused(struct fj_output *output, const struct fj_template *tmpl,
                           const bool *watched)
{
    struct pass pass = {.tmpl = tmpl, .output = output};
    int *units;
    pass.line_count = (int)(output->lines.len / sizeof(struct fj_line));
    if (!pass.line_count || output->text.failed || output->lines.failed)
        return;
    if (!allocate(&pass, &units)) {
        output->text.failed = true;
    } else if (find_lines(&pass, units) && find_items(&pass, units)) {
        mark_live(&pass, watched);
        mark_comments(&pass);
        keep_live(&pass);
    }
    free(pass.lines);
    free(pass.items);
    free(pass.stack);
    free(pass.by_name);
    free(units);
}
