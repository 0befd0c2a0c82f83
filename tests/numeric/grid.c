#include "grid.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "skip.h"

static bool take_option(struct settings *s, int opt)
{
    switch (opt) {
    case 'd':
        s->device = optarg;
        return true;
    case 's':
        s->seed = strtoull(optarg, NULL, 0);
        return true;
    case 't':
        s->texts = atoi(optarg);
        return s->texts > 0 && s->texts <= TEXTS_MAX;
    case 'r':
        s->runs = atoi(optarg);
        return s->runs > 0;
    case 'f':
        s->max_flops = atof(optarg);
        return s->max_flops > 0;
    case 'o':
        s->only = optarg;
        return true;
    default:
        return false;
    }
}

bool grid_options(int argc, char **argv, struct settings *ret_settings)
{
    static const struct option long_options[] = {{"device", required_argument, NULL, 'd'},
                                                 {"seed", required_argument, NULL, 's'},
                                                 {"texts", required_argument, NULL, 't'},
                                                 {"runs", required_argument, NULL, 'r'},
                                                 {"max-flops", required_argument, NULL, 'f'},
                                                 {"only", required_argument, NULL, 'o'},
                                                 {0}};
    *ret_settings = (struct settings){
        .device = "0", .seed = 1, .texts = TEXTS_MAX, .runs = 12, .max_flops = 1e12};
    for (int opt; (opt = getopt_long(argc, argv, "", long_options, NULL)) != -1;)
        if (!take_option(ret_settings, opt))
            return false;
    return true;
}

int grid_open(const struct settings *settings, struct fajit_ctx **ret_ctx)
{
    struct fajit_ctx_params params = {.struct_size = sizeof(params)};
    params.device = strcmp(settings->device, "emu") ? FAJIT_DEVICE_CUDA : FAJIT_DEVICE_EMULATED;
    params.device_ordinal = atoi(settings->device);
    int err = fajit_ctx_create(&params, ret_ctx);
    if (err == FAJIT_E_NO_DEVICE) {
        printf("skipped: %s\n", fajit_last_error());
        return SKIP;
    }
    if (err) {
        printf("FAIL context: %s\n", fajit_last_error());
        return 1;
    }
    if (lacks_nvrtc(*ret_ctx)) {
        fajit_ctx_destroy(ret_ctx);
        return SKIP;
    }
    return 0;
}

int grid_choose(struct fajit_ctx *ctx, const struct settings *settings,
                const struct grid_axes *axes, char (*ret_texts)[TEXT_MAX], struct totals *totals)
{
    static int rows[TEXTS_MAX][PAIRWISE_AXES_MAX];
    int total = pairwise(axes->counts, axes->axes, settings->seed, rows, TEXTS_MAX), chosen = 0;
    for (int i = 0; i < total && chosen < settings->texts; i++) {
        struct fajit_problem problem;
        char *text = ret_texts[chosen];
        axes->text(rows[i], &ret_texts[chosen]);
        if (settings->only && !strstr(text, settings->only))
            continue;
        if (fajit_problem_parse(text, &problem)) {
            printf("FAIL %s: %s\n", text, fajit_last_error());
            totals->failed++;
            continue;
        }
        // What is refused for another reason fails when it is run.
        int err = fajit_problem_check(ctx, &problem);
        if (err == FAJIT_E_UNSUPPORTED || (err == FAJIT_E_INVAL && axes->knobs))
            totals->skipped++;
        else
            chosen++;
    }
    return chosen;
}

int grid_end(const struct totals *totals)
{
    printf("%d passed, %d failed, %d skipped\n", totals->passed, totals->failed, totals->skipped);
    return totals->failed || totals->passed == 0;
}
