// Building the code of an entry: tables, layout, decoding in the order of the text.
#include <stdlib.h>
#include <string.h>

#include "emu/ops.h"

extern const struct fj_emu_op fj_emu_int_ops_base[], fj_emu_float_ops_base[],
    fj_emu_half_ops_base[], fj_emu_cmp_ops_base[], fj_emu_cvt_ops_base[];
#ifdef FJ_EMU_HAVE_AVX2
extern const struct fj_emu_op fj_emu_int_ops_avx2[], fj_emu_float_ops_avx2[],
    fj_emu_half_ops_avx2[], fj_emu_cmp_ops_avx2[], fj_emu_cvt_ops_avx2[];
#endif

#define N_TABLES 5

static const struct fj_emu_op *const base_tables[N_TABLES] = {
    fj_emu_int_ops_base, fj_emu_float_ops_base, fj_emu_half_ops_base, fj_emu_cmp_ops_base,
    fj_emu_cvt_ops_base};

// The lane loops for the host's instruction set.
static const struct fj_emu_op *const *lane_tables(void)
{
#ifdef FJ_EMU_HAVE_AVX2
    static const struct fj_emu_op *const avx2_tables[N_TABLES] = {
        fj_emu_int_ops_avx2, fj_emu_float_ops_avx2, fj_emu_half_ops_avx2, fj_emu_cmp_ops_avx2,
        fj_emu_cvt_ops_avx2};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return avx2_tables;
#endif
    return base_tables;
}

static const uint8_t table_classes[N_TABLES] = {FJ_EMU_CLASS_INT, FJ_EMU_CLASS_FLOAT,
                                                FJ_EMU_CLASS_FLOAT, FJ_EMU_CLASS_INT,
                                                FJ_EMU_CLASS_CONVERT};

static uint32_t hash_name(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name != '\0'; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    return h;
}

static int source_count(const struct fj_emu_op *op)
{
    return (int)strlen(op->operands) - (strchr(op->operands, '=') != NULL);
}

static bool build_table(struct fj_emu_build *b)
{
    const struct fj_emu_op *const *tables = lane_tables();
    b->table_mask = 4095;
    b->table = calloc(b->table_mask + 1, sizeof(*b->table));
    if (b->table == NULL) {
        fj_emu_build_fail(b, "out of memory");
        return false;
    }
    for (int t = 0; t < N_TABLES; t++) {
        for (const struct fj_emu_op *op = tables[t]; op->name != NULL; op++) {
            uint32_t at = hash_name(op->name) & b->table_mask;
            while (b->table[at] != NULL)
                at = (at + 1) & b->table_mask;
            b->table[at] = op;
        }
    }
    return true;
}

const struct fj_emu_op *fj_emu_find_op(const struct fj_emu_build *b, const char *name, int n_ops)
{
    uint32_t at = hash_name(name) & b->table_mask;
    for (; b->table[at] != NULL; at = (at + 1) & b->table_mask) {
        if (strcmp(b->table[at]->name, name) == 0 && source_count(b->table[at]) == n_ops)
            return b->table[at];
    }
    return NULL;
}

static uint8_t class_of_op(const struct fj_emu_op *op)
{
    const struct fj_emu_op *const *tables = lane_tables();
    static const char *const special[] = {"ex2",  "lg2", "sin",   "cos",
                                          "tanh", "rcp", "rsqrt", "sqrt"};
    static const char *const moves[] = {"mov",     "selp",     "and.pred",
                                        "or.pred", "xor.pred", "not.pred"};
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        if (strncmp(op->name, special[i], strlen(special[i])) == 0)
            return FJ_EMU_CLASS_SPECIAL;
    }
    for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        if (strncmp(op->name, moves[i], strlen(moves[i])) == 0)
            return FJ_EMU_CLASS_MOVE;
    }
    for (int t = 0; t < N_TABLES; t++) {
        for (const struct fj_emu_op *row = tables[t]; row->name != NULL; row++) {
            if (row == op)
                return table_classes[t];
        }
    }
    return FJ_EMU_CLASS_INT;
}

// ".rn" is what the tables' arithmetic does; naming it makes no difference.
static void normal_name(const char *op, char *name, size_t cap)
{
    size_t len = strlen(op);
    if (len >= cap) {
        name[0] = '\0';
        return;
    }
    memcpy(name, op, len + 1);
    char *rn = strstr(name, ".rn.");
    if (rn != NULL && strncmp(name, "cvt", 3) != 0)
        memmove(rn, rn + 3, strlen(rn + 3) + 1);
    char *global = strstr(name, ".uni");
    if (global != NULL && global[4] == '\0')
        *global = '\0';
}

static bool cut_part(char *name, const char *part)
{
    char *at = strstr(name, part);
    if (at == NULL)
        return false;
    memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
    return true;
}

// 16-bit arithmetic takes .ftz and .sat as flags, for its table has no rows of them.
static uint8_t half_fixes(char *name)
{
    const char *type = fj_emu_last_part(name);
    if (strncmp(name, "cvt", 3) == 0 || strstr(type, "f16") == NULL)
        return 0;
    const bool ftz = cut_part(name, ".ftz"), sat = cut_part(name, ".sat");
    return (uint8_t)((ftz ? FJ_EMU_HALF_FTZ : 0) | (sat ? FJ_EMU_HALF_SAT : 0));
}

// Whether the registers have the widths the table's row wants; cvt also takes wider ones.
static bool widths_match(const struct fj_emu_build *b, const struct fj_emu_op *op)
{
    int k = 0;
    for (const char *at = op->operands; *at != '\0'; at++) {
        if (*at == '=')
            continue;
        const int wanted = *at == 'd' ? 64 : *at == 'p' ? 1 : 32;
        const int have = fj_emu_operand_bits(b, &b->source->ops[k++]);
        if (have != 0 && have != wanted)
            return false;
    }
    return true;
}

