// Exchanges between the lanes of a warp.
#include <string.h>

#include "emu/access.h"
#include "emu/check.h"
#include "emu/ops.h"

// The lanes of a .sync mask must be exactly those here: hardware waits, then the result is that
// of lanes which never came.
static bool check_members(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t members)
{
    const uint32_t missing = members & ~w->exec & ~w->exited;
    if ((members & w->exec) != w->exec) {
        fj_emu_stop(w, in, __builtin_ctz(w->exec & ~members), FJ_EMU_FAULT_BARRIER,
                    "the lane is not in its own member mask 0x%08x", members);
        return false;
    }
    if (missing != 0) {
        fj_emu_stop(w, in, __builtin_ctz(missing), FJ_EMU_FAULT_BARRIER,
                    "member mask 0x%08x names lanes 0x%08x that are not here (0x%08x are)", members,
                    missing, w->exec);
        return false;
    }
    return true;
}

enum {
    SHFL_UP,
    SHFL_DOWN,
    SHFL_BFLY,
    SHFL_IDX,
};

// c: segment mask in bits 8..12, clamp in bits 0..4.
static bool shfl_source(int mode, uint32_t lane, uint32_t b, uint32_t c, uint32_t *from)
{
    const uint32_t segment = c >> 8 & 31, clamp = c & 31;
    const uint32_t top = (lane & segment) | (clamp & ~segment);
    const uint32_t bottom = lane & segment;
    const int32_t j = mode == SHFL_UP     ? (int32_t)lane - (int32_t)b
                      : mode == SHFL_DOWN ? (int32_t)(lane + b)
                      : mode == SHFL_BFLY ? (int32_t)(lane ^ b)
                                          : (int32_t)(bottom | (b & ~segment & 31));
    const bool inside = mode == SHFL_UP ? j >= (int32_t)top : j <= (int32_t)top;
    *from = inside ? (uint32_t)j & 31 : lane;
    return inside;
}

static const struct fj_emu_insn *shuffle(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint32_t value[FJ_EMU_LANES], inside = 0;
    memcpy(value, fj_emu_r32(w, in->o[2]), sizeof(value));
    const uint32_t *b = fj_emu_r32(w, in->o[3]), *c = fj_emu_r32(w, in->o[4]);
    uint32_t delta[FJ_EMU_LANES], bounds[FJ_EMU_LANES];
    memcpy(delta, b, sizeof(delta));
    memcpy(bounds, c, sizeof(bounds));
    const uint32_t members = fj_emu_r32(w, in->o[5])[fj_emu_first_lane(w)];
    if (!check_members(w, in, members))
        return NULL;
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        uint32_t from;
        if (shfl_source(in->flags, l, delta[l] & 31, bounds[l], &from))
            inside |= 1u << l;
        if (!(w->exec >> from & 1))
            return fj_emu_stop(w, in, (int)l, FJ_EMU_FAULT_OPERAND,
                               "shfl reads lane %u, which is not executing", from);
        if (w->cta->unit->check != NULL && !fj_emu_check_shuffle(w, in, 2, (int)l, from))
            return NULL;
        d[l] = value[from];
    }
    if (in->o[1] != FJ_EMU_NONE)
        fj_emu_set_pred(w, in->o[1], inside);
    return in + 1;
}

void fj_emu_decode_shfl(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    static const char *const modes[] = {".up", ".down", ".bfly", ".idx"};
    if (!fj_emu_has(src->op, ".sync")) {
        fj_emu_build_unknown(b);
        return;
    }
    if (!fj_emu_operand_count(b, 5, 5))
        return;
    struct fj_emu_insn *in = fj_emu_emit(b, shuffle);
    for (int i = 0; i < 4; i++)
        in->flags = fj_emu_has(src->op, modes[i]) ? (uint8_t)i : in->flags;
    in->o[1] = FJ_EMU_NONE;
    const struct fj_ptx_operand *d = &src->ops[0];
    fj_emu_bind_dst(b, 0, d->kind == FJ_PTX_OP_PAIR ? &d->sub[0] : d, 32);
    if (d->kind == FJ_PTX_OP_PAIR)
        fj_emu_bind_dst(b, 1, &d->sub[1], 1);
    for (int i = 1; i < 5; i++)
        fj_emu_bind_src(b, i + 1, &src->ops[i], 32, 32);
}

