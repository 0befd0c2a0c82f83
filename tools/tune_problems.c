// Where the problems of warm and tune come from.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune.h"

#define TEXT_BYTES 320

struct preset {
    const char *name, *source, *note;
};

static const struct preset presets[] = {
#define PRESET(name, source, note) {name, source, note},
#define PRESET_ATTN(name, words)
#define PRESET_ATTN_AT(name, words)
#define PRESET_GEMM(name, n, k)
#include "presets.def"
#undef PRESET
#undef PRESET_ATTN
#undef PRESET_ATTN_AT
#undef PRESET_GEMM
};

struct preset_problem {
    const char *name, *attn; // attn NULL: a linear layer
    bool lengths;            // attn without lengths
    int n, k;
};

static const struct preset_problem preset_problems[] = {
#define PRESET(name, source, note)
#define PRESET_ATTN(name, words) {name, words, true, 0, 0},
#define PRESET_ATTN_AT(name, words) {name, words, false, 0, 0},
#define PRESET_GEMM(name, n, k) {name, NULL, false, n, k},
#include "presets.def"
};

// Whole prompts, and chunks of one whose beginning is in the KV cache already.
static const struct {
    int q, k;
} prefills[] = {{512, 512}, {2048, 2048}, {8192, 8192}, {512, 8192}, {2048, 32768}};
static const int tokens[] = {512, 2048, 8192};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static bool add(struct tune_list *list, const char *text)
{
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->texts[i], text) == 0)
            return true;
    char **texts = realloc(list->texts, (size_t)(list->count + 1) * sizeof(*texts));
    if (!texts)
        return false;
    list->texts = texts;
    texts[list->count] = strdup(text);
    return texts[list->count++] != NULL;
}

// --- Presets ----------------------------------------------------------------------------------

static bool add_preset_problem(struct tune_list *list, const struct preset_problem *p)
{
    char text[TEXT_BYTES];
    bool ok = true;
    if (!p->attn) {
        for (int i = 0; ok && i < COUNT(tokens); i++) {
            snprintf(text, sizeof(text), "gemm:bf16,m%d,n%d,k%d,nt", tokens[i], p->n, p->k);
            ok = add(list, text);
        }
        return ok;
    }
    if (!p->lengths) {
        snprintf(text, sizeof(text), "attn:%s", p->attn);
        return add(list, text);
    }
    for (int i = 0; ok && i < COUNT(prefills); i++) {
        snprintf(text, sizeof(text), "attn:%s,q%d,k%d", p->attn, prefills[i].q, prefills[i].k);
        ok = add(list, text);
    }
    return ok;
}

void tune_print_presets(void)
{
    for (int i = 0; i < COUNT(presets); i++)
        fprintf(stderr, "  %-22s %s%s%s\n", presets[i].name, presets[i].source,
                *presets[i].note ? ": " : "", presets[i].note);
}

static int add_preset(struct tune_list *list, const char *name)
{
    bool known = false, ok = true;
    for (int i = 0; i < COUNT(presets); i++)
        known |= strcmp(presets[i].name, name) == 0;
    if (!known) {
        fprintf(
            stderr,
            "%s: no preset is called '%s'; there are, for prompts (decode waits for a kernel of "
            "its own):\n",
            tool_name, name);
        tune_print_presets();
        return 2;
    }
    for (int i = 0; i < COUNT(preset_problems); i++)
        if (strcmp(preset_problems[i].name, name) == 0)
            ok &= add_preset_problem(list, &preset_problems[i]);
    return ok ? 0 : 1;
}

// --- Files ------------------------------------------------------------------------------------

// Without a comment and the blanks around; cuts the line.
static char *trim(char *line)
{
    char *text = line + strspn(line, " \t");
    text[strcspn(text, "#\r\n")] = '\0';
    for (size_t len = strlen(text); len && strchr(" \t", text[len - 1]); len--)
        text[len - 1] = '\0';
    return text;
}

// A problem per line; '#' begins a comment. What FAJIT_RECORD writes is such a file.
static int add_file(struct tune_list *list, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    if (!file) {
        fprintf(stderr, "%s: cannot read %s\n", tool_name, path);
        return 1;
    }
    for (int number = 1; getline(&line, &size, file) >= 0; number++) {
        struct fajit_problem problem = {.struct_size = sizeof(problem)};
        char *text = trim(line);
        if (!*text)
            continue;
        if (strncmp(text, "kernel:", 7) != 0 && fajit_problem_parse(text, &problem)) {
            fprintf(stderr, "%s: %s:%d: %s\n", tool_name, path, number, fajit_last_error());
            list->bad++;
        } else if (!add(list, text)) {
            break;
        }
    }
    int failed = ferror(file);
    if (failed)
        fprintf(stderr, "%s: cannot read %s\n", tool_name, path);
    free(line);
    fclose(file);
    return failed ? 1 : 0;
}

int tune_list_make(const struct tune_options *options, int count, char **args,
                   struct tune_list *ret_list)
{
    int code = 0;
    *ret_list = (struct tune_list){0};
    for (int i = 0; i < options->preset_count && code == 0; i++)
        code = add_preset(ret_list, options->presets[i]);
    for (int i = 0; i < count && code == 0; i++) {
        if (args[i][0] == '@')
            code = add_file(ret_list, args[i] + 1);
        else if (!add(ret_list, args[i]))
            code = 1;
    }
    if (code == 0 && ret_list->count == 0) {
        fprintf(stderr, "%s: no problem given: name some, a @file of them, or a --preset\n",
                tool_name);
        code = ret_list->bad ? 1 : 2;
    }
    if (code)
        tune_list_free(ret_list);
    return code;
}

void tune_list_free(struct tune_list *list)
{
    for (int i = 0; i < list->count; i++)
        free(list->texts[i]);
    free(list->texts);
    *list = (struct tune_list){0};
}
