// Tokens of PTX, the arena the tree lives in, and the parser's state.
#ifndef FJ_EMU_PTX_LEX_H
#define FJ_EMU_PTX_LEX_H

#include "emu/ptx_tree.h"

enum fj_ptx_token_kind {
    FJ_PTX_END,
    FJ_PTX_WORD,   // identifier, opcode or directive, dots included
    FJ_PTX_NUMBER, // integer or float literal
    FJ_PTX_STRING,
    FJ_PTX_PUNCT, // one character
    FJ_PTX_WATCH, // the rest of a "// fj_watch" comment
};

struct fj_ptx_token {
    enum fj_ptx_token_kind kind;
    const char *text; // into the source, not terminated
    size_t len;
    int line;
    enum fj_ptx_operand_kind number; // INT, F32 or F64
    uint64_t value;
};

// A name of a scope: registers prefix<first .. first+count>, or one variable.
struct fj_ptx_decl {
    const char *name;
    size_t len;
    int scope;
    bool range, variable;
    int first, count;
};

struct fj_ptx_arena;

struct fj_ptx_parser {
    const char *pos, *end;
    int line;
    struct fj_ptx_token tok; // the current one
    struct fj_ptx_arena *arena;
    struct fj_ptx_module *module;
    bool failed;
    int file, loc; // of the latest .loc
    // The entry being parsed.
    struct fj_ptx_entry *entry;
    int cap_insns, cap_regs, cap_labels, cap_vars, cap_module_vars, cap_entries, cap_files;
    struct fj_ptx_decl *decls;
    int n_decls, cap_decls;
    int *scope_parent;
    int n_scopes, cap_scopes, scope;
};

// Zeroed memory that lives as long as the module; NULL sets `failed`.
void *fj_ptx_alloc(struct fj_ptx_parser *parser, size_t bytes);
char *fj_ptx_copy(struct fj_ptx_parser *parser, const char *text, size_t len);
// Room for one more element in an arena array of `count` elements; returns the array.
void *fj_ptx_grow(struct fj_ptx_parser *parser, void *array, int count, int *cap, size_t size);
void fj_ptx_arena_free(struct fj_ptx_arena *arena);

// Records "PTX line N: ..." once; later tokens are all END.
void fj_ptx_fail(struct fj_ptx_parser *parser, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void fj_ptx_next(struct fj_ptx_parser *parser);
bool fj_ptx_is(const struct fj_ptx_parser *parser, const char *text);
bool fj_ptx_accept(struct fj_ptx_parser *parser, const char *text);
void fj_ptx_expect(struct fj_ptx_parser *parser, const char *text);
char *fj_ptx_word(struct fj_ptx_parser *parser); // takes a word; NULL after a failure
uint64_t fj_ptx_integer(struct fj_ptx_parser *parser);
void fj_ptx_skip_braces(struct fj_ptx_parser *parser); // at '{'

// A declaration after its state space word: alignment, type, name, size, initialiser.
void fj_ptx_variable(struct fj_ptx_parser *parser, enum fj_ptx_space space, bool external,
                     struct fj_ptx_var *ret_var);
// The braces of an entry and all in them.
void fj_ptx_body(struct fj_ptx_parser *parser);

// What a name stands for where the parser is; a label is a name still.
void fj_ptx_resolve(struct fj_ptx_parser *parser, const char *name, struct fj_ptx_operand *op);
// Operands into op->sub up to `close`, which is taken.
void fj_ptx_list(struct fj_ptx_parser *parser, struct fj_ptx_operand *op, const char *close,
                 int depth);
// Places the entry's shared and local variables, and the module's shared ones that it names.
void fj_ptx_layout(struct fj_ptx_parser *parser, struct fj_ptx_entry *entry);

#endif
