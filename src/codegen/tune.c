// What callers and the tuner may set: the parameters, and the values worth trying.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/parse.h"

int fj_parse_tune(struct fj_parse *parse, struct fj_str args)
{
    struct fj_tune_line tune = {.file = parse->unit->name, .line = parse->line};
    struct fj_str name = fj_str_token(&args);
    if (!fj_str_is_name(name) || !args.n)
        return fj_parse_fail(parse, "a search space is written //@tune name value value ..");
    while (args.n) {
        struct fj_str token = fj_str_token(&args);
        char *end, text[24];
        snprintf(text, sizeof(text), "%.*s", token.n, token.p);
        long long value = strtoll(text, &end, 10);
        if (*end || token.n >= (int)sizeof(text) || tune.count == 16)
            return fj_parse_fail(parse, "//@tune takes up to 16 integers");
        tune.values[tune.count++] = value;
    }
    char *copy = strndup(name.p, (size_t)name.n);
    if (!copy)
        return fj_err(FAJIT_E_NOMEM, "out of memory while parsing template %s", parse->unit->name);
    tune.name = copy;
    fj_buf_append(&parse->tmpl->tunes, &tune, sizeof(tune));
    if (!parse->tmpl->tunes.failed)
        return FAJIT_OK;
    free(copy);
    return fj_err(FAJIT_E_NOMEM, "out of memory while parsing template %s", parse->unit->name);
}

// What is tuned is an integer that the caller may give, and has one list of values.
int fj_parse_check_tunes(const struct fj_template *tmpl)
{
    const struct fj_tune_line *tunes = (const struct fj_tune_line *)tmpl->tunes.data;
    int count = (int)(tmpl->tunes.len / sizeof(*tunes));
    for (int i = 0; i < count; i++) {
        struct fj_str name = {tunes[i].name, (int)strlen(tunes[i].name)};
        int index = fj_symbols_find(&tmpl->symbols, name);
        const struct fj_symbol *symbol = index < 0 ? NULL : fj_symbols_at(&tmpl->symbols, index);
        char hint[96];
        if (!symbol || !fj_symbol_is_param(symbol))
            return fj_err(FAJIT_E_TEMPLATE, "%s:%d: //@tune of %s, which is no parameter%s",
                          tunes[i].file, tunes[i].line, tunes[i].name,
                          fj_symbols_hint(&tmpl->symbols, name, hint));
        if (!fj_symbol_is_int(symbol) || symbol->computed)
            return fj_err(FAJIT_E_TEMPLATE,
                          "%s:%d: //@tune of %s, which is %s: integers that the caller may give "
                          "can be tuned",
                          tunes[i].file, tunes[i].line, tunes[i].name,
                          symbol->computed ? "computed" : "a word");
        for (int j = 0; j < i; j++)
            if (strcmp(tunes[j].name, tunes[i].name) == 0)
                return fj_err(FAJIT_E_TEMPLATE, "%s:%d: a second //@tune of %s", tunes[i].file,
                              tunes[i].line, tunes[i].name);
    }
    return FAJIT_OK;
}

int fj_template_param(const struct fj_template *tmpl, int index, struct fj_param_info *ret_info)
{
    for (int i = 0; i < fj_symbols_count(&tmpl->symbols); i++) {
        const struct fj_symbol *symbol = fj_symbols_at(&tmpl->symbols, i);
        if (!fj_symbol_is_param(symbol) || symbol->kind == FJ_SYMBOL_SYMBOL || index-- > 0)
            continue;
        *ret_info = (struct fj_param_info){
            .name = symbol->text,
            .kind = symbol->kind == FJ_SYMBOL_SWITCH_WORD   ? FJ_PARAM_WORD
                    : symbol->kind == FJ_SYMBOL_SWITCH_BOOL ? FJ_PARAM_BOOL
                                                            : FJ_PARAM_INT,
            .computed = symbol->computed,
        };
        return FAJIT_OK;
    }
    return FAJIT_E_INVAL; // the end of the list, not a mistake: no sentence
}

int fj_template_tune(const struct fj_template *tmpl, int index, struct fj_tune_line *ret_line)
{
    int count = (int)(tmpl->tunes.len / sizeof(*ret_line));
    if (index < 0 || index >= count)
        return FAJIT_E_INVAL; // the end of the list, not a mistake: no sentence
    *ret_line = ((const struct fj_tune_line *)tmpl->tunes.data)[index];
    return FAJIT_OK;
}
