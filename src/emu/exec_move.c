// mov in all its forms, address conversions, special registers, warp-wide exchanges.
#include <string.h>

#include "emu/access.h"
#include "emu/ops.h"

// {a, b, ..} = s: in->size bytes each, from the low end.
static const struct fj_emu_insn *unpack(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t *ext = w->code->ext + in->ext;
    const uint32_t bits = 8u * in->size;
    uint64_t source[FJ_EMU_LANES];
    if (in->flags)
        memcpy(source, fj_emu_r64(w, in->o[0]), sizeof(source));
    else
        for (int l = 0; l < FJ_EMU_LANES; l++)
            source[l] = fj_emu_r32(w, in->o[0])[l];
    for (uint32_t i = 0; i < in->n_ext; i++) {
        uint32_t *d = fj_emu_r32(w, ext[i]);
        FJ_EMU_EACH_LANE(l, w->exec)
        d[l] = (uint32_t)(source[l] >> (i * bits)) & (uint32_t)((1ull << bits) - 1);
    }
    return in + 1;
}

static const struct fj_emu_insn *pack(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t *ext = w->code->ext + in->ext;
    const uint32_t bits = 8u * in->size;
    uint64_t value[FJ_EMU_LANES] = {0};
    for (uint32_t i = 0; i < in->n_ext; i++) {
        const uint32_t *s = fj_emu_r32(w, ext[i]);
        for (int l = 0; l < FJ_EMU_LANES; l++)
            value[l] |= (s[l] & ((1ull << bits) - 1)) << (i * bits);
    }
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        if (in->flags)
            fj_emu_r64(w, in->o[0])[l] = value[l];
        else
            fj_emu_r32(w, in->o[0])[l] = (uint32_t)value[l];
    }
    return in + 1;
}

static const struct fj_emu_insn *set_uniform(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                                             uint64_t value)
{
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        if (in->flags)
            fj_emu_r64(w, in->o[0])[l] = value;
        else
            fj_emu_r32(w, in->o[0])[l] = (uint32_t)value;
    }
    return in + 1;
}

enum special {
    TID_X,
    TID_Y,
    TID_Z,
    NTID_X,
    NTID_Y,
    NTID_Z,
    CTAID_X,
    CTAID_Y,
    CTAID_Z,
    NCTAID_X,
    NCTAID_Y,
    NCTAID_Z,
    LANEID,
    WARPID,
    NWARPID,
    SMID,
    NSMID,
    GRIDID,
    CLOCK,
    CLOCK64,
    GLOBALTIMER,
    LANEMASK_EQ,
    LANEMASK_LT,
    LANEMASK_LE,
    LANEMASK_GT,
    LANEMASK_GE,
    CLUSTERID_X,
    CLUSTERID_Y,
    CLUSTERID_Z,
    NCLUSTERID_X,
    NCLUSTERID_Y,
    NCLUSTERID_Z,
    CLUSTER_CTAID_X,
    CLUSTER_CTAID_Y,
    CLUSTER_CTAID_Z,
    CLUSTER_NCTAID_X,
    CLUSTER_NCTAID_Y,
    CLUSTER_NCTAID_Z,
    CLUSTER_CTARANK,
    CLUSTER_NCTARANK,
    IS_EXPLICIT_CLUSTER,
    DYNAMIC_SMEM_SIZE,
    TOTAL_SMEM_SIZE,
};

