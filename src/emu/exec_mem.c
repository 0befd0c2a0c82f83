// ld, st and their vectors.
#include <string.h>

#include "emu/access.h"
#include "emu/check.h"
#include "emu/code.h"
#include "emu/ops.h"

#define LOAD_LOOP(dst_type, src_type)                                                              \
    do {                                                                                           \
        dst_type *d = dst;                                                                         \
        for (uint32_t left = exec; left != 0; left &= left - 1) {                                  \
            const int l = __builtin_ctz(left);                                                     \
            src_type value;                                                                        \
            memcpy(&value, (const void *)(uintptr_t)(host[l] + offset), sizeof(value));            \
            d[l] = (dst_type)value;                                                                \
        }                                                                                          \
    } while (0)

// One element per lane into a 32-bit or a 64-bit slot.
static void load_element(void *dst, const uint64_t *host, uint32_t offset, uint32_t exec, int size,
                         int flags)
{
    const bool sign = flags & FJ_EMU_SIGNED;
    if (flags & FJ_EMU_WIDE) {
        if (size == 8)
            LOAD_LOOP(uint64_t, uint64_t);
        else if (size == 4 && sign)
            LOAD_LOOP(int64_t, int32_t);
        else if (size == 4)
            LOAD_LOOP(uint64_t, uint32_t);
        else if (size == 2 && sign)
            LOAD_LOOP(int64_t, int16_t);
        else if (size == 2)
            LOAD_LOOP(uint64_t, uint16_t);
        else if (sign)
            LOAD_LOOP(int64_t, int8_t);
        else
            LOAD_LOOP(uint64_t, uint8_t);
    } else if (size == 4) {
        LOAD_LOOP(uint32_t, uint32_t);
    } else if (size == 2 && sign) {
        LOAD_LOOP(int32_t, int16_t);
    } else if (size == 2) {
        LOAD_LOOP(uint32_t, uint16_t);
    } else if (sign) {
        LOAD_LOOP(int32_t, int8_t);
    } else {
        LOAD_LOOP(uint32_t, uint8_t);
    }
}

#define STORE_LOOP(src_type, dst_type)                                                             \
    do {                                                                                           \
        const src_type *s = src;                                                                   \
        for (uint32_t left = exec; left != 0; left &= left - 1) {                                  \
            const int l = __builtin_ctz(left);                                                     \
            const dst_type value = (dst_type)s[l];                                                 \
            memcpy((void *)(uintptr_t)(host[l] + offset), &value, sizeof(value));                  \
        }                                                                                          \
    } while (0)

static void store_element(const void *src, const uint64_t *host, uint32_t offset, uint32_t exec,
                          int size, int flags)
{
    const bool wide = flags & FJ_EMU_WIDE;
    if (size == 8)
        STORE_LOOP(uint64_t, uint64_t);
    else if (size == 4 && wide)
        STORE_LOOP(uint64_t, uint32_t);
    else if (size == 4)
        STORE_LOOP(uint32_t, uint32_t);
    else if (size == 2 && wide)
        STORE_LOOP(uint64_t, uint16_t);
    else if (size == 2)
        STORE_LOOP(uint32_t, uint16_t);
    else if (wide)
        STORE_LOOP(uint64_t, uint8_t);
    else
        STORE_LOOP(uint32_t, uint8_t);
}

// A whole warp reading one word: the broadcast of shared memory.
static bool same_address(const uint64_t *host)
{
    uint64_t differ = 0;
    for (int l = 1; l < FJ_EMU_LANES; l++)
        differ |= host[l] ^ host[0];
    return differ == 0;
}

static void broadcast(uint32_t *dst, const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof(value));
    for (int l = 0; l < FJ_EMU_LANES; l++)
        dst[l] = value;
}

static const struct fj_emu_insn *load(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint64_t host[FJ_EMU_LANES];
    const uint32_t size = in->size, n = in->n_ext;
    const uint32_t *ext = w->code->ext + in->ext;
    if (!fj_emu_resolve(w, in, 0, in->flags & FJ_EMU_SPACE, size * n, FJ_EMU_READ, host))
        return NULL;
    if (size == 4 && !(in->flags & FJ_EMU_WIDE) && w->exec == FJ_EMU_FULL && same_address(host)) {
        for (uint32_t i = 0; i < n; i++)
            broadcast(fj_emu_r32(w, ext[i]), (const uint8_t *)(uintptr_t)host[0] + 4 * i);
        return in + 1;
    }
    for (uint32_t i = 0; i < n; i++)
        load_element(fj_emu_slot(w, ext[i]), host, size * i, w->exec, (int)size, in->flags);
    return in + 1;
}

// In check mode: the values are put aside and looked at while they are stored.
static bool checked_store(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                          const uint64_t host[FJ_EMU_LANES])
{
    uint8_t value[FJ_EMU_LANES][FJ_EMU_STORE_BYTES];
    uint64_t aside[FJ_EMU_LANES];
    const uint32_t *ext = w->code->ext + in->ext;
    const uint32_t bytes = (uint32_t)in->size * in->n_ext, space = in->flags & FJ_EMU_SPACE;
    for (int l = 0; l < FJ_EMU_LANES; l++)
        aside[l] = (uint64_t)(uintptr_t)value[l];
    for (uint32_t i = 0; i < in->n_ext; i++)
        store_element(fj_emu_slot(w, ext[i]), aside, in->size * i, w->exec, in->size, in->flags);
    return fj_emu_check_store(w, in, space == FJ_PTX_GLOBAL || space == FJ_PTX_GENERIC, bytes, host,
                              (const uint8_t(*)[FJ_EMU_STORE_BYTES])value);
}

