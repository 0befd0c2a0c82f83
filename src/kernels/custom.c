#include "kernels/custom.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/words.h"

#define SUFFIX ".cu"
#define SIZES "sizes"
#define THREADS_MAX 1024
// Of a space whose first points are all refused, this many are looked at.
#define DEFAULT_POINTS_MAX 4096

// --- Parameters -------------------------------------------------------------------------------

static int add_param(struct fj_custom *custom, const struct fj_param_info *info)
{
    if (custom->param_count == FJ_CUSTOM_PARAMS_MAX)
        return fj_err(FAJIT_E_UNSUPPORTED, "%s:1: more than %d parameters", custom->template_name,
                      FJ_CUSTOM_PARAMS_MAX);
    if (strcmp(info->name, SIZES) == 0)
        return fj_err(FAJIT_E_TEMPLATE,
                      "%s:1: no parameter may be called " SIZES
                      ": the word stands for the sizes of the work",
                      custom->template_name);
    custom->params[custom->param_count++] = (struct fj_custom_param){
        .name = info->name,
        .is_word = info->kind == FJ_PARAM_WORD,
        .is_bool = info->kind == FJ_PARAM_BOOL,
    };
    return FAJIT_OK;
}

static struct fj_custom_param *find_param(struct fj_custom *custom, const char *name, size_t len)
{
    for (int i = 0; i < custom->param_count; i++)
        if (strlen(custom->params[i].name) == len && memcmp(custom->params[i].name, name, len) == 0)
            return &custom->params[i];
    return NULL;
}

// Every parameter the template declares and does not compute.
static int list_params(struct fj_custom *custom)
{
    struct fj_param_info info;
    struct fj_tune_line line;
    for (int i = 0; fj_template_param(custom->tmpl, i, &info) == FAJIT_OK; i++) {
        int err = info.computed ? FAJIT_OK : add_param(custom, &info);
        if (err)
            return err;
    }
    for (int i = 0; fj_template_tune(custom->tmpl, i, &line) == FAJIT_OK; i++) {
        struct fj_custom_param *param = find_param(custom, line.name, strlen(line.name));
        if (param)
            param->tuned = true;
    }
    return FAJIT_OK;
}

// What is neither given nor tuned stays away: only rendering can tell whether it is needed.
static void drop_absent(struct fj_custom *custom)
{
    int kept = 0;
    for (int i = 0; i < custom->param_count; i++)
        if (custom->params[i].given || custom->params[i].tuned)
            custom->params[kept++] = custom->params[i];
    custom->param_count = kept;
}

static int list_knobs(struct fj_custom *custom)
{
    struct fj_tune_line line;
    for (int i = 0; fj_template_tune(custom->tmpl, i, &line) == FAJIT_OK; i++) {
        const struct fj_custom_param *param = find_param(custom, line.name, strlen(line.name));
        if (!param || param->given)
            continue;
        if (custom->knob_count == FJ_CUSTOM_KNOBS_MAX)
            return fj_err(FAJIT_E_UNSUPPORTED, "%s:%d: more than %d parameters to tune", line.file,
                          line.line, FJ_CUSTOM_KNOBS_MAX);
        struct fj_custom_knob *knob = &custom->knobs[custom->knob_count++];
        knob->param = (int)(param - custom->params);
        knob->count = line.count;
        memcpy(knob->values, line.values, sizeof(knob->values));
    }
    return FAJIT_OK;
}

// --- Words ------------------------------------------------------------------------------------

static bool take_int(const char *text, size_t len, int64_t *ret_value)
{
    char digits[24], *end;
    if (len == 0 || len >= sizeof(digits))
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (digits[0] != '-' && (digits[0] < '0' || digits[0] > '9'))
        return false;
    errno = 0;
    *ret_value = strtoll(digits, &end, 10);
    return *end == '\0' && end > digits && errno == 0;
}

