#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/thread.h"

#define ARGS_MAX 30
#define BUFFER_BYTES 4096
#define LOOK_US 10e3 // how often the end of a child is looked for
#define KILL_US 10e6

struct fj_process {
    pid_t pid;
    int fd; // a socket: unlike a pipe's, its writes can be told to raise no signal
    bool reaped;
    size_t begin, end; // of what was read and not handed out
    char buffer[BUFFER_BYTES];
};

// --- Starting ---------------------------------------------------------------------------------

static bool is_replaced(const char *variable, const char *const *env)
{
    size_t name = strcspn(variable, "=") + 1;
    for (; *env; env++)
        if (strncmp(*env, variable, name) == 0)
            return true;
    return false;
}

// The list alone is the caller's to free.
static char **merge_environment(const char *const *env)
{
    size_t count = 0, at = 0;
    for (char **v = environ; v && *v; v++)
        count++;
    for (const char *const *v = env; *v; v++)
        count++;
    char **merged = calloc(count + 1, sizeof(*merged));
    for (char **v = environ; merged && v && *v; v++)
        if (!is_replaced(*v, env))
            merged[at++] = *v;
    for (const char *const *v = env; merged && *v; v++)
        merged[at++] = (char *)*v;
    return merged;
}

// Signals as a fresh program expects them, whatever the host blocks or ignores.
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGTERM);
    sigaddset(&usual, SIGCHLD);
    int error = posix_spawnattr_setsigmask(attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(attributes, &usual);
    if (!error)
        error = posix_spawnattr_setpgroup(attributes, 0);
    return error ? error
                 : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK |
                                                            POSIX_SPAWN_SETSIGDEF |
                                                            POSIX_SPAWN_SETPGROUP);
}

// `fd`: the standard ones; `third`: above 3, lest one of the others take its place, or -1.
static int spawn(const char *path, char **argv, char **env, int fd, int third, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (!error) {
        error = set_attributes(&attributes);
        if (!error)
            error = posix_spawn_file_actions_adddup2(&actions, fd, 0);
        if (!error)
            error = posix_spawn_file_actions_adddup2(&actions, fd, 1);
        if (!error)
            error = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
        if (!error && third >= 0)
            error = posix_spawn_file_actions_adddup2(&actions, third, 3);
        if (!error)
            error = posix_spawn(ret_pid, path, &actions, &attributes, argv, env);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

// A file descriptor below 3 would be the child's standard ones already.
static int above_standard(int fd)
{
    if (fd > 2)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return moved;
}

static int start(struct fj_process *process, const char *path, const char *const *args,
                 const char *const *env, int fd)
{
    char *argv[ARGS_MAX + 2] = {(char *)path};
    int ends[2], count = 1;
    for (; *args && count <= ARGS_MAX; args++)
        argv[count++] = (char *)*args;
    char **merged = merge_environment(env);
    if (!merged || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
        int error = merged ? errno : ENOMEM;
        free(merged);
        return error;
    }
    process->fd = above_standard(ends[0]);
    ends[1] = above_standard(ends[1]);
    int third = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 4) : -1;
    int error = process->fd < 0 || ends[1] < 0 || (fd >= 0 && third < 0)
                    ? EMFILE
                    : spawn(path, argv, merged, ends[1], third, &process->pid);
    if (third >= 0)
        close(third);
    if (ends[1] >= 0)
        close(ends[1]);
    if (error && process->fd >= 0)
        close(process->fd);
    free(merged);
    return error;
}

int fj_process_start(const char *path, const char *const *args, const char *const *env, int fd,
                     struct fj_process **ret_process)
{
    struct fj_process *process = calloc(1, sizeof(*process));
    if (!process)
        return fj_err(FAJIT_E_NOMEM, "no memory to start %s", path);
    int error = start(process, path, args, env, fd);
    if (error) {
        free(process);
        return fj_err(FAJIT_E_IO, "cannot start %s: %s", path, strerror(error));
    }
    *ret_process = process;
    return FAJIT_OK;
}

// --- Talking ----------------------------------------------------------------------------------

bool fj_process_write(struct fj_process *process, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(process->fd, text, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        text += sent;
        len -= (size_t)sent;
    }
    return true;
}

// A line out of the buffer; a line longer than it comes in pieces.
static bool take_line(struct fj_process *process, char *ret_line, size_t size)
{
    char *from = process->buffer + process->begin;
    size_t have = process->end - process->begin;
    const char *newline = memchr(from, '\n', have);
    if (!newline && have < BUFFER_BYTES)
        return false;
    size_t len = newline ? (size_t)(newline - from) : have;
    size_t shown = len < size ? len : size - 1;
    memcpy(ret_line, from, shown);
    ret_line[shown] = '\0';
    process->begin += len + (newline != NULL);
    return true;
}

static void make_room(struct fj_process *process)
{
    memmove(process->buffer, process->buffer + process->begin, process->end - process->begin);
    process->end -= process->begin;
    process->begin = 0;
}

enum fj_process_event fj_process_read(struct fj_process *process, double us, char *ret_line,
                                      size_t size)
{
    const double until_us = fj_now_us() + us;
    while (!take_line(process, ret_line, size)) {
        make_room(process);
        struct pollfd wait = {.fd = process->fd, .events = POLLIN};
        double left_us = until_us - fj_now_us();
        int ready = poll(&wait, 1, left_us > 0 ? (int)(left_us / 1e3) + 1 : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return FJ_PROCESS_SILENT;
        ssize_t got =
            recv(process->fd, process->buffer + process->end, BUFFER_BYTES - process->end, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return FJ_PROCESS_ENDED;
        process->end += (size_t)got;
    }
    return FJ_PROCESS_LINE;
}

// --- The end ----------------------------------------------------------------------------------

// Also true when the host has reaped it, or has the system reap all its children.
static bool has_ended(struct fj_process *process)
{
    if (!process->reaped) {
        pid_t pid = waitpid(process->pid, NULL, WNOHANG);
        process->reaped = pid == process->pid || (pid < 0 && errno == ECHILD);
    }
    return process->reaped;
}

void fj_process_end(struct fj_process **process, double us)
{
    struct fj_process *old = *process;
    if (!old)
        return;
    const double until_us = fj_now_us() + us;
    shutdown(old->fd, SHUT_RDWR);
    while (!has_ended(old) && fj_now_us() < until_us)
        fj_sleep_us(LOOK_US);
    if (!has_ended(old)) {
        kill(old->pid, SIGKILL);
        // A child in the middle of a driver call may take its time even so; not for ever.
        for (double left_us = KILL_US; left_us > 0 && !has_ended(old); left_us -= LOOK_US)
            fj_sleep_us(LOOK_US);
    }
    close(old->fd);
    free(old);
    *process = NULL;
}

bool fj_process_self(char *ret_path, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", ret_path, size - 1);
    if (len <= 0 || (size_t)len >= size - 1)
        return false;
    ret_path[len] = '\0';
    return true;
}
