// Golden renderings: the kernels of this list, in full, as files in this directory. A change to a
// template shows as a diff of what it means for the kernels.
//
//     golden DIRECTORY [--update]
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fajit/fajit.h>

struct golden {
    const char *problem, *arch;
};

static const struct golden goldens[] = {
#include "list.def"
};

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    size_t cap = 1 << 20;
    char *text = calloc(cap, 1);
    if (text)
        text[fread(text, 1, cap - 1, file)] = '\0';
    fclose(file);
    return text;
}

static int write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return -1;
    size_t written = fwrite(text, 1, strlen(text), file);
    return fclose(file) || written != strlen(text);
}

// Line of the first difference, from 1.
static int first_difference(const char *a, const char *b)
{
    int line = 1;
    for (; *a && *a == *b; a++, b++)
        line += *a == '\n';
    return line;
}

static int compare(const char *path, const char *source)
{
    char *wanted = read_file(path);
    if (!wanted) {
        printf("FAIL %s is missing: run golden with --update and read the new file\n", path);
        return 1;
    }
    int differs = strcmp(wanted, source) != 0;
    if (differs)
        printf("FAIL %s differs from what its template renders, first in line %d: run golden with "
               "--update and read the diff\n",
               path, first_difference(wanted, source));
    free(wanted);
    return differs;
}

static int check(const char *dir, const struct golden *golden, bool update, char *ret_name)
{
    struct fajit_ctx_params ctx_params = {.struct_size = sizeof(ctx_params),
                                          .device = FAJIT_DEVICE_NONE,
                                          .arch = golden->arch,
                                          .cache_mode = FAJIT_CACHE_OFF,
                                          // rules alone: bundled records are measured anew at times
                                          .tune_mode = FAJIT_TUNE_OFF};
    struct fajit_ctx *ctx = NULL;
    struct fajit_problem problem;
    char *source = NULL, path[1024];
    int failed = fajit_ctx_create(&ctx_params, &ctx);
    if (!failed)
        failed = fajit_problem_parse(golden->problem, &problem);
    if (!failed)
        failed = fajit_render(ctx, &problem, false, &source, ret_name, 200);
    if (failed) {
        printf("FAIL %s: %s\n", golden->problem, fajit_last_error());
    } else {
        snprintf(path, sizeof(path), "%s/%s.cu", dir, ret_name);
        failed = update ? write_file(path, source) : compare(path, source);
    }
    fajit_free(source);
    fajit_ctx_destroy(&ctx);
    return failed != 0;
}

// Files that no line of the list makes: left behind by a change of names.
static int find_strays(const char *dir, char (*names)[200], int count)
{
    int strays = 0;
    DIR *listing = opendir(dir);
    if (!listing)
        return 1;
    for (struct dirent *entry; (entry = readdir(listing));) {
        size_t length = strlen(entry->d_name);
        if (length < 3 || strcmp(entry->d_name + length - 3, ".cu") != 0)
            continue;
        bool known = false;
        for (int i = 0; i < count; i++)
            known |= strncmp(names[i], entry->d_name, length - 3) == 0 && !names[i][length - 3];
        if (!known)
            printf("FAIL %s/%s is made by no line of list.def\n", dir, entry->d_name);
        strays += !known;
    }
    closedir(listing);
    return strays;
}

int main(int argc, char **argv)
{
    enum { COUNT = sizeof(goldens) / sizeof(goldens[0]) };
    static char names[COUNT][200];
    bool update = argc > 2 && strcmp(argv[2], "--update") == 0;
    int failed = 0;
    if (argc < 2)
        return 2;
    for (int i = 0; i < COUNT; i++)
        failed += check(argv[1], &goldens[i], update, names[i]);
    failed += find_strays(argv[1], names, COUNT);
    printf("%d passed, %d failed\n", COUNT - failed, failed);
    return failed != 0;
}
