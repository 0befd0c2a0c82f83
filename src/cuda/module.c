#include "cuda/module.h"

#include <stdio.h>
#include <string.h>

#define LOG_BYTES 2048

// PTX starts with comments and ".version 9.0"; 0 when the image is a cubin.
static int ptx_version(const void *image)
{
    int major, minor;
    const char *directive, *text = image;
    if (memcmp(image, "\177ELF", 4) == 0)
        return 0;
    directive = strstr(text, ".version ");
    return directive && sscanf(directive, ".version %d.%d", &major, &minor) == 2
               ? 10 * major + minor
               : 0;
}

static int report_load(const struct fj_device *device, CUresult result, const void *image,
                       const char *kernel_name, const char *log)
{
    int ptx = ptx_version(image), driver = device->gpu.driver_version;
    if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION && ptx)
        return fj_err(FAJIT_E_CUDA,
                      "the driver (CUDA %d.%d) cannot read %s's PTX %d.%d: update the driver, or "
                      "use an NVRTC that knows sm_%d, so that no PTX is needed",
                      driver / 1000, driver % 1000 / 10, kernel_name, ptx / 10, ptx % 10,
                      device->gpu.cc);
    int status = fj_cuda_check(device->cuda, result, "cuModuleLoadDataEx");
    return *log ? fj_err_context(status, "%s: %s", kernel_name, log)
                : fj_err_context(status, "%s", kernel_name);
}

static int load_image(const struct fj_device *device, const void *image, const char *kernel_name,
                      CUmodule *ret_module)
{
    char log[LOG_BYTES] = "";
    CUjit_option keys[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof(log)};
    CUresult result = device->cuda->cuModuleLoadDataEx(ret_module, image, 2, keys, values);
    if (result == CUDA_SUCCESS)
        return FAJIT_OK;
    log[sizeof(log) - 1] = '\0';
    log[strcspn(log, "\n")] = '\0'; // one sentence: the first complaint
    return report_load(device, result, image, kernel_name, log);
}

static int read_attributes(const struct fj_cuda *cuda, struct fj_module *module)
{
    const struct {
        CUfunction_attribute attribute;
        int *ret_value;
    } wanted[] = {
        {CU_FUNC_ATTRIBUTE_NUM_REGS, &module->registers},
        {CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, &module->local_bytes},
        {CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &module->smem_static_bytes},
        {CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &module->max_threads},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        CUresult result =
            cuda->cuFuncGetAttribute(wanted[i].ret_value, wanted[i].attribute, module->function);
        int status = fj_cuda_check(cuda, result, "cuFuncGetAttribute");
        if (status != FAJIT_OK)
            return status;
    }
    return FAJIT_OK;
}

static int raise_smem_limit(const struct fj_device *device, const struct fj_module *module,
                            unsigned smem_dynamic_bytes, const char *kernel_name)
{
    int64_t total = (int64_t)smem_dynamic_bytes + module->smem_static_bytes;
    if (total > device->gpu.smem_per_block_bytes)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "%s needs %lld bytes of shared memory per CTA, %s has %d: choose smaller "
                      "tiles or fewer stages",
                      kernel_name, (long long)total, device->gpu.name,
                      device->gpu.smem_per_block_bytes);
    if (smem_dynamic_bytes == 0)
        return FAJIT_OK;
    CUresult result = device->cuda->cuFuncSetAttribute(
        module->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)smem_dynamic_bytes);
    return fj_cuda_check(device->cuda, result, "cuFuncSetAttribute");
}

