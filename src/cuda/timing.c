#include "cuda/timing.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/thread.h"

// Samples queued behind one gate. A stream takes about a thousand entries before the driver makes
// the host wait, and a sample is four of them.
#define BATCH 64

// The longest a gate holds the stream back should the host never open it.
#define GATE_US 50e3

// Holds a stream back while the host fills it. Owned by both ends: after a fault the driver may
// still be inside hold() when the host has moved on.
struct gate {
    atomic_bool open;
    atomic_int owners;
};

static void gate_drop(struct gate *gate)
{
    if (gate && atomic_fetch_sub(&gate->owners, 1) == 1)
        free(gate);
}

// Runs on a thread of the driver's, which must not be kept busy: it sleeps between looks.
static void hold(void *user)
{
    struct gate *gate = user;
    double deadline_us = fj_now_us() + GATE_US;
    while (!atomic_load(&gate->open) && fj_now_us() < deadline_us)
        fj_sleep_us(20);
    gate_drop(gate);
}

// NULL where the driver cannot hold a stream back: the samples then include enqueueing.
static struct gate *gate_close(const struct fj_cuda *cuda, CUstream stream)
{
    struct gate *gate = cuda->cuLaunchHostFunc ? calloc(1, sizeof(*gate)) : NULL;
    if (!gate)
        return NULL;
    atomic_init(&gate->open, false);
    atomic_init(&gate->owners, 2);
    if (cuda->cuLaunchHostFunc(stream, hold, gate) == CUDA_SUCCESS)
        return gate;
    free(gate);
    return NULL;
}

static void gate_open(struct gate *gate)
{
    if (gate)
        atomic_store(&gate->open, true);
    gate_drop(gate);
}

struct bench {
    const struct fj_cuda *cuda;
    const struct fj_timing_params *params;
    int (*launch)(void *user, CUstream stream);
    void *user;
    CUstream stream;
    CUevent starts[BATCH], ends[BATCH];
    CUdeviceptr flush;
    size_t flush_bytes;
    double *samples_us;
};