static bool decode_from_table(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    char name[64];
    normal_name(src->op, name, sizeof(name));
    if (strncmp(name, "setp", 4) == 0)
        return false;
    const uint8_t fixes = half_fixes(name);
    const struct fj_emu_op *op = fj_emu_find_op(b, name, src->n_ops);
    if (op == NULL || (strncmp(name, "cvt", 3) == 0 && !widths_match(b, op)))
        return false;
    for (int i = 0; i < src->n_ops; i++) {
        if (src->ops[i].kind == FJ_PTX_OP_VECTOR || src->ops[i].kind == FJ_PTX_OP_SPECIAL)
            return false;
    }
    fj_emu_decode_op(b, op);
    b->code->insns[b->code->n_insns - 1].flags = fixes;
    b->code->info[b->code->n_insns - 1].class = class_of_op(op);
    return true;
}

static const struct fj_emu_family *const families[] = {
    fj_emu_move_families,   fj_emu_memory_families, fj_emu_control_families,
    fj_emu_sync_families,   fj_emu_mbar_families,   fj_emu_async_families,
    fj_emu_matrix_families, fj_emu_round_families,  fj_emu_pool_families,
};

static void decode_one(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    char name[24];
    const uint32_t before = b->code->n_insns;
    b->source = src;
    if (decode_from_table(b, src))
        return;
    // Families are named by the first part, "cp.async" and "cp.reduce" by two.
    if (!fj_emu_part(src->op, 0, name, sizeof(name)))
        name[0] = '\0';
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        for (const struct fj_emu_family *family = families[f]; family->prefix; family++) {
            if (strcmp(family->prefix, name) != 0)
                continue;
            family->decode(b, src);
            for (uint32_t i = before; i < b->code->n_insns; i++) {
                if (b->code->info[i].class == 0)
                    b->code->info[i].class = family->class;
            }
            return;
        }
    }
    fj_emu_build_unknown(b);
}

static void mark_for_checks(struct fj_emu_code *c)
{
    for (uint32_t i = 0; i < c->n_insns; i++) {
        struct fj_emu_info *info = &c->info[i];
        const char *op = info->source != NULL ? info->source->op : "";
        info->renames = strncmp(op, "mov.", 4) == 0 || strncmp(op, "selp.", 5) == 0;
        info->is_wgmma = strncmp(op, "wgmma.mma_async", 15) == 0;
        info->is_shuffle = strncmp(op, "shfl.", 5) == 0;
    }
}

static void decode_all(struct fj_emu_build *b)
{
    const struct fj_ptx_entry *e = b->entry;
    struct fj_emu_code *c = b->code;
    for (int i = 0; i < e->n_insns && !b->failed; i++) {
        b->source = &e->insns[i];
        if (i == 0 || c->block_of[i] != c->block_of[i - 1])
            fj_emu_emit_block(b, c->block_of[i]);
        decode_one(b, &e->insns[i]);
    }
    b->source = NULL;
    fj_emu_emit_block(b, c->n_blocks);
    fj_emu_emit_exit(b);
    if (b->failed)
        return;
    mark_for_checks(c);
    for (uint32_t i = 0; i <= c->n_blocks; i++) {
        struct fj_emu_basic *block = &c->blocks[i];
        block->end = i < c->n_blocks ? c->blocks[i + 1].first : c->n_insns;
        c->insns[block->first].imm = block->end - block->first - 1;
    }
}

// Predicates 0 and 1 are the sink and false.
static bool number_preds(struct fj_emu_build *b)
{
    struct fj_emu_code *c = b->code;
    const struct fj_ptx_entry *e = b->entry;
    c->slot_of = calloc((size_t)e->n_regs + 1, sizeof(*c->slot_of));
    c->n_preds = 2;
    c->sink = 0;
    if (c->slot_of == NULL)
        fj_emu_build_fail(b, "out of memory");
    for (int i = 0; i < e->n_regs && !b->failed; i++) {
        if (e->regs[i].bits == 1)
            c->slot_of[i] = c->n_preds++;
        if (c->n_preds > INT16_MAX)
            fj_emu_build_fail(b, "more than %d predicates", INT16_MAX);
    }
    return !b->failed;
}

int fj_emu_code_build(const struct fj_ptx_module *module, const struct fj_ptx_entry *entry,
                      const uint64_t *var_addr, struct fj_emu_code **ret_code)
{
    *ret_code = NULL;
    struct fj_emu_code *code = calloc(1, sizeof(*code));
    if (code == NULL)
        return fj_err(FAJIT_E_NOMEM, "out of memory for the code of '%s'", entry->name);
    struct fj_emu_build build = {.code = code, .module = module, .entry = entry};
    code->module = module;
    code->entry = entry;
    code->var_addr = var_addr;
    code->local_bytes = (entry->local_bytes + 15) & ~15u;
    code->smem_static_bytes = entry->smem_static_bytes;
    code->smem_dynamic_align = entry->smem_dynamic_align;
    code->module_shared = entry->module_shared;
    if (build_table(&build) && number_preds(&build) && fj_emu_flow_build(&build) == 0) {
        decode_all(&build);
        if (!build.failed)
            fj_emu_slots_assign(&build);
    }
    free(build.table);
    code->var_addr = NULL; // the caller's; its values are in the constants now
    if (build.failed) {
        fj_emu_code_free(code);
        return FAJIT_E_COMPILE;
    }
    *ret_code = code;
    return FAJIT_OK;
}
