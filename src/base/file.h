// Every file-system call of the library.
#ifndef FJ_BASE_FILE_H
#define FJ_BASE_FILE_H

#include "base/buf.h"

int fj_file_read(const char *path, size_t max_bytes, struct fj_buf *ret_buf); // FAJIT_E_IO
// Temporary in the same directory, fsync, rename. Readers see the old or the new bytes, no others.
int fj_file_publish(const char *path, const void *bytes, size_t len, int mode);
// A file without a name in `dir`, to be read and written (fj_fs_close): it goes with the last
// process that has it open, however that ends.
int fj_file_nameless(const char *dir, int *ret_fd); // FAJIT_E_IO
int fj_file_write_at(int fd, uint64_t at, const void *bytes, size_t len);
int fj_file_mkdirs(const char *path, int mode); // like mkdir -p
// 0 when `path` is a directory owned by this user and not writable by group or others.
int fj_file_check_private_dir(const char *path);
bool fj_file_exists(const char *path);
// The paths that match `pattern` (*, ?, [..]), last in the alphabet first, until `see` answers
// true; returns that answer. `*ret_any` says whether there was one.
bool fj_file_match(const char *pattern, bool (*see)(void *user, const char *path), void *user,
                   bool *ret_any);
// Joins into `ret`; false when it does not fit.
bool fj_path_join(char *ret, size_t size, const char *dir, const char *name);
// secure_getenv; NULL when unset or empty.
const char *fj_env(const char *name);

#endif
