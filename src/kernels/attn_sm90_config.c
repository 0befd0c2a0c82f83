// Configurations of templates/attn_fwd_sm90.cu: what fits, and what is fast.
#include "kernels/attn_sm90.h"

#define CONSUMERS_MAX 4
#define BLOCK_N_MAX 256
#define STAGES_MAX 4
#define CLUSTER_MAX 2
// Before they exchange registers, the threads of a pair of CTAs have 128 each; ptxas wants 30
// beside the sums of one product, 64 rows of this many columns.
#define PAIR_WIDTH_MAX 196

static const struct fj_sm90_registers registers_alone[CONSUMERS_MAX + 1] = {
    {0, 0, 0}, {56, 240, 204}, {24, 240, 204}, {32, 160, 132}, {24, 112, 80}};
static const struct fj_sm90_registers registers_in_pairs[CONSUMERS_MAX + 1] = {
    {0, 0, 0}, {24, 232, 196}, {24, 104, 72}, {0, 0, 0}, {0, 0, 0}};

struct fj_sm90_registers fj_attn_sm90_registers(const struct fj_config *config)
{
    const struct fj_sm90_registers *of =
        FJ_CFG(config, ctas) == 2 ? registers_in_pairs : registers_alone;
    return of[FJ_CFG(config, bm) / FJ_WARPGROUP_ROWS];
}

enum masks { BOTH, FULL, CAUSAL };

// Default tiles: the first row whose limits hold. Found by sweeps on an H200, see
// tests/notes/attn_fwd_sm90.md. Short sequences want tiles that start and end quickly, long ones
// many keys per barrier; above 128 columns O leaves registers for two warpgroups only.
// clang-format off
static const struct tile {
    int head_dim;   // the larger one, up to
    int head_dim_v; // up to; 0: any
    int rows;       // queries of a tile's head or group, up to; 0: any
    enum masks masks;
    int seq_k;      // up to; 0: any
    int bm, bn, stages, ctas, pingpong, rescale;
} tile_table[] = {
    {128,   0, 64, BOTH,      0,  64,  64, 3, 2, 2, 1}, // two CTAs to an SM wait less for memory
    {256,   0, 64, BOTH,      0,  64,  64, 2, 1, 2, 1},
    { 40,   0,  0, FULL,     80, 256,  80, 4, 1, 2, 1}, // one block of keys
    { 64,   0,  0, FULL,   1536, 256,  64, 4, 1, 1, 2},
    { 64,   0,  0, CAUSAL, 6144, 256,  64, 4, 1, 2, 1},
    { 40,   0,  0, BOTH,      0, 192, 128, 3, 1, 1, 1},
    { 64,   0,  0, FULL,      0, 192, 128, 2, 1, 1, 1},
    { 64,   0,  0, CAUSAL,    0, 192, 128, 3, 1, 1, 1},
    { 96,   0,  0, BOTH,   1536, 128, 128, 2, 1, 2, 1},
    { 72,   0,  0, BOTH,      0, 192, 128, 2, 1, 1, 2},
    { 96,   0,  0, BOTH,      0, 192, 112, 2, 1, 1, 1},
    {128,   0,  0, FULL,   1536, 128, 128, 3, 1, 1, 1},
    {128,   0,  0, CAUSAL, 6144, 128, 128, 2, 1, 2, 1},
    {128,   0,  0, BOTH,      0, 192,  80, 3, 1, 1, 1},
    {192, 128,  0, BOTH,      0, 128, 128, 2, 1, 1, 1},
    {192,   0,  0, BOTH,      0, 128, 112, 2, 1, 1, 1},
    {256,   0,  0, BOTH,   6144, 128,  64, 2, 1, 2, 1},
    {256,   0,  0, BOTH,      0, 128,  80, 2, 1, 2, 1},
};
// clang-format on

static int64_t or_any(int64_t size, int64_t any)
{
    return size > 0 ? size : any;
}

static const struct tile *default_tile(const struct fj_attn *attn, int64_t rows)
{
    const int64_t seq_k = or_any(attn->seq_k, 8192);
    const enum masks mask = attn->causal == FAJIT_CAUSAL_NONE ? FULL : CAUSAL;
    int head_dim = attn->head_dim > attn->head_dim_v ? attn->head_dim : attn->head_dim_v;
    for (const struct tile *tile = tile_table;; tile++) {
        if (head_dim <= tile->head_dim &&
            (tile->head_dim_v == 0 || attn->head_dim_v <= tile->head_dim_v) &&
            (tile->rows == 0 || rows <= tile->rows) &&
            (tile->masks == BOTH || tile->masks == mask) &&
            (tile->seq_k == 0 || seq_k <= tile->seq_k))
            return tile;
    }
}

