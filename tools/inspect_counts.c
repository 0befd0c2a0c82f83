// fajit-inspect counts: what one launch does, counted by the emulated device.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "case.h"
#include "inspect.h"

// Every field but the classes: its name in JSON, its unit and meaning for people.
static const struct field {
    size_t offset;
    const char *name, *text;
} fields[] = {
#define FIELD(name, text)                                                                          \
    {                                                                                              \
        offsetof(struct fajit_counts, name), #name, text                                           \
    }
    FIELD(mma_ops, "matrix instructions of warps"),
    FIELD(mma_flops, "floating point operations of these"),
    FIELD(ex2, "exponentials of threads"),
    FIELD(ldmatrix, "ldmatrix of warps"),
    FIELD(stmatrix, "stmatrix of warps"),
    FIELD(global_load_bytes, "bytes loaded from global memory by threads"),
    FIELD(global_load_sectors, "32-byte sectors these touch"),
    FIELD(global_store_bytes, "bytes stored to global memory by threads"),
    FIELD(global_store_sectors, "32-byte sectors these touch"),
    FIELD(bulk_load_bytes, "bytes loaded by bulk and tensor copies"),
    FIELD(bulk_store_bytes, "bytes stored by bulk and tensor copies"),
    FIELD(shared_wavefronts, "wavefronts of shared memory"),
    FIELD(shared_conflicts, "of these, more than the fewest possible"),
    FIELD(barrier_waits, "times a warp waited at a barrier"),
    FIELD(spin_retries, "failed polls of an mbarrier"),
#undef FIELD
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

struct counted {
    struct fajit_counts counts;
    struct fajit_line_count *lines;
    int line_count;
};

static uint64_t field_value(const struct fajit_counts *counts, const struct field *field)
{
    uint64_t value;
    memcpy(&value, (const char *)counts + field->offset, sizeof(value));
    return value;
}

static uint64_t total(const struct fajit_counts *counts)
{
    uint64_t sum = 0;
    for (int i = 0; i < FAJIT_INSN_CLASSES; i++)
        sum += counts->instructions[i];
    return sum;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void print_lines(const struct counted *c, const char *source)
{
    uint64_t all = 0;
    int line = 1, next = 0;
    for (int i = 0; i < c->line_count; i++)
        all += c->lines[i].instructions;
    while (next < c->line_count && c->lines[next].line < 1)
        next++;
    for (const char *at = source; *at && next < c->line_count; line++) {
        int length = (int)strcspn(at, "\n");
        if (c->lines[next].line == line) {
            uint64_t n = c->lines[next++].instructions;
            printf("%12" PRIu64 " %5.1f%% %5d | %.*s\n", n, percent(n, all), line, length, at);
        }
        at += length + (at[length] == '\n');
    }
}

static void print_counts(const struct inspect_options *o, struct fajit_plan *plan,
                         const struct counted *c)
{
    const uint64_t all = total(&c->counts);
    printf("# %s\n", fajit_plan_name(plan));
    printf("%16" PRIu64 "  PTX instructions of warps\n", all);
    for (int i = 0; i < FAJIT_INSN_CLASSES; i++)
        if (c->counts.instructions[i])
            printf("%16" PRIu64 "    %-12s %5.1f%%\n", c->counts.instructions[i],
                   fajit_insn_class_name(i), percent(c->counts.instructions[i], all));
    for (size_t i = 0; i < FIELDS; i++)
        printf("%16" PRIu64 "  %s\n", field_value(&c->counts, &fields[i]), fields[i].text);
    if (!o->lines)
        return;
    puts("\n# instructions per source line");
    print_lines(c, fajit_plan_source(plan));
}

static void add_count(cJSON *to, const char *name, uint64_t value)
{
    cJSON_AddNumberToObject(to, name, (double)value);
}

static void print_json(struct fajit_plan *plan, const struct counted *c, const char *text)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "problem", text);
    cJSON_AddStringToObject(json, "kernel", fajit_plan_name(plan));
    cJSON *classes = cJSON_AddObjectToObject(json, "instructions");
    for (int i = 0; i < FAJIT_INSN_CLASSES; i++)
        add_count(classes, fajit_insn_class_name(i), c->counts.instructions[i]);
    for (size_t i = 0; i < FIELDS; i++)
        add_count(json, fields[i].name, field_value(&c->counts, &fields[i]));
    cJSON *lines = c->lines ? cJSON_AddArrayToObject(json, "lines") : NULL;
    for (int i = 0; lines && i < c->line_count; i++) {
        cJSON *line = cJSON_CreateObject();
        add_count(line, "line", (uint64_t)c->lines[i].line);
        add_count(line, "instructions", c->lines[i].instructions);
        cJSON_AddItemToArray(lines, line);
    }
    char *out = cJSON_PrintUnformatted(json);
    puts(out ? out : "{}");
    free(out);
    cJSON_Delete(json);
}

int inspect_counts(const struct inspect_options *options, struct fajit_ctx *ctx,
                   const struct fajit_problem *problem, const char *text)
{
    struct counted counted = {.counts = {.struct_size = sizeof(counted.counts)}};
    const struct case_options cases = {.seed = options->seed};
    struct fcase c;
    if (case_create(ctx, problem, &cases, &c))
        return tool_fail(text);
    int err = fajit_plan_count(c.plan, case_args(&c), &counted.counts,
                               options->lines ? &counted.lines : NULL,
                               options->lines ? &counted.line_count : NULL);
    if (err)
        tool_fail(text);
    else if (options->tool.json)
        print_json(c.plan, &counted, text);
    else
        print_counts(options, c.plan, &counted);
    fajit_free(counted.lines);
    case_destroy(&c);
    return err ? 1 : 0;
}
