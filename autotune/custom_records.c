// Records of kernels that are not ours: what is written, and what planning follows.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/custom.h"
#include "base/thread.h"

bool fj_custom_key(const struct fj_custom *custom, struct fj_tune_key *ret_key)
{
    struct fj_buf text = {0};
    fj_custom_print(custom, &text);
    bool ok = !text.failed && fj_tune_key_parse(text.data, text.len, ret_key);
    fj_buf_free(&text);
    return ok;
}

static bool digest_of(const struct fj_custom *custom, char ret_digest[FJ_DIGEST_TEXT])
{
    struct fj_buf hex = {0};
    bool ok = fj_template_digest(custom->tmpl, &hex) == FAJIT_OK;
    snprintf(ret_digest, FJ_DIGEST_TEXT, "%.32s", ok ? hex.data : "");
    fj_buf_free(&hex);
    return ok;
}

int fj_custom_stamp(const struct fj_gpu *gpu, const char *nvrtc, const struct fj_custom *custom,
                    struct fj_record *ret_record)
{
    struct fj_buf config = {0};
    *ret_record = (struct fj_record){.time_s = fj_time_s()};
    fj_record_gpu(gpu, ret_record->gpu);
    fj_custom_config_print(custom, &config);
    size_t len = config.len;
    snprintf(ret_record->config, sizeof(ret_record->config), "%s", config.data ? config.data : "");
    bool failed = config.failed || !digest_of(custom, ret_record->digest);
    fj_buf_free(&config);
    if (failed)
        return fj_err(FAJIT_E_NOMEM, "no memory for a tuning record");
    if (len >= sizeof(ret_record->config) || !fj_custom_key(custom, &ret_record->key))
        return fj_err(FAJIT_E_INVAL,
                      "%s: parameters or knobs of more than %d characters: results cannot be filed "
                      "under so long a text",
                      custom->template_name, FJ_TUNE_TEXT_MAX - 1);
    struct fj_custom_stem stem = fj_custom_stem(custom);
    snprintf(ret_record->kernel, sizeof(ret_record->kernel), "%.39s", stem.text);
    snprintf(ret_record->variant, sizeof(ret_record->variant), "user");
    snprintf(ret_record->nvrtc, sizeof(ret_record->nvrtc), "%s", nvrtc);
    snprintf(ret_record->origin, sizeof(ret_record->origin), "tuned");
    return FAJIT_OK;
}

// --- Looking up -------------------------------------------------------------------------------

// The best record so far that can be followed.
struct looking {
    const struct fj_gpu *gpu;
    const char *nvrtc;
    struct fj_record like; // of this template, here and now
    struct fj_custom *custom;
    bool found;
    enum fj_lookup_step step;
    double distance;
    struct fj_record best;
};

// "NAME/90/132": the part between the slashes.
static bool same_capability(const char *record_gpu, int cc)
{
    const char *slash = strchr(record_gpu, '/');
    return slash && atoi(slash + 1) == cc;
}

static enum fj_lookup_step step_of(const struct looking *l, const struct fj_record *record,
                                   enum fj_tune_match match)
{
    if (strcmp(record->gpu, l->like.gpu) != 0)
        return FJ_STEP_OTHER_GPU;
    bool other_nvrtc = *l->nvrtc && *record->nvrtc && strcmp(l->nvrtc, record->nvrtc) != 0;
    if (other_nvrtc || strcmp(record->digest, l->like.digest) != 0)
        return FJ_STEP_STALE;
    return match == FJ_MATCH_EXACT    ? FJ_STEP_EXACT
           : match == FJ_MATCH_BUCKET ? FJ_STEP_BUCKET
                                      : FJ_STEP_NEAREST;
}

// The order of compare_ranked in lookup.c.
static bool is_better(const struct looking *l, const struct fj_record *record,
                      enum fj_lookup_step step, double distance)
{
    const struct fj_record *best = &l->best;
    if (!l->found || step != l->step)
        return !l->found || step < l->step;
    if (distance != l->distance)
        return distance < l->distance;
    if (record->verdict != best->verdict)
        return record->verdict < best->verdict;
    if (record->verdict == FJ_VERDICT_BEST && record->time_s != best->time_s)
        return record->time_s > best->time_s;
    bool thorough = record->samples >= FJ_THOROUGH_SAMPLES;
    if (thorough != (best->samples >= FJ_THOROUGH_SAMPLES))
        return thorough;
    return record->median_us < best->median_us;
}

