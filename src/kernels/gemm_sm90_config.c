// Configurations of templates/gemm_sm90.cu: which there are, and which it takes by itself.
#include "kernels/gemm_sm90.h"
#include "kernels/gemm_sm90_model.h"

#define BLOCK_K FJ_GEMM_SM90_BLOCK_K
#define PANEL_BYTES (64 * FJ_GEMM_SM90_ROW_BYTES)
#define STAGES_MAX 16
#define BUFFERS_C 2 // panels of C per warpgroup that shares none with another
#define BARRIER_BYTES 8

static void exchange(int16_t *a, int16_t *b)
{
    int16_t other = *a;
    *a = *b;
    *b = other;
}

static bool is_swapped(const struct fj_choice *choice)
{
    return FJ_CFG(&choice->config, swap) == 1;
}

struct fj_choice fj_gemm_sm90_computed(const struct fj_choice *choice)
{
    struct fj_choice computed = *choice;
    struct fj_gemm *gemm = &computed.problem.gemm;
    struct fj_config *config = &computed.config;
    if (!is_swapped(choice))
        return computed;
    gemm->m = choice->problem.gemm.n;
    gemm->n = choice->problem.gemm.m;
    gemm->trans_a = !choice->problem.gemm.trans_b;
    gemm->trans_b = !choice->problem.gemm.trans_a;
    exchange(&FJ_CFG(config, bm), &FJ_CFG(config, bn));
    exchange(&FJ_CFG(config, cluster), &FJ_CFG(config, clustern));
    FJ_CFG(config, swap) = 2;
    return computed;
}

bool fj_gemm_sm90_rows_are_whole(int64_t columns, enum fajit_dtype out)
{
    return columns * (int64_t)fajit_dtype_bytes(out) % 16 == 0;
}

bool fj_gemm_sm90_stores_by_tma(const struct fj_choice *computed)
{
    return computed->problem.gemm.out_dtype != FAJIT_F32 && FJ_CFG(&computed->config, splitk) == 1;
}

int fj_gemm_sm90_loaded_columns(const struct fj_choice *computed)
{
    int bn = FJ_CFG(&computed->config, bn);
    return computed->problem.gemm.trans_b ? bn : (bn + 63) / 64 * 64;
}

static int bytes_per_stage(const struct fj_choice *computed)
{
    int rows = FJ_CFG(&computed->config, bm) + fj_gemm_sm90_loaded_columns(computed);
    return rows * FJ_GEMM_SM90_ROW_BYTES + 2 * BARRIER_BYTES;
}

// Panels of C, and the barriers of warpgroups that take turns with them.
static int bytes_of_c(const struct fj_choice *computed)
{
    const struct fj_config *config = &computed->config;
    int warpgroups = FJ_CFG(config, bm) / 64;
    if (!fj_gemm_sm90_stores_by_tma(computed))
        return 0;
    if (FJ_CFG(config, pingpong) != 1)
        return warpgroups * BUFFERS_C * PANEL_BYTES;
    return (FJ_CFG(config, bn) + 63) / 64 * PANEL_BYTES + 2 * warpgroups * BARRIER_BYTES;
}

int fj_gemm_sm90_smem(const struct fj_choice *computed)
{
    return FJ_CFG(&computed->config, stages) * bytes_per_stage(computed) + bytes_of_c(computed);
}

// --- Rules ------------------------------------------------------------------------------------

static bool one_of(int value, const int *list)
{
    while (*list != 0 && *list != value)
        list++;
    return *list != 0;
}

// `rows` and `columns` are what the knobs of the tile's sides are called.
static int check_tile(const struct fj_choice *computed, const char *rows, const char *columns)
{
    int bm = FJ_CFG(&computed->config, bm), bn = FJ_CFG(&computed->config, bn);
    if (!one_of(bm, (const int[]){64, 128, 192, 0}))
        return fj_err(FAJIT_E_INVAL,
                      "%s=%d: it may be 64, 128 or 192 here (swap=1 exchanges the "
                      "roles of bm and bn)",
                      rows, bm);
    if (bn < 16 || bn > 320 || bn % 8 != 0 || (bn > 256 && bn % 16 != 0))
        return fj_err(FAJIT_E_INVAL,
                      "%s=%d: it may be 16 to 256 in steps of 8 here, or up to 320 in steps of 16",
                      columns, bn);
    if (bn > 256 && !computed->problem.gemm.trans_b)
        return fj_err(FAJIT_E_INVAL,
                      "%s=%d: more than 256 are two products side by side, for which k must be "
                      "contiguous in memory; take swap=%d or 256",
                      columns, bn, *columns == 'b' && columns[1] == 'n' ? 1 : 2);
    if (bm == 192 && bn > 192)
        return fj_err(FAJIT_E_INVAL,
                      "%s=192 gives a thread 128 registers to begin with, too few for %s=%d; take "
                      "192 or less",
                      rows, columns, bn);
    if (FJ_CFG(&computed->config, bk) != BLOCK_K)
        return fj_err(FAJIT_E_INVAL, "bk=%d: it is %d, one row of the 128-byte swizzle",
                      FJ_CFG(&computed->config, bk), BLOCK_K);
    return FAJIT_OK;
}

