#include <math.h>

#include "kernels/problem_words.h"
#include "kernels/words.h"

const struct fj_word fj_problem_words[] = {
#define FJ_WORD(text, ops, kind, slot, value, doc)                                                 \
    {text, FJ_WORD_##ops, FJ_WORD_##kind, FJ_SLOT_##slot, value, doc},
#include "kernels/problem_words.def"
#undef FJ_WORD
    {0},
};

static const char *const op_names[] = {
    [FAJIT_OP_ATTN_FWD] = "attn",
    [FAJIT_OP_GEMM] = "gemm",
};

const char *fj_op_name(enum fajit_op op)
{
    return (unsigned)op < sizeof(op_names) / sizeof(op_names[0]) ? op_names[op] : NULL;
}

// The text of the flag that sets `slot` to `value`, from `skip` characters on.
static const char *flag_name(enum fj_slot slot, int64_t value, size_t skip)
{
    for (const struct fj_word *word = fj_problem_words; word->text; word++) {
        if (word->kind == FJ_WORD_FLAG && word->slot == slot && word->value == value)
            return word->text + skip;
    }
    return "none";
}

const char *fj_dtype_name(enum fajit_dtype dtype)
{
    return flag_name(FJ_SLOT_DTYPE, dtype, 0);
}

const char *fj_family_name(enum fajit_family family)
{
    return flag_name(FJ_SLOT_FAMILY, family, sizeof("kernel=") - 1);
}

const char *fj_variant_name(enum fajit_variant variant)
{
    return flag_name(FJ_SLOT_VARIANT, variant, sizeof("variant=") - 1);
}

// Values that leaving the word out would give become 0.
static void slots_from_attn(const struct fj_problem *problem, struct fj_slots *slots)
{
    const struct fj_attn *attn = &problem->attn;
    int64_t *v = slots->v;
    v[FJ_SLOT_DTYPE] = attn->dtype;
    v[FJ_SLOT_BATCH] = attn->batch;
    v[FJ_SLOT_HEADS_Q] = attn->heads_q;
    v[FJ_SLOT_HEADS_KV] = attn->heads_kv == attn->heads_q ? 0 : attn->heads_kv;
    v[FJ_SLOT_SEQ_Q] = attn->seq_q;
    v[FJ_SLOT_SEQ_K] = attn->seq_k;
    v[FJ_SLOT_HEAD_DIM] = attn->head_dim;
    v[FJ_SLOT_HEAD_DIM_V] = attn->head_dim_v == attn->head_dim ? 0 : attn->head_dim_v;
    v[FJ_SLOT_LAYOUT] = attn->layout;
    v[FJ_SLOT_CAUSAL] = attn->causal;
    v[FJ_SLOT_SEQLENS] =
        (attn->seqlens_q ? FJ_SEQLENS_Q : 0) | (attn->seqlens_k ? FJ_SEQLENS_K : 0);
    v[FJ_SLOT_LSE] = attn->lse;
    v[FJ_SLOT_ALIGN] = attn->align_bytes == fj_align_default(problem) ? 0 : attn->align_bytes;
    slots->scale = attn->scale == fj_attn_default_scale(attn->head_dim) ? 0 : attn->scale;
}

static void slots_from_gemm(const struct fj_problem *problem, struct fj_slots *slots)
{
    const struct fj_gemm *gemm = &problem->gemm;
    int64_t *v = slots->v;
    v[FJ_SLOT_DTYPE] = gemm->dtype;
    v[FJ_SLOT_BATCH] = gemm->batch;
    v[FJ_SLOT_M] = gemm->m;
    v[FJ_SLOT_N] = gemm->n;
    v[FJ_SLOT_K] = gemm->k;
    v[FJ_SLOT_TRANS] = (gemm->trans_a ? FJ_TRANS_A : 0) | (gemm->trans_b ? FJ_TRANS_B : 0);
    v[FJ_SLOT_OUT] = gemm->out_dtype == gemm->dtype ? FAJIT_DTYPE_NONE : gemm->out_dtype;
    v[FJ_SLOT_MATH] = gemm->math == FAJIT_MATH_FMA ? FAJIT_MATH_DEFAULT : gemm->math;
    v[FJ_SLOT_BIAS] = gemm->bias;
    v[FJ_SLOT_BETA] = gemm->beta;
    v[FJ_SLOT_ACT] = gemm->act;
    v[FJ_SLOT_ALIGN] = gemm->align_bytes == fj_align_default(problem) ? 0 : gemm->align_bytes;
}

// The word as the slots want it, after `separator`; false when they do not.
static bool print_word(const struct fj_word *word, const struct fj_slots *slots,
                       const char *separator, struct fj_buf *ret_text)
{
    char number[FJ_FLOAT_TEXT_MAX];
    int64_t value = slots->v[word->slot];
    if (word->kind == FJ_WORD_FLOAT) {
        if (slots->scale != 0) {
            fj_buf_printf(ret_text, "%s%s=%s", separator, word->text,
                          fj_format_float(slots->scale, number));
        }
        return slots->scale != 0;
    }
    if (value == 0)
        return false;
    switch (word->kind) {
    case FJ_WORD_FLAG:
        if (value == word->value)
            fj_buf_printf(ret_text, "%s%s", separator, word->text);
        return value == word->value;
    case FJ_WORD_COUNT:
        fj_buf_printf(ret_text, "%s%s%lld", separator, word->text, (long long)value);
        return true;
    case FJ_WORD_PAIR:
        fj_buf_printf(ret_text, "%s%s%lld", separator, word->text, (long long)value);
        if (slots->v[word->slot + 1] != 0)
            fj_buf_printf(ret_text, "/%lld", (long long)slots->v[word->slot + 1]);
        return true;
    case FJ_WORD_INT:
        fj_buf_printf(ret_text, "%s%s=%lld", separator, word->text, (long long)value);
        return true;
    default:
        return false;
    }
}

void fj_problem_print(const struct fj_problem *problem, struct fj_buf *ret_text)
{
    struct fj_slots slots = {0};
    if (problem->op == FAJIT_OP_ATTN_FWD)
        slots_from_attn(problem, &slots);
    else
        slots_from_gemm(problem, &slots);
    slots.v[FJ_SLOT_FAMILY] = problem->family;
    slots.v[FJ_SLOT_VARIANT] = problem->variant;

    fj_buf_printf(ret_text, "%s:", fj_op_name(problem->op));
    const char *separator = "";
    for (const struct fj_word *word = fj_problem_words; word->text; word++) {
        if ((word->ops & 1u << problem->op) && print_word(word, &slots, separator, ret_text))
            separator = ",";
    }
    struct fj_buf knobs = {0};
    fj_config_format(&problem->fixed, &knobs);
    if (knobs.len > 0)
        fj_buf_printf(ret_text, "%s%s", separator, knobs.data);
    ret_text->failed |= knobs.failed;
    fj_buf_free(&knobs);
}

int fj_problem_format(const struct fajit_problem *problem, struct fj_buf *ret_text)
{
    struct fj_problem checked;
    int r = fj_problem_from_public(problem, &checked);
    if (r < 0)
        return r;
    fj_problem_print(&checked, ret_text);
    if (ret_text->failed)
        return fj_err(FAJIT_E_NOMEM, "out of memory while writing a problem's text");
    return FAJIT_OK;
}
