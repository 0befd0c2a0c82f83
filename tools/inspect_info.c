// fajit-inspect info: configuration, registers, shared memory and cost of a kernel.
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "inspect.h"

static const char *const families[] = {"auto", "simt", "mma", "sm90"};
static const char *const variants[] = {"auto", "v1", "v2", "persistent"};

static void print_cost(const struct fajit_plan_info *info)
{
    char text[32];
    printf("per block     %.3g MFLOP, %s, %.3g k exponentials (one CTA, one KV or k block)\n",
           info->block_flops / 1e6, tool_bytes(info->block_bytes, text), info->block_exps / 1e3);
    if (info->flops <= 0) {
        printf("whole problem unknown: the problem text leaves a size open\n");
        return;
    }
    printf("whole problem %.4g GFLOP, least traffic %s, %.4g M exponentials, %.0f FLOP per byte\n",
           info->flops / 1e9, tool_bytes(info->bytes, text), info->exps / 1e6,
           info->flops / info->bytes);
}

static void print_info(const struct inspect_subject *s, const struct fajit_plan_info *info)
{
    char text[32];
    printf("kernel        %s\n", inspect_name(s));
    if (s->kernel)
        printf("template      %s\n", info->template_name);
    else
        printf("template      %s, family %s, variant %s\n", info->template_name,
               families[info->family], variants[info->variant]);
    printf("configuration %s%s(%s)\n", info->config, *info->config ? " " : "", info->config_from);
    printf("target        %s, key %s\n", info->arch, info->key);
    printf("threads       %d per CTA\n", info->threads);
    if (info->registers >= 0)
        printf("registers     %d per thread, %d bytes spilled\n", info->registers,
               info->spill_bytes);
    printf("shared memory %s per CTA\n", tool_bytes(info->smem_bytes, text));
    if (info->ctas_per_sm > 0)
        printf("occupancy     %d CTAs per SM\n", info->ctas_per_sm);
    printf("image         %s, %s%s\n", tool_bytes((double)info->image_bytes, text),
           info->origin == FAJIT_FROM_COMPILE ? "" : "from ", tool_origin(info->origin));
    if (s->plan)
        print_cost(info);
    tool_print_times(info);
}

// Zero and -1 stand for what is not known: left out.
static void print_json(const struct inspect_subject *s, const struct fajit_plan_info *info)
{
    const struct {
        const char *name;
        double value;
        bool known;
    } numbers[] = {
        {"threads", info->threads, true},
        {"registers", info->registers, info->registers >= 0},
        {"spill_bytes", info->spill_bytes, info->spill_bytes >= 0},
        {"smem_bytes", info->smem_bytes, true},
        {"ctas_per_sm", info->ctas_per_sm, info->ctas_per_sm > 0},
        {"image_bytes", (double)info->image_bytes, true},
        {"block_flops", info->block_flops, s->plan},
        {"block_bytes", info->block_bytes, s->plan},
        {"block_exps", info->block_exps, s->plan},
        {"flops", info->flops, info->flops > 0},
        {"bytes", info->bytes, info->flops > 0},
        {"exps", info->exps, info->flops > 0},
    };
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "kernel", inspect_name(s));
    cJSON_AddStringToObject(json, "template", info->template_name);
    if (s->plan) {
        cJSON_AddStringToObject(json, "family", families[info->family]);
        cJSON_AddStringToObject(json, "variant", variants[info->variant]);
    }
    cJSON_AddStringToObject(json, "config", info->config);
    cJSON_AddStringToObject(json, "config_from", info->config_from);
    cJSON_AddStringToObject(json, "arch", info->arch);
    cJSON_AddStringToObject(json, "key", info->key);
    cJSON_AddStringToObject(json, "origin", tool_origin(info->origin));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (numbers[i].known)
            cJSON_AddNumberToObject(json, numbers[i].name, numbers[i].value);
    char *text = cJSON_PrintUnformatted(json);
    puts(text ? text : "{}");
    free(text);
    cJSON_Delete(json);
}

int inspect_info(const struct inspect_subject *s)
{
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    if (s->kernel ? fajit_kernel_info(s->kernel, &info) : fajit_plan_info(s->plan, &info))
        return tool_fail(NULL);
    if (s->json)
        print_json(s, &info);
    else
        print_info(s, &info);
    return 0;
}
