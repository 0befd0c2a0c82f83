#include "base/vm.h"

#include <sys/mman.h>
#include <unistd.h>

size_t fj_vm_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void *fj_vm_reserve(size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *base = mmap(NULL, bytes, PROT_NONE, flags, -1, 0);
    return base == MAP_FAILED ? NULL : base;
}

void fj_vm_release(void *base, size_t bytes)
{
    munmap(base, bytes);
}

bool fj_vm_commit(void *base, size_t bytes)
{
    return mprotect(base, bytes, PROT_READ | PROT_WRITE) == 0;
}

void fj_vm_decommit(void *base, size_t bytes)
{
    mprotect(base, bytes, PROT_NONE);
    madvise(base, bytes, MADV_DONTNEED);
}
