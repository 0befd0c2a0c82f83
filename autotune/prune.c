#include "autotune/prune.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_CANDIDATES 24
#define THREAD_REGISTERS 255
// Families beyond the second best one that runs a problem have never won one.
#define FAMILIES_TRIED 2

struct list {
    struct fj_candidates *out;
    const struct fj_choice *known; // not to be added again
    int known_count;
    int cap;
    bool failed;
};

static void add(struct list *list, const struct fj_choice *choice, const struct fj_gpu *gpu,
                bool ran)
{
    struct fj_candidates *out = list->out;
    if (out->count == list->cap) {
        int cap = list->cap ? list->cap * 2 : 64;
        struct fj_candidate *items = realloc(out->items, (size_t)cap * sizeof(*items));
        if (!items) {
            list->failed = true;
            return;
        }
        out->items = items;
        list->cap = cap;
    }
    struct fj_model model;
    fj_model_predict(choice, gpu, &model);
    out->items[out->count++] =
        (struct fj_candidate){.choice = *choice, .predicted_us = model.predicted_us, .ran = ran};
}

bool fj_prune_same(const struct fj_choice *a, const struct fj_choice *b)
{
    return a->kernel == b->kernel && a->problem.variant == b->problem.variant &&
           memcmp(&a->config, &b->config, sizeof(a->config)) == 0;
}

static bool is_known(const struct list *list, const struct fj_choice *choice)
{
    for (int i = 0; i < list->out->count; i++)
        if (fj_prune_same(&list->out->items[i].choice, choice))
            return true;
    for (int i = 0; i < list->known_count; i++)
        if (fj_prune_same(&list->known[i], choice))
            return true;
    return false;
}

// Accumulators alone that exceed a thread's registers: certain to spill.
static bool must_spill(const struct fj_choice *choice)
{
    int bm = FJ_CFG(&choice->config, bm), bn = FJ_CFG(&choice->config, bn);
    int threads = choice->kernel->threads(choice);
    if (choice->kernel->family == FAJIT_FAMILY_SM90)
        threads -= 128; // the loading warpgroup holds none
    if (threads <= 0)
        return false;
    int columns = choice->problem.op == FAJIT_OP_GEMM ? bn : bn + choice->problem.attn.head_dim_v;
    return (int64_t)bm * columns / threads > THREAD_REGISTERS;
}

// A tile that a smaller one of the space would cover as well.
static bool is_oversized(const struct fj_choice *choice, int smallest_bm)
{
    const struct fj_problem *problem = &choice->problem;
    int bm = FJ_CFG(&choice->config, bm);
    int64_t rows = problem->op == FAJIT_OP_GEMM ? problem->gemm.m : problem->attn.seq_q;
    if (problem->op == FAJIT_OP_ATTN_FWD && FJ_CFG(&choice->config, packgqa) > 1)
        rows *= FJ_CFG(&choice->config, packgqa);
    return rows > 0 && bm > smallest_bm && bm >= 2 * rows;
}

static int smallest(const struct fj_space *space, enum fj_knob knob)
{
    int least = FJ_KNOB_MAX;
    for (int i = 0; i < space->axis_count; i++)
        for (int j = 0; space->axes[i].knob == knob && j < space->axes[i].count; j++)
            if (space->axes[i].values[j] && space->axes[i].values[j] < least)
                least = space->axes[i].values[j];
    return least;
}

// False when the point contradicts a knob the problem fixes.
static bool merge_fixed(const struct fj_config *fixed, struct fj_config *config)
{
    for (int i = 0; i < FJ_KNOB_COUNT; i++) {
        if (fixed->v[i] && config->v[i] && fixed->v[i] != config->v[i])
            return false;
        if (fixed->v[i])
            config->v[i] = fixed->v[i];
    }
    return true;
}

static enum fj_past past_of(const struct fj_prune_params *params, const struct fj_choice *choice)
{
    return params->past ? params->past(params->user, choice) : FJ_PAST_UNKNOWN;
}

static void try_config(const struct fj_prune_params *params, const struct fj_problem *problem,
                       const struct fj_space *space, const struct fj_kernel_class *kernel,
                       enum fajit_variant variant, const struct fj_config *config,
                       struct list *list)
{
    const struct fj_kernel_class *const only[] = {kernel, NULL};
    struct fj_problem wanted = *problem;
    struct fj_choice choice;
    wanted.fixed = *config;
    wanted.family = kernel->family;
    wanted.variant = variant;
    if (!merge_fixed(&problem->fixed, &wanted.fixed) ||
        fj_kernel_choose_from(only, &wanted, params->gpu, &choice)) {
        list->out->refused++;
        return;
    }
    choice.problem.fixed = problem->fixed;
    if (is_oversized(&choice, smallest(space, FJ_KNOB_bm)) || must_spill(&choice) ||
        is_known(list, &choice)) {
        list->out->useless++;
        return;
    }
    enum fj_past past = past_of(params, &choice);
    bool safe = space->safe || past == FJ_PAST_RAN;
    if (past == FJ_PAST_BAD) {
        list->out->refused++;
    } else if (params->safe_only && !safe) {
        list->out->refused++;
        list->out->unsafe = true;
    } else {
        add(list, &choice, params->gpu, past == FJ_PAST_RAN);
    }
}

// Whether the kernel has the schedule, with whatever configuration.
static bool has_variant(const struct fj_prune_params *params, const struct fj_problem *problem,
                        const struct fj_kernel_class *kernel, enum fajit_variant variant)
{
    struct fj_problem wanted = *problem;
    wanted.variant = variant;
    return kernel->check(&wanted, params->gpu) == FAJIT_OK;
}

