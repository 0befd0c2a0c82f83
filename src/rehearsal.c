#include "rehearsal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/thread.h"
#include "tune_worker_internal.h"

// Workers that ended before a launch was due: of idleness, or of something that the next one meets
// as well.
#define ATTEMPTS 2

void fj_rehearsal_begin(const struct fj_rehearsal_params *params, struct fj_rehearsal *ret)
{
    *ret = (struct fj_rehearsal){.params = *params, .fd = -1};
    if (ret->params.silence_s <= 0)
        ret->params.silence_s = FJ_WORKER_SILENCE_S;
}

void fj_rehearsal_end(struct fj_rehearsal *r)
{
    struct fj_worker *worker = r->params.worker;
    if (r->fd >= 0) {
        fj_process_end(&worker->process, FJ_WORKER_END_US);
        worker->memory_fd = -1;
        fj_fs_close(r->fd);
    }
    free(r->blocks);
    *r = (struct fj_rehearsal){.fd = -1};
}

// --- Asking -----------------------------------------------------------------------------------

static void print_launch(const struct fj_noted_launch *launch, int number, struct fj_buf *text)
{
    size_t at = 0;
    fj_buf_printf(text, "launch %d %u %u %u ", number, launch->grid[0], launch->grid[1],
                  launch->grid[2]);
    for (int i = 0; i < launch->arg_count; at = fj_launch_next(launch, i, at), i++) {
        fj_buf_puts(text, i ? "," : "");
        for (size_t k = 0; k < launch->bytes[i]; k++)
            fj_buf_printf(text, "%02x", launch->values[at + k]);
    }
    fj_buf_puts(text, launch->arg_count ? "\n" : "-\n");
}

static int print_request(const struct fj_rehearsal *r, const struct fj_custom *custom,
                         const struct fj_launches *launches, struct fj_buf *text)
{
    const int number = r->params.worker->number;
    for (int i = 0; i < r->block_count; i++)
        if (r->blocks[i].wanted)
            fj_buf_printf(text, "memory %d %llu %llu %llu\n", number,
                          (unsigned long long)r->blocks[i].address,
                          (unsigned long long)r->blocks[i].bytes,
                          (unsigned long long)r->blocks[i].offset);
    for (int i = 0; i < launches->count; i++)
        print_launch(&launches->items[i], number, text);
    fj_buf_printf(text, "rehearse %d ", number);
    fj_custom_print_all(custom, text);
    fj_buf_puts(text, "\n");
    if (strchr(custom->template_name, '\n') || strchr(custom->template_name, ','))
        return fj_err(FAJIT_E_INVAL, "a worker cannot be told a template's name with a comma or a "
                                     "line break");
    return text->failed ? fj_err(FAJIT_E_NOMEM, "no memory for a rehearsal") : FAJIT_OK;
}

// One that was started without the copies cannot read them.
static int start(struct fj_rehearsal *r)
{
    struct fj_worker *worker = r->params.worker;
    if (worker->memory_fd != r->fd)
        fj_process_end(&worker->process, FJ_WORKER_END_US);
    worker->memory_fd = r->fd;
    int err = fj_worker_start(worker);
    if (err)
        snprintf(r->off, sizeof(r->off), "%s", fj_err_text());
    return err;
}

// --- Listening --------------------------------------------------------------------------------

struct listening {
    struct fj_rehearsal *rehearsal;
    bool launching; // it has begun
    bool over;
    enum fj_rehearsed outcome; // when it is over
    int status;
};

static void end_with(struct listening *l, enum fj_rehearsed outcome, int status)
{
    l->over = true;
    l->outcome = outcome;
    l->status = status;
}

static void take_failure(struct listening *l, const char *fields)
{
    int status, at = 0;
    if (sscanf(fields, "%d %n", &status, &at) != 1 || status >= 0)
        return;
    fj_err(status, "%s", fields + at);
    if (!l->launching || status == FAJIT_E_NOMEM || status == FAJIT_E_NO_DEVICE)
        end_with(l, FJ_REHEARSED_NOT, status);
    else
        end_with(l, status == FAJIT_E_CONTEXT_LOST ? FJ_REHEARSED_FAULT : FJ_REHEARSED_FAILED,
                 status);
}

