// Barriers of a CTA and of a cluster, and the fences.
#include <string.h>

#include "emu/access.h"
#include "emu/check.h"
#include "emu/ops.h"

enum {
    BAR_SYNC,
    BAR_ARRIVE,
    BAR_POPC,
    BAR_AND,
    BAR_OR,
};

static uint32_t barrier_goal(const struct fj_emu_cta *cta, const struct fj_emu_barrier *bar)
{
    return bar->counted ? bar->expected : (uint32_t)cta->n_live * FJ_EMU_LANES;
}

static void barrier_release(struct fj_emu_cta *cta, struct fj_emu_barrier *bar)
{
    if (cta->unit->check != NULL)
        fj_emu_check_complete(&cta->warps[0], FJ_EMU_PLACE_BARRIER,
                              (uint32_t)(bar - cta->barriers));
    for (uint32_t left = bar->waiting; left != 0; left &= left - 1) {
        struct fj_emu_warp *w = &cta->warps[__builtin_ctz(left)];
        w->state = FJ_EMU_READY;
        w->barrier_passed = true;
    }
    bar->last_votes = bar->votes;
    bar->arrived = bar->expected = bar->waiting = bar->votes = 0;
    bar->counted = false;
}

void fj_emu_barrier_recheck(struct fj_emu_cta *cta)
{
    for (int i = 0; i < 16; i++) {
        struct fj_emu_barrier *bar = &cta->barriers[i];
        if (bar->arrived > 0 && !bar->counted && bar->arrived >= barrier_goal(cta, bar))
            barrier_release(cta, bar);
    }
}

// The uniform value of an operand over the executing lanes.
static bool uniform(struct fj_emu_warp *w, const struct fj_emu_insn *in, int k, uint32_t *value)
{
    const uint32_t *v = fj_emu_r32(w, in->o[k]);
    const int first = fj_emu_first_lane(w);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        if (v[l] != v[first]) {
            fj_emu_stop(w, in, (int)l, FJ_EMU_FAULT_BARRIER,
                        "the lanes of a warp name different barriers or counts");
            return false;
        }
    }
    *value = v[first];
    return true;
}

static bool barrier_arrive(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                           struct fj_emu_barrier *bar, uint32_t id, uint32_t count)
{
    struct fj_emu_cta *cta = w->cta;
    const bool counted = in->size != 0;
    if (counted && (count == 0 || count % FJ_EMU_LANES != 0 ||
                    count > (uint32_t)cta->n_warps * FJ_EMU_LANES)) {
        fj_emu_stop(w, in, -1, FJ_EMU_FAULT_BARRIER,
                    "barrier %u: a count of %u threads is no multiple of 32 up to the %d of the "
                    "CTA",
                    id, count, cta->n_warps * FJ_EMU_LANES);
        return false;
    }
    if (bar->arrived > 0 && (bar->counted != counted || (counted && bar->expected != count))) {
        fj_emu_stop(w, in, -1, FJ_EMU_FAULT_BARRIER,
                    "barrier %u: this warp expects %u threads, earlier ones %u", id, count,
                    bar->counted ? bar->expected : 0);
        return false;
    }
    bar->counted = counted;
    bar->expected = count;
    bar->arrived += FJ_EMU_LANES;
    if (counted && bar->arrived > count) {
        fj_emu_stop(w, in, -1, FJ_EMU_FAULT_BARRIER, "barrier %u: more than %u threads arrive", id,
                    count);
        return false;
    }
    return true;
}

// .aligned and bar: every lane of the warp that has not exited executes it together.
static bool together(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t live = w->started & ~w->exited;
    if (w->exec == live)
        return true;
    fj_emu_stop(w, in, __builtin_ctz(live & ~w->exec), FJ_EMU_FAULT_BARRIER,
                "a barrier in diverged code: lanes 0x%08x are here, 0x%08x are not", w->exec,
                live & ~w->exec);
    return false;
}

