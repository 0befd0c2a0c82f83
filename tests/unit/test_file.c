#include "test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/thread.h"

static char root[64];

static const char *at(const char *name)
{
    static _Thread_local char path[512];
    assert_true(fj_path_join(path, sizeof(path), root, name));
    return path;
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/fajit-test-file-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command);
}

static int count_files(const char *dir)
{
    DIR *d = opendir(dir);
    int count = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return count;
}

static void publishes_and_reads(void **state)
{
    (void)state;
    static char bytes[100000];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    struct fj_buf buf = {0};
    assert_int_equal(fj_file_publish(at("a"), bytes, sizeof(bytes), 0600), FAJIT_OK);
    assert_int_equal(fj_file_read(at("a"), sizeof(bytes), &buf), FAJIT_OK);
    assert_int_equal(buf.len, sizeof(bytes));
    assert_memory_equal(buf.data, bytes, sizeof(bytes));
    struct stat info;
    assert_int_equal(stat(at("a"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(fj_file_publish(at("a"), "new", 3, 0600), FAJIT_OK);
    fj_buf_clear(&buf);
    assert_int_equal(fj_file_read(at("a"), 10, &buf), FAJIT_OK);
    assert_string_equal(buf.data, "new");
    assert_int_equal(count_files(root), 1); // no temporary stays
    fj_buf_free(&buf);
}

static void failing_read_adds_nothing(void **state)
{
    (void)state;
    struct fj_buf buf = {0};
    fj_buf_puts(&buf, "before");
    check_error(fj_file_read(at("absent"), 10, &buf), FAJIT_E_IO, "absent");
    assert_int_equal(fj_file_publish(at("big"), "12345678901", 11, 0600), FAJIT_OK);
    check_error(fj_file_read(at("big"), 10, &buf), FAJIT_E_IO, "larger than the 10 bytes");
    check_error(fj_file_read(root, 10, &buf), FAJIT_E_IO, "not a regular file");
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    check_error(fj_file_read(at("fifo"), 10, &buf), FAJIT_E_IO, "not a regular file");
    assert_string_equal(buf.data, "before");
    fj_buf_free(&buf);
}

static void failing_publish_leaves_nothing(void **state)
{
    (void)state;
    check_error(fj_file_publish(at("no/such/dir"), "x", 1, 0600), FAJIT_E_IO, "cannot create");
    assert_int_equal(mkdir(at("target"), 0700), 0);
    int before = count_files(root);
    check_error(fj_file_publish(at("target"), "x", 1, 0600), FAJIT_E_IO, "cannot replace");
    assert_int_equal(count_files(root), before);
}

// Readers see one whole text or another, whatever the writers do.
static void write_or_read(void *user, int64_t i)
{
    char text[5000];
    int *bad = user;
    struct fj_buf buf = {0};
    memset(text, 'a' + (int)(i % 26), sizeof(text));
    if (i % 2) {
        if (fj_file_publish(at("shared"), text, sizeof(text), 0600))
            __atomic_fetch_add(bad, 1, __ATOMIC_RELAXED);
        return;
    }
    if (fj_file_read(at("shared"), sizeof(text), &buf) || buf.len != sizeof(text))
        __atomic_fetch_add(bad, 1, __ATOMIC_RELAXED);
    for (size_t k = 0; k < buf.len; k++) {
        if (buf.data[k] != buf.data[0])
            __atomic_fetch_add(bad, 1, __ATOMIC_RELAXED);
    }
    fj_buf_free(&buf);
}

static void publishing_is_atomic(void **state)
{
    (void)state;
    int bad = 0;
    write_or_read(&bad, 1);
    fj_parallel_for(4, 200, write_or_read, &bad);
    assert_int_equal(bad, 0);
}

static void makes_directories(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof(path), "%s/x/y//z/", root);
    assert_int_equal(fj_file_mkdirs(path, 0700), FAJIT_OK);
    assert_int_equal(fj_file_mkdirs(path, 0700), FAJIT_OK);
    assert_true(fj_file_exists(at("x/y/z")));
    assert_int_equal(fj_file_publish(at("plain"), "", 0, 0600), FAJIT_OK);
    assert_int_not_equal(fj_file_mkdirs(at("plain"), 0700), FAJIT_OK);
    assert_int_not_equal(fj_file_mkdirs(at("plain/below"), 0700), FAJIT_OK);
    assert_int_equal(fj_file_mkdirs("/", 0700), FAJIT_OK);
}

static void private_directories(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("p"), 0700), 0);
    assert_int_equal(fj_file_check_private_dir(at("p")), FAJIT_OK);
    assert_int_equal(chmod(at("p"), 0755), 0);
    assert_int_equal(fj_file_check_private_dir(at("p")), FAJIT_OK);
    assert_int_equal(chmod(at("p"), 0720), 0);
    check_error(fj_file_check_private_dir(at("p")), FAJIT_E_IO, "written by others");
    assert_int_equal(chmod(at("p"), 0702), 0);
    check_error(fj_file_check_private_dir(at("p")), FAJIT_E_IO, "mode 702");
    assert_int_equal(fj_file_publish(at("f"), "", 0, 0600), FAJIT_OK);
    check_error(fj_file_check_private_dir(at("f")), FAJIT_E_IO, "not a directory");
    check_error(fj_file_check_private_dir(at("none")), FAJIT_E_IO, "cannot open");
    if (geteuid() != 0)
        check_error(fj_file_check_private_dir("/"), FAJIT_E_IO, "belongs to user");
}

static void joins_paths(void **state)
{
    (void)state;
    char path[8];
    assert_true(fj_path_join(path, sizeof(path), "ab", "cd"));
    assert_string_equal(path, "ab/cd");
    assert_true(fj_path_join(path, sizeof(path), "ab/", "cd"));
    assert_string_equal(path, "ab/cd");
    assert_true(fj_path_join(path, sizeof(path), "", "cd"));
    assert_string_equal(path, "cd");
    assert_true(fj_path_join(path, sizeof(path), "abc", "def")); // 7 and a NUL
    assert_false(fj_path_join(path, sizeof(path), "abc", "defg"));
    assert_string_equal(path, "abc/def");
}

static void reads_the_environment(void **state)
{
    (void)state;
    setenv("FJ_TEST_ENV", "value", 1);
    assert_string_equal(fj_env("FJ_TEST_ENV"), "value");
    setenv("FJ_TEST_ENV", "", 1);
    assert_null(fj_env("FJ_TEST_ENV"));
    unsetenv("FJ_TEST_ENV");
    assert_null(fj_env("FJ_TEST_ENV"));
}

#define UNIT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(publishes_and_reads),
        UNIT(failing_read_adds_nothing),
        UNIT(failing_publish_leaves_nothing),
        UNIT(publishing_is_atomic),
        UNIT(makes_directories),
        UNIT(private_directories),
        cmocka_unit_test(joins_paths),
        cmocka_unit_test(reads_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
