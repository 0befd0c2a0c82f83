// Which tile a matmul on Hopper gets when nobody fixed or tuned it: the one that a model of its
// time likes best.
#include "kernels/gemm_sm90_model.h"

#include "kernels/gemm_sm90.h"

#define BLOCK_K FJ_GEMM_SM90_BLOCK_K
#define PANEL_ROW_BYTES FJ_GEMM_SM90_ROW_BYTES

// A choice of tile.
struct candidate {
    int bm, bn, cluster, clustern, splitk;
};

static const struct candidate candidates[] = {
    {64, 64, 1, 1, 1},   {64, 128, 1, 1, 1},  {64, 256, 1, 1, 1},  {128, 64, 1, 1, 1},
    {128, 128, 1, 1, 1}, {128, 192, 1, 1, 1}, {128, 256, 1, 1, 1}, {192, 128, 1, 1, 1},
    {192, 192, 1, 1, 1}, {128, 128, 2, 1, 1}, {128, 208, 2, 1, 1}, {128, 224, 2, 1, 1},
    {128, 256, 2, 1, 1}, {192, 128, 2, 1, 1}, {192, 128, 1, 2, 1}, {192, 192, 1, 2, 1},
    {128, 192, 1, 2, 1}, {128, 256, 1, 2, 1}, {64, 64, 1, 1, 2},   {64, 64, 1, 1, 4},
    {64, 64, 1, 1, 8},   {64, 128, 1, 1, 2},  {64, 128, 1, 1, 4},  {64, 128, 1, 1, 8},
    {64, 256, 1, 1, 4},  {128, 128, 1, 1, 2}, {128, 128, 1, 1, 4}, {128, 192, 1, 1, 4},
    {128, 256, 1, 1, 4},
};

static int64_t div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

// What the model below knows of a Hopper GPU, in clocks of an SM. Fitted to some 1500 timings of 50
// shapes on an H200 (tests/notes/gemm_sm90.md).
#define CLOCK_MHZ 1785          // should the driver not tell
#define CLOCKS_LAUNCH 7700      // of a launch that does next to nothing
#define CLOCKS_TILE 910         // of a tile, beside its steps, ..
#define CLOCKS_AREA 0.058       // .. and for each of its elements
#define CLOCKS_CLUSTER 1660     // more for a launch in clusters
#define CLOCKS_SPLIT 2900       // of adding up over a cluster, ..
#define CLOCKS_SPLIT_AREA 0.177 // .. for each element of the tile, ..
#define CLOCKS_SPLIT_MEMORY 400 // .. and for each split, where memory sets the pace
#define PRODUCT_SLOWNESS 1.2    // of the tensor cores, over their rate on paper
#define UNEVEN_SLOWNESS 1.05    // more, where a tile's columns end within a panel
#define L2_CLOCKS 0.0206        // of an SM per byte from L2, while all SMs read ..
#define L2_CLOCKS_LEAST 0.0127  // .. and alone
#define L2_MISALIGNED 1.47      // factor for rows that begin off 128 bytes
#define MEMORY_CLOCKS 0.00058   // of the GPU per byte from memory ..
#define MEMORY_NARROW 6.2       // .. a factor 1 + this / bn slower
#define OVERLAP_LOSS 0.02       // of the shorter one of computing and reading memory
#define MEMORY_AGAIN 0.1        // part of B that is read again for a second row of tiles

// Clocks of the k steps of one CTA: each as long as the slower one of products and loads.
static double estimate_steps(const struct candidate *c, const struct fj_gemm_sizes *s,
                             const struct fj_gpu *gpu, int64_t ctas)
{
    double steps = (double)div_up(div_up(s->k, BLOCK_K), c->splitk);
    double products = c->bm / 64 * 4 * (c->bn / 2) * PRODUCT_SLOWNESS;
    if (c->bn % 64 != 0)
        products *= UNEVEN_SLOWNESS;
    double rows_a = (double)c->bm / c->clustern * (s->k % 64 ? L2_MISALIGNED : 1);
    double rows_b = (double)div_up(c->bn, 64) * 64 / c->cluster * (s->n % 64 ? L2_MISALIGNED : 1);
    double busy = ctas < gpu->sm_count ? (double)ctas / gpu->sm_count : 1;
    double rate = busy * L2_CLOCKS > L2_CLOCKS_LEAST ? busy * L2_CLOCKS : L2_CLOCKS_LEAST;
    double loads = (rows_a + rows_b) * PANEL_ROW_BYTES * rate;
    return steps * (products > loads ? products : loads);
}

