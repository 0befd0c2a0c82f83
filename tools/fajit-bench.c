// fajit-bench: time and verify one problem on a device.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "case.h"
#include "common.h"

static const char usage[] =
    "usage: fajit-bench COMMAND PROBLEM.. [options]\n"
    "\n"
    "  run      time the kernel: median and quartiles\n"
    "  verify   compare with the fp64 reference\n"
    "  tour     both, with every step explained: the first thing to try\n"
    "\n"
    "  --seed N            of the inputs (printed; default drawn from the clock)\n"
    "  --full              verify every row, however long that takes\n"
    "  --storage WORD      compact, padded, packed or offset\n"
    "  --values WORD       normal, extreme, integers or dirty\n"
    "  --lengths WORD      of seqlens: random, full, zero or one-key\n"
    "  --repeats N         timed launches (default 20)\n" TOOL_OPTIONS_HELP "\n"
    "example: fajit-bench verify attn:bf16,b2,h8/2,q1024,k1024,d128,bshd,causal\n";

static const char *const storages[] = {"compact", "padded", "packed", "offset"};
static const char *const values[] = {"normal", "extreme", "integers", "dirty"};
static const char *const lengths[] = {"random", "full", "zero", "one-key"};

struct bench_options {
    struct tool_options tool;
    struct case_options cases;
    int repeats;
};

static double rate(const struct fajit_plan_info *info, double us)
{
    return info->flops / us / 1e6;
}

static int time_case(struct fcase *c, const struct bench_options *options,
                     struct fajit_time *ret_time)
{
    struct fajit_time_params params = {.struct_size = sizeof(params), .repeats = options->repeats};
    *ret_time = (struct fajit_time){.struct_size = sizeof(*ret_time)};
    return fajit_plan_time(c->plan, case_args(c), &params, ret_time);
}

// TFLOP/s of the emulated device would be the CPU's, and say nothing about the kernel.
static void time_json(const char *text, struct fcase *c, const struct fajit_plan_info *info,
                      const struct fajit_device_info *device, const struct fajit_time *time)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "problem", text);
    cJSON_AddStringToObject(json, "device", device->name);
    cJSON_AddBoolToObject(json, "emulated", device->emulated);
    cJSON_AddStringToObject(json, "kernel", fajit_plan_name(c->plan));
    cJSON_AddStringToObject(json, "config", info->config);
    cJSON_AddNumberToObject(json, "median_us", time->median_us);
    cJSON_AddNumberToObject(json, "p25_us", time->p25_us);
    cJSON_AddNumberToObject(json, "p75_us", time->p75_us);
    cJSON_AddNumberToObject(json, "min_us", time->min_us);
    if (!device->emulated)
        cJSON_AddNumberToObject(json, "tflops", rate(info, time->median_us));
    char *line = cJSON_PrintUnformatted(json);
    puts(line ? line : "{}");
    free(line);
    cJSON_Delete(json);
}

static int run_time(struct fcase *c, const struct bench_options *options, const char *text)
{
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fajit_device_info device = {.struct_size = sizeof(device)};
    struct fajit_time time;
    if (fajit_plan_info(c->plan, &info) || fajit_ctx_device(c->ctx, &device) ||
        time_case(c, options, &time))
        return tool_fail(text);
    if (options->tool.json)
        time_json(text, c, &info, &device, &time);
    else if (device.emulated)
        printf("%9.2f us [%.2f, %.2f] of the CPU, which emulates the GPU  %s\n", time.median_us,
               time.p25_us, time.p75_us, fajit_plan_name(c->plan));
    else
        printf("%9.2f us [%.2f, %.2f]  %7.1f TFLOP/s  %s\n", time.median_us, time.p25_us,
               time.p75_us, rate(&info, time.median_us), fajit_plan_name(c->plan));
    return 0;
}

static void repeat_line(const struct bench_options *options, const char *text)
{
    const struct tool_options *tool = &options->tool;
    printf("  repeat: fajit-bench verify %s --seed %" PRIu64
           " --storage %s --values %s --lengths %s%s%s%s%s%s%s%s\n",
           text, options->cases.seed, storages[options->cases.storage],
           values[options->cases.values], lengths[options->cases.lengths],
           *tool->config ? " --config " : "", tool->config, tool->arch ? " --arch " : "",
           tool->arch ? tool->arch : "", tool->device ? " --device " : "",
           tool->device ? tool->device : "", options->cases.full ? " --full" : "");
}

