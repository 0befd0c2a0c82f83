#include "test.h"

#include "kernels/heading.h"

static int threads(const struct fj_choice *choice)
{
    return 32 * FJ_CFG(&choice->config, warps);
}

static int smem_bytes(const struct fj_choice *choice)
{
    return 2 * choice->problem.attn.head_dim * FJ_CFG(&choice->config, bn);
}

// Would betray lengths and heads if the heading let it see them.
static void cost(const struct fj_choice *choice, struct fj_cost *ret_cost)
{
    const struct fj_attn *attn = &choice->problem.attn;
    *ret_cost = (struct fj_cost){
        .block_flops = 4194304 + (double)attn->seq_q + (double)attn->heads_q,
        .block_bytes = 32768,
        .block_exps = 8192,
    };
}

static const struct fj_kernel_class attn_class = {
    .name = "attn_fake",
    .op = FAJIT_OP_ATTN_FWD,
    .family = FAJIT_FAMILY_MMA,
    .summary = "O = softmax(scale * Q K^T + mask) V.",
    .threads = threads,
    .smem_bytes = smem_bytes,
    .cost = cost,
};

static int gemm_smem_bytes(const struct fj_choice *choice)
{
    (void)choice;
    return 0;
}

static const struct fj_kernel_class gemm_class = {
    .name = "gemm_fake",
    .op = FAJIT_OP_GEMM,
    .family = FAJIT_FAMILY_SIMT,
    .summary = "A sentence that goes on until it can no longer stand on one line of a hundred "
               "columns, so that it has to be broken.",
    .threads = threads,
    .smem_bytes = gemm_smem_bytes,
    .cost = cost,
};

static struct fj_choice chosen(const struct fj_kernel_class *kernel, const char *text,
                               const char *config)
{
    struct fajit_problem problem;
    struct fj_choice choice = {.kernel = kernel};
    if (fj_problem_parse(text, &problem) < 0 ||
        fj_problem_from_public(&problem, &choice.problem) < 0 ||
        fj_config_parse(config, &choice.config) < 0)
        fail_msg("%s: %s", text, fj_err_text());
    choice.problem.family = kernel->family;
    return choice;
}

static struct fj_buf heading_of(const struct fj_choice *choice)
{
    struct fj_buf text = {0};
    assert_int_equal(fj_kernel_heading(choice, 90, &text), FAJIT_OK);
    return text;
}

static void test_attn_heading(void **state)
{
    (void)state;
    struct fj_choice choice =
        chosen(&attn_class, "attn:bf16,d128,causal,variant=v2", "bm=128,bn=64,warps=4");
    struct fj_buf text = heading_of(&choice);
    assert_string_equal(
        text.data,
        "// O = softmax(scale * Q K^T + mask) V.\n"
        "//\n"
        "//   fajit-inspect render attn:bf16,d128,causal,kernel=mma,variant=v2 --arch sm_90 \\\n"
        "//       --config bm=128,bn=64,warps=4\n"
        "//\n"
        "// One CTA: 128 threads, 16384 bytes of dynamic shared memory. One KV block: 4194304 "
        "FLOPs, "
        "32768\n"
        "// bytes, 8192 exponentials.\n");
    fj_buf_free(&text);
}

static void test_gemm_heading(void **state)
{
    (void)state;
    struct fj_choice choice = chosen(&gemm_class, "gemm:f32,m4,n4,k4,nt,align=4", "bm=64,warps=8");
    struct fj_buf text = heading_of(&choice);
    assert_non_null(strstr(text.data, "columns, so that it\n"
                                      "// has to be broken.\n"));
    assert_non_null(strstr(text.data, "render gemm:f32,nt,kernel=simt,align=4 --arch"));
    assert_non_null(strstr(text.data, "One K block: "));
    assert_null(strstr(text.data, "exponentials"));
    fj_buf_free(&text);
}

static void test_long_command_is_broken(void **state)
{
    (void)state;
    struct fj_choice choice = chosen(
        &attn_class, "attn:bf16,d192/128,causal=tl,seqlens=k,lse,align=2,variant=v2", "bm=128");
    struct fj_buf text = heading_of(&choice);
    assert_non_null(strstr(text.data, ",align=2 \\\n//       --arch sm_90 \\\n//       --config "));
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 100);
    fj_buf_free(&text);
}

// What a launch may change leaves no trace.
static void test_run_time_words_do_not_show(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "attn:f16,d64",        "attn:f16,d64,b2,h16/4,q4096,k77", "attn:f16,d64,bhsd",
        "attn:f16,d64,nsd,h3", "attn:f16,d64,scale=0.7",          "attn:f16,d64,align=16,bm=128",
    };
    struct fj_buf first = {0};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fj_choice choice = chosen(&attn_class, texts[i], "bm=128,bn=64,warps=4");
        struct fj_buf text = heading_of(&choice);
        if (i == 0)
            first = text;
        else
            assert_string_equal(text.data, first.data);
        if (i > 0)
            fj_buf_free(&text);
    }
    fj_buf_free(&first);
}

static void test_baked_words_show(void **state)
{
    (void)state;
    static const char *const words[] = {"lse", "seqlens=k", "causal=tl", "variant=v1", "align=8"};
    for (size_t i = 0; i < COUNT(words); i++) {
        char problem[64];
        snprintf(problem, sizeof(problem), "attn:f16,d64,%s", words[i]);
        struct fj_choice choice = chosen(&attn_class, problem, "bm=128");
        struct fj_buf text = heading_of(&choice);
        assert_non_null(strstr(text.data, words[i]));
        fj_buf_free(&text);
    }
}

// Lines are comments within the columns, and every knob comes back from the options.
static void test_long_configurations(void **state)
{
    (void)state;
    struct fj_choice choice = chosen(&attn_class, "attn:bf16,d192/128,causal=tl,seqlens,lse", "");
    for (int i = 0; i < FJ_KNOB_COUNT; i++)
        choice.config.v[i] = (int16_t)(1000 + i);
    struct fj_buf text = heading_of(&choice), knobs = {0};
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 100);
        assert_memory_equal(line, "//", 2);
        assert_true(line[strlen(line) - 1] != ' ');
        const char *option = strstr(line, "--config ");
        if (!option)
            continue;
        option += strlen("--config ");
        fj_buf_printf(&knobs, "%s%.*s", knobs.len ? "," : "", (int)strcspn(option, " "), option);
    }
    struct fj_config back;
    assert_int_equal(fj_config_parse(knobs.data, &back), FAJIT_OK);
    assert_memory_equal(&back, &choice.config, sizeof(back));
    fj_buf_free(&text);
    fj_buf_free(&knobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attn_heading),
        cmocka_unit_test(test_gemm_heading),
        cmocka_unit_test(test_long_command_is_broken),
        cmocka_unit_test(test_run_time_words_do_not_show),
        cmocka_unit_test(test_baked_words_show),
        cmocka_unit_test(test_long_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
