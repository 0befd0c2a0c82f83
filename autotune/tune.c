#include "autotune/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autotune/model.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/thread.h"
#include "codegen/store.h"
#include "codegen/template.h"

#define DIGESTS_MAX 32
#define ANSWERS 64

extern const struct fj_stored fj_bundled_files[];
extern const int fj_bundled_count;

struct digest {
    const struct fj_kernel_class *kernel;
    char text[FJ_DIGEST_TEXT];
};

// What was answered before, so that planning again costs no look-up.
struct answer {
    bool known;
    char nvrtc[16];
    struct fj_problem problem;
    struct fj_choice choice;
    struct fj_found found;
};

struct fj_tune {
    char path[1024]; // "" when in memory only
    bool read_only, ignore;
    struct fj_store *store;
    const char *template_dir;
    const struct fj_gpu *gpu;
    const struct fj_log *log;

    fj_mutex searching; // held during a search, which takes the other one in between
    fj_mutex mutex;     // of the fields below
    struct fj_records records;
    bool loaded, sorted;
    struct digest digests[DIGESTS_MAX];
    int digest_count;
    struct answer answers[ANSWERS]; // by a hash of the problem
    char (*seen)[FJ_TUNE_TEXT_MAX]; // problems fj_tune_is_new was asked about
    int seen_count;
};

int fj_tune_open(const struct fj_tune_setup *setup, struct fj_tune **ret_tune)
{
    struct fj_tune *tune = calloc(1, sizeof(*tune));
    if (!tune)
        return fj_err(FAJIT_E_NOMEM, "no memory for tuning records");
    tune->read_only = setup->read_only;
    tune->store = setup->store;
    tune->ignore = setup->ignore;
    tune->template_dir = setup->template_dir;
    tune->gpu = setup->gpu;
    tune->log = setup->log;
    if (setup->dir && *setup->dir &&
        !fj_path_join(tune->path, sizeof(tune->path), setup->dir, FJ_RECORDS_FILE))
        tune->path[0] = '\0';
    pthread_mutex_init(&tune->mutex, NULL);
    pthread_mutex_init(&tune->searching, NULL);
    *ret_tune = tune;
    return FAJIT_OK;
}

void fj_tune_close(struct fj_tune **tune)
{
    if (!*tune)
        return;
    fj_records_free(&(*tune)->records);
    pthread_mutex_destroy(&(*tune)->mutex);
    pthread_mutex_destroy(&(*tune)->searching);
    free((*tune)->seen);
    free(*tune);
    *tune = NULL;
}

const char *fj_tune_path(const struct fj_tune *tune)
{
    return tune->path;
}

// --- Loading, at the first question -----------------------------------------------------------

static void log_bad(void *user, const char *sentence)
{
    struct fj_tune *tune = user;
    fj_log(tune->log, FAJIT_LOG_WARN, "%s; the line is passed over", sentence);
}

static void load_from_host(struct fj_tune *tune)
{
    struct fj_buf text = {0};
    if (tune->store && fj_store_read_records(tune->store, &text))
        fj_records_parse(&tune->records, "the host's store", text.data, text.len, log_bad, tune);
    fj_buf_free(&text);
}

static void load(struct fj_tune *tune)
{
    if (tune->loaded)
        return;
    tune->loaded = true;
    tune->sorted = false;
    for (int i = 0; i < fj_bundled_count; i++)
        fj_records_parse(&tune->records, fj_bundled_files[i].name, fj_bundled_files[i].text,
                         fj_bundled_files[i].len, log_bad, tune);
    for (int i = 0; i < tune->records.count; i++)
        snprintf(tune->records.items[i]->origin, sizeof(tune->records.items[i]->origin), "bundled");
    if (*tune->path && fj_records_load(&tune->records, tune->path, log_bad, tune))
        fj_log(tune->log, FAJIT_LOG_WARN, "tuning records are not used: %s", fj_err_text());
    load_from_host(tune);
}

static void ready(struct fj_tune *tune)
{
    load(tune);
    if (!tune->sorted)
        fj_records_sort(&tune->records);
    tune->sorted = true;
}

