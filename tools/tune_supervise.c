// The process that outlives hanging and faulting kernels: it starts a worker, listens to it, and
// starts another when it falls silent. Spawned, never forked: the parent has no CUDA context.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tune.h"

extern char **environ;

// Longer than any compile, reference or round of timing goes without a word.
#define SILENCE_S 20.0
#define RESTARTS_MAX 40
#define ARGS_MAX 256

struct watch {
    char done[4096];   // ",0,3,": what the next worker need not do
    char running[512]; // last configuration the worker named
    char line[1024];   // what came of the current line
    size_t len;
};

static void take_line(struct watch *watch)
{
    size_t used = strlen(watch->done);
    watch->line[watch->len] = '\0';
    if (watch->line[0] == 'd' && used + watch->len < sizeof(watch->done))
        snprintf(watch->done + used, sizeof(watch->done) - used, "%s,", watch->line + 1);
    if (watch->line[0] == 'r')
        snprintf(watch->running, sizeof(watch->running), "%.500s", watch->line + 1);
    watch->len = 0;
}

static void take_bytes(struct watch *watch, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n')
            take_line(watch);
        else if (watch->len + 1 < sizeof(watch->line))
            watch->line[watch->len++] = bytes[i];
    }
}

// True when the worker closed its end, false when it fell silent.
static bool listen_to(int fd, struct watch *watch, double silence_s)
{
    char bytes[4096];
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, (int)(silence_s * 1e3));
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        ssize_t got = read(fd, bytes, sizeof(bytes));
        if (got <= 0)
            return true;
        take_bytes(watch, bytes, (size_t)got);
    }
}

static bool start(const struct tune_options *options, const struct watch *watch, int fd,
                  pid_t *ret_child)
{
    char *argv[ARGS_MAX + 5], number[16], done[sizeof(watch->done)];
    int argc = 0;
    snprintf(number, sizeof(number), "%d", fd);
    memcpy(done, watch->done, sizeof(done));
    while (argc < ARGS_MAX && options->argv[argc]) {
        argv[argc] = options->argv[argc];
        argc++;
    }
    if (options->argv[argc])
        return false;
    argv[argc++] = "--heartbeat";
    argv[argc++] = number;
    argv[argc++] = "--done";
    argv[argc++] = done;
    argv[argc] = NULL;
    return posix_spawn(ret_child, "/proc/self/exe", NULL, NULL, argv, environ) == 0;
}

// One worker's life. Returns its exit code, or -1 when it hung or died of a signal.
static int run_worker(const struct tune_options *options, struct watch *watch)
{
    int ends[2], status = 0;
    pid_t child;
    if (pipe(ends)) {
        fprintf(stderr, "%s: cannot make a pipe: %s\n", tool_name, strerror(errno));
        return 1;
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    watch->running[0] = '\0';
    if (!start(options, watch, ends[1], &child)) {
        fprintf(stderr, "%s: cannot start a worker\n", tool_name);
        close(ends[0]);
        close(ends[1]);
        return 1;
    }
    close(ends[1]);
    bool ended = listen_to(ends[0], watch, options->silence_s > 0 ? options->silence_s : SILENCE_S);
    if (!ended)
        kill(child, SIGKILL);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int tune_supervise(const struct tune_options *options, int problems)
{
    struct watch watch = {.done = ","};
    int code = -1;
    signal(SIGINT, SIG_IGN); // the worker, which hears it too, ends its search in order
    for (int i = 0; i < RESTARTS_MAX; i++) {
        code = run_worker(options, &watch);
        if (code >= 0 && code != TUNE_EXIT_LOST)
            break;
        tune_bar_clear();
        fprintf(stderr, "%s: %s %s; it is left out from now on, and the search starts again\n",
                tool_name, *watch.running ? watch.running : "a kernel",
                code < 0 ? "hung, or took the process with it" : "faulted");
    }
    signal(SIGINT, SIG_DFL);
    if (code < 0 || code == TUNE_EXIT_LOST)
        fprintf(stderr, "%s: gave up on %d problems after %d workers\n", tool_name, problems,
                RESTARTS_MAX);
    return code < 0 ? 1 : code;
}
