// The asm statement that a //@watch becomes.
#include <string.h>

#include "codegen/program.h"

#define WATCH_REGISTERS_MAX 512

struct watch_values {
    int64_t rows, cols, pitch;
    int64_t counts[FJ_WATCH_DIMS];
    int64_t registers; // their product
    struct fj_str kind_word;
};

static int eval_watch(const struct fj_template *tmpl, const struct fj_watch *watch,
                      const struct fj_value *values, struct watch_values *v)
{
    const struct {
        int expr;
        int64_t *value;
    } parts[] = {{watch->rows, &v->rows}, {watch->cols, &v->cols}, {watch->pitch, &v->pitch}};
    if (watch->n_counts == 0 && watch->pitch < 0)
        return fj_err(FAJIT_E_TEMPLATE,
                      "the watch does not say how many registers: regs=n, or pitch=n");
    if (watch->kind_word >= 0)
        v->kind_word = values[watch->kind_word].word;
    int status = FAJIT_OK;
    for (size_t i = 0; !status && i < sizeof(parts) / sizeof(parts[0]); i++)
        if (parts[i].expr >= 0)
            status =
                fj_expr_eval(&tmpl->exprs, &tmpl->symbols, parts[i].expr, values, parts[i].value);
    v->registers = 1;
    for (int i = 0; !status && i < watch->n_counts; i++) {
        status =
            fj_expr_eval(&tmpl->exprs, &tmpl->symbols, watch->counts[i], values, &v->counts[i]);
        bool fits = v->counts[i] >= 1 && v->counts[i] <= WATCH_REGISTERS_MAX / v->registers;
        if (!status && !fits)
            return fj_err(FAJIT_E_TEMPLATE, "a watch names 1 to %d registers", WATCH_REGISTERS_MAX);
        v->registers *= status ? 1 : v->counts[i];
    }
    return status;
}

// Registers of these kinds hold raw bits or packed pairs; all others are floats.
static bool is_word_kind(struct fj_str kind)
{
    return fj_str_equal(kind, (struct fj_str){"u32", 3}) ||
           (kind.n > 1 && !memcmp(kind.p, "a_", 2));
}

// "S[1][2]" for register number `index`, counted in the order of memory.
static void put_register(struct fj_buf *line, const struct fj_watch *watch,
                         const struct watch_values *v, int index)
{
    int64_t left = index, size = v->registers;
    fj_buf_append(line, watch->value.p, (size_t)watch->value.n);
    for (int i = 0; i < watch->n_counts; i++) {
        size /= v->counts[i];
        fj_buf_printf(line, "[%lld]", (long long)(left / size));
        left %= size;
    }
}

static void put_watch(struct fj_buf *line, const struct fj_watch *watch,
                      const struct watch_values *v)
{
    fj_buf_printf(line, "    asm volatile(\"// fj_watch %.*s %lld %lld %.*s%.*s ", watch->name.n,
                  watch->name.p, (long long)v->rows, (long long)v->cols, watch->kind.n,
                  watch->kind.p, v->kind_word.n, v->kind_word.n ? v->kind_word.p : "");
    if (watch->pitch >= 0) {
        fj_buf_printf(line, "%lld %%0\" ::\"l\"((unsigned long long)(%.*s)));", (long long)v->pitch,
                      watch->value.n, watch->value.p);
        return;
    }
    for (int i = 0; i < watch->n_counts; i++)
        fj_buf_printf(line, "%s%lld", i ? "x" : "", (long long)v->counts[i]);
    for (int i = 0; i < v->registers; i++)
        fj_buf_printf(line, " %%%d", i);
    fj_buf_puts(line, "\" ::");
    const char *constraint = is_word_kind(watch->kind) ? "r" : "f";
    for (int i = 0; i < v->registers; i++) {
        fj_buf_printf(line, "%s\"%s\"(", i ? ", " : "", constraint);
        put_register(line, watch, v, i);
        fj_buf_puts(line, ")");
    }
    fj_buf_puts(line, ");");
}

int fj_watch_render(const struct fj_template *tmpl, const struct fj_watch *watch,
                    const struct fj_value *values, struct fj_buf *line)
{
    struct watch_values v = {0};
    int status = eval_watch(tmpl, watch, values, &v);
    if (!status)
        put_watch(line, watch, &v);
    return status;
}
