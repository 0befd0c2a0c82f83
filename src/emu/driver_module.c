// Modules from PTX text, their functions, and how many CTAs of one fit an SM.
#include "emu/driver.h"

#include "emu/core.h"
#include "emu/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMEM_DEFAULT 49152 // what a kernel gets without asking

// The log buffers of cuModuleLoadDataEx.
static void write_log(unsigned n_options, CUjit_option *options, void **values, const char *text)
{
    char *buffer = NULL;
    size_t cap = 0;
    for (unsigned i = 0; i < n_options; i++) {
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
            buffer = values[i];
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
            cap = (size_t)(uintptr_t)values[i];
    }
    if (buffer && cap)
        snprintf(buffer, cap, "%s", text);
}

static CUresult check_image(const unsigned char *image)
{
    static const unsigned char elf[] = {0x7f, 'E', 'L', 'F'}, fatbin[] = {0x50, 0xed, 0x55, 0xba};
    if (!image)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "the image is a null pointer");
    if (memcmp(image, elf, 4) == 0 || memcmp(image, fatbin, 4) == 0)
        return fj_emu_fail(CUDA_ERROR_NO_BINARY_FOR_GPU,
                           "the emulated device executes PTX, and the image is a cubin");
    if (!strstr((const char *)image, ".version"))
        return fj_emu_fail(CUDA_ERROR_INVALID_IMAGE, "the image is not PTX: it has no .version");
    return CUDA_SUCCESS;
}

static CUresult check_target(const struct fj_ptx_module *ptx, const struct fj_gpu *gpu)
{
    bool fits = ptx->target_specific ? ptx->target == gpu->cc : ptx->target <= gpu->cc;
    if (fits)
        return CUDA_SUCCESS;
    return fj_emu_fail(CUDA_ERROR_INVALID_PTX, "PTX for sm_%d%s does not run on %s (sm_%d)",
                       ptx->target, ptx->target_specific ? "a" : "", gpu->name, gpu->cc);
}

static CUresult place_variables(CUmodule module)
{
    const struct fj_ptx_module *ptx = module->ptx;
    module->var_addr = calloc((size_t)ptx->n_vars + 1, sizeof(*module->var_addr));
    if (!module->var_addr)
        return fj_emu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for the module");
    for (int i = 0; i < ptx->n_vars; i++) {
        const struct fj_ptx_var *var = &ptx->vars[i];
        if ((var->space != FJ_PTX_GLOBAL && var->space != FJ_PTX_CONST) || var->bytes == 0)
            continue;
        if (fj_emu_mem_alloc_for(var->bytes, module->context->device, module->context,
                                 &module->var_addr[i]) != FAJIT_OK)
            return fj_emu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no memory for variable %s", var->name);
        if (var->init)
            memcpy((void *)(uintptr_t)module->var_addr[i], var->init, var->init_bytes);
        fj_emu_mem_mark(module->var_addr[i], var->bytes);
    }
    return CUDA_SUCCESS;
}

static int product(const uint32_t dims[3])
{
    return (int)((dims[0] ? dims[0] : 1) * (dims[1] ? dims[1] : 1) * (dims[2] ? dims[2] : 1));
}

// Registers are handed out to a warp 256 at a time.
static int warp_registers(int per_thread)
{
    return (per_thread * 32 + 255) / 256 * 256;
}

// What the emulator's own allocation of registers took: ptxas's differs by a few. It is held to
// what the launch bounds leave, as a compiler does by spilling.
static void size_function(CUfunction function)
{
    const struct fj_ptx_entry *entry = function->entry;
    int regs_per_sm = function->module->context->gpu->regs_per_sm;
    const uint32_t *bounds = entry->reqntid[0] ? entry->reqntid : entry->maxntid;
    int threads = bounds[0] ? product(bounds) : 1024, most = 255;
    int ctas = entry->minnctapersm ? (int)entry->minnctapersm : 1;
    if (bounds[0]) {
        int warps = (threads + 31) / 32 * ctas;
        int fair = regs_per_sm / (warps ? warps : 1) / 256 * 256 / 32;
        most = fair < most ? fair : most;
    }
    if (entry->maxnreg && (int)entry->maxnreg < most)
        most = (int)entry->maxnreg;
    // 32 lanes of 4 bytes each; ptxas counts in eights and takes 16 at least.
    int estimate = ((int)function->code->reg_bytes / 128 + 7) / 8 * 8;
    estimate = estimate < 16 ? 16 : estimate;
    function->registers = estimate < most ? estimate : most;
    function->smem_dynamic_limit = SMEM_DEFAULT - (int)function->code->smem_static_bytes;
    int warps = regs_per_sm / warp_registers(function->registers);
    function->max_threads = threads < 32 * warps ? threads : 32 * warps;
}

