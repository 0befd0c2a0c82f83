// What the lines of a template name, found once when it is parsed, so that rendering can tell
// without reading them again which declarations the text needs.
#ifndef FJ_CODEGEN_NAMES_H
#define FJ_CODEGEN_NAMES_H

#include "codegen/symbols.h"

enum {
    FJ_DECLARES_NOTHING = -1,
    FJ_DECLARES_FOR_GOOD = -2, // something that is not to be dropped, whoever names it
};

// Of the code of one line: comments, strings and directives say nothing.
struct fj_line_names {
    int first, count; // names, in fj_names.used
    int declares;     // the name whose declaration begins here, or FJ_DECLARES_..
    int depth;        // braces and parentheses opened, less those closed
    char begin, end;  // first character of the line, last one of the code; 0: none
    bool opaque;      // its names are not known before it is rendered
};

struct fj_names {
    struct fj_buf strings; // of struct fj_str, by number
    struct fj_buf used;    // of int: numbers
    int *table;            // by hash; -1: free
    int size;              // of the table, a power of two
};

static inline int fj_names_count(const struct fj_names *names)
{
    return (int)(names->strings.len / sizeof(struct fj_str));
}

// Reads one line, which must live as long as `names`. False when memory runs out.
bool fj_names_read(struct fj_names *names, const struct fj_symbols *symbols, struct fj_str line,
                   struct fj_line_names *ret_line);
void fj_names_free(struct fj_names *names);

#endif