// Clocks that the memory needs.
static double estimate_memory(const struct candidate *c, const struct fj_gemm_sizes *s)
{
    double again = s->m > c->bm ? 1 + MEMORY_AGAIN : 1;
    double a = (double)(s->m * s->k), b = (double)(s->k * s->n) * again,
           out = (double)(s->m * s->n);
    double bytes = 2.0 * (double)s->batch * (a + b + out);
    double split = c->splitk > 1 ? c->splitk * CLOCKS_SPLIT_MEMORY : 0;
    return bytes * MEMORY_CLOCKS * (1 + MEMORY_NARROW / c->bn) + split;
}

// Clocks of a launch: waves of CTAs, or what the memory needs if that is more.
static double estimate(const struct candidate *c, const struct fj_gemm_sizes *s,
                       const struct fj_gpu *gpu)
{
    int size = c->cluster * c->clustern * c->splitk;
    int64_t rows = div_up(div_up(s->m, c->bm), c->cluster) * c->cluster;
    int64_t columns = div_up(div_up(s->n, c->bn), c->clustern) * c->clustern;
    int64_t tiles = rows * columns * s->batch;
    // Clusters stay within a GPC, whose SMs larger ones do not divide evenly.
    int64_t slots =
        (size < 4 ? gpu->sm_count : gpu->sm_count / 16 * 16) / size * c->cluster * c->clustern;
    int64_t waves = div_up(tiles, slots > 0 ? slots : 1);
    double area = (double)c->bm * c->bn;
    double clocks = (double)waves * (estimate_steps(c, s, gpu, tiles * c->splitk) + CLOCKS_TILE +
                                     area * CLOCKS_AREA);
    if (c->splitk > 1)
        clocks += CLOCKS_SPLIT + area * CLOCKS_SPLIT_AREA;
    if (c->cluster * c->clustern > 1)
        clocks += CLOCKS_CLUSTER;
    double memory = estimate_memory(c, s);
    return CLOCKS_LAUNCH +
           (clocks > memory ? clocks + OVERLAP_LOSS * memory : memory + OVERLAP_LOSS * clocks);
}

static bool agrees(const struct candidate *c, const struct fj_choice *choice)
{
    const struct fj_config *config = &choice->config;
    const struct fj_gemm *gemm = &choice->problem.gemm;
    return (!FJ_CFG(config, cluster) || FJ_CFG(config, cluster) == c->cluster) &&
           (!FJ_CFG(config, clustern) || FJ_CFG(config, clustern) == c->clustern) &&
           (!FJ_CFG(config, splitk) || FJ_CFG(config, splitk) == c->splitk) &&
           FJ_CFG(config, swap) != 1 && (FJ_CFG(config, streamk) != 1 || c->splitk == 1) &&
           c->bm % (c->clustern * (gemm->trans_a ? 64 : 8)) == 0;
}

void fj_gemm_sm90_choose_tile(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    struct fj_gemm_sizes sizes = fj_gemm_sizes(&choice->problem.gemm, FJ_GEMM_SM90_UNKNOWN);
    struct fj_config *config = &choice->config;
    struct candidate best = {128, 256, 1, 1, 1};
    double least = 0;
    for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        double clocks = estimate(&candidates[i], &sizes, gpu);
        if (agrees(&candidates[i], choice) && (least == 0 || clocks < least)) {
            best = candidates[i];
            least = clocks;
        }
    }
    fj_gemm_default(config, FJ_KNOB_bm, best.bm);
    fj_gemm_default(config, FJ_KNOB_bn, best.bn);
    fj_gemm_default(config, FJ_KNOB_bk, BLOCK_K);
    fj_gemm_default(config, FJ_KNOB_cluster, best.cluster);
    fj_gemm_default(config, FJ_KNOB_clustern, best.clustern);
    fj_gemm_default(config, FJ_KNOB_splitk, best.splitk);
}

double fj_gemm_sm90_predict_us(const struct fj_choice *choice, const struct fj_gpu *gpu)
{
    const struct fj_choice computed = fj_gemm_sm90_computed(choice);
    const struct fj_config *config = &computed.config;
    const struct candidate own = {FJ_CFG(config, bm), FJ_CFG(config, bn), FJ_CFG(config, cluster),
                                  FJ_CFG(config, clustern), FJ_CFG(config, splitk)};
    struct fj_gemm_sizes sizes = fj_gemm_sizes(&computed.problem.gemm, FJ_GEMM_SM90_UNKNOWN);
    const double mhz = gpu->clock_khz > 0 ? gpu->clock_khz / 1e3 : CLOCK_MHZ;
    // Of two that are each other's mirror image, what needs no exchange of roles comes first.
    const double roles = FJ_CFG(&choice->config, swap) == 1 ? 1.01 : 1;
    return roles * estimate(&own, &sizes, gpu) / mhz;
}
