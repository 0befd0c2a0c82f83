// One number of the binary interface, for comparing our declarations with the real ones.
#ifndef FJ_TESTS_UNIT_ABI_FACTS_H
#define FJ_TESTS_UNIT_ABI_FACTS_H

#include <stddef.h>

struct abi_fact {
    const char *name;
    long long value;
};

#define SIZE(type) {"sizeof(" #type ")", (long long)sizeof(type)},
#define OFFSET(type, field) {"offsetof(" #type ", " #field ")", (long long)offsetof(type, field)},
#define VALUE(name) {#name, (long long)(name)},

extern const struct abi_fact abi_real[];
extern const size_t abi_real_count;

#endif
