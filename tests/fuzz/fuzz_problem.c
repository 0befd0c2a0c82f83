// libFuzzer target: any text either parses to a problem whose canonical text is a fixed point, or
// is refused with a sentence; any struct is refused or formats.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/problem.h"

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void check_fixed_point(const struct fajit_problem *problem)
{
    struct fajit_problem back;
    struct fj_buf text = {0}, again = {0};
    require(fj_problem_format(problem, &text) == FAJIT_OK);
    require(fj_problem_parse(text.data, &back) == FAJIT_OK);
    require(fj_problem_format(&back, &again) == FAJIT_OK);
    require(strcmp(text.data, again.data) == 0);
    fj_buf_free(&text);
    fj_buf_free(&again);
}

static void try_text(const uint8_t *data, size_t size)
{
    struct fajit_problem problem;
    char *text = malloc(size + 1);
    if (!text)
        return;
    memcpy(text, data, size);
    text[size] = '\0';
    fj_err_clear();
    int r = fj_problem_parse(text, &problem);
    if (r == FAJIT_OK)
        check_fixed_point(&problem);
    else
        require(fj_err_text()[0] != '\0');
    free(text);
}

// bool and enum fields take any bits from the fuzzer, which C does not define for bool.
static void try_struct(const uint8_t *data, size_t size)
{
    struct fajit_problem problem = {0};
    struct fj_problem own;
    memcpy(&problem, data, size < sizeof(problem) ? size : sizeof(problem));
    problem.struct_size = sizeof(problem);
    bool *const flags[] = {&problem.attn.lse,     &problem.attn.seqlens_q, &problem.attn.seqlens_k,
                           &problem.gemm.trans_a, &problem.gemm.trans_b,   &problem.gemm.bias,
                           &problem.gemm.beta};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        unsigned char bits;
        memcpy(&bits, flags[i], 1);
        *flags[i] = bits & 1;
    }
    if (fj_problem_from_public(&problem, &own) == FAJIT_OK)
        check_fixed_point(&problem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '#')
        try_struct(data + 1, size - 1);
    else
        try_text(data, size);
    return 0;
}
