#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int io_error(const char *what, const char *path)
{
    char text[128];
    return fj_err(FAJIT_E_IO, "cannot %s %s: %s", what, path,
                  strerror_r(errno, text, sizeof(text)));
}

static int open_retry(const char *path, int flags, int mode)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static ssize_t read_retry(int fd, void *bytes, size_t len)
{
    ssize_t got;
    do {
        got = read(fd, bytes, len);
    } while (got < 0 && errno == EINTR);
    return got;
}

// --- Reading ---

static int read_all(int fd, const char *path, size_t max_bytes, struct fj_buf *buf)
{
    char block[16384];
    size_t total = 0;
    for (;;) {
        ssize_t got = read_retry(fd, block, sizeof(block));
        if (got < 0)
            return io_error("read", path);
        if (got == 0)
            return FAJIT_OK;
        total += (size_t)got;
        if (total > max_bytes)
            return fj_err(FAJIT_E_IO, "%s is larger than the %zu bytes expected of it", path,
                          max_bytes);
        fj_buf_append(buf, block, (size_t)got);
        if (buf->failed)
            return fj_err(FAJIT_E_NOMEM, "out of memory while reading %s", path);
    }
}

int fj_file_read(const char *path, size_t max_bytes, struct fj_buf *ret_buf)
{
    int fd = open_retry(path, O_RDONLY | O_NONBLOCK, 0); // a FIFO must not hang the caller
    if (fd < 0)
        return io_error("open", path);
    struct stat info;
    struct fj_buf buf = {0};
    int status;
    if (fstat(fd, &info))
        status = io_error("read", path);
    else if (!S_ISREG(info.st_mode))
        status = fj_err(FAJIT_E_IO, "%s is not a regular file", path);
    else
        status = read_all(fd, path, max_bytes, &buf);
    close(fd);
    if (!status)
        fj_buf_append(ret_buf, buf.data ? buf.data : "", buf.len);
    if (!status && ret_buf->failed)
        status = fj_err(FAJIT_E_NOMEM, "out of memory while reading %s", path);
    fj_buf_free(&buf);
    return status;
}

// --- Publishing ---

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t put = write(fd, bytes, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        bytes += put;
        len -= (size_t)put;
    }
    return 0;
}

// Length of the directory part of `path`, without the slash; 0 for none.
static size_t dir_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

// The host name keeps processes of different machines apart on a shared file system.
static void make_temp_path(const char *path, struct fj_buf *ret)
{
    static atomic_uint counter;
    char host[64] = "";
    gethostname(host, sizeof(host) - 1);
    for (char *c = host; *c; c++)
        *c = *c == '/' ? '_' : *c;
    size_t dir = dir_len(path);
    fj_buf_append(ret, path, strchr(path, '/') ? dir + 1 : 0);
    fj_buf_printf(ret, ".tmp.%s.%ld.%u", host, (long)getpid(), atomic_fetch_add(&counter, 1));
}

// Makes the rename itself durable. Best effort: some file systems refuse to sync directories.
static void sync_dir(const char *path)
{
    size_t len = dir_len(path);
    char *dir = !strchr(path, '/') ? strdup(".") : len ? strndup(path, len) : strdup("/");
    int fd = dir ? open_retry(dir, O_RDONLY | O_DIRECTORY, 0) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(dir);
}

