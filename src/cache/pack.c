#include "cache/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/fs.h"

#define MAGIC "fajitpk1"
#define HEADER_BYTES 80u
#define SUMMED_BYTES 64u // of the header; the checksum itself follows
#define INDEX_BYTES 48u  // 32 of key, offset, size
#define SUM_BYTES 16u
#define MAX_ENTRIES (1u << 20)

// --- Little-endian numbers --------------------------------------------------------------------

static void put64(unsigned char *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get64(const unsigned char *from)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)from[i] << 8 * i;
    return value;
}

// --- Reading ----------------------------------------------------------------------------------

struct fj_pack {
    int fd;
    char path[1024];
    uint64_t file_bytes, count, text_at, text_bytes;
    unsigned char *index; // count * INDEX_BYTES
};

static int bad(const char *path, const char *what)
{
    return fj_err(FAJIT_E_IO, "%s is not a usable pack: %s", path, what);
}

static void sum_header(const unsigned char *header, const unsigned char *index, uint64_t count,
                       uint8_t ret_sum[SUM_BYTES])
{
    uint8_t both[2 * SUM_BYTES];
    fj_checksum(header, SUMMED_BYTES, both);
    fj_checksum(index, count * INDEX_BYTES, both + SUM_BYTES);
    fj_checksum(both, sizeof(both), ret_sum);
}

// Every entry lies between the index and the text, and keys ascend.
static bool index_is_sound(const struct fj_pack *pack)
{
    const uint64_t first = HEADER_BYTES + pack->count * INDEX_BYTES;
    for (uint64_t i = 0; i < pack->count; i++) {
        const unsigned char *row = pack->index + i * INDEX_BYTES;
        uint64_t at = get64(row + 32), bytes = get64(row + 40);
        if (at < first || at > pack->text_at || bytes > pack->text_at - at ||
            bytes > FJ_ENTRY_MAX_BYTES || (i && memcmp(row - INDEX_BYTES, row, 32) >= 0))
            return false;
    }
    return true;
}

static int read_header(struct fj_pack *pack)
{
    unsigned char header[HEADER_BYTES];
    uint8_t sum[SUM_BYTES];
    if (pack->file_bytes < HEADER_BYTES + SUM_BYTES)
        return bad(pack->path, "it is too short");
    if (!fj_fs_read_at(pack->fd, 0, header, sizeof(header)))
        return bad(pack->path, "its header cannot be read");
    if (memcmp(header, MAGIC, 8) != 0)
        return bad(pack->path, "it does not begin like one");
    pack->count = get64(header + 8);
    pack->text_at = get64(header + 16);
    pack->text_bytes = get64(header + 24);
    if (get64(header + 32) != pack->file_bytes)
        return bad(pack->path, "it is not as long as it says: cut, or still being copied");
    uint64_t room = pack->file_bytes - HEADER_BYTES - SUM_BYTES;
    if (pack->count > MAX_ENTRIES || pack->count * INDEX_BYTES > room ||
        pack->text_at > pack->file_bytes - SUM_BYTES ||
        pack->text_bytes != pack->file_bytes - SUM_BYTES - pack->text_at)
        return bad(pack->path, "its header is damaged");
    pack->index = malloc(pack->count * INDEX_BYTES + 1);
    if (!pack->index)
        return fj_err(FAJIT_E_NOMEM, "no memory for the index of %s", pack->path);
    if (!fj_fs_read_at(pack->fd, HEADER_BYTES, pack->index, pack->count * INDEX_BYTES))
        return bad(pack->path, "its index cannot be read");
    sum_header(header, pack->index, pack->count, sum);
    if (memcmp(sum, header + SUMMED_BYTES, SUM_BYTES) != 0 || !index_is_sound(pack))
        return bad(pack->path, "its header or index is damaged");
    return FAJIT_OK;
}

