#include "kernels/heading.h"

#include <string.h>

#include "kernels/problem_words.h"

#define COLUMNS 100 // of a rendered line

// The words a text bakes in are what is left: dtype, head dims, mask kind, lse, seqlens, the
// epilogue, transposes, the promised alignment, family and variant. Knobs stand in --config.
struct fj_problem fj_problem_baked(const struct fj_problem *problem)
{
    struct fj_problem baked = *problem;
    memset(&baked.fixed, 0, sizeof(baked.fixed));
    if (baked.op == FAJIT_OP_ATTN_FWD) {
        struct fj_attn *attn = &baked.attn;
        attn->batch = attn->heads_q = attn->heads_kv = attn->seq_q = attn->seq_k = 0;
        attn->layout = FAJIT_BSHD;
        attn->scale = fj_attn_default_scale(attn->head_dim);
    } else {
        struct fj_gemm *gemm = &baked.gemm;
        gemm->batch = gemm->m = gemm->n = gemm->k = 0;
    }
    return baked;
}

// A paragraph as comment lines, broken at spaces.
static void write_wrapped(const char *text, struct fj_buf *ret_text)
{
    const size_t room = COLUMNS - strlen("// ");
    while (*text) {
        size_t len = strlen(text);
        if (len > room) {
            len = room;
            while (len > 0 && text[len] != ' ')
                len--;
            if (len == 0)
                len = strcspn(text, " "); // one word wider than a line stays whole
        }
        fj_buf_printf(ret_text, "// %.*s\n", (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

// Every knob, in as many --config options as it takes to keep lines within the columns.
static void write_config(const struct fj_config *config, struct fj_buf *ret_text)
{
    static const char start[] = "//       --config ";
    size_t used = 0; // columns of the line so far; room is kept for " \\"
    for (unsigned i = 0; i < FJ_KNOB_COUNT; i++) {
        if (config->v[i] == 0)
            continue;
        size_t width = strlen(fj_knob_name((enum fj_knob)i)) + sizeof("=1024,") - 1;
        bool fresh = used == 0 || used + width > COLUMNS - 2;
        if (fresh) {
            fj_buf_printf(ret_text, " \\\n%s", start);
            used = sizeof(start) - 1;
        }
        fj_buf_printf(ret_text, "%s%s=%d", fresh ? "" : ",", fj_knob_name((enum fj_knob)i),
                      config->v[i]);
        used += width;
    }
}

static void write_command(const struct fj_choice *choice, int cc, struct fj_buf *ret_text)
{
    static const char start[] = "//   fajit-inspect render ";
    struct fj_buf problem = {0};
    fj_problem_print(&choice->problem, &problem);
    bool fits = sizeof(start) - 1 + problem.len + sizeof(" --arch sm_120 \\") - 1 <= COLUMNS;
    fj_buf_printf(ret_text, "%s%s%s --arch sm_%d", start, problem.data ? problem.data : "",
                  fits ? "" : " \\\n//      ", cc);
    ret_text->failed |= problem.failed;
    fj_buf_free(&problem);
    write_config(&choice->config, ret_text);
    fj_buf_puts(ret_text, "\n");
}

static void write_cost(const struct fj_choice *choice, struct fj_buf *ret_text)
{
    bool attn = choice->problem.op == FAJIT_OP_ATTN_FWD;
    struct fj_cost cost = {0};
    struct fj_buf text = {0};
    choice->kernel->cost(choice, &cost);
    fj_buf_printf(&text, "One CTA: %d threads, %d bytes of dynamic shared memory. ",
                  choice->kernel->threads(choice), choice->kernel->smem_bytes(choice));
    fj_buf_printf(&text, "One %s block: %.0f FLOPs, %.0f bytes", attn ? "KV" : "K",
                  cost.block_flops, cost.block_bytes);
    if (attn)
        fj_buf_printf(&text, ", %.0f exponentials", cost.block_exps);
    fj_buf_puts(&text, ".");
    if (!text.failed)
        write_wrapped(text.data, ret_text);
    ret_text->failed |= text.failed;
    fj_buf_free(&text);
}

int fj_kernel_heading(const struct fj_choice *choice, int cc, struct fj_buf *ret_text)
{
    // With the baked words alone, nothing below can tell what a launch may change.
    struct fj_choice baked = *choice;
    baked.problem = fj_problem_baked(&choice->problem);
    write_wrapped(choice->kernel->summary, ret_text);
    fj_buf_puts(ret_text, "//\n");
    write_command(&baked, cc, ret_text);
    fj_buf_puts(ret_text, "//\n");
    write_cost(&baked, ret_text);
    if (ret_text->failed)
        return fj_err(FAJIT_E_NOMEM, "out of memory while writing a kernel's heading");
    return FAJIT_OK;
}
