// Stream capture and graphs. A graph is the list of its work in the order of capture, which
// respects every dependency; it is replayed in that order.
#include "emu/driver.h"

#include <stdlib.h>
#include <string.h>

#define MAX_STREAMS 32

struct fj_emu_capture {
    struct fj_emu_capture *next;
    uint64_t id;
    CUcontext context;
    CUstream streams[MAX_STREAMS]; // [0] is the origin
    int n_streams;
    CUstreamCaptureMode mode;
    pthread_t thread; // that began it
    bool spoiled;
    struct fj_emu_work *work;
    size_t count, capacity;
};

struct CUgraph_st {
    enum fj_emu_magic magic;
    CUcontext context;
    struct fj_emu_work *work;
    size_t count;
};

struct CUgraphExec_st {
    struct CUgraph_st graph;
};

static fj_mutex lock = FJ_MUTEX_INIT;
static struct fj_emu_capture *captures;
static uint64_t last_id;

// Work.

void fj_emu_work_free(struct fj_emu_work *work)
{
    if (work->kind == FJ_EMU_WORK_LAUNCH)
        free((void *)(uintptr_t)work->launch.params);
}

bool fj_emu_work_copy(const struct fj_emu_work *work, struct fj_emu_work *ret_copy)
{
    *ret_copy = *work;
    if (work->kind != FJ_EMU_WORK_LAUNCH)
        return true;
    void *params = fj_emu_params_new(work->launch.param_bytes);
    if (params)
        memcpy(params, work->launch.params, work->launch.param_bytes);
    ret_copy->launch.params = params;
    return params != NULL;
}

static void free_work(struct fj_emu_work *work, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fj_emu_work_free(&work[i]);
    free(work);
}

// Captures.

CUresult fj_emu_unsafe_call(const char *name)
{
    bool forbidden = false;
    pthread_mutex_lock(&lock);
    for (struct fj_emu_capture *at = captures; at; at = at->next) {
        bool mine = pthread_equal(at->thread, pthread_self());
        if (at->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
            (mine && at->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
            forbidden = at->spoiled = true;
    }
    pthread_mutex_unlock(&lock);
    if (!forbidden)
        return CUDA_SUCCESS;
    return fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s while a stream is capturing",
                       name);
}

CUresult fj_emu_capture_check_default(CUcontext context)
{
    bool implicit = false;
    pthread_mutex_lock(&lock);
    for (struct fj_emu_capture *at = captures; at; at = at->next)
        for (int i = 0; at->context == context && i < at->n_streams; i++)
            if (!(at->streams[i]->flags & CU_STREAM_NON_BLOCKING))
                implicit = at->spoiled = true;
    pthread_mutex_unlock(&lock);
    if (!implicit)
        return CUDA_SUCCESS;
    return fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
                       "the default stream would wait for a capturing stream");
}

CUresult fj_emu_capture_spoil(CUstream stream, CUresult code, const char *why)
{
    if (!stream->capture)
        return CUDA_SUCCESS;
    stream->capture->spoiled = true;
    return fj_emu_fail(code, "%s", why);
}

CUresult fj_emu_capture_add(CUstream stream, struct fj_emu_work *work)
{
    struct fj_emu_capture *capture = stream->capture;
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    if (capture->count == capture->capacity) {
        size_t capacity = capture->capacity ? 2 * capture->capacity : 16;
        void *grown = realloc(capture->work, capacity * sizeof(*capture->work));
        capture->spoiled |= !grown;
        capture->work = grown ? grown : capture->work;
        capture->capacity = grown ? capacity : capture->capacity;
    }
    if (capture->spoiled) {
        fj_emu_work_free(work);
        result = fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "an earlier call spoilt it");
    } else {
        capture->work[capture->count++] = *work;
        stream->last_work = capture->count;
        stream->joined = stream == capture->streams[0];
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void fj_emu_capture_record(CUstream stream, CUevent event)
{
    event->recorded = false;
    event->capture_id = stream->capture->id;
    event->capture_stream = stream;
    event->position = stream->capture->count;
}

static struct fj_emu_capture *find_capture(uint64_t id)
{
    struct fj_emu_capture *at = captures;
    while (at && at->id != id)
        at = at->next;
    return at;
}

static CUresult join_capture(CUstream stream, struct fj_emu_capture *capture)
{
    if (fj_emu_is_default_stream(stream)) {
        capture->spoiled = true;
        return fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
                           "the default stream waits for a captured event");
    }
    if (capture->n_streams == MAX_STREAMS)
        return fj_emu_fail(CUDA_ERROR_NOT_SUPPORTED, "a capture of more than %d streams",
                           MAX_STREAMS);
    capture->streams[capture->n_streams++] = stream;
    stream->capture = capture;
    stream->joined = false;
    stream->last_work = capture->count;
    return CUDA_SUCCESS;
}

