#include "fake_nvrtc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake_nvrtc_state fake_nvrtc_state;

struct program {
    char *source;
    char log[160];
};

static struct program *from_handle(nvrtcProgram handle)
{
    return (struct program *)handle;
}

static nvrtcResult create(nvrtcProgram *ret, const char *source, const char *name, int n_headers,
                          const char *const *headers, const char *const *names)
{
    struct program *program = calloc(1, sizeof(*program));
    (void)name, (void)n_headers, (void)headers, (void)names;
    if (program)
        program->source = strdup(source);
    if (!program || !program->source) {
        free(program);
        return NVRTC_ERROR_OUT_OF_MEMORY;
    }
    __atomic_add_fetch(&fake_nvrtc_state.programs, 1, __ATOMIC_RELAXED);
    *ret = (nvrtcProgram)program;
    return NVRTC_SUCCESS;
}

static nvrtcResult destroy(nvrtcProgram *handle)
{
    struct program *program = from_handle(*handle);
    free(program->source);
    free(program);
    *handle = NULL;
    __atomic_sub_fetch(&fake_nvrtc_state.programs, 1, __ATOMIC_RELAXED);
    return NVRTC_SUCCESS;
}

static nvrtcResult compile(nvrtcProgram handle, int n_options, const char *const *options)
{
    struct program *program = from_handle(handle);
    int lines = 0;
    (void)n_options, (void)options;
    __atomic_add_fetch(&fake_nvrtc_state.compiles, 1, __ATOMIC_RELAXED);
    if (fake_nvrtc_state.compile_us)
        usleep(fake_nvrtc_state.compile_us);
    while (__atomic_load_n(&fake_nvrtc_state.holds, __ATOMIC_ACQUIRE))
        usleep(500);
    const char *log = fake_nvrtc_state.ptxas_log ? fake_nvrtc_state.ptxas_log : "";
    snprintf(program->log, sizeof(program->log), "%s", log);
    if (!fake_nvrtc_state.fails)
        return NVRTC_SUCCESS;
    for (const char *c = program->source; *c; c++)
        lines += *c == '\n';
    __atomic_store_n(&fake_nvrtc_state.error_line, lines, __ATOMIC_RELAXED);
    snprintf(program->log, sizeof(program->log),
             "kernel.cu(%d): error: identifier \"mask\" is undefined\n", lines);
    return NVRTC_ERROR_COMPILATION;
}

static nvrtcResult image_size(nvrtcProgram handle, size_t *ret_bytes)
{
    *ret_bytes = strlen(from_handle(handle)->source) + 1;
    return NVRTC_SUCCESS;
}

static nvrtcResult image(nvrtcProgram handle, char *ret_image)
{
    strcpy(ret_image, from_handle(handle)->source);
    return NVRTC_SUCCESS;
}

static nvrtcResult log_size(nvrtcProgram handle, size_t *ret_bytes)
{
    *ret_bytes = strlen(from_handle(handle)->log) + 1;
    return NVRTC_SUCCESS;
}

static nvrtcResult get_log(nvrtcProgram handle, char *ret_log)
{
    strcpy(ret_log, from_handle(handle)->log);
    return NVRTC_SUCCESS;
}

static const char *error_string(nvrtcResult result)
{
    (void)result;
    return "error";
}

const struct fj_nvrtc *fake_nvrtc(void)
{
    static const struct fj_nvrtc table = {
        .nvrtcCreateProgram = create,
        .nvrtcDestroyProgram = destroy,
        .nvrtcCompileProgram = compile,
        .nvrtcGetPTXSize = image_size,
        .nvrtcGetPTX = image,
        .nvrtcGetCUBINSize = image_size,
        .nvrtcGetCUBIN = image,
        .nvrtcGetProgramLogSize = log_size,
        .nvrtcGetProgramLog = get_log,
        .nvrtcGetErrorString = error_string,
        .major = 13,
        .minor = 0,
        .path = "/made/up/libnvrtc.so.13",
    };
    return &table;
}

void fake_nvrtc_reset(void)
{
    fake_nvrtc_state = (struct fake_nvrtc_state){0};
}
