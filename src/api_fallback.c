// What may serve while a kernel is being compiled: any other kernel of the problem that is ready.
#include <fajit/fajit.h>

#include <stdio.h>
#include <string.h>

#include "ctx.h"

#define READY_MAX 64
#define RECORDED_MAX 16

struct seen {
    const struct fj_kernel_class *kernel;
    enum fajit_variant variant;
    struct fj_config config;
};

struct search {
    struct fajit_ctx *ctx;
    const struct fj_problem *problem;
    const struct fj_jit_request *request; // for the wanted kernel
    struct seen seen[READY_MAX];          // kernels of the operation in memory
    int count;
    // The result.
    struct fj_choice choice;
    struct fj_kernel *kernel;
    bool hit;
};

static void see(void *user, const void *value)
{
    struct search *s = user;
    const struct fj_choice *choice = &((const struct fj_kernel *)value)->choice;
    const struct seen seen = {choice->kernel, choice->problem.variant, choice->config};
    if (choice->kernel && choice->kernel->op == s->problem->op && s->count < READY_MAX)
        s->seen[s->count++] = seen;
}

// Ready as it is: nothing is compiled for it, nor waited for.
static bool take(struct search *s, const struct fj_choice *choice, bool in_memory)
{
    struct fj_jit_request request = *s->request;
    request.choice = choice;
    request.cached_only = request.no_wait = true;
    request.capturing |= in_memory;
    if (fj_jit_kernel(&s->ctx->jit, &request, &s->kernel, &s->hit))
        return false;
    s->choice = *choice;
    return true;
}

// What the host has fixed stays fixed.
static bool keeps_fixed(const struct fj_problem *problem, const struct fj_config *config)
{
    for (int i = 0; i < FJ_KNOB_COUNT; i++)
        if (problem->fixed.v[i] && problem->fixed.v[i] != config->v[i])
            return false;
    return true;
}

// A configuration of another problem, for this one; the kernel it gives is known, in memory or on
// disk, only when all else that the text bakes in is the same too.
static bool take_seen(struct search *s, const struct seen *seen, bool in_memory)
{
    const struct fj_kernel_class *const only[] = {seen->kernel, NULL};
    struct fj_problem wanted = *s->problem;
    struct fj_choice choice;
    if ((wanted.variant && wanted.variant != seen->variant) ||
        !keeps_fixed(s->problem, &seen->config))
        return false;
    wanted.variant = seen->variant;
    wanted.fixed = seen->config;
    if (fj_kernel_choose_from(only, &wanted, &s->ctx->jit.gpu, &choice))
        return false;
    choice.problem.fixed = s->problem->fixed;
    return take(s, &choice, in_memory);
}

static bool take_from_memory(struct search *s, bool same_template)
{
    for (int i = 0; i < s->count; i++)
        if ((s->seen[i].kernel == s->request->choice->kernel) == same_template &&
            take_seen(s, &s->seen[i], true))
            return true;
    return false;
}

// Configurations of the wanted kernel's template whose output was found right.
struct recorded {
    const struct fj_choice *wanted;
    struct seen items[RECORDED_MAX];
    int count;
};

static int see_record(void *user, const struct fj_record *record, enum fj_lookup_step step,
                      double predicted_us)
{
    struct recorded *r = user;
    struct seen seen = {.kernel = r->wanted->kernel, .variant = FAJIT_VARIANT_PERSISTENT};
    (void)predicted_us;
    while (seen.variant && strcmp(fj_variant_name(seen.variant), record->variant) != 0)
        seen.variant--;
    if (step <= FJ_STEP_STALE && record->verdict <= FJ_VERDICT_TIMED && seen.variant &&
        strcmp(record->kernel, seen.kernel->name) == 0 &&
        fj_config_parse(record->config, &seen.config) == FAJIT_OK)
        r->items[r->count++] = seen;
    return r->count == RECORDED_MAX;
}

static bool take_recorded(struct search *s)
{
    struct recorded recorded = {.wanted = s->request->choice};
    char nvrtc[16];
    fj_ctx_nvrtc(s->ctx, nvrtc);
    if (s->ctx->tune_mode != FAJIT_TUNE_OFF)
        fj_tune_visit(s->ctx->tune, s->problem, nvrtc, see_record, &recorded);
    for (int i = 0; i < recorded.count; i++)
        if (take_seen(s, &recorded.items[i], false))
            return true;
    return false;
}

static bool take_default(struct search *s, enum fajit_family family)
{
    struct fj_problem wanted = *s->problem;
    struct fj_choice choice;
    struct fj_found found;
    if (family) {
        if (wanted.family)
            return false;
        wanted.family = family;
    }
    return fj_tune_choose_by_rules(s->ctx->tune, &wanted, &choice, &found) == FAJIT_OK &&
           take(s, &choice, false);
}

static bool find(struct search *s)
{
    fj_mem_visit(s->ctx->jit.mem, see, s);
    if (take_from_memory(s, true) || take_recorded(s) || take_default(s, FAJIT_FAMILY_AUTO) ||
        take_from_memory(s, false))
        return true;
    for (int family = FAJIT_FAMILY_SM90; family > FAJIT_FAMILY_AUTO; family--)
        if (take_default(s, (enum fajit_family)family))
            return true;
    return false;
}

int fj_plan_fall_back(struct fajit_plan *plan, const struct fj_problem *problem,
                      const struct fj_jit_request *request, int status, bool *ret_hit)
{
    struct search search = {.ctx = plan->ctx, .problem = problem, .request = request};
    char why[512], name[160] = "";
    snprintf(why, sizeof(why), "%s", fj_err_text());
    if (!find(&search))
        return fj_err(status, "%s; nothing else that is ready can stand in for it", why);
    fj_kernel_symbol(request->choice, name, sizeof(name));
    fj_log(&plan->ctx->jit.log, FAJIT_LOG_INFO, "%s stands in for %s", search.kernel->name, name);
    plan->choice = search.choice;
    plan->kernel = search.kernel;
    plan->fallback = true;
    *ret_hit = search.hit;
    return FAJIT_OK;
}
