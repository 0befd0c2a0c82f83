// Looking into the cache, and the report of `fajit-tune doctor`.
#include <fajit/fajit.h>

#include <stdio.h>
#include <string.h>

#include "ctx.h"

int fajit_cache_stats(struct fajit_ctx *ctx, struct fajit_cache_stats *ret_stats)
{
    if (!ctx || !ret_stats)
        return fj_err(FAJIT_E_INVAL, "fajit_cache_stats: an argument is NULL");
    struct fj_disk_stats disk = {0};
    fj_disk_stats(ctx->jit.disk, &disk);
    const struct fj_jit_counters *counters = &ctx->jit.counters;
    struct fajit_cache_stats stats = {
        .entries = disk.entries,
        .bytes = disk.bytes,
        .max_bytes = disk.max_bytes,
        .memory_hits = atomic_load(&counters->memory_hits),
        .disk_hits = atomic_load(&counters->disk_hits),
        .pack_hits = atomic_load(&counters->pack_hits),
        .misses = atomic_load(&counters->misses),
        .compiles = atomic_load(&counters->compiles),
        .corrupt = disk.corrupt + atomic_load(&ctx->jit.store.corrupt),
        .soft_errors = disk.soft_errors,
        .store_hits = atomic_load(&counters->store_hits),
    };
    snprintf(stats.dir, sizeof(stats.dir), "%s", disk.dir ? disk.dir : "");
    snprintf(stats.note, sizeof(stats.note), "%s", disk.note ? disk.note : "");
    return fj_give_struct("fajit_cache_stats", &stats, sizeof(stats), ret_stats);
}

struct visitor {
    int (*visit)(void *user, const struct fajit_cache_entry *entry);
    void *user;
};

static int visit_entry(void *user, const struct fj_entry *entry, uint64_t file_bytes,
                       int64_t used_s)
{
    const struct visitor *visitor = user;
    char key[65];
    fj_key_hex(&entry->key, key);
    const struct fajit_cache_entry shown = {
        .key = key,
        .name = entry->name,
        .arch = entry->target,
        .nvrtc = entry->nvrtc,
        .bytes = file_bytes,
        .used_s = used_s,
        .registers = entry->registers,
        .spill_bytes = entry->spill_bytes,
        .smem_bytes = entry->smem_dynamic_bytes + entry->smem_static_bytes,
    };
    return visitor->visit(visitor->user, &shown);
}

int fajit_cache_visit(struct fajit_ctx *ctx,
                      int (*visit)(void *user, const struct fajit_cache_entry *entry), void *user)
{
    if (!ctx || !visit)
        return fj_err(FAJIT_E_INVAL, "fajit_cache_visit: an argument is NULL");
    struct visitor visitor = {visit, user};
    return fj_disk_visit(ctx->jit.disk, visit_entry, &visitor);
}

int fajit_cache_ptx(struct fajit_ctx *ctx, const char *key, char **ret_ptx)
{
    struct fajit_cache_content content = {.struct_size = sizeof(content)};
    if (!ctx || !key || !ret_ptx)
        return fj_err(FAJIT_E_INVAL, "fajit_cache_ptx: an argument is NULL");
    int err = fajit_cache_read(ctx, key, &content);
    if (err)
        return err;
    if (content.is_ptx) {
        char *copy = strdup(content.image);
        err = copy ? FAJIT_OK : fj_err(FAJIT_E_NOMEM, "no memory for the PTX");
        if (copy)
            *ret_ptx = copy;
    } else if (!*content.source) {
        err = fj_err(FAJIT_E_UNSUPPORTED,
                     "no source is stored with %s, so there is no PTX of it: only its cubin",
                     content.name);
    } else {
        err = fj_jit_source_ptx(&ctx->jit, content.source, content.name, content.key, content.arch,
                                ret_ptx);
    }
    fajit_cache_content_free(&content);
    return err;
}

int fajit_ctx_report(struct fajit_ctx *ctx, char **ret_text)
{
    if (!ctx || !ret_text)
        return fj_err(FAJIT_E_INVAL, "fajit_ctx_report: an argument is NULL");
    struct fj_disk_stats disk = {0};
    struct fj_buf text = {0};
    const struct fj_jit *jit = &ctx->jit;
    fj_disk_stats(jit->disk, &disk);
    fj_buf_printf(&text, "fajit %s\n", fajit_version());
    if (jit->has_device)
        fj_buf_printf(&text, "device: %s, compute capability %d.%d, %d SMs\ndriver: CUDA %d.%d\n",
                      jit->gpu.name, jit->gpu.cc / 10, jit->gpu.cc % 10, jit->gpu.sm_count,
                      jit->gpu.driver_version / 1000, jit->gpu.driver_version % 1000 / 10);
    else
        fj_buf_printf(&text, "device: none, compiling for compute capability %d.%d\n",
                      jit->gpu.cc / 10, jit->gpu.cc % 10);
    fj_loader_report(jit->nvrtc_path, &text);
    fj_buf_printf(&text, "cache: %s\n", disk.dir && *disk.dir ? disk.dir : "memory only");
    if (disk.note && *disk.note)
        fj_buf_printf(&text, "cache note: %s\n", disk.note);
    fj_buf_printf(&text, "cache size: %llu entries, %.1f of %.1f MB\n",
                  (unsigned long long)disk.entries, (double)disk.bytes / 1e6,
                  (double)disk.max_bytes / 1e6);
    *ret_text = fj_buf_steal(&text);
    return *ret_text ? FAJIT_OK : fj_err(FAJIT_E_NOMEM, "no memory for the report");
}
