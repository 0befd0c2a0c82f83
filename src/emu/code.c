// From the tree to the executable form: opcode look-up, operand binding, layout of memory.
#include "emu/code.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fj_emu_alloc {
    struct fj_emu_alloc *next;
    max_align_t data[];
};

void fj_emu_build_fail(struct fj_emu_build *b, const char *fmt, ...)
{
    if (b->failed)
        return;
    b->failed = true;
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    const struct fj_ptx_insn *s = b->source;
    fj_err(FAJIT_E_COMPILE, "%s: PTX line %d, CUDA line %d: '%s': %s", b->entry->name,
           s ? s->ptx_line : 0, s ? s->line : 0, s ? s->op : "", text);
}

void fj_emu_build_unknown(struct fj_emu_build *b)
{
    fj_emu_build_fail(b, "the emulated device does not know this opcode with %d operands",
                      b->source->n_ops);
}

void *fj_emu_build_alloc(struct fj_emu_build *b, size_t bytes)
{
    struct fj_emu_alloc *alloc = calloc(1, sizeof(*alloc) + bytes);
    if (alloc == NULL) {
        fj_emu_build_fail(b, "out of memory");
        return NULL;
    }
    alloc->next = b->code->allocs;
    b->code->allocs = alloc;
    return alloc->data;
}

bool fj_emu_has(const char *op, const char *part)
{
    const size_t len = strlen(part);
    for (const char *at = strstr(op, part); at != NULL; at = strstr(at + 1, part)) {
        if (at[len] == '\0' || at[len] == '.')
            return true;
    }
    return false;
}

bool fj_emu_part(const char *op, int n, char *text, size_t cap)
{
    while (n-- > 0) {
        op = strchr(op, '.');
        if (op == NULL)
            return false;
        op++;
    }
    const size_t len = strcspn(op, ".");
    if (len >= cap)
        return false;
    memcpy(text, op, len);
    text[len] = '\0';
    return true;
}

const char *fj_emu_last_part(const char *op)
{
    const char *dot = strrchr(op, '.');
    return dot != NULL ? dot + 1 : "";
}

bool fj_emu_operand_count(struct fj_emu_build *b, int least, int most)
{
    if (b->source->n_ops < least || b->source->n_ops > most)
        fj_emu_build_fail(b, "%d operands where %d to %d belong", b->source->n_ops, least, most);
    return !b->failed;
}

static bool grow(struct fj_emu_build *b, void *array, uint32_t count, uint32_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    const uint32_t wanted = *cap > 0 ? *cap * 2 : 256;
    void *grown = realloc(*(void **)array, (size_t)wanted * size);
    if (grown == NULL) {
        fj_emu_build_fail(b, "out of memory");
        return false;
    }
    *(void **)array = grown;
    *cap = wanted;
    return true;
}

// The sink of the first instruction that could not be appended; never executed.
static struct fj_emu_insn spare;

struct fj_emu_insn *fj_emu_emit(struct fj_emu_build *b, fj_emu_handler *fn)
{
    struct fj_emu_code *c = b->code;
    if (!grow(b, &c->insns, c->n_insns, &c->cap_insns, sizeof(*c->insns)) ||
        !grow(b, &c->info, c->n_insns, &c->cap_info, sizeof(*c->info)))
        return &spare;
    struct fj_emu_insn *in = &c->insns[c->n_insns];
    *in = (struct fj_emu_insn){
        .fn = fn, .guard = -1, .ext = c->n_ext, .target = FJ_EMU_NONE, .join = FJ_EMU_NONE};
    c->info[c->n_insns++] = (struct fj_emu_info){.source = b->source, .first_ref = c->n_refs};
    if (b->source != NULL && b->source->guard >= 0) {
        in->guard = (int16_t)c->slot_of[b->source->guard];
        in->guard_not = b->source->guard_negated;
    }
    return in;
}

static void add_ref(struct fj_emu_build *b, uint32_t reg, uint32_t at, bool def)
{
    struct fj_emu_code *c = b->code;
    if (!grow(b, &c->refs, c->n_refs, &c->cap_refs, sizeof(*c->refs)))
        return;
    c->refs[c->n_refs++] = (struct fj_emu_ref){.reg = reg, .at = at, .def = def};
    c->info[c->n_insns - 1].n_refs++;
}

static uint32_t *operand_at(struct fj_emu_build *b, int k)
{
    return &b->code->insns[b->code->n_insns - 1].o[k];
}

int fj_emu_operand_bits(const struct fj_emu_build *b, const struct fj_ptx_operand *op)
{
    if (op->kind != FJ_PTX_OP_REG)
        return 0;
    const int bits = b->entry->regs[op->index].bits;
    return bits == 1 ? 1 : bits <= 32 ? 32 : bits;
}

