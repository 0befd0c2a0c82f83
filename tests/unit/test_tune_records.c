// Tuning records: one line each, damage found by line, many writers, votes.
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autotune/records.h"
#include "base/file.h"
#include "base/lines.h"

#define PROBLEM "attn:bf16,b2,h16/4,q4096,k4096,d128,causal"

static struct fj_record sample(const char *problem, const char *config, double median_us)
{
    struct fj_record record = {.verdict = FJ_VERDICT_TIMED,
                               .median_us = median_us,
                               .p25_us = median_us - 0.125,
                               .p75_us = median_us + 0.25,
                               .samples = 20,
                               .time_s = 1700000000};
    strcpy(record.digest, "0123456789abcdef0123456789abcdef");
    strcpy(record.gpu, "NVIDIA_H200/90/132");
    assert_true(fj_tune_key_parse(problem, strlen(problem), &record.key));
    strcpy(record.kernel, "attn_fwd_sm90");
    strcpy(record.variant, "v2");
    strcpy(record.config, config);
    strcpy(record.nvrtc, "13.0");
    strcpy(record.origin, "tuned");
    return record;
}

static int temp_dir(void **state)
{
    static char dir[] = "/tmp/fajit-test-records-XXXXXX";
    strcpy(dir + sizeof(dir) - 7, "XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    *state = dir;
    return 0;
}

static int drop_dir(void **state)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
    return system(command);
}

static const char *path_in(void **state, const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", (char *)*state, name);
    return path;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct fj_record record = sample(PROBLEM, "bm=128,bn=128,stages=2", 412.125), back;
    struct fj_buf line = {0};
    record.verdict = FJ_VERDICT_BEST;
    fj_record_print(&record, &line);
    assert_int_equal(line.data[line.len - 1], '\n');
    assert_int_equal(fj_record_parse(line.data, line.len - 1, &back), FAJIT_OK);
    assert_memory_equal(&record, &back, sizeof(back));
    // Of a template that does not parse.
    record.digest[0] = '\0';
    line.len = 0;
    fj_record_print(&record, &line);
    assert_int_equal(fj_record_parse(line.data, line.len - 1, &back), FAJIT_OK);
    assert_string_equal(back.digest, "");
    fj_buf_free(&line);
}

// Whatever byte changes, the line is refused.
static void test_every_changed_byte_is_found(void **state)
{
    (void)state;
    struct fj_record record = sample(PROBLEM, "bm=128", 10.5), back;
    struct fj_buf line = {0};
    fj_record_print(&record, &line);
    for (size_t i = 0; i + 1 < line.len; i++) {
        line.data[i] ^= 1;
        assert_int_not_equal(fj_record_parse(line.data, line.len - 1, &back), FAJIT_OK);
        line.data[i] ^= 1;
        assert_int_not_equal(fj_record_parse(line.data, i, &back), FAJIT_OK);
    }
    fj_buf_free(&line);
}

static char seen_bad[4][256];
static int seen_count;

static void see_bad(void *user, const char *sentence)
{
    (void)user;
    if (seen_count < 4)
        snprintf(seen_bad[seen_count], sizeof(seen_bad[0]), "%s", sentence);
    seen_count++;
}

static void test_bad_lines_are_named_and_passed_over(void **state)
{
    struct fj_record a = sample(PROBLEM, "bm=64", 2), b = sample(PROBLEM, "bm=128", 1);
    struct fj_buf text = {0};
    struct fj_records records = {0};
    const char *path = path_in(state, "bad.txt");
    fj_buf_puts(&text, "# a comment\n\n");
    fj_record_print(&a, &text);
    fj_buf_puts(&text, "something else\n");
    fj_record_print(&b, &text);
    text.data[text.len - 4] ^= 1; // inside the checksum of b
    fj_record_print(&a, &text);
    text.len -= 30; // torn
    assert_int_equal(fj_file_publish(path, text.data, text.len, 0600), FAJIT_OK);
    seen_count = 0;
    assert_int_equal(fj_records_load(&records, path, see_bad, NULL), FAJIT_OK);
    assert_int_equal(records.count, 1);
    assert_int_equal(seen_count, 3);
    assert_int_equal(records.bad_lines, 3);
    assert_non_null(strstr(seen_bad[0], "bad.txt:4: not a tuning record"));
    assert_non_null(strstr(seen_bad[1], "bad.txt:5: the checksum is"));
    assert_non_null(strstr(seen_bad[2], "bad.txt:6: "));
    assert_string_equal(records.first_bad, seen_bad[0]);
    fj_records_free(&records);
    fj_buf_free(&text);
}

