#include "codegen/scan.h"

static enum fj_scan_state opened_by(struct fj_str line, int pos)
{
    char c = line.p[pos];
    if (c == '"')
        return FJ_SCAN_STRING;
    // A quote between digits separates them: 1'000.
    if (c == '\'' && !(pos > 0 && line.p[pos - 1] >= '0' && line.p[pos - 1] <= '9'))
        return FJ_SCAN_CHAR;
    if (c == '/' && pos + 1 < line.n && line.p[pos + 1] == '/')
        return FJ_SCAN_COMMENT;
    if (c == '/' && pos + 1 < line.n && line.p[pos + 1] == '*')
        return FJ_SCAN_BLOCK;
    return FJ_SCAN_CODE;
}

void fj_scan_step(struct fj_scan *scan, struct fj_str line, int pos)
{
    if (scan->closed)
        scan->state = FJ_SCAN_CODE;
    scan->closed = false;
    char c = line.p[pos];
    switch (scan->state) {
    case FJ_SCAN_CODE:
        scan->state = opened_by(line, pos);
        scan->escaped = false;
        scan->start = pos;
        return;
    case FJ_SCAN_STRING:
    case FJ_SCAN_CHAR:
        if (scan->escaped || c == '\\') {
            scan->escaped = !scan->escaped;
            return;
        }
        scan->closed = c == (scan->state == FJ_SCAN_STRING ? '"' : '\'');
        return;
    case FJ_SCAN_BLOCK:
        // Not with the star of the opening mark, as in /*/.
        scan->closed = c == '/' && pos >= scan->start + 3 && line.p[pos - 1] == '*';
        return;
    case FJ_SCAN_COMMENT:
        return;
    }
}

int fj_scan_comment_start(struct fj_str line)
{
    struct fj_scan scan = {0};
    for (int i = 0; i < line.n; i++) {
        fj_scan_step(&scan, line, i);
        if (scan.state == FJ_SCAN_COMMENT)
            return i;
    }
    return line.n;
}