static void read_digest(struct fj_tune *tune, const char *template_name, char ret[FJ_DIGEST_TEXT])
{
    const struct fj_template *tmpl;
    struct fj_buf hex = {0};
    *ret = '\0';
    if (fj_template_get(tune->template_dir, template_name, &tmpl) == FAJIT_OK &&
        fj_template_digest(tmpl, &hex) == FAJIT_OK)
        snprintf(ret, FJ_DIGEST_TEXT, "%.32s", hex.data);
    fj_buf_free(&hex);
}

// A template that changes while the process runs keeps its first digest: its records may then be
// of the newer text, which costs speed at worst, never a wrong result.
static const char *digest_of(void *user, const struct fj_kernel_class *kernel)
{
    struct fj_tune *tune = user;
    for (int i = 0; i < tune->digest_count; i++)
        if (tune->digests[i].kernel == kernel)
            return tune->digests[i].text;
    if (tune->digest_count == DIGESTS_MAX)
        return "";
    struct digest *digest = &tune->digests[tune->digest_count++];
    digest->kernel = kernel;
    read_digest(tune, kernel->template_name, digest->text);
    return digest->text;
}

static struct fj_lookup lookup_of(struct fj_tune *tune, const char *nvrtc)
{
    return (struct fj_lookup){
        .records = tune->ignore ? NULL : &tune->records,
        .classes = fj_kernel_classes,
        .gpu = tune->gpu,
        .nvrtc = nvrtc,
        .digest = digest_of,
        .user = tune,
    };
}

static struct answer *answer_of(struct fj_tune *tune, const struct fj_problem *problem)
{
    uint8_t sum[16];
    fj_checksum(problem, sizeof(*problem), sum);
    return &tune->answers[sum[0] % ANSWERS];
}

// Bytes between the members are zero in every problem that was parsed; were they not, the answer
// would only be looked up again.
static bool is_answer(const struct answer *answer, const struct fj_problem *problem,
                      const char *nvrtc)
{
    return answer->known && strcmp(answer->nvrtc, nvrtc) == 0 &&
           // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): as said above
           memcmp(&answer->problem, problem, sizeof(*problem)) == 0;
}

static int look_up(struct fj_tune *tune, const struct fj_problem *problem, const char *nvrtc,
                   struct answer *answer)
{
    if (!tune->ignore)
        ready(tune);
    struct fj_lookup lookup = lookup_of(tune, nvrtc);
    answer->known = false;
    int err = fj_lookup_choose(&lookup, problem, &answer->choice, &answer->found);
    if (err)
        return err;
    answer->found.record = NULL; // not the caller's to keep: another thread may add records
    memcpy(&answer->problem, problem, sizeof(*problem));
    snprintf(answer->nvrtc, sizeof(answer->nvrtc), "%s", nvrtc);
    answer->known = true;
    return FAJIT_OK;
}

int fj_tune_choose(struct fj_tune *tune, const struct fj_problem *problem, const char *nvrtc,
                   struct fj_choice *ret_choice, struct fj_found *ret_found)
{
    int err = FAJIT_OK;
    pthread_mutex_lock(&tune->mutex);
    struct answer *answer = answer_of(tune, problem);
    if (!is_answer(answer, problem, nvrtc))
        err = look_up(tune, problem, nvrtc, answer);
    if (err == 0) {
        *ret_choice = answer->choice;
        *ret_found = answer->found;
    }
    pthread_mutex_unlock(&tune->mutex);
    return err;
}

int fj_tune_choose_by_rules(struct fj_tune *tune, const struct fj_problem *problem,
                            struct fj_choice *ret_choice, struct fj_found *ret_found)
{
    pthread_mutex_lock(&tune->mutex);
    struct fj_lookup lookup = lookup_of(tune, "");
    lookup.records = NULL;
    int err = fj_lookup_choose(&lookup, problem, ret_choice, ret_found);
    pthread_mutex_unlock(&tune->mutex);
    return err;
}

// --- Adding -----------------------------------------------------------------------------------

