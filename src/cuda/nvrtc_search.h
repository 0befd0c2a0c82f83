// Where a copy of libnvrtc may lie on this machine, best place first.
#ifndef FJ_CUDA_NVRTC_SEARCH_H
#define FJ_CUDA_NVRTC_SEARCH_H

#include <stdbool.h>

enum fj_spot_kind {
    FJ_SPOT_LOADED, // `path` is a soname that something else in the process may have loaded
    FJ_SPOT_FILE,   // `path` is a file when `present`, else a pattern that matched nothing
    FJ_SPOT_SONAME, // `path` is a soname for the dynamic loader to find
};

struct fj_spot {
    enum fj_spot_kind kind;
    const char *path; // valid during the visit
    bool present;
};

// Calls `visit` for every spot until it returns true, and returns whether it did. `path` (a file
// or a directory, NULL for none) rules out all others: a wish that cannot be met must not be
// answered with another library. `driver_version` as cuDriverGetVersion, 0 when unknown.
bool fj_nvrtc_search(const char *path, int driver_version,
                     bool (*visit)(void *user, const struct fj_spot *spot), void *user);

#endif
