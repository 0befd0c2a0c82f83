// The public interface on the emulated device. Tests that need a kernel are skipped where no NVRTC
// is found.
#include "test.h"

#include <fajit/fajit.h>
#include <math.h>

struct world {
    char dir[64];
    struct fajit_ctx *ctx;
};

static struct fajit_ctx_params emulated(const struct world *w)
{
    return (struct fajit_ctx_params){.struct_size = sizeof(struct fajit_ctx_params),
                                     .device = FAJIT_DEVICE_EMULATED,
                                     .cache_mode = FAJIT_CACHE_RW,
                                     .cache_dir = w->dir};
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    if (!w)
        return -1;
    strcpy(w->dir, "/tmp/fajit-api-emu-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    struct fajit_ctx_params params = emulated(w);
    *state = w;
    return fajit_ctx_create(&params, &w->ctx);
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[96];
    fajit_ctx_destroy(&w->ctx);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    int code = system(command);
    free(w);
    return code;
}

// NULL where nothing can be compiled; the caller skips.
static struct fajit_plan *planned(struct fajit_ctx *ctx, const char *text)
{
    struct fajit_problem problem;
    struct fajit_plan *plan = NULL;
    if (fajit_problem_parse(text, &problem))
        fail_msg("%s", fajit_last_error());
    int err = fajit_plan_create(ctx, &problem, NULL, &plan);
    if (err == FAJIT_E_NO_NVRTC)
        return NULL;
    if (err)
        fail_msg("%s", fajit_last_error());
    return plan;
}

static void test_models(void **state)
{
    struct world *w = *state;
    const struct {
        const char *name;
        int compute_capability;
    } models[] = {{NULL, 90}, {"h200", 90}, {"a100", 80}, {"t4", 75}, {"rtx4090", 89}};
    for (size_t i = 0; i < COUNT(models); i++) {
        struct fajit_ctx_params params = emulated(w);
        struct fajit_device_info info = {.struct_size = sizeof(info)};
        struct fajit_ctx *ctx = NULL;
        params.emulated_gpu = models[i].name;
        assert_int_equal(fajit_ctx_create(&params, &ctx), FAJIT_OK);
        assert_int_equal(fajit_ctx_device(ctx, &info), FAJIT_OK);
        assert_true(info.emulated);
        assert_non_null(strstr(info.name, "emulated"));
        assert_int_equal(info.compute_capability, models[i].compute_capability);
        fajit_ctx_destroy(&ctx);
    }
}

static void test_memory(void **state)
{
    struct world *w = *state;
    char host[] = "thirty-two bytes of host memory", back[sizeof(host)] = "";
    void *device = NULL;
    assert_int_equal(fajit_mem_alloc(w->ctx, sizeof(host), &device), FAJIT_OK);
    assert_int_equal(fajit_mem_upload(w->ctx, device, host, sizeof(host)), FAJIT_OK);
    assert_int_equal(fajit_mem_download(w->ctx, back, device, sizeof(host)), FAJIT_OK);
    assert_string_equal(back, host);
    // Past its end, and where nothing is: refused, not done.
    assert_true(fajit_mem_upload(w->ctx, device, host, (size_t)1 << 30) < 0);
    assert_true(fajit_mem_fill(w->ctx, (void *)(uintptr_t)16, 0, 4) < 0);
    assert_true(fajit_mem_free(w->ctx, (char *)device + 8) < 0);
    assert_int_equal(fajit_mem_free(w->ctx, device), FAJIT_OK);
    assert_true(fajit_mem_free(w->ctx, device) < 0);
}

enum { SEQ = 3, DIM = 8 };

static struct fajit_attn_args attn_args(void *memory, int64_t seq_k)
{
    float *m = memory;
    return (struct fajit_attn_args){
        .struct_size = sizeof(struct fajit_attn_args),
        .q = fajit_tensor_4d(m, FAJIT_F32, 1, SEQ, 1, DIM),
        .k = fajit_tensor_4d(m + 64, FAJIT_F32, 1, seq_k, 1, DIM),
        .v = fajit_tensor_4d(m + 128, FAJIT_F32, 1, seq_k, 1, DIM),
        .o = fajit_tensor_4d(m + 192, FAJIT_F32, 1, SEQ, 1, DIM),
        .lse = fajit_tensor_2d(m + 256, FAJIT_F32, 1, SEQ),
    };
}

static void test_attention_without_keys(void **state)
{
    struct world *w = *state;
    float host[320];
    void *device = NULL;
    struct fajit_plan *plan = planned(w->ctx, "attn:f32,d8,lse,kernel=simt");
    if (!plan)
        skip();
    assert_int_equal(fajit_ctx_make_current(w->ctx), FAJIT_OK);
    assert_int_equal(fajit_mem_alloc(w->ctx, sizeof(host), &device), FAJIT_OK);
    assert_int_equal(fajit_mem_fill(w->ctx, device, 0xff, sizeof(host)), FAJIT_OK); // NaN
    struct fajit_attn_args args = attn_args(device, 0);
    args.k.data = args.v.data = NULL;
    if (fajit_attn_launch(plan, &args, NULL) || fajit_sync(w->ctx))
        fail_msg("%s", fajit_last_error());
    assert_int_equal(fajit_mem_download(w->ctx, host, device, sizeof(host)), FAJIT_OK);
    for (int i = 0; i < SEQ * DIM; i++)
        assert_true(host[192 + i] == 0);
    for (int i = 0; i < SEQ; i++)
        assert_true(host[256 + i] == -INFINITY);
    assert_true(isnan(host[192 + SEQ * DIM]) && isnan(host[256 + SEQ])); // and nothing else
    fajit_plan_destroy(&plan);
    assert_int_equal(fajit_mem_free(w->ctx, device), FAJIT_OK);
}

static void test_a_hit_needs_no_nvrtc(void **state)
{
    struct world *w = *state;
    struct fajit_ctx_params params = emulated(w);
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fajit_ctx *second = NULL;
    struct fajit_plan *plan = planned(w->ctx, "attn:f32,d8,kernel=simt");
    if (!plan)
        skip();
    fajit_plan_destroy(&plan);
    params.nvrtc_path = "/nowhere";
    assert_int_equal(fajit_ctx_create(&params, &second), FAJIT_OK);
    plan = planned(second, "attn:f32,d8,kernel=simt");
    assert_non_null(plan);
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    assert_int_equal(info.origin, FAJIT_FROM_DISK);
    fajit_plan_destroy(&plan);
    assert_null(planned(second, "attn:f32,d16,kernel=simt")); // what is not there needs one
    assert_non_null(strstr(fajit_last_error(), "/nowhere"));
    fajit_ctx_destroy(&second);
}

static void test_a_fault_loses_its_context_only(void **state)
{
    struct world *w = *state;
    struct fajit_ctx_params params = emulated(w);
    struct fajit_ctx *lost = NULL;
    void *device = NULL;
    params.emulated_gpu = "a100"; // a device of its own, as contexts of one share its fate
    assert_int_equal(fajit_ctx_make_current(w->ctx), FAJIT_OK); // must not be taken instead
    assert_int_equal(fajit_ctx_create(&params, &lost), FAJIT_OK);
    struct fajit_plan *plan = planned(lost, "attn:f32,d8,lse,kernel=simt");
    if (!plan) {
        fajit_ctx_destroy(&lost);
        skip();
    }
    assert_int_equal(fajit_ctx_make_current(lost), FAJIT_OK);
    struct fajit_attn_args args = attn_args((void *)(uintptr_t)4096, SEQ); // nobody's memory
    int err = fajit_attn_launch(plan, &args, NULL);
    if (err == 0)
        err = fajit_sync(lost);
    check_error(err, FAJIT_E_CONTEXT_LOST, "context is unusable");
    assert_int_equal(fajit_mem_alloc(lost, 64, &device), FAJIT_E_CONTEXT_LOST);
    assert_null(device);
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&lost);

    assert_int_equal(fajit_ctx_make_current(w->ctx), FAJIT_OK);
    assert_int_equal(fajit_mem_alloc(w->ctx, 64, &device), FAJIT_OK);
    assert_int_equal(fajit_mem_free(w->ctx, device), FAJIT_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_models),
        TEST(test_memory),
        TEST(test_attention_without_keys),
        TEST(test_a_hit_needs_no_nvrtc),
        TEST(test_a_fault_loses_its_context_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