static CUresult wait_captured(CUstream stream, CUevent event, struct fj_emu_capture *capture)
{
    struct fj_emu_capture *own = fj_emu_is_default_stream(stream) ? NULL : stream->capture;
    if (own && own != capture) {
        own->spoiled = capture->spoiled = true;
        return fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                           "a stream waits for an event of another capture");
    }
    CUresult result = own ? CUDA_SUCCESS : join_capture(stream, capture);
    if (result != CUDA_SUCCESS || event->capture_stream == stream)
        return result;
    if (event->position >= event->capture_stream->last_work)
        event->capture_stream->joined = true;
    return CUDA_SUCCESS;
}

CUresult fj_emu_capture_wait(CUstream stream, CUevent event)
{
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    struct fj_emu_capture *capture = find_capture(event->capture_id);
    if (event->capture_id && capture) {
        result = wait_captured(stream, event, capture);
    } else if (event->capture_id) {
        result = fj_emu_fail(CUDA_ERROR_CAPTURED_EVENT, "the event's capture has ended");
    } else if (!fj_emu_is_default_stream(stream) && stream->capture && event->recorded) {
        stream->capture->spoiled = true;
        result = fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                             "a capturing stream waits for an event outside its capture");
    }
    pthread_mutex_unlock(&lock);
    return result;
}

// Takes the capture off the list and its streams out of it; the caller has the lock.
static void end_capture(struct fj_emu_capture *capture)
{
    struct fj_emu_capture **at = &captures;
    while (*at != capture)
        at = &(*at)->next;
    *at = capture->next;
    for (int i = 0; i < capture->n_streams; i++)
        capture->streams[i]->capture = NULL;
}

void fj_emu_capture_leave(CUstream stream)
{
    pthread_mutex_lock(&lock);
    struct fj_emu_capture *capture = stream->capture;
    if (capture && capture->streams[0] == stream) {
        end_capture(capture);
        free_work(capture->work, capture->count);
        free(capture);
    } else if (capture) {
        int i = 1;
        while (capture->streams[i] != stream)
            i++;
        capture->streams[i] = capture->streams[--capture->n_streams];
        capture->spoiled |= !stream->joined;
    }
    pthread_mutex_unlock(&lock);
}

CUresult fj_emu_cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *ret_status)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_stream_check(context, stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_status)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_status = CU_STREAM_CAPTURE_STATUS_NONE;
    if ((uintptr_t)stream <= 1) // a blocking capture elsewhere forbids the question
        return fj_emu_capture_check_default(context);
    if (!fj_emu_is_default_stream(stream) && stream->capture)
        *ret_status = stream->capture->spoiled ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                               : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_stream_check(context, stream);
    if (result != CUDA_SUCCESS)
        return result;
    if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "capture mode %d", mode);
    if (fj_emu_is_default_stream(stream))
        return fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                           "the default stream cannot be captured");
    if (stream->capture)
        return fj_emu_fail(CUDA_ERROR_ILLEGAL_STATE, "the stream is capturing already");
    struct fj_emu_capture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    *capture = (struct fj_emu_capture){
        .next = captures,
        .id = ++last_id,
        .context = context,
        .streams = {stream},
        .n_streams = 1,
        .mode = mode,
        .thread = pthread_self(),
    };
    captures = capture;
    stream->capture = capture;
    stream->joined = true;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

