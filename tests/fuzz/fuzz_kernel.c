// libFuzzer target: any words for a template either set it, and then print and parse to the same,
// or are refused with a sentence; any configuration text is taken or not.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "kernels/custom.h"
#include "kernels/kernel.h"

static const char own_text[] =
    "//@switch dtype f32|f16\n//@switch on bool\n//@const n\n//@const threads\n"
    "//@switch warps int\n//@let threads warps * 32\n//@tune warps 4 2 -1 64\n//@tune n 8 1\n"
    "//@require on || n > 1\n//@prelude\nvoid $kernel_name() {}\n";

static char dir[] = "/tmp/fajit-fuzz-XXXXXX";

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void check_fixed_point(const char *template_name, const struct fj_custom *custom)
{
    struct fj_custom back;
    struct fj_buf text = {0}, again = {0};
    fj_custom_print(custom, &text);
    const char *words = strchr(text.data, ',');
    require(fj_custom_parse(dir, template_name, words ? words + 1 : NULL, &back) == FAJIT_OK);
    fj_custom_print(&back, &again);
    require(strcmp(text.data, again.data) == 0);
    fj_buf_free(&text);
    fj_buf_free(&again);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[64];
    (void)argc, (void)argv;
    require(mkdtemp(dir) && fj_path_join(path, sizeof(path), dir, "own.cu") &&
            fj_file_publish(path, own_text, strlen(own_text), 0600) == FAJIT_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fj_custom custom;
    struct fj_gpu gpu;
    int64_t values[FJ_CUSTOM_KNOBS_MAX];
    const char *name = size > 0 && data[0] == '#' ? "gemm_simt" : "own.cu";
    char *words = malloc(size + 1);
    if (!words || !fj_gpu_for_cc(90, &gpu)) {
        free(words);
        return 0;
    }
    memcpy(words, data, size);
    words[size] = '\0';
    fj_err_clear();
    int r = fj_custom_parse(dir, name, size > 0 ? words + 1 : words, &custom);
    if (r == FAJIT_OK) {
        check_fixed_point(name, &custom);
        r = fj_custom_set_default(&custom, &gpu);
        require(strlen(custom.name) < sizeof(custom.name));
        fj_custom_config_parse(&custom, words, values);
    }
    require(r == FAJIT_OK || fj_err_text()[0] != '\0');
    free(words);
    return 0;
}
