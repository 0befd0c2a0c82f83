// What the dynamic loader knows about a library that is already in memory.
#ifndef FJ_CUDA_LIBINFO_H
#define FJ_CUDA_LIBINFO_H

#include <stdbool.h>
#include <stddef.h>

// The file that holds `address`, and its directory without the final slash. False when unknown.
bool fj_libinfo_path(const void *address, char *ret_path, size_t path_size, char *ret_dir,
                     size_t dir_size);

// GNU build id, in hex, of the library that holds `address`; "" when it has none.
void fj_libinfo_build_id(const void *address, char ret_hex[41]);

#endif
