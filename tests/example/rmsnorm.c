// A kernel of one's own, rmsnorm.cu beside this file: tuned, cached and launched as the library's.
//
//     cc rmsnorm.c -o rmsnorm $(pkg-config --cflags --libs fajit) -lm
//     FAJIT_TEMPLATE_DIR=. ./rmsnorm 8192    # FAJIT_DEVICE=emu: on the CPU
#include <fajit/fajit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HIDDEN = 4096, ROWS_MAX = 8192, ROW_BYTES = HIDDEN * sizeof(uint16_t) };

struct rmsnorm {
    struct fajit_ctx *ctx;
    int rows;
    size_t bytes;    // of X and of Y
    void *X, *W, *Y; // device memory, bf16: (rows, HIDDEN), (HIDDEN), (rows, HIDDEN)
    uint16_t x[ROWS_MAX * HIDDEN], w[HIDDEN], y[ROWS_MAX * HIDDEN]; // the same in host memory
};

// The grid depends on how many rows a CTA of this very kernel takes.
static int launch(void *user, const struct fajit_kernel *kernel, void *stream)
{
    struct rmsnorm *r = user;
    const unsigned cta_rows = (unsigned)fajit_kernel_const(kernel, "rows");
    const struct fajit_grid grid = {.x = ((unsigned)r->rows + cta_rows - 1) / cta_rows};
    const float eps = 1e-5f;
    const struct fajit_kernel_args args = {
        .struct_size = sizeof(args),
        .items = {FAJIT_ARG(r->X), FAJIT_ARG(r->W), FAJIT_ARG(r->Y), FAJIT_ARG(r->rows),
                  FAJIT_ARG(eps)},
    };
    return fajit_kernel_launch(kernel, grid, &args, stream);
}

// Compares 64 rows, the first and the last among them, with fp64: at most a step of bf16 apart.
static int judge(void *user, const struct fajit_kernel *kernel, char *ret_why, size_t why_bytes)
{
    struct rmsnorm *r = user;
    float x[HIDDEN], w[HIDDEN], y[HIDDEN];
    (void)kernel;
    int err = fajit_mem_download(r->ctx, r->y, r->Y, r->bytes);
    fajit_convert_to_f32(FAJIT_BF16, r->w, w, HIDDEN);
    for (int sample = 0; sample < 64 && err == 0; sample++) {
        const int row = (int)((int64_t)sample * (r->rows - 1) / 63);
        double sum = 0;
        fajit_convert_to_f32(FAJIT_BF16, &r->x[row * HIDDEN], x, HIDDEN);
        fajit_convert_to_f32(FAJIT_BF16, &r->y[row * HIDDEN], y, HIDDEN);
        for (int i = 0; i < HIDDEN; i++)
            sum += (double)x[i] * x[i];
        for (int i = 0; i < HIDDEN && err == 0; i++) {
            const double want = x[i] / sqrt(sum / HIDDEN + 1e-5) * w[i];
            if (!(fabs(y[i] - want) <= 0x1p-8 * fabs(want))) // NaN is wrong too
                err = snprintf(ret_why, why_bytes, "(%d, %d) is %g, not %g", row, i, y[i], want);
        }
    }
    return err;
}

static int prepare(struct rmsnorm *r)
{
    r->bytes = (size_t)r->rows * ROW_BYTES;
    for (int i = -HIDDEN; i < HIDDEN * r->rows; i++) {
        float value = (float)rand() / (float)RAND_MAX * 4 - 2;
        fajit_convert_from_f32(FAJIT_BF16, &value, i < 0 ? &r->w[-i - 1] : &r->x[i], 1);
    }
    int err = fajit_ctx_create(NULL, &r->ctx);
    err = err ? err : fajit_mem_alloc(r->ctx, 2 * r->bytes + ROW_BYTES, &r->X);
    r->Y = (char *)r->X + r->bytes;
    r->W = (char *)r->Y + r->bytes;
    err = err ? err : fajit_mem_upload(r->ctx, r->X, r->x, r->bytes);
    err = err ? err : fajit_mem_upload(r->ctx, r->W, r->w, ROW_BYTES);
    return err ? err : fajit_ctx_make_current(r->ctx);
}

int main(int argc, char **argv)
{
    static struct rmsnorm r;
    struct fajit_kernel *kernel = NULL;
    struct fajit_tune_result tuned = {.struct_size = sizeof(tuned)};
    char values[64], why[160] = "";
    r.rows = argc > 1 && (unsigned)atoi(argv[1]) - 1 < ROWS_MAX ? atoi(argv[1]) : 64;
    int err = prepare(&r);
    snprintf(values, sizeof(values), "dtype=bf16,hidden=%d,sizes=%d", HIDDEN, r.rows);
    struct fajit_kernel_trial trial = {sizeof(trial), launch, judge, &r, r.Y, r.bytes};
    struct fajit_kernel_params params = {sizeof(params), values, .trial = &trial};
    const struct fajit_tune_params how = {sizeof(how), .try_all = true}; // FAJIT_TUNE_WORKER or not
    err = err ? err : fajit_kernel_tune(r.ctx, "rmsnorm", &params, &how, &tuned); // once for all
    err = err ? err : fajit_kernel_plan(r.ctx, "rmsnorm", &params, &kernel);
    err = err ? err : launch(&r, kernel, NULL);
    err = err ? err : judge(&r, kernel, why, sizeof(why)); // its copy waits for the launch
    if (err)
        fprintf(stderr, "rmsnorm: %s\n", *why ? why : fajit_last_error());
    else
        printf("%s is right: %.2f us\n", fajit_kernel_name(kernel), tuned.median_us);
    fajit_mem_free(r.ctx, r.X);
    fajit_kernel_destroy(&kernel); // kernels before their context
    fajit_ctx_destroy(&r.ctx);
    return err != 0;
}
