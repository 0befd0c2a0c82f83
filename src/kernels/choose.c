#include <string.h>

#include "kernels/kernel.h"
#include "kernels/problem_words.h"

#define FJ_KERNEL_CLASS(name) extern const struct fj_kernel_class fj_class_##name;
#include "kernels/registry.def"
#undef FJ_KERNEL_CLASS

const struct fj_kernel_class *const fj_kernel_classes[] = {
#define FJ_KERNEL_CLASS(name) &fj_class_##name,
#include "kernels/registry.def"
#undef FJ_KERNEL_CLASS
    NULL,
};

// Every block of every GPU so far may have this many threads.
#define THREADS_MAX 1024

// Whether the class is of the operation and family asked for.
static bool is_candidate(const struct fj_kernel_class *kernel, const struct fj_problem *problem)
{
    return kernel->op == problem->op &&
           (problem->family == FAJIT_FAMILY_AUTO || kernel->family == problem->family);
}

// A configuration within a class's own rules may still ask for more than this GPU has.
static int check_resources(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    int smem = choice->kernel->smem_bytes(choice), threads = choice->kernel->threads(choice);
    if (smem > gpu->smem_per_block_bytes) {
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "it needs %d bytes of shared memory per CTA, %s has %d; ask for smaller "
                      "tiles or fewer stages",
                      smem, gpu->name, gpu->smem_per_block_bytes);
    }
    if (threads > THREADS_MAX) {
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "it needs %d threads per CTA, a CTA has at most %d; ask for fewer warps",
                      threads, THREADS_MAX);
    }
    return FAJIT_OK;
}

static int try_class(const struct fj_kernel_class *kernel, const struct fj_problem *problem,
                     const struct fj_gpu *gpu, struct fj_choice *ret_choice)
{
    int r = kernel->check(problem, gpu);
    if (r < 0)
        return r;
    struct fj_choice choice = {.kernel = kernel, .problem = *problem, .config = problem->fixed};
    choice.problem.family = kernel->family;
    r = kernel->configure(gpu, &choice);
    if (r == FAJIT_OK)
        r = check_resources(&choice, gpu);
    if (r == FAJIT_OK)
        *ret_choice = choice;
    return r;
}

// No class took it: one sentence with each one's reason.
static int refuse(const struct fj_problem *problem, const struct fj_gpu *gpu, int tried, int status,
                  const struct fj_buf *reasons)
{
    if (tried == 0) {
        return fj_err(FAJIT_E_UNSUPPORTED, "no %s kernel of family %s exists",
                      fj_op_name(problem->op), fj_family_name(problem->family));
    }
    if (reasons->failed)
        return fj_err(FAJIT_E_NOMEM, "out of memory while choosing a kernel");
    struct fj_buf text = {0};
    fj_problem_print(problem, &text);
    int r = fj_err(tried == 1 ? status : FAJIT_E_UNSUPPORTED, "no kernel for %s on %s: %s",
                   text.failed ? "the problem" : text.data, gpu->name, reasons->data);
    fj_buf_free(&text);
    return r;
}

int fj_kernel_choose_from(const struct fj_kernel_class *const *classes,
                          const struct fj_problem *problem, const struct fj_gpu *gpu,
                          struct fj_choice *ret_choice)
{
    struct fj_buf reasons = {0};
    int tried = 0, r = FAJIT_E_UNSUPPORTED;
    for (; *classes; classes++) {
        if (!is_candidate(*classes, problem))
            continue;
        r = try_class(*classes, problem, gpu, ret_choice);
        if (r == FAJIT_OK)
            goto out;
        fj_buf_printf(&reasons, "%s%s: %s", tried ? "; " : "", (*classes)->name, fj_err_text());
        tried++;
    }
    r = refuse(problem, gpu, tried, r, &reasons);
out:
    fj_buf_free(&reasons);
    return r;
}

int fj_kernel_choose(const struct fj_problem *problem, const struct fj_gpu *gpu,
                     struct fj_choice *ret_choice)
{
    return fj_kernel_choose_from(fj_kernel_classes, problem, gpu, ret_choice);
}

int fj_kernel_symbol(const struct fj_choice *choice, char *ret_name, size_t size)
{
    struct fj_buf text = {0};
    choice->kernel->meaning(choice, &text);
    fj_buf_puts(&text, "__");
    fj_config_symbol(&choice->config, &text);
    bool fits = !text.failed && text.len < size;
    int r = FAJIT_OK;
    if (fits) {
        memcpy(ret_name, text.data, text.len + 1);
    } else {
        r = fj_err(text.failed ? FAJIT_E_NOMEM : FAJIT_E_INVAL,
                   "the symbol of a %s kernel does not fit in %zu bytes", choice->kernel->name,
                   size);
    }
    fj_buf_free(&text);
    return r;
}
