// The two function tables everything CUDA goes through: the driver's and NVRTC's.
#ifndef FJ_CUDA_LOADER_H
#define FJ_CUDA_LOADER_H

#include "base/buf.h"
#include "cuda/abi.h"

// One pointer per line of symbols.def. Filled from libcuda, from src/emu, or by a test's fake.
struct fj_cuda {
#define FJ_CUDA_FN(name, args) CUresult(*name) args;
#define FJ_CUDA_FN_OPTIONAL(name, args) CUresult(*name) args; // NULL on old drivers
#define FJ_NVRTC_FN(name, args)
#define FJ_NVRTC_FN_OPTIONAL(name, args)
#include "cuda/symbols.def"
};

struct fj_nvrtc {
#define FJ_CUDA_FN(name, args)
#define FJ_CUDA_FN_OPTIONAL(name, args)
#define FJ_NVRTC_FN(name, args) nvrtcResult(*name) args;
#define FJ_NVRTC_FN_OPTIONAL(name, args) nvrtcResult(*name) args;
#include "cuda/symbols.def"
    const char *(*nvrtcGetErrorString)(nvrtcResult);
    int major, minor;
    char path[256];
    char build_id[41]; // hex of the ELF build id, "" when there is none
};

// libcuda.so.1, once per process. FAJIT_E_NO_DEVICE lists the paths tried.
int fj_cuda_open(const struct fj_cuda **ret_cuda);

// libnvrtc at `path` (a file or a directory) when given, and no other; else the first of: already
// loaded, the private directory of the quick start, wheel directories, conda, CUDA_HOME and
// CUDA_PATH, the dynamic loader, /usr/local/cuda*. All of these for the driver's major version
// first (driver_version 0: unknown), then 13, then 12. FAJIT_E_NO_NVRTC lists the paths tried and
// how to install it.
int fj_nvrtc_open(const char *path, int driver_version, const struct fj_nvrtc **ret_nvrtc);

// What the two functions above find, and every path they tried for it; for `doctor`.
void fj_loader_report(const char *nvrtc_path, struct fj_buf *ret_text);

// FAJIT_OK, or FAJIT_E_CUDA (FAJIT_E_NOMEM, FAJIT_E_CONTEXT_LOST) with the call and driver's words.
int fj_cuda_check(const struct fj_cuda *cuda, CUresult result, const char *call);

#endif
