// Following one warp of an emulated launch.
#include <fajit/fajit.h>

#include <stdlib.h>
#include <string.h>

#include "emu/emu.h"
#include "emu/trace.h"
#include "trace.h"
#include "trace_lines.h"
#include "trace_tile.h"

struct follower {
    struct fajit_trace_params params;
    struct fj_source_lines lines;
    struct fj_elements elements;
    uint64_t *registers; // [capacity][32]
    int capacity;
    int last_line;
    bool met;     // the warp exists
    bool stopped; // by the caller, or by an error
    int err;
};

int fj_trace_check(const struct fajit_plan *plan, const void *args, const char *call)
{
    if (!plan || !args)
        return fj_err(FAJIT_E_INVAL, "%s: an argument is NULL", call);
    if (plan->ctx->device_kind == FAJIT_DEVICE_EMULATED)
        return FAJIT_OK;
    return fj_err(
        FAJIT_E_UNSUPPORTED,
        "%s: this context runs on %s; only the emulated device can be looked into: create "
        "a context with FAJIT_DEVICE_EMULATED",
        call, plan->ctx->jit.has_device ? plan->ctx->jit.gpu.name : "no device");
}

int fj_trace_launch(const struct fajit_plan *plan, const void *args)
{
    const struct fj_device *device = &plan->ctx->jit.device;
    CUcontext previous;
    int err = fj_device_enter(device, &previous);
    if (err)
        return err;
    if (plan->choice.problem.op == FAJIT_OP_GEMM)
        err = fajit_gemm_launch(plan, args, NULL);
    else
        err = fajit_attn_launch(plan, args, NULL);
    if (err == 0)
        err = fj_cuda_check(device->cuda, device->cuda->cuStreamSynchronize(NULL),
                            "cuStreamSynchronize");
    fj_device_leave(device, previous);
    return err;
}

static void show(struct follower *f, const struct fajit_trace_event *event)
{
    const struct fajit_trace_params *p = &f->params;
    if (event->line < p->from_line || (p->to_line && event->line > p->to_line))
        return;
    f->stopped = p->visit(p->user, event) != 0;
}

static bool read_registers(struct follower *f, const struct fj_emu_step *step)
{
    char name[32];
    if (step->n_registers > f->capacity) {
        size_t bytes = (size_t)step->n_registers * 32 * sizeof(*f->registers);
        uint64_t *grown = realloc(f->registers, bytes);
        if (!grown)
            return false;
        f->registers = grown;
        f->capacity = step->n_registers;
    }
    for (int i = 0; i < step->n_registers; i++)
        fj_emu_step_register(step, i, name, sizeof(name), f->registers + (size_t)i * 32);
    return true;
}

static void show_tile(struct follower *f, const struct fj_emu_step *step,
                      const struct fj_source_line *line)
{
    struct fj_watch_text watch;
    if (!fj_watch_parse(step->watch, &watch)) {
        f->err =
            fj_err(FAJIT_E_TEMPLATE, "line %d: unreadable watch '%s'", line->plain, step->watch);
        return;
    }
    if (!read_registers(f, step)) {
        f->err = fj_err(FAJIT_E_NOMEM, "no memory for the registers of %s", watch.name);
        return;
    }
    const struct fj_fragment fragment = {
        .warp = f->params.warp,
        .lanes = step->exec,
        .n_registers = step->n_registers,
        .registers = f->registers,
        .shared = step->shared,
        .shared_begin = step->shared_begin,
        .shared_end = step->shared_end,
    };
    f->err = fj_watch_elements(&watch, &fragment, &f->elements);
    if (f->err)
        return;
    while (line->watch && line > f->lines.lines)
        line--;
    show(f, &(struct fajit_trace_event){
                .kind = FAJIT_TRACE_TILE,
                .line = line->plain,
                .text = line->text,
                .lanes = step->exec,
                .name = watch.name,
                .layout = watch.kind,
                .rows = watch.rows,
                .cols = watch.cols,
                .elements = f->elements.items,
                .n_elements = f->elements.count,
            });
}

static void follow(void *user, const struct fj_emu_step *step)
{
    struct follower *f = user;
    f->met = true;
    const struct fj_source_line *line = fj_source_line(&f->lines, step->line);
    if (f->stopped || !line)
        return;
    if (step->watch)
        show_tile(f, step, line);
    else if (!line->watch && step->line != f->last_line)
        show(f, &(struct fajit_trace_event){.kind = FAJIT_TRACE_LINE,
                                            .line = line->plain,
                                            .text = line->text,
                                            .lanes = step->exec});
    f->stopped = f->stopped || f->err;
    f->last_line = step->watch ? 0 : step->line;
}

static int check_params(const struct fajit_plan *plan, const struct fajit_trace_params *p)
{
    const int warps = (plan->kernel->threads + 31) / 32;
    if (!p->visit)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_trace: visit is NULL");
    if (p->cta[0] < 0 || p->cta[1] < 0 || p->cta[2] < 0)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_trace: CTA (%d, %d, %d) is negative", p->cta[0],
                      p->cta[1], p->cta[2]);
    if (p->warp < 0 || p->warp >= warps)
        return fj_err(FAJIT_E_INVAL, "fajit_plan_trace: warp %d; a CTA of %s has warps 0 to %d",
                      p->warp, plan->kernel->name, warps - 1);
    return FAJIT_OK;
}

static int run(struct fajit_plan *plan, const void *args, struct follower *f)
{
    const CUcontext context = plan->ctx->jit.device.context;
    const struct fj_emu_tracer tracer = {
        .ctaid = {(uint32_t)f->params.cta[0], (uint32_t)f->params.cta[1],
                  (uint32_t)f->params.cta[2]},
        .warp = f->params.warp,
        .step = follow,
        .user = f,
    };
    fj_emu_set_tracer(context, &tracer);
    int err = fj_trace_launch(plan, args);
    fj_emu_set_tracer(context, NULL);
    if (err == 0)
        err = f->err;
    if (err == 0 && !f->met)
        err = fj_err(FAJIT_E_INVAL, "fajit_plan_trace: the launch had no CTA (%d, %d, %d)",
                     f->params.cta[0], f->params.cta[1], f->params.cta[2]);
    return err;
}

int fajit_plan_trace(struct fajit_plan *plan, const void *args,
                     const struct fajit_trace_params *params)
{
    struct follower f = {0};
    int err = fj_trace_check(plan, args, "fajit_plan_trace");
    if (err == 0 && !params)
        err = fj_err(FAJIT_E_INVAL, "fajit_plan_trace: params is NULL");
    if (err == 0)
        err = fj_take_struct("fajit_trace_params", params, &f.params, sizeof(f.params));
    if (err == 0)
        err = check_params(plan, &f.params);
    if (err == 0)
        err = fj_source_lines_split(plan->kernel->rendering.text.data, &f.lines);
    if (err == 0)
        err = run(plan, args, &f);
    fj_source_lines_free(&f.lines);
    free(f.elements.items);
    free(f.registers);
    return err;
}
