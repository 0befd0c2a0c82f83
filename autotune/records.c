#include "autotune/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/lines.h"
#include "kernels/words.h"

#define FORMAT "fj1"
#define FIELDS 16
#define SUM_DIGITS 8
#define FILE_MAX_BYTES (256u << 20)

static const char *const verdict_names[FJ_VERDICT_COUNT] = {
    [FJ_VERDICT_BEST] = "best",     [FJ_VERDICT_TIMED] = "timed",
    [FJ_VERDICT_SPILL] = "spill",   [FJ_VERDICT_WRONG] = "wrong",
    [FJ_VERDICT_FAILED] = "failed", [FJ_VERDICT_FAULT] = "fault",
    [FJ_VERDICT_TRYING] = "trying", [FJ_VERDICT_UNCHECKED] = "unchecked",
};

const char *fj_verdict_name(enum fj_verdict verdict)
{
    return (unsigned)verdict < FJ_VERDICT_COUNT ? verdict_names[verdict] : "?";
}

void fj_record_gpu(const struct fj_gpu *gpu, char ret_text[96])
{
    snprintf(ret_text, 96, "%.75s/%d/%d", gpu->name, gpu->cc, gpu->sm_count);
    for (char *c = ret_text; *c; c++)
        *c = *c > ' ' && *c < 127 ? *c : '_';
}

static void sum_of(const char *bytes, size_t len, char ret_sum[SUM_DIGITS + 1])
{
    uint8_t sum[16];
    fj_checksum(bytes, len, sum);
    for (int i = 0; i < SUM_DIGITS / 2; i++)
        snprintf(ret_sum + 2 * i, 3, "%02x", sum[i]);
}

static const char *or_dash(const char *text)
{
    return *text ? text : "-";
}

void fj_record_print(const struct fj_record *record, struct fj_buf *ret_line)
{
    size_t start = ret_line->len;
    char sum[SUM_DIGITS + 1];
    fj_buf_printf(ret_line, FORMAT " %s %s %s %s %s %s %s", or_dash(record->digest), record->gpu,
                  record->key.problem, record->kernel, record->variant, or_dash(record->config),
                  fj_verdict_name(record->verdict));
    fj_buf_printf(ret_line, " %.3f %.3f %.3f %d %s %s %lld", record->median_us, record->p25_us,
                  record->p75_us, record->samples, or_dash(record->nvrtc), or_dash(record->origin),
                  (long long)record->time_s);
    if (ret_line->failed)
        return;
    sum_of(ret_line->data + start, ret_line->len - start, sum);
    fj_buf_printf(ret_line, " %s\n", sum);
}

// --- Reading ----------------------------------------------------------------------------------

struct field {
    const char *at;
    size_t len;
};

// Fields between single blanks; 0 when there are more than FIELDS.
static int split(const char *line, size_t len, struct field fields[FIELDS])
{
    int count = 0;
    for (const char *end = line + len; line <= end; count++) {
        const char *blank = memchr(line, ' ', (size_t)(end - line));
        if (count == FIELDS)
            return 0;
        fields[count] = (struct field){line, (size_t)((blank ? blank : end) - line)};
        line = (blank ? blank : end) + 1;
    }
    return count;
}

static bool take_text(struct field field, char *ret, size_t size)
{
    if (field.len == 0 || field.len >= size)
        return false;
    memcpy(ret, field.at, field.len);
    ret[field.len] = '\0';
    if (strcmp(ret, "-") == 0)
        *ret = '\0';
    return true;
}

// Digits with an optional fraction: what fj_record_print writes, whatever the locale.
static bool take_us(struct field field, double *ret)
{
    float value;
    if (!fj_parse_float(field.at, field.len, &value) || value < 0)
        return false;
    // A float keeps seven digits; a time is worth all it was written with.
    double whole = 0, unit = 0;
    for (size_t i = 0; i < field.len; i++) {
        char c = field.at[i];
        if (c == '.') {
            unit = 1;
        } else if (c >= '0' && c <= '9') {
            whole = whole * 10 + (c - '0');
            unit *= 10;
        } else {
            return false;
        }
    }
    *ret = unit > 0 ? whole / unit : whole;
    return true;
}

