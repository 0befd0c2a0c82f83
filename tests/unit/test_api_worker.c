// Tuning in a worker process: what a worker may say and do (shell scripts on the fake driver), and
// fajit-tune itself with kernels that hang and fault (the emulated device; skipped without NVRTC).
#include "api_fixture.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#define PROBLEM "attn:f32,b1,h1,q32,k32,d32,kernel=simt"

// --- Hosts ------------------------------------------------------------------------------------

struct heard {
    int calls, stop_at; // stop_at: the call that cancels; 0: none
    atomic_bool stop;   // from another thread
    char running[64], best[64];
    struct fajit_tune_progress last;
};

static int hear(void *user, const struct fajit_tune_progress *progress)
{
    struct heard *heard = user;
    heard->calls++;
    heard->last = *progress;
    snprintf(heard->running, sizeof(heard->running), "%s", progress->running);
    snprintf(heard->best, sizeof(heard->best), "%s", progress->best);
    return atomic_load(&heard->stop) || (heard->stop_at && heard->calls >= heard->stop_at);
}

struct log {
    pthread_mutex_t mutex;
    char text[4096];
};

static void take_log(void *user, enum fajit_log_level level, const char *text)
{
    struct log *log = user;
    pthread_mutex_lock(&log->mutex);
    size_t used = strlen(log->text);
    snprintf(log->text + used, sizeof(log->text) - used, "%d %s\n", (int)level, text);
    pthread_mutex_unlock(&log->mutex);
}

// --- Scripts ----------------------------------------------------------------------------------

// A worker in sh: `hello` answers `open`, `tune` is what it does about request $n.
static void write_script(const struct world *w, const char *hello, const char *tune,
                         char ret_path[128])
{
    struct fj_buf text = {0};
    snprintf(ret_path, 128, "%s/worker", w->dir);
    fj_buf_printf(&text,
                  "#!/bin/sh\n"
                  "[ \"$1\" = worker ] && [ -z \"$FAJIT_TUNE_WORKER\" ] || exit 9\n"
                  "dir=%s\n"
                  "while read -r word rest; do\n"
                  "  n=${rest%%%% *}\n"
                  "  case $word in\n"
                  "  set) echo \"$rest\" >>$dir/settings ;;\n"
                  "  open) %s ;;\n"
                  "  tune) echo \"$rest\" >>$dir/asked\n%s\n ;;\n"
                  "  esac\n"
                  "done\n",
                  w->dir, hello, tune);
    assert_int_equal(fj_file_publish(ret_path, text.data, text.len, 0700), FAJIT_OK);
    fj_buf_free(&text);
}

static struct fajit_ctx *open_with_worker(const struct world *w, const char *path, struct log *log)
{
    struct fajit_ctx_params params = world_params(w);
    struct fajit_ctx *ctx = NULL;
    params.tune_worker = path;
    params.log = log ? take_log : NULL;
    params.log_user = log;
    if (fj_ctx_create(fake_cuda(), &params, &ctx))
        fail_msg("%s", fajit_last_error());
    use_fake_nvrtc(ctx);
    return ctx;
}

// Tunes once through such a script.
static int tune_with(const struct world *w, const char *tune, struct heard *heard, struct log *log,
                     struct fajit_tune_result *result)
{
    char path[128], hello[200], gpu[96];
    const struct fajit_problem problem = parsed(PROBLEM);
    const struct fajit_tune_params params = {.struct_size = sizeof(params),
                                             .budget_s = 5,
                                             .silence_s = 0.5,
                                             .progress = heard ? hear : NULL,
                                             .user = heard};
    fj_record_gpu(&w->ctx->jit.gpu, gpu);
    snprintf(hello, sizeof(hello), "echo \"hello %s %s\"", fajit_version(), gpu);
    write_script(w, hello, tune, path);
    struct fajit_ctx *ctx = open_with_worker(w, path, log);
    *result = (struct fajit_tune_result){.struct_size = sizeof(*result)};
    int err = fajit_tune(ctx, &problem, &params, result);
    fajit_ctx_destroy(&ctx);
    return err;
}

