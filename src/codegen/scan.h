// Just enough of a C lexer to tell code, strings and comments apart within one line.
#ifndef FJ_CODEGEN_SCAN_H
#define FJ_CODEGEN_SCAN_H

#include "codegen/symbols.h"

enum fj_scan_state {
    FJ_SCAN_CODE,
    FJ_SCAN_STRING,  // "..."
    FJ_SCAN_CHAR,    // '...'
    FJ_SCAN_COMMENT, // // to the end of the line
    FJ_SCAN_BLOCK,   // /* ... */
};

// The state of the character at `pos`, given that of the one before; opening quotes and comment
// marks belong to what they open, closing ones to what they close. Start with FJ_SCAN_CODE at 0
// and visit every position.
struct fj_scan {
    enum fj_scan_state state;
    bool escaped; // the last character was a backslash inside quotes
    int start;    // where the state began
    bool closed;  // the last character ended its string or comment
};
void fj_scan_step(struct fj_scan *scan, struct fj_str line, int pos);

// Where the trailing // comment of a line starts, or line.n.
int fj_scan_comment_start(struct fj_str line);

#endif
