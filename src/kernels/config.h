// A configuration: one value per knob.
#ifndef FJ_KERNELS_CONFIG_H
#define FJ_KERNELS_CONFIG_H

#include "base/buf.h"

enum fj_knob {
#define FJ_KNOB(name, doc) FJ_KNOB_##name,
#include "kernels/knobs.def"
#undef FJ_KNOB
    FJ_KNOB_COUNT
};

#define FJ_KNOB_MAX 1024 // a knob takes 1 to this; which values make sense, its kernel says

struct fj_config {
    int16_t v[FJ_KNOB_COUNT]; // 0: unset
};

#define FJ_CFG(config, knob) ((config)->v[FJ_KNOB_##knob])

const char *fj_knob_name(enum fj_knob knob);
const char *fj_knob_doc(enum fj_knob knob);
enum fj_knob fj_knob_find(const char *name, size_t len); // FJ_KNOB_COUNT when unknown

// "bm=128,bn=64": set knobs only, in the order of knobs.def.
void fj_config_format(const struct fj_config *config, struct fj_buf *ret_text);
// The tuning half of a kernel symbol: "bm128_bn64_warps4".
void fj_config_symbol(const struct fj_config *config, struct fj_buf *ret_text);
// Knobs in any order; FAJIT_E_INVAL names an unknown or repeated knob, or a value out of range.
int fj_config_parse(const char *text, struct fj_config *ret_config);

// FAJIT_E_INVAL unless every set knob is among `allowed`, a list that ends in FJ_KNOB_COUNT.
int fj_config_knobs_check(const struct fj_config *config, const enum fj_knob *allowed);
// Sets a knob that is still unset.
void fj_config_default(struct fj_config *config, enum fj_knob knob, int value);

#endif
