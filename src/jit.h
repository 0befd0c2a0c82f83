// The pipeline: a checked problem with its configuration in, a loaded kernel out.
#ifndef FJ_JIT_H
#define FJ_JIT_H

#include <stdatomic.h>

#include "base/thread.h"
#include "cache/disk.h"
#include "cache/mem.h"
#include "cache/pack.h"
#include "cache/store.h"
#include "codegen/template.h"
#include "cuda/module.h"
#include "cuda/nvrtc.h"
#include "kernels/custom.h"
#include "kernels/kernel.h"

#define FJ_PACKS_MAX 32

struct fj_jobs;

struct fj_jit_counters {
    atomic_uint_least64_t memory_hits, disk_hits, pack_hits, store_hits, misses, compiles;
};

// What the pipeline works with; owned by a context.
struct fj_jit {
    struct fj_log log;
    const char *template_dir, *dump_dir, *nvrtc_path; // NULL: none
    bool no_compile, nvrtc_match, lineinfo;
    bool want_ptx;   // the emulated device executes PTX
    bool has_device; // else kernels are compiled, never loaded
    struct fj_device device;
    struct fj_gpu gpu; // of the device, or the model compiled for
    struct fj_mem *mem;
    struct fj_disk *disk;
    struct fj_pack *packs[FJ_PACKS_MAX]; // read-only layers behind the directory, in order
    int pack_count;
    struct fj_store store; // the host's own, behind them
    struct fj_jobs *jobs;  // compile threads; NULL: requests always wait
    struct fj_jit_counters counters;
    _Atomic(const struct fj_nvrtc *) nvrtc; // NULL until something was compiled
};

struct fj_times {
    double render_us, key_us, disk_us, compile_us, load_us, publish_us;
};

// One kernel of this process, shared by every plan with the same text. Immutable once published,
// but for being loaded when the first plan that launches it asks for it.
struct fj_kernel {
    struct fj_key slot; // in fj_mem: digest of class and parameters
    struct fj_key key;  // of the cache entry: digest of the rendered text and its target
    bool watches;
    struct fj_choice choice;  // sizes in it are those of the first plan: do not use
    struct fj_custom *custom; // a template of the caller's, and no choice; NULL: one of ours
    char name[160];
    struct fj_target target;
    struct fj_rendering rendering;
    void *image;
    size_t image_bytes;
    char nvrtc[48];
    int registers, spill_bytes, local_bytes, smem_static_bytes, smem_dynamic_bytes, threads;
    enum fajit_origin origin;
    fj_mutex mutex; // of loading: the fields below are for who has seen fj_jit_kernel load it
    bool loaded;
    int ctas_per_sm; // 0 without a device
    struct fj_module module;
    struct fj_times times; // of making it
};

struct fj_jit_request {
    const struct fj_choice *choice;
    const struct fj_custom *custom; // with its knobs set; or NULL, and `choice` counts
    bool cached_only;               // FAJIT_E_NOT_CACHED instead of a compile
    bool capturing;                 // FAJIT_E_CAPTURE instead of a compile or a load
    bool no_wait; // FAJIT_E_BUSY instead of waiting for a compile, which goes on behind
    bool no_load;
    bool watches; // see codegen/template.h
};

// A kernel with one more reference; release it with fj_jit_release. `ret_hit` may be NULL: another
// plan had the kernel before. When the compile that an earlier request left behind has failed, its
// error is returned, once.
int fj_jit_kernel(struct fj_jit *jit, const struct fj_jit_request *request,
                  struct fj_kernel **ret_kernel, bool *ret_hit);
void fj_jit_release(struct fj_jit *jit, struct fj_kernel *kernel);

// Renders without compiling: for reading. `watches`: see codegen/template.h.
int fj_jit_render(struct fj_jit *jit, const struct fj_choice *choice, bool watches,
                  char ret_name[160], struct fj_rendering *ret_rendering);
int fj_jit_render_custom(struct fj_jit *jit, const struct fj_custom *custom, bool watches,
                         struct fj_rendering *ret_rendering);

// A kernel of the caller's own, known to nobody else, for measuring: rendered, and read from the
// cache or compiled, not loaded. Any thread; loading and dropping want the device.
int fj_jit_make(struct fj_jit *jit, const struct fj_choice *choice, struct fj_kernel **ret_kernel);
int fj_jit_make_custom(struct fj_jit *jit, const struct fj_custom *custom,
                       struct fj_kernel **ret_kernel);
int fj_jit_load(struct fj_jit *jit, struct fj_kernel *kernel);
void fj_jit_drop(struct fj_jit *jit, struct fj_kernel *kernel); // NULL is fine

// A kernel of the library's own, which is no kernel class's: compiled and loaded, not cached. For
// the tuner, which compiles anyway. Unload it with fj_module_unload.
int fj_jit_helper(struct fj_jit *jit, const struct fj_rendering *rendering, const char *name,
                  struct fj_module *ret_module);

// Enqueues what a kernel class described. The device's context must be current.
int fj_jit_launch(const struct fj_jit *jit, const struct fj_kernel *kernel,
                  struct fj_launch *launch, CUstream stream);

// PTX of a kernel's text, whatever its image is. The caller frees it.
int fj_jit_ptx(struct fj_jit *jit, const struct fj_kernel *kernel, char **ret_ptx);
// The same of a cache entry that holds a cubin: `key` in hex, `target` as "sm_90a".
int fj_jit_source_ptx(struct fj_jit *jit, const char *source, const char *name, const char *key,
                      const char *target, char **ret_ptx);

#endif
