// Running a grid: clusters over the host's cores, the warps of a cluster in turns.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/thread.h"
#include "emu/check.h"
#include "emu/check_plan.h"
#include "emu/memory.h"
#include "emu/ops.h"
#include "emu/tally.h"

#define DEFAULT_BUDGET (1ull << 36) // warp instructions of one cluster
#define QUANTUM 4096                // blocks a warp runs before the next gets its turn

// State shared by the workers of one launch.
struct fj_emu_run {
    const struct fj_emu_code *code;
    const struct fj_emu_launch *launch;
    uint32_t n_ctas, n_warps; // of a cluster, of a CTA
    uint64_t n_units;
    uint32_t smem_bytes, smem_used; // the stride of CTAs, and what a CTA may touch
    fj_mutex lock;
    struct fj_emu_scratch *free;
    uint32_t registers;   // of a thread, 0: not known
    uint64_t first_fault; // index of the unit
    struct fj_emu_fault fault;
    struct fj_emu_plan *plan; // of the checks
    bool out_of_memory;
};

struct fj_emu_scratch {
    struct fj_emu_scratch *next;
    struct fj_emu_unit unit;
    struct fj_emu_cta *ctas;
    struct fj_emu_warp *warps;
    uint8_t *smem, *regs, *local;
    uint32_t *preds;
    struct fj_emu_tally tally;
    struct fj_emu_check *check;
};

static void run_warp(struct fj_emu_warp *w)
{
    const struct fj_emu_insn *in = w->resume;
    w->quantum = QUANTUM;
    do {
        uint32_t exec = w->active;
        if (in->guard >= 0) {
            const uint32_t p = w->pred[in->guard];
            exec &= in->guard_not ? ~p : p;
            if (exec == 0) {
                in++;
                continue;
            }
        }
        w->exec = exec;
        in = in->fn(w, in);
    } while (in != NULL);
}

// The same with counts, checks and traces.
static void run_warp_hooked(struct fj_emu_warp *w)
{
    const struct fj_emu_insn *in = w->resume;
    w->quantum = QUANTUM;
    while (in != NULL) {
        uint32_t exec = w->active;
        if (in->guard >= 0) {
            const uint32_t p = w->pred[in->guard];
            exec &= in->guard_not ? ~p : p;
        }
        w->exec = exec;
        if (exec == 0) {
            in++;
            continue;
        }
        if (!fj_emu_hook_before(w, in))
            return;
        const struct fj_emu_insn *done = in;
        in = in->fn(w, in);
        if (w->state == FJ_EMU_READY || w->state == FJ_EMU_DONE)
            fj_emu_hook_after(w, done);
    }
}

// The same with the checks alone: most instructions need none.
static void run_warp_checked(struct fj_emu_warp *w)
{
    const struct fj_emu_insn *in = w->resume, *const first = w->code->insns;
    const uint8_t *plan = w->cta->unit->run->plan->insns;
    w->quantum = QUANTUM;
    while (in != NULL) {
        const uint8_t how = plan[in - first];
        uint32_t exec = w->active;
        if (in->guard >= 0) {
            const uint32_t p = w->pred[in->guard];
            exec &= in->guard_not ? ~p : p;
        }
        w->exec = exec;
        if (exec == 0) {
            in++;
            continue;
        }
        if ((how & FJ_EMU_PLAN_BEFORE) && !fj_emu_check_before(w, in))
            return;
        const struct fj_emu_insn *done = in;
        in = in->fn(w, in);
        if ((how & FJ_EMU_PLAN_AFTER) && in != NULL)
            fj_emu_check_after(w, done);
    }
}

static bool runnable(struct fj_emu_warp *w)
{
    if (w->state == FJ_EMU_WAIT_MBAR && fj_emu_mbar_passed(w->wait_mbar, w->wait_parity))
        w->state = FJ_EMU_READY;
    if (w->state == FJ_EMU_WAIT_POOL && fj_emu_pool_has(w))
        w->state = FJ_EMU_READY;
    return w->state == FJ_EMU_READY;
}

