// What a kernel's text says, without running it.
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
