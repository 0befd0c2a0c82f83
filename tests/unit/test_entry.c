// The entry's format byte by byte, and that nothing damaged is ever accepted.
#include "cache/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char image[] = "\x7f"
                            "ELF, sixteen bytes";

static struct fj_entry sample(void)
{
    struct fj_entry entry = {
        .name = "attn_fwd_simt_f32_d64__bm64_bn64",
        .target = "sm_90a",
        .nvrtc = "13.0.88",
        .registers = 128,
        .spill_bytes = 0,
        .smem_static_bytes = 1024,
        .smem_dynamic_bytes = 65536,
        .local_bytes = -1,
        .threads = 256,
        .created_s = 0x0123456789abcdef,
        .image = image,
        .image_bytes = sizeof(image),
    };
    for (int i = 0; i < 32; i++)
        entry.key.bytes[i] = (uint8_t)i;
    return entry;
}

static struct fj_buf packed(const struct fj_entry *entry)
{
    struct fj_buf bytes = {0};
    assert_int_equal(fj_entry_write(entry, &bytes), FAJIT_OK);
    assert_false(bytes.failed);
    return bytes;
}

// Puts right checksums over bytes that were changed on purpose.
static void seal(struct fj_buf *bytes)
{
    fj_checksum(bytes->data, 352, (uint8_t *)bytes->data + 352);
    fj_checksum(bytes->data, bytes->len - 16, (uint8_t *)bytes->data + bytes->len - 16);
}

struct field {
    size_t at, len;
    const char *bytes; // zeros up to `len` when shorter
    size_t given;
};

#define FIELD(at, len, text)                                                                       \
    {                                                                                              \
        at, len, text, sizeof(text) - 1                                                            \
    }

static const struct field layout[] = {
    FIELD(0, 8,
          "\x89"
          "FJC\r\n\x1a\n"),
    FIELD(8, 4, "\x01"),      // version
    FIELD(12, 4, "\x70\x01"), // header bytes
    FIELD(16, 32,
          "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
          "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"),
    FIELD(48, 160, "attn_fwd_simt_f32_d64__bm64_bn64"),
    FIELD(208, 16, "sm_90a"),
    FIELD(224, 48, "13.0.88"),
    FIELD(272, 4, ""),         // flags
    FIELD(276, 4, "\x80"),     // registers
    FIELD(280, 4, ""),         // spilled bytes
    FIELD(284, 4, "\x00\x04"), // static shared memory
    FIELD(288, 4, "\x00\x00\x01"),
    FIELD(292, 4, "\xff\xff\xff\xff"),
    FIELD(296, 4, "\x00\x01"), // threads
    FIELD(300, 4, ""),
    FIELD(304, 8, "\xef\xcd\xab\x89\x67\x45\x23\x01"),
    FIELD(312, 8, "\x14"),     // image
    FIELD(320, 8, ""),         // source
    FIELD(328, 8, ""),         // log
    FIELD(336, 8, ""),         // frame
    FIELD(344, 8, "\x94\x01"), // file
    FIELD(352, 16, "\xd0\xaa\x15\x95\x74\x28\xa6\x15\xb2\xfe\xb0\x4c\xd7\x95\x7f\x85"),
    FIELD(368, 20,
          "\x7f"
          "ELF, sixteen bytes"),
    FIELD(388, 16, "\x68\xd5\x57\x3e\x12\x24\xb6\x38\x41\xd3\xbd\x7a\x04\xcc\xe2\xa0"),
};

static void test_every_byte_is_pinned(void **state)
{
    (void)state;
    struct fj_entry entry = sample();
    struct fj_buf bytes = packed(&entry);
    assert_int_equal(bytes.len, 404);
    size_t next = 0;
    for (size_t i = 0; i < sizeof(layout) / sizeof(*layout); i++) {
        char want[160] = {0};
        memcpy(want, layout[i].bytes, layout[i].given);
        assert_int_equal(layout[i].at, next);
        assert_memory_equal(bytes.data + layout[i].at, want, layout[i].len);
        next += layout[i].len;
    }
    assert_int_equal(next, bytes.len);
    fj_buf_free(&bytes);
}

static void assert_same(const struct fj_entry *got, const struct fj_entry *want)
{
    assert_true(fj_key_equal(&got->key, &want->key));
    assert_string_equal(got->name, want->name);
    assert_string_equal(got->target, want->target);
    assert_string_equal(got->nvrtc, want->nvrtc);
    assert_int_equal(got->is_ptx, want->is_ptx);
    assert_int_equal(got->registers, want->registers);
    assert_int_equal(got->spill_bytes, want->spill_bytes);
    assert_int_equal(got->smem_static_bytes, want->smem_static_bytes);
    assert_int_equal(got->smem_dynamic_bytes, want->smem_dynamic_bytes);
    assert_int_equal(got->local_bytes, want->local_bytes);
    assert_int_equal(got->threads, want->threads);
    assert_int_equal(got->created_s, want->created_s);
    assert_int_equal(got->image_bytes, want->image_bytes);
    assert_memory_equal(got->image, want->image, want->image_bytes);
}

