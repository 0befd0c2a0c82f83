// The two passes of the template parser share this.
#ifndef FJ_CODEGEN_PARSE_H
#define FJ_CODEGEN_PARSE_H

#include "codegen/program.h"

// An open //@if or //@for.
struct fj_nest {
    bool is_for;
    int line;
    int open;      // the FOR, or the IF still without a target; -1 after //@else
    int last_jump; // head of the chain of jumps to the //@end
};

struct fj_parse {
    struct fj_template *tmpl;
    struct fj_unit *unit;
    int line;
    bool prelude; // seen
    struct fj_nest nest[FJ_NESTING_MAX];
    int depth;
};

// Records "file:line: sentence".
int fj_parse_fail(const struct fj_parse *parse, const char *fmt, ...) FJ_PRINTF(2, 3);
// Puts "file:line" before the recorded sentence, unless status is FAJIT_OK.
int fj_parse_place(const struct fj_parse *parse, int status);

// //@tune, and what can be said of these lines only when every declaration is known.
int fj_parse_tune(struct fj_parse *parse, struct fj_str args);
int fj_parse_check_tunes(const struct fj_template *tmpl);

// Second pass over parse->unit: expressions, holes, watches.
int fj_parse_contents(struct fj_parse *parse);

#endif
