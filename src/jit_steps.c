#include "jit_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/thread.h"
#include "jit_errors.h"
#include "kernels/heading.h"

#define SCHEMA "fajit-1"
// A waiter gives up after a few times the usual compile, then compiles for itself.
#define LOCK_WAIT_US 10e6
#define SLOW_COMPILE_US 100e3

struct fj_key fj_step_slot(const struct fj_jit_request *request)
{
    if (request->custom) {
        struct fj_key slot = fj_custom_slot(request->custom);
        slot.bytes[31] = (unsigned char)request->watches;
        return slot;
    }
    struct fj_params params = {0};
    request->choice->kernel->params(request->choice, &params);
    char text[FJ_PARAMS_MAX * 24];
    size_t used = 0;
    for (int i = 0; i < params.count; i++) {
        const struct fj_param *p = &params.items[i];
        const void *from = p->is_word ? (const void *)p->word : (const void *)&p->value;
        size_t size = p->is_word ? strlen(p->word) + 1 : sizeof(p->value);
        if (used + size > sizeof(text)) {
            // Folded: the digest of what came before stands for it.
            fj_checksum(text, used, (unsigned char *)text);
            used = 16;
        }
        memcpy(text + used, from, size);
        used += size;
    }
    struct fj_key slot = {{0}};
    fj_checksum(text, used, slot.bytes);
    memcpy(slot.bytes + 16, &request->choice->kernel, sizeof(request->choice->kernel));
    slot.bytes[31] = (unsigned char)request->watches;
    return slot;
}

int fj_render_choice(struct fj_jit *jit, const struct fj_choice *choice, bool watches,
                     char ret_name[160], struct fj_rendering *ret_rendering)
{
    const struct fj_template *tmpl;
    int err = fj_template_get(jit->template_dir, choice->kernel->template_name, &tmpl);
    if (err)
        return err;

    struct fj_params params = {0};
    struct fj_buf heading = {0};
    err = fj_kernel_symbol(choice, ret_name, 160);
    if (err == 0)
        err = fj_kernel_heading(choice, jit->gpu.cc, &heading);
    if (err == 0) {
        choice->kernel->params(choice, &params);
        fj_params_word(&params, "kernel_name", ret_name);
        err = fj_template_render(tmpl,
                                 &(struct fj_render_params){
                                     .params = &params,
                                     .heading = heading.data,
                                     .watches = watches,
                                 },
                                 ret_rendering);
    }
    fj_buf_free(&heading);
    return err;
}

static int dump_source(const char *dir, const char *name, const struct fj_rendering *rendering,
                       char *ret_path, size_t size)
{
    char file[200];
    snprintf(file, sizeof(file), "%s.cu", name);
    if (!fj_path_join(ret_path, size, dir, file))
        return fj_err(FAJIT_E_IO, "the path of %s in %s is too long", file, dir);
    int err = fj_file_mkdirs(dir, 0700);
    return err ? err : fj_file_publish(ret_path, rendering->text.data, rendering->text.len, 0600);
}

int fj_step_render(struct fj_jit *jit, struct fj_kernel *kernel)
{
    double start = fj_now_us();
    int err;
    if (kernel->custom) {
        memcpy(kernel->name, kernel->custom->name, sizeof(kernel->name));
        err = fj_jit_render_custom(jit, kernel->custom, kernel->watches, &kernel->rendering);
    } else {
        err = fj_render_choice(jit, &kernel->choice, kernel->watches, kernel->name,
                               &kernel->rendering);
    }
    kernel->times.render_us = fj_now_us() - start;
    if (err || !jit->dump_dir)
        return err;

    char path[512];
    if (dump_source(jit->dump_dir, kernel->name, &kernel->rendering, path, sizeof(path)))
        fj_log(&jit->log, FAJIT_LOG_WARN, "source not dumped: %s", fj_err_text());
    return FAJIT_OK;
}

int fj_step_key(struct fj_jit *jit, struct fj_kernel *kernel)
{
    double start = fj_now_us();
    // Without NVRTC's own list: the name depends on the GPU alone, so a hit needs no NVRTC.
    int err = fj_target_for(NULL, jit->gpu.cc, jit->want_ptx, &kernel->target);
    if (err)
        return err;
    struct fj_hash *hash = fj_hash_begin();
    if (!hash)
        return fj_err(FAJIT_E_NOMEM, "no memory for a hash");
    const char *options = fj_compile_options();
    const char *kind = jit->want_ptx ? "ptx" : "cubin";
    fj_hash_field(hash, "schema", SCHEMA, strlen(SCHEMA));
    fj_hash_field(hash, "source", kernel->rendering.text.data, kernel->rendering.text.len);
    fj_hash_field(hash, "options", options, strlen(options));
    fj_hash_field(hash, "target", kernel->target.name, strlen(kernel->target.name));
    fj_hash_field(hash, "output", kind, strlen(kind));
    kernel->key = fj_hash_end(hash);
    kernel->times.key_us = fj_now_us() - start;
    return FAJIT_OK;
}

