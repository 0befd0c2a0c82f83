// The user directory: hits, damage, refusals, locks between processes, and the cap.
#include "cache/disk.h"

#include "base/file.h"
#include "base/thread.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64]; // everything the tests write
static char dir[128]; // the cache directory of the running test
static int log_lines;
static char last_line[1024];

static void keep_line(void *user, enum fajit_log_level level, const char *text)
{
    (void)user;
    (void)level;
    log_lines++;
    snprintf(last_line, sizeof(last_line), "%s", text);
}

static const struct fj_log test_log = {.fn = keep_line, .level = FAJIT_LOG_WARN};

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/fajit-test-disk-XXXXXX");
    return mkdtemp(root) && setenv("XDG_RUNTIME_DIR", root, 1) == 0 ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    remove_tree(root);
    return 0;
}

static int fresh_dir(void **state)
{
    static int number;
    (void)state;
    snprintf(dir, sizeof(dir), "%s/cache%d", root, number++);
    log_lines = 0;
    last_line[0] = '\0';
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    chmod(dir, 0700);
    remove_tree(dir);
    return 0;
}

static struct fj_disk *open_disk(const struct fj_disk_params *params)
{
    struct fj_disk *disk;
    struct fj_disk_params all = *params;
    all.dir = all.dir ? all.dir : dir;
    all.log = &test_log;
    assert_int_equal(fj_disk_open(&all, &disk), FAJIT_OK);
    return disk;
}

static struct fj_disk *open_default(void)
{
    return open_disk(&(struct fj_disk_params){0});
}

static struct fj_key key_of(unsigned n)
{
    struct fj_key key = {{0}};
    for (int i = 0; i < 4; i++)
        key.bytes[i] = (uint8_t)(n * 2654435761u >> (8 * i));
    memcpy(key.bytes + 4, &n, sizeof(n));
    return key;
}

// An entry of `bytes` of image whose every byte is `n`.
static void put(struct fj_disk *disk, unsigned n, size_t bytes)
{
    char *image = malloc(bytes);
    assert_non_null(image);
    memset(image, (int)n, bytes);
    struct fj_entry entry = {.key = key_of(n), .image = image, .image_bytes = bytes};
    snprintf(entry.name, sizeof(entry.name), "kernel_%05u", n);
    strcpy(entry.target, "sm_90a");
    fj_disk_put(disk, &entry);
    free(image);
}

static bool get(struct fj_disk *disk, unsigned n)
{
    struct fj_key key = key_of(n);
    struct fj_buf bytes = {0};
    struct fj_entry entry;
    bool hit = fj_disk_get(disk, &key, &bytes, &entry);
    if (hit) {
        assert_true(fj_key_equal(&entry.key, &key));
        assert_int_equal(((const uint8_t *)entry.image)[entry.image_bytes - 1], (uint8_t)n);
    }
    fj_buf_free(&bytes);
    return hit;
}

static void path_of(unsigned n, char *ret, size_t size)
{
    char hex[65];
    struct fj_key key = key_of(n);
    fj_key_hex(&key, hex);
    snprintf(ret, size, "%s/%s.fjc", dir, hex);
}

