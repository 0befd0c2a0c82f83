// What the slow modes add to execution. Nothing here is called unless unit->hooks is set.
#ifndef FJ_EMU_HOOKS_H
#define FJ_EMU_HOOKS_H

#include "emu/access.h"

// After the addresses of an access have been checked: counts and, in check mode, races and reads
// of unwritten bytes. false: the warp has been stopped.
bool fj_emu_hook_access(struct fj_emu_warp *w, const struct fj_emu_insn *in, int operand,
                        enum fj_ptx_space space, uint32_t bytes, enum fj_emu_access access,
                        const uint64_t host[FJ_EMU_LANES]);

// After a wgmma has read its operands and written its accumulators.
struct fj_emu_wgmma_op;
struct fj_emu_wgmma_args;
bool fj_emu_hook_wgmma(struct fj_emu_warp *w, const struct fj_emu_insn *in,
                       const struct fj_emu_wgmma_op *op, const struct fj_emu_wgmma_args *args);

// insn->size of the instructions that order wgmmas.
enum {
    FJ_EMU_WGMMA_FENCE = 1,
    FJ_EMU_WGMMA_COMMIT,
    FJ_EMU_WGMMA_WAIT,
};

// A copy between global and shared memory has been made: `bytes` at shared `address`.
enum fj_emu_async {
    FJ_EMU_CP_ASYNC,
    FJ_EMU_BULK_LOAD,
    FJ_EMU_BULK_STORE,
};
// `mbarrier`: the shared address of the one a load completes on; of its CTA.
bool fj_emu_hook_async(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                       uint32_t address, uint32_t bytes, enum fj_emu_async kind, uint32_t mbarrier);
// The lanes of `exec` have read global memory by cp.async, to these shared addresses.
bool fj_emu_hook_copy(struct fj_emu_warp *w, const struct fj_emu_insn *in, uint32_t exec,
                      uint32_t bytes, const uint64_t from[FJ_EMU_LANES],
                      const uint32_t to[FJ_EMU_LANES]);
// One range of global memory that a bulk copy reads or writes.
bool fj_emu_hook_bulk(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                      uint64_t address, uint32_t bytes, bool is_store);

// Groups of copies: committed, or waited for until `pending` are left.
enum {
    FJ_EMU_CP_COMMIT,
    FJ_EMU_CP_WAIT,
    FJ_EMU_CP_WAIT_ALL,
    FJ_EMU_BULK_COMMIT,
    FJ_EMU_BULK_WAIT,
    FJ_EMU_BULK_WAIT_READ,
    FJ_EMU_WG_COMMITTED,
    FJ_EMU_WG_WAITED,
    FJ_EMU_WG_NOTHING,
};
void fj_emu_hook_group(struct fj_emu_warp *w, int what, uint32_t pending);

// Before every instruction. false: the warp has been stopped.
bool fj_emu_hook_before(struct fj_emu_warp *w, const struct fj_emu_insn *in);
// After every instruction that did not stop the warp.
void fj_emu_hook_after(struct fj_emu_warp *w, const struct fj_emu_insn *in);
void fj_emu_hook_done(struct fj_emu_warp *w); // the warp has exited

#endif
