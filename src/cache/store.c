#include "cache/store.h"

#include <string.h>

#define RECORDS_MAX_BYTES ((size_t)64 << 20)

// A copy of what the host has under a key: nothing of it is looked at after its release.
static bool fetch(struct fj_store *store, const char *key, size_t max_bytes, struct fj_buf *ret)
{
    const void *bytes = NULL;
    size_t len = 0;
    ret->len = 0;
    if (!store->calls.get || store->calls.get(store->calls.user, key, &bytes, &len))
        return false;
    bool sound = bytes && len > 0 && len <= max_bytes;
    if (sound)
        fj_buf_append(ret, bytes, len);
    if (store->calls.release)
        store->calls.release(store->calls.user, key, bytes);
    if (!sound) {
        atomic_fetch_add(&store->corrupt, 1);
        fj_log(&store->log, FAJIT_LOG_INFO, "the host's %s is ignored: %zu bytes", key, len);
    }
    return sound && !ret->failed;
}

bool fj_store_get(struct fj_store *store, const struct fj_key *key, struct fj_buf *ret_bytes,
                  struct fj_entry *ret_entry)
{
    char hex[65];
    fj_key_hex(key, hex);
    if (!fetch(store, hex, FJ_ENTRY_MAX_BYTES, ret_bytes))
        return false;
    if (fj_entry_read(ret_bytes->data, ret_bytes->len, key, ret_entry, NULL) == FAJIT_OK)
        return true;
    atomic_fetch_add(&store->corrupt, 1);
    fj_log(&store->log, FAJIT_LOG_INFO, "the host's %s is ignored: %s", hex, fj_err_text());
    return false;
}

void fj_store_put(struct fj_store *store, const struct fj_entry *entry)
{
    struct fj_buf bytes = {0};
    char hex[65];
    if (!store->calls.set || store->read_only)
        return;
    fj_key_hex(&entry->key, hex);
    if (fj_entry_write(entry, &bytes) == FAJIT_OK)
        store->calls.set(store->calls.user, hex, bytes.data, bytes.len);
    else
        fj_log(&store->log, FAJIT_LOG_WARN, "the host is not given %s: %s", hex, fj_err_text());
    fj_buf_free(&bytes);
}

bool fj_store_read_records(struct fj_store *store, struct fj_buf *ret_text)
{
    return fetch(store, FAJIT_STORE_RECORDS, RECORDS_MAX_BYTES, ret_text);
}

void fj_store_add_records(struct fj_store *store, const char *lines, size_t len)
{
    if (store->calls.append && !store->read_only && len > 0)
        store->calls.append(store->calls.user, FAJIT_STORE_RECORDS, lines, len);
}
