#include "cache/entry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

// Damaged the way a text-mode transfer damages files, the magic no longer matches.
static const uint8_t magic[8] = {0x89, 'F', 'J', 'C', '\r', '\n', 0x1a, '\n'};

enum {
    FORMAT_VERSION = 1,
    SUM_BYTES = 16,
    FLAG_PTX = 1,
    FLAG_SOURCE = 2,
    FLAG_LOG = 4,
    FLAGS_KNOWN = 7,
    ZSTD_LEVEL = 3,
    MAX_TEXT_BYTES = 32 << 20, // of source or log: a hostile frame must not fill the memory
};

// Offsets of the header's fields in the file, in bytes.
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_HEADER_BYTES = 12,
    AT_KEY = 16,
    AT_NAME = 48,
    AT_TARGET = 208,
    AT_NVRTC = 224,
    AT_FLAGS = 272,
    AT_REGISTERS = 276, // six int32: registers, spill, static, dynamic smem, local, threads
    AT_RESERVED = 300,
    AT_CREATED = 304,
    AT_IMAGE_BYTES = 312,
    AT_SOURCE_BYTES = 320,
    AT_LOG_BYTES = 328,
    AT_TEXT_BYTES = 336, // of the zstd frame
    AT_FILE_BYTES = 344,
    AT_HEADER_SUM = 352,
};

_Static_assert(AT_HEADER_SUM + SUM_BYTES == FJ_ENTRY_HEADER_BYTES, "the header ends in its sum");