static int check_cluster(const struct fj_config *config)
{
    int rows = FJ_CFG(config, cluster), columns = FJ_CFG(config, clustern);
    const int sizes[] = {1, 2, 4, 8, 0};
    if (!one_of(rows, sizes) || !one_of(columns, sizes))
        return fj_err(FAJIT_E_INVAL, "cluster=%d, clustern=%d: they may be 1, 2, 4 or 8", rows,
                      columns);
    if (rows * columns > 8)
        return fj_err(FAJIT_E_INVAL, "cluster=%d by clustern=%d: a cluster has at most 8 CTAs",
                      rows, columns);
    return FAJIT_OK;
}

static int check_splits(const struct fj_choice *computed)
{
    const struct fj_config *config = &computed->config;
    int splitk = FJ_CFG(config, splitk), bn = FJ_CFG(config, bn);
    if (!one_of(splitk, (const int[]){1, 2, 4, 8, 0}))
        return fj_err(FAJIT_E_INVAL, "splitk=%d: it may be 1, 2, 4 or 8", splitk);
    if (splitk == 1)
        return FAJIT_OK;
    if (FJ_CFG(config, cluster) * FJ_CFG(config, clustern) > 1)
        return fj_err(FAJIT_E_INVAL,
                      "splitk=%d makes a cluster of its own: cluster and clustern must be 1",
                      splitk);
    if (FJ_CFG(config, streamk) == 1)
        return fj_err(FAJIT_E_INVAL,
                      "splitk=%d with streamk=1: either shares tiles along k; take one", splitk);
    if (bn / 8 % splitk != 0)
        return fj_err(FAJIT_E_INVAL,
                      "splitk=%d: each CTA adds up an equal part of the tile, and %d is no "
                      "multiple of %d",
                      splitk, bn, 8 * splitk);
    if (FJ_CFG(config, pingpong) == 1)
        return fj_err(
            FAJIT_E_INVAL,
            "splitk=%d with pingpong=1: the exchange of sums wants both warpgroups at the "
            "same tile; take pingpong=2",
            splitk);
    int sums = FJ_CFG(config, bm) * bn * 4;
    if (sums > FJ_CFG(config, stages) * bytes_per_stage(computed))
        return fj_err(FAJIT_E_INVAL,
                      "splitk=%d: the stages hold the sums of the tile at its end, %d bytes; take "
                      "more stages",
                      splitk, sums);
    return FAJIT_OK;
}

static int check_switches(const struct fj_choice *choice, const struct fj_choice *computed)
{
    const struct fj_config *config = &computed->config;
    int stages = FJ_CFG(config, stages), pingpong = FJ_CFG(config, pingpong),
        streamk = FJ_CFG(config, streamk);
    if (stages < 2 || stages > STAGES_MAX)
        return fj_err(FAJIT_E_INVAL, "stages=%d: it may be 2 to %d", stages, STAGES_MAX);
    if (pingpong > 2 || (pingpong == 1 && FJ_CFG(config, bm) != 128))
        return fj_err(FAJIT_E_INVAL,
                      "pingpong=%d: it may be 2, or 1 with two warpgroups: 128 rows, or columns "
                      "with swap=1",
                      pingpong);
    if (FJ_CFG(&choice->config, swap) > 2 || streamk > 2)
        return fj_err(FAJIT_E_INVAL, "swap=%d, streamk=%d: they may be 1 or 2",
                      FJ_CFG(&choice->config, swap), streamk);
    if (streamk == 1 && choice->problem.variant != FAJIT_VARIANT_PERSISTENT)
        return fj_err(FAJIT_E_INVAL, "streamk=1 wants resident CTAs: take variant=persistent");
    // A panel is stored once, as beta reads what is there.
    if (is_swapped(choice) && choice->problem.gemm.beta && FJ_CFG(config, bn) > 64 &&
        FJ_CFG(config, bn) % 16 != 0)
        return fj_err(FAJIT_E_INVAL, "swap=1 with beta: bm=%d is no multiple of 16",
                      FJ_CFG(config, bn));
    return FAJIT_OK;
}

// --- Defaults ---------------------------------------------------------------------------------

