// Rendering a template of the caller's own.
#include <string.h>

#include "jit_steps.h"

// The symbol is what the loaded module is asked for: a template that does not use it, outside of
// comments, has no kernel that could be found.
static bool names_kernel(const struct fj_rendering *rendering, const char *name)
{
    const char *text = rendering->text.data;
    for (const char *at = text; (at = strstr(at, name)) != NULL; at++) {
        const char *line = at;
        while (line > text && line[-1] != '\n')
            line--;
        if (strncmp(line, "//", 2) != 0)
            return true;
    }
    return false;
}

int fj_jit_render_custom(struct fj_jit *jit, const struct fj_custom *custom, bool watches,
                         struct fj_rendering *ret_rendering)
{
    struct fj_params params = {0};
    struct fj_buf heading = {0};
    struct fj_rendering rendering = {0};
    int err = fj_custom_heading(custom, jit->gpu.cc, &heading);
    fj_custom_params(custom, &params);
    if (err == 0)
        err = fj_template_render(custom->tmpl,
                                 &(struct fj_render_params){
                                     .params = &params,
                                     .heading = heading.data,
                                     .watches = watches,
                                 },
                                 &rendering);
    fj_buf_free(&heading);
    if (err == 0 && !names_kernel(&rendering, custom->name))
        err = fj_err(FAJIT_E_TEMPLATE,
                     "%s:1: no $kernel_name: write extern \"C\" __global__ void $kernel_name(..",
                     custom->template_name);
    if (err) {
        fj_rendering_free(&rendering);
        return err;
    }
    *ret_rendering = rendering;
    return FAJIT_OK;
}
