// What a search asks for, of a candidate that the host launches and judges.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/custom_run.h"
#include "base/thread.h"
#include "cuda/timing.h"

#define DEFAULT_BUDGET_US 30e6

static int compile(void *user, int i, struct fj_search_facts *ret_facts)
{
    struct fj_custom_run *t = user;
    struct fj_contender *c = &t->contenders[i];
    double start = fj_now_us();
    struct fj_custom *custom = malloc(sizeof(*custom));
    if (!custom)
        return fj_err(FAJIT_E_NOMEM, "no memory for a candidate");
    *custom = *t->base;
    int err = fj_custom_set(custom, &t->jit->gpu, c->values);
    if (err == 0)
        err = fj_jit_make_custom(t->jit, custom, &c->kernel);
    if (err) {
        free(custom);
        return err;
    }
    c->custom = custom;
    *ret_facts = (struct fj_search_facts){.registers = c->kernel->registers,
                                          .spill_bytes = c->kernel->spill_bytes,
                                          .compile_us = fj_now_us() - start};
    return FAJIT_OK;
}

static int load(struct fj_custom_run *t, struct fj_contender *c)
{
    if (c->loaded)
        return FAJIT_OK;
    int err = fj_jit_load(t->jit, c->kernel);
    if (err == 0 && c->kernel->ctas_per_sm < 1)
        err = fj_err(FAJIT_E_UNSUPPORTED, "not even one CTA fits on a SM");
    c->loaded = err == FAJIT_OK;
    return err;
}

void fj_custom_keep(struct fj_custom_run *t, const struct fj_record *made)
{
    if (fj_tune_keep(t->tune, made, 1) == FAJIT_OK || t->unsaved)
        return;
    t->unsaved = true; // said once
    fj_log(&t->jit->log, FAJIT_LOG_WARN, "tuning results are not saved: %s", fj_err_text());
}

static int stamp(const struct fj_custom_run *t, const struct fj_contender *c, struct fj_record *ret)
{
    struct fj_custom custom = *t->base;
    char nvrtc[16] = "";
    int err = fj_custom_set(&custom, &t->jit->gpu, c->values);
    if (c->kernel)
        snprintf(nvrtc, sizeof(nvrtc), "%.*s", (int)strcspn(c->kernel->nvrtc, " "),
                 c->kernel->nvrtc);
    return err ? err : fj_custom_stamp(&t->jit->gpu, nvrtc, &custom, ret);
}

// Should the kernel hang, the process is killed, and the next search must know what over: a line
// before the first launch, and one after it.
static void announce(struct fj_custom_run *t, const struct fj_contender *c, enum fj_verdict verdict,
                     double us)
{
    struct fj_record made;
    if (stamp(t, c, &made))
        return;
    made.verdict = verdict;
    made.median_us = made.p25_us = made.p75_us = us;
    made.samples = us > 0;
    fj_custom_keep(t, &made);
}

// --- Before the first launch ------------------------------------------------------------------

static void tell(struct fj_custom_run *t, enum fajit_log_level level, const struct fj_contender *c,
                 const char *text)
{
    char config[FAJIT_CONFIG_MAX];
    fj_custom_config_text(t, c->values, config);
    fj_log(&t->jit->log, level, "%s with %s %s", t->base->template_name, config, text);
}

// What a rehearsal ended is as bad as what ended this process would be: the next search must know.
// A hang leaves the line that a killed process would have left.
static int give_up(struct fj_custom_run *t, struct fj_contender *c, bool hung)
{
    char why[200], text[400];
    snprintf(why, sizeof(why), "%s", fj_err_text());
    snprintf(text, sizeof(text),
             "%s in the tuning worker; it is left out, and the search goes on: %s",
             hung ? "hung" : "faulted", why);
    tell(t, FAJIT_LOG_WARN, c, text);
    if (hung) {
        announce(t, c, FJ_VERDICT_TRYING, 0);
        c->recorded = true;
    }
    t->spared = true;
    return fj_err(FAJIT_E_CONTEXT_LOST, "%s", why);
}

