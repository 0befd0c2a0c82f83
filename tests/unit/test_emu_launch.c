// The emulated driver: launches, streams, events, captures and graphs, faults.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include "emu_session.h"

#define PTX PTX_HEAD("sm_80") PTX_FILL

static void test_launch(void **state)
{
    (void)state;
    struct session s;
    session_open(&s, "h200", PTX);
    CUdeviceptr a = session_alloc(&s, 1024);
    OK(s.cuda->cuMemsetD8_v2(a, 0, 1024));
    OK(session_fill(&s, a, 42, 200, NULL));
    session_expect(&s, a, 42, 200);
    session_expect(&s, a + 800, 0, 56);
    struct {
        CUdeviceptr p;
        unsigned value, n;
    } packed = {a, 43, 100};
    size_t bytes = sizeof(packed);
    void *extra[] = {(void *)1, &packed, (void *)2, &bytes, (void *)0};
    OK(s.cuda->cuLaunchKernel(s.fill, 2, 1, 1, 64, 1, 1, 0, NULL, NULL, extra));
    session_expect(&s, a, 43, 100);
    session_expect(&s, a + 400, 42, 100);
    session_close(&s);
}

static CUresult launch(struct session *s, CUfunction f, unsigned grid_y, unsigned threads,
                       unsigned smem)
{
    CUdeviceptr p = 0;
    unsigned value = 0, n = 0;
    void *args[] = {&p, &value, &n};
    return s->cuda->cuLaunchKernel(f, 1, grid_y, 1, threads, 1, 1, smem, NULL, args, NULL);
}

#define PTX_BOUNDED                                                                                \
    ".visible .entry bounded(.param .u64 p, .param .u32 value, .param .u32 n)\n"                   \
    ".maxntid 128, 1, 1\n"                                                                         \
    "{\nret;\n}\n"

