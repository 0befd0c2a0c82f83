// Progress for people, when there is one watching.
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tune.h"

#define CELLS 24

bool tune_on_terminal(void)
{
    return isatty(STDERR_FILENO);
}

static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

void tune_bar(int done, int total, const char *text)
{
    char cells[CELLS + 1];
    if (!tune_on_terminal())
        return;
    int full = total > 0 ? CELLS * done / total : 0;
    for (int i = 0; i < CELLS; i++)
        cells[i] = i < full ? '#' : '.';
    cells[CELLS] = '\0';
    int room = columns() - CELLS - 14;
    fprintf(stderr, "\r\033[K[%s] %d/%d %.*s", cells, done, total, room > 0 ? room : 0, text);
    fflush(stderr);
}

void tune_bar_clear(void)
{
    if (tune_on_terminal())
        fputs("\r\033[K", stderr);
}
