// fajit-inspect: look at the kernel a problem gets.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"

static const char usage[] = "usage: fajit-inspect COMMAND PROBLEM [options]\n"
                            "\n"
                            "  render   the CUDA C that is compiled\n"
                            "  ptx      the PTX NVRTC makes of it\n"
                            "  image    the compiled cubin (to a file: > kernel.cubin)\n"
                            "  info     configuration, registers, shared memory, cost\n"
                            "  sass     its machine code (needs NVIDIA's nvdisasm)\n"
                            "  trace    one warp on the emulated device, line by line, with its\n"
                            "           parts of S, P, m, l, O as the tiles they are\n"
                            "  counts   what a launch does: instructions, FLOPs, bytes, conflicts\n"
                            "\n"
                            "  --cta x,y,z         trace: this CTA (default 0,0,0)\n"
                            "  --warp N            trace: this warp of it (default 0)\n"
                            "  --from N, --to N    trace: these lines only\n"
                            "  --print NAME[i,j]   trace: this tile or element only; repeatable\n"
                            "  --steps N           trace: stop after N lines and tiles\n"
                            "  --full              trace: whole tiles, not their corners\n"
                            "  --every             trace: loops in full\n"
                            "  --lines             counts: instructions per source line\n"
                            "  --seed N            trace, counts: of the inputs (default 1)\n"
                            "\n" TOOL_OPTIONS_HELP "\n"
                            "PROBLEM may be kernel:NAME,name=value,..: a template of --templates\n"
                            "\n"
                            "examples: fajit-inspect render attn:bf16,d128,causal --arch sm_80\n"
                            "          fajit-inspect trace attn:f32,b1,h1,q64,k128,d64,kernel=simt "
                            "--print m --print S[0,5]\n";

static int show_render(struct fajit_ctx *ctx, const struct fajit_problem *problem)
{
    char *source;
    if (fajit_render(ctx, problem, false, &source, NULL, 0))
        return tool_fail(NULL);
    fputs(source, stdout);
    fajit_free(source);
    return 0;
}

static int render_kernel(struct fajit_ctx *ctx, const struct tool_kernel *kernel)
{
    const struct fajit_kernel_params params = {.struct_size = sizeof(params),
                                               .values = kernel->values};
    char *source;
    if (fajit_kernel_render(ctx, kernel->name, &params, &source, NULL, 0))
        return tool_fail(NULL);
    fputs(source, stdout);
    fajit_free(source);
    return 0;
}

static int show_ptx(const struct inspect_subject *s)
{
    char *ptx;
    if (s->kernel ? fajit_kernel_ptx(s->kernel, &ptx) : fajit_plan_ptx(s->plan, &ptx))
        return tool_fail(NULL);
    fputs(ptx, stdout);
    fajit_free(ptx);
    return 0;
}

static int show_image(const struct inspect_subject *s)
{
    void *image;
    size_t bytes;
    if (inspect_image(s, &image, &bytes))
        return tool_fail(NULL);
    size_t written = fwrite(image, 1, bytes, stdout);
    fajit_free(image);
    if (written == bytes && fflush(stdout) == 0)
        return 0;
    perror("fajit-inspect: standard output");
    return 1;
}

struct command {
    const char *name;
    int (*show)(const struct inspect_subject *subject);
    // Or, for those that launch on the emulated device:
    int (*run_case)(const struct inspect_options *options, struct fajit_ctx *ctx,
                    const struct fajit_problem *problem, const char *text);
    bool json; // takes --json
};

// Neither: render, which compiles nothing.
static const struct command commands[] = {
    {"render", NULL, NULL, false},         {"ptx", show_ptx, NULL, false},
    {"image", show_image, NULL, false},    {"info", inspect_info, NULL, true},
    {"sass", inspect_sass, NULL, false},   {"trace", NULL, inspect_trace, false},
    {"counts", NULL, inspect_counts, true}};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    fprintf(stderr, "fajit-inspect: unknown command '%s'\n\n", name);
    return NULL;
}

static int run_command(const struct command *command, const struct inspect_options *options,
                       struct fajit_ctx *ctx, const struct fajit_problem *problem, const char *text)
{
    struct inspect_subject subject = {.json = options->tool.json};
    struct fajit_plan_params params = {.struct_size = sizeof(params), .no_load = true};
    if (command->run_case)
        return command->run_case(options, ctx, problem, text);
    if (!command->show)
        return show_render(ctx, problem);
    if (fajit_plan_create(ctx, problem, &params, &subject.plan))
        return tool_fail(NULL);
    int code = command->show(&subject);
    fajit_plan_destroy(&subject.plan);
    return code;
}

static int run_kernel(const struct command *command, const struct inspect_options *options,
                      struct fajit_ctx *ctx, const struct tool_kernel *kernel)
{
    struct inspect_subject subject = {.json = options->tool.json};
    const struct fajit_kernel_params params = {
        .struct_size = sizeof(params), .values = kernel->values, .no_load = true};
    if (!command->show)
        return render_kernel(ctx, kernel);
    if (fajit_kernel_plan(ctx, kernel->name, &params, &subject.kernel))
        return tool_fail(NULL);
    int code = command->show(&subject);
    fajit_kernel_destroy(&subject.kernel);
    return code;
}

