// Templates of a host's own, in a directory of their own, for test_api_kernel.c and its kin.
#ifndef FJ_TESTS_UNIT_KERNEL_FIXTURE_H
#define FJ_TESTS_UNIT_KERNEL_FIXTURE_H

#include "api_fixture.h"

#include <sys/stat.h>

#include "base/file.h"

// Two knobs, a rule between one of them and a parameter, and constants computed from both.
#define SCALE_HEAD                                                                                 \
    "//@switch dtype f32|f16  of the data\n"                                                       \
    "//@const hidden     elements in all\n"                                                        \
    "//@const bm         elements of a CTA\n"                                                      \
    "//@const threads    of a CTA\n"                                                               \
    "//@const smem_bytes of a CTA\n"                                                               \
    "//@switch warps int of a CTA\n"                                                               \
    "//@let threads warps * 32\n"                                                                  \
    "//@let smem_bytes bm * 4\n"                                                                   \
    "//@tune bm 96 64 128 256\n"                                                                   \
    "//@tune warps 2 4\n"                                                                          \
    "//@require hidden % bm == 0\n"
#define SCALE_BODY                                                                                 \
    "// Scales.\n"                                                                                 \
    "//@prelude\n"                                                                                 \
    "extern \"C\" __global__ void __launch_bounds__(kThreads) $kernel_name(\n"                     \
    "    float *data, // [hidden]\n"                                                               \
    "    float factor,\n"                                                                          \
    "    int n)\n"                                                                                 \
    "{\n"                                                                                          \
    "    extern __shared__ float tile[];\n"                                                        \
    "    for (int i = threadIdx.x; i < kBm; i += kThreads)\n"                                      \
    "        tile[i] = data[blockIdx.x * kBm + i] * factor;\n"                                     \
    "    __syncthreads();\n"                                                                       \
    "    for (int i = threadIdx.x; i < kBm && n > 0; i += kThreads)\n"                             \
    "        data[blockIdx.x * kBm + i] = tile[i];\n"                                              \
    "}\n"

static inline void templates_dir(const struct world *w, char ret[96])
{
    snprintf(ret, 96, "%s/t", w->dir);
}

static inline void put(const struct world *w, const char *name, const char *text)
{
    char dir[96], path[256];
    templates_dir(w, dir);
    assert_true(fj_path_join(path, sizeof(path), dir, name));
    assert_int_equal(fj_file_publish(path, text, strlen(text), 0600), FAJIT_OK);
}

// world_open with a template directory.
static inline void kernel_world_open_as(struct world *w, enum fajit_tune_mode mode)
{
    struct fajit_ctx_params params = world_params(w);
    char dir[96];
    templates_dir(w, dir);
    params.template_dir = dir;
    params.tune_mode = mode;
    if (fj_ctx_create(fake_cuda(), &params, &w->ctx))
        fail_msg("%s", fajit_last_error());
    use_fake_nvrtc(w->ctx);
}

static inline int kernel_world_setup(void **state)
{
    char dir[112];
    if (world_setup(state))
        return -1;
    struct world *w = *state;
    fajit_ctx_destroy(&w->ctx);
    templates_dir(w, dir);
    if (mkdir(dir, 0700))
        return -1;
    strcat(dir, "/sub");
    if (mkdir(dir, 0700))
        return -1;
    put(w, "scale.cu", SCALE_HEAD SCALE_BODY);
    fake.gpu.l2_bytes = 0; // flushing it takes the tests longer than all else
    kernel_world_open_as(w, FAJIT_TUNE_LOAD);
    fake.n_params = 3;
    fake.param_bytes[0] = 8;
    fake.param_bytes[1] = fake.param_bytes[2] = 4;
    return 0;
}

static inline struct fajit_kernel_params with(const char *values)
{
    return (struct fajit_kernel_params){.struct_size = sizeof(struct fajit_kernel_params),
                                        .values = values};
}

static inline struct fajit_kernel *kernel_of(struct fajit_ctx *ctx, const char *values)
{
    struct fajit_kernel_params params = with(values);
    struct fajit_kernel *kernel = NULL;
    if (fajit_kernel_plan(ctx, "scale", &params, &kernel))
        fail_msg("%s: %s", values, fajit_last_error());
    return kernel;
}

static inline struct fajit_plan_info info_of(const struct fajit_kernel *kernel)
{
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    assert_int_equal(fajit_kernel_info(kernel, &info), FAJIT_OK);
    return info;
}

#endif
