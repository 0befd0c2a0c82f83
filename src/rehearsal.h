// Rehearsing a kernel of the host's own: what the host would launch is launched in the tuning
// worker first, on copies of the device memory that the arguments point into. There it may hang or
// fault; see tune_worker.h for what is said to the worker.
#ifndef FJ_REHEARSAL_H
#define FJ_REHEARSAL_H

#include "autotune/custom.h"
#include "tune_worker.h"

// --- What a host would have launched ---

struct fj_noted_launch {
    unsigned grid[3];
    int arg_count;
    size_t bytes[FAJIT_KERNEL_ARGS_MAX];
    unsigned char *values; // of all arguments, each at a multiple of 8
};

struct fj_launches {
    struct fj_noted_launch *items;
    int count;
};

// Copies the values. FAJIT_E_NOMEM.
int fj_launches_note(struct fj_launches *launches, const unsigned grid[3],
                     const struct fajit_arg *args, int arg_count);
void fj_launches_free(struct fj_launches *launches);

// Where the next argument's value begins.
size_t fj_launch_next(const struct fj_noted_launch *launch, int arg, size_t at);

// --- The rehearsals of one search ---

// An allocation that an argument points into, at its address here.
struct fj_rehearsal_block {
    uint64_t address, bytes;
    uint64_t offset; // of its contents in the file
    bool wanted;     // by the launches at hand
};

struct fj_rehearsal_params {
    struct fj_worker *worker;
    const struct fj_device *device;
    const char *dir;  // private, writable: where the contents go, in a file without a name
    double silence_s; // 0: 20
    // Asked several times a second while the worker is busy; true ends the rehearsal.
    bool (*cancelled)(void *user);
    void *user;
};

struct fj_rehearsal {
    struct fj_rehearsal_params params;
    int fd;         // -1: nothing was copied yet
    uint64_t bytes; // of the file
    struct fj_rehearsal_block *blocks;
    int block_count;
    char off[200]; // why there are no rehearsals any more; "": there are
};

void fj_rehearsal_begin(const struct fj_rehearsal_params *params, struct fj_rehearsal *ret);
// Ends the worker, which holds as much device memory as was copied.
void fj_rehearsal_end(struct fj_rehearsal *rehearsal);

// In the device's context. `ret_status` as in struct fj_custom_trial.
enum fj_rehearsed fj_rehearse(struct fj_rehearsal *rehearsal, const struct fj_custom *custom,
                              const struct fj_launches *launches, int *ret_status);

// Finds the blocks that the launches reach, and copies the contents of those that are new; the
// others keep what they were when they were first met.
int fj_rehearsal_copy(struct fj_rehearsal *rehearsal, const struct fj_launches *launches);

#endif