enum {
    VOTE_ALL,
    VOTE_ANY,
    VOTE_UNI,
    VOTE_BALLOT,
    VOTE_ACTIVE,
    VOTE_ELECT,
};

static const struct fj_emu_insn *vote(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const int mode = in->flags;
    const uint32_t members =
        mode == VOTE_ACTIVE ? w->exec : fj_emu_r32(w, in->o[3])[fj_emu_first_lane(w)];
    if (!check_members(w, in, members))
        return NULL;
    const uint32_t yes = mode < VOTE_ACTIVE ? fj_emu_pred(w, in->o[2]) & w->exec : w->exec;
    uint32_t word = yes;
    if (mode == VOTE_ELECT) {
        word = (uint32_t)__builtin_ctz(members & w->exec);
        fj_emu_set_pred(w, in->o[1], 1u << word);
    } else if (mode <= VOTE_UNI) {
        const bool result = mode == VOTE_ALL   ? yes == w->exec
                            : mode == VOTE_ANY ? yes != 0
                                               : yes == 0 || yes == w->exec;
        fj_emu_set_pred(w, in->o[1], result ? FJ_EMU_FULL : 0);
        return in + 1;
    }
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    FJ_EMU_EACH_LANE(l, w->exec)
    d[l] = word;
    return in + 1;
}

static int vote_mode(const char *op)
{
    if (strncmp(op, "activemask", 10) == 0)
        return VOTE_ACTIVE;
    if (strncmp(op, "elect", 5) == 0)
        return VOTE_ELECT;
    return fj_emu_has(op, ".all")   ? VOTE_ALL
           : fj_emu_has(op, ".any") ? VOTE_ANY
           : fj_emu_has(op, ".uni") ? VOTE_UNI
                                    : VOTE_BALLOT;
}

void fj_emu_decode_vote(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    const int mode = vote_mode(src->op);
    if (!fj_emu_operand_count(b, 1, 3))
        return;
    const int wanted = mode == VOTE_ACTIVE ? 1 : mode == VOTE_ELECT ? 2 : 3;
    if (src->n_ops != wanted || (mode != VOTE_ACTIVE && !fj_emu_has(src->op, ".sync"))) {
        fj_emu_build_unknown(b);
        return;
    }
    fj_emu_emit(b, vote)->flags = (uint8_t)mode;
    const struct fj_ptx_operand *d = &src->ops[0];
    if (mode == VOTE_ELECT && d->kind == FJ_PTX_OP_PAIR) {
        fj_emu_bind_dst(b, 0, &d->sub[0], 32);
        fj_emu_bind_dst(b, 1, &d->sub[1], 1);
    } else if (mode == VOTE_ELECT) {
        fj_emu_build_fail(b, "elect.sync writes d|p");
    } else {
        fj_emu_bind_dst(b, mode <= VOTE_UNI ? 1 : 0, d, mode <= VOTE_UNI ? 1 : 32);
    }
    if (mode < VOTE_ACTIVE)
        fj_emu_bind_src(b, 2, &src->ops[1], 1, 1);
    if (mode != VOTE_ACTIVE)
        fj_emu_bind_src(b, 3, &src->ops[wanted - 1], 32, 32);
}