static void warp_done(struct fj_emu_warp *w)
{
    fj_emu_hook_done(w);
    w->cta->n_live--;
    w->cta->unit->n_live--;
    fj_emu_barrier_recheck(w->cta);
    fj_emu_cluster_recheck(w->cta->unit);
}

static void run_unit(struct fj_emu_unit *unit)
{
    while (unit->n_live > 0 && !unit->faulted) {
        bool progress = false;
        for (int i = 0; i < unit->n_warps && !unit->faulted; i++) {
            struct fj_emu_warp *w = &unit->warps[i];
            if (!runnable(w))
                continue;
            progress = true;
            unit->run_warp(w);
            if (w->state == FJ_EMU_DONE)
                warp_done(w);
        }
        if (!progress && unit->n_live > 0)
            fj_emu_report_deadlock(unit);
    }
}

static void start_warp(struct fj_emu_run *run, struct fj_emu_scratch *s, struct fj_emu_cta *cta,
                       int index)
{
    const struct fj_emu_code *code = run->code;
    const uint32_t *block = run->launch->block;
    const uint32_t threads = block[0] * block[1] * block[2];
    const size_t at = (size_t)cta->rank * run->n_warps + (size_t)index;
    struct fj_emu_warp *w = &s->warps[at];
    const uint32_t left = threads - (uint32_t)index * FJ_EMU_LANES;
    *w = (struct fj_emu_warp){
        .base = {s->regs + at * code->reg_bytes, code->pool},
        .pred = s->preds + at * code->n_preds,
        .active = left >= FJ_EMU_LANES ? FJ_EMU_FULL : (1u << left) - 1,
        .join = FJ_EMU_NONE,
        .cta = cta,
        .code = code,
        .resume = code->insns,
        .state = FJ_EMU_READY,
        .local = s->local + at * FJ_EMU_LANES * code->local_bytes,
        .index = index,
        .registers = run->registers,
    };
    w->started = w->active;
    w->exited = ~w->active;
    w->pred[0] = w->pred[1] = 0;
}

// CTA `rank` of cluster `index`: clusters are boxes of CTAs, x fastest, as are the CTAs in one.
static void place_cta(const struct fj_emu_launch *launch, uint64_t index, uint32_t rank,
                      uint32_t ctaid[3])
{
    uint64_t cluster = index;
    for (int i = 0; i < 3; i++) {
        const uint32_t n = launch->grid[i] / launch->cluster[i];
        ctaid[i] = (uint32_t)(cluster % n) * launch->cluster[i] + rank % launch->cluster[i];
        cluster /= n;
        rank /= launch->cluster[i];
    }
}

static void start_unit(struct fj_emu_run *run, struct fj_emu_scratch *s, uint64_t index)
{
    s->unit = (struct fj_emu_unit){
        .code = run->code,
        .launch = run->launch,
        .run = run,
        .index = index,
        .ctas = s->ctas,
        .n_ctas = (int)run->n_ctas,
        .warps = s->warps,
        .n_warps = (int)(run->n_ctas * run->n_warps),
        .n_live = (int)(run->n_ctas * run->n_warps),
        .budget = run->launch->budget > 0 ? run->launch->budget : DEFAULT_BUDGET,
        .tally = run->launch->counts != NULL ? &s->tally : NULL,
        .check = s->check,
        .hooks = run->launch->counts != NULL || s->check != NULL || run->launch->tracer != NULL,
    };
    const bool hooked = run->launch->counts != NULL || run->launch->tracer != NULL;
    s->unit.run_warp = hooked ? run_warp_hooked : s->check != NULL ? run_warp_checked : run_warp;
    if (s->check != NULL)
        fj_emu_check_reset(s->check, index);
    for (uint32_t rank = 0; rank < run->n_ctas; rank++) {
        struct fj_emu_cta *cta = &s->ctas[rank];
        *cta = (struct fj_emu_cta){
            .unit = &s->unit,
            .smem = s->smem + (size_t)rank * run->smem_bytes,
            .smem_bytes = run->smem_used,
            .rank = rank,
            .n_warps = (int)run->n_warps,
            .n_live = (int)run->n_warps,
            .warps = &s->warps[(size_t)rank * run->n_warps],
        };
        place_cta(run->launch, index, rank, cta->ctaid);
        memset(cta->smem, 0xff, run->smem_used); // NaN to who reads what nothing wrote
        for (uint32_t i = 0; i < run->n_warps; i++)
            start_warp(run, s, cta, (int)i);
    }
}

