// fajit: attention and matmul kernels, rendered from templates, compiled at run time.
//
// The whole public interface. Reading order: a complete program, conventions, statuses, log,
// context, problems, plans, tensors and launch, looking inside, device memory, timing, tuning,
// your own kernels, traces and counts, references.
//
// A complete program (error handling left out):
//
//     struct fajit_ctx *ctx;
//     fajit_ctx_create(NULL, &ctx);                       // the thread's CUDA context
//     struct fajit_problem problem;
//     fajit_problem_parse("attn:bf16,h32/8,d128,bshd,causal", &problem);
//     struct fajit_plan *plan;
//     fajit_plan_create(ctx, &problem, NULL, &plan);      // renders, compiles or finds in cache
//     struct fajit_attn_args args = {
//         .struct_size = sizeof(args),
//         .q = fajit_tensor_4d(q, FAJIT_BF16, 2, 4096, 32, 128),
//         .k = fajit_tensor_4d(k, FAJIT_BF16, 2, 4096, 8, 128),
//         .v = fajit_tensor_4d(v, FAJIT_BF16, 2, 4096, 8, 128),
//         .o = fajit_tensor_4d(o, FAJIT_BF16, 2, 4096, 32, 128),
//     };
//     fajit_attn_launch(plan, &args, stream);
//     puts(fajit_plan_source(plan));                      // the CUDA C that ran
//     fajit_plan_destroy(&plan);
//     fajit_ctx_destroy(&ctx);
//
// Conventions
// - Functions return FAJIT_OK (0) or a negative fajit_status. Outputs (`ret_x`, last) are
//   untouched on failure, and fajit_last_error() has the sentence for a person.
// - Every params struct starts with `struct_size` (set it to sizeof). Zero in any other field
//   means its default. FAJIT_E_UNSUPPORTED when a field is set that only a newer fajit knows. A
//   struct need live only for the duration of the call.
// - `destroy` takes the address of the handle, sets it to NULL, and accepts NULL inside.
// - Strings returned live as long as the handle they came from, unless said otherwise.
// - Sizes in bytes end in `_bytes`, times in `_us`; strides and offsets count elements.
// - The library never writes to stdout or stderr and never exits.
#ifndef FAJIT_FAJIT_H
#define FAJIT_FAJIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FAJIT_API __attribute__((visibility("default")))

// --- Statuses ---------------------------------------------------------------------------------

enum fajit_status {
    FAJIT_OK = 0,
    FAJIT_E_INVAL = -1,         // an argument breaks a documented rule
    FAJIT_E_NOMEM = -2,         // host or device memory ran out
    FAJIT_E_UNSUPPORTED = -3,   // valid, but no kernel here can do it (yet)
    FAJIT_E_TEMPLATE = -4,      // a template does not render
    FAJIT_E_COMPILE = -5,       // NVRTC refused the rendered source
    FAJIT_E_CUDA = -6,          // the driver reported an error
    FAJIT_E_IO = -7,            // a file the caller named cannot be used
    FAJIT_E_NOT_CACHED = -8,    // cached-only effort, and nothing ready was found
    FAJIT_E_NO_NVRTC = -9,      // a compile is needed and libnvrtc was not found
    FAJIT_E_NO_DEVICE = -10,    // no driver, no GPU, or a context without a device
    FAJIT_E_CAPTURE = -11,      // the stream is capturing and nothing ready was found
    FAJIT_E_CONTEXT_LOST = -12, // a kernel faulted; the CUDA context is unusable
    FAJIT_E_BUSY = -13,         // a plan that does not wait, and its kernel is being compiled
};

// A short English name of a status; never NULL.
FAJIT_API const char *fajit_strerror(int status);

// The sentence for the calling thread's latest failure: what was asked, what is allowed, what to
// do. "" before any failure. Valid until this thread's next failing fajit call.
FAJIT_API const char *fajit_last_error(void);

// "MAJOR.MINOR.PATCH" of the library that is running.
FAJIT_API const char *fajit_version(void);

// --- Log --------------------------------------------------------------------------------------

enum fajit_log_level {
    FAJIT_LOG_NONE = 0,  // default without a callback
    FAJIT_LOG_ERROR = 1, // something asked for did not happen
    FAJIT_LOG_WARN = 2,  // it happened, degraded or slower than the user would expect
    FAJIT_LOG_INFO = 3,  // a compile over 100 ms, a tuning result, a fallback taken
    FAJIT_LOG_DEBUG = 4, // every pipeline step with its time
};

// Called from any thread that is inside fajit, and from its compile threads; must be thread-safe,
// must not call fajit.
typedef void (*fajit_log_fn)(void *user, enum fajit_log_level level, const char *text);

// --- Context ----------------------------------------------------------------------------------

enum fajit_device_kind {
    FAJIT_DEVICE_DEFAULT = 0, // FAJIT_DEVICE from the environment, else the CUDA driver's
    FAJIT_DEVICE_CUDA,        // libcuda.so.1
    FAJIT_DEVICE_EMULATED,    // the CPU executes the PTX; for tests and for learning
    FAJIT_DEVICE_NONE,        // render and compile for `arch`; launches are refused
};

enum fajit_cache_mode {
    FAJIT_CACHE_DEFAULT = 0, // FAJIT_CACHE from the environment, else read and write
    FAJIT_CACHE_RW,
    FAJIT_CACHE_RO,  // read what is there, write nothing
    FAJIT_CACHE_OFF, // no directory: memory, packs and the host's store
};

// The host's own storage, asked after memory, the cache directory and packs. Keys are text: 64 hex
// digits for a kernel, FAJIT_STORE_RECORDS for tuning records (lines of text). What comes back is
// validated in full, as a file would be: anything but the entry itself is a miss, counted as
// corrupt, and set again. Any pointer may be NULL. Thread-safety: called from any thread that is
// inside fajit and from its compile threads, several at a time; must not call fajit.
struct fajit_store {
    size_t struct_size;
    void *user; // first argument of each
    // 0 when there is something. The bytes are the host's, and copied before `release` is called.
    int (*get)(void *user, const char *key, const void **ret_bytes, size_t *ret_size);
    void (*release)(void *user, const char *key, const void *bytes);
    // Keeps a copy in the place of what is there, all of it or nothing: a kernel was compiled.
    void (*set)(void *user, const char *key, const void *bytes, size_t size);
    // Adds a copy to what is there: records were made.
    void (*append)(void *user, const char *key, const void *bytes, size_t size);
};

#define FAJIT_STORE_RECORDS "tuning.txt"

