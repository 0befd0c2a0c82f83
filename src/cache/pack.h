// Packs: many cache entries in one read-only file that may be copied anywhere.
//
// Format 1, little-endian: 80 bytes of header, an index of (key, offset, bytes) sorted by key, the
// entries' own bytes, tuning records as text, and XXH3-128 of everything before it. The header has
// a checksum of itself and the index, so that opening a pack reads no more than these; each entry
// is validated when it is read. The checksums find damage, they are no signature.
#ifndef FJ_CACHE_PACK_H
#define FJ_CACHE_PACK_H

#include "cache/entry.h"

struct fj_pack; // thread-safe

// FAJIT_E_IO says what is wrong with the file.
int fj_pack_open(const char *path, struct fj_pack **ret_pack);
void fj_pack_close(struct fj_pack **pack);

uint64_t fj_pack_bytes(const struct fj_pack *pack); // of the file
int64_t fj_pack_count(const struct fj_pack *pack);

// As fj_disk_get; a damaged entry is a miss.
bool fj_pack_get(const struct fj_pack *pack, const struct fj_key *key, struct fj_buf *ret_bytes,
                 struct fj_entry *ret_entry);
// The bytes of the index-th entry, validated: FAJIT_E_IO names the entry and the damage.
int fj_pack_read(const struct fj_pack *pack, int64_t index, struct fj_buf *ret_bytes,
                 struct fj_entry *ret_entry);
int fj_pack_text(const struct fj_pack *pack, struct fj_buf *ret_text);

// Reads all of it: the checksum of the file and every entry.
int fj_pack_verify(const char *path, int64_t *ret_entries);

// Writes a pack in one go: a temporary beside it, renamed at the end.
struct fj_pack_writer;
struct fj_pack_writer *fj_pack_begin(void); // NULL when out of memory
// `bytes`: a valid entry's. Of two with one key the first stays.
void fj_pack_add(struct fj_pack_writer *writer, const struct fj_key *key, const void *bytes,
                 size_t len);
// Frees the writer.
int fj_pack_end(struct fj_pack_writer *writer, const char *text, size_t text_len, const char *path);

#endif
