// What may serve while a kernel is being compiled: any other kernel of the problem that is ready.
#include <fajit/fajit.h>

#include <stdio.h>

#include "ctx.h"

#define READY_MAX 64

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

// The configuration of a kernel in memory, for this problem; it is known there only when all else
// that the text bakes in is the same too.
static bool take_seen(struct search *s, const struct seen *seen)
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
    return take(s, &choice, true);
}

static bool take_from_memory(struct search *s, bool same_template)
{
    for (int i = 0; i < s->count; i++)
        if ((s->seen[i].kernel == s->request->choice->kernel) == same_template &&
            take_seen(s, &s->seen[i]))
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
    if (take_from_memory(s, true) || take_default(s, FAJIT_FAMILY_AUTO) ||
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
