// The devices that tune shares a list among: opened, grouped by model, and who does what next.
#ifndef TOOLS_TUNE_DEVICES_H
#define TOOLS_TUNE_DEVICES_H

#include <pthread.h>
#include <signal.h>

#include "tune.h"

#define TUNE_DEVICES_MAX 64

// GPUs of one model. Records are a model's, so every model gets the whole list.
struct tune_model {
    char gpu[160]; // as the records' word: name, compute capability, SMs
    int devices;   // that still take problems
    int busy;      // of them, with one
    struct tune_turn {
        enum { TURN_OPEN, TURN_TAKEN, TURN_ENDED } state;
        int failed_on; // ordinal of the device that did not get it done, plus 1
    } * turns;         // one per problem of the list
};

struct tune_device {
    struct fajit_ctx *ctx;
    char name[16]; // as --device takes it: "0", "emu:1"
    int ordinal;
    int strikes; // failures in a row that may be the device's
    struct tune_model *model;
};

struct tune_devices {
    struct tune_device items[TUNE_DEVICES_MAX];
    struct tune_model models[TUNE_DEVICES_MAX];
    int count, model_count, problems;
    int unopened; // reported; the others tune
    pthread_mutex_t mutex;
    pthread_cond_t changed; // a problem has ended or was given back
};

// Opens the device that the options name, or all of its kind. Prints what cannot be opened and goes
// on with the others; a status below 0 when none is left.
int tune_devices_open(const struct tune_options *options, int problems, struct tune_devices *ret);
void tune_devices_close(struct tune_devices *devices);

// The next problem for the device, as an index of the list; -1 when there is none, or `stop`. Waits
// while another device of the model may give one back. The mutex must be held for both.
int tune_devices_take(struct tune_devices *devices, struct tune_device *device,
                      const volatile sig_atomic_t *stop);
// True when a failed problem was given to the model's other devices, and so has not ended.
bool tune_devices_end(struct tune_devices *devices, struct tune_device *device, int problem,
                      int status);

#endif
