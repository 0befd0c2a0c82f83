// PTX text to a checked tree: entries, parameters, variables, instructions with their lines.
#ifndef FJ_EMU_PTX_H
#define FJ_EMU_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fj_ptx_space {
    FJ_PTX_GENERIC,
    FJ_PTX_GLOBAL,
    FJ_PTX_CONST,
    FJ_PTX_SHARED,
    FJ_PTX_LOCAL,
    FJ_PTX_PARAM,
};

// A variable: of the module (global, const, shared) or of an entry (shared, local).
struct fj_ptx_var {
    const char *name;
    enum fj_ptx_space space;
    uint32_t align;
    uint64_t bytes;      // 0: extern shared array of unknown size (dynamic shared memory)
    const uint8_t *init; // NULL: zeros
    uint64_t init_bytes;
    uint32_t offset; // shared and local: within the entry's memory
};

struct fj_ptx_param {
    const char *name;
    uint32_t offset, bytes, align; // in the packed parameter block
};

struct fj_ptx_insn;
struct fj_ptx_reg;
struct fj_ptx_label;

struct fj_ptx_entry {
    const char *name;
    struct fj_ptx_param *params;
    int n_params;
    uint32_t param_bytes;
    uint32_t maxntid[3], reqntid[3]; // 0: not given
    uint32_t minnctapersm, maxnreg;
    uint32_t cluster[3]; // .reqnctapercluster; 0: not given
    uint32_t maxclusterrank;
    bool explicit_cluster;
    uint32_t smem_static_bytes; // as the driver reports: without dynamic
    uint32_t smem_dynamic_align;
    uint32_t local_bytes;    // per thread
    uint32_t *module_shared; // by variable of the module: shared address, ~0: not used
    // An estimate from liveness, since hardware allocates otherwise; known once code is built.
    int registers;
    // Body, for the decoder.
    struct fj_ptx_insn *insns;
    int n_insns;
    struct fj_ptx_reg *regs;
    int n_regs;
    struct fj_ptx_label *labels;
    int n_labels;
    struct fj_ptx_var *vars;
    int n_vars;
};

struct fj_ptx_module {
    int version;          // times ten: 90 for 9.0
    int target;           // 90 for sm_90a
    bool target_specific; // sm_90a
    struct fj_ptx_entry *entries;
    int n_entries;
    struct fj_ptx_var *vars; // of the module
    int n_vars;
    const char **files; // .file table, by number; NULL where unused
    int n_files;
    void *arena;
};

// FAJIT_OK, or FAJIT_E_COMPILE with the PTX line. The text is copied. Never crashes on any bytes.
int fj_ptx_parse(const char *text, size_t len, struct fj_ptx_module **ret_module);
void fj_ptx_free(struct fj_ptx_module *module);

const struct fj_ptx_entry *fj_ptx_find_entry(const struct fj_ptx_module *module, const char *name);

#endif
