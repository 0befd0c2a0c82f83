#include "autotune/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/model.h"
#include "autotune/space.h"

const char *fj_step_name(enum fj_lookup_step step)
{
    static const char *const names[] = {
        [FJ_STEP_FIXED] = "fixed",   [FJ_STEP_EXACT] = "exact",
        [FJ_STEP_BUCKET] = "bucket", [FJ_STEP_NEAREST] = "nearest",
        [FJ_STEP_STALE] = "stale",   [FJ_STEP_OTHER_GPU] = "other gpu",
        [FJ_STEP_ARCH] = "arch",     [FJ_STEP_HEURISTIC] = "heuristic",
    };
    return names[step];
}

static bool has_fixed_knobs(const struct fj_config *config)
{
    for (int i = 0; i < FJ_KNOB_COUNT; i++)
        if (config->v[i])
            return true;
    return false;
}

static const struct fj_kernel_class *find_class(const struct fj_lookup *lookup, const char *name)
{
    for (const struct fj_kernel_class *const *c = lookup->classes; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

static bool find_variant(const char *name, enum fajit_variant *ret)
{
    for (int v = FAJIT_VARIANT_AUTO; v <= FAJIT_VARIANT_PERSISTENT; v++)
        if (strcmp(fj_variant_name((enum fajit_variant)v), name) == 0) {
            *ret = (enum fajit_variant)v;
            return true;
        }
    return false;
}

int fj_lookup_apply(const struct fj_lookup *lookup, const struct fj_problem *problem,
                    const struct fj_record *record, struct fj_choice *ret_choice)
{
    const struct fj_kernel_class *kernel = find_class(lookup, record->kernel);
    const struct fj_kernel_class *const only[] = {kernel, NULL};
    struct fj_problem wanted = *problem;
    struct fj_choice choice;
    enum fajit_variant variant;
    if (!kernel || kernel->op != problem->op || !find_variant(record->variant, &variant))
        return fj_err(FAJIT_E_UNSUPPORTED, "no kernel %s %s exists here", record->kernel,
                      record->variant);
    if ((problem->family && problem->family != kernel->family) ||
        (problem->variant && problem->variant != variant))
        return fj_err(FAJIT_E_UNSUPPORTED, "the problem asks for another family or schedule");
    wanted.family = kernel->family;
    wanted.variant = variant;
    int err = fj_config_parse(record->config, &wanted.fixed);
    if (err == 0)
        err = fj_kernel_choose_from(only, &wanted, lookup->gpu, &choice);
    if (err)
        return err;
    choice.problem.fixed = problem->fixed;
    *ret_choice = choice;
    return FAJIT_OK;
}

// --- Ranking records --------------------------------------------------------------------------

struct ranked {
    const struct fj_record *record;
    enum fj_lookup_step step;
    double distance;
    int64_t volume; // of sizes the problem leaves open: the larger is the safer guess
};

static enum fj_lookup_step step_of(const struct fj_lookup *lookup, const char *gpu,
                                   const struct fj_record *record, enum fj_tune_match match)
{
    const struct fj_kernel_class *kernel = find_class(lookup, record->kernel);
    if (strcmp(record->gpu, gpu) != 0)
        return FJ_STEP_OTHER_GPU;
    bool other_nvrtc =
        *lookup->nvrtc && *record->nvrtc && strcmp(lookup->nvrtc, record->nvrtc) != 0;
    if (other_nvrtc || strcmp(record->digest, lookup->digest(lookup->user, kernel)) != 0)
        return FJ_STEP_STALE;
    return match == FJ_MATCH_EXACT    ? FJ_STEP_EXACT
           : match == FJ_MATCH_BUCKET ? FJ_STEP_BUCKET
                                      : FJ_STEP_NEAREST;
}

// "NAME/90/132": the part between the slashes.
static bool same_capability(const char *record_gpu, int cc)
{
    const char *slash = strchr(record_gpu, '/');
    return slash && atoi(slash + 1) == cc;
}

static bool is_thorough(const struct fj_record *record)
{
    return record->samples >= FJ_THOROUGH_SAMPLES;
}

static int compare_ranked(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    if (a->volume != b->volume)
        return a->volume > b->volume ? -1 : 1;
    if (a->record->verdict != b->record->verdict)
        return a->record->verdict < b->record->verdict ? -1 : 1;
    // Of two searches the later one knew more; of two timings the faster one won.
    if (a->record->verdict == FJ_VERDICT_BEST && a->record->time_s != b->record->time_s)
        return a->record->time_s > b->record->time_s ? -1 : 1;
    // Those that were dropped early have few samples, and a lucky one may look fast.
    if (is_thorough(a->record) != is_thorough(b->record))
        return is_thorough(a->record) ? -1 : 1;
    if (a->record->median_us != b->record->median_us)
        return a->record->median_us < b->record->median_us ? -1 : 1;
    return strcmp(a->record->config, b->record->config);
}

// What the emulated device took says nothing about a GPU.
static bool is_emulated(const struct fj_record *record)
{
    return strstr(record->gpu, "(emulated)") != NULL;
}

// `servable`: what planning may follow; else what a search of this very problem came to know
// beside.
static bool rank(const struct fj_lookup *lookup, const char *gpu, const struct fj_tune_key *want,
                 bool servable, const struct fj_record *record, struct ranked *ret)
{
    enum fj_tune_match match = fj_tune_compare(want, &record->key, &ret->distance);
    if (match == FJ_MATCH_NONE || servable != (record->verdict <= FJ_VERDICT_TIMED) ||
        (!servable && match != FJ_MATCH_EXACT) || !same_capability(record->gpu, lookup->gpu->cc) ||
        (is_emulated(record) && strcmp(record->gpu, gpu) != 0) ||
        !find_class(lookup, record->kernel))
        return false;
    ret->record = record;
    ret->step = step_of(lookup, gpu, record, match);
    ret->volume = 1;
    for (int i = 0; i < FJ_TUNE_SIZES; i++)
        if (!want->sizes[i] && record->key.sizes[i])
            ret->volume *= record->key.sizes[i];
    return true;
}

static const struct fj_record **list_of(const struct fj_lookup *lookup,
                                        const struct fj_problem *problem, bool servable,
                                        int *ret_count)
{
    struct fj_tune_key want;
    char gpu[96];
    int count = 0;
    *ret_count = 0;
    if (!lookup->records || lookup->records->count == 0 || fj_tune_key_of(problem, &want))
        return NULL;
    struct ranked *ranked = calloc((size_t)lookup->records->count, sizeof(*ranked));
    const struct fj_record **list = calloc((size_t)lookup->records->count, sizeof(*list));
    if (!ranked || !list) {
        free(ranked);
        free(list);
        return NULL;
    }
    fj_record_gpu(lookup->gpu, gpu);
    for (int i = 0; i < lookup->records->count; i++)
        count += rank(lookup, gpu, &want, servable, lookup->records->items[i], &ranked[count]);
    if (count)
        qsort(ranked, (size_t)count, sizeof(*ranked), compare_ranked);
    for (int i = 0; i < count; i++)
        list[i] = ranked[i].record;
    free(ranked);
    *ret_count = count;
    return list;
}

const struct fj_record **fj_lookup_candidates(const struct fj_lookup *lookup,
                                              const struct fj_problem *problem, int *ret_count)
{
    return list_of(lookup, problem, true, ret_count);
}

const struct fj_record **fj_lookup_others(const struct fj_lookup *lookup,
                                          const struct fj_problem *problem, int *ret_count)
{
    return list_of(lookup, problem, false, ret_count);
}

enum fj_lookup_step fj_lookup_step_of(const struct fj_lookup *lookup,
                                      const struct fj_problem *problem,
                                      const struct fj_record *record)
{
    struct fj_tune_key want;
    double distance;
    char gpu[96];
    if (fj_tune_key_of(problem, &want))
        return FJ_STEP_HEURISTIC;
    fj_record_gpu(lookup->gpu, gpu);
    return step_of(lookup, gpu, record, fj_tune_compare(&want, &record->key, &distance));
}

static bool from_records(const struct fj_lookup *lookup, const struct fj_problem *problem,
                         struct fj_choice *ret_choice, struct fj_found *ret_found)
{
    int count;
    const struct fj_record **list = fj_lookup_candidates(lookup, problem, &count);
    bool found = false;
    for (int i = 0; i < count && !found; i++) {
        if (fj_lookup_apply(lookup, problem, list[i], ret_choice))
            continue;
        found = true;
        ret_found->step = fj_lookup_step_of(lookup, problem, list[i]);
        ret_found->record = list[i];
        snprintf(ret_found->from, sizeof(ret_found->from), "%s: %s record of %.80s, %.1f us",
                 fj_step_name(ret_found->step), list[i]->origin, list[i]->key.problem,
                 list[i]->median_us);
    }
    free(list);
    return found;
}

// --- Rules ------------------------------------------------------------------------------------

// The tile that the model likes best, with the schedule of `choice`; the kernel's rules set the
// rest. Returns its time, 0 when there is none.
static double best_tile(const struct fj_lookup *lookup, const struct fj_choice *choice,
                        const struct fj_space *space, struct fj_choice *ret_best)
{
    const struct fj_kernel_class *const only[] = {choice->kernel, NULL};
    const struct fj_space tiles = fj_space_tiles(space);
    struct fj_problem wanted = choice->problem;
    double least_us = 0;
    wanted.family = choice->kernel->family;
    for (int64_t i = 0; i < fj_space_size(&tiles); i++) {
        struct fj_choice tried;
        struct fj_model model;
        fj_space_point(&tiles, i, &wanted.fixed);
        if (fj_kernel_choose_from(only, &wanted, lookup->gpu, &tried))
            continue;
        fj_model_predict(&tried, lookup->gpu, &model);
        if (least_us <= 0 || model.predicted_us < least_us) {
            least_us = model.predicted_us;
            *ret_best = tried;
        }
    }
    return least_us;
}

// Sizes that the default's tiles cover badly.
static bool from_model(const struct fj_lookup *lookup, struct fj_choice *choice, double *ret_us)
{
    const double trust = fj_space_trust(choice->kernel, lookup->gpu);
    struct fj_space space;
    struct fj_choice best;
    struct fj_model own;
    if (trust <= 0 || !fj_model_applies(&choice->problem) ||
        !fj_space_of(choice->kernel, lookup->gpu, &space))
        return false;
    fj_model_predict(choice, lookup->gpu, &own);
    *ret_us = best_tile(lookup, choice, &space, &best);
    if (*ret_us <= 0 || *ret_us > (1 - trust) * own.predicted_us)
        return false;
    best.problem.fixed = choice->problem.fixed;
    *choice = best;
    return true;
}

static void from_rules(const struct fj_lookup *lookup, const struct fj_problem *problem,
                       struct fj_choice *choice, struct fj_found *ret_found)
{
    struct fj_problem wanted = *problem;
    struct fj_choice chosen;
    const struct fj_kernel_class *const only[] = {choice->kernel, NULL};
    ret_found->record = NULL;
    ret_found->step = FJ_STEP_HEURISTIC;
    wanted.family = choice->kernel->family;
    if (fj_space_default(choice, lookup->gpu, &wanted.fixed) &&
        fj_kernel_choose_from(only, &wanted, lookup->gpu, &chosen) == FAJIT_OK) {
        ret_found->step = FJ_STEP_ARCH;
        *choice = chosen;
        choice->problem.fixed = problem->fixed;
    }
    snprintf(ret_found->from, sizeof(ret_found->from), "%s: %s", fj_step_name(ret_found->step),
             ret_found->step == FJ_STEP_ARCH ? "autotune/arch" : choice->kernel->name);
    double predicted_us;
    if (from_model(lookup, choice, &predicted_us)) {
        ret_found->step = FJ_STEP_ARCH;
        snprintf(ret_found->from, sizeof(ret_found->from), "%s: by the model, %.1f us predicted",
                 fj_step_name(FJ_STEP_ARCH), predicted_us);
    }
}

int fj_lookup_choose(const struct fj_lookup *lookup, const struct fj_problem *problem,
                     struct fj_choice *ret_choice, struct fj_found *ret_found)
{
    const bool fixed = has_fixed_knobs(&problem->fixed);
    if (!fixed && from_records(lookup, problem, ret_choice, ret_found))
        return FAJIT_OK;
    int err = fj_kernel_choose_from(lookup->classes, problem, lookup->gpu, ret_choice);
    if (err)
        return err;
    if (!fixed) {
        from_rules(lookup, problem, ret_choice, ret_found);
        return FAJIT_OK;
    }
    ret_found->step = FJ_STEP_FIXED;
    ret_found->record = NULL;
    snprintf(ret_found->from, sizeof(ret_found->from), "fixed: knobs given by the caller");
    return FAJIT_OK;
}
