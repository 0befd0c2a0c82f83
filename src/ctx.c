// Context creation: parameters first, environment where they are zero, defaults last.
#include "ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "jit_jobs.h"
#include "kernels/abi.h"

// No version of a public struct will be larger; what is, was never set.
#define STRUCT_BYTES_MAX 65536

static int check_struct_size(const char *name, size_t given_bytes)
{
    if (given_bytes >= sizeof(size_t) && given_bytes <= STRUCT_BYTES_MAX)
        return FAJIT_OK;
    return fj_err(FAJIT_E_INVAL, "struct %s: struct_size is %zu; set it to sizeof(struct %s)", name,
                  given_bytes, name);
}

int fj_take_struct(const char *name, const void *from, void *ret_to, size_t known_bytes)
{
    size_t given_bytes;
    memcpy(&given_bytes, from, sizeof(given_bytes));
    int err = check_struct_size(name, given_bytes);
    if (err)
        return err;
    err = fj_abi_read(name, from, given_bytes, known_bytes, ret_to);
    if (err)
        return err;
    memcpy(ret_to, &known_bytes, sizeof(known_bytes));
    return FAJIT_OK;
}

int fj_give_struct(const char *name, const void *from, size_t known_bytes, void *ret_to)
{
    size_t given_bytes;
    memcpy(&given_bytes, ret_to, sizeof(given_bytes));
    int err = check_struct_size(name, given_bytes);
    if (err)
        return err;
    size_t common_bytes = given_bytes < known_bytes ? given_bytes : known_bytes;
    memcpy((char *)ret_to + sizeof(size_t), (const char *)from + sizeof(size_t),
           common_bytes - sizeof(size_t));
    return FAJIT_OK;
}

struct word {
    const char *text;
    int value;
};

// The value of an environment word; `fallback` when unset. An unknown word is an error: a typing
// mistake in a setting must not pass unseen.
static int env_word(const char *name, const struct word *words, int fallback, int *ret_value)
{
    const char *text = fj_env(name);
    *ret_value = fallback;
    if (!text)
        return FAJIT_OK;
    struct fj_buf known = {0};
    for (; words->text; words++) {
        if (strcmp(words->text, text) == 0) {
            *ret_value = words->value;
            fj_buf_free(&known);
            return FAJIT_OK;
        }
        fj_buf_printf(&known, " %s", words->text);
    }
    int err =
        fj_err(FAJIT_E_INVAL, "%s=%s is not one of:%s", name, text, known.data ? known.data : "");
    fj_buf_free(&known);
    return err;
}

static const char *or_env(const char *given, const char *name)
{
    return given ? given : fj_env(name);
}

static bool env_flag(const char *name)
{
    const char *text = fj_env(name);
    return text && strcmp(text, "0") != 0;
}

static int copy_string(const char *text, char **ret_copy)
{
    *ret_copy = text ? strdup(text) : NULL;
    return text && !*ret_copy ? fj_err(FAJIT_E_NOMEM, "no memory for a context") : FAJIT_OK;
}

