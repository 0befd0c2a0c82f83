// Whether what a test needs is here at all.
#ifndef FJ_TESTS_SKIP_H
#define FJ_TESTS_SKIP_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <fajit/fajit.h>

#define SKIP 77 // Meson's exit code of a test that was skipped

// Says so when no NVRTC is found: kernels that are not in the cache cannot be compiled.
static inline bool lacks_nvrtc(struct fajit_ctx *ctx)
{
    char *report = NULL;
    if (fajit_ctx_report(ctx, &report))
        return false;
    bool none = strstr(report, "in use: none") != NULL;
    if (none)
        printf("skipped: no NVRTC was found\n");
    fajit_free(report);
    return none;
}

#endif
