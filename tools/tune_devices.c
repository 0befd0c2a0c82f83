#include "tune_devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A device is left out after this many failures in a row, while another one can do its work.
#define STRIKES_MAX 3

// --- Opening ----------------------------------------------------------------------------------

static struct tune_model *find_model(struct tune_devices *devices, const char *gpu)
{
    for (int i = 0; i < devices->model_count; i++)
        if (strcmp(devices->models[i].gpu, gpu) == 0)
            return &devices->models[i];
    struct tune_model *model = &devices->models[devices->model_count];
    model->turns = calloc((size_t)devices->problems, sizeof(*model->turns));
    if (!model->turns)
        return NULL;
    snprintf(model->gpu, sizeof(model->gpu), "%s", gpu);
    devices->model_count++;
    return model;
}

static int add_device(struct tune_devices *devices, struct fajit_ctx *ctx)
{
    struct tune_device *device = &devices->items[devices->count];
    struct fajit_device_info info = {.struct_size = sizeof(info)};
    char gpu[160];
    if (fajit_ctx_device(ctx, &info))
        return tool_fail(NULL);
    for (char *c = info.name; *c; c++)
        *c = *c > ' ' && *c < 127 ? *c : '_';
    snprintf(gpu, sizeof(gpu), "%s/%d/%d", info.name, info.compute_capability, info.sm_count);
    *device = (struct tune_device){.ctx = ctx, .ordinal = info.ordinal};
    snprintf(device->name, sizeof(device->name), "%s%d", info.emulated ? "emu:" : "", info.ordinal);
    device->model = find_model(devices, gpu);
    if (!device->model) {
        fprintf(stderr, "%s: no memory\n", tool_name);
        return 1;
    }
    device->model->devices++;
    devices->count++;
    return 0;
}

static int open_one(const struct tune_options *options, struct tune_devices *devices)
{
    struct fajit_ctx *ctx;
    if (tool_context(&options->tool, &ctx))
        return -1;
    if (add_device(devices, ctx) == 0)
        return 0;
    fajit_ctx_destroy(&ctx);
    return -1;
}

static int open_all(const struct tune_options *options, struct tune_devices *devices)
{
    struct fajit_ctx_params params;
    int count;
    if (tool_params(&options->tool, &params))
        return -1;
    int err = fajit_device_count(&params, &params.device, &count);
    if (err)
        return tool_no_context(&options->tool, err);
    if (params.device == FAJIT_DEVICE_NONE)
        fprintf(stderr, "%s: --arch alone has no devices to tune on\n", tool_name);
    if (count > TUNE_DEVICES_MAX) {
        fprintf(stderr, "%s: of %d devices the first %d are used\n", tool_name, count,
                TUNE_DEVICES_MAX);
        count = TUNE_DEVICES_MAX;
    }
    for (int i = 0; i < count; i++) {
        struct fajit_ctx *ctx = NULL;
        params.device_ordinal = i;
        if (fajit_ctx_create(&params, &ctx) == 0 && add_device(devices, ctx) == 0)
            continue;
        if (!ctx)
            fprintf(stderr, "%s: device %s%d cannot be opened: %s\n", tool_name,
                    params.device == FAJIT_DEVICE_EMULATED ? "emu:" : "", i, fajit_last_error());
        fajit_ctx_destroy(&ctx);
        devices->unopened++;
    }
    return devices->count > 0 ? 0 : -1;
}

int tune_devices_open(const struct tune_options *options, int problems, struct tune_devices *ret)
{
    *ret = (struct tune_devices){.problems = problems};
    pthread_mutex_init(&ret->mutex, NULL);
    pthread_cond_init(&ret->changed, NULL);
    int err = options->all_devices ? open_all(options, ret) : open_one(options, ret);
    if (err)
        tune_devices_close(ret);
    return err;
}

void tune_devices_close(struct tune_devices *devices)
{
    for (int i = 0; i < devices->count; i++)
        fajit_ctx_destroy(&devices->items[i].ctx);
    for (int i = 0; i < devices->model_count; i++)
        free(devices->models[i].turns);
    pthread_cond_destroy(&devices->changed);
    pthread_mutex_destroy(&devices->mutex);
}

// --- Sharing ----------------------------------------------------------------------------------

static int find_turn(const struct tune_devices *devices, const struct tune_device *device)
{
    const struct tune_model *model = device->model;
    for (int i = 0; i < devices->problems; i++) {
        const struct tune_turn *turn = &model->turns[i];
        const bool another_one_can = turn->failed_on == device->ordinal + 1 && model->devices > 1;
        if (turn->state == TURN_OPEN && !another_one_can)
            return i;
    }
    return -1;
}

int tune_devices_take(struct tune_devices *devices, struct tune_device *device,
                      const volatile sig_atomic_t *stop)
{
    struct tune_model *model = device->model;
    for (;;) {
        if (*stop || device->strikes >= STRIKES_MAX)
            return -1;
        int problem = find_turn(devices, device);
        if (problem >= 0) {
            model->turns[problem].state = TURN_TAKEN;
            model->busy++;
            return problem;
        }
        if (model->busy == 0)
            return -1;
        pthread_cond_wait(&devices->changed, &devices->mutex);
    }
}

// What says nothing about the problem: another device may do better.
static bool may_be_the_device(int status)
{
    return status == FAJIT_E_CUDA || status == FAJIT_E_CONTEXT_LOST ||
           status == FAJIT_E_NO_DEVICE || status == FAJIT_E_NOMEM;
}

bool tune_devices_end(struct tune_devices *devices, struct tune_device *device, int problem,
                      int status)
{
    struct tune_model *model = device->model;
    struct tune_turn *turn = &model->turns[problem];
    const bool suspect = may_be_the_device(status) && model->devices > 1;
    const bool again = suspect && !turn->failed_on;
    turn->state = again ? TURN_OPEN : TURN_ENDED;
    turn->failed_on = device->ordinal + 1;
    model->busy--;
    device->strikes = suspect ? device->strikes + 1 : 0;
    if (device->strikes == STRIKES_MAX) {
        model->devices--;
        fprintf(stderr, "%s: device %s failed %d times in a row and is left out\n", tool_name,
                device->name, STRIKES_MAX);
    }
    pthread_cond_broadcast(&devices->changed);
    return again;
}
