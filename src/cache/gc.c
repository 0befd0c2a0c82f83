// Listing, counting and eviction. The directory is flat: the cap of a GiB keeps it at some ten
// thousand files, which any file system of today finds by name in constant time.
#include "base/file.h"
#include "base/fs.h"
#include "cache/disk_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const int64_t stale_after_ns = INT64_C(3600) * 1000000000;

struct file {
    char name[64 + 5];
    struct fj_fs_id id;
};

struct listing {
    const struct fj_disk *disk;
    bool sweep, failed;
    int64_t now_ns;
    struct file *files;
    size_t count, cap;
    uint64_t bytes;
};

// As fj_file_publish names them.
static bool is_temporary_name(const char *name)
{
    return strncmp(name, ".tmp.", 5) == 0;
}

static void keep(struct listing *listing, const char *name, const struct fj_fs_id *id)
{
    if (listing->count == listing->cap) {
        size_t cap = listing->cap ? listing->cap * 2 : 256;
        struct file *files = realloc(listing->files, cap * sizeof(*files));
        if (!files) {
            listing->failed = true;
            return;
        }
        listing->files = files;
        listing->cap = cap;
    }
    struct file *file = &listing->files[listing->count++];
    strcpy(file->name, name);
    file->id = *id;
    listing->bytes += id->bytes;
}

static void see(void *user, const char *name)
{
    struct listing *listing = user;
    char path[FJ_DISK_PATH_BYTES];
    struct fj_fs_id id;
    bool is_entry = fj_disk_is_entry_name(name);
    if (!is_entry && !(listing->sweep && is_temporary_name(name)))
        return;
    if (!fj_path_join(path, sizeof(path), listing->disk->dir, name) ||
        fj_fs_identify(path, &id) != FJ_FS_OK)
        return;
    if (is_entry)
        keep(listing, name, &id);
    else if (listing->now_ns - id.mtime_ns > stale_after_ns)
        fj_fs_remove_if_same(path, &id);
}

// What is in the directory. With `sweep`, removes temporaries whose writer must be dead.
static int list(const struct fj_disk *disk, bool sweep, struct listing *ret)
{
    *ret = (struct listing){.disk = disk, .sweep = sweep, .now_ns = fj_fs_now_ns()};
    if (!disk->readable)
        return FAJIT_OK;
    if (!fj_fs_list(disk->dir, see, ret) && errno != ENOENT)
        return fj_err(FAJIT_E_IO, "cannot list the kernel cache %s: %s", disk->dir,
                      strerror(errno));
    if (!ret->failed)
        return FAJIT_OK;
    free(ret->files);
    ret->files = NULL;
    return fj_err(FAJIT_E_NOMEM, "no memory to list the kernel cache %s", disk->dir);
}

static int by_use(const void *a, const void *b)
{
    const struct file *left = a, *right = b;
    if (left->id.mtime_ns != right->id.mtime_ns)
        return left->id.mtime_ns < right->id.mtime_ns ? -1 : 1;
    return strcmp(left->name, right->name);
}

// Removes the least recently used files of the listing; returns the bytes freed.
static uint64_t evict(const struct fj_disk *disk, struct listing *listing, uint64_t target_bytes)
{
    uint64_t freed = 0;
    char path[FJ_DISK_PATH_BYTES];
    qsort(listing->files, listing->count, sizeof(*listing->files), by_use);
    for (size_t i = 0; i < listing->count && listing->bytes - freed > target_bytes; i++) {
        const struct file *file = &listing->files[i];
        // A file that changed since was used or written just now: it is no longer the oldest.
        if (fj_path_join(path, sizeof(path), disk->dir, file->name) &&
            fj_fs_remove_if_same(path, &file->id))
            freed += file->id.bytes;
    }
    return freed;
}

// Evicts down to 80 % of the cap, so that the next put does not evict again. While another process
// does it, there is nothing to do; without locks two at a time are harmless.
static uint64_t evict_alone(const struct fj_disk *disk, struct listing *listing)
{
    char dir[FJ_DISK_PATH_BYTES], name[48];
    int fd = -1;
    if (fj_disk_lock_dir(dir)) {
        fj_disk_lock_name(disk, NULL, name);
        if (fj_fs_lock_try(dir, name, &fd) == FJ_FS_ABSENT)
            return 0;
    }
    uint64_t freed = evict(disk, listing, disk->max_bytes / 5 * 4);
    if (fd >= 0)
        fj_fs_unlock(dir, name, fd);
    return freed;
}

// Looks at the directory and evicts when it is over the cap; returns its size, or -1.
static int64_t collect(struct fj_disk *disk)
{
    struct listing listing;
    if (list(disk, true, &listing) != FAJIT_OK)
        return -1;
    if (listing.bytes > disk->max_bytes) {
        uint64_t freed = evict_alone(disk, &listing);
        listing.bytes -= freed;
        fj_log(&disk->log, FAJIT_LOG_DEBUG, "kernel cache %s: evicted %llu bytes", disk->dir,
               (unsigned long long)freed);
    }
    free(listing.files);
    return (int64_t)listing.bytes;
}