// Where configurations come from when the problem fixes no knobs.
enum fajit_tune_mode {
    FAJIT_TUNE_DEFAULT = 0, // FAJIT_TUNE from the environment, else FAJIT_TUNE_LOAD
    FAJIT_TUNE_LOAD,        // records, else rules; never times anything
    FAJIT_TUNE_OFF,         // rules alone
    FAJIT_TUNE_ON,          // planning tunes problems that have no record of their own
    FAJIT_TUNE_FORCE,       // planning tunes every problem, once per context
};

struct fajit_ctx_params {
    size_t struct_size;
    enum fajit_device_kind device;
    int device_ordinal;       // used when cu_context is NULL and no CUDA context is current; of an
                              // emulated device: its place in `emulated_gpu`, from 0
    void *cu_context;         // CUcontext to use; NULL: the current one, else the primary one
    const char *emulated_gpu; // "h200", "a100", "rtx4090", "t4", ..; default FAJIT_EMU, else h200.
                              // Several devices: "h200,h200,a100", each with memory of its own
    bool emulated_check;      // strict checks: uninitialised reads, races, async hazards
    const char *arch;         // "sm_90", ..: compile for it; required by FAJIT_DEVICE_NONE. With
                              // a device: its PTX is compiled for that one, which may be newer
    enum fajit_cache_mode cache_mode;
    const char *cache_dir;    // default $XDG_CACHE_HOME/fajit or ~/.cache/fajit
    uint64_t cache_max_bytes; // soft cap of the user directory; default 1 GiB
    const char *template_dir; // looked into before the templates inside the library
    const char *nvrtc_path;   // a libnvrtc, or its directory, to use instead of searching
    bool no_compile;          // never run NVRTC: cache hits only
    const char *dump_dir;     // every rendered source is also written here
    fajit_log_fn log;
    void *log_user;
    enum fajit_log_level log_level; // default FAJIT_LOG_WARN when `log` is set
    enum fajit_tune_mode tune_mode;
    const char *pack_path;   // packs, or directories of *.fjpack, separated by colons: read-only
                             // layers behind the cache directory; default FAJIT_PACK_PATH
    const char *record_path; // every problem planned is appended to this file, once per context:
                             // what fajit-tune warms from; default FAJIT_RECORD
    bool check; // every launch: pointers and extents against the driver's allocations, lengths on
                // the device against their limits, and a wait that says whose fault a fault is.
                // Slow, for finding mistakes; during a capture nothing is waited for or read.
                // Default FAJIT_CHECK
    const char *tune_worker; // the path of fajit-tune, of this version: fajit_tune, and plans that
                             // tune, measure in that process, and kernels of your own are tried in
                             // it first; default FAJIT_TUNE_WORKER
    const struct fajit_store *store; // copied; NULL: none
    int compile_threads;             // for plans that do not wait; default the cores, from 2 to 4
};

// Thread-safety: safe; any number of threads may use one context. It must outlive its plans.
struct fajit_ctx;

// Opens the device and reads the environment (FAJIT_DEVICE, FAJIT_CACHE, ..: see the README) for
// the fields left zero. `params` may be NULL. Leaves the thread's current CUDA context as it was.
FAJIT_API int fajit_ctx_create(const struct fajit_ctx_params *params, struct fajit_ctx **ret_ctx);
// Compiles that have not begun are forgotten, the others waited for.
FAJIT_API void fajit_ctx_destroy(struct fajit_ctx **ctx);

struct fajit_device_info {
    size_t struct_size;
    char name[96];          // "NVIDIA H200"; "NVIDIA H200 (emulated)"
    char arch[16];          // what is compiled for: "sm_90a"; "compute_90a" when that is PTX
    int compute_capability; // 90 for 9.0
    int sm_count;
    int smem_per_block_bytes; // the opt-in limit
    int64_t l2_bytes;
    int64_t memory_bytes;
    int driver_version;     // 13000 for CUDA 13.0; 0 without a driver
    char nvrtc_version[16]; // "13.0"; "" when none has been loaded
    char nvrtc_path[256];   // "" when none has been loaded
    bool emulated;
    int ordinal; // what device_ordinal calls it; 0 without a device
};

FAJIT_API int fajit_ctx_device(struct fajit_ctx *ctx, struct fajit_device_info *ret_info);

// How many devices there are of the kind that `params` (may be NULL) would open: device_ordinal may
// be 0 to one less. `ret_kind`, never DEFAULT, may be NULL. Opens none of them.
FAJIT_API int fajit_device_count(const struct fajit_ctx_params *params,
                                 enum fajit_device_kind *ret_kind, int *ret_count);

// --- Problems ---------------------------------------------------------------------------------

enum fajit_dtype { FAJIT_DTYPE_NONE = 0, FAJIT_F32, FAJIT_F16, FAJIT_BF16 };

// Order of a tensor's dimensions. Strides are free in all of them; only head_dim is unit-stride.
enum fajit_layout {
    FAJIT_BSHD = 0, // (batch, seq, heads, head_dim): what a QKV projection yields
    FAJIT_BHSD,     // (batch, heads, seq, head_dim)
    FAJIT_NSD,      // (batch * heads, seq, head_dim), 3-D
};

enum fajit_causal {
    FAJIT_CAUSAL_NONE = 0,
    FAJIT_CAUSAL_BOTTOM_RIGHT, // key j visible to query i when j <= i + len_k - len_q
    FAJIT_CAUSAL_TOP_LEFT,     // key j visible to query i when j <= i
};

// Kernel family: the instructions a kernel is built on.
enum fajit_family {
    FAJIT_FAMILY_AUTO = 0,
    FAJIT_FAMILY_SIMT, // fp32 FMA; any GPU; exact fp32; the one to read first
    FAJIT_FAMILY_MMA,  // mma.sync tensor cores; sm_75 and later
    FAJIT_FAMILY_SM90, // TMA and wgmma; sm_90a only
};

// Schedule: who computes what, when.
enum fajit_variant {
    FAJIT_VARIANT_AUTO = 0,
    FAJIT_VARIANT_V1,         // FlashAttention-1: CTA per head, outer loop over KV blocks
    FAJIT_VARIANT_V2,         // FlashAttention-2: CTA per block of query rows
    FAJIT_VARIANT_PERSISTENT, // CTAs stay resident and walk tiles; bit-equal to V2
};

