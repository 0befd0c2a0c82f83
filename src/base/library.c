#include "base/library.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void *fj_library_open(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

void *fj_library_find(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
}

const char *fj_library_error(void)
{
    const char *reason = dlerror();
    return reason ? reason : "not loadable";
}

void *fj_library_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

bool fj_library_path(const void *address, char *ret_path, size_t path_size, char *ret_dir,
                     size_t dir_size)
{
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    int dir_len = slash ? (int)(slash - info.dli_fname) : 0;
    snprintf(ret_path, path_size, "%s", info.dli_fname);
    return snprintf(ret_dir, dir_size, "%.*s", dir_len, info.dli_fname) < (int)dir_size;
}

struct id_query {
    uintptr_t address;
    char *ret_hex;
};

static bool holds(const struct dl_phdr_info *info, uintptr_t address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && address - start < segment->p_memsz)
            return true;
    }
    return false;
}

static size_t padded(size_t bytes)
{
    return (bytes + 3) & ~(size_t)3;
}

// Notes are (name size, content size, type) and the two blocks, each padded to 4 bytes.
static void read_notes(const char *notes, size_t bytes, char ret_hex[41])
{
    ElfW(Nhdr) note;
    while (bytes >= sizeof(note)) {
        memcpy(&note, notes, sizeof(note));
        size_t content = sizeof(note) + padded(note.n_namesz);
        size_t total = content + padded(note.n_descsz);
        if (total > bytes)
            return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(notes + sizeof(note), "GNU", 4) == 0 && note.n_descsz <= 20) {
            for (size_t i = 0; i < note.n_descsz; i++)
                snprintf(ret_hex + 2 * i, 3, "%02x", (unsigned char)notes[content + i]);
            return;
        }
        notes += total;
        bytes -= total;
    }
}

static int visit_library(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    struct id_query *query = user;
    if (!holds(info, query->address))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE)
            read_notes((const char *)info->dlpi_addr + segment->p_vaddr, segment->p_memsz,
                       query->ret_hex);
    }
    return 1;
}

void fj_library_build_id(const void *address, char ret_hex[41])
{
    ret_hex[0] = '\0';
    struct id_query query = {.address = (uintptr_t)address, .ret_hex = ret_hex};
    dl_iterate_phdr(visit_library, &query);
}
