// Parsed templates of this process.
#include "codegen/template.h"

#include <string.h>

#include "base/thread.h"
#include "codegen/program.h"
#include "codegen/store.h"

// Newest first. Templates are never freed: renderings and callers point into them.
static struct fj_template *templates;
static fj_mutex lock = FJ_MUTEX_INIT;

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

// Whether the files of an override directory still hold what was parsed.
static bool is_current(const struct fj_template *tmpl)
{
    if (!tmpl->override_dir)
        return true;
    struct fj_buf text = {0};
    bool same = true;
    for (int i = 0; i < tmpl->unit_count && same; i++) {
        const struct fj_unit *unit = &tmpl->units[i];
        fj_buf_clear(&text);
        same = !fj_store_read(tmpl->override_dir, unit->name, &text) &&
               text.len == unit->text.len &&
               (!text.len || !memcmp(text.data, unit->text.data, text.len));
    }
    fj_buf_free(&text);
    return same;
}

static struct fj_template *find(const char *override_dir, const char *name)
{
    for (struct fj_template *t = templates; t; t = t->next) {
        if (!strcmp(t->units[0].name, name) && same_text(t->override_dir, override_dir))
            return t;
    }
    return NULL;
}

int fj_template_get(const char *override_dir, const char *name, const struct fj_template **ret)
{
    int status = FAJIT_OK;
    pthread_mutex_lock(&lock);
    struct fj_template *tmpl = find(override_dir, name);
    if (!tmpl || !is_current(tmpl)) {
        status = fj_template_parse(override_dir, name, &tmpl);
        if (!status) {
            tmpl->next = templates;
            templates = tmpl;
        }
    }
    pthread_mutex_unlock(&lock);
    if (!status)
        *ret = tmpl;
    return status;
}
