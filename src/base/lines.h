// Text files that only grow: several processes may append lines at the same time.
#ifndef FJ_BASE_LINES_H
#define FJ_BASE_LINES_H

#include "base/err.h"

// Appends `len` bytes of whole lines, all of them or none, while holding an advisory lock on the
// file. A line that a dying writer left without its end is closed first, so that only that one is
// lost. Readable and writable by the user alone when it is created.
int fj_lines_append(const char *path, const char *lines, size_t len);

#endif
