// Any bytes as a cache entry: refused or read, never a crash. Checksums are put right first, or
// nothing behind them would ever be reached.
//
//   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Iinclude -Isrc
//       tests/fuzz/fuzz_entry.c src/cache/entry.c src/base/{buf,err,file,fmt,hash}.c -lzstd -lmd
#include "cache/entry.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *bytes, size_t size)
{
    if (size < FJ_ENTRY_HEADER_BYTES + 16)
        return;
    fj_checksum(bytes, FJ_ENTRY_HEADER_BYTES - 16, bytes + FJ_ENTRY_HEADER_BYTES - 16);
    fj_checksum(bytes, size - 16, bytes + size - 16);
}

// What is accepted must survive being written and read again.
static void check_again(const struct fj_entry *entry)
{
    struct fj_buf bytes = {0}, text = {0};
    struct fj_entry again;
    if (fj_entry_write(entry, &bytes) != FAJIT_OK ||
        fj_entry_read(bytes.data, bytes.len, &entry->key, &again, &text) != FAJIT_OK ||
        again.image_bytes != entry->image_bytes || again.source_bytes != entry->source_bytes ||
        memcmp(again.image, entry->image, entry->image_bytes) != 0)
        __builtin_trap();
    fj_buf_free(&bytes);
    fj_buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fj_entry entry;
    struct fj_buf text = {0};
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    // The last bit decides whether the damage is to be found by checksum or by sense.
    if (size && data[size - 1] % 2)
        seal(bytes, size);
    if (fj_entry_read(bytes, size, NULL, &entry, &text) == FAJIT_OK)
        check_again(&entry);
    fj_buf_free(&text);
    free(bytes);
    return 0;
}
