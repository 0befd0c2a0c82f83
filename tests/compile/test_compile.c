// Every kernel class for every architecture NVRTC knows, over a pairwise sample of what the text
// bakes in: it compiles without any -I, spills nothing, and ptxas serialises no wgmma.
//
//     test_compile [--full] [--arch N] [--only WORD]
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "jit.h"
#include "jit_steps.h"
#include "pairwise.h"

#define SKIP 77
#define CUBINS_MAX 120
#define JOBS_MAX 80000 // the full cross of 12 architectures has 78000

static const char *const attn_kernels[] = {"kernel=simt,variant=v2",
                                           "kernel=simt,variant=v1",
                                           "kernel=simt,variant=persistent",
                                           "kernel=mma,variant=v2",
                                           "kernel=mma,variant=v1",
                                           "kernel=mma,variant=persistent",
                                           "kernel=sm90,variant=v2",
                                           "kernel=sm90,variant=persistent",
                                           "kernel=sm90,variant=v2,cluster=2",
                                           "kernel=sm90,variant=persistent,cluster=2,rescale=2"};
static const char *const dtypes[] = {"bf16", "f16", "f32"};
static const char *const dims[] = {"d64", "d128", "d256", "d8", "d72", "d96", "d192/128", "d40"};
static const char *const masks[] = {"", ",causal", ",causal=tl"};
static const char *const switches[] = {"", ",lse", ",seqlens", ",seqlens=k,lse"};
static const char *const aligns[] = {"", ",align=4"};

static const char *const gemm_kernels[] = {"kernel=simt,variant=v2",
                                           "kernel=simt,variant=persistent",
                                           "kernel=mma,variant=v2",
                                           "kernel=mma,variant=persistent",
                                           "kernel=sm90,variant=v2",
                                           "kernel=sm90,variant=persistent",
                                           "kernel=sm90,bm=144,bn=128,bk=64,streamk=1"};
static const char *const gemm_dtypes[] = {"bf16", "f16", "f32,math=fma", "f32,math=tf32",
                                          "f32,math=3xtf32"};
static const char *const gemm_layouts[] = {"nn", "nt", "tn", "tt"};
static const char *const gemm_ends[] = {"", ",bias,act=gelu", ",beta,out=f32", ",act=silu"};
// Sizes choose tiles and splits.
static const char *const gemm_sizes[] = {"", ",align=4", ",m16,n4096,k4096", ",m256,n256,k8192"};

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

struct job {
    char text[192];
    int cc;
    char message[400]; // "" when all is well
};

static struct job jobs[JOBS_MAX];
static int job_count;

static void add_job(const char *text, int cc)
{
    struct fajit_problem public;
    struct fj_problem problem;
    struct fj_choice choice;
    struct fj_gpu gpu;
    if (job_count == JOBS_MAX || !fj_gpu_for_cc(cc, &gpu))
        return;
    struct job *job = &jobs[job_count];
    snprintf(job->text, sizeof(job->text), "%s", text);
    job->cc = cc;
    job->message[0] = '\0';
    int err = fj_problem_parse(text, &public);
    if (err == 0)
        err = fj_problem_from_public(&public, &problem);
    if (err == 0)
        err = fj_kernel_choose(&problem, &gpu, &choice);
    if (err == FAJIT_E_UNSUPPORTED)
        return;
    if (err)
        snprintf(job->message, sizeof(job->message), "%s", fj_err_text());
    job_count++;
}

static void add_attention(int cc, const int *row)
{
    char text[192];
    snprintf(text, sizeof(text), "attn:%s,%s%s%s%s,%s", dtypes[row[1]], dims[row[2]], masks[row[3]],
             switches[row[4]], aligns[row[5]], attn_kernels[row[0]]);
    add_job(text, cc);
}

static void add_gemm(int cc, const int *row)
{
    char text[192];
    snprintf(text, sizeof(text), "gemm:%s,%s%s%s,%s", gemm_dtypes[row[1]], gemm_layouts[row[2]],
             gemm_ends[row[3]], gemm_sizes[row[4]], gemm_kernels[row[0]]);
    add_job(text, cc);
}

typedef void (*add_fn)(int cc, const int *row);

// One row in `every` is kept, a different one for each architecture.
static void add_sample(const int *counts, int axes, bool full, int cc, add_fn add)
{
    static int rows[JOBS_MAX][PAIRWISE_AXES_MAX];
    int row[PAIRWISE_AXES_MAX] = {0};
    if (!full) {
        int total = pairwise(counts, axes, (uint64_t)cc, rows, JOBS_MAX);
        for (int i = 0; i < total; i++)
            add(cc, rows[i]);
        return;
    }
    for (bool more = true; more;) {
        add(cc, row);
        more = false;
        for (int a = 0; a < axes && !more; a++) {
            more = ++row[a] < counts[a];
            if (!more)
                row[a] = 0;
        }
    }
}