// Lines of an earlier request, and what is not understood, are passed over.
static void take_line(struct listening *l, const char *line)
{
    char word[16];
    int number, at = 0;
    if (sscanf(line, "%15s %d %n", word, &number, &at) != 2 ||
        number != l->rehearsal->params.worker->number)
        return;
    if (strcmp(word, "launching") == 0)
        l->launching = true;
    else if (strcmp(word, "rehearsed") == 0 && l->launching)
        end_with(l, FJ_REHEARSED_WELL, FAJIT_OK);
    else if (strcmp(word, "failed") == 0)
        take_failure(l, line + at);
}

// It ended, or was silent for too long.
static void take_loss(struct listening *l, bool hung)
{
    if (!l->launching)
        end_with(l, FJ_REHEARSED_NOT,
                 fj_err(FAJIT_E_IO, "the tuning worker %s before the launch",
                        hung ? "was silent" : "ended"));
    else if (hung)
        end_with(l, FJ_REHEARSED_HUNG,
                 fj_err(FAJIT_E_CONTEXT_LOST, "it had not ended after %.1f s",
                        l->rehearsal->params.silence_s));
    else
        end_with(l, FJ_REHEARSED_FAULT,
                 fj_err(FAJIT_E_CONTEXT_LOST, "the worker's process ended with it"));
}

static void listen_to(struct listening *l)
{
    const struct fj_rehearsal_params *params = &l->rehearsal->params;
    struct fj_process *process = params->worker->process;
    char line[FJ_WORKER_LINE_BYTES];
    double heard_us = fj_now_us();
    while (!l->over) {
        switch (fj_process_read(process, FJ_WORKER_LOOK_US, line, sizeof(line))) {
        case FJ_PROCESS_ENDED:
            take_loss(l, false);
            break;
        case FJ_PROCESS_LINE:
            heard_us = fj_now_us();
            take_line(l, line);
            break;
        case FJ_PROCESS_SILENT:
            if (params->cancelled && params->cancelled(params->user))
                end_with(l, FJ_REHEARSED_CANCELLED, FAJIT_E_UNSUPPORTED);
            else if (fj_now_us() - heard_us > 1e6 * params->silence_s)
                take_loss(l, true);
            break;
        }
    }
}

// --- The whole --------------------------------------------------------------------------------

static void try_once(struct listening *l, const struct fj_custom *custom,
                     const struct fj_launches *launches)
{
    struct fj_worker *worker = l->rehearsal->params.worker;
    struct fj_buf text = {0};
    worker->number++;
    int err = print_request(l->rehearsal, custom, launches, &text);
    if (err == 0)
        err = start(l->rehearsal);
    if (err)
        end_with(l, FJ_REHEARSED_NOT, err);
    else if (fj_process_write(worker->process, text.data, text.len))
        listen_to(l);
    else
        take_loss(l, false);
    fj_buf_free(&text);
    // After a failure of its own kind the worker listens on.
    if (l->outcome != FJ_REHEARSED_WELL && l->outcome != FJ_REHEARSED_FAILED)
        fj_process_end(&worker->process, 0);
}

enum fj_rehearsed fj_rehearse(struct fj_rehearsal *r, const struct fj_custom *custom,
                              const struct fj_launches *launches, int *ret_status)
{
    struct listening l;
    if (*r->off) {
        *ret_status = fj_err(FAJIT_E_IO, "%s", r->off);
        return FJ_REHEARSED_NOT;
    }
    int err = fj_rehearsal_copy(r, launches);
    if (err) {
        *ret_status = err;
        if (err == FAJIT_E_IO)
            snprintf(r->off, sizeof(r->off), "%s", fj_err_text());
        return err == FAJIT_E_CONTEXT_LOST || err == FAJIT_E_NO_DEVICE ? FJ_REHEARSED_FAILED
                                                                       : FJ_REHEARSED_NOT;
    }
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        l = (struct listening){.rehearsal = r};
        try_once(&l, custom, launches);
        if (l.outcome != FJ_REHEARSED_NOT || l.status != FAJIT_E_IO || *r->off)
            break;
    }
    *ret_status = l.status;
    return l.outcome;
}
