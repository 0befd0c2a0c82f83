// Runs a small PTX kernel for tests: one parameter, a pointer to words.
#ifndef FJ_TEST_EMU_RUN_H
#define FJ_TEST_EMU_RUN_H

#include "emu/count.h"
#include "emu/exec.h"
#include "emu/memory.h"
#include "emu/trace.h"

#include <stdio.h>
#include <string.h>

#define WORDS 1024

#define KERNEL(attributes, body)                                                                   \
    ".version 8.0\n.target sm_90a\n.address_size 64\n"                                             \
    ".extern .shared .align 1024 .b8 dyn[];\n"                                                     \
    ".visible .entry k(.param .u64 p)" attributes " {\n"                                           \
    ".reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<40>; .reg .f32 %f<16>; .reg .b64 %d<16>;\n"   \
    "ld.param.u64 %d0, [p];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %d1, %r0, 4;\n"                    \
    "add.s64 %d2, %d0, %d1;\n" body "\nret;\n}\n"

struct emu_run {
    struct fj_ptx_module *module;
    struct fj_emu_code *code;
    struct fj_emu_launch launch;
    struct fj_emu_fault fault;
    struct fj_gpu gpu;
    uint64_t memory;
    uint32_t *words; // WORDS of them, the kernel's parameter points here
    int status;
};

static inline void emu_open(struct emu_run *run, const char *ptx)
{
    memset(run, 0, sizeof(*run));
    if (fj_ptx_parse(ptx, strlen(ptx), &run->module) != FAJIT_OK ||
        fj_emu_code_build(run->module, fj_ptx_find_entry(run->module, "k"), NULL, &run->code) !=
            FAJIT_OK)
        fail_msg("%s", fj_err_text());
    assert_int_equal(fj_emu_mem_alloc(WORDS * 4, &run->memory), FAJIT_OK);
    run->words = (uint32_t *)(uintptr_t)run->memory;
    run->gpu.sm_count = 132;
    run->launch = (struct fj_emu_launch){.grid = {1, 1, 1},
                                         .block = {32, 1, 1},
                                         .cluster = {1, 1, 1},
                                         .params = &run->memory,
                                         .param_bytes = 8,
                                         .gpu = &run->gpu,
                                         .smem_dynamic_bytes = 4096};
}

static inline void emu_go(struct emu_run *run)
{
    fj_emu_mem_begin_launch();
    run->status = fj_emu_execute(run->code, &run->launch, &run->fault);
    fj_emu_mem_end_launch();
}

static inline void emu_close(struct emu_run *run)
{
    fj_emu_code_free(run->code);
    fj_ptx_free(run->module);
    fj_emu_mem_free(run->memory);
}

// Runs with `threads` and expects success; the words stay readable until emu_close.
static inline void emu_good(struct emu_run *run, const char *ptx, unsigned threads)
{
    emu_open(run, ptx);
    for (uint32_t i = 0; i < WORDS; i++)
        run->words[i] = i * 2654435761u;
    run->launch.block[0] = threads;
    emu_go(run);
    if (run->status != FAJIT_OK)
        fail_msg("%s", run->fault.text);
}

// Expects a fault of the kind whose report has all the parts (ended by NULL).
static inline void emu_bad(const char *ptx, unsigned threads, bool check,
                           enum fj_emu_fault_kind kind, const char *const parts[])
{
    struct emu_run run;
    emu_open(&run, ptx);
    run.launch.block[0] = threads;
    run.launch.check = check;
    run.launch.budget = 1 << 20;
    emu_go(&run);
    if (run.fault.kind != kind)
        fail_msg("fault %d instead of %d: %s", (int)run.fault.kind, (int)kind, run.fault.text);
    for (int i = 0; parts[i] != NULL; i++) {
        if (!strstr(run.fault.text, parts[i]))
            fail_msg("\"%s\" is not in: %s", parts[i], run.fault.text);
    }
    emu_close(&run);
}

#endif
