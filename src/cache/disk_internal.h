// What disk.c, gc.c and lock.c share.
#ifndef FJ_CACHE_DISK_INTERNAL_H
#define FJ_CACHE_DISK_INTERNAL_H

#include "base/thread.h"
#include "cache/disk.h"

#include <stdatomic.h>

enum { FJ_DISK_PATH_BYTES = 1024 };

struct fj_disk {
    char dir[FJ_DISK_PATH_BYTES]; // "" when off
    struct fj_log log;
    bool readable, writable;
    uint64_t max_bytes;
    atomic_uint_fast64_t hits, misses, corrupt, soft_errors;

    fj_mutex mutex;       // of the fields below
    char note[512];       // written once
    atomic_bool noted;    // `note` may be read
    bool collecting;      // one thread at a time looks after the size
    int64_t known_bytes;  // in the directory, as far as this process knows; -1: not looked yet
    uint64_t fresh_bytes; // written by this process since it last looked
};

// The path of a key's file; false when it does not fit.
bool fj_disk_path(const struct fj_disk *disk, const struct fj_key *key,
                  char ret_path[FJ_DISK_PATH_BYTES]);

// Whether a name in the directory is an entry's: 64 hex digits and ".fjc".
bool fj_disk_is_entry_name(const char *name);

// Notes that `bytes` were written, and evicts when the cap is exceeded.
void fj_disk_account(struct fj_disk *disk, uint64_t bytes);

// Where the advisory locks of this user live; false when no safe place exists.
bool fj_disk_lock_dir(char ret_dir[FJ_DISK_PATH_BYTES]);

// A lock's name: of a key in this directory, or (NULL) of the directory's eviction.
void fj_disk_lock_name(const struct fj_disk *disk, const struct fj_key *key, char ret_name[48]);

#endif
