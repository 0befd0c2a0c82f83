// Cache entries one by one, and many of them in one file.
#include <fajit/fajit.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctx.h"

#define PREFIX_DIGITS 8

int fajit_cache_gc(struct fajit_ctx *ctx, uint64_t max_bytes, uint64_t *ret_freed_bytes)
{
    if (!ctx || !ret_freed_bytes)
        return fj_err(FAJIT_E_INVAL, "fajit_cache_gc: an argument is NULL");
    return fj_disk_gc(ctx->jit.disk, max_bytes, ret_freed_bytes);
}

// --- One entry --------------------------------------------------------------------------------

struct prefix {
    const char *text;
    size_t len;
    struct fj_key found;
    int count;
};

static void try_key(struct prefix *prefix, const struct fj_key *key)
{
    char hex[65];
    fj_key_hex(key, hex);
    if (strncmp(hex, prefix->text, prefix->len) != 0)
        return;
    if (prefix->count && fj_key_equal(&prefix->found, key))
        return;
    prefix->found = *key;
    prefix->count++;
}

static int try_entry(void *user, const struct fj_entry *entry, uint64_t file_bytes, int64_t used_s)
{
    (void)file_bytes;
    (void)used_s;
    try_key(user, &entry->key);
    return 0;
}

static void try_packs(const struct fj_jit *jit, struct prefix *prefix)
{
    struct fj_buf bytes = {0};
    struct fj_entry entry;
    for (int p = 0; p < jit->pack_count; p++)
        for (int64_t i = 0; i < fj_pack_count(jit->packs[p]); i++)
            if (fj_pack_read(jit->packs[p], i, &bytes, &entry) == FAJIT_OK)
                try_key(prefix, &entry.key);
    fj_buf_free(&bytes);
}

static int resolve(struct fajit_ctx *ctx, const char *key, struct fj_key *ret_key)
{
    struct prefix prefix = {.text = key, .len = strlen(key)};
    if (fj_key_from_hex(key, ret_key))
        return FAJIT_OK;
    if (prefix.len < PREFIX_DIGITS || prefix.len > 64 ||
        strspn(key, "0123456789abcdef") != prefix.len)
        return fj_err(FAJIT_E_INVAL, "%s is no key: give %d to 64 hex digits of one", key,
                      PREFIX_DIGITS);
    int err = fj_disk_visit(ctx->jit.disk, try_entry, &prefix);
    if (err)
        return err;
    try_packs(&ctx->jit, &prefix);
    if (prefix.count > 1)
        return fj_err(FAJIT_E_INVAL, "%d entries begin with %s: give more digits", prefix.count,
                      key);
    if (prefix.count == 0)
        return fj_err(FAJIT_E_NOT_CACHED, "no entry begins with %s", key);
    *ret_key = prefix.found;
    return FAJIT_OK;
}

static bool find_bytes(struct fajit_ctx *ctx, const struct fj_key *key, struct fj_buf *bytes,
                       struct fj_entry *entry)
{
    const struct fj_jit *jit = &ctx->jit;
    bool found = fj_disk_get(jit->disk, key, bytes, entry);
    for (int i = 0; i < jit->pack_count && !found; i++)
        found = fj_pack_get(jit->packs[i], key, bytes, entry);
    return found;
}

// Image, source and log in one block.
static int copy_content(const struct fj_entry *entry, struct fajit_cache_content *content)
{
    char *memory = malloc(entry->image_bytes + entry->source_bytes + entry->log_bytes + 3);
    if (!memory)
        return fj_err(FAJIT_E_NOMEM, "no memory for a cache entry");
    content->memory = content->image = memory;
    memcpy(memory, entry->image, entry->image_bytes);
    memory[entry->image_bytes] = '\0';
    content->source = memory + entry->image_bytes + 1;
    content->log = content->source + entry->source_bytes + 1;
    if (entry->source_bytes)
        memcpy(content->source, entry->source, entry->source_bytes);
    content->source[entry->source_bytes] = '\0';
    if (entry->log_bytes)
        memcpy(content->log, entry->log, entry->log_bytes);
    content->log[entry->log_bytes] = '\0';
    content->image_bytes = entry->image_bytes;
    content->is_ptx = entry->is_ptx;
    content->registers = entry->registers;
    content->spill_bytes = entry->spill_bytes;
    content->smem_bytes = entry->smem_dynamic_bytes + entry->smem_static_bytes;
    content->threads = entry->threads;
    content->created_s = entry->created_s;
    fj_key_hex(&entry->key, content->key);
    snprintf(content->name, sizeof(content->name), "%s", entry->name);
    snprintf(content->arch, sizeof(content->arch), "%s", entry->target);
    snprintf(content->nvrtc, sizeof(content->nvrtc), "%s", entry->nvrtc);
    return FAJIT_OK;
}

