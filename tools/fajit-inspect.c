// fajit-inspect: look at the kernel a problem gets.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

static const char usage[] = "usage: fajit-inspect COMMAND PROBLEM [options]\n"
                            "\n"
                            "  render   the CUDA C that is compiled\n"
                            "  ptx      the PTX NVRTC makes of it\n"
                            "  image    the compiled cubin (to a file: > kernel.cubin)\n"
                            "  info     configuration, registers, shared memory, cost\n"
                            "\n" TOOL_OPTIONS_HELP "\n"
                            "example: fajit-inspect render attn:bf16,d128,causal --arch sm_80\n";

static int show_render(struct fajit_ctx *ctx, const struct fajit_problem *problem)
{
    char *source;
    if (fajit_render(ctx, problem, false, &source, NULL, 0))
        return tool_fail(NULL);
    fputs(source, stdout);
    fajit_free(source);
    return 0;
}

static int show_ptx(struct fajit_plan *plan)
{
    char *ptx;
    if (fajit_plan_ptx(plan, &ptx))
        return tool_fail(NULL);
    fputs(ptx, stdout);
    fajit_free(ptx);
    return 0;
}

static int show_image(struct fajit_plan *plan)
{
    void *image;
    size_t bytes;
    if (fajit_plan_image(plan, &image, &bytes))
        return tool_fail(NULL);
    size_t written = fwrite(image, 1, bytes, stdout);
    fajit_free(image);
    if (written == bytes && fflush(stdout) == 0)
        return 0;
    perror("fajit-inspect: standard output");
    return 1;
}

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

static int show_info(struct fajit_plan *plan)
{
    static const char *const families[] = {"auto", "simt", "mma", "sm90"};
    static const char *const variants[] = {"auto", "v1", "v2", "persistent"};
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    char text[32];
    if (fajit_plan_info(plan, &info))
        return tool_fail(NULL);
    printf("kernel        %s\n", fajit_plan_name(plan));
    printf("template      %s, family %s, variant %s\n", info.template_name, families[info.family],
           variants[info.variant]);
    printf("configuration %s\n", info.config);
    printf("target        %s, key %s\n", info.arch, info.key);
    printf("threads       %d per CTA\n", info.threads);
    if (info.registers >= 0)
        printf("registers     %d per thread, %d bytes spilled\n", info.registers, info.spill_bytes);
    printf("shared memory %s per CTA\n", tool_bytes(info.smem_bytes, text));
    if (info.ctas_per_sm > 0)
        printf("occupancy     %d CTAs per SM\n", info.ctas_per_sm);
    printf("image         %s, from %s\n", tool_bytes((double)info.image_bytes, text),
           tool_origin(info.origin));
    print_cost(&info);
    tool_print_times(&info);
    return 0;
}

struct command {
    const char *name;
    int (*run)(struct fajit_plan *plan); // NULL: render, which compiles nothing
};

static const struct command commands[] = {
    {"render", NULL}, {"ptx", show_ptx}, {"image", show_image}, {"info", show_info}};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    fprintf(stderr, "fajit-inspect: unknown command '%s'\n\n", name);
    return NULL;
}

static int run_command(const struct command *command, struct fajit_ctx *ctx,
                       const struct fajit_problem *problem)
{
    struct fajit_plan *plan = NULL;
    struct fajit_plan_params params = {.struct_size = sizeof(params), .no_load = true};
    if (!command->run)
        return show_render(ctx, problem);
    if (fajit_plan_create(ctx, problem, &params, &plan))
        return tool_fail(NULL);
    int code = command->run(plan);
    fajit_plan_destroy(&plan);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {TOOL_LONG_OPTIONS, {0}};
    struct tool_options options = {0};
    tool_name = "fajit-inspect";
    for (int opt; (opt = getopt_long(argc, argv, "vh", long_options, NULL)) != -1;)
        if (!tool_option(&options, opt, usage))
            return tool_usage(usage);
    if (argc - optind != 2)
        return tool_usage(usage);
    const struct command *command = find_command(argv[optind]);
    if (!command)
        return tool_usage(usage);

    struct fajit_ctx *ctx = NULL;
    struct fajit_problem problem;
    if (tool_problem(&options, argv[optind + 1], &problem) || tool_context(&options, &ctx))
        return 1;
    int code = run_command(command, ctx, &problem);
    fajit_ctx_destroy(&ctx);
    return code;
}
