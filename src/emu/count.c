#include "emu/count.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "emu/ops.h"
#include "emu/tally.h"

const char *const fj_emu_class_names[FJ_EMU_CLASSES] = {
    [FJ_EMU_CLASS_INT] = "int",         [FJ_EMU_CLASS_FLOAT] = "float",
    [FJ_EMU_CLASS_SPECIAL] = "special", [FJ_EMU_CLASS_CONVERT] = "convert",
    [FJ_EMU_CLASS_MOVE] = "move",       [FJ_EMU_CLASS_GLOBAL] = "global",
    [FJ_EMU_CLASS_SHARED] = "shared",   [FJ_EMU_CLASS_LOCAL] = "local",
    [FJ_EMU_CLASS_PARAM] = "param",     [FJ_EMU_CLASS_MATRIX_MOVE] = "matrix-move",
    [FJ_EMU_CLASS_MMA] = "mma",         [FJ_EMU_CLASS_ASYNC] = "async",
    [FJ_EMU_CLASS_SYNC] = "sync",       [FJ_EMU_CLASS_CONTROL] = "control",
};

bool fj_emu_tally_init(struct fj_emu_tally *t, const struct fj_emu_code *code)
{
    memset(t, 0, sizeof(*t));
    t->runs = calloc(code->n_insns, sizeof(*t->runs));
    t->lanes = calloc(code->n_insns, sizeof(*t->lanes));
    return t->runs != NULL && t->lanes != NULL;
}

void fj_emu_tally_free(struct fj_emu_tally *t)
{
    free(t->runs);
    free(t->lanes);
}

void fj_emu_tally_insn(struct fj_emu_tally *t, const struct fj_emu_warp *w,
                       const struct fj_emu_insn *in)
{
    const size_t i = (size_t)(in - w->code->insns);
    t->runs[i]++;
    t->lanes[i] += (uint64_t)__builtin_popcount(w->exec);
}

// Distinct values among the executing lanes', which mostly come in order.
static uint32_t distinct(const uint64_t *value, uint32_t exec)
{
    uint64_t seen[FJ_EMU_LANES];
    uint32_t n = 0;
    FJ_EMU_EACH_LANE(l, exec)
    {
        uint32_t i = n;
        while (i > 0 && seen[i - 1] != value[l])
            i--;
        if (i == 0)
            seen[n++] = value[l];
    }
    return n;
}

void fj_emu_tally_global(struct fj_emu_tally *t, uint32_t exec, uint32_t bytes, bool is_store,
                         const uint64_t address[FJ_EMU_LANES])
{
    const uint64_t total = (uint64_t)__builtin_popcount(exec) * bytes;
    uint64_t sector[FJ_EMU_LANES];
    for (int l = 0; l < FJ_EMU_LANES; l++)
        sector[l] = address[l] >> 5; // accesses are aligned: one lies in one sector
    const uint64_t sectors = distinct(sector, exec) * (uint64_t)(bytes > 32 ? bytes / 32 : 1);
    if (is_store) {
        t->dynamic.global_store_bytes += total;
        t->dynamic.global_store_sectors += sectors;
    } else {
        t->dynamic.global_load_bytes += total;
        t->dynamic.global_load_sectors += sectors;
    }
}

// A copy to shared memory is taken apart at the 128-byte lines it writes: a sector that goes to two
// of them is read for each (seen on an H200, tests/notes/emulator_counts.md).
void fj_emu_tally_copy(struct fj_emu_tally *t, uint32_t exec, uint32_t bytes,
                       const uint64_t from[FJ_EMU_LANES], const uint32_t to[FJ_EMU_LANES])
{
    uint64_t sector[FJ_EMU_LANES];
    for (int l = 0; l < FJ_EMU_LANES; l++)
        sector[l] = from[l] >> 5 << 12 | (to[l] & FJ_EMU_SHARED_OFFSET_MASK) >> 7;
    t->dynamic.global_load_bytes += (uint64_t)__builtin_popcount(exec) * bytes;
    t->dynamic.global_load_sectors += distinct(sector, exec);
}