static bool all_joined(const struct fj_emu_capture *capture)
{
    for (int i = 0; i < capture->n_streams; i++)
        if (!capture->streams[i]->joined)
            return false;
    return true;
}

static CUresult check_end(CUstream stream)
{
    const struct fj_emu_capture *capture = stream->capture;
    if (!capture)
        return fj_emu_fail(CUDA_ERROR_ILLEGAL_STATE, "the stream is not capturing");
    if (capture->streams[0] != stream)
        return fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
                           "the capture began in another stream");
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
        !pthread_equal(capture->thread, pthread_self()))
        return fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
                           "the capture began in another thread");
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuStreamEndCapture(CUstream stream, CUgraph *ret_graph)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_stream_check(context, stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_graph || fj_emu_is_default_stream(stream))
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "cuStreamEndCapture of the default stream");
    CUgraph graph = calloc(1, sizeof(*graph));
    pthread_mutex_lock(&lock);
    result = graph ? check_end(stream) : CUDA_ERROR_OUT_OF_MEMORY;
    struct fj_emu_capture *capture = result == CUDA_SUCCESS ? stream->capture : NULL;
    if (capture) {
        if (capture->spoiled)
            result =
                fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "a call spoilt the capture");
        else if (!all_joined(capture))
            result = fj_emu_fail(CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
                                 "work of another stream was not waited for");
        end_capture(capture);
    }
    pthread_mutex_unlock(&lock);
    *ret_graph = NULL;
    if (capture && result == CUDA_SUCCESS) {
        *graph = (struct CUgraph_st){FJ_EMU_MAGIC_GRAPH, context, capture->work, capture->count};
        *ret_graph = graph;
    } else {
        free(graph);
        if (capture)
            free_work(capture->work, capture->count);
    }
    free(capture);
    return result;
}

// Graphs.

CUresult fj_emu_cuGraphInstantiateWithFlags(CUgraphExec *ret_exec, CUgraph graph,
                                            unsigned long long flags)
{
    if (!graph || graph->magic != FJ_EMU_MAGIC_GRAPH)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no graph");
    if (!ret_exec || flags)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "graph instantiation with flags %llu", flags);
    CUgraphExec exec = calloc(1, sizeof(*exec));
    if (!exec)
        return CUDA_ERROR_OUT_OF_MEMORY;
    exec->graph = (struct CUgraph_st){.magic = FJ_EMU_MAGIC_EXEC, .context = graph->context};
    exec->graph.work = calloc(graph->count + 1, sizeof(*graph->work));
    bool ok = exec->graph.work != NULL;
    for (size_t i = 0; ok && i < graph->count; i++) {
        ok = fj_emu_work_copy(&graph->work[i], &exec->graph.work[i]);
        exec->graph.count += ok;
    }
    if (!ok) {
        fj_emu_cuGraphExecDestroy(exec);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *ret_exec = exec;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_stream_check(context, stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (!exec || exec->graph.magic != FJ_EMU_MAGIC_EXEC)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no executable graph");
    for (size_t i = 0; i < exec->graph.count && result == CUDA_SUCCESS; i++) {
        struct fj_emu_work work;
        if (!fj_emu_work_copy(&exec->graph.work[i], &work))
            return CUDA_ERROR_OUT_OF_MEMORY;
        result = fj_emu_enqueue(context, stream, &work);
    }
    return result;
}

CUresult fj_emu_cuGraphExecDestroy(CUgraphExec exec)
{
    if (!exec || exec->graph.magic != FJ_EMU_MAGIC_EXEC)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no executable graph");
    exec->graph.magic = 0;
    if (exec->graph.work)
        free_work(exec->graph.work, exec->graph.count);
    fj_emu_retire(exec);
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuGraphDestroy(CUgraph graph)
{
    if (!graph || graph->magic != FJ_EMU_MAGIC_GRAPH)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no graph");
    graph->magic = 0;
    free_work(graph->work, graph->count);
    fj_emu_retire(graph);
    return CUDA_SUCCESS;
}
