#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *tool_name = "fajit";

// --config may be given several times: the knobs add up.
static bool add_config(struct tool_options *options, const char *knobs)
{
    size_t used = strlen(options->config);
    int length = snprintf(options->config + used, sizeof(options->config) - used, "%s%s",
                          used ? "," : "", knobs);
    if (length >= 0 && used + (size_t)length < sizeof(options->config))
        return true;
    fprintf(stderr, "%s: --config %s is too long\n", tool_name, knobs);
    return false;
}

bool tool_option(struct tool_options *options, int opt, const char *usage)
{
    switch (opt) {
    case 'a':
        options->arch = optarg;
        return true;
    case 'c':
        return add_config(options, optarg);
    case 'd':
        options->device = optarg;
        return true;
    case 'C':
        options->cache_dir = optarg;
        return true;
    case 'D':
        options->dump_dir = optarg;
        return true;
    case 'T':
        options->template_dir = optarg;
        return true;
    case 'j':
        options->json = true;
        return true;
    case 'v':
        options->verbose++;
        return true;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    case 'V':
        printf("%s %s\n", tool_name, fajit_version());
        exit(0);
    default:
        return false;
    }
}

int tool_fail(const char *what)
{
    fprintf(stderr, "%s: %s%s%s\n", tool_name, what ? what : "", what ? ": " : "",
            fajit_last_error());
    return 1;
}

int tool_usage(const char *usage)
{
    fputs(usage, stderr);
    return 2;
}

static void print_log(void *user, enum fajit_log_level level, const char *text)
{
    static const char *const names[] = {"", "error", "warning", "info", "debug"};
    (void)user;
    fprintf(stderr, "%s: %s: %s\n", tool_name, names[level], text);
}

// "0", "emu" or "emu:1".
static int take_device(const char *text, struct fajit_ctx_params *params)
{
    const bool emulated = strncmp(text, "emu", 3) == 0 && strchr(":", text[3]);
    const char *number = emulated ? text + 3 + (text[3] == ':') : text;
    char *end = NULL;
    long ordinal = strtol(number, &end, 10);
    params->device = emulated ? FAJIT_DEVICE_EMULATED : FAJIT_DEVICE_CUDA;
    params->device_ordinal = (int)ordinal;
    if (strcmp(text, "emu") == 0 || (end != number && !*end && ordinal >= 0 && ordinal < 1024))
        return 0;
    fprintf(stderr, "%s: --device %s is neither an ordinal nor 'emu' or 'emu:1'\n", tool_name,
            text);
    return FAJIT_E_INVAL;
}

int tool_params(const struct tool_options *options, struct fajit_ctx_params *ret_params)
{
    *ret_params = (struct fajit_ctx_params){
        .struct_size = sizeof(*ret_params),
        .arch = options->arch,
        .cache_dir = options->cache_dir,
        .dump_dir = options->dump_dir,
        .template_dir = options->template_dir,
        .tune_worker = options->tune_worker,
        .log = print_log,
        .log_level = options->verbose > 0 ? FAJIT_LOG_DEBUG : FAJIT_LOG_NONE,
    };
    if (options->arch)
        ret_params->device = FAJIT_DEVICE_NONE;
    return options->device ? take_device(options->device, ret_params) : 0;
}

int tool_no_context(const struct tool_options *options, int status)
{
    tool_fail(NULL);
    if (status == FAJIT_E_NO_DEVICE && !options->device)
        fprintf(stderr,
                "%s: without a GPU, --device emu runs on the CPU, and --arch sm_90 renders and "
                "compiles without running\n",
                tool_name);
    return status;
}

int tool_context(const struct tool_options *options, struct fajit_ctx **ret_ctx)
{
    struct fajit_ctx_params params;
    int err = tool_params(options, &params);
    if (err)
        return err;
    err = fajit_ctx_create(&params, ret_ctx);
    return err ? tool_no_context(options, err) : 0;
}

