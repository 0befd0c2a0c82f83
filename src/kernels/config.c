#include "kernels/config.h"

#include <string.h>

#include "kernels/words.h"

static const char *const knob_names[FJ_KNOB_COUNT] = {
#define FJ_KNOB(name, doc) #name,
#include "kernels/knobs.def"
#undef FJ_KNOB
};

static const char *const knob_docs[FJ_KNOB_COUNT] = {
#define FJ_KNOB(name, doc) doc,
#include "kernels/knobs.def"
#undef FJ_KNOB
};

const char *fj_knob_name(enum fj_knob knob)
{
    return (unsigned)knob < FJ_KNOB_COUNT ? knob_names[knob] : "?";
}

const char *fj_knob_doc(enum fj_knob knob)
{
    return (unsigned)knob < FJ_KNOB_COUNT ? knob_docs[knob] : "";
}

enum fj_knob fj_knob_find(const char *name, size_t len)
{
    for (unsigned i = 0; i < FJ_KNOB_COUNT; i++) {
        if (strlen(knob_names[i]) == len && memcmp(knob_names[i], name, len) == 0)
            return (enum fj_knob)i;
    }
    return FJ_KNOB_COUNT;
}

void fj_config_format(const struct fj_config *config, struct fj_buf *ret_text)
{
    const char *separator = "";
    for (unsigned i = 0; i < FJ_KNOB_COUNT; i++) {
        if (config->v[i] == 0)
            continue;
        fj_buf_printf(ret_text, "%s%s=%d", separator, knob_names[i], config->v[i]);
        separator = ",";
    }
}

void fj_config_symbol(const struct fj_config *config, struct fj_buf *ret_text)
{
    const char *separator = "";
    for (unsigned i = 0; i < FJ_KNOB_COUNT; i++) {
        if (config->v[i] == 0)
            continue;
        fj_buf_printf(ret_text, "%s%s%d", separator, knob_names[i], config->v[i]);
        separator = "_";
    }
}

// The knob whose name is nearest to the given one.
static const char *nearest_knob(const char *name, size_t len)
{
    struct fj_nearest nearest = fj_nearest_begin(name, len);
    for (unsigned i = 0; i < FJ_KNOB_COUNT; i++)
        fj_nearest_try(&nearest, knob_names[i]);
    return nearest.best;
}

// One "name=value" of `len` bytes at `word`.
static int parse_knob(const char *word, size_t len, struct fj_config *config)
{
    char quoted[FJ_QUOTE_MAX];
    const char *equals = memchr(word, '=', len);
    size_t name_len = equals ? (size_t)(equals - word) : len;
    enum fj_knob knob = fj_knob_find(word, name_len);
    if (knob == FJ_KNOB_COUNT) {
        return fj_err(FAJIT_E_INVAL, "configuration: no knob is called %s; the nearest is \"%s\"",
                      fj_quote(word, name_len, quoted), nearest_knob(word, name_len));
    }
    const char *name = knob_names[knob];
    if (!equals) {
        return fj_err(FAJIT_E_INVAL, "configuration: %s has no value; write it as %s=64", name,
                      name);
    }
    int64_t value;
    if (!fj_parse_count(equals + 1, len - name_len - 1, FJ_KNOB_MAX, &value)) {
        return fj_err(FAJIT_E_INVAL, "configuration: %s takes a whole number from 1 to %d, not %s",
                      name, FJ_KNOB_MAX, fj_quote(equals + 1, len - name_len - 1, quoted));
    }
    if (config->v[knob] != 0)
        return fj_err(FAJIT_E_INVAL, "configuration: %s is given twice; keep one", name);
    config->v[knob] = (int16_t)value;
    return FAJIT_OK;
}

int fj_config_parse(const char *text, struct fj_config *ret_config)
{
    struct fj_config config = {0};
    while (text && *text) {
        size_t len = strcspn(text, ",");
        if (len == 0) {
            return fj_err(FAJIT_E_INVAL,
                          "configuration: a knob is missing beside a comma; knobs are written as "
                          "bm=128,bn=64");
        }
        int r = parse_knob(text, len, &config);
        if (r < 0)
            return r;
        text += len;
        if (*text == ',' && *++text == '\0')
            return fj_err(FAJIT_E_INVAL, "configuration: it ends in a comma; take the comma away");
    }
    *ret_config = config;
    return FAJIT_OK;
}

int fj_config_knobs_check(const struct fj_config *config, const enum fj_knob *allowed)
{
    for (unsigned knob = 0; knob < FJ_KNOB_COUNT; knob++) {
        const enum fj_knob *at = allowed;
        while (*at != FJ_KNOB_COUNT && *at != knob)
            at++;
        if (config->v[knob] != 0 && *at == FJ_KNOB_COUNT)
            return fj_err(FAJIT_E_INVAL, "it has no knob %s; leave it out",
                          fj_knob_name((enum fj_knob)knob));
    }
    return FAJIT_OK;
}

void fj_config_default(struct fj_config *config, enum fj_knob knob, int value)
{
    if (config->v[knob] == 0)
        config->v[knob] = (int16_t)value;
}
