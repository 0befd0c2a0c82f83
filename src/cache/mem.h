// Kernels of this process by key: one load and one compile per key, however many threads ask.
#ifndef FJ_CACHE_MEM_H
#define FJ_CACHE_MEM_H

#include "base/hash.h"

struct fj_mem; // thread-safe

struct fj_mem *fj_mem_create(void); // NULL when out of memory
// No thread may be inside any other function. Values still there are given to `free_value`.
void fj_mem_destroy(struct fj_mem **mem, void (*free_value)(void *user, void *value), void *user);

// Returns the value under `key` with one more reference; or NULL, and then the caller is the one
// to make it: it must call fj_mem_fill or fj_mem_fail, while other threads asking for the same key
// wait. A maker that asks for its own key waits for ever.
void *fj_mem_acquire(struct fj_mem *mem, const struct fj_key *key);
// Returns the value with one more reference, or NULL when none is ready. Never waits, and makes
// nobody the maker.
void *fj_mem_find(struct fj_mem *mem, const struct fj_key *key);
// The same without waiting for a maker: NULL with `ret_busy` set when there is one, NULL without it
// when the caller has become it.
void *fj_mem_try(struct fj_mem *mem, const struct fj_key *key, bool *ret_busy);

// Calls `visit` for every value that is ready, in no order, while the table is locked: it must call
// nothing of this file. The value is valid during the call.
void fj_mem_visit(struct fj_mem *mem, void (*visit)(void *user, const void *value), void *user);

// The maker's value, with one reference: the maker's. False when there was no memory to note it:
// then the value stays the caller's own, shared with nobody, and must not be released here.
bool fj_mem_fill(struct fj_mem *mem, const struct fj_key *key, void *value);
void fj_mem_fail(struct fj_mem *mem, const struct fj_key *key); // waiters try for themselves

// Drops a reference. Returns the value when it was the last one (the caller frees it), else NULL.
void *fj_mem_release(struct fj_mem *mem, const struct fj_key *key);

#endif
