#include "codegen/params.h"

#include <string.h>

static struct fj_param *add(struct fj_params *params, const char *name)
{
    if (params->count == FJ_PARAMS_MAX) {
        params->overflow = true;
        return NULL;
    }
    struct fj_param *param = &params->items[params->count++];
    *param = (struct fj_param){.name = name};
    return param;
}

void fj_params_int(struct fj_params *params, const char *name, int64_t value)
{
    struct fj_param *param = add(params, name);
    if (param)
        param->value = value;
}

void fj_params_word(struct fj_params *params, const char *name, const char *word)
{
    struct fj_param *param = add(params, name);
    if (!param)
        return;
    param->is_word = true;
    size_t len = strlen(word);
    if (len >= sizeof(param->word)) {
        params->overflow = true; // a truncated symbol would name another kernel
        len = sizeof(param->word) - 1;
    }
    memcpy(param->word, word, len);
    param->word[len] = '\0';
}