static uint64_t count_corrupt(struct fajit_ctx *ctx)
{
    struct fj_disk_stats stats = {0};
    fj_disk_stats(ctx->jit.disk, &stats);
    return stats.corrupt;
}

// `corrupt`: how many entries had been found damaged before this one was looked for.
static int no_entry(struct fajit_ctx *ctx, const char *key, uint64_t corrupt)
{
    if (count_corrupt(ctx) == corrupt)
        return fj_err(FAJIT_E_NOT_CACHED, "no entry has the key %s", key);
    return fj_err(FAJIT_E_NOT_CACHED,
                  "the entry %s is damaged, and removed where that is allowed: what needs it "
                  "compiles it again",
                  key);
}

int fajit_cache_read(struct fajit_ctx *ctx, const char *key,
                     struct fajit_cache_content *ret_content)
{
    struct fajit_cache_content content = {.struct_size = sizeof(content)};
    struct fj_buf bytes = {0}, text = {0};
    struct fj_entry entry;
    struct fj_key full;
    if (!ctx || !key || !ret_content)
        return fj_err(FAJIT_E_INVAL, "fajit_cache_read: an argument is NULL");
    const uint64_t corrupt = count_corrupt(ctx);
    int err = resolve(ctx, key, &full);
    if (err == 0 && !find_bytes(ctx, &full, &bytes, &entry))
        err = no_entry(ctx, key, corrupt);
    if (err == 0)
        err = fj_entry_read(bytes.data, bytes.len, &full, &entry, &text);
    if (err == 0)
        err = copy_content(&entry, &content);
    fj_buf_free(&bytes);
    fj_buf_free(&text);
    if (err)
        return err;
    err = fj_give_struct("fajit_cache_content", &content, sizeof(content), ret_content);
    if (err)
        free(content.memory);
    return err;
}

void fajit_cache_content_free(struct fajit_cache_content *content)
{
    if (!content)
        return;
    free(content->memory);
    content->memory = content->image = NULL;
    content->source = content->log = NULL;
}

// --- Packs ------------------------------------------------------------------------------------

struct packing {
    struct fajit_ctx *ctx;
    struct fj_pack_writer *writer;
    struct fj_buf bytes;
    uint64_t entries;
};

static int pack_entry(void *user, const struct fj_entry *header, uint64_t file_bytes,
                      int64_t used_s)
{
    struct packing *packing = user;
    struct fj_entry entry;
    (void)file_bytes;
    (void)used_s;
    fj_buf_clear(&packing->bytes);
    // A damaged entry is no loss to the pack: whoever needs it compiles it.
    if (!fj_disk_get(packing->ctx->jit.disk, &header->key, &packing->bytes, &entry))
        return 0;
    fj_pack_add(packing->writer, &entry.key, packing->bytes.data, packing->bytes.len);
    packing->entries++;
    return 0;
}

struct texts {
    struct fj_buf text;
    int count;
};

static int add_record(void *user, const struct fj_record *record, enum fj_lookup_step step,
                      double predicted_us)
{
    struct texts *texts = user;
    (void)step;
    (void)predicted_us;
    fj_record_print(record, &texts->text);
    texts->count++;
    return 0;
}

static void fill_info(const char *path, struct fajit_pack_info *info)
{
    struct fj_pack *pack;
    struct fj_buf text = {0};
    struct fj_records records = {0};
    if (fj_pack_open(path, &pack))
        return;
    info->entries = (uint64_t)fj_pack_count(pack);
    info->bytes = fj_pack_bytes(pack);
    if (fj_pack_text(pack, &text) == FAJIT_OK && text.len)
        fj_records_parse(&records, path, text.data, text.len, NULL, NULL);
    info->records = records.count;
    fj_records_free(&records);
    fj_buf_free(&text);
    fj_pack_close(&pack);
}