static size_t round_up(size_t value, size_t step)
{
    return (value + step - 1) / step * step;
}

static void free_scratch(struct fj_emu_scratch *s)
{
    free(s->ctas);
    free(s->warps);
    free(s->preds);
    free(s->smem);
    free(s->regs);
    free(s->local);
    fj_emu_tally_free(&s->tally);
    fj_emu_check_free(s->check);
    free(s);
}

static struct fj_emu_scratch *take_scratch(struct fj_emu_run *run)
{
    pthread_mutex_lock(&run->lock);
    struct fj_emu_scratch *s = run->free;
    if (s != NULL)
        run->free = s->next;
    pthread_mutex_unlock(&run->lock);
    if (s != NULL)
        return s;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    const size_t n_warps = (size_t)run->n_ctas * run->n_warps;
    const struct fj_emu_code *code = run->code;
    s->ctas = calloc(run->n_ctas, sizeof(*s->ctas));
    s->warps = calloc(n_warps, sizeof(*s->warps));
    s->preds = calloc(n_warps * code->n_preds, sizeof(*s->preds));
    s->smem = aligned_alloc(4096, round_up((size_t)run->n_ctas * run->smem_bytes, 4096));
    s->regs = aligned_alloc(64, round_up(n_warps * code->reg_bytes, 64));
    s->local = aligned_alloc(64, round_up(n_warps * FJ_EMU_LANES * code->local_bytes + 64, 64));
    bool ok = s->ctas && s->warps && s->preds && s->smem && s->regs && s->local;
    if (ok && run->launch->counts != NULL)
        ok = fj_emu_tally_init(&s->tally, code);
    if (ok && run->launch->check) {
        s->check =
            fj_emu_check_new(code, run->plan, (int)run->n_ctas, (int)run->n_warps, run->smem_used);
        ok = s->check != NULL;
    }
    if (ok)
        return s;
    free_scratch(s);
    return NULL;
}

static void give_scratch(struct fj_emu_run *run, struct fj_emu_scratch *s)
{
    pthread_mutex_lock(&run->lock);
    s->next = run->free;
    run->free = s;
    if (s->unit.faulted && s->unit.index < run->first_fault) {
        run->first_fault = s->unit.index;
        run->fault = s->unit.fault;
    }
    pthread_mutex_unlock(&run->lock);
}

// After a fault the units before it still run, so that the report is the same every time.
static void run_one(void *user, int64_t index)
{
    struct fj_emu_run *run = user;
    if ((uint64_t)index > __atomic_load_n(&run->first_fault, __ATOMIC_RELAXED))
        return;
    struct fj_emu_scratch *s = take_scratch(run);
    if (s == NULL) {
        run->out_of_memory = true;
        return;
    }
    start_unit(run, s, (uint64_t)index);
    run_unit(&s->unit);
    give_scratch(run, s);
}

static int launch_fault(struct fj_emu_fault *fault, const char *text)
{
    fault->kind = FJ_EMU_FAULT_LAUNCH;
    strncpy(fault->text, text, sizeof(fault->text) - 1);
    return fj_err(FAJIT_E_CUDA, "%s", text);
}

