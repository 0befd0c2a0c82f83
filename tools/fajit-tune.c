// fajit-tune: warm the cache beforehand, measure what is fastest, and look after both.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune.h"

static const char usage[] =
    "usage: fajit-tune COMMAND [PROBLEM|@FILE|KEY|FILE ..] [options]\n"
    "\n"
    "  warm PROBLEM..       compile what the problems need into the cache\n"
    "  tune PROBLEM..       measure configurations and record what is fastest\n"
    "  why PROBLEM..        the configuration a problem gets, from which record or rule\n"
    "  plot PROBLEM         a picture of its search, by gnuplot: tune.svg, or -o FILE.svg\n"
    "  merge FILE.. -o OUT  one record file out of many; --vote where they disagree\n"
    "  list                 the cache's entries\n"
    "  show KEY             an entry: --config (default) --source --log --ptx --sass --image\n"
    "  why-key KEY KEY      what makes two keys differ\n"
    "  stats                sizes and limits\n"
    "  gc                   evict down to --max-size, or to the cache's own limit\n"
    "  clear                remove every entry; tuning records stay\n"
    "  pack FILE            entries and records in one file, for FAJIT_PACK_PATH\n"
    "  unpack FILE          the other way round\n"
    "  verify FILE          read all of a pack\n"
    "  doctor               what was found and where: NVRTC, driver, cache\n"
    "\n"
    "  @FILE               a problem per line, as FAJIT_RECORD=FILE writes them\n"
    "  --preset NAME       the problems of a model; an unknown name lists them\n"
    "  --budget SECONDS    of tuning, per problem (default 30)\n"
    "  --jobs N            compiles at a time (default: all cores)\n"
    "  --candidates N      configurations compiled per problem (default 24)\n"
    "  --force             tune again what was tuned before\n"
    "  --silence SECONDS   after which a hanging kernel is killed (default 20)\n"
    "  --no-worker         measure in this process: for a GPU in exclusive mode\n"
    "  --exhaustive        try every configuration, up to --candidates\n"
    "  --devices all       tune on every GPU of this host: GPUs of one model share the problems,\n"
    "                      every model gets them all; with --device emu those of FAJIT_EMU\n"
    "  -o, --output FILE   of merge and plot; FILE.gp gets the picture's script\n"
    "  --vote              of merge\n"
    "  --max-size BYTES    of gc; K, M and G multiply\n" TOOL_OPTIONS_HELP
    "\n--json of tune prints an object per line, as soon as a problem is done.\n\n"
    "example: fajit-tune warm --preset llama3-8b --arch sm_90\n"
    "         fajit-tune tune attn:bf16,b2,h16/4,q4096,k4096,d128,causal --budget 15\n";

// Why doctor looks at the machine without a device.
static struct {
    int status;
    char sentence[1024];
} no_device;

static int run_doctor(struct fajit_ctx *ctx, const struct tune_options *options, int count,
                      char **args)
{
    char *report;
    (void)options;
    (void)count;
    (void)args;
    if (fajit_ctx_report(ctx, &report))
        return tool_fail(NULL);
    if (no_device.status)
        printf("%s: %s\n", no_device.status == FAJIT_E_NO_DEVICE ? "no GPU" : "no context",
               strstr(report, no_device.sentence) ? "see CUDA driver below" : no_device.sentence);
    fputs(report, stdout);
    fajit_free(report);
    return 0;
}