int fj_pack_open(const char *path, struct fj_pack **ret_pack)
{
    struct fj_pack *pack = calloc(1, sizeof(*pack));
    if (!pack)
        return fj_err(FAJIT_E_NOMEM, "no memory to open %s", path);
    snprintf(pack->path, sizeof(pack->path), "%s", path);
    pack->fd = -1;
    enum fj_fs_result found = fj_fs_open(path, &pack->fd, &pack->file_bytes);
    int err = found == FJ_FS_OK    ? read_header(pack)
              : found == FJ_FS_ODD ? bad(path, "it is not a regular file")
                                   : bad(path, strerror(errno));
    if (err) {
        fj_pack_close(&pack);
        return err;
    }
    *ret_pack = pack;
    return FAJIT_OK;
}

void fj_pack_close(struct fj_pack **pack)
{
    if (!*pack)
        return;
    fj_fs_close((*pack)->fd);
    free((*pack)->index);
    free(*pack);
    *pack = NULL;
}

uint64_t fj_pack_bytes(const struct fj_pack *pack)
{
    return pack->file_bytes;
}

int64_t fj_pack_count(const struct fj_pack *pack)
{
    return (int64_t)pack->count;
}

int fj_pack_read(const struct fj_pack *pack, int64_t index, struct fj_buf *ret_bytes,
                 struct fj_entry *ret_entry)
{
    const unsigned char *row = pack->index + (uint64_t)index * INDEX_BYTES;
    const uint64_t bytes = get64(row + 40);
    struct fj_key key;
    memcpy(key.bytes, row, sizeof(key.bytes));
    void *data = malloc(bytes + 1);
    if (!data)
        return fj_err(FAJIT_E_NOMEM, "no memory for an entry of %s", pack->path);
    int err = FAJIT_OK;
    if (!fj_fs_read_at(pack->fd, get64(row + 32), data, bytes)) {
        err = bad(pack->path, "an entry cannot be read");
    } else {
        fj_buf_clear(ret_bytes);
        fj_buf_append(ret_bytes, data, bytes);
        if (ret_bytes->failed)
            err = fj_err(FAJIT_E_NOMEM, "no memory for an entry of %s", pack->path);
    }
    free(data);
    if (err == 0 && fj_entry_read(ret_bytes->data, ret_bytes->len, &key, ret_entry, NULL)) {
        char hex[65];
        fj_key_hex(&key, hex);
        err = fj_err_context(FAJIT_E_IO, "%s, entry %.16s", pack->path, hex);
    }
    return err;
}

