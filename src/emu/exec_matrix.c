// mma.sync, ldmatrix, stmatrix and wgmma: operands are gathered here, mma.h computes.
//
// wgmma runs where it is issued: each warp computes its own 16 rows, which is one of the orders
// the asynchronous instruction allows. What a program must not touch meanwhile, the checks watch.
#include <string.h>

#include "emu/access.h"
#include "emu/check.h"
#include "emu/mma.h"
#include "emu/ops.h"

#define MAX_FRAGMENT 256

static bool whole_warp(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    if (w->exec == FJ_EMU_FULL)
        return true;
    fj_emu_stop(w, in, __builtin_ctz(~w->exec), FJ_EMU_FAULT_BARRIER,
                "all 32 lanes must execute this together; 0x%08x do", w->exec);
    return false;
}

struct mma {
    struct fj_emu_mma_op op;
    int n[4]; // registers of d, a, b, c
};

static const struct fj_emu_insn *mma(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct mma *m = in->data;
    const uint32_t *ext = w->code->ext + in->ext;
    uint32_t *list[MAX_FRAGMENT];
    if (!whole_warp(w, in))
        return NULL;
    for (uint32_t i = 0; i < in->n_ext; i++)
        list[i] = fj_emu_r32(w, ext[i]);
    const uint32_t *const *a = (const uint32_t *const *)list + m->n[0];
    fj_emu_mma(&m->op, list, a, a + m->n[1], a + m->n[1] + m->n[2]);
    return in + 1;
}

static int type_of(const char *name)
{
    static const char *const names[] = {
        [FJ_EMU_F16] = "f16", [FJ_EMU_BF16] = "bf16", [FJ_EMU_TF32] = "tf32",
        [FJ_EMU_F32] = "f32", [FJ_EMU_E4M3] = "e4m3", [FJ_EMU_E5M2] = "e5m2",
        [FJ_EMU_S8] = "s8",   [FJ_EMU_U8] = "u8",     [FJ_EMU_S32] = "s32"};
    for (int i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++) {
        if (strcmp(names[i], name) == 0)
            return i;
    }
    return -1;
}

// Takes "m16n8k16" apart.
static bool shape_of(const char *text, int shape[3])
{
    static const char letters[] = "mnk";
    for (int i = 0; i < 3; i++) {
        if (*text++ != letters[i])
            return false;
        shape[i] = 0;
        while (*text >= '0' && *text <= '9' && shape[i] < 1000)
            shape[i] = shape[i] * 10 + *text++ - '0';
    }
    return *text == '\0';
}

// The shape part and the types behind it. false: some type is unknown.
static bool shape_and_types(const char *op, int shape[3], int types[4], int *ret_n)
{
    char part[32];
    bool found = false;
    *ret_n = 0;
    for (int i = 1; fj_emu_part(op, i, part, sizeof(part)); i++) {
        if (!found) {
            found = shape_of(part, shape);
        } else if (type_of(part) >= 0 && *ret_n < 4) {
            types[(*ret_n)++] = type_of(part);
        } else if (strcmp(part, "row") != 0 && strcmp(part, "col") != 0 &&
                   strcmp(part, "satfinite") != 0) {
            return false;
        }
    }
    return found;
}

static void bind_list(struct fj_emu_build *b, const struct fj_ptx_operand *list, int n, bool def,
                      bool use)
{
    const bool vector = list->kind == FJ_PTX_OP_VECTOR;
    if ((vector ? list->n_sub : 1) != n) {
        fj_emu_build_fail(b, "a fragment of %d registers where %d belong", vector ? list->n_sub : 1,
                          n);
        return;
    }
    for (int i = 0; i < n && !b->failed; i++)
        fj_emu_bind_ext(b, vector ? &list->sub[i] : list, 32, def, use);
}

static void decode_mma(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    int shape[3], types[4], n_types;
    struct mma *m = fj_emu_build_alloc(b, sizeof(*m));
    if (m == NULL || !shape_and_types(src->op, shape, types, &n_types) || n_types != 4 ||
        src->n_ops != 4 || shape[0] > 255 || shape[1] > 255 || shape[2] > 255 ||
        !fj_emu_has(src->op, ".row") || !fj_emu_has(src->op, ".col")) {
        fj_emu_build_unknown(b);
        return;
    }
    m->op = (struct fj_emu_mma_op){.m = (uint8_t)shape[0],
                                   .n = (uint8_t)shape[1],
                                   .k = (uint8_t)shape[2],
                                   .d_type = (uint8_t)types[0],
                                   .a_type = (uint8_t)types[1],
                                   .b_type = (uint8_t)types[2],
                                   .c_type = (uint8_t)types[3],
                                   .saturate = fj_emu_has(src->op, ".satfinite")};
    if (!fj_emu_mma_supported(&m->op) || (m->op.saturate && m->op.d_type != FJ_EMU_S32)) {
        fj_emu_build_unknown(b);
        return;
    }
    fj_emu_mma_registers(&m->op, m->n);
    fj_emu_emit(b, mma)->data = m;
    for (int i = 0; i < 4 && !b->failed; i++)
        bind_list(b, &src->ops[i], m->n[i], i == 0, i > 0);
}