void fj_tune_stamp(struct fj_tune *tune, const struct fj_choice *choice, const char *nvrtc,
                   struct fj_record *ret_record)
{
    struct fj_buf config = {0};
    *ret_record = (struct fj_record){.time_s = fj_time_s()};
    fj_record_gpu(tune->gpu, ret_record->gpu);
    fj_tune_key_of(&choice->problem, &ret_record->key);
    fj_config_format(&choice->config, &config);
    snprintf(ret_record->config, sizeof(ret_record->config), "%s", config.data ? config.data : "");
    fj_buf_free(&config);
    snprintf(ret_record->kernel, sizeof(ret_record->kernel), "%s", choice->kernel->name);
    snprintf(ret_record->variant, sizeof(ret_record->variant), "%s",
             fj_variant_name(choice->problem.variant));
    snprintf(ret_record->nvrtc, sizeof(ret_record->nvrtc), "%s", nvrtc);
    snprintf(ret_record->origin, sizeof(ret_record->origin), "tuned");
    pthread_mutex_lock(&tune->mutex);
    snprintf(ret_record->digest, sizeof(ret_record->digest), "%s", digest_of(tune, choice->kernel));
    pthread_mutex_unlock(&tune->mutex);
}

static void give_to_host(struct fj_tune *tune, const struct fj_record *records, int count)
{
    struct fj_buf lines = {0};
    if (!tune->store || !tune->store->calls.append)
        return;
    for (int i = 0; i < count; i++)
        fj_record_print(&records[i], &lines);
    if (!lines.failed)
        fj_store_add_records(tune->store, lines.data, lines.len);
    fj_buf_free(&lines);
}

int fj_tune_keep(struct fj_tune *tune, const struct fj_record *records, int count)
{
    pthread_mutex_lock(&tune->mutex);
    load(tune); // before the file has them too
    for (int i = 0; i < count; i++)
        fj_records_add(&tune->records, &records[i]);
    tune->sorted = false;
    memset(tune->answers, 0, sizeof(tune->answers));
    pthread_mutex_unlock(&tune->mutex);
    give_to_host(tune, records, count);
    if (!*tune->path || tune->read_only)
        return FAJIT_OK;
    const struct fj_record *list[64];
    int err = FAJIT_OK;
    for (int done = 0; done < count && err == 0; done += 64) {
        int some = count - done < 64 ? count - done : 64;
        for (int i = 0; i < some; i++)
            list[i] = &records[done + i];
        err = fj_records_append(tune->path, list, some);
    }
    return err;
}

void fj_tune_add_text(struct fj_tune *tune, const char *name, const char *text, size_t len)
{
    pthread_mutex_lock(&tune->mutex);
    load(tune);
    fj_records_parse(&tune->records, name, text, len, log_bad, tune);
    tune->sorted = false;
    memset(tune->answers, 0, sizeof(tune->answers));
    pthread_mutex_unlock(&tune->mutex);
}

// --- Asking -----------------------------------------------------------------------------------

// 0 while a size is open, or where the record cannot serve the problem.
static double predict(const struct fj_lookup *lookup, const struct fj_problem *problem,
                      const struct fj_record *record)
{
    struct fj_choice choice;
    struct fj_model model;
    if (!fj_model_applies(problem) || fj_lookup_apply(lookup, problem, record, &choice))
        return 0;
    fj_model_predict(&choice, lookup->gpu, &model);
    return model.predicted_us;
}

static int visit_list(const struct fj_lookup *lookup, const struct fj_problem *problem,
                      const struct fj_record **list, int count, fj_tune_visit_fn visit, void *user)
{
    int result = 0;
    for (int i = 0; i < count && result == 0; i++)
        result = visit(user, list[i], fj_lookup_step_of(lookup, problem, list[i]),
                       predict(lookup, problem, list[i]));
    free(list);
    return result;
}