// O = softmax(scale * Q K^T + mask) V, per batch entry and query head; query head h reads KV head
// h / (heads_q / heads_kv). Rows that see no key give O = 0 and LSE = -inf.
struct fajit_attn_desc {
    size_t struct_size;
    enum fajit_dtype dtype;    // of Q, K, V and O; arithmetic accumulates in fp32
    int64_t batch;             // 0: any (compile and warm only; launches always carry shapes)
    int64_t heads_q, heads_kv; // 0: any; heads_kv 0 with heads_q set: equal
    int64_t seq_q, seq_k;      // 0: any; they only choose the configuration
    int head_dim;              // of Q and K: 8 to 256 in steps of 8
    int head_dim_v;            // of V and O; 0: head_dim
    enum fajit_layout layout;
    enum fajit_causal causal;
    bool lse;                  // also write LSE = ln(sum exp(scale * S)) per row, fp32
    bool seqlens_q, seqlens_k; // per-batch lengths, int32, read on the device at launch
    float scale;               // 0: 1 / sqrt(head_dim); a launch may change it, not its sign
    int align_bytes;           // promise about pointers and strides; 0: 16
    enum fajit_family family;
    enum fajit_variant variant;
};

enum fajit_act { FAJIT_ACT_NONE = 0, FAJIT_ACT_RELU, FAJIT_ACT_GELU, FAJIT_ACT_SILU };

// How fp32 operands are multiplied. Ignored for fp16 and bf16.
enum fajit_math {
    FAJIT_MATH_DEFAULT = 0, // FAJIT_MATH_FMA: exact fp32 products
    FAJIT_MATH_FMA,
    FAJIT_MATH_TF32,   // operands rounded to 10 mantissa bits
    FAJIT_MATH_3XTF32, // three tf32 products: close to fp32 accuracy on tensor cores
};

// C = act(alpha * A B + beta * C + bias), A (m, k), B (k, n), C (m, n), per batch entry.
struct fajit_gemm_desc {
    size_t struct_size;
    enum fajit_dtype dtype;     // of A and B
    enum fajit_dtype out_dtype; // of C and bias; NONE: dtype
    int64_t batch;              // 0: any, 1 unless the tensors are 3-D
    int64_t m, n, k;            // 0: any
    bool trans_a, trans_b;      // stored transposed: A as (k, m), B as (n, k), row-major
    bool bias;                  // a length-n vector added to every row
    bool beta;                  // C is read: the launch's beta counts
    enum fajit_act act;
    enum fajit_math math;
    int align_bytes; // promise about pointers and strides; 0: 16, or what compact rows
                     // of the given sizes keep, if that is less
    enum fajit_family family;
    enum fajit_variant variant; // V2 (a CTA per tile) or PERSISTENT
};

enum fajit_op { FAJIT_OP_NONE = 0, FAJIT_OP_ATTN_FWD, FAJIT_OP_GEMM };

#define FAJIT_CONFIG_MAX 160

struct fajit_problem {
    size_t struct_size;
    enum fajit_op op;
    struct fajit_attn_desc attn;   // when op is FAJIT_OP_ATTN_FWD
    struct fajit_gemm_desc gemm;   // when op is FAJIT_OP_GEMM
    char config[FAJIT_CONFIG_MAX]; // "bm=128,bn=64": knobs to fix; the rest is chosen
};

// Parses a problem text such as "attn:bf16,b2,h16/4,q4096,k4096,d128,bshd,causal" (grammar: the
// README). A bad word is named with its position and the nearest valid one.
FAJIT_API int fajit_problem_parse(const char *text, struct fajit_problem *ret_problem);

// Writes the canonical text, NUL-terminated. Returns its length without the NUL (as snprintf: a
// result >= size_bytes means it was cut), or a negative status.
FAJIT_API int fajit_problem_format(const struct fajit_problem *problem, char *ret_text,
                                   size_t size_bytes);

// Whether a kernel exists for the problem on the context's GPU. Compiles nothing. On
// FAJIT_E_UNSUPPORTED the last error says which rule refuses it.
FAJIT_API int fajit_problem_check(struct fajit_ctx *ctx, const struct fajit_problem *problem);

// Renders the CUDA C of the kernel a problem gets on the context's GPU, without compiling it.
// `watches` keeps the template's //@watch lines as empty asm statements, for traces. `ret_source`
// is freed with fajit_free(); `ret_name` receives the kernel's symbol and may be NULL.
FAJIT_API int fajit_render(struct fajit_ctx *ctx, const struct fajit_problem *problem, bool watches,
                           char **ret_source, char *ret_name, size_t name_bytes);

// --- Plans ------------------------------------------------------------------------------------

enum fajit_effort {
    FAJIT_EFFORT_DEFAULT = 0, // recorded or default configuration; compile when not cached
    FAJIT_EFFORT_CACHED_ONLY, // FAJIT_E_NOT_CACHED instead of a compile
    FAJIT_EFFORT_TUNE,        // measure first when the problem has no record of its own: seconds.
                              // FAJIT_E_NO_DEVICE where nothing can be measured; FAJIT_TUNE=on and
                              // tune_mode ask for nothing that is not there
};

// What planning does when the kernel has to be compiled. One in memory, in the cache directory or
// in a pack is ready: it is read and loaded at once, whatever this says.
enum fajit_wait {
    FAJIT_WAIT = 0, // compile here, or wait for the thread that does
    FAJIT_NO_WAIT,  // FAJIT_E_BUSY, and a thread of the context compiles. The same call later gives
                    // FAJIT_E_BUSY while it does, then the plan; or the compile's error, once
    FAJIT_FALLBACK, // likewise, but another kernel that is ready serves meanwhile. The first of: a
                    // configuration of the same template in memory; one that records name; the
                    // default configuration; another template in memory; another family's default.
                    // fajit_plan_info tells; planning again later gives the wanted one. With
                    // nothing ready FAJIT_E_BUSY: a host that may block calls with FAJIT_WAIT,
                    // which joins the compile
};

struct fajit_plan_params {
    size_t struct_size;
    enum fajit_effort effort;
    void *stream; // CUstream the plan is about to be used on: while it captures, nothing
                  // compiles or loads (FAJIT_E_CAPTURE when nothing ready is found)
    bool no_load; // render and compile only; such a plan cannot be launched
    bool watches; // keep the template's //@watch lines for fajit_plan_trace: the same results
                  // from another text, with a cache entry of its own
    enum fajit_wait wait; // other than FAJIT_WAIT: nothing is tuned, FAJIT_EFFORT_TUNE is refused
    double tune_budget_s; // of planning that tunes; default 30
};

// Thread-safety: immutable after creation; launches may run concurrently.
struct fajit_plan;

// Takes a problem to a loaded kernel: choose, render, look up, compile, load. However many threads
// ask for one kernel, one compiles it. A plan fixes what the text bakes in (dtype, head dims, mask
// kind, switches, promised alignment) plus device and context; batch, lengths, strides, scale and
// pointers may change at every launch.
FAJIT_API int fajit_plan_create(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                                const struct fajit_plan_params *params,
                                struct fajit_plan **ret_plan);
FAJIT_API void fajit_plan_destroy(struct fajit_plan **plan);

