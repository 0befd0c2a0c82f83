#include "jit_errors.h"

#include <stdlib.h>
#include <string.h>

int fj_first_error_line(const char *nvrtc_log)
{
    for (const char *line = nvrtc_log; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *end = line + strcspn(line, "\n");
        const char *open = memchr(line, '(', (size_t)(end - line));
        if (!open)
            continue;
        char *after;
        long number = strtol(open + 1, &after, 10);
        if (number > 0 && strncmp(after, "): error", 8) == 0)
            return (int)number;
    }
    return 0;
}

int fj_compile_error(const struct fj_log *log, const struct fj_rendering *rendering,
                     const char *path, const char *nvrtc_log)
{
    const char *said = nvrtc_log && *nvrtc_log ? nvrtc_log : "(no message)";
    fj_log(log, FAJIT_LOG_ERROR, "%s", said);
    int line = fj_first_error_line(nvrtc_log);
    if (line < 1 || line > rendering->line_count)
        return fj_err(FAJIT_E_COMPILE, "NVRTC refused the source saved as %s: %.600s", path, said);

    fj_log_source(log, FAJIT_LOG_ERROR, rendering->text.data, line);
    const struct fj_line *from = &rendering->lines[line - 1];
    return fj_err(FAJIT_E_COMPILE, "NVRTC refused %s, line %d (from %s:%d): %.600s", path, line,
                  from->file ? from->file : "the heading", from->line, said);
}
