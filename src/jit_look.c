// What a kernel's text says, without running it.
#include <stdio.h>
#include <string.h>

#include "jit_steps.h"

int fj_jit_render(struct fj_jit *jit, const struct fj_choice *choice, bool watches,
                  char ret_name[160], struct fj_rendering *ret_rendering)
{
    return fj_render_choice(jit, choice, watches, ret_name, ret_rendering);
}

int fj_jit_ptx(struct fj_jit *jit, const struct fj_kernel *kernel, char **ret_ptx)
{
    if (kernel->target.is_ptx) {
        *ret_ptx = strdup(kernel->image);
        return *ret_ptx ? FAJIT_OK : fj_err(FAJIT_E_NOMEM, "no memory for the PTX");
    }
    struct fj_compiled compiled = {0};
    struct fj_target target;
    int err = fj_compile_rendering(jit, &kernel->rendering, kernel->name, &kernel->key, true,
                                   &target, &compiled);
    if (err == 0) {
        *ret_ptx = compiled.image;
        compiled.image = NULL;
    }
    fj_compiled_free(&compiled);
    return err;
}

int fj_jit_source_ptx(struct fj_jit *jit, const char *source, const char *name, const char *key,
                      const char *target, char **ret_ptx)
{
    const struct fj_nvrtc *nvrtc;
    struct fj_compiled compiled = {0};
    struct fj_compile_params params = {
        .source = source, .seed_hex = key, .target.is_ptx = true, .lineinfo = false};
    char file[200];
    int err = fj_jit_nvrtc(jit, &nvrtc);
    if (err)
        return err;
    if (strncmp(target, "sm_", 3) != 0)
        return fj_err(FAJIT_E_UNSUPPORTED, "%s is made for %s, which is no target of a cubin", name,
                      target);
    snprintf(params.target.name, sizeof(params.target.name), "compute_%.7s", target + 3);
    snprintf(file, sizeof(file), "%s.cu", name);
    params.name = file;
    err = fj_compile(nvrtc, &params, &compiled);
    if (err == FAJIT_E_COMPILE)
        err = fj_err(err, "NVRTC %d.%d does not compile %s for %s: %.300s", nvrtc->major,
                     nvrtc->minor, name, target, compiled.log ? compiled.log : "");
    if (err == 0) {
        *ret_ptx = compiled.image;
        compiled.image = NULL;
    }
    fj_compiled_free(&compiled);
    return err;
}
