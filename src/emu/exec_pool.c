// setmaxnreg: warps of a CTA give registers back to its pool and take them from it.
//
// PTX does not say how many registers a kernel has when it starts; ptxas 13.0 decides by the limits
// the text gives, and ignores setmaxnreg when there are none. What it was seen to do, and what is
// assumed here: with .maxnreg, or with a block size and .minnctapersm, a thread starts with as many
// registers as these allow (warps are dealt to four schedulers with a quarter of the registers
// each; counts are multiples of 8), but not more than the largest setmaxnreg of the kernel names.
// The pool starts empty; registers of warps that have exited are not taken to come back to it.
#include "emu/ops.h"

#define SCHEDULERS 4
#define STEP 8
#define LEAST 24
#define MOST 256

static uint32_t product(const uint32_t n[3])
{
    return n[0] * n[1] * n[2];
}

uint32_t fj_emu_entry_registers(const struct fj_emu_code *code, const struct fj_gpu *gpu)
{
    const struct fj_ptx_entry *e = code->entry;
    const uint32_t threads = e->reqntid[0] > 0 ? product(e->reqntid) : product(e->maxntid);
    uint32_t limit = 0;
    if (e->maxnreg > 0)
        limit = (e->maxnreg + STEP - 1) / STEP * STEP;
    if (threads > 0 && e->minnctapersm > 0 && gpu != NULL && gpu->regs_per_sm > 0) {
        const uint64_t warps = (uint64_t)((threads + 31) / 32) * e->minnctapersm;
        const uint64_t each = (warps + SCHEDULERS - 1) / SCHEDULERS * SCHEDULERS * FJ_EMU_LANES;
        const uint32_t most = (uint32_t)((uint64_t)gpu->regs_per_sm / each / STEP * STEP);
        limit = limit == 0 || most < limit ? most : limit;
    }
    limit = limit > MOST ? MOST : limit;
    return limit < code->most_registers ? limit : code->most_registers;
}

// imm: the count; flags: whether it is .inc.
static const struct fj_emu_insn *setmaxnreg(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t want = (uint32_t)in->imm, have = w->registers;
    const uint32_t live = w->started & ~w->exited;
    if (w->exec != live)
        return fj_emu_stop(w, in, __builtin_ctz(live & ~w->exec), FJ_EMU_FAULT_BARRIER,
                           "setmaxnreg in diverged code: lanes 0x%08x are here, 0x%08x are not",
                           w->exec, live & ~w->exec);
    if (have == 0) // not known: the hardware would ignore it, too
        return in + 1;
    if (in->flags ? want < have : want > have)
        return fj_emu_stop(w, in, -1, FJ_EMU_FAULT_OPERAND,
                           "setmaxnreg.%s to %u registers of a warp that has %u",
                           in->flags ? "inc" : "dec", want, have);
    if (in->flags && want - have > w->cta->pool) {
        w->wait_registers = want - have;
        w->state = FJ_EMU_WAIT_POOL;
        w->resume = in;
        return NULL;
    }
    w->cta->pool += have - want;
    w->registers = want;
    return in + 1;
}

bool fj_emu_pool_has(const struct fj_emu_warp *w)
{
    return w->wait_registers <= w->cta->pool;
}

static void decode_setmaxnreg(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    const bool inc = fj_emu_has(src->op, ".inc");
    if (!fj_emu_operand_count(b, 1, 1))
        return;
    const uint64_t count = src->ops[0].value;
    if (!inc && !fj_emu_has(src->op, ".dec")) {
        fj_emu_build_unknown(b);
        return;
    }
    if (src->ops[0].kind != FJ_PTX_OP_INT || count < LEAST || count > MOST || count % STEP != 0) {
        fj_emu_build_fail(b, "setmaxnreg takes a multiple of 8 from 24 to 256");
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, setmaxnreg);
    in->imm = (int64_t)count;
    in->flags = inc;
    if (count > b->code->most_registers)
        b->code->most_registers = (uint32_t)count;
}

const struct fj_emu_family fj_emu_pool_families[] = {
    {"setmaxnreg", FJ_EMU_CLASS_CONTROL, decode_setmaxnreg},
    {NULL, 0, NULL},
};
