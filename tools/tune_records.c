// fajit-tune why and merge: what was measured, and what follows from it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "tune.h"

struct showing {
    cJSON *json; // NULL: lines
    int count;
    char prefix[192]; // of the problems shown; see show_of_template
};

static int show_record(void *user, const struct fajit_tune_record *r)
{
    struct showing *showing = user;
    char when[32];
    time_t time = (time_t)r->time_s;
    showing->count++;
    if (showing->json) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "step", r->step);
        cJSON_AddStringToObject(item, "problem", r->problem);
        cJSON_AddStringToObject(item, "gpu", r->gpu);
        cJSON_AddStringToObject(item, "kernel", r->kernel);
        cJSON_AddStringToObject(item, "variant", r->variant);
        cJSON_AddStringToObject(item, "config", r->config);
        cJSON_AddStringToObject(item, "verdict", r->verdict);
        cJSON_AddNumberToObject(item, "median_us", r->median_us);
        cJSON_AddNumberToObject(item, "p25_us", r->p25_us);
        cJSON_AddNumberToObject(item, "p75_us", r->p75_us);
        cJSON_AddNumberToObject(item, "predicted_us", r->predicted_us);
        cJSON_AddNumberToObject(item, "samples", r->samples);
        cJSON_AddStringToObject(item, "nvrtc", r->nvrtc);
        cJSON_AddStringToObject(item, "origin", r->origin);
        cJSON_AddItemToArray(showing->json, item);
        return 0;
    }
    // Records that come with the library have no date.
    if (!time || !strftime(when, sizeof(when), ", %F", localtime(&time)))
        when[0] = '\0';
    printf("  %-9s %-6s %10.2f us  %2d samples  %s %s %s  (%s, NVRTC %s%s)  %s\n", r->step,
           r->verdict, r->median_us, r->samples, r->kernel, r->variant, r->config, r->origin,
           *r->nvrtc ? r->nvrtc : "?", when, r->problem);
    return 0;
}

// Records of a template of the user's own, whatever its values.
static int show_of_template(void *user, const struct fajit_tune_record *r)
{
    const struct showing *showing = user;
    struct fajit_tune_record shown = *r;
    size_t len = strlen(showing->prefix);
    shown.step = "-";
    return strncmp(r->problem, showing->prefix, len) == 0 && strchr(",", r->problem[len])
               ? show_record(user, &shown)
               : 0;
}

// What is chosen, and who of the records is to be asked. A status.
static int choose(struct fajit_ctx *ctx, const struct tune_options *options, const char *text,
                  struct fajit_problem *problem, struct fajit_tune_result *choice, char from[160],
                  struct showing *showing)
{
    struct tool_kernel kernel;
    if (!tool_kernel(&options->tool, text, &kernel)) {
        int err = tool_problem(&options->tool, text, problem);
        if (err)
            return err;
        err = fajit_tune_why(ctx, problem, choice, from, 160);
        if (err)
            tool_fail(text);
        return err;
    }
    const struct fajit_kernel_params params = {.struct_size = sizeof(params),
                                               .values = kernel.values};
    size_t len = strlen(kernel.name);
    bool suffix = len > 3 && strcmp(kernel.name + len - 3, ".cu") == 0;
    snprintf(showing->prefix, sizeof(showing->prefix), "kernel:%.*s", (int)(suffix ? len - 3 : len),
             kernel.name);
    int err = fajit_kernel_why(ctx, kernel.name, &params, choice, from, 160);
    if (err)
        tool_fail(text);
    return err;
}

static int why_one(struct fajit_ctx *ctx, const struct tune_options *options, const char *text)
{
    struct fajit_problem problem = {.struct_size = sizeof(problem)};
    struct fajit_tune_result choice = {.struct_size = sizeof(choice)};
    struct showing showing = {0};
    char from[160];
    if (choose(ctx, options, text, &problem, &choice, from, &showing))
        return 1;
    cJSON *json = options->tool.json ? cJSON_CreateObject() : NULL;
    if (json) {
        cJSON_AddStringToObject(json, "problem", text);
        cJSON_AddStringToObject(json, "kernel", choice.kernel);
        cJSON_AddStringToObject(json, "config", choice.config);
        cJSON_AddStringToObject(json, "from", from);
        showing.json = cJSON_AddArrayToObject(json, "records");
    } else {
        printf("%s\n  kernel   %s\n  config   %s\n  because  %s\n", text, choice.kernel,
               choice.config, from);
    }
    const bool of_template = *showing.prefix != '\0';
    if (fajit_tune_visit(ctx, of_template ? NULL : &problem,
                         of_template ? show_of_template : show_record, &showing))
        return tool_fail(text);
    if (json) {
        char *out = cJSON_Print(json);
        puts(out ? out : "{}");
        free(out);
        cJSON_Delete(json);
    } else if (showing.count == 0 && of_template) {
        puts("  no record of the template: its host makes them, with fajit_kernel_tune");
    } else if (showing.count == 0) {
        printf("  no record has a say: `fajit-tune tune %s` makes one\n", text);
    }
    return 0;
}

int tune_why(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct tune_list list;
    int code = tune_list_make(options, count, args, &list);
    if (code)
        return code;
    for (int i = 0; i < list.count; i++)
        code |= why_one(ctx, options, list.texts[i]);
    code |= list.bad > 0;
    tune_list_free(&list);
    return code;
}

int tune_merge(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args)
{
    struct fajit_tune_merge merge = {.struct_size = sizeof(merge)};
    (void)ctx;
    if (count < 1 || !options->output) {
        fprintf(stderr, "%s: merge takes record files and --output FILE\n", tool_name);
        return 2;
    }
    if (fajit_tune_merge_files((const char *const *)args, count, options->vote, options->output,
                               &merge))
        return tool_fail("merge");
    printf("%d records in %s", merge.records, options->output);
    if (options->vote)
        printf("; %d problems were voted on", merge.disagreements);
    putchar('\n');
    if (merge.bad_lines)
        fprintf(stderr, "%s: %d lines were damaged and left out; the first: %s\n", tool_name,
                merge.bad_lines, merge.first_bad);
    return merge.bad_lines ? 1 : 0;
}
