// Every allocation is a reservation of its own: guard, memory, guard. A freed one stays reserved,
// without memory, until the quarantine is full: a stale pointer meets nobody else's data.
#include "emu/memory.h"

#include "base/err.h"
#include "base/thread.h"
#include "base/vm.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Wide enough that an index one tile off still lands in it.
#define GUARD_BYTES ((uint64_t)4 << 20)
#define QUARANTINE_RANGES 512
#define QUARANTINE_BYTES ((uint64_t)1 << 42)

struct freed {
    uint64_t base, bytes; // without the guards
    uint32_t serial;
};

static struct {
    pthread_rwlock_t lock;      // of the table
    struct fj_emu_block **live; // by base
    size_t count, capacity;
    struct freed freed[QUARANTINE_RANGES]; // a ring, oldest at `oldest`
    size_t oldest, n_freed;
    uint64_t freed_bytes;
    uint32_t serial;
    bool track;
    _Atomic int tracked;         // live blocks that are
    _Atomic uint64_t generation; // changes when a block goes: outdates the threads' hits
} table = {.lock = PTHREAD_RWLOCK_INITIALIZER, .generation = 1};

// Launches hold it for reading, frees for writing.
static pthread_rwlock_t launches = PTHREAD_RWLOCK_INITIALIZER;

// The blocks a thread met last. A kernel reads a handful of tensors in turn.
#define HITS 4
static _Thread_local struct {
    uint64_t generation;
    unsigned next;
    const struct fj_emu_block *block[HITS];
} hits;

static bool holds(const struct fj_emu_block *block, uint64_t addr, uint64_t bytes)
{
    uint64_t offset = addr - block->base;
    return offset <= block->bytes && bytes <= block->bytes - offset;
}

