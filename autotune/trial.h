// One problem with tensors of its own on the device: what candidates are timed and judged on.
//
// Values are standard normal, the same for every candidate: element i of a tensor is a known
// function of i, so that the reference can be given any part of a tensor without a copy of it all.
#ifndef FJ_AUTOTUNE_TRIAL_H
#define FJ_AUTOTUNE_TRIAL_H

#include "jit.h"

struct fj_trial_tensor {
    enum fajit_dtype dtype;
    struct fj_view view; // compact, on the device
    int64_t elements;
    uint64_t shift; // sets the values of tensors apart
};

struct fj_trial {
    struct fj_jit *jit;
    struct fj_problem problem; // every size set
    struct fj_trial_tensor in[3], out, lse, bias;
    union {
        struct fj_attn_args attn;
        struct fj_gemm_args gemm;
    } args;
    int32_t *lengths_q, *lengths_k; // host copies; NULL when the problem has none
    void *memory[8];                // device; freed at the end
    int memory_count;
    void *workspace;
    size_t workspace_bytes;
    unsigned char *first; // output of the first candidate that was right; NULL before
    size_t first_bytes;
};

int fj_trial_create(struct fj_jit *jit, const struct fj_problem *problem,
                    struct fj_trial **ret_trial);
void fj_trial_destroy(struct fj_trial **trial);

// The launch of a loaded kernel on the trial's tensors. `ret_launch` must not move afterwards.
int fj_trial_bind(struct fj_trial *trial, const struct fj_kernel *kernel,
                  struct fj_launch *ret_launch);

// Launches once on poisoned outputs. FAJIT_E_INVAL when the output is wrong: compared with the fp64
// reference on 64 rows of several batch entries and heads, and in full with the first output that
// was right.
int fj_trial_check(struct fj_trial *trial, const struct fj_kernel *kernel,
                   struct fj_launch *launch);

// --- Between the files of the trial ---

// Device memory of the trial's; NULL with an error recorded.
void *fj_trial_alloc(struct fj_trial *trial, size_t bytes);
int fj_trial_upload(struct fj_trial *trial, void *device, const void *host, size_t bytes);
int fj_trial_download(struct fj_trial *trial, void *host, const void *device, size_t bytes);

// Makes a compact tensor whose dimensions, from the outermost in memory, are order[]; fills it
// when `filled`.
int fj_trial_tensor_make(struct fj_trial *trial, struct fj_trial_tensor *tensor,
                         enum fajit_dtype dtype, const int64_t shape[4], const int order[4],
                         bool filled);
int fj_trial_tensor_fill(struct fj_trial *trial, const struct fj_trial_tensor *tensor);
size_t fj_trial_tensor_bytes(const struct fj_trial_tensor *tensor);

// Element `index` as it was filled, into `ret` (of the tensor's dtype).
void fj_trial_value(const struct fj_trial_tensor *tensor, int64_t element, void *ret);
int64_t fj_trial_offset(const struct fj_trial_tensor *tensor, int64_t a, int64_t b, int64_t c,
                        int64_t d);
// Element `element` of a host copy of the output.
double fj_trial_read(const struct fj_trial_tensor *tensor, const void *host, int64_t element);

// Distinct rows in [0, length): the first, the last, those beside `boundary` and beside multiples
// of 64, and others; ascending. Returns how many, at most `max`.
int fj_trial_rows(int64_t length, int64_t boundary, int max, int64_t *ret_rows);

int fj_trial_attn_make(struct fj_trial *trial);
int fj_trial_gemm_make(struct fj_trial *trial);
// `host`: the output. `lse` may be NULL. FAJIT_E_INVAL says where it is wrong.
int fj_trial_attn_compare(struct fj_trial *trial, const void *host, const float *lse);
int fj_trial_gemm_compare(struct fj_trial *trial, const void *host);

#endif
