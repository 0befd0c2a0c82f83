// Which tile a matmul on Hopper gets when nobody fixed or tuned it: the one that a model of its
// time likes best.
#include "kernels/gemm_sm90_model.h"

#include <math.h>

#include "kernels/gemm_sm90.h"

#define BLOCK_K FJ_GEMM_SM90_BLOCK_K
#define ROW_BYTES FJ_GEMM_SM90_ROW_BYTES

// What the model knows of a Hopper GPU, in clocks of an SM. Fitted to some 10400 timings of 150
// shapes on an H200 (tests/notes/gemm_sm90.md).
#define CLOCK_MHZ 1785          // should the driver not tell
#define CLOCKS_LAUNCH 8906      // of a launch that does next to nothing
#define CLOCKS_TILE 207         // of a tile, beside its steps, ..
#define CLOCKS_AREA 0.0728      // .. and for each of its elements
#define CLOCKS_STEP_LEAST 147   // of a step, however small
#define COLUMNS_LEAST 61        // narrower products take the tensor cores as long
#define PRODUCT_SLOWNESS 1.067  // of the tensor cores, over their rate on paper, ..
#define UNEVEN_SLOWNESS 1.044   // .. more, where a panel of B is fetched but in part, ..
#define THREE_SLOWNESS 1.045    // .. or three warpgroups compute, ..
#define POWER_SLOWNESS 0.0911   // .. and what the clock loses in launches as long ..
#define POWER_CLOCKS 8.4e6      // .. as this
#define L2_CLOCKS 0.01091       // of an SM per byte from L2, while all SMs read ..
#define L2_CLOCKS_LEAST 0.00457 // .. and alone
#define L2_MISALIGNED 1.705     // more for a row that begins off 128 bytes
#define STEP_OVERLAP_LOSS 0.16  // of the shorter one of products and loads
#define CLUSTER_CLOCKS 2092     // more for a launch in clusters, ..
#define CLUSTER_SLOWNESS 0.0415 // .. and of its steps, for each doubling
#define SPLIT_CLOCKS 1283       // of adding up over a cluster, ..
#define SPLIT_AREA 0.136        // .. for each element of the tile, ..
#define SPLIT_MEMORY 472        // .. and for each split, where memory sets the pace
#define SHARE_CLOCKS 6538       // of handing over sums of shared tiles, ..
#define SHARE_AREA 0.263        // .. for each element, ..
#define SHARE_SLOWNESS 0.119    // .. and of the steps: neighbours read other parts of A and B
#define SHARES_MAX 8            // clusters that share a tile
#define TURNED_SLOWNESS 0.007   // where C is computed transposed
#define MEMORY_CLOCKS 0.0003231 // of the GPU per byte from memory, ..
#define MEMORY_NARROW 8.152     // .. a factor 1 + this / columns of the tile slower, ..
#define MEMORY_CTAS 0.34        // .. if that part of the SMs reads
#define MEMORY_AGAIN 0.803      // part of B that is read again for a second row of tiles
#define OVERLAP_LOSS 0.2477     // of the shorter one of computing and reading memory

// The product that is computed: with roles swapped, rows are columns of C.
struct product {
    int64_t batch, m, n, k;
    bool swapped, along_k_b; // B: k is contiguous in memory
    double slow_a, slow_b;   // reading its rows, over rows that begin at 128 bytes
};

// A configuration, in that product's terms.
struct candidate {
    int bm, bn, cluster, clustern, splitk;
    bool streamk;
};

// How much longer the loads of rows take that lie as many elements apart.
static double misaligned(int64_t row)
{
    double off = row % 64 == 0 ? 0 : row % 32 == 0 ? 0.5 : row % 16 == 0 ? 0.75 : 0.875;
    return 1 + L2_MISALIGNED * off;
}

static struct product product_of(const struct fj_gemm *gemm, bool swapped)
{
    struct fj_gemm_sizes s = fj_gemm_sizes(gemm, FJ_GEMM_SM90_UNKNOWN);
    struct product p = {.batch = s.batch, .m = s.m, .n = s.n, .k = s.k, .swapped = swapped};
    bool along_k_a = !gemm->trans_a;
    p.along_k_b = gemm->trans_b;
    if (swapped) {
        p.m = s.n;
        p.n = s.m;
        along_k_a = gemm->trans_b;
        p.along_k_b = !gemm->trans_a;
    }
    p.slow_a = misaligned(along_k_a ? p.k : p.m);
    p.slow_b = misaligned(p.along_k_b ? p.k : p.n);
    return p;
}

static int64_t div_up(int64_t a, int64_t b)
{
    return fj_gemm_sm90_div_up(a, b);
}

static double steps_of(const struct product *p)
{
    return (double)div_up(p->k, BLOCK_K);
}

