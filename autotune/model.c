#include "autotune/model.h"

#include <math.h>

// Operations of one SM per clock, dense. FLOPs of fp16 tensor cores: NVIDIA's architecture white
// papers (Turing, Ampere, Ada, Hopper, Blackwell); mma.sync on 9.0: what gemm_mma was seen to
// reach, 52 % of cuBLAS. Exponentials: 16 results per clock of the special function units, CUDA C++
// Programming Guide, table "Throughput of Native Arithmetic Instructions"; fp32: the same table.
struct rates {
    int cc_to; // up to this compute capability
    double mma, wgmma, fma, exps;
};
static const struct rates rates[] = {
    {75, 1024, 0, 128, 16},    {80, 2048, 0, 128, 16},  {89, 1024, 0, 256, 16},
    {90, 1800, 4096, 256, 16}, {119, 4096, 0, 256, 16}, {9999, 1024, 0, 256, 16},
};

// L2 delivers about this much to one SM per clock (measured figures of 40 to 64 on 8.0 and 9.0).
#define L2_BYTES_PER_CLOCK 48.0
// What a CTA costs beside its blocks: launch, last stores. Clocks.
#define CTA_CLOCKS 1500.0
// What of the first block's way to the SM nothing hides.
#define FIRST_EXPOSED 0.7
#define LAUNCH_US 3.0

static const struct rates *rates_of(const struct fj_gpu *gpu)
{
    const struct rates *row = rates;
    while (row->cc_to < gpu->cc)
        row++;
    return row;
}

static double flops_per_clock(const struct fj_choice *choice, const struct rates *r)
{
    switch (choice->kernel->family) {
    case FAJIT_FAMILY_SM90:
        return r->wgmma > 0 ? r->wgmma : r->mma;
    case FAJIT_FAMILY_MMA:
        return r->mma;
    default:
        return r->fma;
    }
}

static double knob(const struct fj_choice *choice, enum fj_knob knob, double fallback)
{
    int value = choice->config.v[knob];
    return value > 0 ? value : fallback;
}

struct tiles {
    double ctas;   // tiles of the output, times the CTAs that share one
    double blocks; // steps of one CTA, on average
    double useful;
};

// The tiles of one head of attention, the one that sees the fewest keys first.
struct head_tiles {
    const struct fj_attn *attn;
    double count, queries, bn; // queries: of one tile
};

static struct head_tiles head_tiles(const struct fj_choice *choice)
{
    const struct fj_attn *attn = &choice->problem.attn;
    double group = knob(choice, FJ_KNOB_packgqa, 1);
    double queries = knob(choice, FJ_KNOB_bm, 64) / group;
    return (struct head_tiles){.attn = attn,
                               .count = ceil((double)attn->seq_q / queries),
                               .queries = queries,
                               .bn = knob(choice, FJ_KNOB_bn, 64)};
}

// KV blocks of the i-th tile: under a causal mask those up to the last one that its last row sees.
static double blocks_of(const struct head_tiles *tiles, double i)
{
    const struct fj_attn *attn = tiles->attn;
    const double q = (double)attn->seq_q, k = (double)attn->seq_k;
    const double shift = attn->causal == FAJIT_CAUSAL_BOTTOM_RIGHT ? k - q : 0;
    double visible = fmin((i + 1) * tiles->queries, q) + shift;
    if (attn->causal == FAJIT_CAUSAL_NONE)
        visible = k;
    return ceil(fmin(fmax(visible, 0), k) / tiles->bn);
}

static struct tiles attn_tiles(const struct fj_choice *choice)
{
    const struct fj_attn *attn = &choice->problem.attn;
    const struct head_tiles tiles = head_tiles(choice);
    double heads = (double)(attn->batch * attn->heads_q) / knob(choice, FJ_KNOB_packgqa, 1);
    const double unequal =
        attn->causal == FAJIT_CAUSAL_NONE ? 1 : tiles.count; // others are as these
    double blocks = 0;
    for (double i = 0; i < unequal; i++)
        blocks += blocks_of(&tiles, i);
    return (struct tiles){.ctas = tiles.count * heads,
                          .blocks = blocks / unequal,
                          .useful = (double)attn->seq_q / (tiles.count * tiles.queries)};
}

static struct tiles gemm_tiles(const struct fj_choice *choice)
{
    const struct fj_gemm *gemm = &choice->problem.gemm;
    double bm = knob(choice, FJ_KNOB_bm, 64), bn = knob(choice, FJ_KNOB_bn, 64);
    double bk = knob(choice, FJ_KNOB_bk, 64), split = knob(choice, FJ_KNOB_splitk, 1);
    double m = (double)gemm->m, n = (double)gemm->n, batch = fmax((double)gemm->batch, 1);
    double down = ceil(m / bm), across = ceil(n / bn);
    return (struct tiles){
        .ctas = down * across * batch * split,
        .blocks = fmax(ceil((double)gemm->k / bk / split), 1),
        .useful = m * n / (down * bm * across * bn),
    };
}