static void test_foreign_file_is_refused(void **state)
{
    struct fj_records records = {0};
    const char *path = path_in(state, "foreign.txt");
    assert_int_equal(fj_file_publish(path, "{\"a\": 1}\n\x7f\x45\x4c\x46", 13, 0600), FAJIT_OK);
    check_error(fj_records_load(&records, path, NULL, NULL), FAJIT_E_IO, "foreign.txt:1:");
    fj_records_free(&records);
    assert_int_equal(fj_records_load(&records, path_in(state, "absent.txt"), NULL, NULL), FAJIT_OK);
    assert_int_equal(records.count, 0);
}

static void test_newest_of_a_subject_stays(void **state)
{
    (void)state;
    struct fj_records records = {0};
    struct fj_record old = sample(PROBLEM, "bm=64", 5), new = old, other = old;
    new.time_s++;
    new.median_us = 4;
    strcpy(other.nvrtc, "13.1");
    fj_records_add(&records, &old);
    fj_records_add(&records, &new);
    fj_records_add(&records, &other);
    fj_records_sort(&records);
    assert_int_equal(records.count, 2);
    assert_float_equal(records.items[0]->median_us, 4, 1e-9);
    fj_records_free(&records);
}

// A search among one family's kernels times the winner again: it stays the winner. A fault does
// not.
static void test_winners_outlive_timings(void **state)
{
    (void)state;
    const enum fj_verdict later[] = {FJ_VERDICT_TIMED, FJ_VERDICT_UNCHECKED, FJ_VERDICT_FAULT};
    for (int i = 0; i < 3; i++) {
        struct fj_records records = {0};
        struct fj_record best = sample(PROBLEM, "bm=64", 5), again = best;
        best.verdict = FJ_VERDICT_BEST;
        again.verdict = later[i];
        again.time_s++;
        fj_records_add(&records, &again);
        fj_records_add(&records, &best);
        fj_records_sort(&records);
        assert_int_equal(records.count, 1);
        assert_int_equal(records.items[0]->verdict, i == 2 ? FJ_VERDICT_FAULT : FJ_VERDICT_BEST);
        fj_records_free(&records);
    }
}

// Noted within one second: what is wrong with a configuration outweighs how fast it was.
static void test_verdicts_of_one_second(void **state)
{
    (void)state;
    const enum fj_verdict order[] = {FJ_VERDICT_TRYING, FJ_VERDICT_UNCHECKED, FJ_VERDICT_TIMED,
                                     FJ_VERDICT_WRONG};
    for (size_t last = 0; last < COUNT(order); last++) {
        struct fj_records records = {0};
        for (size_t i = 0; i <= last; i++) {
            struct fj_record record = sample(PROBLEM, "bm=64", 5);
            record.verdict = order[i];
            fj_records_add(&records, &record);
        }
        fj_records_sort(&records);
        assert_int_equal(records.count, 1);
        assert_int_equal(records.items[0]->verdict, order[last]);
        fj_records_free(&records);
    }
}

static int count_lines(const char *path)
{
    struct fj_records records = {0};
    assert_int_equal(fj_records_load(&records, path, NULL, NULL), FAJIT_OK);
    assert_int_equal(records.bad_lines, 0);
    int count = records.count;
    fj_records_free(&records);
    return count;
}

static void append_some(const char *path, int writer, int count)
{
    for (int i = 0; i < count; i++) {
        char config[40];
        snprintf(config, sizeof(config), "bm=%d,bn=%d", writer + 1, i + 1);
        struct fj_record record = sample(PROBLEM, config, i + 1);
        const struct fj_record *list[] = {&record};
        if (fj_records_append(path, list, 1))
            _exit(1);
    }
}

