// Any bytes as PTX: refused, or decoded and run for a while. Never a crash, never an endless loop.
#include "base/err.h"
#include "emu/count.h"
#include "emu/exec.h"
#include "emu/memory.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const struct fj_emu_code *code, const struct fj_ptx_entry *entry, uint64_t memory,
                uint8_t choice)
{
    uint64_t params[4096] = {memory, memory, memory, memory};
    struct fj_gpu gpu = {.sm_count = 4, .regs_per_sm = 65536};
    struct fj_emu_fault fault;
    struct fj_emu_counts counts = {0};
    if (entry->param_bytes > sizeof(params))
        return;
    const uint32_t ctas = choice & 2 ? 2 : 1;
    const struct fj_emu_launch launch = {
        .grid = {ctas, 1, 1},
        .block = {choice & 4 ? 160 : 32, 1, 1},
        .cluster = {choice & 8 ? ctas : 1, 1, 1},
        .smem_dynamic_bytes = 4096,
        .params = params,
        .param_bytes = sizeof(params),
        .gpu = &gpu,
        .check = choice & 1,
        .budget = 4096,
        .threads = 1,
        .counts = choice & 16 ? &counts : NULL,
    };
    fj_emu_execute(code, &launch, &fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t memory;
    struct fj_ptx_module *module;
    fj_emu_mem_track(true); // what the kernels do to global memory is followed
    if (memory == 0 && fj_emu_mem_alloc(4096, &memory) != FAJIT_OK)
        return 0;
    // The parser gets its bytes without a terminator behind them.
    char *text = malloc(size ? size : 1);
    if (!text)
        return 0;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)data[i];
    if (fj_ptx_parse(text, size, &module) == FAJIT_OK) {
        uint64_t *addr = calloc((size_t)module->n_vars + 1, sizeof(*addr));
        for (int i = 0; addr && i < module->n_entries; i++) {
            struct fj_emu_code *code;
            if (fj_emu_code_build(module, &module->entries[i], addr, &code) == FAJIT_OK) {
                run(code, &module->entries[i], memory, data[size - 1]);
                fj_emu_code_free(code);
            }
        }
        free(addr);
        fj_ptx_free(module);
    }
    free(text);
    return 0;
}
