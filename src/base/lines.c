#include "base/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/thread.h"

// A lock is held for one write: who waits longer meets a hung file system, and goes on without.
#define LOCK_WAIT_US 2e6

static void lock(int fd)
{
    double give_up_us = fj_now_us() + LOCK_WAIT_US;
    while (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK && fj_now_us() < give_up_us)
        fj_sleep_us(200);
}

static bool write_whole(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t put = write(fd, bytes, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        bytes += put;
        len -= (size_t)put;
    }
    return true;
}

static bool append_at(int fd, off_t end, const char *lines, size_t len)
{
    char last = '\n';
    if (end > 0 && pread(fd, &last, 1, end - 1) != 1)
        return false;
    bool ok = (last == '\n' || write_whole(fd, "\n", 1)) && write_whole(fd, lines, len);
    if (!ok) {
        // Half a line helps nobody. Should this fail too, the next append closes the line.
        int error = errno;
        if (ftruncate(fd, end) == 0)
            errno = error;
    }
    return ok;
}

int fj_lines_append(const char *path, const char *lines, size_t len)
{
    struct stat info;
    char text[128];
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return fj_err(FAJIT_E_IO, "cannot open %s to append to it: %s", path,
                      strerror_r(errno, text, sizeof(text)));
    int err = FAJIT_OK;
    lock(fd);
    if (fstat(fd, &info) || !S_ISREG(info.st_mode))
        err = fj_err(FAJIT_E_IO, "%s is not a regular file: nothing was appended", path);
    else if (!append_at(fd, info.st_size, lines, len))
        err = fj_err(FAJIT_E_IO, "cannot append %zu bytes to %s: %s", len, path,
                     strerror_r(errno, text, sizeof(text)));
    close(fd);
    return err;
}
