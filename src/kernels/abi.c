#include "kernels/abi.h"

#include <string.h>

int fj_abi_read(const char *name, const void *from, size_t from_size, size_t size, void *ret_to)
{
    const unsigned char *bytes = from;
    for (size_t i = size; i < from_size; i++) {
        if (bytes[i] != 0) {
            return fj_err(
                FAJIT_E_UNSUPPORTED,
                "struct_size of struct %s is %zu, this library's is %zu, and a field past "
                "that is set: the program was built for a newer fajit; use that one",
                name, from_size, size);
        }
    }
    memset(ret_to, 0, size);
    memcpy(ret_to, from, from_size < size ? from_size : size);
    return FAJIT_OK;
}