static const struct fj_emu_insn *barrier_result(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                                                const struct fj_emu_barrier *bar)
{
    w->barrier_passed = false;
    if (w->cta->unit->check != NULL)
        fj_emu_check_acquire(w, FJ_EMU_PLACE_BARRIER, (uint32_t)(bar - w->cta->barriers));
    const uint32_t votes = bar->last_votes;
    if (in->flags == BAR_POPC) {
        uint32_t *d = fj_emu_r32(w, in->o[0]);
        FJ_EMU_EACH_LANE(l, w->exec)
        d[l] = votes & 0xffff;
    } else if (in->flags == BAR_OR) {
        fj_emu_set_pred(w, in->o[0], (votes & 0xffff) != 0 ? FJ_EMU_FULL : 0);
    } else if (in->flags == BAR_AND) {
        fj_emu_set_pred(w, in->o[0], votes >> 16 == 0 ? FJ_EMU_FULL : 0);
    }
    return in + 1;
}

// votes: threads that voted yes in the low half, no in the high half.
static const struct fj_emu_insn *barrier(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint32_t id, count = 0;
    if (!uniform(w, in, 1, &id) || (in->size != 0 && !uniform(w, in, 2, &count)))
        return NULL;
    if (id > 15)
        return fj_emu_stop(w, in, -1, FJ_EMU_FAULT_BARRIER, "barrier %u: there are 16", id);
    struct fj_emu_barrier *bar = &w->cta->barriers[id];
    if (w->barrier_passed)
        return barrier_result(w, in, bar);
    if (!together(w, in) || !barrier_arrive(w, in, bar, id, count))
        return NULL;
    if (w->cta->unit->check != NULL)
        fj_emu_check_release(w, FJ_EMU_PLACE_BARRIER, id);
    if (in->flags >= BAR_POPC) {
        const uint32_t yes = fj_emu_pred(w, in->o[3]) & w->exec;
        bar->votes += (uint32_t)__builtin_popcount(yes);
        bar->votes += (uint32_t)__builtin_popcount(w->exec & ~yes) << 16;
    }
    if (bar->arrived >= barrier_goal(w->cta, bar)) {
        barrier_release(w->cta, bar);
        return in->flags == BAR_ARRIVE ? in + 1 : barrier_result(w, in, bar);
    }
    if (in->flags == BAR_ARRIVE)
        return in + 1;
    bar->waiting |= 1u << w->index;
    w->barrier_waits++;
    w->state = FJ_EMU_WAIT_BAR;
    w->wait_barrier = id;
    w->resume = in;
    return NULL;
}

static void decode_bar(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    const char *op = src->op;
    const bool red = fj_emu_has(op, ".red");
    const int kind = fj_emu_has(op, ".arrive") ? BAR_ARRIVE
                     : !red                    ? BAR_SYNC
                     : fj_emu_has(op, ".popc") ? BAR_POPC
                     : fj_emu_has(op, ".and")  ? BAR_AND
                                               : BAR_OR;
    if (!fj_emu_operand_count(b, red ? 3 : 1, red ? 4 : 2))
        return;
    if (kind == BAR_ARRIVE && src->n_ops != 2) {
        fj_emu_build_fail(b, "an arrive needs the count of threads");
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, barrier);
    const struct fj_ptx_operand *ops = src->ops + red;
    const int n = src->n_ops - (red ? 2 : 0); // id and, perhaps, count
    in->flags = (uint8_t)kind;
    in->size = n > 1;
    if (red) {
        fj_emu_bind_dst(b, 0, &src->ops[0], kind == BAR_POPC ? 32 : 1);
        fj_emu_bind_src(b, 3, &src->ops[src->n_ops - 1], 1, 1);
    }
    fj_emu_bind_src(b, 1, &ops[0], 32, 32);
    if (n > 1)
        fj_emu_bind_src(b, 2, &ops[1], 32, 32);
}

