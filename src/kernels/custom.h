// Kernels that are not ours: a template of the caller's own and its parameters. What struct
// fj_choice is for the families of this folder.
#ifndef FJ_KERNELS_CUSTOM_H
#define FJ_KERNELS_CUSTOM_H

#include "base/gpu.h"
#include "base/hash.h"
#include "codegen/template.h"

#define FJ_CUSTOM_PARAMS_MAX 48
#define FJ_CUSTOM_KNOBS_MAX 12
#define FJ_CUSTOM_SIZES 4
#define FJ_CUSTOM_NAME_MAX 128
#define FJ_CUSTOM_WORD_MAX 64

struct fj_custom_param {
    const char *name; // the template's: lives as long as the process
    bool is_word, is_bool;
    bool tuned; // it has a //@tune line, whoever sets it
    bool given; // by the caller; else the tuner's to choose
    int64_t value;
    char word[FJ_CUSTOM_WORD_MAX];
};

// An integer that the caller left to the tuner.
struct fj_custom_knob {
    int param; // index
    int count;
    int64_t values[16]; // the first one is the default
};

struct fj_custom {
    char template_name[FJ_CUSTOM_NAME_MAX]; // "norms/rmsnorm.cu"
    const struct fj_template *tmpl;
    int param_count; // given or tuned, in the order of their declarations
    struct fj_custom_param params[FJ_CUSTOM_PARAMS_MAX];
    int knob_count;
    struct fj_custom_knob knobs[FJ_CUSTOM_KNOBS_MAX];
    int64_t sizes[FJ_CUSTOM_SIZES]; // of the work, for choosing among records; 0: any

    // Known once the knobs are set.
    struct {
        const char *name;
        int64_t value;
    } values[FJ_PARAMS_MAX]; // integers, computed constants among them
    int value_count;
    int threads, smem_bytes; // per CTA; shared memory: the dynamic part
    char name[160];          // kernel symbol
};

// "rmsnorm" or "rmsnorm.cu" out of the directory (NULL: none) or the library, with the words
// "dtype=bf16,hidden=4096,sizes=8192" (NULL: none). A name alone means name=1. The knobs are not
// set. FAJIT_E_TEMPLATE when there is no such template or it does not parse, FAJIT_E_INVAL when it
// does not take the words.
int fj_custom_parse(const char *template_dir, const char *name, const char *words,
                    struct fj_custom *ret_custom);

// Sets the knobs, one value each. FAJIT_E_TEMPLATE ("template:line: ..") when the template does not
// render with them, FAJIT_E_UNSUPPORTED when the GPU has fewer threads or less shared memory.
int fj_custom_set(struct fj_custom *custom, const struct fj_gpu *gpu, const int64_t *values);

// The first point of the space that can be set: the values listed first, where rules allow it.
int fj_custom_set_default(struct fj_custom *custom, const struct fj_gpu *gpu);

// Points of the space, the last knob fastest; 1 when no knob is open, at most INT64_MAX.
int64_t fj_custom_points(const struct fj_custom *custom);
void fj_custom_point(const struct fj_custom *custom, int64_t index, int64_t *ret_values);
void fj_custom_knob_values(const struct fj_custom *custom, int64_t *ret_values);

// Integer parameter or constant by name; false when the template has no such one.
bool fj_custom_value(const struct fj_custom *custom, const char *name, int64_t *ret_value);

// --- As text ---

// "kernel:norms/rmsnorm,dtype=bf16,hidden=4096,sizes=8192": what the caller gave, in order.
void fj_custom_print(const struct fj_custom *custom, struct fj_buf *ret_text);
// The same with what was chosen, and without sizes: what renders this very kernel.
void fj_custom_print_all(const struct fj_custom *custom, struct fj_buf *ret_text);
// Open knobs as "threads=256,vec=8"; "" when there are none.
void fj_custom_config_print(const struct fj_custom *custom, struct fj_buf *ret_text);
// Back to values, in the order of the knobs; false unless each has one of its own values.
bool fj_custom_config_parse(const struct fj_custom *custom, const char *text, int64_t *ret_values);
// The template's name without directory and suffix: "rmsnorm".
struct fj_custom_stem {
    char text[FJ_CUSTOM_NAME_MAX];
};
struct fj_custom_stem fj_custom_stem(const struct fj_custom *custom);

// Everything the text is rendered with, kernel_name included.
void fj_custom_params(const struct fj_custom *custom, struct fj_params *ret_params);
int fj_custom_heading(const struct fj_custom *custom, int cc, struct fj_buf *ret_text);
// Digest of what fj_custom_params says, and of which parsed text it goes to.
struct fj_key fj_custom_slot(const struct fj_custom *custom);

#endif
