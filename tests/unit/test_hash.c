#include "test.h"

#include <sha2.h>

#include "base/hash.h"

// FIPS 180-4 examples, as published by NIST: they pin that the library underneath is SHA-256.
static void sha256_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hex;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct fj_key key;
        char hex[65];
        SHA2_CTX sha;
        SHA256Init(&sha);
        SHA256Update(&sha, (const uint8_t *)vectors[i].text, strlen(vectors[i].text));
        SHA256Final(key.bytes, &sha);
        fj_key_hex(&key, hex);
        assert_string_equal(hex, vectors[i].hex);
    }
}

static struct fj_key hash_two(const char *tag_a, const char *a, const char *tag_b, const char *b)
{
    struct fj_hash *hash = fj_hash_begin();
    assert_non_null(hash);
    fj_hash_field(hash, tag_a, a, strlen(a));
    fj_hash_field(hash, tag_b, b, strlen(b));
    return fj_hash_end(hash);
}

// A field is length, tag, length, bytes, with lengths of 8 bytes, little-endian.
static void fields_are_length_prefixed(void **state)
{
    (void)state;
    static const uint8_t bytes[] = "\1\0\0\0\0\0\0\0t\2\0\0\0\0\0\0\0xy";
    struct fj_key want, got;
    SHA2_CTX sha;
    SHA256Init(&sha);
    SHA256Update(&sha, bytes, sizeof(bytes) - 1);
    SHA256Final(want.bytes, &sha);
    struct fj_hash *hash = fj_hash_begin();
    assert_non_null(hash);
    fj_hash_field(hash, "t", "xy", 2);
    got = fj_hash_end(hash);
    assert_memory_equal(got.bytes, want.bytes, 32);
}

static void fields_do_not_run_together(void **state)
{
    (void)state;
    struct fj_key keys[] = {
        hash_two("a", "bc", "d", "e"), hash_two("a", "b", "cd", "e"), hash_two("ab", "c", "d", "e"),
        hash_two("a", "bcd", "", "e"), hash_two("d", "e", "a", "bc"),
    };
    for (size_t i = 0; i < COUNT(keys); i++) {
        for (size_t j = 0; j < i; j++)
            assert_false(fj_key_equal(&keys[i], &keys[j]));
    }
    struct fj_key again = hash_two("a", "bc", "d", "e");
    assert_true(fj_key_equal(&keys[0], &again));
}

static void hex_round_trip(void **state)
{
    (void)state;
    struct fj_key key = hash_two("a", "b", "c", "d"), back;
    char hex[65];
    fj_key_hex(&key, hex);
    assert_int_equal(strlen(hex), 64);
    assert_true(fj_key_from_hex(hex, &back));
    assert_true(fj_key_equal(&key, &back));
}

static void hex_refuses_other_text(void **state)
{
    (void)state;
    static const char good[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    struct fj_key key;
    char text[80];
    assert_true(fj_key_from_hex(good, &key));
    for (int i = 0; i < 64; i++) {
        strcpy(text, good);
        text[i] = 'g';
        assert_false(fj_key_from_hex(text, &key));
        text[i] = '\0';
        assert_false(fj_key_from_hex(text, &key));
    }
    snprintf(text, sizeof(text), "%s0", good);
    assert_false(fj_key_from_hex(text, &key));
}

static void checksum_sees_every_bit(void **state)
{
    (void)state;
    // XXH3-128 of no bytes, from the xxHash specification's test vectors.
    static const uint8_t empty[16] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                      0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
    uint8_t bytes[300] = {0}, sum[16], other[16];
    fj_checksum("", 0, sum);
    assert_memory_equal(sum, empty, 16);
    fj_checksum(bytes, sizeof(bytes), sum);
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        fj_checksum(bytes, sizeof(bytes), other);
        assert_memory_not_equal(sum, other, 16);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(fields_are_length_prefixed),
        cmocka_unit_test(fields_do_not_run_together),
        cmocka_unit_test(hex_round_trip),
        cmocka_unit_test(hex_refuses_other_text),
        cmocka_unit_test(checksum_sees_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