// The 16-byte rows that the first 8 * count lanes name.
static bool matrix_rows(struct fj_emu_warp *w, const struct fj_emu_insn *in, int count,
                        enum fj_emu_access access, uint8_t *rows[FJ_EMU_LANES])
{
    uint64_t host[FJ_EMU_LANES];
    if (!whole_warp(w, in))
        return false;
    w->exec = count == 4 ? FJ_EMU_FULL : (1u << (8 * count)) - 1;
    const bool good = fj_emu_resolve(w, in, 0, FJ_PTX_SHARED, 16, access, host);
    w->exec = FJ_EMU_FULL;
    for (int l = 0; good && l < FJ_EMU_LANES; l++)
        rows[l] = l < 8 * count ? (uint8_t *)(uintptr_t)host[l] : NULL;
    return good;
}

static const struct fj_emu_insn *ldmatrix(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint8_t *rows[FJ_EMU_LANES];
    uint32_t *d[4];
    if (!matrix_rows(w, in, in->n_ext, FJ_EMU_READ, rows))
        return NULL;
    for (int i = 0; i < in->n_ext; i++)
        d[i] = fj_emu_r32(w, w->code->ext[in->ext + (uint32_t)i]);
    fj_emu_ldmatrix(in->n_ext, in->size != 0, (const uint8_t *const *)rows, d);
    return in + 1;
}

static const struct fj_emu_insn *stmatrix(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint8_t *rows[FJ_EMU_LANES];
    const uint32_t *s[4];
    if (!matrix_rows(w, in, in->n_ext, FJ_EMU_WRITE, rows))
        return NULL;
    for (int i = 0; i < in->n_ext; i++)
        s[i] = fj_emu_r32(w, w->code->ext[in->ext + (uint32_t)i]);
    fj_emu_stmatrix(in->n_ext, in->size != 0, rows, s);
    return in + 1;
}

static void decode_matrix_move(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    const bool load = src->op[0] == 'l';
    const int count = fj_emu_has(src->op, ".x4") ? 4 : fj_emu_has(src->op, ".x2") ? 2 : 1;
    if (!fj_emu_operand_count(b, 2, 2))
        return;
    if (!fj_emu_has(src->op, ".m8n8") || !fj_emu_has(src->op, ".b16")) {
        fj_emu_build_unknown(b);
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, load ? ldmatrix : stmatrix);
    in->size = fj_emu_has(src->op, ".trans");
    fj_emu_bind_address(b, 0, &src->ops[load ? 1 : 0]);
    bind_list(b, &src->ops[load ? 0 : 1], count, load, !load);
}

static const struct fj_emu_insn *wgmma_order(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    if (!whole_warp(w, in))
        return NULL;
    if (w->cta->unit->check != NULL)
        fj_emu_check_wgmma_order(w, in);
    return in + 1;
}

// Operands: 0 the descriptor of A, 1 that of B, 2 scale-d. Further: d, then A's registers.
static const struct fj_emu_insn *wgmma(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct fj_emu_wgmma_op *op = in->data;
    const uint32_t *ext = w->code->ext + in->ext;
    uint32_t *list[MAX_FRAGMENT];
    if (!whole_warp(w, in))
        return NULL;
    for (uint32_t i = 0; i < in->n_ext; i++)
        list[i] = fj_emu_r32(w, ext[i]);
    struct fj_emu_wgmma_args args = {
        .smem = w->cta->smem,
        .smem_bytes = w->cta->smem_bytes,
        .warp = w->index % 4,
        .scale_d = fj_emu_pred(w, in->o[2]) & 1,
        .b_desc = fj_emu_r64(w, in->o[1])[0],
        .d = list,
    };
    if (op->a_in_registers)
        memcpy(args.a, list + in->size, sizeof(args.a));
    else
        args.a_desc = fj_emu_r64(w, in->o[0])[0];
    uint32_t bad = 0;
    if (fj_emu_wgmma(op, &args, &bad) != 0)
        return fj_emu_stop(w, in, -1, FJ_EMU_FAULT_ADDRESS,
                           "a matrix descriptor reaches shared address 0x%x of 0x%x", bad,
                           w->cta->smem_bytes);
    if (w->cta->unit->hooks && !fj_emu_hook_wgmma(w, in, op, &args))
        return NULL;
    return in + 1;
}

