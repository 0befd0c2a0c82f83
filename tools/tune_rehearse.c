// Rehearsals of fajit-tune worker: a kernel of the host's own, launched as the host would launch
// it, on copies of the memory that its arguments point into. The protocol is described in
// src/tune_worker.h.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tune_rehearse.h"

#define MEMORY_FD 3
#define CHUNK_BYTES ((size_t)8 << 20)
#define LAUNCHES_MAX 64

// An allocation of the host's.
struct block {
    uint64_t address, bytes, offset;
    void *copy; // here
    bool owned; // else it continues the block before it
};

struct blocks {
    struct block *items;
    int count;
};

struct launch {
    struct fajit_grid grid;
    struct fajit_kernel_args args;
    uint64_t *words; // its values
};

static struct {
    int number;           // of the request that is being told
    bool failed;          // a line of it was not understood, or there was no memory
    struct blocks wanted; // by it
    struct launch launches[LAUNCHES_MAX];
    int launch_count;
} request;

static struct blocks held; // in device memory

// --- Lines ------------------------------------------------------------------------------------

static void forget(int number)
{
    for (int i = 0; i < request.launch_count; i++)
        free(request.launches[i].words);
    request.launch_count = request.wanted.count = 0;
    request.failed = false;
    request.number = number;
}

