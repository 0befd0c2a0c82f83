// What the three programs share: options, context, messages.
#ifndef TOOLS_COMMON_H
#define TOOLS_COMMON_H

#include <getopt.h>

#include <fajit/fajit.h>

struct tool_options {
    const char *arch, *device, *cache_dir, *dump_dir, *template_dir;
    const char *tune_worker;       // of the context; NULL: none
    char config[FAJIT_CONFIG_MAX]; // knobs of every --config; "" for none
    enum fajit_log_level log_level;
    bool json;
    int verbose;
};

// One entry per option all programs take; append to a program's own list.
#define TOOL_LONG_OPTIONS                                                                          \
    {"arch", required_argument, NULL, 'a'}, {"config", required_argument, NULL, 'c'},              \
        {"device", required_argument, NULL, 'd'}, {"cache-dir", required_argument, NULL, 'C'},     \
        {"dump", required_argument, NULL, 'D'}, {"templates", required_argument, NULL, 'T'},       \
        {"json", no_argument, NULL, 'j'}, {"verbose", no_argument, NULL, 'v'},                     \
        {"help", no_argument, NULL, 'h'},                                                          \
    {                                                                                              \
        "version", no_argument, NULL, 'V'                                                          \
    }

#define TOOL_OPTIONS_HELP                                                                          \
    "  --arch sm_XX        compile for this GPU; no device is needed\n"                            \
    "  --config k=v,..     fix tuning knobs\n"                                                     \
    "  --device N|emu      CUDA ordinal, or the emulated device; emu:1 is FAJIT_EMU's second\n"    \
    "  --cache-dir DIR     instead of ~/.cache/fajit\n"                                            \
    "  --dump DIR          also write every rendered source there\n"                               \
    "  --templates DIR     templates there win over the library's own\n"                           \
    "  --json              machine-readable output\n"                                              \
    "  -v, --verbose       log the pipeline's steps to stderr\n"                                   \
    "  --help, --version\n"

// Takes one option of the list above; false when it is none of them. Exits on --help, --version.
bool tool_option(struct tool_options *options, int opt, const char *usage);

// Prints "program: sentence" to stderr; returns the exit code 1, or 2 for bad usage.
int tool_fail(const char *what);
int tool_usage(const char *usage);

// What the options say of a context; a negative status after a sentence about what is wrong.
int tool_params(const struct tool_options *options, struct fajit_ctx_params *ret_params);
// Tells why there is no context, and what to do; returns the status.
int tool_no_context(const struct tool_options *options, int status);

// A context by the options: --arch gives one without a device.
int tool_context(const struct tool_options *options, struct fajit_ctx **ret_ctx);

// Parses a problem text and applies --config.
int tool_problem(const struct tool_options *options, const char *text,
                 struct fajit_problem *ret_problem);

// "kernel:NAME,name=value,..": a template of the user's own. False when `text` is not that.
struct tool_kernel {
    char name[160], values[1024];
};
bool tool_kernel(const struct tool_options *options, const char *text,
                 struct tool_kernel *ret_kernel);

// True when every size is set, as run and verify need; else prints what is missing.
bool tool_problem_complete(const struct fajit_problem *problem, const char *text);

void tool_print_times(const struct fajit_plan_info *info);
const char *tool_origin(enum fajit_origin origin);
const char *tool_bytes(double bytes, char ret_text[32]); // "1.5 MB"

extern const char *tool_name;

#endif