static void age(const char *path, int64_t seconds)
{
    struct timespec then = {.tv_sec = (time_t)(fj_time_s() - seconds)};
    struct timespec times[2] = {then, then};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void age_entry(unsigned n, int64_t seconds)
{
    char path[256];
    path_of(n, path, sizeof(path));
    age(path, seconds);
}

static bool on_disk(unsigned n)
{
    char path[256];
    path_of(n, path, sizeof(path));
    return access(path, F_OK) == 0;
}

static struct fj_disk_stats stats_of(struct fj_disk *disk)
{
    struct fj_disk_stats stats;
    fj_disk_stats(disk, &stats);
    return stats;
}

// --- Hits and misses --------------------------------------------------------------------------

static void test_put_and_get(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    assert_false(get(disk, 1));
    put(disk, 1, 1000);
    assert_true(get(disk, 1));
    assert_false(get(disk, 2));
    fj_disk_close(&disk);
    assert_null(disk);
    disk = open_default(); // another process, another day
    assert_true(get(disk, 1));
    struct fj_disk_stats stats = stats_of(disk);
    assert_string_equal(stats.dir, dir);
    assert_string_equal(stats.note, "");
    assert_int_equal(stats.entries, 1);
    assert_true(stats.bytes > 1000);
    assert_int_equal(stats.max_bytes, 1 << 30);
    assert_int_equal(stats.hits, 1);
    assert_int_equal(stats.misses, 0);
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(log_lines, 0);
    fj_disk_close(&disk);
}

static void test_default_dir(void **state)
{
    (void)state;
    struct fj_disk *disk;
    char want[256];
    setenv("XDG_CACHE_HOME", dir, 1);
    assert_int_equal(fj_disk_open(&(struct fj_disk_params){0}, &disk), FAJIT_OK);
    snprintf(want, sizeof(want), "%s/fajit", dir);
    assert_string_equal(stats_of(disk).dir, want);
    put(disk, 1, 10);
    assert_true(get(disk, 1));
    fj_disk_close(&disk);
    setenv("XDG_CACHE_HOME", "relative", 1); // to be ignored
    setenv("HOME", dir, 1);
    assert_int_equal(fj_disk_open(&(struct fj_disk_params){0}, &disk), FAJIT_OK);
    snprintf(want, sizeof(want), "%s/.cache/fajit", dir);
    assert_string_equal(stats_of(disk).dir, want);
    fj_disk_close(&disk);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_int_equal(fj_disk_open(&(struct fj_disk_params){.log = &test_log}, &disk), FAJIT_OK);
    assert_non_null(strstr(stats_of(disk).note, "HOME"));
    assert_non_null(strstr(last_line, "FAJIT_CACHE_DIR"));
    assert_false(get(disk, 1));
    fj_disk_close(&disk);
}

static void test_off_and_read_only(void **state)
{
    (void)state;
    struct fj_disk *disk = open_disk(&(struct fj_disk_params){.off = true});
    put(disk, 1, 10);
    assert_false(get(disk, 1));
    assert_string_equal(stats_of(disk).dir, "");
    assert_true(strlen(stats_of(disk).note) > 0);
    fj_disk_close(&disk);
    assert_int_not_equal(access(dir, F_OK), 0);

    disk = open_disk(&(struct fj_disk_params){.read_only = true});
    assert_false(get(disk, 1));
    assert_int_not_equal(access(dir, F_OK), 0); // not made either
    fj_disk_close(&disk);

    disk = open_default();
    put(disk, 1, 10);
    fj_disk_close(&disk);
    disk = open_disk(&(struct fj_disk_params){.read_only = true});
    put(disk, 2, 10);
    assert_true(get(disk, 1));
    assert_false(get(disk, 2));
    assert_int_equal(fj_disk_gc(disk, 0, NULL), FAJIT_E_INVAL);
    assert_true(on_disk(1));
    struct fj_key key = key_of(1);
    assert_null(fj_disk_lock(disk, &key, 1e6));
    assert_int_equal(log_lines, 0);
    fj_disk_close(&disk);
}

static void test_directory_removed_while_running(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    put(disk, 1, 10);
    remove_tree(dir);
    assert_false(get(disk, 1));
    put(disk, 1, 10);
    assert_true(get(disk, 1));
    assert_int_equal(stats_of(disk).soft_errors, 0);
    fj_disk_close(&disk);
}

static void test_a_hit_is_quick(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    struct fj_buf bytes = {0};
    struct fj_entry entry;
    struct fj_key key = key_of(1);
    double best_us = 1e9;
    put(disk, 1, 160000);
    for (int i = 0; i < 100; i++) {
        double start_us = fj_now_us();
        assert_true(fj_disk_get(disk, &key, &bytes, &entry));
        double us = fj_now_us() - start_us;
        best_us = us < best_us ? us : best_us;
        fj_buf_free(&bytes);
    }
    print_message("a hit of 160 KB takes %.1f us\n", best_us);
    assert_true(best_us < 10000); // 40 on an idle core; room for valgrind
    fj_disk_close(&disk);
}

// --- Damage -----------------------------------------------------------------------------------

static void overwrite(unsigned n, const void *bytes, size_t len)
{
    char path[256];
    path_of(n, path, sizeof(path));
    remove_tree(path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static void test_damage_is_a_miss(void **state)
{
    (void)state;
    unsigned seed = 4711;
    print_message("seed %u\n", seed);
    char path[256];
    path_of(1, path, sizeof(path));
    struct fj_disk *disk = open_default();
    put(disk, 1, 5000);
    struct fj_buf good = {0};
    assert_int_equal(fj_file_read(path, 1 << 20, &good), FAJIT_OK);
    for (int round = 0; round < 200; round++) {
        size_t at = (size_t)rand_r(&seed) % good.len;
        char saved = good.data[at];
        good.data[at] ^= (char)(1 << rand_r(&seed) % 8);
        overwrite(1, good.data, round % 2 ? at : good.len); // cut there, or changed there
        good.data[at] = saved;
        assert_false(get(disk, 1));
        assert_false(on_disk(1)); // and gone
    }
    overwrite(1, good.data, good.len);
    assert_true(get(disk, 1));
    assert_int_equal(stats_of(disk).corrupt, 200);
    assert_int_equal(stats_of(disk).soft_errors, 0);
    fj_buf_free(&good);
    fj_disk_close(&disk);
}

static void test_another_keys_entry_is_a_miss(void **state)
{
    (void)state;
    char from[256], to[256];
    struct fj_disk *disk = open_default();
    put(disk, 1, 100);
    path_of(1, from, sizeof(from));
    path_of(2, to, sizeof(to));
    assert_int_equal(rename(from, to), 0);
    assert_false(get(disk, 2));
    assert_int_equal(stats_of(disk).corrupt, 1);
    fj_disk_close(&disk);
}

static void test_odd_files(void **state)
{
    (void)state;
    char path[256], target[256];
    struct fj_disk *disk = open_default();
    put(disk, 1, 100);
    path_of(1, target, sizeof(target));
    path_of(2, path, sizeof(path));
    assert_int_equal(symlink(target, path), 0); // never followed
    assert_false(get(disk, 2));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_true(get(disk, 1));
    path_of(3, path, sizeof(path));
    assert_int_equal(mkfifo(path, 0600), 0); // never waited for
    assert_false(get(disk, 3));
    path_of(4, path, sizeof(path));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(get(disk, 4));
    put(disk, 4, 10); // cannot replace a directory: soft
    assert_int_equal(stats_of(disk).soft_errors, 1);
    fj_disk_close(&disk);
}

// --- Refusals and full disks ------------------------------------------------------------------

static void test_open_to_others(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    put(disk, 1, 10);
    fj_disk_close(&disk);
    static const mode_t modes[] = {0720, 0702, 0777};
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        chmod(dir, modes[i]);
        log_lines = 0;
        disk = open_default();
        assert_false(get(disk, 1));
        put(disk, 2, 10);
        assert_false(on_disk(2));
        assert_true(strlen(stats_of(disk).note) > 0);
        assert_int_equal(log_lines, 1);
        assert_non_null(strstr(last_line, "FAJIT_CACHE_DIR"));
        fj_disk_close(&disk);
    }
    chmod(dir, 0755); // readable is fine
    disk = open_default();
    assert_true(get(disk, 1));
    fj_disk_close(&disk);
}

static void test_other_owner(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(chown(dir, 12345, 12345), 0);
    struct fj_disk *disk = open_default();
    put(disk, 1, 10);
    assert_false(on_disk(1));
    assert_true(strlen(stats_of(disk).note) > 0);
    fj_disk_close(&disk);
}

static void test_file_in_place_of_directory(void **state)
{
    (void)state;
    FILE *file = fopen(dir, "w");
    assert_non_null(file);
    fclose(file);
    struct fj_disk *disk = open_default();
    put(disk, 1, 10);
    assert_false(get(disk, 1));
    assert_int_equal(log_lines, 1);
    fj_disk_close(&disk);
}

// In a child without root's powers: an unwritable directory costs one warning.
static void test_unwritable(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool ok = mkdir(dir, 0700) == 0 && chmod(root, 0711) == 0;
        ok = ok && (geteuid() != 0 || (chown(dir, 12345, 12345) == 0 && seteuid(12345) == 0));
        struct fj_disk *disk = open_default();
        ok = ok && chmod(dir, 0500) == 0;
        put(disk, 1, 10);
        put(disk, 2, 10);
        ok = ok && !get(disk, 1) && stats_of(disk).soft_errors == 2 && log_lines == 1;
        ok = ok && strstr(last_line, "FAJIT_CACHE_DIR") && stats_of(disk).note[0];
        fj_disk_close(&disk);
        _exit(ok ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

// RLIMIT_FSIZE stands for a full disk: the write ends in the middle.
static void test_full_disk(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    struct rlimit old, small;
    put(disk, 1, 1000);
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    small = old;
    small.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &small);
    put(disk, 2, 100000);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(get(disk, 2));
    assert_true(get(disk, 1));
    assert_int_equal(stats_of(disk).soft_errors, 1);
    assert_int_equal(stats_of(disk).corrupt, 0);
    assert_int_equal(stats_of(disk).entries, 1);
    uint64_t freed;
    assert_int_equal(fj_disk_gc(disk, 0, &freed), FAJIT_OK);
    assert_int_equal(rmdir(dir), 0); // no temporary was left
    fj_disk_close(&disk);
}

// --- Size -------------------------------------------------------------------------------------

static void test_evicts_least_recently_used(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    for (unsigned i = 0; i < 10; i++) {
        put(disk, i, 10000);
        age_entry(i, 100000 - 1000 * (int64_t)i);
    }
    assert_true(get(disk, 2)); // used now, though written early
    uint64_t freed, bytes = stats_of(disk).bytes;
    assert_int_equal(fj_disk_gc(disk, bytes / 10 * 3, &freed), FAJIT_OK);
    assert_int_equal(freed, bytes / 10 * 7);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(on_disk(i), i == 2 || i >= 8);
    fj_disk_close(&disk);
}

static void test_hits_touch_once_an_hour(void **state)
{
    (void)state;
    char path[256];
    struct stat st;
    struct fj_disk *disk = open_default();
    put(disk, 1, 10);
    path_of(1, path, sizeof(path));
    age(path, 3000);
    assert_true(get(disk, 1));
    stat(path, &st);
    assert_true(fj_time_s() - st.st_mtime >= 3000);
    age(path, 4000);
    assert_true(get(disk, 1));
    stat(path, &st);
    assert_true(fj_time_s() - st.st_mtime < 60);
    fj_disk_close(&disk);
}

static void test_a_long_run_keeps_the_cap(void **state)
{
    (void)state;
    const uint64_t cap = 1000000;
    struct fj_disk *disk = open_disk(&(struct fj_disk_params){.max_bytes = cap});
    for (unsigned i = 0; i < 150; i++) {
        put(disk, i, 20000);
        assert_true(stats_of(disk).bytes <= cap);
        assert_true(on_disk(i));
    }
    assert_true(stats_of(disk).bytes > cap / 2);
    put(disk, 1000, 900000); // by itself over 80 %: not worth the rest of the cache
    assert_false(on_disk(1000));
    assert_true(stats_of(disk).entries > 20);
    fj_disk_close(&disk);
}

static void test_two_writers_keep_the_cap(void **state)
{
    (void)state;
    const uint64_t cap = 1000000;
    struct fj_disk_params params = {.max_bytes = cap};
    struct fj_disk *a = open_disk(&params), *b = open_disk(&params);
    for (unsigned i = 0; i < 120; i++) {
        put(i % 2 ? a : b, i, 20000);
        assert_true(stats_of(a).bytes <= cap + 2 * (cap / 32 + 21000));
    }
    fj_disk_close(&a);
    fj_disk_close(&b);
}

static void test_sweeps_stale_temporaries(void **state)
{
    (void)state;
    char stale[256], fresh[256], foreign[256];
    struct fj_disk *disk = open_default();
    snprintf(stale, sizeof(stale), "%s/.tmp.host.1.2", dir);
    snprintf(fresh, sizeof(fresh), "%s/.tmp.host.1.3", dir);
    snprintf(foreign, sizeof(foreign), "%s/notes.txt", dir);
    const char *paths[] = {stale, fresh, foreign};
    for (int i = 0; i < 3; i++)
        fclose(fopen(paths[i], "w"));
    age(stale, 4000);
    age(foreign, 400000);
    put(disk, 1, 10); // the first write looks around
    assert_int_not_equal(access(stale, F_OK), 0);
    assert_int_equal(access(fresh, F_OK), 0);
    assert_int_equal(fj_disk_gc(disk, 0, NULL), FAJIT_OK);
    assert_int_equal(access(foreign, F_OK), 0); // never ours to remove
    assert_false(on_disk(1));
    fj_disk_close(&disk);
}

struct visits {
    int count, stop_at;
    char last[160];
};

static int visit(void *user, const struct fj_entry *entry, uint64_t file_bytes, int64_t used_s)
{
    struct visits *visits = user;
    assert_true(strcmp(entry->name, visits->last) > 0);
    strcpy(visits->last, entry->name);
    assert_true(file_bytes > entry->image_bytes);
    assert_true(llabs(fj_time_s() - used_s) < 1000);
    assert_null(entry->image);
    return ++visits->count == visits->stop_at ? 77 : 0;
}

static void test_visit(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    for (unsigned i = 0; i < 20; i++)
        put(disk, i * 7 % 20, 100);
    overwrite(5, "not an entry", 12);
    struct visits visits = {0};
    assert_int_equal(fj_disk_visit(disk, visit, &visits), 0);
    assert_int_equal(visits.count, 19);
    visits = (struct visits){.stop_at = 3};
    assert_int_equal(fj_disk_visit(disk, visit, &visits), 77);
    assert_int_equal(visits.count, 3);
    fj_disk_close(&disk);
}

// Written without fsync: ten thousand of them would take the test's whole time.
static void fill_directory(unsigned count)
{
    char path[256], image[600];
    memset(image, 1, sizeof(image));
    for (unsigned i = 0; i < count; i++) {
        struct fj_entry entry = {.key = key_of(i), .image = image, .image_bytes = sizeof(image)};
        struct fj_buf bytes = {0};
        snprintf(entry.name, sizeof(entry.name), "kernel_%05u", i);
        assert_int_equal(fj_entry_write(&entry, &bytes), FAJIT_OK);
        path_of(i, path, sizeof(path));
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(fd, bytes.data, bytes.len), bytes.len);
        close(fd);
        fj_buf_free(&bytes);
    }
}

static void test_ten_thousand_entries(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    fill_directory(10000);
    struct visits visits = {0};
    double start_us = fj_now_us();
    struct fj_disk_stats stats = stats_of(disk);
    double stats_us = fj_now_us();
    assert_int_equal(fj_disk_visit(disk, visit, &visits), 0);
    double visit_us = fj_now_us();
    assert_int_equal(fj_disk_gc(disk, stats.bytes / 2, NULL), FAJIT_OK);
    double gc_us = fj_now_us();
    assert_int_equal(stats.entries, 10000);
    assert_int_equal(visits.count, 10000);
    assert_int_equal(stats_of(disk).entries, 5000);
    print_message("10000 entries: stats %.0f ms, visit %.0f ms, evicting half %.0f ms\n",
                  (stats_us - start_us) / 1e3, (visit_us - stats_us) / 1e3,
                  (gc_us - visit_us) / 1e3);
    assert_true(gc_us - start_us < 10e6); // under 1 s on an idle core; room for valgrind
    fj_disk_close(&disk);
}

// --- Several processes ------------------------------------------------------------------------

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

// What src/jit.c does around a compile. Appends one byte per compile to `tally`.
static void make_or_wait(unsigned n, const char *tally, long compile_ms)
{
    struct fj_disk *disk = open_default();
    struct fj_key key = key_of(n);
    if (!get(disk, n)) {
        struct fj_disk_lock *lock = fj_disk_lock(disk, &key, 20e6);
        if (!get(disk, n)) {
            int fd = open(tally, O_WRONLY | O_CREAT | O_APPEND, 0600);
            sleep_ms(compile_ms);
            if (write(fd, "x", 1) != 1)
                _exit(2);
            close(fd);
            put(disk, n, 1000);
        }
        fj_disk_unlock(lock);
    }
    bool ok = get(disk, n);
    fj_disk_close(&disk);
    _exit(ok ? 0 : 1);
}

static void test_processes_compile_once(void **state)
{
    (void)state;
    enum { PROCESSES = 6, KEYS = 3 };
    char tally[256];
    int status;
    pid_t children[PROCESSES * KEYS];
    for (int i = 0; i < PROCESSES * KEYS; i++) {
        snprintf(tally, sizeof(tally), "%s/tally%d", root, i % KEYS);
        if ((children[i] = fork()) == 0)
            make_or_wait((unsigned)(i % KEYS), tally, 100);
    }
    for (int i = 0; i < PROCESSES * KEYS; i++) {
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < KEYS; i++) {
        struct stat st;
        snprintf(tally, sizeof(tally), "%s/tally%d", root, i);
        assert_int_equal(stat(tally, &st), 0);
        assert_int_equal(st.st_size, 1);
        unlink(tally);
    }
    snprintf(tally, sizeof(tally), "%s/fajit", root);
    assert_int_equal(rmdir(tally), 0); // no lock file was left
}

// Starts a process that holds the key's lock; returns once it does.
static pid_t start_holder(unsigned n, long hold_ms)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct fj_disk *disk = open_default();
        struct fj_key key = key_of(n);
        struct fj_disk_lock *lock = fj_disk_lock(disk, &key, 0);
        if (!lock || write(ready[1], &byte, 1) != 1)
            _exit(1);
        sleep_ms(hold_ms);
        put(disk, n, 100);
        sleep_ms(60000); // still holding
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void test_killed_holder_lets_go(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    struct fj_key key = key_of(1);
    pid_t child = start_holder(1, 60000);
    assert_null(fj_disk_lock(disk, &key, 0));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    struct fj_disk_lock *lock = fj_disk_lock(disk, &key, 0);
    assert_non_null(lock);
    fj_disk_unlock(lock);
    lock = fj_disk_lock(disk, &key, 0); // and again
    assert_non_null(lock);
    fj_disk_unlock(lock);
    fj_disk_close(&disk);
}

static void test_waits_no_longer_than_asked(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    struct fj_key key = key_of(1), other = key_of(2);
    pid_t child = start_holder(1, 60000);
    double start_us = fj_now_us();
    assert_null(fj_disk_lock(disk, &key, 150e3));
    double us = fj_now_us() - start_us;
    assert_true(us >= 149e3 && us < 3e6);
    struct fj_disk_lock *lock = fj_disk_lock(disk, &other, 0); // keys do not hinder each other
    assert_non_null(lock);
    assert_null(fj_disk_lock(disk, &other, 1000)); // nor does one process lock twice
    fj_disk_unlock(lock);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fj_disk_close(&disk);
}

static void test_returns_when_the_entry_appears(void **state)
{
    (void)state;
    struct fj_disk *disk = open_default();
    struct fj_key key = key_of(1);
    pid_t child = start_holder(1, 200);
    assert_null(fj_disk_lock(disk, &key, 30e6));
    assert_true(get(disk, 1));
    assert_int_equal(waitpid(child, NULL, WNOHANG), 0); // the lock is still held
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fj_disk_close(&disk);
}

static void test_trapped_lock_directory(void **state)
{
    (void)state;
    char runtime[256], locks[300], target[256], name[64];
    struct fj_key key = key_of(1);
    struct fj_disk *disk = open_default();
    snprintf(runtime, sizeof(runtime), "%s/runtime", root);
    snprintf(locks, sizeof(locks), "%s/fajit", runtime);
    snprintf(target, sizeof(target), "%s/target", root);
    assert_int_equal(mkdir(runtime, 0700) | mkdir(target, 0700), 0);
    assert_int_equal(symlink(target, locks), 0); // a link is not followed
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    struct fj_disk_lock *lock = fj_disk_lock(disk, &key, 0); // the one in /tmp
    fj_disk_unlock(lock);
    assert_int_equal(rmdir(target), 0); // nothing was made in it
    unlink(locks);
    assert_int_equal(mkdir(locks, 0700) | chmod(locks, 0777), 0); // open to all: not used
    lock = fj_disk_lock(disk, &key, 0);
    fj_disk_unlock(lock);
    assert_int_equal(rmdir(locks), 0);
    setenv("XDG_RUNTIME_DIR", root, 1);
    snprintf(name, sizeof(name), "/tmp/fajit-%u", (unsigned)geteuid());
    rmdir(name); // where the two locks were, unless others use it
    remove_tree(runtime);
    fj_disk_close(&disk);
}

// Readers, writers and evicting processes on a few keys: a hit is always whole.
static void hammer(unsigned seed)
{
    struct fj_disk *disk = open_disk(&(struct fj_disk_params){.max_bytes = 200000});
    for (int i = 0; i < 150; i++) {
        unsigned n = (unsigned)rand_r(&seed) % 8;
        if (rand_r(&seed) % 3 == 0)
            put(disk, n, 1000 + (size_t)rand_r(&seed) % 60000);
        else
            get(disk, n);
    }
    struct fj_disk_stats stats = stats_of(disk);
    _exit(stats.corrupt == 0 && stats.soft_errors == 0 ? 0 : 1);
}

static void test_processes_hammer(void **state)
{
    (void)state;
    enum { PROCESSES = 4 };
    pid_t children[PROCESSES];
    int status;
    print_message("seeds 1 to %d\n", PROCESSES);
    for (unsigned i = 0; i < PROCESSES; i++) {
        if ((children[i] = fork()) == 0)
            hammer(i + 1);
    }
    for (int i = 0; i < PROCESSES; i++) {
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_put_and_get),
        TEST(test_default_dir),
        TEST(test_off_and_read_only),
        TEST(test_directory_removed_while_running),
        TEST(test_a_hit_is_quick),
        TEST(test_damage_is_a_miss),
        TEST(test_another_keys_entry_is_a_miss),
        TEST(test_odd_files),
        TEST(test_open_to_others),
        TEST(test_other_owner),
        TEST(test_file_in_place_of_directory),
        TEST(test_unwritable),
        TEST(test_full_disk),
        TEST(test_evicts_least_recently_used),
        TEST(test_hits_touch_once_an_hour),
        TEST(test_a_long_run_keeps_the_cap),
        TEST(test_two_writers_keep_the_cap),
        TEST(test_sweeps_stale_temporaries),
        TEST(test_visit),
        TEST(test_ten_thousand_entries),
        TEST(test_processes_compile_once),
        TEST(test_killed_holder_lets_go),
        TEST(test_waits_no_longer_than_asked),
        TEST(test_returns_when_the_entry_appears),
        TEST(test_trapped_lock_directory),
        TEST(test_processes_hammer),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
