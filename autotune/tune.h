// The tuning side of a context: its records, and what planning asks of them.
#ifndef FJ_AUTOTUNE_TUNE_H
#define FJ_AUTOTUNE_TUNE_H

#include "autotune/lookup.h"
#include "base/log.h"
#include "cache/store.h"

#define FJ_RECORDS_FILE "tuning.txt" // in the cache directory

struct fj_tune; // thread-safe

struct fj_tune_setup {
    const char *dir;          // where FJ_RECORDS_FILE lies; NULL or "": records live in memory only
    struct fj_store *store;   // holds more of them; may be NULL
    bool read_only;           // what is there is read, never written
    bool ignore;              // FAJIT_TUNE=off: no record is looked at
    const char *template_dir; // for digests; may be NULL
    const struct fj_gpu *gpu; // outlives this
    const struct fj_log *log; // outlives this
};

int fj_tune_open(const struct fj_tune_setup *setup, struct fj_tune **ret_tune);
void fj_tune_close(struct fj_tune **tune);

// Chooses by records and rules; times nothing. `nvrtc`: "13.0", or "" while none is loaded.
int fj_tune_choose(struct fj_tune *tune, const struct fj_problem *problem, const char *nvrtc,
                   struct fj_choice *ret_choice, struct fj_found *ret_found);

// The same without records: what runs when nothing was ever measured.
int fj_tune_choose_by_rules(struct fj_tune *tune, const struct fj_problem *problem,
                            struct fj_choice *ret_choice, struct fj_found *ret_found);

// Fills what is the same for every record made now; `nvrtc` as above.
void fj_tune_stamp(struct fj_tune *tune, const struct fj_choice *choice, const char *nvrtc,
                   struct fj_record *ret_record);
// Keeps the records and appends them to the file. FAJIT_E_IO when they could not be written; they
// are kept in memory all the same.
int fj_tune_keep(struct fj_tune *tune, const struct fj_record *records, int count);

// More records: of a pack, or of a file. Unreadable lines are logged and passed over.
void fj_tune_add_text(struct fj_tune *tune, const char *name, const char *text, size_t len);

// `predicted_us`: what the model says of the record's configuration; 0 when it cannot say.
typedef int (*fj_tune_visit_fn)(void *user, const struct fj_record *record,
                                enum fj_lookup_step step, double predicted_us);

// Calls `visit` for every record that has a say about the problem, best first, and then for what
// else was tried for it (NULL: every record there is, by template, GPU and problem); stops when it
// returns non-zero and returns that.
int fj_tune_visit(struct fj_tune *tune, const struct fj_problem *problem, const char *nvrtc,
                  fj_tune_visit_fn visit, void *user);

// Of the exact problem on this GPU, with this template: whether a search among the kernels that the
// problem allows has ended; `safe_only`: or one that was to leave some of them out.
bool fj_tune_is_tuned(struct fj_tune *tune, const struct fj_problem *problem, const char *nvrtc,
                      bool safe_only);

// What records say of this configuration on this GPU, from this template.
enum fj_past {
    FJ_PAST_UNKNOWN,
    FJ_PAST_RAN, // on whatever problem
    FJ_PAST_BAD, // on a problem that differs in sizes at most: it faulted, or somebody died over it
};
enum fj_past fj_tune_past(struct fj_tune *tune, const struct fj_choice *choice);

// True the first time it is asked about the problem.
bool fj_tune_is_new(struct fj_tune *tune, const struct fj_problem *problem);
bool fj_tune_is_new_key(struct fj_tune *tune, const struct fj_tune_key *key);

// One search at a time per context: two would measure each other.
void fj_tune_enter(struct fj_tune *tune);
void fj_tune_leave(struct fj_tune *tune);

const char *fj_tune_path(const struct fj_tune *tune); // "" when in memory only

#endif
