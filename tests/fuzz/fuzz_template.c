// libFuzzer: any text as a template must be refused with a place, or render into text that keeps
// the layout rules. A line of ==== splits the input: what follows is lib/a.cuh.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/program.h"
#include "codegen/store.h"

static struct fj_str texts[2];

// In place of src/codegen/store.c.
int fj_store_read(const char *override_dir, const char *name, struct fj_buf *ret_text)
{
    (void)override_dir;
    if (strcmp(name, "t.cu") && strcmp(name, "lib/a.cuh"))
        return fj_err(FAJIT_E_TEMPLATE, "no template %s", name);
    const struct fj_str *text = &texts[!strcmp(name, "lib/a.cuh")];
    fj_buf_append(ret_text, text->p, (size_t)text->n);
    return FAJIT_OK;
}

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken rule: %s (%s)\n", what, fj_err_text());
    abort();
}

static void check_text(const struct fj_rendering *rendering)
{
    const char *p = rendering->text.data ? rendering->text.data : "";
    const char *end = p + rendering->text.len;
    int lines = 0;
    bool blank = true; // none at the start
    for (; p < end; lines++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        require(stop, "a final newline");
        struct fj_str content = fj_str_trim((struct fj_str){p, (int)(stop - p)});
        require(!(blank && stop == p), "one blank line at most");
        require(stop == p || (stop[-1] != ' ' && stop[-1] != '\t'), "no trailing blanks");
        require(content.n < 3 || memcmp(content.p, "//@", 3), "no directives");
        require(!memchr(p, '$', (size_t)(stop - p)), "no holes");
        blank = stop == p;
        p = stop + 1;
    }
    require(!blank || !lines, "no blank line at the end");
    require(lines == rendering->line_count, "a map entry per line");
}

static void check_failure(void)
{
    const char *text = fj_err_text();
    const char *place = strstr(text, "t.cu:")        ? strstr(text, "t.cu:") + 5
                        : strstr(text, "lib/a.cuh:") ? strstr(text, "lib/a.cuh:") + 10
                                                     : "";
    require(*place >= '1' && *place <= '9', "file and line in the message");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fj_params params;
    struct fj_template *tmpl;
    if (size > 20000)
        return 0;
    const char *text = (const char *)data;
    const char *split = memmem(text, size, "====\n", 5);
    size_t first = split ? (size_t)(split - text) : size;
    texts[0] = (struct fj_str){text, (int)first};
    texts[1] = split ? (struct fj_str){split + 5, (int)(size - first - 5)} : (struct fj_str){"", 0};
    if (fj_template_parse(NULL, "t.cu", &tmpl)) {
        check_failure();
        return 0;
    }
    params.count = 0;
    for (int i = 0; i < fj_symbols_count(&tmpl->symbols); i++) {
        static char names[FJ_PARAMS_MAX][64];
        const struct fj_symbol *symbol = fj_symbols_at(&tmpl->symbols, i);
        if (!fj_symbol_is_param(symbol) || params.count == FJ_PARAMS_MAX)
            continue;
        char *name = names[params.count];
        snprintf(name, 64, "%.*s", symbol->name.n, symbol->name.p);
        char word[FJ_PARAM_WORD_MAX] = "kernel";
        struct fj_str rest = symbol->words, known;
        if (fj_str_word(&rest, &known))
            snprintf(word, sizeof(word), "%.*s", known.n, known.p);
        bool is_word = symbol->kind == FJ_SYMBOL_SWITCH_WORD || symbol->kind == FJ_SYMBOL_SYMBOL;
        if (is_word)
            fj_params_word(&params, name, word);
        else
            fj_params_int(&params, name, symbol->name.n % 2);
    }
    params.overflow = false;
    struct fj_rendering rendering = {0};
    struct fj_render_params render = {&params, NULL, size % 2};
    if (fj_template_render(tmpl, &render, &rendering))
        check_failure();
    else
        check_text(&rendering);
    struct fj_buf hex = {0};
    require(!fj_template_digest(tmpl, &hex), "a digest");
    fj_buf_free(&hex);
    fj_rendering_free(&rendering);
    fj_template_free(tmpl);
    return 0;
}