static void test_round_trip_with_text(void **state)
{
    (void)state;
    static const char source[] = "__global__ void kernel() {}\n",
                      log[] = "ptxas info: 128 registers";
    struct fj_entry entry = sample(), got;
    entry.source = source;
    entry.source_bytes = strlen(source);
    entry.log = log;
    entry.log_bytes = strlen(log);
    struct fj_buf bytes = packed(&entry), text = {0};
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, &entry.key, &got, &text), FAJIT_OK);
    assert_same(&got, &entry);
    assert_string_equal(got.source, source);
    assert_string_equal(got.log, log);
    assert_int_equal(got.source_bytes, entry.source_bytes);
    assert_int_equal(got.log_bytes, entry.log_bytes);
    assert_int_equal((uintptr_t)got.image % 16, 0);

    // Without room for text its sizes are still told.
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, NULL, &got, NULL), FAJIT_OK);
    assert_null(got.source);
    assert_null(got.log);
    assert_int_equal(got.source_bytes, entry.source_bytes);

    uint64_t file_bytes;
    assert_int_equal(fj_entry_read_header(bytes.data, FJ_ENTRY_HEADER_BYTES, &got, &file_bytes),
                     FAJIT_OK);
    assert_int_equal(file_bytes, bytes.len);
    assert_null(got.image);
    assert_string_equal(got.name, entry.name);
    fj_buf_free(&text);
    fj_buf_free(&bytes);
}

static void test_empty_text_is_not_missing_text(void **state)
{
    (void)state;
    struct fj_entry entry = sample(), got;
    entry.log = "";
    struct fj_buf bytes = packed(&entry), text = {0};
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, NULL, &got, &text), FAJIT_OK);
    assert_null(got.source);
    assert_non_null(got.log);
    assert_string_equal(got.log, "");
    fj_buf_free(&text);
    fj_buf_free(&bytes);
}

static void test_write_refuses(void **state)
{
    (void)state;
    struct fj_buf bytes = {0};
    struct fj_entry entry = sample();
    entry.image = NULL;
    assert_int_equal(fj_entry_write(&entry, &bytes), FAJIT_E_INVAL);
    entry = sample();
    entry.image_bytes = 0;
    assert_int_equal(fj_entry_write(&entry, &bytes), FAJIT_E_INVAL);
    entry = sample();
    entry.is_ptx = true;
    entry.image_bytes--; // without its NUL
    assert_int_equal(fj_entry_write(&entry, &bytes), FAJIT_E_INVAL);
    entry = sample();
    memset(entry.name, 'x', sizeof(entry.name));
    assert_int_equal(fj_entry_write(&entry, &bytes), FAJIT_E_INVAL);
    assert_int_equal(bytes.len, 0);
    fj_buf_free(&bytes);
}

static void test_appends_after_what_is_there(void **state)
{
    (void)state;
    struct fj_entry entry = sample(), got;
    struct fj_buf bytes = {0};
    fj_buf_puts(&bytes, "sixteen bytes...");
    assert_int_equal(fj_entry_write(&entry, &bytes), FAJIT_OK);
    assert_int_equal(fj_entry_read(bytes.data + 16, bytes.len - 16, NULL, &got, NULL), FAJIT_OK);
    fj_buf_free(&bytes);
}

static struct fj_entry sample_with_text(void)
{
    static char source[3000];
    for (size_t i = 0; i < sizeof(source); i++)
        source[i] = "float x = y[i];\n"[i % 16];
    struct fj_entry entry = sample();
    entry.source = source;
    entry.source_bytes = sizeof(source);
    return entry;
}

// A copy of exactly `len` bytes, so that a read past the end is seen by valgrind and ASan.
static int read_copy(const void *bytes, size_t len, struct fj_buf *text)
{
    struct fj_entry got;
    void *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    int status = fj_entry_read(copy, len, NULL, &got, text);
    free(copy);
    return status;
}

static void test_truncated_at_every_length(void **state)
{
    (void)state;
    struct fj_entry entry = sample_with_text();
    struct fj_buf bytes = packed(&entry), text = {0};
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(read_copy(bytes.data, len, &text), FAJIT_E_IO);
    assert_int_equal(read_copy(bytes.data, bytes.len, &text), FAJIT_OK);
    fj_buf_append(&bytes, "", 1);
    assert_int_equal(read_copy(bytes.data, bytes.len, &text), FAJIT_E_IO);
    fj_buf_free(&text);
    fj_buf_free(&bytes);
}

