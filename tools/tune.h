// What the commands of fajit-tune share.
#ifndef TOOLS_TUNE_H
#define TOOLS_TUNE_H

#include "common.h"

#define TUNE_PRESETS_MAX 16

enum tune_show { SHOW_CONFIG, SHOW_SOURCE, SHOW_PTX, SHOW_SASS, SHOW_LOG, SHOW_IMAGE };

struct tune_options {
    struct tool_options tool;
    double budget_s;  // per problem; 0: the library's
    double silence_s; // of a worker, before it is killed; 0: 20
    int jobs;         // 0: all cores
    int candidates;   // 0: the library's
    bool force, exhaustive, vote, all_devices, no_worker;
    const char *output; // --output
    uint64_t max_bytes; // --max-size; 0: everything
    bool has_max;
    enum tune_show show;
    const char *presets[TUNE_PRESETS_MAX];
    int preset_count;
};

// Problem texts from the command line, `@file`s and presets, each once.
struct tune_list {
    char **texts;
    int count;
    int bad; // lines of files that were reported and passed over
};

// Prints what is wrong and returns an exit code, 0 for none. Free with tune_list_free.
int tune_list_make(const struct tune_options *options, int count, char **args,
                   struct tune_list *ret_list);
void tune_list_free(struct tune_list *list);
void tune_print_presets(void);

// One line that is written over again on a terminal; nothing elsewhere.
void tune_bar(double share, const char *text);
void tune_bar_clear(void);
bool tune_on_terminal(void);
const char *tune_duration(double seconds, char ret_text[16]); // "45 s", "12 min"
double tune_now_s(void);                                      // of a clock that only runs forward

// Commands: return the exit code.
int tune_warm(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_tune(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_worker(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_why(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_plot(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_merge(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_list_entries(struct fajit_ctx *ctx, const struct tune_options *options, int count,
                      char **args);
int tune_stats(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_gc(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_clear(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_show(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_why_key(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_pack(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_unpack(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);
int tune_verify(struct fajit_ctx *ctx, const struct tune_options *options, int count, char **args);

#endif