static void verify_json(const char *text, struct fcase *c, const struct bench_options *options,
                        const struct case_result *result)
{
    char seed[24]; // 64 bits are too many for a number of JSON
    snprintf(seed, sizeof(seed), "%" PRIu64, options->cases.seed);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "problem", text);
    cJSON_AddStringToObject(json, "kernel", fajit_plan_name(c->plan));
    cJSON_AddBoolToObject(json, "ok", result->ok);
    cJSON_AddNumberToObject(json, "error", result->max_error);
    cJSON_AddNumberToObject(json, "allowed", result->bound);
    cJSON_AddNumberToObject(json, "plain_error", result->plain_error);
    cJSON_AddNumberToObject(json, "elements", (double)result->checked);
    cJSON_AddStringToObject(json, "seed", seed);
    if (!result->ok)
        cJSON_AddStringToObject(json, "message", result->message);
    char *line = cJSON_PrintUnformatted(json);
    puts(line ? line : "{}");
    free(line);
    cJSON_Delete(json);
}

static int run_verify(struct fcase *c, const struct bench_options *options, const char *text)
{
    struct case_result result;
    if (case_check(c, &result))
        return tool_fail(text);
    if (options->tool.json) {
        verify_json(text, c, options, &result);
        return !result.ok;
    }
    printf("%s  error %.3g (allowed %.3g; plain low precision %.3g), %" PRId64
           " elements, seed %" PRIu64 "  %s\n",
           result.ok ? "ok  " : "FAIL", result.max_error, result.bound, result.plain_error,
           result.checked, options->cases.seed, fajit_plan_name(c->plan));
    if (result.ok)
        return 0;
    printf("  %s\n", result.message);
    repeat_line(options, text);
    return 1;
}

static int run_tour(struct fcase *c, const struct bench_options *options, const char *text)
{
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fajit_device_info device = {.struct_size = sizeof(device)};
    struct case_result result;
    struct fajit_time time;
    char bytes[32];
    if (fajit_plan_info(c->plan, &info) || fajit_ctx_device(c->ctx, &device))
        return tool_fail(text);
    printf("problem   %s\n", text);
    printf("device    %s (%s)%s\n", device.name, device.arch,
           device.emulated ? ", emulated: the CPU executes the PTX" : "");
    printf("kernel    %s\n", fajit_plan_name(c->plan));
    printf("          %s%s; template %s, %s\n", info.origin == FAJIT_FROM_COMPILE ? "" : "from ",
           tool_origin(info.origin), info.template_name, info.config);
    tool_print_times(&info);
    printf("cost      %.4g GFLOP, %s at least, %d threads and %d bytes of shared memory per CTA\n",
           info.flops / 1e9, tool_bytes(info.bytes, bytes), info.threads, info.smem_bytes);
    if (case_check(c, &result))
        return tool_fail(text);
    printf("checked   %s: error %.3g against the fp64 reference (allowed %.3g), %" PRId64
           " elements in %.0f ms\n",
           result.ok ? "ok" : "FAILED", result.max_error, result.bound, result.checked,
           result.reference_us / 1e3);
    if (!result.ok)
        printf("          %s\n", result.message);
    if (!device.emulated && time_case(c, options, &time) == 0)
        printf("time      %.1f us median [%.1f, %.1f], %.1f TFLOP/s\n", time.median_us, time.p25_us,
               time.p75_us, rate(&info, time.median_us));
    if (options->tool.dump_dir)
        printf("source    %s/%s.cu\n", options->tool.dump_dir, fajit_plan_name(c->plan));
    printf("\nnext      fajit-inspect render %s --arch sm_%d\n", text, device.compute_capability);
    if (info.origin == FAJIT_FROM_COMPILE)
        printf("          run this again: the kernel now comes from the cache\n");
    return result.ok ? 0 : 1;
}

struct command {
    const char *name;
    int (*run)(struct fcase *c, const struct bench_options *options, const char *text);
    bool json; // takes --json
};

