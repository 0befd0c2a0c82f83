// What a kernel family must say about itself. One struct fj_kernel_class per template; the list is
// registry.def, best first. No CUDA here: a launch is described, the caller carries it out.
#ifndef FJ_KERNELS_KERNEL_H
#define FJ_KERNELS_KERNEL_H

#include "base/gpu.h"
#include "codegen/params.h"
#include "kernels/problem.h"

// A tiled view of a tensor for TMA: the caller turns it into a CUtensorMap with the driver.
struct fj_tensor_map {
    enum fajit_dtype dtype;
    int rank;
    void *data;
    uint64_t dims[5];         // elements, innermost first
    uint64_t stride_bytes[4]; // of dims 1..rank-1
    uint32_t box[5];          // elements
    int swizzle_bytes;        // 0, 32, 64, 128
};

#define FJ_LAUNCH_ARGS_MAX 40
#define FJ_LAUNCH_BYTES_MAX 1536

// A launch as plain data, built on the stack: parameter values in order, and the grid.
struct fj_launch {
    unsigned grid[3], block, cluster, smem_bytes; // cluster: CTAs along x; 1 for none
    void *clear;                                  // device memory to zero first; NULL for none
    size_t clear_bytes;
    bool empty;    // nothing to do: no kernel is launched
    bool overflow; // more was pushed than fits: do not launch
    int n_args, n_maps;
    size_t used_bytes;
    void *args[FJ_LAUNCH_ARGS_MAX]; // into `bytes`
    struct fj_tensor_map maps[4];   // maps[i] is encoded into map_slots[i]
    void *map_slots[4];
    _Alignas(64) unsigned char bytes[FJ_LAUNCH_BYTES_MAX];
};

// Clears everything but `bytes`, sets cluster to 1.
void fj_launch_init(struct fj_launch *launch);
// Sets the grid; `empty` when a factor is 0. FAJIT_E_UNSUPPORTED when the driver would refuse it
// (x up to 2^31-1, y and z up to 65535).
int fj_launch_grid(struct fj_launch *launch, int64_t x, int64_t y, int64_t z);

// Parameters in the order of the kernel's signature; values are copied.
void fj_launch_push(struct fj_launch *launch, const void *value, size_t bytes);
void fj_launch_push_ptr(struct fj_launch *launch, const void *pointer);
void fj_launch_push_i32(struct fj_launch *launch, int32_t value);
void fj_launch_push_i64(struct fj_launch *launch, int64_t value);
void fj_launch_push_f32(struct fj_launch *launch, float value);
void fj_launch_push_map(struct fj_launch *launch, const struct fj_tensor_map *map);

// A tensor with its dimensions in the library's order, strides in elements.
struct fj_view {
    void *data;
    int64_t shape[4], stride[4];
};

// Launch arguments after the checks every family shares (shapes agree, pointers aligned, output
// does not overlap itself). Attention views are (batch, heads, seq, dim); LSE (batch, heads, seq,
// 1). Matmul views are (batch, rows, columns, 1) as stored.
struct fj_attn_args {
    struct fj_view q, k, v, o, lse;
    const int32_t *seqlens_q, *seqlens_k;
    float scale;
    void *workspace;
    size_t workspace_bytes;
};

struct fj_gemm_args {
    struct fj_view a, b, c;
    const void *bias;
    float alpha, beta;
    void *workspace;
    size_t workspace_bytes;
};

struct fj_cost {
    double flops, bytes, exps;                   // whole problem; 0 while a size is "any"
    double block_flops, block_bytes, block_exps; // one CTA, one KV (or K) block
};

// A problem with everything chosen: what the text bakes in.
struct fj_choice {
    const struct fj_kernel_class *kernel;
    struct fj_problem problem; // family and variant no longer AUTO
    struct fj_config config;   // every knob of the class set
};

struct fj_kernel_class {
    const char *name;          // "attn_fwd_mma"
    const char *template_name; // "attn_fwd_mma.cu"
    enum fajit_op op;
    enum fajit_family family;

    // Whether it can run the problem on that GPU with the variant asked for: FAJIT_OK, or
    // FAJIT_E_UNSUPPORTED with the rule that refuses.
    int (*check)(const struct fj_problem *problem, const struct fj_gpu *gpu);

    // Resolves AUTO variant and every knob: the fixed ones of the problem where set (refused with
    // the rule when impossible), defaults elsewhere. Fills choice->problem.variant and ->config.
    int (*configure)(const struct fj_gpu *gpu, struct fj_choice *choice);

    // Template parameters (symbol excluded: the caller adds kernel_name), and the meaning half of
    // the kernel symbol: "attn_fwd_mma_bf16_d128_causal".
    void (*params)(const struct fj_choice *choice, struct fj_params *ret_params);
    void (*meaning)(const struct fj_choice *choice, struct fj_buf *ret_text);

    // One line for the rendered heading: what it computes.
    const char *summary;

    int (*threads)(const struct fj_choice *choice);
    int (*smem_bytes)(const struct fj_choice *choice); // dynamic shared memory per CTA
    void (*cost)(const struct fj_choice *choice, struct fj_cost *ret_cost);

    // `args` is struct fj_attn_args or fj_gemm_args.
    size_t (*workspace_bytes)(const struct fj_choice *choice, const struct fj_gpu *gpu,
                              const void *args);
    // Fills grid, block, args. `ctas_per_sm` is the measured occupancy (at least 1).
    int (*bind)(const struct fj_choice *choice, const struct fj_gpu *gpu, int ctas_per_sm,
                const void *args, struct fj_launch *ret_launch);

    // Time of a configuration, for the tuner to rank by; every size is set. NULL: no model of its
    // own.
    double (*predict_us)(const struct fj_choice *choice, const struct fj_gpu *gpu);
};

// NULL-terminated, in order of preference (registry.def).
extern const struct fj_kernel_class *const fj_kernel_classes[];

// First class that accepts the problem and its fixed knobs; FAJIT_E_UNSUPPORTED tells each one's
// reason. A choice that needs more shared memory or threads than the GPU has is refused here.
int fj_kernel_choose(const struct fj_problem *problem, const struct fj_gpu *gpu,
                     struct fj_choice *ret_choice);
// The same over any NULL-terminated list.
int fj_kernel_choose_from(const struct fj_kernel_class *const *classes,
                          const struct fj_problem *problem, const struct fj_gpu *gpu,
                          struct fj_choice *ret_choice);

// Symbol of the kernel, NUL-terminated: "attn_fwd_mma_bf16_d128_causal__bm128_bn64_warps4".
int fj_kernel_symbol(const struct fj_choice *choice, char *ret_name, size_t size);

// Facts of a GPU model by compute capability, for compiling without a device: the largest common
// model of that capability (H200 for 90, ..). False when unknown.
bool fj_gpu_for_cc(int cc, struct fj_gpu *ret_gpu);

#endif