static void test_writers_do_not_disturb_each_other(void **state)
{
    enum { WRITERS = 8, EACH = 50 };
    const char *path = path_in(state, "shared.txt");
    pid_t writers[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        writers[w] = fork();
        if (writers[w] == 0) {
            append_some(path, w, EACH);
            _exit(0);
        }
    }
    for (int w = 0; w < WRITERS; w++) {
        int status;
        waitpid(writers[w], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(count_lines(path), WRITERS * EACH);
}

// Killed at any moment: what was appended before is whole, and the next writer goes on.
static void test_killed_writer_loses_nothing_else(void **state)
{
    const char *path = path_in(state, "killed.txt");
    int before = 0;
    for (int round = 0; round < 20; round++) {
        pid_t writer = fork();
        if (writer == 0) {
            append_some(path, round, 100000);
            _exit(0);
        }
        usleep(500 + 700 * (unsigned)round);
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
        append_some(path, 500 + round, 1);
        struct fj_records records = {0};
        assert_int_equal(fj_records_load(&records, path, NULL, NULL), FAJIT_OK);
        assert_true(records.count > before);
        assert_true(records.bad_lines <= round + 1);
        before = records.count;
        fj_records_free(&records);
    }
}

static void test_torn_line_is_closed_by_the_next_writer(void **state)
{
    const char *path = path_in(state, "torn.txt");
    struct fj_records records = {0};
    append_some(path, 1, 2);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 9), 0);
    append_some(path, 2, 1);
    assert_int_equal(fj_records_load(&records, path, NULL, NULL), FAJIT_OK);
    assert_int_equal(records.count, 2);
    assert_int_equal(records.bad_lines, 1);
    fj_records_free(&records);
}

