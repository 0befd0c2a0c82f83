#include "emu/access.h"

#include <stdio.h>
#include <string.h>

#include "emu/hooks.h"
#include "emu/memory.h"

uint64_t fj_emu_address(const struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                        int lane)
{
    if (in->flags & 0x80)
        return fj_emu_r64(w, in->o[operand])[lane] + (uint64_t)in->imm;
    return (uint32_t)(fj_emu_r32(w, in->o[operand])[lane] + (uint32_t)in->imm);
}

bool fj_emu_to_shared(uint64_t generic, uint32_t *ret_address)
{
    *ret_address = (uint32_t)generic;
    return (generic & FJ_EMU_WINDOW_MASK) == FJ_EMU_WINDOW_SHARED || generic <= UINT32_MAX;
}

static const char *const space_names[] = {"generic", "global", "constant",
                                          "shared",  "local",  "parameter"};

static bool misaligned(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       enum fj_ptx_space space, uint64_t address, uint32_t align)
{
    fj_emu_stop(w, in, lane, FJ_EMU_FAULT_MISALIGNED,
                "misaligned access: %s address 0x%llx is not a multiple of %u", space_names[space],
                (unsigned long long)address, align);
    return false;
}

uint8_t *fj_emu_resolve_global(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                               uint64_t address, uint64_t bytes, uint32_t align)
{
    if (fj_emu_mem_find(address, bytes) == NULL) {
        char text[200];
        fj_emu_mem_describe(address, bytes, text, sizeof(text));
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS,
                    "out of bounds: %llu bytes at global address 0x%llx: %s",
                    (unsigned long long)bytes, (unsigned long long)address, text);
        return NULL;
    }
    if (address & (align - 1)) {
        misaligned(w, in, lane, FJ_PTX_GLOBAL, address, align);
        return NULL;
    }
    return (uint8_t *)(uintptr_t)address;
}

uint8_t *fj_emu_resolve_shared(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                               uint32_t address, uint32_t bytes, uint32_t align)
{
    const uint32_t rank = address >> FJ_EMU_SHARED_RANK_SHIFT;
    const uint32_t offset = address & FJ_EMU_SHARED_OFFSET_MASK;
    const struct fj_emu_cta *cta = w->cta;
    if (rank > (uint32_t)cta->unit->n_ctas) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS,
                    "shared address 0x%x names CTA %u of a cluster of %d", address, rank - 1,
                    cta->unit->n_ctas);
        return NULL;
    }
    if (rank > 0)
        cta = &cta->unit->ctas[rank - 1];
    if (offset < FJ_EMU_SHARED_BASE || offset + bytes > cta->smem_bytes) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS,
                    "out of bounds: %u bytes at shared address 0x%x; shared memory is "
                    "[0x%x, 0x%x)",
                    bytes, address, FJ_EMU_SHARED_BASE, cta->smem_bytes);
        return NULL;
    }
    if (offset & (align - 1)) {
        misaligned(w, in, lane, FJ_PTX_SHARED, address, align);
        return NULL;
    }
    return cta->smem + offset;
}

static uint8_t *resolve_local(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                              uint64_t address, uint32_t bytes, uint32_t align)
{
    const uint32_t size = w->code->entry->local_bytes;
    if (address > size || bytes > size - address) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS,
                    "out of bounds: %u bytes at local address 0x%llx of %u bytes", bytes,
                    (unsigned long long)address, size);
        return NULL;
    }
    if (address & (align - 1)) {
        misaligned(w, in, lane, FJ_PTX_LOCAL, address, align);
        return NULL;
    }
    return w->local + (size_t)lane * w->code->local_bytes + address;
}

static uint8_t *resolve_param(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                              uint64_t address, uint32_t bytes, uint32_t align)
{
    const struct fj_emu_launch *launch = w->cta->unit->launch;
    if (address > launch->param_bytes || bytes > launch->param_bytes - address) {
        fj_emu_stop(w, in, lane, FJ_EMU_FAULT_ADDRESS,
                    "out of bounds: %u bytes at parameter offset %llu of %u bytes", bytes,
                    (unsigned long long)address, launch->param_bytes);
        return NULL;
    }
    if (address & (align - 1)) {
        misaligned(w, in, lane, FJ_PTX_PARAM, address, align);
        return NULL;
    }
    return (uint8_t *)(uintptr_t)launch->params + address;
}

