// Rendered source in, cubin or PTX out, with what ptxas said about it.
#ifndef FJ_CUDA_NVRTC_H
#define FJ_CUDA_NVRTC_H

#include "cuda/loader.h"

#define FJ_TARGET_MAX 16

struct fj_target {
    char name[FJ_TARGET_MAX]; // "sm_90a", "compute_120"
    bool is_ptx;              // only PTX is asked for
};

// The target for a compute capability (90 for 9.0): exact arch with the a or f suffix where there
// is one; PTX for the highest plain arch when the GPU is newer than this NVRTC. `want_ptx` asks
// for the PTX of the same arch (the emulated device, fajit-inspect ptx). `nvrtc` may be NULL: no
// check against its list.
int fj_target_for(const struct fj_nvrtc *nvrtc, int cc, bool want_ptx, struct fj_target *ret);

// "sm_90", "90", "sm_90a", "compute_90" to a compute capability; FAJIT_E_INVAL lists the known.
int fj_arch_parse(const char *text, int *ret_cc);

// The options that shape the code, in order, for the cache key: one string, space-separated.
// Target and lineinfo shape it too and are the key's own fields; options left out here change the
// log, or only names that no caller sees.
const char *fj_compile_options(void);

struct fj_compile_params {
    const char *source, *name; // name: shown in messages and by profilers
    struct fj_target target;
    const char *seed_hex; // for -frandom-seed: the source's hash
    bool lineinfo;
};

struct fj_compiled {
    void *image; // malloc'ed
    size_t image_bytes;
    char *log;                                                  // malloc'ed, NUL-terminated
    int registers, spill_bytes, smem_static_bytes, local_bytes; // -1 when the log has none
    bool wgmma_serialised; // ptxas warned C75xx: wgmma runs at a fraction of its speed
};

// FAJIT_E_COMPILE leaves NVRTC's log in ret_compiled->log. Compiles on its own thread's stack.
int fj_compile(const struct fj_nvrtc *nvrtc, const struct fj_compile_params *params,
               struct fj_compiled *ret_compiled);
void fj_compiled_free(struct fj_compiled *compiled);

#endif