// Plans many problems, compiling several at a time (`compile_threads`), and waits for all of them:
// before serving, or before a capture. `ret_plans` [count] receives a plan or NULL for each; it may
// be NULL, then the kernels are only left in the cache. `ret_statuses` [count] may be NULL. Returns
// the first failure, its sentence naming the problem; the others are planned all the same.
FAJIT_API int fajit_prepare(struct fajit_ctx *ctx, const struct fajit_problem *const *problems,
                            int count, const struct fajit_plan_params *params,
                            struct fajit_plan **ret_plans, int *ret_statuses);

// --- Tensors and launch -----------------------------------------------------------------------

#define FAJIT_MAX_DIMS 4

// A view of device memory owned by the caller. Strides in elements; a dimension of size 1 may have
// any stride. For GEMM, 2-D (rows, columns) or 3-D (batch, rows, columns). Sizes up to 2^30 - 4096.
// No element of an output is one of another tensor of the launch: kernels read inputs after they
// have begun to write. FAJIT_E_INVAL where that can be told from addresses and strides.
struct fajit_tensor {
    void *data;
    enum fajit_dtype dtype;
    int ndim;
    int64_t shape[FAJIT_MAX_DIMS];
    int64_t strides[FAJIT_MAX_DIMS];
};

// A compact row-major tensor of four (two) dimensions.
FAJIT_API struct fajit_tensor fajit_tensor_4d(void *data, enum fajit_dtype dtype, int64_t dim0,
                                              int64_t dim1, int64_t dim2, int64_t dim3);
FAJIT_API struct fajit_tensor fajit_tensor_2d(void *data, enum fajit_dtype dtype, int64_t rows,
                                              int64_t cols);

// Converts a DLTensor (dlpack.h, any 1.x; NULL strides mean compact) without taking ownership.
FAJIT_API int fajit_tensor_from_dlpack(const void *dl_tensor, struct fajit_tensor *ret_tensor);

struct fajit_attn_args {
    size_t struct_size;
    struct fajit_tensor q, k, v, o; // dims in the problem's layout
    struct fajit_tensor lse;        // fp32, (batch, heads_q, seq_q) or (batch * heads_q, seq_q)
    const int32_t *seqlens_q;       // device, [batch], 0 <= len <= seq_q; rows past it are zeroed
    const int32_t *seqlens_k;       // device, [batch], 0 <= len <= seq_k
    float scale;                    // 0: the plan's; of the plan's sign
    void *workspace;                // device, fajit_plan_workspace_bytes(); NULL when that is 0
    size_t workspace_bytes;
};

struct fajit_gemm_args {
    size_t struct_size;
    struct fajit_tensor a, b, c; // as stored; c is read when the problem has `beta`
    const void *bias;            // device, [n], out dtype; required with `bias`
    float alpha, beta;           // alpha 0 with use_alpha false: 1
    bool use_alpha;              // alpha counts even when it is 0
    void *workspace;             // device, fajit_plan_workspace_bytes(); NULL when that is 0
    size_t workspace_bytes;
};

// Bytes of workspace a launch with these arguments needs (`args` is the op's args struct). It
// needs no initialising; launches in flight at the same time need one each.
FAJIT_API int fajit_plan_workspace_bytes(const struct fajit_plan *plan, const void *args,
                                         size_t *ret_bytes);

// Enqueues the kernel on `stream` (a CUstream; NULL is the default stream) and returns. Allocates,
// locks, compiles and queries nothing (but for `check`): safe inside a CUDA graph capture. Shapes,
// strides, pointers and alignment are checked against the plan; FAJIT_E_INVAL enqueues nothing. The
// plan's CUDA context must be current.
FAJIT_API int fajit_attn_launch(const struct fajit_plan *plan, const struct fajit_attn_args *args,
                                void *stream);
FAJIT_API int fajit_gemm_launch(const struct fajit_plan *plan, const struct fajit_gemm_args *args,
                                void *stream);

// --- Looking inside ---------------------------------------------------------------------------

// Symbol of the kernel: meaning, two underscores, tuning.
FAJIT_API const char *fajit_plan_name(const struct fajit_plan *plan);

// The rendered CUDA C that was compiled, NUL-terminated.
FAJIT_API const char *fajit_plan_source(const struct fajit_plan *plan);

enum fajit_origin {
    FAJIT_FROM_MEMORY = 0, // another plan of this context holds the kernel
    FAJIT_FROM_DISK,       // read from the cache directory
    FAJIT_FROM_PACK,       // read from a read-only pack
    FAJIT_FROM_COMPILE,    // NVRTC ran
    FAJIT_FROM_STORE,      // from the host's own storage
};

struct fajit_plan_info {
    size_t struct_size;
    char template_name[64];
    char config[FAJIT_CONFIG_MAX]; // every knob, as --config takes it
    char arch[16];
    char key[65]; // SHA-256 of the cache key, hex
    enum fajit_origin origin;
    enum fajit_family family;   // never AUTO
    enum fajit_variant variant; // never AUTO
    int registers;              // per thread at kernel entry; -1 when only PTX was made
    int spill_bytes;            // stores plus loads; -1 when only PTX was made
    int smem_bytes;             // static plus dynamic, per CTA
    int threads;                // per CTA
    int ctas_per_sm;            // by registers, shared memory, threads; 0 without a device
    size_t image_bytes;         // of the cubin or PTX
    double flops;               // for the problem's full size; 0 while a size is "any"
    double bytes;               // least traffic: inputs once, outputs once
    double exps;                // exponentials; 0 for GEMM
    double block_flops, block_bytes, block_exps; // one CTA, one KV (or K) block
    double render_us, key_us, disk_us, compile_us, load_us, publish_us;
    // How the configuration was chosen: "fixed", "exact", "bucket", "nearest", "stale", "other
    // gpu", "arch" or "heuristic", a colon, and the record or rule. See the section on tuning. Of a
    // fallback: that of the kernel it stands in for.
    char config_from[160];
    bool fallback; // another kernel than the wanted one, which was not ready: plan again
};

FAJIT_API int fajit_plan_info(const struct fajit_plan *plan, struct fajit_plan_info *ret_info);

// PTX of the plan's kernel, compiled for the plan's arch. Runs NVRTC. Free with fajit_free().
FAJIT_API int fajit_plan_ptx(struct fajit_plan *plan, char **ret_ptx);

// A copy of the compiled image (cubin, or PTX text). Free with fajit_free().
FAJIT_API int fajit_plan_image(struct fajit_plan *plan, void **ret_image, size_t *ret_bytes);

FAJIT_API void fajit_free(void *memory);

// --- Cache ------------------------------------------------------------------------------------

