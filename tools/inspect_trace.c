// fajit-inspect trace: one warp of the emulated device, line by line and tile by tile.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "inspect.h"

#define DEFAULT_STEPS 1000
#define RECENT 48  // lines of a loop body that is folded
#define NAMES 16   // tiles remembered for the last word
#define EDGE 4     // rows and columns shown at each end of a tile
#define PER_LINE 8 // elements of a vector

struct seen {
    char name[64];
    int rows, cols, first_row, last_row;
};

struct view {
    const struct inspect_options *options;
    int64_t shown;
    int recent[RECENT], recent_count, recent_next;
    int64_t folded;
    struct seen seen[NAMES];
    int seen_count;
    bool printed, cut; // something asked for was shown; --steps was reached
};

bool inspect_parse_cta(const char *text, int ret_cta[3])
{
    char extra;
    int cta[3] = {0, 0, 0};
    int n = sscanf(text, "%d,%d,%d%c", &cta[0], &cta[1], &cta[2], &extra);
    if (n < 1 || n > 3 || strspn(text, "0123456789,") != strlen(text))
        return false;
    memcpy(ret_cta, cta, sizeof(cta));
    return true;
}

bool inspect_parse_print(const char *text, struct inspect_print *ret_print)
{
    struct inspect_print print = {.row = -1, .col = -1};
    int used = 0;
    if (sscanf(text, "%63[A-Za-z0-9_]%n", print.name, &used) != 1)
        return false;
    const char *rest = text + used;
    *ret_print = print;
    if (!*rest)
        return true;
    used = 0;
    if (sscanf(rest, "[%d,%d]%n", &print.row, &print.col, &used) != 2 || !used) {
        used = print.col = 0;
        if (sscanf(rest, "[%d]%n", &print.row, &used) != 1)
            return false;
    }
    *ret_print = print;
    return used && !rest[used] && print.row >= 0 && print.col >= 0;
}

// --- Lines ---

static bool is_recent(struct view *v, int line)
{
    for (int i = 0; i < v->recent_count; i++)
        if (v->recent[i] == line)
            return true;
    v->recent[v->recent_next++ % RECENT] = line;
    v->recent_count += v->recent_count < RECENT;
    return false;
}

static void flush_folded(struct view *v)
{
    if (v->folded)
        printf("            ... %" PRId64 " more of the lines above\n", v->folded);
    v->folded = 0;
}

static void show_line(struct view *v, const struct fajit_trace_event *event)
{
    const struct inspect_options *o = v->options;
    if (o->print_count && !o->from_line && !o->to_line)
        return;
    if (!o->every && is_recent(v, event->line)) {
        v->folded++;
        return;
    }
    flush_folded(v);
    char lanes[16] = "";
    if (event->lanes != 0xffffffff)
        snprintf(lanes, sizeof(lanes), "%d/32", __builtin_popcount(event->lanes));
    printf("%5d %5s | %s\n", event->line, lanes, event->text);
    v->shown++;
}

// --- Tiles ---

static const struct fajit_trace_element *find(const struct fajit_trace_event *event, int row,
                                              int col)
{
    int low = 0, high = event->n_elements;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const struct fajit_trace_element *e = &event->elements[middle];
        if (e->row < row || (e->row == row && e->col < col))
            low = middle + 1;
        else
            high = middle;
    }
    const struct fajit_trace_element *e = &event->elements[low];
    return low < event->n_elements && e->row == row && e->col == col ? e : NULL;
}

static void print_value(const struct fajit_trace_event *event, int row, int col)
{
    const struct fajit_trace_element *e = find(event, row, col);
    if (e)
        printf(" %10.4g", (double)e->value);
    else
        printf(" %10s", "");
}

// The rows of which the warp holds something; the caller frees them.
static int *own_rows(const struct fajit_trace_event *event, int *ret_count)
{
    int *rows = calloc((size_t)event->n_elements + 1, sizeof(*rows));
    int count = 0;
    for (int i = 0; rows && i < event->n_elements; i++)
        if (!count || rows[count - 1] != event->elements[i].row)
            rows[count++] = event->elements[i].row;
    *ret_count = count;
    return rows;
}

static void print_ranges(const int *rows, int count)
{
    for (int i = 0; i < count;) {
        int first = i;
        while (i + 1 < count && rows[i + 1] == rows[i] + 1)
            i++;
        printf(first == i ? "%s%d" : "%s%d-%d", first ? ", " : "", rows[first], rows[i]);
        i++;
    }
}

// Whether position i of n is left out; *ret_gap at the first one that is.
static bool left_out(bool full, int i, int n, bool *ret_gap)
{
    bool out = !full && n > 2 * EDGE + 2 && i >= EDGE && i < n - EDGE;
    *ret_gap = out && i == EDGE;
    return out;
}

static void print_columns(const struct fajit_trace_event *event, bool full, int row)
{
    for (int col = 0; col < event->cols; col++) {
        bool gap;
        if (left_out(full, col, event->cols, &gap))
            printf("%s", gap ? "  .." : "");
        else if (row < 0)
            printf(" %10d", col);
        else
            print_value(event, row, col);
    }
    putchar('\n');
}

static void print_matrix(const struct fajit_trace_event *event, bool full, const int *rows,
                         int count)
{
    printf("%13s", "");
    print_columns(event, full, -1);
    for (int i = 0; i < count; i++) {
        bool gap;
        if (left_out(full, i, count, &gap)) {
            if (gap)
                printf("%13s\n", "..");
            continue;
        }
        printf("%11d |", rows[i]);
        print_columns(event, full, rows[i]);
    }
}