static const struct {
    const char *name;
    uint8_t id;
} specials[] = {
    {"%tid.x", TID_X},
    {"%tid.y", TID_Y},
    {"%tid.z", TID_Z},
    {"%ntid.x", NTID_X},
    {"%ntid.y", NTID_Y},
    {"%ntid.z", NTID_Z},
    {"%ctaid.x", CTAID_X},
    {"%ctaid.y", CTAID_Y},
    {"%ctaid.z", CTAID_Z},
    {"%nctaid.x", NCTAID_X},
    {"%nctaid.y", NCTAID_Y},
    {"%nctaid.z", NCTAID_Z},
    {"%laneid", LANEID},
    {"%warpid", WARPID},
    {"%nwarpid", NWARPID},
    {"%smid", SMID},
    {"%nsmid", NSMID},
    {"%gridid", GRIDID},
    {"%clock", CLOCK},
    {"%clock_hi", GRIDID},
    {"%clock64", CLOCK64},
    {"%globaltimer", GLOBALTIMER},
    {"%globaltimer_lo", GLOBALTIMER},
    {"%lanemask_eq", LANEMASK_EQ},
    {"%lanemask_lt", LANEMASK_LT},
    {"%lanemask_le", LANEMASK_LE},
    {"%lanemask_gt", LANEMASK_GT},
    {"%lanemask_ge", LANEMASK_GE},
    {"%clusterid.x", CLUSTERID_X},
    {"%clusterid.y", CLUSTERID_Y},
    {"%clusterid.z", CLUSTERID_Z},
    {"%nclusterid.x", NCLUSTERID_X},
    {"%nclusterid.y", NCLUSTERID_Y},
    {"%nclusterid.z", NCLUSTERID_Z},
    {"%cluster_ctaid.x", CLUSTER_CTAID_X},
    {"%cluster_ctaid.y", CLUSTER_CTAID_Y},
    {"%cluster_ctaid.z", CLUSTER_CTAID_Z},
    {"%cluster_nctaid.x", CLUSTER_NCTAID_X},
    {"%cluster_nctaid.y", CLUSTER_NCTAID_Y},
    {"%cluster_nctaid.z", CLUSTER_NCTAID_Z},
    {"%cluster_ctarank", CLUSTER_CTARANK},
    {"%cluster_nctarank", CLUSTER_NCTARANK},
    {"%is_explicit_cluster", IS_EXPLICIT_CLUSTER},
    {"%dynamic_smem_size", DYNAMIC_SMEM_SIZE},
    {"%total_smem_size", TOTAL_SMEM_SIZE},
};

static uint32_t thread_index(const struct fj_emu_warp *w, uint32_t lane, int axis)
{
    const uint32_t *block = w->cta->unit->launch->block;
    const uint32_t thread = (uint32_t)w->index * FJ_EMU_LANES + lane;
    return axis == 0   ? thread % block[0]
           : axis == 1 ? thread / block[0] % block[1]
                       : thread / block[0] / block[1];
}

static uint64_t lane_special(const struct fj_emu_warp *w, uint32_t lane, int id)
{
    switch (id) {
    case TID_X:
    case TID_Y:
    case TID_Z:
        return thread_index(w, lane, id - TID_X);
    case LANEID:
        return lane;
    case LANEMASK_EQ:
        return 1u << lane;
    case LANEMASK_LT:
        return (1u << lane) - 1;
    case LANEMASK_LE:
        return (2ull << lane) - 1;
    case LANEMASK_GT:
        return ~((2ull << lane) - 1);
    default:
        return ~((1u << lane) - 1);
    }
}

