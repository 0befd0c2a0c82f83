// Build-host program: writes text files into a C table (struct fj_stored of src/codegen/store.h).
// usage: embed [--symbol=PREFIX] OUTPUT DIRECTORY NAME..
// The table is PREFIX_files, its length PREFIX_count; PREFIX is fj_store when it is not given.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// One string literal per line of the file: the table can be read, and compiles fast.
static void write_char(FILE *out, int c)
{
    if (c == '\n')
        fputs("\\n\"\n    \"", out);
    else if (c == '"' || c == '\\')
        fprintf(out, "\\%c", c);
    else if (c < 32 || c > 126 || c == '?') // '?': no trigraphs
        fprintf(out, "\\%03o", (unsigned)c);
    else
        fputc(c, out);
}

static int write_file(FILE *out, const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        return 1;
    }
    unsigned long len = 0;
    fprintf(out, "    {\"%s\",\n    \"", name);
    for (int c; (c = fgetc(in)) != EOF; len++)
        write_char(out, c);
    fprintf(out, "\",\n    %lu},\n", len);
    int failed = ferror(in);
    if (failed)
        perror(path);
    fclose(in);
    return failed;
}

int main(int argc, char **argv)
{
    static const char option[] = "--symbol=";
    const char *symbol = "fj_store";
    if (argc > 1 && strncmp(argv[1], option, sizeof(option) - 1) == 0) {
        symbol = argv[1] + sizeof(option) - 1;
        argv++;
        argc--;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: embed [--symbol=PREFIX] OUTPUT DIRECTORY NAME..\n");
        return 2;
    }
    FILE *out = fopen(argv[1], "wb");
    if (!out) {
        perror(argv[1]);
        return 1;
    }
    char **names = argv + 3;
    int count = argc - 3, failed = 0;
    qsort(names, (size_t)count, sizeof(*names), by_name);
    fputs("// Written by tools/embed.c.\n#include \"codegen/store.h\"\n\n", out);
    fprintf(out, "extern const struct fj_stored %s_files[];\nextern const int %s_count;\n", symbol,
            symbol);
    fprintf(out, "const struct fj_stored %s_files[] = {\n", symbol);
    for (int i = 0; i < count && !failed; i++)
        failed = write_file(out, argv[2], names[i]);
    fprintf(out, "    {\"\", \"\", 0},\n};\nconst int %s_count = %d;\n", symbol, count);
    failed |= ferror(out);
    if (fclose(out) || failed) {
        fprintf(stderr, "%s was not written\n", argv[1]);
        remove(argv[1]);
        return 1;
    }
    return 0;
}