#define DONE                                                                                       \
    "echo \"done $n attn_fwd_simt bm=32,bn=16,ctas=2 1 2 5500 5400 5600 11000 12 11 10 48 10 "     \
    "1500\""

static void test_a_result(void **state)
{
    struct world *w = *state;
    struct heard heard = {0};
    struct fajit_tune_result result;
    const char *tune = "echo \"progress $n rounds 12 6 5 4 5500 11000 simt/v2/bm=16 "
                       "simt/v2/bm=32\"; sleep 0.1; " DONE;
    if (tune_with(w, tune, &heard, NULL, &result))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result.kernel, "attn_fwd_simt");
    assert_string_equal(result.config, "bm=32,bn=16,ctas=2");
    assert_int_equal(result.family, FAJIT_FAMILY_SIMT);
    assert_int_equal(result.variant, FAJIT_VARIANT_V2);
    assert_true(result.median_us == 5.5 && result.p25_us == 5.4 && result.p75_us == 5.6);
    assert_true(result.default_us == 11);
    assert_int_equal(result.candidates, 12);
    assert_int_equal(result.points, 48);
    assert_true(result.finished && result.noisy && !result.cancelled && !result.from_record);
    assert_int_equal(heard.calls, 1);
    assert_string_equal(heard.running, "simt/v2/bm=16");
    assert_string_equal(heard.best, "simt/v2/bm=32");
    assert_true(heard.last.best_us == 5.5 && heard.last.budget_s == 5);
    assert_int_equal(heard.last.left, 4);

    char path[128];
    struct fj_buf text = {0};
    snprintf(path, sizeof(path), "%s/settings", w->dir);
    assert_int_equal(fj_file_read(path, 4096, &text), FAJIT_OK);
    assert_non_null(strstr(text.data, "device cuda\nordinal 0\ncache-dir /tmp/"));
    snprintf(path, sizeof(path), "%s/asked", w->dir);
    assert_int_equal(fj_file_read(path, 4096, &text), FAJIT_OK);
    assert_non_null(strstr(text.data, " 0 0 0 0 attn:f32,b1,h1,q32,k32,d32,"));
    fj_buf_free(&text);
}

static void test_noise_on_the_line(void **state)
{
    struct world *w = *state;
    struct heard heard = {0};
    struct fajit_tune_result result;
    const char *tune =
        "printf 'done\\nprogress\\n\\n\\001\\377\\000 x\\n'; echo done 77 a b 1 1 1 1 1 1 1 1 1 1 "
        "1 1\necho progress $n rounds x; echo done $n attn 1\n"
        "i=0; while [ $i -lt 600 ]; do printf 'progress 1 rounds '; i=$((i+1)); done; echo\n"
        "echo \"progress $n aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1 1 1 1 1 1 b c\"\n" DONE;
    if (tune_with(w, tune, &heard, NULL, &result))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result.config, "bm=32,bn=16,ctas=2");
    assert_int_equal(heard.calls, 0);
}

static void test_a_failure(void **state)
{
    struct world *w = *state;
    struct fajit_tune_result result;
    check_error(
        tune_with(w, "echo \"failed $n -3 no candidate of 4 is usable\"", NULL, NULL, &result),
        FAJIT_E_UNSUPPORTED, "no candidate of 4");
}

