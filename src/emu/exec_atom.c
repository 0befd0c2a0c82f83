// atom and red. CTAs run on several host threads, so that global atomics are host atomics: a
// compare-and-swap loop around the plain operation.
#include <string.h>

#include "emu/access.h"
#include "emu/half.h"
#include "emu/ops.h"

enum operation {
    ADD,
    MIN,
    MAX,
    INC,
    DEC,
    AND,
    OR,
    XOR,
    EXCH,
    CAS,
};

static const char *const operation_names[] = {".add", ".min", ".max", ".inc",  ".dec",
                                              ".and", ".or",  ".xor", ".exch", ".cas"};

enum atom_type {
    TYPE_B32,
    TYPE_U32,
    TYPE_S32,
    TYPE_B64,
    TYPE_U64,
    TYPE_S64,
    TYPE_F32,
    TYPE_F64,
    TYPE_F16,
    TYPE_BF16,
    TYPE_F16X2,
    TYPE_BF16X2,
    TYPE_B16,
    TYPE_F32_FTZ, // of global memory; has no name of its own
};

static const struct {
    const char *name;
    uint8_t bytes;
} types[] = {{"b32", 4},   {"u32", 4},    {"s32", 4}, {"b64", 8}, {"u64", 8},
             {"s64", 8},   {"f32", 4},    {"f64", 8}, {"f16", 2}, {"bf16", 2},
             {"f16x2", 4}, {"bf16x2", 4}, {"b16", 2}};

static uint32_t add_halves(uint32_t a, uint32_t b, int type)
{
    uint32_t r = 0;
    for (int shift = 0; shift < (type >= TYPE_F16X2 ? 32 : 16); shift += 16) {
        const uint32_t x = a >> shift & 0xffff, y = b >> shift & 0xffff;
        const uint32_t sum = type == TYPE_F16 || type == TYPE_F16X2
                                 ? fj_emu_to_f16(fj_emu_from_f16(x) + fj_emu_from_f16(y))
                                 : fj_emu_to_bf16(fj_emu_from_bf16(x) + fj_emu_from_bf16(y));
        r |= sum << shift;
    }
    return r;
}

// Global memory adds flush subnormals, shared memory's do not.
static uint32_t flush(uint32_t bits, bool ftz)
{
    return ftz && !(bits & 0x7f800000u) ? bits & 0x80000000u : bits;
}

static uint32_t add_floats(uint32_t a, uint32_t b, bool ftz)
{
    const float sum = fj_emu_float(flush(a, ftz)) + fj_emu_float(flush(b, ftz));
    return sum != sum ? 0x7fffffffu : flush(fj_emu_bits(sum), ftz);
}

static uint64_t add(uint64_t a, uint64_t b, int type)
{
    if (type == TYPE_F32 || type == TYPE_F32_FTZ)
        return add_floats((uint32_t)a, (uint32_t)b, type == TYPE_F32_FTZ);
    if (type == TYPE_F64) {
        double x, y;
        memcpy(&x, &a, sizeof(x));
        memcpy(&y, &b, sizeof(y));
        x += y;
        memcpy(&a, &x, sizeof(a));
        return a;
    }
    return type >= TYPE_F16 && type <= TYPE_BF16X2 ? add_halves((uint32_t)a, (uint32_t)b, type)
                                                   : a + b;
}

static bool less(uint64_t a, uint64_t b, int type)
{
    if (type == TYPE_S32)
        return (int32_t)a < (int32_t)b;
    return type == TYPE_S64 ? (int64_t)a < (int64_t)b : a < b;
}

static uint64_t apply(int op, int type, uint64_t old, uint64_t b, uint64_t c)
{
    switch (op) {
    case ADD:
        return add(old, b, type);
    case MIN:
        return less(b, old, type) ? b : old;
    case MAX:
        return less(old, b, type) ? b : old;
    case INC:
        return old >= b ? 0 : old + 1;
    case DEC:
        return old == 0 || old > b ? b : old - 1;
    case AND:
        return old & b;
    case OR:
        return old | b;
    case XOR:
        return old ^ b;
    case EXCH:
        return b;
    default:
        return old == b ? c : old;
    }
}

#define UPDATE(type_bits)                                                                          \
    do {                                                                                           \
        type_bits *p = at;                                                                         \
        type_bits old = __atomic_load_n(p, __ATOMIC_RELAXED), now;                                 \
        do                                                                                         \
            now = (type_bits)apply(op, type, old, b, c);                                           \
        while (!__atomic_compare_exchange_n(p, &old, now, false, __ATOMIC_SEQ_CST,                 \
                                            __ATOMIC_RELAXED));                                    \
        return old;                                                                                \
    } while (0)