int fajit_pack_write(struct fajit_ctx *ctx, const char *path, struct fajit_pack_info *ret_info)
{
    struct fajit_pack_info info = {.struct_size = sizeof(info)};
    struct packing packing = {.ctx = ctx};
    struct texts texts = {.count = 0};
    if (!ctx || !path || !ret_info)
        return fj_err(FAJIT_E_INVAL, "fajit_pack_write: an argument is NULL");
    packing.writer = fj_pack_begin();
    if (!packing.writer)
        return fj_err(FAJIT_E_NOMEM, "no memory for a pack");
    int err = fj_disk_visit(ctx->jit.disk, pack_entry, &packing);
    fj_tune_visit(ctx->tune, NULL, "", add_record, &texts);
    int end = fj_pack_end(packing.writer, texts.text.data ? texts.text.data : "", texts.text.len,
                          err ? "" : path);
    err = err ? err : end;
    fj_buf_free(&packing.bytes);
    fj_buf_free(&texts.text);
    if (err)
        return err;
    fill_info(path, &info);
    return fj_give_struct("fajit_pack_info", &info, sizeof(info), ret_info);
}

int fajit_pack_verify(const char *path, struct fajit_pack_info *ret_info)
{
    struct fajit_pack_info info = {.struct_size = sizeof(info)};
    int64_t entries;
    if (!path || !ret_info)
        return fj_err(FAJIT_E_INVAL, "fajit_pack_verify: an argument is NULL");
    int err = fj_pack_verify(path, &entries);
    if (err)
        return err;
    fill_info(path, &info);
    return fj_give_struct("fajit_pack_info", &info, sizeof(info), ret_info);
}

static int unpack_entry(struct fajit_ctx *ctx, const struct fj_pack *pack, int64_t index,
                        struct fajit_pack_info *info)
{
    struct fj_buf bytes = {0}, old = {0}, text = {0};
    struct fj_entry entry, known;
    int err = fj_pack_read(pack, index, &bytes, &entry);
    if (err == 0 && fj_disk_get(ctx->jit.disk, &entry.key, &old, &known)) {
        info->skipped++;
    } else if (err == 0) {
        err = fj_entry_read(bytes.data, bytes.len, NULL, &entry, &text);
        if (err == 0)
            fj_disk_put(ctx->jit.disk, &entry);
    }
    fj_buf_free(&bytes);
    fj_buf_free(&old);
    fj_buf_free(&text);
    return err;
}

static int unpack_records(struct fajit_ctx *ctx, const struct fj_pack *pack, const char *path)
{
    struct fj_buf text = {0};
    struct fj_records records = {0};
    int err = fj_pack_text(pack, &text);
    if (err == 0 && text.len)
        fj_records_parse(&records, path, text.data, text.len, NULL, NULL);
    for (int i = 0; i < records.count && err == 0; i++)
        err = fj_tune_keep(ctx->tune, records.items[i], 1);
    fj_records_free(&records);
    fj_buf_free(&text);
    return err;
}

int fajit_pack_unpack(struct fajit_ctx *ctx, const char *path, struct fajit_pack_info *ret_info)
{
    struct fajit_pack_info info = {.struct_size = sizeof(info)};
    struct fj_pack *pack;
    int64_t entries;
    if (!ctx || !path || !ret_info)
        return fj_err(FAJIT_E_INVAL, "fajit_pack_unpack: an argument is NULL");
    if (!*fj_disk_dir(ctx->jit.disk))
        return fj_err(FAJIT_E_IO, "there is no cache directory to unpack %s into", path);
    int err = fj_pack_verify(path, &entries);
    if (err == 0)
        err = fj_pack_open(path, &pack);
    if (err)
        return err;
    fill_info(path, &info);
    for (int64_t i = 0; i < fj_pack_count(pack) && err == 0; i++)
        err = unpack_entry(ctx, pack, i, &info);
    if (err == 0)
        err = unpack_records(ctx, pack, path);
    fj_pack_close(&pack);
    return err ? err : fj_give_struct("fajit_pack_info", &info, sizeof(info), ret_info);
}
