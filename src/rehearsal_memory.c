// What a rehearsal takes along: the launches that were noted, and the memory they point into.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "rehearsal.h"

// Copies on disk and in device memory: more would be in the way of what is being tuned.
#define COPY_MAX ((uint64_t)4 << 30)
#define CHUNK_BYTES ((size_t)8 << 20)
#define LAUNCHES_MAX 64

// --- Launches ---------------------------------------------------------------------------------

size_t fj_launch_next(const struct fj_noted_launch *launch, int arg, size_t at)
{
    return at + (launch->bytes[arg] + 7) / 8 * 8;
}

int fj_launches_note(struct fj_launches *launches, const unsigned grid[3],
                     const struct fajit_arg *args, int arg_count)
{
    struct fj_noted_launch launch = {.arg_count = arg_count};
    size_t total = 0, at = 0;
    for (int i = 0; i < arg_count; i++) {
        launch.bytes[i] = args[i].bytes;
        total = fj_launch_next(&launch, i, total);
    }
    memcpy(launch.grid, grid, sizeof(launch.grid));
    struct fj_noted_launch *items =
        realloc(launches->items, (size_t)(launches->count + 1) * sizeof(*items));
    if (items)
        launches->items = items;
    launch.values = calloc(1, total + 1);
    if (!items || !launch.values) {
        free(launch.values);
        return fj_err(FAJIT_E_NOMEM, "no memory to note a launch");
    }
    for (int i = 0; i < arg_count; i++) {
        memcpy(launch.values + at, args[i].value, args[i].bytes);
        at = fj_launch_next(&launch, i, at);
    }
    launches->items[launches->count++] = launch;
    return FAJIT_OK;
}

void fj_launches_free(struct fj_launches *launches)
{
    for (int i = 0; i < launches->count; i++)
        free(launches->items[i].values);
    free(launches->items);
    *launches = (struct fj_launches){0};
}

// --- Memory -----------------------------------------------------------------------------------

static bool is_known(const struct fj_rehearsal *r, uint64_t word)
{
    for (int i = 0; i < r->block_count; i++)
        if (r->blocks[i].wanted && word - r->blocks[i].address < r->blocks[i].bytes)
            return true;
    return false;
}

// The driver's word on whose memory it is: most words are no addresses at all.
static bool find_allocation(const struct fj_cuda *cuda, uint64_t word,
                            struct fj_rehearsal_block *ret)
{
    CUdeviceptr reached = 0, start = 0;
    size_t size = 0;
    if (word < 4096 ||
        cuda->cuPointerGetAttribute(&reached, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, word) ||
        cuda->cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, word) ||
        cuda->cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, word))
        return false;
    *ret = (struct fj_rehearsal_block){.address = start, .bytes = size, .wanted = true};
    return size > 0;
}

static int copy_contents(struct fj_rehearsal *r, const struct fj_rehearsal_block *block,
                         void *chunk)
{
    const struct fj_cuda *cuda = r->params.device->cuda;
    int err = FAJIT_OK;
    for (uint64_t done = 0; done < block->bytes && err == 0; done += CHUNK_BYTES) {
        uint64_t left = block->bytes - done;
        size_t some = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        err = fj_cuda_check(cuda, cuda->cuMemcpyDtoH_v2(chunk, block->address + done, some),
                            "cuMemcpyDtoH");
        if (err == 0)
            err = fj_file_write_at(r->fd, block->offset + done, chunk, some);
    }
    return err;
}

static int write_block(struct fj_rehearsal *r, const struct fj_rehearsal_block *block)
{
    int err = r->fd < 0 ? fj_file_nameless(r->params.dir, &r->fd) : FAJIT_OK;
    if (err)
        return err;
    void *chunk = malloc(block->bytes < CHUNK_BYTES ? (size_t)block->bytes : CHUNK_BYTES);
    err = chunk ? copy_contents(r, block, chunk)
                : fj_err(FAJIT_E_NOMEM, "no memory to copy the device's for a rehearsal");
    free(chunk);
    return err;
}

static int add_block(struct fj_rehearsal *r, struct fj_rehearsal_block block)
{
    for (int i = 0; i < r->block_count; i++)
        if (r->blocks[i].address == block.address && r->blocks[i].bytes == block.bytes) {
            r->blocks[i].wanted = true;
            return FAJIT_OK;
        }
    if (block.bytes > COPY_MAX - r->bytes)
        return fj_err(FAJIT_E_NOMEM,
                      "its arguments point into allocations of more than %llu MiB in all, which is "
                      "what is copied at most",
                      (unsigned long long)(COPY_MAX >> 20));
    void *blocks = realloc(r->blocks, (size_t)(r->block_count + 1) * sizeof(*r->blocks));
    if (!blocks)
        return fj_err(FAJIT_E_NOMEM, "no memory for a rehearsal");
    r->blocks = blocks;
    block.offset = r->bytes;
    int err = write_block(r, &block);
    if (err)
        return err;
    r->bytes += block.bytes;
    r->blocks[r->block_count++] = block;
    return FAJIT_OK;
}

static int scan_launch(struct fj_rehearsal *r, const struct fj_noted_launch *launch)
{
    size_t at = 0;
    int err = FAJIT_OK;
    for (int i = 0; i < launch->arg_count; at = fj_launch_next(launch, i, at), i++)
        for (size_t k = 0; k + sizeof(uint64_t) <= launch->bytes[i] && err == 0; k += 8) {
            struct fj_rehearsal_block block;
            uint64_t word;
            memcpy(&word, launch->values + at + k, sizeof(word));
            if (!is_known(r, word) && find_allocation(r->params.device->cuda, word, &block))
                err = add_block(r, block);
        }
    return err;
}

int fj_rehearsal_copy(struct fj_rehearsal *r, const struct fj_launches *launches)
{
    int err = FAJIT_OK;
    if (launches->count == 0)
        return fj_err(FAJIT_E_UNSUPPORTED, "the host's launch callback launched nothing");
    if (launches->count > LAUNCHES_MAX)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "the host's launch callback made %d launches; up to %d "
                      "are rehearsed",
                      launches->count, LAUNCHES_MAX);
    if (!r->params.device->cuda->cuPointerGetAttribute)
        return fj_err(FAJIT_E_UNSUPPORTED, "this driver cannot tell what an address belongs to");
    for (int i = 0; i < r->block_count; i++)
        r->blocks[i].wanted = false;
    for (int i = 0; i < launches->count && err == 0; i++)
        err = scan_launch(r, &launches->items[i]);
    return err;
}