struct fajit_cache_stats {
    size_t struct_size;
    char dir[256];  // "" when the disk cache is off
    char note[256]; // why it is off or read-only; "" when all is well
    uint64_t entries, bytes, max_bytes;
    uint64_t memory_hits, disk_hits, pack_hits, misses, compiles, corrupt, soft_errors;
    uint64_t store_hits; // `corrupt` counts what came from there too
};

FAJIT_API int fajit_cache_stats(struct fajit_ctx *ctx, struct fajit_cache_stats *ret_stats);

struct fajit_cache_entry {
    const char *key, *name, *arch, *nvrtc; // valid during the callback
    uint64_t bytes;                        // of the file
    int64_t used_s;                        // last use, seconds since the epoch
    int registers, spill_bytes, smem_bytes;
};

// Calls `visit` for every valid entry of the user directory, by name; stops when it returns
// non-zero and returns that.
FAJIT_API int fajit_cache_visit(struct fajit_ctx *ctx,
                                int (*visit)(void *user, const struct fajit_cache_entry *entry),
                                void *user);

// Evicts least recently used entries until at most `max_bytes` are left (0: all).
FAJIT_API int fajit_cache_gc(struct fajit_ctx *ctx, uint64_t max_bytes, uint64_t *ret_freed_bytes);

// An entry with everything in it. All but `struct_size` is owned by the struct.
struct fajit_cache_content {
    size_t struct_size;
    char key[65], name[160], arch[16], nvrtc[48];
    bool is_ptx; // the image is PTX text, else a cubin
    int registers, spill_bytes, smem_bytes, threads;
    int64_t created_s; // seconds since the epoch
    void *image;       // NUL-terminated when it is PTX
    size_t image_bytes;
    char *source, *log; // rendered CUDA C, NVRTC's words; NUL-terminated, "" when not stored
    void *memory;       // what fajit_cache_content_free frees
};

// Reads one entry of the directory or of a pack by its key, or the beginning of one (8 hex digits
// or more) that no other entry shares. FAJIT_E_NOT_CACHED when there is none.
FAJIT_API int fajit_cache_read(struct fajit_ctx *ctx, const char *key,
                               struct fajit_cache_content *ret_content);
FAJIT_API void fajit_cache_content_free(struct fajit_cache_content *content);

// PTX of an entry, found as fajit_cache_read finds it: its image when that is PTX, else its source
// compiled again for the entry's own target, as its cubin was. Free with fajit_free().
// FAJIT_E_NO_NVRTC where that compile finds none, FAJIT_E_UNSUPPORTED when no source is stored.
FAJIT_API int fajit_cache_ptx(struct fajit_ctx *ctx, const char *key, char **ret_ptx);

struct fajit_pack_info {
    size_t struct_size;
    uint64_t entries, bytes; // of the pack
    int records;             // tuning records in it
    uint64_t skipped;        // unpack: entries the directory had already
};

// Writes every entry of the cache directory and every tuning record into one file, which may be
// copied anywhere and used through `pack_path`.
FAJIT_API int fajit_pack_write(struct fajit_ctx *ctx, const char *path,
                               struct fajit_pack_info *ret_info);
// Copies a pack's entries and records into the cache directory. The pack is verified first:
// damaged ones are refused whole.
FAJIT_API int fajit_pack_unpack(struct fajit_ctx *ctx, const char *path,
                                struct fajit_pack_info *ret_info);
// Reads all of a pack. FAJIT_E_IO says what is damaged.
FAJIT_API int fajit_pack_verify(const char *path, struct fajit_pack_info *ret_info);

// Writes what a person needs to know when something is not found: NVRTC and driver paths tried,
// architectures, cache directory and its state. Free with fajit_free().
FAJIT_API int fajit_ctx_report(struct fajit_ctx *ctx, char **ret_text);

// --- Device memory ----------------------------------------------------------------------------

// For hosts without CUDA code of their own: tests, tools, the emulated device. All synchronous.

// Makes the context's CUDA context current in the calling thread, as launches need it.
FAJIT_API int fajit_ctx_make_current(struct fajit_ctx *ctx);

FAJIT_API int fajit_mem_alloc(struct fajit_ctx *ctx, size_t bytes, void **ret_memory);
FAJIT_API int fajit_mem_free(struct fajit_ctx *ctx, void *memory);
FAJIT_API int fajit_mem_upload(struct fajit_ctx *ctx, void *device, const void *host, size_t bytes);
FAJIT_API int fajit_mem_download(struct fajit_ctx *ctx, void *host, const void *device,
                                 size_t bytes);
FAJIT_API int fajit_mem_fill(struct fajit_ctx *ctx, void *device, uint8_t value, size_t bytes);
FAJIT_API int fajit_sync(struct fajit_ctx *ctx); // waits for all work of the context

// --- Timing -----------------------------------------------------------------------------------

struct fajit_time_params {
    size_t struct_size;
    int repeats;  // default 20
    int warmups;  // default 3
    bool keep_l2; // default: a buffer of twice the L2 is written before each launch
};

struct fajit_time {
    size_t struct_size;
    double median_us, p25_us, p75_us, min_us;
    int repeats;
};

// Times launches on the context's device with events. `args` is the op's args struct.
FAJIT_API int fajit_plan_time(struct fajit_plan *plan, const void *args,
                              const struct fajit_time_params *params, struct fajit_time *ret_time);

// --- Tuning -----------------------------------------------------------------------------------

// Which configuration of a kernel is fastest depends on the GPU and on the sizes. Tuning measures
// it; records keep what was measured; planning looks records up and times nothing, unless told to
// (FAJIT_EFFORT_TUNE, FAJIT_TUNE=on). The look-up answers with the first of: a record of this
// problem ("exact"), of one in the same bucket of sizes ("bucket"; powers of two and midpoints), of
// the nearest one within a factor of four ("nearest"), one made with another template or NVRTC
// ("stale"), one of another GPU of the same compute capability ("other gpu"), a table or, for sizes
// that the default's tiles cover badly, the ranking model ("arch"), the kernel's own rule
// ("heuristic"). fajit_plan_info says which in `config_from`.
//
// Timing twice may choose differently when two configurations are as fast as each other; only
// records give identical choices. Results repeat bit for bit per configuration, not across them:
// give all ranks of a job the same records (fajit-tune merge --vote).

struct fajit_tune_progress {
    size_t struct_size;
    const char *phase;         // "screen", "rounds", "finals", "done"
    int candidates;            // configurations worth compiling
    int compiled, timed, left; // left: still in the race
    const char *running;       // configuration on the device; "" while waiting for a compile
    const char *best;          // configuration; "" before there is one
    double best_us;            // 0 before there is one
    double default_us;         // of what runs without tuning; 0 before it was timed
    double elapsed_s, budget_s;
};

