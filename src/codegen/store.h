// Where template text comes from: a directory of the user's, then the bytes inside the library.
#ifndef FJ_CODEGEN_STORE_H
#define FJ_CODEGEN_STORE_H

#include "base/buf.h"

struct fj_stored {
    const char *name; // path below templates/
    const char *text; // NUL-terminated
    size_t len;
};

// Written by tools/embed.c, sorted by name.
extern const struct fj_stored fj_store_files[];
extern const int fj_store_count;

// The text of `name`, appended to `ret_text`. Thread-safe. FAJIT_E_TEMPLATE lists what there is.
int fj_store_read(const char *override_dir, const char *name, struct fj_buf *ret_text);

#endif
