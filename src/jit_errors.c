#include "jit_errors.h"

#include <stdlib.h>
#include <string.h>

// The first line of the log that reports an error in the source; NULL when there is none.
static const char *find_error(const char *nvrtc_log, int *ret_line)
{
    for (const char *line = nvrtc_log; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *end = line + strcspn(line, "\n");
        const char *open = memchr(line, '(', (size_t)(end - line));
        if (!open)
            continue;
        char *after;
        long number = strtol(open + 1, &after, 10);
        *ret_line = (int)number;
        if (number > 0 && strncmp(after, "): error", 8) == 0)
            return line;
    }
    return NULL;
}

int fj_compile_error(const struct fj_log *log, const struct fj_rendering *rendering,
                     const char *path, const char *nvrtc_log)
{
    int line = 0;
    const char *said = nvrtc_log && *nvrtc_log ? nvrtc_log : "(no message)";
    const char *error = find_error(nvrtc_log, &line);
    fj_log(log, FAJIT_LOG_ERROR, "%s", said);
    if (!error || line > rendering->line_count)
        return fj_err(FAJIT_E_COMPILE, "NVRTC refused the source saved as %s: %.*s", path,
                      (int)strcspn(said, "\n"), said);

    fj_log_source(log, FAJIT_LOG_ERROR, rendering->text.data, line);
    const struct fj_line *from = &rendering->lines[line - 1];
    return fj_err(FAJIT_E_COMPILE, "NVRTC refused %s, line %d (from %s:%d): %.*s", path, line,
                  from->file ? from->file : "the heading", from->line, (int)strcspn(error, "\n"),
                  error);
}