static bool walk_class(const struct fj_prune_params *params, const struct fj_problem *problem,
                       const struct fj_kernel_class *kernel, struct list *list)
{
    static const enum fajit_variant schedules[] = {FAJIT_VARIANT_PERSISTENT, FAJIT_VARIANT_V2};
    struct fj_space space;
    if (kernel->op != problem->op || (problem->family && problem->family != kernel->family) ||
        kernel->check(problem, params->gpu) || !fj_space_of(kernel, params->gpu, &space) ||
        (params->safe_only && !space.safe && !params->past))
        return false;
    for (int v = 0; v < 2; v++) {
        enum fajit_variant variant = problem->variant ? problem->variant : schedules[v];
        if ((problem->variant && v > 0) || !has_variant(params, problem, kernel, variant))
            continue;
        struct fj_space walked = params->exhaustive ? space : fj_space_tiles(&space);
        list->out->points += fj_space_size(&space);
        for (int64_t i = 0; i < fj_space_size(&walked); i++) {
            struct fj_config config;
            fj_space_point(&walked, i, &config);
            try_config(params, problem, &space, kernel, variant, &config, list);
        }
    }
    return true;
}

// Moves the best `quota` candidates of the preferred kernel to the front: a model that errs between
// families must not keep the better one out of the search.
static void prefer(struct fj_candidate *items, int count, int quota,
                   const struct fj_kernel_class *kernel)
{
    int front = 0;
    for (int i = 0; i < count && front < quota; i++) {
        struct fj_candidate item = items[i];
        if (item.choice.kernel != kernel)
            continue;
        memmove(&items[front + 1], &items[front], (size_t)(i - front) * sizeof(item));
        items[front++] = item;
    }
}

static int by_prediction(const void *left, const void *right)
{
    const struct fj_candidate *a = left, *b = right;
    return (a->predicted_us > b->predicted_us) - (a->predicted_us < b->predicted_us);
}

// Ranks, cuts to what was asked for, hands over.
static int finish(const struct fj_prune_params *params, struct list *list, int kept,
                  struct fj_candidates *ret_candidates)
{
    struct fj_candidates *out = list->out;
    int max = params->max_candidates > 0 ? params->max_candidates : DEFAULT_CANDIDATES;
    if (list->failed || out->count == 0) {
        fj_candidates_free(out);
        return list->failed ? fj_err(FAJIT_E_NOMEM, "no memory for the candidates of a search")
                            : fj_err(FAJIT_E_UNSUPPORTED, "no configuration suits the problem");
    }
    qsort(out->items + kept, (size_t)(out->count - kept), sizeof(*out->items), by_prediction);
    if (params->first)
        prefer(out->items + kept, out->count - kept, 2 * max / 3, params->first->kernel);
    if (out->count > max) {
        out->unlikely = out->count - max;
        out->count = max;
    }
    *ret_candidates = *out;
    return FAJIT_OK;
}

int fj_prune(const struct fj_prune_params *params, const struct fj_problem *problem,
             struct fj_candidates *ret_candidates)
{
    struct fj_candidates out = {0};
    struct list list = {.out = &out};
    int families = 0;
    if (params->first)
        add(&list, params->first, params->gpu, past_of(params, params->first) == FJ_PAST_RAN);
    for (const struct fj_kernel_class *const *c = params->classes; *c; c++)
        if (families < FAMILIES_TRIED)
            families += walk_class(params, problem, *c, &list);
    return finish(params, &list, params->first ? 1 : 0, ret_candidates);
}

// The other values of one knob. A tile of another shape gets the other knobs by the kernel's rules.
static void walk_axis(const struct fj_prune_params *params, const struct fj_problem *problem,
                      const struct fj_space *space, const struct fj_axis *axis, struct list *list)
{
    const struct fj_choice *centre = params->first;
    struct fj_config config = centre->config;
    for (int k = 0; fj_space_is_tile(axis->knob) && k < FJ_KNOB_COUNT; k++)
        if (!fj_space_is_tile((enum fj_knob)k))
            config.v[k] = 0;
    for (int i = 0; i < axis->count; i++) {
        config.v[axis->knob] = axis->values[i];
        try_config(params, problem, space, centre->kernel, centre->problem.variant, &config, list);
    }
}

int fj_prune_around(const struct fj_prune_params *params, const struct fj_problem *problem,
                    const struct fj_choice *rival, const struct fj_choice *known, int known_count,
                    struct fj_candidates *ret_candidates)
{
    struct fj_candidates out = {0};
    struct list list = {.out = &out, .known = known, .known_count = known_count};
    const struct fj_choice *centre = params->first;
    struct fj_space space;
    add(&list, centre, params->gpu, true); // it has won just now
    if (!fj_prune_same(centre, rival))
        add(&list, rival, params->gpu, true);
    const int kept = out.count;
    if (fj_space_of(centre->kernel, params->gpu, &space)) {
        for (int i = 0; i < space.axis_count; i++)
            walk_axis(params, problem, &space, &space.axes[i], &list);
        for (int v = FAJIT_VARIANT_V2; v <= FAJIT_VARIANT_PERSISTENT && !problem->variant; v++)
            try_config(params, problem, &space, centre->kernel, (enum fajit_variant)v,
                       &centre->config, &list);
    }
    return finish(params, &list, kept, ret_candidates);
}

void fj_candidates_free(struct fj_candidates *candidates)
{
    free(candidates->items);
    *candidates = (struct fj_candidates){0};
}
