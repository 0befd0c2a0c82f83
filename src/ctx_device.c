// Which device a context is for, and opening it.
#include "ctx.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "emu/emu.h"

int fj_ctx_read_device(struct fajit_ctx_params *params)
{
    if (params->device != FAJIT_DEVICE_DEFAULT)
        return FAJIT_OK;
    const char *text = fj_env("FAJIT_DEVICE");
    params->device = FAJIT_DEVICE_CUDA;
    if (!text)
        return FAJIT_OK;
    const bool emulated = strncmp(text, "emu", 3) == 0 && (text[3] == '\0' || text[3] == ':');
    const char *number = emulated ? text + 3 + (text[3] == ':') : text;
    char *end;
    long ordinal = strtol(number, &end, 10);
    const bool whole = !emulated || text[3] == ':'; // "emu" alone has no number
    if (*end || (whole && end == number) || ordinal < 0 || ordinal > 1023)
        return fj_err(FAJIT_E_INVAL,
                      "FAJIT_DEVICE=%s is neither a device ordinal nor 'emu' or 'emu:1'", text);
    if (emulated)
        params->device = FAJIT_DEVICE_EMULATED;
    if (params->device_ordinal == 0)
        params->device_ordinal = (int)ordinal;
    return FAJIT_OK;
}

static int open_none(struct fajit_ctx *ctx, const struct fajit_ctx_params *params)
{
    int cc;
    if (!params->arch)
        return fj_err(FAJIT_E_INVAL, "a context without a device needs `arch`, e.g. \"sm_90\"");
    int err = fj_arch_parse(params->arch, &cc);
    if (err)
        return err;
    if (!fj_gpu_for_cc(cc, &ctx->jit.gpu))
        return fj_err(FAJIT_E_UNSUPPORTED, "no GPU model of compute capability %d.%d is known",
                      cc / 10, cc % 10);
    return FAJIT_OK;
}

// Kernels for an older architecture run on a newer device as PTX.
static int imitate_arch(struct fj_jit *jit, const char *arch)
{
    int cc;
    int err = fj_arch_parse(arch, &cc);
    if (err || cc == jit->gpu.cc)
        return err;
    if (cc > jit->gpu.cc)
        return fj_err(FAJIT_E_INVAL, "%s is newer than the device, whose capability is %d.%d", arch,
                      jit->gpu.cc / 10, jit->gpu.cc % 10);
    jit->gpu.cc = cc;
    jit->want_ptx = true;
    return FAJIT_OK;
}

// An emulated GPU is asked for by name, so whichever happens to be current does not count.
static int open_emulated(const struct fj_cuda *cuda, const struct fajit_ctx_params *params,
                         int ordinal, struct fj_device *ret_device)
{
    CUcontext current = NULL;
    cuda->cuCtxGetCurrent(&current);
    cuda->cuCtxSetCurrent(NULL);
    int err = fj_device_open(cuda, params->cu_context, ordinal, ret_device);
    cuda->cuCtxSetCurrent(current);
    return err;
}

static const char *emulated_gpus(const struct fajit_ctx_params *params)
{
    return params->emulated_gpu ? params->emulated_gpu : "h200";
}

static int open_driver(struct fajit_ctx *ctx, const struct fj_cuda *cuda,
                       const struct fajit_ctx_params *params)
{
    int ordinal = params->device_ordinal;
    int err = FAJIT_OK;
    if (ctx->device_kind == FAJIT_DEVICE_EMULATED) {
        cuda = fj_emu_driver();
        ordinal = fj_emu_find_device(emulated_gpus(params),
                                     params->cu_context ? 0 : params->device_ordinal);
        if (ordinal < 0)
            return fj_err_context(ordinal == -1 ? FAJIT_E_NO_DEVICE : FAJIT_E_INVAL,
                                  "emulated GPU");
        err = open_emulated(cuda, params, ordinal, &ctx->jit.device);
    } else {
        if (!cuda)
            err = fj_cuda_open(&cuda);
        if (err == 0)
            err = fj_device_open(cuda, params->cu_context, ordinal, &ctx->jit.device);
    }
    if (err)
        return err;
    ctx->jit.has_device = true;
    ctx->ordinal = ctx->device_kind == FAJIT_DEVICE_EMULATED ? params->device_ordinal
                                                             : (int)ctx->jit.device.device;
    ctx->jit.gpu = ctx->jit.device.gpu;
    if (params->arch)
        err = imitate_arch(&ctx->jit, params->arch);
    if (ctx->device_kind == FAJIT_DEVICE_EMULATED)
        fj_emu_set_check(ctx->jit.device.context, params->emulated_check);
    return err;
}

int fj_ctx_open_device(struct fajit_ctx *ctx, const struct fj_cuda *driver,
                       const struct fajit_ctx_params *params)
{
    return params->device == FAJIT_DEVICE_NONE ? open_none(ctx, params)
                                               : open_driver(ctx, driver, params);
}

static int count_devices(const struct fajit_ctx_params *params, int *ret_count)
{
    const struct fj_cuda *cuda;
    *ret_count = 0;
    if (params->device == FAJIT_DEVICE_NONE)
        return FAJIT_OK;
    if (params->device == FAJIT_DEVICE_EMULATED) {
        *ret_count = fj_emu_count_devices(emulated_gpus(params));
        return *ret_count < 0 ? fj_err_context(FAJIT_E_INVAL, "emulated GPU") : FAJIT_OK;
    }
    int err = fj_cuda_open(&cuda);
    return err ? err : fj_device_count(cuda, ret_count);
}

int fajit_device_count(const struct fajit_ctx_params *params, enum fajit_device_kind *ret_kind,
                       int *ret_count)
{
    struct fajit_ctx_params known = {.struct_size = sizeof(known)};
    int count;
    if (!ret_count)
        return fj_err(FAJIT_E_INVAL, "fajit_device_count: ret_count is NULL");
    int err = params ? fj_take_struct("fajit_ctx_params", params, &known, sizeof(known)) : 0;
    if (err == 0 && (unsigned)known.device > FAJIT_DEVICE_NONE)
        err = fj_err(FAJIT_E_INVAL, "fajit_device_count: device %d is unknown", (int)known.device);
    if (err == 0)
        err = fj_ctx_read_device(&known);
    if (!known.emulated_gpu)
        known.emulated_gpu = fj_env("FAJIT_EMU");
    if (err == 0)
        err = count_devices(&known, &count);
    if (err)
        return err;
    if (ret_kind)
        *ret_kind = known.device;
    *ret_count = count;
    return FAJIT_OK;
}
