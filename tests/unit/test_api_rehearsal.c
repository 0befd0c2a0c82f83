// Kernels of the caller's own, tried in a worker before this process launches them: what a worker
// may say and do (shell scripts on the fake driver), and fajit-tune itself with kernels that hang
// and fault (the emulated device; skipped without NVRTC).
#include "rehearsal_fixture.h"

#include <unistd.h>

#include "base/buf.h"
#include "counters.h"

#define VALUES "dtype=f32,hidden=256"

// --- A host on the fake driver ----------------------------------------------------------------

struct two {
    int n;
    float *from, *to; // into one allocation
};

struct host {
    struct fajit_ctx *ctx;
    float *data;               // device memory, 64 bytes
    int launches;              // calls of the callback
    int no_launch;             // of them, without a launch in them
    bool nothing;              // the callback launches nothing
    bool twice;                // it makes two launches
    int64_t bm[64], warps[64]; // of what was launched for real, by the fake driver's count
    int stop_at, calls;        // of the progress callback; stop_at 0: none
};

// 128 is the fastest bm, 4 the fastest number of warps.
static double time_of(int64_t bm, int64_t warps)
{
    return (bm == 64 ? 30 : bm == 128 ? 20 : 25) + (warps == 2 ? 5 : 0);
}

static int launch(void *user, const struct fajit_kernel *kernel, void *stream)
{
    struct host *host = user;
    const int64_t bm = fajit_kernel_const(kernel, "bm");
    const int64_t warps = fajit_kernel_const(kernel, "warps");
    struct two two = {3, host->data + 1, host->data + 16}; // `to` is just behind the allocation
    int n = 7;
    const struct fajit_kernel_args args = {
        .struct_size = sizeof(args),
        .items = {FAJIT_ARG(host->data), FAJIT_ARG(two), FAJIT_ARG(n)},
    };
    const int before = fake.n_launches;
    host->launches++;
    fake.kernel_us[0] = time_of(bm, warps);
    int err = host->nothing
                  ? FAJIT_OK
                  : fajit_kernel_launch(kernel, (struct fajit_grid){4, 0, 2}, &args, stream);
    if (host->twice && err == 0)
        err = fajit_kernel_launch(kernel, (struct fajit_grid){5, 0, 0}, &args, stream);
    if (fake.n_launches == before) {
        host->no_launch++;
        return err;
    }
    for (int i = 0; i < 64; i++)
        if (!host->bm[i] || (host->bm[i] == bm && host->warps[i] == warps)) {
            host->bm[i] = bm;
            host->warps[i] = warps;
            break;
        }
    return err;
}

static bool was_launched(const struct host *host, int64_t bm, int64_t warps)
{
    for (int i = 0; i < 64; i++)
        if (host->bm[i] == bm && host->warps[i] == warps)
            return true;
    return false;
}

static int launched(const struct host *host)
{
    int count = 0;
    while (count < 64 && host->bm[count])
        count++;
    return count;
}

static int judge(void *user, const struct fajit_kernel *kernel, char *ret_why, size_t size)
{
    (void)user, (void)kernel, (void)ret_why, (void)size;
    return 0;
}

static int hear(void *user, const struct fajit_tune_progress *progress)
{
    struct host *host = user;
    assert_true(progress->elapsed_s < 100 && strlen(progress->running) < 30);
    return host->stop_at && ++host->calls >= host->stop_at;
}

// --- Workers in sh ----------------------------------------------------------------------------

// `action` is what it does about `rehearse $n $what`.
static void write_script(const struct world *w, const char *action, char ret_path[128])
{
    struct fj_buf text = {0};
    char gpu[96];
    fj_record_gpu(&w->ctx->jit.gpu, gpu);
    snprintf(ret_path, 128, "%s/worker", w->dir);
    fj_buf_printf(&text,
                  "#!/bin/sh\n"
                  "dir=%s\n"
                  "while read -r word rest; do\n"
                  "  n=${rest%%%% *} what=${rest#* }\n"
                  "  case $word in\n"
                  "  open) echo \"hello %s %s\" ;;\n"
                  "  memory | launch) echo \"$word $what\" >>$dir/asked ;;\n"
                  "  rehearse) echo \"$word $what\" >>$dir/asked\n%s\n ;;\n"
                  "  esac\n"
                  "done\n",
                  w->dir, fajit_version(), gpu, action);
    assert_int_equal(fj_file_publish(ret_path, text.data, text.len, 0700), FAJIT_OK);
    fj_buf_free(&text);
}