struct fajit_tune_params {
    size_t struct_size;
    double budget_s;    // after which nothing new begins; default 30
    int jobs;           // compiles at a time; default all cores
    int max_candidates; // default 24
    bool force;         // also when a search of this problem has ended before
    bool exhaustive;    // every configuration (up to max_candidates): hours; to judge the search by
    // A kernel of family sm90 waits on barriers: were it wrong, it might hang, and take the CUDA
    // context with it. A context without a `tune_worker` tries configurations of such kernels only
    // when this is set, or when a record (bundled ones included) shows that they ran on this GPU
    // before; and what faults all the same is FAJIT_E_CONTEXT_LOST, which names it. With a worker
    // everything is tried: what hangs is killed, what faults left out, and the search goes on.
    // Of a kernel of your own nobody knows what it waits for: see fajit_kernel_tune.
    bool try_all;
    // Called on the tuning thread, several times a second. Non-zero cancels: the best so far is
    // the result. May be NULL.
    int (*progress)(void *user, const struct fajit_tune_progress *progress);
    void *user;
    double silence_s; // of a worker, before it is killed as hanging; default 20
};

struct fajit_tune_result {
    size_t struct_size;
    char kernel[64];
    char config[FAJIT_CONFIG_MAX];
    enum fajit_family family;
    enum fajit_variant variant;
    double median_us, p25_us, p75_us;
    double default_us; // of what runs without tuning
    int candidates, compiled, timed;
    int64_t points;   // of the search spaces
    bool from_record; // nothing was timed: a search had ended before
    bool finished;    // false: the budget or the caller ended it early, or it left something out
                      // that nobody had seen run (try_all); a search that may do more looks again
    bool cancelled;
    bool noisy; // quartiles more than 5 % apart: something else used the GPU
    double elapsed_s;
    bool unsaved; // some record could not be written (a full disk): it lives in this context only
};

// Searches the configurations of a problem whose sizes are all set, on tensors of its own (as much
// device memory as the problem's, plus twice the L2). A configuration may win only when its output
// agrees with the fp64 reference on sampled rows and with the first right one in full. Every result
// is kept in `tuning.txt` of the cache directory as soon as it is known. FAJIT_E_CONTEXT_LOST names
// the configuration that faulted. One search per context at a time; others wait.
FAJIT_API int fajit_tune(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                         const struct fajit_tune_params *params,
                         struct fajit_tune_result *ret_result);

// What planning would choose now, without compiling: `kernel`, `config`, `family` and `variant` of
// `ret_choice`; `ret_from` receives what struct fajit_plan_info calls config_from.
FAJIT_API int fajit_tune_why(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                             struct fajit_tune_result *ret_choice, char *ret_from,
                             size_t from_bytes);

// One line of the records.
struct fajit_tune_record {
    const char *problem, *gpu, *kernel, *variant, *config; // all valid during the callback
    // "best"; "timed": right, and slower; "unchecked": dropped early; "spill", "wrong", "failed",
    // "fault"; "trying": the process that tried it died. Planning follows the first two.
    const char *verdict;
    const char *step; // of the look-up: "exact", ..
    const char *digest, *nvrtc, *origin;
    double median_us, p25_us, p75_us;
    int samples;
    int64_t time_s;      // seconds since the epoch; 0: bundled
    double predicted_us; // what the ranking model says of the configuration; 0 when it cannot
};

// Calls `visit` for every record that has a say about the problem, what planning prefers first, and
// then for what else was tried for it and is never served (`problem` NULL: for every record); stops
// when it returns non-zero and returns that.
FAJIT_API int fajit_tune_visit(struct fajit_ctx *ctx, const struct fajit_problem *problem,
                               int (*visit)(void *user, const struct fajit_tune_record *record),
                               void *user);

struct fajit_tune_merge {
    size_t struct_size;
    int records, bad_lines, disagreements; // of all files; disagreements: subjects of a vote
    char first_bad[256];                   // "FILE:LINE: reason"
};

// Writes the union of record files to `to` (replaced; may be one of them); of several lines about
// one thing the newest stays. `vote`: where files name different winners, the one most of them name
// becomes the only one. Damaged lines are passed over, counted, and the first is named; a file
// without any good line is FAJIT_E_IO, and nothing is written.
FAJIT_API int fajit_tune_merge_files(const char *const *paths, int count, bool vote, const char *to,
                                     struct fajit_tune_merge *ret_merge);

// --- Your own kernels -------------------------------------------------------------------------

// A template of yours gets what the library's own get: rendered, compiled, cached, tuned, shown. It
// is a file of the context's template directory (`template_dir`, FAJIT_TEMPLATE_DIR), written in
// the language of templates/README.md, with one kernel: extern "C" __global__ void $kernel_name(..
//
//     struct fajit_kernel_params params = {.struct_size = sizeof(params),
//                                          .values = "dtype=bf16,hidden=4096"};
//     struct fajit_kernel *kernel;
//     fajit_kernel_plan(ctx, "rmsnorm", &params, &kernel); // rmsnorm.cu
//     int64_t rows_per_cta = fajit_kernel_const(kernel, "rows_per_cta");
//     struct fajit_kernel_args args = {
//         .struct_size = sizeof(args),
//         .items = {FAJIT_ARG(x), FAJIT_ARG(weight), FAJIT_ARG(y), FAJIT_ARG(rows)},
//     };
//     struct fajit_grid grid = {.x = (rows + rows_per_cta - 1) / rows_per_cta};
//     fajit_kernel_launch(kernel, grid, &args, stream);
//     fajit_kernel_destroy(&kernel);
//
// - //@const threads is required: blockDim is (threads, 1, 1), 1 to 1024.
// - //@const smem_bytes, 0 when there is none, is the dynamic shared memory of a CTA
//   (extern __shared__), up to fajit_device_info's smem_per_block_bytes, above 48 KB too. Arrays
//   declared with a size come on top, 48 KB of them at most.
// - Both, as any constant, may be given as values, listed by //@tune, or computed by //@let from
//   others. A cluster is declared in the kernel: __cluster_dims__(n).
// - Parameters that a //@tune line lists may be left out. Then a record of a search chooses them,
//   or else the first values that the template's //@require rules and the GPU accept.

struct fajit_kernel; // Thread-safety: immutable after creation; launches may run concurrently.

