// Module level of PTX: targets, variables, entries and their attributes.
#include "emu/ptx.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "emu/ptx_lex.h"

int fj_ptx_type_bits(const char *type, size_t len)
{
    static const struct {
        const char *name;
        int bits;
    } types[] = {
        {".pred", 1}, {".b8", 8},     {".u8", 8},      {".s8", 8},   {".b16", 16}, {".u16", 16},
        {".s16", 16}, {".f16", 16},   {".bf16", 16},   {".b32", 32}, {".u32", 32}, {".s32", 32},
        {".f32", 32}, {".f16x2", 32}, {".bf16x2", 32}, {".b64", 64}, {".u64", 64}, {".s64", 64},
        {".f64", 64}, {".b128", 128}, {".tf32", 32},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strlen(types[i].name) == len && memcmp(types[i].name, type, len) == 0)
            return types[i].bits;
    }
    return 0;
}

static void put_element(uint8_t *data, uint64_t at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        data[at + (uint64_t)i] = i < 8 ? (uint8_t)(value >> (8 * i)) : 0; // .b128 has 16 bytes
}

static uint64_t element_bits(struct fj_ptx_parser *p, int bytes)
{
    bool negative = fj_ptx_accept(p, "-");
    if (p->tok.kind != FJ_PTX_NUMBER) {
        fj_ptx_fail(p, "an initialiser must be a number");
        return 0;
    }
    uint64_t value = p->tok.value;
    if (p->tok.number == FJ_PTX_OP_F64 && bytes == 4) {
        double wide;
        memcpy(&wide, &value, sizeof(wide));
        float narrow = (float)wide;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof(bits));
        value = bits;
    }
    fj_ptx_next(p);
    return negative ? 0 - value : value;
}

// Nested braces are flattened: rows are full in what compilers write.
static void initialiser(struct fj_ptx_parser *p, struct fj_ptx_var *var, int bytes)
{
    uint8_t *data = fj_ptx_alloc(p, var->bytes);
    if (data == NULL)
        return;
    int depth = 0;
    uint64_t at = 0;
    do {
        if (fj_ptx_accept(p, "{")) {
            depth++;
        } else if (fj_ptx_accept(p, "}")) {
            depth--;
        } else if (fj_ptx_accept(p, ",")) {
            continue;
        } else if (at + (uint64_t)bytes > var->bytes) {
            fj_ptx_fail(p, "more initialisers than '%s' has elements", var->name);
        } else {
            put_element(data, at, element_bits(p, bytes), bytes);
            at += (uint64_t)bytes;
        }
    } while (depth > 0 && !p->failed && p->tok.kind != FJ_PTX_END);
    var->init = data;
    var->init_bytes = at;
}

static bool power_of_two(uint64_t value)
{
    return value > 0 && value <= 65536 && (value & (value - 1)) == 0;
}

void fj_ptx_variable(struct fj_ptx_parser *p, enum fj_ptx_space space, bool external,
                     struct fj_ptx_var *var)
{
    int element = 0, lanes = 1;
    var->space = space;
    while (p->tok.kind == FJ_PTX_WORD && p->tok.text[0] == '.') {
        if (fj_ptx_accept(p, ".align")) {
            uint64_t align = fj_ptx_integer(p);
            if (!p->failed && !power_of_two(align))
                fj_ptx_fail(p, "an alignment must be a power of two up to 65536");
            var->align = (uint32_t)align;
            continue;
        }
        if (fj_ptx_is(p, ".v2") || fj_ptx_is(p, ".v4"))
            lanes = p->tok.text[2] - '0';
        else if (fj_ptx_type_bits(p->tok.text, p->tok.len) >= 8)
            element = fj_ptx_type_bits(p->tok.text, p->tok.len) / 8;
        else if (!fj_ptx_is(p, ".ptr") && !fj_ptx_is(p, ".global") && !fj_ptx_is(p, ".shared") &&
                 !fj_ptx_is(p, ".const") && !fj_ptx_is(p, ".local") && !fj_ptx_is(p, ".space"))
            fj_ptx_fail(p, "unknown attribute '%.*s' of a variable",
                        (int)(p->tok.len < 40 ? p->tok.len : 40), p->tok.text);
        fj_ptx_next(p);
    }
    if (!p->failed && element == 0)
        fj_ptx_fail(p, "a variable needs a type");
    var->name = fj_ptx_word(p);
    uint64_t bytes = (uint64_t)element * (uint64_t)lanes;
    if (var->align == 0)
        var->align = bytes > 0 ? (uint32_t)bytes : 1;
    while (fj_ptx_accept(p, "[")) {
        uint64_t count = fj_ptx_is(p, "]") ? 0 : fj_ptx_integer(p);
        fj_ptx_expect(p, "]");
        if (count > (1u << 28) || bytes > (1u << 28) || bytes * count > (1u << 28))
            fj_ptx_fail(p, "an array of more than 256 MiB");
        bytes *= count;
    }
    if (!p->failed && bytes == 0 && !external)
        fj_ptx_fail(p, "an array without a size must be .extern");
    var->bytes = external && space == FJ_PTX_SHARED ? 0 : bytes;
    if (!p->failed && fj_ptx_accept(p, "="))
        initialiser(p, var, element);
}