static int take_sizes(struct fj_custom *custom, const char *text, size_t len)
{
    char quoted[FJ_QUOTE_MAX];
    const char *end = text + len;
    int count = 0;
    for (const char *at = text; at <= end; count++) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        size_t size = (size_t)((slash ? slash : end) - at);
        if (count == FJ_CUSTOM_SIZES ||
            !fj_parse_count(at, size, INT64_MAX / 16, &custom->sizes[count]))
            return fj_err(FAJIT_E_INVAL,
                          "%s: " SIZES "=%s: up to %d whole numbers from 1 on, as in " SIZES
                          "=8192/4096",
                          custom->template_name, fj_quote(text, len, quoted), FJ_CUSTOM_SIZES);
        at += size + 1;
    }
    return FAJIT_OK;
}

static int unknown(const struct fj_custom *custom, const char *name, size_t len)
{
    char quoted[FJ_QUOTE_MAX];
    struct fj_nearest nearest = fj_nearest_begin(name, len);
    struct fj_param_info info;
    bool computed = false;
    for (int i = 0; fj_template_param(custom->tmpl, i, &info) == FAJIT_OK; i++) {
        if (info.computed)
            computed |= strlen(info.name) == len && memcmp(info.name, name, len) == 0;
        else
            fj_nearest_try(&nearest, info.name);
    }
    if (computed)
        return fj_err(FAJIT_E_INVAL, "%s computes %s: it is not to be given", custom->template_name,
                      fj_quote(name, len, quoted));
    if (!nearest.best)
        return fj_err(FAJIT_E_INVAL, "%s has no parameters; %s was given", custom->template_name,
                      fj_quote(name, len, quoted));
    return fj_err(FAJIT_E_INVAL, "%s has no parameter %s; the nearest is \"%s\"",
                  custom->template_name, fj_quote(name, len, quoted), nearest.best);
}

// One "name=value" or "name".
static int take_word(struct fj_custom *custom, const char *word, size_t len)
{
    char quoted[FJ_QUOTE_MAX];
    const char *equals = memchr(word, '=', len);
    size_t name_len = equals ? (size_t)(equals - word) : len;
    const char *value = equals ? equals + 1 : "1";
    size_t value_len = equals ? len - name_len - 1 : 1;
    if (name_len == strlen(SIZES) && memcmp(word, SIZES, name_len) == 0)
        return take_sizes(custom, value, value_len);
    struct fj_custom_param *param = find_param(custom, word, name_len);
    if (!param)
        return unknown(custom, word, name_len);
    if (param->given)
        return fj_err(FAJIT_E_INVAL, "%s: %s is given twice; keep one", custom->template_name,
                      param->name);
    param->given = true;
    if (!param->is_word && !take_int(value, value_len, &param->value))
        return fj_err(FAJIT_E_INVAL, "%s: %s takes a whole number, not %s", custom->template_name,
                      param->name, fj_quote(value, value_len, quoted));
    if (param->is_word && value_len >= sizeof(param->word))
        return fj_err(FAJIT_E_INVAL, "%s: the word %s is too long for %s", custom->template_name,
                      fj_quote(value, value_len, quoted), param->name);
    if (param->is_word)
        snprintf(param->word, sizeof(param->word), "%.*s", (int)value_len, value);
    return FAJIT_OK;
}

static int take_words(struct fj_custom *custom, const char *words)
{
    for (const char *at = words; at && *at;) {
        size_t len = strcspn(at, ",");
        if (len == 0 || (at[len] == ',' && !at[len + 1]))
            return fj_err(FAJIT_E_INVAL,
                          "%s: a parameter is missing beside a comma; they are written as "
                          "name=value,name=value",
                          custom->template_name);
        int err = take_word(custom, at, len);
        if (err)
            return err;
        at += len + (at[len] == ',');
    }
    return FAJIT_OK;
}