static int write_temp(const char *temp, const void *bytes, size_t len, int mode)
{
    int fd = open_retry(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    if (fd < 0)
        return io_error("create", temp);
    int status = FAJIT_OK;
    if (write_all(fd, bytes, len) || fsync(fd))
        status = io_error("write", temp);
    if (close(fd) && !status && errno != EINTR)
        status = io_error("close", temp);
    return status;
}

int fj_file_publish(const char *path, const void *bytes, size_t len, int mode)
{
    struct fj_buf temp = {0};
    make_temp_path(path, &temp);
    if (temp.failed)
        return fj_err(FAJIT_E_NOMEM, "out of memory while writing %s", path);
    int status = write_temp(temp.data, bytes, len, mode);
    if (!status && rename(temp.data, path))
        status = io_error("replace", path);
    if (status)
        unlink(temp.data);
    else
        sync_dir(path);
    fj_buf_free(&temp);
    return status;
}

// --- Without a name ---

// Where the file system knows no O_TMPFILE, the name lives for a moment.
static int open_and_unlink(const char *dir)
{
    struct fj_buf path = {0}, temp = {0};
    int fd = -1;
    fj_buf_printf(&path, "%s/nameless", dir);
    if (!path.failed)
        make_temp_path(path.data, &temp);
    if (!path.failed && !temp.failed)
        fd = open_retry(temp.data, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd >= 0)
        unlink(temp.data);
    fj_buf_free(&path);
    fj_buf_free(&temp);
    return fd;
}

int fj_file_nameless(const char *dir, int *ret_fd)
{
    int fd = open_retry(dir, O_TMPFILE | O_RDWR, 0600);
    if (fd < 0)
        fd = open_and_unlink(dir);
    if (fd < 0)
        return io_error("create a temporary file in", dir);
    *ret_fd = fd;
    return FAJIT_OK;
}

int fj_file_write_at(int fd, uint64_t at, const void *bytes, size_t len)
{
    const char *from = bytes;
    while (len) {
        ssize_t put = pwrite(fd, from, len, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return io_error("write", "a temporary file");
        from += put;
        at += (uint64_t)put;
        len -= (size_t)put;
    }
    return FAJIT_OK;
}

// --- Directories ---

static bool is_dir(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

int fj_file_mkdirs(const char *path, int mode)
{
    char *copy = strdup(path);
    if (!copy)
        return fj_err(FAJIT_E_NOMEM, "out of memory while creating %s", path);
    int status = FAJIT_OK;
    for (char *p = copy; !status; p++) {
        if (*p && (*p != '/' || p == copy))
            continue;
        char end = *p;
        *p = '\0';
        // Whatever mkdir says (a read-only file system, no permission), being there is enough.
        if (mkdir(copy, (mode_t)mode) && errno != EEXIST && !is_dir(copy))
            status = io_error("create directory", copy);
        *p = end;
        if (!end)
            break;
    }
    if (!status && !is_dir(path))
        status = fj_err(FAJIT_E_IO, "%s exists and is not a directory", path);
    free(copy);
    return status;
}

int fj_file_check_private_dir(const char *path)
{
    struct stat info;
    if (stat(path, &info))
        return io_error("open", path);
    if (!S_ISDIR(info.st_mode))
        return fj_err(FAJIT_E_IO, "%s is not a directory", path);
    if (info.st_uid != geteuid())
        return fj_err(FAJIT_E_IO, "%s belongs to user %ld, not to this process's user %ld", path,
                      (long)info.st_uid, (long)geteuid());
    if (info.st_mode & (S_IWGRP | S_IWOTH))
        return fj_err(FAJIT_E_IO, "%s may be written by others (mode %03o); chmod go-w it", path,
                      (unsigned)(info.st_mode & 0777));
    return FAJIT_OK;
}

bool fj_file_exists(const char *path)
{
    struct stat info;
    return !stat(path, &info);
}

bool fj_file_match(const char *pattern, bool (*see)(void *user, const char *path), void *user,
                   bool *ret_any)
{
    glob_t found = {0};
    bool done = false;
    *ret_any = glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0;
    for (size_t i = *ret_any ? found.gl_pathc : 0; i > 0 && !done; i--)
        done = see(user, found.gl_pathv[i - 1]);
    globfree(&found);
    return done;
}

bool fj_path_join(char *ret, size_t size, const char *dir, const char *name)
{
    size_t dir_bytes = strlen(dir), name_bytes = strlen(name);
    bool slash = dir_bytes && dir[dir_bytes - 1] != '/';
    if (dir_bytes + slash + name_bytes + 1 > size)
        return false;
    memcpy(ret, dir, dir_bytes);
    if (slash)
        ret[dir_bytes] = '/';
    memcpy(ret + dir_bytes + slash, name, name_bytes + 1);
    return true;
}

const char *fj_env(const char *name)
{
    const char *value = secure_getenv(name);
    return value && *value ? value : NULL;
}