static CUresult build_functions(CUmodule module)
{
    const struct fj_ptx_module *ptx = module->ptx;
    module->functions = calloc((size_t)ptx->n_entries + 1, sizeof(*module->functions));
    if (!module->functions)
        return fj_emu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for the module");
    for (int i = 0; i < ptx->n_entries; i++) {
        CUfunction function = &module->functions[i];
        const struct fj_ptx_entry *entry = &ptx->entries[i];
        *function = (struct CUfunc_st){
            .magic = FJ_EMU_MAGIC_FUNCTION,
            .module = module,
            .entry = entry,
            .carveout = -1,
            .cluster = {entry->cluster[0], entry->cluster[1], entry->cluster[2]},
        };
        if (fj_emu_code_build(ptx, entry, module->var_addr, &function->code) != FAJIT_OK)
            return fj_emu_fail(CUDA_ERROR_INVALID_PTX, "%s", fj_err_text());
        size_function(function);
    }
    return CUDA_SUCCESS;
}

void fj_emu_module_destroy(CUmodule module)
{
    for (int i = 0; module->functions && i < module->ptx->n_entries; i++) {
        module->functions[i].magic = 0;
        fj_emu_code_free(module->functions[i].code);
    }
    for (int i = 0; module->var_addr && i < module->ptx->n_vars; i++)
        if (module->var_addr[i])
            fj_emu_mem_free(module->var_addr[i]);
    fj_emu_retire(module->functions);
    free(module->var_addr);
    fj_ptx_free(module->ptx);
    module->magic = 0;
    fj_emu_retire(module);
}

static CUresult load(CUmodule module, const char *text)
{
    CUresult result = CUDA_SUCCESS;
    if (fj_ptx_parse(text, strlen(text), &module->ptx) != FAJIT_OK)
        return fj_emu_fail(CUDA_ERROR_INVALID_PTX, "%s", fj_err_text());
    if ((result = check_target(module->ptx, module->context->gpu)) == CUDA_SUCCESS &&
        (result = place_variables(module)) == CUDA_SUCCESS)
        result = build_functions(module);
    return result;
}

CUresult fj_emu_cuModuleLoadDataEx(CUmodule *ret_module, const void *image, unsigned n_options,
                                   CUjit_option *options, void **values)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS)
        result = fj_emu_unsafe_call("cuModuleLoadDataEx");
    if (result == CUDA_SUCCESS)
        result = check_image(image);
    if (result != CUDA_SUCCESS)
        return result;
    CUmodule module = calloc(1, sizeof(*module));
    if (!module || !ret_module) {
        free(module);
        return ret_module ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    }
    module->magic = FJ_EMU_MAGIC_MODULE;
    module->context = context;
    result = load(module, image);
    if (result != CUDA_SUCCESS) {
        const char *text = NULL;
        fj_emu_cuGetErrorString(result, &text);
        write_log(n_options, options, values, text);
        fj_emu_module_destroy(module);
        return result;
    }
    fj_emu_context_own(context, module);
    *ret_module = module;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuModuleUnload(CUmodule module)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result != CUDA_SUCCESS && result != atomic_load(&context->broken))
        return result;
    if (!module || module->magic != FJ_EMU_MAGIC_MODULE ||
        !fj_emu_context_disown(module->context, module))
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "cuModuleUnload of no module");
    fj_emu_module_destroy(module);
    return result;
}

CUresult fj_emu_cuModuleGetFunction(CUfunction *ret_function, CUmodule module, const char *name)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!module || module->magic != FJ_EMU_MAGIC_MODULE)
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no module");
    if (!ret_function || !name)
        return CUDA_ERROR_INVALID_VALUE;
    for (int i = 0; i < module->ptx->n_entries; i++)
        if (strcmp(module->ptx->entries[i].name, name) == 0) {
            *ret_function = &module->functions[i];
            return CUDA_SUCCESS;
        }
    return fj_emu_fail(CUDA_ERROR_NOT_FOUND, "the module has no kernel \"%s\"", name);
}

static CUresult check_function(CUfunction function)
{
    CUcontext context;
    CUresult result = fj_emu_enter(&context);
    if (result == CUDA_SUCCESS && (!function || function->magic != FJ_EMU_MAGIC_FUNCTION))
        return fj_emu_fail(CUDA_ERROR_INVALID_HANDLE, "the handle is no function");
    return result;
}

CUresult fj_emu_cuFuncLoad(CUfunction function)
{
    return check_function(function); // everything is decoded when the module is loaded
}