static int open_template(const char *template_dir, const char *name, struct fj_custom *custom)
{
    size_t len = strlen(name), suffix = strlen(SUFFIX);
    bool full = len > suffix && strcmp(name + len - suffix, SUFFIX) == 0;
    int size = snprintf(custom->template_name, sizeof(custom->template_name), "%s%s", name,
                        full ? "" : SUFFIX);
    if (size < 0 || (size_t)size >= sizeof(custom->template_name))
        return fj_err(FAJIT_E_TEMPLATE, "a template's name of more than %d characters",
                      FJ_CUSTOM_NAME_MAX - 1 - (int)suffix);
    int err = fj_template_get(template_dir, custom->template_name, &custom->tmpl);
    if (err == FAJIT_E_TEMPLATE && !template_dir)
        return fj_err_context(err, "no template directory is set");
    return err;
}

int fj_custom_parse(const char *template_dir, const char *name, const char *words,
                    struct fj_custom *ret_custom)
{
    memset(ret_custom, 0, sizeof(*ret_custom));
    int err = open_template(template_dir, name, ret_custom);
    if (err == 0)
        err = list_params(ret_custom);
    if (err == 0)
        err = take_words(ret_custom, words);
    if (err)
        return err;
    drop_absent(ret_custom);
    err = list_knobs(ret_custom);
    if (err)
        return err;
    // The words of switches; the knobs are 0 still, which any integer may be.
    struct fj_params params = {0};
    fj_custom_params(ret_custom, &params);
    err = fj_template_check(ret_custom->tmpl, &params);
    return err == FAJIT_E_TEMPLATE ? FAJIT_E_INVAL : err;
}

// --- Values -----------------------------------------------------------------------------------

int64_t fj_custom_points(const struct fj_custom *custom)
{
    int64_t points = 1;
    for (int i = 0; i < custom->knob_count; i++)
        if (__builtin_mul_overflow(points, custom->knobs[i].count, &points))
            return INT64_MAX;
    return points;
}

void fj_custom_point(const struct fj_custom *custom, int64_t index, int64_t *ret_values)
{
    for (int i = custom->knob_count - 1; i >= 0; i--) {
        ret_values[i] = custom->knobs[i].values[index % custom->knobs[i].count];
        index /= custom->knobs[i].count;
    }
}

void fj_custom_knob_values(const struct fj_custom *custom, int64_t *ret_values)
{
    for (int i = 0; i < custom->knob_count; i++)
        ret_values[i] = custom->params[custom->knobs[i].param].value;
}

bool fj_custom_value(const struct fj_custom *custom, const char *name, int64_t *ret_value)
{
    for (int i = 0; i < custom->value_count; i++)
        if (strcmp(custom->values[i].name, name) == 0) {
            *ret_value = custom->values[i].value;
            return true;
        }
    return false;
}

static int check_resources(struct fj_custom *custom, const struct fj_gpu *gpu)
{
    int64_t threads, smem = 0;
    if (!fj_custom_value(custom, "threads", &threads))
        return fj_err(FAJIT_E_TEMPLATE,
                      "%s:1: no //@const threads: it says how many threads a CTA has",
                      custom->template_name);
    fj_custom_value(custom, "smem_bytes", &smem);
    if (threads < 1 || threads > THREADS_MAX)
        return fj_err(FAJIT_E_UNSUPPORTED, "%s: threads is %lld; a CTA has 1 to %d",
                      custom->template_name, (long long)threads, THREADS_MAX);
    if (smem < 0 || smem > gpu->smem_per_block_bytes)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "%s: smem_bytes is %lld; a CTA has 0 to %d bytes of shared memory on %s",
                      custom->template_name, (long long)smem, gpu->smem_per_block_bytes, gpu->name);
    custom->threads = (int)threads;
    custom->smem_bytes = (int)smem;
    return FAJIT_OK;
}

static int write_name(struct fj_custom *custom);

int fj_custom_set(struct fj_custom *custom, const struct fj_gpu *gpu, const int64_t *values)
{
    struct fj_params params = {0}, known = {0};
    for (int i = 0; i < custom->knob_count; i++)
        custom->params[custom->knobs[i].param].value = values[i];
    int err = write_name(custom);
    fj_custom_params(custom, &params);
    if (err == 0)
        err = fj_template_evaluate(custom->tmpl, &params, &known);
    if (err)
        return err;
    custom->value_count = known.count;
    for (int i = 0; i < known.count; i++) {
        custom->values[i].name = known.items[i].name;
        custom->values[i].value = known.items[i].value;
    }
    return check_resources(custom, gpu);
}