// match.any: which lanes hold the same value; match.all: all of them, or none.
static const struct fj_emu_insn *match(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t members = fj_emu_r32(w, in->o[3])[fj_emu_first_lane(w)];
    const bool wide = in->size == 64, all = in->flags;
    uint64_t value[FJ_EMU_LANES];
    uint32_t same_as_first = 0, result[FJ_EMU_LANES] = {0};
    if (!check_members(w, in, members))
        return NULL;
    for (int l = 0; l < FJ_EMU_LANES; l++)
        value[l] = wide ? fj_emu_r64(w, in->o[2])[l] : fj_emu_r32(w, in->o[2])[l];
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        for (int k = 0; k < FJ_EMU_LANES; k++)
            result[l] |= (uint32_t)(value[k] == value[l]) << k;
        result[l] &= w->exec;
        same_as_first |= (uint32_t)(value[l] == value[fj_emu_first_lane(w)]) << l;
    }
    const bool equal = same_as_first == w->exec;
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    FJ_EMU_EACH_LANE(l, w->exec)
    d[l] = !all ? result[l] : equal ? members : 0;
    if (in->o[1] != FJ_EMU_NONE)
        fj_emu_set_pred(w, in->o[1], equal ? FJ_EMU_FULL : 0);
    return in + 1;
}

void fj_emu_decode_match(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (!fj_emu_operand_count(b, 3, 3))
        return;
    struct fj_emu_insn *in = fj_emu_emit(b, match);
    in->flags = fj_emu_has(src->op, ".all");
    in->size = fj_emu_has(src->op, ".b64") ? 64 : 32;
    in->o[1] = FJ_EMU_NONE;
    const struct fj_ptx_operand *d = &src->ops[0];
    const int bits = in->size;
    fj_emu_bind_dst(b, 0, d->kind == FJ_PTX_OP_PAIR ? &d->sub[0] : d, 32);
    if (d->kind == FJ_PTX_OP_PAIR)
        fj_emu_bind_dst(b, 1, &d->sub[1], 1);
    fj_emu_bind_src(b, 2, &src->ops[1], bits, bits);
    fj_emu_bind_src(b, 3, &src->ops[2], 32, 32);
}

enum {
    REDUX_ADD,
    REDUX_MIN_S,
    REDUX_MAX_S,
    REDUX_MIN_U,
    REDUX_MAX_U,
    REDUX_AND,
    REDUX_OR,
    REDUX_XOR,
};

static uint32_t redux_pair(int op, uint32_t a, uint32_t b)
{
    switch (op) {
    case REDUX_ADD:
        return a + b;
    case REDUX_MIN_S:
        return (int32_t)a < (int32_t)b ? a : b;
    case REDUX_MAX_S:
        return (int32_t)a > (int32_t)b ? a : b;
    case REDUX_MIN_U:
        return a < b ? a : b;
    case REDUX_MAX_U:
        return a > b ? a : b;
    case REDUX_AND:
        return a & b;
    case REDUX_OR:
        return a | b;
    default:
        return a ^ b;
    }
}

static const struct fj_emu_insn *redux(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t *a = fj_emu_r32(w, in->o[1]);
    const uint32_t members = fj_emu_r32(w, in->o[2])[fj_emu_first_lane(w)];
    if (!check_members(w, in, members))
        return NULL;
    const uint32_t first = (uint32_t)fj_emu_first_lane(w);
    uint32_t total = a[first];
    FJ_EMU_EACH_LANE(l, w->exec & ~(1u << first))
    total = redux_pair(in->flags, total, a[l]);
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    FJ_EMU_EACH_LANE(l, w->exec)
    d[l] = total;
    return in + 1;
}

void fj_emu_decode_redux(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    static const char *const names[] = {
        "redux.sync.add.",    "redux.sync.min.s32", "redux.sync.max.s32", "redux.sync.min.u32",
        "redux.sync.max.u32", "redux.sync.and.b32", "redux.sync.or.b32",  "redux.sync.xor.b32"};
    if (!fj_emu_operand_count(b, 3, 3))
        return;
    for (uint8_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(src->op, names[i], strlen(names[i])) != 0 || fj_emu_has(src->op, ".f32"))
            continue;
        fj_emu_emit(b, redux)->flags = i;
        fj_emu_bind_dst(b, 0, &src->ops[0], 32);
        fj_emu_bind_src(b, 1, &src->ops[1], 32, 32);
        fj_emu_bind_src(b, 2, &src->ops[2], 32, 32);
        return;
    }
    fj_emu_build_unknown(b);
}
