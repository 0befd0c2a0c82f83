// The only file that sees NVIDIA's headers; built where they are installed.
#include <cuda.h>
#include <nvrtc.h>

#include "abi_facts.h"

const struct abi_fact abi_real[] = {
#include "abi_facts.def"
};
const size_t abi_real_count = sizeof(abi_real) / sizeof(*abi_real);

// Every signature of symbols.def, read with the real types.
#define CHECK(result, name, args)                                                                  \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&name), result(*) args),                \
                   #name " is declared otherwise");
#define FJ_CUDA_FN(name, args) CHECK(CUresult, name, args)
#define FJ_CUDA_FN_OPTIONAL(name, args) CHECK(CUresult, name, args)
#define FJ_NVRTC_FN(name, args) CHECK(nvrtcResult, name, args)
#define FJ_NVRTC_FN_OPTIONAL(name, args) CHECK(nvrtcResult, name, args)
#include "cuda/symbols.def"
