// Progress for people, when there is one watching.
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tune.h"

#define CELLS 12

bool tune_on_terminal(void)
{
    return isatty(STDERR_FILENO);
}

static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

void tune_bar(double share, const char *text)
{
    char cells[CELLS + 1];
    if (!tune_on_terminal())
        return;
    int full = share < 1 ? (int)(CELLS * share) : CELLS;
    for (int i = 0; i < CELLS; i++)
        cells[i] = i < full ? '#' : '.';
    cells[CELLS] = '\0';
    int room = columns() - CELLS - 4;
    fprintf(stderr, "\r\033[K[%s] %.*s", cells, room > 0 ? room : 0, text);
    fflush(stderr);
}

const char *tune_duration(double seconds, char ret_text[16])
{
    if (seconds < 100)
        snprintf(ret_text, 16, "%.0f s", seconds > 0 ? seconds : 0);
    else if (seconds < 100 * 60)
        snprintf(ret_text, 16, "%.0f min", seconds / 60);
    else
        snprintf(ret_text, 16, "%.1f h", seconds < 1e6 ? seconds / 3600 : 277.0);
    return ret_text;
}

double tune_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void tune_bar_clear(void)
{
    if (tune_on_terminal())
        fputs("\r\033[K", stderr);
}
