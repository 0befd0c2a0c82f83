// Tuning of kernels that are not ours: a template with parameters, the values its //@tune lines
// list, and a host that knows how to launch it and whether what it wrote is right.
#ifndef FJ_AUTOTUNE_CUSTOM_H
#define FJ_AUTOTUNE_CUSTOM_H

#include "autotune/search.h"
#include "autotune/tune.h"
#include "jit.h"
#include "kernels/custom.h"

// --- Records ----------------------------------------------------------------------------------

// Sets the knobs: by records (those of `tune` unless it is NULL), else to the values listed first.
// Times nothing. `nvrtc`: "13.0", or "" while none is loaded. `ret_from`: as struct fj_found has
// it.
int fj_custom_choose(struct fj_tune *tune, const struct fj_gpu *gpu, const char *nvrtc,
                     struct fj_custom *custom, char ret_from[160]);

// Whether a search of exactly this has ended; its times, when `ret_best` is not NULL.
bool fj_custom_is_tuned(struct fj_tune *tune, const struct fj_gpu *gpu, const char *nvrtc,
                        const struct fj_custom *custom, struct fj_record *ret_best);

// What results are filed under; false when the text is too long.
bool fj_custom_key(const struct fj_custom *custom, struct fj_tune_key *ret_key);

// Fills what is the same for every record of this template made now; the knobs are set.
// FAJIT_E_INVAL when its text is too long to file anything under.
int fj_custom_stamp(const struct fj_gpu *gpu, const char *nvrtc, const struct fj_custom *custom,
                    struct fj_record *ret_record);

// What records say of these knobs on this GPU, from this template.
enum fj_past fj_custom_past(struct fj_tune *tune, const struct fj_gpu *gpu,
                            const struct fj_custom *custom);

// --- Search -----------------------------------------------------------------------------------

// What became of a candidate where it could do no harm.
enum fj_rehearsed {
    FJ_REHEARSED_WELL,
    FJ_REHEARSED_FAULT,
    FJ_REHEARSED_HUNG,
    FJ_REHEARSED_FAILED,    // it cannot be launched, here or there: the status says why
    FJ_REHEARSED_NOT,       // for no fault of its own: nothing is known
    FJ_REHEARSED_CANCELLED, // by the host, while it was under way
};

// What the host does. All return FAJIT_OK or a status with its sentence recorded.
struct fj_custom_trial {
    // Launches the candidate in another process. May be NULL: there is none. `ret_status`, with a
    // sentence, is set unless it went well.
    enum fj_rehearsed (*rehearse)(void *user, const struct fj_custom *custom,
                                  struct fj_kernel *kernel, int *ret_status);
    void (*end_rehearsals)(void *user); // before another search may begin; NULL when `rehearse` is
    // Enqueues one launch of the candidate.
    int (*launch)(void *user, const struct fj_custom *custom, struct fj_kernel *kernel,
                  CUstream stream);
    // Whether what the candidate wrote is right.
    int (*judge)(void *user, const struct fj_custom *custom, struct fj_kernel *kernel);
    void *user;
    void *output; // device memory, poisoned before the launch that is judged; NULL: none
    size_t output_bytes;
};

struct fj_custom_search {
    double budget_us;   // 0: 30 s
    int jobs;           // compiles at a time; 0: all cores
    int max_candidates; // of a wave; 0: 24
    bool exhaustive;    // every point, in one wave
    bool safe_only;     // launch nothing but the values listed first, what ran here before as
                        // records say, and what was rehearsed
    // May be NULL. Non-zero cancels. Configurations as text; "" when there is none.
    int (*progress)(void *user, const struct fj_search_progress *progress, const char *running,
                    const char *best, double default_us);
    void *user;
};

struct fj_custom_result {
    bool found, cancelled, noisy;
    bool finished;                       // and nothing was left out for want of a rehearsal
    bool unsaved;                        // some record could not be written
    int64_t values[FJ_CUSTOM_KNOBS_MAX]; // valid when `found`
    double median_us, p25_us, p75_us;
    double default_us; // of the values listed first; 0: they could not be timed
    int candidates, compiled, timed;
    int64_t points; // of the space
    double elapsed_us;
};

// Searches the open knobs of `custom`, which has at least one. Records every candidate's fate as it
// is known. On failure (FAJIT_E_CONTEXT_LOST names the candidate) `ret_result` holds what was found
// before, if anything.
int fj_custom_tune(struct fj_jit *jit, struct fj_tune *tune, const struct fj_custom *custom,
                   const struct fj_custom_trial *trial, const struct fj_custom_search *params,
                   struct fj_custom_result *ret_result);

#endif