static int check_words(const struct fajit_ctx_params *params)
{
    const struct {
        const char *name;
        int value, max;
    } words[] = {{"device", (int)params->device, FAJIT_DEVICE_NONE},
                 {"cache_mode", (int)params->cache_mode, FAJIT_CACHE_OFF},
                 {"log_level", (int)params->log_level, FAJIT_LOG_DEBUG},
                 {"tune_mode", (int)params->tune_mode, FAJIT_TUNE_FORCE}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (words[i].value < 0 || words[i].value > words[i].max)
            return fj_err(FAJIT_E_INVAL, "fajit_ctx_create: %s is %d; its enum has 0 to %d",
                          words[i].name, words[i].value, words[i].max);
    return FAJIT_OK;
}

static int read_environment(struct fajit_ctx_params *params)
{
    static const struct word cache_words[] = {
        {"rw", FAJIT_CACHE_RW}, {"ro", FAJIT_CACHE_RO}, {"off", FAJIT_CACHE_OFF}, {NULL, 0}};
    static const struct word log_words[] = {{"none", FAJIT_LOG_NONE},   {"error", FAJIT_LOG_ERROR},
                                            {"warn", FAJIT_LOG_WARN},   {"info", FAJIT_LOG_INFO},
                                            {"debug", FAJIT_LOG_DEBUG}, {NULL, 0}};
    static const struct word tune_words[] = {{"load", FAJIT_TUNE_LOAD},
                                             {"off", FAJIT_TUNE_OFF},
                                             {"on", FAJIT_TUNE_ON},
                                             {"force", FAJIT_TUNE_FORCE},
                                             {NULL, 0}};
    int value;
    int err = fj_ctx_read_device(params);
    if (err == 0 && params->tune_mode == FAJIT_TUNE_DEFAULT) {
        err = env_word("FAJIT_TUNE", tune_words, FAJIT_TUNE_LOAD, &value);
        params->tune_mode = (enum fajit_tune_mode)value;
    }
    if (err == 0 && params->cache_mode == FAJIT_CACHE_DEFAULT) {
        err = env_word("FAJIT_CACHE", cache_words, FAJIT_CACHE_RW, &value);
        params->cache_mode = (enum fajit_cache_mode)value;
    }
    if (err == 0 && params->log_level == FAJIT_LOG_NONE) {
        err = env_word("FAJIT_LOG", log_words, FAJIT_LOG_WARN, &value);
        params->log_level = (enum fajit_log_level)value;
    }
    params->emulated_gpu = or_env(params->emulated_gpu, "FAJIT_EMU");
    params->cache_dir = or_env(params->cache_dir, "FAJIT_CACHE_DIR");
    params->template_dir = or_env(params->template_dir, "FAJIT_TEMPLATE_DIR");
    params->nvrtc_path = or_env(params->nvrtc_path, "FAJIT_NVRTC");
    params->dump_dir = or_env(params->dump_dir, "FAJIT_DUMP");
    params->pack_path = or_env(params->pack_path, "FAJIT_PACK_PATH");
    params->record_path = or_env(params->record_path, "FAJIT_RECORD");
    params->tune_worker = or_env(params->tune_worker, "FAJIT_TUNE_WORKER");
    params->no_compile = params->no_compile || env_flag("FAJIT_NO_COMPILE");
    params->emulated_check = params->emulated_check || env_flag("FAJIT_EMU_CHECK");
    params->check = params->check || env_flag("FAJIT_CHECK");
    return err;
}

static int copy_strings(struct fajit_ctx *ctx, const struct fajit_ctx_params *params)
{
    int err = copy_string(params->template_dir, &ctx->template_dir);
    if (err == 0)
        err = copy_string(params->dump_dir, &ctx->dump_dir);
    if (err == 0)
        err = copy_string(params->nvrtc_path, &ctx->nvrtc_path);
    if (err == 0)
        err = copy_string(params->cache_dir, &ctx->cache_dir);
    return err ? err : copy_string(params->record_path, &ctx->record_path);
}

static void set_jit(struct fajit_ctx *ctx, const struct fajit_ctx_params *params)
{
    struct fj_jit *jit = &ctx->jit;
    jit->log = (struct fj_log){params->log, params->log_user, params->log_level};
    jit->template_dir = ctx->template_dir;
    if (jit->template_dir && !fj_file_exists(jit->template_dir))
        fj_log(&jit->log, FAJIT_LOG_WARN,
               "template_dir %s does not exist: templates come from the library alone",
               jit->template_dir);
    jit->dump_dir = ctx->dump_dir;
    jit->nvrtc_path = ctx->nvrtc_path;
    jit->no_compile = params->no_compile;
    jit->nvrtc_match = env_flag("FAJIT_NVRTC_MATCH");
    jit->want_ptx = params->device == FAJIT_DEVICE_EMULATED;
    jit->lineinfo = jit->want_ptx; // the emulated device names CUDA lines in its reports
}

static int set_store(struct fj_jit *jit, const struct fajit_ctx_params *params)
{
    jit->store.read_only = params->cache_mode == FAJIT_CACHE_RO;
    jit->store.log = jit->log;
    return params->store ? fj_take_struct("fajit_store", params->store, &jit->store.calls,
                                          sizeof(jit->store.calls))
                         : FAJIT_OK;
}

static int open_tune(struct fajit_ctx *ctx, const struct fajit_ctx_params *params)
{
    ctx->tune_mode = params->tune_mode;
    return fj_tune_open(
        &(struct fj_tune_setup){
            .dir = fj_disk_dir(ctx->jit.disk),
            .store = &ctx->jit.store,
            .read_only = params->cache_mode == FAJIT_CACHE_RO,
            .ignore = params->tune_mode == FAJIT_TUNE_OFF,
            .template_dir = ctx->template_dir,
            .gpu = &ctx->jit.gpu,
            .log = &ctx->jit.log,
        },
        &ctx->tune);
}

// What the worker measures is for this context's GPU, and reaches it through the directory.
static int open_worker(struct fajit_ctx *ctx, const struct fajit_ctx_params *params)
{
    char gpu[96];
    if (!params->tune_worker || !ctx->jit.has_device)
        return FAJIT_OK;
    fj_record_gpu(&ctx->jit.gpu, gpu);
    return fj_worker_create(params, ctx->ordinal, fj_disk_dir(ctx->jit.disk), gpu, &ctx->jit.log,
                            &ctx->worker);
}

void fj_ctx_nvrtc(struct fajit_ctx *ctx, char ret_text[16])
{
    const struct fj_nvrtc *nvrtc = atomic_load(&ctx->jit.nvrtc);
    ret_text[0] = '\0';
    if (nvrtc)
        snprintf(ret_text, 16, "%d.%d", nvrtc->major, nvrtc->minor);
}

static int open_parts(struct fajit_ctx *ctx, const struct fj_cuda *driver,
                      const struct fajit_ctx_params *params)
{
    struct fj_jit *jit = &ctx->jit;
    ctx->device_kind = params->device;
    ctx->emulated_check = params->emulated_check;
    ctx->check = params->check;
    int err = copy_strings(ctx, params);
    if (err)
        return err;
    set_jit(ctx, params);
    err = set_store(jit, params);
    if (err)
        return err;
    err = fj_ctx_open_device(ctx, driver, params);
    if (err)
        return err;
    jit->mem = fj_mem_create();
    jit->jobs = fj_jobs_create(jit, params->compile_threads);
    if (!jit->mem || !jit->jobs)
        return fj_err(FAJIT_E_NOMEM, "no memory for a context");
    err = fj_disk_open(
        &(struct fj_disk_params){
            .dir = ctx->cache_dir,
            .read_only = params->cache_mode == FAJIT_CACHE_RO,
            .off = params->cache_mode == FAJIT_CACHE_OFF,
            .max_bytes = params->cache_max_bytes,
            .log = &jit->log,
        },
        &jit->disk);
    if (err == 0)
        err = open_tune(ctx, params);
    if (err == 0)
        err = open_worker(ctx, params);
    if (err == 0)
        fj_ctx_open_packs(ctx, params->pack_path);
    return err;
}

int fj_ctx_create(const struct fj_cuda *driver, const struct fajit_ctx_params *params,
                  struct fajit_ctx **ret_ctx)
{
    struct fajit_ctx_params known = {.struct_size = sizeof(known)};
    int err = FAJIT_OK;
    if (!ret_ctx)
        return fj_err(FAJIT_E_INVAL, "fajit_ctx_create: ret_ctx is NULL");
    if (params)
        err = fj_take_struct("fajit_ctx_params", params, &known, sizeof(known));
    if (err == 0)
        err = check_words(&known);
    if (err == 0)
        err = read_environment(&known);
    if (err)
        return err;

    struct fajit_ctx *ctx = calloc(1, sizeof(*ctx));
    if (!ctx)
        return fj_err(FAJIT_E_NOMEM, "no memory for a context");
    pthread_mutex_init(&ctx->mutex, NULL);
    err = open_parts(ctx, driver, &known);
    if (err) {
        fajit_ctx_destroy(&ctx);
        return err;
    }
    *ret_ctx = ctx;
    return FAJIT_OK;
}

int fajit_ctx_create(const struct fajit_ctx_params *params, struct fajit_ctx **ret_ctx)
{
    return fj_ctx_create(NULL, params, ret_ctx);
}

static void free_kernel(void *user, void *kernel)
{
    struct fj_jit *jit = user;
    fj_log(&jit->log, FAJIT_LOG_WARN, "a plan outlived its context: destroy plans first");
    (void)kernel; // the plan still points at it: leaking beats a crash
}

// fajit_ctx_make_current's work undone, lest the thread keep a context that is no more.
static void forget_current(const struct fj_device *device)
{
    CUcontext current;
    if (device->retained && device->cuda->cuCtxGetCurrent(&current) == CUDA_SUCCESS &&
        current == device->context)
        device->cuda->cuCtxSetCurrent(NULL);
}

void fajit_ctx_destroy(struct fajit_ctx **ctx)
{
    if (!ctx || !*ctx)
        return;
    struct fj_jit *jit = &(*ctx)->jit;
    fj_jobs_destroy(&jit->jobs);
    fj_worker_destroy(&(*ctx)->worker);
    if (jit->mem)
        fj_mem_destroy(&jit->mem, free_kernel, jit);
    fj_ctx_close_packs(*ctx);
    fj_tune_close(&(*ctx)->tune);
    if (jit->disk)
        fj_disk_close(&jit->disk);
    if (atomic_load(&(*ctx)->made_current))
        forget_current(&jit->device);
    if (jit->has_device)
        fj_device_close(&jit->device);
    free((*ctx)->template_dir);
    free((*ctx)->dump_dir);
    free((*ctx)->nvrtc_path);
    free((*ctx)->cache_dir);
    free((*ctx)->record_path);
    fj_ctx_forget_problems(*ctx);
    pthread_mutex_destroy(&(*ctx)->mutex);
    free(*ctx);
    *ctx = NULL;
}
