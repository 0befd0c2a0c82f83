#include "autotune/tuner_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "cuda/timing.h"

#define DEFAULT_BUDGET_US 30e6
#define WAVES_MAX 5

// --- What the search asks for -----------------------------------------------------------------

static int compile(void *user, int i, struct fj_search_facts *ret_facts)
{
    struct fj_tuner *t = user;
    struct fj_kernel *kernel;
    double start = fj_now_us();
    int err = fj_jit_make(t->jit, &t->candidates.items[i].choice, &kernel);
    if (err)
        return err;
    t->contenders[i].kernel = kernel;
    *ret_facts = (struct fj_search_facts){.registers = kernel->registers,
                                          .spill_bytes = kernel->spill_bytes,
                                          .compile_us = fj_now_us() - start};
    return FAJIT_OK;
}

static int load(struct fj_tuner *t, struct fj_contender *c)
{
    if (c->launches)
        return FAJIT_OK;
    int err = fj_jit_load(t->jit, c->kernel);
    if (err == 0 && c->kernel->ctas_per_sm < 1)
        err = fj_err(FAJIT_E_UNSUPPORTED, "not even one CTA fits on a SM");
    if (err)
        return err;
    // Arguments point into them: they have to stay where they are, aligned as their type wants.
    c->launches =
        aligned_alloc(_Alignof(struct fj_launch), (size_t)t->trial->sets * sizeof(*c->launches));
    if (!c->launches)
        return fj_err(FAJIT_E_NOMEM, "no memory for launches");
    err = fj_trial_bind(t->trial, c->kernel, c->launches);
    if (err) {
        free(c->launches);
        c->launches = NULL;
    }
    return err;
}

struct timed {
    const struct fj_jit *jit;
    struct fj_trial *trial;
    struct fj_contender *contender;
};

static int launch_timed(void *user, CUstream stream)
{
    const struct timed *timed = user;
    struct fj_trial *trial = timed->trial;
    trial->turn = (trial->turn + 1) % trial->sets;
    return fj_jit_launch(timed->jit, timed->contender->kernel,
                         &timed->contender->launches[trial->turn], stream);
}

static int time_one(void *user, int i, int samples, double *ret_us)
{
    struct fj_tuner *t = user;
    struct fj_contender *c = &t->contenders[i];
    struct timed timed = {t->jit, t->trial, c};
    struct fj_timing timing;
    bool is_new = !c->launches;
    int err = load(t, c);
    if (err)
        return err;
    if (is_new)
        fj_tuner_announce(t, i, FJ_VERDICT_TRYING, 0);
    const struct fj_timing_params params = {
        .repeats = samples,
        .warmups = is_new ? 1 : 0,
        .flush_l2 = t->trial->flush,
        .samples_us = ret_us,
    };
    err = fj_time_launches(&t->jit->device, launch_timed, &timed, &params, &timing);
    if (is_new && (err == 0 || err == FAJIT_E_NO_DEVICE))
        fj_tuner_announce(t, i, FJ_VERDICT_UNCHECKED, err ? 0 : timing.median_us);
    return err;
}

static int check(void *user, int i)
{
    struct fj_tuner *t = user;
    int err = load(t, &t->contenders[i]);
    return err ? err : fj_trial_check(t->trial, t->contenders[i].kernel, t->contenders[i].launches);
}

static void drop(void *user, int i)
{
    struct fj_tuner *t = user;
    struct fj_contender *c = &t->contenders[i];
    if (!c->recorded)
        fj_tuner_record(t, i);
    fj_jit_drop(t->jit, c->kernel);
    free(c->launches);
    c->kernel = NULL;
    c->launches = NULL;
}

static bool cancelled(void *user)
{
    return ((struct fj_tuner *)user)->cancelled;
}

static double budget_us(const struct fj_tuner *t)
{
    return t->params->budget_us > 0 ? t->params->budget_us : DEFAULT_BUDGET_US;
}