// A full disk: the append fails with a sentence and leaves no half line.
static void test_full_disk_leaves_whole_lines(void **state)
{
    const char *path = path_in(state, "full.txt");
    append_some(path, 1, 3);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {(rlim_t)info.st_size + 100, (rlim_t)info.st_size + 100};
        struct fj_record record = sample(PROBLEM, "bm=7", 1);
        const struct fj_record *list[] = {&record};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        _exit(fj_records_append(path, list, 1) == FAJIT_E_IO && strstr(fj_err_text(), "append")
                  ? 0
                  : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(count_lines(path), 3);
}

static void test_append_refuses_what_is_no_file(void **state)
{
    struct fj_record record = sample(PROBLEM, "bm=7", 1);
    const struct fj_record *list[] = {&record};
    const char *path = path_in(state, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    check_error(fj_records_append(path, list, 1), FAJIT_E_IO, "not a regular file");
    check_error(fj_records_append(path_in(state, "no/such/dir"), list, 1), FAJIT_E_IO,
                "cannot open");
}

static void vote_for(struct fj_records *records, const char *config, double median_us, int64_t time)
{
    struct fj_record record = sample(PROBLEM, config, median_us);
    record.verdict = FJ_VERDICT_BEST;
    record.time_s = time;
    fj_records_add(records, &record);
}

static void test_votes(void **state)
{
    (void)state;
    struct fj_records records = {0};
    vote_for(&records, "bm=64", 100, 1);
    vote_for(&records, "bm=128", 101, 2);
    vote_for(&records, "bm=128", 102, 3);
    vote_for(&records, "bm=256", 99, 4);
    assert_int_equal(fj_records_vote(&records), 1);
    fj_records_sort(&records);
    int best = 0;
    for (int i = 0; i < records.count; i++)
        if (records.items[i]->verdict == FJ_VERDICT_BEST) {
            best++;
            assert_string_equal(records.items[i]->config, "bm=128");
            assert_string_equal(records.items[i]->origin, "voted");
        }
    assert_int_equal(best, 1);
    fj_records_free(&records);
}

static void test_buckets(void **state)
{
    (void)state;
    const int64_t table[][2] = {{0, 0},   {1, 1},    {2, 2},       {3, 3},       {4, 4},
                                {5, 6},   {7, 8},    {9, 12},      {13, 16},     {17, 24},
                                {96, 96}, {97, 128}, {4096, 4096}, {4097, 6144}, {6145, 8192}};
    for (size_t i = 0; i < COUNT(table); i++)
        assert_int_equal(fj_tune_bucket(table[i][0]), table[i][1]);
}

static struct fj_tune_key key_of(const char *text)
{
    struct fj_tune_key key;
    assert_true(fj_tune_key_parse(text, strlen(text), &key));
    return key;
}

static void check_match(const char *want, const char *have, enum fj_tune_match match)
{
    struct fj_tune_key a = key_of(want), b = key_of(have);
    double distance = -1;
    assert_int_equal(fj_tune_compare(&a, &b, &distance), match);
}

static void test_matches(void **state)
{
    (void)state;
    check_match(PROBLEM, PROBLEM, FJ_MATCH_EXACT);
    check_match(PROBLEM, "attn:bf16,b2,h16/4,q4000,k3500,d128,causal", FJ_MATCH_BUCKET);
    check_match(PROBLEM, "attn:bf16,b2,h16/4,q2048,k2048,d128,causal", FJ_MATCH_NEAREST);
    check_match(PROBLEM, "attn:bf16,b2,h16/4,q512,k4096,d128,causal", FJ_MATCH_NONE);
    check_match(PROBLEM, "attn:bf16,b2,h16/2,q4096,k4096,d128,causal", FJ_MATCH_NONE);
    check_match(PROBLEM, "attn:f16,b2,h16/4,q4096,k4096,d128,causal", FJ_MATCH_NONE);
    check_match(PROBLEM, "attn:bf16,b2,h16/4,q4096,k4096,d128,causal,lse", FJ_MATCH_NONE);
    check_match("attn:bf16,d128,causal", PROBLEM, FJ_MATCH_NEAREST);
    check_match("gemm:f16,m4096,n4096,k4096,nt,bias", "gemm:f16,m4096,n4096,k4096,nt,bias",
                FJ_MATCH_EXACT);
    check_match("gemm:f16,m4096,n4096,k4096", "gemm:f16,m4096,n4096,k1024,nt", FJ_MATCH_NONE);
}

static void test_key_of_problem(void **state)
{
    (void)state;
    struct fajit_problem public = {.struct_size = sizeof(public)};
    struct fj_problem problem;
    struct fj_tune_key key;
    assert_int_equal(fj_problem_parse("attn:bf16,b2,h16/4,q4096,k4096,d128,causal,scale=2,"
                                      "kernel=mma,variant=v2,bm=64",
                                      &public),
                     FAJIT_OK);
    assert_int_equal(fj_problem_from_public(&public, &problem), FAJIT_OK);
    assert_int_equal(fj_tune_key_of(&problem, &key), FAJIT_OK);
    assert_string_equal(key.problem, PROBLEM);
    assert_string_equal(key.exact, "attn:bf16,d128,causal");
    assert_int_equal(key.group, 4);
    assert_int_equal(key.sizes[1], 16);
    // The promise follows odd sizes: it must not be forgotten with them.
    assert_int_equal(fj_problem_parse("gemm:f16,m64,n65,k64", &public), FAJIT_OK);
    assert_int_equal(fj_problem_from_public(&public, &problem), FAJIT_OK);
    assert_int_equal(fj_tune_key_of(&problem, &key), FAJIT_OK);
    assert_non_null(strstr(key.exact, "align=2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_changed_byte_is_found),
        cmocka_unit_test(test_bad_lines_are_named_and_passed_over),
        cmocka_unit_test(test_foreign_file_is_refused),
        cmocka_unit_test(test_newest_of_a_subject_stays),
        cmocka_unit_test(test_winners_outlive_timings),
        cmocka_unit_test(test_verdicts_of_one_second),
        cmocka_unit_test(test_writers_do_not_disturb_each_other),
        cmocka_unit_test(test_killed_writer_loses_nothing_else),
        cmocka_unit_test(test_torn_line_is_closed_by_the_next_writer),
        cmocka_unit_test(test_full_disk_leaves_whole_lines),
        cmocka_unit_test(test_append_refuses_what_is_no_file),
        cmocka_unit_test(test_votes),
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_key_of_problem),
    };
    return cmocka_run_group_tests(tests, temp_dir, drop_dir);
}