// How a search launches a candidate and judges it. Both callbacks run on the thread that asked for
// the search, in the context's CUDA context, and may call what takes a const struct fajit_kernel,
// fajit_mem_* and fajit_sync; the candidate dies after the call.
struct fajit_kernel_trial {
    size_t struct_size;
    // Enqueues one launch on `stream`, as in real use, and does not wait: it is what is timed, with
    // an L2 that holds none of its data. The grid may follow the candidate's constants. Returns
    // FAJIT_OK, or a status that puts the candidate out. Where the context has a `tune_worker` it
    // is called once more before, for a candidate that is to be tried there: what it launches with
    // fajit_kernel_launch(candidate, ..) is checked as ever and noted, not enqueued; whatever else
    // it does happens.
    int (*launch)(void *user, const struct fajit_kernel *candidate, void *stream);
    // Called after one launch on the default stream has ended: whether what it wrote is right.
    // Returns 0 when it is, a positive number and the reason in `ret_why` when it is not, the
    // status of a fajit call that failed when it cannot tell.
    int (*judge)(void *user, const struct fajit_kernel *candidate, char *ret_why, size_t why_bytes);
    void *user;
    // Device memory filled with 0xff bytes (NaN) before the launch that is judged, lest what an
    // earlier candidate wrote pass for this one's. NULL: `judge` takes care itself.
    void *output;
    size_t output_bytes;
};

struct fajit_kernel_params {
    size_t struct_size;
    // "dtype=bf16,hidden=4096": parameters of the template; a name alone means name=1. The word
    // sizes=8192/4096 (up to four numbers, in an order of your own) tells the sizes of the work:
    // they choose among records, as a problem's do, and nothing else. NULL: none.
    const char *values;
    enum fajit_effort effort; // FAJIT_EFFORT_TUNE needs `trial`
    enum fajit_wait wait;     // not FAJIT_FALLBACK: nothing can stand in
    void *stream;             // as in struct fajit_plan_params
    bool no_load;             // render and compile only; such a kernel cannot be launched
    // What tuning needs, here and in fajit_kernel_tune. NULL: planning never tunes the template,
    // whatever FAJIT_TUNE says.
    const struct fajit_kernel_trial *trial;
};

// Renders, looks up, compiles, loads, as fajit_plan_create. `template_name`: a path below the
// directory, with or without ".cu". FAJIT_E_INVAL names a value the template does not take and the
// nearest parameter. FAJIT_E_TEMPLATE: there is no such template; or, as "template:line: ..", it is
// malformed, a parameter is missing, a //@require does not hold. FAJIT_E_UNSUPPORTED: the GPU has
// less than a CTA takes.
FAJIT_API int fajit_kernel_plan(struct fajit_ctx *ctx, const char *template_name,
                                const struct fajit_kernel_params *params,
                                struct fajit_kernel **ret_kernel);
FAJIT_API void fajit_kernel_destroy(struct fajit_kernel **kernel);

// The text alone, as fajit_render. `ret_name` may be NULL.
FAJIT_API int fajit_kernel_render(struct fajit_ctx *ctx, const char *template_name,
                                  const struct fajit_kernel_params *params, char **ret_source,
                                  char *ret_name, size_t name_bytes);

// An integer parameter or constant of the kernel, as given, chosen or computed. INT64_MIN when the
// template has none of that name.
FAJIT_API int64_t fajit_kernel_const(const struct fajit_kernel *kernel, const char *name);

struct fajit_grid {
    unsigned x, y, z; // in CTAs; y and z 0: 1
};

// The address of a variable that holds a parameter's value, and its size.
struct fajit_arg {
    const void *value;
    size_t bytes;
};
#define FAJIT_ARG(variable)                                                                        \
    {                                                                                              \
        &(variable), sizeof(variable)                                                              \
    }
#define FAJIT_KERNEL_ARGS_MAX 40

struct fajit_kernel_args {
    size_t struct_size;
    struct fajit_arg items[FAJIT_KERNEL_ARGS_MAX]; // in the order of the kernel's parameters; those
                                                   // left zero end the list
};

// Enqueues the kernel and returns, as fajit_attn_launch: safe in a graph capture. Values are copied
// before it returns. FAJIT_E_INVAL: the grid is empty or too large, or the arguments' number or
// sizes are not those of the kernel's parameters (drivers before CUDA 12.4 cannot tell: there they
// are the caller's word). `args` may be NULL for a kernel without parameters.
FAJIT_API int fajit_kernel_launch(const struct fajit_kernel *kernel, struct fajit_grid grid,
                                  const struct fajit_kernel_args *args, void *stream);

// Searches the values that the template's //@tune lines list and `params` leaves out: at most
// `max_candidates` (default 24) of them are tried, all when there are no more, else those around
// the best. //@require rules refuse without compiling. A candidate may win only when `trial` judges
// it right. Results are recorded like those of fajit_tune, under the template, its values and
// sizes, and followed from the next plan on. FAJIT_E_UNSUPPORTED when no candidate is right,
// FAJIT_E_CONTEXT_LOST names the one that faulted in this process.
//
// With a `tune_worker`, a candidate that no record shows to have run on this GPU is rehearsed
// before this process launches it: the worker makes the same launches (grid and argument bytes as
// `launch` gave them) on copies of every allocation that an 8-byte word of an argument, also inside
// a struct, points into, when it is aligned to 8 from the argument's beginning. What hangs there
// (`silence_s`) is killed, what faults ends with the worker; either is recorded, left out with a
// line of the log, never tried again, and the search goes on here. What is in the memory is copied
// once per search, when it is first met, through a file of the cache directory that has no name and
// so leaves nothing behind; every rehearsal starts from it. Pointers that lie in device memory are
// not followed, and whether the address in a CUtensorMap is found depends on how the driver packs
// it: what is not found points to nothing there, and the candidate is left out as one that faults.
// Tune such a kernel in a context without a worker, with `try_all`. Allocations of more than 4 GiB
// in all are not copied.
//
// Without a worker, and with a warning where one cannot do it for no fault of the candidate (it
// does not start, memory is short or too large, the cache directory cannot be written), a search
// launches only the values listed first, which planning would run anyway, and what records show to
// have run on this GPU, unless `try_all` is set. It returns the best of these; having left
// something out it is not `finished`, and a later one that may do more looks again. Planning tries
// this once per context and kernel.
FAJIT_API int fajit_kernel_tune(struct fajit_ctx *ctx, const char *template_name,
                                const struct fajit_kernel_params *params,
                                const struct fajit_tune_params *tune_params,
                                struct fajit_tune_result *ret_result);

// What planning would choose now, without compiling: `kernel` and `config` of `ret_choice`, as
// fajit_tune_why.
FAJIT_API int fajit_kernel_why(struct fajit_ctx *ctx, const char *template_name,
                               const struct fajit_kernel_params *params,
                               struct fajit_tune_result *ret_choice, char *ret_from,
                               size_t from_bytes);

