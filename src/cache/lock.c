// Locks that spare other processes on this host a compile that is already under way. They live
// outside the cache directory, which may be on a network file system where locks hang or lie; two
// hosts may compile the same kernel, and the later rename wins.
#include "base/file.h"
#include "base/fs.h"
#include "cache/disk_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double first_pause_us = 1000, last_pause_us = 20000;

struct fj_disk_lock {
    int fd;
    char dir[FJ_DISK_PATH_BYTES], name[48];
};

// Not $TMPDIR: all processes of the user must meet in one place.
bool fj_disk_lock_dir(char ret_dir[FJ_DISK_PATH_BYTES])
{
    const char *runtime = fj_env("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] == '/' &&
        fj_path_join(ret_dir, FJ_DISK_PATH_BYTES, runtime, "fajit") &&
        fj_fs_make_private_dir(ret_dir))
        return true;
    snprintf(ret_dir, FJ_DISK_PATH_BYTES, "/tmp/fajit-%u", (unsigned)fj_fs_user());
    return fj_fs_make_private_dir(ret_dir);
}

void fj_disk_lock_name(const struct fj_disk *disk, const struct fj_key *key, char ret_name[48])
{
    struct {
        uint64_t dir[2];
        struct fj_key key;
    } what;
    uint8_t sum[16];
    memset(&what, 0, sizeof(what));
    if (key)
        what.key = *key;
    fj_fs_dir_id(disk->dir, what.dir);
    fj_checksum(&what, sizeof(what), sum);
    for (int i = 0; i < 16; i++)
        snprintf(ret_name + 2 * i, 3, "%02x", sum[i]);
    strcpy(ret_name + 32, key ? ".lock" : ".evict");
}

// Whether the path holds a file it did not hold before.
static bool has_appeared(const char *path, bool existed, const struct fj_fs_id *before)
{
    struct fj_fs_id now;
    if (fj_fs_identify(path, &now) != FJ_FS_OK)
        return false;
    return !existed || now.inode != before->inode || now.mtime_ns != before->mtime_ns;
}

static bool wait_for(const char *path, struct fj_disk_lock *lock, double wait_us)
{
    double deadline_us = fj_now_us() + wait_us;
    struct fj_fs_id before;
    bool existed = fj_fs_identify(path, &before) == FJ_FS_OK;
    for (double pause_us = first_pause_us;; pause_us = pause_us * 1.5) {
        enum fj_fs_result result = fj_fs_lock_try(lock->dir, lock->name, &lock->fd);
        if (result != FJ_FS_ABSENT)
            return result == FJ_FS_OK;
        double left_us = deadline_us - fj_now_us();
        if (left_us <= 0 || has_appeared(path, existed, &before))
            return false;
        if (pause_us > last_pause_us)
            pause_us = last_pause_us;
        fj_sleep_us(pause_us < left_us ? pause_us : left_us);
    }
}

struct fj_disk_lock *fj_disk_lock(struct fj_disk *disk, const struct fj_key *key, double wait_us)
{
    char path[FJ_DISK_PATH_BYTES];
    if (!disk->writable || !fj_disk_path(disk, key, path))
        return NULL;
    struct fj_disk_lock *lock = calloc(1, sizeof(*lock));
    if (!lock || !fj_disk_lock_dir(lock->dir)) {
        free(lock);
        return NULL;
    }
    fj_disk_lock_name(disk, key, lock->name);
    if (wait_for(path, lock, wait_us))
        return lock;
    free(lock);
    return NULL;
}

void fj_disk_unlock(struct fj_disk_lock *lock)
{
    if (!lock)
        return;
    fj_fs_unlock(lock->dir, lock->name, lock->fd);
    free(lock);
}