int fj_custom_set_default(struct fj_custom *custom, const struct fj_gpu *gpu)
{
    int64_t values[FJ_CUSTOM_KNOBS_MAX], points = fj_custom_points(custom), telling = 0;
    int err = FAJIT_E_TEMPLATE, worst = FAJIT_E_TEMPLATE;
    for (int64_t i = 0; i < points && i < DEFAULT_POINTS_MAX; i++) {
        fj_custom_point(custom, i, values);
        err = fj_custom_set(custom, gpu, values);
        if (err != FAJIT_E_TEMPLATE && err != FAJIT_E_UNSUPPORTED)
            return err;
        if (err != worst && worst == FAJIT_E_TEMPLATE) {
            telling = i;
            worst = err;
        }
    }
    if (points == 1)
        return err;
    // The first point that the rules allow tells most; where there is none, the first of all.
    fj_custom_point(custom, telling, values);
    return fj_custom_set(custom, gpu, values);
}

// --- Names ------------------------------------------------------------------------------------

struct fj_custom_stem fj_custom_stem(const struct fj_custom *custom)
{
    struct fj_custom_stem stem;
    const char *slash = strrchr(custom->template_name, '/');
    const char *file = slash ? slash + 1 : custom->template_name;
    snprintf(stem.text, sizeof(stem.text), "%.*s", (int)(strlen(file) - strlen(SUFFIX)), file);
    return stem;
}

static void append_number(struct fj_buf *text, const char *name, int64_t value)
{
    // A sign is no part of a C name.
    fj_buf_printf(text, "%s%s%llu", name, value < 0 ? "m" : "",
                  value < 0 ? 0ull - (unsigned long long)value : (unsigned long long)value);
}

static void append_meaning(const struct fj_custom *custom, struct fj_buf *text)
{
    for (int i = 0; i < custom->param_count; i++) {
        const struct fj_custom_param *param = &custom->params[i];
        if (param->tuned || (param->is_bool && param->value == 0))
            continue;
        fj_buf_puts(text, "_");
        if (param->is_word || param->is_bool)
            fj_buf_puts(text, param->is_word ? param->word : param->name);
        else
            append_number(text, param->name, param->value);
    }
}

// Meaning, two underscores, tuning. A text too long for a symbol ends in its digest.
static int write_name(struct fj_custom *custom)
{
    struct fj_custom_stem stem = fj_custom_stem(custom);
    struct fj_buf text = {0};
    fj_buf_printf(&text, "%s%s", stem.text[0] >= '0' && stem.text[0] <= '9' ? "k" : "", stem.text);
    append_meaning(custom, &text);
    const char *separator = "__";
    for (int i = 0; i < custom->param_count; i++) {
        if (!custom->params[i].tuned)
            continue;
        fj_buf_puts(&text, separator);
        append_number(&text, custom->params[i].name, custom->params[i].value);
        separator = "_";
    }
    if (text.failed) {
        fj_buf_free(&text);
        return fj_err(FAJIT_E_NOMEM, "no memory for a kernel's name");
    }
    const char *name = text.data;
    size_t room = sizeof(custom->name) - 1, len = strlen(name);
    snprintf(custom->name, sizeof(custom->name), "%.*s", (int)(len > room ? room - 17 : len), name);
    if (len > room) {
        uint8_t sum[16];
        fj_checksum(name, len, sum);
        for (int i = 0; i < 8; i++)
            snprintf(custom->name + room - 16 + 2 * i, 3, "%02x", sum[i]);
        custom->name[room - 17] = '_';
    }
    for (char *c = custom->name; *c; c++)
        *c = *c == '-' || *c == '.' ? '_' : *c;
    fj_buf_free(&text);
    return FAJIT_OK;
}