int fj_tune_visit(struct fj_tune *tune, const struct fj_problem *problem, const char *nvrtc,
                  fj_tune_visit_fn visit, void *user)
{
    const struct fj_record **list;
    int count, result = 0;
    pthread_mutex_lock(&tune->mutex);
    ready(tune);
    struct fj_lookup lookup = lookup_of(tune, nvrtc);
    lookup.records = &tune->records;
    if (problem) {
        list = fj_lookup_candidates(&lookup, problem, &count);
        result = visit_list(&lookup, problem, list, count, visit, user);
        list = fj_lookup_others(&lookup, problem, &count);
        count = result ? 0 : count;
        result |= visit_list(&lookup, problem, list, count, visit, user);
    }
    for (int i = 0; !problem && i < tune->records.count && result == 0; i++)
        result = visit(user, tune->records.items[i], FJ_STEP_EXACT, 0);
    pthread_mutex_unlock(&tune->mutex);
    return result;
}

bool fj_tune_is_tuned(struct fj_tune *tune, const struct fj_problem *problem, const char *nvrtc,
                      bool safe_only)
{
    int count;
    bool tuned = false;
    // A search among one family's kernels finds its best one, not the problem's.
    const bool open = !problem->family && !problem->variant && !safe_only;
    pthread_mutex_lock(&tune->mutex);
    ready(tune);
    struct fj_lookup lookup = lookup_of(tune, nvrtc);
    lookup.records = &tune->records;
    const struct fj_record **list = fj_lookup_candidates(&lookup, problem, &count);
    for (int i = 0; i < count && !tuned; i++) {
        struct fj_choice choice;
        bool ended =
            open ? list[i]->verdict == FJ_VERDICT_BEST : list[i]->samples >= FJ_THOROUGH_SAMPLES;
        tuned = ended && fj_lookup_step_of(&lookup, problem, list[i]) == FJ_STEP_EXACT &&
                fj_lookup_apply(&lookup, problem, list[i], &choice) == FAJIT_OK;
    }
    free(list);
    pthread_mutex_unlock(&tune->mutex);
    return tuned;
}

static bool same_subject(const struct fj_record *a, const struct fj_record *b)
{
    return strcmp(a->config, b->config) == 0 && strcmp(a->kernel, b->kernel) == 0 &&
           strcmp(a->variant, b->variant) == 0 && strcmp(a->gpu, b->gpu) == 0 &&
           strcmp(a->digest, b->digest) == 0;
}

enum fj_past fj_tune_past(struct fj_tune *tune, const struct fj_choice *choice)
{
    struct fj_record like;
    enum fj_past past = FJ_PAST_UNKNOWN;
    fj_tune_stamp(tune, choice, "", &like);
    pthread_mutex_lock(&tune->mutex);
    ready(tune);
    for (int i = 0; i < tune->records.count && past != FJ_PAST_BAD; i++) {
        const struct fj_record *record = tune->records.items[i];
        if (!same_subject(record, &like))
            continue;
        if (record->verdict >= FJ_VERDICT_FAULT && strcmp(record->key.exact, like.key.exact) == 0)
            past = FJ_PAST_BAD;
        else if (record->samples > 0)
            past = FJ_PAST_RAN;
    }
    pthread_mutex_unlock(&tune->mutex);
    return past;
}

// --- Searches ---------------------------------------------------------------------------------

static bool note_problem(struct fj_tune *tune, const char *problem)
{
    for (int i = 0; i < tune->seen_count; i++)
        if (strcmp(tune->seen[i], problem) == 0)
            return false;
    void *seen = realloc(tune->seen, (size_t)(tune->seen_count + 1) * sizeof(*tune->seen));
    if (!seen)
        return false;
    tune->seen = seen;
    snprintf(tune->seen[tune->seen_count++], sizeof(*tune->seen), "%s", problem);
    return true;
}

bool fj_tune_is_new_key(struct fj_tune *tune, const struct fj_tune_key *key)
{
    pthread_mutex_lock(&tune->mutex);
    bool is_new = note_problem(tune, key->problem);
    pthread_mutex_unlock(&tune->mutex);
    return is_new;
}

bool fj_tune_is_new(struct fj_tune *tune, const struct fj_problem *problem)
{
    struct fj_tune_key key;
    return fj_tune_key_of(problem, &key) == FAJIT_OK && fj_tune_is_new_key(tune, &key);
}

void fj_tune_enter(struct fj_tune *tune)
{
    pthread_mutex_lock(&tune->searching);
}

void fj_tune_leave(struct fj_tune *tune)
{
    pthread_mutex_unlock(&tune->searching);
}
