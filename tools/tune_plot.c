// fajit-tune plot: the candidates of a search by time, with what the model had predicted, drawn by
// gnuplot.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tune.h"

extern char **environ;

#define DEFAULT_OUTPUT "tune.svg"
#define ROW_PIXELS 17
#define PLOT_PIXELS 800 // beside the labels
#define LETTER_PIXELS 7
#define TEXT_BYTES 512
// Times further apart than this are drawn on a logarithmic axis.
#define LINEAR_RATIO 6

struct candidate {
    char label[256], verdict[16];
    double median_us, p25_us, p75_us, predicted_us; // 0: not timed, not predicted
};

struct picture {
    char problem[TEXT_BYTES], gpu[96], step[16]; // of the first record that counts
    struct candidate *candidates;
    int count;
    bool failed;
};

// --- Candidates -------------------------------------------------------------------------------

// The text without what a search leaves open.
static bool subject(const struct fajit_problem *problem, char *ret_text, size_t size)
{
    struct fajit_problem plain = *problem;
    plain.attn.family = plain.gemm.family = FAJIT_FAMILY_AUTO;
    plain.attn.variant = plain.gemm.variant = FAJIT_VARIANT_AUTO;
    plain.attn.scale = 0;
    plain.config[0] = '\0';
    return fajit_problem_format(&plain, ret_text, size) > 0;
}

// Records of other problems have a say too: they are not drawn.
static bool is_subject(const struct picture *picture, const struct fajit_tune_record *r)
{
    char text[TEXT_BYTES];
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    if (strcmp(r->step, "exact") == 0)
        return true;
    return fajit_problem_parse(r->problem, &problem) == 0 &&
           subject(&problem, text, sizeof(text)) && strcmp(text, picture->problem) == 0;
}

static void label(const struct fajit_tune_record *r, char *ret_label, size_t size)
{
    const char *dropped =
        strcmp(r->verdict, "best") && strcmp(r->verdict, "timed") ? r->verdict : "";
    snprintf(ret_label, size, "%s %s %s%s%s%s", r->kernel, r->variant, r->config,
             *dropped ? " (" : "", dropped, *dropped ? ")" : "");
}

static int take_record(void *user, const struct fajit_tune_record *r)
{
    struct picture *picture = user;
    if (!is_subject(picture, r))
        return 0;
    if (picture->count == 0) {
        snprintf(picture->gpu, sizeof(picture->gpu), "%s", r->gpu);
        snprintf(picture->step, sizeof(picture->step), "%s", r->step);
    } else if (strcmp(picture->gpu, r->gpu) != 0 || strcmp(picture->step, r->step) != 0) {
        return 0; // two GPUs, or two versions of a template, in one picture would mislead
    }
    struct candidate *list =
        realloc(picture->candidates, (size_t)(picture->count + 1) * sizeof(*list));
    if (!list)
        return FAJIT_E_NOMEM;
    picture->candidates = list;
    struct candidate *c = &list[picture->count++];
    *c = (struct candidate){.median_us = r->samples > 0 ? r->median_us : 0,
                            .p25_us = r->p25_us,
                            .p75_us = r->p75_us,
                            .predicted_us = r->predicted_us};
    label(r, c->label, sizeof(c->label));
    snprintf(c->verdict, sizeof(c->verdict), "%s", r->verdict);
    return 0;
}

// By time, what was never timed last.
static int compare(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if ((a->median_us > 0) != (b->median_us > 0))
        return a->median_us > 0 ? -1 : 1;
    double x = a->median_us > 0 ? a->median_us : a->predicted_us;
    double y = b->median_us > 0 ? b->median_us : b->predicted_us;
    return (x > y) - (x < y);
}

// --- The script -------------------------------------------------------------------------------

enum series { SERIES_BEST, SERIES_TIMED, SERIES_EARLY, SERIES_MODEL, SERIES_COUNT };

static const struct {
    const char *name, *title, *style;
} all_series[SERIES_COUNT] = {
    [SERIES_BEST] = {"best", "best: median and quartiles",
                     "xerrorbars lc rgb '#b2182b' pt 7 ps 0.8"},
    [SERIES_TIMED] = {"timed", "timed: median and quartiles",
                      "xerrorbars lc rgb '#2166ac' pt 7 ps 0.6"},
    [SERIES_EARLY] = {"early", "dropped early, or for a fault of its own",
                      "xerrorbars lc rgb '#888888' pt 7 ps 0.4"},
    [SERIES_MODEL] = {"model", "predicted by the ranking model",
                      "points lc rgb '#1b7837' pt 4 ps 0.6"},
};

static bool is_in(const struct candidate *c, enum series series)
{
    if (series == SERIES_MODEL)
        return c->predicted_us > 0;
    if (c->median_us <= 0)
        return false;
    enum series own = strcmp(c->verdict, "best") == 0    ? SERIES_BEST
                      : strcmp(c->verdict, "timed") == 0 ? SERIES_TIMED
                                                         : SERIES_EARLY;
    return own == series;
}

static int write_series(FILE *out, const struct picture *picture, enum series series)
{
    int rows = 0;
    for (int i = 0; i < picture->count; i++) {
        const struct candidate *c = &picture->candidates[i];
        if (!is_in(c, series))
            continue;
        if (rows++ == 0)
            fprintf(out, "$%s << END\n", all_series[series].name);
        if (series == SERIES_MODEL)
            fprintf(out, "%.3f %d\n", c->predicted_us, i + 1);
        else
            fprintf(out, "%.3f %d %.3f %.3f\n", c->median_us, i + 1, c->p25_us, c->p75_us);
    }
    if (rows)
        fputs("END\n", out);
    return rows;
}

