#include "codegen/store.h"

#include <string.h>

#include "base/file.h"
#include "base/thread.h"
#include "codegen/template.h"

#define TEXT_BYTES_MAX (1 << 20)

// Relative, of plain characters, and never upwards: a name comes from problem texts and includes.
static bool is_plain_name(const char *name)
{
    if (!*name || strlen(name) > 200 || name[0] == '/' || strstr(name, ".."))
        return false;
    for (; *name; name++) {
        bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z');
        if (!letter && !(*name >= '0' && *name <= '9') && !strchr("_-./", *name))
            return false;
    }
    return true;
}

static const struct fj_stored *find(const char *name)
{
    int low = 0, high = fj_store_count;
    while (low < high) {
        int middle = (low + high) / 2;
        int order = strcmp(name, fj_store_files[middle].name);
        if (order == 0)
            return &fj_store_files[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int not_found(const char *override_dir, const char *name)
{
    struct fj_buf known = {0};
    for (int i = 0; i < fj_store_count; i++)
        fj_buf_printf(&known, "%s%s", i ? ", " : "", fj_store_files[i].name);
    fj_err(FAJIT_E_TEMPLATE, "no template %s%s%s; the library has: %s", name,
           override_dir ? " in " : "", override_dir ? override_dir : "",
           known.data ? known.data : "none");
    fj_buf_free(&known);
    return FAJIT_E_TEMPLATE;
}

int fj_store_read(const char *override_dir, const char *name, struct fj_buf *ret_text)
{
    char path[4096];
    if (!is_plain_name(name))
        return fj_err(
            FAJIT_E_TEMPLATE,
            "'%.200s' is not a template name: letters, digits and _ - . / only, relative, "
            "without ..",
            name);
    if (override_dir && fj_path_join(path, sizeof(path), override_dir, name) &&
        fj_file_exists(path)) {
        int status = fj_file_read(path, TEXT_BYTES_MAX, ret_text);
        return status ? fj_err_context(FAJIT_E_TEMPLATE, "template %s", name) : FAJIT_OK;
    }
    const struct fj_stored *stored = find(name);
    if (!stored)
        return not_found(override_dir, name);
    fj_buf_append(ret_text, stored->text, stored->len);
    if (ret_text->failed)
        return fj_err(FAJIT_E_NOMEM, "out of memory while reading template %s", name);
    return FAJIT_OK;
}

// --- Names ---

#define NAMES_MAX 256

static const char *names[NAMES_MAX + 1];
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

// What lies in lib/ is for inclusion and does not render alone.
static void collect_names(void)
{
    int count = 0;
    for (int i = 0; i < fj_store_count && count < NAMES_MAX; i++) {
        const char *name = fj_store_files[i].name;
        size_t len = strlen(name);
        if (strncmp(name, "lib/", 4) && len > 3 && !strcmp(name + len - 3, ".cu"))
            names[count++] = name;
    }
}

const char *const *fj_template_names(void)
{
    pthread_once(&names_once, collect_names);
    return names;
}
