// The rules of a problem, for structs filled in by hosts and by the text parser alike.
#include "kernels/problem.h"

#include <math.h>
#include <string.h>

#include "kernels/abi.h"
#include "kernels/problem_words.h"

float fj_attn_default_scale(int head_dim)
{
    return (float)(1.0 / sqrt((double)head_dim));
}

static int dtype_bytes(enum fajit_dtype dtype)
{
    return dtype == FAJIT_F32 ? 4 : 2;
}

// The largest power of two up to 16 that divides compact rows of `columns` elements (0: any).
static int row_align(int64_t columns, enum fajit_dtype dtype)
{
    int64_t bytes = columns * dtype_bytes(dtype) | 16;
    return (int)(bytes & -bytes);
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

int fj_align_default(const struct fj_problem *problem)
{
    if (problem->op != FAJIT_OP_GEMM)
        return 16; // head dims are multiples of 8, so compact rows keep it
    const struct fj_gemm *gemm = &problem->gemm;
    int a = row_align(gemm->trans_a ? gemm->m : gemm->k, gemm->dtype);
    int b = row_align(gemm->trans_b ? gemm->k : gemm->n, gemm->dtype);
    return min_int(min_int(a, b), row_align(gemm->n, gemm->out_dtype));
}

// --- Reading structs of other versions --------------------------------------------------------

// Reads the problem; its inner struct of the op keeps only the fields its own size covers.
static int read_problem(const struct fajit_problem *from, struct fajit_problem *ret)
{
    if (!from)
        return fj_err(FAJIT_E_INVAL, "problem: the pointer is NULL");
    size_t size = from->struct_size;
    if (size < offsetof(struct fajit_problem, attn) || size > 65536) {
        return fj_err(FAJIT_E_INVAL,
                      "problem: struct_size is %zu; set it to sizeof(struct fajit_problem), %zu",
                      size, sizeof(*from));
    }
    int r = fj_abi_read("fajit_problem", from, size, sizeof(*ret), ret);
    if (r < 0)
        return r;
    if (!memchr(ret->config, '\0', sizeof(ret->config)))
        return fj_err(FAJIT_E_INVAL, "problem: config has no end within its %d bytes",
                      FAJIT_CONFIG_MAX);
    return FAJIT_OK;
}

// Clears what lies past an inner struct's own size; 0 stands for the size this library knows.
static int trim_inner(void *inner, size_t size, const char *name)
{
    size_t given;
    memcpy(&given, inner, sizeof(given));
    if (given > size || (given != 0 && given < sizeof(given))) {
        return fj_err(FAJIT_E_INVAL, "problem: struct_size of its %s is %zu; set it to %zu or 0",
                      name, given, size);
    }
    if (given != 0)
        memset((char *)inner + given, 0, size - given);
    return FAJIT_OK;
}

// --- Rules shared by the operations -----------------------------------------------------------

// One named value that has to lie in a range.
struct bound {
    const char *name;
    int64_t value, max;
};

static int check_bounds(const char *op, const struct bound *bounds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bounds[i].value < 0 || bounds[i].value > bounds[i].max) {
            return fj_err(FAJIT_E_INVAL, "%s: %s is %lld; it may be 0 to %lld", op, bounds[i].name,
                          (long long)bounds[i].value, (long long)bounds[i].max);
        }
    }
    return FAJIT_OK;
}

// The element count of a tensor, unknown sizes as 1, fits 63 bits in bytes.
static int check_count(const char *op, const char *tensor, const int64_t sizes[4], int bytes)
{
    int64_t count = bytes;
    for (int i = 0; i < 4; i++) {
        if (sizes[i] > 0 && __builtin_mul_overflow(count, sizes[i], &count)) {
            return fj_err(FAJIT_E_INVAL,
                          "%s: the bytes of %s overflow 63 bits; make a size smaller", op, tensor);
        }
    }
    return FAJIT_OK;
}

static int check_dtype(const char *op, enum fajit_dtype dtype)
{
    if (dtype == FAJIT_DTYPE_NONE)
        return fj_err(FAJIT_E_INVAL, "%s: no dtype; give one of f32, f16, bf16", op);
    if ((unsigned)dtype > FAJIT_BF16)
        return fj_err(FAJIT_E_INVAL, "%s: dtype %d does not exist; give one of f32, f16, bf16", op,
                      (int)dtype);
    return FAJIT_OK;
}

