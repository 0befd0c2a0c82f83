// A template of the caller's own, as text and as what the engine takes.
#include <stdio.h>
#include <string.h>

#include "kernels/custom.h"

#define COLUMNS 100 // of a rendered line

static void append_param(struct fj_buf *text, const char *separator,
                         const struct fj_custom_param *param)
{
    if (param->is_word)
        fj_buf_printf(text, "%s%s=%s", separator, param->name, param->word);
    else
        fj_buf_printf(text, "%s%s=%lld", separator, param->name, (long long)param->value);
}

static void print(const struct fj_custom *custom, bool all, struct fj_buf *ret_text)
{
    size_t len = strlen(custom->template_name) - strlen(".cu");
    fj_buf_printf(ret_text, "kernel:%.*s", (int)len, custom->template_name);
    for (int i = 0; i < custom->param_count; i++)
        if (all || custom->params[i].given)
            append_param(ret_text, ",", &custom->params[i]);
}

void fj_custom_print(const struct fj_custom *custom, struct fj_buf *ret_text)
{
    print(custom, false, ret_text);
    for (int i = 0; i < FJ_CUSTOM_SIZES && custom->sizes[i]; i++)
        fj_buf_printf(ret_text, "%s%lld", i ? "/" : ",sizes=", (long long)custom->sizes[i]);
}

void fj_custom_print_all(const struct fj_custom *custom, struct fj_buf *ret_text)
{
    print(custom, true, ret_text);
}

void fj_custom_config_print(const struct fj_custom *custom, struct fj_buf *ret_text)
{
    for (int i = 0; i < custom->knob_count; i++)
        append_param(ret_text, i ? "," : "", &custom->params[custom->knobs[i].param]);
}

// The value that a text of "name=value" words gives a knob; NULL when it gives none of its own.
static const int64_t *find_value(const struct fj_custom_knob *knob, const char *name,
                                 const char *text)
{
    size_t len = strlen(name);
    while (*text) {
        size_t word = strcspn(text, ",");
        for (int i = 0; i < knob->count && word > len && text[len] == '='; i++) {
            char digits[24];
            snprintf(digits, sizeof(digits), "%lld", (long long)knob->values[i]);
            if (memcmp(text, name, len) == 0 && word - len - 1 == strlen(digits) &&
                memcmp(text + len + 1, digits, strlen(digits)) == 0)
                return &knob->values[i];
        }
        text += word + (text[word] == ',');
    }
    return NULL;
}

bool fj_custom_config_parse(const struct fj_custom *custom, const char *text, int64_t *ret_values)
{
    for (int i = 0; i < custom->knob_count; i++) {
        const struct fj_custom_knob *knob = &custom->knobs[i];
        const int64_t *value = find_value(knob, custom->params[knob->param].name, text);
        if (!value)
            return false;
        ret_values[i] = *value;
    }
    return true;
}

void fj_custom_params(const struct fj_custom *custom, struct fj_params *ret_params)
{
    for (int i = 0; i < custom->param_count; i++) {
        const struct fj_custom_param *param = &custom->params[i];
        if (param->is_word)
            fj_params_word(ret_params, param->name, param->word);
        else
            fj_params_int(ret_params, param->name, param->value);
    }
    fj_params_word(ret_params, "kernel_name", *custom->name ? custom->name : "kernel");
}

// What every rendered kernel says first: what it is, how to render it again, what a CTA takes.
int fj_custom_heading(const struct fj_custom *custom, int cc, struct fj_buf *ret_text)
{
    static const char start[] = "//   fajit-inspect render ";
    struct fj_buf problem = {0};
    print(custom, true, &problem);
    bool fits = sizeof(start) - 1 + problem.len + sizeof(" --arch sm_120") - 1 <= COLUMNS;
    fj_buf_printf(ret_text, "// Rendered from %s.\n//\n%s%s%s --arch sm_%d\n//\n",
                  custom->template_name, start, fits ? "" : "\\\n//       ",
                  problem.data ? problem.data : "", cc);
    fj_buf_printf(ret_text, "// One CTA: %d threads, %d bytes of dynamic shared memory.\n",
                  custom->threads, custom->smem_bytes);
    bool failed = ret_text->failed || problem.failed;
    fj_buf_free(&problem);
    return failed ? fj_err(FAJIT_E_NOMEM, "out of memory while writing a kernel's heading")
                  : FAJIT_OK;
}

struct fj_key fj_custom_slot(const struct fj_custom *custom)
{
    struct fj_key slot = {{0}};
    for (int i = 0; i < custom->param_count; i++) {
        struct {
            uint8_t before[16];
            const char *name;
            int64_t value;
            char word[FJ_CUSTOM_WORD_MAX];
        } link;
        memset(&link, 0, sizeof(link));
        memcpy(link.before, slot.bytes, sizeof(link.before));
        link.name = custom->params[i].name;
        link.value = custom->params[i].value;
        memcpy(link.word, custom->params[i].word, sizeof(link.word));
        fj_checksum(&link, sizeof(link), slot.bytes);
    }
    // Parsed templates stay: another text is another address.
    memcpy(slot.bytes + 16, &custom->tmpl, sizeof(custom->tmpl));
    return slot;
}