// What the functions of the same name say of plans. Family and variant are AUTO, costs are 0;
// `config` has the values that were chosen, `config_from` says how.
FAJIT_API const char *fajit_kernel_name(const struct fajit_kernel *kernel);
FAJIT_API const char *fajit_kernel_source(const struct fajit_kernel *kernel);
FAJIT_API int fajit_kernel_info(const struct fajit_kernel *kernel,
                                struct fajit_plan_info *ret_info);
FAJIT_API int fajit_kernel_ptx(const struct fajit_kernel *kernel, char **ret_ptx);
FAJIT_API int fajit_kernel_image(const struct fajit_kernel *kernel, void **ret_image,
                                 size_t *ret_bytes);

// --- Traces and counts ------------------------------------------------------------------------

// The emulated device executes a kernel's PTX one warp instruction at a time, so it can show and
// count what it does. On other devices these functions give FAJIT_E_UNSUPPORTED. Both launch the
// plan with `args` (the op's args struct), wait, and write its outputs as any launch does.
// Thread-safety: safe; what other threads launch meanwhile is neither traced nor counted.

enum fajit_trace_kind {
    FAJIT_TRACE_LINE, // the warp has come to another source line
    FAJIT_TRACE_TILE, // it is at a //@watch and holds a part of a tile
};

struct fajit_trace_element {
    int row, col;
    float value;
};

// Valid during the callback. Lines are those of the text that fajit_render gives without watches.
// The compiler moves and merges instructions, so lines come in its order, some not at all.
struct fajit_trace_event {
    enum fajit_trace_kind kind;
    int line;         // of a tile: the line it stands behind
    const char *text; // that line
    uint32_t lanes;   // that execute it: bit i is lane i
    // Tiles only.
    const char *name;   // "S"
    const char *layout; // the watch's kind: "acc", "row", "grid", "smem_bf16", ..
    int rows, cols;     // of the whole tile; cols is 1 for a vector
    const struct fajit_trace_element *elements; // what the warp holds, by row, then column
    int n_elements;
};

struct fajit_trace_params {
    size_t struct_size;
    int cta[3];             // blockIdx x, y, z
    int warp;               // of the CTA
    int from_line, to_line; // events of these lines only; 0: from the first, to the last
    // Called in the order of execution. Non-zero ends the trace, not the launch. Must not call
    // fajit functions that take the plan or its context.
    int (*visit)(void *user, const struct fajit_trace_event *event);
    void *user;
};

// Follows one warp through the kernel. Tiles are shown by plans made with `watches`.
FAJIT_API int fajit_plan_trace(struct fajit_plan *plan, const void *args,
                               const struct fajit_trace_params *params);

// Classes of PTX instructions.
enum fajit_insn_class {
    FAJIT_INSN_INT,
    FAJIT_INSN_FLOAT,
    FAJIT_INSN_SPECIAL, // ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh
    FAJIT_INSN_CONVERT,
    FAJIT_INSN_MOVE, // mov, selp, shuffles, votes, predicates
    FAJIT_INSN_GLOBAL,
    FAJIT_INSN_SHARED, // ld, st, atom on shared memory
    FAJIT_INSN_LOCAL,
    FAJIT_INSN_PARAM,       // param and const
    FAJIT_INSN_MATRIX_MOVE, // ldmatrix, stmatrix
    FAJIT_INSN_MMA,
    FAJIT_INSN_ASYNC, // cp.async, bulk copies
    FAJIT_INSN_SYNC,  // barriers, mbarriers, fences
    FAJIT_INSN_CONTROL,
    FAJIT_INSN_CLASSES,
};

// "int", "matrix-move", ..; NULL for what is no class.
FAJIT_API const char *fajit_insn_class_name(int insn_class);

// What a launch did, the same every run. Warp instructions unless a comment says otherwise.
struct fajit_counts {
    size_t struct_size;
    uint64_t instructions[32]; // by enum fajit_insn_class
    uint64_t mma_ops;          // mma.sync and wgmma; wgmma once per warp
    uint64_t mma_flops;
    uint64_t ex2; // exponentials of threads
    uint64_t ldmatrix, stmatrix;
    uint64_t global_load_bytes, global_store_bytes;     // by threads
    uint64_t global_load_sectors, global_store_sectors; // of 32 bytes
    uint64_t bulk_load_bytes, bulk_store_bytes;         // cp.async.bulk, tensor copies included
    uint64_t shared_wavefronts;
    uint64_t shared_conflicts; // wavefronts beyond the fewest possible
    uint64_t barrier_waits;    // of warps that found a barrier incomplete
    uint64_t spin_retries;     // failed try_wait and test_wait, not in instructions
};

struct fajit_line_count {
    int line; // of fajit_plan_source
    uint64_t instructions;
};

// `ret_lines` (free with fajit_free) and `ret_line_count` may be NULL; lines in order, none twice.
FAJIT_API int fajit_plan_count(struct fajit_plan *plan, const void *args,
                               struct fajit_counts *ret_counts, struct fajit_line_count **ret_lines,
                               int *ret_line_count);

// --- References -------------------------------------------------------------------------------

// fp32 to and from a dtype, round to nearest even, on the host.
FAJIT_API int fajit_convert_from_f32(enum fajit_dtype dtype, const float *from, void *ret_to,
                                     size_t count);
FAJIT_API int fajit_convert_to_f32(enum fajit_dtype dtype, const void *from, float *ret_to,
                                   size_t count);
FAJIT_API size_t fajit_dtype_bytes(enum fajit_dtype dtype);

struct fajit_reference_params {
    size_t struct_size;
    enum fajit_dtype round_to; // NONE: all fp64. Else S and P are rounded to it: the plain
                               // low-precision evaluation a kernel's error is measured against
    const int64_t *rows;       // query rows to compute, of every batch entry and head; NULL: all
    int64_t n_rows;
    int threads; // 0: all cores
};

// The definition every attention kernel is judged by, in fp64 on the CPU. Tensors of `args` are in
// host memory. `ret_o` is (batch, heads_q, rows, head_dim_v) and `ret_lse` (batch, heads_q, rows),
// compact; either may be NULL.
FAJIT_API int fajit_reference_attention(const struct fajit_problem *problem,
                                        const struct fajit_attn_args *args,
                                        const struct fajit_reference_params *params, double *ret_o,
                                        double *ret_lse);

// The same for matrix products: `ret_c` is (batch, rows, n), compact; `rows` picks rows of C.
FAJIT_API int fajit_reference_gemm(const struct fajit_problem *problem,
                                   const struct fajit_gemm_args *args,
                                   const struct fajit_reference_params *params, double *ret_c);

#ifdef __cplusplus
}
#endif
#endif