static void add_module_var(struct fj_ptx_parser *p, enum fj_ptx_space space, bool external)
{
    struct fj_ptx_module *m = p->module;
    do {
        struct fj_ptx_var *vars =
            fj_ptx_grow(p, m->vars, m->n_vars, &p->cap_module_vars, sizeof(*vars));
        if (vars == NULL)
            return;
        m->vars = vars;
        fj_ptx_variable(p, space, external, &vars[m->n_vars]);
        m->n_vars += !p->failed;
    } while (fj_ptx_accept(p, ","));
    fj_ptx_expect(p, ";");
}

static void add_params(struct fj_ptx_parser *p, struct fj_ptx_entry *entry)
{
    int cap = 0;
    while (!p->failed && !fj_ptx_accept(p, ")")) {
        fj_ptx_expect(p, ".param");
        struct fj_ptx_var var = {0};
        fj_ptx_variable(p, FJ_PTX_PARAM, false, &var);
        struct fj_ptx_param *params =
            fj_ptx_grow(p, entry->params, entry->n_params, &cap, sizeof(*params));
        if (params == NULL || p->failed)
            return;
        entry->params = params;
        uint64_t offset =
            ((uint64_t)entry->param_bytes + var.align - 1) & ~((uint64_t)var.align - 1);
        params[entry->n_params++] = (struct fj_ptx_param){.name = var.name,
                                                          .offset = (uint32_t)offset,
                                                          .bytes = (uint32_t)var.bytes,
                                                          .align = var.align};
        if (offset + var.bytes > 32764) {
            fj_ptx_fail(p, "the parameters of '%s' exceed 32764 bytes", entry->name);
            return;
        }
        entry->param_bytes = (uint32_t)(offset + var.bytes);
        fj_ptx_accept(p, ",");
    }
}

static void take_three(struct fj_ptx_parser *p, uint32_t dims[3])
{
    for (int i = 0; i < 3; i++)
        dims[i] = 1;
    for (int i = 0; i < 3; i++) {
        dims[i] = (uint32_t)fj_ptx_integer(p);
        if (!fj_ptx_accept(p, ","))
            break;
    }
}

static void attributes(struct fj_ptx_parser *p, struct fj_ptx_entry *entry)
{
    while (p->tok.kind == FJ_PTX_WORD && p->tok.text[0] == '.') {
        if (fj_ptx_accept(p, ".maxntid")) {
            take_three(p, entry->maxntid);
        } else if (fj_ptx_accept(p, ".reqntid")) {
            take_three(p, entry->reqntid);
        } else if (fj_ptx_accept(p, ".reqnctapercluster")) {
            take_three(p, entry->cluster);
        } else if (fj_ptx_accept(p, ".minnctapersm") || fj_ptx_accept(p, ".maxnctapersm")) {
            entry->minnctapersm = (uint32_t)fj_ptx_integer(p);
        } else if (fj_ptx_accept(p, ".maxnreg")) {
            entry->maxnreg = (uint32_t)fj_ptx_integer(p);
        } else if (fj_ptx_accept(p, ".maxclusterrank")) {
            entry->maxclusterrank = (uint32_t)fj_ptx_integer(p);
        } else if (fj_ptx_accept(p, ".explicitcluster")) {
            entry->explicit_cluster = true;
        } else if (fj_ptx_accept(p, ".pragma")) {
            fj_ptx_next(p);
            fj_ptx_accept(p, ";");
        } else {
            fj_ptx_fail(p, "unknown attribute '%.*s' of an entry",
                        (int)(p->tok.len < 40 ? p->tok.len : 40), p->tok.text);
        }
    }
}

static void add_entry(struct fj_ptx_parser *p)
{
    struct fj_ptx_module *m = p->module;
    struct fj_ptx_entry entry = {.name = fj_ptx_word(p)};
    if (fj_ptx_accept(p, "("))
        add_params(p, &entry);
    attributes(p, &entry);
    if (fj_ptx_accept(p, ";"))
        return;
    p->entry = &entry;
    fj_ptx_body(p);
    if (!p->failed)
        fj_ptx_layout(p, &entry);
    p->entry = NULL;
    struct fj_ptx_entry *entries =
        fj_ptx_grow(p, m->entries, m->n_entries, &p->cap_entries, sizeof(*entries));
    if (entries == NULL || p->failed)
        return;
    m->entries = entries;
    m->entries[m->n_entries++] = entry;
}

// Functions are parsed over: the decoder reports a call of one.
static void skip_function(struct fj_ptx_parser *p)
{
    while (p->tok.kind != FJ_PTX_END && !fj_ptx_is(p, "{") && !fj_ptx_is(p, ";"))
        fj_ptx_next(p);
    if (fj_ptx_is(p, "{"))
        fj_ptx_skip_braces(p);
    else
        fj_ptx_next(p);
}

