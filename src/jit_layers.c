// The cache layers behind memory: the user directory, packs, the host's own storage.
#include "jit_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

static bool entry_matches_nvrtc(struct fj_jit *jit, const struct fj_entry *entry)
{
    const struct fj_nvrtc *nvrtc;
    if (!jit->nvrtc_match)
        return true;
    if (fj_jit_nvrtc(jit, &nvrtc))
        return false;
    char ident[48];
    fj_nvrtc_ident(nvrtc, ident);
    return strcmp(ident, entry->nvrtc) == 0;
}

static bool take_entry(struct fj_kernel *kernel, const struct fj_entry *entry)
{
    kernel->image = malloc(entry->image_bytes + 1);
    if (!kernel->image)
        return false;
    memcpy(kernel->image, entry->image, entry->image_bytes);
    ((char *)kernel->image)[entry->image_bytes] = '\0';
    kernel->image_bytes = entry->image_bytes;
    snprintf(kernel->target.name, sizeof(kernel->target.name), "%s", entry->target);
    kernel->target.is_ptx = entry->is_ptx;
    snprintf(kernel->nvrtc, sizeof(kernel->nvrtc), "%s", entry->nvrtc);
    kernel->registers = entry->registers;
    kernel->spill_bytes = entry->spill_bytes;
    kernel->local_bytes = entry->local_bytes;
    kernel->smem_static_bytes = entry->smem_static_bytes;
    kernel->smem_dynamic_bytes = entry->smem_dynamic_bytes;
    kernel->threads = entry->threads;
    return true;
}

bool fj_step_directory(struct fj_jit *jit, struct fj_kernel *kernel)
{
    double start = fj_now_us();
    struct fj_buf bytes = {0};
    struct fj_entry entry;
    bool hit = fj_disk_get(jit->disk, &kernel->key, &bytes, &entry) &&
               entry_matches_nvrtc(jit, &entry) && take_entry(kernel, &entry);
    fj_buf_free(&bytes);
    kernel->times.disk_us += fj_now_us() - start;
    if (hit) {
        kernel->origin = FAJIT_FROM_DISK;
        atomic_fetch_add(&jit->counters.disk_hits, 1);
        fj_log(&jit->log, FAJIT_LOG_DEBUG, "%s: cache hit in %.0f us", kernel->name,
               kernel->times.disk_us);
    }
    return hit;
}

static bool from_packs(struct fj_jit *jit, struct fj_kernel *kernel)
{
    struct fj_buf bytes = {0};
    struct fj_entry entry;
    bool hit = false;
    for (int i = 0; i < jit->pack_count && !hit; i++)
        hit = fj_pack_get(jit->packs[i], &kernel->key, &bytes, &entry) &&
              entry_matches_nvrtc(jit, &entry) && take_entry(kernel, &entry);
    fj_buf_free(&bytes);
    if (hit) {
        kernel->origin = FAJIT_FROM_PACK;
        atomic_fetch_add(&jit->counters.pack_hits, 1);
    }
    return hit;
}

static bool from_store(struct fj_jit *jit, struct fj_kernel *kernel)
{
    struct fj_buf bytes = {0};
    struct fj_entry entry;
    bool hit = fj_store_get(&jit->store, &kernel->key, &bytes, &entry) &&
               entry_matches_nvrtc(jit, &entry) && take_entry(kernel, &entry);
    fj_buf_free(&bytes);
    if (hit) {
        kernel->origin = FAJIT_FROM_STORE;
        atomic_fetch_add(&jit->counters.store_hits, 1);
    }
    return hit;
}

bool fj_step_disk(struct fj_jit *jit, struct fj_kernel *kernel)
{
    return fj_step_directory(jit, kernel) || from_packs(jit, kernel) || from_store(jit, kernel);
}

void fj_step_publish(struct fj_jit *jit, struct fj_kernel *kernel, const char *log)
{
    double start = fj_now_us();
    struct fj_entry entry = {
        .key = kernel->key,
        .is_ptx = kernel->target.is_ptx,
        .registers = kernel->registers,
        .spill_bytes = kernel->spill_bytes,
        .local_bytes = kernel->local_bytes,
        .smem_static_bytes = kernel->smem_static_bytes,
        .smem_dynamic_bytes = kernel->smem_dynamic_bytes,
        .threads = kernel->threads,
        .created_s = fj_time_s(),
        .image = kernel->image,
        .image_bytes = kernel->image_bytes,
        .source = kernel->rendering.text.data,
        .source_bytes = kernel->rendering.text.len,
        .log = log,
        .log_bytes = log ? strlen(log) : 0,
    };
    snprintf(entry.name, sizeof(entry.name), "%s", kernel->name);
    snprintf(entry.target, sizeof(entry.target), "%s", kernel->target.name);
    snprintf(entry.nvrtc, sizeof(entry.nvrtc), "%s", kernel->nvrtc);
    fj_disk_put(jit->disk, &entry);
    fj_store_put(&jit->store, &entry);
    kernel->times.publish_us = fj_now_us() - start;
}
