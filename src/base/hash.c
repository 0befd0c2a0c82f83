#include "base/hash.h"

#include <sha2.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct fj_hash {
    SHA2_CTX sha;
};

struct fj_hash *fj_hash_begin(void)
{
    struct fj_hash *hash = malloc(sizeof(*hash));
    if (hash)
        SHA256Init(&hash->sha);
    return hash;
}

static void add_sized(struct fj_hash *hash, const void *bytes, size_t len)
{
    uint8_t prefix[8]; // little-endian on every host: keys travel in packs
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)len >> (8 * i));
    SHA256Update(&hash->sha, prefix, sizeof(prefix));
    if (len)
        SHA256Update(&hash->sha, bytes, len);
}

void fj_hash_field(struct fj_hash *hash, const char *tag, const void *bytes, size_t len)
{
    add_sized(hash, tag, strlen(tag));
    add_sized(hash, bytes, len);
}

struct fj_key fj_hash_end(struct fj_hash *hash)
{
    struct fj_key key;
    SHA256Final(key.bytes, &hash->sha);
    free(hash);
    return key;
}

void fj_key_hex(const struct fj_key *key, char ret_hex[65])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        ret_hex[2 * i] = digits[key->bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[key->bytes[i] & 15];
    }
    ret_hex[64] = '\0';
}

bool fj_key_equal(const struct fj_key *a, const struct fj_key *b)
{
    return !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool fj_key_from_hex(const char *hex, struct fj_key *ret_key)
{
    struct fj_key key;
    for (int i = 0; i < 32; i++) {
        int high = hex_value(hex[2 * i]);
        int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);
        if (low < 0)
            return false;
        key.bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (hex[64])
        return false;
    *ret_key = key;
    return true;
}

void fj_checksum(const void *bytes, size_t len, uint8_t ret_sum[16])
{
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(bytes, len));
    memcpy(ret_sum, sum.digest, 16);
}