static uint64_t uniform_special(const struct fj_emu_warp *w, int id)
{
    const struct fj_emu_cta *cta = w->cta;
    const struct fj_emu_launch *launch = cta->unit->launch;
    if (id >= NTID_X && id <= NTID_Z)
        return launch->block[id - NTID_X];
    if (id >= CTAID_X && id <= CTAID_Z)
        return cta->ctaid[id - CTAID_X];
    if (id >= NCTAID_X && id <= NCTAID_Z)
        return launch->grid[id - NCTAID_X];
    if (id >= CLUSTERID_X && id <= CLUSTERID_Z)
        return cta->ctaid[id - CLUSTERID_X] / launch->cluster[id - CLUSTERID_X];
    if (id >= NCLUSTERID_X && id <= NCLUSTERID_Z)
        return launch->grid[id - NCLUSTERID_X] / launch->cluster[id - NCLUSTERID_X];
    if (id >= CLUSTER_CTAID_X && id <= CLUSTER_CTAID_Z)
        return cta->ctaid[id - CLUSTER_CTAID_X] % launch->cluster[id - CLUSTER_CTAID_X];
    if (id >= CLUSTER_NCTAID_X && id <= CLUSTER_NCTAID_Z)
        return launch->cluster[id - CLUSTER_NCTAID_X];
    switch (id) {
    case WARPID:
        return (uint64_t)w->index;
    case NWARPID:
        return (uint64_t)cta->n_warps;
    case SMID:
        return launch->gpu != NULL && launch->gpu->sm_count > 0
                   ? cta->unit->index % (uint64_t)launch->gpu->sm_count
                   : 0;
    case NSMID:
        return launch->gpu != NULL ? (uint64_t)launch->gpu->sm_count : 1;
    case CLOCK:
    case CLOCK64:
    case GLOBALTIMER:
        return w->steps; // the same every run
    case CLUSTER_CTARANK:
        return cta->rank;
    case CLUSTER_NCTARANK:
        return (uint64_t)cta->unit->n_ctas;
    case IS_EXPLICIT_CLUSTER:
        return cta->unit->n_ctas > 1;
    case DYNAMIC_SMEM_SIZE:
        return launch->smem_dynamic_bytes;
    case TOTAL_SMEM_SIZE:
        return cta->smem_bytes - FJ_EMU_SHARED_BASE;
    default:
        return 0;
    }
}

static const struct fj_emu_insn *mov_special(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const int id = (int)in->imm;
    const bool per_lane = id <= TID_Z || id == LANEID || (id >= LANEMASK_EQ && id <= LANEMASK_GE);
    if (id == IS_EXPLICIT_CLUSTER && in->size == 1) {
        fj_emu_set_pred(w, in->o[0], uniform_special(w, id) ? FJ_EMU_FULL : 0);
        return in + 1;
    }
    if (!per_lane)
        return set_uniform(w, in, uniform_special(w, id));
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        const uint64_t value = lane_special(w, l, id);
        if (in->flags)
            fj_emu_r64(w, in->o[0])[l] = value;
        else
            fj_emu_r32(w, in->o[0])[l] = (uint32_t)value;
    }
    return in + 1;
}

static void decode_mov_special(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        if (strcmp(specials[i].name, src->ops[1].text) != 0)
            continue;
        const int bits = fj_emu_operand_bits(b, &src->ops[0]);
        if (bits > 64 || (bits == 1) != (specials[i].id == IS_EXPLICIT_CLUSTER)) {
            fj_emu_build_fail(b, "a register of %d bits cannot hold this", bits);
            return;
        }
        struct fj_emu_insn *in = fj_emu_emit(b, mov_special);
        in->imm = specials[i].id;
        in->flags = bits == 64;
        in->size = (uint16_t)bits;
        fj_emu_bind_dst(b, 0, &src->ops[0], bits == 0 ? 32 : bits);
        return;
    }
    fj_emu_build_fail(b, "unknown special register '%s'", src->ops[1].text);
}

static void decode_mov_vector(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    const bool unpacks = src->ops[0].kind == FJ_PTX_OP_VECTOR;
    const struct fj_ptx_operand *list = &src->ops[unpacks ? 0 : 1];
    const struct fj_ptx_operand *whole = &src->ops[unpacks ? 1 : 0];
    const char *type = fj_emu_last_part(src->op);
    const int bits = fj_ptx_type_bits(type - 1, strlen(type) + 1);
    if ((bits != 32 && bits != 64) || (list->n_sub != 2 && list->n_sub != 4)) {
        fj_emu_build_unknown(b);
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, unpacks ? unpack : pack);
    in->flags = bits == 64;
    in->size = (uint16_t)(bits / 8 / list->n_sub);
    if (unpacks)
        fj_emu_bind_src(b, 0, whole, bits, bits);
    else
        fj_emu_bind_dst(b, 0, whole, bits);
    for (int i = 0; i < list->n_sub && !b->failed; i++)
        fj_emu_bind_ext(b, &list->sub[i], 32, unpacks, !unpacks);
}

