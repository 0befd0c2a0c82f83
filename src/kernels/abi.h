// Public structs of other versions of the header.
#ifndef FJ_KERNELS_ABI_H
#define FJ_KERNELS_ABI_H

#include "base/err.h"

// Copies a struct of `from_size` bytes into one of `size`: fields it lacks become 0, fields past
// what this library knows must be 0 (else FAJIT_E_UNSUPPORTED).
int fj_abi_read(const char *name, const void *from, size_t from_size, size_t size, void *ret_to);

#endif
