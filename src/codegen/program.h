// A parsed template: a flat list of operations per file, in the order of the text.
#ifndef FJ_CODEGEN_PROGRAM_H
#define FJ_CODEGEN_PROGRAM_H

#include "codegen/expr.h"
#include "codegen/names.h"
#include "codegen/symbols.h"
#include "codegen/template.h"

enum fj_op_kind {
    FJ_OP_TEXT,    // pieces [first, first + count); none: a blank line
    FJ_OP_DECLARE, // //@const, //@switch: `symbol` must have a value
    FJ_OP_REQUIRE, // `expr`; `text` for the message
    FJ_OP_PRELUDE,
    FJ_OP_IF,      // also //@elif: to `target` when `expr` is 0
    FJ_OP_JUMP,    // to `target`
    FJ_OP_END,     // of an //@if; does nothing
    FJ_OP_FOR,     // `symbol` from `expr` to `expr_b` by `expr_c`; `target`: behind its //@end
    FJ_OP_NEXT,    // `target`: the FOR's body
    FJ_OP_INCLUDE, // `unit`
    FJ_OP_LET,     // `symbol` = `expr`
    FJ_OP_WATCH,   // `watch`
};

struct fj_op {
    enum fj_op_kind kind;
    int line; // from 1
    int target;
    int symbol, unit, watch;
    int expr, expr_b, expr_c; // -1: none
    int first, count;
    struct fj_str text; // the directive's arguments
};

// A line of text is made of pieces: literal text and holes.
struct fj_piece {
    struct fj_str literal;
    int symbol; // $name, or -1
    int expr;   // ${expr}, or -1
};

#define FJ_WATCH_DIMS 3

// //@watch NAME [rows, cols] kind regs=n,m,..: registers NAME[i][j]..; or pitch=n: NAME is the
// address of a tile in shared memory whose rows are n elements apart. NAME=value names a value that
// is written otherwise.
struct fj_watch {
    struct fj_str name, value, kind;
    int kind_word;  // a switch whose word ends the kind, as in smem_$dtype; -1: none
    int rows, cols; // expressions
    int counts[FJ_WATCH_DIMS], n_counts;
    int pitch; // -1: registers
    struct fj_line_names names;
};

struct fj_unit {
    char *name; // "lib/mma.cuh"
    struct fj_buf text;
    struct fj_buf ops;        // of struct fj_op
    struct fj_buf line_names; // of struct fj_line_names, by line; 0 is not used
};

#define FJ_UNITS_MAX 64
#define FJ_NESTING_MAX 32 // of //@if and //@for in one file

struct fj_template {
    struct fj_unit units[FJ_UNITS_MAX]; // units[0] is the template itself, the others includes
    int unit_count;
    struct fj_symbols symbols;
    struct fj_exprs exprs;
    struct fj_buf pieces;  // of struct fj_piece
    struct fj_buf watches; // of struct fj_watch
    struct fj_buf tunes;   // of struct fj_tune_line
    struct fj_names names;
    char digest[65]; // see fj_template_digest; "" until somebody asks

    const char *override_dir; // owned; NULL: none
    struct fj_template *next; // in the process's list
};

static inline int fj_unit_op_count(const struct fj_unit *unit)
{
    return (int)(unit->ops.len / sizeof(struct fj_op));
}

static inline struct fj_op *fj_unit_op(const struct fj_unit *unit, int index)
{
    return (struct fj_op *)unit->ops.data + index;
}

static inline const struct fj_piece *fj_template_piece(const struct fj_template *tmpl, int index)
{
    return (const struct fj_piece *)tmpl->pieces.data + index;
}

static inline const struct fj_watch *fj_template_watch(const struct fj_template *tmpl, int index)
{
    return (const struct fj_watch *)tmpl->watches.data + index;
}

// Appends one empty asm statement. What remains of it in the PTX is a comment,
//     // fj_watch NAME rows cols kind counts registers      counts as in "2x64", or
//     // fj_watch NAME rows cols kind pitch address
// Sentences have no place; the caller adds it.
int fj_watch_render(const struct fj_template *tmpl, const struct fj_watch *watch,
                    const struct fj_value *values, struct fj_buf *line);

// Reads `name` and its includes and parses them. FAJIT_E_TEMPLATE with "file:line: ...".
int fj_template_parse(const char *override_dir, const char *name, struct fj_template **ret);
void fj_template_free(struct fj_template *tmpl);

#endif