int fj_jit_nvrtc(struct fj_jit *jit, const struct fj_nvrtc **ret_nvrtc)
{
    *ret_nvrtc = atomic_load(&jit->nvrtc);
    if (*ret_nvrtc)
        return FAJIT_OK;
    int err = fj_nvrtc_open(jit->nvrtc_path, jit->gpu.driver_version, ret_nvrtc);
    if (err == 0)
        atomic_store(&jit->nvrtc, *ret_nvrtc);
    return err;
}

void fj_nvrtc_ident(const struct fj_nvrtc *nvrtc, char ret_text[48])
{
    snprintf(ret_text, 48, "%d.%d %.32s", nvrtc->major, nvrtc->minor, nvrtc->build_id);
}

// A source that does not compile is worth a file: where dumps go, else beside the cache, which is
// this user's own.
static bool save_failed(struct fj_jit *jit, const char *name, const struct fj_rendering *rendering,
                        char *ret_path, size_t size)
{
    char beside[400];
    const char *dir = jit->dump_dir, *cache = NULL;
    if (!dir && jit->disk && fj_disk_writable(jit->disk))
        cache = fj_disk_dir(jit->disk);
    if (cache && fj_path_join(beside, sizeof(beside), cache, "failed"))
        dir = beside;
    return dir && dump_source(dir, name, rendering, ret_path, size) == 0;
}

int fj_compile_rendering(struct fj_jit *jit, const struct fj_rendering *rendering, const char *name,
                         const struct fj_key *key, bool want_ptx, struct fj_target *ret_target,
                         struct fj_compiled *ret_compiled)
{
    const struct fj_nvrtc *nvrtc;
    int err = fj_jit_nvrtc(jit, &nvrtc);
    if (err == 0)
        err = fj_target_for(nvrtc, jit->gpu.cc, want_ptx, ret_target);
    if (err)
        return err;
    char seed[65], path[512], file[200];
    fj_key_hex(key, seed);
    snprintf(file, sizeof(file), "%s.cu", name);
    err = fj_compile(nvrtc,
                     &(struct fj_compile_params){
                         .source = rendering->text.data,
                         .name = file,
                         .target = *ret_target,
                         .seed_hex = seed,
                         .lineinfo = jit->lineinfo,
                     },
                     ret_compiled);
    if (err != FAJIT_E_COMPILE)
        return err;
    if (!save_failed(jit, name, rendering, path, sizeof(path)))
        snprintf(path, sizeof(path), "%s (not saved: FAJIT_DUMP takes a directory)", name);
    return fj_compile_error(&jit->log, rendering, path, ret_compiled->log);
}

static void take_compiled(struct fj_kernel *kernel, struct fj_compiled *compiled)
{
    kernel->image = compiled->image;
    kernel->image_bytes = compiled->image_bytes;
    compiled->image = NULL;
    kernel->registers = compiled->registers;
    kernel->spill_bytes = compiled->spill_bytes;
    kernel->local_bytes = compiled->local_bytes;
    kernel->smem_static_bytes = compiled->smem_static_bytes;
    const struct fj_choice *choice = &kernel->choice;
    kernel->smem_dynamic_bytes =
        kernel->custom ? kernel->custom->smem_bytes : choice->kernel->smem_bytes(choice);
    kernel->threads = kernel->custom ? kernel->custom->threads : choice->kernel->threads(choice);
    kernel->origin = FAJIT_FROM_COMPILE;
}

static void warn_about(struct fj_jit *jit, const struct fj_kernel *kernel,
                       const struct fj_compiled *compiled)
{
    if (kernel->spill_bytes > 0)
        fj_log(&jit->log, FAJIT_LOG_WARN, "%s spills %d bytes: expect it to be slow", kernel->name,
               kernel->spill_bytes);
    if (compiled->wgmma_serialised)
        fj_log(&jit->log, FAJIT_LOG_WARN, "%s: ptxas serialised its wgmma: expect half the speed",
               kernel->name);
}