// A tile whose rows wgmma cannot have, or could have but for its columns.
static int default_swap(const struct fj_config *config)
{
    const int rows[] = {64, 128, 192, 0};
    return !one_of(FJ_CFG(config, bm), rows) && one_of(FJ_CFG(config, bn), rows) ? 1 : 2;
}

static int stages_that_fit(const struct fj_choice *computed, const struct fj_gpu *gpu)
{
    int left = gpu->smem_per_block_bytes - bytes_of_c(computed);
    int stages = left / bytes_per_stage(computed);
    return stages < STAGES_MAX ? stages : STAGES_MAX;
}

// About 2048 rows: with 132 SMs, what runs at the same time is then as wide as high.
static int default_group(const struct fj_choice *computed)
{
    int group = 2048 / (FJ_CFG(&computed->config, bm) * FJ_CFG(&computed->config, cluster));
    return group > 0 ? group : 1;
}

static void choose_variant(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    if (choice->problem.variant != FAJIT_VARIANT_AUTO)
        return;
    const struct fj_config *config = &choice->config;
    struct fj_gemm_sizes s = fj_gemm_sizes(&choice->problem.gemm, FJ_GEMM_SM90_UNKNOWN);
    int64_t tiles = fj_gemm_sm90_div_up(s.m, FJ_CFG(config, bm)) *
                    fj_gemm_sm90_div_up(s.n, FJ_CFG(config, bn)) * s.batch;
    bool several = tiles * FJ_CFG(config, splitk) > gpu->sm_count || FJ_CFG(config, streamk) == 1;
    choice->problem.variant = several ? FAJIT_VARIANT_PERSISTENT : FAJIT_VARIANT_V2;
}

// Staggered warpgroups pay when a CTA has several tiles: a lone tile only ends later.
static int default_pingpong(const struct fj_choice *computed)
{
    const struct fj_config *config = &computed->config;
    bool several = computed->problem.variant == FAJIT_VARIANT_PERSISTENT;
    return several && FJ_CFG(config, bm) == 128 && FJ_CFG(config, splitk) == 1 ? 1 : 2;
}

// Every knob that follows from the tile and the problem.
static void set_defaults(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    struct fj_config *config = &choice->config;
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    fj_config_default(config, FJ_KNOB_group, default_group(&computed));
    choose_variant(gpu, choice);
    computed.problem.variant = choice->problem.variant;
    fj_config_default(config, FJ_KNOB_pingpong, default_pingpong(&computed));
    FJ_CFG(&computed.config, pingpong) = FJ_CFG(config, pingpong);
    fj_config_default(config, FJ_KNOB_stages, stages_that_fit(&computed, gpu));
}

static int take_tile(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    struct fj_config *config = &choice->config;
    bool given;
    int r = fj_gemm_tile_given(config, &given);
    if (r < 0)
        return r;
    if (!given)
        fj_gemm_sm90_choose_tile(gpu, choice);
    fj_config_default(config, FJ_KNOB_swap, default_swap(config));
    fj_config_default(config, FJ_KNOB_cluster, 1);
    fj_config_default(config, FJ_KNOB_clustern, 1);
    fj_config_default(config, FJ_KNOB_splitk, 1);
    fj_config_default(config, FJ_KNOB_streamk, 2);
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    bool swapped = is_swapped(choice);
    return check_tile(&computed, swapped ? "bn" : "bm", swapped ? "bm" : "bn");
}

int fj_gemm_sm90_configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    static const enum fj_knob allowed[] = {FJ_KNOB_bm,     FJ_KNOB_bn,       FJ_KNOB_bk,
                                           FJ_KNOB_stages, FJ_KNOB_cluster,  FJ_KNOB_clustern,
                                           FJ_KNOB_splitk, FJ_KNOB_streamk,  FJ_KNOB_swap,
                                           FJ_KNOB_group,  FJ_KNOB_pingpong, FJ_KNOB_COUNT};
    int r = fj_config_knobs_check(&choice->config, allowed);
    if (r == FAJIT_OK)
        r = take_tile(gpu, choice);
    if (r < 0)
        return r;
    set_defaults(gpu, choice);
    const struct fj_gemm *gemm = &choice->problem.gemm;
    struct fj_choice computed = fj_gemm_sm90_computed(choice);
    if (fj_gemm_sm90_stores_by_tma(&computed) &&
        !fj_gemm_sm90_rows_are_whole(gemm->n, gemm->out_dtype))
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "a row of C has %lld elements, and tensor stores write whole 16 bytes",
                      (long long)gemm->n);
    r = check_cluster(&computed.config);
    if (r == FAJIT_OK)
        r = check_splits(&computed);
    return r == FAJIT_OK ? check_switches(choice, &computed) : r;
}