// Its values are still listed, and the template renders with them on this GPU.
static bool can_follow(struct looking *l, const struct fj_record *record)
{
    int64_t values[FJ_CUSTOM_KNOBS_MAX];
    return fj_custom_config_parse(l->custom, record->config, values) &&
           fj_custom_set(l->custom, l->gpu, values) == FAJIT_OK;
}

static int look_at(void *user, const struct fj_record *record, enum fj_lookup_step unused,
                   double predicted_us)
{
    struct looking *l = user;
    double distance = 0;
    (void)unused, (void)predicted_us;
    enum fj_tune_match match = fj_tune_compare(&l->like.key, &record->key, &distance);
    bool emulated = strstr(record->gpu, "(emulated)") != NULL;
    if (match == FJ_MATCH_NONE || record->verdict > FJ_VERDICT_TIMED ||
        !same_capability(record->gpu, l->gpu->cc) ||
        (emulated && strcmp(record->gpu, l->like.gpu) != 0))
        return 0;
    enum fj_lookup_step step = step_of(l, record, match);
    if (!is_better(l, record, step, distance) || !can_follow(l, record))
        return 0;
    l->found = true;
    l->step = step;
    l->distance = distance;
    l->best = *record;
    return 0;
}

static bool look_up(struct fj_tune *tune, const struct fj_gpu *gpu, const char *nvrtc,
                    struct fj_custom *custom, struct looking *ret)
{
    int64_t values[FJ_CUSTOM_KNOBS_MAX];
    *ret = (struct looking){.gpu = gpu, .nvrtc = nvrtc, .custom = custom};
    if (fj_custom_stamp(gpu, nvrtc, custom, &ret->like))
        return false;
    fj_tune_visit(tune, NULL, nvrtc, look_at, ret);
    return ret->found && fj_custom_config_parse(custom, ret->best.config, values) &&
           fj_custom_set(custom, gpu, values) == FAJIT_OK;
}

int fj_custom_choose(struct fj_tune *tune, const struct fj_gpu *gpu, const char *nvrtc,
                     struct fj_custom *custom, char ret_from[160])
{
    struct looking looking;
    if (custom->knob_count == 0) {
        snprintf(ret_from, 160, "fixed: parameters given by the caller");
        return fj_custom_set_default(custom, gpu);
    }
    if (tune && look_up(tune, gpu, nvrtc, custom, &looking)) {
        snprintf(ret_from, 160, "%s: %s record of %.80s, %.1f us", fj_step_name(looking.step),
                 looking.best.origin, looking.best.key.problem, looking.best.median_us);
        return FAJIT_OK;
    }
    snprintf(ret_from, 160, "heuristic: the values that %.100s lists first", custom->template_name);
    return fj_custom_set_default(custom, gpu);
}

bool fj_custom_is_tuned(struct fj_tune *tune, const struct fj_gpu *gpu, const char *nvrtc,
                        const struct fj_custom *custom, struct fj_record *ret_best)
{
    struct fj_custom copy = *custom;
    struct looking looking;
    bool tuned = look_up(tune, gpu, nvrtc, &copy, &looking) && looking.step == FJ_STEP_EXACT &&
                 looking.best.verdict == FJ_VERDICT_BEST;
    if (tuned && ret_best)
        *ret_best = looking.best;
    return tuned;
}

// --- The past ---------------------------------------------------------------------------------

struct remembering {
    struct fj_record like;
    enum fj_past past;
};

static int remember(void *user, const struct fj_record *record, enum fj_lookup_step step,
                    double predicted_us)
{
    struct remembering *r = user;
    (void)step, (void)predicted_us;
    if (strcmp(record->config, r->like.config) != 0 || strcmp(record->gpu, r->like.gpu) != 0 ||
        strcmp(record->digest, r->like.digest) != 0 ||
        strcmp(record->key.exact, r->like.key.exact) != 0)
        return 0;
    if (record->verdict >= FJ_VERDICT_FAULT)
        r->past = FJ_PAST_BAD;
    else if (record->samples > 0)
        r->past = FJ_PAST_RAN;
    return r->past == FJ_PAST_BAD;
}

enum fj_past fj_custom_past(struct fj_tune *tune, const struct fj_gpu *gpu,
                            const struct fj_custom *custom)
{
    struct remembering remembering = {.past = FJ_PAST_UNKNOWN};
    if (fj_custom_stamp(gpu, "", custom, &remembering.like) == FAJIT_OK)
        fj_tune_visit(tune, NULL, "", remember, &remembering);
    return remembering.past;
}