// A wavefront moves 32 banks of 4 bytes. Lanes are served in groups whose accesses would fill one:
// all 32 up to 4 bytes, 16 of 8 bytes, 8 of 16. Different words of one bank take turns.
void fj_emu_tally_shared(struct fj_emu_tally *t, uint32_t exec, uint32_t bytes,
                         const uint64_t address[FJ_EMU_LANES])
{
    const int words = bytes > 4 ? (int)bytes / 4 : 1;
    const int group = FJ_EMU_LANES / (words > 8 ? 8 : words);
    for (int first = 0; first < FJ_EMU_LANES; first += group) {
        uint64_t word[FJ_EMU_LANES * 4];
        uint8_t per_bank[32] = {0};
        int n = 0, most = 0;
        for (int l = first; l < first + group; l++) {
            for (int i = 0; i < words && exec >> l & 1; i++) {
                const uint64_t at = (address[l] >> 2) + (uint64_t)i;
                int k = n;
                while (k > 0 && word[k - 1] != at)
                    k--;
                if (k > 0)
                    continue;
                word[n++] = at;
                const int used = ++per_bank[at & 31];
                most = used > most ? used : most;
            }
        }
        t->dynamic.shared_wavefronts += (uint64_t)most;
        t->dynamic.shared_conflicts += (uint64_t)(most > 1 ? most - 1 : 0);
    }
}

static void add_dynamic(const struct fj_emu_counts *from, struct fj_emu_counts *to)
{
    to->global_load_bytes += from->global_load_bytes;
    to->global_store_bytes += from->global_store_bytes;
    to->global_load_sectors += from->global_load_sectors;
    to->global_store_sectors += from->global_store_sectors;
    to->bulk_load_bytes += from->bulk_load_bytes;
    to->bulk_store_bytes += from->bulk_store_bytes;
    to->shared_wavefronts += from->shared_wavefronts;
    to->shared_conflicts += from->shared_conflicts;
    to->barrier_waits += from->barrier_waits;
    to->spin_retries += from->spin_retries;
}

void fj_emu_tally_add(const struct fj_emu_tally *t, const struct fj_emu_code *code,
                      struct fj_emu_counts *counts)
{
    add_dynamic(&t->dynamic, counts);
    for (uint32_t i = 0; i < code->n_insns; i++) {
        const struct fj_emu_info *info = &code->info[i];
        if (info->is_block || info->source == NULL || t->runs[i] == 0)
            continue;
        const char *op = info->source->op;
        const uint64_t flops = fj_emu_insn_flops(&code->insns[i]);
        if (strcmp(op, "fj_watch") == 0)
            continue;
        counts->instructions[info->class] += t->runs[i];
        counts->mma_ops += flops > 0 ? t->runs[i] : 0;
        counts->mma_flops += flops * t->runs[i];
        if (strncmp(op, "ex2.", 4) == 0)
            counts->ex2 += t->lanes[i] * (strstr(op + 3, "x2") != NULL ? 2 : 1);
        counts->ldmatrix += strncmp(op, "ldmatrix", 8) == 0 ? t->runs[i] : 0;
        counts->stmatrix += strncmp(op, "stmatrix", 8) == 0 ? t->runs[i] : 0;
    }
}

static int by_line(const void *a, const void *b)
{
    const struct fj_emu_line_count *x = a, *y = b;
    return x->line < y->line ? -1 : x->line > y->line;
}

int fj_emu_tally_lines(const uint64_t *runs, const struct fj_emu_code *code,
                       struct fj_emu_counts *counts)
{
    const size_t most = (size_t)counts->n_lines + code->n_insns;
    struct fj_emu_line_count *lines = realloc(counts->lines, (most + 1) * sizeof(*lines));
    if (lines == NULL)
        return fj_err(FAJIT_E_NOMEM, "out of memory for the counts per line");
    int n = counts->n_lines;
    for (uint32_t i = 0; i < code->n_insns; i++) {
        if (!code->info[i].is_block && code->info[i].source != NULL && runs[i] > 0)
            lines[n++] = (struct fj_emu_line_count){.line = code->info[i].source->line,
                                                    .instructions = runs[i]};
    }
    qsort(lines, (size_t)n, sizeof(*lines), by_line);
    int kept = 0;
    for (int i = 0; i < n; i++) {
        if (kept > 0 && lines[kept - 1].line == lines[i].line)
            lines[kept - 1].instructions += lines[i].instructions;
        else
            lines[kept++] = lines[i];
    }
    counts->lines = lines;
    counts->n_lines = kept;
    return FAJIT_OK;
}
