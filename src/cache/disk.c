#include "cache/disk.h"

#include "base/file.h"
#include "base/fs.h"
#include "cache/disk_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t default_max_bytes = UINT64_C(1) << 30;
static const int64_t touch_after_ns = INT64_C(3600) * 1000000000;

bool fj_disk_path(const struct fj_disk *disk, const struct fj_key *key,
                  char ret_path[FJ_DISK_PATH_BYTES])
{
    char name[65 + 4];
    fj_key_hex(key, name);
    memcpy(name + 64, ".fjc", 5);
    return fj_path_join(ret_path, FJ_DISK_PATH_BYTES, disk->dir, name);
}

bool fj_disk_is_entry_name(const char *name)
{
    return strlen(name) == 64 + 4 && strspn(name, "0123456789abcdef") >= 64 &&
           strcmp(name + 64, ".fjc") == 0;
}

// The first trouble is kept for the statistics.
static void note(struct fj_disk *disk, const char *fmt, ...) FJ_PRINTF(2, 3);
static void note(struct fj_disk *disk, const char *fmt, ...)
{
    pthread_mutex_lock(&disk->mutex);
    if (!atomic_load(&disk->noted)) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(disk->note, sizeof(disk->note), fmt, args);
        va_end(args);
        atomic_store(&disk->noted, true);
    }
    pthread_mutex_unlock(&disk->mutex);
}

// Counts a soft error; the first one is worth a line in the log.
static void soft_error(struct fj_disk *disk, const char *what, const char *why)
{
    if (atomic_fetch_add(&disk->soft_errors, 1) > 0)
        return;
    note(disk, "%s failed: %s", what, why);
    fj_log(&disk->log, FAJIT_LOG_WARN,
           "kernel cache %s: %s failed (%s); kernels are compiled again when they are not found: "
           "set FAJIT_CACHE_DIR to a directory that only you can write",
           disk->dir, what, why);
}

// No directory: the disk always misses.
static void give_up(struct fj_disk *disk, const char *why)
{
    disk->readable = disk->writable = false;
    note(disk, "off: %s", why);
    fj_log(&disk->log, FAJIT_LOG_WARN,
           "kernels are kept in memory only: %s; set FAJIT_CACHE_DIR to a directory that only you "
           "can write",
           why);
}

// XDG says that a relative path in the variable is to be ignored.
static bool default_dir(char ret_dir[FJ_DISK_PATH_BYTES])
{
    const char *cache = fj_env("XDG_CACHE_HOME"), *home = fj_env("HOME");
    if (cache && cache[0] == '/')
        return fj_path_join(ret_dir, FJ_DISK_PATH_BYTES, cache, "fajit");
    return home && home[0] == '/' &&
           fj_path_join(ret_dir, FJ_DISK_PATH_BYTES, home, ".cache/fajit");
}

static bool set_dir(struct fj_disk *disk, const char *dir)
{
    if (!dir)
        return default_dir(disk->dir);
    int len = snprintf(disk->dir, sizeof(disk->dir), "%s", dir);
    return len > 0 && (size_t)len < sizeof(disk->dir);
}

static void open_dir(struct fj_disk *disk, const struct fj_disk_params *params)
{
    if (params->off) {
        note(disk, "off, as asked");
        return;
    }
    if (!set_dir(disk, params->dir)) {
        disk->dir[0] = '\0';
        give_up(disk, params->dir ? "the directory's name is empty or too long"
                                  : "neither XDG_CACHE_HOME nor HOME is an absolute path");
        return;
    }
    if (!params->read_only && fj_file_mkdirs(disk->dir, 0700) != FAJIT_OK) {
        give_up(disk, fj_err_text());
        return;
    }
    if (params->read_only && !fj_file_exists(disk->dir)) {
        note(disk, "read-only, as asked, and not there");
        return;
    }
    if (fj_file_check_private_dir(disk->dir) != FAJIT_OK) {
        give_up(disk, fj_err_text());
        return;
    }
    disk->readable = true;
    disk->writable = !params->read_only;
    if (params->read_only)
        note(disk, "read-only, as asked");
}