static bool take_int(struct field field, int64_t max, int64_t *ret)
{
    if (field.len == 1 && *field.at == '0') {
        *ret = 0;
        return true;
    }
    return fj_parse_count(field.at, field.len, max, ret);
}

static bool take_verdict(struct field field, enum fj_verdict *ret)
{
    for (int i = 0; i < FJ_VERDICT_COUNT; i++)
        if (strlen(verdict_names[i]) == field.len &&
            memcmp(verdict_names[i], field.at, field.len) == 0) {
            *ret = (enum fj_verdict)i;
            return true;
        }
    return false;
}

static const char *take_fields(const struct field *f, struct fj_record *r)
{
    int64_t samples;
    if (!take_text(f[1], r->digest, sizeof(r->digest)))
        return "the template's digest is not one";
    if (!take_text(f[2], r->gpu, sizeof(r->gpu)))
        return "the GPU's name is empty or too long";
    if (!fj_tune_key_parse(f[3].at, f[3].len, &r->key))
        return "the problem is not one";
    if (!take_text(f[4], r->kernel, sizeof(r->kernel)) ||
        !take_text(f[5], r->variant, sizeof(r->variant)) ||
        !take_text(f[6], r->config, sizeof(r->config)))
        return "kernel, variant or configuration is empty or too long";
    if (!take_verdict(f[7], &r->verdict))
        return "the verdict is unknown";
    if (!take_us(f[8], &r->median_us) || !take_us(f[9], &r->p25_us) || !take_us(f[10], &r->p75_us))
        return "a time is not a number";
    if (!take_int(f[11], 1000000, &samples))
        return "the number of samples is not one";
    if (!take_text(f[12], r->nvrtc, sizeof(r->nvrtc)) ||
        !take_text(f[13], r->origin, sizeof(r->origin)) ||
        !take_int(f[14], INT64_MAX / 16, &r->time_s))
        return "NVRTC, origin or time is damaged";
    r->samples = (int)samples;
    return NULL;
}

int fj_record_parse(const char *line, size_t len, struct fj_record *ret_record)
{
    struct field fields[FIELDS];
    struct fj_record record = {.digest = ""};
    char sum[SUM_DIGITS + 1];
    size_t tag = sizeof(FORMAT) - 1;
    if (len < tag + 1 || memcmp(line, FORMAT " ", tag + 1) != 0)
        return fj_err(FAJIT_E_IO, "not a tuning record of format " FORMAT);
    if (split(line, len, fields) != FIELDS)
        return fj_err(FAJIT_E_IO, "a record has %d fields; this line was cut or changed", FIELDS);
    const struct field *last = &fields[FIELDS - 1];
    sum_of(line, (size_t)(last->at - line) - 1, sum);
    if (last->len != SUM_DIGITS || memcmp(last->at, sum, SUM_DIGITS) != 0)
        return fj_err(FAJIT_E_IO, "the checksum is %.*s, its bytes give %s: the line was changed",
                      (int)(last->len < 16 ? last->len : 16), last->at, sum);
    const char *why = take_fields(fields, &record);
    if (why)
        return fj_err(FAJIT_E_IO, "%s", why);
    *ret_record = record;
    return FAJIT_OK;
}

void fj_records_add(struct fj_records *records, const struct fj_record *record)
{
    if (records->count == records->cap) {
        int cap = records->cap ? records->cap * 2 : 64;
        struct fj_record **items = realloc(records->items, (size_t)cap * sizeof(*items));
        if (!items) {
            records->failed = true;
            return;
        }
        records->items = items;
        records->cap = cap;
    }
    struct fj_record *copy = malloc(sizeof(*copy));
    if (!copy) {
        records->failed = true;
        return;
    }
    *copy = *record;
    records->items[records->count++] = copy;
}