static void add_file(struct fj_ptx_parser *p)
{
    struct fj_ptx_module *m = p->module;
    uint64_t number = fj_ptx_integer(p);
    if (p->tok.kind != FJ_PTX_STRING || number > 4096) {
        fj_ptx_fail(p, ".file needs a number up to 4096 and a name");
        return;
    }
    while (!p->failed && (uint64_t)m->n_files <= number) {
        m->files = fj_ptx_grow(p, m->files, m->n_files, &p->cap_files, sizeof(*m->files));
        if (m->files != NULL)
            m->files[m->n_files++] = NULL;
    }
    if (p->failed)
        return;
    m->files[number] = fj_ptx_copy(p, p->tok.text, p->tok.len);
    fj_ptx_next(p);
    while (fj_ptx_accept(p, ",")) // time stamp and size
        fj_ptx_integer(p);
}

static void add_target(struct fj_ptx_parser *p)
{
    const char *word = fj_ptx_word(p);
    if (word == NULL)
        return;
    if (strncmp(word, "sm_", 3) != 0) {
        fj_ptx_fail(p, "unknown target '%s'", word);
        return;
    }
    char *rest;
    p->module->target = (int)strtol(word + 3, &rest, 10);
    p->module->target_specific = *rest != '\0';
    while (fj_ptx_accept(p, ","))
        fj_ptx_next(p);
}

static void add_version(struct fj_ptx_parser *p)
{
    if (p->tok.kind != FJ_PTX_NUMBER || p->tok.number != FJ_PTX_OP_F64) {
        fj_ptx_fail(p, ".version needs a number as 9.0");
        return;
    }
    double version;
    memcpy(&version, &p->tok.value, sizeof(version));
    p->module->version = version > 0 && version < 100 ? (int)(version * 10 + 0.5) : 0;
    fj_ptx_next(p);
}

static void top_level(struct fj_ptx_parser *p)
{
    bool external = false;
    while (fj_ptx_is(p, ".visible") || fj_ptx_is(p, ".extern") || fj_ptx_is(p, ".weak") ||
           fj_ptx_is(p, ".common")) {
        external |= fj_ptx_is(p, ".extern");
        fj_ptx_next(p);
    }
    if (fj_ptx_accept(p, ".version"))
        add_version(p);
    else if (fj_ptx_accept(p, ".target"))
        add_target(p);
    else if (fj_ptx_accept(p, ".address_size"))
        fj_ptx_integer(p);
    else if (fj_ptx_accept(p, ".file"))
        add_file(p);
    else if (fj_ptx_accept(p, ".entry"))
        add_entry(p);
    else if (fj_ptx_is(p, ".func"))
        skip_function(p);
    else if (fj_ptx_accept(p, ".global"))
        add_module_var(p, FJ_PTX_GLOBAL, external);
    else if (fj_ptx_accept(p, ".const"))
        add_module_var(p, FJ_PTX_CONST, external);
    else if (fj_ptx_accept(p, ".shared"))
        add_module_var(p, FJ_PTX_SHARED, external);
    else if (fj_ptx_is(p, ".section") || fj_ptx_is(p, ".alias") || fj_ptx_is(p, ".pragma"))
        skip_function(p);
    else
        fj_ptx_fail(p, "unexpected '%.*s' at module level",
                    (int)(p->tok.len < 40 ? p->tok.len : 40), p->tok.text);
}

int fj_ptx_parse(const char *text, size_t len, struct fj_ptx_module **ret_module)
{
    *ret_module = NULL;
    struct fj_ptx_parser parser = {.pos = text, .end = text + len, .line = 1};
    struct fj_ptx_parser *p = &parser;
    if (len > 0 && text[len - 1] == '\0') // images come with their terminator
        p->end--;
    p->module = fj_ptx_alloc(p, sizeof(*p->module));
    if (p->module == NULL)
        return FAJIT_E_NOMEM;
    fj_ptx_next(p);
    while (!p->failed && p->tok.kind != FJ_PTX_END) {
        if (p->tok.kind == FJ_PTX_WATCH)
            fj_ptx_next(p);
        else
            top_level(p);
    }
    if (!p->failed && p->module->target == 0)
        fj_ptx_fail(p, "no .target: this is not PTX");
    if (p->failed) {
        fj_ptx_arena_free(p->arena);
        return FAJIT_E_COMPILE;
    }
    p->module->arena = p->arena;
    *ret_module = p->module;
    return FAJIT_OK;
}

void fj_ptx_free(struct fj_ptx_module *module)
{
    if (module != NULL)
        fj_ptx_arena_free(module->arena);
}

const struct fj_ptx_entry *fj_ptx_find_entry(const struct fj_ptx_module *module, const char *name)
{
    for (int i = 0; i < module->n_entries; i++) {
        if (strcmp(module->entries[i].name, name) == 0)
            return &module->entries[i];
    }
    return NULL;
}
