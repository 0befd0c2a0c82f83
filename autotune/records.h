// Tuning records: what was measured, one line of text per (template, GPU, problem, configuration).
//
// A line is its fields separated by single blanks, and a checksum of the bytes before it:
//     fj1 DIGEST GPU PROBLEM KERNEL VARIANT CONFIG VERDICT MEDIAN P25 P75 SAMPLES NVRTC ORIGIN TIME
//     SUM fj1 9c0f..31 NVIDIA_H200/90/132 attn:bf16,b2,.. attn_fwd_sm90 v2 bm=128,bn=128 best 412.3
//     ..
// Lines that start with '#' and empty lines are passed over. A line that is anything else is
// reported by number and passed over: the rest stays good.
#ifndef FJ_AUTOTUNE_RECORDS_H
#define FJ_AUTOTUNE_RECORDS_H

#include "autotune/bucket.h"
#include "base/gpu.h"

enum fj_verdict {
    FJ_VERDICT_BEST,      // chosen at the end of a search
    FJ_VERDICT_TIMED,     // timed, its output was right, and not chosen
    FJ_VERDICT_UNCHECKED, // timed, and dropped before its output was looked at: never served
    FJ_VERDICT_SPILL,     // compiled, but it spills registers: not timed
    FJ_VERDICT_WRONG,     // its output is wrong
    FJ_VERDICT_FAILED,    // does not compile, load or launch
    FJ_VERDICT_FAULT,     // the launch faulted
    FJ_VERDICT_TRYING,    // written before its first launch; alone, it says that the process died
                          // there
    FJ_VERDICT_COUNT
};

#define FJ_DIGEST_TEXT 33 // 32 hex digits of the template's digest

struct fj_record {
    char digest[FJ_DIGEST_TEXT];
    char gpu[96]; // "NVIDIA_H200/90/132": name, compute capability, SM count
    struct fj_tune_key key;
    char kernel[40]; // class name
    char variant[12];
    char config[FAJIT_CONFIG_MAX]; // as fj_config_format
    enum fj_verdict verdict;
    double median_us, p25_us, p75_us; // 0 when not timed
    int samples;
    char nvrtc[16];  // "13.0"; "-" when unknown
    char origin[16]; // "tuned", "bundled", "voted"
    int64_t time_s;  // seconds since the epoch
};

struct fj_records {
    struct fj_record **items; // after fj_records_sort: by what they are about, newest first
    int count, cap;
    int bad_lines;
    char first_bad[256]; // "PATH:LINE: reason"
    bool failed;         // out of memory
};

const char *fj_verdict_name(enum fj_verdict verdict);
void fj_record_gpu(const struct fj_gpu *gpu, char ret_text[96]);

void fj_record_print(const struct fj_record *record, struct fj_buf *ret_line); // with '\n'
int fj_record_parse(const char *line, size_t len, struct fj_record *ret_record);

void fj_records_add(struct fj_records *records, const struct fj_record *record);
// `name` is for reports. `bad` may be NULL.
void fj_records_parse(struct fj_records *records, const char *name, const char *text, size_t len,
                      void (*bad)(void *user, const char *sentence), void *user);
// A file that is not there is empty. FAJIT_E_IO when it cannot be read, or when it has lines and
// none of them is a record.
int fj_records_load(struct fj_records *records, const char *path,
                    void (*bad)(void *user, const char *sentence), void *user);
// Sorts, and of several lines about the same thing keeps the newest; one that won a search outlives
// later timings.
void fj_records_sort(struct fj_records *records);
void fj_records_free(struct fj_records *records);

int fj_records_append(const char *path, const struct fj_record *const *records, int count);
int fj_records_write(const char *path, const struct fj_records *records); // replaces the file

// Leaves one FJ_VERDICT_BEST per template, GPU and problem: the one most records say (ranks that
// tuned alone), ties to the smaller time. The others become FJ_VERDICT_TIMED.
// Call it before fj_records_sort has dropped anybody's vote. Returns how many disagreed.
int fj_records_vote(struct fj_records *records);

#endif
