// Address space apart from memory: reserve, make usable, give back.
#ifndef FJ_BASE_VM_H
#define FJ_BASE_VM_H

#include <stdbool.h>
#include <stddef.h>

size_t fj_vm_page_bytes(void);

// Addresses that fault when touched; they cost nothing. NULL when there are none left.
void *fj_vm_reserve(size_t bytes);
void fj_vm_release(void *base, size_t bytes);

// A page-aligned part of a reservation: readable, writable and zero; or back to costing nothing.
bool fj_vm_commit(void *base, size_t bytes);
void fj_vm_decommit(void *base, size_t bytes);

#endif