static bool check_width(struct fj_emu_build *b, const struct fj_ptx_operand *op, int bits)
{
    if (fj_emu_operand_bits(b, op) == bits)
        return true;
    char name[64];
    fj_ptx_reg_name(b->entry, op->index, name, sizeof(name));
    fj_emu_build_fail(b, "register %s has %d bits where %d belong", name,
                      b->entry->regs[op->index].bits, bits);
    return false;
}

void fj_emu_bind_dst(struct fj_emu_build *b, int k, const struct fj_ptx_operand *op, int bits)
{
    if (op->kind == FJ_PTX_OP_SINK) {
        *operand_at(b, k) = bits == 1 ? 0 : b->code->sink;
        return;
    }
    if (op->kind != FJ_PTX_OP_REG) {
        fj_emu_build_fail(b, "the destination must be a register");
        return;
    }
    if (!check_width(b, op, bits))
        return;
    *operand_at(b, k) = b->code->slot_of[op->index];
    add_ref(b, (uint32_t)op->index, (uint32_t)k, true);
}

// One slot per distinct constant and width.
static uint32_t constant(struct fj_emu_build *b, uint64_t value, int bits)
{
    struct fj_emu_code *c = b->code;
    const uint32_t step = 128;
    for (uint32_t at = 0; at < c->pool_bytes; at += step * 2) {
        uint64_t have;
        memcpy(&have, c->pool + at, sizeof(have));
        uint64_t want = bits == 64 ? value : (value & 0xffffffffu) | value << 32;
        uint64_t next;
        memcpy(&next, c->pool + at + 128, sizeof(next));
        if (have == want && next == want)
            return at | 1;
    }
    if (c->pool_bytes >= c->pool_cap) {
        const uint32_t cap = c->pool_cap > 0 ? c->pool_cap * 2 : 1u << 14;
        uint8_t *pool = aligned_alloc(64, cap);
        if (pool == NULL) {
            fj_emu_build_fail(b, "out of memory");
            return 1;
        }
        if (c->pool_bytes > 0)
            memcpy(pool, c->pool, c->pool_bytes);
        free(c->pool);
        c->pool = pool;
        c->pool_cap = cap;
    }
    const uint64_t fill = bits == 64 ? value : (value & 0xffffffffu) | value << 32;
    for (uint32_t i = 0; i < 256; i += 8)
        memcpy(c->pool + c->pool_bytes + i, &fill, 8);
    c->pool_bytes += 256;
    return (c->pool_bytes - 256) | 1;
}

void fj_emu_bind_const(struct fj_emu_build *b, int k, uint64_t value, int bits)
{
    const uint32_t slot = constant(b, value, bits);
    *operand_at(b, k) = slot;
}

static uint64_t immediate(const struct fj_ptx_operand *op, int bits)
{
    if (op->kind == FJ_PTX_OP_F64 && bits <= 32) {
        double wide;
        memcpy(&wide, &op->value, sizeof(wide));
        const float narrow = (float)wide;
        uint32_t out;
        memcpy(&out, &narrow, sizeof(out));
        return out;
    }
    if (op->kind == FJ_PTX_OP_F32 && bits == 64) {
        const uint32_t low = (uint32_t)op->value;
        float narrow;
        memcpy(&narrow, &low, sizeof(narrow));
        const double wide = (double)narrow;
        uint64_t out;
        memcpy(&out, &wide, sizeof(out));
        return out;
    }
    return op->value;
}

static uint32_t shared_address(const struct fj_emu_build *b, int module_var)
{
    const uint32_t at = b->code->module_shared[module_var];
    return at == FJ_EMU_NONE ? 0 : at;
}

// The address of a variable as its state space sees it; constants live in global memory.
static bool symbol(struct fj_emu_build *b, const struct fj_ptx_operand *op, uint64_t *value)
{
    if (op->kind == FJ_PTX_OP_VAR)
        *value = b->entry->vars[op->index].offset;
    else if (op->kind == FJ_PTX_OP_PARAM)
        *value = b->entry->params[op->index].offset;
    else if (op->kind == FJ_PTX_OP_MODULE_VAR && b->module->vars[op->index].space == FJ_PTX_SHARED)
        *value = shared_address(b, op->index);
    else if (op->kind == FJ_PTX_OP_MODULE_VAR)
        *value = b->code->var_addr != NULL ? b->code->var_addr[op->index] : 0;
    else
        return false;
    *value += op->value;
    return true;
}

static void bind_pred(struct fj_emu_build *b, int k, const struct fj_ptx_operand *op)
{
    if (op->kind == FJ_PTX_OP_INT) { // a constant predicate
        *operand_at(b, k) = 1 | ((op->value != 0) != op->negated ? FJ_EMU_PRED_NOT : 0);
        return;
    }
    if (op->kind != FJ_PTX_OP_REG) {
        fj_emu_build_fail(b, "a predicate register belongs here");
        return;
    }
    if (!check_width(b, op, 1))
        return;
    *operand_at(b, k) = b->code->slot_of[op->index] | (op->negated ? FJ_EMU_PRED_NOT : 0);
    add_ref(b, (uint32_t)op->index, (uint32_t)k, false);
}