static void progress(void *user, const struct fj_search_progress *wave)
{
    struct fj_tuner *t = user;
    struct fj_search_progress all = *wave, *progress = &all;
    all.elapsed_us = fj_now_us() - t->start_us;
    all.budget_us = budget_us(t);
    const struct fj_candidate *items = t->candidates.items;
    if (!t->params->progress)
        return;
    const struct fj_choice *running =
        progress->running >= 0 ? &items[progress->running].choice : NULL;
    const struct fj_choice *best = progress->best >= 0 ? &items[progress->best].choice : NULL;
    double default_us = t->default_us > 0   ? t->default_us
                        : t->search.entries ? t->search.entries[0].median_us
                                            : 0;
    if (t->params->progress(t->params->user, progress, running, best, default_us))
        t->cancelled = true;
}

static double now_us(void *user)
{
    (void)user;
    return fj_now_us();
}

static const struct fj_search_ops ops = {
    .compile = compile,
    .time = time_one,
    .check = check,
    .drop = drop,
    .cancelled = cancelled,
    .progress = progress,
    .now_us = now_us,
};

// --- The run ----------------------------------------------------------------------------------

static enum fj_past past(void *user, const struct fj_choice *choice)
{
    return fj_tune_past(((struct fj_tuner *)user)->tune, choice);
}

static struct fj_prune_params prune_params(struct fj_tuner *t, const struct fj_choice *first)
{
    return (struct fj_prune_params){
        .classes = fj_kernel_classes,
        .gpu = &t->jit->gpu,
        .first = first,
        .max_candidates = t->params->max_candidates,
        .exhaustive = t->params->exhaustive,
        .safe_only = t->params->safe_only,
        .past = past,
        .user = t,
    };
}

// Index 0: what would run without records.
static int find_candidates(struct fj_tuner *t, const struct fj_problem *problem)
{
    struct fj_found found;
    int err = fj_tune_choose_by_rules(t->tune, problem, &t->rules, &found);
    if (err == 0 && past(t, &t->rules) == FJ_PAST_BAD)
        err = fj_err(FAJIT_E_UNSUPPORTED,
                     "a search died over what runs without tuning: fix one knob to avoid it, or "
                     "take its \"fault\" or \"trying\" line out of %s",
                     fj_tune_path(t->tune));
    struct fj_prune_params params = prune_params(t, &t->rules);
    return err ? err : fj_prune(&params, problem, &t->candidates);
}

// Index 0: what won so far. What runs without tuning is among them, to be beaten at the same hour.
static int find_neighbours(struct fj_tuner *t, const struct fj_problem *problem,
                           const struct fj_choice *best)
{
    struct fj_prune_params params = prune_params(t, best);
    return fj_prune_around(&params, problem, &t->rules, t->tried, t->tried_count, &t->candidates);
}

// --- Waves ------------------------------------------------------------------------------------

static int search(struct fj_tuner *t)
{
    double left_us = budget_us(t) - (fj_now_us() - t->start_us);
    const struct fj_search_params params = {
        .count = t->candidates.count,
        .jobs = t->params->jobs,
        .budget_us = left_us > 1 ? left_us : 1,
    };
    t->contenders = calloc((size_t)t->candidates.count, sizeof(*t->contenders));
    if (!t->contenders)
        return fj_err(FAJIT_E_NOMEM, "no memory for %d candidates", t->candidates.count);
    return fj_search(&ops, t, &params, &t->search);
}

static void take_result(struct fj_tuner *t, struct fj_tuner_result *ret)
{
    const struct fj_search_result *s = &t->search;
    ret->candidates += t->candidates.count;
    ret->points += t->candidates.points;
    t->left_out |= t->candidates.unsafe;
    ret->finished = s->finished;
    ret->cancelled = s->cancelled;
    for (int i = 0; s->entries && i < t->candidates.count; i++) {
        ret->compiled += s->entries[i].compiled;
        ret->timed += s->entries[i].timed;
    }
    if (!s->entries || s->best < 0)
        return;
    ret->found = true;
    ret->noisy = s->noisy;
    ret->choice = t->candidates.items[s->best].choice;
    ret->median_us = s->entries[s->best].median_us;
    ret->p25_us = s->entries[s->best].p25_us;
    ret->p75_us = s->entries[s->best].p75_us;
}