uint64_t fj_emu_insn_flops(const struct fj_emu_insn *in)
{
    const struct mma *m = in->data;
    const struct fj_emu_wgmma_op *op = in->data;
    if (in->fn == mma)
        return 2ull * m->op.m * m->op.n * m->op.k;
    return in->fn == wgmma ? 2ull * 16 * op->n * op->k : 0;
}

static bool is_one(const struct fj_ptx_operand *op, int8_t *value)
{
    *value = (int8_t)op->value;
    return op->kind == FJ_PTX_OP_INT && (*value == 1 || *value == -1);
}

static bool is_flag(const struct fj_ptx_operand *op, bool *value)
{
    *value = op->value != 0;
    return op->kind == FJ_PTX_OP_INT && op->value <= 1;
}

// d, a, b, scale-d, scale-a, scale-b[, trans-a][, trans-b]: 16-bit types carry the last ones.
static bool wgmma_flags(const struct fj_ptx_insn *src, struct fj_emu_wgmma_op *op)
{
    const bool has_trans = op->a_type == FJ_EMU_F16 || op->a_type == FJ_EMU_BF16;
    const int n_trans = !has_trans ? 0 : op->a_in_registers ? 1 : 2;
    if (op->d_type == FJ_EMU_S32) {
        op->a_scale = op->b_scale = 1;
        return src->n_ops == 4;
    }
    if (op->saturate)
        return false;
    if (src->n_ops != 6 + n_trans || !is_one(&src->ops[4], &op->a_scale) ||
        !is_one(&src->ops[5], &op->b_scale))
        return false;
    if (n_trans == 2 && !is_flag(&src->ops[6], &op->a_trans))
        return false;
    return n_trans == 0 || is_flag(&src->ops[5 + n_trans], &op->b_trans);
}

static void decode_wgmma(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    if (strncmp(src->op, "wgmma.mma_async", 15) != 0) {
        const bool wait = fj_emu_has(src->op, ".wait_group");
        if (!fj_emu_operand_count(b, wait, wait))
            return;
        struct fj_emu_insn *in = fj_emu_emit(b, wgmma_order);
        in->size = fj_emu_has(src->op, ".commit_group") ? FJ_EMU_WGMMA_COMMIT
                   : wait                               ? FJ_EMU_WGMMA_WAIT
                                                        : FJ_EMU_WGMMA_FENCE;
        in->imm = wait ? (int64_t)src->ops[0].value : 0;
        return;
    }
    int shape[3], types[4], n_types;
    struct fj_emu_wgmma_op *op = fj_emu_build_alloc(b, sizeof(*op));
    if (op == NULL || !shape_and_types(src->op, shape, types, &n_types) || n_types != 3 ||
        src->n_ops < 4 || shape[0] != 64 || shape[1] > 256 || shape[2] > 255) {
        fj_emu_build_unknown(b);
        return;
    }
    op->n = (uint16_t)shape[1];
    op->k = (uint8_t)shape[2];
    op->d_type = (uint8_t)types[0];
    op->a_type = (uint8_t)types[1];
    op->b_type = (uint8_t)types[2];
    op->a_in_registers = src->ops[1].kind == FJ_PTX_OP_VECTOR;
    op->saturate = fj_emu_has(src->op, ".satfinite");
    if (!wgmma_flags(src, op) || !fj_emu_wgmma_supported(op)) {
        fj_emu_build_unknown(b);
        return;
    }
    struct fj_emu_insn *in = fj_emu_emit(b, wgmma);
    in->data = op;
    in->size = (uint16_t)fj_emu_wgmma_registers(op);
    bind_list(b, &src->ops[0], in->size, true, true);
    if (op->a_in_registers)
        bind_list(b, &src->ops[1], 4, false, true);
    else
        fj_emu_bind_src(b, 0, &src->ops[1], 64, 64);
    fj_emu_bind_src(b, 1, &src->ops[2], 64, 64);
    fj_emu_bind_src(b, 2, &src->ops[3], 1, 1);
}

const struct fj_emu_family fj_emu_matrix_families[] = {
    {"mma", FJ_EMU_CLASS_MMA, decode_mma},
    {"wgmma", FJ_EMU_CLASS_MMA, decode_wgmma},
    {"ldmatrix", FJ_EMU_CLASS_MATRIX_MOVE, decode_matrix_move},
    {"stmatrix", FJ_EMU_CLASS_MATRIX_MOVE, decode_matrix_move},
    {NULL, 0, NULL},
};