static int group_of(const struct fj_attn *attn)
{
    return attn->heads_kv > 0 ? (int)(attn->heads_q / attn->heads_kv) : 0;
}

// The query heads of one KV head share a tile's rows when that leaves fewer rows empty. Boxes of 64
// rows must hold whole groups.
static bool wants_packing(const struct fj_attn *attn)
{
    const int64_t bm = 128; // of most tiles
    int64_t group = group_of(attn), queries = or_any(attn->seq_q, 8192);
    if (group <= 1 || FJ_WARPGROUP_ROWS % group != 0)
        return false;
    int64_t apart = (queries + bm - 1) / bm * group;
    int64_t packed = (queries * group + bm - 1) / bm;
    return packed * 10 < apart * 9;
}

// As many stages as the table says, or as fit beside a tile that somebody else chose.
static void set_stages(const struct fj_gpu *gpu, int most, struct fj_choice *choice)
{
    struct fj_config *config = &choice->config;
    if (FJ_CFG(config, stages) != 0)
        return;
    for (int stages = most; stages >= 2; stages--) {
        config->v[FJ_KNOB_stages] = (int16_t)stages;
        if (fj_attn_smem_fits(gpu, fj_attn_sm90_smem_bytes(choice), FJ_CFG(config, ctas)))
            return;
    }
}

// Whether two CTAs of 64 rows, two stages each, share an SM, and a thread can do with the registers
// it has before they exchange any.
static bool fits_in_pairs(const struct fj_gpu *gpu, const struct fj_choice *choice)
{
    struct fj_choice pair = *choice;
    int widest = FJ_CFG(&pair.config, bn);
    if (choice->problem.attn.head_dim_v > widest)
        widest = choice->problem.attn.head_dim_v;
    FJ_CFG(&pair.config, ctas) = 2;
    FJ_CFG(&pair.config, stages) = 2;
    return FJ_CFG(&choice->config, ctas) != 1 && FJ_CFG(&pair.config, bm) == FJ_WARPGROUP_ROWS &&
           widest <= PAIR_WIDTH_MAX && fj_attn_smem_fits(gpu, fj_attn_sm90_smem_bytes(&pair), 2);
}

// What suits a tile that is none of the table's: what lost least over the 16000 timings of
// tests/notes/tuning.md.
static struct tile other_tile(const struct fj_gpu *gpu, const struct fj_choice *choice)
{
    const int bm = FJ_CFG(&choice->config, bm);
    if (fits_in_pairs(gpu, choice))
        return (struct tile){.stages = 2, .ctas = 2, .pingpong = 2, .rescale = 1};
    return (struct tile){
        .stages = STAGES_MAX, .ctas = 1, .pingpong = bm == 128 || bm == 192 ? 1 : 2, .rescale = 1};
}

static void set_defaults(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    const struct fj_attn *attn = &choice->problem.attn;
    struct fj_config *config = &choice->config;
    fj_config_default(config, FJ_KNOB_packgqa, wants_packing(attn) ? group_of(attn) : 1);
    int64_t rows = or_any(attn->seq_q, 8192) * FJ_CFG(config, packgqa);
    struct tile tile = *default_tile(attn, rows);
    fj_config_default(config, FJ_KNOB_bm, tile.bm);
    fj_config_default(config, FJ_KNOB_bn, tile.bn);
    if (FJ_CFG(config, bm) != tile.bm || FJ_CFG(config, bn) != tile.bn)
        tile = other_tile(gpu, choice);
    fj_config_default(config, FJ_KNOB_ctas, tile.ctas);
    set_stages(gpu, tile.stages, choice);
    fj_config_default(config, FJ_KNOB_pingpong, tile.pingpong);
    fj_config_default(config, FJ_KNOB_overlap, 1);
    fj_config_default(config, FJ_KNOB_lazy, 1);
    fj_config_default(config, FJ_KNOB_rescale, tile.rescale);
    fj_config_default(config, FJ_KNOB_cluster, 1);
}