// A process looks at its first write, whenever its own writes pass the cap by its count, and after
// each 1/32 of the cap, for what others wrote.
void fj_disk_account(struct fj_disk *disk, uint64_t bytes)
{
    pthread_mutex_lock(&disk->mutex);
    disk->fresh_bytes += bytes;
    if (disk->known_bytes >= 0)
        disk->known_bytes += (int64_t)bytes;
    bool due = disk->known_bytes < 0 || (uint64_t)disk->known_bytes > disk->max_bytes ||
               disk->fresh_bytes > disk->max_bytes / 32;
    due = due && !disk->collecting;
    if (due) {
        disk->collecting = true;
        disk->fresh_bytes = 0;
    }
    pthread_mutex_unlock(&disk->mutex);
    if (!due)
        return;
    int64_t known_bytes = collect(disk);
    pthread_mutex_lock(&disk->mutex);
    // What other threads wrote meanwhile may be counted twice: the next look corrects it.
    disk->known_bytes = known_bytes < 0 ? known_bytes : known_bytes + (int64_t)disk->fresh_bytes;
    disk->collecting = false;
    pthread_mutex_unlock(&disk->mutex);
}

int fj_disk_gc(struct fj_disk *disk, uint64_t max_bytes, uint64_t *ret_freed_bytes)
{
    struct listing listing;
    if (!disk->writable)
        return fj_err(FAJIT_E_INVAL, "the kernel cache cannot be cleaned: %s",
                      atomic_load(&disk->noted) ? disk->note : "it is not writable");
    int status = list(disk, true, &listing);
    if (status != FAJIT_OK)
        return status;
    uint64_t freed = evict(disk, &listing, max_bytes);
    free(listing.files);
    pthread_mutex_lock(&disk->mutex);
    disk->known_bytes = -1;
    pthread_mutex_unlock(&disk->mutex);
    if (ret_freed_bytes)
        *ret_freed_bytes = freed;
    return FAJIT_OK;
}

void fj_disk_stats(struct fj_disk *disk, struct fj_disk_stats *ret_stats)
{
    struct listing listing;
    struct fj_disk_stats stats = {
        .dir = disk->dir,
        .note = atomic_load(&disk->noted) ? disk->note : "",
        .max_bytes = disk->max_bytes,
        .hits = atomic_load(&disk->hits),
        .misses = atomic_load(&disk->misses),
        .corrupt = atomic_load(&disk->corrupt),
        .soft_errors = atomic_load(&disk->soft_errors),
    };
    if (list(disk, false, &listing) == FAJIT_OK) {
        stats.entries = listing.count;
        stats.bytes = listing.bytes;
        free(listing.files);
    }
    *ret_stats = stats;
}

struct row {
    struct fj_entry entry;
    uint64_t file_bytes;
    int64_t used_s;
};

static int by_name(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    int order = strcmp(left->entry.name, right->entry.name);
    return order ? order : memcmp(&left->entry.key, &right->entry.key, sizeof(left->entry.key));
}

// False for a file that is not an entry of its own name.
static bool read_row(const struct fj_disk *disk, const struct file *file, struct row *ret)
{
    char path[FJ_DISK_PATH_BYTES];
    uint8_t header[FJ_ENTRY_HEADER_BYTES];
    struct fj_fs_id id;
    struct fj_key key;
    char hex[65];
    memcpy(hex, file->name, 64);
    hex[64] = '\0';
    if (!fj_key_from_hex(hex, &key) || !fj_path_join(path, sizeof(path), disk->dir, file->name) ||
        fj_fs_read_start(path, header, sizeof(header), &id) != FJ_FS_OK ||
        fj_entry_read_header(header, sizeof(header), &ret->entry, &ret->file_bytes) != FAJIT_OK ||
        ret->file_bytes != id.bytes || !fj_key_equal(&key, &ret->entry.key))
        return false;
    ret->used_s = id.mtime_ns / 1000000000;
    return true;
}

int fj_disk_visit(struct fj_disk *disk,
                  int (*visit)(void *user, const struct fj_entry *entry, uint64_t file_bytes,
                               int64_t used_s),
                  void *user)
{
    struct listing listing;
    int status = list(disk, false, &listing);
    if (status != FAJIT_OK)
        return status;
    size_t count = 0;
    struct row *rows = malloc((listing.count + 1) * sizeof(*rows));
    for (size_t i = 0; rows && i < listing.count; i++)
        count += read_row(disk, &listing.files[i], &rows[count]);
    free(listing.files);
    if (!rows)
        return fj_err(FAJIT_E_NOMEM, "no memory to list the kernel cache %s", disk->dir);
    qsort(rows, count, sizeof(*rows), by_name);
    for (size_t i = 0; i < count && status == FAJIT_OK; i++)
        status = visit(user, &rows[i].entry, rows[i].file_bytes, rows[i].used_s);
    free(rows);
    return status;
}