static void test_every_flipped_bit(void **state)
{
    (void)state;
    struct fj_entry entry = sample_with_text();
    struct fj_buf bytes = packed(&entry), text = {0};
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(read_copy(bytes.data, bytes.len, &text), FAJIT_E_IO);
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_int_equal(read_copy(bytes.data, bytes.len, &text), FAJIT_OK);
    fj_buf_free(&text);
    fj_buf_free(&bytes);
}

// Hostile headers whose checksums are right: nothing may crash, and sizes must not be believed.
static void test_sealed_nonsense(void **state)
{
    (void)state;
    unsigned seed = 20240607;
    int accepted = 0, refused = 0;
    print_message("seed %u\n", seed);
    struct fj_entry entry = sample_with_text();
    struct fj_buf bytes = packed(&entry), text = {0};
    char *good = malloc(bytes.len);
    assert_non_null(good);
    memcpy(good, bytes.data, bytes.len);
    for (int round = 0; round < 20000; round++) {
        memcpy(bytes.data, good, bytes.len);
        for (int change = rand_r(&seed) % 3; change >= 0; change--) {
            size_t at = (size_t)rand_r(&seed) % (round % 2 ? 352 - 272 : bytes.len - 16);
            bytes.data[(round % 2 ? 272 : 0) + at] = (char)rand_r(&seed);
        }
        seal(&bytes);
        if (read_copy(bytes.data, bytes.len, &text) == FAJIT_OK)
            accepted++;
        else
            refused++;
    }
    assert_true(refused > 5000);
    assert_true(accepted > 1000); // a number or a letter of the image changed: that is an entry
    free(good);
    fj_buf_free(&text);
    fj_buf_free(&bytes);
}

static void set_u64(struct fj_buf *bytes, size_t at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        bytes->data[at + (size_t)i] = (char)(value >> (8 * i));
}

static void test_sizes_that_wrap(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0,          1,          1ull << 31, 1ull << 32,
                                     1ull << 62, 1ull << 63, UINT64_MAX, UINT64_MAX - 367};
    struct fj_entry entry = sample_with_text();
    struct fj_buf text = {0};
    for (size_t at = 312; at < 352; at += 8) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            struct fj_buf bytes = packed(&entry);
            if (at == 328 && sizes[i] == 0) { // the log's true size
                fj_buf_free(&bytes);
                continue;
            }
            set_u64(&bytes, at, sizes[i]);
            seal(&bytes);
            assert_int_equal(read_copy(bytes.data, bytes.len, &text), FAJIT_E_IO);
            fj_buf_free(&bytes);
        }
    }
    // Two that cancel.
    struct fj_buf bytes = packed(&entry);
    set_u64(&bytes, 312, UINT64_MAX - 99);
    set_u64(&bytes, 336, bytes.len - 368 - 16 + 100);
    seal(&bytes);
    assert_int_equal(read_copy(bytes.data, bytes.len, &text), FAJIT_E_IO);
    fj_buf_free(&bytes);
    fj_buf_free(&text);
}

static void test_other_key_version_and_padding(void **state)
{
    (void)state;
    struct fj_entry entry = sample(), got;
    struct fj_key other = entry.key;
    other.bytes[31] ^= 1;
    struct fj_buf bytes = packed(&entry);
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, &other, &got, NULL), FAJIT_E_IO);
    bytes.data[8] = 2;
    seal(&bytes);
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, NULL, &got, NULL), FAJIT_E_IO);
    bytes.data[8] = 1;
    bytes.data[207] = 'x'; // behind the name's end
    seal(&bytes);
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, NULL, &got, NULL), FAJIT_E_IO);
    bytes.data[207] = 0;
    seal(&bytes);
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, NULL, &got, NULL), FAJIT_OK);
    fj_buf_free(&bytes);
}

static void test_ptx_must_end_in_nul(void **state)
{
    (void)state;
    static const char ptx[] = ".version 8.0\n";
    struct fj_entry entry = sample(), got;
    entry.is_ptx = true;
    entry.image = ptx;
    entry.image_bytes = sizeof(ptx);
    struct fj_buf bytes = packed(&entry);
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, NULL, &got, NULL), FAJIT_OK);
    assert_true(got.is_ptx);
    bytes.data[368 + sizeof(ptx) - 1] = 'x';
    seal(&bytes);
    assert_int_equal(fj_entry_read(bytes.data, bytes.len, NULL, &got, NULL), FAJIT_E_IO);
    fj_buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_is_pinned),
        cmocka_unit_test(test_round_trip_with_text),
        cmocka_unit_test(test_empty_text_is_not_missing_text),
        cmocka_unit_test(test_write_refuses),
        cmocka_unit_test(test_appends_after_what_is_there),
        cmocka_unit_test(test_truncated_at_every_length),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_sealed_nonsense),
        cmocka_unit_test(test_sizes_that_wrap),
        cmocka_unit_test(test_other_key_version_and_padding),
        cmocka_unit_test(test_ptx_must_end_in_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