static int compile_and_publish(struct fj_jit *jit, struct fj_kernel *kernel)
{
    struct fj_compiled compiled = {0};
    const struct fj_nvrtc *nvrtc;
    double start = fj_now_us();
    int err = fj_compile_rendering(jit, &kernel->rendering, kernel->name, &kernel->key,
                                   jit->want_ptx, &kernel->target, &compiled);
    if (err == 0)
        err = fj_jit_nvrtc(jit, &nvrtc);
    if (err == 0) {
        kernel->times.compile_us = fj_now_us() - start;
        fj_nvrtc_ident(nvrtc, kernel->nvrtc);
        take_compiled(kernel, &compiled);
        atomic_fetch_add(&jit->counters.compiles, 1);
        fj_log(&jit->log,
               kernel->times.compile_us > SLOW_COMPILE_US ? FAJIT_LOG_INFO : FAJIT_LOG_DEBUG,
               "%s: compiled for %s in %.0f ms, %d registers", kernel->name, kernel->target.name,
               kernel->times.compile_us / 1e3, kernel->registers);
        warn_about(jit, kernel, &compiled);
        fj_step_publish(jit, kernel, compiled.log);
    }
    fj_compiled_free(&compiled);
    return err;
}

int fj_step_compile(struct fj_jit *jit, bool cached_only, struct fj_kernel *kernel)
{
    atomic_fetch_add(&jit->counters.misses, 1);
    if (cached_only || jit->no_compile) {
        char hex[65];
        fj_key_hex(&kernel->key, hex);
        return fj_err(FAJIT_E_NOT_CACHED,
                      "%s for %s is not in the cache (key %.16s) and compiling was ruled out: warm "
                      "the cache with fajit-tune",
                      kernel->name, kernel->target.name, hex);
    }
    struct fj_disk_lock *lock = fj_disk_lock(jit->disk, &kernel->key, LOCK_WAIT_US);
    int err = fj_step_directory(jit, kernel) ? FAJIT_OK : compile_and_publish(jit, kernel);
    fj_disk_unlock(lock);
    return err;
}

static int load(struct fj_jit *jit, struct fj_kernel *kernel)
{
    double start = fj_now_us();
    int err = fj_module_load(&jit->device, kernel->image, kernel->name,
                             (unsigned)kernel->smem_dynamic_bytes, &kernel->module);
    if (err == 0)
        err = fj_module_occupancy(&jit->device, &kernel->module, (unsigned)kernel->threads,
                                  (unsigned)kernel->smem_dynamic_bytes, &kernel->ctas_per_sm);
    if (err)
        fj_module_unload(&jit->device, &kernel->module);
    kernel->times.load_us = fj_now_us() - start;
    return err;
}

int fj_step_load(struct fj_jit *jit, struct fj_kernel *kernel)
{
    int err = FAJIT_OK;
    pthread_mutex_lock(&kernel->mutex);
    if (!kernel->loaded)
        err = load(jit, kernel);
    kernel->loaded = err == FAJIT_OK;
    pthread_mutex_unlock(&kernel->mutex);
    return err;
}

bool fj_kernel_is_loaded(struct fj_kernel *kernel)
{
    pthread_mutex_lock(&kernel->mutex);
    bool loaded = kernel->loaded;
    pthread_mutex_unlock(&kernel->mutex);
    return loaded;
}

struct fj_kernel *fj_kernel_new(const struct fj_jit_request *request)
{
    struct fj_kernel *kernel = calloc(1, sizeof(*kernel));
    if (!kernel) {
        fj_err(FAJIT_E_NOMEM, "no memory for a kernel");
        return NULL;
    }
    if (request->choice)
        kernel->choice = *request->choice;
    if (request->custom && !(kernel->custom = malloc(sizeof(*kernel->custom)))) {
        free(kernel);
        fj_err(FAJIT_E_NOMEM, "no memory for a kernel");
        return NULL;
    }
    if (request->custom)
        *kernel->custom = *request->custom;
    kernel->watches = request->watches;
    pthread_mutex_init(&kernel->mutex, NULL);
    return kernel;
}

void fj_kernel_free(struct fj_jit *jit, struct fj_kernel *kernel)
{
    if (!kernel)
        return;
    if (kernel->module.module)
        fj_module_unload(&jit->device, &kernel->module);
    fj_rendering_free(&kernel->rendering);
    free(kernel->image);
    free(kernel->custom);
    pthread_mutex_destroy(&kernel->mutex);
    free(kernel);
}
