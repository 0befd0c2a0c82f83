// Statuses, context facts, problems: the small public functions.
#include <fajit/fajit.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctx.h"

#ifndef FAJIT_VERSION
#error "the build defines FAJIT_VERSION"
#endif

const char *fajit_strerror(int status)
{
    static const char *const names[] = {
        [-FAJIT_OK] = "success",
        [-FAJIT_E_INVAL] = "invalid argument",
        [-FAJIT_E_NOMEM] = "out of memory",
        [-FAJIT_E_UNSUPPORTED] = "not supported",
        [-FAJIT_E_TEMPLATE] = "template error",
        [-FAJIT_E_COMPILE] = "compile error",
        [-FAJIT_E_CUDA] = "CUDA driver error",
        [-FAJIT_E_IO] = "file error",
        [-FAJIT_E_NOT_CACHED] = "not in the cache",
        [-FAJIT_E_NO_NVRTC] = "libnvrtc not found",
        [-FAJIT_E_NO_DEVICE] = "no CUDA device",
        [-FAJIT_E_CAPTURE] = "stream is capturing",
        [-FAJIT_E_CONTEXT_LOST] = "CUDA context lost",
        [-FAJIT_E_BUSY] = "compile under way",
    };
    const int count = (int)(sizeof(names) / sizeof(names[0]));
    return status <= 0 && status > -count ? names[-status] : "unknown status";
}

const char *fajit_last_error(void)
{
    return fj_err_text();
}

const char *fajit_version(void)
{
    return FAJIT_VERSION;
}

void fajit_free(void *memory)
{
    free(memory);
}

int fajit_ctx_device(struct fajit_ctx *ctx, struct fajit_device_info *ret_info)
{
    if (!ctx || !ret_info)
        return fj_err(FAJIT_E_INVAL, "fajit_ctx_device: an argument is NULL");
    const struct fj_jit *jit = &ctx->jit;
    const struct fj_nvrtc *nvrtc = atomic_load(&ctx->jit.nvrtc);
    struct fj_target target;
    int err = fj_target_for(nvrtc, jit->gpu.cc, jit->want_ptx, &target);
    if (err)
        return err;
    struct fajit_device_info info = {
        .compute_capability = jit->gpu.cc,
        .sm_count = jit->gpu.sm_count,
        .smem_per_block_bytes = jit->gpu.smem_per_block_bytes,
        .l2_bytes = jit->gpu.l2_bytes,
        .memory_bytes = jit->gpu.memory_bytes,
        .driver_version = jit->has_device ? jit->gpu.driver_version : 0,
        .ordinal = ctx->ordinal,
        .emulated = ctx->device_kind == FAJIT_DEVICE_EMULATED,
    };
    snprintf(info.name, sizeof(info.name), "%s", jit->gpu.name);
    snprintf(info.arch, sizeof(info.arch), "%s", target.name);
    if (nvrtc) {
        snprintf(info.nvrtc_version, sizeof(info.nvrtc_version), "%d.%d", nvrtc->major,
                 nvrtc->minor);
        snprintf(info.nvrtc_path, sizeof(info.nvrtc_path), "%s", nvrtc->path);
    }
    return fj_give_struct("fajit_device_info", &info, sizeof(info), ret_info);
}

int fajit_problem_parse(const char *text, struct fajit_problem *ret_problem)
{
    if (!text || !ret_problem)
        return fj_err(FAJIT_E_INVAL, "fajit_problem_parse: an argument is NULL");
    return fj_problem_parse(text, ret_problem);
}

int fajit_problem_format(const struct fajit_problem *problem, char *ret_text, size_t size_bytes)
{
    struct fj_buf text = {0};
    if (!problem || (!ret_text && size_bytes))
        return fj_err(FAJIT_E_INVAL, "fajit_problem_format: an argument is NULL");
    int err = fj_problem_format(problem, &text);
    if (err == 0 && text.failed)
        err = fj_err(FAJIT_E_NOMEM, "no memory for a problem text");
    if (err == 0) {
        snprintf(ret_text, size_bytes, "%s", text.data);
        err = (int)text.len;
    }
    fj_buf_free(&text);
    return err;
}

int fajit_problem_check(struct fajit_ctx *ctx, const struct fajit_problem *problem)
{
    struct fj_problem own;
    struct fj_choice choice;
    if (!ctx || !problem)
        return fj_err(FAJIT_E_INVAL, "fajit_problem_check: an argument is NULL");
    int err = fj_problem_from_public(problem, &own);
    return err ? err : fj_kernel_choose(&own, &ctx->jit.gpu, &choice);
}