// No rehearsal: whoever may run without one does.
static int go_without(struct fj_custom_run *t, struct fj_contender *c)
{
    const bool goes = !t->params->safe_only || fj_custom_is_first(t, c->values);
    char why[200], text[400];
    snprintf(why, sizeof(why), "%s", fj_err_text());
    snprintf(text, sizeof(text), "could not be tried in the tuning worker first (%s): it is %s",
             why, goes ? "launched all the same" : "left out");
    tell(t, t->said_once ? FAJIT_LOG_INFO : FAJIT_LOG_WARN, c, text);
    t->said_once = true;
    if (goes)
        return FAJIT_OK;
    t->left_out = c->recorded = true;
    return fj_err(FAJIT_E_UNSUPPORTED, "not tried: %s", why);
}

static int rehearse(struct fj_custom_run *t, struct fj_contender *c)
{
    int status = FAJIT_OK;
    if (!t->trial->rehearse || fj_custom_past(t->tune, &t->jit->gpu, c->custom) == FJ_PAST_RAN)
        return FAJIT_OK;
    switch (t->trial->rehearse(t->trial->user, c->custom, c->kernel, &status)) {
    case FJ_REHEARSED_WELL:
        return FAJIT_OK;
    case FJ_REHEARSED_FAULT:
        return give_up(t, c, false);
    case FJ_REHEARSED_HUNG:
        return give_up(t, c, true);
    case FJ_REHEARSED_FAILED:
        return status;
    case FJ_REHEARSED_NOT:
        return go_without(t, c);
    case FJ_REHEARSED_CANCELLED:
        break;
    }
    t->cancelled = c->recorded = true;
    return fj_err(FAJIT_E_UNSUPPORTED, "not tried: the search was cancelled");
}

// What a rehearsal lost was another process's context.
static int recover(void *user)
{
    struct fj_custom_run *t = user;
    const bool spared = t->spared;
    t->spared = false;
    return spared ? FAJIT_OK : FAJIT_E_CONTEXT_LOST;
}

// --- Timing and judging -----------------------------------------------------------------------

struct timed {
    const struct fj_custom_run *tuner;
    const struct fj_contender *contender;
};

static int launch_timed(void *user, CUstream stream)
{
    const struct timed *timed = user;
    const struct fj_custom_trial *trial = timed->tuner->trial;
    return trial->launch(trial->user, timed->contender->custom, timed->contender->kernel, stream);
}

static int time_one(void *user, int i, int samples, double *ret_us)
{
    struct fj_custom_run *t = user;
    struct fj_contender *c = &t->contenders[i];
    struct timed timed = {t, c};
    struct fj_timing timing;
    bool is_new = !c->loaded;
    int err = load(t, c);
    if (err == 0 && is_new)
        err = rehearse(t, c);
    if (err)
        return err;
    if (is_new)
        announce(t, c, FJ_VERDICT_TRYING, 0);
    const struct fj_timing_params params = {
        .repeats = samples,
        .warmups = is_new ? 1 : 0,
        .flush_l2 = !t->jit->want_ptx, // the emulated device has no L2 to empty
        .samples_us = ret_us,
    };
    err = fj_time_launches(&t->jit->device, launch_timed, &timed, &params, &timing);
    if (is_new && (err == 0 || err == FAJIT_E_NO_DEVICE))
        announce(t, c, FJ_VERDICT_UNCHECKED, err ? 0 : timing.median_us);
    return err;
}

// In the device's context. Nothing of an earlier candidate's output may pass for this one's.
static int judge(const struct fj_custom_run *t, const struct fj_contender *c)
{
    const struct fj_cuda *cuda = t->jit->device.cuda;
    const struct fj_custom_trial *trial = t->trial;
    CUdeviceptr output = (CUdeviceptr)(uintptr_t)trial->output;
    int err = FAJIT_OK;
    if (trial->output)
        err = fj_cuda_check(cuda, cuda->cuMemsetD8_v2(output, 0xff, trial->output_bytes),
                            "cuMemsetD8");
    if (err == 0)
        err = trial->launch(trial->user, c->custom, c->kernel, NULL);
    if (err == 0)
        err = fj_cuda_check(cuda, cuda->cuCtxSynchronize(), "cuCtxSynchronize");
    return err ? err : trial->judge(trial->user, c->custom, c->kernel);
}