struct command {
    const char *name;
    int (*run)(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
    bool any_arch; // works without a device and without --arch
    bool no_ctx;   // makes its own contexts
    bool json;     // takes --json
    bool alone;    // takes no argument: what looks like one is a mistake, and clear has no way back
};

static const struct command commands[] = {
    {"warm", tune_warm, .json = true},
    {"tune", tune_tune, .no_ctx = true, .json = true},
    {"worker", tune_worker, .no_ctx = true,
     .json = true}, // asked by the library: src/tune_worker.h
    {"why", tune_why, .json = true},
    {"plot", tune_plot, false},
    {"merge", tune_merge, true},
    {"list", tune_list_entries, true, .json = true, .alone = true},
    {"show", tune_show, true},
    {"why-key", tune_why_key, true},
    {"stats", tune_stats, true, .json = true, .alone = true},
    {"gc", tune_gc, true, .alone = true},
    {"clear", tune_clear, true, .alone = true},
    {"pack", tune_pack, true},
    {"unpack", tune_unpack, true},
    {"verify", tune_verify, true},
    {"doctor", run_doctor, true, .alone = true},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    fprintf(stderr, "fajit-tune: unknown command '%s'\n\n", name);
    return NULL;
}

// Commands about the cache need no device: any architecture opens the same directory.
static int open_context(struct tool_options *options, const struct command *command,
                        struct fajit_ctx **ret_ctx)
{
    if (!command->any_arch || options->arch || options->device)
        return tool_context(options, ret_ctx);
    struct fajit_ctx_params params = {.struct_size = sizeof(params),
                                      .cache_dir = options->cache_dir};
    if (command->run == run_doctor) {
        no_device.status = fajit_ctx_create(&params, ret_ctx);
        if (!no_device.status)
            return 0;
        snprintf(no_device.sentence, sizeof(no_device.sentence), "%s", fajit_last_error());
    }
    options->arch = "sm_90";
    return tool_context(options, ret_ctx);
}

// --- Options ----------------------------------------------------------------------------------

enum {
    OPT_PRESET = 256,
    OPT_BUDGET,
    OPT_JOBS,
    OPT_CANDIDATES,
    OPT_FORCE,
    OPT_EXHAUSTIVE,
    OPT_SILENCE,
    OPT_NO_WORKER,
    OPT_DEVICES,
    OPT_VOTE,
    OPT_MAX_SIZE,
    OPT_SHOW, // and one for each of enum tune_show
};

static const struct option long_options[] = {
    TOOL_LONG_OPTIONS,
    {"preset", required_argument, NULL, OPT_PRESET},
    {"budget", required_argument, NULL, OPT_BUDGET},
    {"jobs", required_argument, NULL, OPT_JOBS},
    {"candidates", required_argument, NULL, OPT_CANDIDATES},
    {"force", no_argument, NULL, OPT_FORCE},
    {"silence", required_argument, NULL, OPT_SILENCE},
    {"no-worker", no_argument, NULL, OPT_NO_WORKER},
    {"exhaustive", no_argument, NULL, OPT_EXHAUSTIVE},
    {"devices", required_argument, NULL, OPT_DEVICES},
    {"output", required_argument, NULL, 'o'},
    {"vote", no_argument, NULL, OPT_VOTE},
    {"max-size", required_argument, NULL, OPT_MAX_SIZE},
    {"source", no_argument, NULL, OPT_SHOW + SHOW_SOURCE},
    {"ptx", no_argument, NULL, OPT_SHOW + SHOW_PTX},
    {"sass", no_argument, NULL, OPT_SHOW + SHOW_SASS},
    {"log", no_argument, NULL, OPT_SHOW + SHOW_LOG},
    {"image", no_argument, NULL, OPT_SHOW + SHOW_IMAGE},
    {0},
};

// The options of one command line: of an entry, --config is something to show.
static const struct option *options_of(int argc, char **argv)
{
    static struct option list[sizeof(long_options) / sizeof(long_options[0])];
    bool show = false;
    memcpy(list, long_options, sizeof(list));
    for (int i = 1; i < argc && !show; i++)
        show = strcmp(argv[i], "show") == 0;
    for (struct option *option = list; show && option->name; option++)
        if (strcmp(option->name, "config") == 0)
            *option = (struct option){"config", no_argument, NULL, OPT_SHOW + SHOW_CONFIG};
    return list;
}

// A number above 0, with K, M or G behind it when `units`.
static bool take_number(const char *option, const char *text, bool units, double *ret)
{
    static const char letters[] = "KMG";
    char *end;
    double value = strtod(text, &end);
    for (const char *letter = letters; units && *letter && *end; letter++)
        if (*end == *letter) {
            for (const char *l = letters; l <= letter; l++)
                value *= 1024;
            end++;
            break;
        }
    if (end == text || *end || !(value > 0) || value > 1e18) {
        fprintf(stderr, "fajit-tune: %s %s is not a number above 0\n", option, text);
        return false;
    }
    *ret = value;
    return true;
}

// Half a job would be none, which means all cores.
static bool take_count(const char *option, const char *text, int max, int *ret)
{
    double value;
    if (!take_number(option, text, false, &value))
        return false;
    if (value < max && value != (int)value) {
        fprintf(stderr, "fajit-tune: %s %s is not a whole number\n", option, text);
        return false;
    }
    *ret = value < max ? (int)value : max;
    return true;
}

static bool take_preset(struct tune_options *options, const char *name)
{
    if (options->preset_count == TUNE_PRESETS_MAX) {
        fprintf(stderr, "fajit-tune: more than %d presets\n", TUNE_PRESETS_MAX);
        return false;
    }
    options->presets[options->preset_count++] = name;
    return true;
}

static bool take_option(struct tune_options *options, int opt)
{
    double value = 0;
    switch (opt) {
    case OPT_PRESET:
        return take_preset(options, optarg);
    case OPT_BUDGET:
        return take_number("--budget", optarg, false, &options->budget_s);
    case OPT_JOBS:
        return take_count("--jobs", optarg, 1024, &options->jobs);
    case OPT_CANDIDATES:
        return take_count("--candidates", optarg, 4096, &options->candidates);
    case OPT_MAX_SIZE:
        options->has_max = true;
        if (!take_number("--max-size", optarg, true, &value))
            return false;
        options->max_bytes = (uint64_t)value;
        return true;
    case OPT_DEVICES:
        options->all_devices = strcmp(optarg, "all") == 0;
        if (!options->all_devices)
            options->tool.device = optarg;
        return true;
    case OPT_FORCE:
        options->force = true;
        return true;
    case OPT_SILENCE:
        if (!take_number("--silence", optarg, false, &options->silence_s))
            return false;
        if (options->silence_s >= 1e6)
            options->silence_s = 1e6;
        return true;
    case OPT_NO_WORKER:
        options->no_worker = true;
        return true;
    case OPT_EXHAUSTIVE:
        options->exhaustive = true;
        return true;
    case OPT_VOTE:
        options->vote = true;
        return true;
    case 'o':
        options->output = optarg;
        return true;
    default:
        if (opt >= OPT_SHOW && opt <= OPT_SHOW + SHOW_IMAGE) {
            options->show = (enum tune_show)(opt - OPT_SHOW);
            return true;
        }
        return tool_option(&options->tool, opt, usage);
    }
}

int main(int argc, char **argv)
{
    struct tune_options options = {0};
    tool_name = "fajit-tune";
    const struct option *list = options_of(argc, argv);
    for (int opt; (opt = getopt_long(argc, argv, "vho:", list, NULL)) != -1;)
        if (!take_option(&options, opt))
            return opt == '?' ? tool_usage(usage) : 2;
    const struct command *command = optind < argc ? find_command(argv[optind]) : NULL;
    if (!command)
        return tool_usage(usage);
    if (options.tool.json && !command->json) {
        fprintf(stderr, "fajit-tune: %s has no --json\n", command->name);
        return 2;
    }

    if (command->alone && optind + 1 < argc) {
        fprintf(stderr, "%s: %s takes no argument: %s\n", tool_name, command->name,
                argv[optind + 1]);
        return 2;
    }

    struct fajit_ctx *ctx = NULL;
    if (!command->no_ctx && open_context(&options.tool, command, &ctx))
        return 1;
    int code = command->run(ctx, &options, argc - optind - 1, argv + optind + 1);
    fajit_ctx_destroy(&ctx);
    return code;
}
