#include "cuda/nvrtc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "cuda/ptxas_log.h"

// NVRTC would otherwise raise the stack limit of the whole process for the time of a compile; its
// front end recurses deeply on large kernels. Only touched pages cost memory.
#define STACK_BYTES ((size_t)64 << 20)

#define MAX_OPTIONS 12

const char *fj_compile_options(void)
{
    return "--std=c++17";
}

struct options {
    const char *list[MAX_OPTIONS];
    int count;
    int n_required; // the rest may be dropped for an NVRTC that does not know them
    char arch[FJ_TARGET_MAX + 8];
    char seed[96];
};

static void add_option(struct options *options, const char *text)
{
    options->list[options->count++] = text;
}

static void set_options(const struct fj_nvrtc *nvrtc, const struct fj_compile_params *params,
                        struct options *ret)
{
    *ret = (struct options){0};
    snprintf(ret->arch, sizeof(ret->arch), "-arch=%s", params->target.name);
    add_option(ret, ret->arch);
    add_option(ret, fj_compile_options());
    if (params->lineinfo)
        add_option(ret, "-lineinfo");
    if (!params->target.is_ptx)
        add_option(ret, "-Xptxas=-v");
    ret->n_required = ret->count;
    add_option(ret, "--modify-stack-limit=false");
    // NVRTC's own cache would answer without ptxas's report.
    if (nvrtc->major > 12 || (nvrtc->major == 12 && nvrtc->minor >= 9))
        add_option(ret, "-no-cache");
    // Names of static symbols are random otherwise, and with them the bytes of the cubin.
    if (params->seed_hex && *params->seed_hex) {
        snprintf(ret->seed, sizeof(ret->seed), "--frandom-seed=%s", params->seed_hex);
        add_option(ret, ret->seed);
    }
}

static bool fetch_log(const struct fj_nvrtc *nvrtc, nvrtcProgram program, struct fj_compiled *ret)
{
    size_t bytes = 0;
    if (nvrtc->nvrtcGetProgramLogSize(program, &bytes) != NVRTC_SUCCESS)
        bytes = 0;
    ret->log = calloc(1, bytes + 1);
    if (!ret->log)
        return false;
    if (bytes)
        nvrtc->nvrtcGetProgramLog(program, ret->log);
    return true;
}

static nvrtcResult fetch_image(const struct fj_nvrtc *nvrtc, nvrtcProgram program, bool ptx,
                               struct fj_compiled *ret)
{
    size_t bytes = 0;
    nvrtcResult result =
        ptx ? nvrtc->nvrtcGetPTXSize(program, &bytes) : nvrtc->nvrtcGetCUBINSize(program, &bytes);
    if (result != NVRTC_SUCCESS)
        return result;
    ret->image = bytes ? malloc(bytes) : NULL;
    if (!ret->image)
        return bytes ? NVRTC_ERROR_OUT_OF_MEMORY : NVRTC_ERROR_INTERNAL_ERROR;
    ret->image_bytes = bytes;
    return ptx ? nvrtc->nvrtcGetPTX(program, ret->image)
               : nvrtc->nvrtcGetCUBIN(program, ret->image);
}

struct job {
    const struct fj_nvrtc *nvrtc;
    const struct fj_compile_params *params;
    struct options options;
    struct fj_compiled out;
    nvrtcResult result;
};

static nvrtcResult compile_once(struct job *job, int n_options)
{
    const struct fj_nvrtc *nvrtc = job->nvrtc;
    nvrtcProgram program;
    nvrtcResult result =
        nvrtc->nvrtcCreateProgram(&program, job->params->source, job->params->name, 0, NULL, NULL);
    if (result != NVRTC_SUCCESS)
        return result;
    result = nvrtc->nvrtcCompileProgram(program, n_options, job->options.list);
    if (!fetch_log(nvrtc, program, &job->out))
        result = NVRTC_ERROR_OUT_OF_MEMORY;
    if (result == NVRTC_SUCCESS)
        result = fetch_image(nvrtc, program, job->params->target.is_ptx, &job->out);
    nvrtc->nvrtcDestroyProgram(&program);
    return result;
}

// On a thread of its own: nothing here may record an error, the caller does.
static void run_job(void *user)
{
    struct job *job = user;
    job->result = compile_once(job, job->options.count);
    if (job->result != NVRTC_ERROR_INVALID_OPTION || job->options.count == job->options.n_required)
        return;
    fj_compiled_free(&job->out);
    job->result = compile_once(job, job->options.n_required);
}

// The first line that reports an error, to its end; the whole first line when there is none.
static int first_error(const char *log, const char **ret_line)
{
    *ret_line = log;
    for (const char *line = log; *line;) {
        const char *end = strchrnul(line, '\n');
        size_t len = (size_t)(end - line);
        if (memmem(line, len, "error", 5) || memmem(line, len, "fatal", 5)) {
            *ret_line = line;
            return (int)len;
        }
        line = *end ? end + 1 : end;
    }
    return (int)strcspn(log, "\n");
}

static int report(const struct job *job)
{
    const struct fj_nvrtc *nvrtc = job->nvrtc;
    const char *line, *log = job->out.log ? job->out.log : "";
    int len = first_error(log, &line);
    if (job->result == NVRTC_ERROR_OUT_OF_MEMORY)
        return fj_err(FAJIT_E_NOMEM, "NVRTC ran out of memory while it compiled %s",
                      job->params->name);
    if (job->result == NVRTC_ERROR_BUILTIN_OPERATION_FAILURE)
        return fj_err(FAJIT_E_NO_NVRTC,
                      "NVRTC at %s cannot load its builtins: libnvrtc-builtins.so.%d.%d must lie "
                      "in the same directory or on the loader's path",
                      nvrtc->path, nvrtc->major, nvrtc->minor);
    return fj_err(FAJIT_E_COMPILE, "NVRTC %d.%d does not compile %s for %s: %s%s%.*s", nvrtc->major,
                  nvrtc->minor, job->params->name, job->params->target.name,
                  nvrtc->nvrtcGetErrorString(job->result), len ? ": " : "", len, line);
}

int fj_compile(const struct fj_nvrtc *nvrtc, const struct fj_compile_params *params,
               struct fj_compiled *ret_compiled)
{
    struct job job = {.nvrtc = nvrtc, .params = params, .result = NVRTC_ERROR_INTERNAL_ERROR};
    set_options(nvrtc, params, &job.options);
    int status = fj_run_with_stack(STACK_BYTES, run_job, &job);
    if (status != FAJIT_OK)
        return status;
    fj_ptxas_log_read(job.out.log ? job.out.log : "", &job.out);
    if (job.result != NVRTC_SUCCESS) {
        status = report(&job);
        free(job.out.image);
        job.out.image = NULL;
        job.out.image_bytes = 0;
    }
    *ret_compiled = job.out;
    return status;
}

void fj_compiled_free(struct fj_compiled *compiled)
{
    free(compiled->image);
    free(compiled->log);
    *compiled = (struct fj_compiled){0};
}
