// NVRTC's messages, told in terms of the saved source and of the template.
#ifndef FJ_JIT_ERRORS_H
#define FJ_JIT_ERRORS_H

#include "base/log.h"
#include "codegen/template.h"

// Records the sentence for a failed compile and logs the source around its first error. Returns
// FAJIT_E_COMPILE.
int fj_compile_error(const struct fj_log *log, const struct fj_rendering *rendering,
                     const char *path, const char *nvrtc_log);

#endif