static struct fajit_ctx *open_with(const struct world *w, const struct fj_cuda *driver,
                                   const char *worker, enum fajit_cache_mode mode)
{
    struct fajit_ctx_params params = world_params(w);
    struct fajit_ctx *ctx = NULL;
    char dir[96];
    templates_dir(w, dir);
    params.template_dir = dir;
    params.tune_worker = worker;
    params.cache_mode = mode;
    params.log = take_log;
    params.log_user = &the_log;
    if (fj_ctx_create(driver, &params, &ctx))
        fail_msg("%s", fajit_last_error());
    use_fake_nvrtc(ctx);
    return ctx;
}

static int search(struct host *host, bool try_all, struct fajit_tune_result *result)
{
    const struct fajit_kernel_trial trial = {
        .struct_size = sizeof(trial), .launch = launch, .judge = judge, .user = host};
    struct fajit_kernel_params params = with(VALUES);
    const struct fajit_tune_params how = {.struct_size = sizeof(how),
                                          .force = true,
                                          .try_all = try_all,
                                          .jobs = 1,
                                          .budget_s = 600,
                                          .silence_s = 1.5,
                                          .progress = hear,
                                          .user = host};
    params.trial = &trial;
    *result = (struct fajit_tune_result){.struct_size = sizeof(*result)};
    return fajit_kernel_tune(host->ctx, "scale", &params, &how, result);
}

// Tunes once with such a worker.
static int tune_on(const struct world *w, const struct fj_cuda *driver, const char *worker,
                   bool try_all, struct host *host, struct fajit_tune_result *result)
{
    the_log.text[0] = '\0';
    host->ctx = open_with(w, driver, worker, FAJIT_CACHE_RW);
    assert_int_equal(fajit_mem_alloc(host->ctx, 64, (void **)&host->data), FAJIT_OK);
    memset(host->data, 'x', 64);
    int err = search(host, try_all, result);
    assert_int_equal(fajit_mem_free(host->ctx, host->data), FAJIT_OK);
    fajit_ctx_destroy(&host->ctx);
    return err;
}

static int tune_with(const struct world *w, const char *action, bool try_all, struct host *host,
                     struct fajit_tune_result *result)
{
    char path[128];
    write_script(w, action, path);
    return tune_on(w, fake_cuda(), path, try_all, host, result);
}

static void read_asked(const struct world *w, const char *name, struct fj_buf *ret)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", w->dir, name);
    fj_buf_clear(ret);
    if (fj_file_exists(path))
        assert_int_equal(fj_file_read(path, 1 << 20, ret), FAJIT_OK);
    fj_buf_puts(ret, "");
}

static bool has_record(const struct world *w, const char *verdict, const char *config)
{
    struct fajit_ctx *ctx = open_with(w, fake_cuda(), NULL, FAJIT_CACHE_RW); // from the file
    struct verdict wanted = {verdict, config};
    bool found = false;
    if (config || strcmp(verdict, "best") != 0)
        found = fajit_tune_visit(ctx, NULL, is_verdict, &wanted);
    else { // of this kernel: bundled ones are of others
        struct fajit_kernel_params params = with(VALUES);
        struct fajit_tune_result choice = {.struct_size = sizeof(choice)};
        char from[160];
        assert_int_equal(fajit_kernel_why(ctx, "scale", &params, &choice, from, sizeof(from)), 0);
        found = strncmp(from, "exact", 5) == 0;
    }
    fajit_ctx_destroy(&ctx);
    return found;
}

#define WELL "echo launching $n; echo rehearsed $n"