enum {
    OPT_CTA = 256,
    OPT_WARP,
    OPT_FROM,
    OPT_TO,
    OPT_PRINT,
    OPT_STEPS,
    OPT_FULL,
    OPT_EVERY,
    OPT_LINES,
    OPT_SEED
};

static const struct option long_options[] = {TOOL_LONG_OPTIONS,
                                             {"cta", required_argument, NULL, OPT_CTA},
                                             {"warp", required_argument, NULL, OPT_WARP},
                                             {"from", required_argument, NULL, OPT_FROM},
                                             {"to", required_argument, NULL, OPT_TO},
                                             {"print", required_argument, NULL, OPT_PRINT},
                                             {"steps", required_argument, NULL, OPT_STEPS},
                                             {"full", no_argument, NULL, OPT_FULL},
                                             {"every", no_argument, NULL, OPT_EVERY},
                                             {"lines", no_argument, NULL, OPT_LINES},
                                             {"seed", required_argument, NULL, OPT_SEED},
                                             {0}};

// A number from `least` on, for a field of 32 bits.
static bool take_number(const char *name, const char *text, int least, int *ret_value)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*text && !*end && !errno && value >= least && value <= INT32_MAX) {
        *ret_value = (int)value;
        return true;
    }
    fprintf(stderr, "fajit-inspect: --%s %s is no number from %d on\n", name, text, least);
    return false;
}

static bool take_seed(const char *text, uint64_t *ret_seed)
{
    char *end;
    *ret_seed = strtoull(text, &end, 10);
    if (*text && !*end)
        return true;
    fprintf(stderr, "fajit-inspect: --seed %s is no number\n", text);
    return false;
}

static bool take_print(struct inspect_options *options, const char *text)
{
    if (options->print_count < INSPECT_PRINTS_MAX &&
        inspect_parse_print(text, &options->prints[options->print_count])) {
        options->print_count++;
        return true;
    }
    fprintf(stderr, "fajit-inspect: --print %s: up to %d of NAME, NAME[row] or NAME[row,column]\n",
            text, INSPECT_PRINTS_MAX);
    return false;
}

static bool take_cta(struct inspect_options *options, const char *text)
{
    if (inspect_parse_cta(text, options->cta))
        return true;
    fprintf(stderr, "fajit-inspect: --cta %s is not x, x,y or x,y,z\n", text);
    return false;
}

static bool take_option(struct inspect_options *options, int opt)
{
    int steps;
    switch (opt) {
    case OPT_CTA:
        return take_cta(options, optarg);
    case OPT_WARP:
        return take_number("warp", optarg, 0, &options->warp);
    case OPT_FROM:
        return take_number("from", optarg, 1, &options->from_line);
    case OPT_TO:
        return take_number("to", optarg, 1, &options->to_line);
    case OPT_PRINT:
        return take_print(options, optarg);
    case OPT_STEPS:
        if (!take_number("steps", optarg, 1, &steps))
            return false;
        options->steps = steps;
        return true;
    case OPT_FULL:
        options->full = true;
        return true;
    case OPT_EVERY:
        options->every = true;
        return true;
    case OPT_LINES:
        options->lines = true;
        return true;
    case OPT_SEED:
        return take_seed(optarg, &options->seed);
    default:
        return tool_option(&options->tool, opt, usage);
    }
}

int main(int argc, char **argv)
{
    struct inspect_options options = {.seed = 1};
    tool_name = "fajit-inspect";
    for (int opt; (opt = getopt_long(argc, argv, "vh", long_options, NULL)) != -1;)
        if (!take_option(&options, opt))
            return opt >= 256 ? 2 : tool_usage(usage);
    const struct command *command = optind < argc ? find_command(argv[optind]) : NULL;
    if (!command || argc - optind != 2)
        return tool_usage(usage);
    if (options.tool.json && !command->json) {
        fprintf(stderr, "fajit-inspect: %s has no --json\n", command->name);
        return 2;
    }
    // Asking for a trace is asking for the emulated device.
    if (command->run_case && !options.tool.device)
        options.tool.device = "emu";

    const char *text = argv[optind + 1];
    struct fajit_ctx *ctx = NULL;
    struct fajit_problem problem;
    struct tool_kernel kernel;
    const bool is_kernel = !command->run_case && tool_kernel(&options.tool, text, &kernel);
    if (!is_kernel && tool_problem(&options.tool, text, &problem))
        return 1;
    if (command->run_case && !tool_problem_complete(&problem, text))
        return 1;
    if (tool_context(&options.tool, &ctx))
        return 1;
    int code = is_kernel ? run_kernel(command, &options, ctx, &kernel)
                         : run_command(command, &options, ctx, &problem, text);
    fajit_ctx_destroy(&ctx);
    return code;
}
