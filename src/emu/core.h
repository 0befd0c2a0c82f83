// The executable form of a kernel and the state of a running cluster.
//
// A warp runs one instruction for 32 lanes at a time. Its register file is an array of slots: 32
// words for a register of up to 32 bits, 32 double words for one of 64 bits, so that the lane
// loops vectorise. Predicates are 32-bit masks. Constants have slots of their own, filled once
// per kernel, so that every operand is a slot.
#ifndef FJ_EMU_CORE_H
#define FJ_EMU_CORE_H

#include "emu/count.h"
#include "emu/exec.h"
#include "emu/ptx_tree.h"

#define FJ_EMU_MAX_WARPS 32 // of a CTA
#define FJ_EMU_STACK 128    // nested divergence
#define FJ_EMU_NONE 0xffffffffu
#define FJ_EMU_FULL 0xffffffffu

struct fj_emu_warp;
struct fj_emu_insn;

// Executes one instruction for the lanes of warp->exec. Returns the next, or NULL when the warp
// stops here (warp->state says why, warp->resume where it goes on).
typedef const struct fj_emu_insn *fj_emu_handler(struct fj_emu_warp *warp,
                                                 const struct fj_emu_insn *in);

#define FJ_EMU_OPERANDS 6

// An operand is a byte offset into warp->base[offset & 1]: 0 registers, 1 constants. A predicate
// operand is an index; as a source it has FJ_EMU_PRED_NOT when negated.
#define FJ_EMU_PRED_NOT 0x80000000u

struct fj_emu_insn {
    fj_emu_handler *fn;
    uint32_t o[FJ_EMU_OPERANDS];
    int16_t guard; // predicate, -1: none
    bool guard_not;
    uint8_t flags; // meaning by opcode
    uint32_t ext;  // first of further operands in code->ext
    uint16_t n_ext;
    uint16_t size;   // bytes of one element of a memory access
    int64_t imm;     // address offset, or by opcode
    uint32_t target; // block, for branches; block of reconvergence in `join`
    uint32_t join;
    const void *data; // decoded fields of the large opcodes
};

// One register operand of an instruction, for liveness, checks and traces.
struct fj_emu_ref {
    uint32_t reg; // in entry->regs
    uint32_t at;  // operand k: k; further operand k: FJ_EMU_OPERANDS + k
    bool def;
};

struct fj_emu_info {
    const struct fj_ptx_insn *source;
    uint32_t first_ref, n_refs;
    uint8_t class;                      // enum fj_emu_class
    bool is_block;                      // the head of a block, not an instruction of the text
    bool renames, is_wgmma, is_shuffle; // for the checks
};

struct fj_emu_basic {
    uint32_t first, end; // instructions; `first` is the head
    uint32_t next[2];    // successors, FJ_EMU_NONE: none
    uint32_t ipdom;      // FJ_EMU_NONE: the exit
    bool join;           // some branch reconverges here
    bool to_exit;
    const struct fj_ptx_label *table; // brx.idx targets
};

struct fj_emu_code {
    const struct fj_ptx_module *module;
    const struct fj_ptx_entry *entry;
    const uint64_t *var_addr;
    struct fj_emu_insn *insns;
    struct fj_emu_info *info;
    uint32_t n_insns, cap_insns, cap_info;
    uint32_t *ext;
    uint32_t n_ext, cap_ext;
    struct fj_emu_ref *refs;
    uint32_t n_refs, cap_refs;
    struct fj_emu_basic *blocks;
    uint32_t n_blocks;
    uint32_t *block_of; // PTX instruction -> block
    uint8_t *pool;      // constant slots, 64-byte aligned
    uint32_t pool_bytes, pool_cap;
    uint32_t reg_bytes; // of one warp
    uint32_t *slot_of;  // register -> slot offset or predicate index
    uint32_t sink;      // slots that nobody reads
    uint32_t n_preds;
    uint32_t most_registers; // the largest setmaxnreg
    uint32_t local_bytes;    // of a lane, rounded up
    uint32_t smem_static_bytes, smem_dynamic_align;
    uint32_t *module_shared;     // module var -> shared address, FJ_EMU_NONE: not used
    struct fj_emu_alloc *allocs; // freed with the code
};

enum fj_emu_state {
    FJ_EMU_READY,
    FJ_EMU_WAIT_BAR,
    FJ_EMU_WAIT_MBAR,
    FJ_EMU_WAIT_CLUSTER,
    FJ_EMU_WAIT_POOL,
    FJ_EMU_DONE,
    FJ_EMU_FAULTED,
};