// Tiles, those counted in that clusters have beyond the matrix.
static double count_tiles(const struct candidate *c, const struct product *p)
{
    int64_t rows = div_up(div_up(p->m, c->bm), c->cluster) * c->cluster;
    int64_t columns = div_up(div_up(p->n, c->bn), c->clustern) * c->clustern;
    return (double)(rows * columns * p->batch);
}

// Tiles that are worked on at the same time. Clusters stay within a GPC, whose SMs larger ones do
// not divide evenly.
static double count_slots(const struct candidate *c, const struct fj_gpu *gpu)
{
    int tiles = c->cluster * c->clustern, size = tiles * c->splitk;
    double sms = size <= 2 ? gpu->sm_count : 0.91 * gpu->sm_count;
    return fmax(floor(sms / size), 1) * tiles;
}

// Clocks of the products of one step.
static double product_clocks(const struct candidate *c, const struct product *p)
{
    double clocks = c->bm / 64 * 4 * fmax(c->bn, COLUMNS_LEAST) / 2 * PRODUCT_SLOWNESS;
    if (!p->along_k_b && c->bn % 64 != 0)
        clocks *= UNEVEN_SLOWNESS;
    return c->bm == 192 ? clocks * THREE_SLOWNESS : clocks;
}

// Clocks of one k step of a CTA while `ctas` run: the longer one of products and loads.
static double step_clocks(const struct candidate *c, const struct product *p,
                          const struct fj_gpu *gpu, double ctas)
{
    double products = product_clocks(c, p);
    int columns = p->along_k_b ? c->bn : (c->bn + 63) / 64 * 64;
    double rows = c->bm * p->slow_a / c->clustern + columns * p->slow_b / c->cluster;
    double busy = fmin(ctas / gpu->sm_count, 1);
    double loads = rows * ROW_BYTES * fmax(busy * L2_CLOCKS, L2_CLOCKS_LEAST);
    double both = fmax(products, loads) + STEP_OVERLAP_LOSS * fmin(products, loads);
    double doublings = log2(c->cluster * c->clustern);
    return fmax(both, CLOCKS_STEP_LEAST) * (1 + CLUSTER_SLOWNESS * doublings);
}

// Clocks of all tiles, without what the memory may need longer.
static double tiles_clocks(const struct candidate *c, const struct product *p,
                           const struct fj_gpu *gpu)
{
    double tiles = count_tiles(c, p), slots = count_slots(c, gpu), waves = ceil(tiles / slots);
    double step = step_clocks(c, p, gpu, tiles * c->splitk), area = (double)c->bm * c->bn;
    double steps = (double)div_up(div_up(p->k, BLOCK_K), c->splitk);
    double clocks = waves * (steps * step + CLOCKS_TILE + area * CLOCKS_AREA);
    if (c->streamk) {
        double share = tiles * steps / fmin(slots, tiles * SHARES_MAX);
        clocks = share * step * (1 + SHARE_SLOWNESS) + waves * CLOCKS_TILE + SHARE_CLOCKS +
                 area * (CLOCKS_AREA + SHARE_AREA);
    }
    if (p->swapped)
        clocks *= 1 + TURNED_SLOWNESS;
    clocks *= 1 + POWER_SLOWNESS * fmin(clocks / POWER_CLOCKS, 1);
    if (c->splitk > 1)
        clocks += SPLIT_CLOCKS + area * SPLIT_AREA;
    return c->cluster * c->clustern > 1 ? clocks + CLUSTER_CLOCKS : clocks;
}

// Clocks that the memory needs.
static double memory_clocks(const struct candidate *c, const struct product *p,
                            const struct fj_gpu *gpu)
{
    // Of C = A B, whatever is computed.
    int64_t m = p->swapped ? p->n : p->m, n = p->swapped ? p->m : p->n;
    int rows = p->swapped ? c->bn : c->bm, columns = p->swapped ? c->bm : c->bn;
    double again = m > rows ? 1 + MEMORY_AGAIN : 1;
    if (!p->along_k_b) // panels reach into the neighbours' columns
        again *= (double)div_up(c->bn, 64) * 64 / c->bn;
    double elements = (double)(m * p->k) + (double)(p->k * n) * again + (double)(m * n);
    double ctas = fmin(count_tiles(c, p) * c->splitk, gpu->sm_count);
    double few = fmax(MEMORY_CTAS * gpu->sm_count / ctas, 1);
    double split = c->splitk > 1 ? c->splitk * SPLIT_MEMORY : 0;
    return 2 * (double)p->batch * elements * MEMORY_CLOCKS * few * (1 + MEMORY_NARROW / columns) +
           split;
}

static double estimate(const struct candidate *c, const struct product *p, const struct fj_gpu *gpu)
{
    double tiles = tiles_clocks(c, p, gpu), memory = memory_clocks(c, p, gpu);
    return CLOCKS_LAUNCH + fmax(tiles, memory) + OVERLAP_LOSS * fmin(tiles, memory);
}

// --- Choice -----------------------------------------------------------------------------------

