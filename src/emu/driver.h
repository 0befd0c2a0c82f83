// The objects behind the emulated driver's handles, and what its functions share.
#ifndef FJ_EMU_DRIVER_H
#define FJ_EMU_DRIVER_H

#include "base/err.h"
#include "base/thread.h"
#include "cuda/abi.h"
#include "emu/emu.h"
#include "emu/exec.h"

#include <stdatomic.h>

struct fj_emu_tracer;
struct fj_emu_counts;

// What a host may ask of the launches of a context.
struct fj_emu_settings {
    bool check;
    int threads;     // 0: all cores
    uint64_t budget; // warp instructions of one CTA; 0: the default
};

// Who looks on when this thread launches in the context.
void fj_emu_observers(CUcontext context, struct fj_emu_counts **ret_counts,
                      const struct fj_emu_tracer **ret_tracer);

#define FJ_EMU_MAX_DEVICES 512
#define FJ_EMU_COPIES 16 // of every model

// First word of every object: a handle of the wrong sort, or a destroyed one, is refused.
enum fj_emu_magic {
    FJ_EMU_MAGIC_CONTEXT = 0x63747831,
    FJ_EMU_MAGIC_MODULE = 0x6d6f6431,
    FJ_EMU_MAGIC_FUNCTION = 0x66756e31,
    FJ_EMU_MAGIC_STREAM = 0x73747231,
    FJ_EMU_MAGIC_EVENT = 0x65766e31,
    FJ_EMU_MAGIC_GRAPH = 0x67726131,
    FJ_EMU_MAGIC_EXEC = 0x67657831,
};

struct CUctx_st {
    enum fj_emu_magic magic;
    int device;
    const struct fj_gpu *gpu;
    fj_mutex lock;                // of what follows
    int references;               // of the primary context; 0: not active
    struct CUmod_st *modules;     // linked
    _Atomic CUresult broken;      // the fault that ended it
    _Atomic uint64_t memory_used; // bytes
    struct fj_emu_settings settings;
};

struct CUfunc_st {
    enum fj_emu_magic magic;
    CUmodule module;
    const struct fj_ptx_entry *entry;
    struct fj_emu_code *code;
    int registers, max_threads;
    int smem_dynamic_limit; // bytes
    int carveout;
    bool non_portable_cluster;
    uint32_t cluster[3]; // required; 0: not given
};

struct CUmod_st {
    enum fj_emu_magic magic;
    CUcontext context;
    struct CUmod_st *next;
    struct fj_ptx_module *ptx;
    uint64_t *var_addr; // of ptx->vars
    struct CUfunc_st *functions;
};

// One piece of work in a stream.
enum fj_emu_work_kind {
    FJ_EMU_WORK_LAUNCH,
    FJ_EMU_WORK_COPY,
    FJ_EMU_WORK_SET8,
    FJ_EMU_WORK_SET32,
    FJ_EMU_WORK_HOST,
};

struct fj_emu_work {
    enum fj_emu_work_kind kind;
    union {
        struct {
            CUfunction function;
            struct fj_emu_launch launch; // params: malloc'ed, owned by the work
        };
        struct {
            void *to; // host or device: both are host addresses
            const void *from;
            size_t bytes;
            bool to_device;
        };
        struct {
            CUdeviceptr at;
            uint32_t value;
            size_t count; // of bytes or words
        };
        struct {
            CUhostFn fn;
            void *user;
        };
    };
};

struct fj_emu_capture; // driver_graph.c

struct CUstream_st {
    enum fj_emu_magic magic;
    CUcontext context;
    unsigned flags;
    struct fj_emu_capture *capture; // NULL: work runs at once
    size_t last_work;               // of its work, the position after the latest in the capture
    bool joined;                    // nothing of it is left that the origin has not waited for
};

struct CUevent_st {
    enum fj_emu_magic magic;
    CUcontext context;
    unsigned flags;
    bool recorded;
    double time_us;
    uint64_t capture_id; // last recorded in this capture; 0: in none
    CUstream capture_stream;
    size_t position; // in the capture
};

// Records the sentence for cuGetErrorString (of this thread, for this code) and returns the code.
CUresult fj_emu_fail(CUresult code, const char *fmt, ...) FJ_PRINTF(2, 3);

// Frees a destroyed object later, when many others have been: until then its handle is refused.
void fj_emu_retire(void *object);

// Devices: the lines of base/gpus.def, then all of them again, FJ_EMU_COPIES times.
int fj_emu_device_count(void);
const struct fj_gpu *fj_emu_device(int ordinal); // NULL when there is none

// The calling thread's context, when it can still be used.
CUresult fj_emu_enter(CUcontext *ret_context);
bool fj_emu_ready(void); // cuInit was called
void fj_emu_context_own(CUcontext context, CUmodule module);
bool fj_emu_context_disown(CUcontext context, CUmodule module); // false: not its module

// Work. A stream is NULL, one of the two special handles, or a stream of this context.
CUresult fj_emu_stream_check(CUcontext context, CUstream stream);
bool fj_emu_is_default_stream(CUstream stream);
// Runs the work, or records it when the stream is capturing. Takes what the work owns.
CUresult fj_emu_enqueue(CUcontext context, CUstream stream, struct fj_emu_work *work);
CUresult fj_emu_work_run(CUcontext context, const struct fj_emu_work *work);
bool fj_emu_work_copy(const struct fj_emu_work *work, struct fj_emu_work *ret_copy);
void fj_emu_work_free(struct fj_emu_work *work);

// Captures. Calls that might wait or allocate are refused while a capture forbids them, and spoil
// it, as the driver's "potentially unsafe" calls do.
CUresult fj_emu_unsafe_call(const char *name);
// Work for the default stream would have to wait for a capturing one.
CUresult fj_emu_capture_check_default(CUcontext context);
CUresult fj_emu_capture_spoil(CUstream stream, CUresult code, const char *why);
CUresult fj_emu_capture_add(CUstream stream, struct fj_emu_work *work);
void fj_emu_capture_record(CUstream stream, CUevent event);
CUresult fj_emu_capture_wait(CUstream stream, CUevent event);
void fj_emu_capture_leave(CUstream stream); // the stream is being destroyed

// Launches.
void *fj_emu_params_new(uint32_t bytes); // zeroed and aligned; free() releases it
CUresult fj_emu_launch_run(CUcontext context, CUfunction function,
                           const struct fj_emu_launch *launch);
void fj_emu_module_destroy(CUmodule module);

// Entries of the table, by file. Every one has the signature of symbols.def.
#define FJ_CUDA_FN(name, args) CUresult fj_emu_##name args;
#define FJ_CUDA_FN_OPTIONAL(name, args) CUresult fj_emu_##name args;
#define FJ_NVRTC_FN(name, args)
#define FJ_NVRTC_FN_OPTIONAL(name, args)
#include "cuda/symbols.def"

#endif