#define CHECK(bench, call, ...)                                                                    \
    fj_cuda_check((bench)->cuda, (bench)->cuda->call(__VA_ARGS__), #call)

static int create_events(struct bench *bench)
{
    for (int i = 0; i < BATCH && i < bench->params->repeats; i++) {
        int status = CHECK(bench, cuEventCreate, &bench->starts[i], CU_EVENT_DEFAULT);
        if (status == FAJIT_OK)
            status = CHECK(bench, cuEventCreate, &bench->ends[i], CU_EVENT_DEFAULT);
        if (status != FAJIT_OK)
            return status;
    }
    return FAJIT_OK;
}

static int set_up(struct bench *bench, const struct fj_device *device)
{
    int status = CHECK(bench, cuCtxSynchronize);
    if (status == FAJIT_OK)
        status = CHECK(bench, cuStreamCreate, &bench->stream, CU_STREAM_NON_BLOCKING);
    if (status == FAJIT_OK)
        status = create_events(bench);
    if (status != FAJIT_OK || !bench->params->flush_l2 || device->gpu.l2_bytes <= 0)
        return status;
    bench->flush_bytes = 2 * (size_t)device->gpu.l2_bytes;
    return CHECK(bench, cuMemAlloc_v2, &bench->flush, bench->flush_bytes);
}

static void tear_down(struct bench *bench)
{
    for (int i = 0; i < BATCH; i++) {
        if (bench->starts[i])
            bench->cuda->cuEventDestroy_v2(bench->starts[i]);
        if (bench->ends[i])
            bench->cuda->cuEventDestroy_v2(bench->ends[i]);
    }
    if (bench->flush)
        bench->cuda->cuMemFree_v2(bench->flush);
    if (bench->stream)
        bench->cuda->cuStreamDestroy_v2(bench->stream);
}

static int enqueue_sample(struct bench *bench, int i)
{
    int status = FAJIT_OK;
    if (bench->flush)
        status = CHECK(bench, cuMemsetD32Async, bench->flush, 0,
                       bench->flush_bytes / sizeof(uint32_t), bench->stream);
    if (status == FAJIT_OK)
        status = CHECK(bench, cuEventRecord, bench->starts[i], bench->stream);
    if (status == FAJIT_OK)
        status = bench->launch(bench->user, bench->stream);
    if (status == FAJIT_OK)
        status = CHECK(bench, cuEventRecord, bench->ends[i], bench->stream);
    return status;
}

static int run_batch(struct bench *bench, int count)
{
    struct gate *gate = gate_close(bench->cuda, bench->stream);
    int status = FAJIT_OK;
    for (int i = 0; i < count && status == FAJIT_OK; i++)
        status = enqueue_sample(bench, i);
    gate_open(gate);
    // Also after a failure: nothing may still use what tear_down frees. The error recorded first
    // is the one worth reading.
    CUresult result = bench->cuda->cuStreamSynchronize(bench->stream);
    return status != FAJIT_OK ? status : fj_cuda_check(bench->cuda, result, "cuStreamSynchronize");
}

static int read_batch(struct bench *bench, int count, double *ret_us)
{
    for (int i = 0; i < count; i++) {
        float ms = 0;
        int status = CHECK(bench, cuEventElapsedTime, &ms, bench->starts[i], bench->ends[i]);
        if (status != FAJIT_OK)
            return status;
        ret_us[i] = 1e3 * (double)ms;
    }
    return FAJIT_OK;
}

static int run(struct bench *bench)
{
    int status = FAJIT_OK;
    for (int i = 0; i < bench->params->warmups && status == FAJIT_OK; i++)
        status = bench->launch(bench->user, bench->stream);
    if (status == FAJIT_OK)
        status = CHECK(bench, cuStreamSynchronize, bench->stream);
    for (int done = 0; done < bench->params->repeats && status == FAJIT_OK; done += BATCH) {
        int left = bench->params->repeats - done;
        int count = left < BATCH ? left : BATCH;
        status = run_batch(bench, count);
        if (status == FAJIT_OK)
            status = read_batch(bench, count, bench->samples_us + done);
    }
    return status;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double fj_quantile(const double *sorted, int count, double q)
{
    double at = q * (count - 1);
    int below = (int)at;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

static void summarise(double *samples_us, int count, struct fj_timing *ret)
{
    qsort(samples_us, (size_t)count, sizeof(*samples_us), compare);
    *ret = (struct fj_timing){
        .median_us = fj_quantile(samples_us, count, 0.5),
        .p25_us = fj_quantile(samples_us, count, 0.25),
        .p75_us = fj_quantile(samples_us, count, 0.75),
        .min_us = samples_us[0],
        .max_us = samples_us[count - 1],
        .repeats = count,
    };
}

int fj_time_launches(const struct fj_device *device, int (*launch)(void *user, CUstream stream),
                     void *user, const struct fj_timing_params *params,
                     struct fj_timing *ret_timing)
{
    struct bench bench = {.cuda = device->cuda, .params = params, .launch = launch, .user = user};
    CUcontext previous;
    if (params->repeats < 1 || params->warmups < 0)
        return fj_err(FAJIT_E_INVAL, "%d repeats after %d warm-ups: ask for at least 1 after 0",
                      params->repeats, params->warmups);
    double *own = params->samples_us ? NULL : calloc((size_t)params->repeats, sizeof(double));
    bench.samples_us = own ? own : params->samples_us;
    if (!bench.samples_us)
        return fj_err(FAJIT_E_NOMEM, "no memory for %d timing samples", params->repeats);
    int status = fj_device_enter(device, &previous);
    if (status == FAJIT_OK) {
        status = set_up(&bench, device);
        if (status == FAJIT_OK)
            status = run(&bench);
        tear_down(&bench);
        fj_device_leave(device, previous);
    }
    if (status == FAJIT_OK)
        summarise(bench.samples_us, params->repeats, ret_timing);
    free(own);
    return status;
}