static void test_launch_limits(void **state)
{
    (void)state;
    struct session s, other;
    CUfunction bounded;
    session_open(&s, "h200", PTX PTX_BOUNDED);
    OK(s.cuda->cuModuleGetFunction(&bounded, s.module, "bounded"));
    OK(launch(&s, s.fill, 1, 32, 0));
    OK(launch(&s, s.fill, 65535, 32, 0));
    assert_int_equal(launch(&s, s.fill, 65536, 32, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(launch(&s, s.fill, 0, 32, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(launch(&s, s.fill, 1, 0, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(launch(&s, s.fill, 1, 1025, 0), CUDA_ERROR_INVALID_VALUE);
    OK(launch(&s, s.fill, 1, 1024, 0));
    OK(launch(&s, s.fill, 1, 32, 49152));
    assert_int_equal(launch(&s, s.fill, 1, 32, 49153), CUDA_ERROR_INVALID_VALUE);
    OK(s.cuda->cuFuncSetAttribute(s.fill, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100000));
    OK(launch(&s, s.fill, 1, 32, 100000));
    OK(launch(&s, bounded, 1, 128, 0));
    assert_int_equal(launch(&s, bounded, 1, 129, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(s.cuda->cuLaunchKernel(s.fill, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(launch(&s, (CUfunction)(void *)s.module, 1, 32, 0), CUDA_ERROR_INVALID_HANDLE);
    session_open(&other, "a100", NULL); // another context is current now
    assert_int_equal(launch(&s, s.fill, 1, 32, 0), CUDA_ERROR_INVALID_HANDLE);
    session_close(&other);
    OK(s.cuda->cuCtxSynchronize()); // refusals do not harm the context
    session_close(&s);
}

static CUresult launch_cluster(struct session *s, unsigned grid, unsigned cluster)
{
    CUdeviceptr p = 0;
    unsigned value = 0, n = 0;
    void *args[] = {&p, &value, &n};
    CUlaunchAttribute attributes[2] = {
        {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
         .value.programmaticStreamSerializationAllowed = 1},
        {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = {cluster, 1, 1}}};
    CUlaunchConfig config = {grid, 1, 1, 32, 1, 1, 0, NULL, attributes, 2};
    return s->cuda->cuLaunchKernelEx(&config, s->fill, args, NULL);
}

static void test_clusters(void **state)
{
    (void)state;
    struct session s;
    session_open(&s, "h200", PTX);
    OK(launch_cluster(&s, 4, 2));
    OK(launch_cluster(&s, 8, 8));
    assert_int_equal(launch_cluster(&s, 3, 2), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    assert_int_equal(launch_cluster(&s, 4, 0), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    assert_int_equal(launch_cluster(&s, 16, 16), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    OK(s.cuda->cuFuncSetAttribute(s.fill, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
    OK(launch_cluster(&s, 16, 16));
    session_close(&s);
    session_open(&s, "a100", PTX);
    OK(launch_cluster(&s, 4, 1));
    assert_int_equal(launch_cluster(&s, 4, 2), CUDA_ERROR_INVALID_VALUE);
    session_close(&s);
}

static void test_events(void **state)
{
    (void)state;
    struct session s;
    CUevent start, end, untimed;
    float ms = -1;
    session_open(&s, "h200", PTX);
    CUdeviceptr a = session_alloc(&s, 1024);
    OK(s.cuda->cuEventCreate(&start, 0));
    OK(s.cuda->cuEventCreate(&end, 0));
    OK(s.cuda->cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
    assert_int_equal(s.cuda->cuEventElapsedTime(&ms, start, end), CUDA_ERROR_INVALID_HANDLE);
    OK(s.cuda->cuEventRecord(start, NULL));
    OK(session_fill(&s, a, 1, 256, NULL));
    OK(s.cuda->cuEventRecord(end, NULL));
    OK(s.cuda->cuEventRecord(untimed, NULL));
    OK(s.cuda->cuEventQuery(end));
    OK(s.cuda->cuEventSynchronize(end));
    OK(s.cuda->cuEventElapsedTime(&ms, start, end));
    assert_true(ms > 0 && ms < 10000);
    assert_int_equal(s.cuda->cuEventElapsedTime(&ms, start, untimed), CUDA_ERROR_INVALID_HANDLE);
    OK(s.cuda->cuEventDestroy_v2(start));
    OK(s.cuda->cuEventDestroy_v2(end));
    OK(s.cuda->cuEventDestroy_v2(untimed));
    session_close(&s);
}

static void add_one(void *user)
{
    ++*(int *)user;
}

static CUstreamCaptureStatus capture_status(struct session *s, CUstream stream)
{
    CUstreamCaptureStatus status;
    OK(s->cuda->cuStreamIsCapturing(stream, &status));
    return status;
}

static void test_graph(void **state)
{
    (void)state;
    struct session s;
    CUstream stream;
    CUgraph graph;
    CUgraphExec exec;
    int calls = 0;
    session_open(&s, "h200", PTX);
    CUdeviceptr a = session_alloc(&s, 1024), b = session_alloc(&s, 1024);
    OK(s.cuda->cuMemsetD8_v2(a, 0, 1024));
    OK(s.cuda->cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_int_equal(capture_status(&s, stream), CU_STREAM_CAPTURE_STATUS_NONE);
    OK(s.cuda->cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_int_equal(capture_status(&s, stream), CU_STREAM_CAPTURE_STATUS_ACTIVE);
    OK(s.cuda->cuMemsetD32Async(b, 6, 256, stream));
    OK(session_fill(&s, a, 7, 100, stream));
    OK(s.cuda->cuLaunchHostFunc(stream, add_one, &calls));
    OK(s.cuda->cuStreamEndCapture(stream, &graph));
    OK(s.cuda->cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(s.cuda->cuGraphDestroy(graph));
    session_expect(&s, a, 0, 256); // recording runs nothing
    assert_int_equal(calls, 0);
    for (int i = 1; i <= 3; i++) {
        OK(s.cuda->cuMemsetD8_v2(a, 0, 1024));
        OK(s.cuda->cuGraphLaunch(exec, stream));
        OK(s.cuda->cuStreamSynchronize(stream));
        session_expect(&s, a, 7, 100);
        session_expect(&s, a + 400, 0, 156);
        session_expect(&s, b, 6, 256);
        assert_int_equal(calls, i);
    }
    OK(s.cuda->cuModuleUnload(s.module));
    assert_int_equal(s.cuda->cuGraphLaunch(exec, stream), CUDA_ERROR_INVALID_HANDLE);
    OK(s.cuda->cuGraphExecDestroy(exec));
    OK(s.cuda->cuStreamDestroy_v2(stream));
    session_close(&s);
}

// A second stream joins by waiting for an event of the first, and must be waited for in turn.
static void test_fork_and_join(void **state)
{
    (void)state;
    struct session s;
    CUstream origin, fork;
    CUevent forked, joined;
    session_open(&s, "h200", PTX);
    CUdeviceptr a = session_alloc(&s, 1024), b = session_alloc(&s, 1024);
    OK(s.cuda->cuMemsetD8_v2(b, 0, 1024));
    OK(s.cuda->cuStreamCreate(&origin, CU_STREAM_NON_BLOCKING));
    OK(s.cuda->cuStreamCreate(&fork, CU_STREAM_NON_BLOCKING));
    OK(s.cuda->cuEventCreate(&forked, 0));
    OK(s.cuda->cuEventCreate(&joined, 0));
    for (int join = 0; join < 2; join++) {
        CUgraph graph = NULL;
        CUgraphExec exec;
        OK(s.cuda->cuStreamBeginCapture_v2(origin, CU_STREAM_CAPTURE_MODE_GLOBAL));
        OK(session_fill(&s, a, 1, 100, origin));
        OK(s.cuda->cuEventRecord(forked, origin));
        OK(s.cuda->cuStreamWaitEvent(fork, forked, 0));
        assert_int_equal(capture_status(&s, fork), CU_STREAM_CAPTURE_STATUS_ACTIVE);
        if (!join) // an event from before the work does not cover it
            OK(s.cuda->cuEventRecord(joined, fork));
        OK(session_fill(&s, b, 2, 100, fork));
        if (join)
            OK(s.cuda->cuEventRecord(joined, fork));
        OK(s.cuda->cuStreamWaitEvent(origin, joined, 0));
        assert_int_equal(s.cuda->cuEventQuery(joined), CUDA_ERROR_CAPTURED_EVENT);
        assert_int_equal(s.cuda->cuStreamEndCapture(origin, &graph),
                         join ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        assert_int_equal(capture_status(&s, fork), CU_STREAM_CAPTURE_STATUS_NONE);
        assert_true((graph != NULL) == join);
        session_expect(&s, b, 0, 100);
        if (!graph)
            continue;
        OK(s.cuda->cuGraphInstantiateWithFlags(&exec, graph, 0));
        OK(s.cuda->cuGraphLaunch(exec, NULL));
        session_expect(&s, b, 2, 100);
        OK(s.cuda->cuGraphExecDestroy(exec));
        OK(s.cuda->cuGraphDestroy(graph));
    }
    OK(s.cuda->cuStreamDestroy_v2(origin));
    OK(s.cuda->cuStreamDestroy_v2(fork));
    OK(s.cuda->cuEventDestroy_v2(forked));
    OK(s.cuda->cuEventDestroy_v2(joined));
    session_close(&s);
}

// What a capture forbids, and that it is spoilt by it.
static void test_capture_rules(void **state)
{
    (void)state;
    static const struct {
        CUstreamCaptureMode mode;
        unsigned flags;
        int call;
        CUresult want, end;
    } cases[] = {
        {CU_STREAM_CAPTURE_MODE_GLOBAL, 1, 0, CUDA_SUCCESS, CUDA_SUCCESS},
        {CU_STREAM_CAPTURE_MODE_GLOBAL, 1, 1, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
         CUDA_ERROR_STREAM_CAPTURE_INVALIDATED},
        {CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, 1, 1, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
         CUDA_ERROR_STREAM_CAPTURE_INVALIDATED},
        {CU_STREAM_CAPTURE_MODE_RELAXED, 1, 1, CUDA_SUCCESS, CUDA_SUCCESS},
        {CU_STREAM_CAPTURE_MODE_RELAXED, 1, 2, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
         CUDA_ERROR_STREAM_CAPTURE_INVALIDATED},
        {CU_STREAM_CAPTURE_MODE_GLOBAL, 1, 3, CUDA_SUCCESS, CUDA_SUCCESS},
        {CU_STREAM_CAPTURE_MODE_GLOBAL, 0, 3, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
         CUDA_ERROR_STREAM_CAPTURE_INVALIDATED},
        {CU_STREAM_CAPTURE_MODE_GLOBAL, 1, 4, CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
         CUDA_ERROR_STREAM_CAPTURE_INVALIDATED},
        {CU_STREAM_CAPTURE_MODE_GLOBAL, 1, 5, CUDA_ERROR_ILLEGAL_STATE, CUDA_SUCCESS},
    };
    struct session s;
    CUevent outside;
    session_open(&s, "h200", PTX);
    CUdeviceptr a = session_alloc(&s, 1024), b;
    OK(s.cuda->cuEventCreate(&outside, 0));
    OK(s.cuda->cuEventRecord(outside, NULL));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CUstream stream;
        CUgraph graph = NULL, other;
        CUresult got = CUDA_SUCCESS;
        OK(s.cuda->cuStreamCreate(&stream, cases[i].flags));
        OK(s.cuda->cuStreamBeginCapture_v2(stream, cases[i].mode));
        switch (cases[i].call) {
        case 1:
            got = s.cuda->cuMemAlloc_v2(&b, 64);
            break;
        case 2:
            got = s.cuda->cuStreamSynchronize(stream);
            break;
        case 3:
            got = session_fill(&s, a, 1, 10, NULL);
            break;
        case 4:
            got = s.cuda->cuStreamWaitEvent(stream, outside, 0);
            break;
        case 5:
            got = s.cuda->cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
            break;
        }
        if (got != cases[i].want)
            fail_msg("case %zu: %d instead of %d", i, got, cases[i].want);
        assert_int_equal(s.cuda->cuStreamEndCapture(stream, &graph), cases[i].end);
        assert_int_equal(s.cuda->cuStreamEndCapture(stream, &other), CUDA_ERROR_ILLEGAL_STATE);
        if (graph)
            OK(s.cuda->cuGraphDestroy(graph));
        OK(s.cuda->cuStreamDestroy_v2(stream));
    }
    assert_int_equal(s.cuda->cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL),
                     CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    OK(s.cuda->cuEventDestroy_v2(outside));
    session_close(&s);
}

static void test_fault_breaks_the_context(void **state)
{
    (void)state;
    struct session s;
    const char *text;
    session_open(&s, "h200", PTX);
    CUdeviceptr a = session_alloc(&s, 400), b;
    OK(session_fill(&s, a, 1, 100, NULL));
    assert_string_equal(fj_emu_report(), "");
    CUresult fault = CUDA_ERROR_ILLEGAL_ADDRESS;
    assert_int_equal(session_fill(&s, a, 1, 101, NULL), fault);
    assert_non_null(strstr(fj_emu_report(), "fill"));
    assert_non_null(strstr(fj_emu_report(), "past allocation"));
    assert_int_equal(s.cuda->cuCtxSynchronize(), fault);
    assert_int_equal(s.cuda->cuMemAlloc_v2(&b, 16), fault);
    assert_int_equal(session_fill(&s, a, 1, 100, NULL), fault);
    OK(s.cuda->cuGetErrorString(fault, &text));
    assert_non_null(strstr(text, "illegal memory access"));
    session_close(&s);
    session_open(&s, "h200", PTX); // the device is well again with a new context
    a = session_alloc(&s, 400);
    OK(session_fill(&s, a, 5, 100, NULL));
    session_expect(&s, a, 5, 100);
    OK(s.cuda->cuMemFree_v2(a));
    assert_int_equal(session_fill(&s, a, 5, 100, NULL), fault);
    assert_non_null(strstr(fj_emu_report(), "freed"));
    session_close(&s);
}

static void test_misaligned(void **state)
{
    (void)state;
    struct session s;
    session_open(&s, "t4", PTX_HEAD("sm_75") PTX_FILL);
    CUdeviceptr a = session_alloc(&s, 400);
    assert_int_equal(session_fill(&s, a + 2, 5, 10, NULL), CUDA_ERROR_MISALIGNED_ADDRESS);
    session_close(&s);
}

#define PTX_FOREVER                                                                                \
    PTX_HEAD("sm_80")                                                                              \
    ".visible .entry fill(.param .u64 p, .param .u32 value, .param .u32 n)\n"                      \
    "{\nagain: bra.uni again;\n}\n"

static void test_budget(void **state)
{
    (void)state;
    struct session s;
    session_open(&s, "h200", PTX_FOREVER);
    fj_emu_set_limits(s.context, 1, 100000);
    assert_int_equal(launch(&s, s.fill, 1, 32, 0), CUDA_ERROR_LAUNCH_TIMEOUT);
    assert_int_equal(s.cuda->cuCtxSynchronize(), CUDA_ERROR_LAUNCH_TIMEOUT);
    session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launch),        cmocka_unit_test(test_launch_limits),
        cmocka_unit_test(test_clusters),      cmocka_unit_test(test_events),
        cmocka_unit_test(test_graph),         cmocka_unit_test(test_fork_and_join),
        cmocka_unit_test(test_capture_rules), cmocka_unit_test(test_fault_breaks_the_context),
        cmocka_unit_test(test_misaligned),    cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
