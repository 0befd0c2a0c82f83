// SHA-256 over tagged, length-prefixed fields, and a fast checksum.
#ifndef FJ_BASE_HASH_H
#define FJ_BASE_HASH_H

#include "base/err.h"

struct fj_key {
    uint8_t bytes[32];
};

struct fj_hash; // opaque state

struct fj_hash *fj_hash_begin(void); // NULL when out of memory
void fj_hash_field(struct fj_hash *hash, const char *tag, const void *bytes, size_t len);
struct fj_key fj_hash_end(struct fj_hash *hash); // frees the state

void fj_key_hex(const struct fj_key *key, char ret_hex[65]);
bool fj_key_equal(const struct fj_key *a, const struct fj_key *b);
bool fj_key_from_hex(const char *hex, struct fj_key *ret_key);

// XXH3-128 of the bytes: finds damage, proves nothing about origin.
void fj_checksum(const void *bytes, size_t len, uint8_t ret_sum[16]);

#endif