static void report(struct fj_records *records, const char *name, int line,
                   void (*bad)(void *user, const char *sentence), void *user)
{
    char text[256];
    snprintf(text, sizeof(text), "%s:%d: %s", name, line, fj_err_text());
    if (records->bad_lines++ == 0)
        memcpy(records->first_bad, text, sizeof(text));
    if (bad)
        bad(user, text);
}

void fj_records_parse(struct fj_records *records, const char *name, const char *text, size_t len,
                      void (*bad)(void *user, const char *sentence), void *user)
{
    const char *end = text + len;
    for (int number = 1; text < end; number++) {
        struct fj_record record;
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((newline ? newline : end) - text);
        if (size && *text != '#') {
            if (fj_record_parse(text, size, &record))
                report(records, name, number, bad, user);
            else
                fj_records_add(records, &record);
        }
        text += size + 1;
    }
}

int fj_records_load(struct fj_records *records, const char *path,
                    void (*bad)(void *user, const char *sentence), void *user)
{
    struct fj_buf text = {0};
    int before = records->count, bad_before = records->bad_lines;
    if (!fj_file_exists(path))
        return FAJIT_OK;
    int err = fj_file_read(path, FILE_MAX_BYTES, &text);
    if (err == 0)
        fj_records_parse(records, path, text.data, text.len, bad, user);
    fj_buf_free(&text);
    if (records->failed)
        return fj_err(FAJIT_E_NOMEM, "out of memory while reading %s", path);
    if (err == 0 && records->count == before && records->bad_lines > bad_before)
        return fj_err(FAJIT_E_IO, "no line of %s is a tuning record; the first: %s", path,
                      records->first_bad);
    return err;
}

// --- Order ------------------------------------------------------------------------------------

// What a record is about.
static int compare_subject(const struct fj_record *a, const struct fj_record *b)
{
    int order = strcmp(a->digest, b->digest);
    order = order ? order : strcmp(a->gpu, b->gpu);
    return order ? order : strcmp(a->key.problem, b->key.problem);
}

static int compare_identity(const struct fj_record *a, const struct fj_record *b)
{
    int order = compare_subject(a, b);
    order = order ? order : strcmp(a->kernel, b->kernel);
    order = order ? order : strcmp(a->variant, b->variant);
    order = order ? order : strcmp(a->config, b->config);
    return order ? order : strcmp(a->nvrtc, b->nvrtc);
}

// Of what was noted within one second: a fault of its own outweighs a time, anything the note that
// it was about to be tried.
static int weight(enum fj_verdict verdict)
{
    static const int weights[FJ_VERDICT_COUNT] = {
        [FJ_VERDICT_BEST] = 0,      [FJ_VERDICT_WRONG] = 1,  [FJ_VERDICT_FAULT] = 2,
        [FJ_VERDICT_FAILED] = 3,    [FJ_VERDICT_SPILL] = 4,  [FJ_VERDICT_TIMED] = 5,
        [FJ_VERDICT_UNCHECKED] = 6, [FJ_VERDICT_TRYING] = 7,
    };
    return weights[verdict];
}

// Everything counts, so that merging gives one file whatever the order of its inputs.
static int compare_records(const void *left, const void *right)
{
    const struct fj_record *a = *(struct fj_record *const *)left;
    const struct fj_record *b = *(struct fj_record *const *)right;
    int order = compare_identity(a, b);
    if (order)
        return order;
    if (a->time_s != b->time_s)
        return a->time_s > b->time_s ? -1 : 1;
    if (a->verdict != b->verdict)
        return weight(a->verdict) < weight(b->verdict) ? -1 : 1;
    if (a->samples != b->samples)
        return a->samples > b->samples ? -1 : 1;
    return (a->median_us > b->median_us) - (a->median_us < b->median_us);
}

// What won a search has won it, however often it was timed later, by a search for something else.
static bool outlives(const struct fj_record *older, const struct fj_record *newer)
{
    return older->verdict == FJ_VERDICT_BEST &&
           (newer->verdict == FJ_VERDICT_TIMED || newer->verdict == FJ_VERDICT_UNCHECKED);
}

