// Expressions of the template language: integers, names, and the operators of C.
#ifndef FJ_CODEGEN_EXPR_H
#define FJ_CODEGEN_EXPR_H

#include "codegen/symbols.h"

// All expressions of one template, as nodes that refer to each other by index.
struct fj_exprs {
    struct fj_buf nodes;
};

// Failures are FAJIT_E_TEMPLATE sentences without a place; the caller adds it. The nodes point
// into `text`, which must outlive them.
int fj_expr_parse(struct fj_exprs *exprs, const struct fj_symbols *symbols, struct fj_str text,
                  int *ret_root);

// `values` is indexed like `symbols`.
int fj_expr_eval(const struct fj_exprs *exprs, const struct fj_symbols *symbols, int root,
                 const struct fj_value *values, int64_t *ret_value);

#endif
