// A current context on an emulated GPU, and small kernels, for tests of the emulated driver.
#ifndef FJ_TEST_EMU_SESSION_H
#define FJ_TEST_EMU_SESSION_H

#include "emu/emu.h"

#include <stdio.h>
#include <string.h>

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

#define PTX_HEAD(target) ".version 8.0\n.target " target "\n.address_size 64\n"

// p[i] = value for i < n, one thread each.
#define PTX_FILL                                                                                   \
    ".visible .entry fill(.param .u64 p, .param .u32 value, .param .u32 n)\n"                      \
    "{\n"                                                                                          \
    ".reg .pred %q; .reg .b32 %r<8>; .reg .b64 %d<4>;\n"                                           \
    "ld.param.u64 %d1, [p];\n"                                                                     \
    "ld.param.u32 %r1, [value];\n"                                                                 \
    "ld.param.u32 %r2, [n];\n"                                                                     \
    "mov.u32 %r3, %ctaid.x;\n"                                                                     \
    "mov.u32 %r4, %ntid.x;\n"                                                                      \
    "mov.u32 %r5, %tid.x;\n"                                                                       \
    "mad.lo.s32 %r6, %r3, %r4, %r5;\n"                                                             \
    "setp.ge.u32 %q, %r6, %r2;\n"                                                                  \
    "@%q bra done;\n"                                                                              \
    "mul.wide.u32 %d2, %r6, 4;\n"                                                                  \
    "add.s64 %d3, %d1, %d2;\n"                                                                     \
    "st.global.u32 [%d3], %r1;\n"                                                                  \
    "done: ret;\n"                                                                                 \
    "}\n"

struct session {
    const struct fj_cuda *cuda;
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CUfunction fill;
};

static inline void session_open(struct session *s, const char *gpu, const char *ptx)
{
    s->cuda = fj_emu_driver();
    s->device = fj_emu_find_gpu(gpu);
    s->module = NULL;
    assert_true(s->device >= 0);
    OK(s->cuda->cuInit(0));
    OK(s->cuda->cuDevicePrimaryCtxRetain(&s->context, s->device));
    OK(s->cuda->cuCtxPushCurrent_v2(s->context));
    if (!ptx)
        return;
    char log[1024] = "";
    CUjit_option keys[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof(log)};
    if (s->cuda->cuModuleLoadDataEx(&s->module, ptx, 2, keys, values) != CUDA_SUCCESS)
        fail_msg("%s", log);
    s->cuda->cuModuleGetFunction(&s->fill, s->module, "fill");
}

static inline void session_close(struct session *s)
{
    CUcontext popped;
    OK(s->cuda->cuCtxPopCurrent_v2(&popped));
    assert_ptr_equal(popped, s->context);
    OK(s->cuda->cuDevicePrimaryCtxRelease_v2(s->device));
}

static inline CUdeviceptr session_alloc(struct session *s, size_t bytes)
{
    CUdeviceptr memory = 0;
    OK(s->cuda->cuMemAlloc_v2(&memory, bytes));
    return memory;
}

static inline CUresult session_fill(struct session *s, CUdeviceptr to, unsigned value, unsigned n,
                                    CUstream stream)
{
    void *args[] = {&to, &value, &n};
    return s->cuda->cuLaunchKernel(s->fill, (n + 63) / 64, 1, 1, 64, 1, 1, 0, stream, args, NULL);
}

static inline void session_expect(struct session *s, CUdeviceptr from, unsigned value, unsigned n)
{
    unsigned got[256];
    assert_true(n <= 256);
    OK(s->cuda->cuMemcpyDtoH_v2(got, from, n * 4));
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(got[i], value);
}

#endif
