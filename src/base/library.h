// Shared libraries: opening them at run time, and what the loader knows of those in memory.
#ifndef FJ_BASE_LIBRARY_H
#define FJ_BASE_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

// The library's handle; NULL when it cannot be loaded. It stays loaded for the life of the process.
void *fj_library_open(const char *path);
void *fj_library_find(const char *path);                  // only when it is in memory already
const char *fj_library_error(void);                       // of the latest that failed; never NULL
void *fj_library_symbol(void *library, const char *name); // NULL when it has none

// The file that holds `address`, and its directory without the final slash. False when unknown.
bool fj_library_path(const void *address, char *ret_path, size_t path_size, char *ret_dir,
                     size_t dir_size);

// GNU build id, in hex, of the library that holds `address`; "" when it has none.
void fj_library_build_id(const void *address, char ret_hex[41]);

#endif
