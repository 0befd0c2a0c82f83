// One cache entry: everything needed to launch a kernel without NVRTC, in one checked block.
//
// Format 1, little-endian: a fixed header with a checksum of its own, so that a listing reads
// no more than it; the image at FJ_ENTRY_HEADER_BYTES; a zstd frame holding source, NUL, log, NUL;
// XXH3-128 of everything before it. The checksums find damage, they are no signature.
#ifndef FJ_CACHE_ENTRY_H
#define FJ_CACHE_ENTRY_H

#include "base/buf.h"
#include "base/hash.h"

#define FJ_ENTRY_HEADER_BYTES 368u      // a multiple of 16: the image keeps malloc's alignment
#define FJ_ENTRY_MAX_BYTES (256u << 20) // no honest kernel comes near it

struct fj_entry {
    struct fj_key key;
    char name[160];  // kernel symbol
    char target[16]; // "sm_90a", or "compute_90" for PTX
    char nvrtc[48];  // "13.0.88", and the build id when known
    bool is_ptx;
    int registers, spill_bytes, smem_static_bytes, smem_dynamic_bytes, local_bytes, threads;
    int64_t created_s;
    const void *image;   // cubin, or NUL-terminated PTX
    size_t image_bytes;  // with PTX's NUL
    const char *source;  // rendered CUDA C; NULL when not stored
    size_t source_bytes; // without a NUL, which follows all the same after reading
    const char *log;     // NVRTC and ptxas output
    size_t log_bytes;
};

// Serialises into `ret`. Format: tests/unit/test_entry.c pins every byte.
int fj_entry_write(const struct fj_entry *entry, struct fj_buf *ret);

// Validates magic, version, sizes, key and checksum, and points `ret_entry` into `bytes`; source
// and log are decompressed into `ret_text` (freed by the caller) only when it is not NULL, and are
// NULL with their sizes set when it is. Anything wrong is FAJIT_E_IO with what it was. `key` may be
// NULL: any key.
int fj_entry_read(const void *bytes, size_t len, const struct fj_key *key,
                  struct fj_entry *ret_entry, struct fj_buf *ret_text);

// Validates and reads the header alone, from its FJ_ENTRY_HEADER_BYTES: `image`, `source` and
// `log` are NULL, their sizes set. `ret_file_bytes` is what the whole entry must measure.
int fj_entry_read_header(const void *bytes, size_t len, struct fj_entry *ret_entry,
                         uint64_t *ret_file_bytes);

#endif
