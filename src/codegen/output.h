// Rendered text as it grows: lines, where each came from, and the layout rules: no trailing blanks,
// one blank line at most and none at the edges of a block or of the text.
#ifndef FJ_CODEGEN_OUTPUT_H
#define FJ_CODEGEN_OUTPUT_H

#include "codegen/program.h"

struct fj_output {
    struct fj_buf text;
    struct fj_buf lines; // of struct fj_line
    bool gap;            // a blank line is due before the next line
    bool opened;         // the last line ends in {
    bool pause;          // an empty line of a comment is due before the next line of it
};

// A blank line is one of only blanks.
void fj_output_line(struct fj_output *output, struct fj_str text, struct fj_line from);
// A line of one comment: empty ones, of only //, neither end it nor follow each other, for what
// stood between them may have gone.
void fj_output_comment(struct fj_output *output, struct fj_str text, struct fj_line from);
void fj_output_gap(struct fj_output *output);
void fj_output_lines(struct fj_output *output, const char *text); // the engine's own
void fj_output_join(struct fj_output *output, const struct fj_output *more);
void fj_output_align(struct fj_output *output); // trailing comments
// Takes out the declarations of included files that nothing names: neither lines that stay nor the
// watches that were met. Text that cannot be taken apart safely stays as it is.
void fj_output_drop_unused(struct fj_output *output, const struct fj_template *tmpl,
                           const bool *watched);
void fj_output_free(struct fj_output *output);

struct fj_output_constant {
    const char *name; // "kBlockM"
    int64_t value;
    struct fj_str doc;
};

// `constexpr int kBlockM = 128; // doc` for those that `body` names, comments aligned.
void fj_output_constants(struct fj_output *output, const struct fj_output_constant *constants,
                         int count, const struct fj_output *body);

#endif
