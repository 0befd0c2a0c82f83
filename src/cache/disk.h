// The user directory: one file per key. Every I/O error is soft: a miss or an unsaved entry, a
// counter, and a log line.
#ifndef FJ_CACHE_DISK_H
#define FJ_CACHE_DISK_H

#include "base/log.h"
#include "cache/entry.h"

struct fj_disk; // thread-safe

struct fj_disk_params {
    const char *dir;      // NULL: $XDG_CACHE_HOME/fajit, else ~/.cache/fajit
    bool read_only, off;
    uint64_t max_bytes;   // 0: 1 GiB
    const struct fj_log *log;
};

// Never fails for reasons of the file system: an unusable directory gives a disk that always
// misses and says why in `note`.
int fj_disk_open(const struct fj_disk_params *params, struct fj_disk **ret_disk);
void fj_disk_close(struct fj_disk **disk);

// True on a hit: `ret_bytes` holds the file and `ret_entry` points into it.
bool fj_disk_get(struct fj_disk *disk, const struct fj_key *key, struct fj_buf *ret_bytes,
                 struct fj_entry *ret_entry);
void fj_disk_put(struct fj_disk *disk, const struct fj_entry *entry);

// Waits, at most `wait_us`, while another process on this host compiles `key`. Returns a lock to
// release (NULL when none could be had: go on without). Check fj_disk_get again afterwards.
struct fj_disk_lock;
struct fj_disk_lock *fj_disk_lock(struct fj_disk *disk, const struct fj_key *key, double wait_us);
void fj_disk_unlock(struct fj_disk_lock *lock);

struct fj_disk_stats {
    const char *dir, *note; // live as long as the disk
    uint64_t entries, bytes, max_bytes, hits, misses, corrupt, soft_errors;
};
void fj_disk_stats(struct fj_disk *disk, struct fj_disk_stats *ret_stats);
int fj_disk_visit(struct fj_disk *disk,
                  int (*visit)(void *user, const struct fj_entry *entry, uint64_t file_bytes,
                               int64_t used_s),
                  void *user);
// Evicts least recently used entries down to `max_bytes`; sweeps stale temporaries.
int fj_disk_gc(struct fj_disk *disk, uint64_t max_bytes, uint64_t *ret_freed_bytes);

#endif