// What can be no worker of this context.
static void test_strangers(void **state)
{
    struct world *w = *state;
    const struct fajit_problem problem = parsed(PROBLEM);
    const struct {
        const char *hello;
        int status;
        const char *part;
    } cases[] = {
        {"echo hello 9.9.9 NVIDIA_H200/90/132", FAJIT_E_UNSUPPORTED, "is fajit-tune 9.9.9"},
        {"echo hello $(cat $dir/version) NVIDIA_T4/75/40", FAJIT_E_UNSUPPORTED, "NVIDIA_T4/75/40"},
        {"echo failed 0 -10 no driver here", FAJIT_E_NO_DEVICE, "no driver here"},
        {"echo good morning", FAJIT_E_IO, "good morning"},
        {"exit 0", FAJIT_E_IO, "no tuning worker"},
    };
    char path[128];
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    snprintf(path, sizeof(path), "%s/version", w->dir);
    assert_int_equal(fj_file_publish(path, fajit_version(), strlen(fajit_version()), 0600), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_script(w, cases[i].hello, "", path);
        struct fajit_ctx *ctx = open_with_worker(w, path, NULL);
        check_error(fajit_tune(ctx, &problem, NULL, &result), cases[i].status, cases[i].part);
        fajit_ctx_destroy(&ctx);
    }
    struct fajit_ctx *ctx = open_with_worker(w, "/nonexistent/fajit-tune", NULL);
    check_error(fajit_tune(ctx, &problem, NULL, &result), FAJIT_E_IO, "/nonexistent/fajit-tune");
    // Planning goes on without.
    struct fajit_plan *plan;
    struct fajit_plan_params params = {.struct_size = sizeof(params), .effort = FAJIT_EFFORT_TUNE};
    assert_int_equal(fajit_plan_create(ctx, &problem, &params, &plan), FAJIT_OK);
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&ctx);
}

static void test_no_directory(void **state)
{
    struct world *w = *state;
    struct fajit_ctx_params params = world_params(w);
    const struct fajit_problem problem = parsed(PROBLEM);
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fajit_ctx *ctx;
    params.cache_mode = FAJIT_CACHE_OFF;
    params.tune_worker = "/bin/false";
    assert_int_equal(fj_ctx_create(fake_cuda(), &params, &ctx), FAJIT_OK);
    check_error(fajit_tune(ctx, &problem, NULL, &result), FAJIT_E_UNSUPPORTED, "cache directory");
    fajit_ctx_destroy(&ctx);
    params.template_dir = "/tmp/a\nset device emu";
    check_error(fj_ctx_create(fake_cuda(), &params, &ctx), FAJIT_E_INVAL, "line break");
}

// --- Hanging and dying ------------------------------------------------------------------------

#define RUNS "echo \"progress $n screen 4 1 0 0 0 0 simt/v2/bm=64 -\"; "

static void test_killed_when_silent(void **state)
{
    struct world *w = *state;
    struct log log = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct fajit_tune_result result;
    const char *tune = RUNS "[ -e $dir/second ] || { touch $dir/second; exec sleep 100; }; " DONE;
    if (tune_with(w, tune, NULL, &log, &result))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result.config, "bm=32,bn=16,ctas=2");
    assert_non_null(strstr(log.text, "simt/v2/bm=64 hung in the tuning worker"));
}

static void test_restarted_after_a_fault(void **state)
{
    struct world *w = *state;
    struct log log = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct fajit_tune_result result;
    const char *tune =
        RUNS "[ -e $dir/a ] || { touch $dir/a; echo \"failed $n -12 lost\"; exit; }\n" RUNS
             "[ -e $dir/b ] || { touch $dir/b; kill -9 $$; }; " DONE;
    if (tune_with(w, tune, NULL, &log, &result))
        fail_msg("%s", fajit_last_error());
    assert_string_equal(result.config, "bm=32,bn=16,ctas=2");
    const char *first = strstr(log.text, "simt/v2/bm=64 faulted in the tuning worker");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "simt/v2/bm=64 faulted in the tuning worker"));
}

static void test_no_end_of_it(void **state)
{
    struct world *w = *state;
    struct fajit_tune_result result;
    check_error(tune_with(w, RUNS "kill -9 $$", NULL, NULL, &result), FAJIT_E_CONTEXT_LOST,
                "simt/v2/bm=64 took the worker with it");
    check_error(tune_with(w, "exit 0", NULL, NULL, &result), FAJIT_E_CONTEXT_LOST, "a kernel");
}