uint8_t *fj_emu_resolve_in(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                           enum fj_ptx_space space, uint64_t address, uint32_t bytes,
                           uint32_t align)
{
    const uint64_t window = address & FJ_EMU_WINDOW_MASK;
    if (space == FJ_PTX_GENERIC && window == FJ_EMU_WINDOW_SHARED)
        return fj_emu_resolve_shared(w, in, lane, (uint32_t)address, bytes, align);
    if (space == FJ_PTX_GENERIC && window == FJ_EMU_WINDOW_LOCAL)
        return resolve_local(w, in, lane, address & ~FJ_EMU_WINDOW_MASK, bytes, align);
    if (space == FJ_PTX_GENERIC && window == FJ_EMU_WINDOW_PARAM)
        return resolve_param(w, in, lane, address & ~FJ_EMU_WINDOW_MASK, bytes, align);
    if (space == FJ_PTX_SHARED)
        return fj_emu_resolve_shared(w, in, lane, (uint32_t)address, bytes, align);
    if (space == FJ_PTX_LOCAL)
        return resolve_local(w, in, lane, address, bytes, align);
    if (space == FJ_PTX_PARAM)
        return resolve_param(w, in, lane, address, bytes, align);
    return fj_emu_resolve_global(w, in, lane, address, bytes, align);
}

static bool resolve_each(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                         enum fj_ptx_space space, uint32_t bytes, uint64_t host[FJ_EMU_LANES])
{
    for (uint32_t left = w->exec; left != 0; left &= left - 1) {
        const int l = __builtin_ctz(left);
        const uint64_t address = fj_emu_address(w, in, operand, l);
        host[l] = (uint64_t)(uintptr_t)fj_emu_resolve_in(w, in, l, space, address, bytes, bytes);
        if (host[l] == 0)
            return false;
    }
    return true;
}

// The usual case: every lane within this CTA's shared memory and aligned.
static bool resolve_own_shared(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                               uint32_t bytes, uint64_t host[FJ_EMU_LANES])
{
    uint32_t base[FJ_EMU_LANES];
    const uint32_t offset = (uint32_t)in->imm, exec = w->exec;
    const uint32_t usable = w->cta->smem_bytes - FJ_EMU_SHARED_BASE;
    const uint64_t smem = (uint64_t)(uintptr_t)w->cta->smem;
    uint32_t top = 0, low_bits = 0;
    if (bytes > usable)
        return false;
    if (in->flags & 0x80) { // compilers keep shared addresses in 64 bits, too
        for (int l = 0; l < FJ_EMU_LANES; l++)
            base[l] = (uint32_t)fj_emu_r64(w, in->o[operand])[l];
    } else {
        memcpy(base, fj_emu_r32(w, in->o[operand]), sizeof(base));
    }
    for (int l = 0; l < FJ_EMU_LANES; l++) {
        const uint32_t at = base[l] + offset;
        const uint32_t live = 0u - (exec >> l & 1);
        const uint32_t from_base = (at - FJ_EMU_SHARED_BASE) & live;
        top = from_base > top ? from_base : top;
        low_bits |= at & live;
        host[l] = smem + at;
    }
    return top <= usable - bytes && (low_bits & (bytes - 1)) == 0;
}

// The usual case: every lane within one allocation and aligned.
static bool resolve_one_block(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                              uint32_t bytes, uint64_t host[FJ_EMU_LANES])
{
    const uint64_t *base = fj_emu_r64(w, in->o[operand]);
    const uint64_t offset = (uint64_t)in->imm, exec = w->exec;
    uint64_t top = 0, bottom = UINT64_MAX, low_bits = 0;
    for (int l = 0; l < FJ_EMU_LANES; l++) {
        const uint64_t at = base[l] + offset;
        const uint64_t live = 0u - (exec >> l & 1);
        const uint64_t high = at & live, low = at | ~live;
        top = high > top ? high : top;
        bottom = low < bottom ? low : bottom;
        low_bits |= high;
        host[l] = at;
    }
    return (low_bits & (bytes - 1)) == 0 && fj_emu_mem_find(bottom, top - bottom + bytes) != NULL;
}

bool fj_emu_resolve(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                    enum fj_ptx_space space, uint32_t bytes, enum fj_emu_access access,
                    uint64_t host[FJ_EMU_LANES])
{
    const bool wide = in->flags & 0x80;
    bool done = false;
    if (space == FJ_PTX_SHARED)
        done = resolve_own_shared(w, in, operand, bytes, host);
    else if ((space == FJ_PTX_GLOBAL || space == FJ_PTX_CONST || space == FJ_PTX_GENERIC) && wide)
        done = resolve_one_block(w, in, operand, bytes, host);
    if (!done && !resolve_each(w, in, operand, space, bytes, host))
        return false;
    if (w->cta->unit->hooks)
        return fj_emu_hook_access(w, in, operand, space, bytes, access, host);
    return true;
}