// What the tables do not cover: vectors and special registers.
static void decode_mov(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (!fj_emu_operand_count(b, 2, 2))
        return;
    if (src->ops[1].kind == FJ_PTX_OP_SPECIAL)
        decode_mov_special(b, src);
    else if (src->ops[0].kind == FJ_PTX_OP_VECTOR || src->ops[1].kind == FJ_PTX_OP_VECTOR)
        decode_mov_vector(b, src);
    else
        fj_emu_build_unknown(b);
}

// cvta and cvta.to: a generic address is the space's address in its window; global has none.
static const struct fj_emu_insn *to_window(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint64_t *d = fj_emu_r64(w, in->o[0]);
    const uint64_t *a = fj_emu_r64(w, in->o[1]);
    FJ_EMU_EACH_LANE(l, w->exec)
    d[l] = a[l] | (uint64_t)in->imm;
    return in + 1;
}

static const struct fj_emu_insn *from_window(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint64_t *d = fj_emu_r64(w, in->o[0]);
    const uint64_t *a = fj_emu_r64(w, in->o[1]);
    FJ_EMU_EACH_LANE(l, w->exec)
    d[l] = a[l] & ~(uint64_t)in->imm;
    return in + 1;
}

static void decode_cvta(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    static const uint64_t windows[] = {
        0, 0, 0, FJ_EMU_WINDOW_SHARED, FJ_EMU_WINDOW_LOCAL, FJ_EMU_WINDOW_PARAM};
    if (!fj_emu_operand_count(b, 2, 2))
        return;
    const uint64_t window = windows[fj_emu_space_of(src->op)];
    const bool to = fj_emu_has(src->op, ".to");
    struct fj_emu_insn *in = fj_emu_emit(b, to ? from_window : to_window);
    in->imm = (int64_t)(to && window ? FJ_EMU_WINDOW_MASK : window);
    fj_emu_bind_dst(b, 0, &src->ops[0], 64);
    fj_emu_bind_src(b, 1, &src->ops[1], 64, 64);
}

// Which CTA's shared memory an address names; without a rank it is the own.
static uint32_t rank_of(const struct fj_emu_warp *w, uint64_t address)
{
    const uint32_t rank = (uint32_t)address >> FJ_EMU_SHARED_RANK_SHIFT;
    return rank > 0 ? rank - 1 : w->cta->rank;
}

// flags: shared memory of the own CTA only.
static const struct fj_emu_insn *is_space(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint64_t *a = fj_emu_r64(w, in->o[1]);
    uint32_t mask = 0;
    for (int l = 0; l < FJ_EMU_LANES; l++)
        mask |= (uint32_t)((a[l] & FJ_EMU_WINDOW_MASK) == (uint64_t)in->imm &&
                           (!in->flags || rank_of(w, a[l]) == w->cta->rank))
                << l;
    fj_emu_set_pred(w, in->o[0], mask);
    return in + 1;
}

static void decode_isspacep(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    static const uint64_t windows[] = {
        0, 0, 0, FJ_EMU_WINDOW_SHARED, FJ_EMU_WINDOW_LOCAL, FJ_EMU_WINDOW_PARAM};
    if (!fj_emu_operand_count(b, 2, 2))
        return;
    const enum fj_ptx_space space = fj_emu_space_of(src->op);
    struct fj_emu_insn *in = fj_emu_emit(b, is_space);
    in->imm = (int64_t)windows[space];
    in->flags = space == FJ_PTX_SHARED && !fj_emu_has(src->op, ".shared::cluster");
    fj_emu_bind_dst(b, 0, &src->ops[0], 1);
    fj_emu_bind_src(b, 1, &src->ops[1], 64, 64);
}

