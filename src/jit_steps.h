// The steps of src/jit.c, in its order.
#ifndef FJ_JIT_STEPS_H
#define FJ_JIT_STEPS_H

#include "jit.h"

// Key of the in-process table: everything the text bakes in, without rendering it.
struct fj_key fj_step_slot(const struct fj_jit_request *request);

// What is ready while a stream captures; else FAJIT_E_CAPTURE.
int fj_step_ready(struct fj_jit *jit, const struct fj_jit_request *request,
                  const struct fj_key *slot, struct fj_kernel **ret_kernel);
// Loads a kernel that was in memory, if the request wants it. `ret_hit`: it had served before.
int fj_step_take(struct fj_jit *jit, const struct fj_jit_request *request, struct fj_kernel *kernel,
                 bool *ret_hit);

int fj_step_render(struct fj_jit *jit, struct fj_kernel *kernel);
int fj_step_key(struct fj_jit *jit, struct fj_kernel *kernel);
// True when the image came from a cache layer.
bool fj_step_disk(struct fj_jit *jit, struct fj_kernel *kernel);
bool fj_step_directory(struct fj_jit *jit, struct fj_kernel *kernel); // of the first one alone
// `log`: NVRTC's; may be NULL.
void fj_step_publish(struct fj_jit *jit, struct fj_kernel *kernel, const char *log);
// A kernel with nothing made of it yet; NULL with an error recorded.
struct fj_kernel *fj_kernel_new(const struct fj_jit_request *request);
// Compiles unless another process publishes the entry meanwhile; publishes what it made.
int fj_step_compile(struct fj_jit *jit, bool cached_only, struct fj_kernel *kernel);
// Once per kernel; any thread.
int fj_step_load(struct fj_jit *jit, struct fj_kernel *kernel);
bool fj_kernel_is_loaded(struct fj_kernel *kernel);

int fj_jit_nvrtc(struct fj_jit *jit, const struct fj_nvrtc **ret_nvrtc); // opens it if need be
// "13.0 a1b2c3..": version, and as much of the build id as an entry has room for.
void fj_nvrtc_ident(const struct fj_nvrtc *nvrtc, char ret_text[48]);

void fj_kernel_free(struct fj_jit *jit, struct fj_kernel *kernel); // NULL is fine

int fj_render_choice(struct fj_jit *jit, const struct fj_choice *choice, bool watches,
                     char ret_name[160], struct fj_rendering *ret_rendering);
int fj_compile_rendering(struct fj_jit *jit, const struct fj_rendering *rendering, const char *name,
                         const struct fj_key *key, bool want_ptx, struct fj_target *ret_target,
                         struct fj_compiled *ret_compiled);

#endif
