// Kernels made to be measured: the steps of jit.c one at a time, so that compiling can go on in
// other threads while one kernel has the device.
#include <stdlib.h>

#include "jit_steps.h"

static int make(struct fj_jit *jit, const struct fj_jit_request *request,
                struct fj_kernel **ret_kernel)
{
    struct fj_kernel *kernel = fj_kernel_new(request);
    if (!kernel)
        return FAJIT_E_NOMEM;
    int err = fj_step_render(jit, kernel);
    if (err == 0)
        err = fj_step_key(jit, kernel);
    if (err == 0 && !fj_step_disk(jit, kernel))
        err = fj_step_compile(jit, false, kernel);
    if (err) {
        fj_kernel_free(jit, kernel);
        return err;
    }
    *ret_kernel = kernel;
    return FAJIT_OK;
}

int fj_jit_make(struct fj_jit *jit, const struct fj_choice *choice, struct fj_kernel **ret_kernel)
{
    return make(jit, &(struct fj_jit_request){.choice = choice}, ret_kernel);
}

int fj_jit_make_custom(struct fj_jit *jit, const struct fj_custom *custom,
                       struct fj_kernel **ret_kernel)
{
    return make(jit, &(struct fj_jit_request){.custom = custom}, ret_kernel);
}

int fj_jit_load(struct fj_jit *jit, struct fj_kernel *kernel)
{
    return fj_step_load(jit, kernel);
}

void fj_jit_drop(struct fj_jit *jit, struct fj_kernel *kernel)
{
    fj_kernel_free(jit, kernel);
}

int fj_jit_helper(struct fj_jit *jit, const struct fj_rendering *rendering, const char *name,
                  struct fj_module *ret_module)
{
    struct fj_compiled compiled = {0};
    struct fj_target target;
    const struct fj_key key = {{0}};
    int err = fj_compile_rendering(jit, rendering, name, &key, jit->want_ptx, &target, &compiled);
    if (err == 0)
        err = fj_module_load(&jit->device, compiled.image, name, 0, ret_module);
    fj_compiled_free(&compiled);
    return err;
}
