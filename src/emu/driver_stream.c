// Streams and events. Work runs to its end when it is enqueued, so order needs no bookkeeping
// outside captures, and an event's time is that of its call.
#include "emu/driver.h"

#include "emu/memory.h"

#include <stdlib.h>
#include <string.h>

// The special handles of cuda.h: the legacy and the per-thread default stream.
#define LEGACY ((uintptr_t)1)
#define PER_THREAD ((uintptr_t)2)

bool fj_emu_is_default_stream(CUstream stream)
{
    return (uintptr_t)stream <= PER_THREAD;
}

CUresult fj_emu_stream_check(CUcontext context, CUstream stream)
{
    if (fj_emu_is_default_stream(stream))
        return CUDA_SUCCESS;
    if (stream->magic != FJ_EMU_MAGIC_STREAM)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no stream");
    if (stream->context != context)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the stream belongs to another context");
    return CUDA_SUCCESS;
}

static CUresult enter(CUstream stream, CUcontext *ret_context)
{
    CUresult result = fj_emu_enter(ret_context);
    return result == CUDA_SUCCESS ? fj_emu_stream_check(*ret_context, stream) : result;
}

CUresult fj_emu_enqueue(CUcontext context, CUstream stream, struct fj_emu_work *work)
{
    CUresult result = CUDA_SUCCESS;
    if (!fj_emu_is_default_stream(stream) && stream->capture)
        return fj_emu_capture_add(stream, work);
    if ((uintptr_t)stream != PER_THREAD && fj_emu_is_default_stream(stream))
        result = fj_emu_capture_check_default(context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_work_run(context, work);
    fj_emu_work_free(work);
    return result;
}

static void copy_bytes(const struct fj_emu_work *work)
{
    memmove(work->to, work->from, work->bytes);
    if (work->to_device)
        fj_emu_mem_mark((uintptr_t)work->to, work->bytes);
}

static void set_bytes(const struct fj_emu_work *work)
{
    memset((void *)(uintptr_t)work->at, (int)work->value, work->count);
    fj_emu_mem_mark(work->at, work->count);
}

static void set_words(const struct fj_emu_work *work)
{
    uint32_t *word = (uint32_t *)(uintptr_t)work->at;
    for (size_t i = 0; i < work->count; i++)
        word[i] = work->value;
    fj_emu_mem_mark(work->at, 4 * work->count);
}

// A captured address may have been freed since: the range is looked up again.
static CUresult run_memory(const struct fj_emu_work *work)
{
    bool set = work->kind != FJ_EMU_WORK_COPY;
    uint64_t at = set ? work->at : (uint64_t)(uintptr_t)work->to;
    size_t bytes = !set                              ? work->bytes
                   : work->kind == FJ_EMU_WORK_SET32 ? 4 * work->count
                                                     : work->count;
    CUresult result = CUDA_SUCCESS;
    fj_emu_mem_begin_launch();
    if ((set || work->to_device) && !fj_emu_mem_find(at, bytes))
        result = fj_emu_fail(CUDA_ERROR_ILLEGAL_ADDRESS, "the target of a copy was freed");
    else if (work->kind == FJ_EMU_WORK_COPY)
        copy_bytes(work);
    else if (work->kind == FJ_EMU_WORK_SET8)
        set_bytes(work);
    else
        set_words(work);
    fj_emu_mem_end_launch();
    return result;
}

CUresult fj_emu_work_run(CUcontext context, const struct fj_emu_work *work)
{
    switch (work->kind) {
    case FJ_EMU_WORK_LAUNCH:
        return fj_emu_launch_run(context, work->function, &work->launch);
    case FJ_EMU_WORK_HOST:
        work->fn(work->user);
        return CUDA_SUCCESS;
    default:
        return run_memory(work);
    }
}

CUresult fj_emu_cuLaunchHostFunc(CUstream stream, CUhostFn fn, void *user)
{
    CUcontext context;
    CUresult result = enter(stream, &context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!fn)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuLaunchHostFunc of a null function");
    struct fj_emu_work work = {.kind = FJ_EMU_WORK_HOST, .fn = fn, .user = user};
    return fj_emu_enqueue(context, stream, &work);
}

// Streams.

CUresult fj_emu_cuStreamCreate(CUstream *ret_stream, unsigned flags)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_stream || flags > CU_STREAM_NON_BLOCKING)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuStreamCreate with flags %u", flags);
    CUstream stream = calloc(1, sizeof(*stream));
    if (!stream)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream->magic = FJ_EMU_MAGIC_STREAM;
    stream->context = context;
    stream->flags = flags;
    *ret_stream = stream;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuStreamDestroy_v2(CUstream stream)
{
    if (fj_emu_is_default_stream(stream) || stream->magic != FJ_EMU_MAGIC_STREAM)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "cuStreamDestroy of no stream");
    fj_emu_capture_leave(stream);
    stream->magic = 0;
    fj_emu_retire(stream);
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuStreamSynchronize(CUstream stream)
{
    CUcontext context;
    CUresult result = enter(stream, &context);
    if (result != CUDA_SUCCESS)
        return result;
    if (fj_emu_is_default_stream(stream))
        return (uintptr_t)stream == PER_THREAD ? result : fj_emu_capture_check_default(context);
    return fj_emu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                                "cuStreamSynchronize of a capturing stream");
}

