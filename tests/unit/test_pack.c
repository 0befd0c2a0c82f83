// Packs: what goes in comes out, damage is found, several writers and readers.
#include "test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cache/pack.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/fajit-test-pack-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    char command[96];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[160];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static struct fj_key key_of(int i)
{
    struct fj_key key = {{0}};
    // Scattered, so that the order of addition is not that of the index.
    for (int b = 0; b < 32; b++)
        key.bytes[b] = (uint8_t)(i * 37 + b * (i + 1));
    return key;
}

static void make_entry(int i, struct fj_buf *ret_bytes)
{
    char image[100] = "", name[32];
    snprintf(image, sizeof(image), "image of kernel %d", i);
    snprintf(name, sizeof(name), "kernel_%d", i);
    struct fj_entry entry = {.key = key_of(i),
                             .target = "sm_90a",
                             .nvrtc = "13.0",
                             .registers = i,
                             .image = image,
                             .image_bytes = sizeof(image),
                             .source = "source",
                             .source_bytes = 6};
    strcpy(entry.name, name);
    assert_int_equal(fj_entry_write(&entry, ret_bytes), FAJIT_OK);
}

static int write_pack(const char *path, int count, const char *text)
{
    struct fj_pack_writer *writer = fj_pack_begin();
    struct fj_buf bytes = {0};
    assert_non_null(writer);
    for (int i = 0; i < count; i++) {
        struct fj_key key = key_of(i);
        fj_buf_clear(&bytes);
        make_entry(i, &bytes);
        fj_pack_add(writer, &key, bytes.data, bytes.len);
    }
    fj_buf_free(&bytes);
    return fj_pack_end(writer, text, strlen(text), path);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int count = 0; count < 20; count++) {
        const char *path = path_of("round");
        struct fj_pack *pack;
        struct fj_buf bytes = {0}, text = {0};
        struct fj_entry entry;
        int64_t entries;
        assert_int_equal(write_pack(path, count, "fj1 a record\n"), FAJIT_OK);
        assert_int_equal(fj_pack_verify(path, &entries), FAJIT_OK);
        assert_int_equal(entries, count);
        assert_int_equal(fj_pack_open(path, &pack), FAJIT_OK);
        for (int i = 0; i < count; i++) {
            struct fj_key key = key_of(i);
            assert_true(fj_pack_get(pack, &key, &bytes, &entry));
            assert_int_equal(entry.registers, i);
        }
        struct fj_key absent = key_of(100);
        assert_false(fj_pack_get(pack, &absent, &bytes, &entry));
        assert_int_equal(fj_pack_text(pack, &text), FAJIT_OK);
        assert_string_equal(text.data, "fj1 a record\n");
        fj_buf_free(&bytes);
        fj_buf_free(&text);
        fj_pack_close(&pack);
    }
}

static void test_equal_keys_keep_the_first(void **state)
{
    (void)state;
    struct fj_pack_writer *writer = fj_pack_begin();
    struct fj_key key = key_of(3);
    struct fj_buf bytes = {0};
    int64_t entries;
    make_entry(3, &bytes);
    fj_pack_add(writer, &key, bytes.data, bytes.len);
    fj_pack_add(writer, &key, bytes.data, bytes.len);
    fj_buf_free(&bytes);
    assert_int_equal(fj_pack_end(writer, "", 0, path_of("twice")), FAJIT_OK);
    assert_int_equal(fj_pack_verify(path_of("twice"), &entries), FAJIT_OK);
    assert_int_equal(entries, 1);
}

// The same entries in any order give the same bytes.
static void test_bytes_follow_from_the_contents(void **state)
{
    (void)state;
    struct fj_buf a = {0}, b = {0};
    assert_int_equal(write_pack(path_of("a"), 9, "t"), FAJIT_OK);
    assert_int_equal(write_pack(path_of("b"), 9, "t"), FAJIT_OK);
    assert_int_equal(fj_file_read(path_of("a"), 1 << 20, &a), FAJIT_OK);
    assert_int_equal(fj_file_read(path_of("b"), 1 << 20, &b), FAJIT_OK);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    fj_buf_free(&a);
    fj_buf_free(&b);
}

// Whatever byte changes and wherever it is cut: verify says so, and nothing wrong is ever read.
static void test_damage(void **state)
{
    (void)state;
    struct fj_buf whole = {0};
    int64_t entries;
    assert_int_equal(write_pack(path_of("good"), 3, "fj1 record\n"), FAJIT_OK);
    assert_int_equal(fj_file_read(path_of("good"), 1 << 20, &whole), FAJIT_OK);
    for (size_t i = 0; i < whole.len; i += i < 300 ? 1 : 13) {
        whole.data[i] ^= 0x10;
        assert_int_equal(fj_file_publish(path_of("bad"), whole.data, whole.len, 0600), FAJIT_OK);
        whole.data[i] ^= 0x10;
        if (fj_pack_verify(path_of("bad"), &entries) != FAJIT_E_IO)
            fail_msg("byte %zu of %zu was changed and not missed", i, whole.len);
        struct fj_pack *pack;
        if (fj_pack_open(path_of("bad"), &pack))
            continue;
        for (int k = 0; k < 3; k++) {
            struct fj_key key = key_of(k);
            struct fj_buf bytes = {0};
            struct fj_entry entry;
            if (fj_pack_get(pack, &key, &bytes, &entry))
                assert_int_equal(entry.registers, k);
            fj_buf_free(&bytes);
        }
        fj_pack_close(&pack);
    }
    for (size_t len = 0; len < whole.len; len += 7) {
        assert_int_equal(fj_file_publish(path_of("cut"), whole.data, len, 0600), FAJIT_OK);
        assert_int_equal(fj_pack_verify(path_of("cut"), &entries), FAJIT_E_IO);
    }
    fj_buf_free(&whole);
}

static void test_sentences(void **state)
{
    (void)state;
    struct fj_pack *pack;
    assert_int_equal(fj_file_publish(path_of("text"),
                                     "hello hello hello hello hello hello hello "
                                     "hello hello hello hello hello hello hello "
                                     "hello hello hello",
                                     100, 0600),
                     FAJIT_OK);
    check_error(fj_pack_open(path_of("text"), &pack), FAJIT_E_IO, "does not begin like one");
    check_error(fj_pack_open(path_of("absent"), &pack), FAJIT_E_IO, "No such file");
    check_error(fj_pack_open(dir, &pack), FAJIT_E_IO, "not a regular file");
}

// A full disk leaves what was there.
static void test_full_disk(void **state)
{
    (void)state;
    int64_t entries;
    int status;
    assert_int_equal(write_pack(path_of("full"), 2, ""), FAJIT_OK);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {500, 500};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        _exit(write_pack(path_of("full"), 9, "") == FAJIT_E_IO ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(fj_pack_verify(path_of("full"), &entries), FAJIT_OK);
    assert_int_equal(entries, 2);
}

// Killed at any moment of packing: the file is the old pack or the new one.
static void test_killed_writer(void **state)
{
    (void)state;
    assert_int_equal(write_pack(path_of("killed"), 1, ""), FAJIT_OK);
    for (int round = 0; round < 15; round++) {
        pid_t writer = fork();
        if (writer == 0) {
            for (;;)
                write_pack(path_of("killed"), 12, "");
        }
        usleep(400 + 900 * (unsigned)round);
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
        int64_t entries;
        assert_int_equal(fj_pack_verify(path_of("killed"), &entries), FAJIT_OK);
        assert_true(entries == 1 || entries == 12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_equal_keys_keep_the_first),
        cmocka_unit_test(test_bytes_follow_from_the_contents),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_killed_writer),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