static int check(void *user, int i)
{
    struct fj_custom_run *t = user;
    CUcontext previous;
    int err = load(t, &t->contenders[i]);
    if (err == 0)
        err = fj_device_enter(&t->jit->device, &previous);
    if (err)
        return err;
    err = judge(t, &t->contenders[i]);
    fj_device_leave(&t->jit->device, previous);
    return err;
}

void fj_custom_record(struct fj_custom_run *t, int i)
{
    const struct fj_search_entry *entry = &t->search.entries[i];
    struct fj_record made;
    t->contenders[i].recorded = true;
    if (!entry->timed && entry->verdict <= FJ_VERDICT_TIMED)
        return; // never tried: nothing is known
    if (stamp(t, &t->contenders[i], &made))
        return;
    const bool unchecked = entry->verdict == FJ_VERDICT_TIMED && !entry->checked;
    made.verdict = unchecked ? FJ_VERDICT_UNCHECKED : entry->verdict;
    made.median_us = entry->median_us;
    made.p25_us = entry->p25_us;
    made.p75_us = entry->p75_us;
    made.samples = entry->timed ? entry->samples : 0;
    fj_custom_keep(t, &made);
}

void fj_custom_forget(struct fj_custom_run *t, struct fj_contender *c)
{
    fj_jit_drop(t->jit, c->kernel);
    free(c->custom);
    c->kernel = NULL;
    c->custom = NULL;
}

static void drop(void *user, int i)
{
    struct fj_custom_run *t = user;
    if (!t->contenders[i].recorded)
        fj_custom_record(t, i);
    fj_custom_forget(t, &t->contenders[i]);
}

static bool cancelled(void *user)
{
    return ((struct fj_custom_run *)user)->cancelled;
}

double fj_custom_budget_us(const struct fj_custom_run *t)
{
    return t->params->budget_us > 0 ? t->params->budget_us : DEFAULT_BUDGET_US;
}

void fj_custom_config_text(const struct fj_custom_run *t, const int64_t *values,
                           char ret[FAJIT_CONFIG_MAX])
{
    struct fj_custom custom = *t->base;
    struct fj_buf text = {0};
    for (int i = 0; i < custom.knob_count; i++)
        custom.params[custom.knobs[i].param].value = values[i];
    fj_custom_config_print(&custom, &text);
    snprintf(ret, FAJIT_CONFIG_MAX, "%s", text.data ? text.data : "");
    fj_buf_free(&text);
}

static void progress(void *user, const struct fj_search_progress *wave)
{
    struct fj_custom_run *t = user;
    struct fj_search_progress all = *wave;
    char running[FAJIT_CONFIG_MAX] = "", best[FAJIT_CONFIG_MAX] = "";
    if (!t->params->progress)
        return;
    all.elapsed_us = fj_now_us() - t->start_us;
    all.budget_us = fj_custom_budget_us(t);
    if (wave->running >= 0)
        fj_custom_config_text(t, t->contenders[wave->running].values, running);
    if (wave->best >= 0)
        fj_custom_config_text(t, t->contenders[wave->best].values, best);
    double default_us = t->default_us > 0   ? t->default_us
                        : t->search.entries ? t->search.entries[0].median_us
                                            : 0;
    if (t->params->progress(t->params->user, &all, running, best, default_us))
        t->cancelled = true;
}

static double now_us(void *user)
{
    (void)user;
    return fj_now_us();
}

const struct fj_search_ops fj_custom_ops = {
    .compile = compile,
    .time = time_one,
    .check = check,
    .recover = recover,
    .drop = drop,
    .cancelled = cancelled,
    .progress = progress,
    .now_us = now_us,
};