void fj_records_sort(struct fj_records *records)
{
    int kept = 0;
    if (records->count == 0)
        return;
    qsort(records->items, (size_t)records->count, sizeof(*records->items), compare_records);
    for (int i = 0; i < records->count; i++) {
        struct fj_record **last = kept ? &records->items[kept - 1] : NULL;
        if (!last || compare_identity(*last, records->items[i])) {
            records->items[kept++] = records->items[i];
        } else {
            bool elected = outlives(records->items[i], *last);
            free(elected ? *last : records->items[i]);
            if (elected)
                *last = records->items[i];
        }
    }
    records->count = kept;
}

void fj_records_free(struct fj_records *records)
{
    for (int i = 0; i < records->count; i++)
        free(records->items[i]);
    free(records->items);
    *records = (struct fj_records){0};
}

// --- Writing ----------------------------------------------------------------------------------

int fj_records_append(const char *path, const struct fj_record *const *records, int count)
{
    struct fj_buf text = {0};
    for (int i = 0; i < count; i++)
        fj_record_print(records[i], &text);
    int err = text.failed ? fj_err(FAJIT_E_NOMEM, "no memory for %d tuning records", count)
              : text.len  ? fj_lines_append(path, text.data, text.len)
                          : FAJIT_OK;
    fj_buf_free(&text);
    return err;
}

int fj_records_write(const char *path, const struct fj_records *records)
{
    struct fj_buf text = {0};
    fj_buf_puts(&text, "# fajit tuning records: see autotune/records.h\n");
    for (int i = 0; i < records->count; i++)
        fj_record_print(records->items[i], &text);
    int err = text.failed ? fj_err(FAJIT_E_NOMEM, "no memory for %d records", records->count)
                          : fj_file_publish(path, text.data, text.len, 0600);
    fj_buf_free(&text);
    return err;
}

// --- Votes ------------------------------------------------------------------------------------

static bool same_choice(const struct fj_record *a, const struct fj_record *b)
{
    return strcmp(a->kernel, b->kernel) == 0 && strcmp(a->variant, b->variant) == 0 &&
           strcmp(a->config, b->config) == 0;
}

// The winner among the best records of items[first..end), all about one subject.
static const struct fj_record *elect(struct fj_record *const *items, int first, int end,
                                     int *ret_disagree)
{
    const struct fj_record *winner = NULL;
    int winner_votes = 0, voters = 0;
    for (int i = first; i < end; i++) {
        int votes = 0;
        if (items[i]->verdict != FJ_VERDICT_BEST)
            continue;
        voters++;
        for (int j = first; j < end; j++)
            votes += items[j]->verdict == FJ_VERDICT_BEST && same_choice(items[i], items[j]);
        if (votes > winner_votes ||
            (votes == winner_votes && items[i]->median_us < winner->median_us)) {
            winner = items[i];
            winner_votes = votes;
        }
    }
    *ret_disagree += winner_votes < voters;
    return winner;
}

int fj_records_vote(struct fj_records *records)
{
    int disagree = 0;
    if (records->count == 0)
        return 0;
    qsort(records->items, (size_t)records->count, sizeof(*records->items), compare_records);
    for (int first = 0, end; first < records->count; first = end) {
        for (end = first + 1; end < records->count; end++)
            if (compare_subject(records->items[first], records->items[end]))
                break;
        const struct fj_record *winner = elect(records->items, first, end, &disagree);
        for (int i = first; winner && i < end; i++) {
            struct fj_record *record = records->items[i];
            if (record->verdict == FJ_VERDICT_BEST || same_choice(record, winner)) {
                // Every copy of the winner, so that whichever is newest says so.
                bool won = same_choice(record, winner) && record->verdict <= FJ_VERDICT_TIMED;
                record->verdict = won                                  ? FJ_VERDICT_BEST
                                  : record->verdict == FJ_VERDICT_BEST ? FJ_VERDICT_TIMED
                                                                       : record->verdict;
                if (won)
                    snprintf(record->origin, sizeof(record->origin), "voted");
            }
        }
    }
    return disagree;
}