static int check_tile(const struct fj_config *config)
{
    int bm = FJ_CFG(config, bm), bn = FJ_CFG(config, bn), ctas = FJ_CFG(config, ctas);
    int cluster = FJ_CFG(config, cluster);
    if (bm % FJ_WARPGROUP_ROWS != 0 || bm > FJ_WARPGROUP_ROWS * CONSUMERS_MAX)
        return fj_err(FAJIT_E_INVAL, "bm=%d: it may be 64, 128, 192 or 256", bm);
    if (bn % 16 != 0 || bn > BLOCK_N_MAX)
        return fj_err(FAJIT_E_INVAL, "bn=%d: it may be 16 to %d in steps of 16", bn, BLOCK_N_MAX);
    if (FJ_CFG(config, stages) == 1 && FJ_CFG(config, pingpong) == 1 &&
        bm * cluster > 2 * FJ_WARPGROUP_ROWS)
        return fj_err(FAJIT_E_INVAL,
                      "stages=1 with pingpong=1: of three warpgroups in turn, one would wait for "
                      "a block that another still holds; take stages=2 or pingpong=2");
    if (FJ_CFG(config, stages) > STAGES_MAX)
        return fj_err(FAJIT_E_INVAL, "stages=%d: it may be 1 to %d", FJ_CFG(config, stages),
                      STAGES_MAX);
    if (cluster > CLUSTER_MAX)
        return fj_err(FAJIT_E_INVAL,
                      "cluster=%d: it may be 1 or 2; each CTA fetches its share of a block's keys "
                      "in whole groups of 8",
                      cluster);
    if (ctas > 2 || (ctas == 2 && bm > 2 * FJ_WARPGROUP_ROWS))
        return fj_err(FAJIT_E_INVAL, "ctas=%d: it may be 1, or 2 with bm up to 128", ctas);
    if (FJ_CFG(config, pingpong) == 1 && bm == FJ_WARPGROUP_ROWS)
        return fj_err(FAJIT_E_INVAL, "pingpong=1 needs two warpgroups: bm=128 or more");
    return FAJIT_OK;
}

static int check_registers(const struct fj_attn *attn, const struct fj_config *config)
{
    int bn = FJ_CFG(config, bn), available = fj_attn_sm90_registers(config).tiles;
    int needed = bn / 2 + bn / 4 + attn->head_dim_v / 2;
    if (needed > available)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "bm=%d leaves a thread %d registers for S, P and O, bn=%d needs %d: ask for "
                      "a smaller bn",
                      FJ_CFG(config, bm), available, bn, needed);
    int widest = bn > attn->head_dim_v ? bn : attn->head_dim_v;
    if (FJ_CFG(config, ctas) == 2 && widest > PAIR_WIDTH_MAX)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "ctas=2 leaves a thread 128 registers to begin with, too few for products %d "
                      "columns wide: ask for ctas=1",
                      widest);
    return FAJIT_OK;
}

// `group`: query heads per KV head, 0 when not known; `pack`: 0 when not asked for.
static int check_packing(int group, int pack)
{
    if (pack > 1 && (FJ_WARPGROUP_ROWS % pack != 0 || (group > 0 && group != pack)))
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "packgqa=%d: it may be 1, or heads_q / heads_kv where that divides 64", pack);
    return FAJIT_OK;
}

int fj_attn_sm90_configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    static const enum fj_knob allowed[] = {FJ_KNOB_bm,      FJ_KNOB_bn,       FJ_KNOB_stages,
                                           FJ_KNOB_cluster, FJ_KNOB_pingpong, FJ_KNOB_overlap,
                                           FJ_KNOB_poly,    FJ_KNOB_lazy,     FJ_KNOB_rescale,
                                           FJ_KNOB_packgqa, FJ_KNOB_ctas,     FJ_KNOB_COUNT};
    struct fj_problem *problem = &choice->problem;
    struct fj_config *config = &choice->config;
    if (problem->variant == FAJIT_VARIANT_AUTO)
        problem->variant = FAJIT_VARIANT_PERSISTENT;
    int r = fj_config_knobs_check(config, allowed);
    if (r == FAJIT_OK)
        r = check_packing(group_of(&problem->attn), FJ_CFG(config, packgqa));
    if (r < 0)
        return r;
    set_defaults(gpu, choice);
    r = check_tile(config);
    return r < 0 ? r : check_registers(&problem->attn, config);
}
