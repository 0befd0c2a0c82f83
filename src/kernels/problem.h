// A checked problem in the library's own terms, and its text form.
#ifndef FJ_KERNELS_PROBLEM_H
#define FJ_KERNELS_PROBLEM_H

#include "kernels/config.h"

// Normal form: every default filled in, no contradictions. 0 in a size means "any".
struct fj_attn {
    enum fajit_dtype dtype;
    int64_t batch, heads_q, heads_kv, seq_q, seq_k;
    int head_dim, head_dim_v;
    enum fajit_layout layout;
    enum fajit_causal causal;
    bool lse, seqlens_q, seqlens_k;
    float scale; // never 0
    int align_bytes;
};

struct fj_gemm {
    enum fajit_dtype dtype, out_dtype;
    int64_t batch, m, n, k;
    bool trans_a, trans_b, bias, beta;
    enum fajit_act act;
    enum fajit_math math; // never DEFAULT; FMA for 16-bit types
    int align_bytes;
};

struct fj_problem {
    enum fajit_op op;
    enum fajit_family family;   // may be AUTO: what the caller asked for
    enum fajit_variant variant; // may be AUTO
    union {
        struct fj_attn attn;
        struct fj_gemm gemm;
    };
    struct fj_config fixed; // knobs the caller fixed; unset ones are 0
};

// Public descriptor to normal form and back. FAJIT_E_INVAL / FAJIT_E_UNSUPPORTED with a sentence.
int fj_problem_from_public(const struct fajit_problem *from, struct fj_problem *ret_problem);

// Text to public form. Sizes of pairs are filled in (d128 sets head_dim and head_dim_v, h16 both
// head counts); every other field the text does not name stays 0. The result has passed
// fj_problem_from_public.
int fj_problem_parse(const char *text, struct fajit_problem *ret_problem);

// Canonical text: fixed order, defaults left out. Problems with one normal form have one text.
int fj_problem_format(const struct fajit_problem *problem, struct fj_buf *ret_text);
void fj_problem_print(const struct fj_problem *problem, struct fj_buf *ret_text);

const char *fj_dtype_name(enum fajit_dtype dtype);       // "bf16"
const char *fj_family_name(enum fajit_family family);    // "mma"
const char *fj_variant_name(enum fajit_variant variant); // "persistent"

#endif