CUresult fj_emu_cuFuncGetParamInfo(CUfunction function, size_t index, size_t *ret_offset,
                                   size_t *ret_bytes)
{
    CUresult result = check_function(function);
    if (result != CUDA_SUCCESS)
        return result;
    const struct fj_ptx_entry *entry = function->entry;
    if (!ret_offset || index >= (size_t)entry->n_params)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "%s has %d parameters, none of index %zu",
                           entry->name, entry->n_params, index);
    *ret_offset = entry->params[index].offset;
    if (ret_bytes)
        *ret_bytes = entry->params[index].bytes;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuFuncGetAttribute(int *ret_value, CUfunction_attribute attribute,
                                   CUfunction function)
{
    CUresult result = check_function(function);
    if (result != CUDA_SUCCESS)
        return result;
    const struct fj_ptx_entry *entry = function->entry;
    const struct fj_ptx_module *ptx = function->module->ptx;
    const int values[] = {
        [CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = function->max_threads,
        [CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES] = (int)function->code->smem_static_bytes,
        [CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES] = 0,
        [CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES] = (int)function->code->local_bytes,
        [CU_FUNC_ATTRIBUTE_NUM_REGS] = function->registers,
        [CU_FUNC_ATTRIBUTE_PTX_VERSION] = ptx->target,
        [CU_FUNC_ATTRIBUTE_BINARY_VERSION] = function->module->context->gpu->cc,
        [CU_FUNC_ATTRIBUTE_CACHE_MODE_CA] = 0,
        [CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = function->smem_dynamic_limit,
        [CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT] = function->carveout,
        [CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET] = entry->explicit_cluster,
        [CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH] = (int)function->cluster[0],
        [CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT] = (int)function->cluster[1],
        [CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH] = (int)function->cluster[2],
        [CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = function->non_portable_cluster,
    };
    if (!ret_value || (unsigned)attribute >= sizeof(values) / sizeof(values[0]))
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "function attribute %d", attribute);
    *ret_value = values[attribute];
    return CUDA_SUCCESS;
}

static CUresult set_smem_limit(CUfunction function, int value)
{
    int most = function->module->context->gpu->smem_per_block_bytes -
               (int)function->code->smem_static_bytes;
    if (value < 0 || value > most)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE,
                           "%d bytes of dynamic shared memory: the kernel may have up to %d on %s",
                           value, most, function->module->context->gpu->name);
    function->smem_dynamic_limit = value;
    return CUDA_SUCCESS;
}

static CUresult set_cluster(CUfunction function, int axis, int value)
{
    const uint32_t *fixed = function->entry->cluster;
    if (value < 1 || (fixed[0] && (uint32_t)value != fixed[axis]))
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "a cluster of %d along axis %d", value, axis);
    function->cluster[axis] = (uint32_t)value;
    return CUDA_SUCCESS;
}

CUresult fj_emu_cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value)
{
    CUresult result = check_function(function);
    if (result != CUDA_SUCCESS)
        return result;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        return set_smem_limit(function, value);
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        if (value < -1 || value > 100)
            return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "a carveout of %d per cent", value);
        function->carveout = value;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
        return set_cluster(function, (int)attribute - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH,
                           value);
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        function->non_portable_cluster = value != 0;
        return CUDA_SUCCESS;
    default:
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "function attribute %d cannot be set",
                           attribute);
    }
}

static int smallest(const int *limits, int count)
{
    int least = limits[0];
    for (int i = 1; i < count; i++)
        least = limits[i] < least ? limits[i] : least;
    return least;
}

// Shared memory a CTA takes, in the unit the SM hands it out.
static int64_t cta_smem(CUfunction function, size_t dynamic)
{
    const struct fj_gpu *gpu = function->module->context->gpu;
    int64_t unit = gpu->cc >= 80 ? 128 : 256;
    int64_t bytes = (int64_t)dynamic + function->code->smem_static_bytes + gpu->smem_reserved_bytes;
    return (bytes + unit - 1) / unit * unit;
}

CUresult fj_emu_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *ret_blocks, CUfunction function,
                                                            int threads, size_t smem_dynamic_bytes)
{
    CUresult result = check_function(function);
    if (result != CUDA_SUCCESS)
        return result;
    if (!ret_blocks || threads < 1)
        return fj_emu_fail(CUDA_ERROR_INVALID_VALUE, "occupancy of CTAs of %d threads", threads);
    const struct fj_gpu *gpu = function->module->context->gpu;
    *ret_blocks = 0;
    if (threads > function->max_threads ||
        smem_dynamic_bytes > (size_t)function->smem_dynamic_limit)
        return CUDA_SUCCESS;
    int warps = (threads + 31) / 32;
    // Each of an SM's four parts has a quarter of the registers, and a warp lives in one part.
    int warps_by_registers = gpu->regs_per_sm / 4 / warp_registers(function->registers) * 4;
    int64_t smem = cta_smem(function, smem_dynamic_bytes);
    const int limits[] = {
        warps_by_registers / warps,
        gpu->threads_per_sm / (32 * warps),
        gpu->blocks_per_sm,
        smem ? (int)(gpu->smem_per_sm_bytes / smem) : gpu->blocks_per_sm,
    };
    *ret_blocks = smallest(limits, sizeof(limits) / sizeof(limits[0]));
    return CUDA_SUCCESS;
}
