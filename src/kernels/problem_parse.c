#include <stdio.h>
#include <string.h>

#include "kernels/problem_words.h"
#include "kernels/words.h"

#define TEXT_MAX 1024 // far above the longest text with every word and knob

struct parse {
    const char *text;
    enum fajit_op op;
    struct fj_slots slots;
    struct fj_config knobs;
    struct fj_span set_by[FJ_SLOT_COUNT + FJ_KNOB_COUNT]; // to name who set it when set again
};

static int column(const struct parse *parse, const char *at)
{
    return (int)(at - parse->text) + 1;
}

// --- Reading words ----------------------------------------------------------------------------

// Notes who sets slot or knob number `index`; refuses a second one.
static int claim(struct parse *parse, int index, struct fj_span word)
{
    struct fj_span *before = &parse->set_by[index];
    if (before->at) {
        char now[FJ_QUOTE_MAX], then[FJ_QUOTE_MAX];
        return fj_err(FAJIT_E_INVAL,
                      "problem text: %s at column %d sets what %s at column %d "
                      "already set; keep one of them",
                      fj_quote(word.at, word.len, now), column(parse, word.at),
                      fj_quote(before->at, before->len, then), column(parse, before->at));
    }
    *before = word;
    return FAJIT_OK;
}

static int refuse_number(const struct parse *parse, struct fj_span word, const char *form,
                         long long max)
{
    char quoted[FJ_QUOTE_MAX];
    return fj_err(FAJIT_E_INVAL,
                  "problem text: %s at column %d has no valid number; it is written "
                  "as %s, with whole numbers from 1 to %lld",
                  fj_quote(word.at, word.len, quoted), column(parse, word.at), form, max);
}

// "16" or "16/4" after the letter.
static int read_counts(struct parse *parse, const struct fj_word *entry, struct fj_span word)
{
    const char *digits = word.at + strlen(entry->text), *end = word.at + word.len;
    int64_t *values = &parse->slots.v[entry->slot];
    bool pair = entry->kind == FJ_WORD_PAIR;
    const char *slash = pair ? memchr(digits, '/', (size_t)(end - digits)) : NULL;
    const char *first_end = slash ? slash : end;
    bool ok = fj_parse_count(digits, (size_t)(first_end - digits), FJ_SIZE_MAX, &values[0]);
    if (pair)
        values[1] = values[0];
    if (ok && slash)
        ok = fj_parse_count(slash + 1, (size_t)(end - slash - 1), FJ_SIZE_MAX, &values[1]);
    if (ok)
        return FAJIT_OK;
    char form[32];
    snprintf(form, sizeof(form), pair ? "%sN or %sN/N" : "%sN", entry->text, entry->text);
    return refuse_number(parse, word, form, (long long)FJ_SIZE_MAX);
}

static int read_int(struct parse *parse, const struct fj_word *entry, struct fj_span word)
{
    size_t skip = strlen(entry->text) + 1;
    if (fj_parse_count(word.at + skip, word.len - skip, FJ_ALIGN_MAX, &parse->slots.v[entry->slot]))
        return FAJIT_OK;
    char form[32];
    snprintf(form, sizeof(form), "%s=N", entry->text);
    return refuse_number(parse, word, form, FJ_ALIGN_MAX);
}

static int read_float(struct parse *parse, const struct fj_word *entry, struct fj_span word)
{
    char quoted[FJ_QUOTE_MAX];
    size_t skip = strlen(entry->text) + 1;
    float value;
    if (fj_parse_float(word.at + skip, word.len - skip, &value) && value != 0) {
        parse->slots.scale = value;
        return FAJIT_OK;
    }
    return fj_err(FAJIT_E_INVAL,
                  "problem text: %s at column %d has no valid number; %s takes a finite decimal "
                  "number other than 0, as in %s=0.125",
                  fj_quote(word.at, word.len, quoted), column(parse, word.at), entry->text,
                  entry->text);
}

static int read_known(struct parse *parse, const struct fj_word *entry, struct fj_span word)
{
    char quoted[FJ_QUOTE_MAX];
    if (entry->kind == FJ_WORD_LATER) {
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "problem text: %s at column %d is not yet supported (%s); take it out",
                      fj_quote(word.at, word.len, quoted), column(parse, word.at), entry->doc);
    }
    int r = claim(parse, entry->slot, word);
    if (r < 0)
        return r;
    switch (entry->kind) {
    case FJ_WORD_COUNT:
    case FJ_WORD_PAIR:
        return read_counts(parse, entry, word);
    case FJ_WORD_INT:
        return read_int(parse, entry, word);
    case FJ_WORD_FLOAT:
        return read_float(parse, entry, word);
    default:
        parse->slots.v[entry->slot] = entry->value;
        return FAJIT_OK;
    }
}