// --- Cancelling -------------------------------------------------------------------------------

static const char obedient[] =
    RUNS "read -r word rest; "
         "[ \"$word $rest\" = \"cancel $n\" ] && echo \"done $n - - 0 0 0 0 0 0 4 1 0 48 4 100\"";

static void test_cancel_from_the_callback(void **state)
{
    struct world *w = *state;
    struct heard heard = {.stop_at = 1};
    struct fajit_tune_result result;
    assert_int_equal(tune_with(w, obedient, &heard, NULL, &result), FAJIT_OK);
    assert_true(result.cancelled);
    assert_false(result.finished);
    assert_string_equal(result.config, "");
    assert_int_equal(heard.calls, 1); // it said so once
    // One that does not listen is killed.
    heard = (struct heard){.stop_at = 2};
    assert_int_equal(tune_with(w, RUNS "exec sleep 100", &heard, NULL, &result), FAJIT_OK);
    assert_true(result.cancelled);
}

static void *cancel_soon(void *user)
{
    usleep(100000);
    atomic_store((atomic_bool *)user, true);
    return NULL;
}

static void test_cancel_from_another_thread(void **state)
{
    struct world *w = *state;
    struct heard heard = {0};
    struct fajit_tune_result result;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &heard.stop), 0);
    int err = tune_with(w, obedient, &heard, NULL, &result);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(err, FAJIT_OK);
    assert_true(result.cancelled);
}

// --- The real one -----------------------------------------------------------------------------

// A copy of the library's template in which tiles of 16 rows hang and tiles of 32 fault.
static void plant(const char *dir)
{
    static const char insert[] = "    //@if block_m == 16\n"
                                 "    for (volatile int spin = 1; spin;) {}\n"
                                 "    //@end\n"
                                 "    //@if block_m == 32\n"
                                 "    *(volatile int *)8 = 1;\n"
                                 "    //@end\n";
    struct fj_buf text = {0}, planted = {0};
    char path[200];
    assert_int_equal(fj_file_read(TEMPLATE_DIR "/attn_fwd_simt.cu", 1 << 20, &text), FAJIT_OK);
    char *kernel = strstr(text.data, "__global__");
    assert_non_null(kernel);
    char *body = strstr(kernel, "\n{\n");
    assert_non_null(body);
    fj_buf_append(&planted, text.data, (size_t)(body + 3 - text.data));
    fj_buf_puts(&planted, insert);
    fj_buf_puts(&planted, body + 3);
    snprintf(path, sizeof(path), "%s/attn_fwd_simt.cu", dir);
    assert_int_equal(fj_file_publish(path, planted.data, planted.len, 0600), FAJIT_OK);
    fj_buf_free(&text);
    fj_buf_free(&planted);
}

struct emulated {
    char dir[64], cache[96];
    struct fajit_ctx *ctx;
    struct log log;
};

static int emulated_setup(void **state)
{
    struct emulated *e = calloc(1, sizeof(*e));
    if (!e)
        return -1;
    pthread_mutex_init(&e->log.mutex, NULL);
    strcpy(e->dir, "/tmp/fajit-worker-XXXXXX");
    if (!mkdtemp(e->dir))
        return -1;
    snprintf(e->cache, sizeof(e->cache), "%s/cache", e->dir);
    plant(e->dir);
    *state = e;
    return 0;
}

static int emulated_teardown(void **state)
{
    struct emulated *e = *state;
    char command[96];
    fajit_ctx_destroy(&e->ctx);
    snprintf(command, sizeof(command), "rm -rf %s", e->dir);
    int code = system(command);
    free(e);
    return code;
}

