// The context: settings, read once, and the pipeline that works with them.
#ifndef FJ_CTX_H
#define FJ_CTX_H

#include "autotune/tune.h"
#include "base/thread.h"
#include "jit.h"
#include "rehearsal.h"
#include "tune_worker.h"

struct fajit_ctx {
    struct fj_jit jit;
    enum fajit_device_kind device_kind; // never DEFAULT
    int ordinal;                        // of the device, as device_ordinal counts
    bool emulated_check;
    bool check;                     // launches are checked and waited for: api_check.h
    atomic_bool made_current;       // by fajit_ctx_make_current, in whatever thread
    enum fajit_tune_mode tune_mode; // never DEFAULT
    struct fj_tune *tune;
    struct fj_worker *worker; // tunes in a process of its own; NULL: none was named
    char *record_path;        // FAJIT_RECORD; NULL: none
    fj_mutex mutex;           // of the list below
    char **noted;             // problems written there
    int noted_count;
    char *template_dir, *dump_dir, *nvrtc_path, *cache_dir; // own copies; NULL when unset
};

struct fajit_plan {
    struct fajit_ctx *ctx;
    struct fj_kernel *kernel;
    struct fj_choice choice;
    bool loaded;
    enum fajit_origin origin;
    struct fj_times times; // zero when the kernel was in memory
    struct fj_found found; // how the wanted choice was made
    bool fallback;         // `choice` is another one
};

// A template of the caller's own: what a plan is to a problem.
struct fajit_kernel {
    struct fajit_ctx *ctx;
    struct fj_kernel *kernel;
    struct fj_custom custom;
    bool loaded;
    enum fajit_origin origin;
    struct fj_times times;
    char from[160];  // how the knobs were set
    int param_count; // of the CUDA function; -1: the driver cannot tell
    size_t param_bytes[FAJIT_KERNEL_ARGS_MAX];
    struct fj_launches *noted; // launches are written down there, not made; NULL: they are made
};

// Asks the driver what a launch is checked against.
int fj_kernel_read_params(struct fajit_kernel *kernel);

// Searches the open knobs of `custom`; `result` receives what is known even when it fails.
int fj_kernel_search(struct fajit_ctx *ctx, const struct fj_custom *custom,
                     const struct fajit_kernel_trial *trial, const struct fajit_tune_params *params,
                     struct fajit_tune_result *result);
// Takes params->trial; FAJIT_E_INVAL when there is none or a callback is missing.
int fj_kernel_take_trial(const struct fajit_kernel_params *params,
                         struct fajit_kernel_trial *ret_trial);

// What plans and kernels have in common.
int fj_stream_is_capturing(const struct fj_jit *jit, void *stream, bool *ret_capturing);
void fj_info_of_kernel(const struct fj_kernel *kernel, bool loaded, struct fajit_plan_info *info);
void fj_info_of_times(const struct fj_times *times, struct fajit_plan_info *info);
int fj_copy_image(const struct fj_kernel *kernel, void **ret_image, size_t *ret_bytes);

// Gives the plan a kernel that is ready in place of the wanted one (`request`). Returns `status`,
// and the latest sentence with a word more, when there is none.
int fj_plan_fall_back(struct fajit_plan *plan, const struct fj_problem *problem,
                      const struct fj_jit_request *request, int status, bool *ret_hit);

// "13.0", or "" while no NVRTC is loaded.
void fj_ctx_nvrtc(struct fajit_ctx *ctx, char ret_text[16]);

// fajit_ctx_create with a driver of the caller's own, such as a test's; NULL: libcuda.
int fj_ctx_create(const struct fj_cuda *driver, const struct fajit_ctx_params *params,
                  struct fajit_ctx **ret_ctx);

// Which device is asked for, where `params` leaves it to FAJIT_DEVICE.
int fj_ctx_read_device(struct fajit_ctx_params *params);
// Opens it; `driver` as of fj_ctx_create.
int fj_ctx_open_device(struct fajit_ctx *ctx, const struct fj_cuda *driver,
                       const struct fajit_ctx_params *params);

// Opens the packs of a colon-separated list of files and directories; unusable ones are logged.
void fj_ctx_open_packs(struct fajit_ctx *ctx, const char *pack_path);
void fj_ctx_close_packs(struct fajit_ctx *ctx);

// Searches, in the worker when there is one, and takes up the records it made. FAJIT_OK also when
// the search was ended early with nothing found.
int fj_ctx_tune(struct fajit_ctx *ctx, const struct fj_problem *problem,
                const struct fajit_tune_params *params, struct fajit_tune_result *ret_result);

// Appends the problem to record_path, once per context.
void fj_ctx_note_problem(struct fajit_ctx *ctx, const struct fj_problem *problem);
void fj_ctx_note_custom(struct fajit_ctx *ctx, const struct fj_custom *custom);
void fj_ctx_forget_problems(struct fajit_ctx *ctx);

// Copies a caller's versioned struct into the library's: missing fields become zero.
// FAJIT_E_INVAL when struct_size is 0, FAJIT_E_UNSUPPORTED when a newer caller set fields that are
// unknown here.
int fj_take_struct(const char *name, const void *from, void *ret_to, size_t known_bytes);

// Writes the library's struct into a caller's that may be shorter.
int fj_give_struct(const char *name, const void *from, size_t known_bytes, void *ret_to);

#endif
