// What tune_worker.c and rehearsal.c share: the process, and when it counts as hanging.
#ifndef FJ_TUNE_WORKER_INTERNAL_H
#define FJ_TUNE_WORKER_INTERNAL_H

#include "base/process.h"
#include "tune_worker.h"

// Longer than any compile, reference or round of timing goes without a word.
#define FJ_WORKER_SILENCE_S 20.0
#define FJ_WORKER_END_US 2e6
#define FJ_WORKER_LOOK_US 250e3 // how often the host is asked whether it cancels
#define FJ_WORKER_LINE_BYTES 2048

struct fj_worker {
    char *path, *gpu;
    struct fj_buf setup; // the lines up to `open`
    struct fj_log log;
    struct fj_process *process; // NULL: none is running
    int number;                 // of the latest request
    int memory_fd;              // descriptor 3 of the next process; -1: none
};

// Starts a process unless one is running.
int fj_worker_start(struct fj_worker *worker);

#endif