#define KERNEL "kernel:"

bool tool_kernel(const struct tool_options *options, const char *text,
                 struct tool_kernel *ret_kernel)
{
    if (strncmp(text, KERNEL, strlen(KERNEL)) != 0)
        return false;
    text += strlen(KERNEL);
    const char *values = text + strcspn(text, ",");
    snprintf(ret_kernel->name, sizeof(ret_kernel->name), "%.*s", (int)(values - text), text);
    snprintf(ret_kernel->values, sizeof(ret_kernel->values), "%s%s%s", values + (*values == ','),
             values[0] && *options->config ? "," : "", options->config);
    return true;
}

int tool_problem(const struct tool_options *options, const char *text,
                 struct fajit_problem *ret_problem)
{
    struct tool_kernel kernel;
    if (tool_kernel(options, text, &kernel)) {
        fprintf(
            stderr,
            "%s: %s is a template of its host's, who alone knows how to launch it: fajit-inspect "
            "render, ptx, image, info and sass take it, and fajit-tune warm\n",
            tool_name, text);
        return FAJIT_E_UNSUPPORTED;
    }
    int err = fajit_problem_parse(text, ret_problem);
    if (err) {
        tool_fail(NULL);
        return err;
    }
    if (!*options->config)
        return 0;
    size_t used = strlen(ret_problem->config);
    int len = snprintf(ret_problem->config + used, sizeof(ret_problem->config) - used, "%s%s",
                       used ? "," : "", options->config);
    if (len < 0 || used + (size_t)len >= sizeof(ret_problem->config)) {
        fprintf(stderr, "%s: --config %s is too long\n", tool_name, options->config);
        return FAJIT_E_INVAL;
    }
    return 0;
}

bool tool_problem_complete(const struct fajit_problem *problem, const char *text)
{
    const struct fajit_attn_desc *a = &problem->attn;
    const struct fajit_gemm_desc *g = &problem->gemm;
    const struct {
        const char *word;
        int64_t value;
    } attn[] = {{"b", a->batch}, {"h", a->heads_q}, {"q", a->seq_q}, {"k", a->seq_k}},
      gemm[] = {{"m", g->m}, {"n", g->n}, {"k", g->k}, {"m", g->m}};
    for (int i = 0; i < 4; i++) {
        bool is_gemm = problem->op == FAJIT_OP_GEMM;
        if (is_gemm ? gemm[i].value : attn[i].value)
            continue;
        fprintf(stderr, "%s: %s leaves '%s' open; running needs every size, e.g. %s64\n", tool_name,
                text, is_gemm ? gemm[i].word : attn[i].word, is_gemm ? gemm[i].word : attn[i].word);
        return false;
    }
    return true;
}

const char *tool_origin(enum fajit_origin origin)
{
    static const char *const names[] = {
        [FAJIT_FROM_MEMORY] = "memory",  [FAJIT_FROM_DISK] = "disk cache",
        [FAJIT_FROM_PACK] = "pack",      [FAJIT_FROM_COMPILE] = "compiled",
        [FAJIT_FROM_STORE] = "the host",
    };
    return names[origin];
}

void tool_print_times(const struct fajit_plan_info *info)
{
    const struct {
        const char *step;
        double us;
    } steps[] = {{"render", info->render_us},   {"key", info->key_us},
                 {"disk", info->disk_us},       {"compile", info->compile_us},
                 {"publish", info->publish_us}, {"load", info->load_us}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (steps[i].us > 0)
            printf("  %-8s %10.3f ms\n", steps[i].step, steps[i].us / 1e3);
}

const char *tool_bytes(double bytes, char ret_text[32])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    int unit = 0;
    for (; bytes >= 1000 && unit < 4; unit++)
        bytes /= 1000;
    snprintf(ret_text, 32, unit ? "%.2f %s" : "%.0f %s", bytes, units[unit]);
    return ret_text;
}
