// A case: one problem with real tensors, serving correctness and speed alike. Used by fajit-bench
// and by the numeric test suites; works through the public header alone.
#ifndef CASE_H
#define CASE_H

#include <fajit/fajit.h>

// How tensors lie in memory.
enum case_storage {
    CASE_COMPACT,    // row-major
    CASE_PADDED,     // gaps between rows, heads and batch entries
    CASE_PACKED_QKV, // Q, K and V are views of one projection's output (head dims must agree)
    CASE_OFFSET,     // base pointers at the smallest promised alignment, size-1 strides garbage
};

enum case_values {
    CASE_NORMAL,     // standard normal
    CASE_EXTREME,    // logits up to about 2.45e5
    CASE_INTEGERS,   // small integers: every partial sum is exact
    CASE_DIRTY_TAIL, // normal, with NaN and inf in K and V beyond seqlens_k
};

enum case_lengths { CASE_RANDOM_LENGTHS, CASE_FULL_LENGTHS, CASE_ZERO_LENGTHS, CASE_ONE_KEY };

struct case_options {
    uint64_t seed;
    enum case_storage storage;
    enum case_values values;
    enum case_lengths lengths;
    float scale;       // of the launch; 0: the plan's
    bool full;         // check every row however long that takes
    double full_flops; // check every row up to this much reference work; 0: 50e9
    bool watches;      // plan with //@watch lines, for traces
};

struct case_result {
    bool ok;
    double max_error, bound; // of the output, against the fp64 reference
    double plain_error;      // of the plain low-precision evaluation
    double max_lse_error;
    int64_t nan_count, checked;
    double reference_us;
    char message[512]; // why it is not ok
};

// A block of memory on the host and on the device, with guard bytes around and between the
// elements of its view.
struct case_block {
    unsigned char *host;
    void *device;
    size_t bytes;
};

struct case_tensor {
    struct case_block *block;
    size_t offset_bytes;      // of element 0 in the block
    struct fajit_tensor view; // data: device address of element 0
};

struct fcase {
    struct fajit_ctx *ctx;
    struct fajit_problem problem; // with every size set
    struct fajit_plan *plan;
    struct case_options options;
    struct case_block blocks[8];
    int block_count;
    struct case_tensor in[3], out, lse, bias; // Q K V, or A B
    int32_t *seqlens_q, *seqlens_k;           // host copies; NULL when not in the problem
    struct fajit_attn_args attn;
    struct fajit_gemm_args gemm;
};

// Plans the problem and makes its tensors. On failure returns a status with fajit_last_error().
int case_create(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                const struct case_options *options, struct fcase *ret_case);
void case_destroy(struct fcase *c);

int case_poison(struct fcase *c); // outputs and workspace to 0xff: NaN in every dtype
int case_launch(struct fcase *c); // and wait
int case_fetch(struct fcase *c);  // outputs to the host
// Launches once on poisoned outputs and compares with the reference.
int case_check(struct fcase *c, struct case_result *ret_result);
const void *case_args(const struct fcase *c);

// Shared by case_attn.c and case_gemm.c.
uint64_t case_random(uint64_t *state);
double case_normal(uint64_t *state);
struct case_block *case_block_add(struct fcase *c, size_t bytes, int *ret_err);
int case_block_upload(struct fcase *c, const struct case_block *block);
void *case_host(const struct case_tensor *tensor);
// The tensor's view with host addresses, for the reference.
struct fajit_tensor case_host_view(const struct case_tensor *tensor);
// A block of its own for a tensor whose dimensions, from the outermost in memory, are order[].
int case_tensor_make(struct fcase *c, struct case_tensor *tensor, enum fajit_dtype dtype, int ndim,
                     const int64_t *shape, const int *order);
void case_tensor_fill(struct fcase *c, struct case_tensor *tensor, uint64_t *state, double scale);
double case_element(const struct case_tensor *tensor, const int64_t *index);
// Bytes of the output's block that no element owns must still be poisoned.
bool case_guards_intact(const struct case_tensor *tensor);

int case_attn_make(struct fcase *c);
int case_attn_compare(struct fcase *c, struct case_result *result);
int case_gemm_make(struct fcase *c);
int case_gemm_compare(struct fcase *c, struct case_result *result);

#endif
