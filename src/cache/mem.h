// Kernels of this process by key: one load and one compile per key, however many threads ask.
#ifndef FJ_CACHE_MEM_H
#define FJ_CACHE_MEM_H

#include "base/hash.h"

struct fj_mem; // thread-safe

struct fj_mem *fj_mem_create(void);
void fj_mem_destroy(struct fj_mem **mem, void (*free_value)(void *user, void *value), void *user);

// Returns the value under `key` with one more reference; or NULL, and then the caller is the one
// to make it: it must call fj_mem_fill or fj_mem_fail, while other threads asking for the same key
// wait. `fingerprint` is any 64-bit hash of the key.
void *fj_mem_acquire(struct fj_mem *mem, const struct fj_key *key);
void fj_mem_fill(struct fj_mem *mem, const struct fj_key *key, void *value); // one reference
void fj_mem_fail(struct fj_mem *mem, const struct fj_key *key); // waiters try for themselves

// Drops a reference. Returns the value when it was the last one (the caller frees it), else NULL.
void *fj_mem_release(struct fj_mem *mem, const struct fj_key *key);

#endif
