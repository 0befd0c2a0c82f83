// Small PTX kernels whose results on a GPU are kept in a file and asked of the emulated device.
//
// A case builds its PTX and operands from fixed seeds and runs through a driver table, so the same
// code records on libcuda and compares on the emulated driver.
#ifndef FJ_TEST_EMU_RECORD_H
#define FJ_TEST_EMU_RECORD_H

#include "base/buf.h"
#include "cuda/loader.h"

// How a result is judged.
enum rule {
    RULE_EXACT,    // bit for bit
    RULE_RELATIVE, // |difference| <= bound * |recorded|, or both the same special value
    RULE_ABSOLUTE, // |difference| <= bound, or both the same special value
    RULE_MATRIX,   // (k + 1) * 2^-23 * (|c| + sum |a * b|), bound being k + 1
    RULE_DIGEST,   // the payload is digests: bit for bit
};

struct device {
    const struct fj_cuda *cuda;
    CUcontext context;
    int ordinal;
    char name[96];
    int driver_version;
};

// A result: `bytes` of payload, in elements of `width` bytes of format `format` (a letter of
// operands.c, 'w' for words).
struct outcome {
    struct fj_buf payload;
    uint64_t digest; // of PTX and operands: a record of another kernel is refused
    char format;
    int width;
    enum rule rule;
    double bound;
    struct fj_buf magnitude; // RULE_MATRIX: fp32 sums of absolute values, when asked for
};

// Calls `visit` for every case of every group, with its name and outcome. False when a run failed:
// the message is printed. `want_magnitude` asks for the second run of RULE_MATRIX.
struct run {
    const struct device *device;
    bool want_magnitude;
    const char *only; // NULL, or a prefix of the names to run
    void (*visit)(void *user, const char *name, const struct outcome *outcome);
    void *user;
    int failures;
};

void run_lane_cases(struct run *run);
void run_wgmma_cases(struct run *run);
void run_tma_cases(struct run *run);
void run_cluster_cases(struct run *run);
void run_driver_cases(struct run *run);

// operands.c
// Fills `count` operands of format `letter` (8 bytes each, zero-extended); operand `which` of a
// case gets another sequence than its neighbours.
void fill_operands(char letter, const char *name, int which, int count, uint64_t *ret);
int letter_bytes(char letter);
uint64_t letter_sign_mask(char letter); // clears the signs of all elements
uint32_t hash_step(uint64_t *seed);     // the next pseudo-random word
uint64_t digest_of(const void *bytes, size_t len, uint64_t start);

// run.c
struct loaded {
    CUmodule module;
    CUfunction function;
};
bool load_kernel(const struct device *device, const char *ptx, const char *name, unsigned smem,
                 struct loaded *ret);
bool check_call(const struct device *device, CUresult result, const char *call, const char *name);
bool selected(const struct run *run, const char *name);
void renew_context(const struct device *device); // when a fault has ended it
void report_case(struct run *run, const char *name, struct outcome *outcome, bool ok);

#endif
