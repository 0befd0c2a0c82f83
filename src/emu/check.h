// The strict checks of one unit: what hardware lets pass in silence.
#ifndef FJ_EMU_CHECK_H
#define FJ_EMU_CHECK_H

#include "emu/hooks.h"
#include "emu/mma.h"

struct fj_emu_check;

struct fj_emu_plan;

struct fj_emu_check *fj_emu_check_new(const struct fj_emu_code *code,
                                      const struct fj_emu_plan *plan, int n_ctas, int n_warps,
                                      uint32_t smem_bytes);
void fj_emu_check_free(struct fj_emu_check *check);
void fj_emu_check_reset(struct fj_emu_check *check, uint64_t unit); // before every unit

// Registers. false: the warp has been stopped.
bool fj_emu_check_before(struct fj_emu_warp *w, const struct fj_emu_insn *in);
void fj_emu_check_after(struct fj_emu_warp *w, const struct fj_emu_insn *in);
// A shuffle gives `lane` the register of operand k of lane `from`.
bool fj_emu_check_shuffle(struct fj_emu_warp *w, const struct fj_emu_insn *in, int k, int lane,
                          uint32_t from);
bool fj_emu_check_wgmma_regs(struct fj_emu_warp *w, const struct fj_emu_insn *in);
void fj_emu_check_wgmma_order(struct fj_emu_warp *w, const struct fj_emu_insn *in);

// Memory accesses through the generic proxy.
bool fj_emu_check_global(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                         uint32_t bytes, enum fj_emu_access access,
                         const uint64_t address[FJ_EMU_LANES]);
bool fj_emu_check_shared(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                         uint32_t bytes, enum fj_emu_access access,
                         const uint32_t address[FJ_EMU_LANES]);
// One range of global memory.
bool fj_emu_check_range(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint64_t address, uint64_t bytes, enum fj_emu_access access);
// Stores `value`, by lane. `global`: it may be global memory.
#define FJ_EMU_STORE_BYTES 64
bool fj_emu_check_store(struct fj_emu_warp *w, const struct fj_emu_insn *in, bool global,
                        uint32_t bytes, const uint64_t host[FJ_EMU_LANES],
                        const uint8_t (*value)[FJ_EMU_STORE_BYTES]);
// Through the async proxy, and cp.async.
bool fj_emu_check_async(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                        uint32_t address, uint32_t bytes, enum fj_emu_async kind,
                        uint32_t mbarrier);
bool fj_emu_check_wgmma(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                        const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args);
void fj_emu_check_group(struct fj_emu_warp *w, int what, uint32_t pending);

// Order between warps: `w` releases into, or acquires from, a place.
enum fj_emu_place {
    FJ_EMU_PLACE_BARRIER, // id: the barrier's number
    FJ_EMU_PLACE_MBAR,    // id: its shared address
    FJ_EMU_PLACE_CLUSTER,
};
void fj_emu_check_release(struct fj_emu_warp *w, enum fj_emu_place place, uint32_t id);
void fj_emu_check_acquire(struct fj_emu_warp *w, enum fj_emu_place place, uint32_t id);
// The place's phase is complete: who waits acquires what was released up to here.
void fj_emu_check_complete(struct fj_emu_warp *w, enum fj_emu_place place, uint32_t id);
void fj_emu_check_proxy_fence(struct fj_emu_warp *w);
void fj_emu_check_order_lanes(struct fj_emu_warp *w); // of the warp, as bar.warp.sync does

#endif