static void remember_wave(struct fj_tuner *t)
{
    int count = t->tried_count + t->candidates.count;
    struct fj_choice *tried = realloc(t->tried, (size_t)count * sizeof(*tried));
    if (!tried)
        return; // some may be timed again
    for (int i = 0; i < t->candidates.count; i++)
        tried[t->tried_count + i] = t->candidates.items[i].choice;
    t->tried = tried;
    t->tried_count = count;
}

static void end_wave(struct fj_tuner *t)
{
    for (int i = 0; t->contenders && i < t->candidates.count; i++) {
        fj_jit_drop(t->jit, t->contenders[i].kernel);
        free(t->contenders[i].launches);
    }
    free(t->contenders);
    t->contenders = NULL;
    fj_search_result_free(&t->search);
    fj_candidates_free(&t->candidates);
}

// Puts the configuration that took the context with it into the sentence.
static int name_culprit(const struct fj_tuner *t, int err)
{
    struct fj_buf config = {0};
    if (err != FAJIT_E_CONTEXT_LOST || t->search.lost < 0)
        return err;
    const struct fj_choice *choice = &t->candidates.items[t->search.lost].choice;
    fj_config_format(&choice->config, &config);
    err = fj_err_context(err, "%s with %s", choice->kernel->name, config.data ? config.data : "");
    fj_buf_free(&config);
    return err;
}

static void take_default(struct fj_tuner *t)
{
    for (int i = 0; t->search.entries && i < t->candidates.count; i++) {
        const struct fj_search_entry *entry = &t->search.entries[i];
        bool better = t->default_us <= 0 || entry->samples >= FJ_THOROUGH_SAMPLES;
        if (entry->timed && better && fj_prune_same(&t->candidates.items[i].choice, &t->rules))
            t->default_us = entry->median_us;
    }
}

static int run_wave(struct fj_tuner *t, struct fj_tuner_result *result)
{
    int err = search(t);
    take_default(t);
    fj_tuner_record_wave(t);
    take_result(t, result);
    remember_wave(t);
    err = name_culprit(t, err);
    end_wave(t);
    return err;
}

// Tiles first, then what is next to the winner, as long as that wins.
static int run(struct fj_tuner *t, const struct fj_problem *problem, struct fj_tuner_result *result)
{
    int err = find_candidates(t, problem);
    if (err == 0)
        err = fj_trial_create(t->jit, problem, &t->trial);
    if (err == 0)
        err = run_wave(t, result);
    for (int wave = 1; wave < WAVES_MAX && err == 0 && result->found && result->finished &&
                       !t->params->exhaustive;
         wave++) {
        const struct fj_choice centre = result->choice;
        err = find_neighbours(t, problem, &centre);
        if (err || t->candidates.count < 2)
            break;
        err = run_wave(t, result);
        if (memcmp(&centre.config, &result->choice.config, sizeof(centre.config)) == 0 &&
            centre.problem.variant == result->choice.problem.variant)
            break;
    }
    end_wave(t);
    return err;
}

int fj_tuner_run(struct fj_jit *jit, struct fj_tune *tune, const struct fj_problem *problem,
                 const struct fj_tuner_params *params, struct fj_tuner_result *ret_result)
{
    struct fj_tuner t = {.jit = jit, .tune = tune, .params = params, .start_us = fj_now_us()};
    *ret_result = (struct fj_tuner_result){0};
    int err = fj_tuner_check_sizes(problem);
    if (err == 0 && !jit->has_device)
        err = fj_err(FAJIT_E_NO_DEVICE, "tuning measures: this context has no device");
    if (err)
        return err;
    fj_tune_enter(tune);
    err = run(&t, problem, ret_result);
    ret_result->finished = ret_result->finished && !t.left_out;
    fj_tuner_record_best(&t, problem, ret_result);
    ret_result->default_us = t.default_us;
    ret_result->unsaved = t.unsaved;
    ret_result->elapsed_us = fj_now_us() - t.start_us;
    fj_trial_destroy(&t.trial);
    free(t.tried);
    fj_tune_leave(tune);
    return err;
}
