// Templates written into a temporary directory, rendered and compared.
#ifndef FJ_TESTS_UNIT_TEMPLATE_FIXTURE_H
#define FJ_TESTS_UNIT_TEMPLATE_FIXTURE_H

#include "test.h"

#include <sys/stat.h>

#include "base/file.h"
#include "codegen/store.h"
#include "codegen/template.h"

static char root[64];

static inline int make_root(void **state)
{
    (void)state;
    char path[128];
    strcpy(root, "/tmp/fajit-test-template-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(path, sizeof(path), "%s/lib", root);
    return mkdir(path, 0700);
}

static inline int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command);
}

static inline void put(const char *name, const char *text)
{
    char path[256];
    assert_true(fj_path_join(path, sizeof(path), root, name));
    assert_int_equal(fj_file_publish(path, text, strlen(text), 0600), FAJIT_OK);
}

static struct fj_params params;
static const char *heading;
static bool watches;

static inline void reset(void)
{
    params = (struct fj_params){0};
    heading = NULL;
    watches = false;
}

static inline int render_into(const char *name, struct fj_rendering *rendering)
{
    const struct fj_template *tmpl;
    struct fj_render_params render = {&params, heading, watches};
    int status = fj_template_get(root, name, &tmpl);
    return status ? status : fj_template_render(tmpl, &render, rendering);
}

// Renders `text` and compares with `want`.
static inline void check_text(const char *text, const char *want)
{
    struct fj_rendering rendering = {0};
    put("t.cu", text);
    int status = render_into("t.cu", &rendering);
    if (status)
        print_error("%s\n", fj_err_text());
    assert_int_equal(status, FAJIT_OK);
    assert_string_equal(rendering.text.data ? rendering.text.data : "", want);
    int lines = 0;
    for (size_t i = 0; i < rendering.text.len; i++)
        lines += rendering.text.data[i] == '\n';
    assert_int_equal(rendering.line_count, lines);
    fj_rendering_free(&rendering);
}

static inline void check_failure(const char *text, const char *part)
{
    struct fj_rendering rendering = {0};
    put("t.cu", text);
    print_message("%s\n", part);
    check_error(render_into("t.cu", &rendering), FAJIT_E_TEMPLATE, part);
    assert_null(rendering.text.data);
}

#endif