// Fills in the default; a promise below the element size is what elements keep anyway.
static int check_align(const struct fj_problem *problem, int align, enum fajit_dtype dtype,
                       int *ret_align)
{
    if (align < 0 || align > FJ_ALIGN_MAX || (align & (align - 1)) != 0) {
        return fj_err(FAJIT_E_INVAL,
                      "%s: align_bytes is %d; it may be a power of two from 1 to %d, or 0 for the "
                      "default",
                      fj_op_name(problem->op), align, FJ_ALIGN_MAX);
    }
    if (align == 0)
        align = fj_align_default(problem);
    *ret_align = align < dtype_bytes(dtype) ? dtype_bytes(dtype) : align;
    return FAJIT_OK;
}

// --- Attention --------------------------------------------------------------------------------

static int check_head_dim(const char *name, int value)
{
    if (value >= 8 && value <= 256 && value % 8 == 0)
        return FAJIT_OK;
    if (value == 0)
        return fj_err(FAJIT_E_INVAL, "attn: no head dim; give one, such as d128 (%s)", name);
    return fj_err(FAJIT_E_INVAL, "attn: %s is %d; it may be 8 to 256 in steps of 8", name, value);
}

static int check_heads(const struct fj_attn *attn)
{
    if (attn->heads_q == 0 && attn->heads_kv != 0) {
        return fj_err(FAJIT_E_INVAL,
                      "attn: heads_kv is %lld while heads_q is any; give both or neither",
                      (long long)attn->heads_kv);
    }
    if (attn->heads_q != 0 && attn->heads_q % attn->heads_kv != 0) {
        return fj_err(
            FAJIT_E_INVAL,
            "attn: heads_q is %lld, which is no multiple of heads_kv, %lld; every KV head "
            "serves the same number of query heads",
            (long long)attn->heads_q, (long long)attn->heads_kv);
    }
    return FAJIT_OK;
}

static int check_attn_counts(const struct fj_attn *attn)
{
    const struct {
        const char *name;
        int64_t sizes[4];
    } tensors[] = {
        {"Q", {attn->batch, attn->heads_q, attn->seq_q, attn->head_dim}},
        {"K", {attn->batch, attn->heads_kv, attn->seq_k, attn->head_dim}},
        {"V", {attn->batch, attn->heads_kv, attn->seq_k, attn->head_dim_v}},
        {"O", {attn->batch, attn->heads_q, attn->seq_q, attn->head_dim_v}},
    };
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        int r = check_count("attn", tensors[i].name, tensors[i].sizes, 4);
        if (r < 0)
            return r;
    }
    return FAJIT_OK;
}

static int check_attn_sizes(const struct fj_attn *attn)
{
    const struct bound bounds[] = {
        {"batch", attn->batch, FJ_SIZE_MAX},
        {"heads_q", attn->heads_q, FJ_SIZE_MAX},
        {"heads_kv", attn->heads_kv, FJ_SIZE_MAX},
        {"seq_q", attn->seq_q, FJ_SIZE_MAX},
        {"seq_k", attn->seq_k, FJ_SIZE_MAX},
        {"layout", (unsigned)attn->layout, FAJIT_NSD},
        {"causal", (unsigned)attn->causal, FAJIT_CAUSAL_TOP_LEFT},
    };
    int r = check_bounds("attn", bounds, sizeof(bounds) / sizeof(bounds[0]));
    if (r == FAJIT_OK)
        r = check_heads(attn);
    return r == FAJIT_OK ? check_attn_counts(attn) : r;
}

static int check_attn(const struct fajit_attn_desc *from, struct fj_problem *ret)
{
    struct fj_attn *attn = &ret->attn;
    *attn = (struct fj_attn){
        .dtype = from->dtype,
        .batch = from->batch,
        .heads_q = from->heads_q,
        .heads_kv = from->heads_kv ? from->heads_kv : from->heads_q,
        .seq_q = from->seq_q,
        .seq_k = from->seq_k,
        .head_dim = from->head_dim,
        .head_dim_v = from->head_dim_v ? from->head_dim_v : from->head_dim,
        .layout = from->layout,
        .causal = from->causal,
        .lse = from->lse,
        .seqlens_q = from->seqlens_q,
        .seqlens_k = from->seqlens_k,
    };
    int r = check_dtype("attn", from->dtype);
    if (r == FAJIT_OK)
        r = check_head_dim("head_dim", attn->head_dim);
    if (r == FAJIT_OK)
        r = check_head_dim("head_dim_v", attn->head_dim_v);
    if (r == FAJIT_OK)
        r = check_attn_sizes(attn);
    if (r == FAJIT_OK)
        r = check_align(ret, from->align_bytes, attn->dtype, &attn->align_bytes);
    if (r < 0)
        return r;
    if (!isfinite(from->scale))
        return fj_err(FAJIT_E_INVAL, "attn: scale is not finite; 0 means 1 / sqrt(head_dim)");
    attn->scale = from->scale != 0 ? from->scale : fj_attn_default_scale(attn->head_dim);
    return FAJIT_OK;
}