// Index of the first block whose base is above `addr`.
static size_t upper_bound(uint64_t addr)
{
    size_t low = 0, high = table.count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (table.live[mid]->base <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static const struct fj_emu_block *find_in_table(uint64_t addr, uint64_t bytes)
{
    pthread_rwlock_rdlock(&table.lock);
    size_t above = upper_bound(addr);
    const struct fj_emu_block *block = above ? table.live[above - 1] : NULL;
    pthread_rwlock_unlock(&table.lock);
    return block && holds(block, addr, bytes) ? block : NULL;
}

const struct fj_emu_block *fj_emu_mem_find(uint64_t addr, uint64_t bytes)
{
    uint64_t generation = atomic_load_explicit(&table.generation, memory_order_acquire);
    if (hits.generation != generation) {
        memset(&hits, 0, sizeof(hits));
        hits.generation = generation;
    }
    for (int i = 0; i < HITS; i++)
        if (hits.block[i] && holds(hits.block[i], addr, bytes))
            return hits.block[i];
    const struct fj_emu_block *block = find_in_table(addr, bytes);
    if (block)
        hits.block[hits.next++ % HITS] = block;
    return block;
}

// Allocation.

static uint64_t round_up(uint64_t bytes)
{
    uint64_t page = fj_vm_page_bytes();
    return (bytes + page - 1) / page * page;
}

static void *map_guarded(uint64_t bytes)
{
    uint64_t body = round_up(bytes);
    uint8_t *base = fj_vm_reserve(body + 2 * GUARD_BYTES);
    if (!base)
        return NULL;
    if (fj_vm_commit(base + GUARD_BYTES, body))
        return base + GUARD_BYTES;
    fj_vm_release(base, body + 2 * GUARD_BYTES);
    return NULL;
}

static void unmap_guarded(uint64_t base, uint64_t bytes)
{
    fj_vm_release((void *)(uintptr_t)(base - GUARD_BYTES), round_up(bytes) + 2 * GUARD_BYTES);
}

static bool grow(void)
{
    if (table.count < table.capacity)
        return true;
    size_t capacity = table.capacity ? 2 * table.capacity : 64;
    struct fj_emu_block **live = realloc(table.live, capacity * sizeof(*live));
    if (!live)
        return false;
    table.live = live;
    table.capacity = capacity;
    return true;
}

static bool insert(struct fj_emu_block *block)
{
    pthread_rwlock_wrlock(&table.lock);
    bool ok = grow();
    if (ok) {
        size_t at = upper_bound(block->base);
        memmove(table.live + at + 1, table.live + at, (table.count - at) * sizeof(*table.live));
        table.live[at] = block;
        table.count++;
        block->serial = ++table.serial;
    }
    pthread_rwlock_unlock(&table.lock);
    return ok;
}

static void stop_tracking(struct fj_emu_block *block)
{
    if (!block->written)
        return;
    unmap_guarded((uintptr_t)block->written, block->bytes);
    block->written = NULL;
    atomic_fetch_sub(&table.tracked, 1);
}

static void discard(struct fj_emu_block *block)
{
    stop_tracking(block);
    free(block);
}

int fj_emu_mem_alloc_for(uint64_t bytes, int device, void *owner, uint64_t *ret_addr)
{
    struct fj_emu_block *block = calloc(1, sizeof(*block));
    void *memory = block && bytes <= UINT64_MAX / 4 ? map_guarded(bytes) : NULL;
    if (!memory) {
        free(block);
        return fj_err(FAJIT_E_NOMEM,
                      "the emulated device found no host memory for %" PRIu64 " bytes", bytes);
    }
    *block = (struct fj_emu_block){
        .base = (uintptr_t)memory, .bytes = bytes, .device = device, .owner = owner};
    if (table.track && (block->written = map_guarded(bytes)))
        atomic_fetch_add(&table.tracked, 1);
    if (!insert(block)) {
        unmap_guarded(block->base, bytes);
        discard(block);
        return fj_err(FAJIT_E_NOMEM, "out of host memory for the table of allocations");
    }
    *ret_addr = block->base;
    return FAJIT_OK;
}

int fj_emu_mem_alloc(uint64_t bytes, uint64_t *ret_addr)
{
    return fj_emu_mem_alloc_for(bytes, 0, NULL, ret_addr);
}

// Freeing.

static void leave_quarantine(void)
{
    struct freed *old = &table.freed[table.oldest];
    unmap_guarded(old->base, old->bytes);
    table.freed_bytes -= old->bytes;
    table.oldest = (table.oldest + 1) % QUARANTINE_RANGES;
    table.n_freed--;
}

static void enter_quarantine(const struct fj_emu_block *block)
{
    fj_vm_decommit((void *)(uintptr_t)block->base, round_up(block->bytes));
    while (table.n_freed == QUARANTINE_RANGES ||
           (table.n_freed && table.freed_bytes + block->bytes > QUARANTINE_BYTES))
        leave_quarantine();
    size_t at = (table.oldest + table.n_freed++) % QUARANTINE_RANGES;
    table.freed[at] = (struct freed){block->base, block->bytes, block->serial};
    table.freed_bytes += block->bytes;
}

static void remove_at(size_t at)
{
    struct fj_emu_block *block = table.live[at];
    table.count--;
    memmove(table.live + at, table.live + at + 1, (table.count - at) * sizeof(*table.live));
    atomic_fetch_add_explicit(&table.generation, 1, memory_order_release);
    enter_quarantine(block);
    discard(block);
}

int fj_emu_mem_free(uint64_t addr)
{
    pthread_rwlock_wrlock(&launches);
    pthread_rwlock_wrlock(&table.lock);
    size_t above = upper_bound(addr);
    bool found = above && table.live[above - 1]->base == addr;
    if (found)
        remove_at(above - 1);
    pthread_rwlock_unlock(&table.lock);
    pthread_rwlock_unlock(&launches);
    if (found)
        return FAJIT_OK;
    char where[160];
    fj_emu_mem_describe(addr, 1, where, sizeof(where));
    return fj_err(FAJIT_E_INVAL, "free of 0x%" PRIx64 ", which is no allocation's start: %s", addr,
                  where);
}

void fj_emu_mem_free_all(const void *owner)
{
    pthread_rwlock_wrlock(&launches);
    pthread_rwlock_wrlock(&table.lock);
    for (size_t i = table.count; i-- > 0;)
        if (table.live[i]->owner == owner)
            remove_at(i);
    pthread_rwlock_unlock(&table.lock);
    pthread_rwlock_unlock(&launches);
}

void fj_emu_mem_begin_launch(void)
{
    pthread_rwlock_rdlock(&launches);
}

void fj_emu_mem_end_launch(void)
{
    pthread_rwlock_unlock(&launches);
}

// Check mode.

void fj_emu_mem_track(bool on)
{
    pthread_rwlock_wrlock(&table.lock);
    table.track = on;
    pthread_rwlock_unlock(&table.lock);
}

void fj_emu_mem_mark(uint64_t addr, uint64_t bytes)
{
    const struct fj_emu_block *block = fj_emu_mem_find(addr, bytes);
    if (block && block->written)
        memset(block->written + (addr - block->base), 1, bytes);
}

void fj_emu_mem_tagged(const struct fj_emu_block *block)
{
    __atomic_store_n(&((struct fj_emu_block *)block)->tagged, true, __ATOMIC_RELAXED);
}

void fj_emu_mem_settle(void)
{
    pthread_rwlock_rdlock(&table.lock);
    for (size_t i = 0; i < table.count; i++) {
        struct fj_emu_block *block = table.live[i];
        if (!block->written || !__atomic_exchange_n(&block->tagged, false, __ATOMIC_RELAXED))
            continue;
        for (uint64_t k = 0; k < block->bytes; k++)
            block->written[k] = block->written[k] != 0;
    }
    pthread_rwlock_unlock(&table.lock);
}

void fj_emu_mem_forget(int device)
{
    if (atomic_load(&table.tracked) == 0)
        return;
    pthread_rwlock_wrlock(&launches);
    pthread_rwlock_wrlock(&table.lock);
    for (size_t i = 0; i < table.count; i++)
        if (table.live[i]->device == device)
            stop_tracking(table.live[i]);
    pthread_rwlock_unlock(&table.lock);
    pthread_rwlock_unlock(&launches);
}

// Reports.

static const struct freed *find_freed(uint64_t addr)
{
    for (size_t i = table.n_freed; i-- > 0;) { // latest first
        const struct freed *range = &table.freed[(table.oldest + i) % QUARANTINE_RANGES];
        if (addr >= range->base && addr - range->base < range->bytes)
            return range;
    }
    return NULL;
}

static void describe_block(const struct fj_emu_block *block, uint64_t addr, uint64_t bytes,
                           char *ret_text, size_t cap)
{
    uint64_t end = block->base + block->bytes;
    if (addr < block->base)
        snprintf(ret_text, cap,
                 "%" PRIu64 " bytes before allocation #%" PRIu32 " of %" PRIu64 " bytes",
                 block->base - addr, block->serial, block->bytes);
    else if (addr >= end)
        snprintf(ret_text, cap,
                 "%" PRIu64 " bytes past allocation #%" PRIu32 " of %" PRIu64 " bytes", addr - end,
                 block->serial, block->bytes);
    else if (bytes > end - addr)
        snprintf(ret_text, cap,
                 "%" PRIu64 " of its bytes past allocation #%" PRIu32 " of %" PRIu64 " bytes",
                 bytes - (end - addr), block->serial, block->bytes);
    else
        snprintf(ret_text, cap, "byte %" PRIu64 " of allocation #%" PRIu32 " of %" PRIu64 " bytes",
                 addr - block->base, block->serial, block->bytes);
}

// The nearest block, when `addr` is in it or in one of its guards.
static const struct fj_emu_block *find_near(uint64_t addr)
{
    size_t above = upper_bound(addr);
    const struct fj_emu_block *below = above ? table.live[above - 1] : NULL;
    const struct fj_emu_block *next = above < table.count ? table.live[above] : NULL;
    if (below && addr - below->base < below->bytes + GUARD_BYTES)
        return below;
    return next && next->base - addr <= GUARD_BYTES ? next : NULL;
}

void fj_emu_mem_describe(uint64_t addr, uint64_t bytes, char *ret_text, size_t cap)
{
    pthread_rwlock_rdlock(&table.lock);
    const struct fj_emu_block *block = find_near(addr);
    const struct freed *freed = find_freed(addr);
    if (freed)
        snprintf(ret_text, cap, "inside allocation #%" PRIu32 " of %" PRIu64 " bytes, freed",
                 freed->serial, freed->bytes);
    else if (block)
        describe_block(block, addr, bytes, ret_text, cap);
    else
        snprintf(ret_text, cap, "%s", addr < 4096 ? "a null pointer" : "not memory of this device");
    pthread_rwlock_unlock(&table.lock);
}