bool fj_pack_get(const struct fj_pack *pack, const struct fj_key *key, struct fj_buf *ret_bytes,
                 struct fj_entry *ret_entry)
{
    uint64_t low = 0, high = pack->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = memcmp(key->bytes, pack->index + middle * INDEX_BYTES, sizeof(key->bytes));
        if (order == 0)
            return fj_pack_read(pack, (int64_t)middle, ret_bytes, ret_entry) == FAJIT_OK;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

int fj_pack_text(const struct fj_pack *pack, struct fj_buf *ret_text)
{
    char *text = malloc(pack->text_bytes + 1);
    if (!text)
        return fj_err(FAJIT_E_NOMEM, "no memory for the records of %s", pack->path);
    bool ok = fj_fs_read_at(pack->fd, pack->text_at, text, pack->text_bytes);
    if (ok)
        fj_buf_append(ret_text, text, pack->text_bytes);
    free(text);
    return ok && !ret_text->failed ? FAJIT_OK : bad(pack->path, "its records cannot be read");
}

// --- Verifying --------------------------------------------------------------------------------

static int verify_sum(const char *path, uint64_t file_bytes)
{
    struct fj_buf all = {0};
    uint8_t sum[SUM_BYTES];
    int err = fj_file_read(path, file_bytes, &all);
    if (err == 0 && all.len != file_bytes)
        err = bad(path, "it changed while it was read");
    if (err == 0) {
        fj_checksum(all.data, all.len - SUM_BYTES, sum);
        if (memcmp(sum, all.data + all.len - SUM_BYTES, SUM_BYTES) != 0)
            err = bad(path, "its bytes do not give its checksum");
    }
    fj_buf_free(&all);
    return err;
}

int fj_pack_verify(const char *path, int64_t *ret_entries)
{
    struct fj_pack *pack;
    struct fj_buf bytes = {0};
    struct fj_entry entry;
    int err = fj_pack_open(path, &pack);
    if (err)
        return err;
    for (int64_t i = 0; i < fj_pack_count(pack) && err == 0; i++)
        err = fj_pack_read(pack, i, &bytes, &entry);
    if (err == 0)
        err = verify_sum(path, pack->file_bytes);
    if (err == 0)
        *ret_entries = fj_pack_count(pack);
    fj_buf_free(&bytes);
    fj_pack_close(&pack);
    return err;
}

// --- Writing ----------------------------------------------------------------------------------

struct item {
    struct fj_key key;
    uint64_t at, bytes; // in `data`
};

struct fj_pack_writer {
    struct fj_buf data;
    struct item *items;
    size_t count, cap;
    bool failed;
};

struct fj_pack_writer *fj_pack_begin(void)
{
    return calloc(1, sizeof(struct fj_pack_writer));
}

void fj_pack_add(struct fj_pack_writer *writer, const struct fj_key *key, const void *bytes,
                 size_t len)
{
    if (writer->count == writer->cap) {
        size_t cap = writer->cap ? writer->cap * 2 : 64;
        struct item *items = realloc(writer->items, cap * sizeof(*items));
        if (!items) {
            writer->failed = true;
            return;
        }
        writer->items = items;
        writer->cap = cap;
    }
    writer->items[writer->count++] = (struct item){*key, writer->data.len, len};
    fj_buf_append(&writer->data, bytes, len);
}

// In order of addition among equals, so that the first of them can be kept.
static int by_key(const void *left, const void *right)
{
    const struct item *a = left, *b = right;
    int order = memcmp(a->key.bytes, b->key.bytes, sizeof(a->key.bytes));
    return order ? order : (a->at > b->at) - (a->at < b->at);
}

static void sort_items(struct fj_pack_writer *writer)
{
    size_t kept = 0;
    if (writer->count)
        qsort(writer->items, writer->count, sizeof(*writer->items), by_key);
    for (size_t i = 0; i < writer->count; i++)
        if (!kept || !fj_key_equal(&writer->items[kept - 1].key, &writer->items[i].key))
            writer->items[kept++] = writer->items[i];
    writer->count = kept;
}

static void write_index(const struct fj_pack_writer *writer, struct fj_buf *out)
{
    const uint64_t first = HEADER_BYTES + writer->count * INDEX_BYTES;
    for (size_t i = 0; i < writer->count; i++) {
        unsigned char row[INDEX_BYTES];
        memcpy(row, writer->items[i].key.bytes, 32);
        put64(row + 32, first + writer->items[i].at);
        put64(row + 40, writer->items[i].bytes);
        fj_buf_append(out, row, sizeof(row));
    }
}

int fj_pack_end(struct fj_pack_writer *writer, const char *text, size_t text_len, const char *path)
{
    unsigned char header[HEADER_BYTES] = MAGIC;
    uint8_t sum[SUM_BYTES];
    struct fj_buf out = {0};
    sort_items(writer);
    const uint64_t text_at = HEADER_BYTES + writer->count * INDEX_BYTES + writer->data.len;
    put64(header + 8, writer->count);
    put64(header + 16, text_at);
    put64(header + 24, text_len);
    put64(header + 32, text_at + text_len + SUM_BYTES);
    fj_buf_append(&out, header, sizeof(header));
    write_index(writer, &out);
    int err = FAJIT_OK;
    if (!out.failed) {
        sum_header(header, (unsigned char *)out.data + HEADER_BYTES, writer->count, sum);
        memcpy(out.data + SUMMED_BYTES, sum, SUM_BYTES);
    }
    fj_buf_append(&out, writer->data.data, writer->data.len);
    fj_buf_append(&out, text, text_len);
    if (out.failed || writer->failed || writer->data.failed) {
        err = fj_err(FAJIT_E_NOMEM, "no memory for a pack of %zu entries", writer->count);
    } else {
        fj_checksum(out.data, out.len, sum);
        fj_buf_append(&out, sum, sizeof(sum));
        err = out.failed ? fj_err(FAJIT_E_NOMEM, "no memory for a pack")
                         : fj_file_publish(path, out.data, out.len, 0644);
    }
    fj_buf_free(&out);
    fj_buf_free(&writer->data);
    free(writer->items);
    free(writer);
    return err;
}