static int check_launch(const struct fj_emu_code *code, const struct fj_emu_launch *launch,
                        struct fj_emu_fault *fault)
{
    const struct fj_ptx_entry *e = code->entry;
    const uint64_t threads = (uint64_t)launch->block[0] * launch->block[1] * launch->block[2];
    const uint64_t most = (uint64_t)e->maxntid[0] * e->maxntid[1] * e->maxntid[2];
    if (threads == 0 || threads > 1024)
        return launch_fault(fault, "launch: a block has 1 to 1024 threads");
    if (most > 0 && threads > most)
        return launch_fault(fault, "launch: more threads than the kernel's .maxntid");
    for (int i = 0; i < 3; i++) {
        if (e->reqntid[0] > 0 && e->reqntid[i] != launch->block[i])
            return launch_fault(fault, "launch: the block is not the kernel's .reqntid");
        if (launch->grid[i] == 0 || launch->cluster[i] == 0 ||
            launch->grid[i] % launch->cluster[i] != 0)
            return launch_fault(fault, "launch: the grid is no multiple of the cluster");
        if (e->cluster[0] > 0 && e->cluster[i] != launch->cluster[i])
            return launch_fault(fault, "launch: the cluster is not the kernel's");
    }
    if (launch->grid[0] > INT32_MAX || launch->grid[1] > 65535 || launch->grid[2] > 65535)
        return launch_fault(fault, "launch: a grid has at most 2^31-1, 65535, 65535 CTAs");
    if ((uint64_t)launch->cluster[0] * launch->cluster[1] * launch->cluster[2] > 16)
        return launch_fault(fault, "launch: a cluster has at most 16 CTAs");
    if (launch->param_bytes < e->param_bytes)
        return launch_fault(fault, "launch: fewer parameter bytes than the kernel takes");
    return FAJIT_OK;
}

// Adds up what the workers counted, in any order: sums do not depend on it.
static int finish(struct fj_emu_run *run)
{
    struct fj_emu_counts *counts = run->launch->counts;
    int status = FAJIT_OK;
    for (struct fj_emu_scratch *s = run->free; s != NULL;) {
        struct fj_emu_scratch *next = s->next;
        if (counts != NULL)
            fj_emu_tally_add(&s->tally, run->code, counts);
        if (counts != NULL && counts->want_lines && status == FAJIT_OK)
            status = fj_emu_tally_lines(s->tally.runs, run->code, counts);
        free_scratch(s);
        s = next;
    }
    return status;
}

int fj_emu_execute(const struct fj_emu_code *code, const struct fj_emu_launch *launch,
                   struct fj_emu_fault *ret_fault)
{
    memset(ret_fault, 0, sizeof(*ret_fault));
    int status = check_launch(code, launch, ret_fault);
    if (status != FAJIT_OK)
        return status;
    struct fj_emu_run run = {.code = code, .launch = launch, .lock = FJ_MUTEX_INIT};
    const uint64_t threads = (uint64_t)launch->block[0] * launch->block[1] * launch->block[2];
    run.n_ctas = launch->cluster[0] * launch->cluster[1] * launch->cluster[2];
    run.n_warps = (uint32_t)((threads + FJ_EMU_LANES - 1) / FJ_EMU_LANES);
    run.smem_used =
        (uint32_t)round_up(FJ_EMU_SHARED_BASE + code->smem_static_bytes, code->smem_dynamic_align) +
        launch->smem_dynamic_bytes;
    run.smem_bytes = (uint32_t)round_up(run.smem_used, 4096);
    run.n_units = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2] / run.n_ctas;
    run.registers = fj_emu_entry_registers(code, launch->gpu);
    run.first_fault = UINT64_MAX;
    if (launch->check && (run.plan = fj_emu_plan_new(code)) == NULL)
        return fj_err(FAJIT_E_NOMEM, "out of memory for the emulated device's checks");
    fj_parallel_for(launch->threads, (int64_t)run.n_units, run_one, &run);
    if (launch->check)
        fj_emu_mem_settle();
    status = finish(&run);
    fj_emu_plan_free(run.plan);
    if (status != FAJIT_OK)
        return status;
    if (run.out_of_memory)
        return fj_err(FAJIT_E_NOMEM, "out of memory for the emulated device's warps");
    if (run.first_fault == UINT64_MAX)
        return FAJIT_OK;
    *ret_fault = run.fault;
    return fj_err(FAJIT_E_CUDA, "%s", run.fault.text);
}