static int resident_ctas(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    int smem = choice->kernel->smem_bytes(choice) + gpu->smem_reserved_bytes;
    int threads = choice->kernel->threads(choice);
    int by_smem = smem > 0 ? gpu->smem_per_sm_bytes / smem : gpu->blocks_per_sm;
    int by_threads = gpu->threads_per_sm / (threads > 0 ? threads : 128);
    // Tensor-core kernels take most of the registers: 128 of a thread is a fair guess.
    int by_registers = gpu->regs_per_sm / (128 * (threads > 0 ? threads : 128));
    int ctas = by_smem < by_threads ? by_smem : by_threads;
    ctas = ctas < by_registers ? ctas : by_registers;
    int aimed = choice->config.v[FJ_KNOB_ctas];
    if (aimed > 0 && choice->kernel->family == FAJIT_FAMILY_SM90 && aimed < ctas)
        ctas = aimed;
    return ctas < 1 ? 1 : ctas;
}

// Clocks of one block when `share` CTAs work on the SM at the same time, per CTA.
static double block_clocks(const struct fj_choice *choice, const struct fj_gpu *gpu, double share)
{
    const struct rates *r = rates_of(gpu);
    struct fj_cost cost = {0};
    choice->kernel->cost(choice, &cost);
    double tensor = cost.block_flops / flops_per_clock(choice, r);
    double exps = cost.block_exps / r->exps;
    double memory = cost.block_bytes / L2_BYTES_PER_CLOCK;
    double longest = fmax(tensor, fmax(exps, memory));
    double rest = tensor + exps + memory - longest;
    // Alone, a CTA hides a part of the shorter work behind the longest; its neighbours hide more.
    double stages = knob(choice, FJ_KNOB_stages, 2);
    double exposed = 0.5 / (share * fmin(stages, 3));
    return share * (longest + exposed * rest) + 60;
}

bool fj_model_applies(const struct fj_problem *problem)
{
    const struct fj_attn *a = &problem->attn;
    const struct fj_gemm *g = &problem->gemm;
    return problem->op == FAJIT_OP_GEMM
               ? g->m > 0 && g->n > 0 && g->k > 0
               : a->batch > 0 && a->heads_q > 0 && a->seq_q > 0 && a->seq_k > 0;
}

// KV blocks one after another where `slots` take the tiles of all heads, the longest first. What
// the last, unfinished wave adds is bounded by the shortest tile, which is taken last.
static double blocks_in_turn(const struct fj_choice *choice, const struct tiles *tiles,
                             double slots)
{
    const struct head_tiles own = head_tiles(choice);
    const double heads = tiles->ctas / own.count, rest = fmod(tiles->ctas, slots);
    double in_rest = 0;
    for (double i = 0; i * heads < rest; i++)
        in_rest += blocks_of(&own, i) * fmin(rest - i * heads, heads);
    double idle = rest > 0 ? fmax(blocks_of(&own, 0) - in_rest / slots, 0) : 0;
    return fmax(tiles->blocks * tiles->ctas / slots + idle, blocks_of(&own, own.count - 1));
}

// CTAs of average length of one SM after one another. Resident ones share out unequal tiles; where
// CTAs are started as others end, or all are equal, the last is as long as any.
static double turns_of(const struct fj_choice *choice, const struct tiles *tiles, double sms,
                       double share)
{
    const bool equal = choice->problem.op == FAJIT_OP_GEMM || !choice->problem.attn.causal;
    if (choice->problem.variant == FAJIT_VARIANT_PERSISTENT && !equal && tiles->blocks > 0)
        return blocks_in_turn(choice, tiles, sms * share) / tiles->blocks;
    return ceil(ceil(tiles->ctas / sms) / share);
}

void fj_model_predict(const struct fj_choice *choice, const struct fj_gpu *gpu,
                      struct fj_model *ret_model)
{
    const struct rates *r = rates_of(gpu);
    struct fj_model model = {.ctas_per_sm = resident_ctas(choice, gpu)};
    struct fj_cost cost = {0};
    choice->kernel->cost(choice, &cost);
    struct tiles tiles =
        choice->problem.op == FAJIT_OP_GEMM ? gemm_tiles(choice) : attn_tiles(choice);
    double mhz = gpu->clock_khz > 0 ? gpu->clock_khz / 1e3 : 1500;
    double sms = gpu->sm_count > 0 ? gpu->sm_count : 1;
    double bytes_per_us = 2.0 * gpu->memory_clock_khz * gpu->memory_bus_bits / 8 / 1e3;

    model.useful = tiles.useful;
    model.flops = tiles.ctas * tiles.blocks * cost.block_flops;
    model.bytes = tiles.ctas * tiles.blocks * cost.block_bytes;
    model.exps = tiles.ctas * tiles.blocks * cost.block_exps;
    model.waves = tiles.ctas / (sms * model.ctas_per_sm);
    model.tensor_us = cost.flops / (flops_per_clock(choice, r) * sms * mhz);
    model.exp_us = cost.exps / (r->exps * sms * mhz);
    model.memory_us = bytes_per_us > 0 ? cost.bytes / bytes_per_us : 0;

    // The last wave is as long as a full one; a SM with fewer CTAs runs each of them faster.
    double per_sm = ceil(tiles.ctas / sms);
    double share = fmin(per_sm, model.ctas_per_sm);
    double turns = turns_of(choice, &tiles, sms, share);
    double first = FIRST_EXPOSED * share * cost.block_bytes / L2_BYTES_PER_CLOCK;
    double clocks = turns * (tiles.blocks * block_clocks(choice, gpu, share) + CTA_CLOCKS + first);
    model.predicted_us = choice->kernel->predict_us
                             ? choice->kernel->predict_us(choice, gpu)
                             : fmax(clocks / mhz, model.memory_us) + LAUNCH_US;
    *ret_model = model;
}