static void put_le(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static int get_int(const uint8_t *at)
{
    return (int)(int32_t)get_le(at, 4);
}

static bool put_text(uint8_t *at, const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    if (len == size)
        return false;
    memset(at, 0, size);
    memcpy(at, text, len);
    return true;
}

// A text field must be terminated, and all zero after its end.
static bool get_text(const uint8_t *at, char *ret, size_t size)
{
    size_t len = strnlen((const char *)at, size);
    if (len == size)
        return false;
    for (size_t i = len; i < size; i++) {
        if (at[i] != 0)
            return false;
    }
    memcpy(ret, at, size);
    return true;
}

static uint32_t flags_of(const struct fj_entry *entry)
{
    return (entry->is_ptx ? FLAG_PTX : 0) | (entry->source ? FLAG_SOURCE : 0) |
           (entry->log ? FLAG_LOG : 0);
}

static bool put_header(const struct fj_entry *entry, size_t text_bytes, uint64_t file_bytes,
                       uint8_t *header)
{
    const int numbers[6] = {entry->registers,          entry->spill_bytes, entry->smem_static_bytes,
                            entry->smem_dynamic_bytes, entry->local_bytes, entry->threads};
    memset(header, 0, FJ_ENTRY_HEADER_BYTES);
    memcpy(header + AT_MAGIC, magic, sizeof(magic));
    put_le(header + AT_VERSION, FORMAT_VERSION, 4);
    put_le(header + AT_HEADER_BYTES, FJ_ENTRY_HEADER_BYTES, 4);
    memcpy(header + AT_KEY, entry->key.bytes, sizeof(entry->key.bytes));
    if (!put_text(header + AT_NAME, entry->name, sizeof(entry->name)) ||
        !put_text(header + AT_TARGET, entry->target, sizeof(entry->target)) ||
        !put_text(header + AT_NVRTC, entry->nvrtc, sizeof(entry->nvrtc)))
        return false;
    put_le(header + AT_FLAGS, flags_of(entry), 4);
    for (int i = 0; i < 6; i++)
        put_le(header + AT_REGISTERS + 4 * i, (uint32_t)numbers[i], 4);
    put_le(header + AT_CREATED, (uint64_t)entry->created_s, 8);
    put_le(header + AT_IMAGE_BYTES, entry->image_bytes, 8);
    put_le(header + AT_SOURCE_BYTES, entry->source ? entry->source_bytes : 0, 8);
    put_le(header + AT_LOG_BYTES, entry->log ? entry->log_bytes : 0, 8);
    put_le(header + AT_TEXT_BYTES, text_bytes, 8);
    put_le(header + AT_FILE_BYTES, file_bytes, 8);
    fj_checksum(header, AT_HEADER_SUM, header + AT_HEADER_SUM);
    return true;
}

// Compresses source and log into one frame: they share most of their words.
static int compress_text(const struct fj_entry *entry, struct fj_buf *ret)
{
    if (!entry->source && !entry->log)
        return FAJIT_OK;
    if ((entry->source && entry->source_bytes > MAX_TEXT_BYTES) ||
        (entry->log && entry->log_bytes > MAX_TEXT_BYTES))
        return fj_err(FAJIT_E_INVAL, "source or log of a cache entry is over the limit of %d bytes",
                      MAX_TEXT_BYTES);
    struct fj_buf text = {0};
    int status = FAJIT_E_NOMEM;
    char *frame = NULL;
    fj_buf_append(&text, entry->source, entry->source ? entry->source_bytes : 0);
    fj_buf_append(&text, "", 1);
    fj_buf_append(&text, entry->log, entry->log ? entry->log_bytes : 0);
    fj_buf_append(&text, "", 1);
    if (text.failed)
        goto out;
    size_t bound = ZSTD_compressBound(text.len);
    frame = malloc(bound);
    if (!frame)
        goto out;
    size_t frame_bytes = ZSTD_compress(frame, bound, text.data, text.len, ZSTD_LEVEL);
    if (ZSTD_isError(frame_bytes))
        goto out;
    fj_buf_append(ret, frame, frame_bytes);
    status = ret->failed ? FAJIT_E_NOMEM : FAJIT_OK;
out:
    free(frame);
    fj_buf_free(&text);
    if (status != FAJIT_OK)
        return fj_err(status, "no memory to compress a cache entry");
    return FAJIT_OK;
}

static bool image_is_sound(const void *image, size_t bytes, bool is_ptx)
{
    return image && bytes > 0 && (!is_ptx || ((const char *)image)[bytes - 1] == '\0');
}

int fj_entry_write(const struct fj_entry *entry, struct fj_buf *ret)
{
    if (!image_is_sound(entry->image, entry->image_bytes, entry->is_ptx))
        return fj_err(FAJIT_E_INVAL, "a cache entry needs an image, and PTX ends in a NUL");
    struct fj_buf frame = {0};
    int status = compress_text(entry, &frame);
    if (status != FAJIT_OK) {
        fj_buf_free(&frame);
        return status;
    }
    uint64_t file_bytes =
        (uint64_t)FJ_ENTRY_HEADER_BYTES + entry->image_bytes + frame.len + SUM_BYTES;
    uint8_t header[FJ_ENTRY_HEADER_BYTES], sum[SUM_BYTES];
    if (file_bytes > FJ_ENTRY_MAX_BYTES) {
        status = fj_err(FAJIT_E_INVAL, "a cache entry of %" PRIu64 " bytes is over the limit of %u",
                        file_bytes, FJ_ENTRY_MAX_BYTES);
    } else if (!put_header(entry, frame.len, file_bytes, header)) {
        status = fj_err(FAJIT_E_INVAL, "a text of a cache entry is too long for its field");
    } else {
        size_t start = ret->len;
        fj_buf_append(ret, header, sizeof(header));
        fj_buf_append(ret, entry->image, entry->image_bytes);
        fj_buf_append(ret, frame.data, frame.len);
        if (!ret->failed)
            fj_checksum(ret->data + start, ret->len - start, sum);
        fj_buf_append(ret, sum, sizeof(sum));
        if (ret->failed)
            status = fj_err(FAJIT_E_NOMEM, "no memory for a cache entry");
    }
    fj_buf_free(&frame);
    return status;
}

static int damaged(const char *what)
{
    return fj_err(FAJIT_E_IO, "not a valid cache entry: %s", what);
}

// Sizes that add up to the file's, none of them so large that the sum could wrap.
static bool sizes_agree(const uint8_t *header, uint32_t flags)
{
    uint64_t image = get_le(header + AT_IMAGE_BYTES, 8), text = get_le(header + AT_TEXT_BYTES, 8);
    uint64_t source = get_le(header + AT_SOURCE_BYTES, 8), log = get_le(header + AT_LOG_BYTES, 8);
    uint64_t file = get_le(header + AT_FILE_BYTES, 8);
    if (image == 0 || image > FJ_ENTRY_MAX_BYTES || text > FJ_ENTRY_MAX_BYTES ||
        source > MAX_TEXT_BYTES || log > MAX_TEXT_BYTES || file > FJ_ENTRY_MAX_BYTES)
        return false;
    if ((source && !(flags & FLAG_SOURCE)) || (log && !(flags & FLAG_LOG)))
        return false;
    if ((text != 0) != ((flags & (FLAG_SOURCE | FLAG_LOG)) != 0))
        return false;
    return file == FJ_ENTRY_HEADER_BYTES + image + text + SUM_BYTES;
}

int fj_entry_read_header(const void *bytes, size_t len, struct fj_entry *ret_entry,
                         uint64_t *ret_file_bytes)
{
    const uint8_t *header = bytes;
    uint8_t sum[SUM_BYTES];
    if (len < FJ_ENTRY_HEADER_BYTES)
        return damaged("it is shorter than a header");
    if (memcmp(header + AT_MAGIC, magic, sizeof(magic)) != 0)
        return damaged("the first bytes are not those of an entry");
    if (get_le(header + AT_VERSION, 4) != FORMAT_VERSION)
        return damaged("its format has another version");
    fj_checksum(header, AT_HEADER_SUM, sum);
    if (memcmp(header + AT_HEADER_SUM, sum, SUM_BYTES) != 0)
        return damaged("the header's checksum differs");
    uint32_t flags = (uint32_t)get_le(header + AT_FLAGS, 4);
    if (get_le(header + AT_HEADER_BYTES, 4) != FJ_ENTRY_HEADER_BYTES || (flags & ~FLAGS_KNOWN) ||
        get_le(header + AT_RESERVED, 4) != 0 || !sizes_agree(header, flags))
        return damaged("the header contradicts itself");
    struct fj_entry entry = {
        .is_ptx = flags & FLAG_PTX,
        .registers = get_int(header + AT_REGISTERS),
        .spill_bytes = get_int(header + AT_REGISTERS + 4),
        .smem_static_bytes = get_int(header + AT_REGISTERS + 8),
        .smem_dynamic_bytes = get_int(header + AT_REGISTERS + 12),
        .local_bytes = get_int(header + AT_REGISTERS + 16),
        .threads = get_int(header + AT_REGISTERS + 20),
        .created_s = (int64_t)get_le(header + AT_CREATED, 8),
        .image_bytes = get_le(header + AT_IMAGE_BYTES, 8),
        .source_bytes = get_le(header + AT_SOURCE_BYTES, 8),
        .log_bytes = get_le(header + AT_LOG_BYTES, 8),
    };
    memcpy(entry.key.bytes, header + AT_KEY, sizeof(entry.key.bytes));
    if (!get_text(header + AT_NAME, entry.name, sizeof(entry.name)) ||
        !get_text(header + AT_TARGET, entry.target, sizeof(entry.target)) ||
        !get_text(header + AT_NVRTC, entry.nvrtc, sizeof(entry.nvrtc)))
        return damaged("a text of the header does not end");
    *ret_entry = entry;
    *ret_file_bytes = get_le(header + AT_FILE_BYTES, 8);
    return FAJIT_OK;
}

// The frame must hold exactly source, NUL, log, NUL.
static int decompress_text(const uint8_t *frame, size_t frame_bytes, struct fj_entry *entry,
                           uint32_t flags, struct fj_buf *ret_text)
{
    size_t want = entry->source_bytes + entry->log_bytes + 2;
    if (frame_bytes == 0)
        return FAJIT_OK;
    if (ZSTD_getFrameContentSize(frame, frame_bytes) != want)
        return damaged("source and log have another size than the header says");
    char *text = malloc(want);
    if (!text)
        return fj_err(FAJIT_E_NOMEM, "no memory for the source of a cache entry");
    size_t got = ZSTD_decompress(text, want, frame, frame_bytes);
    if (ZSTD_isError(got) || got != want || text[entry->source_bytes] || text[want - 1]) {
        free(text);
        return damaged("source and log do not decompress");
    }
    fj_buf_free(ret_text);
    *ret_text = (struct fj_buf){.data = text, .len = want - 1, .cap = want};
    entry->source = flags & FLAG_SOURCE ? text : NULL;
    entry->log = flags & FLAG_LOG ? text + entry->source_bytes + 1 : NULL;
    return FAJIT_OK;
}

int fj_entry_read(const void *bytes, size_t len, const struct fj_key *key,
                  struct fj_entry *ret_entry, struct fj_buf *ret_text)
{
    struct fj_entry entry;
    uint64_t file_bytes;
    int status = fj_entry_read_header(bytes, len, &entry, &file_bytes);
    if (status != FAJIT_OK)
        return status;
    if (file_bytes != len)
        return damaged("the file's size is not the one in its header");
    if (key && !fj_key_equal(key, &entry.key))
        return damaged("it belongs to another key");
    uint8_t sum[SUM_BYTES];
    const uint8_t *file = bytes;
    fj_checksum(file, len - SUM_BYTES, sum);
    if (memcmp(file + len - SUM_BYTES, sum, SUM_BYTES) != 0)
        return damaged("the checksum differs");
    entry.image = file + FJ_ENTRY_HEADER_BYTES;
    if (!image_is_sound(entry.image, entry.image_bytes, entry.is_ptx))
        return damaged("the PTX does not end in a NUL");
    if (ret_text) {
        const uint8_t *frame = file + FJ_ENTRY_HEADER_BYTES + entry.image_bytes;
        status = decompress_text(frame, get_le(file + AT_TEXT_BYTES, 8), &entry,
                                 (uint32_t)get_le(file + AT_FLAGS, 4), ret_text);
        if (status != FAJIT_OK)
            return status;
    }
    *ret_entry = entry;
    return FAJIT_OK;
}