static int read_knob(struct parse *parse, enum fj_knob knob, struct fj_span word)
{
    int r = claim(parse, FJ_SLOT_COUNT + (int)knob, word);
    if (r < 0)
        return r;
    int64_t value;
    size_t skip = fj_span_key_len(word) + 1;
    if (!fj_parse_count(word.at + skip, word.len - skip, FJ_KNOB_MAX, &value)) {
        char form[32];
        snprintf(form, sizeof(form), "%s=N", fj_knob_name(knob));
        return refuse_number(parse, word, form, FJ_KNOB_MAX);
    }
    parse->knobs.v[knob] = (int16_t)value;
    return FAJIT_OK;
}

static int read_word(struct parse *parse, struct fj_span word)
{
    if (word.len == 0) {
        return fj_err(FAJIT_E_INVAL,
                      "problem text: a word is missing at column %d; words are separated by single "
                      "commas",
                      column(parse, word.at));
    }
    const struct fj_word *entry = fj_problem_word_find(1u << parse->op, word);
    if (entry)
        return read_known(parse, entry, word);
    size_t len = fj_span_key_len(word);
    enum fj_knob knob = fj_knob_find(word.at, len);
    if (knob != FJ_KNOB_COUNT && len < word.len)
        return read_knob(parse, knob, word);
    return fj_problem_word_refuse(parse->op, column(parse, word.at), word);
}

// --- The whole text ---------------------------------------------------------------------------

// "attn:" or "gemm:"; `ret_words` is what follows.
static int read_op(struct parse *parse, const char **ret_words)
{
    char quoted[FJ_QUOTE_MAX];
    size_t len = strcspn(parse->text, ":");
    struct fj_nearest nearest = fj_nearest_begin(parse->text, strcspn(parse->text, ":,"));
    for (int op = FAJIT_OP_NONE + 1; fj_op_name((enum fajit_op)op); op++) {
        const char *name = fj_op_name((enum fajit_op)op);
        fj_nearest_try(&nearest, name);
        if (parse->text[len] == ':' && len == strlen(name) && !memcmp(name, parse->text, len))
            parse->op = (enum fajit_op)op;
    }
    if (parse->op != FAJIT_OP_NONE) {
        *ret_words = parse->text + len + 1;
        return FAJIT_OK;
    }
    if (parse->text[len] != ':') {
        return fj_err(FAJIT_E_INVAL,
                      "problem text: no operation at column 1; a text begins with \"attn:\" or "
                      "\"gemm:\", as in attn:bf16,h16,d128,causal");
    }
    if (len == 6 && !memcmp(parse->text, "kernel", 6))
        return fj_err(FAJIT_E_INVAL, "problem text: \"kernel:\" is a template of one's own, which "
                                     "fajit_kernel_plan takes, with its values");
    return fj_err(FAJIT_E_INVAL,
                  "problem text: unknown operation %s at column 1; the nearest is \"%s:\", as in "
                  "attn:bf16,h16,d128,causal or gemm:f16,m4096,n4096,k4096",
                  fj_quote(parse->text, len, quoted), nearest.best);
}

static void attn_from_slots(const struct fj_slots *slots, struct fajit_attn_desc *attn)
{
    const int64_t *v = slots->v;
    attn->dtype = (enum fajit_dtype)v[FJ_SLOT_DTYPE];
    attn->batch = v[FJ_SLOT_BATCH];
    attn->heads_q = v[FJ_SLOT_HEADS_Q];
    attn->heads_kv = v[FJ_SLOT_HEADS_KV];
    attn->seq_q = v[FJ_SLOT_SEQ_Q];
    attn->seq_k = v[FJ_SLOT_SEQ_K];
    attn->head_dim = (int)v[FJ_SLOT_HEAD_DIM];
    attn->head_dim_v = (int)v[FJ_SLOT_HEAD_DIM_V];
    attn->layout = (enum fajit_layout)v[FJ_SLOT_LAYOUT];
    attn->causal = (enum fajit_causal)v[FJ_SLOT_CAUSAL];
    attn->lse = v[FJ_SLOT_LSE] != 0;
    attn->seqlens_q = (v[FJ_SLOT_SEQLENS] & FJ_SEQLENS_Q) != 0;
    attn->seqlens_k = (v[FJ_SLOT_SEQLENS] & FJ_SEQLENS_K) != 0;
    attn->scale = slots->scale;
    attn->align_bytes = (int)v[FJ_SLOT_ALIGN];
    attn->family = (enum fajit_family)v[FJ_SLOT_FAMILY];
    attn->variant = (enum fajit_variant)v[FJ_SLOT_VARIANT];
}

