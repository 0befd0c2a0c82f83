// A child process that one talks to in lines.
#ifndef FJ_BASE_PROCESS_H
#define FJ_BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

struct fj_process; // one thread at a time

// Spawned, never forked: nothing of this process's memory, threads or GPU state goes along. Its
// standard input and output are ours, what it says on the third is dropped; it is in a process
// group of its own, so that a terminal's interrupt is this process's to handle. `args` follow the
// path, `env` ("NAME=value") replaces variables of the same name; both end at NULL. `fd` becomes
// its descriptor 3, and stays the caller's; -1: none.
int fj_process_start(const char *path, const char *const *args, const char *const *env, int fd,
                     struct fj_process **ret_process);

// False when the child no longer reads. Raises no signal.
bool fj_process_write(struct fj_process *process, const char *text, size_t len);

enum fj_process_event {
    FJ_PROCESS_LINE,
    FJ_PROCESS_SILENT, // nothing in time
    FJ_PROCESS_ENDED,  // it closed its output
};

// The next line without its end, cut to the size; waits at most `us`.
enum fj_process_event fj_process_read(struct fj_process *process, double us, char *ret_line,
                                      size_t size);

// Closes its input, waits at most `us` for its end, then kills it. NULL inside is fine.
void fj_process_end(struct fj_process **process, double us);

// The path of this process's own program; false when it is not known.
bool fj_process_self(char *ret_path, size_t size);

#endif
