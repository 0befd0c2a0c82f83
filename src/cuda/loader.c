#include "cuda/loader.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/library.h"
#include "base/thread.h"
#include "cuda/nvrtc_search.h"

// Libraries stay loaded for the life of the process: both start threads and keep thread-local
// state, and others in the process may use them.

struct symbol {
    const char *name;
    size_t offset; // of the pointer in its table
    bool optional;
};

static const struct symbol cuda_symbols[] = {
#define FJ_CUDA_FN(name, args) {#name, offsetof(struct fj_cuda, name), false},
#define FJ_CUDA_FN_OPTIONAL(name, args) {#name, offsetof(struct fj_cuda, name), true},
#define FJ_NVRTC_FN(name, args)
#define FJ_NVRTC_FN_OPTIONAL(name, args)
#include "cuda/symbols.def"
};

static const struct symbol nvrtc_symbols[] = {
#define FJ_CUDA_FN(name, args)
#define FJ_CUDA_FN_OPTIONAL(name, args)
#define FJ_NVRTC_FN(name, args) {#name, offsetof(struct fj_nvrtc, name), false},
#define FJ_NVRTC_FN_OPTIONAL(name, args) {#name, offsetof(struct fj_nvrtc, name), true},
#include "cuda/symbols.def"
    {"nvrtcGetErrorString", offsetof(struct fj_nvrtc, nvrtcGetErrorString), false},
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static fj_mutex lock = FJ_MUTEX_INIT; // guards everything below

static struct fj_cuda cuda_table;
static bool cuda_ready;

struct nvrtc_library {
    void *handle;
    struct fj_nvrtc table;
    struct nvrtc_library *next;
};
static struct nvrtc_library *libraries; // one per handle, never removed

// The first required symbol that is missing, NULL when the table is complete.
static const char *fill(void *handle, const struct symbol *symbols, size_t count, void *ret_table)
{
    for (size_t i = 0; i < count; i++) {
        void *address = fj_library_symbol(handle, symbols[i].name);
        if (!address && !symbols[i].optional)
            return symbols[i].name;
        // The void pointer becomes a function pointer by its bytes, as POSIX allows.
        memcpy((char *)ret_table + symbols[i].offset, &address, sizeof(address));
    }
    return NULL;
}

static const char *const driver_names[] = {"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1",
                                           "libcuda.so"};

static int open_driver(void)
{
    void *handle = NULL;
    char reason[256] = "";
    for (size_t i = 0; i < COUNT(driver_names) && !handle; i++) {
        handle = fj_library_open(driver_names[i]);
        if (!handle && !*reason)
            strncat(reason, fj_library_error(), sizeof(reason) - 1);
    }
    if (!handle)
        return fj_err(FAJIT_E_NO_DEVICE,
                      "the CUDA driver was not found (tried %s, %s, %s; %s): install NVIDIA's "
                      "driver, or ask for the emulated device with FAJIT_DEVICE=emu",
                      driver_names[0], driver_names[1], driver_names[2], reason);
    const char *missing = fill(handle, cuda_symbols, COUNT(cuda_symbols), &cuda_table);
    if (missing)
        return fj_err(FAJIT_E_NO_DEVICE,
                      "the CUDA driver has no %s: it is older than CUDA 11.4, update it", missing);
    cuda_ready = true;
    return FAJIT_OK;
}

int fj_cuda_open(const struct fj_cuda **ret_cuda)
{
    pthread_mutex_lock(&lock);
    int status = cuda_ready ? FAJIT_OK : open_driver();
    pthread_mutex_unlock(&lock);
    if (status == FAJIT_OK)
        *ret_cuda = &cuda_table;
    return status;
}

// NVRTC opens its builtins by bare name with no RUNPATH, so a copy outside the loader's path finds
// them only if they are in memory already. A failure shows at the first compile, with its path.
static void load_builtins(const struct fj_nvrtc *nvrtc, const char *dir)
{
    struct fj_buf path = {0};
    fj_buf_printf(&path, "%s/libnvrtc-builtins.so.%d.%d", dir, nvrtc->major, nvrtc->minor);
    if (!path.failed && *dir)
        fj_library_open(path.data);
    fj_buf_free(&path);
}

// The table of a loaded library; NULL with `ret_reason` set when it cannot serve.
static const struct fj_nvrtc *adopt(void *handle, struct fj_buf *ret_reason)
{
    for (struct nvrtc_library *known = libraries; known; known = known->next) {
        if (known->handle == handle)
            return &known->table;
    }
    struct nvrtc_library *library = calloc(1, sizeof(*library));
    if (!library) {
        fj_buf_puts(ret_reason, "out of memory");
        return NULL;
    }
    struct fj_nvrtc *nvrtc = &library->table;
    const char *missing = fill(handle, nvrtc_symbols, COUNT(nvrtc_symbols), nvrtc);
    if (missing || nvrtc->nvrtcVersion(&nvrtc->major, &nvrtc->minor) != NVRTC_SUCCESS) {
        fj_buf_printf(ret_reason, "has no %s", missing ? missing : "version");
        free(library);
        return NULL;
    }
    void *address;
    char dir[sizeof(nvrtc->path)] = "";
    memcpy(&address, &nvrtc->nvrtcVersion, sizeof(address));
    if (fj_library_path(address, nvrtc->path, sizeof(nvrtc->path), dir, sizeof(dir)))
        load_builtins(nvrtc, dir);
    fj_library_build_id(address, nvrtc->build_id);
    library->handle = handle;
    library->next = libraries;
    libraries = library;
    return nvrtc;
}

struct attempt {
    const struct fj_nvrtc *found;
    struct fj_buf tried; // one path after the other, with what was wrong
};

static bool try_spot(void *user, const struct fj_spot *spot)
{
    struct attempt *attempt = user;
    if (spot->kind == FJ_SPOT_FILE && !spot->present) {
        fj_buf_printf(&attempt->tried, "\n  %s: nothing there", spot->path);
        return false;
    }
    bool look_only = spot->kind == FJ_SPOT_LOADED;
    void *handle = look_only ? fj_library_find(spot->path) : fj_library_open(spot->path);
    if (!handle && look_only)
        return false;
    if (!handle) {
        fj_buf_printf(&attempt->tried, "\n  %s: %s", spot->path, fj_library_error());
        return false;
    }
    struct fj_buf reason = {0};
    attempt->found = adopt(handle, &reason);
    if (!attempt->found)
        fj_buf_printf(&attempt->tried, "\n  %s: %s", spot->path, reason.len ? reason.data : "");
    fj_buf_free(&reason);
    return attempt->found != NULL;
}

static int report_missing(const char *path, const struct fj_buf *tried)
{
    const char *list = tried->len ? tried->data : "";
    if (path && *path)
        return fj_err(FAJIT_E_NO_NVRTC,
                      "the NVRTC asked for, %s, cannot be used: name libnvrtc.so.13 or .12, its "
                      "directory, or nothing to have it searched. Tried:%s",
                      path, list);
    return fj_err(FAJIT_E_NO_NVRTC,
                  "a kernel has to be compiled and libnvrtc was not found. Install one of: pip "
                  "install nvidia-cuda-nvrtc (CUDA 13) or nvidia-cuda-nvrtc-cu12; from NVIDIA's "
                  "repository apt install or dnf install cuda-nvrtc-13-0; Debian and Ubuntu: apt "
                  "install libnvrtc12. Or set FAJIT_NVRTC to a libnvrtc.so. Tried:%s",
                  list);
}

// `ret_attempt->tried` is to be freed.
static int search_nvrtc(const char *path, int driver_version, struct attempt *ret_attempt)
{
    *ret_attempt = (struct attempt){0};
    pthread_mutex_lock(&lock);
    bool found = fj_nvrtc_search(path, driver_version, try_spot, ret_attempt);
    pthread_mutex_unlock(&lock);
    return found ? FAJIT_OK : report_missing(path, &ret_attempt->tried);
}

int fj_nvrtc_open(const char *path, int driver_version, const struct fj_nvrtc **ret_nvrtc)
{
    struct attempt attempt;
    int status = search_nvrtc(path, driver_version, &attempt);
    fj_buf_free(&attempt.tried);
    if (status == FAJIT_OK)
        *ret_nvrtc = attempt.found;
    return status;
}

static void report_nvrtc(const char *path, int driver_version, struct fj_buf *ret_text)
{
    struct attempt attempt;
    if (search_nvrtc(path, driver_version, &attempt) == FAJIT_OK) {
        const struct fj_nvrtc *nvrtc = attempt.found;
        fj_buf_printf(ret_text, "  in use: %s, version %d.%d, build %s\n", nvrtc->path,
                      nvrtc->major, nvrtc->minor, *nvrtc->build_id ? nvrtc->build_id : "unknown");
        if (attempt.tried.len)
            fj_buf_printf(ret_text, "  tried before it:%s\n", attempt.tried.data);
    } else {
        fj_buf_printf(ret_text, "  in use: none\n  %s\n", fj_err_text());
    }
    fj_buf_free(&attempt.tried);
}

void fj_loader_report(const char *nvrtc_path, struct fj_buf *ret_text)
{
    const struct fj_cuda *cuda;
    int version = 0;
    fj_buf_puts(ret_text, "CUDA driver\n");
    if (fj_cuda_open(&cuda) != FAJIT_OK)
        fj_buf_printf(ret_text, "  %s\n", fj_err_text());
    else if (cuda->cuDriverGetVersion(&version) == CUDA_SUCCESS)
        fj_buf_printf(ret_text, "  libcuda.so.1: CUDA %d.%d\n", version / 1000,
                      version % 1000 / 10);
    fj_buf_puts(ret_text, "NVRTC\n");
    report_nvrtc(nvrtc_path, version, ret_text);
}