static void gemm_from_slots(const struct fj_slots *slots, struct fajit_gemm_desc *gemm)
{
    const int64_t *v = slots->v;
    gemm->dtype = (enum fajit_dtype)v[FJ_SLOT_DTYPE];
    gemm->out_dtype = (enum fajit_dtype)v[FJ_SLOT_OUT];
    gemm->batch = v[FJ_SLOT_BATCH];
    gemm->m = v[FJ_SLOT_M];
    gemm->n = v[FJ_SLOT_N];
    gemm->k = v[FJ_SLOT_K];
    gemm->trans_a = (v[FJ_SLOT_TRANS] & FJ_TRANS_A) != 0;
    gemm->trans_b = (v[FJ_SLOT_TRANS] & FJ_TRANS_B) != 0;
    gemm->bias = v[FJ_SLOT_BIAS] != 0;
    gemm->beta = v[FJ_SLOT_BETA] != 0;
    gemm->act = (enum fajit_act)v[FJ_SLOT_ACT];
    gemm->math = (enum fajit_math)v[FJ_SLOT_MATH];
    gemm->align_bytes = (int)v[FJ_SLOT_ALIGN];
    gemm->family = (enum fajit_family)v[FJ_SLOT_FAMILY];
    gemm->variant = (enum fajit_variant)v[FJ_SLOT_VARIANT];
}

// Puts what was read into the public struct and checks it by the rules that hosts' structs obey.
static int finish(const struct parse *parse, struct fajit_problem *ret_problem)
{
    struct fajit_problem problem = {
        .struct_size = sizeof(problem),
        .op = parse->op,
        .attn.struct_size = sizeof(problem.attn),
        .gemm.struct_size = sizeof(problem.gemm),
    };
    if (parse->op == FAJIT_OP_ATTN_FWD)
        attn_from_slots(&parse->slots, &problem.attn);
    else
        gemm_from_slots(&parse->slots, &problem.gemm);
    struct fj_buf knobs = {0};
    fj_config_format(&parse->knobs, &knobs);
    bool fits = knobs.len < sizeof(problem.config), failed = knobs.failed;
    if (fits && knobs.len > 0)
        memcpy(problem.config, knobs.data, knobs.len);
    fj_buf_free(&knobs);
    if (failed)
        return fj_err(FAJIT_E_NOMEM, "out of memory while reading a problem's text");
    if (!fits) {
        return fj_err(FAJIT_E_INVAL,
                      "problem text: the knobs take more than %d bytes as \"bm=128,bn=64\"; give "
                      "fewer",
                      FAJIT_CONFIG_MAX - 1);
    }
    struct fj_problem checked;
    int r = fj_problem_from_public(&problem, &checked);
    if (r < 0)
        return r;
    *ret_problem = problem;
    return FAJIT_OK;
}

int fj_problem_parse(const char *text, struct fajit_problem *ret_problem)
{
    if (!text)
        return fj_err(FAJIT_E_INVAL, "problem text: the pointer is NULL");
    if (strnlen(text, TEXT_MAX) == TEXT_MAX)
        return fj_err(FAJIT_E_INVAL, "problem text: longer than %d bytes", TEXT_MAX - 1);
    struct parse parse = {.text = text};
    const char *at = text;
    int r = read_op(&parse, &at);
    if (r < 0)
        return r;
    if (*at == '\0')
        return fj_err(FAJIT_E_INVAL, "problem text: nothing after \"%s\"; give at least a dtype%s",
                      text, parse.op == FAJIT_OP_ATTN_FWD ? " and a head dim" : "");
    for (;;) {
        struct fj_span word = {at, strcspn(at, ",")};
        r = read_word(&parse, word);
        if (r < 0)
            return r;
        at += word.len;
        if (*at == '\0')
            return finish(&parse, ret_problem);
        at++;
    }
}