// mapa: the address of the same variable in CTA `rank` of the cluster.
static const struct fj_emu_insn *map_address(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const uint32_t *rank = fj_emu_r32(w, in->o[2]);
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        if (rank[l] >= (uint32_t)w->cta->unit->n_ctas)
            return fj_emu_stop(w, in, (int)l, FJ_EMU_FAULT_OPERAND,
                               "mapa to CTA %u of a cluster of %d", rank[l], w->cta->unit->n_ctas);
        const uint32_t top = (rank[l] + 1) << FJ_EMU_SHARED_RANK_SHIFT;
        if (in->flags)
            fj_emu_r64(w, in->o[0])[l] = FJ_EMU_WINDOW_SHARED | top |
                                         (fj_emu_r64(w, in->o[1])[l] & FJ_EMU_SHARED_OFFSET_MASK);
        else
            fj_emu_r32(w, in->o[0])[l] =
                top | (fj_emu_r32(w, in->o[1])[l] & FJ_EMU_SHARED_OFFSET_MASK);
    }
    return in + 1;
}

static void decode_mapa(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (!fj_emu_operand_count(b, 3, 3))
        return;
    const int bits = fj_emu_operand_bits(b, &src->ops[0]) == 64 ? 64 : 32;
    fj_emu_emit(b, map_address)->flags = bits == 64;
    fj_emu_bind_dst(b, 0, &src->ops[0], bits);
    fj_emu_bind_src(b, 1, &src->ops[1], bits, bits);
    fj_emu_bind_src(b, 2, &src->ops[2], 32, 32);
}

static const struct fj_emu_insn *rank_at(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint32_t *d = fj_emu_r32(w, in->o[0]);
    FJ_EMU_EACH_LANE(l, w->exec)
    d[l] = rank_of(w, in->flags ? fj_emu_r64(w, in->o[1])[l] : fj_emu_r32(w, in->o[1])[l]);
    return in + 1;
}

static void decode_getctarank(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (!fj_emu_operand_count(b, 2, 2))
        return;
    const bool wide = fj_emu_has(src->op, ".u64");
    fj_emu_emit(b, rank_at)->flags = wide;
    fj_emu_bind_dst(b, 0, &src->ops[0], 32);
    fj_emu_bind_src(b, 1, &src->ops[1], wide ? 64 : 32, wide ? 64 : 32);
}

const struct fj_emu_family fj_emu_move_families[] = {
    {"mov", FJ_EMU_CLASS_MOVE, decode_mov},
    {"cvta", FJ_EMU_CLASS_INT, decode_cvta},
    {"isspacep", FJ_EMU_CLASS_INT, decode_isspacep},
    {"mapa", FJ_EMU_CLASS_INT, decode_mapa},
    {"getctarank", FJ_EMU_CLASS_INT, decode_getctarank},
    {"cvt", FJ_EMU_CLASS_CONVERT, fj_emu_decode_cvt},
    {"setp", FJ_EMU_CLASS_INT, fj_emu_decode_setp},
    {"set", FJ_EMU_CLASS_INT, fj_emu_decode_set},
    {"shfl", FJ_EMU_CLASS_MOVE, fj_emu_decode_shfl},
    {"vote", FJ_EMU_CLASS_MOVE, fj_emu_decode_vote},
    {"activemask", FJ_EMU_CLASS_MOVE, fj_emu_decode_vote},
    {"elect", FJ_EMU_CLASS_MOVE, fj_emu_decode_vote},
    {"match", FJ_EMU_CLASS_MOVE, fj_emu_decode_match},
    {"redux", FJ_EMU_CLASS_INT, fj_emu_decode_redux},
    {NULL, 0, NULL},
};
