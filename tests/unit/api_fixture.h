// A context on the fake driver and the fake NVRTC, with a cache directory of its own. The kernels
// are the library's: anything compiles, nothing runs.
#ifndef FJ_TESTS_UNIT_API_FIXTURE_H
#define FJ_TESTS_UNIT_API_FIXTURE_H

#include "test.h"

#include <fajit/fajit.h>

#include "ctx.h"
#include "fake_cuda.h"
#include "fake_nvrtc.h"

struct world {
    char dir[64], cache[96];
    struct fajit_ctx *ctx;
};

static inline struct fajit_ctx_params world_params(const struct world *w)
{
    return (struct fajit_ctx_params){.struct_size = sizeof(struct fajit_ctx_params),
                                     .device = FAJIT_DEVICE_CUDA,
                                     .cache_mode = FAJIT_CACHE_RW,
                                     .cache_dir = w->cache};
}

static inline void use_fake_nvrtc(struct fajit_ctx *ctx)
{
    atomic_store(&ctx->jit.nvrtc, fake_nvrtc());
}

static inline void world_open(struct world *w)
{
    struct fajit_ctx_params params = world_params(w);
    if (fj_ctx_create(fake_cuda(), &params, &w->ctx))
        fail_msg("%s", fajit_last_error());
    use_fake_nvrtc(w->ctx);
}

static inline int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    if (!w)
        return -1;
    fake_cuda_reset();
    fake_nvrtc_reset();
    strcpy(w->dir, "/tmp/fajit-api-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    snprintf(w->cache, sizeof(w->cache), "%s/cache", w->dir);
    world_open(w);
    *state = w;
    return 0;
}

// Whatever a test did: no driver object, no NVRTC program, no use of a dead handle is left.
static inline int world_teardown(void **state)
{
    struct world *w = *state;
    char command[96];
    fajit_ctx_destroy(&w->ctx);
    assert_null(w->ctx);
    assert_int_equal(fake_cuda_live(), 0);
    assert_int_equal(fake.misuses, 0);
    assert_int_equal(fake_nvrtc_state.programs, 0);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    int code = system(command);
    free(w);
    return code;
}

static inline struct fajit_problem parsed(const char *text)
{
    struct fajit_problem problem;
    if (fajit_problem_parse(text, &problem))
        fail_msg("%s: %s", text, fajit_last_error());
    return problem;
}

static inline struct fajit_plan *planned(struct fajit_ctx *ctx, const char *text)
{
    struct fajit_problem problem = parsed(text);
    struct fajit_plan *plan = NULL;
    if (fajit_plan_create(ctx, &problem, NULL, &plan))
        fail_msg("%s: %s", text, fajit_last_error());
    return plan;
}

#endif