// Reconvergence happens at post-dominators; as memory orders, all accesses are in order already.
static const struct fj_emu_insn *warp_sync(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t members = fj_emu_r32(w, in->o[0])[fj_emu_first_lane(w)];
    if (w->cta->unit->check != NULL)
        fj_emu_check_order_lanes(w);
    if ((members & w->exec) != w->exec)
        return fj_emu_stop(w, in, __builtin_ctz(w->exec & ~members), FJ_EMU_FAULT_BARRIER,
                           "the lane is not in its own member mask 0x%08x", members);
    return in + 1;
}

static const struct fj_emu_insn *fence(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    if (in->imm && w->cta->unit->check != NULL)
        fj_emu_check_proxy_fence(w);
    else if (w->cta->unit->check != NULL)
        fj_emu_check_order_lanes(w);
    return in + 1;
}

static uint32_t live_threads(const struct fj_emu_unit *unit)
{
    return (uint32_t)unit->n_live;
}

void fj_emu_cluster_recheck(struct fj_emu_unit *unit)
{
    if (unit->cluster_arrived == 0 || unit->cluster_arrived < live_threads(unit))
        return;
    unit->cluster_arrived = 0;
    unit->cluster_phase++;
    if (unit->check != NULL)
        fj_emu_check_complete(&unit->warps[0], FJ_EMU_PLACE_CLUSTER, 0);
    for (int i = 0; i < unit->n_warps; i++) {
        if (unit->warps[i].state == FJ_EMU_WAIT_CLUSTER)
            unit->warps[i].state = FJ_EMU_READY;
    }
}

static const struct fj_emu_insn *cluster_arrive(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    struct fj_emu_unit *unit = w->cta->unit;
    if (!together(w, in))
        return NULL;
    if (w->cluster_arrived)
        return fj_emu_stop(w, in, -1, FJ_EMU_FAULT_BARRIER,
                           "barrier.cluster.arrive twice without a wait between");
    w->cluster_arrived = true;
    w->cluster_phase = unit->cluster_phase;
    unit->cluster_arrived++;
    if (unit->check != NULL)
        fj_emu_check_release(w, FJ_EMU_PLACE_CLUSTER, 0);
    fj_emu_cluster_recheck(unit);
    return in + 1;
}

static const struct fj_emu_insn *cluster_wait(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    struct fj_emu_unit *unit = w->cta->unit;
    if (!together(w, in))
        return NULL;
    if (!w->cluster_arrived)
        return fj_emu_stop(w, in, -1, FJ_EMU_FAULT_BARRIER,
                           "barrier.cluster.wait without an arrive before");
    if (unit->cluster_phase != w->cluster_phase) {
        w->cluster_arrived = false;
        if (unit->check != NULL)
            fj_emu_check_acquire(w, FJ_EMU_PLACE_CLUSTER, 0);
        return in + 1;
    }
    w->barrier_waits++;
    w->state = FJ_EMU_WAIT_CLUSTER;
    w->resume = in;
    return NULL;
}

static void decode_barrier(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (strncmp(src->op, "bar.warp.sync", 13) == 0) {
        fj_emu_emit(b, warp_sync);
        if (fj_emu_operand_count(b, 1, 1))
            fj_emu_bind_src(b, 0, &src->ops[0], 32, 32);
    } else if (strncmp(src->op, "barrier.cluster.arrive", 22) == 0) {
        fj_emu_emit(b, cluster_arrive);
    } else if (strncmp(src->op, "barrier.cluster.wait", 20) == 0) {
        fj_emu_emit(b, cluster_wait);
    } else {
        decode_bar(b, src);
    }
}

static void decode_fence(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    struct fj_emu_insn *in = fj_emu_emit(b, fence);
    in->imm = strncmp(src->op, "fence.proxy.async", 17) == 0;
}

const struct fj_emu_family fj_emu_sync_families[] = {
    {"bar", FJ_EMU_CLASS_SYNC, decode_barrier},
    {"barrier", FJ_EMU_CLASS_SYNC, decode_barrier},
    {"fence", FJ_EMU_CLASS_SYNC, decode_fence},
    {"membar", FJ_EMU_CLASS_SYNC, decode_fence},
    {NULL, 0, NULL},
};