static void print_vector(const struct fajit_trace_event *event, bool full, const int *rows,
                         int count)
{
    const int shown = full || count <= PER_LINE ? count : PER_LINE;
    for (int i = 0; i < shown; i++) {
        if (i % PER_LINE == 0)
            printf("%s%8s row", i ? "\n" : "", "");
        printf("  %d:%.5g", rows[i], (double)event->elements[i].value);
    }
    puts(shown < count ? "  .." : "");
}

static void print_tile(struct view *v, const struct fajit_trace_event *event)
{
    int count;
    int *rows = own_rows(event, &count);
    const bool full = v->options->full, vector = event->cols == 1;
    if (!rows)
        return;
    printf("        %s [%d", event->name, event->rows);
    if (!vector)
        printf(", %d", event->cols);
    printf("] %s, after line %d, rows ", event->layout, event->line);
    print_ranges(rows, count);
    putchar('\n');
    if (vector)
        print_vector(event, full, rows, count);
    else
        print_matrix(event, full, rows, count);
    free(rows);
    v->shown++;
}

static void remember(struct view *v, const struct fajit_trace_event *event)
{
    for (int i = 0; i < v->seen_count; i++)
        if (strcmp(v->seen[i].name, event->name) == 0)
            return;
    if (v->seen_count == NAMES || !event->n_elements)
        return;
    struct seen *s = &v->seen[v->seen_count++];
    *s = (struct seen){.rows = event->rows,
                       .cols = event->cols,
                       .first_row = event->elements[0].row,
                       .last_row = event->elements[event->n_elements - 1].row};
    snprintf(s->name, sizeof(s->name), "%s", event->name);
}

static void show_asked(struct view *v, const struct fajit_trace_event *event)
{
    for (int i = 0; i < v->options->print_count; i++) {
        const struct inspect_print *p = &v->options->prints[i];
        if (strcmp(p->name, event->name) != 0)
            continue;
        const struct fajit_trace_element *e = find(event, p->row, p->col);
        if (p->row < 0) {
            print_tile(v, event);
        } else if (e) {
            printf("%s[%d", event->name, e->row);
            if (event->cols > 1)
                printf(",%d", e->col);
            printf("] = %.9g   (after line %d)\n", (double)e->value, event->line);
            v->shown++;
        }
        v->printed = v->printed || p->row < 0 || e;
    }
}

static int visit(void *user, const struct fajit_trace_event *event)
{
    struct view *v = user;
    if (event->kind == FAJIT_TRACE_LINE) {
        show_line(v, event);
    } else {
        remember(v, event);
        flush_folded(v);
        v->recent_count = v->recent_next = 0;
        if (v->options->print_count)
            show_asked(v, event);
        else
            print_tile(v, event);
    }
    v->cut = v->shown >= (v->options->steps ? v->options->steps : DEFAULT_STEPS);
    return v->cut;
}

// --- The command ---

static void print_heading(const struct inspect_options *o, const struct fcase *c)
{
    struct fajit_device_info device = {.struct_size = sizeof(device)};
    if (fajit_ctx_device(c->ctx, &device))
        return;
    printf("# %s\n", fajit_plan_name(c->plan));
    printf("# %s: the CPU executes the PTX. CTA (%d, %d, %d), warp %d, inputs of --seed %" PRIu64
           "\n",
           device.name, o->cta[0], o->cta[1], o->cta[2], o->warp, o->seed);
    puts(
        "# Lines are those of `fajit-inspect render`, in the compiler's order; n/32: lanes that "
        "run\n"
        "# the line. What is traced has an empty asm statement at every //@watch of the template:\n"
        "# it names the registers and changes no bit of the output.");
}

static int report(const struct inspect_options *o, const struct view *v)
{
    if (v->cut)
        printf("# stopped after %" PRId64 " lines and tiles; --steps N for more, --from and --to "
               "for some lines only\n",
               v->shown);
    if (!v->seen_count && !v->cut)
        printf("# warp %d met no //@watch. In kernels with a loading warpgroup the warps that "
               "compute begin at 4.\n",
               o->warp);
    if (!o->print_count || v->printed)
        return 0;
    fprintf(stderr, "%s: warp %d did not hold what --print asks for. It held\n", tool_name,
            o->warp);
    for (int i = 0; i < v->seen_count; i++)
        fprintf(stderr, "  %s [%d, %d], rows between %d and %d\n", v->seen[i].name, v->seen[i].rows,
                v->seen[i].cols, v->seen[i].first_row, v->seen[i].last_row);
    return 1;
}

int inspect_trace(const struct inspect_options *options, struct fajit_ctx *ctx,
                  const struct fajit_problem *problem, const char *text)
{
    struct view view = {.options = options};
    struct fcase c;
    const struct case_options cases = {.seed = options->seed, .watches = true};
    if (case_create(ctx, problem, &cases, &c))
        return tool_fail(text);
    print_heading(options, &c);
    const struct fajit_trace_params params = {
        .struct_size = sizeof(params),
        .cta = {options->cta[0], options->cta[1], options->cta[2]},
        .warp = options->warp,
        .from_line = options->from_line,
        .to_line = options->to_line,
        .visit = visit,
        .user = &view,
    };
    int err = fajit_plan_trace(c.plan, case_args(&c), &params);
    flush_folded(&view);
    int code = err ? tool_fail(text) : report(options, &view);
    case_destroy(&c);
    return code;
}
