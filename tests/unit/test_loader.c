#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/library.h"
#include "cuda/loader.h"
#include "cuda/nvrtc_search.h"

static char root[] = "/tmp/fajit-test-loader-XXXXXX";

static void make(const char *below)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, below);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w"); // empty, so no dynamic loader would take it
    assert_non_null(file);
    fclose(file);
}

static int set_up(void **state)
{
    (void)state;
    static const char *const variables[] = {"XDG_DATA_HOME", "VIRTUAL_ENV", "CONDA_PREFIX",
                                            "CUDA_HOME", "CUDA_PATH"};
    if (!mkdtemp(root))
        return -1;
    for (size_t i = 0; i < COUNT(variables); i++)
        unsetenv(variables[i]);
    return setenv("HOME", root, 1);
}

static int tear_down(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

struct log {
    struct fj_buf text; // what is there, or may be, in the order of the search
    const char *stop_at;
};

static bool note(void *user, const struct fj_spot *spot)
{
    struct log *log = user;
    size_t len = strlen(root);
    const char *path = strncmp(spot->path, root, len) == 0 ? spot->path + len + 1 : spot->path;
    if (spot->kind == FJ_SPOT_FILE && (!spot->present || path == spot->path))
        return false;
    fj_buf_printf(&log->text, "%s%s\n", spot->kind == FJ_SPOT_LOADED ? "loaded " : "", path);
    return log->stop_at && strstr(path, log->stop_at);
}

static void check_search(int driver_version, const char *stop_at, const char *want)
{
    struct log log = {.stop_at = stop_at};
    assert_int_equal(fj_nvrtc_search(NULL, driver_version, note, &log), stop_at != NULL);
    assert_false(log.text.failed);
    assert_string_equal(log.text.data, want);
    fj_buf_free(&log.text);
}

static void test_order(void **state)
{
    (void)state;
    make("venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12");
    make("venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13");
    make("data/fajit/nvrtc/libnvrtc.so.13");
    make("cuda/targets/x86_64-linux/lib/libnvrtc.so.12");
    char path[256];
    snprintf(path, sizeof(path), "%s/venv", root);
    setenv("VIRTUAL_ENV", path, 1);
    snprintf(path, sizeof(path), "%s/data", root);
    setenv("XDG_DATA_HOME", path, 1);
    snprintf(path, sizeof(path), "%s/cuda", root);
    setenv("CUDA_HOME", path, 1);
    const char *in_13 = "loaded libnvrtc.so.13\n"
                        "data/fajit/nvrtc/libnvrtc.so.13\n"
                        "venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13\n"
                        "libnvrtc.so.13\n";
    const char *in_12 = "loaded libnvrtc.so.12\n"
                        "venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12\n"
                        "cuda/targets/x86_64-linux/lib/libnvrtc.so.12\n"
                        "libnvrtc.so.12\n";
    char want[1024];
    snprintf(want, sizeof(want), "%s%s", in_13, in_12);
    check_search(0, NULL, want);
    check_search(13000, NULL, want);
    snprintf(want, sizeof(want), "%s%s", in_12, in_13);
    check_search(12080, NULL, want);
    snprintf(want, sizeof(want), "loaded libnvrtc.so.14\nlibnvrtc.so.14\n%s%s", in_13, in_12);
    check_search(14020, NULL, want);
    check_search(13000, "data/", "loaded libnvrtc.so.13\ndata/fajit/nvrtc/libnvrtc.so.13\n");
}

static bool count_toolkit(void *user, const struct fj_spot *spot)
{
    *(int *)user += strcmp(spot->path, "/nowhere/cuda/lib64/libnvrtc.so.13") == 0;
    return false;
}

static bool count_default(void *user, const struct fj_spot *spot)
{
    const char *path = "/usr/local/cuda/lib64/libnvrtc.so.13";
    *(int *)user += spot->kind == FJ_SPOT_FILE && strcmp(spot->path, path) == 0;
    return false;
}

// Variables that name one place, or the one that is looked in anyway, make no second visit.
static void test_each_place_once(void **state)
{
    (void)state;
    int visits = 0;
    setenv("CUDA_HOME", "/nowhere/cuda", 1);
    setenv("CUDA_PATH", "/nowhere/cuda", 1);
    fj_nvrtc_search(NULL, 13000, count_toolkit, &visits);
    assert_int_equal(visits, 1);
    visits = 0;
    setenv("CUDA_PATH", "/usr/local/cuda", 1);
    fj_nvrtc_search(NULL, 13000, count_default, &visits);
    assert_int_equal(visits, 1);
    unsetenv("CUDA_HOME");
    unsetenv("CUDA_PATH");
}

static void test_wish_rules_out_all_others(void **state)
{
    (void)state;
    const struct fj_nvrtc *nvrtc = NULL;
    check_error(fj_nvrtc_open("/nowhere/libnvrtc.so.13", 0, &nvrtc), FAJIT_E_NO_NVRTC,
                "/nowhere/libnvrtc.so.13: nothing there");
    assert_null(strstr(fj_err_text(), "/usr/local"));
    make("wish/libnvrtc.so.12");
    char path[256];
    snprintf(path, sizeof(path), "%s/wish", root);
    check_error(fj_nvrtc_open(path, 12000, &nvrtc), FAJIT_E_NO_NVRTC, "wish/libnvrtc.so.12: ");
    check_error(fj_nvrtc_open("libm.so.6", 0, &nvrtc), FAJIT_E_NO_NVRTC, "has no nvrtcVersion");
    assert_null(nvrtc);
}

static void test_real_nvrtc(void **state)
{
    (void)state;
    const struct fj_nvrtc *nvrtc, *again, *by_path;
    if (fj_nvrtc_open(NULL, 0, &nvrtc) != FAJIT_OK) {
        print_message("no NVRTC here: %s\n", fj_err_text());
        skip();
    }
    assert_true(nvrtc->major >= 12);
    assert_int_equal(strlen(nvrtc->build_id), 40);
    assert_int_equal(fj_nvrtc_open(NULL, 0, &again), FAJIT_OK);
    assert_ptr_equal(nvrtc, again); // one table per library
    assert_int_equal(fj_nvrtc_open(nvrtc->path, 0, &by_path), FAJIT_OK);
    assert_ptr_equal(nvrtc, by_path);
}

static void test_elf_of_libc(void **state)
{
    (void)state;
    char path[256], dir[256], id[41];
    assert_true(
        fj_library_path((const void *)(uintptr_t)&getpid, path, sizeof(path), dir, sizeof(dir)));
    assert_int_equal(strncmp(path, dir, strlen(dir)), 0);
    fj_library_build_id((const void *)(uintptr_t)&path, id); // the stack is in no library
    assert_string_equal(id, "");
}

static void test_report(void **state)
{
    (void)state;
    struct fj_buf text = {0};
    fj_loader_report("/nowhere", &text);
    assert_non_null(strstr(text.data, "CUDA driver\n"));
    assert_non_null(strstr(text.data, "in use: none"));
    assert_non_null(strstr(text.data, "the NVRTC asked for, /nowhere, cannot be used"));
    assert_non_null(strstr(text.data, "/nowhere: nothing there"));
    fj_buf_free(&text);
    text = (struct fj_buf){0};
    // Found or not, it says where; and no place twice, however many lead to one library.
    fj_loader_report(NULL, &text);
    const char *place = strstr(text.data, "in use: /");
    assert_true(place || strstr(text.data, "/usr/local/cuda/"));
    assert_null(strstr(text.data, ": loaded"));
    fj_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),           cmocka_unit_test(test_wish_rules_out_all_others),
        cmocka_unit_test(test_each_place_once), cmocka_unit_test(test_wish_rules_out_all_others),
        cmocka_unit_test(test_real_nvrtc),      cmocka_unit_test(test_elf_of_libc),
        cmocka_unit_test(test_report),
    };
    return cmocka_run_group_tests_name("loader", tests, set_up, tear_down);
}
