// One problem with tensors of its own on the device: what candidates are timed and judged on.
//
// Values are standard normal, the same for every candidate: element i of a tensor is a known
// function of i, so that the reference can be given any part of a tensor without a copy of it all.
//
// There are several sets of the tensors, together at least twice the L2 where they are small: each
// launch that is timed takes the next one, and finds in the L2 what a launch between other work
// would find, nothing of its own.
#ifndef FJ_AUTOTUNE_TRIAL_H
#define FJ_AUTOTUNE_TRIAL_H

#include "jit.h"

#define FJ_TRIAL_ROWS 64     // of one sample, at most
#define FJ_TRIAL_COLUMNS 256 // likewise

struct fj_trial_tensor {
    enum fajit_dtype dtype;
    struct fj_view view; // compact, on the device, of the first set
    int64_t elements;
    size_t set_bytes; // from one set's to the next one's
    uint64_t shift;   // sets the values of tensors apart
};

// Rows of the output, and the reference there: of one head of one batch entry, or of one matrix.
struct fj_trial_sample {
    int64_t batch, head, rows[FJ_TRIAL_ROWS], columns[FJ_TRIAL_COLUMNS];
    int n_rows, n_columns;
    double *want, *plain, *lse; // in fp64; as a plain low-precision evaluation; NULL: no LSE
};

struct fj_trial {
    struct fj_jit *jit;
    struct fj_problem problem; // every size set
    struct fj_trial_tensor in[3], out, lse, bias;
    int sets, turn; // turn: the set that the next timed launch takes
    bool flush;     // even all sets are less than twice the L2
    union {
        struct fj_attn_args attn;
        struct fj_gemm_args gemm;
    } args;                         // of the first set
    int32_t *lengths_q, *lengths_k; // host copies; NULL when the problem has none
    void *memory[32];               // device; freed at the end
    int memory_count;
    void *workspace;
    size_t workspace_bytes;
    struct fj_trial_sample *samples; // made at the first check
    int sample_count;
    double size;             // root mean square of the reference on them
    struct fj_module differ; // templates/compare.cu
    void *first;             // device: output of the first candidate that was right; NULL before
    void *found;             // device: what `differ` writes
};

int fj_trial_create(struct fj_jit *jit, const struct fj_problem *problem,
                    struct fj_trial **ret_trial);
void fj_trial_destroy(struct fj_trial **trial);

// Launches of a loaded kernel, ret_launches[i] on the i-th of the trial's sets. They must not move
// afterwards.
int fj_trial_bind(struct fj_trial *trial, const struct fj_kernel *kernel,
                  struct fj_launch *ret_launches);

// Launches once on the first set, its outputs poisoned. FAJIT_E_INVAL when the output is wrong:
// compared with the fp64 reference on at least 64 rows of several batch entries and heads, and in
// full, on the device, with the first output that was right.
int fj_trial_check(struct fj_trial *trial, const struct fj_kernel *kernel,
                   struct fj_launch *launches);

// --- Between the files of the trial ---

// Device memory of the trial's; NULL with an error recorded.
void *fj_trial_alloc(struct fj_trial *trial, size_t bytes);
int fj_trial_upload(struct fj_trial *trial, void *device, const void *host, size_t bytes);
int fj_trial_download(struct fj_trial *trial, void *host, const void *device, size_t bytes);

// How many sets of tensors a problem with `bytes` of them gets.
void fj_trial_choose_sets(struct fj_trial *trial, double bytes);

// Makes a compact tensor in every set, its dimensions, from the outermost in memory, in the order
// of order[]; fills it when `filled`.
int fj_trial_tensor_make(struct fj_trial *trial, struct fj_trial_tensor *tensor,
                         enum fajit_dtype dtype, const int64_t shape[4], const int order[4],
                         bool filled);
// The tensor of one set.
int fj_trial_tensor_fill(struct fj_trial *trial, const struct fj_trial_tensor *tensor, int set);
size_t fj_trial_tensor_bytes(const struct fj_trial_tensor *tensor);

// Element `index` as it was filled, into `ret` (of the tensor's dtype).
void fj_trial_value(const struct fj_trial_tensor *tensor, int64_t element, void *ret);
int64_t fj_trial_offset(const struct fj_trial_tensor *tensor, int64_t a, int64_t b, int64_t c,
                        int64_t d);

// Distinct rows in [0, length): the first, the last, those beside each of the `n` boundaries and
// beside multiples of 64, and others; ascending. Returns how many, at most `max`.
int fj_trial_rows(int64_t length, const int64_t *boundaries, int n, int max, int64_t *ret_rows);

// trial_attn.c and trial_gemm.c: the tensors; the samples with their reference; how far
// `got` may be from it.
int fj_trial_attn_make(struct fj_trial *trial);
int fj_trial_gemm_make(struct fj_trial *trial);
int fj_trial_attn_samples(struct fj_trial *trial);
int fj_trial_gemm_samples(struct fj_trial *trial);
int fj_trial_attn_judge(const struct fj_trial *trial, const struct fj_trial_sample *sample,
                        const double *got);
int fj_trial_gemm_judge(const struct fj_trial *trial, const struct fj_trial_sample *sample,
                        const double *got);

// trial_samples.c: room for `count` samples of `rows` rows; the output on them against the
// reference.
int fj_trial_samples_alloc(struct fj_trial *trial, int count, int n_columns, bool lse);
void fj_trial_samples_free(struct fj_trial *trial);
int fj_trial_samples_judge(struct fj_trial *trial);

// trial_differ.c: the output in full against the first one that was right, which the first call
// keeps.
int fj_trial_differ_make(struct fj_trial *trial);
int fj_trial_differ_judge(struct fj_trial *trial);

#endif