int fj_disk_open(const struct fj_disk_params *params, struct fj_disk **ret_disk)
{
    struct fj_disk *disk = calloc(1, sizeof(*disk));
    if (!disk)
        return fj_err(FAJIT_E_NOMEM, "no memory to open the kernel cache");
    pthread_mutex_init(&disk->mutex, NULL);
    disk->log = params->log ? *params->log : (struct fj_log){0};
    disk->max_bytes = params->max_bytes ? params->max_bytes : default_max_bytes;
    disk->known_bytes = -1;
    open_dir(disk, params);
    *ret_disk = disk;
    return FAJIT_OK;
}

void fj_disk_close(struct fj_disk **disk)
{
    if (!*disk)
        return;
    pthread_mutex_destroy(&(*disk)->mutex);
    free(*disk);
    *disk = NULL;
}

const char *fj_disk_dir(const struct fj_disk *disk)
{
    return disk->readable ? disk->dir : "";
}

bool fj_disk_writable(const struct fj_disk *disk)
{
    return disk->writable;
}

static void drop_damaged(struct fj_disk *disk, const char *path, const struct fj_fs_id *id,
                         const char *why)
{
    atomic_fetch_add(&disk->corrupt, 1);
    fj_log(&disk->log, FAJIT_LOG_INFO, "%s is ignored: %s", path, why);
    if (disk->writable)
        fj_fs_remove_if_same(path, id);
}

// Once an hour is enough to order entries by use, and spares a write per hit.
static void mark_used(struct fj_disk *disk, const char *path, const struct fj_fs_id *id)
{
    int64_t age_ns = fj_fs_now_ns() - id->mtime_ns;
    if (disk->writable && age_ns > touch_after_ns)
        fj_fs_touch(path);
}

static bool read_entry(struct fj_disk *disk, const struct fj_key *key, struct fj_buf *ret_bytes,
                       struct fj_entry *ret_entry)
{
    char path[FJ_DISK_PATH_BYTES];
    struct fj_fs_id id;
    if (!disk->readable || !fj_disk_path(disk, key, path))
        return false;
    switch (fj_fs_read(path, FJ_ENTRY_MAX_BYTES, ret_bytes, &id)) {
    case FJ_FS_ABSENT:
        return false;
    case FJ_FS_FAILED:
        soft_error(disk, "reading an entry", strerror(errno));
        return false;
    case FJ_FS_ODD:
        drop_damaged(disk, path, &id, "not a regular file, or of an impossible size");
        return false;
    case FJ_FS_OK:
        break;
    }
    if (fj_entry_read(ret_bytes->data, ret_bytes->len, key, ret_entry, NULL) != FAJIT_OK) {
        drop_damaged(disk, path, &id, fj_err_text());
        return false;
    }
    mark_used(disk, path, &id);
    return true;
}

bool fj_disk_get(struct fj_disk *disk, const struct fj_key *key, struct fj_buf *ret_bytes,
                 struct fj_entry *ret_entry)
{
    bool hit = read_entry(disk, key, ret_bytes, ret_entry);
    atomic_fetch_add(hit ? &disk->hits : &disk->misses, 1);
    return hit;
}

// Somebody may have removed the directory while we ran: make it again, once.
static int publish(struct fj_disk *disk, const char *path, const struct fj_buf *bytes)
{
    int status = fj_file_publish(path, bytes->data, bytes->len, 0600);
    if (status == FAJIT_OK || fj_file_exists(disk->dir))
        return status;
    if (fj_file_mkdirs(disk->dir, 0700) != FAJIT_OK ||
        fj_file_check_private_dir(disk->dir) != FAJIT_OK)
        return FAJIT_E_IO;
    return fj_file_publish(path, bytes->data, bytes->len, 0600);
}

void fj_disk_put(struct fj_disk *disk, const struct fj_entry *entry)
{
    char path[FJ_DISK_PATH_BYTES];
    struct fj_buf bytes = {0};
    if (!disk->writable)
        return;
    if (!fj_disk_path(disk, &entry->key, path) || fj_entry_write(entry, &bytes) != FAJIT_OK) {
        soft_error(disk, "packing an entry", fj_err_text());
    } else if (bytes.len > disk->max_bytes / 5 * 4) {
        // Eviction would throw it out again, after everything else.
        fj_log(&disk->log, FAJIT_LOG_INFO, "%s is not kept: %zu bytes are too many for the cap",
               entry->name, bytes.len);
    } else if (publish(disk, path, &bytes) != FAJIT_OK) {
        soft_error(disk, "writing an entry", fj_err_text());
    } else {
        fj_disk_account(disk, bytes.len);
    }
    fj_buf_free(&bytes);
}