static bool needs_log(const struct picture *picture)
{
    double least = 1e30, most = 0;
    for (int i = 0; i < picture->count; i++) {
        const double times[] = {picture->candidates[i].median_us,
                                picture->candidates[i].predicted_us};
        for (int j = 0; j < 2; j++) {
            least = times[j] > 0 && times[j] < least ? times[j] : least;
            most = times[j] > most ? times[j] : most;
        }
    }
    return most > LINEAR_RATIO * least;
}

// Texts of ours hold no quotation marks; a GPU's name comes from its driver.
static void write_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++)
        fputc(*text == '"' || *text == '\\' || *text < ' ' ? '_' : *text, out);
    fputc('"', out);
}

static void write_axes(FILE *out, const struct picture *picture)
{
    char title[TEXT_BYTES + 128];
    int longest = 0;
    for (int i = 0; i < picture->count; i++) {
        int letters = (int)strlen(picture->candidates[i].label);
        longest = letters > longest ? letters : longest;
    }
    snprintf(title, sizeof(title), "%s on %s", picture->problem, picture->gpu);
    fprintf(out,
            "set terminal svg size %d,%d dynamic font \"sans,11\" background \"white\"\n"
            "set title ",
            PLOT_PIXELS + LETTER_PIXELS * longest, 200 + ROW_PIXELS * picture->count);
    write_quoted(out, title);
    fprintf(
        out,
        " noenhanced\nset xlabel \"microseconds\"\nset grid x\nset key outside bottom "
        "center vertical maxrows 4\nset rmargin 5\nset yrange [%.1f:0.5]\n%sset ytics noenhanced (",
        picture->count + 0.5, needs_log(picture) ? "set logscale x\n" : "set xrange [0:*]\n");
    for (int i = 0; i < picture->count; i++) {
        fputs(i ? ", " : "", out);
        write_quoted(out, picture->candidates[i].label);
        fprintf(out, " %d", i + 1);
    }
    fputs(")\n", out);
}

static void write_script(FILE *out, const struct picture *picture)
{
    const char *separator = "plot ";
    bool used[SERIES_COUNT];
    write_axes(out, picture);
    for (int s = 0; s < SERIES_COUNT; s++)
        used[s] = write_series(out, picture, (enum series)s) > 0;
    for (int s = 0; s < SERIES_COUNT; s++) {
        if (!used[s])
            continue;
        fprintf(out, "%s$%s with %s title \"%s\"", separator, all_series[s].name,
                all_series[s].style, all_series[s].title);
        separator = ", ";
    }
    fputc('\n', out);
}

// --- gnuplot ----------------------------------------------------------------------------------

// A gnuplot that reads its script from `*ret_in` and writes the picture to the file `fd`.
static int start(int fd, pid_t *ret_child, FILE **ret_in)
{
    char *const argv[] = {"gnuplot", "-", NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    if (pipe(ends))
        return errno;
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
    int failure = posix_spawnp(ret_child, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    *ret_in = failure ? NULL : fdopen(ends[1], "w");
    if (!*ret_in)
        close(ends[1]);
    return failure;
}

static int draw(const struct picture *picture, int fd)
{
    FILE *in = NULL;
    pid_t child;
    int status = 1, failure = start(fd, &child, &in);
    if (failure) {
        fprintf(stderr,
                "%s: gnuplot, which draws the picture, cannot be started: %s. Install it (Debian, "
                "Ubuntu: apt install gnuplot-nox; Fedora: dnf install gnuplot), or write its "
                "script with --output FILE.gp\n",
                tool_name, strerror(failure));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN); // should gnuplot end early, its exit code tells
    if (in) {
        write_script(in, picture);
        fclose(in);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (status == 0)
        return 0;
    fprintf(stderr, "%s: gnuplot ended with an error\n", tool_name);
    return 1;
}

static bool has_suffix(const char *path, const char *suffix)
{
    size_t len = strlen(path), tail = strlen(suffix);
    return len > tail && strcmp(path + len - tail, suffix) == 0;
}

static int write_file(const struct picture *picture, const char *path)
{
    int code, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    FILE *script = NULL;
    if (fd < 0) {
        fprintf(stderr, "%s: cannot write %s: %s\n", tool_name, path, strerror(errno));
        return 1;
    }
    if (has_suffix(path, ".gp") && (script = fdopen(fd, "w"))) {
        write_script(script, picture);
        code = fclose(script) != 0;
    } else {
        code = draw(picture, fd);
        code |= close(fd) != 0;
    }
    if (code)
        unlink(path);
    else
        printf("%d candidates in %s\n", picture->count, path);
    return code;
}

int tune_plot(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    struct picture picture = {.count = 0};
    if (count != 1) {
        fprintf(stderr, "%s: plot takes one problem\n", tool_name);
        return 2;
    }
    if (options->output && !has_suffix(options->output, ".svg") &&
        !has_suffix(options->output, ".gp")) {
        fprintf(stderr, "%s: plot draws FILE.svg, or writes the script FILE.gp, not %s\n",
                tool_name, options->output);
        return 2;
    }
    if (tool_problem(&options->tool, args[0], &problem))
        return 1;
    if (!subject(&problem, picture.problem, sizeof(picture.problem)) ||
        fajit_tune_visit(ctx, &problem, take_record, &picture)) {
        free(picture.candidates);
        return tool_fail(args[0]);
    }
    int code = 1;
    if (picture.count == 0) {
        fprintf(stderr, "%s: no search of %s is recorded: `fajit-tune tune` makes one\n", tool_name,
                picture.problem);
    } else {
        qsort(picture.candidates, (size_t)picture.count, sizeof(*picture.candidates), compare);
        code = write_file(&picture, options->output ? options->output : DEFAULT_OUTPUT);
    }
    free(picture.candidates);
    return code;
}
