// Child processes, with the system's own small programs.
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/thread.h"

static const char *const none[] = {NULL};

static struct fj_process *started(const char *script)
{
    const char *const args[] = {"-c", script, NULL};
    struct fj_process *process = NULL;
    if (fj_process_start("/bin/sh", args, none, -1, &process))
        fail_msg("%s", fj_err_text());
    return process;
}

static void expect_line(struct fj_process *process, const char *want)
{
    char line[64];
    assert_int_equal(fj_process_read(process, 5e6, line, sizeof(line)), FJ_PROCESS_LINE);
    assert_string_equal(line, want);
}

static void test_lines(void **state)
{
    (void)state;
    char line[8];
    struct fj_process *process = started("while read -r l; do echo \"<$l>\"; done; echo over");
    assert_true(fj_process_write(process, "one\ntw", 6));
    expect_line(process, "<one>");
    assert_int_equal(fj_process_read(process, 20e3, line, sizeof(line)), FJ_PROCESS_SILENT);
    assert_true(fj_process_write(process, "o\n\n", 3));
    expect_line(process, "<two>");
    expect_line(process, "<>");
    assert_true(fj_process_write(process, "longer than eight\n", 18));
    assert_int_equal(fj_process_read(process, 5e6, line, sizeof(line)), FJ_PROCESS_LINE);
    assert_string_equal(line, "<longer");
    fj_process_end(&process, 5e6);
    assert_null(process);
    fj_process_end(&process, 5e6);
}

static void test_a_file_lent(void **state)
{
    (void)state;
    const char *const args[] = {"-c", "cat <&3; echo; [ -e /proc/self/fd/4 ] && echo more; true",
                                NULL};
    struct fj_process *process = NULL;
    int fd;
    assert_int_equal(fj_file_nameless("/tmp", &fd), FAJIT_OK);
    assert_int_equal(fj_file_write_at(fd, 6, "lender", 6), FAJIT_OK);
    assert_int_equal(fj_file_write_at(fd, 0, "of the", 6), FAJIT_OK);
    assert_int_equal(fj_process_start("/bin/sh", args, none, fd, &process), FAJIT_OK);
    expect_line(process, "of thelender");
    char line[64];
    assert_int_equal(fj_process_read(process, 5e6, line, sizeof(line)), FJ_PROCESS_ENDED);
    fj_process_end(&process, 5e6);
    assert_true(fj_fs_read_at(fd, 6, line, 6)); // the caller's still
    assert_memory_equal(line, "lender", 6);
    fj_fs_close(fd);
    check_error(fj_file_nameless("/nonexistent/dir", &fd), FAJIT_E_IO, "/nonexistent/dir");
}

static void test_a_line_without_end(void **state)
{
    (void)state;
    char line[6000];
    struct fj_process *process =
        started("i=0; while [ $i -lt 1000 ]; do printf 123456789.; i=$((i+1)); done; echo; echo b");
    size_t total = 0;
    while (fj_process_read(process, 5e6, line, sizeof(line)) == FJ_PROCESS_LINE && *line != 'b')
        total += strlen(line);
    assert_int_equal(total, 10000);
    assert_string_equal(line, "b");
    assert_int_equal(fj_process_read(process, 5e6, line, sizeof(line)), FJ_PROCESS_ENDED);
    fj_process_end(&process, 5e6);
}

static void test_what_cannot_start(void **state)
{
    (void)state;
    struct fj_process *process = NULL;
    int err = fj_process_start("/nonexistent/program", none, none, -1, &process);
    if (process) // valgrind hides that the program could not be run
        fj_process_end(&process, 1e6);
    else
        assert_int_equal(err, FAJIT_E_IO);
    if (err == FAJIT_OK)
        return;
    assert_non_null(strstr(fj_err_text(), "/nonexistent/program: No such file"));
    assert_null(process);
}

// Writing to a process that is gone is an answer, no signal.
static void test_writing_to_the_dead(void **state)
{
    (void)state;
    char line[8];
    struct fj_process *process = started("exit 3");
    assert_int_equal(fj_process_read(process, 5e6, line, sizeof(line)), FJ_PROCESS_ENDED);
    bool written = true;
    for (int i = 0; i < 100 && written; i++)
        written = fj_process_write(process, "hello\n", 6);
    assert_false(written);
    fj_process_end(&process, 0);
}

static void test_killing(void **state)
{
    (void)state;
    struct fj_process *process = started("trap '' TERM HUP; echo ready; while :; do sleep 1; done");
    expect_line(process, "ready");
    double start_us = fj_now_us();
    fj_process_end(&process, 100e3);
    assert_true(fj_now_us() - start_us < 5e6);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); // no zombie is left
}

static void test_environment_and_descriptors(void **state)
{
    (void)state;
    const char *const env[] = {"FAJIT_TEST_A=new", "FAJIT_TEST_B=", NULL};
    const char *const args[] = {
        "-c", "echo $FAJIT_TEST_A,$FAJIT_TEST_B,$FAJIT_TEST_C; echo lost >&2; ls /proc/self/fd",
        NULL};
    char line[64];
    int open_fd = fcntl(0, F_DUPFD_CLOEXEC, 20), fds = 0;
    setenv("FAJIT_TEST_A", "old", 1);
    setenv("FAJIT_TEST_B", "old", 1);
    setenv("FAJIT_TEST_C", "kept", 1);
    struct fj_process *process;
    assert_int_equal(fj_process_start("/bin/sh", args, env, -1, &process), FAJIT_OK);
    expect_line(process, "new,,kept");
    while (fj_process_read(process, 5e6, line, sizeof(line)) == FJ_PROCESS_LINE) {
        assert_int_not_equal(atoi(line), open_fd);
        fds++;
    }
    assert_true(fds >= 3);
    fj_process_end(&process, 5e6);
    close(open_fd);
}

// A host that has its children reaped by the system, or does so itself.
static void test_ignored_children(void **state)
{
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    struct fj_process *process = started("read -r l; trap '' HUP; sleep 100");
    double start_us = fj_now_us();
    fj_process_end(&process, 100e3);
    assert_true(fj_now_us() - start_us < 5e6);
    signal(SIGCHLD, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_a_file_lent),
        cmocka_unit_test(test_a_line_without_end),
        cmocka_unit_test(test_what_cannot_start),
        cmocka_unit_test(test_writing_to_the_dead),
        cmocka_unit_test(test_killing),
        cmocka_unit_test(test_environment_and_descriptors),
        cmocka_unit_test(test_ignored_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
