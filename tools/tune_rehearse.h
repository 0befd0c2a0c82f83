// What tune_worker.c and tune_rehearse.c share.
#ifndef TOOLS_TUNE_REHEARSE_H
#define TOOLS_TUNE_REHEARSE_H

#include <fajit/fajit.h>

void worker_say(const char *line, int len);                      // with its '\n'
void worker_say_failed(int number, int status, const char *why); // NULL: the latest error

// Takes the lines of a rehearsal, and passes over all others. False when the context is lost.
bool rehearsal_take(struct fajit_ctx *ctx, const char *line);

#endif
