#include "ref/tile.h"

// x86-64 starts at SSE2; elsewhere the base architecture has what is needed.
#if defined(__x86_64__)
#define WIDE __attribute__((target("avx2,fma")))
static bool has_wide(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
#define WIDE
static bool has_wide(void)
{
    return true;
}
#endif

// Loads and stores of them need no more alignment than their elements.
typedef double vec_f64 __attribute__((vector_size(32), aligned(8), may_alias));
typedef float vec_f32 __attribute__((vector_size(32), aligned(4), may_alias));

#define REAL double
#define VEC vec_f64
#define NAME(x) x##_f64
#include "ref/tile.inc"
#undef REAL
#undef VEC
#undef NAME

#define REAL float
#define VEC vec_f32
#define NAME(x) x##_f32
#include "ref/tile.inc"

_Static_assert((int)panel_f64 == (int)FJ_REF_PANEL_F64 && (int)panel_f32 == (int)FJ_REF_PANEL_F32,
               "tile.h promises these");