CUresult fj_emu_cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    CUcontext context;
    CUresult result = enter(stream, &context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!event || event->magic != FJ_EMU_MAGIC_EVENT)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no event");
    if (flags > 1)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuStreamWaitEvent with flags %u", flags);
    return fj_emu_capture_wait(stream, event);
}

// Events.

static CUresult check_event(CUevent event)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS && (!event || event->magic != FJ_EMU_MAGIC_EVENT))
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no event");
    return result;
}

static CUresult check_done(CUevent event)
{
    CUresult result = check_event(event);
    if (result == CUDA_SUCCESS && event->capture_id)
        return fj_emu_fail(CUDA_ERROR_CAPTURED_EVENT, "the event was last recorded in a capture");
    return result;
}

CUresult fj_emu_cuEventCreate(CUevent *ret_event, unsigned flags)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_event || flags > (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING))
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuEventCreate with flags %u", flags);
    CUevent event = calloc(1, sizeof(*event));
    if (!event)
        return CUDA_ERROR_OUT_OF_MEMORY;
    event->magic = FJ_EMU_MAGIC_EVENT;
    event->context = context;
    event->flags = flags;
    *ret_event = event;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuEventDestroy_v2(CUevent event)
{
    if (!event || event->magic != FJ_EMU_MAGIC_EVENT)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "cuEventDestroy of no event");
    event->magic = 0;
    fj_emu_retire(event);
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuEventRecord(CUevent event, CUstream stream)
{
    CUcontext context;
    CUresult result = check_event(event);
    if (result == CUDA_SUCCESS)
        result = enter(stream, &context);
    if (result != CUDA_SUCCESS)
        return result;
    if (event->context != context)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "event and stream differ in their context");
    if (!fj_emu_is_default_stream(stream) && stream->capture) {
        fj_emu_capture_record(stream, event);
        return CUDA_SUCCESS;
    }
    if ((uintptr_t)stream != PER_THREAD && fj_emu_is_default_stream(stream))
        result = fj_emu_capture_check_default(context);
    event->recorded = result == CUDA_SUCCESS;
    event->capture_id = 0;
    event->time_us = fj_now_us();
    return result;
}

CUresult fj_emu_cuEventQuery(CUevent event)
{
    return check_done(event);
}

CUresult fj_emu_cuEventSynchronize(CUevent event)
{
    return check_done(event);
}

CUresult fj_emu_cuEventElapsedTime(float *ret_ms, CUevent start, CUevent end)
{
    CUresult result = check_done(start);
    if (result == CUDA_SUCCESS)
        result = check_done(end);
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_ms)
        return CUDA_ERROR_INVALID_VALUE;
    if (!start->recorded || !end->recorded || (start->flags | end->flags) & CU_EVENT_DISABLE_TIMING)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE,
                           "an event was not recorded, or was made without timing");
    *ret_ms = (float)((end->time_us - start->time_us) * 1e-3);
    return CUDA_SUCCESS;
}
