#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t to_ns(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static struct fj_fs_id id_of(const struct stat *st)
{
    return (struct fj_fs_id){
        .device = (uint64_t)st->st_dev,
        .inode = (uint64_t)st->st_ino,
        .bytes = (uint64_t)st->st_size,
        .mtime_ns = to_ns(st->st_mtim),
        .ctime_ns = to_ns(st->st_ctim),
    };
}

static bool id_equal(const struct fj_fs_id *a, const struct fj_fs_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

static enum fj_fs_result result_of_errno(void)
{
    if (errno == ELOOP) // O_NOFOLLOW met a link
        return FJ_FS_ODD;
    return errno == ENOENT || errno == ENOTDIR ? FJ_FS_ABSENT : FJ_FS_FAILED;
}

enum fj_fs_result fj_fs_identify(const char *path, struct fj_fs_id *ret_id)
{
    struct stat st;
    *ret_id = (struct fj_fs_id){0};
    if (lstat(path, &st) != 0)
        return result_of_errno();
    *ret_id = id_of(&st);
    return S_ISREG(st.st_mode) ? FJ_FS_OK : FJ_FS_ODD;
}

// O_NONBLOCK: a FIFO in the file's place must not hold us up.
static int open_to_read(const char *path, struct fj_fs_id *ret_id, enum fj_fs_result *ret_result)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        *ret_result = result_of_errno();
        if (*ret_result == FJ_FS_ODD)
            fj_fs_identify(path, ret_id);
    } else {
        *ret_id = id_of(&st);
        *ret_result = S_ISREG(st.st_mode) ? FJ_FS_OK : FJ_FS_ODD;
    }
    if (*ret_result == FJ_FS_OK)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

// FJ_FS_ODD: the file ended early.
static enum fj_fs_result read_fully(int fd, char *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = read(fd, data + done, bytes - done);
        if (got == 0)
            return FJ_FS_ODD;
        if (got < 0 && errno != EINTR)
            return FJ_FS_FAILED;
        done += got > 0 ? (size_t)got : 0;
    }
    return FJ_FS_OK;
}

static bool reserve(struct fj_buf *buf, size_t bytes)
{
    if (buf->data && buf->cap >= bytes)
        return true;
    fj_buf_free(buf);
    *buf = (struct fj_buf){.data = malloc(bytes)};
    buf->cap = buf->data ? bytes : 0;
    return buf->data != NULL;
}

enum fj_fs_result fj_fs_read(const char *path, uint64_t max_bytes, struct fj_buf *ret,
                             struct fj_fs_id *ret_id)
{
    enum fj_fs_result result;
    fj_buf_clear(ret);
    int fd = open_to_read(path, ret_id, &result);
    if (fd < 0)
        return result;
    if (ret_id->bytes == 0 || ret_id->bytes > max_bytes) {
        result = FJ_FS_ODD;
    } else if (!reserve(ret, ret_id->bytes + 1)) {
        errno = ENOMEM;
        result = FJ_FS_FAILED;
    } else {
        result = read_fully(fd, ret->data, ret_id->bytes);
        if (result == FJ_FS_OK) {
            ret->len = ret_id->bytes;
            ret->data[ret->len] = '\0';
        }
    }
    close(fd);
    return result;
}

enum fj_fs_result fj_fs_read_start(const char *path, void *ret, size_t bytes,
                                   struct fj_fs_id *ret_id)
{
    enum fj_fs_result result;
    int fd = open_to_read(path, ret_id, &result);
    if (fd < 0)
        return result;
    result = read_fully(fd, ret, bytes);
    close(fd);
    return result;
}

enum fj_fs_result fj_fs_open(const char *path, int *ret_fd, uint64_t *ret_bytes)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum fj_fs_result result = FJ_FS_OK;
    if (fd < 0 || fstat(fd, &st) != 0)
        result = result_of_errno();
    else if (!S_ISREG(st.st_mode))
        result = FJ_FS_ODD;
    if (result != FJ_FS_OK) {
        int error = errno;
        fj_fs_close(fd);
        errno = error;
        return result;
    }
    *ret_fd = fd;
    *ret_bytes = (uint64_t)st.st_size;
    return FJ_FS_OK;
}

bool fj_fs_read_at(int fd, uint64_t at, void *ret, uint64_t bytes)
{
    char *data = ret;
    while (bytes) {
        ssize_t got = pread(fd, data, bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        data += got;
        at += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return true;
}

void fj_fs_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

bool fj_fs_remove_if_same(const char *path, const struct fj_fs_id *id)
{
    struct fj_fs_id now;
    enum fj_fs_result result = fj_fs_identify(path, &now);
    bool same = (result == FJ_FS_OK || result == FJ_FS_ODD) && id_equal(id, &now);
    return same && unlink(path) == 0;
}

bool fj_fs_touch(const char *path)
{
    return utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW) == 0;
}

int64_t fj_fs_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return to_ns(now);
}

bool fj_fs_dir_id(const char *path, uint64_t ret_id[2])
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    ret_id[0] = (uint64_t)st.st_dev;
    ret_id[1] = (uint64_t)st.st_ino;
    return true;
}

uint32_t fj_fs_user(void)
{
    return (uint32_t)geteuid();
}

bool fj_fs_list(const char *dir, void (*see)(void *user, const char *name), void *user)
{
    DIR *stream = opendir(dir);
    if (!stream)
        return false;
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            see(user, entry->d_name);
    }
    closedir(stream);
    return true;
}

// A descriptor of the directory, or -1. A link, another owner, or a mode that lets others in could
// be somebody else's trap in /tmp.
static int open_private_dir(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077) == 0)
        return fd;
    close(fd);
    return -1;
}

bool fj_fs_make_private_dir(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return false;
    int fd = open_private_dir(path);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

// The holder before us removed the file: what we locked may no longer be what others will open.
static bool is_current(int dir_fd, const char *name, int fd)
{
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && fstatat(dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

enum fj_fs_result fj_fs_lock_try(const char *dir, const char *name, int *ret_fd)
{
    int dir_fd = open_private_dir(dir);
    if (dir_fd < 0)
        return FJ_FS_FAILED;
    enum fj_fs_result result = FJ_FS_FAILED;
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        result = is_current(dir_fd, name, fd) ? FJ_FS_OK : FJ_FS_ABSENT;
    else if (fd >= 0 && (errno == EWOULDBLOCK || errno == EINTR))
        result = FJ_FS_ABSENT;
    if (result == FJ_FS_OK)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    close(dir_fd);
    return result;
}

// Unlocked by name: a forked child may share the descriptor and would keep the lock alive.
void fj_fs_unlock(const char *dir, const char *name, int fd)
{
    int dir_fd = open_private_dir(dir);
    if (dir_fd >= 0) {
        if (is_current(dir_fd, name, fd))
            unlinkat(dir_fd, name, 0);
        close(dir_fd);
    }
    flock(fd, LOCK_UN);
    close(fd);
}
