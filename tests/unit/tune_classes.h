// Two made-up kernel classes, for tests of the tuner that need no template.
#ifndef FJ_TESTS_UNIT_TUNE_CLASSES_H
#define FJ_TESTS_UNIT_TUNE_CLASSES_H

#include "base/thread.h"
#include "kernels/kernel.h"

#define FAKE_DEFAULT_BM 96

static int fake_check(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    (void)gpu;
    return problem->variant == FAJIT_VARIANT_PERSISTENT
               ? fj_err(FAJIT_E_UNSUPPORTED, "only v2 exists")
               : FAJIT_OK;
}

static int fake_check_any(const struct fj_problem *problem, const struct fj_gpu *gpu)
{
    (void)problem;
    (void)gpu;
    return FAJIT_OK;
}

static int fake_configure(const struct fj_gpu *gpu, struct fj_choice *choice)
{
    (void)gpu;
    struct fj_config *config = &choice->config;
    if (choice->problem.variant == FAJIT_VARIANT_AUTO)
        choice->problem.variant = FAJIT_VARIANT_V2;
    if (!FJ_CFG(config, bm))
        FJ_CFG(config, bm) = FAKE_DEFAULT_BM;
    if (!FJ_CFG(config, bn))
        FJ_CFG(config, bn) = 32;
    return FJ_CFG(config, bm) % 16 ? fj_err(FAJIT_E_INVAL, "bm is no multiple of 16") : FAJIT_OK;
}

static int fake_threads(const struct fj_choice *choice)
{
    (void)choice;
    return 128;
}

static int fake_smem(const struct fj_choice *choice)
{
    return FJ_CFG(&choice->config, bm) * FJ_CFG(&choice->config, bn) * 4;
}

static void fake_cost(const struct fj_choice *choice, struct fj_cost *ret)
{
    double m = (double)choice->problem.gemm.m, n = (double)choice->problem.gemm.n,
           k = (double)choice->problem.gemm.k;
    double bm = FJ_CFG(&choice->config, bm), bn = FJ_CFG(&choice->config, bn);
    *ret = (struct fj_cost){.flops = 2 * m * n * k,
                            .bytes = 2 * (m * k + k * n + m * n),
                            .block_flops = 2 * bm * bn * 64,
                            .block_bytes = 2 * (bm + bn) * 64};
}

// The names of real kernels, so that the spaces of autotune/arch apply to the second.
static const struct fj_kernel_class fake_fast = {
    .name = "fake_fast",
    .template_name = "fake.cu",
    .op = FAJIT_OP_GEMM,
    .family = FAJIT_FAMILY_SM90,
    .check = fake_check,
    .configure = fake_configure,
    .threads = fake_threads,
    .smem_bytes = fake_smem,
    .cost = fake_cost,
};

static const struct fj_kernel_class fake_mma = {
    .name = "gemm_mma",
    .template_name = "fake.cu",
    .op = FAJIT_OP_GEMM,
    .family = FAJIT_FAMILY_MMA,
    .check = fake_check_any,
    .configure = fake_configure,
    .threads = fake_threads,
    .smem_bytes = fake_smem,
    .cost = fake_cost,
};

static const struct fj_kernel_class *const fake_classes[] = {&fake_fast, &fake_mma, NULL};

static inline struct fj_problem fake_problem(const char *text)
{
    struct fajit_problem public = {.struct_size = sizeof(public)};
    struct fj_problem problem;
    if (fj_problem_parse(text, &public) || fj_problem_from_public(&public, &problem)) {
        print_error("%s: %s\n", text, fj_err_text());
        abort();
    }
    return problem;
}

#endif