static void open_emulated(struct emulated *e, const char *worker)
{
    const struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                            .device = FAJIT_DEVICE_EMULATED,
                                            .emulated_gpu = "a100",
                                            .cache_mode = FAJIT_CACHE_RW,
                                            .cache_dir = e->cache,
                                            .template_dir = e->dir,
                                            .tune_worker = worker,
                                            .log = take_log,
                                            .log_user = &e->log};
    if (fajit_ctx_create(&params, &e->ctx))
        fail_msg("%s", fajit_last_error());
}

static int count_verdict(void *user, const struct fajit_tune_record *record)
{
    int *counts = user;
    if (strcmp(record->origin, "bundled") == 0)
        return 0;
    counts[0] += strcmp(record->verdict, "trying") == 0 && strstr(record->config, "bm=16");
    counts[1] += strcmp(record->verdict, "fault") == 0 && strstr(record->config, "bm=32");
    counts[2] += (strcmp(record->verdict, "timed") == 0 || strcmp(record->verdict, "best") == 0) &&
                 (strstr(record->config, "bm=16") || strstr(record->config, "bm=32"));
    return 0;
}

static void test_the_search_outlives_its_kernels(void **state)
{
    struct emulated *e = *state;
    struct fajit_problem problem = parsed(PROBLEM ",variant=v2,bn=64");
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fajit_plan *plan;
    int counts[3] = {0};
    struct heard heard = {0};
    const struct fajit_tune_params params = {.struct_size = sizeof(params),
                                             .budget_s = 90,
                                             .silence_s = 4,
                                             .progress = hear,
                                             .user = &heard};
    open_emulated(e, FAJIT_TUNE);
    int err = fajit_tune(e->ctx, &problem, &params, &result);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    if (err)
        fail_msg("%s\n%s", fajit_last_error(), e->log.text);
    assert_true(heard.calls > 3);
    assert_true(strstr(result.config, "bm=64") || strstr(result.config, "bm=128"));
    assert_true(result.median_us > 0);
    assert_non_null(strstr(e->log.text, "bm=16,bn=64,ctas=2 hung in the tuning worker"));
    assert_non_null(strstr(e->log.text, "bm=32,bn=64,ctas=2 faulted in the tuning worker"));
    // This process knows what the worker found, and is none the worse for it.
    fajit_tune_visit(e->ctx, NULL, count_verdict, counts);
    assert_true(counts[0] >= 1 && counts[1] >= 1);
    assert_int_equal(counts[2], 0);
    problem = parsed(PROBLEM ",variant=v2");
    assert_int_equal(fajit_plan_create(e->ctx, &problem, NULL, &plan), FAJIT_OK);
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    assert_memory_equal(info.config_from, "exact: tuned record", 19);
    fajit_plan_destroy(&plan);
}

static void test_a_fault_without_a_worker(void **state)
{
    struct emulated *e = *state;
    const struct fajit_problem problem = parsed(PROBLEM ",variant=v2,bm=32,bn=64");
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    open_emulated(e, NULL);
    int err = fajit_tune(e->ctx, &problem, NULL, &result);
    if (err == FAJIT_E_NO_NVRTC)
        skip();
    check_error(err, FAJIT_E_CONTEXT_LOST, "attn_fwd_simt with bm=32,bn=64");
    assert_string_equal(result.config, "");
}

#define SCRIPTED(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)
#define EMULATED(function)                                                                         \
    cmocka_unit_test_setup_teardown(function, emulated_setup, emulated_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPTED(test_a_result),
        SCRIPTED(test_noise_on_the_line),
        SCRIPTED(test_a_failure),
        SCRIPTED(test_strangers),
        SCRIPTED(test_no_directory),
        SCRIPTED(test_killed_when_silent),
        SCRIPTED(test_restarted_after_a_fault),
        SCRIPTED(test_no_end_of_it),
        SCRIPTED(test_cancel_from_the_callback),
        SCRIPTED(test_cancel_from_another_thread),
        EMULATED(test_the_search_outlives_its_kernels),
        EMULATED(test_a_fault_without_a_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