static const struct command commands[] = {
    {"run", run_time, true}, {"verify", run_verify, true}, {"tour", run_tour, false}};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    fprintf(stderr, "fajit-bench: unknown command '%s'\n\n", name);
    return NULL;
}

static int find_word(const char *option, const char *word, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    fprintf(stderr, "fajit-bench: --%s %s is not known\n", option, word);
    return -1;
}

static bool read_number(const char *option, const char *text, uint64_t least, uint64_t most,
                        uint64_t *ret)
{
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 0);
    if (*text >= '0' && *text <= '9' && !*end && !errno && *ret >= least && *ret <= most)
        return true;
    fprintf(stderr, "fajit-bench: --%s %s is no number from %" PRIu64 " to %" PRIu64 "\n", option,
            text, least, most);
    return false;
}

static bool bench_option(struct bench_options *options, int opt)
{
    uint64_t number;
    int index;
    switch (opt) {
    case 's':
        return read_number("seed", optarg, 0, UINT64_MAX, &options->cases.seed);
    case 'f':
        options->cases.full = true;
        return true;
    case 'r':
        if (!read_number("repeats", optarg, 1, 1000000, &number))
            return false;
        options->repeats = (int)number;
        return true;
    case 'S':
        index = find_word("storage", optarg, storages, 4);
        options->cases.storage = (enum case_storage)index;
        return index >= 0;
    case 'W':
        index = find_word("values", optarg, values, 4);
        options->cases.values = (enum case_values)index;
        return index >= 0;
    case 'L':
        index = find_word("lengths", optarg, lengths, 4);
        options->cases.lengths = (enum case_lengths)index;
        return index >= 0;
    default:
        return false;
    }
}

// A QKV projection writes all three tensors, so they have the same shape but for the heads.
static bool storage_fits(const struct bench_options *options, const struct fajit_problem *problem,
                         const char *text)
{
    const struct fajit_attn_desc *attn = &problem->attn;
    bool one_shape = attn->layout == FAJIT_BSHD && attn->seq_q == attn->seq_k &&
                     (!attn->head_dim_v || attn->head_dim_v == attn->head_dim);
    if (options->cases.storage != CASE_PACKED_QKV ||
        (problem->op == FAJIT_OP_ATTN_FWD && one_shape))
        return true;
    fprintf(stderr,
            "fajit-bench: %s: --storage packed is for attention in bshd, with q and k alike and "
            "one head dim\n",
            text);
    return false;
}

static int run_problem(struct fajit_ctx *ctx, const struct bench_options *options,
                       const struct command *command, const char *text)
{
    struct fajit_problem problem;
    struct fcase c;
    if (tool_problem(&options->tool, text, &problem) || !tool_problem_complete(&problem, text) ||
        !storage_fits(options, &problem, text))
        return 1;
    if (case_create(ctx, &problem, &options->cases, &c))
        return tool_fail(text);
    int code = command->run(&c, options, text);
    case_destroy(&c);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"seed", required_argument, NULL, 's'},
                                                 {"full", no_argument, NULL, 'f'},
                                                 {"storage", required_argument, NULL, 'S'},
                                                 {"values", required_argument, NULL, 'W'},
                                                 {"lengths", required_argument, NULL, 'L'},
                                                 {"repeats", required_argument, NULL, 'r'},
                                                 TOOL_LONG_OPTIONS,
                                                 {0}};
    struct bench_options options = {.cases.seed = (uint64_t)time(NULL)};
    tool_name = "fajit-bench";
    for (int opt; (opt = getopt_long(argc, argv, "vh", long_options, NULL)) != -1;)
        if (!bench_option(&options, opt) && !tool_option(&options.tool, opt, usage))
            return tool_usage(usage);
    const struct command *command = optind < argc ? find_command(argv[optind]) : NULL;
    if (!command || optind + 1 == argc)
        return tool_usage(usage);
    if (options.tool.json && !command->json) {
        fprintf(stderr, "fajit-bench: %s has no --json\n", command->name);
        return 2;
    }

    struct fajit_ctx *ctx = NULL;
    if (tool_context(&options.tool, &ctx))
        return 1;
    int code = 0;
    for (int i = optind + 1; i < argc; i++)
        code |= run_problem(ctx, &options, command, argv[i]);
    fajit_ctx_destroy(&ctx);
    return code;
}