static const struct fj_emu_insn *store(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    uint64_t host[FJ_EMU_LANES];
    const uint32_t size = in->size, n = in->n_ext;
    const uint32_t *ext = w->code->ext + in->ext;
    if (!fj_emu_resolve(w, in, 0, in->flags & FJ_EMU_SPACE, size * n, FJ_EMU_WRITE, host))
        return NULL;
    if (w->cta->unit->check != NULL)
        return checked_store(w, in, host) ? in + 1 : NULL;
    for (uint32_t i = 0; i < n; i++)
        store_element(fj_emu_slot(w, ext[i]), host, size * i, w->exec, (int)size, in->flags);
    return in + 1;
}

// The space an opcode names; with ::cta and ::cluster forms of shared.
enum fj_ptx_space fj_emu_space_of(const char *op)
{
    if (fj_emu_has(op, ".global"))
        return FJ_PTX_GLOBAL;
    if (fj_emu_has(op, ".shared") || fj_emu_has(op, ".shared::cta") ||
        fj_emu_has(op, ".shared::cluster"))
        return FJ_PTX_SHARED;
    if (fj_emu_has(op, ".local"))
        return FJ_PTX_LOCAL;
    if (fj_emu_has(op, ".param") || fj_emu_has(op, ".param::entry") ||
        fj_emu_has(op, ".param::func"))
        return FJ_PTX_PARAM;
    return fj_emu_has(op, ".const") ? FJ_PTX_CONST : FJ_PTX_GENERIC;
}

void fj_emu_class_of_space(struct fj_emu_build *b, enum fj_ptx_space space)
{
    static const uint8_t classes[] = {FJ_EMU_CLASS_GLOBAL, FJ_EMU_CLASS_GLOBAL, FJ_EMU_CLASS_PARAM,
                                      FJ_EMU_CLASS_SHARED, FJ_EMU_CLASS_LOCAL,  FJ_EMU_CLASS_PARAM};
    b->code->info[b->code->n_insns - 1].class = classes[space];
}

int fj_emu_vector_of(const char *op)
{
    return fj_emu_has(op, ".v8") ? 8 : fj_emu_has(op, ".v4") ? 4 : fj_emu_has(op, ".v2") ? 2 : 1;
}

static void decode_access(struct fj_emu_build *b, const struct fj_ptx_insn *src, bool is_load)
{
    if (!fj_emu_operand_count(b, 2, 3)) // a third: a cache policy
        return;
    const char *type = fj_emu_last_part(src->op);
    const int size = fj_ptx_type_bits(type - 1, strlen(type) + 1) / 8;
    const int n = fj_emu_vector_of(src->op);
    const struct fj_ptx_operand *value = &src->ops[is_load ? 0 : 1];
    const struct fj_ptx_operand *address = &src->ops[is_load ? 1 : 0];
    const bool is_vector = value->kind == FJ_PTX_OP_VECTOR;
    if (size == 0 || size > 8 || (is_vector ? value->n_sub : 1) != n) {
        fj_emu_build_unknown(b);
        return;
    }
    enum fj_ptx_space space = fj_emu_space_of(src->op);
    // The parameters of a call are declared in the body and live in the local frame.
    if (space == FJ_PTX_PARAM && address->kind == FJ_PTX_OP_MEMORY &&
        address->sub[0].kind == FJ_PTX_OP_VAR)
        space = FJ_PTX_LOCAL;
    struct fj_emu_insn *in = fj_emu_emit(b, is_load ? load : store);
    fj_emu_class_of_space(b, space);
    fj_emu_bind_address(b, 0, address);
    in->flags |= (uint8_t)space;
    in->size = (uint16_t)size;
    if (type[0] == 's')
        in->flags |= FJ_EMU_SIGNED;
    for (int i = 0; i < n && !b->failed; i++) {
        const struct fj_ptx_operand *element = is_vector ? &value->sub[i] : value;
        int bits = fj_emu_operand_bits(b, element);
        bits = bits == 0 ? (size == 8 ? 64 : 32) : bits;
        if ((size == 8 && bits != 64) || bits == 1 || bits > 64)
            fj_emu_build_fail(b, "a register of %d bits cannot hold this access", bits);
        if (bits == 64)
            in->flags |= FJ_EMU_WIDE;
        fj_emu_bind_ext(b, element, in->flags & FJ_EMU_WIDE ? 64 : 32, is_load, !is_load);
    }
}

static void decode_ld(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    decode_access(b, src, true);
}

static void decode_st(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    decode_access(b, src, false);
}

static const struct fj_emu_insn *nothing(struct fj_emu_warp *w, const struct fj_emu_insn *in)
{
    (void)w;
    return in + 1;
}

static void decode_nothing(struct fj_emu_build *b, const struct fj_ptx_insn *src)
{
    (void)src;
    fj_emu_emit(b, nothing);
}

const struct fj_emu_family fj_emu_memory_families[] = {
    {"ld", FJ_EMU_CLASS_GLOBAL, decode_ld},
    {"ldu", FJ_EMU_CLASS_GLOBAL, decode_ld},
    {"st", FJ_EMU_CLASS_GLOBAL, decode_st},
    {"atom", FJ_EMU_CLASS_GLOBAL, fj_emu_decode_atom},
    {"red", FJ_EMU_CLASS_GLOBAL, fj_emu_decode_atom},
    {"prefetch", FJ_EMU_CLASS_GLOBAL, decode_nothing},
    {"prefetchu", FJ_EMU_CLASS_GLOBAL, decode_nothing},
    {"discard", FJ_EMU_CLASS_GLOBAL, decode_nothing},
    {NULL, 0, NULL},
};