struct fj_emu_path {
    uint32_t block, mask, join;
};

struct fj_emu_cta;

struct fj_emu_warp {
    uint8_t *base[2];
    uint32_t *pred;
    uint32_t exec;   // lanes of the current instruction
    uint32_t active; // lanes of the current path
    uint32_t started, exited;
    uint32_t carry;  // lanes whose carry flag is set
    uint32_t join;   // block where the current path ends
    int32_t quantum; // blocks until the next warp gets its turn
    struct fj_emu_cta *cta;
    const struct fj_emu_code *code;
    const struct fj_emu_insn *resume;
    enum fj_emu_state state;
    uint8_t *local;     // [lane][local_bytes]
    int index;          // in the CTA
    uint32_t registers; // of a thread, 0: not known
    int n_path;
    struct fj_emu_path path[FJ_EMU_STACK];
    // What it waits for.
    uint32_t wait_barrier;
    const uint8_t *wait_mbar;
    uint32_t wait_addr, wait_parity;
    uint32_t wait_registers;
    uint64_t barrier_waits, spin_retries;
    bool barrier_passed; // the barrier of `resume` has completed
    uint32_t cluster_phase;
    bool cluster_arrived;
    uint64_t steps; // warp instructions, for %clock
};

struct fj_emu_barrier {
    uint32_t arrived, expected; // threads; expected 0: idle
    bool counted;               // the count was given
    uint32_t waiting;           // warps
    uint32_t votes, last_votes; // of bar.red: yes in the low half, no in the high one
};

struct fj_emu_unit;

struct fj_emu_cta {
    struct fj_emu_unit *unit;
    uint8_t *smem; // address 0; usable from FJ_EMU_SHARED_BASE
    uint32_t smem_bytes;
    uint32_t ctaid[3];
    uint32_t rank; // in the cluster
    int n_warps, n_live;
    struct fj_emu_warp *warps;
    struct fj_emu_barrier barriers[16];
    uint32_t pool; // registers for each thread of one warp
};

// A cluster: what runs on one host thread.
struct fj_emu_unit {
    const struct fj_emu_code *code;
    const struct fj_emu_launch *launch;
    struct fj_emu_run *run;
    uint64_t index; // in the grid
    struct fj_emu_cta *ctas;
    int n_ctas, n_warps, n_live;
    struct fj_emu_warp *warps;
    uint32_t cluster_arrived, cluster_phase; // warps
    uint64_t budget;                         // blocks left
    struct fj_emu_tally *tally;              // of this worker, NULL: not counted
    struct fj_emu_check *check;              // check mode
    bool faulted;
    struct fj_emu_fault fault;
    bool hooks; // counts, checks or a trace
    void (*run_warp)(struct fj_emu_warp *warp);
};

// Code that the decoder shares.
static inline void *fj_emu_slot(const struct fj_emu_warp *w, uint32_t operand)
{
    return w->base[operand & 1] + (operand & ~1u);
}

static inline uint32_t *fj_emu_r32(const struct fj_emu_warp *w, uint32_t operand)
{
    return fj_emu_slot(w, operand);
}

static inline uint64_t *fj_emu_r64(const struct fj_emu_warp *w, uint32_t operand)
{
    return fj_emu_slot(w, operand);
}

// A predicate source as a mask.
static inline uint32_t fj_emu_pred(const struct fj_emu_warp *w, uint32_t operand)
{
    uint32_t mask = w->pred[operand & ~FJ_EMU_PRED_NOT];
    return operand & FJ_EMU_PRED_NOT ? ~mask : mask;
}

static inline void fj_emu_set_pred(struct fj_emu_warp *w, uint32_t index, uint32_t mask)
{
    w->pred[index] = (w->pred[index] & ~w->exec) | (mask & w->exec);
}

// One row of an opcode table: the dotted name, the handler, and the operands in order. Operands:
// w 32-bit slot (16-bit registers too), d 64-bit slot, p predicate; those before '=' are written.
struct fj_emu_op {
    const char *name;
    fj_emu_handler *fn;
    const char *operands;
};

// insn->flags of 16-bit arithmetic.
#define FJ_EMU_HALF_FTZ 1
#define FJ_EMU_HALF_SAT 2

// Records a fault of `lane` (-1: the warp) at `in` and stops the unit. Returns NULL.
const struct fj_emu_insn *fj_emu_stop(struct fj_emu_warp *w, const struct fj_emu_insn *in, int lane,
                                      enum fj_emu_fault_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

#endif
