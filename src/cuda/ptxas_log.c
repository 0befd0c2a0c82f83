#include "cuda/ptxas_log.h"

#include <stdlib.h>
#include <string.h>

// The integer that stands before `word` in the line, as in "16 bytes spill loads"; -1 when absent.
static int number_before(const char *line, const char *end, const char *word)
{
    const char *at = memmem(line, (size_t)(end - line), word, strlen(word));
    if (!at)
        return -1;
    while (at > line && at[-1] == ' ')
        at--;
    const char *digits = at;
    while (digits > line && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    return digits < at ? (int)strtol(digits, NULL, 10) : -1;
}

static bool contains(const char *line, const char *end, const char *word)
{
    return memmem(line, (size_t)(end - line), word, strlen(word)) != NULL;
}

static void add(int *sum, int value)
{
    if (value >= 0)
        *sum = (*sum < 0 ? 0 : *sum) + value;
}

static void raise(int *most, int value)
{
    if (value > *most)
        *most = value;
}

// Lines as ptxas 12 and 13 write them:
//   ptxas         .     0 bytes stack frame, 16 bytes spill stores, 16 bytes spill loads
//   ptxas info    : Used 30 registers, used 1 barriers, 4096 bytes smem
//   ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized
//   ptxas info    : (C7517) warpgroup.wait is injected in around line 55 by compiler ..
// C7519, an injected warpgroup.arrive, costs next to nothing.
static void read_line(const char *line, const char *end, struct fj_compiled *ret)
{
    if (contains(line, end, "bytes stack frame")) {
        raise(&ret->local_bytes, number_before(line, end, "bytes stack frame"));
        add(&ret->spill_bytes, number_before(line, end, "bytes spill stores"));
        add(&ret->spill_bytes, number_before(line, end, "bytes spill loads"));
    }
    if (contains(line, end, "Used ") && contains(line, end, " registers")) {
        int smem = number_before(line, end, "bytes smem");
        raise(&ret->registers, number_before(line, end, " registers"));
        raise(&ret->smem_static_bytes, smem < 0 ? 0 : smem);
    }
    if (contains(line, end, "(C75") && (contains(line, end, "instructions are serialized") ||
                                        contains(line, end, "warpgroup.wait is injected")))
        ret->wgmma_serialised = true;
}

void fj_ptxas_log_read(const char *log, struct fj_compiled *ret)
{
    ret->registers = ret->spill_bytes = ret->smem_static_bytes = ret->local_bytes = -1;
    ret->wgmma_serialised = false;
    while (*log) {
        const char *end = strchrnul(log, '\n');
        read_line(log, end, ret);
        log = *end ? end + 1 : end;
    }
}