static uint64_t update(void *at, int bytes, int op, int type, uint64_t b, uint64_t c)
{
    if (bytes == 8)
        UPDATE(uint64_t);
    if (bytes == 4)
        UPDATE(uint32_t);
    UPDATE(uint16_t);
}

struct atom {
    uint8_t op, type, bytes, n; // n: elements of a vector
    bool returns;
};

static bool is_shared(const struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane)
{
    const int space = in->flags & FJ_EMU_SPACE;
    return space == FJ_PTX_SHARED ||
           (space == FJ_PTX_GENERIC &&
            (fj_emu_address(w, in, 0, lane) & FJ_EMU_WINDOW_MASK) == FJ_EMU_WINDOW_SHARED);
}

// The further operands: n results when it returns, n values, then n compare-and-swap values.
static const struct fj_emu_insn *atom(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    const struct atom *a = in->data;
    const uint32_t *ext = w->code->ext + in->ext;
    const uint32_t values = a->returns ? a->n : 0;
    uint64_t host[FJ_EMU_LANES];
    if (!fj_emu_resolve(w, in, 0, in->flags & FJ_EMU_SPACE, (uint32_t)a->bytes * a->n,
                        FJ_EMU_ATOMIC, host))
        return NULL;
    FJ_EMU_EACH_LANE(l, w->exec)
    {
        for (uint32_t i = 0; i < a->n; i++) {
            const uint32_t vb = ext[values + i], vc = ext[values + (a->op == CAS ? a->n : 0) + i];
            const uint64_t b = a->bytes == 8 ? fj_emu_r64(w, vb)[l] : fj_emu_r32(w, vb)[l];
            const uint64_t c = a->bytes == 8 ? fj_emu_r64(w, vc)[l] : fj_emu_r32(w, vc)[l];
            const uint64_t mask = a->bytes == 2 ? 0xffff : UINT64_MAX;
            void *at = (void *)(uintptr_t)(host[l] + (uint64_t)a->bytes * i);
            const bool ftz = a->type == TYPE_F32 && !is_shared(w, in, (int)l);
            const int type = ftz ? TYPE_F32_FTZ : a->type;
            const uint64_t old = update(at, a->bytes, a->op, type, b & mask, c & mask);
            if (a->returns && a->bytes == 8)
                fj_emu_r64(w, ext[i])[l] = old;
            else if (a->returns)
                fj_emu_r32(w, ext[i])[l] = (uint32_t)old;
        }
    }
    return in + 1;
}

static bool exists(const struct atom *a)
{
    const bool is_float = a->type >= TYPE_F32 && a->type <= TYPE_BF16X2;
    if (is_float)
        return a->op == ADD || (a->op == EXCH && a->bytes >= 4);
    return a->bytes > 2 || a->op == CAS;
}

static const struct fj_ptx_operand *element(const struct fj_ptx_operand *op, int i)
{
    return op->kind == FJ_PTX_OP_VECTOR ? &op->sub[i] : op;
}

void fj_emu_decode_atom(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    struct atom *a = fj_emu_build_alloc(b, sizeof(*a));
    if (a == NULL)
        return;
    const char *type = fj_emu_last_part(src->op);
    a->returns = src->op[0] == 'a';
    a->n = (uint8_t)fj_emu_vector_of(src->op);
    a->op = 255;
    for (uint8_t i = 0; i < sizeof(operation_names) / sizeof(operation_names[0]); i++)
        a->op = fj_emu_has(src->op, operation_names[i]) ? i : a->op;
    for (uint8_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, type) == 0) {
            a->type = i;
            a->bytes = types[i].bytes;
        }
    }
    const int first = a->returns ? 1 : 0; // the address
    const int n_values = a->op == CAS ? 2 : 1;
    bool good = a->op != 255 && a->bytes != 0 && exists(a) && src->n_ops >= first + 1 + n_values;
    for (int i = 0; good && i < first + 1 + n_values; i++) {
        if (i != first && a->n > 1)
            good = src->ops[i].kind == FJ_PTX_OP_VECTOR && src->ops[i].n_sub == a->n;
    }
    if (!good) {
        fj_emu_build_unknown(b);
        return;
    }
    const enum fj_ptx_space space = fj_emu_space_of(src->op);
    const int bits = a->bytes == 8 ? 64 : 32;
    struct fj_emu_insn *in = fj_emu_emit(b, atom);
    fj_emu_class_of_space(b, space);
    in->data = a;
    fj_emu_bind_address(b, 0, &src->ops[first]);
    in->flags |= (uint8_t)space;
    for (int i = 0; a->returns && i < a->n && !b->failed; i++)
        fj_emu_bind_ext(b, element(&src->ops[0], i), bits, true, false);
    for (int k = 0; k < n_values; k++) {
        for (int i = 0; i < a->n && !b->failed; i++)
            fj_emu_bind_ext(b, element(&src->ops[first + 1 + k], i), bits, false, true);
    }
}