static void take_memory(const char *fields)
{
    struct block block = {0};
    struct block *items =
        realloc(request.wanted.items, (size_t)(request.wanted.count + 1) * sizeof(*items));
    if (items)
        request.wanted.items = items;
    if (!items || sscanf(fields, "%" SCNu64 " %" SCNu64 " %" SCNu64, &block.address, &block.bytes,
                         &block.offset) != 3)
        request.failed = true;
    else
        items[request.wanted.count++] = block;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One argument out of the text, its value at `at`; where the next one's goes.
static unsigned char *take_arg(const char **text, unsigned char *at, struct fajit_arg *ret_arg)
{
    const char *hex = *text;
    size_t bytes = 0;
    for (; hex_digit(hex[0]) >= 0 && hex_digit(hex[1]) >= 0; hex += 2)
        at[bytes++] = (unsigned char)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
    *text = hex + (*hex == ',');
    *ret_arg = (struct fajit_arg){at, bytes};
    return at + (bytes + 7) / 8 * 8;
}

static void take_launch(const char *fields)
{
    struct launch launch = {.args = {.struct_size = sizeof(launch.args)}};
    int at = 0, count = 0;
    if (request.launch_count == LAUNCHES_MAX ||
        sscanf(fields, "%u %u %u %n", &launch.grid.x, &launch.grid.y, &launch.grid.z, &at) != 3 ||
        at == 0) {
        request.failed = true;
        return;
    }
    const char *text = fields + at;
    launch.words = calloc(strlen(text) / 16 + FAJIT_KERNEL_ARGS_MAX, sizeof(*launch.words));
    unsigned char *value = (unsigned char *)launch.words;
    for (; value && hex_digit(*text) >= 0 && count < FAJIT_KERNEL_ARGS_MAX; count++)
        value = take_arg(&text, value, &launch.args.items[count]);
    request.failed |= !value || (*text && *text != '-');
    request.launches[request.launch_count++] = launch;
}

// --- Memory -----------------------------------------------------------------------------------

static int by_address(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    return (x->address > y->address) - (x->address < y->address);
}

static bool is_held(const struct blocks *wanted)
{
    bool same = held.count == wanted->count;
    for (int i = 0; same && i < held.count; i++)
        same = held.items[i].address == wanted->items[i].address &&
               held.items[i].bytes == wanted->items[i].bytes &&
               held.items[i].offset == wanted->items[i].offset;
    return same;
}

static void release(struct fajit_ctx *ctx)
{
    for (int i = 0; i < held.count; i++)
        if (held.items[i].owned)
            fajit_mem_free(ctx, held.items[i].copy);
    held.count = 0;
}

// Blocks without a gap between them stay together: the end of one may be the beginning of the next.
static int allocate(struct fajit_ctx *ctx, int first, int *ret_next)
{
    struct block *items = request.wanted.items;
    int next = first + 1;
    uint64_t bytes = items[first].bytes;
    void *copy;
    for (; next < request.wanted.count &&
           items[next].address == items[next - 1].address + items[next - 1].bytes;
         next++)
        bytes += items[next].bytes;
    int err = fajit_mem_alloc(ctx, bytes, &copy);
    for (int i = first; i < next && err == 0; i++) {
        items[i].owned = i == first;
        items[i].copy = (char *)copy + (items[i].address - items[first].address);
    }
    *ret_next = next;
    return err;
}

// Device memory for what is wanted, in the place of what was.
static int hold(struct fajit_ctx *ctx)
{
    int err = FAJIT_OK, next = 0;
    qsort(request.wanted.items, (size_t)request.wanted.count, sizeof(struct block), by_address);
    if (is_held(&request.wanted))
        return FAJIT_OK;
    release(ctx);
    while (next < request.wanted.count && err == 0) {
        int first = next;
        err = allocate(ctx, first, &next);
        request.wanted.count = err ? first : request.wanted.count;
    }
    struct blocks old = held;
    held = request.wanted;
    request.wanted = (struct blocks){.items = old.items};
    if (err)
        release(ctx);
    return err;
}

static int read_chunk(uint64_t at, char *ret, size_t bytes)
{
    while (bytes > 0) {
        ssize_t got = pread(MEMORY_FD, ret, bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return FAJIT_E_IO;
        ret += got;
        at += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return FAJIT_OK;
}

// Every rehearsal begins with what was in the memory at first, whatever the one before did.
static int upload(struct fajit_ctx *ctx, const char **ret_why)
{
    char *chunk = malloc(CHUNK_BYTES);
    int err = chunk ? FAJIT_OK : FAJIT_E_NOMEM;
    *ret_why = chunk ? NULL : "the worker has no memory";
    for (int i = 0; i < held.count && err == 0; i++) {
        const struct block *block = &held.items[i];
        for (uint64_t done = 0; done < block->bytes && err == 0; done += CHUNK_BYTES) {
            uint64_t left = block->bytes - done;
            size_t some = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
            err = read_chunk(block->offset + done, chunk, some);
            *ret_why = err ? "the worker cannot read the copies of the memory" : NULL;
            if (err == 0)
                err = fajit_mem_upload(ctx, (char *)block->copy + done, chunk, some);
        }
    }
    free(chunk);
    return err;
}

// The address here of what is at `word` in the host, also just behind a block; other words are
// numbers and stay.
static uint64_t relocate(uint64_t word)
{
    const struct block *found = NULL;
    for (int i = 0; i < held.count; i++) {
        uint64_t into = word - held.items[i].address;
        if (into < held.items[i].bytes || (into == held.items[i].bytes && !found))
            found = &held.items[i];
    }
    return found ? (uint64_t)(uintptr_t)found->copy + (word - found->address) : word;
}

// As the host looked for them: in whole words, from the argument's beginning on.
static void relocate_arg(const struct fajit_arg *arg)
{
    uint64_t *words = (uint64_t *)(uintptr_t)arg->value;
    for (size_t k = 0; k < arg->bytes / sizeof(*words); k++)
        words[k] = relocate(words[k]);
}

// --- Launching --------------------------------------------------------------------------------

static int launch_all(struct fajit_ctx *ctx, const struct fajit_kernel *kernel)
{
    int err = FAJIT_OK;
    for (int i = 0; i < request.launch_count && err == 0; i++) {
        struct launch *launch = &request.launches[i];
        for (int k = 0; k < FAJIT_KERNEL_ARGS_MAX && launch->args.items[k].value; k++)
            relocate_arg(&launch->args.items[k]);
        err = fajit_kernel_launch(kernel, launch->grid, &launch->args, NULL);
    }
    return err ? err : fajit_sync(ctx);
}

// `text`: kernel:NAME,name=value,..
static int plan(struct fajit_ctx *ctx, const char *text, struct fajit_kernel **ret_kernel)
{
    const char *name = strchr(text, ':');
    const char *comma = strchr(text, ',');
    struct fajit_kernel_params params = {.struct_size = sizeof(params),
                                         .values = comma ? comma + 1 : NULL};
    char *copy = name ? strdup(name + 1) : NULL;
    if (!copy)
        return FAJIT_E_NOMEM;
    copy[strcspn(copy, ",")] = '\0';
    int err = fajit_kernel_plan(ctx, copy, &params, ret_kernel);
    free(copy);
    return err;
}

static bool rehearse(struct fajit_ctx *ctx, const char *text)
{
    struct fajit_kernel *kernel = NULL;
    const char *why = "the worker did not understand the request, or had no memory for it";
    char line[32];
    int err = request.failed ? FAJIT_E_NOMEM : FAJIT_OK;
    if (err == 0) {
        why = NULL;
        err = fajit_ctx_make_current(ctx);
    }
    if (err == 0)
        err = plan(ctx, text, &kernel);
    if (err == 0)
        err = hold(ctx);
    if (err == 0)
        err = upload(ctx, &why);
    if (err == 0) {
        worker_say(line, snprintf(line, sizeof(line), "launching %d\n", request.number));
        err = launch_all(ctx, kernel);
    }
    if (err)
        worker_say_failed(request.number, err, why);
    else
        worker_say(line, snprintf(line, sizeof(line), "rehearsed %d\n", request.number));
    if (err != FAJIT_E_CONTEXT_LOST)
        fajit_kernel_destroy(&kernel);
    return err != FAJIT_E_CONTEXT_LOST;
}

bool rehearsal_take(struct fajit_ctx *ctx, const char *line)
{
    char word[16];
    int number, at = 0;
    bool goes_on = true;
    if (sscanf(line, "%15s %d %n", word, &number, &at) != 2 || at == 0)
        return true;
    if (number != request.number)
        forget(number);
    if (strcmp(word, "memory") == 0)
        take_memory(line + at);
    else if (strcmp(word, "launch") == 0)
        take_launch(line + at);
    else if (strcmp(word, "rehearse") == 0)
        goes_on = rehearse(ctx, line + at);
    return goes_on;
}
