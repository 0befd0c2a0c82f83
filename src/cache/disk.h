// The user directory: one file per key, `<64 hex digits>.fjc`, so that a look-up opens one path
// and lists nothing. Every I/O error is soft: a miss or an unsaved entry, a counter, and a log
// line.
#ifndef FJ_CACHE_DISK_H
#define FJ_CACHE_DISK_H

#include "base/log.h"
#include "cache/entry.h"

struct fj_disk; // thread-safe

struct fj_disk_params {
    const char *dir; // NULL: $XDG_CACHE_HOME/fajit, else ~/.cache/fajit
    bool read_only, off;
    uint64_t max_bytes;       // 0: 1 GiB
    const struct fj_log *log; // copied; may be NULL
};

// Never fails for reasons of the file system: an unusable directory gives a disk that always
// misses and says why in `note`.
int fj_disk_open(const struct fj_disk_params *params, struct fj_disk **ret_disk);
void fj_disk_close(struct fj_disk **disk);
const char *fj_disk_dir(const struct fj_disk *disk); // "" when it cannot be read
bool fj_disk_writable(const struct fj_disk *disk);

// True on a hit: `ret_bytes` holds the file and `ret_entry` points into it (source and log: see
// fj_entry_read). A file that is not a valid entry of this key is a miss and is removed.
bool fj_disk_get(struct fj_disk *disk, const struct fj_key *key, struct fj_buf *ret_bytes,
                 struct fj_entry *ret_entry);

// Publishes the entry, over an older one if there is one. Evicts when the directory has outgrown
// its cap, which is soft: it may be exceeded by 1/32 per writing process.
void fj_disk_put(struct fj_disk *disk, const struct fj_entry *entry);

// Waits, at most `wait_us`, while another process on this host compiles `key`. Returns a lock to
// release, or NULL: the entry appeared, the time is up, or no lock can be had; go on without. Check
// fj_disk_get again afterwards in every case. A holder that dies releases its lock.
struct fj_disk_lock;
struct fj_disk_lock *fj_disk_lock(struct fj_disk *disk, const struct fj_key *key, double wait_us);
void fj_disk_unlock(struct fj_disk_lock *lock);

struct fj_disk_stats {
    const char *dir, *note; // live as long as the disk; "" when off, "" when all is well
    uint64_t entries, bytes, max_bytes, hits, misses, corrupt, soft_errors;
};
void fj_disk_stats(struct fj_disk *disk, struct fj_disk_stats *ret_stats);

// Calls `visit` for every entry with a valid header and the right size, by name; image, source and
// log are not read (NULL, sizes set). `used_s`: last use, seconds since the epoch, exact to an
// hour. Stops when `visit` returns non-zero and returns that.
int fj_disk_visit(struct fj_disk *disk,
                  int (*visit)(void *user, const struct fj_entry *entry, uint64_t file_bytes,
                               int64_t used_s),
                  void *user);

// Evicts least recently used entries until at most `max_bytes` are left (0: all); sweeps
// temporaries that a killed process left an hour ago or longer.
int fj_disk_gc(struct fj_disk *disk, uint64_t max_bytes, uint64_t *ret_freed_bytes);

#endif
