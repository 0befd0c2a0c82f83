// Lines of a watched rendering as the reader knows them: those of the text without watches.
#ifndef FJ_TRACE_LINES_H
#define FJ_TRACE_LINES_H

#include <stdbool.h>

struct fj_source_line {
    char *text; // without its end
    int plain;  // its number without watches; of a watch: that of the line before it
    bool watch;
};

struct fj_source_lines {
    struct fj_source_line *lines;
    int count;
    char *text;
};

int fj_source_lines_split(const char *source, struct fj_source_lines *ret_lines);
// NULL when there is no such line. Lines count from 1.
const struct fj_source_line *fj_source_line(const struct fj_source_lines *lines, int line);
void fj_source_lines_free(struct fj_source_lines *lines);

#endif