// What the worker is told, and that everything it lets pass is launched, once it has.
static void test_everything_is_rehearsed(void **state)
{
    struct world *w = *state;
    struct host host = {0};
    struct fajit_tune_result result;
    struct fj_buf asked = {0};
    if (tune_with(w, "cat /proc/self/fd/3 >$dir/copied; " WELL, false, &host, &result))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result.config, "bm=128,warps=4");
    assert_true(result.finished && !result.cancelled);
    assert_int_equal(launched(&host), 6);
    assert_int_equal(host.no_launch, 6);
    check_log("worker", 0);

    char memory[128], launched_line[256];
    const uint64_t at = (uintptr_t)host.data;
    snprintf(memory, sizeof(memory), "memory %llu 64 0\n", (unsigned long long)at);
    read_asked(w, "asked", &asked);
    assert_int_equal(count_of(asked.data, memory), 6);
    assert_int_equal(count_of(asked.data, "memory "), 6);
    assert_int_equal(count_of(asked.data, "launch 4 1 2 "), 6);
    // Little-endian words: the pointer, the struct of 24 bytes, the int.
    snprintf(launched_line, sizeof(launched_line), "%016llx,03000000%08x%016llx%016llx,07000000\n",
             (unsigned long long)__builtin_bswap64(at), 0u,
             (unsigned long long)__builtin_bswap64(at + 4),
             (unsigned long long)__builtin_bswap64(at + 64));
    const char *struct_args = strstr(asked.data, launched_line);
    if (!struct_args)
        fail_msg("no %s in %s", launched_line, asked.data);
    assert_non_null(
        strstr(asked.data, "rehearse kernel:scale,dtype=f32,hidden=256,bm=128,warps=4\n"));
    read_asked(w, "copied", &asked);
    assert_int_equal(asked.len, 64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(asked.data[i], 'x');

    // What ran here is not rehearsed again.
    host = (struct host){0};
    assert_int_equal(tune_with(w, "exit 1", false, &host, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=128,warps=4");
    assert_true(result.finished);
    assert_int_equal(host.no_launch, 0);
    fj_buf_free(&asked);
}

static void test_two_launches(void **state)
{
    struct world *w = *state;
    struct host host = {.twice = true};
    struct fajit_tune_result result;
    struct fj_buf asked = {0};
    // A worker that had nothing to do for long ends, and is not missed.
    const char *action = "[ -e $dir/second ] || { touch $dir/second; exit; }; " WELL;
    assert_int_equal(tune_with(w, action, false, &host, &result), FAJIT_OK);
    assert_true(result.finished);
    check_log("worker", 0);
    read_asked(w, "asked", &asked);
    assert_int_equal(count_of(asked.data, "rehearse "), 7);
    assert_int_equal(count_of(asked.data, "launch "), 14);
    const char *first = strstr(asked.data, "launch 4 1 2 "), *next = strchr(first, '\n') + 1;
    assert_memory_equal(next, "launch 5 1 1 ", 13);
    fj_buf_free(&asked);
}

#define OVER_128_4(what) "echo launching $n\n case $what in *bm=128,warps=4) " what " ;; esac\n"

static void test_hanging(void **state)
{
    struct world *w = *state;
    struct host host = {0};
    struct fajit_tune_result result;
    if (tune_with(w, OVER_128_4("exec sleep 100") "echo rehearsed $n", false, &host, &result))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result.config, "bm=128,warps=2");
    assert_true(result.finished);
    assert_false(was_launched(&host, 128, 4));
    assert_int_equal(launched(&host), 5);
    check_log("scale.cu with bm=128,warps=4 hung in the tuning worker; it is left out", 1);
    assert_true(has_record(w, "trying", "bm=128,warps=4"));
    assert_true(has_record(w, "best", NULL));
    // It is not tried again.
    host = (struct host){0};
    assert_int_equal(tune_with(w, WELL, false, &host, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=128,warps=2");
    assert_int_equal(host.no_launch, 0);
    assert_int_equal(launched(&host), 5);
}

static void test_faulting(void **state)
{
    struct world *w = *state;
    struct host host = {0};
    struct fajit_tune_result result;
    const char *ends[] = {"echo \"failed $n -12 read out of bounds\"; exit 1", "kill -9 $$"};
    const char *whys[] = {"read out of bounds", "the worker's process ended with it"};
    for (int i = 0; i < 2; i++) {
        char action[300], command[128];
        snprintf(
            action, sizeof(action),
            "echo launching $n\n case $what in *bm=128,warps=4) %s ;; esac\n echo rehearsed $n",
            ends[i]);
        host = (struct host){0};
        if (tune_with(w, action, false, &host, &result))
            fail_msg("%s", fajit_last_error());
        assert_string_equal(result.config, "bm=128,warps=2");
        assert_false(was_launched(&host, 128, 4));
        check_log("bm=128,warps=4 faulted in the tuning worker; it is left out", 1);
        check_log(whys[i], 1);
        assert_true(has_record(w, "fault", "bm=128,warps=4"));
        snprintf(command, sizeof(command), "rm %s/tuning.txt", w->cache);
        assert_int_equal(system(command), 0);
    }
}

// What runs without tuning may be the one that hangs.
static void test_the_first_one_faults(void **state)
{
    struct world *w = *state;
    struct host host = {0};
    struct fajit_tune_result result;
    const char *action = "echo launching $n\n case $what in *bm=64,warps=2) kill -9 $$ ;; esac\n"
                         "echo rehearsed $n";
    assert_int_equal(tune_with(w, action, false, &host, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=128,warps=4");
    assert_false(was_launched(&host, 64, 2));
    host = (struct host){0};
    assert_int_equal(unlink(strcat(strcpy((char[128]){0}, w->cache), "/tuning.txt")), 0);
    check_error(tune_with(w, "echo launching $n; kill -9 $$", false, &host, &result),
                FAJIT_E_UNSUPPORTED,
                "no candidate of 6 is usable; the first: the worker's process");
    assert_int_equal(launched(&host), 0);
}

// --- No rehearsal -----------------------------------------------------------------------------

// One candidate is left: it is launched and judged, and nobody takes it for the best of all.
static void check_first_alone(const struct world *w, const struct host *host, int err,
                              const struct fajit_tune_result *result)
{
    if (err)
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result->config, "bm=64,warps=2");
    assert_true(result->median_us > 34 && result->default_us == result->median_us);
    assert_false(result->finished);
    assert_int_equal(launched(host), 1);
    assert_true(was_launched(host, 64, 2));
    assert_false(has_record(w, "failed", NULL));
    assert_false(has_record(w, "fault", NULL));
}

static void test_without_a_worker(void **state)
{
    struct world *w = *state;
    struct host host = {0};
    struct fajit_tune_result result;
    int err = tune_on(w, fake_cuda(), NULL, false, &host, &result);
    check_first_alone(w, &host, err, &result);
    assert_int_equal(result.candidates, 1);
    assert_int_equal(host.no_launch, 0);
    check_log("worker", 0);

    host = (struct host){0};
    assert_int_equal(tune_on(w, fake_cuda(), NULL, true, &host, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=128,warps=4");
    assert_true(result.finished);
    assert_int_equal(launched(&host), 6);
    // They ran: records say so.
    host = (struct host){0};
    assert_int_equal(tune_on(w, fake_cuda(), NULL, false, &host, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=128,warps=4");
    assert_true(result.finished);
    assert_int_equal(launched(&host), 6);
}

// For no fault of the candidates nothing can be tried: a warning, and what is safe without.
static void test_workers_that_cannot(void **state)
{
    struct world *w = *state;
    const struct {
        const char *action, *why;
    } cases[] = {
        {"exit 0", "the tuning worker ended before the launch"},
        {"exec sleep 100", "the tuning worker was silent before the launch"},
        {"echo failed $n -2 out of memory", "out of memory"},
        {"echo launching $n; echo failed $n -2 out of memory here", "out of memory here"},
        {"echo launching $n; echo failed $n -10 gone", "gone"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct host host = {0};
        struct fajit_tune_result result;
        char action[200], command[128];
        // The others are not waited for.
        snprintf(action, sizeof(action),
                 "case $what in *bm=64,warps=2) %s ;; *) echo failed $n -3 no ;; esac",
                 cases[i].action);
        int err = tune_with(w, action, false, &host, &result);
        check_first_alone(w, &host, err, &result);
        check_log("2 scale.cu with bm=64,warps=2 could not be tried in the tuning worker first", 1);
        check_log(cases[i].why, 1);
        check_log("launched all the same", 1);
        snprintf(command, sizeof(command), "rm %s/tuning.txt", w->cache);
        assert_int_equal(system(command), 0);
    }
    struct host host = {0};
    struct fajit_tune_result result;
    assert_int_equal(tune_with(w, "echo failed $n -2 out of memory", true, &host, &result), 0);
    assert_string_equal(result.config, "bm=128,warps=4"); // try_all
    assert_true(result.finished);
}

static void test_workers_that_do_not_start(void **state)
{
    struct world *w = *state;
    const char *const paths[] = {"/nonexistent/fajit-tune", "/bin/true"};
    for (int i = 0; i < 2; i++) {
        struct host host = {0};
        struct fajit_tune_result result;
        int err = tune_on(w, fake_cuda(), paths[i], false, &host, &result);
        check_first_alone(w, &host, err, &result);
        check_log("could not be tried in the tuning worker first", 1); // the others: no warning
        check_log(paths[i], 1);
    }
    the_log.text[0] = '\0';
    struct host host = {.ctx = open_with(w, fake_cuda(), "/bin/false", FAJIT_CACHE_OFF)};
    struct fajit_tune_result result;
    assert_int_equal(fajit_mem_alloc(host.ctx, 64, (void **)&host.data), FAJIT_OK);
    assert_int_equal(search(&host, false, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=64,warps=2");
    check_log("a cache directory that can be written", 1);
    assert_int_equal(fajit_mem_free(host.ctx, host.data), FAJIT_OK);
    fajit_ctx_destroy(&host.ctx);
}

static CUresult huge(void *ret_value, CUpointer_attribute attribute, CUdeviceptr memory)
{
    CUresult result = fake_cuda()->cuPointerGetAttribute(ret_value, attribute, memory);
    if (result == CUDA_SUCCESS && attribute == CU_POINTER_ATTRIBUTE_RANGE_SIZE)
        *(size_t *)ret_value = ((size_t)4 << 30) + 1;
    return result;
}

static void test_memory_that_cannot_be_copied(void **state)
{
    struct world *w = *state;
    struct fj_cuda driver = *fake_cuda();
    struct host host = {0};
    struct fajit_tune_result result;
    char path[128];
    write_script(w, WELL, path);
    driver.cuPointerGetAttribute = huge;
    int err = tune_on(w, &driver, path, false, &host, &result);
    check_first_alone(w, &host, err, &result);
    check_log("allocations of more than 4096 MiB in all", 1);

    driver.cuPointerGetAttribute = NULL;
    host = (struct host){0};
    assert_int_equal(unlink(strcat(strcpy((char[128]){0}, w->cache), "/tuning.txt")), 0);
    err = tune_on(w, &driver, path, false, &host, &result);
    check_first_alone(w, &host, err, &result);
    check_log("this driver cannot tell", 1);

    // Once: the next candidate's copy is made.
    host = (struct host){0};
    assert_int_equal(unlink(strcat(strcpy((char[128]){0}, w->cache), "/tuning.txt")), 0);
    fake_cuda_fail("cuMemcpyDtoH_v2", 1, CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(tune_on(w, fake_cuda(), path, false, &host, &result), FAJIT_OK);
    fake_cuda_fail(NULL, 0, CUDA_SUCCESS);
    assert_string_equal(result.config, "bm=128,warps=4");
    check_log("cuMemcpyDtoH", 1);
}

static void test_a_callback_that_launches_nothing(void **state)
{
    struct world *w = *state;
    struct host host = {.nothing = true};
    struct fajit_tune_result result;
    assert_int_equal(tune_with(w, WELL, false, &host, &result), FAJIT_OK);
    assert_string_equal(result.config, "bm=64,warps=2");
    check_log("launched nothing", 1);
}

static void test_cancelling(void **state)
{
    struct world *w = *state;
    struct host host = {.stop_at = 12}; // one call per look at a silent worker
    struct fajit_tune_result result;
    char path[128];
    write_script(w, "echo launching $n; exec sleep 100", path);
    const struct fajit_kernel_trial trial = {
        .struct_size = sizeof(trial), .launch = launch, .judge = judge, .user = &host};
    struct fajit_kernel_params params = with(VALUES);
    const struct fajit_tune_params how = {
        .struct_size = sizeof(how), .silence_s = 600, .progress = hear, .user = &host};
    params.trial = &trial;
    result = (struct fajit_tune_result){.struct_size = sizeof(result)};
    host.ctx = open_with(w, fake_cuda(), path, FAJIT_CACHE_RW);
    assert_int_equal(fajit_mem_alloc(host.ctx, 64, (void **)&host.data), FAJIT_OK);
    assert_int_equal(fajit_kernel_tune(host.ctx, "scale", &params, &how, &result), FAJIT_OK);
    assert_true(result.cancelled && !result.finished);
    assert_string_equal(result.config, "");
    assert_int_equal(launched(&host), 0);
    assert_false(has_record(w, "trying", NULL));
    assert_int_equal(fajit_mem_free(host.ctx, host.data), FAJIT_OK);
    fajit_ctx_destroy(&host.ctx);
}

// --- Failures on the way ----------------------------------------------------------------------

// The nth allocation of a search fails, for some of the n: it ends, and leaves nothing.
static void test_failed_allocations(void **state)
{
    struct world *w = *state;
    char path[128];
    write_script(w, WELL, path);
    struct host host = {.ctx = open_with(w, fake_cuda(), path, FAJIT_CACHE_RW)};
    assert_int_equal(fajit_mem_alloc(host.ctx, 64, (void **)&host.data), FAJIT_OK);
    for (int nth = 1; nth < 100000; nth += nth < 30 ? 3 : 101) {
        struct fajit_tune_result result;
        const int live = fake_cuda_live();
        fj_tune_close(&host.ctx->tune); // with its records: everything is to be rehearsed
        assert_int_equal(fj_tune_open(&(struct fj_tune_setup){.dir = "",
                                                              .gpu = &host.ctx->jit.gpu,
                                                              .log = &host.ctx->jit.log},
                                      &host.ctx->tune),
                         FAJIT_OK);
        the_log.text[0] = '\0';
        fail_allocation(nth);
        int err = search(&host, false, &result);
        bool reached = atomic_load(&allocations_left) == 0;
        fail_allocation(0);
        assert_int_equal(fake_cuda_live(), live);
        assert_int_equal(fake_nvrtc_state.programs, 0);
        assert_int_equal(err == FAJIT_OK, result.config[0] != '\0');
        if (!reached) {
            assert_string_equal(result.config, "bm=128,warps=4");
            assert_int_equal(fajit_mem_free(host.ctx, host.data), FAJIT_OK);
            fajit_ctx_destroy(&host.ctx);
            return;
        }
    }
    fail_msg("a search allocates more than 100000 times");
}

#define SCRIPTED(f) cmocka_unit_test_setup_teardown(f, scripted_setup, world_teardown)

// The kernel's middle parameter is a struct here.
static int scripted_setup(void **state)
{
    int err = kernel_world_setup(state);
    fake.param_bytes[1] = sizeof(struct two);
    return err;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPTED(test_everything_is_rehearsed),
        SCRIPTED(test_two_launches),
        SCRIPTED(test_hanging),
        SCRIPTED(test_faulting),
        SCRIPTED(test_the_first_one_faults),
        SCRIPTED(test_without_a_worker),
        SCRIPTED(test_workers_that_cannot),
        SCRIPTED(test_workers_that_do_not_start),
        SCRIPTED(test_memory_that_cannot_be_copied),
        SCRIPTED(test_a_callback_that_launches_nothing),
        SCRIPTED(test_cancelling),
        SCRIPTED(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