struct search {
    const struct fj_gpu *gpu;
    const struct fj_config *fixed; // 0: free
    struct product product;
    struct candidate best;
    bool best_swapped;
    double least; // clocks
};

static bool is_free(int fixed, int value)
{
    return fixed == 0 || fixed == value;
}

static void try_candidate(struct search *s, const struct candidate *c)
{
    const struct fj_config *fixed = s->fixed;
    bool swapped = s->product.swapped;
    if (!is_free(FJ_CFG(fixed, cluster), swapped ? c->clustern : c->cluster) ||
        !is_free(FJ_CFG(fixed, clustern), swapped ? c->cluster : c->clustern) ||
        !is_free(FJ_CFG(fixed, splitk), c->splitk) ||
        !is_free(FJ_CFG(fixed, streamk), c->streamk ? 1 : 2))
        return;
    double clocks = estimate(c, &s->product, s->gpu);
    if (s->least > 0 && clocks >= s->least)
        return;
    s->least = clocks;
    s->best = *c;
    s->best_swapped = swapped;
}

// A tile with every way to share work among CTAs.
static void try_tile(struct search *s, int bm, int bn)
{
    static const struct {
        int rows, columns;
    } clusters[] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}, {4, 2}, {2, 4}};
    struct candidate c = {bm, bn, 1, 1, 1, false};
    // However the work is shared, the tensor cores have as much of it.
    double products =
        count_tiles(&c, &s->product) * steps_of(&s->product) * product_clocks(&c, &s->product);
    if (s->least > 0 && CLOCKS_LAUNCH + products / s->gpu->sm_count >= s->least)
        return;
    for (size_t i = 0; i < sizeof(clusters) / sizeof(clusters[0]); i++) {
        c.cluster = clusters[i].rows;
        c.clustern = clusters[i].columns;
        try_candidate(s, &c);
        c.streamk = true;
        if (i < 3 && bm * bn >= 128 * 64)
            try_candidate(s, &c);
        c.streamk = false;
    }
    c.cluster = c.clustern = 1;
    for (c.splitk = 2; c.splitk <= 8 && bn / 8 % c.splitk == 0; c.splitk *= 2)
        if (bm * bn <= 128 * 256)
            try_candidate(s, &c);
}

// Tiles of every width the kernel has for B's layout, the narrowest of those that give as many.
static void try_tiles(struct search *s, int bm)
{
    const struct product *p = &s->product;
    int step = p->along_k_b ? 8 : 32, most = bm == 192 ? 192 : p->along_k_b ? 320 : 256;
    int64_t last = 0;
    for (int bn = p->along_k_b ? 16 : 64; bn <= most; bn += bn < 256 ? step : 16) {
        int64_t tiles = div_up(p->n, bn);
        if (tiles != last)
            try_tile(s, bm, bn);
        last = tiles;
    }
}

void fj_gemm_sm90_choose_tile(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    struct fj_config *config = &choice->config;
    struct search s = {.gpu = gpu, .fixed = config};
    for (int swap = 2; swap >= 1; swap--) {
        s.product = product_of(&choice->problem.gemm, swap == 1);
        if (is_free(FJ_CFG(config, swap), swap))
            for (int bm = 64; bm <= 192; bm += 64)
                try_tiles(&s, bm);
    }
    if (s.least == 0) // what is fixed fits no candidate: the rules will say why, if they refuse it
        s.best = (struct candidate){128, 128, 1, 1, 1, false};
    fj_config_default(config, FJ_KNOB_bm, s.best_swapped ? s.best.bn : s.best.bm);
    fj_config_default(config, FJ_KNOB_bn, s.best_swapped ? s.best.bm : s.best.bn);
    fj_config_default(config, FJ_KNOB_bk, BLOCK_K);
    fj_config_default(config, FJ_KNOB_cluster, s.best_swapped ? s.best.clustern : s.best.cluster);
    fj_config_default(config, FJ_KNOB_clustern, s.best_swapped ? s.best.cluster : s.best.clustern);
    fj_config_default(config, FJ_KNOB_splitk, s.best.splitk);
    fj_config_default(config, FJ_KNOB_streamk, s.best.streamk ? 1 : 2);
    fj_config_default(config, FJ_KNOB_swap, s.best_swapped ? 1 : 2);
}

double fj_gemm_sm90_predict_us(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    const struct fj_choice computed = fj_gemm_sm90_computed(choice);
    const struct fj_config *config = &computed.config;
    const struct candidate own = {FJ_CFG(config, bm),      FJ_CFG(config, bn),
                                  FJ_CFG(config, cluster), FJ_CFG(config, clustern),
                                  FJ_CFG(config, splitk),  FJ_CFG(config, streamk) == 1};
    const struct product product =
        product_of(&choice->problem.gemm, FJ_CFG(&choice->config, swap) == 1);
    const double mhz = gpu->clock_khz > 0 ? gpu->clock_khz / 1e3 : CLOCK_MHZ;
    return estimate(&own, &product, gpu) / mhz;
}
