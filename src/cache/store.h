// The host's own storage as one more layer: bytes by key through its callbacks.
#ifndef FJ_CACHE_STORE_H
#define FJ_CACHE_STORE_H

#include <stdatomic.h>

#include "base/log.h"
#include "cache/entry.h"

// Thread-safe as far as the host's callbacks are. All zero: there is none, nothing is found or
// kept.
struct fj_store {
    struct fajit_store calls;
    bool read_only;
    struct fj_log log;
    atomic_uint_least64_t corrupt;
};

// As fj_disk_get, of a copy. Bytes that are not a valid entry of this key are a miss.
bool fj_store_get(struct fj_store *store, const struct fj_key *key, struct fj_buf *ret_bytes,
                  struct fj_entry *ret_entry);
void fj_store_put(struct fj_store *store, const struct fj_entry *entry);

// Whole lines of text under FAJIT_STORE_RECORDS.
bool fj_store_read_records(struct fj_store *store, struct fj_buf *ret_text);
void fj_store_add_records(struct fj_store *store, const char *lines, size_t len);

#endif