// In the device's context.
static int load(const struct fj_device *device, const void *image, const char *kernel_name,
                unsigned smem_dynamic_bytes, struct fj_module *module)
{
    const struct fj_cuda *cuda = device->cuda;
    int status = load_image(device, image, kernel_name, &module->module);
    if (status != FAJIT_OK)
        return status;
    CUresult result = cuda->cuModuleGetFunction(&module->function, module->module, kernel_name);
    if (result == CUDA_ERROR_NOT_FOUND)
        status = fj_err(FAJIT_E_CUDA, "the image has no kernel named %s", kernel_name);
    else
        status = fj_cuda_check(cuda, result, "cuModuleGetFunction");
    // Where cuFuncLoad is missing (before CUDA 12.4) the attribute queries below load the code.
    if (status == FAJIT_OK && cuda->cuFuncLoad)
        status = fj_cuda_check(cuda, cuda->cuFuncLoad(module->function), "cuFuncLoad");
    if (status == FAJIT_OK)
        status = read_attributes(cuda, module);
    if (status == FAJIT_OK)
        status = raise_smem_limit(device, module, smem_dynamic_bytes, kernel_name);
    if (status != FAJIT_OK)
        cuda->cuModuleUnload(module->module);
    return status;
}

int fj_module_load(const struct fj_device *device, const void *image, const char *kernel_name,
                   unsigned smem_dynamic_bytes, struct fj_module *ret_module)
{
    struct fj_module module = {0};
    CUcontext previous;
    int status = fj_device_enter(device, &previous);
    if (status != FAJIT_OK)
        return status;
    status = load(device, image, kernel_name, smem_dynamic_bytes, &module);
    fj_device_leave(device, previous);
    if (status == FAJIT_OK)
        *ret_module = module;
    return status;
}

void fj_module_unload(const struct fj_device *device, struct fj_module *module)
{
    CUcontext previous;
    if (!module->module)
        return;
    // A lost or destroyed context has unloaded the module already; nothing is left to do then.
    if (fj_device_enter(device, &previous) == FAJIT_OK) {
        device->cuda->cuModuleUnload(module->module);
        fj_device_leave(device, previous);
    }
    *module = (struct fj_module){0};
}

int fj_module_occupancy(const struct fj_device *device, const struct fj_module *module,
                        unsigned threads, unsigned smem_dynamic_bytes, int *ret_ctas_per_sm)
{
    CUcontext previous;
    int ctas = 0, status = fj_device_enter(device, &previous);
    if (status != FAJIT_OK)
        return status;
    CUresult result = device->cuda->cuOccupancyMaxActiveBlocksPerMultiprocessor(
        &ctas, module->function, (int)threads, smem_dynamic_bytes);
    fj_device_leave(device, previous);
    status = fj_cuda_check(device->cuda, result, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
    if (status == FAJIT_OK)
        *ret_ctas_per_sm = ctas;
    return status;
}

// In the device's context. One past the last parameter is an invalid value to the driver.
static int read_params(const struct fj_cuda *cuda, CUfunction function, int max, size_t *ret_bytes,
                       int *ret_count)
{
    for (int i = 0;; i++) {
        size_t offset, bytes = 0;
        CUresult result = cuda->cuFuncGetParamInfo(function, (size_t)i, &offset, &bytes);
        if (result == CUDA_ERROR_INVALID_VALUE) {
            *ret_count = i;
            return FAJIT_OK;
        }
        int status = fj_cuda_check(cuda, result, "cuFuncGetParamInfo");
        if (status != FAJIT_OK)
            return status;
        if (i == max)
            return fj_err(FAJIT_E_UNSUPPORTED, "the kernel has more than %d parameters", max);
        ret_bytes[i] = bytes;
    }
}

int fj_module_params(const struct fj_device *device, const struct fj_module *module, int max,
                     size_t *ret_bytes, int *ret_count)
{
    CUcontext previous;
    *ret_count = -1;
    if (!device->cuda->cuFuncGetParamInfo)
        return FAJIT_OK;
    int status = fj_device_enter(device, &previous);
    if (status != FAJIT_OK)
        return status;
    status = read_params(device->cuda, module->function, max, ret_bytes, ret_count);
    fj_device_leave(device, previous);
    return status;
}