void fj_emu_bind_src(struct fj_emu_build *b, int k, const struct fj_ptx_operand *op, int bits,
                     int value_bits)
{
    uint64_t value;
    if (bits == 1) {
        bind_pred(b, k, op);
    } else if (op->negated) {
        fj_emu_build_fail(b, "'!' stands before a predicate only");
    } else if (op->kind == FJ_PTX_OP_REG) {
        if (!check_width(b, op, bits))
            return;
        *operand_at(b, k) = b->code->slot_of[op->index];
        add_ref(b, (uint32_t)op->index, (uint32_t)k, false);
    } else if (op->kind == FJ_PTX_OP_INT || op->kind == FJ_PTX_OP_F32 ||
               op->kind == FJ_PTX_OP_F64) {
        value = immediate(op, bits);
        if (value_bits < 64)
            value &= (1ull << value_bits) - 1;
        fj_emu_bind_const(b, k, value, bits);
    } else if (symbol(b, op, &value)) {
        fj_emu_bind_const(b, k, value, bits);
    } else if (op->kind == FJ_PTX_OP_SINK) {
        *operand_at(b, k) = b->code->sink;
    } else {
        fj_emu_build_fail(b, "operand '%s' is not a register or a constant",
                          op->text ? op->text : "?");
    }
}

void fj_emu_bind_ext(struct fj_emu_build *b, const struct fj_ptx_operand *op, int bits, bool def,
                     bool use)
{
    struct fj_emu_code *c = b->code;
    if (!grow(b, &c->ext, c->n_ext, &c->cap_ext, sizeof(*c->ext)))
        return;
    struct fj_emu_insn *in = &c->insns[c->n_insns - 1];
    uint32_t slot = 0;
    const uint32_t at = FJ_EMU_OPERANDS + in->n_ext;
    if (op->kind == FJ_PTX_OP_REG) {
        if (!check_width(b, op, bits))
            return;
        slot = c->slot_of[op->index];
        if (use)
            add_ref(b, (uint32_t)op->index, at, false);
        if (def)
            add_ref(b, (uint32_t)op->index, at, true);
    } else if (op->kind == FJ_PTX_OP_SINK) {
        slot = c->sink;
    } else if (!def && (op->kind == FJ_PTX_OP_INT || op->kind == FJ_PTX_OP_F32 ||
                        op->kind == FJ_PTX_OP_F64)) {
        slot = constant(b, immediate(op, bits), bits);
    } else {
        fj_emu_build_fail(b, "a register belongs in the list");
    }
    c->ext[c->n_ext++] = slot;
    in->n_ext++;
}

void fj_emu_bind_address(struct fj_emu_build *b, int k, const struct fj_ptx_operand *op)
{
    if (op->kind != FJ_PTX_OP_MEMORY) {
        fj_emu_build_fail(b, "an address in [ ] belongs here");
        return;
    }
    const struct fj_ptx_operand *base = &op->sub[0];
    const int bits = base->kind == FJ_PTX_OP_REG ? fj_emu_operand_bits(b, base) : 64;
    fj_emu_bind_src(b, k, base, bits == 32 ? 32 : 64, 64);
    struct fj_emu_insn *in = &b->code->insns[b->code->n_insns - 1];
    in->imm = (int64_t)op->value;
    in->flags |= bits == 32 ? 0 : FJ_EMU_ADDR64;
}

static int value_bits(const char *op)
{
    const char *last = fj_emu_last_part(op);
    const size_t len = strlen(last);
    return len >= 2 && strcmp(last + len - 2, "16") == 0 ? 16 : 64;
}

void fj_emu_decode_op(struct fj_emu_build *b, const struct fj_emu_op *op)
{
    fj_emu_emit(b, op->fn);
    bool def = true;
    int k = 0, cut = value_bits(op->name);
    if (strncmp(op->name, "mul.wide", 8) == 0 || strncmp(op->name, "shl", 3) == 0 ||
        strncmp(op->name, "shr", 3) == 0)
        cut = 64;
    for (const char *at = op->operands; *at != '\0'; at++) {
        if (*at == '=') {
            def = false;
            continue;
        }
        const int bits = *at == 'd' ? 64 : *at == 'p' ? 1 : 32;
        if (def)
            fj_emu_bind_dst(b, k, &b->source->ops[k], bits);
        else
            fj_emu_bind_src(b, k, &b->source->ops[k], bits, cut);
        k++;
    }
}

void fj_emu_code_free(struct fj_emu_code *code)
{
    if (code == NULL)
        return;
    while (code->allocs != NULL) {
        struct fj_emu_alloc *next = code->allocs->next;
        free(code->allocs);
        code->allocs = next;
    }
    free(code->insns);
    free(code->info);
    free(code->ext);
    free(code->refs);
    free(code->blocks);
    free(code->block_of);
    free(code->pool);
    free(code->slot_of);
    free(code);
}
