// What a cache that many processes share needs of a file system beyond base/file.h.
#ifndef FJ_BASE_FS_H
#define FJ_BASE_FS_H

#include "base/buf.h"

// What tells one version of a file from the next.
struct fj_fs_id {
    uint64_t device, inode, bytes;
    int64_t mtime_ns, ctime_ns;
};

enum fj_fs_result {
    FJ_FS_OK,
    FJ_FS_ABSENT,
    FJ_FS_ODD,    // not a regular file, or empty, or over the limit
    FJ_FS_FAILED, // errno has the reason
};

// Looks at the path itself, never through a link.
enum fj_fs_result fj_fs_identify(const char *path, struct fj_fs_id *ret_id);

// Reads a regular file (with read(): a page of a mapping that NFS lost is a SIGBUS). The buffer's
// memory is used again when it suffices. `ret_id` is set on FJ_FS_OK and FJ_FS_ODD.
enum fj_fs_result fj_fs_read(const char *path, uint64_t max_bytes, struct fj_buf *ret,
                             struct fj_fs_id *ret_id);

// Reads the first `bytes` of a regular file; FJ_FS_ODD when it is shorter.
enum fj_fs_result fj_fs_read_start(const char *path, void *ret, size_t bytes,
                                   struct fj_fs_id *ret_id);

// For a file that is read in places: regular, links followed. The descriptor in `ret_fd`.
enum fj_fs_result fj_fs_open(const char *path, int *ret_fd, uint64_t *ret_bytes);
bool fj_fs_read_at(int fd, uint64_t at, void *ret, uint64_t bytes);
void fj_fs_close(int fd); // accepts -1

// Removes the file unless it has become another one since it was identified.
bool fj_fs_remove_if_same(const char *path, const struct fj_fs_id *id);
bool fj_fs_touch(const char *path);                      // modified now
int64_t fj_fs_now_ns(void);                              // wall clock, as mtime_ns
uint32_t fj_fs_user(void);                               // effective user id
bool fj_fs_dir_id(const char *path, uint64_t ret_id[2]); // device and inode, through links

// Calls `see(user, name)` for every name but "." and ".."; false with errno when it cannot list.
bool fj_fs_list(const char *dir, void (*see)(void *user, const char *name), void *user);

// An exclusive advisory lock on `<dir>/<name>`, which is made if need be, and removed when it is
// released. It ends with the process at the latest. `dir` must be a directory, not a link to one,
// of this user and closed to all others (0700).
enum fj_fs_result fj_fs_lock_try(const char *dir, const char *name, int *ret_fd); // ABSENT: held
void fj_fs_unlock(const char *dir, const char *name, int fd);
bool fj_fs_make_private_dir(const char *path); // its parent must exist

#endif