// Thins the jobs evenly to the limit, so that every architecture and kernel keeps its share.
static void thin_jobs(int limit)
{
    int kept = 0;
    for (int i = 0; i < job_count; i++)
        if ((int64_t)i * limit / job_count != (int64_t)(i - 1) * limit / job_count || i == 0)
            jobs[kept++] = jobs[i];
    job_count = kept;
}

// What once spilled where the sample had not looked.
static const struct {
    const char *text;
    int cc;
} found[] = {
    {"attn:f32,d56,causal,seqlens=k,kernel=simt", 90},
    {"attn:bf16,d112,seqlens,kernel=simt", 90},
};

static void add_found(int arch, const char *only)
{
    for (int i = 0; i < COUNT(found); i++)
        if ((!arch || arch == found[i].cc) && (!only || strstr(found[i].text, only)))
            add_job(found[i].text, found[i].cc);
}

static void judge(struct job *job, const struct fj_kernel *kernel, const struct fj_compiled *out)
{
    if (out->spill_bytes != 0)
        snprintf(job->message, sizeof(job->message), "%s spills %d bytes", kernel->name,
                 out->spill_bytes);
    else if (out->wgmma_serialised)
        snprintf(job->message, sizeof(job->message), "%s: ptxas serialised its wgmma",
                 kernel->name);
    else if (out->registers <= 0)
        snprintf(job->message, sizeof(job->message), "%s: ptxas reported no registers",
                 kernel->name);
}

static void run_job(void *user, int64_t index)
{
    struct job *job = &jobs[index];
    struct fj_jit jit = {0};
    struct fj_kernel kernel = {0};
    struct fajit_problem public;
    struct fj_problem problem;
    struct fj_target target;
    struct fj_compiled out = {0};
    (void)user;
    if (job->message[0])
        return;
    int err = fj_gpu_for_cc(job->cc, &jit.gpu) ? 0 : FAJIT_E_INVAL;
    if (err == 0)
        err = fj_problem_parse(job->text, &public);
    if (err == 0)
        err = fj_problem_from_public(&public, &problem);
    if (err == 0)
        err = fj_kernel_choose(&problem, &jit.gpu, &kernel.choice);
    if (err == 0)
        err = fj_step_render(&jit, &kernel);
    if (err == 0)
        err = fj_compile_rendering(&jit, &kernel.rendering, kernel.name, &kernel.key, false,
                                   &target, &out);
    if (err)
        snprintf(job->message, sizeof(job->message), "%s", fj_err_text());
    else
        judge(job, &kernel, &out);
    fj_compiled_free(&out);
    fj_rendering_free(&kernel.rendering);
}

static int known_archs(int *ret_ccs, int max)
{
    const struct fj_nvrtc *nvrtc;
    int count = 0;
    if (fj_nvrtc_open(NULL, 0, &nvrtc) || nvrtc->nvrtcGetNumSupportedArchs(&count))
        return 0;
    if (count > max)
        count = max;
    return nvrtc->nvrtcGetSupportedArchs(ret_ccs) ? 0 : count;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"full", no_argument, NULL, 'f'},
                                                 {"arch", required_argument, NULL, 'a'},
                                                 {"only", required_argument, NULL, 'o'},
                                                 {0}};
    const char *env = getenv("FAJIT_TEST_FULL"), *only = NULL;
    bool full = env && *env;
    int arch = 0, ccs[64], failed = 0;
    for (int opt; (opt = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        full |= opt == 'f';
        arch = opt == 'a' ? atoi(optarg) : arch;
        only = opt == 'o' ? optarg : only;
    }
    int count = known_archs(ccs, COUNT(ccs));
    if (count == 0) {
        printf("skipped: %s\n", fj_err_text());
        return SKIP;
    }
    const int attn_counts[] = {COUNT(attn_kernels), COUNT(dtypes),   COUNT(dims),
                               COUNT(masks),        COUNT(switches), COUNT(aligns)};
    const int gemm_counts[] = {COUNT(gemm_kernels), COUNT(gemm_dtypes), COUNT(gemm_layouts),
                               COUNT(gemm_ends), COUNT(gemm_sizes)};
    for (int i = 0; i < count; i++) {
        if (arch && ccs[i] != arch)
            continue;
        add_sample(attn_counts, COUNT(attn_counts), full, ccs[i], add_attention);
        add_sample(gemm_counts, COUNT(gemm_counts), full, ccs[i], add_gemm);
    }
    for (int i = 0; only && i < job_count;)
        if (strstr(jobs[i].text, only))
            i++;
        else
            jobs[i] = jobs[--job_count];
    if (!full && job_count > CUBINS_MAX - COUNT(found))
        thin_jobs(CUBINS_MAX - COUNT(found));
    add_found(arch, only);
    fj_parallel_for(0, job_count, run_job, NULL);
    for (int i = 0; i < job_count; i++) {
        if (!jobs[i].message[0])
            continue;
        failed++;
        printf("FAIL %s --arch sm_%d: %s\n", jobs[i].text, jobs[i].cc, jobs[i].message);
    }
    printf("%d passed, %d failed\n", job_count - failed, failed);
    return failed || job_count == 0;
}