// --- Matmul -----------------------------------------------------------------------------------

static int check_gemm_sizes(const struct fj_gemm *gemm)
{
    const struct bound bounds[] = {
        {"batch", gemm->batch, FJ_SIZE_MAX},
        {"m", gemm->m, FJ_SIZE_MAX},
        {"n", gemm->n, FJ_SIZE_MAX},
        {"k", gemm->k, FJ_SIZE_MAX},
        {"act", (unsigned)gemm->act, FAJIT_ACT_SILU},
        {"math", (unsigned)gemm->math, FAJIT_MATH_3XTF32},
    };
    const int64_t a[] = {gemm->batch, gemm->m, gemm->k, 1};
    const int64_t b[] = {gemm->batch, gemm->k, gemm->n, 1};
    const int64_t c[] = {gemm->batch, gemm->m, gemm->n, 1};
    int r = check_bounds("gemm", bounds, sizeof(bounds) / sizeof(bounds[0]));
    if (r == FAJIT_OK)
        r = check_count("gemm", "A", a, 4);
    if (r == FAJIT_OK)
        r = check_count("gemm", "B", b, 4);
    return r == FAJIT_OK ? check_count("gemm", "C", c, 4) : r;
}

static int check_gemm(const struct fajit_gemm_desc *from, struct fj_problem *ret)
{
    bool fp32 = from->dtype == FAJIT_F32 && from->math != FAJIT_MATH_DEFAULT;
    struct fj_gemm *gemm = &ret->gemm;
    *gemm = (struct fj_gemm){
        .dtype = from->dtype,
        .out_dtype = from->out_dtype ? from->out_dtype : from->dtype,
        .batch = from->batch,
        .m = from->m,
        .n = from->n,
        .k = from->k,
        .trans_a = from->trans_a,
        .trans_b = from->trans_b,
        .bias = from->bias,
        .beta = from->beta,
        .act = from->act,
        .math = from->math,
    };
    int r = check_dtype("gemm", from->dtype);
    if (r == FAJIT_OK)
        r = check_dtype("gemm (out_dtype)", gemm->out_dtype);
    if (r == FAJIT_OK)
        r = check_gemm_sizes(gemm);
    if (r == FAJIT_OK)
        r = check_align(ret, from->align_bytes, gemm->dtype, &gemm->align_bytes);
    if (r < 0)
        return r;
    if (from->variant == FAJIT_VARIANT_V1) {
        return fj_err(FAJIT_E_INVAL,
                      "gemm: variant v1 is an attention schedule; gemm has v2 and persistent");
    }
    gemm->math = fp32 ? from->math : FAJIT_MATH_FMA;
    return FAJIT_OK;
}

// --- Both -------------------------------------------------------------------------------------

static int check_schedule(const struct fj_problem *problem)
{
    const struct bound bounds[] = {
        {"family", (unsigned)problem->family, FAJIT_FAMILY_SM90},
        {"variant", (unsigned)problem->variant, FAJIT_VARIANT_PERSISTENT},
    };
    return check_bounds(fj_op_name(problem->op), bounds, 2);
}

int fj_problem_from_public(const struct fajit_problem *from, struct fj_problem *ret_problem)
{
    struct fajit_problem read;
    struct fj_problem problem = {0};
    int r = read_problem(from, &read);
    if (r < 0)
        return r;
    problem.op = read.op;
    if (read.op == FAJIT_OP_ATTN_FWD) {
        r = trim_inner(&read.attn, sizeof(read.attn), "attn");
        problem.family = read.attn.family;
        problem.variant = read.attn.variant;
        if (r == FAJIT_OK)
            r = check_attn(&read.attn, &problem);
    } else if (read.op == FAJIT_OP_GEMM) {
        r = trim_inner(&read.gemm, sizeof(read.gemm), "gemm");
        problem.family = read.gemm.family;
        problem.variant = read.gemm.variant;
        if (r == FAJIT_OK)
            r = check_gemm(&read.gemm, &problem);
    } else {
        return fj_err(FAJIT_E_INVAL,
                      "problem: op is %d; it may be FAJIT_OP_ATTN_FWD or "
                      "FAJIT_OP_GEMM",
                      (int)read.op);
    }
    if (r == FAJIT_OK)
        r = check_schedule(&problem);
    if (r == FAJIT_OK)
        r = fj_config_parse(read.config, &problem.fixed);
    if (r == FAJIT_OK)
        *ret_problem = problem;
    return r;
}
