// The template engine: text and parameters in, text out. Knows nothing about kernels.
// The language is described in templates/README.md.
#ifndef FJ_CODEGEN_TEMPLATE_H
#define FJ_CODEGEN_TEMPLATE_H

#include "codegen/params.h"

// Finds template text by name ("attn_fwd_simt.cu", "lib/mma.cuh"): the override directory first
// (NULL: none), then the bytes inside the library. Parsed templates are kept for the process.
struct fj_template;

// Thread-safe. The template lives until the process ends (override files are parsed again when
// their text changed). FAJIT_E_TEMPLATE with "name:line: ..." when it does not parse.
int fj_template_get(const char *override_dir, const char *name, const struct fj_template **ret);

// Where one rendered line came from.
struct fj_line {
    const char *file; // template or include name, lives as long as the process
    int line;         // from 1; 0 for lines the engine made (heading, constants)
};

struct fj_rendering {
    struct fj_buf text;
    struct fj_line *lines; // one per line of text
    int line_count;
};

struct fj_render_params {
    const struct fj_params *params;
    const char *heading; // comment lines put at //@prelude, each starting with "//"; may be NULL
    bool watches;        // turn //@watch into empty asm that names the fragment's registers
};

// What a template may be given, for callers that do not know it beforehand.
enum fj_param_kind { FJ_PARAM_INT, FJ_PARAM_BOOL, FJ_PARAM_WORD };

struct fj_param_info {
    const char *name; // lives as long as the process
    enum fj_param_kind kind;
    bool computed; // by a //@let: a constant to be read, not to be given
};

// The parameters in the order of their declarations, kernel_name excluded. FAJIT_E_INVAL, without a
// sentence, after the last one.
int fj_template_param(const struct fj_template *tmpl, int index, struct fj_param_info *ret_info);

// Whether the template knows these parameters and takes these values; which ones are missing only
// rendering can tell.
int fj_template_check(const struct fj_template *tmpl, const struct fj_params *params);

// Renders without keeping the text: checks every rule, and appends the integers among the
// parameters and computed constants, with their values, to `ret_values`.
int fj_template_evaluate(const struct fj_template *tmpl, const struct fj_params *params,
                         struct fj_params *ret_values);

int fj_template_render(const struct fj_template *tmpl, const struct fj_render_params *params,
                       struct fj_rendering *ret_rendering);
void fj_rendering_free(struct fj_rendering *rendering);

// Names of the templates inside the library, sorted; NULL-terminated.
const char *const *fj_template_names(void);

// Digest over the template's tokens and its includes', without comments and white space: two texts
// with one digest compile to the same kernel. For tuning records.
int fj_template_digest(const struct fj_template *tmpl, struct fj_buf *ret_hex);

// The //@tune lines of a template, for search spaces.
struct fj_tune_line {
    const char *name; // of an integer parameter; no two lines have the same
    const char *file; // where it stands
    int line;
    int count;
    int64_t values[16];
};
int fj_template_tune(const struct fj_template *tmpl, int index, struct fj_tune_line *ret_line);

#endif
