#include "autotune/bucket.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/problem_words.h"

// Results of a problem four times as large or small say little about this one.
#define NEAREST_LOG2 2.0

static const char attn_sizes[] = "bhqk", gemm_sizes[] = "bmnk", no_sizes[] = "";

// Which letters begin a size, by the text up to the colon.
static const char *sizes_of(const char *text)
{
    return !strncmp(text, "gemm:", 5)     ? gemm_sizes
           : !strncmp(text, "kernel:", 7) ? no_sizes
                                          : attn_sizes;
}

int fj_tune_key_of(const struct fj_problem *problem, struct fj_tune_key *ret_key)
{
    struct fj_problem plain = *problem;
    struct fj_buf text = {0};
    plain.family = FAJIT_FAMILY_AUTO;
    plain.variant = FAJIT_VARIANT_AUTO;
    plain.fixed = (struct fj_config){{0}};
    if (plain.op == FAJIT_OP_ATTN_FWD)
        plain.attn.scale = fj_attn_default_scale(plain.attn.head_dim);
    fj_problem_print(&plain, &text);
    // The default promise of a matmul follows its sizes: said aloud, it stays when they go.
    if (plain.op == FAJIT_OP_GEMM && plain.gemm.align_bytes != 16 && text.data &&
        !strstr(text.data, "align="))
        fj_buf_printf(&text, ",align=%d", plain.gemm.align_bytes);
    int err = FAJIT_OK;
    if (text.failed || !fj_tune_key_parse(text.data, text.len, ret_key))
        err = fj_err(FAJIT_E_INVAL, "the problem's text is too long to file results under");
    fj_buf_free(&text);
    return err;
}

static bool append(char *text, size_t size, const char *word, size_t len, const char *separator)
{
    size_t used = strlen(text);
    return snprintf(text + used, size - used, "%s%.*s", separator, (int)len, word) <
           (int)(size - used);
}

// "h16/4": the number after the letter and the one after the slash.
static bool take_size(struct fj_tune_key *key, int slot, const char *word, size_t len)
{
    char digits[48], *end;
    if (len >= sizeof(digits))
        return false;
    memcpy(digits, word + 1, len - 1);
    digits[len - 1] = '\0';
    key->sizes[slot] = strtoll(digits, &end, 10);
    if (word[0] == 'h') {
        int64_t kv = *end == '/' ? strtoll(end + 1, &end, 10) : key->sizes[slot];
        key->group = kv > 0 ? key->sizes[slot] / kv : 0;
    }
    return *end == '\0' && key->sizes[slot] > 0;
}

// "8192/4096": the sizes of a kernel that is not ours, in its own order.
static bool take_size_list(struct fj_tune_key *key, const char *list, size_t len)
{
    char digits[80], *at = digits;
    if (len >= sizeof(digits))
        return false;
    memcpy(digits, list, len);
    digits[len] = '\0';
    for (int i = 0; i < FJ_TUNE_SIZES; i++) {
        if (!isdigit((unsigned char)*at) || (key->sizes[i] = strtoll(at, &at, 10)) < 1)
            return false;
        if (!*at)
            return true;
        if (*at++ != '/')
            return false;
    }
    return false;
}

// FNV-1a, 32 bits (Fowler, Noll, Vo).
static uint32_t hash_text(const char *text)
{
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

bool fj_tune_key_parse(const char *text, size_t len, struct fj_tune_key *ret_key)
{
    struct fj_tune_key key = {.group = 0};
    const char *colon = memchr(text, ':', len);
    if (!colon || len >= sizeof(key.problem))
        return false;
    size_t head = (size_t)(colon - text) + 1;
    const char *names = sizes_of(text);
    memcpy(key.problem, text, len);
    memcpy(key.exact, text, head);
    key.group = names == gemm_sizes;
    const char *separator = "", *end = text + len;
    for (const char *word = text + head; word < end;) {
        const char *comma = memchr(word, ',', (size_t)(end - word));
        size_t size = (size_t)((comma ? comma : end) - word);
        const char *slot =
            size > 1 && isdigit((unsigned char)word[1]) ? strchr(names, word[0]) : NULL;
        if (names == no_sizes && size > 6 && !memcmp(word, "sizes=", 6)) {
            if (!take_size_list(&key, word + 6, size - 6))
                return false;
        } else if (slot && *slot) {
            if (!take_size(&key, (int)(slot - names), word, size))
                return false;
        } else if (size == 0 || !append(key.exact, sizeof(key.exact), word, size, separator)) {
            return false;
        } else {
            separator = ",";
        }
        word += size + 1;
    }
    key.exact_hash = hash_text(key.exact);
    *ret_key = key;
    return true;
}

int64_t fj_tune_bucket(int64_t size)
{
    int64_t power = 1;
    if (size <= 0)
        return 0;
    while (power < size)
        power *= 2;
    int64_t midpoint = power / 4 * 3;
    return midpoint >= size ? midpoint : power;
}

enum fj_tune_match fj_tune_compare(const struct fj_tune_key *want, const struct fj_tune_key *have,
                                   double *ret_distance)
{
    bool same = true, same_bucket = true;
    double distance = 0;
    if (want->exact_hash != have->exact_hash || strcmp(want->exact, have->exact) != 0 ||
        (want->group && have->group && want->group != have->group))
        return FJ_MATCH_NONE;
    for (int i = 0; i < FJ_TUNE_SIZES; i++) {
        int64_t a = want->sizes[i], b = have->sizes[i];
        same &= a == b;
        same_bucket &= fj_tune_bucket(a) == fj_tune_bucket(b);
        double ratio = a && b ? fabs(log2((double)a / (double)b)) : 0;
        if (ratio > NEAREST_LOG2)
            return FJ_MATCH_NONE;
        distance += ratio;
    }
    *ret_distance = distance;
    return same ? FJ_MATCH_EXACT : same_bucket ? FJ_MATCH_BUCKET : FJ_MATCH_NEAREST;
}

void fj_tune_bucket_text(const struct fj_tune_key *key, struct fj_buf *ret_text)
{
    const char *names = sizes_of(key->exact);
    fj_buf_puts(ret_text, key->exact);
    for (int i = 0; i < FJ_TUNE_SIZES; i++)
        if (key->sizes[i] && names == no_sizes)
            fj_buf_printf(ret_text, "%s%lld",
                          i ? "/" : ",sizes=", (long long)fj_tune_bucket(key->sizes[i]));
        else if (key->sizes[i])
            fj_buf_printf(ret_text, ",%c%lld", names[i], (long long)fj_tune_bucket(key->sizes[i]));
    if (key->group > 1)
        fj_buf_printf(ret_text, ",group=%lld", (long long)key->group);
}
